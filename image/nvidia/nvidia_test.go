package nvidia

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/ulikunitz/xz"

	"cocoon/image/deb"
	"cocoon/image/deb/debtest"
	"cocoon/image/rootfs"
)

const (
	release = "6.18.15+deb13-cloud-amd64"
	driver  = "550.163.01"
)

// module makes a relocatable ELF object that has .modinfo and nothing else.
func module(fields ...string) []byte {
	info, names := strings.Join(fields, "\x00")+"\x00", "\x00.modinfo\x00.shstrtab\x00"
	le, table := binary.LittleEndian, (64+len(info)+len(names)+7)&^7
	out := make([]byte, table+3*64)
	copy(out, "\x7fELF\x02\x01\x01")
	le.PutUint16(out[16:], 1)  // relocatable
	le.PutUint16(out[18:], 62) // x86-64
	le.PutUint32(out[20:], 1)
	le.PutUint64(out[40:], uint64(table))
	for at, v := range map[int]uint16{52: 64, 58: 64, 60: 3, 62: 2} {
		le.PutUint16(out[at:], v)
	}
	copy(out[64:], info)
	copy(out[64+len(info):], names)
	for i, s := range [][4]uint64{{1, 1, 64, uint64(len(info))}, {10, 3, uint64(64 + len(info)), uint64(len(names))}} {
		h := out[table+(i+1)*64:]
		le.PutUint32(h, uint32(s[0]))
		le.PutUint32(h[4:], uint32(s[1]))
		le.PutUint64(h[24:], s[2])
		le.PutUint64(h[32:], s[3])
	}
	return out
}

func TestModuleMustBeOfTheRightNameAndKernel(t *testing.T) {
	for name, tc := range map[string]struct {
		data []byte
		want string
	}{
		"right":           {module("name=nvidia", "depends=", "vermagic="+release+" SMP preempt mod_unload "), ""},
		"other name":      {module("name=nvidia_uvm", "depends=", "vermagic="+release+" SMP"), "calls itself"},
		"other kernel":    {module("name=nvidia", "depends=", "vermagic=6.18.16+deb13-cloud-amd64 SMP"), "it is for kernel"},
		"longer release":  {module("name=nvidia", "depends=", "vermagic="+release+"-rt SMP"), "it is for kernel"},
		"no version":      {module("name=nvidia", "depends="), "no vermagic"},
		"not an object":   {[]byte("#!/bin/sh"), "reading module"},
		"nothing at all":  {nil, "reading module"},
		"only the header": {module("name=nvidia")[:64], "reading module"},
	} {
		t.Run(name, func(t *testing.T) {
			err := CheckModule(tc.data, "nvidia", release)
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("error %v, want %q", err, tc.want)
			}
		})
	}
}

// source is the modules' source as Debian packs it.
func source(t *testing.T, files ...debtest.File) string {
	t.Helper()
	var out bytes.Buffer
	w, err := xz.NewWriter(&out)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(debtest.Tar(t, files)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func unpack(t *testing.T, archive string) (*rootfs.Tree, error) {
	t.Helper()
	return unpackSource(t.Context(), rootfs.Bytes([]byte(archive)), buildDir, filepath.Join(t.TempDir(), "spool"))
}

func TestSourceKeepsBytesAndExecutableBits(t *testing.T) {
	long := strings.Repeat("long/", 30) + "name.c" // a PAX or GNU header comes before such a name
	tree, err := unpack(t, source(t,
		debtest.File{Name: "./", Type: tar.TypeDir},
		debtest.File{Name: "modules/x/conftest.sh", Body: "#!/bin/sh\n", Mode: 0o755},
		debtest.File{Name: long, Body: strings.Repeat("x", 5000)},
		debtest.File{Name: "modules/x/empty.h"},
		debtest.File{Name: "modules/link", Type: tar.TypeSymlink, Linkname: "x"},
	))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"build/modules/x/conftest.sh": "0755 #!/bin/sh\n", "build/" + long: "0644 " + strings.Repeat("x", 5000),
		"build/modules/x/empty.h": "0644 ", "build/modules/link": "-> x",
	}
	got := map[string]string{}
	for _, n := range tree.Nodes() {
		switch n.Inode.Type {
		default:
		case rootfs.Symlink:
			got[n.Path] = "-> " + n.Inode.Target
		case rootfs.File:
			data, err := n.Inode.Content.ReadAll()
			if err != nil {
				t.Fatal(err)
			}
			got[n.Path] = map[uint32]string{0o755: "0755 ", 0o644: "0644 "}[n.Inode.Mode] + string(data)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("source (-want +got):\n%s", diff)
	}
}

func TestSourceIsRefused(t *testing.T) {
	for name, tc := range map[string]struct{ archive, want string }{
		"leaves the root": {source(t, debtest.File{Name: "../x", Body: "x"}), "leaves the root"},
		"device":          {source(t, debtest.File{Name: "null", Type: tar.TypeChar}), "none of file, folder, link"},
		"hard link":       {source(t, debtest.File{Name: "a", Type: tar.TypeLink, Linkname: "b"}), "none of file, folder, link"},
		"no archive":      {"#!/bin/sh\n", "reading the modules' source"},
		"cut":             {source(t, debtest.File{Name: "a", Body: strings.Repeat("x", 9000)})[:60], "reading the modules' source"},
		"two files":       {source(t, debtest.File{Name: "a", Body: "1"}, debtest.File{Name: "a", Body: "2"}), "conflicting"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := unpack(t, tc.archive); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want one with %q", err, tc.want)
			}
		})
	}
}

