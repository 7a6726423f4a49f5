package fs_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"cocoon/image/fs"
	"cocoon/image/rootfs"
)

// benchTree is 2,000 small files and 100 MB in large ones, all on disk, in the page cache.
func benchTree(b *testing.B) (tree *rootfs.Tree, size int64) {
	b.Helper()
	dir, content := b.TempDir(), []byte(pattern(10<<20))
	tree = rootfs.New()
	add := func(name string, n int) {
		full := filepath.Join(dir, filepath.Base(name))
		if err := os.WriteFile(full, content[:n], 0o600); err != nil {
			b.Fatal(err)
		}
		inode := &rootfs.Inode{Type: rootfs.File, Mode: 0o644, Content: rootfs.FileRange(full, 0, int64(n), [32]byte{1})}
		if err := tree.Add(name, inode); err != nil {
			b.Fatal(err)
		}
		size += int64(n)
	}
	for i := range 2000 {
		add(fmt.Sprintf("usr/share/%02d/file-%04d", i%50, i), i*7919%9000)
	}
	for i := range 10 {
		add(fmt.Sprintf("usr/lib/large-%d", i), 10<<20)
	}
	return tree, size
}

func BenchmarkWrite(b *testing.B) {
	tree, size := benchTree(b)
	b.SetBytes(size)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := fs.Write(context.Background(), io.Discard, tree, fs.Options{UUID: [16]byte{1}}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpen(b *testing.B) {
	tree, _ := benchTree(b)
	name := filepath.Join(b.TempDir(), "image")
	f, err := os.Create(name)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // a benchmark's input
	stats, err := fs.Write(context.Background(), f, tree, fs.Options{UUID: [16]byte{1}})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := fs.Open(f, int64(stats.Blocks)*fs.BlockSize); err != nil {
			b.Fatal(err)
		}
	}
}
