package spec

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
)

// Container constants (image.md section 14.1).
const (
	// HeaderSize is the size of the header and the alignment of both sections.
	HeaderSize = 4096
	// MaxDiskSize bounds the bytes that carry meaning: header and both sections at their limits.
	MaxDiskSize = HeaderSize + MaxSpecLength + MaxRuntimeLength

	diskMagic   = "COCOONCF"
	diskVersion = 1
)

// Header offsets (image.md section 14.1); integers are little-endian.
const (
	offMagic    = 0
	offVersion  = 8
	offFlags    = 12
	offSpec     = 16
	offRuntime  = 64
	offReserved = 112

	// Inside a section's 48 bytes: u64 offset, u64 length, SHA-256.
	offSectionLength = 8
	offSectionDigest = 16
)

// Section locates one section on the disk, in bytes.
type Section struct {
	Offset, Length int64
	// SHA256 detects a torn disk; it is not a security check.
	SHA256 [sha256.Size]byte
}

// Header is a checked header: reading exactly Spec and then Runtime stays within MaxDiskSize.
type Header struct {
	Spec Section
	// Runtime is the zero Section when the disk has none.
	Runtime Section
}

// HasRuntime reports whether the disk carries a runtime section.
func (h Header) HasRuntime() bool { return h.Runtime.Offset != 0 }

// Disk is the content of a config disk.
type Disk struct {
	// Files is the measured spec, in the order TreeHash takes.
	Files []File
	// Runtime is the unmeasured runtime document, nil when the disk has none.
	Runtime []byte
}

// EncodeDisk writes the config disk of a spec and, unless it is empty, a runtime document. The result is a multiple of
// HeaderSize long. Files may come in any order; they must otherwise satisfy Check.
func EncodeDisk(files []File, runtime []byte) ([]byte, error) {
	sorted := append([]File(nil), files...)
	Sort(sorted)
	if err := Check(sorted); err != nil {
		return nil, fmt.Errorf("encoding config disk: %w", err)
	}
	archive := encodeArchive(sorted)
	if len(archive) > MaxSpecLength {
		return nil, fmt.Errorf("encoding config disk: spec section has %d bytes, at most %d", len(archive), MaxSpecLength)
	}
	if len(runtime) > MaxRuntimeLength {
		return nil, fmt.Errorf("encoding config disk: runtime section has %d bytes, at most %d", len(runtime), MaxRuntimeLength)
	}
	h := Header{Spec: Section{Offset: HeaderSize, Length: int64(len(archive)), SHA256: sha256.Sum256(archive)}}
	end := h.Spec.end()
	if len(runtime) > 0 {
		h.Runtime = Section{Offset: end, Length: int64(len(runtime)), SHA256: sha256.Sum256(runtime)}
		end = h.Runtime.end()
	}
	disk := make([]byte, end)
	h.put(disk)
	copy(disk[h.Spec.Offset:], archive)
	if h.HasRuntime() {
		copy(disk[h.Runtime.Offset:], runtime)
	}
	return disk, nil
}

// end is the first aligned offset after the section.
func (s Section) end() int64 {
	return (s.Offset + s.Length + HeaderSize - 1) &^ (HeaderSize - 1)
}

func (h Header) put(disk []byte) {
	copy(disk[offMagic:], diskMagic)
	binary.LittleEndian.PutUint32(disk[offVersion:], diskVersion)
	h.Spec.put(disk[offSpec:])
	h.Runtime.put(disk[offRuntime:])
}

func (s Section) put(dst []byte) {
	binary.LittleEndian.PutUint64(dst, uint64(s.Offset))                    //nolint:gosec // never negative
	binary.LittleEndian.PutUint64(dst[offSectionLength:], uint64(s.Length)) //nolint:gosec // never negative
	copy(dst[offSectionDigest:], s.SHA256[:])
}

// ParseHeader reads and checks a header. Nothing else of the disk is needed to decide how much to read next.
func ParseHeader(raw [HeaderSize]byte) (Header, error) {
	h, err := parseHeader(raw[:])
	if err != nil {
		return Header{}, fmt.Errorf("reading config disk header: %w", err)
	}
	return h, nil
}

