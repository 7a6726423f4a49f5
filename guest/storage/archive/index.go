package archive

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Bounds of an archive.
const (
	// maxMembers bounds files and folders; models on the hubs have a few hundred.
	maxMembers = 1 << 16
	// maxPax bounds a pax header: a path of Linux' PATH_MAX and a size.
	maxPax = 8 << 10
	// maxPath and maxName are Linux' PATH_MAX and NAME_MAX.
	maxPath = 4096
	maxName = 255
	// maxTail bounds what follows the last member: two empty records, the blocking factor of 20 and the padding to a
	// block of dm-verity, which is a whole one when there is nothing to fill.
	maxTail = 20*recordSize + 2*verityBlock
	// maxArchive is what 32-bit addresses of 512-byte blocks reach, less the metadata in front.
	maxArchive = 1<<41 - 1<<30

	recordSize  = 512
	verityBlock = 4096
)

// The fields of a header that count (POSIX pax interchange format). All others are for tools that unpack.
const (
	nameEnd       = 100
	modeAt        = 100
	sizeAt        = 124
	sizeEnd       = 135
	checksumAt    = 148
	checksumEnd   = 156
	typeAt        = 156
	magicAt       = 257
	magic         = "ustar\x0000"
	prefixAt      = 345
	typeFile      = '0'
	typeDirectory = '5'
	typePax       = 'x'
)

// Member is one file or folder.
type Member struct {
	// Path is relative and clean; "." is the root.
	Path string
	Dir  bool
	// Mode are the permission bits.
	Mode uint32
	// Size is 0 for folders; Offset is where the content begins, a multiple of 512.
	Size, Offset int64
}

// Read reads the headers of an archive of the given length, padding included, from its begin to its end. The members
// come out in the archive's order: the root first, each folder before what is in it.
func Read(r io.ReaderAt, size int64) ([]Member, error) {
	x := &index{r: r, size: size, seen: make(map[string]bool)}
	if err := x.read(); err != nil {
		return nil, fmt.Errorf("reading model archive: %w", err)
	}
	return x.members, nil
}

// index is an archive being read. The position only grows.
type index struct {
	r       io.ReaderAt
	size    int64
	pos     int64
	members []Member
	seen    map[string]bool // paths, and whether they are folders
}

func (x *index) read() error {
	if x.size <= 0 || x.size > maxArchive || x.size%recordSize != 0 {
		return fmt.Errorf("%d bytes are not 512 to %d in whole records", x.size, int64(maxArchive))
	}
	for {
		at := x.pos
		header, err := x.next(recordSize)
		if err != nil {
			return err
		}
		if header[0] == 0 {
			return x.end(header)
		}
		if err := x.member(header); err != nil {
			return fmt.Errorf("member at byte %d: %w", at, err)
		}
	}
}

// next reads the n bytes behind the last ones.
func (x *index) next(n int) ([]byte, error) {
	if int64(n) > x.size-x.pos {
		return nil, fmt.Errorf("the archive ends at byte %d, within a header or before its end marker", x.size)
	}
	b := make([]byte, n)
	if got, err := x.r.ReadAt(b, x.pos); got < n {
		return nil, fmt.Errorf("reading %d bytes at %d: %w", n, x.pos, err)
	}
	x.pos += int64(n)
	return b, nil
}

func (x *index) member(header []byte) error {
	words := make(map[string]string)
	kind, length, err := parseHeader(header)
	if err == nil && kind == typePax {
		if header, words, err = x.pax(length); err == nil {
			kind, length, err = parseHeader(header)
		}
	}
	if err != nil {
		return err
	}
	m := Member{Dir: kind == typeDirectory, Size: length, Offset: x.pos}
	if err := m.describe(header, words); err != nil {
		return err
	}
	switch {
	case kind != typeFile && kind != typeDirectory:
		return fmt.Errorf("%q is of type %q; a model has files and folders", m.Path, kind)
	case m.Dir && m.Size != 0:
		return fmt.Errorf("folder %q has %d bytes", m.Path, m.Size)
	case m.Size > x.size-x.pos:
		return fmt.Errorf("%d bytes of %q go beyond the archive's %d", m.Size, m.Path, x.size)
	}
	x.pos += (m.Size + recordSize - 1) / recordSize * recordSize
	return x.add(m)
}

// describe reads name, mode and size, where the extended header's words come before the header's own.
func (m *Member) describe(header []byte, words map[string]string) error {
	var err error
	if text, ok := words["size"]; ok {
		if m.Size, err = strconv.ParseInt(text, 10, 64); err != nil || m.Size < 0 {
			return fmt.Errorf("size %q is no number", text)
		}
	}
	mode, err := octal(header[modeAt : modeAt+7])
	if err != nil {
		return fmt.Errorf("mode: %w", err)
	}
	m.Mode = uint32(mode & 0o777)
	name, ok := words["path"]
	if !ok {
		name = cString(header[:nameEnd])
	}
	m.Path, err = cleanName(name, m.Dir)
	return err
}

