package rootfs_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cocoon/image/rootfs"
)

func TestFilesFollowDirectoryLinks(t *testing.T) {
	for name, c := range map[string]struct {
		links map[string]string
		add   string
		want  string
	}{
		"merged /usr":            {map[string]string{"lib": "usr/lib"}, "lib/x/a", "usr/lib/x/a"},
		"absolute target":        {map[string]string{"var/run": "/run"}, "var/run/a", "run/a"},
		"target above the root":  {map[string]string{"a/up": "../../../etc"}, "a/up/x", "etc/x"},
		"chain of links":         {map[string]string{"a": "b", "b": "c/d"}, "a/x", "c/d/x"},
		"last part is no parent": {map[string]string{"a": "b"}, "c/a", "c/a"},
	} {
		t.Run(name, func(t *testing.T) {
			tree := rootfs.New()
			for p, target := range c.links {
				if err := tree.Add(p, &rootfs.Inode{Type: rootfs.Symlink, Mode: 0o777, Target: target}); err != nil {
					t.Fatal(err)
				}
			}
			add(t, tree, c.add, "content")
			if got := read(t, tree, c.want); got != "content" {
				t.Errorf("%s holds %q", c.want, got)
			}
		})
	}
}

func TestLinkLoopsAreErrors(t *testing.T) {
	tree := plant(t, "a -> b", "b -> a")
	err := tree.Add("a/x", &rootfs.Inode{Type: rootfs.File})
	if err == nil || !strings.Contains(err.Error(), "symlinks") {
		t.Errorf("error %v names no loop", err)
	}
}

func TestNamesThatLeaveTheTreeAreRefused(t *testing.T) {
	for _, name := range []string{"", "/etc/x", "../x", "a/../../x", "a/..", "a\x00b", "a\nb", "\xff", strings.Repeat("x", 256), strings.Repeat("a/", 2100)} {
		if err := rootfs.New().Add(name, &rootfs.Inode{Type: rootfs.File}); err == nil {
			t.Errorf("%.20q was added", name)
		}
	}
	if p, err := rootfs.CleanPath("./usr//bin/./x"); err != nil || p != "usr/bin/x" {
		t.Errorf("cleaned to %q, %v", p, err)
	}
}

func TestTwoDifferentFilesAtOnePathConflict(t *testing.T) {
	tree := rootfs.New()
	add(t, tree, "usr/a", "one")
	add(t, tree, "usr/a", "one") // equal bytes, mode and owner: two packages may ship it
	err := tree.Add("usr/a", &rootfs.Inode{Type: rootfs.File, Mode: 0o644, Content: rootfs.Bytes([]byte("two")), Origin: "deb other 2"})
	if !errors.Is(err, rootfs.ErrConflict) || !strings.Contains(err.Error(), "deb test 1") || !strings.Contains(err.Error(), "deb other 2") {
		t.Errorf("error %v does not name both packages", err)
	}
	if err := tree.Add("usr/a/b", &rootfs.Inode{Type: rootfs.File}); !errors.Is(err, rootfs.ErrConflict) {
		t.Errorf("a file below a file: %v", err)
	}
	if err := tree.Replace("usr", &rootfs.Inode{Type: rootfs.File}); !errors.Is(err, rootfs.ErrConflict) {
		t.Errorf("a file in place of a directory: %v", err)
	}
}

func TestHardLinksShareTheirInode(t *testing.T) {
	tree := rootfs.New()
	add(t, tree, "usr/bin/a", "program")
	if err := tree.Link("usr/bin/b", "usr/bin/a"); err != nil {
		t.Fatal(err)
	}
	a, _ := tree.Get("usr/bin/a")
	if b, _ := tree.Get("usr/bin/b"); a != b {
		t.Error("two inodes")
	}
	if err := tree.Link("usr/bin/c", "usr/bin/gone"); err == nil {
		t.Error("a link to nothing was added")
	}
	if err := tree.Link("usr/bin/c", "usr/bin"); err == nil {
		t.Error("a hard link to a directory was added")
	}
}

func TestNodesAndChildrenAreBytewiseSorted(t *testing.T) {
	tree := plant(t, "b/x", "a-b", "a/y", "a/Z", "a.c")
	var got []string
	for _, n := range tree.Nodes() {
		got = append(got, n.Path)
	}
	if diff := cmp.Diff([]string{".", "a", "a-b", "a.c", "a/Z", "a/y", "b", "b/x"}, got); diff != "" {
		t.Errorf("nodes (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"Z", "y"}, tree.Children("a")); diff != "" {
		t.Errorf("children (-want +got):\n%s", diff)
	}
	if n := tree.Remove("a"); n != 3 || tree.Len() != 5 {
		t.Errorf("removed %d paths, %d left", n, tree.Len())
	}
	if n := tree.Remove("."); n != 0 {
		t.Errorf("removed the root and %d paths", n)
	}
}

func TestContentByReferenceReadsItsRange(t *testing.T) {
	name := filepath.Join(t.TempDir(), "data")
	if err := os.WriteFile(name, []byte("0123456789"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := rootfs.FileRange(name, 3, 4, [32]byte{1})
	data, err := c.ReadAll()
	if err != nil || string(data) != "3456" {
		t.Errorf("read %q, %v", data, err)
	}
	short := rootfs.FileRange(name, 8, 4, [32]byte{})
	if _, err := short.ReadAll(); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a range past the end: %v", err)
	}
	if _, err := rootfs.FileRange(name+"x", 0, 1, [32]byte{}).Open(); err == nil {
		t.Error("a missing file opened")
	}
}

func TestListingTellsHardLinksFromEqualFiles(t *testing.T) {
	linked, equal := rootfs.New(), rootfs.New()
	add(t, linked, "a", "x")
	if err := linked.Link("b", "a"); err != nil {
		t.Fatal(err)
	}
	add(t, equal, "a", "x")
	add(t, equal, "b", "x")
	if rootfs.TreeHash(linked) == rootfs.TreeHash(equal) {
		t.Error("a hard link and an equal file have one hash")
	}
	want := `d 0755 0:0 - "."
f 0644 0:0 2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881 "a"
h 0644 0:0 "a" "b"
`
	if diff := cmp.Diff(want, string(rootfs.Listing(linked))); diff != "" {
		t.Errorf("listing (-want +got):\n%s", diff)
	}
}
