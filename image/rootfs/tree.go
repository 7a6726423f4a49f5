// Package rootfs holds a layer's file tree on its way from packages to an EROFS image: nodes with content by
// reference, the rules that normalise them, and the policy of what may not be in a layer (image.md section 7).
//
// It owns names, modes, owners and order; it does not read archives or write file systems. Paths come from packages
// and are hostile: they are cleaned and checked on insert, directory symlinks are followed, nothing escapes the root.
// A Tree is not safe for concurrent mutation; a finished tree may be read concurrently.
package rootfs

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"sort"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Type is the kind of a node.
type Type uint8

// The kinds of nodes. Device nodes exist for the initrd's dev/console; layers refuse them.
const (
	File Type = iota + 1
	Dir
	Symlink
	CharDevice
)

const (
	// maxPath and maxName are Linux' limits.
	maxPath = 4096
	maxName = 255
	// maxLinks bounds the symlinks followed while resolving one path.
	maxLinks = 40
)

// ErrConflict marks two different things at one path.
var ErrConflict = errors.New("conflicting path")

// Content is a file's bytes by reference: in memory, or a range of a file on disk that will not change.
type Content struct {
	Size   int64
	SHA256 [32]byte
	data   []byte
	file   string
	offset int64
	reader io.ReaderAt
}

// Bytes makes content from memory.
func Bytes(data []byte) Content {
	return Content{Size: int64(len(data)), SHA256: sha256.Sum256(data), data: data}
}

// FileRange makes content from size bytes at offset of the file called name, whose hash the caller has computed.
func FileRange(name string, offset, size int64, sum [32]byte) Content {
	return Content{Size: size, SHA256: sum, file: name, offset: offset}
}

// Section makes content from the first size bytes of r, whose hash the caller has computed.
func Section(r io.ReaderAt, size int64, sum [32]byte) Content {
	return Content{Size: size, SHA256: sum, reader: r}
}

// ReadAt makes Content an io.ReaderAt. A file is opened for the call only, so that a tree of any size needs no more
// descriptors than it has readers.
func (c Content) ReadAt(p []byte, off int64) (int, error) {
	switch {
	case off < 0:
		return 0, fmt.Errorf("reading content: offset %d", off)
	case off >= c.Size:
		return 0, io.EOF
	case int64(len(p)) > c.Size-off:
		n, err := c.ReadAt(p[:c.Size-off], off)
		if err == nil {
			err = io.EOF
		}
		return n, err
	case c.reader != nil:
		return c.reader.ReadAt(p, off)
	case c.file == "":
		return copy(p, c.data[off:]), nil
	}
	f, err := os.Open(c.file)
	if err != nil {
		return 0, fmt.Errorf("opening content: %w", err)
	}
	defer f.Close() //nolint:errcheck // read side
	return f.ReadAt(p, c.offset+off)
}

// Open returns a reader over exactly Size bytes.
func (c Content) Open() (io.ReadCloser, error) {
	if c.reader != nil {
		return io.NopCloser(io.NewSectionReader(c.reader, 0, c.Size)), nil
	}
	if c.file == "" {
		return io.NopCloser(bytes.NewReader(c.data)), nil
	}
	f, err := os.Open(c.file)
	if err != nil {
		return nil, fmt.Errorf("opening content: %w", err)
	}
	return struct {
		io.Reader
		io.Closer
	}{io.NewSectionReader(f, c.offset, c.Size), f}, nil
}

// ReadAll returns the bytes; for small files.
func (c Content) ReadAll() ([]byte, error) {
	r, err := c.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close() //nolint:errcheck // read side
	out := make([]byte, c.Size)
	if _, err := io.ReadFull(r, out); err != nil {
		return nil, fmt.Errorf("reading content: %w", err)
	}
	return out, nil
}

// Inode is what hard links share.
type Inode struct {
	Type    Type
	Mode    uint32 // permission bits with setuid, setgid and sticky: 0..07777
	UID     uint32
	GID     uint32
	Content Content // File only
	Target  string  // Symlink only
	Major   uint32  // CharDevice only
	Minor   uint32  // CharDevice only
	// Origin names the input that brought the file, for diff and errors: "deb libc6 2.41-12", "recipe", "wheel torch".
	Origin string
}

// Node is one path of a tree.
type Node struct {
	Path  string // relative, slash separated, cleaned; "." is the root
	Inode *Inode
}

// Tree is a set of paths. Every parent of a path is a directory of the tree.
type Tree struct {
	nodes map[string]*Inode
}

// New returns a tree that has only its root directory.
func New() *Tree {
	return &Tree{nodes: map[string]*Inode{".": {Type: Dir, Mode: 0o755, Origin: "root"}}}
}

// Len is the number of paths, the root included.
func (t *Tree) Len() int { return len(t.nodes) }

// Get returns the inode at a literal path (symlinks are not followed).
func (t *Tree) Get(name string) (*Inode, bool) {
	n, ok := t.nodes[path.Clean(name)]
	return n, ok
}

// Nodes returns every path in bytewise order of the full path, the root first.
func (t *Tree) Nodes() []Node {
	out := make([]Node, 0, len(t.nodes))
	for p, n := range t.nodes {
		out = append(out, Node{p, n})
	}
	sort.Slice(out, func(i, j int) bool {
		if out[i].Path == "." || out[j].Path == "." {
			return out[i].Path == "." && out[j].Path != "."
		}
		return out[i].Path < out[j].Path
	})
	return out
}

