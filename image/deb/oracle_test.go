package deb

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cocoon/image/deb/debtest"
	"cocoon/image/rootfs"
)

func dpkgDeb(t *testing.T) string {
	t.Helper()
	tool, err := exec.LookPath("dpkg-deb")
	if err != nil {
		t.Skip("needs dpkg-deb")
	}
	return tool
}

// TestDpkgReadsTheSameFiles: dpkg-deb lists the same members with the same bytes as our tree has.
func TestDpkgReadsTheSameFiles(t *testing.T) {
	tool := dpkgDeb(t)
	p := hello()
	p.Files = append(p.Files, debtest.File{Name: "./usr/share/" + strings.Repeat("long/", 30) + "name", Body: strings.Repeat("b", 5000)},
		debtest.File{Name: "./usr/share/empty"}, debtest.File{Name: "./usr/share/T\u00fcr", Body: "utf-8"})
	name := writeFile(t, p.Build(t))
	plain, err := exec.CommandContext(t.Context(), tool, "--fsys-tarfile", name).Output()
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	for tr := tar.NewReader(bytes.NewReader(plain)); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(tr)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Clean(h.Name)
		switch h.Typeflag {
		case tar.TypeReg:
			want[path] = fmt.Sprintf("%o %d:%d %s", h.Mode, h.Uid, h.Gid, data)
		case tar.TypeLink:
			want[path] = want[filepath.Clean(h.Linkname)]
		}
	}
	tree := rootfs.New()
	if err := Unpack(t.Context(), name, Selection{Globs: []string{"**"}}, tree, t.TempDir()); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, n := range tree.Nodes() {
		if n.Inode.Type != rootfs.File {
			continue
		}
		data, err := n.Inode.Content.ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		got[n.Path] = fmt.Sprintf("%o %d:%d %s", n.Inode.Mode, n.Inode.UID, n.Inode.GID, data)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("files (-dpkg +ours):\n%s", diff)
	}
}

// TestWeReadWhatDpkgWrites: packages by the real tool, in each compression it has.
func TestWeReadWhatDpkgWrites(t *testing.T) {
	tool := dpkgDeb(t)
	for _, compression := range []string{"xz", "gzip", "none", "zstd"} {
		t.Run(compression, func(t *testing.T) {
			dir := t.TempDir()
			for file, body := range map[string]string{"DEBIAN/control": hello().Control(), "usr/bin/hello": "#!hello"} {
				if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, file)), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(dir, file), []byte(body), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			name := filepath.Join(t.TempDir(), "x.deb")
			if out, err := exec.CommandContext(t.Context(), tool, "--root-owner-group", "-Z"+compression, "-b", dir, name).CombinedOutput(); err != nil {
				t.Skipf("this dpkg-deb cannot write %s: %s", compression, out)
			}
			tree, err := UnpackAll(t.Context(), []Source{{Path: name}}, 1, t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			n, ok := tree.Get("usr/bin/hello")
			if !ok || n.UID != 0 || n.Mode != 0o644 || n.Content.Size != 7 {
				t.Errorf("usr/bin/hello is %+v", n)
			}
		})
	}
}

func TestArchiveMembers(t *testing.T) {
	header := func(name, size string) string {
		return fmt.Sprintf("%-16s%-12d%-6d%-6d%-8s%-10s`\n", name, 0, 0, 0, "100644", size)
	}
	tests := map[string]struct {
		data string
		want []member
		err  string
	}{
		"none":             {arMagic, nil, ""},
		"even":             {arMagic + header("a", "2") + "xx", []member{{"a", 68, 2}}, ""},
		"odd with padding": {arMagic + header("a/", "1") + "x\n" + header("b", "0"), []member{{"a", 68, 1}, {"b", 130, 0}}, ""},
		"odd at the end":   {arMagic + header("a", "1") + "x", []member{{"a", 68, 1}}, ""},
		"short magic":      {arMagic[:7], nil, "no ar magic"},
		"other magic":      {"!<thin>\n", nil, "no ar magic"},
		"half a header":    {arMagic + header("a", "0")[:30], nil, "header"},
		"header's end":     {arMagic + strings.Replace(header("a", "0"), "`", "'", 1), nil, "its magic"},
		"size word":        {arMagic + header("a", "two"), nil, "size \"two\""},
		"negative size":    {arMagic + header("a", "-1"), nil, "size \"-1\""},
		"signed size":      {arMagic + header("a", "+1") + "x", nil, "size \"+1\""},
		"no size":          {arMagic + header("a", ""), nil, "size \"\""},
		"huge size":        {arMagic + header("a", "9999999999"), nil, "size"},
		"truncated":        {arMagic + header("a", "3") + "xx", nil, "truncated"},
		"many":             {arMagic + strings.Repeat(header("a", "0"), maxMembers+1), nil, "over 16"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := readArchive(strings.NewReader(tc.data), int64(len(tc.data)))
			if tc.err != "" {
				if !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), tc.err) {
					t.Fatalf("readArchive: %v, want ErrFormat with %q", err, tc.err)
				}
				return
			}
			if err != nil || !slices.Equal(got, tc.want) {
				t.Errorf("members %+v, %v; want %+v", got, err, tc.want)
			}
		})
	}
}

