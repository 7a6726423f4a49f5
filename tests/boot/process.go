package boot

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"cocoon/host/probe"
	"cocoon/measure/launch"
)

const (
	// Limit is the most a machine may run; software emulation on a busy machine varies by a factor of two.
	Limit = 4 * time.Minute
	// stopLimit is how long a program may take to go after it was told to.
	stopLimit = 10 * time.Second
)

// Machine is a virtual machine to start.
type Machine struct {
	// QEMU is the binary; empty means the one in PATH.
	QEMU string
	// Shape is the launch descriptor; Paths are the files behind it. The runner sets Paths.Serial and Paths.Console.
	Shape *launch.Machine
	Paths launch.HostPaths
	// Extra arguments come last: a TPM, a second disk with a stolen serial.
	Extra []string
	// WithPIC gives the machine the legacy interrupt controller that TDs lack. Under software emulation QEMU crashes
	// without it when the kernel's timer check loses a race on a busy host and falls back to that controller. It changes
	// the ACPI tables, so a machine whose measurements are compared does without, and is started again after a crash.
	WithPIC bool
	// Production images speak on hvc0, test images on the serial port.
	Production bool
	// Until ends the machine once a stage has been reported; empty waits for the machine's own power-off.
	Until string
	// During is called after each stage line.
	During func(stage string)
}

// process is a running QEMU.
type process struct {
	cmd     *exec.Cmd
	started time.Time
	stderr  strings.Builder
	// ended is closed when QEMU has ended; result is then how.
	ended  chan struct{}
	result error
}

// outputs are the files that a machine's consoles write to.
func (m *Machine) outputs(dir string) (serial, console string) {
	return filepath.Join(dir, "ttyS0"), filepath.Join(dir, "hvc0")
}

// start runs QEMU with its consoles in dir. It ends with ctx, or with the process that started it.
func (m Machine) start(ctx context.Context, dir string) (*process, error) {
	name := m.QEMU
	if name == "" {
		name = probe.DefaultBinary
	}
	qemu, err := exec.LookPath(name)
	if err != nil {
		return nil, fmt.Errorf("looking for QEMU: %w", err)
	}
	m.Paths.Serial, m.Paths.Console = m.outputs(dir)
	argv, err := launch.TCGArgv(m.Shape, m.Paths)
	if err != nil {
		return nil, err
	}
	if accel := os.Getenv("COCOON_TEST_ACCEL"); accel != "" {
		argv[slices.Index(argv, "-accel")+1] = accel
	}
	for _, output := range []string{m.Paths.Serial, m.Paths.Console} {
		if err := os.WriteFile(output, nil, 0o600); err != nil {
			return nil, fmt.Errorf("making console file: %w", err)
		}
	}
	if m.WithPIC {
		i := slices.Index(argv, "-machine") + 1
		argv[i] = strings.Replace(argv[i], ",pic=off", ",pic=on", 1)
	}
	p := &process{cmd: exec.CommandContext(ctx, qemu, append(argv, m.Extra...)...), ended: make(chan struct{})}
	p.cmd.Dir, p.cmd.Stderr, p.cmd.WaitDelay = dir, &p.stderr, stopLimit
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	p.started = time.Now()
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting QEMU: %w", err)
	}
	go func() {
		p.result = p.cmd.Wait()
		close(p.ended)
	}()
	return p, nil
}

// cpu is the processor time that QEMU has used so far; 0 once it is gone.
func (p *process) cpu() time.Duration {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	return processorTime(string(stat))
}

// processorTime adds user and system time of a /proc/PID/stat line (proc(5), fields 14 and 15, behind the program's
// name in parentheses).
func processorTime(stat string) time.Duration {
	const (
		tick   = 10 * time.Millisecond // USER_HZ is 100 on every Linux
		first  = 14 - 3                // fields are counted from 1; the name is the second
		needed = first + 2
	)
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	if len(fields) < needed {
		return 0
	}
	var sum time.Duration
	for _, f := range fields[first:needed] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0
		}
		sum += time.Duration(n) * tick
	}
	return sum
}

// errCrashed means that QEMU itself died of a signal.
var errCrashed = errors.New("QEMU crashed")

// wait returns when the machine has ended.
func (p *process) wait() error {
	<-p.ended
	if exit, ok := errors.AsType[*exec.ExitError](p.result); ok {
		if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() && status.Signal() == syscall.SIGSEGV {
			return fmt.Errorf("%w: %w", errCrashed, p.result)
		}
	}
	return p.result
}

// kill ends the machine at once and waits for it.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended by itself
	<-p.ended
}

// TPM is a running software TPM.
type TPM struct {
	socket string
	cmd    *exec.Cmd
	// ended is closed when the TPM has ended; result is then how.
	ended  chan struct{}
	result error
}

// StartTPM starts swtpm with fresh state in dir. One TPM serves one QEMU, and ends with it.
func StartTPM(ctx context.Context, dir string) (*TPM, error) {
	swtpm, err := exec.LookPath("swtpm")
	if err != nil {
		return nil, fmt.Errorf("looking for the software TPM: %w", err)
	}
	t := &TPM{socket: filepath.Join(dir, "tpm"), ended: make(chan struct{})}
	if err := os.MkdirAll(filepath.Join(dir, "tpmstate"), 0o700); err != nil {
		return nil, fmt.Errorf("starting the software TPM: %w", err)
	}
	t.cmd = exec.CommandContext(ctx, swtpm, "socket", "--tpm2", "--tpmstate", "dir="+filepath.Join(dir, "tpmstate"),
		"--ctrl", "type=unixio,path="+t.socket, "--flags", "startup-clear", "--terminate")
	t.cmd.WaitDelay = stopLimit
	t.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := t.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting the software TPM: %w", err)
	}
	go func() {
		t.result = t.cmd.Wait()
		close(t.ended)
	}()
	return t, t.await(ctx)
}

// await waits until the TPM listens.
func (t *TPM) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, stopLimit)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, err := os.Stat(t.socket); err == nil {
			return nil
		}
		select {
		case <-t.ended:
			return fmt.Errorf("the software TPM ended before it listened: %w", t.result)
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("waiting for the software TPM: %w", ctx.Err()), t.Stop())
		case <-tick.C:
		}
	}
}

// Args are QEMU's arguments for the TPM: no slot, so no shape knows it.
func (t *TPM) Args() []string {
	return []string{
		"-chardev", "socket,id=tpmdev,path=" + t.socket, "-tpmdev", "emulator,id=tpm0,chardev=tpmdev",
		"-device", "tpm-tis,tpmdev=tpm0",
	}
}

// Stop ends the TPM if its QEMU has not.
func (t *TPM) Stop() error {
	err := t.cmd.Process.Kill()
	<-t.ended
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}
