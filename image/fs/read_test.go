package fs_test

import (
	"bytes"
	"context"
	"io"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cocoon/image/fs"
	"cocoon/image/rootfs"
)

func open(tb testing.TB, img []byte) *fs.Reader {
	tb.Helper()
	r, err := fs.Open(bytes.NewReader(img), int64(len(img)))
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

func TestReaderGivesBackTheTree(t *testing.T) {
	t.Parallel()
	want := vectorTree(t)
	img, stats := write(t, want, fs.Options{Epoch: 1735689600, Label: "cocoon"})
	r := open(t, img)
	info := fs.Info{UUID: stats.UUID, Label: "cocoon", Epoch: 1735689600, Blocks: stats.Blocks, Inodes: uint64(stats.Inodes)}
	if diff := cmp.Diff(info, r.Info()); diff != "" {
		t.Errorf("superblock (-want +got):\n%s", diff)
	}
	got, err := r.Tree(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(rootfs.Listing(want)), string(rootfs.Listing(got))); diff != "" {
		t.Errorf("tree (-want +got):\n%s", diff)
	}
	again, _ := write(t, got, fs.Options{Epoch: 1735689600, Label: "cocoon"})
	if !bytes.Equal(again, img) {
		t.Error("writing what was read gives another image")
	}
}

func TestStatAndContent(t *testing.T) {
	t.Parallel()
	img, _ := write(t, vectorTree(t), fs.Options{})
	r := open(t, img)
	e, ok := r.Stat("size/f4097")
	if !ok {
		t.Fatal("size/f4097 is missing")
	}
	data, err := io.ReadAll(e.Content())
	if err != nil || string(data) != pattern(4097) {
		t.Errorf("content of %d bytes differs, error %v", len(data), err)
	}
	part := make([]byte, 10)
	if n, err := e.Content().ReadAt(part, 4090); n != 7 || err != io.EOF || string(part[:n]) != pattern(4097)[4090:] {
		t.Errorf("reading across the seam: %d bytes, error %v", n, err)
	}
	if a, _ := r.Stat("a"); a.Links != 2 {
		t.Errorf("a has %d links, want 2", a.Links)
	}
	if _, ok := r.Stat("absent"); ok {
		t.Error("a path that is not there was found")
	}
}
