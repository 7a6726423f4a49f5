package verity

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"runtime"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"cocoon/measure/bootfiles"
)

// runBlocks is the number of data blocks that a worker reads at once: one level-0 hash block's worth, 512 KiB, so
// that the data is still in the processor's cache when it is hashed.
const runBlocks = digestsPerBlock

// Append turns a file that holds nothing but data into a volume: it hashes the data and writes superblock and tree
// behind it. On an error the file is cut back to its data.
func Append(ctx context.Context, f *os.File, p Params) (Volume, error) {
	st, err := f.Stat()
	if err != nil {
		return Volume{}, fmt.Errorf("appending hash tree: %w", err)
	}
	size := st.Size()
	v, err := Format(ctx, io.NewSectionReader(f, 0, size), io.NewOffsetWriter(f, size), p)
	if err != nil {
		return Volume{}, errors.Join(fmt.Errorf("appending hash tree to %s: %w", f.Name(), err), f.Truncate(size))
	}
	v.HashStartBlock += v.DataBlocks
	return v, nil
}

// Data is what a tree is computed over: bytes by position, and how many there are.
type Data interface {
	io.ReaderAt
	Size() int64
}

// Format hashes data and writes superblock and tree to area, which starts at its own offset 0: the superblock is
// block 0, the tree begins at block 1. Blocks of the tree are written in no particular order.
func Format(ctx context.Context, data Data, area io.WriterAt, p Params) (Volume, error) {
	size := data.Size()
	if size <= 0 || size%BlockSize != 0 {
		return Volume{}, fmt.Errorf("hashing data: size %d is not a positive multiple of %d", size, BlockSize)
	}
	blocks := uint64(size / BlockSize)
	v := Volume{DataBlocks: blocks, HashStartBlock: 1, HashBlocks: bootfiles.TreeBlocks(blocks), Salt: p.Salt}
	if err := v.Validate(); err != nil {
		return Volume{}, fmt.Errorf("hashing data: %w", err)
	}
	sb := Superblock{UUID: p.UUID, DataBlocks: blocks, Salt: p.Salt}
	if _, err := area.WriteAt(sb.encode(), 0); err != nil {
		return Volume{}, fmt.Errorf("writing verity superblock: %w", err)
	}
	t := tree{data: data, area: io.NewOffsetWriter(area, BlockSize), salt: p.Salt, levels: treeLevels(blocks), blocks: blocks}
	root, err := t.build(ctx)
	if err != nil {
		return Volume{}, err
	}
	v.RootHash = root
	return v, nil
}

// tree is one run of Format.
type tree struct {
	data   io.ReaderAt
	area   io.WriterAt // offset 0 is the first tree block
	salt   []byte
	levels []level
	blocks uint64
}

// build writes every level and returns the root.
func (t *tree) build(ctx context.Context) (root [sha256.Size]byte, err error) {
	if len(t.levels) == 0 {
		buf := make([]byte, BlockSize)
		if err := readFull(t.data, buf, 0); err != nil {
			return root, fmt.Errorf("reading data: %w", err)
		}
		newHasher(t.salt).sum(root[:], buf)
		return root, nil
	}
	digests, err := t.buildLevel0(ctx)
	if err != nil {
		return root, err
	}
	h := newHasher(t.salt)
	for _, l := range t.levels[1:] {
		blocks := padToBlock(digests)
		if _, err := t.area.WriteAt(blocks, int64(l.start)*BlockSize); err != nil { //nolint:gosec // Validate bounds it
			return root, fmt.Errorf("writing hash tree: %w", err)
		}
		digests = h.sumBlocks(make([]byte, 0, len(blocks)/digestsPerBlock), blocks)
	}
	return [sha256.Size]byte(digests), nil
}

// buildLevel0 hashes the data, writes level 0 and returns the digests of its blocks.
func (t *tree) buildLevel0(ctx context.Context) ([]byte, error) {
	l := t.levels[0]
	digests := make([]byte, l.blocks*sha256.Size)
	err := forEachRun(ctx, l.blocks, func(next func() (uint64, bool)) error {
		h, buf, out := newHasher(t.salt), make([]byte, runBlocks*BlockSize), make([]byte, BlockSize)
		for i, ok := next(); ok; i, ok = next() {
			run := buf[:min(runBlocks, t.blocks-i*runBlocks)*BlockSize]
			if err := readFull(t.data, run, int64(i)*runBlocks*BlockSize); err != nil { //nolint:gosec // Validate bounds it
				return fmt.Errorf("reading data: %w", err)
			}
			clear(out)
			h.sumBlocks(out[:0], run)
			if _, err := t.area.WriteAt(out, int64(l.start+i)*BlockSize); err != nil { //nolint:gosec // Validate bounds it
				return fmt.Errorf("writing hash tree: %w", err)
			}
			h.sum(digests[i*sha256.Size:], out)
		}
		return nil
	})
	return digests, err
}

// forEachRun starts one worker per processor and hands them the numbers 0..runs-1 in rising order.
func forEachRun(ctx context.Context, runs uint64, work func(next func() (uint64, bool)) error) error {
	group, inner := errgroup.WithContext(ctx)
	var taken atomic.Uint64
	next := func() (uint64, bool) {
		i := taken.Add(1) - 1
		return i, i < runs && inner.Err() == nil
	}
	for range min(runs, uint64(runtime.GOMAXPROCS(0))) { //nolint:gosec // positive
		group.Go(func() error { return work(next) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return ctx.Err()
}

// hasher computes SHA-256(salt ‖ block).
type hasher struct {
	h    hash.Hash
	salt []byte
}

func newHasher(salt []byte) hasher { return hasher{h: sha256.New(), salt: salt} }

// sum puts the digest of one block into dst's first 32 bytes.
func (h hasher) sum(dst, block []byte) {
	h.h.Reset()
	h.h.Write(h.salt)
	h.h.Write(block)
	h.h.Sum(dst[:0])
}

// sumBlocks appends the digest of every block of data to dst.
func (h hasher) sumBlocks(dst, data []byte) []byte {
	for ; len(data) > 0; data = data[BlockSize:] {
		h.h.Reset()
		h.h.Write(h.salt)
		h.h.Write(data[:BlockSize])
		dst = h.h.Sum(dst)
	}
	return dst
}

// readFull reads all of buf; data that ends early is an error that says so.
func readFull(r io.ReaderAt, buf []byte, off int64) error {
	n, err := r.ReadAt(buf, off)
	if n == len(buf) {
		return nil
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("%d bytes at %d: %w", len(buf), off, err)
}

// padToBlock lengthens b with zeros to a multiple of BlockSize.
func padToBlock(b []byte) []byte {
	return append(b, make([]byte, -len(b)&(BlockSize-1))...)
}
