package storage

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// contents are a model's files, in the archive's order; folders end in a slash.
func contents() ([]string, map[string][]byte) {
	source := rand.NewChaCha8([32]byte{1})
	random := func(n int) []byte {
		b := make([]byte, n)
		_, _ = source.Read(b)
		return b
	}
	files := map[string][]byte{
		"./config.json": random(700), "./empty": nil, "./model.safetensors": random(9<<20 + 77), "./one": random(512),
		"./sub/tokenizer.json": random(4097), "./sub/" + strings.Repeat("n", 200): random(513), "./tail": random(1),
	}
	return []string{
		"./", "./config.json", "./empty", "./model.safetensors", "./one", "./sub/", "./sub/" + strings.Repeat("n", 200), "./sub/tokenizer.json", "./tail",
	}, files
}

// packed is a padded archive of the reference's form.
func packed(t *testing.T) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	names, files := contents()
	for _, name := range names {
		h := &tar.Header{Name: name, Mode: 0o644, Size: int64(len(files[name])), Typeflag: tar.TypeReg, Format: tar.FormatUSTAR}
		if strings.HasSuffix(name, "/") {
			h.Mode, h.Typeflag = 0o755, tar.TypeDir
		}
		if len(name) > 100 {
			h.Format, h.PAXRecords = tar.FormatPAX, map[string]string{"path": name}
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(files[name]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	out := buf.Bytes()
	return append(out, make([]byte, 4096-len(out)%4096)...)
}

// TestKernelReadsAnArchiveInPlace: the kernel of this machine mounts what AttachArchive made, and every file has its
// bytes, read forwards, backwards and in pieces.
func TestKernelReadsAnArchiveInPlace(t *testing.T) {
	volume := filepath.Join(t.TempDir(), "volume")
	data := packed(t)
	if err := os.WriteFile(volume, data, 0o600); err != nil {
		t.Fatal(err)
	}
	view, err := AttachArchive(volume, uint64(len(data)))
	if err != nil {
		if os.Getuid() != 0 || os.IsNotExist(err) || os.IsPermission(err) {
			t.Skipf("skipped: no loop devices for this test: %v", err)
		}
		t.Fatal(err)
	}
	defer view.Close() //nolint:errcheck // test
	dir := t.TempDir()
	if err := unix.Mount(view.Source, dir, "erofs", unix.MS_RDONLY|unix.MS_NODEV|unix.MS_NOSUID, "device="+view.Device); err != nil {
		t.Skipf("skipped: this kernel does not mount EROFS of 512-byte blocks here: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	names, files := contents()
	for _, name := range names {
		path := filepath.Join(dir, name)
		if strings.HasSuffix(name, "/") {
			st, err := os.Stat(path)
			if err != nil || !st.IsDir() || st.Mode().Perm() != 0o755 {
				t.Errorf("%s: %v, %v", name, st, err)
			}
			continue
		}
		checkFile(t, path, files[name])
	}
	if err := os.WriteFile(filepath.Join(dir, "new"), nil, 0o600); err == nil {
		t.Error("the mount takes new files")
	}
}

func checkFile(t *testing.T, path string, want []byte) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // read side
	const piece = 3000
	for end := len(want); end > 0; end -= piece { // backwards first, while nothing is cached
		begin := max(0, end-piece)
		b := make([]byte, end-begin)
		if _, err := f.ReadAt(b, int64(begin)); err != nil || !bytes.Equal(b, want[begin:end]) {
			t.Fatalf("%s: bytes %d to %d differ, %v", path, begin, end, err)
		}
	}
	got, err := io.ReadAll(f)
	if err != nil || sha256.Sum256(got) != sha256.Sum256(want) {
		t.Errorf("%s: %d bytes, want %d, %v", path, len(got), len(want), err)
	}
}