// tools compiles the stand-in for make, strip and the shell, statically; it skips where there are no namespaces.
func tools(t *testing.T) string {
	t.Helper()
	for _, tool := range []string{"go", "unshare", "mount", "hostname"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed", tool)
		}
	}
	args := []string{"--mount", "--net", "--pid", "--fork", "true"}
	if os.Geteuid() != 0 {
		args = append([]string{"--user", "--map-root-user"}, args...)
	}
	if out, err := exec.CommandContext(t.Context(), "unshare", args...).CombinedOutput(); err != nil {
		t.Skipf("this machine gives us no namespaces: %s", out)
	}
	name := filepath.Join(t.TempDir(), "tool")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", name, "./testdata/tool")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("compiling the stand-in: %v\n%s", err, out)
	}
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// packages writes a toolchain whose programs are the stand-in.
func packages(t *testing.T, tool string, change func(map[string]debtest.Package)) []deb.Source {
	t.Helper()
	magic := "vermagic=" + release + " SMP preempt mod_unload "
	all := map[string]debtest.Package{
		"make": {Name: "make", Version: "1", Files: []debtest.File{
			{Name: "usr/bin/make", Body: tool, Mode: 0o755},
			{Name: "usr/bin/strip", Body: tool, Mode: 0o755},
			{Name: "usr/bin/bash", Body: tool, Mode: 0o755},
			{Name: "usr/bin/mawk", Body: tool, Mode: 0o755},
			{Name: "usr/bin/gcc-14", Body: tool, Mode: 0o755},
		}},
		"headers": {Name: "linux-headers", Version: "1", Files: []debtest.File{
			{Name: "usr/src/linux-headers-" + release + "/Makefile"}, {Name: "usr/src/linux-headers-6.18.15+deb13-common/Makefile"},
		}},
		"source": {Name: "nvidia-open-kernel-source", Version: "1", Files: []debtest.File{{Name: sourceArchive, Body: source(t,
			debtest.File{Name: "modules/nvidia-open-kernel/Kbuild", Body: `EXTRA_CFLAGS += -DNV_VERSION_STRING=\"` + driver + `\"` + "\n"},
			debtest.File{Name: "modules/nvidia-open-kernel/made-nvidia.ko", Body: string(module("name=nvidia", "depends=", magic))},
			debtest.File{Name: "modules/nvidia-open-kernel/made-nvidia-uvm.ko", Body: string(module("name=nvidia_uvm", "depends=nvidia", magic))},
		)}}},
	}
	if change != nil {
		change(all)
	}
	var out []deb.Source
	dir := t.TempDir()
	for key, p := range all {
		name := filepath.Join(dir, key+".deb")
		p.Compression = ".tar"
		if err := os.WriteFile(name, p.Build(t), 0o600); err != nil {
			t.Fatal(err)
		}
		out = append(out, deb.Source{Path: name})
	}
	return out
}

func buildIn(t *testing.T, sources []deb.Source, scratch string, workers int) ([]Module, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	return BuildModules(ctx, ModulesSpec{
		Toolchain: Toolchain{Sources: sources, CacheDir: t.TempDir(), Scratch: scratch, Workers: workers},
		Release:   release, Driver: driver, Epoch: 1735689600,
	})
}

// The stand-in for make appends what it sees of its surroundings to the module, and strip leaves a mark: so equal bytes
// mean that nothing of the builder got in.
func TestModulesAreMadeInFixedSurroundings(t *testing.T) {
	sources := packages(t, tools(t), nil)
	var results [][]Module
	for i, scratch := range []string{filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "deeper", "b")} {
		t.Setenv("COCOON_LEAK", scratch)
		t.Setenv("TZ", []string{"Asia/Tokyo", "America/Lima"}[i])
		mods, err := buildIn(t, sources, scratch, 2)
		if err != nil {
			t.Fatal(err)
		}
		results = append(results, mods)
		if _, err := os.Stat(scratch); err == nil {
			t.Error("the scratch folder is still there")
		}
	}
	if diff := cmp.Diff(results[0], results[1]); diff != "" {
		t.Errorf("two builds differ:\n%s", diff)
	}
	var files []string
	for _, m := range results[0] {
		files = append(files, m.File)
		for _, want := range []string{
			"KBUILD_BUILD_USER=cocoon", "KBUILD_BUILD_HOST=cocoon", "KBUILD_BUILD_TIMESTAMP=Wed Jan  1 00:00:00 UTC 2025",
			"dir=/build/modules/nvidia-open-kernel", "host=cocoon", "KERNEL_UNAME=" + release, "--strip-debug -R .note.gnu.build-id",
			"SYSSRC=/usr/src/linux-headers-6.18.15+deb13-common", "NV_EXCLUDE_KERNEL_MODULES=nvidia-drm nvidia-modeset nvidia-peermem",
		} {
			if !bytes.Contains(m.Data, []byte(want)) {
				t.Errorf("%s was made without %q", m.File, want)
			}
		}
	}
	if !slices.Equal(files, []string{"nvidia.ko", "nvidia_uvm.ko"}) {
		t.Errorf("modules %q, want them in loading order", files)
	}
}

