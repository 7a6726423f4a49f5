package deb

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cocoon/image/deb/debtest"
	"cocoon/image/rootfs"
)

// hello is a package with one of each thing that a layer can hold.
func hello() debtest.Package {
	return debtest.Package{Name: "hello", Version: "1:2.10-3", Fields: []string{"Depends: libc6 (>= 2.38)"}, Files: []debtest.File{
		{Name: "./", Type: tar.TypeDir},
		{Name: "./usr/", Type: tar.TypeDir},
		{Name: "./usr/bin/", Type: tar.TypeDir},
		{Name: "./usr/bin/hello", Body: "#!hello", Mode: 0o4755, GID: 42},
		{Name: "./usr/bin/hi", Type: tar.TypeLink, Linkname: "./usr/bin/hello", Mode: 0o4755, GID: 42},
		{Name: "./usr/bin/hey", Type: tar.TypeSymlink, Linkname: "hello"},
		{Name: "./usr/share/doc/hello/", Type: tar.TypeDir},
		{Name: "./usr/share/doc/hello/copyright", Body: "GPL"},
		{Name: "./usr/share/doc/hello/changelog.gz", Body: "long"},
		{Name: "./usr/share/doc/hello-alias", Type: tar.TypeSymlink, Linkname: "hello"},
		{Name: "./usr/share/man/man1/", Type: tar.TypeDir},
		{Name: "./usr/share/man/man1/hello.1.gz", Body: "man"},
		{Name: "./usr/share/locale/de/LC_MESSAGES/hello.mo", Body: "mo"},
		{Name: "./var/lib/hello/", Type: tar.TypeDir, Mode: 0o700},
	}}
}

func writeFile(tb testing.TB, data []byte) string {
	tb.Helper()
	name := filepath.Join(tb.TempDir(), "x.deb")
	if err := os.WriteFile(name, data, 0o600); err != nil {
		tb.Fatal(err)
	}
	return name
}

// paths lists a tree as "path type" words.
func paths(tree *rootfs.Tree) []string {
	var out []string
	for _, n := range tree.Nodes()[1:] {
		out = append(out, n.Path+map[rootfs.Type]string{rootfs.Dir: "/", rootfs.Symlink: " -> " + n.Inode.Target}[n.Inode.Type])
	}
	return out
}

func TestOpenReadsEveryCompression(t *testing.T) {
	for _, compression := range []string{"", ".gz", ".zst", ".tar"} {
		t.Run("suffix "+compression, func(t *testing.T) {
			p := hello()
			p.Compression = compression
			name := writeFile(t, p.Build(t))
			got, err := Open(name)
			if err != nil {
				t.Fatal(err)
			}
			if got.Name != "hello" || got.Version != "1:2.10-3" || got.Arch != "amd64" || got.Control.Get("Depends") != "libc6 (>= 2.38)" {
				t.Errorf("opened %s %s %s with %v", got.Name, got.Version, got.Arch, got.Control)
			}
			tree := rootfs.New()
			if err := Unpack(t.Context(), name, Selection{}, tree, t.TempDir()); err != nil {
				t.Fatal(err)
			}
			n, ok := tree.Get("usr/bin/hello")
			if !ok {
				t.Fatal("usr/bin/hello is missing")
			}
			if body, err := n.Content.ReadAll(); err != nil || string(body) != "#!hello" {
				t.Errorf("content %q, %v", body, err)
			}
		})
	}
}

func TestUnpackKeepsModesOwnersLinksAndOrigin(t *testing.T) {
	tree, err := UnpackAll(t.Context(), []Source{{Path: writeFile(t, hello().Build(t))}}, 1, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"bin -> usr/bin", "usr/", "usr/bin/", "usr/bin/hello", "usr/bin/hey -> hello", "usr/bin/hi", "usr/share/", "usr/share/doc/",
		"usr/share/doc/hello/", "usr/share/doc/hello-alias -> hello", "usr/share/doc/hello/copyright", "var/", "var/lib/", "var/lib/hello/",
	}
	if diff := cmp.Diff(want, paths(tree)); diff != "" {
		t.Errorf("tree (-want +got):\n%s", diff)
	}
	file, _ := tree.Get("usr/bin/hello")
	link, _ := tree.Get("usr/bin/hi")
	if file != link {
		t.Error("a hard link does not share its inode")
	}
	if file.Mode != 0o4755 || file.GID != 42 || file.Origin != "deb hello 1:2.10-3" {
		t.Errorf("usr/bin/hello is %+v", file)
	}
	if dir, _ := tree.Get("var/lib/hello"); dir.Mode != 0o700 {
		t.Errorf("var/lib/hello has mode %o, want 700", dir.Mode)
	}
}

