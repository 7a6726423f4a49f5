package verity

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"cocoon/measure/bootfiles"
)

const (
	// BlockSize is the size of data and hash blocks in bytes.
	BlockSize = bootfiles.BlockSize
	// digestsPerBlock is how many digests a hash block holds.
	digestsPerBlock = BlockSize / sha256.Size
	// MaxSalt is the superblock's salt field in bytes.
	MaxSalt = 256
	// maxDataBlocks keeps every offset far from overflowing an int64; 4 PiB of data.
	maxDataBlocks = 1 << 40
)

// Params are what a hash area depends on besides the data.
type Params struct {
	// Salt goes in front of every block that is hashed; at most MaxSalt bytes, may be empty.
	Salt []byte
	// UUID is written into the superblock; nothing is derived from it.
	UUID [16]byte
}

// Volume is everything that opening a volume needs. Blocks count from the start of the device that they are on.
type Volume struct {
	// DataBlocks is the number of data blocks.
	DataBlocks uint64
	// HashStartBlock is the first tree block: one after the superblock's block.
	HashStartBlock uint64
	// HashBlocks is the number of tree blocks; 0 when there is exactly one data block.
	HashBlocks uint64
	// RootHash is the digest of the tree's only top block, or of the only data block.
	RootHash [sha256.Size]byte
	// Salt is as in Params.
	Salt []byte
}

// Validate checks the geometry: a tree has exactly one size for its number of data blocks.
func (v Volume) Validate() error {
	switch want := bootfiles.TreeBlocks(v.DataBlocks); {
	case v.DataBlocks == 0 || v.DataBlocks > maxDataBlocks:
		return fmt.Errorf("data blocks: %d, want 1..%d", v.DataBlocks, uint64(maxDataBlocks))
	case v.HashBlocks != want:
		return fmt.Errorf("hash blocks: %d, want %d for %d data blocks", v.HashBlocks, want, v.DataBlocks)
	case v.HashStartBlock == 0 || v.HashStartBlock > 2*maxDataBlocks:
		return fmt.Errorf("hash start block: %d leaves no room for a superblock or is out of range", v.HashStartBlock)
	case len(v.Salt) > MaxSalt:
		return fmt.Errorf("salt: %d bytes, at most %d", len(v.Salt), MaxSalt)
	}
	return nil
}

// Size is the length in bytes of a file that holds data, superblock and tree, in that order.
func (v Volume) Size() int64 { return int64(v.HashStartBlock+v.HashBlocks) * BlockSize } //nolint:gosec // Validate bounds both

// String is the root hash in lower-case hex.
func (v Volume) String() string { return hex.EncodeToString(v.RootHash[:]) }

// level is one level of the tree: where its blocks lie, counted from the first tree block.
type level struct{ start, blocks uint64 }

// treeLevels lays the tree out for a number of data blocks, level 0 (over the data) first. The levels are stored top
// first, so level 0 ends the tree. One data block has no levels.
func treeLevels(dataBlocks uint64) []level {
	var levels []level
	var total uint64
	for n := dataBlocks; n > 1; {
		n = (n + digestsPerBlock - 1) / digestsPerBlock
		total += n
		levels = append(levels, level{blocks: n})
	}
	for i := range levels {
		total -= levels[i].blocks
		levels[i].start = total
	}
	return levels
}

// LayerSalt is the fixed salt of a layer, 32 bytes (image.md section 2).
func LayerSalt(id string) []byte {
	sum := sha256.Sum256([]byte("cocoon-layer:" + id))
	return sum[:]
}

// UUID derives the UUID of a thing from its content: purpose is erofs or verity, contentHash the SHA-256 that
// image.md section 2 names for it. Version nibble 8 and the variant bits are those of RFC 9562.
func UUID(purpose string, contentHash [sha256.Size]byte) [16]byte {
	sum := sha256.Sum256(append([]byte("cocoon-uuid:"+purpose+":"), contentHash[:]...))
	id := [16]byte(sum[:16])
	id[6] = id[6]&0x0f | 0x80
	id[8] = id[8]&0x3f | 0x80
	return id
}
