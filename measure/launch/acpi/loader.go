package acpi

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// The loader script: fixed-size records (QEMU hw/acpi/bios-linker-loader.c).
const (
	recordSize    = 128
	nameSize      = 56
	loaderPadding = 4096
	maxRecords    = 1024
)

// Op is a loader command.
type Op uint32

// The loader commands.
const (
	OpAllocate     Op = 1
	OpAddPointer   Op = 2
	OpAddChecksum  Op = 3
	OpWritePointer Op = 4
)

// Zones of an allocation: anywhere, or in the BIOS area below 1 MiB.
const (
	zoneHigh  = 1
	zoneFSeg  = 2
	rsdpAlign = 16
	tblAlign  = 64
)

// Command is one record of the script. Which fields count depends on Op.
type Command struct {
	Op     Op
	File   string // file to allocate, to checksum, or to patch
	Source string // file whose address is added (pointers)
	Offset uint32 // pointer position; position of the checksum byte
	Start  uint32 // first byte summed
	Length uint32 // bytes summed
	Align  uint32 // of an allocation
	Zone   uint8  // of an allocation
	Size   uint8  // of a pointer, in bytes
}

// ParseLoader reads a script up to its zero padding.
func ParseLoader(script []byte) ([]Command, error) {
	if len(script)%recordSize != 0 || len(script) > maxRecords*recordSize {
		return nil, fmt.Errorf("%w: loader script of %d bytes", ErrFormat, len(script))
	}
	var out []Command
	ended := false
	for i := 0; i < len(script); i += recordSize {
		record := script[i : i+recordSize]
		if isZero(record) {
			ended = true
			continue
		}
		if ended {
			return nil, fmt.Errorf("%w: loader record %d behind the padding", ErrFormat, i/recordSize)
		}
		c, used, err := parseCommand(record)
		if err != nil {
			return nil, fmt.Errorf("%w: loader record %d: %w", ErrFormat, i/recordSize, err)
		}
		if !isZero(record[used:]) {
			return nil, fmt.Errorf("%w: loader record %d has bytes behind its fields", ErrFormat, i/recordSize)
		}
		out = append(out, c)
	}
	return out, nil
}

func parseCommand(r []byte) (c Command, used int, err error) {
	const op, first = 4, 4 + nameSize
	c.Op = Op(binary.LittleEndian.Uint32(r))
	if c.File, err = fileName(r[op:first]); err != nil {
		return c, 0, err
	}
	u32 := func(off int) uint32 { return binary.LittleEndian.Uint32(r[off:]) }
	const second = first + nameSize
	switch c.Op {
	case OpAllocate:
		c.Align, c.Zone = u32(first), r[first+4]
		return c, first + 5, nil
	case OpAddChecksum:
		c.Offset, c.Start, c.Length = u32(first), u32(first+4), u32(first+8)
		return c, first + 12, nil
	case OpAddPointer:
		c.Source, err = fileName(r[first:second])
		c.Offset, c.Size = u32(second), r[second+4]
		return c, second + 5, err
	case OpWritePointer:
		c.Source, err = fileName(r[first:second])
		c.Offset, c.Start, c.Size = u32(second), u32(second+4), r[second+8]
		return c, second + 9, err
	}
	return c, 0, fmt.Errorf("unknown command %d", c.Op)
}

func fileName(b []byte) (string, error) {
	end := bytes.IndexByte(b, 0)
	if end <= 0 || !isZero(b[end:]) || !printable(string(b[:end])) {
		return "", fmt.Errorf("file name %q is empty, unprintable or not NUL-padded", b)
	}
	return string(b[:end]), nil
}

func isZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// EncodeLoader writes a script, zero-padded to 4096 bytes as QEMU does.
func EncodeLoader(commands []Command) []byte {
	var out []byte
	for _, c := range commands {
		r := binary.LittleEndian.AppendUint32(nil, uint32(c.Op))
		r = append(r, padded(c.File)...)
		switch c.Op {
		case OpAllocate:
			r = append(binary.LittleEndian.AppendUint32(r, c.Align), c.Zone)
		case OpAddChecksum:
			r = binary.LittleEndian.AppendUint32(r, c.Offset)
			r = binary.LittleEndian.AppendUint32(r, c.Start)
			r = binary.LittleEndian.AppendUint32(r, c.Length)
		case OpAddPointer:
			r = append(r, padded(c.Source)...)
			r = append(binary.LittleEndian.AppendUint32(r, c.Offset), c.Size)
		case OpWritePointer:
			r = append(r, padded(c.Source)...)
			r = binary.LittleEndian.AppendUint32(r, c.Offset)
			r = append(binary.LittleEndian.AppendUint32(r, c.Start), c.Size)
		}
		out = append(out, r...)
		out = append(out, make([]byte, recordSize-len(r))...)
	}
	if short := len(out) % loaderPadding; short != 0 || len(out) == 0 {
		out = append(out, make([]byte, loaderPadding-short)...)
	}
	return out
}

func padded(name string) []byte {
	var b [nameSize]byte
	copy(b[:nameSize-1], name)
	return b[:]
}

// Allocations lists the files the script allocates, in order: the order in which firmware measures them.
func Allocations(commands []Command) []string {
	var out []string
	for _, c := range commands {
		if c.Op == OpAllocate {
			out = append(out, c.File)
		}
	}
	return out
}
