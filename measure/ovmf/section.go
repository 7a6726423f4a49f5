package ovmf

import (
	"errors"
	"fmt"
	"slices"
)

// SectionType says what a section holds (TDX virtual firmware design guide, "TDVF section types").
type SectionType uint32

// Section types. QEMU starts firmware with the first four only; the others are named for messages.
const (
	BFV SectionType = iota // boot firmware volume: the code
	CFV                    // configuration firmware volume: the variable store
	TDHOB
	TempMem
	PermMem
	Payload
	PayloadParam
	TDInfo
	TDParams
)

// String is the specification's name.
func (t SectionType) String() string {
	names := [...]string{"BFV", "CFV", "TD_HOB", "TempMem", "PermMem", "Payload", "PayloadParam", "TD_INFO", "TD_PARAMS"}
	if int64(t) < int64(len(names)) {
		return names[t]
	}
	return fmt.Sprintf("type %d", uint32(t))
}

// MarshalText makes section types their names in JSON.
func (t SectionType) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// Attributes of a section.
type Attributes uint32

const (
	// Extend measures the section's content into MRTD (MR.EXTEND).
	Extend Attributes = 1 << 0
	// Augment leaves the section's pages to be added at run time (PAGE.AUG); they do not enter MRTD.
	Augment Attributes = 1 << 1
)

// Section is one entry of the TDVF metadata.
type Section struct {
	Type SectionType `json:"type"`
	// DataOffset and RawSize locate the content in the file, in bytes.
	DataOffset uint32 `json:"dataOffset"`
	RawSize    uint32 `json:"rawSize"`
	// Address is the guest physical address, MemorySize the bytes there; content beyond RawSize is zero.
	Address    uint64     `json:"address"`
	MemorySize uint64     `json:"memorySize"`
	Attributes Attributes `json:"attributes"`
}

// End is the first address after the section.
func (s Section) End() uint64 { return s.Address + s.MemorySize }

func (s Section) added() bool    { return s.Attributes&Augment == 0 }
func (s Section) measured() bool { return s.Attributes&Extend != 0 }

// data is the section's content in a checked image.
func (s Section) data(image []byte) []byte {
	end := s.DataOffset + s.RawSize
	return image[s.DataOffset:end:end]
}

// check applies the rules QEMU has for one section (hw/i386/tdvf.c), and that it lies inside the file.
func (s Section) check(fileSize uint64) error {
	hasData := s.Type == BFV || s.Type == CFV
	dataEnd := uint64(s.DataOffset) + uint64(s.RawSize)
	for _, rule := range []struct {
		broken bool
		text   string
	}{
		{s.Type > TempMem, "QEMU refuses sections other than BFV, CFV, TD_HOB and TempMem"},
		{s.Attributes&^(Extend|Augment) != 0, fmt.Sprintf("attributes %#x have unknown bits", uint32(s.Attributes))},
		{s.measured() && !s.added(), "content cannot be measured and added at run time"},
		{(s.Address|s.MemorySize)%PageSize != 0, fmt.Sprintf("address %#x and size %#x must be multiples of %d", s.Address, s.MemorySize, PageSize)},
		{s.End() < s.Address, fmt.Sprintf("address %#x and size %#x exceed 64 bits", s.Address, s.MemorySize)},
		{s.MemorySize == 0, "memory size is 0"},
		{uint64(s.RawSize) > s.MemorySize, fmt.Sprintf("%#x data bytes do not fit a memory size of %#x", s.RawSize, s.MemorySize)},
		{hasData && s.RawSize == 0, "data size is 0"},
		{!hasData && s.RawSize != 0, fmt.Sprintf("data size is %#x, want 0", s.RawSize)},
		// OVMF_CODE files carry the metadata of the combined image they were cut from.
		{dataEnd > fileSize, fmt.Sprintf("data ends at %#x in a file of %#x bytes: if this is an OVMF_CODE file, "+
			"use the combined image (variable store and code in one file) instead", dataEnd, fileSize)},
	} {
		if rule.broken {
			return errors.New(rule.text)
		}
	}
	return nil
}

// checkSections adds the rules across sections: what occurs once, how much is hashed, and that no page is added twice.
func checkSections(sections []Section, fileSize uint64) error {
	count := make(map[SectionType]int)
	var added uint64
	for i, s := range sections {
		if err := s.check(fileSize); err != nil {
			return fmt.Errorf("section %d (%s): %w", i, s.Type, err)
		}
		count[s.Type]++
		if !s.added() {
			continue
		}
		if s.MemorySize > maxAddedMemory-added {
			return fmt.Errorf("section %d (%s): sections add more than %d bytes of memory", i, s.Type, maxAddedMemory)
		}
		added += s.MemorySize
	}
	switch {
	case count[BFV] == 0:
		return errors.New("no BFV section")
	case count[CFV] > 1 || count[TDHOB] > 1:
		return fmt.Errorf("%d CFV and %d TD_HOB sections, at most one of each", count[CFV], count[TDHOB])
	}
	return checkOverlap(sections)
}

func checkOverlap(sections []Section) error {
	sorted := byAddress(sections)
	for i := 1; i < len(sorted); i++ {
		if a, b := sorted[i-1], sorted[i]; a.End() > b.Address {
			return fmt.Errorf("sections %s at %#x and %s at %#x overlap", a.Type, a.Address, b.Type, b.Address)
		}
	}
	return nil
}

func byAddress(sections []Section) []Section {
	return slices.SortedStableFunc(slices.Values(sections), func(a, b Section) int {
		switch {
		case a.Address < b.Address:
			return -1
		case a.Address > b.Address:
			return 1
		}
		return 0
	})
}
