package verity

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// Offsets of the superblock's fields (image.md section 6.1); everything else in its block is zero.
const (
	offVersion       = 8
	offHashType      = 12
	offUUID          = 16
	offAlgorithm     = 32
	offDataBlockSize = 64
	offHashBlockSize = 68
	offDataBlocks    = 72
	offSaltSize      = 80
	offSalt          = 88
)

const (
	magic     = "verity\x00\x00"
	algorithm = "sha256"
)

// Superblock is what the block in front of a tree says. The guest never reads it; tools that inspect a layer do.
type Superblock struct {
	UUID       [16]byte
	DataBlocks uint64
	Salt       []byte
}

// encode is the superblock padded to one block.
func (s Superblock) encode() []byte {
	b := make([]byte, BlockSize)
	copy(b, magic)
	binary.LittleEndian.PutUint32(b[offVersion:], 1)
	binary.LittleEndian.PutUint32(b[offHashType:], 1)
	copy(b[offUUID:], s.UUID[:])
	copy(b[offAlgorithm:], algorithm)
	binary.LittleEndian.PutUint32(b[offDataBlockSize:], BlockSize)
	binary.LittleEndian.PutUint32(b[offHashBlockSize:], BlockSize)
	binary.LittleEndian.PutUint64(b[offDataBlocks:], s.DataBlocks)
	binary.LittleEndian.PutUint16(b[offSaltSize:], uint16(len(s.Salt))) //nolint:gosec // at most MaxSalt
	copy(b[offSalt:offSalt+MaxSalt], s.Salt)
	return b
}

// ParseSuperblock reads the block in front of a tree. It accepts exactly what this package writes, so what parses
// has one encoding.
func ParseSuperblock(block []byte) (Superblock, error) {
	var s Superblock
	if len(block) != BlockSize {
		return s, fmt.Errorf("reading verity superblock: %d bytes, want %d", len(block), BlockSize)
	}
	if string(block[:len(magic)]) != magic {
		return s, errors.New("reading verity superblock: no magic; this block is not in front of a hash tree")
	}
	saltSize := binary.LittleEndian.Uint16(block[offSaltSize:])
	s.DataBlocks = binary.LittleEndian.Uint64(block[offDataBlocks:])
	switch {
	case saltSize > MaxSalt:
		return s, fmt.Errorf("reading verity superblock: salt of %d bytes, at most %d", saltSize, MaxSalt)
	case s.DataBlocks == 0 || s.DataBlocks > maxDataBlocks:
		return s, fmt.Errorf("reading verity superblock: %d data blocks, want 1..%d", s.DataBlocks, uint64(maxDataBlocks))
	}
	copy(s.UUID[:], block[offUUID:])
	s.Salt = bytes.Clone(block[offSalt : offSalt+int(saltSize)])
	if again := s.encode(); !bytes.Equal(again, block) {
		at := 0
		for again[at] == block[at] {
			at++
		}
		return s, fmt.Errorf("reading verity superblock: byte %d is %#x, want %#x: not the version, hash or block size of ours",
			at, block[at], again[at])
	}
	return s, nil
}
