// Package pe reads the parts of PE32 and PE32+ files that UEFI firmware and systemd-stub measure: the Authenticode
// SHA-384 of a boot application, the sections of a unified kernel image, and the setup header of a bzImage as old
// QEMU versions patch it (measure.md sections 3 and 4).
//
// It owns the file layout and nothing else: it neither loads nor verifies an image. It trusts no byte: every offset
// is checked against the file, nothing is allocated from a length in the file, and an image that firmware and tools
// hash differently (overlapping sections, a size that is not a multiple of 8) is refused. An Image keeps a reference
// to the bytes it was parsed from; as long as nobody writes to them, all methods are safe for concurrent use.
package pe

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// Bounds of this parser.
const (
	maxFileSize = 1 << 31 // a UKI of ours is about 40 MB
	maxSections = 96      // PE/COFF specification, section 3.3, limit of the Windows loader
)

// Offsets of the PE/COFF specification. Those marked "opt" count from the optional header.
const (
	dosLfanew        = 0x3c
	coffSize         = 24 // "PE\0\0" and the COFF file header
	coffSections     = 6
	coffOptSize      = 20
	optSizeOfHeaders = 60
	optCheckSum      = 64
	optDirs32        = 96
	optDirs64        = 112
	magicPE32        = 0x10b
	magicPE32Plus    = 0x20b
	dirSize          = 8
	dirSecurity      = 4 // index of the certificate table in the data directories
	sectionSize      = 40
)

// Alignment is the size every measured image must be a multiple of: tools disagree on how to pad others, so we make
// and accept none (measure.md section 3).
const Alignment = 8

// ErrFormat marks every refusal of an image by its bytes.
var ErrFormat = errors.New("PE image")

// Section is one section header of an image.
type Section struct {
	Name           string
	VirtualAddress uint32
	VirtualSize    uint32 // content length in bytes
	RawOffset      uint32 // file position
	RawSize        uint32 // file length, VirtualSize rounded up to the file alignment
}

// Image is a parsed PE file.
type Image struct {
	data     []byte
	sections []Section
	headers  uint32 // SizeOfHeaders
	checksum int    // file offset of the CheckSum field
	security int    // file offset of the certificate table's directory entry, 0 if there is none
	certSize uint32
}

// Parse reads the headers of an image.
func Parse(data []byte) (*Image, error) {
	img, err := parse(data)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	return img, nil
}

func parse(data []byte) (*Image, error) {
	if len(data) > maxFileSize {
		return nil, fmt.Errorf("%d bytes, at most %d", len(data), maxFileSize)
	}
	if len(data)%Alignment != 0 {
		return nil, fmt.Errorf("size %d is not a multiple of %d", len(data), Alignment)
	}
	if len(data) < dosLfanew+4 || data[0] != 'M' || data[1] != 'Z' {
		return nil, errors.New("no MZ signature")
	}
	lfanew := int64(binary.LittleEndian.Uint32(data[dosLfanew:]))
	opt := lfanew + coffSize
	if opt+2 > int64(len(data)) || string(data[lfanew:lfanew+4]) != "PE\x00\x00" {
		return nil, fmt.Errorf("no PE signature at %#x", lfanew)
	}
	coff := data[lfanew:]
	optSize := int64(binary.LittleEndian.Uint16(coff[coffOptSize:]))
	count := int(binary.LittleEndian.Uint16(coff[coffSections:]))
	table := opt + optSize
	if count > maxSections || table+int64(count)*sectionSize > int64(len(data)) {
		return nil, fmt.Errorf("%d sections do not fit", count)
	}
	img := &Image{data: data}
	if err := img.readOptional(int(opt), int(optSize)); err != nil {
		return nil, err
	}
	if err := img.readSections(int(table), count); err != nil {
		return nil, err
	}
	return img, nil
}

