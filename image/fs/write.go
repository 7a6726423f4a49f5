package fs

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"runtime"

	"golang.org/x/sync/errgroup"

	"cocoon/image/rootfs"
	"cocoon/image/verity"
)

// chunkSize is how much of the image a worker prepares at a time.
const chunkSize = 1 << 20

// Options are what an image depends on besides its tree.
type Options struct {
	// Epoch is every file's modification time, in seconds since 1970.
	Epoch int64
	// Label is the volume name, at most 16 bytes.
	Label string
	// UUID is the volume's; the zero value means that it is derived from the tree (image.md section 2).
	UUID [16]byte
}

// Stats says what was written.
type Stats struct {
	// Blocks is the image's size in blocks of BlockSize bytes.
	Blocks uint64
	// UUID is the volume's.
	UUID [16]byte
	// Inodes counts every inode once, however many names it has.
	Inodes int
}

// Write writes the image of a tree. Inodes that two paths share become hard links. The tree must not change meanwhile.
func Write(ctx context.Context, w io.Writer, tree *rootfs.Tree, o Options) (Stats, error) {
	if len(o.Label) > maxLabel {
		return Stats{}, fmt.Errorf("writing erofs: label %q is longer than %d bytes", o.Label, maxLabel)
	}
	if o.Epoch < 0 {
		return Stats{}, fmt.Errorf("writing erofs: epoch %d lies before 1970", o.Epoch)
	}
	l, err := plan(tree)
	if err != nil {
		return Stats{}, fmt.Errorf("planning erofs: %w", err)
	}
	if o.UUID == ([16]byte{}) {
		o.UUID = verity.UUID("erofs", rootfs.TreeHash(tree))
	}
	img := image{layout: l, options: o}
	if err := img.stream(ctx, w); err != nil {
		return Stats{}, fmt.Errorf("writing erofs: %w", err)
	}
	return Stats{Blocks: uint64(l.blocks), UUID: o.UUID, Inodes: len(l.nodes)}, nil
}

// image is one run of Write.
type image struct {
	*layout
	options Options
}

// part is a piece of the image: an inode with its tail, or a stretch of an inode's data blocks.
type part struct {
	node *node
	at   int64 // in the image
	data bool
	from int64 // in the content; data only
	size int64 // data only
}

// chunk is a stretch of the image that one worker fills.
type chunk struct {
	start int64
	buf   []byte
	parts []part
	done  chan struct{} // closed when buf is filled
}

