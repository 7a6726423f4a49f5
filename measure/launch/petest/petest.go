// Package petest builds small legal PE32+ files for tests of code that measures them.
//
// It owns a layout in which every field that measuring code looks at is set and nothing else is. It trusts its
// caller, a test, and is safe for concurrent use. It refuses nothing and must not be linked into a program.
package petest

import "encoding/binary"

// Section is a section to build.
type Section struct {
	Name string
	Data []byte
}

// Layout of the files.
const (
	lfanew    = 0x40
	optSize   = 240 // PE32+ with 16 data directories
	fileAlign = 512
	headerEnd = 0x400
	pageSize  = 0x1000
	// CheckSumOffset and SecurityOffset are where those fields lie in the file.
	CheckSumOffset = lfanew + 24 + 64
	SecurityOffset = lfanew + 24 + 112 + 4*8
)

// Build makes a file of the sections, in order, followed by a certificate table if there is one.
func Build(sections []Section, certificates []byte) []byte {
	b := append([]byte{}, make([]byte, headerEnd)...)
	le := binary.LittleEndian
	copy(b, "MZ")
	le.PutUint32(b[0x3c:], lfanew)
	copy(b[lfanew:], "PE\x00\x00")
	le.PutUint16(b[lfanew+4:], 0x8664)
	le.PutUint16(b[lfanew+6:], uint16(len(sections))) //nolint:gosec // a few
	le.PutUint16(b[lfanew+20:], optSize)
	opt := b[lfanew+24:]
	le.PutUint16(opt, 0x20b)
	le.PutUint32(opt[32:], pageSize)
	le.PutUint32(opt[36:], fileAlign)
	le.PutUint32(opt[60:], headerEnd)
	le.PutUint32(opt[108:], 16)
	rva := uint32(pageSize)
	for i, s := range sections {
		h := b[lfanew+24+optSize+40*i:]
		raw := (len(s.Data) + fileAlign - 1) / fileAlign * fileAlign
		copy(h[:8], s.Name)
		le.PutUint32(h[8:], uint32(len(s.Data))) //nolint:gosec // test data
		le.PutUint32(h[12:], rva)
		le.PutUint32(h[16:], uint32(raw))    //nolint:gosec // test data
		le.PutUint32(h[20:], uint32(len(b))) //nolint:gosec // test data
		b = append(b, s.Data...)
		b = append(b, make([]byte, raw-len(s.Data))...)
		rva += uint32((len(s.Data)+pageSize-1)/pageSize+1) * pageSize //nolint:gosec // test data
	}
	if len(certificates) > 0 {
		le.PutUint32(b[SecurityOffset:], uint32(len(b)))              //nolint:gosec // test data
		le.PutUint32(b[SecurityOffset+4:], uint32(len(certificates))) //nolint:gosec // test data
		b = append(b, certificates...)
	}
	return b
}

// Kernel is a file that measuring code takes for a kernel: one section of text.
func Kernel(text string) []byte {
	return Build([]Section{{Name: ".text", Data: []byte(text)}}, nil)
}

// UKI is a unified kernel image of the form ours have.
func UKI(kernel []byte, cmdline, initrd string) []byte {
	return Build([]Section{
		{Name: ".text", Data: []byte("stub")},
		{Name: ".sbat", Data: []byte("sbat,1\n")},
		{Name: ".cmdline", Data: []byte(cmdline)},
		{Name: ".initrd", Data: []byte(initrd)},
		{Name: ".linux", Data: kernel},
	}, nil)
}
