package uki

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// Offsets and sizes of the PE format (Microsoft PE format, "COFF File Header" and "Optional Header").
const (
	offPEPointer  = 0x3c
	peSignature   = "PE\x00\x00"
	coffSize      = 20
	coffSections  = 2 // u16 NumberOfSections
	coffTime      = 4 // u32 TimeDateStamp
	coffOptional  = 16
	optMagic      = 0x20b // PE32+
	optSectAlign  = 32
	optFileAlign  = 36
	optImageSize  = 56
	optHeaderSize = 60
	optChecksum   = 64
	optCertSize   = 112 + 4*8 + 4 // data directory 4, the certificate table: its size
	optMinimum    = optCertSize + 4
	headerSize    = 40
	maxSections   = 96 // the Windows loader's limit
	pageSize      = 4096
	maxImage      = 1 << 31
)

// Offsets within a section header.
const (
	secVirtualSize = 8
	secAddress     = 12
	secRawSize     = 16
	secRawPointer  = 20
	secFlags       = 36
	// flagsData is initialised data, readable.
	flagsData = 0x40000040
)

// peImage is a PE image that grows.
type peImage struct {
	data      []byte
	coff, opt int // offsets of the headers
	table     int // offset of the section headers
	sections  int
	fileAlign uint32
	sectAlign uint32
	nextRVA   uint32
}

// parseStub checks the stub's headers and returns a copy that is ready to grow.
func parseStub(stub []byte) (*peImage, error) {
	p, err := findHeaders(stub)
	if err != nil {
		return nil, err
	}
	opt := stub[p.opt:]
	p.sectAlign = binary.LittleEndian.Uint32(opt[optSectAlign:])
	p.fileAlign = binary.LittleEndian.Uint32(opt[optFileAlign:])
	switch {
	case binary.LittleEndian.Uint16(opt) != optMagic:
		return nil, fmt.Errorf("optional header magic %#x, want PE32+ (%#x)", binary.LittleEndian.Uint16(opt), optMagic)
	case binary.LittleEndian.Uint32(opt[optCertSize:]) != 0 || binary.LittleEndian.Uint32(opt[optCertSize-4:]) != 0:
		return nil, errSigned
	case !alignment(p.fileAlign, 512, 1<<16) || !alignment(p.sectAlign, pageSize, 1<<21):
		return nil, fmt.Errorf("file alignment %#x and section alignment %#x: no powers of two of usual size", p.fileAlign, p.sectAlign)
	}
	headers := int64(binary.LittleEndian.Uint32(opt[optHeaderSize:]))
	need := int64(p.table + headerSize*(p.sections+len(Sections{}.list())))
	if need > headers || headers > int64(len(stub)) {
		return nil, fmt.Errorf("three more section headers end at byte %d, the header area at %d", need, headers)
	}
	if err := p.scanSections(stub); err != nil {
		return nil, err
	}
	p.data = pad(bytes.Clone(stub), p.fileAlign)
	return p, nil
}

// findHeaders locates the headers within the stub.
func findHeaders(stub []byte) (*peImage, error) {
	if len(stub) > maxStub {
		return nil, fmt.Errorf("%d bytes, at most %d", len(stub), maxStub)
	}
	if len(stub) < offPEPointer+4 || string(stub[:2]) != "MZ" {
		return nil, errors.New("no MZ header: it is not a PE image")
	}
	at := int64(binary.LittleEndian.Uint32(stub[offPEPointer:]))
	if at+int64(len(peSignature)+coffSize+optMinimum) > int64(len(stub)) {
		return nil, errTruncated
	}
	if string(stub[at:at+int64(len(peSignature))]) != peSignature {
		return nil, fmt.Errorf("no PE signature at byte %d", at)
	}
	p := &peImage{coff: int(at) + len(peSignature)}
	p.opt = p.coff + coffSize
	size := int(binary.LittleEndian.Uint16(stub[p.coff+coffOptional:]))
	p.sections = int(binary.LittleEndian.Uint16(stub[p.coff+coffSections:]))
	p.table = p.opt + size
	if size < optMinimum || p.sections == 0 || p.sections > maxSections || p.table+headerSize*p.sections > len(stub) {
		return nil, errTruncated
	}
	return p, nil
}

