package fs

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"path"
	"strings"

	"cocoon/image/rootfs"
)

// inode is one inode as read.
type inode struct {
	rootfs.Inode
	links  uint32 // as stored
	number uint32
	dirent byte // type number in directory entries
	found  uint32
	data   contentAt
}

// walker reads every inode and directory of an image once.
type walker struct {
	*Reader
	inodes map[uint64]*inode
	// bytes is the size of all inodes' data so far. No two share a block, so together they fit in the image: this
	// bounds memory and time for directories, symlinks and contents alike.
	bytes int64
}

// dirent is one directory entry as read.
type dirent struct {
	nid  uint64
	kind byte
	name string
}

// walk starts at the root and checks at the end that the counts agree.
func (w *walker) walk() error {
	if err := w.enter(".", rootNID, rootNID, 0); err != nil {
		return err
	}
	if got := uint64(len(w.inodes)); got != w.info.Inodes {
		return fmt.Errorf("%d inodes have names, the superblock counts %d", got, w.info.Inodes)
	}
	for _, e := range w.entries {
		if n := w.inodes[e.NID]; n.found != n.links {
			return fmt.Errorf("%q: link count %d, but %d links", e.Path, n.links, n.found)
		}
	}
	return nil
}

// enter records a directory and everything below it.
func (w *walker) enter(name string, nid, parent uint64, depth int) error {
	n, isNew, err := w.load(nid)
	switch {
	case err != nil:
		return fmt.Errorf("%q: %w", name, err)
	case n.Type != rootfs.Dir:
		return fmt.Errorf("%q: not a directory", name)
	case !isNew:
		return fmt.Errorf("%q: a directory with two names", name)
	case depth > maxDepth:
		return fmt.Errorf("%q: nested deeper than %d", name, maxDepth)
	}
	n.found = 2
	w.record(name, nid, n)
	list, err := w.readDir(n)
	if err != nil {
		return fmt.Errorf("%q: %w", name, err)
	}
	for _, d := range list {
		if err := w.visit(name, nid, parent, d, depth); err != nil {
			return err
		}
	}
	return nil
}

// visit handles one entry of the directory called dir.
func (w *walker) visit(dir string, self, parent uint64, d dirent, depth int) error {
	full := path.Join(dir, d.name)
	switch {
	case d.name == "." || d.name == "..":
		if want := map[string]uint64{".": self, "..": parent}[d.name]; d.nid != want || d.kind != direntDir {
			return fmt.Errorf("%q: entry %q is inode %d of type %d, want %d of type %d", dir, d.name, d.nid, d.kind, want, direntDir)
		}
		return nil
	case d.kind == direntDir:
		w.inodes[self].found++
		return w.enter(full, d.nid, self, depth+1)
	case len(w.entries) >= maxInodes:
		return fmt.Errorf("more than %d names", maxInodes)
	}
	n, _, err := w.load(d.nid)
	if err != nil {
		return fmt.Errorf("%q: %w", full, err)
	}
	if n.dirent != d.kind {
		return fmt.Errorf("%q: its entry has type %d, its inode type %d", full, d.kind, n.dirent)
	}
	n.found++
	w.record(full, d.nid, n)
	return nil
}

func (w *walker) record(name string, nid uint64, n *inode) {
	w.entries = append(w.entries, Entry{Path: name, NID: nid, Inode: n.Inode, data: n.data})
}

// load reads an inode the first time it is named. Inodes are numbered in the order of the walk.
func (w *walker) load(nid uint64) (n *inode, isNew bool, err error) {
	if n, ok := w.inodes[nid]; ok {
		return n, false, nil
	}
	if uint64(len(w.inodes)) >= w.info.Inodes {
		return nil, false, fmt.Errorf("more inodes than the superblock's %d", w.info.Inodes)
	}
	if n, err = w.readInode(nid); err != nil {
		return nil, false, fmt.Errorf("inode %d: %w", nid, err)
	}
	w.inodes[nid] = n
	if n.number != uint32(len(w.inodes)) { //nolint:gosec // at most maxInodes
		return nil, false, fmt.Errorf("inode %d: numbered %d, want %d", nid, n.number, len(w.inodes))
	}
	return n, true, nil
}

// readInode reads and checks an inode's fields.
func (w *walker) readInode(nid uint64) (*inode, error) {
	if nid < rootNID || nid >= uint64(w.size)/slot { //nolint:gosec // not negative
		return nil, errors.New("it lies outside the image")
	}
	off := int64(nid) * slot //nolint:gosec // checked above
	b := make([]byte, extendedSize)
	if err := readFull(w.r, b[:min(extendedSize, w.size-off)], off); err != nil {
		return nil, err
	}
	le := binary.LittleEndian
	mode, format := le.Uint16(b[inMode:]), le.Uint16(b)
	n := &inode{number: le.Uint32(b[inNumber:])}
	n.Mode, n.Origin = uint32(mode&0o7777), "erofs"
	var known bool
	if n.Type, n.dirent, known = typeOf(mode); !known {
		return nil, fmt.Errorf("mode %#o is no file, directory, symlink or character device", mode)
	}
	size := compactSize
	if format&1 == 0 {
		n.links, n.data.size = uint32(le.Uint16(b[inLinks:])), int64(le.Uint32(b[inSize:]))
		n.UID, n.GID = uint32(le.Uint16(b[inUID:])), uint32(le.Uint16(b[inGID:]))
	} else {
		size = extendedSize
		n.links, n.data.size = le.Uint32(b[xLinks:]), int64(le.Uint64(b[inSize:])&(1<<63-1))
		n.UID, n.GID = le.Uint32(b[xUID:]), le.Uint32(b[xGID:])
	}
	switch {
	case off/BlockSize != (off+int64(size)-1)/BlockSize:
		return nil, errors.New("it crosses a block")
	case !zeroRest(b[:size], format, w.info.Epoch):
		return nil, errors.New("a field that is always zero is not, or its time is not the image's")
	case n.data.size > w.size-w.bytes:
		return nil, fmt.Errorf("its %d bytes and those of the inodes before it are more than the image has", n.data.size)
	}
	w.bytes += n.data.size
	n.data.r = w.r
	if err := w.locate(n, format>>1, le.Uint32(b[inUnion:]), off+int64(size)); err != nil {
		return nil, err
	}
	return n, w.finishInode(n, le.Uint32(b[inUnion:]))
}

