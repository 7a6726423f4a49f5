package config

import (
	"errors"
	"fmt"
	"io"

	"cocoon/measure/spec"
)

// DiskSerial is the virtio serial of the config disk (image.md section 14).
const DiskSerial = "cocoon-config"

// Document is everything on the config disk, from one read.
type Document struct {
	// SpecHash is the git tree hash of the spec files; RTMR3 is extended with it.
	SpecHash spec.Hash
	// Files is the measured spec.
	Files []spec.File
	// Measured is role.json.
	Measured *Measured
	// Runtime is the unmeasured document, or the default when the disk has none.
	Runtime *Runtime
	// HasRuntime says that the disk carried one.
	HasRuntime bool
}

// ReadDisk reads the header and then exactly the named lengths, once, and parses the copy in memory. Files that a
// host adds, drops or changes give another SpecHash; a disk that breaks the format is an error.
func ReadDisk(r io.ReaderAt, size uint64) (*Document, error) {
	disk, err := readSections(r, size)
	if err != nil {
		return nil, err
	}
	hash, err := spec.TreeHash(disk.Files)
	if err != nil {
		return nil, fmt.Errorf("hashing the spec: %w", err)
	}
	doc := &Document{SpecHash: hash, Files: disk.Files, Runtime: DefaultRuntime(), HasRuntime: disk.Runtime != nil}
	if doc.Measured, err = roleOf(disk.Files); err != nil {
		return nil, err
	}
	if doc.HasRuntime {
		if doc.Runtime, err = ParseRuntime(disk.Runtime); err != nil {
			return nil, err
		}
	}
	return doc, nil
}

func readSections(r io.ReaderAt, size uint64) (spec.Disk, error) {
	var raw [spec.HeaderSize]byte
	if err := readExactly(r, raw[:], 0); err != nil {
		return spec.Disk{}, fmt.Errorf("reading config disk header: %w", err)
	}
	h, err := spec.ParseHeader(raw)
	if err != nil {
		return spec.Disk{}, err
	}
	specBytes, err := readSection(r, h.Spec, size)
	if err != nil {
		return spec.Disk{}, fmt.Errorf("reading config disk: spec section: %w", err)
	}
	var runtimeBytes []byte
	if h.HasRuntime() {
		if runtimeBytes, err = readSection(r, h.Runtime, size); err != nil {
			return spec.Disk{}, fmt.Errorf("reading config disk: runtime section: %w", err)
		}
	}
	return spec.Parse(h, specBytes, runtimeBytes)
}

// readSection reads one section whose length the header bounds; a section beyond the device is refused before the
// memory for it is taken.
func readSection(r io.ReaderAt, s spec.Section, size uint64) ([]byte, error) {
	if end := uint64(s.Offset) + uint64(s.Length); end > size { //nolint:gosec // ParseHeader bounds both to 16 MiB
		return nil, fmt.Errorf("ends at byte %d, the disk has %d: it is truncated", end, size)
	}
	buf := make([]byte, s.Length)
	return buf, readExactly(r, buf, s.Offset)
}

func readExactly(r io.ReaderAt, buf []byte, off int64) error {
	n, err := r.ReadAt(buf, off)
	if n == len(buf) {
		return nil
	}
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("the disk ends after %d of %d bytes at offset %d", n, len(buf), off)
	}
	return err
}

func roleOf(files []spec.File) (*Measured, error) {
	for _, f := range files {
		if f.Path == RoleFile {
			return ParseMeasured(f.Data)
		}
	}
	return nil, fmt.Errorf("reading the spec: it has no %s; a spec without a role starts nothing", RoleFile)
}
