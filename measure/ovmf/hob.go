package ovmf

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Split places RAM in a machine's address space.
type Split struct {
	// Threshold is the RAM size in bytes from which memory is split in two.
	Threshold uint64
	// LowEnd is where low RAM ends when it is split; HighStart is where the rest continues.
	LowEnd, HighStart uint64
}

// Q35 is the split of QEMU's q35 machine (hw/i386/pc_q35.c): 2 GiB low from 2816 MiB on, the rest at 4 GiB.
func Q35() Split { return Split{Threshold: 0xb000_0000, LowEnd: 0x8000_0000, HighStart: 0x1_0000_0000} }

// Range is a half-open range of guest physical addresses.
type Range struct{ Start, End uint64 }

// Ranges lists the RAM of a machine, ascending.
func (s Split) Ranges(ram uint64) []Range {
	if ram < s.Threshold {
		return []Range{{0, ram}}
	}
	return []Range{{0, s.LowEnd}, {s.HighStart, s.HighStart + ram - s.LowEnd}}
}

func (s Split) check(ram uint64) error {
	switch {
	case ram == 0 || ram%PageSize != 0 || ram > maxRAM:
		return fmt.Errorf("RAM of %d bytes, want a multiple of %d up to 2^46", ram, PageSize)
	case s.LowEnd > s.Threshold || s.LowEnd > s.HighStart || s.HighStart > maxRAM || s.LowEnd%PageSize != 0:
		return fmt.Errorf("memory split %#x/%#x/%#x is not a split", s.Threshold, s.LowEnd, s.HighStart)
	}
	return nil
}

// HOB layout (UEFI PI specification, volume 3): every HOB starts with u16 type, u16 length, u32 reserved.
const (
	hobHandoff      = 1
	hobHandoffSize  = 56
	hobHandoffVer   = 9
	hobResource     = 3
	hobResourceSize = 48
	hobEndSize      = 8
	// Present, initialised, tested.
	hobAttributes = 7

	offHOBVersion  = 8
	offHOBEnd      = 48
	offResType     = 24
	offResAttr     = 28
	offResStart    = 32
	offResLength   = 40
	maxHOB         = hobHandoffSize + (2*maxSections+2)*hobResourceSize
	maxRAM         = 1 << 46
	resourceSystem = 0 // EFI_RESOURCE_SYSTEM_MEMORY
	resourceUnacc  = 7 // EFI_RESOURCE_MEMORY_UNACCEPTED
)

// Resource is one resource descriptor of a TD HOB.
type Resource struct {
	// Accepted memory was added at build time; the rest the firmware must accept itself.
	Accepted bool
	Range
}

// HOB builds the hashed bytes of the TD HOB that QEMU hands to the firmware: the hand-off HOB and one resource HOB per
// range, without the end marker (measure.md section 2.1). Each TD_HOB and TempMem section is a range of its own.
func HOB(sections []Section, ram uint64, split Split) ([]byte, error) {
	home, ok := find(sections, TDHOB)
	if !ok {
		return nil, errors.New("building TD HOB: the firmware has no TD_HOB section")
	}
	if err := split.check(ram); err != nil {
		return nil, fmt.Errorf("building TD HOB: %w", err)
	}
	resources, err := resources(sections, split.Ranges(ram))
	if err != nil {
		return nil, fmt.Errorf("building TD HOB: %w", err)
	}
	hob := encodeHOB(home.Address, resources)
	if uint64(len(hob)+hobEndSize) > home.MemorySize {
		return nil, fmt.Errorf("building TD HOB: %d bytes do not fit the section of %d", len(hob)+hobEndSize, home.MemorySize)
	}
	return hob, nil
}

// resources walks the RAM ranges and cuts out the sections that lie in RAM.
func resources(sections []Section, ram []Range) ([]Resource, error) {
	var private []Section
	for _, s := range byAddress(sections) {
		if s.Type == TDHOB || s.Type == TempMem {
			private = append(private, s)
		}
	}
	var out []Resource
	for _, r := range ram {
		at := r.Start
		for len(private) > 0 && private[0].Address < r.End {
			s := private[0]
			if s.Address < at || s.End() > r.End {
				return nil, fmt.Errorf("section %s at %#x..%#x does not lie in RAM %#x..%#x", s.Type, s.Address, s.End(), r.Start, r.End)
			}
			if s.Address > at {
				out = append(out, Resource{Range: Range{at, s.Address}})
			}
			out = append(out, Resource{Accepted: true, Range: Range{s.Address, s.End()}})
			at, private = s.End(), private[1:]
		}
		if at < r.End {
			out = append(out, Resource{Range: Range{at, r.End}})
		}
	}
	if len(private) > 0 {
		return nil, fmt.Errorf("section %s at %#x lies above RAM", private[0].Type, private[0].Address)
	}
	return out, nil
}

// encodeHOB writes the list; its end pointer counts the end marker that is not part of the hashed bytes.
func encodeHOB(address uint64, resources []Resource) []byte {
	le := binary.LittleEndian
	out := make([]byte, hobHandoffSize+len(resources)*hobResourceSize)
	le.PutUint16(out, hobHandoff)
	le.PutUint16(out[2:], hobHandoffSize)
	le.PutUint32(out[offHOBVersion:], hobHandoffVer)
	le.PutUint64(out[offHOBEnd:], address+uint64(len(out))+hobEndSize)
	for i, r := range resources {
		d := out[hobHandoffSize+i*hobResourceSize:]
		le.PutUint16(d, hobResource)
		le.PutUint16(d[2:], hobResourceSize)
		kind := uint32(resourceUnacc)
		if r.Accepted {
			kind = resourceSystem
		}
		le.PutUint32(d[offResType:], kind)
		le.PutUint32(d[offResAttr:], hobAttributes)
		le.PutUint64(d[offResStart:], r.Start)
		le.PutUint64(d[offResLength:], r.End-r.Start)
	}
	return out
}

// ParseHOB reads what HOB writes and returns the address the list lies at and its resources. Bytes that HOB would
// have written differently are refused.
func ParseHOB(hob []byte) (address uint64, resources []Resource, err error) {
	if len(hob) < hobHandoffSize || len(hob) > maxHOB || (len(hob)-hobHandoffSize)%hobResourceSize != 0 {
		return 0, nil, fmt.Errorf("reading TD HOB: %d bytes are not %d and a multiple of %d, or exceed %d",
			len(hob), hobHandoffSize, hobResourceSize, maxHOB)
	}
	le := binary.LittleEndian
	address = le.Uint64(hob[offHOBEnd:]) - uint64(len(hob)) - hobEndSize
	for off := hobHandoffSize; off < len(hob); off += hobResourceSize {
		start := le.Uint64(hob[off+offResStart:])
		resources = append(resources, Resource{
			Accepted: le.Uint32(hob[off+offResType:]) == resourceSystem,
			Range:    Range{start, start + le.Uint64(hob[off+offResLength:])},
		})
	}
	if again := encodeHOB(address, resources); string(again) != string(hob) {
		return 0, nil, fmt.Errorf("reading TD HOB: byte %d is not what a TD HOB holds there", firstDifference(hob, again))
	}
	return address, resources, nil
}

func firstDifference(a, b []byte) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}
