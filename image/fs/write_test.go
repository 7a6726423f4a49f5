package fs_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"cocoon/image/fs"
	"cocoon/image/rootfs"
	"cocoon/image/verity"
)

func TestImageDependsOnTheTreeOnly(t *testing.T) {
	for name, tree := range edgeTrees(t) {
		before := runtime.GOMAXPROCS(1)
		one, _ := write(t, tree, fs.Options{Epoch: 5})
		runtime.GOMAXPROCS(7)
		seven, _ := write(t, tree, fs.Options{Epoch: 5})
		runtime.GOMAXPROCS(before)
		if !bytes.Equal(one, seven) {
			t.Errorf("%s: the image depends on the number of processors", name)
		}
		reordered := rootfs.New()
		nodes := tree.Nodes()
		for i := len(nodes) - 1; i > 0; i-- {
			if err := reordered.Add(nodes[i].Path, nodes[i].Inode); err != nil {
				t.Fatal(err)
			}
		}
		again, _ := write(t, reordered, fs.Options{Epoch: 5})
		if !bytes.Equal(one, again) {
			t.Errorf("%s: the image depends on the order in which the tree was made", name)
		}
	}
}

func TestUUIDFollowsTheContent(t *testing.T) {
	t.Parallel()
	tree := vectorTree(t)
	_, stats := write(t, tree, fs.Options{})
	if want := verity.UUID("erofs", rootfs.TreeHash(tree)); stats.UUID != want {
		t.Errorf("UUID %x, want %x", stats.UUID, want)
	}
	if err := tree.Replace("a", file(0o644, "hellO\n")); err != nil {
		t.Fatal(err)
	}
	if _, changed := write(t, tree, fs.Options{}); changed.UUID == stats.UUID {
		t.Error("another content has the same UUID")
	}
	if _, fixed := write(t, tree, fs.Options{UUID: [16]byte{7}}); fixed.UUID != [16]byte{7} {
		t.Errorf("UUID %x, want the given one", fixed.UUID)
	}
}

func TestContentOfFilesIsReadByReference(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	data := pattern(3<<20 + 100)
	name := filepath.Join(dir, "content")
	if err := os.WriteFile(name, []byte(data), 0o600); err != nil {
		t.Fatal(err)
	}
	byRef, inMemory := rootfs.New(), rootfs.New()
	for _, at := range []int{0, 1, 4096, 1 << 20} {
		part := rootfs.Bytes([]byte(data[at:]))
		p := fmt.Sprintf("from-%d", at)
		n := &rootfs.Inode{Type: rootfs.File, Mode: 0o644, Content: rootfs.FileRange(name, int64(at), part.Size, part.SHA256)}
		if err := byRef.Add(p, n); err != nil {
			t.Fatal(err)
		}
		if err := inMemory.Add(p, &rootfs.Inode{Type: rootfs.File, Mode: 0o644, Content: part}); err != nil {
			t.Fatal(err)
		}
	}
	a, _ := write(t, byRef, fs.Options{})
	b, _ := write(t, inMemory, fs.Options{})
	if !bytes.Equal(a, b) {
		t.Error("the same content from a file and from memory gives different images")
	}
}

// counted is content that remembers how much of it was out at once and how often it was read.
type counted struct{ bytes atomic.Int64 }

func (c *counted) ReadAt(p []byte, _ int64) (int, error) {
	c.bytes.Add(int64(len(p)))
	for i := range p {
		p[i] = byte(i)
	}
	return len(p), nil
}