// pax reads the records of an extended header and the header that they are for.
func (x *index) pax(length int64) (header []byte, words map[string]string, err error) {
	if length < 1 || length > maxPax {
		return nil, nil, fmt.Errorf("extended header of %d bytes, want 1 to %d", length, maxPax)
	}
	records, err := x.next(int((length + recordSize - 1) / recordSize * recordSize))
	if err != nil {
		return nil, nil, err
	}
	if words, err = parsePax(records[:length]); err != nil {
		return nil, nil, err
	}
	header, err = x.next(recordSize)
	return header, words, err
}

// add checks a member against those before it.
func (x *index) add(m Member) error {
	_, twice := x.seen[m.Path]
	isFolder, there := x.seen[path.Dir(m.Path)]
	switch {
	case len(x.members) == 0 && (m.Path != "." || !m.Dir):
		return fmt.Errorf("the first member is %q, want the folder ./", m.Path)
	case len(x.members) == maxMembers:
		return fmt.Errorf("more than %d members", maxMembers)
	case twice:
		return fmt.Errorf("%q is there twice", m.Path)
	case m.Path != "." && (!there || !isFolder):
		return fmt.Errorf("%q comes before its folder", m.Path)
	}
	x.seen[m.Path] = m.Dir
	x.members = append(x.members, m)
	return nil
}

// end checks that nothing but a bounded run of zeros follows.
func (x *index) end(first []byte) error {
	rest := x.size - x.pos
	if len(x.members) < 2 {
		return errors.New("it holds no files")
	}
	if rest < recordSize || rest > maxTail {
		return fmt.Errorf("%d bytes follow the first empty record, want 512 to %d", rest, maxTail)
	}
	tail, err := x.next(int(rest))
	if err != nil {
		return err
	}
	if !zero(first) || !zero(tail) {
		return errors.New("what follows the last member is not zero")
	}
	return nil
}

// parseHeader checks a header block and gives its type and size.
func parseHeader(b []byte) (kind byte, size int64, err error) {
	var sum int64
	for i, c := range b {
		if i >= checksumAt && i < checksumEnd {
			c = ' '
		}
		sum += int64(c)
	}
	want, err := octal(b[checksumAt : checksumAt+6])
	switch {
	case err != nil || want != sum:
		return 0, 0, fmt.Errorf("the header's checksum is %q, its bytes give %o", b[checksumAt:checksumAt+6], sum)
	case string(b[magicAt:magicAt+len(magic)]) != magic:
		return 0, 0, fmt.Errorf("the header's magic is %q, want %q", b[magicAt:magicAt+len(magic)], magic)
	case b[prefixAt] != 0:
		return 0, 0, errors.New("the header has a name prefix, which the pax form does without")
	}
	if size, err = octal(b[sizeAt:sizeEnd]); err != nil {
		return 0, 0, fmt.Errorf("size: %w", err)
	}
	return b[typeAt], size, nil
}

// parsePax reads "length key=value\n" records; only path and size may be there.
func parsePax(data []byte) (map[string]string, error) {
	out := make(map[string]string)
	for len(data) > 0 {
		head, _, ok := bytes.Cut(data, []byte(" "))
		n, err := strconv.Atoi(string(head))
		if !ok || err != nil || n <= len(head)+1 || n > len(data) || data[n-1] != '\n' {
			return nil, errors.New("a record of the extended header has no proper length")
		}
		key, value, ok := strings.Cut(string(data[len(head)+1:n-1]), "=")
		if _, twice := out[key]; twice || !ok || key != "path" && key != "size" {
			return nil, fmt.Errorf("the extended header has %q, want path or size once", key)
		}
		out[key], data = value, data[n:]
	}
	return out, nil
}

// cleanName turns ./a/b or ./a/b/ into a path without dots, doubled slashes or control characters.
func cleanName(name string, dir bool) (string, error) {
	if dir && name == "./" {
		return ".", nil
	}
	rest, ok := strings.CutPrefix(name, "./")
	if ok && dir {
		rest, ok = strings.CutSuffix(rest, "/")
	}
	if !ok || len(rest) > maxPath || !utf8.ValidString(rest) || strings.ContainsFunc(rest, unicode.IsControl) {
		return "", fmt.Errorf("name %.200q is not ./path, with a slash behind folders, in UTF-8 without control characters", name)
	}
	for part := range strings.SplitSeq(rest, "/") {
		if part == "" || part == "." || part == ".." || len(part) > maxName {
			return "", fmt.Errorf("name %.200q has a part that is empty, dots or longer than %d bytes", name, maxName)
		}
	}
	return rest, nil
}

func octal(b []byte) (int64, error) {
	n, err := strconv.ParseInt(string(b), 8, 63)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%q is no octal number", b)
	}
	return n, nil
}

func cString(b []byte) string {
	text, _, _ := bytes.Cut(b, []byte{0})
	return string(text)
}

func zero(b []byte) bool { return len(bytes.Trim(b, "\x00")) == 0 }
