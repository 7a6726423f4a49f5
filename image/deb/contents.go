package deb

import (
	"archive/tar"
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"cocoon/image/rootfs"
)

const (
	// maxEntries bounds a package's files; Debian's largest have about 60,000.
	maxEntries = 400_000
	// maxUnpacked bounds a package's unpacked size; the largest in Debian are about 5 GB.
	maxUnpacked = 16 << 30
	// maxMode keeps permission bits, setuid, setgid and sticky.
	maxMode = 0o7777
	// maxLinkTarget is Linux' limit.
	maxLinkTarget = 4095
	// maxID is the largest owner that an inode holds.
	maxID = 1<<32 - 1
	// xattrPrefix marks extended attributes in PAX headers, sparsePrefix files with holes: we have no place for either.
	xattrPrefix  = "SCHILY.xattr."
	sparsePrefix = "GNU.sparse."
)

// The kinds of entries in a data archive that a layer can hold.
const (
	typeFile    = "file"
	typeDir     = "dir"
	typeSymlink = "symlink"
	typeLink    = "link" // hard link to an earlier file of the same package
)

// entry is one member of a data archive; File entries say where their bytes lie in the unpacked archive.
type entry struct {
	Path   string `json:"path"`
	Type   string `json:"type"`
	Mode   uint32 `json:"mode"`
	UID    uint32 `json:"uid"`
	GID    uint32 `json:"gid"`
	Target string `json:"target,omitempty"`
	Offset int64  `json:"offset,omitempty"`
	Size   int64  `json:"size,omitempty"`
	SHA256 string `json:"sha256,omitempty"`
}

// contents are a package's files with their bytes on disk.
type contents struct {
	Name    string  `json:"name"`
	Version string  `json:"version"`
	Arch    string  `json:"arch"`
	Size    int64   `json:"size"`   // of the unpacked archive
	SHA256  string  `json:"sha256"` // of the unpacked archive
	Entries []entry `json:"entries"`

	tar string // the unpacked archive's file
}

func (c *contents) label() string { return "deb " + c.Name + " " + c.Version }

// meter passes bytes on to a file, counting and hashing them.
type meter struct {
	r io.Reader
	w io.Writer
	n int64
}

func (m *meter) Read(p []byte) (int, error) {
	n, err := m.r.Read(p)
	if n > 0 {
		m.n += int64(n)
		if m.n > maxUnpacked {
			return 0, fmt.Errorf("unpacked data over %d bytes", int64(maxUnpacked))
		}
		if _, werr := m.w.Write(p[:n]); werr != nil {
			return 0, fmt.Errorf("writing unpacked data: %w", werr)
		}
	}
	return n, err
}

// scan copies a data archive's plain bytes to w and lists its members.
func scan(ctx context.Context, data io.Reader, w io.Writer) (*contents, error) {
	whole := sha256.New()
	m := &meter{r: contextReader{ctx, data}, w: io.MultiWriter(w, whole)}
	tr := tar.NewReader(m)
	c, files, seen := &contents{}, map[string]bool{}, map[string]bool{}
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("reading the data archive: %w", err)
		}
		if len(c.Entries) == maxEntries {
			return nil, fmt.Errorf("reading the data archive: over %d members", maxEntries)
		}
		e, err := describe(h, files)
		if err != nil {
			return nil, fmt.Errorf("reading the data archive: member %.200q: %w", h.Name, err)
		}
		if e.Path == "." {
			continue
		}
		if seen[e.Path] {
			return nil, fmt.Errorf("reading the data archive: member %q is there twice", e.Path)
		}
		seen[e.Path] = true
		if e.Type == typeFile {
			files[e.Path] = true
			e.Offset, e.Size = m.n, h.Size // archive/tar reads whole blocks: the stream stands at the first data byte
			if e.SHA256, err = hashExactly(tr, h.Size); err != nil {
				return nil, fmt.Errorf("reading the data archive: member %q: %w", e.Path, err)
			}
		}
		c.Entries = append(c.Entries, e)
	}
	if err := drainZeros(m); err != nil {
		return nil, err
	}
	c.Size, c.SHA256 = m.n, hex.EncodeToString(whole.Sum(nil))
	return c, nil
}

