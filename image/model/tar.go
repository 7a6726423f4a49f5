package model

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"

	"cocoon/image/rootfs"
	"cocoon/image/verity"
)

// Constants of the archive (POSIX pax interchange format; image.md section 13).
const (
	recordSize  = 512
	archiveUnit = 20 * recordSize // blocking factor 20
	// maxOctal is the first size that 11 octal digits do not hold; it goes into a pax record.
	maxOctal   = 1 << 33
	maxTarName = 100
	typeFile   = '0'
	typeDir    = '5'
	typePax    = 'x'
	// copyPiece is how much of a file is copied at a time.
	copyPiece = 1 << 20
)

// Offsets and widths of the ustar header's fields.
const (
	tarMode8    = 100
	tarUID      = 108
	tarGID      = 116
	tarSize     = 124
	tarTime     = 136
	tarChecksum = 148
	tarType     = 156
	tarMagic    = 257
	tarMajor    = 329
	tarMinor    = 337
)

// tarParams are the reference's verity parameters (image.md section 13).
func tarParams() verity.Params {
	return verity.Params{
		Salt: []byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0x10, 0x1a, 0x1b, 0x1c, 0x1d, 0x1e, 0x1f},
		UUID: [16]byte{0x64, 0x5a, 0xc3, 0x1f, 0x76, 0x10, 0x42, 0xe1, 0x84, 0x34, 0x9d, 0x73, 0x36, 0x99, 0xea, 0xc0},
	}
}

// BuildTar writes the reference's form of the files in a folder: the padded archive to out, the hash area to hashOut or,
// when that is empty, behind the archive, which makes the one disk that our guest opens. The root is the same.
func BuildTar(ctx context.Context, dir, out, hashOut string, o Options) (*Description, error) {
	if err := o.validate(); err != nil {
		return nil, fmt.Errorf("building model archive: %w", err)
	}
	tree, err := scan(ctx, dir, o.excluded())
	if err != nil {
		return nil, fmt.Errorf("building model archive: %w", err)
	}
	var d *Description
	err = writeFile(out, func(f *os.File) error {
		size, err := writeArchive(ctx, f, tree)
		if err != nil {
			return err
		}
		padded := size + padding(size)
		if err := f.Truncate(padded); err != nil {
			return err
		}
		if hashOut == "" {
			if d, _, err = o.describeTar(ctx, f, padded, io.NewOffsetWriter(f, padded)); err == nil {
				d.HashStartBlock += d.DataBlocks
				err = d.Validate()
			}
			return err
		}
		return writeFile(hashOut, func(hashes *os.File) error {
			d, _, err = o.describeTar(ctx, f, padded, hashes)
			return err
		})
	})
	if err != nil {
		return nil, fmt.Errorf("building model archive %s: %w", out, err)
	}
	return d, nil
}

// describeTar hashes an archive of the given length into a hash area and reads its files back.
func (o Options) describeTar(ctx context.Context, archive io.ReaderAt, size int64, area io.WriterAt) (*Description, *rootfs.Tree, error) {
	index, err := ReadIndex(archive, size)
	if err != nil {
		return nil, nil, err
	}
	v, err := verity.Format(ctx, zeroPadded{archive, index.ArchiveSize, index.VolumeSize()}, area, tarParams())
	if err != nil {
		return nil, nil, err
	}
	tree, err := index.tree(ctx, archive)
	if err != nil {
		return nil, nil, err
	}
	d := o.describe(Tar, v, tarParams().UUID, tree)
	return d, tree, d.Validate()
}

// padding is how many zeros the reference puts behind an archive: up to the next multiple of 4096, and a whole block
// when there is nothing to fill.
func padding(size int64) int64 { return verity.BlockSize - size%verity.BlockSize }

// writeArchive writes the archive without the padding and returns its size.
func writeArchive(ctx context.Context, w io.Writer, tree *rootfs.Tree) (int64, error) {
	nodes := tree.Nodes()
	slices.SortFunc(nodes[1:], func(a, b rootfs.Node) int { return comparePaths(a.Path, b.Path) })
	out, buf := &countingWriter{w: w}, make([]byte, copyPiece)
	for _, n := range nodes {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		if _, err := out.Write(memberOf(n).header()); err != nil {
			return 0, err
		}
		if n.Inode.Type != rootfs.File {
			continue
		}
		content := io.NewSectionReader(n.Inode.Content, 0, n.Inode.Content.Size)
		copied, err := io.CopyBuffer(out, contextReader{ctx, content}, buf)
		if err != nil {
			return 0, fmt.Errorf("copying %q: %w", n.Path, err)
		}
		if copied != n.Inode.Content.Size {
			return 0, fmt.Errorf("copying %q: it ends at byte %d of %d: it changed meanwhile", n.Path, copied, n.Inode.Content.Size)
		}
		if err := out.align(recordSize); err != nil {
			return 0, err
		}
	}
	if _, err := out.Write(make([]byte, 2*recordSize)); err != nil {
		return 0, err
	}
	return out.n, out.align(archiveUnit)
}

