package fs_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cocoon/image/fs"
	"cocoon/image/rootfs"
	"cocoon/tests/golden"
)

// vectorTree is the tree that vectors/image/erofs.json describes.
func vectorTree(tb testing.TB) *rootfs.Tree {
	tb.Helper()
	tree := rootfs.New()
	add := func(name string, n *rootfs.Inode) {
		tb.Helper()
		if err := tree.Add(name, n); err != nil {
			tb.Fatal(err)
		}
	}
	add("a", file(0o644, "hello\n"))
	if err := tree.Link("d/hard", "a"); err != nil {
		tb.Fatal(err)
	}
	add("d/l", &rootfs.Inode{Type: rootfs.Symlink, Mode: 0o777, Target: "../a"})
	add("dev/null", &rootfs.Inode{Type: rootfs.CharDevice, Mode: 0o666, Major: 1, Minor: 3})
	big := file(0o4755, "x")
	big.UID, big.GID = 70000, 5
	add("big-uid", big)
	for _, size := range []int{0, 1, 4063, 4064, 4065, 4095, 4096, 4097, 12288} {
		add("size/f"+strconv.Itoa(size), file(0o600, pattern(size)))
	}
	for i := range 300 {
		add(fmt.Sprintf("many/file-%03d", i), file(0o644, ""))
	}
	return tree
}

func file(mode uint32, data string) *rootfs.Inode {
	return &rootfs.Inode{Type: rootfs.File, Mode: mode, Content: rootfs.Bytes([]byte(data))}
}

// pattern is the vectors' file content: byte i is (7*i + (i>>8)) mod 256.
func pattern(size int) string {
	var b strings.Builder
	for i := range size {
		b.WriteByte(byte(7*i + i>>8))
	}
	return b.String()
}

func write(tb testing.TB, tree *rootfs.Tree, o fs.Options) ([]byte, fs.Stats) {
	tb.Helper()
	var out bytes.Buffer
	stats, err := fs.Write(context.Background(), &out, tree, o)
	if err != nil {
		tb.Fatal(err)
	}
	if got := uint64(out.Len()); got != stats.Blocks*fs.BlockSize {
		tb.Fatalf("wrote %d bytes and reported %d blocks", got, stats.Blocks)
	}
	return out.Bytes(), stats
}

func TestWriteMatchesVector(t *testing.T) {
	t.Parallel()
	type expect struct {
		Bytes  int    `json:"bytes"`
		Blocks uint64 `json:"blocks"`
		Inodes int    `json:"inodes"`
		SHA256 string `json:"sha256"`
	}
	var v struct {
		Epoch  int64  `json:"epoch"`
		Expect expect `json:"expect"`
	}
	golden.JSON(t, "image/erofs.json", &v)
	img, stats := write(t, vectorTree(t), fs.Options{Epoch: v.Epoch, UUID: [16]byte{0x9e, 0xff}})
	got := expect{len(img), stats.Blocks, stats.Inodes, fmt.Sprintf("%x", sha256.Sum256(img))}
	if diff := cmp.Diff(v.Expect, got); diff != "" {
		t.Errorf("image (-want +got):\n%s", diff)
	}
}
