package ovmf

import (
	"encoding/binary"
	"errors"
	"fmt"
)

const (
	// maxImage bounds a firmware file; QEMU maps at most 16 MiB below 4 GiB.
	maxImage = 64 << 20
	// maxSections bounds the section list; OVMF has 6 or 7.
	maxSections = 64
	// maxAddedMemory bounds the memory that sections add to the TD and so the bytes hashed; OVMF adds about 4.2 MiB.
	maxAddedMemory = 64 << 20
	// PageSize is the unit in which a TD's memory is added.
	PageSize = 4096
)

// Footer of the OVMF GUID table (OvmfPkg/ResetVector): the table ends 32 bytes before the file does, its last entry is
// the footer: u16 table length and the footer's GUID.
const (
	tableTail   = 32
	guidSize    = 16
	entryHeader = 2 + guidSize // u16 length, GUID; both follow the entry's data
	footerTail  = tableTail + entryHeader
	offsetSize  = 4 // u32, distance of the TDVF descriptor from the end of the file
)

// GUIDs as they lie in the file.
const (
	footerGUID = "\xde\x82\xb5\x96\xb2\x1f\xf7\x45\xba\xea\xa3\x66\xc5\x5a\x08\x2d" // 96b582de-1fb2-45f7-baea-a366c55a082d
	tdvfGUID   = "\x35\x65\x7a\xe4\x4a\x98\x98\x47\x86\x5e\x46\x85\xa7\xbf\x8e\xc2" // e47a6535-984a-4798-865e-4685a7bf8ec2
)

// Descriptor layout (TDX virtual firmware design guide, "TDVF metadata"): signature, u32 length, u32 version, u32 count.
const (
	tdvfSignature   = "TDVF"
	tdvfVersion     = 1
	descriptorSize  = 16
	sectionSize     = 32
	tdShimOffsetPos = 0x20 // td-shim: u32 absolute descriptor offset, this far from the end
)

// ErrNoMetadata says that a file carries no TDVF metadata: it is not TDX firmware.
var ErrNoMetadata = errors.New("no TDVF metadata")

// Sections reads and checks the memory sections of a firmware file, in metadata order.
func Sections(image []byte) ([]Section, error) {
	if len(image) > maxImage {
		return nil, fmt.Errorf("reading firmware: %d bytes, at most %d", len(image), maxImage)
	}
	offset, err := descriptorOffset(image)
	if err != nil {
		return nil, fmt.Errorf("reading firmware: %w", err)
	}
	sections, err := readSections(image, offset)
	if err != nil {
		return nil, fmt.Errorf("reading firmware: TDVF metadata at %#x: %w", offset, err)
	}
	if err := checkSections(sections, uint64(len(image))); err != nil {
		return nil, fmt.Errorf("reading firmware: %w", err)
	}
	return sections, nil
}

// descriptorOffset finds the TDVF descriptor through the GUID table, or the way td-shim announces it.
func descriptorOffset(image []byte) (int, error) {
	n := len(image)
	if n < footerTail {
		return 0, fmt.Errorf("%w: file has only %d bytes", ErrNoMetadata, n)
	}
	if string(image[n-footerTail+2:n-tableTail]) != footerGUID {
		return shimOffset(image)
	}
	length := int(binary.LittleEndian.Uint16(image[n-footerTail:]))
	if length < entryHeader || length > n-tableTail {
		return 0, fmt.Errorf("GUID table has length %d, want %d..%d", length, entryHeader, n-tableTail)
	}
	data, err := tableEntry(image[n-tableTail-length:n-footerTail], tdvfGUID)
	if err != nil {
		return 0, err
	}
	if len(data) < offsetSize {
		return 0, fmt.Errorf("TDVF entry of the GUID table has %d data bytes, want %d", len(data), offsetSize)
	}
	back := binary.LittleEndian.Uint32(data[len(data)-offsetSize:])
	if uint64(back) > uint64(n) {
		return 0, fmt.Errorf("TDVF descriptor lies %d bytes before the end of a file of %d", back, n)
	}
	return n - int(back), nil
}

// tableEntry walks the GUID table backwards; an entry is data ‖ u16 length ‖ GUID, the length counting all three.
func tableEntry(table []byte, guid string) ([]byte, error) {
	for len(table) > 0 {
		if len(table) < entryHeader {
			return nil, fmt.Errorf("GUID table has %d stray bytes at its start", len(table))
		}
		end := len(table) - entryHeader
		length := int(binary.LittleEndian.Uint16(table[end:]))
		if length < entryHeader || length > len(table) {
			return nil, fmt.Errorf("GUID table entry has length %d, want %d..%d", length, entryHeader, len(table))
		}
		start := len(table) - length
		if string(table[end+2:]) == guid {
			return table[start:end], nil
		}
		table = table[:start]
	}
	return nil, fmt.Errorf("%w: the GUID table has no TDVF entry, the firmware was built without TDX", ErrNoMetadata)
}

func shimOffset(image []byte) (int, error) {
	offset := binary.LittleEndian.Uint32(image[len(image)-tdShimOffsetPos:])
	if uint64(offset)+descriptorSize > uint64(len(image)) ||
		string(image[offset:offset+uint32(len(tdvfSignature))]) != tdvfSignature {
		return 0, fmt.Errorf("%w: neither an OVMF GUID table nor a td-shim descriptor", ErrNoMetadata)
	}
	return int(offset), nil
}

func readSections(image []byte, offset int) ([]Section, error) {
	le := binary.LittleEndian
	if len(image)-offset < descriptorSize {
		return nil, errors.New("descriptor reaches past the end of the file")
	}
	d := image[offset:]
	if string(d[:4]) != tdvfSignature {
		return nil, fmt.Errorf("signature is %q, want %q", d[:4], tdvfSignature)
	}
	length, version, count := le.Uint32(d[4:]), le.Uint32(d[8:]), le.Uint32(d[12:])
	switch {
	case version != tdvfVersion:
		return nil, fmt.Errorf("version is %d, want %d", version, tdvfVersion)
	case count < 2 || count > maxSections:
		return nil, fmt.Errorf("%d sections, want 2..%d", count, maxSections)
	case length != descriptorSize+sectionSize*count:
		return nil, fmt.Errorf("length is %d, want %d for %d sections", length, descriptorSize+sectionSize*count, count)
	case uint64(length) > uint64(len(d)):
		return nil, fmt.Errorf("%d sections reach past the end of the file", count)
	}
	sections := make([]Section, count)
	for i := range sections {
		raw := d[descriptorSize+i*sectionSize:][:sectionSize]
		sections[i] = Section{
			DataOffset: le.Uint32(raw),
			RawSize:    le.Uint32(raw[4:]),
			Address:    le.Uint64(raw[8:]),
			MemorySize: le.Uint64(raw[16:]),
			Type:       SectionType(le.Uint32(raw[24:])),
			Attributes: Attributes(le.Uint32(raw[28:])),
		}
	}
	return sections, nil
}