// Member is one file or folder of an archive.
type Member struct {
	// Path is as in rootfs.Node: relative, "." is the root.
	Path string
	Dir  bool
	Mode uint32 // permission bits
	Size int64  // 0 for folders
	// Offset is where the content begins in the archive.
	Offset int64
}

func memberOf(n rootfs.Node) Member {
	return Member{Path: n.Path, Dir: n.Inode.Type == rootfs.Dir, Mode: n.Inode.Mode, Size: n.Inode.Content.Size}
}

// name is the member's name in the archive: "./" in front, a slash behind folders.
func (m Member) name() string {
	switch {
	case m.Path == ".":
		return "./"
	case m.Dir:
		return "./" + m.Path + "/"
	default:
		return "./" + m.Path
	}
}

// header is everything in front of the content: a pax header where the name or the size needs one, and the ustar
// header.
func (m Member) header() []byte {
	var records []byte
	name, size := m.name(), m.Size
	if len(name) > maxTarName || strings.ContainsFunc(name, func(r rune) bool { return r > '~' }) {
		records = append(records, paxRecord("path", name)...)
	}
	if size >= maxOctal {
		records = append(records, paxRecord("size", fmt.Sprint(size))...)
		size = 0
	}
	kind := byte(typeFile)
	if m.Dir {
		kind = typeDir
	}
	block := ustar(name, m.Mode, size, kind)
	if records == nil {
		return block
	}
	pax := path.Dir(strings.TrimSuffix(name, "/"))
	if pax != "." {
		pax = "./" + pax
	}
	out := ustar(pax+"/PaxHeaders/"+path.Base(name), 0o644, int64(len(records)), typePax)
	out = append(out, records...)
	out = append(out, make([]byte, -len(records)&(recordSize-1))...)
	return append(out, block...)
}

// ustar is one header block with owner 0 and time 0. Names are cut at 100 bytes; a pax record has the whole one.
func ustar(name string, mode uint32, size int64, kind byte) []byte {
	b := make([]byte, recordSize)
	copy(b[:maxTarName], name)
	copy(b[tarMode8:], fmt.Sprintf("%07o", mode))
	zero := []int{tarUID, tarGID}
	if kind != typePax { // GNU tar leaves a pax header's device numbers empty
		zero = append(zero, tarMajor, tarMinor)
	}
	for _, at := range zero {
		copy(b[at:], "0000000")
	}
	copy(b[tarSize:], fmt.Sprintf("%011o", size))
	copy(b[tarTime:], fmt.Sprintf("%011o", 0))
	copy(b[tarChecksum:], "        ")
	b[tarType] = kind
	copy(b[tarMagic:], "ustar\x0000")
	sum := 0
	for _, c := range b {
		sum += int(c)
	}
	copy(b[tarChecksum:], fmt.Sprintf("%06o\x00 ", sum))
	return b
}

// paxRecord is "length key=value\n", where the length counts itself.
func paxRecord(key, value string) []byte {
	rest := fmt.Sprintf(" %s=%s\n", key, value)
	n := len(rest)
	for len(fmt.Sprint(n))+len(rest) != n {
		n = len(fmt.Sprint(n)) + len(rest)
	}
	return fmt.Append(nil, n, rest)
}

// countingWriter knows how much went through it.
type countingWriter struct {
	w io.Writer
	n int64
}

// Write counts.
func (c *countingWriter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// align writes zeros up to a multiple of unit.
func (c *countingWriter) align(unit int64) error {
	if rest := c.n % unit; rest != 0 {
		_, err := c.Write(bytes.Repeat([]byte{0}, int(unit-rest)))
		return err
	}
	return nil
}

// contextReader stops when its context ends.
type contextReader struct {
	ctx context.Context //nolint:containedctx // lives for one copy
	r   io.Reader
}

// Read reads unless the context has ended.
func (c contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