// stream fills chunks on every processor and writes them in order. Buffers go round between the cutter and the
// writer, so the memory in use is fixed.
func (m *image) stream(ctx context.Context, w io.Writer) error {
	workers := runtime.GOMAXPROCS(0)
	buffers := make(chan []byte, 2*workers+1)
	for range cap(buffers) {
		buffers <- make([]byte, 0, 2*chunkSize)
	}
	group, ctx := errgroup.WithContext(ctx)
	work, order := make(chan *chunk), make(chan *chunk, cap(buffers))
	group.Go(func() error {
		defer close(order)
		defer close(work)
		return m.cut(func(c *chunk, size int64) error {
			select {
			case buf := <-buffers:
				c.buf = resize(buf, size)
			case <-ctx.Done():
				return ctx.Err()
			}
			order <- c // never blocks: there are no more chunks than buffers
			select {
			case work <- c:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	})
	for range workers {
		group.Go(func() error {
			for c := range work {
				if err := m.fill(c); err != nil {
					return err
				}
				close(c.done)
			}
			return nil
		})
	}
	group.Go(func() error {
		for c := range order {
			select {
			case <-c.done:
			case <-ctx.Done():
				return ctx.Err()
			}
			if _, err := w.Write(c.buf); err != nil {
				return err
			}
			buffers <- c.buf
		}
		return nil
	})
	return group.Wait()
}

// cut divides the image into chunks of at least chunkSize and hands each with its size to emit.
func (m *image) cut(emit func(c *chunk, size int64) error) error {
	c := &chunk{done: make(chan struct{})}
	add := func(p part) error {
		if p.at >= c.start+chunkSize {
			if err := emit(c, p.at-c.start); err != nil {
				return err
			}
			c = &chunk{start: p.at, done: make(chan struct{})}
		}
		c.parts = append(c.parts, p)
		return nil
	}
	for _, n := range m.nodes {
		if err := add(part{node: n, at: n.off}); err != nil {
			return err
		}
	}
	for _, n := range m.dataNodes {
		start, size := int64(n.block)*BlockSize, n.dataSize()
		for from := int64(0); from < size; from += chunkSize {
			p := part{node: n, at: start + from, data: true, from: from, size: min(chunkSize, size-from)}
			if err := add(p); err != nil {
				return err
			}
		}
	}
	return emit(c, int64(m.blocks)*BlockSize-c.start)
}

// fill renders a chunk's parts into its buffer.
func (m *image) fill(c *chunk) error {
	for _, p := range c.parts {
		b := c.buf[p.at-c.start:]
		var err error
		if p.data {
			err = p.node.read(b[:p.size], p.from)
		} else {
			err = m.putInode(b, p.node)
		}
		if err != nil {
			return fmt.Errorf("%q: %w", p.node.path, err)
		}
	}
	if c.start == 0 {
		m.putSuperblock(c.buf)
	}
	return nil
}

// read fills p from an inode's data.
func (n *node) read(p []byte, from int64) error {
	var src io.ReaderAt = n.Content
	switch n.Type { //nolint:exhaustive // devices have no data
	case rootfs.Dir:
		src = bytesAt(encodeDir(n.names()))
	case rootfs.Symlink:
		src = bytesAt(n.Target)
	}
	got, err := src.ReadAt(p, from)
	if got == len(p) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		return fmt.Errorf("content ends at byte %d of %d: it changed since the tree was made", from+int64(got), n.size)
	}
	return err
}

// putInode writes an inode and the tail behind it.
func (m *image) putInode(b []byte, n *node) error {
	le := binary.LittleEndian
	bits, _ := bitsOf(n.Type)
	format := uint16(layoutPlain << 1)
	if n.inline {
		format = layoutInline << 1
	}
	size := n.inodeSize()
	le.PutUint16(b[inMode:], bits.mode|uint16(n.Mode)) //nolint:gosec // at most 07777
	le.PutUint32(b[inUnion:], n.block)
	le.PutUint32(b[inNumber:], n.number)
	if size == compactSize {
		le.PutUint16(b[inFormat:], format)
		le.PutUint16(b[inLinks:], uint16(n.links)) //nolint:gosec // inodeSize
		le.PutUint32(b[inSize:], uint32(n.size))   //nolint:gosec // inodeSize
		le.PutUint16(b[inUID:], uint16(n.UID))     //nolint:gosec // inodeSize
		le.PutUint16(b[inGID:], uint16(n.GID))     //nolint:gosec // inodeSize
	} else {
		le.PutUint16(b[inFormat:], format|1)
		le.PutUint64(b[inSize:], uint64(n.size)) //nolint:gosec // not negative
		le.PutUint32(b[xUID:], n.UID)
		le.PutUint32(b[xGID:], n.GID)
		le.PutUint64(b[xTime:], uint64(m.options.Epoch)) //nolint:gosec // not negative
		le.PutUint32(b[xLinks:], n.links)
	}
	if !n.inline {
		return nil
	}
	return n.read(b[size:size+n.tail()], n.dataSize())
}

// putSuperblock completes the first block, whose other content must be in place.
func (m *image) putSuperblock(b []byte) {
	le, sb := binary.LittleEndian, b[superOffset:]
	le.PutUint32(sb, magic)
	le.PutUint32(sb[sbCompat:], compatChksum|compatMtime)
	sb[sbBlockBits] = blockBits
	le.PutUint16(sb[sbRootNID:], rootNID)
	le.PutUint64(sb[sbInodes:], uint64(len(m.nodes)))
	le.PutUint64(sb[sbTime:], uint64(m.options.Epoch)) //nolint:gosec // not negative
	le.PutUint32(sb[sbBlocks:], m.blocks)
	copy(sb[sbUUID:], m.options.UUID[:])
	copy(sb[sbLabel:sbLabel+maxLabel], m.options.Label)
	le.PutUint32(sb[sbChecksum:], checksum(b))
}

// resize makes a zeroed buffer of the wanted size out of an old one.
func resize(buf []byte, size int64) []byte {
	if size > int64(cap(buf)) || size > math.MaxInt32 {
		return make([]byte, size)
	}
	buf = buf[:size]
	clear(buf)
	return buf
}

// bytesAt is an io.ReaderAt over memory.
type bytesAt string

// ReadAt copies from the string.
func (b bytesAt) ReadAt(p []byte, off int64) (int, error) {
	if off >= int64(len(b)) {
		return 0, io.EOF
	}
	n := copy(p, b[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}