// locate finds an inode's data and checks that it lies in the image; behind is the end of the inode itself.
func (w *walker) locate(n *inode, layout uint16, block uint32, behind int64) error {
	d := &n.data
	d.full, d.tail = d.size, behind
	switch layout {
	case layoutPlain:
	case layoutInline:
		rest := d.size % BlockSize
		d.full -= rest
		if rest == 0 || behind%BlockSize+rest > BlockSize || behind%BlockSize == 0 || behind+rest > w.size {
			return fmt.Errorf("a tail of %d bytes cannot lie behind the inode", rest)
		}
	default:
		return fmt.Errorf("data layout %d", layout)
	}
	if n.Type == rootfs.CharDevice {
		return nil
	}
	if d.full == 0 {
		if block != noBlocks {
			return fmt.Errorf("first block %d for no blocks of data", block)
		}
		return nil
	}
	d.blocks = int64(block) * BlockSize
	if d.full > w.size-d.blocks {
		return fmt.Errorf("%d bytes of data at block %d lie outside the image", d.full, block)
	}
	return nil
}

// finishInode sets what depends on the type.
func (w *walker) finishInode(n *inode, union uint32) error {
	switch n.Type { //nolint:exhaustive // typeOf gives no others
	case rootfs.File:
		n.Content = rootfs.Section(n.data, n.data.size, [32]byte{})
	case rootfs.Symlink:
		if n.data.size == 0 || n.data.size > maxTarget {
			return fmt.Errorf("symlink target of %d bytes, want 1..%d", n.data.size, maxTarget)
		}
		target := make([]byte, n.data.size)
		if err := readFull(n.data, target, 0); err != nil {
			return err
		}
		n.Target = string(target)
	case rootfs.CharDevice:
		if n.data.size != 0 {
			return fmt.Errorf("a device with %d bytes of data", n.data.size)
		}
		n.Major, n.Minor = decodeDevice(union)
	}
	return nil
}

// zeroRest checks the fields of an inode that carry nothing.
func zeroRest(b []byte, format uint16, epoch int64) bool {
	fixed := [][2]int{{2, 4}, {12, 16}, {28, 32}}
	if format&1 == 1 {
		fixed = [][2]int{{2, 4}, {6, 8}, {40, 44}, {48, 64}}
		if binary.LittleEndian.Uint64(b[xTime:]) != uint64(epoch) || b[inSize+7]&0x80 != 0 { //nolint:gosec // not negative
			return false
		}
	}
	for _, f := range fixed {
		if len(bytes.Trim(b[f[0]:f[1]], "\x00")) != 0 {
			return false
		}
	}
	return true
}

// readDir reads a directory's entries, "." and ".." among them, and checks their order.
func (w *walker) readDir(n *inode) ([]dirent, error) {
	data := make([]byte, n.data.size)
	if err := readFull(n.data, data, 0); err != nil {
		return nil, err
	}
	var list []dirent
	for len(data) > 0 {
		block := data[:min(BlockSize, len(data))]
		data = data[len(block):]
		entries, err := parseDirBlock(block, len(data) == 0)
		if err != nil {
			return nil, err
		}
		list = append(list, entries...)
	}
	dots := 0
	for i, d := range list {
		if i > 0 && d.name <= list[i-1].name {
			return nil, fmt.Errorf("entry %q comes after %q", d.name, list[i-1].name)
		}
		if d.name == "." || d.name == ".." {
			dots++
		}
	}
	if dots != 2 {
		return nil, errors.New(`"." or ".." is missing`)
	}
	return list, nil
}

// parseDirBlock reads one block of a directory. The last block ends with its last name; in others zeros may follow.
func parseDirBlock(b []byte, last bool) ([]dirent, error) {
	if len(b) < direntSize {
		return nil, errors.New("a directory block ends within an entry")
	}
	le := binary.LittleEndian
	table := int(le.Uint16(b[8:]))
	if table < direntSize || table%direntSize != 0 || table > len(b) {
		return nil, fmt.Errorf("names of a directory block begin at byte %d", table)
	}
	list := make([]dirent, 0, table/direntSize)
	at := table
	for i := 0; i < table; i += direntSize {
		end := len(b)
		if next := i + direntSize; next < table {
			end = int(le.Uint16(b[next+8:]))
		} else if !last {
			end = table + len(bytes.TrimRight(b[table:], "\x00"))
		}
		if int(le.Uint16(b[i+8:])) != at || end <= at || end > len(b) || b[i+11] != 0 {
			return nil, fmt.Errorf("directory entry %d has no proper name", i/direntSize)
		}
		name := string(b[at:end])
		if strings.ContainsAny(name, "/\x00") {
			return nil, fmt.Errorf("name %q has a slash or a NUL", name)
		}
		list = append(list, dirent{nid: le.Uint64(b[i:]), kind: b[i+10], name: name})
		at = end
	}
	return list, nil
}