func TestMemoryDoesNotGrowWithTheImage(t *testing.T) {
	src := &counted{}
	tree := rootfs.New()
	const files, size = 64, 4<<20 + 100
	for i := range files {
		n := &rootfs.Inode{Type: rootfs.File, Mode: 0o644, Content: rootfs.Section(src, size, [32]byte{})}
		if err := tree.Add(fmt.Sprintf("shard-%03d", i), n); err != nil {
			t.Fatal(err)
		}
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := fs.Write(t.Context(), io.Discard, tree, fs.Options{}); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if got := src.bytes.Load(); got != files*size {
		t.Errorf("%d bytes were read, want each of the %d once", got, files*size)
	}
	limit := uint64(2*runtime.GOMAXPROCS(0)+1)*2<<20 + 4<<20
	if got := after.TotalAlloc - before.TotalAlloc; got > limit {
		t.Errorf("%d bytes were allocated for an image of %d, want at most %d", got, files*size, limit)
	}
}

func TestWriteRefusesTrees(t *testing.T) {
	t.Parallel()
	dir := &rootfs.Inode{Type: rootfs.Dir, Mode: 0o755}
	cases := map[string]struct {
		nodes map[string]*rootfs.Inode
		want  string
	}{
		"unknown type":      {map[string]*rootfs.Inode{"x": {Mode: 0o644}}, "type 0 has no place"},
		"mode with a type":  {map[string]*rootfs.Inode{"x": file(0o100644, "")}, "beyond 07777"},
		"empty symlink":     {map[string]*rootfs.Inode{"x": {Type: rootfs.Symlink, Mode: 0o777}}, "symlink target of 0 bytes"},
		"long symlink":      {map[string]*rootfs.Inode{"x": {Type: rootfs.Symlink, Mode: 0o777, Target: strings.Repeat("t", 4096)}}, "symlink target of 4096 bytes"},
		"huge device":       {map[string]*rootfs.Inode{"x": {Type: rootfs.CharDevice, Major: 1 << 12}}, "does not fit"},
		"negative size":     {map[string]*rootfs.Inode{"x": {Type: rootfs.File, Content: rootfs.Section(zeros{}, -1, [32]byte{})}}, "content of -1 bytes"},
		"linked directory":  {map[string]*rootfs.Inode{"x": dir, "y": dir}, "no hard links"},
		"root is a file":    {map[string]*rootfs.Inode{".": file(0o644, "")}, "no root directory"},
		"more than 16 TiB":  {map[string]*rootfs.Inode{"x": {Type: rootfs.File, Content: rootfs.Section(zeros{}, 17<<40, [32]byte{})}}, "more than 4294967294 blocks"},
		"a sum over 16 TiB": {map[string]*rootfs.Inode{"x": {Type: rootfs.File, Content: rootfs.Section(zeros{}, 9<<40, [32]byte{})}, "y": {Type: rootfs.File, Content: rootfs.Section(zeros{}, 9<<40, [32]byte{})}}, "more than 4294967294 blocks"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tree := rootfs.New()
			for p, n := range c.nodes {
				put := tree.Add
				if p == "." {
					put = replaceRoot(tree)
				}
				if err := put(p, n); err != nil {
					t.Fatal(err)
				}
			}
			_, err := fs.Write(context.Background(), io.Discard, tree, fs.Options{})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one that has %q", err, c.want)
			}
		})
	}
}

// replaceRoot turns the root directory into something else by changing its inode in place: Tree has no other way.
func replaceRoot(tree *rootfs.Tree) func(string, *rootfs.Inode) error {
	return func(_ string, n *rootfs.Inode) error {
		root, ok := tree.Get(".")
		if !ok {
			return errors.New("no root")
		}
		*root = *n
		return nil
	}
}

func TestWriteRefusesOptions(t *testing.T) {
	t.Parallel()
	for want, o := range map[string]fs.Options{"longer than 16": {Label: "seventeen letters"}, "before 1970": {Epoch: -1}} {
		if _, err := fs.Write(context.Background(), io.Discard, rootfs.New(), o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one that has %q", err, want)
		}
	}
}

// failingWriter accepts some bytes.
type failingWriter struct{ left int }

func (w *failingWriter) Write(p []byte) (int, error) {
	if w.left -= len(p); w.left < 0 {
		return 0, errors.New("disk full")
	}
	return len(p), nil
}

func TestWriteStopsAtErrors(t *testing.T) {
	t.Parallel()
	large := func(src io.ReaderAt) *rootfs.Tree {
		tree := rootfs.New()
		for i := range 40 {
			n := &rootfs.Inode{Type: rootfs.File, Mode: 0o644, Content: rootfs.Section(src, 1<<20, [32]byte{})}
			if err := tree.Add(fmt.Sprint(i), n); err != nil {
				t.Fatal(err)
			}
		}
		return tree
	}
	t.Run("writer fails", func(t *testing.T) {
		t.Parallel()
		_, err := fs.Write(context.Background(), &failingWriter{left: 3 << 20}, large(zeros{}), fs.Options{UUID: [16]byte{1}})
		if err == nil || !strings.Contains(err.Error(), "disk full") {
			t.Errorf("error %v, want the writer's", err)
		}
	})
	t.Run("content shrinks", func(t *testing.T) {
		t.Parallel()
		short := bytes.NewReader(make([]byte, 1<<20-1))
		_, err := fs.Write(context.Background(), io.Discard, large(short), fs.Options{UUID: [16]byte{1}})
		if err == nil || !strings.Contains(err.Error(), "content ends at byte 1048575 of 1048576") {
			t.Errorf("error %v, want one that names the end", err)
		}
	})
	t.Run("cancelled", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if _, err := fs.Write(ctx, io.Discard, large(zeros{}), fs.Options{UUID: [16]byte{1}}); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v, want a cancelled context", err)
		}
	})
	t.Run("missing file", func(t *testing.T) {
		t.Parallel()
		tree := rootfs.New()
		absent := filepath.Join(t.TempDir(), "absent")
		n := &rootfs.Inode{Type: rootfs.File, Mode: 0o644, Content: rootfs.FileRange(absent, 0, 10, [32]byte{})}
		if err := tree.Add("x", n); err != nil {
			t.Fatal(err)
		}
		if _, err := fs.Write(context.Background(), io.Discard, tree, fs.Options{}); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("error %v, want a missing file", err)
		}
	})
}