func parseHeader(raw []byte) (Header, error) {
	le := binary.LittleEndian
	if magic := raw[offMagic:offVersion]; string(magic) != diskMagic {
		return Header{}, fmt.Errorf("magic is %q, want %q: not a config disk", magic, diskMagic)
	}
	if v := le.Uint32(raw[offVersion:]); v != diskVersion {
		return Header{}, fmt.Errorf("version is %d, want %d", v, diskVersion)
	}
	if v := le.Uint32(raw[offFlags:]); v != 0 {
		return Header{}, fmt.Errorf("flags are %#x, want 0", v)
	}
	for i, b := range raw[offReserved:] {
		if b != 0 {
			return Header{}, fmt.Errorf("unused byte %d is 0x%02x, want 0", offReserved+i, b)
		}
	}
	spec, err := parseSection(raw[offSpec:], HeaderSize, MaxSpecLength)
	if err != nil {
		return Header{}, fmt.Errorf("spec section: %w", err)
	}
	h := Header{Spec: spec}
	if none := [offReserved - offRuntime]byte{}; [len(none)]byte(raw[offRuntime:offReserved]) == none {
		return h, nil
	}
	// One encoding per disk: the runtime section starts at the first aligned byte after the spec.
	if h.Runtime, err = parseSection(raw[offRuntime:], spec.end(), MaxRuntimeLength); err != nil {
		return Header{}, fmt.Errorf("runtime section: %w", err)
	}
	return h, nil
}

// parseSection reads {offset, length, SHA-256}; both integers are checked before any arithmetic.
func parseSection(raw []byte, wantOffset, maxLength int64) (Section, error) {
	s := Section{
		Offset: int64(binary.LittleEndian.Uint64(raw)),                    //nolint:gosec // a wrapped value is refused below
		Length: int64(binary.LittleEndian.Uint64(raw[offSectionLength:])), //nolint:gosec // likewise
		SHA256: [sha256.Size]byte(raw[offSectionDigest:]),
	}
	if s.Offset != wantOffset {
		return Section{}, fmt.Errorf("offset is %d, want %d", uint64(s.Offset), wantOffset) //nolint:gosec // as on the disk
	}
	if s.Length <= 0 || s.Length > maxLength {
		return Section{}, fmt.Errorf("length is %d, want 1..%d", uint64(s.Length), maxLength) //nolint:gosec // as on the disk
	}
	return s, nil
}

// Parse checks the two sections, read once into memory with exactly the lengths of h, and returns their content,
// which aliases them. Pass nil for the runtime section of a disk that has none.
func Parse(h Header, specBytes, runtimeBytes []byte) (Disk, error) {
	if err := h.Spec.check(specBytes); err != nil {
		return Disk{}, fmt.Errorf("reading config disk: spec section: %w", err)
	}
	if h.HasRuntime() {
		if err := h.Runtime.check(runtimeBytes); err != nil {
			return Disk{}, fmt.Errorf("reading config disk: runtime section: %w", err)
		}
	} else if len(runtimeBytes) != 0 {
		return Disk{}, errors.New("reading config disk: runtime bytes given for a disk without a runtime section")
	}
	files, err := parseArchive(specBytes)
	if err != nil {
		return Disk{}, fmt.Errorf("reading config disk: spec section: %w", err)
	}
	disk := Disk{Files: files}
	if h.HasRuntime() {
		disk.Runtime = runtimeBytes
	}
	return disk, nil
}

func (s Section) check(data []byte) error {
	if int64(len(data)) != s.Length {
		return fmt.Errorf("%d bytes, the header says %d: the disk is truncated", len(data), s.Length)
	}
	if sum := sha256.Sum256(data); sum != s.SHA256 {
		return fmt.Errorf("SHA-256 is %x, the header says %x: the disk is torn or corrupt", sum, s.SHA256)
	}
	return nil
}

// ParseDisk reads a whole disk image from memory; bytes after the last section are not looked at.
func ParseDisk(image []byte) (Disk, error) {
	if len(image) < HeaderSize {
		return Disk{}, fmt.Errorf("reading config disk: %d bytes, the header alone has %d", len(image), HeaderSize)
	}
	h, err := ParseHeader([HeaderSize]byte(image[:HeaderSize]))
	if err != nil {
		return Disk{}, err
	}
	return Parse(h, h.Spec.slice(image), h.Runtime.slice(image))
}

// slice is the section's bytes, or as many of them as the image has.
func (s Section) slice(image []byte) []byte {
	from, to := min(s.Offset, int64(len(image))), min(s.Offset+s.Length, int64(len(image)))
	return image[from:to:to]
}
