// Package uki assembles unified kernel images: systemd's EFI stub with a command line, an initrd and a kernel as
// further PE sections (image.md section 8.1).
//
// It owns the bytes behind the stub and the header fields that change; the result depends on nothing but the inputs.
// The stub comes from a locked package, but its headers are checked as hostile input: bounded, nothing sliced before
// it is checked. Functions are pure and safe for concurrent use. It refuses stubs that are signed, have no room for
// more section headers or have sections of these names, and empty or oversized contents. It adds no .osrel, .uname,
// .pcrpkey or .profile section, because each would be one more measured event. It does not sign.
package uki

import (
	"errors"
	"fmt"
	"strings"
)

const (
	// maxStub bounds the stub; systemd 257's has 92,160 bytes.
	maxStub = 16 << 20
	// maxSection bounds each section's contents, so that no 32-bit field of the headers can overflow.
	maxSection = 512 << 20
	// maxCmdline is Linux' COMMAND_LINE_SIZE on x86, without its NUL.
	maxCmdline = 2047
)

// Sections are the contents that the stub hands to the kernel.
type Sections struct {
	// Cmdline is the kernel command line: printable ASCII, no newline or NUL at its end.
	Cmdline []byte
	// Initrd is the archive. The stub pads it to 4 bytes, and the padding is measured: initrd.Write's already fit.
	Initrd []byte
	// Linux is the kernel, itself a PE image.
	Linux []byte
}

// section is one named content.
type section struct {
	name string
	data []byte
}

// list is the sections in file order: the kernel is last, because it may need room behind it.
func (s Sections) list() []section {
	return []section{{".cmdline", s.Cmdline}, {".initrd", s.Initrd}, {".linux", s.Linux}}
}

// validate checks the contents.
func (s Sections) validate() error {
	for _, sec := range s.list() {
		if len(sec.data) == 0 || len(sec.data) > maxSection {
			return fmt.Errorf("section %s has %d bytes, want 1..%d", sec.name, len(sec.data), maxSection)
		}
	}
	if len(s.Cmdline) > maxCmdline {
		return fmt.Errorf("command line of %d bytes, at most %d", len(s.Cmdline), maxCmdline)
	}
	if i := strings.IndexFunc(string(s.Cmdline), func(r rune) bool { return r < ' ' || r > '~' }); i >= 0 {
		return fmt.Errorf("command line: byte %d is not printable ASCII", i)
	}
	return nil
}

// Build returns stub with the sections appended. Its size is a multiple of the stub's file alignment.
func Build(stub []byte, s Sections) ([]byte, error) {
	if err := s.validate(); err != nil {
		return nil, fmt.Errorf("assembling UKI: %w", err)
	}
	img, err := parseStub(stub)
	if err != nil {
		return nil, fmt.Errorf("assembling UKI: stub: %w", err)
	}
	for _, sec := range s.list() {
		if err := img.append(sec); err != nil {
			return nil, fmt.Errorf("assembling UKI: section %s: %w", sec.name, err)
		}
	}
	return img.finish(), nil
}

var (
	errTruncated = errors.New("it ends within its headers")
	errSigned    = errors.New("it is signed; appending sections would break the signature, use the unsigned stub")
)