// readOptional reads the optional header at opt.
func (img *Image) readOptional(opt, size int) error {
	dirs := optDirs64
	switch magic := binary.LittleEndian.Uint16(img.data[opt:]); magic {
	case magicPE32Plus:
	case magicPE32:
		dirs = optDirs32
	default:
		return fmt.Errorf("optional header magic %#x is neither PE32 nor PE32+", magic)
	}
	if size < dirs || opt+dirs > len(img.data) {
		return fmt.Errorf("optional header of %d bytes, want at least %d", size, dirs)
	}
	img.headers = binary.LittleEndian.Uint32(img.data[opt+optSizeOfHeaders:])
	img.checksum = opt + optCheckSum
	if int64(img.headers) < int64(opt+size) || int64(img.headers) > int64(len(img.data)) {
		return fmt.Errorf("SizeOfHeaders %#x is outside %#x..%#x", img.headers, opt+size, len(img.data))
	}
	if n := binary.LittleEndian.Uint32(img.data[opt+dirs-4:]); n <= dirSecurity {
		return nil
	}
	security := dirs + dirSecurity*dirSize
	if size < security+dirSize {
		return errors.New("data directories exceed the optional header")
	}
	img.security = opt + security
	img.certSize = binary.LittleEndian.Uint32(img.data[img.security+4:])
	return nil
}

// readSections reads the section table and checks that the raw ranges neither overlap nor leave the file.
func (img *Image) readSections(table, count int) error {
	if int64(table+count*sectionSize) > int64(img.headers) {
		return errors.New("section table exceeds SizeOfHeaders")
	}
	img.sections = make([]Section, count)
	for i := range img.sections {
		h := img.data[table+i*sectionSize:]
		s := Section{
			Name:           cString(h[:8]),
			VirtualSize:    binary.LittleEndian.Uint32(h[8:]),
			VirtualAddress: binary.LittleEndian.Uint32(h[12:]),
			RawSize:        binary.LittleEndian.Uint32(h[16:]),
			RawOffset:      binary.LittleEndian.Uint32(h[20:]),
		}
		if s.RawSize != 0 && (s.RawOffset < img.headers || int64(s.RawOffset)+int64(s.RawSize) > int64(len(img.data))) {
			return fmt.Errorf("section %q at %#x of %#x bytes lies outside the file", s.Name, s.RawOffset, s.RawSize)
		}
		img.sections[i] = s
	}
	end := int64(img.headers)
	for _, s := range img.byRawOffset() {
		if int64(s.RawOffset) < end {
			return fmt.Errorf("section %q overlaps the bytes before it", s.Name)
		}
		end = int64(s.RawOffset) + int64(s.RawSize)
	}
	if img.certSize != 0 && end+int64(img.certSize) > int64(len(img.data)) {
		return fmt.Errorf("certificate table of %d bytes overlaps the sections", img.certSize)
	}
	return nil
}

// byRawOffset lists the sections that have bytes in the file, in file order.
func (img *Image) byRawOffset() []Section {
	out := slices.DeleteFunc(slices.Clone(img.sections), func(s Section) bool { return s.RawSize == 0 })
	slices.SortStableFunc(out, func(a, b Section) int { return int(int64(a.RawOffset) - int64(b.RawOffset)) })
	return out
}

// Sections lists the section headers in file order of the table.
func (img *Image) Sections() []Section { return slices.Clone(img.sections) }

// Size is the length of the file.
func (img *Image) Size() int { return len(img.data) }

// Signed reports whether the image carries a certificate table.
func (img *Image) Signed() bool { return img.certSize != 0 }

// Section returns the content of the first section of a name: VirtualSize bytes, as systemd-stub measures them.
func (img *Image) Section(name string) ([]byte, bool, error) {
	for _, s := range img.sections {
		if s.Name != name {
			continue
		}
		if s.VirtualSize > s.RawSize {
			return nil, true, fmt.Errorf("%w: section %q has %d bytes in memory and %d in the file",
				ErrFormat, name, s.VirtualSize, s.RawSize)
		}
		if s.VirtualSize == 0 { // its file position means nothing
			return nil, true, nil
		}
		return img.data[s.RawOffset:][:s.VirtualSize], true, nil
	}
	return nil, false, nil
}

func cString(b []byte) string {
	if i := slices.Index(b, 0); i >= 0 {
		b = b[:i]
	}
	return string(b)
}
