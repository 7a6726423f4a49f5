// Package rtmr extends and reads the TD's run-time measurement registers, and keeps the text log that explains them
// (measure.md sections 5 and 9.2).
//
// It owns the sysfs client, the software bank of the test variant and the order of a message: its SHA-384 is extended
// into RTMR3, the register is read back, then its line is appended to the log. It trusts the kernel's tdx_guest driver; every
// extend is compared with the value computed here, so that a driver that ignores a write is noticed.
// A Log serialises its calls; banks are used through it. It refuses messages with control characters, and it never
// chooses the software bank by itself: the boot does, only in the test variant, and says so.
package rtmr

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"cocoon/measure/spec"
	"cocoon/measure/tdx"
)

// DefaultDir is where the tdx_guest driver shows its registers (Linux >= 6.16, Documentation/ABI/testing/
// sysfs-devices-virtual-misc-tdx_guest).
const DefaultDir = "/sys/class/misc/tdx_guest/measurements"

// suffix names the algorithm in the register files.
const suffix = ":sha384"

// ErrMismatch means that a register does not hold the value that the extend must give.
var ErrMismatch = errors.New("register does not hold the expected value")

// Bank is a set of RTMRs.
type Bank interface {
	// Read returns the register's current value.
	Read(r tdx.Register) (tdx.Digest, error)
	// Extend replaces the register by SHA384(register ‖ digest).
	Extend(r tdx.Register, digest tdx.Digest) error
}

// Sysfs is the bank of a real TD.
type Sysfs struct{ Dir string }

func (s Sysfs) path(r tdx.Register) (string, error) {
	if r < tdx.RTMR0 || r > tdx.RTMR3 {
		return "", fmt.Errorf("register %s cannot be extended", r)
	}
	return filepath.Join(s.Dir, fmt.Sprintf("rtmr%d%s", r-tdx.RTMR0, suffix)), nil
}

// Read reads 48 raw bytes.
func (s Sysfs) Read(r tdx.Register) (tdx.Digest, error) {
	var d tdx.Digest
	name, err := s.path(r)
	if err != nil {
		return d, err
	}
	f, err := os.Open(name)
	if err != nil {
		return d, fmt.Errorf("reading %s: %w", r, err)
	}
	defer func() { _ = f.Close() }()
	if _, err := io.ReadFull(f, d[:]); err != nil {
		return d, fmt.Errorf("reading %s: %w", r, err)
	}
	return d, nil
}

// Extend writes exactly 48 bytes at offset 0, in one system call: the driver takes nothing else.
func (s Sysfs) Extend(r tdx.Register, digest tdx.Digest) error {
	name, err := s.path(r)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("extending %s: %w", r, err)
	}
	_, err = f.WriteAt(digest[:], 0)
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("extending %s: %w", r, err)
	}
	return nil
}

// Software is a bank in memory for machines without TDX. Nothing it holds is evidence.
type Software struct {
	mu   sync.Mutex
	regs [4]tdx.Digest
}

// Read returns the register's current value.
func (s *Software) Read(r tdx.Register) (tdx.Digest, error) {
	if r < tdx.RTMR0 || r > tdx.RTMR3 {
		return tdx.Digest{}, fmt.Errorf("register %s has no software form", r)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.regs[r-tdx.RTMR0], nil
}

// Extend applies the TDX rule.
func (s *Software) Extend(r tdx.Register, digest tdx.Digest) error {
	if r < tdx.RTMR0 || r > tdx.RTMR3 {
		return fmt.Errorf("register %s cannot be extended", r)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.regs[r-tdx.RTMR0] = s.regs[r-tdx.RTMR0].Extend(digest)
	return nil
}

// Log extends RTMR3 with messages and keeps their text.
type Log struct {
	mu   sync.Mutex
	bank Bank
	out  io.Writer
}

// NewLog makes a log over a bank. Each message is one line on out.
func NewLog(bank Bank, out io.Writer) *Log { return &Log{bank: bank, out: out} }

// Value reads RTMR3.
func (l *Log) Value() (tdx.Digest, error) { return l.bank.Read(tdx.RTMR3) }

// Extend extends RTMR3 with SHA384(message), checks the result, appends the line, and returns the new value.
func (l *Log) Extend(message string) (tdx.Digest, error) {
	digest, err := spec.MessageDigest(message)
	if err != nil {
		return tdx.Digest{}, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	before, err := l.bank.Read(tdx.RTMR3)
	if err != nil {
		return tdx.Digest{}, err
	}
	if err := l.bank.Extend(tdx.RTMR3, digest); err != nil {
		return tdx.Digest{}, err
	}
	after, err := l.bank.Read(tdx.RTMR3)
	if err != nil {
		return tdx.Digest{}, err
	}
	if want := before.Extend(digest); after != want {
		return after, fmt.Errorf("extending RTMR3 with %q: %w: want %s, got %s", message, ErrMismatch, want, after)
	}
	if _, err := io.WriteString(l.out, message+"\n"); err != nil {
		return after, fmt.Errorf("appending to the attestation log: %w", err)
	}
	return after, nil
}
