package fs

import (
	"encoding/binary"
	"slices"
	"strings"
)

// names is a directory's content in the order of the image: bytewise, "." and ".." among the rest.
func (n *node) names() []entry {
	all := append([]entry{{".", n}, {"..", n.parent}}, n.kids...)
	slices.SortFunc(all, func(a, b entry) int { return strings.Compare(a.name, b.name) })
	return all
}

// splitDir cuts entries into blocks: 12 bytes and the name for each.
func splitDir(names []entry) [][]entry {
	var blocks [][]entry
	start, used := 0, 0
	for i, e := range names {
		need := direntSize + len(e.name)
		if used+need > BlockSize {
			blocks = append(blocks, names[start:i])
			start, used = i, 0
		}
		used += need
	}
	return append(blocks, names[start:])
}

// dirSize is the length of a directory's data: whole blocks, and the last one as far as it is used.
func dirSize(names []entry) int64 {
	blocks := splitDir(names)
	size := int64(len(blocks)-1) * BlockSize
	for _, e := range blocks[len(blocks)-1] {
		size += direntSize + int64(len(e.name))
	}
	return size
}

// encodeDir is a directory's data. Nids must have been given out.
func encodeDir(names []entry) []byte {
	blocks := splitDir(names)
	out := make([]byte, len(blocks)*BlockSize)
	end := 0
	for i, block := range blocks {
		b := out[i*BlockSize : (i+1)*BlockSize]
		at := direntSize * len(block)
		for j, e := range block {
			bits, _ := bitsOf(e.node.Type)
			binary.LittleEndian.PutUint64(b[direntSize*j:], e.node.nid())
			binary.LittleEndian.PutUint16(b[direntSize*j+8:], uint16(at)) //nolint:gosec // below BlockSize
			b[direntSize*j+10] = bits.dirent
			at += copy(b[at:], e.name)
		}
		end = i*BlockSize + at
	}
	return out[:end]
}
