package boot

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"cocoon/host/probe"
	"cocoon/image/buildroot"
	"cocoon/image/deb"
	"cocoon/image/fetch"
	"cocoon/image/firmware"
	"cocoon/image/initrd"
	"cocoon/image/kernel"
	"cocoon/image/lock"
	"cocoon/image/pipeline"
	"cocoon/image/recipe"
	"cocoon/image/rootfs"
)

const (
	// group is the name in COCOON_TEST that switches these tests on.
	group = "boot"
	// prepareLimit bounds fetching and unpacking of inputs.
	prepareLimit = 8 * time.Minute
	// machinesAtOnce bounds concurrent machines: each keeps a processor busy.
	machinesAtOnce = "2"
)

func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", machinesAtOnce); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(2)
	}
	os.Exit(m.Run())
}

// debian2025 is the firmware of Debian 13, which no image of ours uses and the lock therefore does not have.
var debian2025 = lock.Artefact{
	Name: "ovmf", Version: "2025.02-8+deb13u1", Arch: "all", Kind: lock.Deb, Size: 5779964,
	SHA256: "78e0d54df11fc77406cb7a0bc9a39e5bca6d1cbe06556b91d9a73491c52decdf",
	Sources: []string{
		"http://deb.debian.org/debian/pool/main/e/edk2/ovmf_2025.02-8+deb13u1_all.deb",
		"https://snapshot.debian.org/archive/debian/20260912T135541Z/pool/main/e/edk2/ovmf_2025.02-8+deb13u1_all.deb",
	},
}

// genericPath is the firmware with TPM drivers inside its package, in Debian 13's and in the locked one.
const genericPath = "usr/share/ovmf/OVMF.fd"

// inputs are the pinned files that machines are made of.
type inputs struct {
	root, cache string
	recipe      *recipe.Recipe
	lock        *lock.Lock
	store       *fetch.Store

	kernel        *kernel.Kernel
	vmlinuz, stub []byte
	// tdx is the firmware we ship, generic the build with TPM drivers of the same source.
	tdx, generic []byte
}

// locked fetches what the lock names, once for all tests.
var locked = sync.OnceValues(func() (*inputs, error) {
	ctx, cancel := context.WithTimeout(context.Background(), prepareLimit)
	defer cancel()
	in, err := openInputs()
	if err != nil {
		return nil, err
	}
	tree, err := in.unpack(ctx, in.recipe.Kernel.Group, nil)
	if err != nil {
		return nil, err
	}
	if in.kernel, err = kernel.FromTree(tree); err != nil {
		return nil, err
	}
	if in.vmlinuz, err = in.kernel.Vmlinuz(); err != nil {
		return nil, err
	}
	f, s := in.recipe.Firmware, in.recipe.Stub
	var tdx, blank []byte
	for _, want := range []struct {
		group, pkg, path string
		into             *[]byte
	}{
		{s.Group, s.Package, s.Path, &in.stub},
		{f.Group, f.TDXPackage, f.TDXPath, &tdx},
		{f.Group, f.VarsPackage, f.VarsPath, &blank},
		{f.Group, f.VarsPackage, genericPath, &in.generic},
	} {
		a, err := in.lock.Find(want.group, lock.Deb, want.pkg)
		if err != nil {
			return nil, err
		}
		if *want.into, err = in.file(ctx, a, want.path); err != nil {
			return nil, err
		}
	}
	in.tdx, err = firmware.Assemble(tdx, blank)
	return in, err
})

func openInputs() (*inputs, error) {
	root, err := repositoryRoot()
	if err != nil {
		return nil, err
	}
	in := &inputs{root: root, cache: os.Getenv("COCOON_CACHE")}
	if in.cache == "" {
		dir, err := os.UserCacheDir()
		if err != nil {
			return nil, err
		}
		in.cache = filepath.Join(dir, "cocoon")
	}
	if in.recipe, err = recipe.Load(pipeline.RecipePath(root)); err != nil {
		return nil, err
	}
	if in.lock, err = lock.Load(pipeline.LockPath(root)); err != nil {
		return nil, err
	}
	in.store, err = fetch.Open(pipeline.StoreDir(in.cache))
	return in, err
}

func repositoryRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; dir != "/"; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
	}
	return "", errors.New("no go.mod above the working folder")
}

// file is one file of one package.
func (in *inputs) file(ctx context.Context, a lock.Artefact, name string) ([]byte, error) {
	tree, err := in.tree(ctx, []lock.Artefact{a}, deb.Selection{Globs: []string{name}})
	if err != nil {
		return nil, err
	}
	n, ok := tree.Get(name)
	if !ok {
		return nil, fmt.Errorf("%s has no %s", a.Label(), name)
	}
	return n.Content.ReadAll()
}

// unpack is the tree of a group of the lock; nil drops nothing.
func (in *inputs) unpack(ctx context.Context, group string, drop []string) (*rootfs.Tree, error) {
	return in.tree(ctx, in.lock.InGroup(group), deb.Selection{Drop: drop})
}

func (in *inputs) tree(ctx context.Context, artefacts []lock.Artefact, sel deb.Selection) (*rootfs.Tree, error) {
	if err := in.store.Ensure(ctx, artefacts, fetch.Options{}); err != nil {
		return nil, err
	}
	var sources []deb.Source
	for _, a := range artefacts {
		name, _ := in.store.Path(a.SHA256)
		sources = append(sources, deb.Source{Path: name, SHA256: a.SHA256, Selection: sel})
	}
	return deb.UnpackAll(ctx, sources, 0, filepath.Join(in.cache, "deb"))
}