func TestSelection(t *testing.T) {
	name, cache := writeFile(t, hello().Build(t)), t.TempDir()
	tests := map[string]struct {
		sel  Selection
		want []string
		err  string
	}{
		"one file":      {Selection{Globs: []string{"usr/bin/hello"}}, []string{"usr/", "usr/bin/", "usr/bin/hello"}, ""},
		"link only":     {Selection{Globs: []string{"usr/bin/hi"}}, []string{"usr/", "usr/bin/", "usr/bin/hi"}, ""},
		"star":          {Selection{Globs: []string{"usr/bin/h*y"}}, []string{"usr/", "usr/bin/", "usr/bin/hey -> hello"}, ""},
		"two stars":     {Selection{Globs: []string{"usr/**/*.mo"}}, []string{"usr/", "usr/share/", "usr/share/locale/", "usr/share/locale/de/", "usr/share/locale/de/LC_MESSAGES/", "usr/share/locale/de/LC_MESSAGES/hello.mo"}, ""},
		"drop":          {Selection{Globs: []string{"usr/bin/*"}, Drop: []string{"usr/bin/h?"}}, []string{"usr/", "usr/bin/", "usr/bin/hello", "usr/bin/hey -> hello"}, ""},
		"drop all":      {Selection{Drop: []string{"**"}}, nil, ""},
		"unused glob":   {Selection{Globs: []string{"usr/bin/*", "usr/games/*"}}, nil, "\"usr/games/*\" matches nothing"},
		"absolute glob": {Selection{Globs: []string{"/usr/bin/*"}}, nil, "clean path"},
		"bad pattern":   {Selection{Drop: []string{"usr/[a"}}, nil, "syntax error"},
	}
	for name2, tc := range tests {
		t.Run(name2, func(t *testing.T) {
			tree := rootfs.New()
			err := Unpack(t.Context(), name, tc.sel, tree, cache)
			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), tc.err) {
					t.Fatalf("Unpack: %v, want an error with %q", err, tc.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, paths(tree)); diff != "" {
				t.Errorf("tree (-want +got):\n%s", diff)
			}
		})
	}
}

