// Package probe asks a QEMU binary what a machine would show to its firmware: it starts the machine stopped, under
// software emulation and with null backends, and reads fw_cfg through qtest (measure.md section 7).
//
// It owns the process and the socket, nothing else: the command line comes from measure/launch, the conversation
// from measure/launch/qtest. The binary is trusted to be what its path says; its answers are bounded there. Every
// wait ends with the context or after a fixed limit, and no process or file is left behind. A QEMU is immutable, so
// several machines can be probed at a time. It refuses machines that the binary cannot make, and passes on its words.
package probe

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"time"

	"cocoon/measure/launch"
	"cocoon/measure/launch/acpi"
	"cocoon/measure/launch/qtest"
)

const (
	// DefaultBinary is looked up in PATH.
	DefaultBinary = "qemu-system-x86_64"
	// Limit is how long one probe may take; usual is 0.1 s, an overloaded machine needs seconds.
	Limit = 60 * time.Second
	// stopLimit is how long QEMU may take to go after its connection is closed.
	stopLimit = 5 * time.Second
	// maxWords bounds what is kept of QEMU's error output.
	maxWords = 2 << 10
)

// ErrNoQEMU means that the binary cannot be run at all.
var ErrNoQEMU = errors.New("running QEMU")

// QEMU is a binary whose version is known.
type QEMU struct {
	Path    string
	Version string // such as "11.1.3"
	// Extra arguments follow the machine's: devices that no shape has, such as the TPM of a rehearsal.
	Extra []string
}

var versionRule = regexp.MustCompile(`QEMU emulator version ([0-9]+\.[0-9]+\.[0-9]+)`)

// Find looks the binary up and asks for its version. An empty path means DefaultBinary.
func Find(ctx context.Context, path string) (*QEMU, error) {
	if path == "" {
		path = DefaultBinary
	}
	found, err := exec.LookPath(path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoQEMU, err)
	}
	ctx, cancel := context.WithTimeout(ctx, Limit)
	defer cancel()
	out, err := exec.CommandContext(ctx, found, "--version").Output() //nolint:gosec // the operator names the binary
	if err != nil {
		return nil, fmt.Errorf("%w: asking %s for its version: %w", ErrNoQEMU, found, err)
	}
	m := versionRule.FindSubmatch(out)
	if m == nil {
		return nil, fmt.Errorf("%w: %s does not say its version", ErrNoQEMU, found)
	}
	return &QEMU{Path: found, Version: string(m[1])}, nil
}

// Read probes one machine.
func (q *QEMU) Read(ctx context.Context, m *launch.Machine) (*qtest.FwCfg, error) {
	ctx, cancel := context.WithTimeout(ctx, Limit)
	defer cancel()
	dir, err := os.MkdirTemp("", "cocoon-probe-")
	if err != nil {
		return nil, fmt.Errorf("probing %s: %w", m.Name, err)
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a private folder in the temporary one
	socket, stub := filepath.Join(dir, "qtest"), filepath.Join(dir, "kernel")
	if err := os.WriteFile(stub, launch.KernelStub(), 0o600); err != nil {
		return nil, fmt.Errorf("probing %s: %w", m.Name, err)
	}
	args, err := launch.ProbeArgv(m, socket, stub)
	if err != nil {
		return nil, err
	}
	offered, err := q.run(ctx, append(args, q.Extra...), socket, m.PhysBits)
	if err != nil {
		if ctx.Err() != nil { // the reason, where a closed connection is only its effect
			err = errors.Join(ctx.Err(), err)
		}
		return nil, fmt.Errorf("probing %s with QEMU %s: %w", m.Name, q.Version, err)
	}
	return offered, nil
}

// run starts the binary with a command line that makes it connect to the socket, and reads what it offers.
func (q *QEMU) run(ctx context.Context, args []string, socket string, physBits int) (*qtest.FwCfg, error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "unix", socket)
	if err != nil {
		return nil, err
	}
	defer listener.Close() //nolint:errcheck // closed early when QEMU dies

	words := &tail{}
	cmd := exec.CommandContext(ctx, q.Path, args...)
	cmd.Dir, cmd.Stderr, cmd.WaitDelay = filepath.Dir(socket), words, stopLimit
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoQEMU, err)
	}
	exited := make(chan struct{})
	go func() {
		defer close(exited)
		_ = cmd.Wait()       // it is killed below, so its status says nothing
		_ = listener.Close() // ends the wait for a connection that cannot come any more
	}()
	offered, err := converse(ctx, listener, physBits)
	_ = cmd.Process.Kill() // it has nothing to save, and may be gone already
	<-exited
	if err != nil && len(words.words) > 0 {
		return nil, fmt.Errorf("%w; it said: %s", err, bytes.TrimSpace(words.words))
	}
	return offered, err
}

// converse waits for QEMU's connection and does what firmware would have done before reading the tables.
func converse(ctx context.Context, listener net.Listener, physBits int) (*qtest.FwCfg, error) {
	stop := context.AfterFunc(ctx, func() { _ = listener.Close() }) // unblocks Accept
	defer stop()
	conn, err := listener.Accept()
	if err != nil {
		return nil, fmt.Errorf("waiting for its connection: %w", err)
	}
	defer conn.Close() //nolint:errcheck // nothing is buffered
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return nil, err
		}
	}
	base, err := acpi.Mmio64Base(physBits)
	if err != nil {
		return nil, err
	}
	client := qtest.NewClient(conn)
	if err := client.ProgramChipset(); err != nil {
		return nil, err
	}
	found, err := client.ProgramWindow(base)
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, errors.New("no device on the root bus has a 64-bit BAR, so the PCI window is undefined")
	}
	return client.ReadFwCfg()
}

// tail keeps the last bytes of QEMU's complaints: warnings come first, the reason for giving up last.
type tail struct{ words []byte }

// Write drops the oldest bytes.
func (t *tail) Write(p []byte) (int, error) {
	t.words = append(t.words, p...)
	if over := len(t.words) - maxWords; over > 0 {
		t.words = append(t.words[:0], t.words[over:]...)
	}
	return len(p), nil
}
