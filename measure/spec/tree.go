package spec

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
)

// Hash is a git object name in the SHA-256 object format.
type Hash [sha256.Size]byte

// String is lower-case hex, the form in the RTMR3 message.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// ParseHash reads 64 lower-case hexadecimal digits.
func ParseHash(s string) (Hash, error) {
	var h Hash
	if len(s) != 2*len(h) || strings.ToLower(s) != s {
		return h, fmt.Errorf("spec hash %.80q is not %d lower-case hex digits", s, 2*len(h))
	}
	if _, err := hex.Decode(h[:], []byte(s)); err != nil {
		return h, fmt.Errorf("reading spec hash: %w", err)
	}
	return h, nil
}

// Modes of git tree entries.
const (
	gitRegular    = "100644"
	gitExecutable = "100755"
	gitTree       = "40000"
)

// TreeHash is the name git gives the tree of files (measure.md section 9.3). The files must satisfy Check; those
// from FromFS and Parse do. No files hash to git's empty tree.
func TreeHash(files []File) (Hash, error) {
	if err := Check(files); err != nil {
		return Hash{}, fmt.Errorf("hashing spec tree: %w", err)
	}
	return treeHash(files, 0), nil
}

// treeHash hashes the files below one folder, whose name with the final slash is the first skip bytes of their paths.
// Git sorts entries by name with "/" appended to folders, which is the order the full paths are already in: the files
// of a folder are adjacent, and "sub.x" comes before "sub/a".
func treeHash(files []File, skip int) Hash {
	var entries []byte
	for len(files) > 0 {
		name := files[0].Path[skip:]
		slash := strings.IndexByte(name, '/')
		if slash < 0 {
			entries = appendEntry(entries, fileMode(files[0]), name, object("blob", files[0].Data))
			files = files[1:]
			continue
		}
		prefix := files[0].Path[:skip+slash+1]
		n := 1
		for n < len(files) && strings.HasPrefix(files[n].Path, prefix) {
			n++
		}
		entries = appendEntry(entries, gitTree, name[:slash], treeHash(files[:n], len(prefix)))
		files = files[n:]
	}
	return object("tree", entries)
}

func fileMode(f File) string {
	if f.Executable {
		return gitExecutable
	}
	return gitRegular
}

func appendEntry(dst []byte, mode, name string, h Hash) []byte {
	dst = append(dst, mode...)
	dst = append(dst, ' ')
	dst = append(dst, name...)
	dst = append(dst, 0)
	return append(dst, h[:]...)
}

// object hashes a git object: SHA-256("<kind> <length>\0" ‖ data).
func object(kind string, data []byte) Hash {
	sum := sha256.New()
	header := strconv.AppendInt(append([]byte(kind), ' '), int64(len(data)), 10)
	sum.Write(append(header, 0))
	sum.Write(data)
	var h Hash
	sum.Sum(h[:0])
	return h
}
