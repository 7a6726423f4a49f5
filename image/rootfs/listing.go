package rootfs

import (
	"bytes"
	"crypto/sha256"
	"fmt"
)

// Listing is the tree in text, one line per path in bytewise order of the paths: type letter, mode, owner, a field that
// depends on the type, and the quoted path (image.md section 2). The field is the content's SHA-256 for a file, the
// quoted target for a symlink, the numbers for a device, and a dash for a directory. A path that shares an earlier
// path's inode is a line of type h that names that earlier path, because two hard links and two equal files are
// different images. Every line has exactly one reading: names are quoted as Go strings.
//
//	d 0755 0:0 - "usr"
//	f 0644 0:0 9f86d081... "usr/a"
//	h 0644 0:0 "usr/a" "usr/b"
//	l 0777 0:0 "a" "usr/c"
//	c 0600 0:0 5:1 "dev/console"
func Listing(t *Tree) []byte {
	var out bytes.Buffer
	first := make(map[*Inode]string, t.Len())
	for _, n := range t.Nodes() {
		kind, field := describe(n.Inode)
		if p, ok := first[n.Inode]; ok {
			kind, field = 'h', fmt.Sprintf("%q", p)
		} else {
			first[n.Inode] = n.Path
		}
		fmt.Fprintf(&out, "%c %04o %d:%d %s %q\n", kind, n.Inode.Mode, n.Inode.UID, n.Inode.GID, field, n.Path)
	}
	return out.Bytes()
}

// TreeHash is the SHA-256 of the listing: the content hash that the layer's UUID derives from.
func TreeHash(t *Tree) [32]byte { return sha256.Sum256(Listing(t)) }

// describe gives the letter and the type's own field of an inode's line.
func describe(n *Inode) (kind rune, field string) {
	switch n.Type {
	case Dir:
		return 'd', "-"
	case Symlink:
		return 'l', fmt.Sprintf("%q", n.Target)
	case CharDevice:
		return 'c', fmt.Sprintf("%d:%d", n.Major, n.Minor)
	default:
		return 'f', fmt.Sprintf("%x", n.Content.SHA256)
	}
}
