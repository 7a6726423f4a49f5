package fs

import (
	"fmt"
	"math"
	"path"
	"slices"
	"strings"

	"cocoon/image/rootfs"
)

// node is an inode with its place in the image.
type node struct {
	*rootfs.Inode
	path   string
	parent *node
	kids   []entry // directories: bytewise by name
	links  uint32
	number uint32 // 1-based, in order of placement
	size   int64
	off    int64  // of the inode in the image
	block  uint32 // first data block; noBlocks when there is none
	inline bool   // the last, partial block lies behind the inode
}

// entry is a name in a directory.
type entry struct {
	name string
	node *node
}

func (n *node) nid() uint64 { return uint64(n.off / slot) } //nolint:gosec // offsets are positive

// inodeSize is 32 bytes unless a field does not fit.
func (n *node) inodeSize() int64 {
	if n.UID > math.MaxUint16 || n.GID > math.MaxUint16 || n.size > math.MaxUint32 || n.links > math.MaxUint16 {
		return extendedSize
	}
	return compactSize
}

// tail is the length of the last, partial block.
func (n *node) tail() int64 { return n.size % BlockSize }

// dataSize is the part of the content that lies in blocks of its own.
func (n *node) dataSize() int64 {
	if n.inline {
		return n.size - n.tail()
	}
	return n.size
}

// layout is a tree laid out: nodes in order of their offsets.
type layout struct {
	nodes     []*node
	metaEnd   int64 // end of the inode area, a multiple of BlockSize
	dataNodes []*node
	blocks    uint32
}

// plan places every inode of the tree, then every data block.
func plan(tree *rootfs.Tree) (*layout, error) {
	root, err := link(tree)
	if err != nil {
		return nil, err
	}
	l := &layout{}
	if err := l.collect(root); err != nil {
		return nil, err
	}
	l.placeInodes()
	return l, l.placeData()
}

// link turns the tree's flat list of paths into directories with entries.
func link(tree *rootfs.Tree) (*node, error) {
	byPath := make(map[string]*node, tree.Len())
	byInode := make(map[*rootfs.Inode]*node, tree.Len())
	for _, p := range tree.Nodes() {
		n, shared := byInode[p.Inode]
		if shared && p.Inode.Type == rootfs.Dir {
			return nil, fmt.Errorf("%q and %q are one directory; directories have no hard links", n.path, p.Path)
		}
		if !shared {
			n = &node{Inode: p.Inode, path: p.Path}
			if err := n.measure(); err != nil {
				return nil, fmt.Errorf("%q: %w", p.Path, err)
			}
			byInode[p.Inode] = n
		}
		byPath[p.Path] = n
		if p.Path == "." {
			continue
		}
		dir, ok := byPath[path.Dir(p.Path)]
		if !ok || dir.Type != rootfs.Dir {
			return nil, fmt.Errorf("%q is not in a directory of the tree", p.Path)
		}
		dir.kids = append(dir.kids, entry{path.Base(p.Path), n})
	}
	root := byPath["."]
	if root == nil || root.Type != rootfs.Dir {
		return nil, fmt.Errorf("the tree has no root directory")
	}
	return root, nil
}

// measure checks what only the image format forbids and sets the size of everything but directories.
func (n *node) measure() error {
	switch _, known := bitsOf(n.Type); {
	case !known:
		return fmt.Errorf("type %d has no place in an image", n.Type)
	case n.Mode&^0o7777 != 0:
		return fmt.Errorf("mode %#o has bits beyond 07777", n.Mode)
	case n.Type == rootfs.Symlink && (n.Target == "" || len(n.Target) > maxTarget):
		return fmt.Errorf("symlink target of %d bytes, want 1..%d", len(n.Target), maxTarget)
	case n.Type == rootfs.CharDevice && (n.Major > 0xfff || n.Minor > 0xfffff):
		return fmt.Errorf("device %d:%d does not fit 32 bits", n.Major, n.Minor)
	case n.Type == rootfs.File && n.Content.Size < 0:
		return fmt.Errorf("content of %d bytes", n.Content.Size)
	}
	switch n.Type { //nolint:exhaustive // directories are measured when their entries are known, devices are empty
	case rootfs.File:
		n.size = n.Content.Size
	case rootfs.Symlink:
		n.size = int64(len(n.Target))
	}
	return nil
}

// collect lists every inode once, depth first, names bytewise, and counts links: a directory has two and one more for
// each directory in it.
func (l *layout) collect(n *node) error {
	if len(l.nodes) == math.MaxInt32 {
		return fmt.Errorf("more than %d inodes", math.MaxInt32)
	}
	l.nodes = append(l.nodes, n)
	n.number = uint32(len(l.nodes)) //nolint:gosec // bounded above
	n.links++
	if n.Type != rootfs.Dir {
		return nil
	}
	n.links = 2
	if n.parent == nil {
		n.parent = n
	}
	slices.SortFunc(n.kids, func(a, b entry) int { return strings.Compare(a.name, b.name) })
	for _, k := range n.kids {
		switch {
		case k.node.Type == rootfs.Dir:
			n.links++
			k.node.parent = n
		case k.node.links > 0: // a hard link to an inode that has its place
			k.node.links++
			continue
		}
		if err := l.collect(k.node); err != nil {
			return err
		}
	}
	n.size = dirSize(n.names())
	return nil
}

// placeInodes gives every inode its offset. Neither an inode nor the tail behind it crosses a block.
func (l *layout) placeInodes() {
	pos := int64(superOffset + superSize)
	for _, n := range l.nodes {
		need, tail := n.inodeSize(), n.tail()
		if n.inline = tail > 0 && need+tail <= BlockSize; n.inline {
			need += tail
		}
		pos = roundUp(pos, slot)
		if pos/BlockSize != (pos+need-1)/BlockSize {
			pos = roundUp(pos, BlockSize)
		}
		n.off = pos
		pos += need
	}
	l.metaEnd = roundUp(pos, BlockSize)
}

// placeData gives every inode with data of its own its first block, in the order of the inodes.
func (l *layout) placeData() error {
	next := l.metaEnd / BlockSize
	for _, n := range l.nodes {
		n.block = noBlocks
		if n.Type == rootfs.CharDevice {
			n.block = encodeDevice(n.Major, n.Minor)
		}
		if n.dataSize() == 0 {
			continue
		}
		if next >= noBlocks {
			return fmt.Errorf("more than %d blocks of %d bytes", uint32(noBlocks-1), BlockSize)
		}
		n.block = uint32(next) //nolint:gosec // checked above
		l.dataNodes = append(l.dataNodes, n)
		next += roundUp(n.dataSize(), BlockSize) / BlockSize
	}
	if next >= noBlocks {
		return fmt.Errorf("more than %d blocks of %d bytes", uint32(noBlocks-1), BlockSize)
	}
	l.blocks = uint32(next) //nolint:gosec // checked above
	return nil
}
