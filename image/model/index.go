package model

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"

	"cocoon/image/rootfs"
)

// maxPax bounds a pax header: a path of Linux' PATH_MAX and a size.
const maxPax = 8 << 10

// Index says where the files of an archive lie.
type Index struct {
	// Members are in the order of the archive, the root first.
	Members []Member
	// ArchiveSize is the archive's length without the reference's padding.
	ArchiveSize int64
}

// VolumeSize is the length of the archive with the reference's padding.
func (x *Index) VolumeSize() int64 { return x.ArchiveSize + padding(x.ArchiveSize) }

// ReadIndex reads the headers of an archive of the reference's form, with or without its padding. An archive in any
// other encoding is refused: its root hash would not be that of the files.
func ReadIndex(r io.ReaderAt, size int64) (*Index, error) {
	x, err := readIndex(r, size)
	if err != nil {
		return nil, fmt.Errorf("reading model archive: %w", err)
	}
	return x, nil
}

func readIndex(r io.ReaderAt, size int64) (*Index, error) {
	x, pos := &Index{}, int64(0)
	for {
		block, err := readRecords(r, pos, recordSize, size)
		if err != nil {
			return nil, err
		}
		if block[0] == 0 {
			return x, x.readEnd(r, pos, size)
		}
		m, next, err := readMember(r, pos, size)
		if err != nil {
			return nil, fmt.Errorf("member at byte %d: %w", pos, err)
		}
		if err := x.add(m); err != nil {
			return nil, fmt.Errorf("member at byte %d: %w", pos, err)
		}
		pos = next
	}
}

// add appends a member and checks the order, which also means that every folder comes before its files.
func (x *Index) add(m Member) error {
	last := len(x.Members) - 1
	switch {
	case last+1 > maxFiles:
		return fmt.Errorf("more than %d members", maxFiles)
	case last < 0 && (m.Path != "." || !m.Dir):
		return fmt.Errorf("the first member is %q, want the folder ./", m.Path)
	case last == 0 && m.Path == ".", last > 0 && comparePaths(m.Path, x.Members[last].Path) <= 0:
		return fmt.Errorf("%q comes after %q", m.Path, x.Members[last].Path)
	}
	x.Members = append(x.Members, m)
	return nil
}

// readMember reads the headers at pos and returns the position behind the member.
func readMember(r io.ReaderAt, pos, size int64) (m Member, next int64, err error) {
	at := pos
	block, err := readRecords(r, at, recordSize, size)
	if err != nil {
		return m, 0, err
	}
	pax := map[string]string{}
	if block[tarType] == typePax {
		n, err := octal(block[tarSize : tarSize+11])
		if err != nil || n == 0 || n > maxPax {
			return m, 0, fmt.Errorf("pax header of %q bytes, want 1..%d", block[tarSize:tarSize+11], maxPax)
		}
		records, err := readRecords(r, at+recordSize, int(n), size)
		if err != nil {
			return m, 0, err
		}
		if pax, err = parsePax(records); err != nil {
			return m, 0, err
		}
		at += recordSize + roundUp(n, recordSize)
		if block, err = readRecords(r, at, recordSize, size); err != nil {
			return m, 0, err
		}
	}
	if m, err = parseMember(block, pax); err != nil {
		return m, 0, err
	}
	m.Offset = at + recordSize
	if m.Size > size-m.Offset {
		return m, 0, fmt.Errorf("%d bytes of %q go beyond the archive", m.Size, m.Path)
	}
	// One encoding per member: what was read must be what the writer makes of it.
	want := m.header()
	got, err := readRecords(r, pos, int(m.Offset-pos), size)
	if err != nil {
		return m, 0, err
	}
	if !bytes.Equal(want, got) {
		return m, 0, fmt.Errorf("the header of %q is not what GNU tar writes with the reference's options", m.Path)
	}
	next = m.Offset + roundUp(m.Size, recordSize)
	tail, err := readRecords(r, m.Offset+m.Size, int(next-m.Offset-m.Size), size)
	if err != nil {
		return m, 0, err
	}
	return m, next, allZero(tail)
}

// parseMember takes the fields that vary out of a ustar header.
func parseMember(block []byte, pax map[string]string) (Member, error) {
	name, long := pax["path"]
	if !long {
		name = string(bytes.TrimRight(block[:maxTarName], "\x00"))
	}
	m := Member{Dir: block[tarType] == typeDir}
	if !m.Dir && block[tarType] != typeFile {
		return m, fmt.Errorf("%q has type %q, neither a file nor a folder", name, block[tarType])
	}
	rest, ok := strings.CutPrefix(name, "./")
	if !ok {
		return m, fmt.Errorf("name %q does not begin with ./", name)
	}
	var err error
	if m.Path, err = rootfs.CleanPath("./" + rest); err != nil {
		return m, err
	}
	mode, err := octal(block[tarMode8 : tarMode8+7])
	if err != nil || mode > 0o777 {
		return m, fmt.Errorf("mode %q", block[tarMode8:tarMode8+7])
	}
	m.Mode = uint32(mode) //nolint:gosec // at most 0777
	if m.Size, err = octal(block[tarSize : tarSize+11]); err != nil {
		return m, fmt.Errorf("size %q", block[tarSize:tarSize+11])
	}
	if text, ok := pax["size"]; ok {
		if m.Size, err = strconv.ParseInt(text, 10, 63); err != nil {
			return m, fmt.Errorf("size %q: %w", text, err)
		}
	}
	if m.Size < 0 || m.Dir && m.Size != 0 {
		return m, fmt.Errorf("%q has %d bytes", name, m.Size)
	}
	return m, nil
}