// needs skips unless the group is wanted, and returns the inputs.
func needs(t *testing.T) *inputs {
	t.Helper()
	if !Wants(group) {
		t.Skipf("starts virtual machines: set COCOON_TEST=%s", group)
	}
	in, err := locked()
	if err != nil {
		t.Fatalf("preparing the locked inputs: %v", err)
	}
	return in
}

// scratch is a folder with a short name: sockets lie in it, whose paths the kernel bounds at 107 bytes.
func scratch(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "cocoon-boot-") //nolint:usetesting // t.TempDir's names are too long for sockets
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the machine's files are kept in %s", dir)
			return
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func write(t *testing.T, dir, name string, data []byte) string {
	t.Helper()
	name = filepath.Join(dir, name)
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// dumpInitrd is an archive whose init is dumpinit, with the modules that it loads.
var dumpInitrd = sync.OnceValues(func() ([]byte, error) {
	in, err := locked()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "cocoon-dumpinit-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // in the temporary folder
	ctx, cancel := context.WithTimeout(context.Background(), prepareLimit)
	defer cancel()
	name := filepath.Join(dir, "init")
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", name, "./tests/boot/dumpinit")
	build.Dir, build.Env = in.root, append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64", "GOFLAGS=")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("building dumpinit: %w\n%s", err, out)
	}
	binary, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	mods, err := in.kernel.Modules([]string{"efivarfs", "qemu_fw_cfg"})
	if err != nil {
		return nil, err
	}
	tree := rootfs.New()
	add := func(name string, n *rootfs.Inode) { err = errors.Join(err, tree.Add(name, n)) }
	add("init", &rootfs.Inode{Type: rootfs.File, Mode: 0o755, Content: rootfs.Bytes(binary)})
	add("dev/console", &rootfs.Inode{Type: rootfs.CharDevice, Mode: 0o600, Major: 5, Minor: 1})
	for _, m := range mods {
		add("lib/modules/"+m.File, &rootfs.Inode{Type: rootfs.File, Mode: 0o644, Content: rootfs.Bytes(m.Data)})
	}
	if err != nil {
		return nil, err
	}
	return initrd.Encode(tree)
})

// emulator is a QEMU to test with.
type emulator struct {
	*probe.QEMU
	origin string
}

// patchesKernel tells whether firmware gets only the kernel that QEMU changed: from version 10 on there is a clean one.
func (e emulator) patchesKernel() bool {
	major, _, _ := strings.Cut(e.Version, ".")
	n, err := strconv.Atoi(major)
	return err == nil && n < 10
}

// installedQEMU is the machine's own.
func installedQEMU(t *testing.T) emulator {
	t.Helper()
	q, err := probe.Find(t.Context(), "")
	if err != nil {
		t.Skipf("no QEMU: %v", err)
	}
	return emulator{q, "installed"}
}

// lockedQEMU is the QEMU of a group of the lock, run from a folder without installing it.
func lockedQEMU(t *testing.T, in *inputs, group string) emulator {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), prepareLimit)
	defer cancel()
	a, err := in.lock.Find(group, lock.Deb, "qemu-system-x86")
	if err != nil {
		t.Skipf("the lock has no other QEMU: %v", err)
	}
	root := filepath.Join(in.cache, "test-qemu", a.SHA256)
	if _, err := os.Stat(root); err != nil {
		if err := in.makeQEMU(ctx, group, root); err != nil {
			t.Fatal(err)
		}
	}
	q, err := probe.Find(ctx, write0755(t, scratch(t), "qemu-system-x86_64", wrapper(root)))
	if err != nil {
		t.Fatalf("starting QEMU from %s: %v", root, err)
	}
	if !strings.Contains(a.Version, q.Version) {
		t.Fatalf("the QEMU in %s says it is %s, the lock names %s", root, q.Version, a.Version)
	}
	return emulator{q, "locked"}
}

// makeQEMU unpacks a group of the lock; the folder appears whole or not at all.
func (in *inputs) makeQEMU(ctx context.Context, group, root string) error {
	tree, err := in.unpack(ctx, group, []string{"usr/share/doc/**", "usr/share/icons/**", "usr/lib/udev/**"})
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(root), 0o755); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(filepath.Dir(root), "unpack-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp) //nolint:errcheck // renamed on success
	if _, err := buildroot.Create(ctx, tmp, tree); err != nil {
		return err
	}
	return os.Rename(tmp, root)
}

// wrapper is a script that runs a folder's QEMU with the folder's loader, libraries, modules and data, so that it
// needs neither privileges nor a root of its own.
func wrapper(root string) []byte {
	return fmt.Appendf(nil, `#!/bin/sh
r='%s'
export QEMU_MODULE_DIR="$r/usr/lib/x86_64-linux-gnu/qemu"
exec "$r/usr/lib64/ld-linux-x86-64.so.2" --library-path "$r/usr/lib/x86_64-linux-gnu" \
  "$r/usr/bin/qemu-system-x86_64" -L "$r/usr/share/qemu" -L "$r/usr/share/seabios" "$@"
`, root)
}

func write0755(t *testing.T, dir, name string, data []byte) string {
	t.Helper()
	name = write(t, dir, name, data)
	if err := os.Chmod(name, 0o755); err != nil {
		t.Fatal(err)
	}
	return name
}
