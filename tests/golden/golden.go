// Package golden reads the golden vectors that lie beside the repository, in ../shared/vectors, for every room's tests.
//
// It owns finding that folder, unpacking .gz files and decoding; the vectors' meaning belongs to the tests that read
// them. It trusts the files' content, which is what tests compare with, but bounds their size. Everything may be used
// concurrently. It refuses names that leave the folder, files over 16 MiB (unpacked), bytes after a compressed file's
// end and anything that does not decode: those fail the test. A vector that is absent skips the test and says so.
package golden

import (
	"bytes"
	"compress/gzip"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// maxVector bounds a vector after unpacking; the largest that a test reads has 256 KiB.
const maxVector = 16 << 20

// Root is the folder of go.mod, at or above the test's working directory.
func Root(tb testing.TB) string {
	tb.Helper()
	dir, err := os.Getwd()
	if err != nil {
		tb.Fatalf("finding the repository: %v", err)
	}
	root, err := findRoot(dir)
	if err != nil {
		tb.Fatal(err)
	}
	return root
}

func findRoot(dir string) (string, error) {
	for at := dir; ; at = filepath.Dir(at) {
		if _, err := os.Stat(filepath.Join(at, "go.mod")); err == nil {
			return at, nil
		}
		if at == filepath.Dir(at) {
			return "", fmt.Errorf("finding the repository: no go.mod in %s or above it", dir)
		}
	}
}

// Vector is the content of a file below ../shared/vectors, unpacked if its name ends in .gz. The name has slashes, like
// "measure/tcglog.json".
func Vector(tb testing.TB, name string) []byte {
	tb.Helper()
	data, err := read(os.DirFS(filepath.Join(Root(tb), "..", "shared", "vectors")), name)
	if errors.Is(err, fs.ErrNotExist) {
		tb.Skipf("vectors are not beside this checkout, in ../shared/vectors: %v", err)
	}
	if err != nil {
		tb.Fatal(err)
	}
	return data
}

// JSON decodes a vector into what v points to. Members that v has no field for are ignored: a vector serves several
// packages.
func JSON(tb testing.TB, name string, v any) {
	tb.Helper()
	if err := json.Unmarshal(Vector(tb, name), v); err != nil {
		tb.Fatalf("decoding vector %s: %v", name, err)
	}
}

// Hex decodes a vector's hexadecimal bytes.
func Hex(tb testing.TB, s string) []byte {
	tb.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		tb.Fatalf("decoding a vector's bytes: %v", err)
	}
	return b
}

func read(vectors fs.FS, name string) ([]byte, error) {
	f, err := vectors.Open(name)
	if err != nil {
		return nil, fmt.Errorf("reading vector: %w", err)
	}
	defer f.Close() //nolint:errcheck // read side
	data, err := bounded(f)
	if err == nil && strings.HasSuffix(name, ".gz") {
		data, err = unpack(data)
	}
	if err != nil {
		return nil, fmt.Errorf("reading vector %s: %w", name, err)
	}
	return data, nil
}

// unpack accepts exactly one gzip member.
func unpack(data []byte) ([]byte, error) {
	packed := bytes.NewReader(data)
	r, err := gzip.NewReader(packed)
	if err != nil {
		return nil, err
	}
	r.Multistream(false)
	out, err := bounded(r)
	if err == nil && packed.Len() > 0 {
		err = fmt.Errorf("%d bytes after the end of the compressed data", packed.Len())
	}
	return out, err
}

func bounded(r io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxVector+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxVector {
		return nil, fmt.Errorf("more than %d bytes; a vector is small, see maxVector", maxVector)
	}
	return data, nil
}
