package fs

import (
	"hash/crc32"

	"cocoon/image/rootfs"
)

// BlockSize is the file system's block, the same as dm-verity's.
const BlockSize = 1 << blockBits

// Constants of the layout (image.md section 7.1).
const (
	blockBits    = 12
	superOffset  = 1024
	superSize    = 128
	slot         = 32 // inodes begin at multiples of it; nid = offset / slot
	rootNID      = (superOffset + superSize) / slot
	magic        = 0xE0F5E1E2
	compatChksum = 1
	compatMtime  = 2
	compactSize  = 32
	extendedSize = 64
	noBlocks     = 0xffffffff
	direntSize   = 12
	direntDir    = 2
	maxLabel     = 16
	maxTarget    = BlockSize - 1 // Linux' PATH_MAX with its NUL
)

// Offsets within the superblock.
const (
	sbChecksum  = 4
	sbCompat    = 8
	sbBlockBits = 12
	sbRootNID   = 14
	sbInodes    = 16
	sbTime      = 24
	sbBlocks    = 36
	sbUUID      = 48
	sbLabel     = 64
)

// Offsets within an inode; x is the extended form.
const (
	inFormat = 0
	inMode   = 4
	inLinks  = 6
	inSize   = 8
	inUnion  = 16 // first block, or device number
	inNumber = 20
	inUID    = 24
	inGID    = 26
	xUID     = 24
	xGID     = 28
	xTime    = 32
	xLinks   = 44
)

// Layouts of an inode's data: format = layout << 1 | extended.
const (
	layoutPlain  = 0
	layoutInline = 2 // the tail lies directly behind the inode
)

// S_IFMT values of the types that we have.
const (
	modeFile   = 0o100000
	modeDir    = 0o040000
	modeLink   = 0o120000
	modeChar   = 0o020000
	modeFormat = 0o170000
)

// typeBits are an inode's S_IFMT and its directory entries' type number.
type typeBits struct {
	mode   uint16
	dirent byte
}

// bitsOf is the on-disk form of a type; ok is false for a type that the layout does not have.
func bitsOf(t rootfs.Type) (b typeBits, ok bool) {
	switch t {
	case rootfs.File:
		return typeBits{modeFile, 1}, true
	case rootfs.Dir:
		return typeBits{modeDir, direntDir}, true
	case rootfs.CharDevice:
		return typeBits{modeChar, 3}, true
	case rootfs.Symlink:
		return typeBits{modeLink, 7}, true
	default:
		return typeBits{}, false
	}
}

// typeOf is the inverse of bitsOf for a mode.
func typeOf(mode uint16) (t rootfs.Type, dirent byte, ok bool) {
	for _, t := range []rootfs.Type{rootfs.File, rootfs.Dir, rootfs.CharDevice, rootfs.Symlink} {
		if b, _ := bitsOf(t); b.mode == mode&modeFormat {
			return t, b.dirent, true
		}
	}
	return 0, 0, false
}

// encodeDevice is Linux' 32-bit device number: null (1:3) is 0x103.
func encodeDevice(major, minor uint32) uint32 {
	return minor&0xff | major<<8 | (minor&^0xff)<<12
}

// decodeDevice is the inverse of encodeDevice.
func decodeDevice(n uint32) (major, minor uint32) {
	return n >> 8 & 0xfff, n&0xff | n>>12&^0xff
}

// checksum is CRC32C without the final inversion over the superblock's part of the first block.
func checksum(first []byte) uint32 {
	return ^crc32.Checksum(first[superOffset:BlockSize], crc32.MakeTable(crc32.Castagnoli))
}

func roundUp(n, to int64) int64 { return (n + to - 1) / to * to }