// describe judges a tar header; files are the regular files so far, which hard links may name.
func describe(h *tar.Header, files map[string]bool) (entry, error) {
	p, err := rootfs.CleanPath(h.Name)
	if err != nil {
		return entry{}, err
	}
	if err := checkHeader(h); err != nil {
		return entry{}, err
	}
	e := entry{Path: p, Mode: uint32(h.Mode) & maxMode, UID: uint32(h.Uid), GID: uint32(h.Gid)} //nolint:gosec // checked above, masked
	switch h.Typeflag {
	case tar.TypeReg:
		e.Type = typeFile
	case tar.TypeDir:
		e.Type = typeDir
	case tar.TypeSymlink:
		e.Type, e.Mode, e.Target = typeSymlink, 0o777, h.Linkname
		if e.Target == "" || len(e.Target) > maxLinkTarget || strings.ContainsRune(e.Target, 0) {
			return entry{}, fmt.Errorf("link target of %d bytes", len(e.Target))
		}
	case tar.TypeLink:
		e.Type = typeLink
		if e.Target, err = rootfs.CleanPath(h.Linkname); err != nil {
			return entry{}, fmt.Errorf("hard link: %w", err)
		}
		if !files[e.Target] {
			return entry{}, fmt.Errorf("hard link to %q, which is no earlier file of the package", e.Target)
		}
	default:
		return entry{}, fmt.Errorf("member type %q: only files, folders and links are allowed", h.Typeflag)
	}
	return e, nil
}

// checkHeader refuses what a tree would lose silently.
func checkHeader(h *tar.Header) error {
	if h.Uid < 0 || h.Gid < 0 || int64(h.Uid) > maxID || int64(h.Gid) > maxID {
		return fmt.Errorf("owner %d:%d, want 0..%d", h.Uid, h.Gid, int64(maxID))
	}
	for _, key := range slices.Sorted(maps.Keys(h.PAXRecords)) {
		if strings.HasPrefix(key, xattrPrefix) || strings.HasPrefix(key, sparsePrefix) {
			return fmt.Errorf("the PAX record %q is not supported", key)
		}
	}
	return nil
}

func hashExactly(r io.Reader, size int64) (string, error) {
	h := sha256.New()
	n, err := io.Copy(h, r)
	if err != nil {
		return "", err
	}
	if n != size {
		return "", fmt.Errorf("%d bytes, its header says %d", n, size)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// drainZeros reads the padding behind the archive's end, so that the compressed stream is checked to its end.
func drainZeros(r io.Reader) error {
	br := bufio.NewReader(r)
	for {
		b, err := br.ReadByte()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading the data archive's end: %w", err)
		}
		if b != 0 {
			return errors.New("reading the data archive's end: bytes behind the archive")
		}
	}
}

// insert puts the chosen entries into the tree, in archive order, parents first.
func (c *contents) insert(tree *rootfs.Tree, sel Selection) error {
	chosen, err := c.choose(sel)
	if err != nil {
		return err
	}
	files := make(map[string]entry)
	inodes := make(map[string]*rootfs.Inode)
	for i, e := range c.Entries {
		if e.Type == typeFile {
			files[e.Path] = e
		}
		if !chosen[i] {
			continue
		}
		n, err := c.inode(e, files, inodes)
		if err != nil {
			return err
		}
		if err := tree.Add(e.Path, n); err != nil {
			return err
		}
	}
	return nil
}

// choose applies a selection: which entries come, the folders above them included.
func (c *contents) choose(sel Selection) ([]bool, error) {
	if err := sel.validate(); err != nil {
		return nil, err
	}
	chosen, used, parents := make([]bool, len(c.Entries)), map[string]bool{}, map[string]bool{}
	for i, e := range c.Entries {
		if !sel.takes(e, used) {
			continue
		}
		chosen[i] = true
		for at := strings.LastIndexByte(e.Path, '/'); at > 0; at = strings.LastIndexByte(e.Path[:at], '/') {
			if parents[e.Path[:at]] {
				break
			}
			parents[e.Path[:at]] = true
		}
	}
	for i, e := range c.Entries {
		if e.Type != typeFile && parents[e.Path] { // a parent may be a folder or a link to one
			chosen[i] = true
		}
	}
	for _, glob := range sel.Globs {
		if !used[glob] {
			return nil, fmt.Errorf("glob %q matches nothing in the package", glob)
		}
	}
	return chosen, nil
}

// inode makes an entry's inode; hard links of one file share it, whichever of their names are chosen.
func (c *contents) inode(e entry, files map[string]entry, inodes map[string]*rootfs.Inode) (*rootfs.Inode, error) {
	n := &rootfs.Inode{Mode: e.Mode, UID: e.UID, GID: e.GID, Origin: c.label()}
	switch e.Type {
	case typeDir:
		n.Type = rootfs.Dir
		return n, nil
	case typeSymlink:
		n.Type, n.Target = rootfs.Symlink, e.Target
		return n, nil
	case typeLink:
		e = files[e.Target]
	}
	if old, ok := inodes[e.Path]; ok {
		return old, nil
	}
	var sum [sha256.Size]byte
	if n, err := hex.Decode(sum[:], []byte(e.SHA256)); err != nil || n != len(sum) {
		return nil, fmt.Errorf("index entry %q has no hash", e.Path)
	}
	*n = rootfs.Inode{
		Type: rootfs.File, Mode: e.Mode, UID: e.UID, GID: e.GID, Origin: c.label(),
		Content: rootfs.FileRange(c.tar, e.Offset, e.Size, sum),
	}
	inodes[e.Path] = n
	return n, nil
}