func TestUnpackAllDoesNotDependOnOrderOrWorkers(t *testing.T) {
	var sources []Source
	for _, name := range []string{"zz", "libold", "aa"} {
		p := debtest.Package{Name: name, Version: "1", Files: []debtest.File{
			{Name: "./lib/" + name + ".so", Body: name}, {Name: "./usr/share/shared", Body: "same"},
		}}
		sources = append(sources, Source{Path: writeFile(t, p.Build(t))})
	}
	first, err := UnpackAll(t.Context(), sources, 1, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	sources[0], sources[2] = sources[2], sources[0]
	second, err := UnpackAll(t.Context(), sources, 8, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"lib -> usr/lib", "usr/", "usr/lib/", "usr/lib/aa.so", "usr/lib/libold.so", "usr/lib/zz.so", "usr/share/", "usr/share/shared"}
	if diff := cmp.Diff(want, paths(first)); diff != "" {
		t.Errorf("merged /usr (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(paths(first), paths(second)); diff != "" {
		t.Errorf("two orders, two trees:\n%s", diff)
	}
	a, _ := first.Get("usr/share/shared")
	b, _ := second.Get("usr/share/shared")
	if a.Origin != "deb aa 1" || b.Origin != a.Origin {
		t.Errorf("shared file comes from %q and %q, want the first by name", a.Origin, b.Origin)
	}
}

func TestTwoPackagesWithOnePathMustAgree(t *testing.T) {
	var sources []Source
	for _, name := range []string{"aa", "bb"} {
		p := debtest.Package{Name: name, Version: "1", Files: []debtest.File{{Name: "./etc/x", Body: name}}}
		sources = append(sources, Source{Path: writeFile(t, p.Build(t))})
	}
	_, err := UnpackAll(t.Context(), sources, 2, t.TempDir())
	if !errors.Is(err, rootfs.ErrConflict) || !strings.Contains(err.Error(), "deb aa 1") || !strings.Contains(err.Error(), "deb bb 1") {
		t.Errorf("UnpackAll: %v, want a conflict that names both packages", err)
	}
}

func TestUnpackRefuses(t *testing.T) {
	one := func(f debtest.File) []byte {
		return debtest.Package{Name: "bad", Version: "1", Files: []debtest.File{f}}.Build(t)
	}
	good := hello().Build(t)
	tests := map[string]struct {
		data []byte
		want string
	}{
		"device node":         {one(debtest.File{Name: "./dev/null", Type: tar.TypeChar}), "only files, folders and links"},
		"fifo":                {one(debtest.File{Name: "./run/x", Type: tar.TypeFifo}), "only files, folders and links"},
		"escape":              {one(debtest.File{Name: "./../etc/passwd", Body: "x"}), "leaves the root"},
		"absolute":            {one(debtest.File{Name: "/etc/passwd", Body: "x"}), "absolute"},
		"hard link outside":   {one(debtest.File{Name: "./x", Type: tar.TypeLink, Linkname: "../../etc/shadow"}), "leaves the root"},
		"hard link to absent": {one(debtest.File{Name: "./x", Type: tar.TypeLink, Linkname: "./y"}), "no earlier file"},
		"extended attribute":  {one(debtest.File{Name: "./x", Body: "x", PAX: map[string]string{"SCHILY.xattr.security.capability": "x"}}), "not supported"},
		"path twice": {
			debtest.Package{Name: "bad", Version: "1", Files: []debtest.File{{Name: "./x", Body: "1"}, {Name: "x", Body: "2"}}}.Build(t),
			"there twice",
		},
		"empty":            {nil, "not a Debian package"},
		"text":             {[]byte("<html>404</html>"), "not a Debian package"},
		"cut in header":    {good[:30], "not a Debian package"},
		"cut in control":   {good[:200], "truncated"},
		"cut at the end":   {good[:len(good)-3], "truncated"},
		"bytes behind":     {append(bytes.Clone(good), "x"...), "not a Debian package"},
		"flipped data":     {flip(good, len(good)-60), "reading"},
		"no data member":   {debtest.Ar([]debtest.Member{{Name: "debian-binary", Body: []byte("2.0\n")}}), "members"},
		"other format":     {debtest.Ar([]debtest.Member{{Name: "debian-binary", Body: []byte("3.0\n")}, {Name: "control.tar"}, {Name: "data.tar"}}), "format version"},
		"other compressor": {debtest.Ar([]debtest.Member{{Name: "debian-binary", Body: []byte("2.0\n")}, {Name: "control.tar.lz4"}, {Name: "data.tar"}}), "not supported"},
		"no control file":  {debtest.Ar([]debtest.Member{{Name: "debian-binary", Body: []byte("2.0\n")}, {Name: "control.tar"}, {Name: "data.tar"}}), "no control file"},
		"version":          {debtest.Package{Name: "bad", Version: "x"}.Build(t), "version"},
		"name":             {debtest.Package{Name: "../bad", Version: "1"}.Build(t), "package \"../bad\""},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			cache := t.TempDir()
			err := Unpack(t.Context(), writeFile(t, tc.data), Selection{}, rootfs.New(), cache)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("Unpack: %v, want an error with %q", err, tc.want)
			}
			left, err := filepath.Glob(filepath.Join(cache, unpackedDir, "*"))
			if err != nil || len(left) != 0 {
				t.Errorf("the failure leaves %q in the cache (%v)", left, err)
			}
		})
	}
}

func flip(data []byte, at int) []byte {
	out := bytes.Clone(data)
	out[at] ^= 0x40
	return out
}

