package fs

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"path"
	"runtime"
	"strings"

	"golang.org/x/sync/errgroup"

	"cocoon/image/rootfs"
)

const (
	// maxInodes bounds an image's inodes and names; an engine layer has about 60,000.
	maxInodes = 4 << 20
	// maxDepth bounds the nesting of directories; a path of Linux' PATH_MAX cannot be deeper.
	maxDepth = 2048
)

// Info is what the superblock says.
type Info struct {
	UUID   [16]byte
	Label  string
	Epoch  int64 // seconds since 1970; every file's modification time
	Blocks uint64
	Inodes uint64
}

// Entry is one path of an image. Paths of one NID are hard links to each other.
type Entry struct {
	Path  string // as in rootfs.Node: relative, "." is the root
	NID   uint64
	Inode rootfs.Inode // without its content's hash
	Links uint32
	data  contentAt
}

// Content is a file's bytes, or nothing for other types.
func (e Entry) Content() *io.SectionReader {
	if e.Inode.Type != rootfs.File {
		return io.NewSectionReader(contentAt{}, 0, 0)
	}
	return io.NewSectionReader(e.data, 0, e.data.size)
}

// Reader is an open image.
type Reader struct {
	r       io.ReaderAt
	size    int64
	info    Info
	entries []Entry
	byPath  map[string]int
}

// Open reads an image's superblock, inodes and directories; size is how many bytes r has, of which the image may use
// less. Contents are read when they are asked for.
func Open(r io.ReaderAt, size int64) (*Reader, error) {
	rd := &Reader{r: r, size: size, byPath: make(map[string]int)}
	if err := rd.readSuperblock(); err != nil {
		return nil, fmt.Errorf("reading erofs superblock: %w", err)
	}
	w := walker{Reader: rd, inodes: make(map[uint64]*inode)}
	if err := w.walk(); err != nil {
		return nil, fmt.Errorf("reading erofs: %w", err)
	}
	for i, e := range rd.entries {
		rd.entries[i].Links = w.inodes[e.NID].links
		rd.byPath[e.Path] = i
	}
	return rd, nil
}

// Info is the superblock's content.
func (r *Reader) Info() Info { return r.info }

// Stat finds one path; symlinks are not followed.
func (r *Reader) Stat(name string) (Entry, bool) {
	i, ok := r.byPath[path.Clean(name)]
	if !ok {
		return Entry{}, false
	}
	return r.entries[i], true
}

// Tree reads and hashes every file and returns the tree that the image was written from. Contents refer to the image.
func (r *Reader) Tree(ctx context.Context) (*rootfs.Tree, error) {
	inodes, err := r.hashAll(ctx)
	if err != nil {
		return nil, fmt.Errorf("hashing files of erofs: %w", err)
	}
	tree := rootfs.New()
	for _, e := range r.entries {
		put := tree.Add
		if e.Path == "." {
			put = tree.Replace
		}
		if err := put(e.Path, inodes[e.NID]); err != nil {
			return nil, fmt.Errorf("reading erofs: %w", err)
		}
	}
	return tree, nil
}

// hashAll makes the inodes of a tree, each file hashed once, on every processor.
func (r *Reader) hashAll(ctx context.Context) (map[uint64]*rootfs.Inode, error) {
	inodes := make(map[uint64]*rootfs.Inode)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	for _, e := range r.entries {
		if inodes[e.NID] != nil {
			continue
		}
		n := e.Inode
		inodes[e.NID] = &n
		if n.Type != rootfs.File {
			continue
		}
		group.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			h := sha256.New()
			if _, err := io.Copy(h, e.Content()); err != nil {
				return fmt.Errorf("%q: %w", e.Path, err)
			}
			n.Content = rootfs.Section(e.data, e.data.size, [32]byte(h.Sum(nil)))
			return nil
		})
	}
	return inodes, group.Wait()
}

// readSuperblock reads the first block and refuses every image that is not of the subset.
func (r *Reader) readSuperblock() error {
	if r.size < BlockSize {
		return fmt.Errorf("%d bytes, less than one block", r.size)
	}
	first := make([]byte, BlockSize)
	if err := readFull(r.r, first, 0); err != nil {
		return err
	}
	le, sb := binary.LittleEndian, first[superOffset:superOffset+superSize]
	if got := le.Uint32(sb); got != magic {
		return fmt.Errorf("magic %#x, want %#x: this is no erofs image", got, uint32(magic))
	}
	r.info = Info{
		UUID:   [16]byte(sb[sbUUID:]),
		Label:  strings.TrimRight(string(sb[sbLabel:sbLabel+maxLabel]), "\x00"),
		Blocks: uint64(le.Uint32(sb[sbBlocks:])),
		Inodes: le.Uint64(sb[sbInodes:]),
	}
	epoch, sum := le.Uint64(sb[sbTime:]), le.Uint32(sb[sbChecksum:])
	le.PutUint32(sb[sbChecksum:], 0)
	if want := checksum(first); sum != want {
		return fmt.Errorf("checksum %#x, want %#x", sum, want)
	}
	r.info.Epoch = int64(epoch & math.MaxInt64)
	// Every other field has one legal value: putting the read ones back must give the same superblock.
	again := image{options: Options{Epoch: r.info.Epoch, Label: r.info.Label, UUID: r.info.UUID}, layout: &layout{blocks: uint32(r.info.Blocks)}} //nolint:gosec // read from 32 bits
	copyOf := make([]byte, BlockSize)
	again.putSuperblock(copyOf)
	le.PutUint64(copyOf[superOffset+sbInodes:], r.info.Inodes)
	le.PutUint32(copyOf[superOffset+sbChecksum:], 0)
	if string(copyOf[superOffset:superOffset+superSize]) != string(sb) {
		return errors.New("features, block size or layout are not those of this package; mkfs.erofs or another version wrote it")
	}
	switch {
	case int64(r.info.Blocks)*BlockSize > r.size: //nolint:gosec // from 32 bits
		return fmt.Errorf("%d blocks do not fit in %d bytes", r.info.Blocks, r.size)
	case r.info.Inodes == 0 || r.info.Inodes > maxInodes:
		return fmt.Errorf("%d inodes, want 1..%d", r.info.Inodes, maxInodes)
	}
	r.size = int64(r.info.Blocks) * BlockSize //nolint:gosec // from 32 bits
	return nil
}

// contentAt is the bytes of an inode: whole blocks at one place, the tail at another.
type contentAt struct {
	r      io.ReaderAt
	blocks int64 // offset of the whole blocks
	full   int64 // how many bytes lie there
	tail   int64 // offset of the rest
	size   int64
}

// ReadAt reads across the seam.
func (c contentAt) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || off >= c.size {
		return 0, io.EOF
	}
	done := 0
	if off < c.full {
		n := min(int64(len(p)), c.full-off)
		if err := readFull(c.r, p[:n], c.blocks+off); err != nil {
			return 0, err
		}
		done = int(n)
	}
	if done < len(p) && off+int64(done) < c.size {
		at := off + int64(done)
		n := min(int64(len(p)-done), c.size-at)
		if err := readFull(c.r, p[done:done+int(n)], c.tail+at-c.full); err != nil {
			return done, err
		}
		done += int(n)
	}
	if done < len(p) {
		return done, io.EOF
	}
	return done, nil
}

// readFull reads all of p; an early end is an error.
func readFull(r io.ReaderAt, p []byte, off int64) error {
	n, err := r.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("%d bytes at %d: %w", len(p), off, err)
}
