package archive

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"path"
	"slices"
	"strings"
)

// The EROFS image: superblock, one device slot, inodes of 64 bytes, directories (image.md section 7.1; the slot is struct
// erofs_deviceslot of fs/erofs/erofs_fs.h). Blocks have the size of an archive's records, so that contents begin at one.
const (
	blockBits = 9
	blockSize = 1 << blockBits

	superAt  = 1024
	slotSize = 128
	slotAt   = 1152 // a multiple of slotSize, behind the superblock of 128 bytes
	inodesAt = 1536
	// inodeSize is that of the extended form; nids count units of 32 bytes.
	inodeSize = 64
	nidUnit   = 32
	// imageUnit is what the image is padded to: the kernel's first look at a device is in pages.
	imageUnit = 4096

	superMagic         = 0xE0F5E1E2
	featureDeviceTable = 8
	extendedPlain      = 1 // format: extended inode, contents in consecutive blocks
	noBlocks           = 0xffffffff
	direntSize         = 12

	typeRegular = 1
	typeFolder  = 2
	modeRegular = 0o100000
	modeFolder  = 0o040000

	// deviceTag fills the slot's tag; the kernel takes the device from its mount options.
	deviceTag = "model archive"
)

// node is a member with what its inode says.
type node struct {
	Member
	nid     uint64
	parent  int
	entries []entry
	nlink   uint32
	size    uint64
	block   uint32
}

// entry is a name in a folder.
type entry struct {
	name string
	nid  uint64
	kind byte
}

// Image makes the EROFS image of an archive's members, as Read gives them. Contents lie on the device that is mounted as
// the image's first further one, size bytes long.
func Image(members []Member, size int64) ([]byte, error) {
	if len(members) == 0 || len(members) > maxMembers || size <= 0 || size > maxArchive {
		return nil, fmt.Errorf("making file system of archive: %d members and %d bytes are out of bounds", len(members), size)
	}
	nodes, err := link(members)
	if err != nil {
		return nil, fmt.Errorf("making file system of archive: %w", err)
	}
	out := padTo(bytes.Repeat([]byte{0}, inodesAt+len(nodes)*inodeSize), blockSize)
	for i := range nodes {
		if n := &nodes[i]; n.Dir {
			data := directory(n.entries)
			n.block, n.size = uint32(len(out)/blockSize), uint64(len(data)) //nolint:gosec // bounded by maxMembers and maxName
			out = padTo(append(out, data...), blockSize)
		}
	}
	out = padTo(out, imageUnit)
	first := uint32(len(out) / blockSize) //nolint:gosec // the same bound; where the archive begins
	for i := range nodes {
		n := &nodes[i]
		if !n.Dir {
			n.size, n.block = uint64(n.Size), noBlocks //nolint:gosec // Read bounds it
			if n.Size > 0 {
				n.block = first + uint32(n.Offset/blockSize) //nolint:gosec // maxArchive
			}
		}
		n.put(out[inodesAt+i*inodeSize:], uint32(i+1))
	}
	putSuper(out, len(nodes), first, uint32(size/blockSize))
	return out, nil
}

// link makes nodes of members: who is in which folder, and under which nid.
func link(members []Member) ([]node, error) {
	nodes := make([]node, len(members))
	at := make(map[string]int, len(members))
	for i, m := range members {
		parent, ok := at[path.Dir(m.Path)]
		if m.Path != "." && (!ok || i == 0) {
			return nil, fmt.Errorf("%q comes before its folder", m.Path)
		}
		nodes[i] = node{Member: m, nid: inodesAt/nidUnit + uint64(i)*(inodeSize/nidUnit), parent: parent, nlink: 1}
		at[m.Path] = i
		if m.Dir {
			nodes[i].nlink = 2
			nodes[i].entries = []entry{{".", nodes[i].nid, typeFolder}, {"..", nodes[parent].nid, typeFolder}}
		}
		if i == 0 {
			continue
		}
		e := entry{path.Base(m.Path), nodes[i].nid, typeRegular}
		if m.Dir {
			e.kind = typeFolder
			nodes[parent].nlink++
		}
		nodes[parent].entries = append(nodes[parent].entries, e)
	}
	return nodes, nil
}

// directory is a folder's data: blocks of entries and then their names, bytewise sorted.
func directory(entries []entry) []byte {
	slices.SortFunc(entries, func(a, b entry) int { return strings.Compare(a.name, b.name) })
	var out []byte
	for len(entries) > 0 {
		n, used := 0, 0
		for n < len(entries) && used+direntSize+len(entries[n].name) <= blockSize {
			used += direntSize + len(entries[n].name)
			n++
		}
		out = padTo(out, blockSize) // the block before this one
		names := n * direntSize
		heads := make([]byte, names)
		var text []byte
		for i, e := range entries[:n] {
			h := heads[i*direntSize:]
			binary.LittleEndian.PutUint64(h, e.nid)
			binary.LittleEndian.PutUint16(h[8:], uint16(names+len(text))) //nolint:gosec // below blockSize
			h[10] = e.kind
			text = append(text, e.name...)
		}
		out = append(append(out, heads...), text...)
		entries = entries[n:]
	}
	return out
}

// put writes the inode.
func (n *node) put(b []byte, ino uint32) {
	le := binary.LittleEndian
	mode := n.Mode | modeRegular
	if n.Dir {
		mode = n.Mode | modeFolder
	}
	le.PutUint16(b[0:], extendedPlain)
	le.PutUint16(b[4:], uint16(mode)) //nolint:gosec // 16 bits
	le.PutUint64(b[8:], n.size)
	le.PutUint32(b[16:], n.block)
	le.PutUint32(b[20:], ino)
	le.PutUint32(b[44:], n.nlink)
}

// putSuper writes superblock and device slot. There is no checksum: nobody can change memory that only we have.
func putSuper(out []byte, inodes int, first, archiveBlocks uint32) {
	le := binary.LittleEndian
	super := out[superAt:]
	le.PutUint32(super[0:], superMagic)
	super[12] = blockBits
	le.PutUint16(super[14:], inodesAt/nidUnit)
	le.PutUint64(super[16:], uint64(inodes)) //nolint:gosec // maxMembers
	le.PutUint32(super[36:], first)
	le.PutUint32(super[80:], featureDeviceTable)
	le.PutUint16(super[86:], 1) // further devices
	le.PutUint16(super[88:], slotAt/slotSize)
	slot := out[slotAt:]
	copy(slot[:64], deviceTag)
	le.PutUint32(slot[64:], archiveBlocks)
	le.PutUint32(slot[68:], first)
}

func padTo(b []byte, unit int) []byte { return append(b, make([]byte, (unit-len(b)%unit)%unit)...) }
