package kernel

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
)

// Offsets and values of the ELF-64 file and section headers (System V ABI, chapters 4 and 5; AMD64 supplement).
const (
	elfHeaderSize     = 64
	elfTypeOffset     = 16
	elfMachineOffset  = 18
	elfSectionsOffset = 40 // e_shoff
	elfEntSizeOffset  = 58 // e_shentsize
	elfCountOffset    = 60 // e_shnum
	elfNamesOffset    = 62 // e_shstrndx
	elfRelocatable    = 1
	elfMachineX86     = 62

	sectionHeaderSize = 64
	sectionNameOffset = 0
	sectionDataOffset = 24 // sh_offset
	sectionSizeOffset = 32 // sh_size

	// maxSections bounds the section table; the largest module of the pinned kernel has about 200.
	maxSections = 8192
	// maxInfo and maxInfoFields bound .modinfo; nf_tables has 254 bytes, drivers with many aliases some 100 kB.
	maxInfo       = 1 << 20
	maxInfoFields = 32768
)

// elfIdent is ELF, 64 bit, little-endian, version 1.
//
//nolint:gochecknoglobals // a constant
var elfIdent = []byte{0x7f, 'E', 'L', 'F', 2, 1, 1}

// Info is what a module says about itself in its section .modinfo.
type Info struct {
	Name         string
	Depends      []string // the kernel's names, in the order written
	VersionMagic string
	License      string
}

// ParseInfo reads .modinfo of a module: NUL-separated key=value fields.
func ParseInfo(module []byte) (Info, error) {
	data, err := section(module, ".modinfo")
	if err != nil {
		return Info{}, fmt.Errorf("reading module information: %w", err)
	}
	info, err := parseFields(data)
	if err != nil {
		return Info{}, fmt.Errorf("reading module information: %w", err)
	}
	return info, nil
}

func parseFields(data []byte) (Info, error) {
	if len(data) > maxInfo {
		return Info{}, fmt.Errorf(".modinfo of %d bytes, at most %d", len(data), maxInfo)
	}
	fields := bytes.Split(data, []byte{0})
	if len(fields) > maxInfoFields {
		return Info{}, fmt.Errorf(".modinfo of %d fields, at most %d", len(fields), maxInfoFields)
	}
	values := make(map[string]string)
	for _, f := range fields {
		if len(f) == 0 {
			continue // alignment and the last NUL
		}
		key, value, ok := strings.Cut(string(f), "=")
		if !ok {
			return Info{}, fmt.Errorf(".modinfo field %q has no =", f)
		}
		switch key {
		case "name", "depends", "vermagic":
			if _, ok := values[key]; ok {
				return Info{}, fmt.Errorf(".modinfo has %s twice", key)
			}
			values[key] = value
		case "license":
			values[key] = value
		}
	}
	for _, key := range []string{"name", "depends", "vermagic"} {
		if _, ok := values[key]; !ok {
			return Info{}, fmt.Errorf(".modinfo has no %s", key)
		}
	}
	info := Info{Name: values["name"], VersionMagic: values["vermagic"], License: values["license"]}
	if values["depends"] != "" {
		for dep := range strings.SplitSeq(values["depends"], ",") {
			info.Depends = append(info.Depends, strings.ReplaceAll(dep, "-", "_"))
		}
	}
	return info, nil
}

// section returns the bytes of the one section of that name in a relocatable x86-64 ELF object. What follows the
// object (the kernel's appended signature) is not looked at.
func section(file []byte, name string) ([]byte, error) {
	table, err := sectionTable(file)
	if err != nil {
		return nil, err
	}
	index := int(binary.LittleEndian.Uint16(file[elfNamesOffset:]))
	if index*sectionHeaderSize >= len(table) {
		return nil, fmt.Errorf("section of names %d is outside the table", index)
	}
	names, err := sectionData(file, table[index*sectionHeaderSize:])
	if err != nil {
		return nil, fmt.Errorf("section of names: %w", err)
	}
	var found []byte
	for rest := table; len(rest) > 0; rest = rest[sectionHeaderSize:] {
		offset := binary.LittleEndian.Uint32(rest[sectionNameOffset:])
		if uint64(offset) >= uint64(len(names)) {
			return nil, fmt.Errorf("section name at %d is outside %d bytes of names", offset, len(names))
		}
		got, _, ok := bytes.Cut(names[offset:], []byte{0})
		if !ok {
			return nil, errors.New("section name without its NUL")
		}
		if string(got) != name {
			continue
		}
		if found != nil {
			return nil, fmt.Errorf("two sections %s", name)
		}
		if found, err = sectionData(file, rest); err != nil {
			return nil, fmt.Errorf("section %s: %w", name, err)
		}
	}
	if found == nil {
		return nil, fmt.Errorf("no section %s", name)
	}
	return found, nil
}

// sectionTable checks the file header and returns the section headers, a multiple of their size.
func sectionTable(file []byte) ([]byte, error) {
	if len(file) < elfHeaderSize || !bytes.HasPrefix(file, elfIdent) {
		return nil, errors.New("not a 64-bit little-endian ELF file")
	}
	typ, machine := binary.LittleEndian.Uint16(file[elfTypeOffset:]), binary.LittleEndian.Uint16(file[elfMachineOffset:])
	if typ != elfRelocatable || machine != elfMachineX86 {
		return nil, fmt.Errorf("ELF type %d for machine %d, want a relocatable object (1) for x86-64 (62)", typ, machine)
	}
	if size := binary.LittleEndian.Uint16(file[elfEntSizeOffset:]); size != sectionHeaderSize {
		return nil, fmt.Errorf("section headers of %d bytes, want %d", size, sectionHeaderSize)
	}
	count := int(binary.LittleEndian.Uint16(file[elfCountOffset:]))
	if count == 0 || count > maxSections {
		return nil, fmt.Errorf("%d sections, want 1..%d", count, maxSections)
	}
	start := binary.LittleEndian.Uint64(file[elfSectionsOffset:])
	size := uint64(count) * sectionHeaderSize
	if start > uint64(len(file)) || size > uint64(len(file))-start {
		return nil, fmt.Errorf("section table of %d bytes at %d is outside %d bytes", size, start, len(file))
	}
	return file[start : start+size], nil
}

func sectionData(file, header []byte) ([]byte, error) {
	start := binary.LittleEndian.Uint64(header[sectionDataOffset:])
	size := binary.LittleEndian.Uint64(header[sectionSizeOffset:])
	if start > uint64(len(file)) || size > uint64(len(file))-start {
		return nil, fmt.Errorf("%d bytes at %d are outside %d bytes", size, start, len(file))
	}
	return file[start : start+size : start+size], nil
}