func TestModulesAreRefused(t *testing.T) {
	tool := tools(t)
	set := func(key string, files ...debtest.File) func(map[string]debtest.Package) {
		return func(all map[string]debtest.Package) {
			p := all[key]
			p.Files = files
			all[key] = p
		}
	}
	kbuild := func(version string) debtest.File {
		return debtest.File{Name: "modules/nvidia-open-kernel/Kbuild", Body: `-DNV_VERSION_STRING=\"` + version + `\"`}
	}
	for name, tc := range map[string]struct {
		change func(map[string]debtest.Package)
		want   string
	}{
		"no source":       {set("source"), "no package has " + sourceArchive},
		"no headers":      {set("headers"), "no package has the headers"},
		"no shell":        {set("make", debtest.File{Name: "usr/bin/make", Body: tool}), "no package has usr/bin/dash or usr/bin/bash"},
		"other driver":    {set("source", debtest.File{Name: sourceArchive, Body: source(t, kbuild("580.95.05"))}), "not of driver " + driver},
		"nothing is made": {set("source", debtest.File{Name: sourceArchive, Body: source(t, kbuild(driver))}), "no made module"},
		"two sets of common headers": {set("headers",
			debtest.File{Name: "usr/src/linux-headers-" + release + "/Makefile"},
			debtest.File{Name: "usr/src/linux-headers-1-common/x"}, debtest.File{Name: "usr/src/linux-headers-2-common/x"},
		), "want one folder"},
	} {
		t.Run(name, func(t *testing.T) {
			scratch := filepath.Join(t.TempDir(), "scratch")
			_, err := buildIn(t, packages(t, tool, tc.change), scratch, 1)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want one with %q", err, tc.want)
			}
			if _, err := os.Stat(scratch); err == nil {
				t.Error("the scratch folder is still there")
			}
		})
	}
}

func TestHelperMustBeDynamicLazyAndOfThePinnedGo(t *testing.T) {
	self := []byte(tools(t)) // static, and built by this Go
	for name, tc := range map[string]struct {
		data    []byte
		version string
		want    string
	}{
		"no program":  {[]byte("#!/bin/sh"), "1.0", "checking gpuattest"},
		"other Go":    {self, "1.0", "the lock says go1.0"},
		"static":      {self, strings.TrimPrefix(runtime.Version(), "go"), "it needs the libraries"},
		"nothing":     {nil, "1.0", "checking gpuattest"},
		"half of one": {self[:len(self)/2], "1.0", "checking gpuattest"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := CheckHelper(tc.data, tc.version); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want one with %q", err, tc.want)
			}
		})
	}
}

func FuzzUnpackSource(f *testing.F) {
	pack := func(files ...debtest.File) {
		var out bytes.Buffer
		w, err := xz.NewWriter(&out)
		if err != nil {
			f.Fatal(err)
		}
		if _, err := w.Write(debtest.Tar(f, files)); err != nil {
			f.Fatal(err)
		}
		if err := w.Close(); err != nil {
			f.Fatal(err)
		}
		f.Add(out.Bytes())
	}
	pack(debtest.File{Name: "modules/x.c", Body: "int x;\n"})
	pack(debtest.File{Name: "d/", Type: tar.TypeDir}, debtest.File{Name: "d/run", Body: "#!/bin/sh\n", Mode: 0o755})
	pack(debtest.File{Name: "../x", Body: "x"})
	pack(debtest.File{Name: "l", Type: tar.TypeSymlink, Linkname: "/etc/passwd"}, debtest.File{Name: "l/x", Body: "x"})
	pack()
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte) {
		spool := filepath.Join(dir, "spool")
		defer os.Remove(spool) //nolint:errcheck // the folder goes anyway
		tree, err := unpackSource(t.Context(), rootfs.Bytes(data), buildDir, spool)
		if err != nil {
			return
		}
		for _, n := range tree.Nodes() {
			if n.Path != "." && n.Path != buildDir && !strings.HasPrefix(n.Path, buildDir+"/") && n.Inode.Origin != "implied" {
				// a link of the archive itself may lead elsewhere inside the tree, never out of it
				if p, err := rootfs.CleanPath(n.Path); err != nil || p != n.Path {
					t.Errorf("path %q", n.Path)
				}
			}
		}
	})
}
