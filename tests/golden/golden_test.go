package golden

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/fstest"
)

func pack(tb testing.TB, data []byte) []byte {
	tb.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := w.Write(data)
	if err := errors.Join(err, w.Close()); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

func write(tb testing.TB, name string, data []byte) {
	tb.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, data, 0o600)); err != nil {
		tb.Fatal(err)
	}
}

func TestRootIsTheNearestFolderWithGoMod(t *testing.T) {
	top := t.TempDir()
	write(t, filepath.Join(top, "go.mod"), nil)
	write(t, filepath.Join(top, "in", "go.mod"), nil)
	write(t, filepath.Join(top, "a", "b", "c"), nil)
	for from, want := range map[string]string{".": ".", "a": ".", "a/b": ".", "in": "in"} {
		got, err := findRoot(filepath.Join(top, from))
		if err != nil || got != filepath.Join(top, want) {
			t.Errorf("from %s: %s (%v), want %s", from, got, err, want)
		}
	}
	if got, err := findRoot(string(filepath.Separator)); err == nil {
		t.Errorf("the top folder has a repository at %s", got)
	}
}

func TestRootOfThisRepository(t *testing.T) {
	mod, err := os.ReadFile(filepath.Join(Root(t), "go.mod"))
	if err != nil || !bytes.HasPrefix(mod, []byte("module cocoon\n")) {
		t.Errorf("go.mod starts %.20q (%v)", mod, err)
	}
}

func TestReadUnpacksByName(t *testing.T) {
	want := []byte("vector\n")
	vectors := fstest.MapFS{
		"a/plain.bin":     {Data: want},
		"a/packed.bin.gz": {Data: pack(t, want)},
		"largest":         {Data: make([]byte, maxVector)},
	}
	for _, name := range []string{"a/plain.bin", "a/packed.bin.gz"} {
		if got, err := read(vectors, name); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %q (%v), want %q", name, got, err, want)
		}
	}
	if got, err := read(vectors, "largest"); err != nil || len(got) != maxVector {
		t.Errorf("the largest vector: %d bytes (%v)", len(got), err)
	}
}

func TestReadRefuses(t *testing.T) {
	packed, long := pack(t, []byte("vector")), make([]byte, maxVector+1)
	damaged := bytes.Clone(packed)
	damaged[len(damaged)-5] ^= 1 // the last byte of the checksum
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"long":         {long, "more than 16777216 bytes"},
		"long.gz":      {pack(t, long), "more than 16777216 bytes"},
		"plain.gz":     {[]byte("not compressed"), "invalid header"},
		"short.gz":     {packed[:len(packed)-1], "unexpected EOF"},
		"damaged.gz":   {damaged, "invalid checksum"},
		"trailing.gz":  {append(bytes.Clone(packed), 0), "1 bytes after the end"},
		"two-files.gz": {append(bytes.Clone(packed), packed...), "after the end"},
	} {
		_, err := read(fstest.MapFS{name: {Data: c.data}}, name)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: error %v, want one that has %q and the name", name, err, c.want)
		}
	}
	if _, err := read(fstest.MapFS{}, "absent"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("absent file: %v", err)
	}
	dir := t.TempDir()
	write(t, filepath.Join(dir, "outside"), nil)
	for _, name := range []string{"../outside", "/etc/passwd", "in/../../outside", ""} {
		if _, err := read(os.DirFS(filepath.Join(dir, "in")), name); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("name %q: error %v, want an invalid name", name, err)
		}
	}
}

// recorder is a test that notes how it ended.
type recorder struct {
	testing.TB
	skipped, failed string
}

func (r *recorder) Helper() {}

func (r *recorder) Skipf(format string, args ...any) {
	r.skipped = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.failed = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

func (r *recorder) Fatal(args ...any) {
	r.failed = fmt.Sprint(args...)
	runtime.Goexit()
}

// ending runs f as a test of its own.
func ending(f func(r *recorder)) recorder {
	var r recorder
	done := make(chan struct{})
	go func() {
		defer close(done)
		f(&r)
	}()
	<-done
	return r
}

// checkout makes a repository with vectors beside it the working directory.
func checkout(t *testing.T, files map[string]string) {
	t.Helper()
	top := t.TempDir()
	write(t, filepath.Join(top, "main", "go.mod"), nil)
	for name, text := range files {
		write(t, filepath.Join(top, "shared", "vectors", name), []byte(text))
	}
	work := filepath.Join(top, "main", "room", "package")
	if err := os.MkdirAll(work, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Chdir(work)
}

func TestVectorsAreReadBesideTheRepository(t *testing.T) {
	checkout(t, map[string]string{"room/v.json": `{"hex": "00ff", "other": 1}`, "room/v.json.gz": string(pack(t, []byte(`{"hex": "01"}`)))})
	for name, want := range map[string][]byte{"room/v.json": {0, 0xff}, "room/v.json.gz": {1}} {
		var v struct{ Hex string }
		JSON(t, name, &v)
		if got := Hex(t, v.Hex); !bytes.Equal(got, want) {
			t.Errorf("%s: %x, want %x", name, got, want)
		}
	}
}

func TestAbsentVectorsSkipAndBadOnesFail(t *testing.T) {
	checkout(t, map[string]string{"bad.json": "{", "bad.gz": "?"})
	var v struct{}
	for name, c := range map[string]struct {
		run           func(r *recorder)
		skips, failed string
	}{
		"absent":      {func(r *recorder) { Vector(r, "room/absent") }, "room/absent: no such file", ""},
		"absent JSON": {func(r *recorder) { JSON(r, "absent.json", &v) }, "vectors are not beside this checkout", ""},
		"bad JSON":    {func(r *recorder) { JSON(r, "bad.json", &v) }, "", "decoding vector bad.json: unexpected end"},
		"bad gzip":    {func(r *recorder) { Vector(r, "bad.gz") }, "", "reading vector bad.gz: unexpected EOF"},
		"bad name":    {func(r *recorder) { Vector(r, "../bad.gz") }, "", "invalid argument"},
		"bad hex":     {func(r *recorder) { Hex(r, "0g") }, "", "invalid byte"},
		"odd hex":     {func(r *recorder) { Hex(r, "000") }, "", "odd length"},
	} {
		r := ending(c.run)
		if !strings.Contains(r.skipped, c.skips) || (r.skipped == "") != (c.skips == "") {
			t.Errorf("%s: skipped with %q, want %q", name, r.skipped, c.skips)
		}
		if !strings.Contains(r.failed, c.failed) || (r.failed == "") != (c.failed == "") {
			t.Errorf("%s: failed with %q, want %q", name, r.failed, c.failed)
		}
	}
	t.Chdir(string(filepath.Separator))
	if r := ending(func(r *recorder) { Root(r) }); !strings.Contains(r.failed, "no go.mod in /") {
		t.Errorf("outside of a repository: %q", r.failed)
	}
}