// Children returns the base names in a directory, bytewise sorted.
func (t *Tree) Children(dir string) []string {
	dir = path.Clean(dir)
	var out []string
	for p := range t.nodes {
		if p != "." && path.Dir(p) == dir {
			out = append(out, path.Base(p))
		}
	}
	slices.Sort(out)
	return out
}

// Add inserts an inode. Directory symlinks in the path's parents are followed; missing parents are made 0755.
// Adding a directory where one exists keeps the first; anything else that differs is ErrConflict.
func (t *Tree) Add(name string, n *Inode) error {
	p, err := t.resolveParent(name)
	if err != nil {
		return fmt.Errorf("adding %q: %w", name, err)
	}
	old, ok := t.nodes[p]
	if !ok {
		t.nodes[p] = n
		return nil
	}
	if n.Type == Dir && t.isDir(p) {
		return nil
	}
	if same(old, n) {
		return nil
	}
	return fmt.Errorf("adding %q: %w: from %s and from %s", name, ErrConflict, old.Origin, n.Origin)
}

// Replace puts an inode at a path, whatever was there; for files that the recipe generates.
func (t *Tree) Replace(name string, n *Inode) error {
	p, err := t.resolveParent(name)
	if err != nil {
		return fmt.Errorf("replacing %q: %w", name, err)
	}
	if old, ok := t.nodes[p]; ok && old.Type == Dir && n.Type != Dir {
		return fmt.Errorf("replacing %q: %w: it is a directory", name, ErrConflict)
	}
	t.nodes[p] = n
	return nil
}

// Link adds a hard link to an existing file.
func (t *Tree) Link(name, target string) error {
	p, err := t.resolveParent(target)
	if err != nil {
		return fmt.Errorf("linking %q: %w", name, err)
	}
	n, ok := t.nodes[p]
	if !ok || n.Type == Dir {
		return fmt.Errorf("linking %q: target %q is not a file of the tree", name, target)
	}
	return t.Add(name, n)
}

// Remove deletes a path and everything below it. It reports how many paths went.
func (t *Tree) Remove(name string) int {
	p := path.Clean(name)
	if p == "." {
		return 0
	}
	count := 0
	for q := range t.nodes {
		if q == p || strings.HasPrefix(q, p+"/") {
			delete(t.nodes, q)
			count++
		}
	}
	return count
}

// CleanPath turns an archive member's name into a tree path, refusing escapes, absolute names and odd characters.
func CleanPath(name string) (string, error) {
	switch {
	case name == "" || len(name) > maxPath:
		return "", fmt.Errorf("path of %d bytes, want 1..%d", len(name), maxPath)
	case !utf8.ValidString(name):
		return "", fmt.Errorf("path %q is not UTF-8", name)
	case strings.HasPrefix(name, "/"):
		return "", fmt.Errorf("path %q is absolute", name)
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == ".." {
			return "", fmt.Errorf("path %q leaves the root", name)
		}
		if len(part) > maxName {
			return "", fmt.Errorf("path %q has a component over %d bytes", name, maxName)
		}
	}
	if strings.ContainsFunc(name, unicode.IsControl) {
		return "", fmt.Errorf("path %q has a control character", name)
	}
	return path.Clean(name), nil
}

func (t *Tree) isDir(p string) bool {
	q, err := t.follow(p, 0)
	if err != nil {
		return false
	}
	n, ok := t.nodes[q]
	return ok && n.Type == Dir
}

// resolveParent cleans name and replaces directory symlinks among its parents by what they point to.
func (t *Tree) resolveParent(name string) (string, error) {
	p, err := CleanPath(name)
	if err != nil {
		return "", err
	}
	if p == "." {
		return p, nil
	}
	dir, err := t.follow(path.Dir(p), 0)
	if err != nil {
		return "", err
	}
	if err := t.mkdirs(dir); err != nil {
		return "", err
	}
	return path.Join(dir, path.Base(p)), nil
}

// follow resolves every symlink in p, component by component, inside the root.
func (t *Tree) follow(p string, links int) (string, error) {
	if p == "." {
		return p, nil
	}
	out := "."
	parts := strings.Split(p, "/")
	for i, part := range parts {
		next := path.Join(out, part)
		n, ok := t.nodes[next]
		if !ok || n.Type != Symlink {
			out = next
			continue
		}
		if links >= maxLinks {
			return "", fmt.Errorf("path %q: more than %d symlinks", p, maxLinks)
		}
		target := n.Target
		if !strings.HasPrefix(target, "/") {
			target = path.Join("/", out, target)
		}
		rest := path.Join(append([]string{path.Clean(target)}, parts[i+1:]...)...)
		return t.follow(strings.TrimPrefix(rest, "/"), links+1)
	}
	if out == "" {
		out = "."
	}
	return out, nil
}

func (t *Tree) mkdirs(dir string) error {
	if dir == "." {
		return nil
	}
	if n, ok := t.nodes[dir]; ok {
		if n.Type != Dir {
			return fmt.Errorf("%w: %q is not a directory (from %s)", ErrConflict, dir, n.Origin)
		}
		return nil
	}
	if err := t.mkdirs(path.Dir(dir)); err != nil {
		return err
	}
	t.nodes[dir] = &Inode{Type: Dir, Mode: 0o755, Origin: "implied"}
	return nil
}

func same(a, b *Inode) bool {
	if a == b {
		return true
	}
	return a.Type == b.Type && a.Mode == b.Mode && a.UID == b.UID && a.GID == b.GID && a.Target == b.Target &&
		a.Major == b.Major && a.Minor == b.Minor && a.Content.Size == b.Content.Size && a.Content.SHA256 == b.Content.SHA256
}
