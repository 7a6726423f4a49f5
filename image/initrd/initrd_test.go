package initrd_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/u-root/u-root/pkg/cpio"

	"cocoon/image/initrd"
	"cocoon/image/rootfs"
)

func file(mode uint32, data string) *rootfs.Inode {
	return &rootfs.Inode{Type: rootfs.File, Mode: mode, Content: rootfs.Bytes([]byte(data))}
}

func dir() *rootfs.Inode { return &rootfs.Inode{Type: rootfs.Dir, Mode: 0o755} }

func console() *rootfs.Inode {
	return &rootfs.Inode{Type: rootfs.CharDevice, Mode: 0o600, Major: 5, Minor: 1}
}

// build makes a tree; paths are added in the order given.
func build(tb testing.TB, paths []string, inodes map[string]*rootfs.Inode) *rootfs.Tree {
	tb.Helper()
	tree := rootfs.New()
	for _, p := range paths {
		if err := tree.Add(p, inodes[p]); err != nil {
			tb.Fatal(err)
		}
	}
	return tree
}

// sampleInodes has the shape of a real initrd.
func sampleInodes() map[string]*rootfs.Inode {
	return map[string]*rootfs.Inode{
		"init":                   file(0o755, "\x7fELF of sorts"),
		"dev/console":            console(),
		"etc/layers.json":        file(0o644, "[]\n"),
		"etc/empty":              file(0o644, ""),
		"lib/modules/erofs.ko":   file(0o644, strings.Repeat("module", 1000)),
		"lib/modules.order":      file(0o644, "erofs.ko\n"),
		"proc":                   dir(),
		"run":                    dir(),
		"sys":                    dir(),
		"tmp":                    dir(),
		"lib/modules/dm-mod.ko1": file(0o644, "x"),
		"link":                   {Type: rootfs.Symlink, Mode: 0o777, Target: "init"},
	}
}

func samplePaths() []string {
	return []string{"init", "dev/console", "etc/layers.json", "etc/empty", "lib/modules/erofs.ko", "lib/modules.order", "proc", "run", "sys", "tmp", "lib/modules/dm-mod.ko1", "link"}
}

func encode(tb testing.TB, tree *rootfs.Tree) []byte {
	tb.Helper()
	data, err := initrd.Encode(tree)
	if err != nil {
		tb.Fatal(err)
	}
	return data
}

func TestArchiveDoesNotDependOnInsertionOrder(t *testing.T) {
	t.Parallel()
	paths := samplePaths()
	a := encode(t, build(t, paths, sampleInodes()))
	for i, j := 0, len(paths)-1; i < j; i, j = i+1, j-1 {
		paths[i], paths[j] = paths[j], paths[i]
	}
	b := encode(t, build(t, paths, sampleInodes()))
	if !bytes.Equal(a, b) {
		t.Error("the archive depends on the order in which files were added")
	}
	if len(a)%4 != 0 {
		t.Errorf("archive of %d bytes; systemd-stub wants a multiple of 4", len(a))
	}
}

func TestReadGivesBackTheTree(t *testing.T) {
	t.Parallel()
	tree := build(t, samplePaths(), sampleInodes())
	got, err := initrd.Read(encode(t, tree))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(rootfs.Listing(tree)), string(rootfs.Listing(got))); diff != "" {
		t.Errorf("tree (-want +got):\n%s", diff)
	}
	n, ok := got.Get("lib/modules/erofs.ko")
	if !ok {
		t.Fatal("a file is missing")
	}
	data, err := n.Content.ReadAll()
	if err != nil || string(data) != strings.Repeat("module", 1000) {
		t.Errorf("content differs, error %v", err)
	}
}

// The header fields and the order, as another reader sees them.
func TestRecordsAsURootReadsThem(t *testing.T) {
	t.Parallel()
	data := encode(t, build(t, samplePaths(), sampleInodes()))
	reader := cpio.Newc.Reader(bytes.NewReader(data))
	var names []string
	for {
		rec, err := reader.ReadRecord()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, rec.Name)
		want := cpio.Info{Name: rec.Name, Mode: rec.Mode, FileSize: rec.FileSize, NLink: 1}
		if rec.Name == "dev/console" {
			want.Mode, want.Rmajor, want.Rminor = 0o20600, 5, 1
		}
		if diff := cmp.Diff(want, rec.Info); diff != "" {
			t.Errorf("%s (-want +got):\n%s", rec.Name, diff)
		}
	}
	want := []string{
		"dev", "dev/console", "etc", "etc/empty", "etc/layers.json", "init", "lib", "lib/modules", "lib/modules.order",
		"lib/modules/dm-mod.ko1", "lib/modules/erofs.ko", "link", "proc", "run", "sys", "tmp",
	}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
}

func TestCpioUnpacksTheArchive(t *testing.T) {
	t.Parallel()
	tool, err := exec.LookPath("cpio")
	if err != nil {
		t.Skip("cpio is not installed")
	}
	inodes := sampleInodes()
	delete(inodes, "dev/console") // needs root
	var paths []string
	for _, p := range samplePaths() {
		if inodes[p] != nil {
			paths = append(paths, p)
		}
	}
	out := t.TempDir()
	cmd := exec.CommandContext(t.Context(), tool, "--extract", "--make-directories", "--quiet", "--no-preserve-owner")
	cmd.Dir, cmd.Stdin = out, bytes.NewReader(encode(t, build(t, paths, inodes)))
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("cpio: %v\n%s", err, text)
	}
	for _, p := range paths {
		n := inodes[p]
		st, err := os.Lstat(filepath.Join(out, p))
		if err != nil {
			t.Fatal(err)
		}
		if n.Type != rootfs.Symlink && uint32(st.Mode().Perm()) != n.Mode {
			t.Errorf("%s: mode %o, want %o", p, st.Mode().Perm(), n.Mode)
		}
		if n.Type != rootfs.File {
			continue
		}
		want, err := n.Content.ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(filepath.Join(out, p))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: content differs, error %v", p, err)
		}
	}
}

