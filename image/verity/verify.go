package verity

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"sync"
)

// BadBlockError is the verdict on a volume that does not match its root hash.
type BadBlockError struct {
	// Tree is true for a block of the hash tree, false for a data block.
	Tree bool
	// Level of the tree, 0 next to the data; 0 for a data block.
	Level int
	// Block counts within the data, or within the level.
	Block uint64
}

// Error names the block.
func (b *BadBlockError) Error() string {
	if b.Tree {
		return fmt.Sprintf("block %d of hash tree level %d does not match its digest", b.Block, b.Level)
	}
	return fmt.Sprintf("data block %d does not match its digest", b.Block)
}

// Verify reads all of a volume whose tree lies behind its data on the same device and compares it with the root
// hash. The error for wrong content is a *BadBlockError. Of several bad blocks it is always the same one: the upper levels are
// checked from the root down, then every block of level 0 together with the data below it, in rising order.
func Verify(ctx context.Context, r io.ReaderAt, v Volume) error { return VerifySplit(ctx, r, r, v) }

// VerifySplit is Verify for a volume whose tree is on another device than its data.
func VerifySplit(ctx context.Context, data, tree io.ReaderAt, v Volume) error {
	if err := v.Validate(); err != nil {
		return fmt.Errorf("verifying volume: %w", err)
	}
	c := checker{data: data, tree: tree, volume: v, levels: treeLevels(v.DataBlocks)}
	digests, err := c.checkUpper(ctx)
	if err == nil {
		err = c.checkData(ctx, digests)
	}
	if err != nil {
		return fmt.Errorf("verifying volume %s: %w", v, err)
	}
	return nil
}

// checker is one run of Verify.
type checker struct {
	data, tree io.ReaderAt
	volume     Volume
	levels     []level
}

// checkUpper verifies every level above level 0 from the root down and returns the digests of the blocks of level 0,
// or of the only data block.
func (c *checker) checkUpper(ctx context.Context) ([]byte, error) {
	h := newHasher(c.volume.Salt)
	digests := c.volume.RootHash[:]
	for i := len(c.levels) - 1; i > 0; i-- {
		l := c.levels[i]
		blocks := make([]byte, l.blocks*BlockSize)
		if err := c.readTree(blocks, l.start); err != nil {
			return nil, err
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if bad, ok := firstBad(h, blocks, digests); !ok {
			return nil, &BadBlockError{Tree: true, Level: i, Block: bad}
		}
		if err := checkUnused(blocks, c.levels[i-1].blocks); err != nil {
			return nil, err
		}
		digests = blocks
	}
	return digests, nil
}

// checkData verifies the blocks of level 0 and the data below them, run by run.
func (c *checker) checkData(ctx context.Context, digests []byte) error {
	runs := uint64(1)
	if len(c.levels) > 0 {
		runs = c.levels[0].blocks
	}
	var found firstError
	err := forEachRun(ctx, runs, func(next func() (uint64, bool)) error {
		h, buf, node := newHasher(c.volume.Salt), make([]byte, runBlocks*BlockSize), make([]byte, BlockSize)
		// Runs are handed out in rising order, so those before a bad one are already under way and none after matter.
		for i, ok := next(); ok && !found.any(); i, ok = next() {
			if err := c.checkRun(h, i, digests[i*sha256.Size:], node, buf); err != nil {
				found.record(i, err)
			}
		}
		return nil
	})
	if found.any() {
		return found.err
	}
	return err
}

// checkRun verifies block i of level 0 against want and up to 128 data blocks against that block.
func (c *checker) checkRun(h hasher, i uint64, want, node, buf []byte) error {
	below := want[:sha256.Size]
	if len(c.levels) > 0 {
		if err := c.readTree(node, c.levels[0].start+i); err != nil {
			return err
		}
		if _, ok := firstBad(h, node, below); !ok {
			return &BadBlockError{Tree: true, Block: i}
		}
		below = node
	}
	count := min(runBlocks, c.volume.DataBlocks-i*runBlocks)
	if len(c.levels) > 0 {
		if err := checkUnused(node, count); err != nil {
			return err
		}
	}
	run := buf[:count*BlockSize]
	if err := readFull(c.data, run, int64(i)*runBlocks*BlockSize); err != nil { //nolint:gosec // Validate bounds it
		return fmt.Errorf("reading data: %w", err)
	}
	if bad, ok := firstBad(h, run, below); !ok {
		return &BadBlockError{Block: i*runBlocks + bad}
	}
	return nil
}

func (c *checker) readTree(buf []byte, block uint64) error {
	at := int64(c.volume.HashStartBlock+block) * BlockSize //nolint:gosec // Validate bounds both
	if err := readFull(c.tree, buf, at); err != nil {
		return fmt.Errorf("reading hash tree: %w", err)
	}
	return nil
}

// firstBad compares the digest of every block with the list and returns the number of the first that differs.
func firstBad(h hasher, blocks, digests []byte) (uint64, bool) {
	var sum [sha256.Size]byte
	for i := 0; i*BlockSize < len(blocks); i++ {
		h.sum(sum[:], blocks[i*BlockSize:(i+1)*BlockSize])
		if !bytes.Equal(sum[:], digests[i*sha256.Size:(i+1)*sha256.Size]) {
			return uint64(i), false
		}
	}
	return 0, true
}

// checkUnused refuses digests behind the first used ones. The root hash covers them, but not how many count: without
// this, a volume would also verify under a smaller number of blocks.
func checkUnused(digests []byte, used uint64) error {
	if len(bytes.TrimLeft(digests[used*sha256.Size:], "\x00")) != 0 {
		return errors.New("the hash tree has digests for more blocks than the volume has")
	}
	return nil
}

// firstError keeps the error of the lowest run.
type firstError struct {
	mu  sync.Mutex
	run uint64
	err error
}

func (f *firstError) record(run uint64, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err == nil || run < f.run {
		f.run, f.err = run, err
	}
}

func (f *firstError) any() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err != nil
}
