package initrd

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"

	"github.com/u-root/u-root/pkg/cpio"

	"cocoon/image/rootfs"
)

// The newc header: magic and 13 fields of 8 hexadecimal digits (image.md section 5).
const (
	magic      = "070701"
	fieldSize  = 8
	fieldCount = 13
	headerSize = len(magic) + fieldCount*fieldSize
	alignment  = 4
	// maxName is Linux' PATH_MAX, the NUL included.
	maxName = 4096
)

// Indices of the header's fields that carry something; all others are the same in every record.
const (
	fieldMode     = 1
	fieldFileSize = 6
	fieldMajor    = 9
	fieldMinor    = 10
	fieldNameSize = 11
)

// rawRecord is one record as found in the archive.
type rawRecord struct {
	name   string
	data   []byte
	fields [fieldCount]uint32
}

// Read parses an archive that Write made. Contents refer to data, which must not change.
func Read(data []byte) (*rootfs.Tree, error) {
	tree, err := parse(data)
	if err != nil {
		return nil, fmt.Errorf("reading initrd: %w", err)
	}
	again, err := Encode(tree)
	if err != nil {
		return nil, fmt.Errorf("reading initrd: %w", err)
	}
	if !bytes.Equal(again, data) {
		return nil, fmt.Errorf("reading initrd: byte %d is not what this package writes; another program made the archive",
			firstDifference(again, data))
	}
	return tree, nil
}

// parse reads the records into a tree. It checks bounds only: Read compares the re-encoded tree for the rest.
func parse(data []byte) (*rootfs.Tree, error) {
	if len(data) > maxArchive {
		return nil, fmt.Errorf("%d bytes, at most %d", len(data), maxArchive)
	}
	tree, pos := rootfs.New(), 0
	for range maxRecords {
		rec, next, err := parseRecord(data, pos)
		if err != nil {
			return nil, fmt.Errorf("record at byte %d: %w", pos, err)
		}
		if rec.name == cpio.Trailer {
			if next != len(data) {
				return nil, fmt.Errorf("%d bytes behind the last record", len(data)-next)
			}
			return tree, nil
		}
		if err := addRecord(tree, rec); err != nil {
			return nil, fmt.Errorf("record at byte %d: %w", pos, err)
		}
		pos = next
	}
	return nil, fmt.Errorf("more than %d records", maxRecords)
}

// parseRecord cuts the record at pos and returns the position behind it.
func parseRecord(data []byte, pos int) (rec rawRecord, next int, err error) {
	if len(data)-pos < headerSize {
		return rec, 0, errors.New("the archive ends within a header")
	}
	header := data[pos : pos+headerSize]
	if string(header[:len(magic)]) != magic {
		return rec, 0, fmt.Errorf("magic %q, want %q", header[:len(magic)], magic)
	}
	for i := range rec.fields {
		text := string(header[len(magic)+i*fieldSize:][:fieldSize])
		if _, err := hex.DecodeString(text); err != nil {
			return rec, 0, fmt.Errorf("header field %d is %q, want hexadecimal digits", i, text)
		}
		v, err := strconv.ParseUint(text, 16, 32)
		if err != nil {
			return rec, 0, fmt.Errorf("header field %d: %w", i, err)
		}
		rec.fields[i] = uint32(v)
	}
	nameSize, fileSize := int64(rec.fields[fieldNameSize]), int64(rec.fields[fieldFileSize])
	if nameSize < 2 || nameSize > maxName {
		return rec, 0, fmt.Errorf("name of %d bytes, want 2..%d", nameSize, maxName)
	}
	nameAt := int64(pos) + int64(headerSize)
	dataAt := align(nameAt + nameSize)
	end := align(dataAt + fileSize)
	if end > int64(len(data)) {
		return rec, 0, fmt.Errorf("%d bytes of data go beyond the archive", fileSize)
	}
	rec.name = string(data[nameAt : nameAt+nameSize-1])
	rec.data = data[dataAt : dataAt+fileSize]
	return rec, int(end), nil
}

// addRecord puts a record into the tree under its literal name.
func addRecord(tree *rootfs.Tree, rec rawRecord) error {
	name, err := rootfs.CleanPath(rec.name)
	if err != nil {
		return err
	}
	if _, ok := tree.Get(name); ok || name != rec.name {
		return fmt.Errorf("name %q is there twice, comes after its content, or is not in its shortest form", rec.name)
	}
	mode := rec.fields[fieldMode]
	n := &rootfs.Inode{Mode: mode & 0o7777, Origin: "initrd"}
	switch mode &^ 0o7777 {
	case cpio.S_IFREG:
		n.Type, n.Content = rootfs.File, rootfs.Bytes(rec.data)
	case cpio.S_IFDIR:
		n.Type = rootfs.Dir
	case cpio.S_IFLNK:
		n.Type, n.Target = rootfs.Symlink, string(rec.data)
	case cpio.S_IFCHR:
		n.Type, n.Major, n.Minor = rootfs.CharDevice, rec.fields[fieldMajor], rec.fields[fieldMinor]
	default:
		return fmt.Errorf("%q has mode %#o: neither file, directory, symlink nor character device", rec.name, mode)
	}
	return tree.Add(name, n)
}

func align(n int64) int64 { return (n + alignment - 1) &^ (alignment - 1) }

// firstDifference is the index of the first byte in which a and b differ.
func firstDifference(a, b []byte) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}
