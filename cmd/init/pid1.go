package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"time"

	"github.com/u-root/u-root/pkg/mount"
	"golang.org/x/sys/unix"

	"cocoon/guest/boot"
	"cocoon/guest/boot/reap"
	"cocoon/guest/clock"
	"cocoon/guest/debugshell"
	"cocoon/guest/firewall"
	"cocoon/guest/klog"
	"cocoon/guest/modules"
	"cocoon/guest/mounts"
	"cocoon/guest/netcfg"
	"cocoon/guest/rtmr"
	"cocoon/guest/storage"
	"cocoon/guest/supervise"
)

// stopTimeout bounds the orderly end; what has not ended by then is left behind.
const stopTimeout = 30 * time.Second

// runPID1 boots the guest and never returns: the kernel panics when PID 1 ends.
func runPID1() {
	defer func() {
		if p := recover(); p != nil {
			fmt.Fprintf(os.Stderr, "COCOON init panicked: %v\n%s", p, debug.Stack())
		}
		// Reached only when a power-off has failed; panic=-1 on the command line ends the VM.
		os.Exit(exitError)
	}()
	unix.Umask(0o022)
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_CAD_OFF) // ctrl-alt-delete becomes SIGINT instead of a reset
	level := new(slog.LevelVar)
	handler := klog.New(klog.Options{Console: os.Stderr, Level: level})
	// A library that logs does so through package log; its lines, which may quote a peer, become quoted records.
	log.SetFlags(0)
	log.SetOutput(slog.NewLogLogger(handler, slog.LevelDebug).Writer())
	deps := linuxDeps(handler, level)
	st := boot.NewState(deps)
	g := guest{stages: boot.Stages(), state: st, machine: linuxMachine{}, reaper: reap.New(), fatal: make(chan error, 1)}
	g.services = newServices(st.Log, g.reaper, &supervise.Cgroups{Root: cgroupRoot}, g.fatal)
	network(deps, st.Log, g.services.background)
	evidence := newEvidence()
	deps.Simulated = evidence.findSimulation
	deps.Hooks = boot.Hooks{Engine: g.services.startEngine, Identity: evidence.identify, Service: g.services.startService}
	deps.DebugShell = debugshell.Shell{
		Log: st.Log, Processes: g.reaper, Now: time.Now, Restart: debugshell.DefaultRestart(),
		Console: func() (*os.File, error) { return debugshell.OpenConsole("/") },
	}.Run
	if err := g.live(); err != nil {
		st.Log.Error("Machine not powered off", slog.String("err", err.Error()))
	}
}

// guest is PID 1 from the first stage to the power-off.
type guest struct {
	stages  []boot.Stage
	state   *boot.State
	machine boot.Machine
	reaper  *reap.Reaper
	// fatal carries the death of a required service after its restart budget.
	fatal    chan error
	services *services
}

// live runs the boot, waits for a reason to end, and ends.
func (g guest) live() error {
	stop, cancelStop := signal.NotifyContext(context.Background(), unix.SIGTERM, unix.SIGINT, unix.SIGPWR)
	defer cancelStop()
	reaping, cancelReaper := context.WithCancel(context.Background())
	defer cancelReaper()
	reaped := make(chan error, 1)
	go func() { reaped <- g.reaper.Run(reaping) }()

	err := boot.Run(stop, g.stages, g.state)
	if err == nil {
		err = g.serve(stop, reaped)
	}
	if err != nil && stop.Err() == nil {
		return boot.Fail(stop, g.state, g.machine, err)
	}
	cancelReaper() // from here on Drain collects everything
	g.state.Log.Info("Stopping")
	end, cancelEnd := context.WithTimeout(context.Background(), stopTimeout)
	defer cancelEnd()
	return boot.Stop(end, g.state, g.machine, g.services.stop)
}

// serve waits for the reason to end a ready guest. A debug image has a shell meanwhile.
func (g guest) serve(stop context.Context, reaped <-chan error) error {
	offer, endOffer := context.WithCancel(stop)
	offered := make(chan struct{})
	go func() {
		boot.OfferShell(offer, g.state)
		close(offered)
	}()
	defer func() {
		endOffer()
		<-offered // bounded: the shell is killed when it does not end
	}()
	select {
	case <-stop.Done():
		return nil
	case err := <-reaped:
		return err
	case err := <-g.fatal:
		return err
	}
}

// network wires the network stage, whose background work is supervised.
func network(deps *boot.Deps, log *slog.Logger, background func(string, func(context.Context) error)) {
	filter := firewall.New(nil)
	c := netcfg.Configurer{
		Links: netcfg.Netlink{}, DHCP: netcfg.Client{}, Filter: filter.Apply, Background: background,
		Log: log, Now: time.Now, Root: "/",
	}
	deps.Network, deps.OpenPort = c.Configure, filter.Open
}

// linuxDeps wires the stages to the running kernel.
func linuxDeps(handler *klog.Handler, level *slog.LevelVar) *boot.Deps {
	finder := storage.Finder{Sys: os.DirFS("/sys")}
	return &boot.Deps{
		Root: "/", Log: handler, Level: level, Now: time.Now,
		OpenKmsg: openKmsg, Kernel: mounts.Linux{}, InsertModule: modules.InsertFile,
		TD: linuxTD{}, FindDisk: finder.Find,
		OpenDisk:      func(d storage.Device) (storage.Disk, error) { return storage.OpenDevice(d) },
		AttachArchive: storage.AttachArchive,
		OpenControl:   func() (storage.Control, error) { return storage.OpenControl() },
		Clock:         clock.System().Sync,
	}
}

// openKmsg makes the node in the initramfs, because the console stage comes before devtmpfs is mounted; the open
// file outlives the mount. 1:11 is /dev/kmsg (admin-guide/devices.txt).
func openKmsg() (io.Writer, error) {
	const path, major, minor = "/dev/kmsg", 1, 11
	//nolint:gosec // a constant device number
	if err := unix.Mknod(path, unix.S_IFCHR|0o600, int(unix.Mkdev(major, minor))); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	return os.OpenFile(path, os.O_WRONLY, 0)
}

// linuxTD is the TD as its driver shows it.
type linuxTD struct{}

func (linuxTD) Present() (bool, error) {
	_, err := os.Stat(rtmr.DefaultDir)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

func (linuxTD) Attributes() (rtmr.Attributes, error) { return rtmr.ReadAttributes(rtmr.DefaultDevice) }

func (linuxTD) Bank() rtmr.Bank { return rtmr.Sysfs{Dir: rtmr.DefaultDir} }

// linuxMachine ends the machine.
type linuxMachine struct{}

// KillAll signals every process but PID 1 itself; that there is none is not an error.
func (linuxMachine) KillAll(sig unix.Signal) error {
	if err := unix.Kill(-1, sig); err != nil && !errors.Is(err, unix.ESRCH) {
		return err
	}
	return nil
}

// AwaitChildren collects children until none is left. The collector cannot be interrupted; after ctx it is left
// running, which is harmless because the machine is about to be powered off.
func (linuxMachine) AwaitChildren(ctx context.Context) error {
	done := make(chan error, 1)
	go func() { done <- reap.Drain() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (linuxMachine) Unmount(path string) error { return mount.Unmount(path, false, false) }

// Flush writes file systems out and waits until the console's driver has sent everything (tcdrain).
func (linuxMachine) Flush() {
	unix.Sync()
	_ = unix.IoctlSetInt(int(os.Stderr.Fd()), unix.TCSBRK, 1)
}

func (linuxMachine) PowerOff() error { return unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF) }
