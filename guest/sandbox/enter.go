package sandbox

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"syscall"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Enter is the second step: pid 1 of the new namespaces. It composes the root, starts the third step, passes signals
// on, reaps orphans, and returns the engine's exit status.
func Enter(log *slog.Logger) (int, error) {
	spec, err := ReadSpec(os.NewFile(specFD, "spec"))
	if err != nil {
		return 1, err
	}
	if os.Getpid() != 1 {
		return 1, errors.New("entering sandbox: not pid 1 of a new pid namespace")
	}
	if err := unix.Sethostname([]byte(spec.Name)); err != nil {
		return 1, fmt.Errorf("setting sandbox host name: %w", err)
	}
	if err := loopbackUp(); err != nil {
		return 1, err
	}
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		return 1, fmt.Errorf("opening own binary: %w", err)
	}
	defer self.Close() //nolint:errcheck // read side
	if err := composeRoot(spec); err != nil {
		return 1, err
	}
	specs := []Spec{spec}
	if spec.Forward != nil {
		specs = append(specs, spec.relay())
	}
	cmds := make([]*exec.Cmd, len(specs))
	for i, one := range specs {
		// The binary is outside the new root: it is reached through a descriptor and the new namespace's /proc.
		cmd, err := step(fmt.Sprintf("/proc/self/fd/%d", specFD+1), ExecVerb, one)
		if err != nil {
			return 1, err
		}
		cmd.ExtraFiles = append(cmd.ExtraFiles, self)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = nil, os.Stdout, os.Stderr
		cmds[i] = cmd
	}
	return superviseAll(log, cmds)
}

func loopbackUp() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("finding loopback: %w", err)
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return fmt.Errorf("bringing loopback up: %w", err)
	}
	return nil
}

// superviseAll runs the engine, which comes first, and what is beside it, and does what pid 1 owes its namespace: pass on
// the request to stop, reap whatever is orphaned. The end of one of them is the end of all: when it returns, the kernel
// kills what is left in the namespace.
func superviseAll(log *slog.Logger, cmds []*exec.Cmd) (int, error) {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGCHLD)
	defer signal.Stop(signals)
	pids := make([]int, 0, len(cmds))
	for _, cmd := range cmds {
		if err := cmd.Start(); err != nil {
			return 1, fmt.Errorf("starting engine: %w", err)
		}
		pids = append(pids, cmd.Process.Pid)
	}
	for sig := range signals {
		if sig != syscall.SIGCHLD {
			if err := unix.Kill(pids[0], unix.SIGTERM); err != nil {
				log.Warn("Signalling engine", slog.Any("err", err))
			}
			continue
		}
		if status, done := reap(pids); done {
			if status.Signaled() {
				return 128 + int(status.Signal()), nil
			}
			return status.ExitStatus(), nil
		}
	}
	return 1, errors.New("supervising engine: signal channel closed")
}

// reap collects every dead child and reports the status of the first that is among the pids.
func reap(pids []int) (unix.WaitStatus, bool) {
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, unix.WNOHANG, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil || pid == 0:
			return 0, false
		case slices.Contains(pids, pid):
			return status, true
		}
	}
}

// sealedFile is an anonymous file that can no longer change, positioned at its start.
func sealedFile(name string, data []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, fmt.Errorf("making anonymous file: %w", err)
	}
	f := os.NewFile(uintptr(fd), name)
	if _, err := f.WriteAt(data, 0); err != nil {
		return nil, errors.Join(fmt.Errorf("writing anonymous file: %w", err), f.Close())
	}
	const seals = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE
	if _, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, seals); err != nil {
		return nil, errors.Join(fmt.Errorf("sealing anonymous file: %w", err), f.Close())
	}
	return f, nil
}
