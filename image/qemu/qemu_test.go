package qemu_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cocoon/image/qemu"
	"cocoon/image/qemu/qemutest"
	"cocoon/image/rootfs"
)

const testVersion = "9.8.7"

// tree is an unpacked QEMU, changed by edit: a nil value removes a path, the others replace it.
func tree(t *testing.T, edit map[string]*rootfs.Inode) *rootfs.Tree {
	t.Helper()
	out := rootfs.New()
	for _, f := range qemutest.Package("1:" + testVersion + "+ds-1").Files {
		n := file(f.Body)
		if f.Mode != 0 {
			n.Mode = uint32(f.Mode)
		}
		if f.Linkname != "" {
			n = link(f.Linkname)
		}
		if err := out.Add(strings.TrimPrefix(f.Name, "./"), n); err != nil {
			t.Fatal(err)
		}
	}
	for name, n := range edit {
		out.Remove(name)
		if n == nil {
			continue
		}
		if err := out.Add(name, n); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func file(body string) *rootfs.Inode {
	return &rootfs.Inode{Type: rootfs.File, Mode: 0o644, Content: rootfs.Bytes([]byte(body))}
}

func link(target string) *rootfs.Inode {
	return &rootfs.Inode{Type: rootfs.Symlink, Mode: 0o777, Target: target}
}

func selected(t *testing.T) []qemu.File {
	t.Helper()
	files, err := qemu.Select(tree(t, nil))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestSelectTakesTheProgramItsLibrariesAndROMs(t *testing.T) {
	t.Parallel()
	var got []string
	for _, f := range selected(t) {
		name := f.Name
		if f.Executable {
			name += "*"
		}
		got = append(got, name)
	}
	want := []string{
		"bios-256k.bin", "kvmvapic.bin", "ld-linux-x86-64.so.2*", "libc.so.6", "libone.so.1", "linuxboot_dma.bin",
		"multiboot_dma.bin", "pvh.bin", "qemu-system-x86_64*", "qemu-system-x86_64.elf*", "vgabios-stdvga.bin",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the folder's files (-want +got):\n%s", diff)
	}
}

func TestSelectRefuses(t *testing.T) {
	t.Parallel()
	const lib, bin = "usr/lib/x86_64-linux-gnu/", "usr/bin/qemu-system-x86_64"
	alien := qemutest.ELF()
	alien[qemutest.Machine] = 183 // AArch64
	program := func(needed ...string) map[string]*rootfs.Inode {
		return map[string]*rootfs.Inode{bin: file(string(qemutest.ELF(needed...)))}
	}
	for name, tc := range map[string]struct {
		edit map[string]*rootfs.Inode
		want string
	}{
		"no program":             {map[string]*rootfs.Inode{bin: nil}, "no package has " + bin},
		"no dynamic linker":      {map[string]*rootfs.Inode{lib + "ld-linux-x86-64.so.2": nil}, "no package has " + lib + "ld-linux"},
		"a library left out":     {map[string]*rootfs.Inode{lib + "libc.so.6": nil}, "the recipe leaves out its package"},
		"a library that is none": {map[string]*rootfs.Inode{lib + "libc.so.6": file("text")}, "libc.so.6: reading ELF file"},
		"another architecture":   {map[string]*rootfs.Inode{lib + "libc.so.6": file(string(alien))}, "EM_AARCH64"},
		"a library by path":      {program("../../../etc/passwd"), "does not match"},
		"a library by our name":  {program("bios-256k.bin"), "no package has " + lib + "bios-256k.bin"},
		"a name taken twice": {
			map[string]*rootfs.Inode{bin: file(string(qemutest.ELF("pvh.bin"))), lib + "pvh.bin": file(string(qemutest.ELF()))},
			"two are called pvh.bin",
		},
		"a ROM left out":      {map[string]*rootfs.Inode{"usr/share/qemu/pvh.bin": nil}, "no package has usr/share/qemu/pvh.bin"},
		"links in a circle":   {map[string]*rootfs.Inode{lib + "libone.so.1": link("libone.so.1")}, "more than"},
		"a link to nothing":   {map[string]*rootfs.Inode{lib + "libone.so.1": link("/gone")}, "no package has"},
		"a folder as library": {map[string]*rootfs.Inode{lib + "libone.so.1": {Type: rootfs.Dir, Mode: 0o755}}, "is not a file"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := qemu.Select(tree(t, tc.edit)); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want one with %q", err, tc.want)
			}
		})
	}
}

func TestSelectFollowsAbsoluteLinks(t *testing.T) {
	t.Parallel()
	files, err := qemu.Select(tree(t, map[string]*rootfs.Inode{
		"usr/lib/x86_64-linux-gnu/libone.so.1": link("/usr/lib/x86_64-linux-gnu/libone.so.1.2.3"),
	}))
	if err != nil || len(files) != len(selected(t)) {
		t.Errorf("%d files, %v", len(files), err)
	}
}

// folder writes the selected files to a folder of a name that needs quoting in a shell and in search paths.
func folder(t *testing.T, files []qemu.File) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "a folder: $HOME;'x'")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := qemu.Write(t.Context(), dir, files); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestLauncherStartsItsOwnFolder(t *testing.T) {
	dir := folder(t, selected(t))
	alias := filepath.Join(t.TempDir(), "alias")
	if err := os.Symlink(filepath.Join(dir, qemu.Launcher), alias); err != nil {
		t.Fatal(err)
	}
	t.Setenv("LD_PRELOAD", "")
	t.Setenv("LD_LIBRARY_PATH", "/nowhere")
	t.Setenv("QEMU_MODULE_DIR", "/nowhere")
	want := strings.Join([]string{
		"--inhibit-cache", "--library-path", "$ORIGIN", "--argv0", "qemu-system-x86_64", dir + "/qemu-system-x86_64.elf",
		"-L", dir, "-machine", "two words", "", "LD_PRELOAD=", "LD_LIBRARY_PATH=", "QEMU_MODULE_DIR=", "",
	}, "\n")
	for name, launcher := range map[string]string{"by path": filepath.Join(dir, qemu.Launcher), "by a link": alias} {
		out, err := exec.CommandContext(t.Context(), launcher, "-machine", "two words", "").Output()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if diff := cmp.Diff(want, string(out)); diff != "" {
			t.Errorf("%s: what the dynamic linker got (-want +got):\n%s", name, diff)
		}
	}
}

