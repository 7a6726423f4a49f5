package verity_test

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"testing"

	"cocoon/image/verity"
)

// benchBlocks is 256 MiB of data.
const benchBlocks = 64 << 10

// benchFile is sample data on disk, in the page cache.
func benchFile(b *testing.B) *os.File {
	b.Helper()
	name := filepath.Join(b.TempDir(), "data")
	if err := os.WriteFile(name, sample(benchBlocks), 0o600); err != nil {
		b.Fatal(err)
	}
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { f.Close() }) //nolint:errcheck // a benchmark's input
	return f
}

// nowhere swallows the tree.
type nowhere struct{}

func (nowhere) WriteAt(p []byte, _ int64) (int, error) { return len(p), nil }

func BenchmarkFormat(b *testing.B) {
	f := benchFile(b)
	src := io.NewSectionReader(f, 0, benchBlocks*verity.BlockSize)
	b.SetBytes(src.Size())
	b.ReportAllocs()
	for b.Loop() {
		if _, err := verity.Format(context.Background(), src, nowhere{}, params()); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerify(b *testing.B) {
	f := benchFile(b)
	v, err := verity.Append(context.Background(), f, params())
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(benchBlocks * verity.BlockSize)
	for b.Loop() {
		if err := verity.Verify(context.Background(), f, v); err != nil {
			b.Fatal(err)
		}
	}
}