func TestGlobs(t *testing.T) {
	tests := map[string]map[string]bool{
		"usr/bin/x":   {"usr/bin/x": true, "usr/bin/xy": false, "usr/bin": false, "usr/bin/x/y": false},
		"usr/*/x":     {"usr/bin/x": true, "usr/bin/a/x": false, "usr/x": false},
		"usr/lib/*":   {"usr/lib/a": true, "usr/lib/a/b": false, "usr/lib": false},
		"usr/lib/**":  {"usr/lib": true, "usr/lib/a": true, "usr/lib/a/b": true, "usr/lib64": false},
		"**/*.so.?":   {"a.so.1": true, "x/y/a.so.2": true, "a.so.12": false},
		"**":          {"a": true, "a/b/c": true},
		"a/**/b/**/c": {"a/b/c": true, "a/x/b/y/z/c": true, "a/c": false},
		"[a-c]?/x":    {"bz/x": true, "dz/x": false},
	}
	for glob, names := range tests {
		for name, want := range names {
			if got := matchGlob(glob, name); got != want {
				t.Errorf("matchGlob(%q, %q) = %v, want %v", glob, name, got, want)
			}
		}
	}
}

func TestDefaultSelection(t *testing.T) {
	for path, want := range map[string]bool{
		"usr/bin/x": true, "usr/share/man": false, "usr/share/man/man1/x.1.gz": false, "usr/share/manual": true,
		"usr/share/info/x": false, "usr/share/locale/de": false, "usr/lib/locale/C.utf8": true,
		"usr/share/doc": false, "usr/share/doc/x": false, "usr/share/doc/x/copyright": true, "usr/share/doc/x/README": false,
		"usr/share/doc/x/examples/copyright": true,
	} {
		if got := (Selection{}).takes(entry{Path: path, Type: typeFile}, nil); got != want {
			t.Errorf("without globs, %s is taken: %v, want %v", path, got, want)
		}
	}
	if !(Selection{}).takes(entry{Path: "usr/share/doc/x", Type: typeSymlink}, nil) {
		t.Error("a package's doc folder that is a link holds the way to its copyright file")
	}
}

func TestPruneKeepsWhatIsUsed(t *testing.T) {
	tree := rootfs.New()
	if err := MergeUsr(tree); err != nil {
		t.Fatal(err)
	}
	if err := tree.Add("sbin/init", &rootfs.Inode{Type: rootfs.File, Mode: 0o755}); err != nil {
		t.Fatal(err)
	}
	PruneUsr(tree)
	if diff := cmp.Diff([]string{"sbin -> usr/sbin", "usr/", "usr/sbin/", "usr/sbin/init"}, paths(tree)); diff != "" {
		t.Errorf("tree (-want +got):\n%s", diff)
	}
	empty := rootfs.New()
	if err := MergeUsr(empty); err != nil {
		t.Fatal(err)
	}
	PruneUsr(empty)
	if empty.Len() != 1 {
		t.Errorf("an empty tree keeps %q", paths(empty))
	}
	if err := MergeUsr(tree); err == nil {
		if dir, _ := tree.Get("usr/sbin"); dir == nil {
			t.Error("MergeUsr lost usr/sbin")
		}
	}
}