func TestLockedHashIsChecked(t *testing.T) {
	src := Source{Path: writeFile(t, hello().Build(t)), SHA256: strings.Repeat("0", 64)}
	if _, err := UnpackAll(t.Context(), []Source{src}, 1, t.TempDir()); !errors.Is(err, ErrHash) {
		t.Errorf("UnpackAll: %v, want ErrHash", err)
	}
}

func TestDamagedCacheIsMadeAnew(t *testing.T) {
	src, cache := []Source{{Path: writeFile(t, hello().Build(t))}}, t.TempDir()
	read := func() string {
		tree, err := UnpackAll(t.Context(), src, 1, cache)
		if err != nil {
			t.Fatal(err)
		}
		n, _ := tree.Get("usr/bin/hello")
		body, err := n.Content.ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		return string(body)
	}
	want := read()
	files, err := filepath.Glob(filepath.Join(cache, unpackedDir, "*"))
	if err != nil || len(files) != 2 {
		t.Fatalf("the cache has %q (%v), want an archive and an index", files, err)
	}
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for what, bad := range map[string][]byte{"flipped": flip(data, len(data)/2), "cut": data[:len(data)/2], "empty": nil} {
			if err := os.WriteFile(name, bad, 0o600); err != nil {
				t.Fatal(err)
			}
			if got := read(); got != want {
				t.Errorf("%s %s: content %q, want %q", what, filepath.Base(name), got, want)
			}
		}
	}
}

func TestUnpackStopsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := UnpackAll(ctx, []Source{{Path: writeFile(t, hello().Build(t))}}, 1, t.TempDir()); !errors.Is(err, context.Canceled) {
		t.Errorf("UnpackAll: %v, want context.Canceled", err)
	}
}

// FuzzOpen: no bytes make the ar and control readers panic or read outside the file.
func FuzzOpen(f *testing.F) {
	good := hello().Build(f)
	f.Add(good)
	f.Add(good[:len(good)/2])
	gz := hello()
	gz.Compression = ".gz"
	f.Add(gz.Build(f))
	zst := hello()
	zst.Compression = ".zst"
	f.Add(zst.Build(f))
	plain := hello()
	plain.Compression = ".tar"
	f.Add(plain.Build(f))
	f.Add([]byte(arMagic))
	f.Fuzz(func(t *testing.T, data []byte) {
		members, err := readArchive(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			return
		}
		for _, m := range members {
			if m.offset < 0 || m.size < 0 || m.offset+m.size > int64(len(data)) {
				t.Fatalf("member %+v of %d bytes", m, len(data))
			}
		}
		p, err := read(bytes.NewReader(data), int64(len(data)))
		if err == nil && (p.Name == "" || p.Version == "") {
			t.Fatalf("opened a package without a name: %+v", p)
		}
	})
}

// FuzzScan: entries of whatever archive lie inside the unpacked data, with the hashes of those bytes.
func FuzzScan(f *testing.F) {
	f.Add(debtest.Tar(f, hello().Files))
	f.Add(debtest.Tar(f, nil))
	f.Add(debtest.Tar(f, []debtest.File{{Name: strings.Repeat("long/", 40) + "x", Body: "x"}}))
	f.Add(debtest.Tar(f, []debtest.File{{Name: "x", Body: "x", PAX: map[string]string{"comment": "y"}}}))
	f.Add([]byte("x"))
	f.Fuzz(func(t *testing.T, data []byte) {
		var out bytes.Buffer
		c, err := scan(context.Background(), bytes.NewReader(data), &out)
		if err != nil {
			return
		}
		if c.Size != int64(out.Len()) {
			t.Fatalf("%d bytes noted, %d written", c.Size, out.Len())
		}
		for _, e := range c.Entries {
			if e.Type != typeFile {
				continue
			}
			got, err := hashExactly(io.NewSectionReader(bytes.NewReader(out.Bytes()), e.Offset, e.Size), e.Size)
			if err != nil || got != e.SHA256 {
				t.Fatalf("entry %+v: %v, hash of its range %s", e, err, got)
			}
		}
		if err := c.insert(rootfs.New(), Selection{}); err != nil && !errors.Is(err, rootfs.ErrConflict) && !strings.Contains(err.Error(), "adding") {
			t.Fatalf("insert: %v", err)
		}
	})
}
