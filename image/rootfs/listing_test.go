package rootfs_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cocoon/image/rootfs"
)

// listed adds inodes in the given order and fails the test on a refusal.
func listed(t *testing.T, names []string, inodes map[string]*rootfs.Inode) *rootfs.Tree {
	t.Helper()
	tree := rootfs.New()
	for _, name := range names {
		if err := tree.Add(name, inodes[name]); err != nil {
			t.Fatal(err)
		}
	}
	return tree
}

func listingInodes() map[string]*rootfs.Inode {
	return map[string]*rootfs.Inode{
		"usr/b":       {Type: rootfs.File, Mode: 0o4755, UID: 1, GID: 2, Content: rootfs.Bytes([]byte("x"))},
		"usr/a":       {Type: rootfs.Symlink, Mode: 0o777, Target: "b \"quoted\""},
		"dev/console": {Type: rootfs.CharDevice, Mode: 0o600, Major: 5, Minor: 1},
		"usr-local":   {Type: rootfs.Dir, Mode: 0o755},
	}
}

func TestListingIsOneLinePerPath(t *testing.T) {
	t.Parallel()
	tree := listed(t, []string{"usr/b", "usr/a", "dev/console", "usr-local"}, listingInodes())
	if err := tree.Link("usr/c", "usr/b"); err != nil {
		t.Fatal(err)
	}
	want := `d 0755 0:0 - "."
d 0755 0:0 - "dev"
c 0600 0:0 5:1 "dev/console"
d 0755 0:0 - "usr"
d 0755 0:0 - "usr-local"
l 0777 0:0 "b \"quoted\"" "usr/a"
f 4755 1:2 2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881 "usr/b"
h 4755 1:2 "usr/b" "usr/c"
`
	if diff := cmp.Diff(want, string(rootfs.Listing(tree))); diff != "" {
		t.Errorf("listing (-want +got):\n%s", diff)
	}
}

func TestTreeHashSeesEveryField(t *testing.T) {
	t.Parallel()
	names := []string{"usr/b", "usr/a", "dev/console", "usr-local"}
	plain := rootfs.TreeHash(listed(t, names, listingInodes()))
	backwards := []string{"usr-local", "dev/console", "usr/a", "usr/b"}
	if got := rootfs.TreeHash(listed(t, backwards, listingInodes())); got != plain {
		t.Error("the order of insertion matters")
	}
	changes := map[string]func(map[string]*rootfs.Inode){
		"mode":    func(m map[string]*rootfs.Inode) { m["usr/b"].Mode = 0o755 },
		"owner":   func(m map[string]*rootfs.Inode) { m["usr/b"].UID = 0 },
		"group":   func(m map[string]*rootfs.Inode) { m["usr/b"].GID = 0 },
		"content": func(m map[string]*rootfs.Inode) { m["usr/b"].Content = rootfs.Bytes([]byte("y")) },
		"target":  func(m map[string]*rootfs.Inode) { m["usr/a"].Target = "c" },
		"device":  func(m map[string]*rootfs.Inode) { m["dev/console"].Minor = 2 },
		"type":    func(m map[string]*rootfs.Inode) { m["usr-local"].Type = rootfs.File },
	}
	seen := map[[32]byte]string{plain: "nothing"}
	for name, change := range changes {
		inodes := listingInodes()
		change(inodes)
		sum := rootfs.TreeHash(listed(t, names, inodes))
		if other, ok := seen[sum]; ok {
			t.Errorf("changing the %s gives the hash of changing the %s", name, other)
		}
		seen[sum] = name
	}
}

func TestContentIsReadByPosition(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, []byte("..0123456789.."), 0o600); err != nil {
		t.Fatal(err)
	}
	for kind, c := range map[string]rootfs.Content{
		"memory":  rootfs.Bytes([]byte("0123456789")),
		"file":    rootfs.FileRange(name, 2, 10, [32]byte{}),
		"section": rootfs.Section(strings.NewReader("0123456789.."), 10, [32]byte{}),
	} {
		all, err := c.ReadAll()
		if err != nil || string(all) != "0123456789" {
			t.Errorf("%s: all of it is %q, error %v", kind, all, err)
		}
		cases := map[string]struct {
			off  int64
			size int
			want string
			err  error
		}{
			"inside":       {3, 4, "3456", nil},
			"to the end":   {6, 4, "6789", nil},
			"over it":      {6, 8, "6789", io.EOF},
			"at the end":   {10, 1, "", io.EOF},
			"far behind":   {99, 1, "", io.EOF},
			"all of it":    {0, 10, "0123456789", nil},
			"more than it": {0, 12, "0123456789", io.EOF},
		}
		for name, r := range cases {
			buf := make([]byte, r.size)
			n, err := c.ReadAt(buf, r.off)
			if !bytes.Equal(buf[:n], []byte(r.want)) || !errors.Is(err, r.err) {
				t.Errorf("%s, %s: %q and %v, want %q and %v", kind, name, buf[:n], err, r.want, r.err)
			}
		}
		if _, err := c.ReadAt(make([]byte, 1), -1); err == nil {
			t.Errorf("%s: a negative offset was accepted", kind)
		}
	}
}
