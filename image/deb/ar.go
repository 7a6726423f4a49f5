package deb

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// The ar format as dpkg writes it (deb(5)): a magic line, then members with a header of text fields.
const (
	arMagic      = "!<arch>\n"
	arHeaderSize = 60
	arNameEnd    = 16
	arSizeAt     = 48
	arSizeEnd    = 58
	arHeaderEnd  = "`\n"
	// maxMembers bounds a package: three members, and room for the "_" members that dpkg ignores.
	maxMembers = 16
	// maxMember bounds one member; the largest in Debian are about 1 GB.
	maxMember = 8 << 30
)

// ErrFormat marks bytes that are not a Debian package.
var ErrFormat = errors.New("not a Debian package")

// member is one file of an ar archive.
type member struct {
	name   string
	offset int64
	size   int64
}

// readArchive lists the members of an ar archive that has size bytes.
func readArchive(r io.ReaderAt, size int64) ([]member, error) {
	head := make([]byte, len(arMagic))
	if err := readFullAt(r, head, 0, size); err != nil || string(head) != arMagic {
		return nil, fmt.Errorf("%w: no ar magic at the start", ErrFormat)
	}
	var out []member
	for at := int64(len(arMagic)); at < size; {
		if len(out) == maxMembers {
			return nil, fmt.Errorf("%w: over %d ar members", ErrFormat, maxMembers)
		}
		m, err := readMember(r, at, size)
		if err != nil {
			return nil, fmt.Errorf("%w: ar member %d: %w", ErrFormat, len(out)+1, err)
		}
		out = append(out, m)
		at = m.offset + m.size + m.size%2 // members are padded to even offsets
		if at > size+1 || (at == size+1 && m.size%2 == 0) {
			return nil, fmt.Errorf("%w: ar member %d ends behind the file", ErrFormat, len(out))
		}
	}
	return out, nil
}

func readMember(r io.ReaderAt, at, size int64) (member, error) {
	h := make([]byte, arHeaderSize)
	if err := readFullAt(r, h, at, size); err != nil {
		return member{}, fmt.Errorf("header: %w", err)
	}
	if string(h[arSizeEnd:]) != arHeaderEnd {
		return member{}, errors.New("header does not end with its magic")
	}
	text := strings.TrimRight(string(h[arSizeAt:arSizeEnd]), " ")
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 || n > maxMember || text[0] == '+' {
		return member{}, fmt.Errorf("size %q, want 0..%d", text, int64(maxMember))
	}
	m := member{name: strings.TrimSuffix(strings.TrimRight(string(h[:arNameEnd]), " "), "/"), offset: at + arHeaderSize, size: n}
	if m.offset+m.size > size {
		return member{}, fmt.Errorf("%q has %d bytes, the file ends after %d: truncated?", m.name, m.size, size-m.offset)
	}
	return m, nil
}

// readFullAt reads len(p) bytes at an offset of something that has size bytes.
func readFullAt(r io.ReaderAt, p []byte, at, size int64) error {
	if at+int64(len(p)) > size {
		return fmt.Errorf("%d bytes at %d, the file ends at %d: %w", len(p), at, size, io.ErrUnexpectedEOF)
	}
	_, err := io.ReadFull(io.NewSectionReader(r, at, int64(len(p))), p)
	return err
}
