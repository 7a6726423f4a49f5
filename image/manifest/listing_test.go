package manifest

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"cocoon/image/rootfs"
)

func TestListingKeepsEveryPathsOrigin(t *testing.T) {
	tree := rootfs.New()
	shared := &rootfs.Inode{Type: rootfs.File, Mode: 0o644, Content: rootfs.Bytes([]byte("x")), Origin: "deb a 1"}
	for path, n := range map[string]*rootfs.Inode{
		"usr/a": shared,
		"usr/b": shared,
		"usr/c": {Type: rootfs.Symlink, Mode: 0o777, Target: `odd "target" here`, Origin: "recipe"},
		`d "e"`: {Type: rootfs.File, Mode: 0o755, Content: rootfs.Bytes(nil), Origin: "deb b 2"},
	} {
		if err := tree.Add(path, n); err != nil {
			t.Fatal(err)
		}
	}
	data, err := EncodeListing(tree)
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseListing(data)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		".": "root", "usr": "implied", "usr/a": "deb a 1", "usr/b": "deb a 1", "usr/c": "recipe", `d "e"`: "deb b 2",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("origins differ (-want +got):\n%s", diff)
	}
}

func TestEncodeListingRefusesAnOriginThatBreaksLines(t *testing.T) {
	tree := rootfs.New()
	if err := tree.Add("a", &rootfs.Inode{Type: rootfs.File, Origin: "x\ty"}); err != nil {
		t.Fatal(err)
	}
	if _, err := EncodeListing(tree); err == nil {
		t.Error("an origin with a tab was written")
	}
}

func FuzzParseListing(f *testing.F) {
	for _, seed := range []string{
		"d 0755 0:0 - \".\"\troot\n", "l 0777 0:0 \"a b\" \"usr/c\"\trecipe\n", "f 0644 0:0 00 \"x\"\n", "\t\n", "", "d d d d\td",
		"h 0644 0:0 \"a\" \"b\"\tdeb x 1\nh 0644 0:0 \"a\" \"b\"\tdeb x 1\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		origins, err := ParseListing(data)
		if err == nil && len(origins) == 0 {
			t.Error("a listing without a line was accepted")
		}
	})
}