func TestWriteRefuses(t *testing.T) {
	t.Parallel()
	shared := file(0o644, "x")
	owned := file(0o644, "x")
	owned.GID = 4
	cases := map[string]struct {
		paths  []string
		inodes map[string]*rootfs.Inode
		want   string
	}{
		"ACPI tables":       {[]string{"kernel/firmware/acpi/dsdt.aml"}, map[string]*rootfs.Inode{"kernel/firmware/acpi/dsdt.aml": file(0o644, "")}, "kernel/firmware/acpi"},
		"microcode":         {[]string{"kernel/x86/microcode"}, map[string]*rootfs.Inode{"kernel/x86/microcode": dir()}, "kernel/x86/microcode"},
		"hard link":         {[]string{"a", "b"}, map[string]*rootfs.Inode{"a": shared, "b": shared}, `"b" is a hard link to "a"`},
		"owner":             {[]string{"a"}, map[string]*rootfs.Inode{"a": owned}, "owner 0:4"},
		"setuid":            {[]string{"a"}, map[string]*rootfs.Inode{"a": file(0o4755, "")}, "mode 04755"},
		"odd mode":          {[]string{"a"}, map[string]*rootfs.Inode{"a": file(0o600, "")}, "mode 0600"},
		"another device":    {[]string{"dev/mem"}, map[string]*rootfs.Inode{"dev/mem": {Type: rootfs.CharDevice, Mode: 0o600, Major: 1, Minor: 1}}, "dev/mem"},
		"console elsewhere": {[]string{"console"}, map[string]*rootfs.Inode{"console": console()}, "console"},
		"end marker":        {[]string{"TRAILER!!!"}, map[string]*rootfs.Inode{"TRAILER!!!": file(0o644, "")}, "ends an archive"},
		"empty symlink":     {[]string{"l"}, map[string]*rootfs.Inode{"l": {Type: rootfs.Symlink, Mode: 0o777}}, "type 3"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := initrd.Write(io.Discard, build(t, c.paths, c.inodes))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one that has %q", err, c.want)
			}
		})
	}
}

func TestReadRefusesOtherEncodings(t *testing.T) {
	t.Parallel()
	good := encode(t, build(t, []string{"a", "b"}, map[string]*rootfs.Inode{"a": file(0o644, "one"), "b": dir()}))
	header := func(field int) int { return 6 + 8*field }
	cases := map[string]struct {
		change func([]byte) []byte
		want   string
	}{
		"nothing at all":        {func([]byte) []byte { return nil }, "within a header"},
		"other magic":           {func(b []byte) []byte { b[5] = '2'; return b }, "magic"},
		"cut off":               {func(b []byte) []byte { return b[:len(b)-1] }, "beyond the archive"},
		"bytes behind":          {func(b []byte) []byte { return append(b, 0, 0, 0, 0) }, "behind the last record"},
		"a time":                {func(b []byte) []byte { b[header(5)+7] = '1'; return b }, "byte 53"},
		"an inode number":       {func(b []byte) []byte { b[header(0)+7] = '1'; return b }, "byte 13"},
		"lower-case hex":        {func(b []byte) []byte { return bytes.Replace(b, []byte("000081A4"), []byte("000081a4"), 1) }, "byte "},
		"not hex":               {func(b []byte) []byte { b[header(1)] = '+'; return b }, "hexadecimal"},
		"huge name":             {func(b []byte) []byte { copy(b[header(11):], "FFFFFFFF"); return b }, "name of 4294967295 bytes"},
		"huge file":             {func(b []byte) []byte { copy(b[header(6):], "FFFFFFFF"); return b }, "beyond the archive"},
		"padding not zero":      {func(b []byte) []byte { b[115] = 1; return b }, "byte 115"},
		"block device":          {func(b []byte) []byte { copy(b[header(1):], "000061A4"); return b }, "neither file"},
		"another program's dot": {func(b []byte) []byte { return bytes.Replace(b, []byte("a\x00"), []byte(".\x00"), 1) }, "shortest form"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := initrd.Read(c.change(bytes.Clone(good)))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one that has %q", err, c.want)
			}
		})
	}
}

// What parses is exactly what Write makes of the parsed tree.
func FuzzRead(f *testing.F) {
	f.Add([]byte{})
	f.Add(encode(f, rootfs.New()))
	full := encode(f, build(f, samplePaths(), sampleInodes()))
	f.Add(full)
	f.Add(full[:200])
	f.Add(append(bytes.Clone(full), full...))
	f.Add(bytes.ReplaceAll(full, []byte("lib"), []byte("../")))
	f.Fuzz(func(t *testing.T, data []byte) {
		tree, err := initrd.Read(data)
		if err != nil {
			return
		}
		again, err := initrd.Encode(tree)
		if err != nil {
			t.Fatalf("an archive parses but its tree is refused: %v", err)
		}
		if !bytes.Equal(again, data) {
			t.Error("an archive parses but encodes to other bytes")
		}
	})
}
