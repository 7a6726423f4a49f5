// Package smbios rebuilds the SMBIOS table that a guest sees and the filtered copy of it that firmware measures
// (measure.md section 2.3; EDK2's SmbiosMeasurementDxe).
//
// It owns structure walking, composition (type 0 and the end marker added by the firmware) and the filter. Its input
// is the host's: QEMU's etc/smbios/smbios-tables, or a table read in a guest. Structures are walked within bounds,
// and anything after the end marker is refused. It does not interpret fields: what is filtered is a table of offsets.
// All functions are pure.
package smbios

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// Bounds of this parser.
const (
	maxTable      = 1 << 20 // QEMU's is 400 bytes plus 50 a vCPU socket
	maxStructures = 8192
	maxStrings    = 255 // a string's number is one byte
)

// Structure types with a meaning here (DMTF DSP0134).
const (
	typeFirmware = 0
	typeEnd      = 127
)

const (
	headerSize = 4
	// endHandle is the handle EDK2 gives to its end marker.
	endHandle = 0xfeff
)

// ErrFormat marks every refusal of a table by its bytes.
var ErrFormat = errors.New("SMBIOS table")

// Structure is one SMBIOS structure.
type Structure struct {
	Type uint8
	// Data is the whole structure: header, formatted area, strings and their terminator.
	Data []byte
	// Length of the formatted area including the 4-byte header; strings begin there.
	Length int
}

// Parse splits a table into its structures. A type 127 structure must be the last.
func Parse(table []byte) ([]Structure, error) {
	if len(table) > maxTable {
		return nil, fmt.Errorf("%w: %d bytes, at most %d", ErrFormat, len(table), maxTable)
	}
	var out []Structure
	for off := 0; off < len(table); {
		if len(out) == maxStructures {
			return nil, fmt.Errorf("%w: more than %d structures", ErrFormat, maxStructures)
		}
		if n := len(out); n > 0 && out[n-1].Type == typeEnd {
			return nil, fmt.Errorf("%w: %d bytes after the end marker", ErrFormat, len(table)-off)
		}
		s, err := next(table[off:])
		if err != nil {
			return nil, fmt.Errorf("%w: structure %d at byte %d: %w", ErrFormat, len(out), off, err)
		}
		out = append(out, s)
		off += len(s.Data)
	}
	return out, nil
}

func next(b []byte) (Structure, error) {
	if len(b) < headerSize {
		return Structure{}, errors.New("header is cut off")
	}
	length := int(b[1])
	if length < headerSize || length > len(b) {
		return Structure{}, fmt.Errorf("length %d is outside 4..%d", length, len(b))
	}
	// The string area ends with two zero bytes, also when there is no string.
	end := bytes.Index(b[length:], []byte{0, 0})
	if end < 0 {
		return Structure{}, errors.New("strings are not terminated")
	}
	s := Structure{Type: b[0], Data: b[:length+end+2], Length: length}
	if n := len(s.strings()); n > maxStrings {
		return Structure{}, fmt.Errorf("%d strings, at most %d", n, maxStrings)
	}
	return s, nil
}

// strings are views of the structure's strings, without their terminators.
func (s Structure) strings() [][]byte {
	area := s.Data[s.Length : len(s.Data)-1]
	if len(area) == 1 { // the first of the two zero bytes
		return nil
	}
	return bytes.Split(area[:len(area)-1], []byte{0})
}

// Type0 is the firmware information structure that OVMF adds when QEMU supplies none (OvmfPkg, SmbiosPlatformDxe).
func Type0(vendor, version, date string) ([]byte, error) {
	out := []byte{
		typeFirmware, 0x1a, 0, 0, // header, handle 0
		1, 2, // vendor, version: string numbers
		0x00, 0xe8, // BIOS starting segment
		3, 0, // release date: string number; ROM size
		0x08, 0, 0, 0, 0, 0, 0, 0, // characteristics: not supported
		0, 0x1c, // extension bytes: virtual machine, UEFI
		0, 0, 0xff, 0xff, // system firmware 0.0, no embedded controller
		0, 0, // extended ROM size
	}
	for _, s := range []string{vendor, version, date} {
		if s == "" || len(s) > 64 || bytes.IndexByte([]byte(s), 0) >= 0 {
			return nil, fmt.Errorf("building SMBIOS type 0: string %q is empty, longer than 64 bytes or holds a NUL", s)
		}
		out = append(append(out, s...), 0)
	}
	return append(out, 0), nil
}

// Compose builds the table of the guest from QEMU's: its structures in order without the end marker, then the
// firmware's type 0 if QEMU has none, then the firmware's end marker.
func Compose(qemu, type0 []byte) ([]byte, error) {
	structures, err := Parse(qemu)
	if err != nil {
		return nil, err
	}
	var out []byte
	hasFirmware := false
	for _, s := range structures {
		hasFirmware = hasFirmware || s.Type == typeFirmware
		if s.Type != typeEnd {
			out = append(out, s.Data...)
		}
	}
	if !hasFirmware {
		one, err := Parse(type0)
		if err != nil || len(one) != 1 || one[0].Type != typeFirmware {
			return nil, fmt.Errorf("%w: the firmware's structure is not one type 0: %w", ErrFormat, err)
		}
		out = append(out, type0...)
	}
	end := []byte{typeEnd, headerSize, 0, 0, 0, 0}
	binary.LittleEndian.PutUint16(end[2:], endHandle)
	return append(out, end...), nil
}

// Filter is the copy of a guest table that firmware measures: fields that differ between equal machines are blanked.
func Filter(table []byte) ([]byte, error) {
	copied := slices.Clone(table)
	structures, err := Parse(copied)
	if err != nil {
		return nil, err
	}
	for _, s := range structures {
		s.blank()
	}
	return copied, nil
}

// Firmware returns the strings of a table's type 0 structure: vendor, version and release date.
func Firmware(table []byte) (vendor, version, date string, err error) {
	structures, err := Parse(table)
	if err != nil {
		return "", "", "", err
	}
	for _, s := range structures {
		const vendorAt, versionAt, dateAt = 4, 5, 8
		if s.Type == typeFirmware && s.Length > dateAt {
			return s.text(vendorAt), s.text(versionAt), s.text(dateAt), nil
		}
	}
	return "", "", "", fmt.Errorf("%w: no type 0 structure", ErrFormat)
}

// text is the string that the number at an offset names; empty if there is none.
func (s Structure) text(at int) string {
	texts := s.strings()
	if n := int(s.Data[at]); n >= 1 && n <= len(texts) {
		return string(texts[n-1])
	}
	return ""
}