// parsePax reads the records of a pax header; only path and size may be there.
func parsePax(data []byte) (map[string]string, error) {
	out := make(map[string]string)
	for len(data) > 0 {
		head, _, ok := bytes.Cut(data, []byte(" "))
		n, err := strconv.Atoi(string(head))
		if !ok || err != nil || n <= len(head)+1 || n > len(data) || data[n-1] != '\n' {
			return nil, errors.New("a pax record has no proper length")
		}
		key, value, ok := strings.Cut(string(data[len(head)+1:n-1]), "=")
		if _, twice := out[key]; twice || !ok || key != "path" && key != "size" {
			return nil, fmt.Errorf("pax record %q, want path or size once", key)
		}
		out[key], data = value, data[n:]
	}
	return out, nil
}

// readEnd checks that nothing but zeros follows the last member: the archive's own end, then perhaps the padding.
func (x *Index) readEnd(r io.ReaderAt, pos, size int64) error {
	if len(x.Members) < 2 {
		return errors.New("it holds no files")
	}
	x.ArchiveSize = roundUp(pos+2*recordSize, archiveUnit)
	if size != x.ArchiveSize && size != x.VolumeSize() {
		return fmt.Errorf("it ends at byte %d, its file at %d, want %d or, padded, %d", pos, size, x.ArchiveSize, x.VolumeSize())
	}
	tail, err := readRecords(r, pos, int(size-pos), size)
	if err != nil {
		return err
	}
	return allZero(tail)
}

// tree makes a tree of an archive's members, hashing every file.
func (x *Index) tree(ctx context.Context, archive io.ReaderAt) (*rootfs.Tree, error) {
	sums := make([][32]byte, len(x.Members))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i, m := range x.Members {
		group.Go(func() error {
			h := sha256.New()
			if _, err := io.Copy(h, contextReader{ctx, io.NewSectionReader(archive, m.Offset, m.Size)}); err != nil {
				return fmt.Errorf("hashing %q: %w", m.Path, err)
			}
			sums[i] = [32]byte(h.Sum(nil))
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	tree := rootfs.New()
	for i, m := range x.Members {
		n := &rootfs.Inode{Type: rootfs.Dir, Mode: m.Mode, Origin: "model archive"}
		if !m.Dir {
			n.Type = rootfs.File
			n.Content = rootfs.Section(io.NewSectionReader(archive, m.Offset, m.Size), m.Size, sums[i])
		}
		put := tree.Add
		if m.Path == "." {
			put = tree.Replace
		}
		if err := put(m.Path, n); err != nil {
			return nil, err
		}
	}
	return tree, nil
}

// FromTar writes the primary form of the files in an archive of the reference's form to the file called out. It
// returns the descriptions of both forms; the archive is not changed.
func FromTar(ctx context.Context, archive, out string, o Options) (erofs, tar *Description, err error) {
	if err := o.validate(); err != nil {
		return nil, nil, fmt.Errorf("converting model archive: %w", err)
	}
	f, err := os.Open(archive)
	if err != nil {
		return nil, nil, fmt.Errorf("converting model archive: %w", err)
	}
	defer f.Close() //nolint:errcheck // read side
	st, err := f.Stat()
	if err != nil {
		return nil, nil, fmt.Errorf("converting model archive: %w", err)
	}
	tar, tree, err := o.describeTar(ctx, f, st.Size(), discardAt{})
	if err != nil {
		return nil, nil, fmt.Errorf("converting %s: %w", archive, err)
	}
	erofs, err = buildEROFS(ctx, tree, out, o)
	return erofs, tar, err
}

// discardAt swallows a hash area of which only the root matters.
type discardAt struct{}

// WriteAt does nothing.
func (discardAt) WriteAt(p []byte, _ int64) (int, error) { return len(p), nil }

// readRecords reads n bytes at pos, which must lie within size.
func readRecords(r io.ReaderAt, pos int64, n int, size int64) ([]byte, error) {
	if int64(n) > size-pos {
		return nil, fmt.Errorf("the archive ends at byte %d, within a header or its end marker", size)
	}
	b := make([]byte, n)
	if got, err := r.ReadAt(b, pos); got < n {
		return nil, fmt.Errorf("reading %d bytes at %d: %w", n, pos, err)
	}
	return b, nil
}

func octal(b []byte) (int64, error) { return strconv.ParseInt(string(b), 8, 63) }

func allZero(b []byte) error {
	if len(bytes.Trim(b, "\x00")) != 0 {
		return errors.New("padding is not zero")
	}
	return nil
}

func roundUp(n, unit int64) int64 { return (n + unit - 1) / unit * unit }