func TestVersionIsWhatTheProgramSays(t *testing.T) {
	t.Parallel()
	dir := folder(t, selected(t))
	got, err := qemu.Version(t.Context(), filepath.Join(dir, qemu.Launcher))
	if err != nil || got != testVersion {
		t.Errorf("version %q, %v, want %s", got, err, testVersion)
	}
}

func TestVersionRefuses(t *testing.T) {
	t.Parallel()
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for name, tc := range map[string]struct {
		ctx    context.Context
		linker string
		want   string
	}{
		"another program": {t.Context(), "#!/bin/sh\necho hello\n", `it said "hello\n"`},
		"a failure":       {t.Context(), "#!/bin/sh\necho no such library >&2\nexit 127\n", "no such library"},
		"no program":      {t.Context(), "", "asking QEMU for its version"},
		"cancelled":       {cancelled, qemutest.Linker("1.2.3"), context.Canceled.Error()},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var files []qemu.File
			for _, f := range selected(t) {
				if f.Name == "ld-linux-x86-64.so.2" {
					f.Content = rootfs.Bytes([]byte(tc.linker))
					f.Executable = tc.linker != ""
				}
				files = append(files, f)
			}
			_, err := qemu.Version(tc.ctx, filepath.Join(folder(t, files), qemu.Launcher))
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want one with %q", err, tc.want)
			}
		})
	}
}

func TestWriteRefuses(t *testing.T) {
	t.Parallel()
	files := selected(t)
	if err := qemu.Write(t.Context(), folder(t, files), files); !errors.Is(err, fs.ErrExist) {
		t.Errorf("over existing files: %v", err)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if err := qemu.Write(cancelled, t.TempDir(), files); !errors.Is(err, context.Canceled) {
		t.Errorf("when cancelled: %v", err)
	}
	name := filepath.Join(t.TempDir(), "changed")
	if err := os.WriteFile(name, []byte("before"), 0o600); err != nil {
		t.Fatal(err)
	}
	content := rootfs.FileRange(name, 0, 6, rootfs.Bytes([]byte("after!")).SHA256)
	if err := qemu.Write(t.Context(), t.TempDir(), []qemu.File{{Name: "x", Content: content}}); err == nil || !strings.Contains(err.Error(), "changed") {
		t.Errorf("with other bytes than hashed: %v", err)
	}
}

// FuzzSelect: whatever lies in the program's place, Select ends with files or an error.
func FuzzSelect(f *testing.F) {
	f.Add(qemutest.ELF())
	f.Add(qemutest.ELF("libone.so.1"))
	f.Add(qemutest.ELF("libone.so.1", "libc.so.6", "libone.so.1"))
	f.Add(qemutest.ELF(strings.Repeat("a", 300)))
	f.Add(qemutest.ELF("")[:100])
	f.Add([]byte("#!/bin/sh\n"))
	f.Fuzz(func(t *testing.T, program []byte) {
		files, err := qemu.Select(tree(t, map[string]*rootfs.Inode{"usr/bin/qemu-system-x86_64": file(string(program))}))
		if (err == nil) != (len(files) > 0) {
			t.Errorf("%d files, error %v", len(files), err)
		}
	})
}