// scanSections finds the first free virtual address and refuses a stub that has one of our sections.
func (p *peImage) scanSections(stub []byte) error {
	var end uint64
	for i := range p.sections {
		h := stub[p.table+headerSize*i:][:headerSize]
		name := string(bytes.TrimRight(h[:8], "\x00"))
		if slices.ContainsFunc(Sections{}.list(), func(s section) bool { return s.name == name }) {
			return fmt.Errorf("it has a section %s already: it is an assembled image, not a stub", name)
		}
		raw := uint64(binary.LittleEndian.Uint32(h[secRawPointer:])) + uint64(binary.LittleEndian.Uint32(h[secRawSize:]))
		if raw > uint64(len(stub)) {
			return fmt.Errorf("section %q goes beyond the file", name)
		}
		end = max(end, uint64(binary.LittleEndian.Uint32(h[secAddress:]))+uint64(binary.LittleEndian.Uint32(h[secVirtualSize:])))
	}
	if end > maxStub {
		return fmt.Errorf("its sections end at address %#x, beyond %#x", end, maxStub)
	}
	p.nextRVA = roundUp(uint32(end), p.sectAlign)
	return nil
}

// append adds a section header and its data.
func (p *peImage) append(s section) error {
	raw := roundUp(uint32(len(s.data)), p.fileAlign) //nolint:gosec // at most maxSection
	if int64(p.nextRVA)+int64(raw) > maxImage || int64(len(p.data))+int64(raw) > maxImage {
		return fmt.Errorf("the image would exceed %d bytes", maxImage)
	}
	h := p.data[p.table+headerSize*p.sections:][:headerSize]
	clear(h)
	copy(h, s.name)
	binary.LittleEndian.PutUint32(h[secVirtualSize:], uint32(len(s.data))) //nolint:gosec // at most maxSection
	binary.LittleEndian.PutUint32(h[secAddress:], p.nextRVA)
	binary.LittleEndian.PutUint32(h[secRawSize:], raw)
	binary.LittleEndian.PutUint32(h[secRawPointer:], uint32(len(p.data))) //nolint:gosec // at most maxImage
	binary.LittleEndian.PutUint32(h[secFlags:], flagsData)
	p.data = pad(append(p.data, s.data...), p.fileAlign)
	p.nextRVA = roundUp(p.nextRVA+uint32(len(s.data)), p.sectAlign) //nolint:gosec // at most maxSection
	p.sections++
	return nil
}

// finish sets the header fields that the sections changed. Time stamp and checksum are 0: firmware ignores both.
func (p *peImage) finish() []byte {
	binary.LittleEndian.PutUint16(p.data[p.coff+coffSections:], uint16(p.sections)) //nolint:gosec // at most maxSections+3
	binary.LittleEndian.PutUint32(p.data[p.coff+coffTime:], 0)
	binary.LittleEndian.PutUint32(p.data[p.opt+optImageSize:], p.nextRVA)
	binary.LittleEndian.PutUint32(p.data[p.opt+optChecksum:], 0)
	return p.data
}

// alignment reports whether n is a power of two in least..most.
func alignment(n, least, most uint32) bool { return n >= least && n <= most && n&(n-1) == 0 }

// roundUp rounds up to a power of two.
func roundUp(n, to uint32) uint32 { return (n + to - 1) &^ (to - 1) }

// pad lengthens data with zeros to a multiple of a power of two.
func pad(data []byte, to uint32) []byte {
	return append(data, make([]byte, -len(data)&int(to-1))...)
}
