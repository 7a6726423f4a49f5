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
	"cocoon/image/deb"
	"cocoon/image/firmware"
	"cocoon/image/initrd"
	"cocoon/image/kernel"
	"cocoon/image/lock"
	"cocoon/image/pipeline"
	"cocoon/image/rootfs"
	"cocoon/tests/inputs"
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

// pinned are the files that machines are made of.
type pinned struct {
	*inputs.Inputs

	kernel        *kernel.Kernel
	vmlinuz, stub []byte
	// tdx is the firmware we ship, generic the build with TPM drivers of the same source.
	tdx, generic []byte
}

// locked fetches what the lock names, once for all tests.
var locked = sync.OnceValues(func() (*pinned, error) {
	ctx, cancel := context.WithTimeout(context.Background(), prepareLimit)
	defer cancel()
	open, err := inputs.Open()
	if err != nil {
		return nil, err
	}
	in := &pinned{Inputs: open}
	tree, err := in.Group(ctx, in.Recipe.Kernel.Group)
	if err != nil {
		return nil, err
	}
	if in.kernel, err = kernel.FromTree(tree); err != nil {
		return nil, err
	}
	if in.vmlinuz, err = in.kernel.Vmlinuz(); err != nil {
		return nil, err
	}
	f, s := in.Recipe.Firmware, in.Recipe.Stub
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
		if *want.into, err = in.File(ctx, want.group, want.pkg, want.path); err != nil {
			return nil, err
		}
	}
	in.tdx, err = firmware.Assemble(tdx, blank)
	return in, err
})

// olderFirmware is Debian 13's build with TPM drivers.
func (in *pinned) olderFirmware(ctx context.Context) ([]byte, error) {
	tree, err := in.Tree(ctx, []lock.Artefact{debian2025}, deb.Selection{Globs: []string{genericPath}})
	if err != nil {
		return nil, err
	}
	n, ok := tree.Get(genericPath)
	if !ok {
		return nil, fmt.Errorf("%s has no %s", debian2025.Label(), genericPath)
	}
	return n.Content.ReadAll()
}

// needs skips unless the group is wanted, and returns the inputs.
func needs(t *testing.T) *pinned {
	t.Helper()
	if !inputs.Wants(group) {
		t.Skipf("starts virtual machines: set COCOON_TEST=%s", group)
	}
	in, err := locked()
	if err != nil {
		t.Fatalf("preparing the locked inputs: %v", err)
	}
	return in
}

// needsTPM skips where the software TPM is not installed.
func needsTPM(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("swtpm"); err != nil {
		t.Skipf("no software TPM: install the package swtpm (%v)", err)
	}
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
	build.Dir, build.Env = in.Root, append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64", "GOFLAGS=")
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

// lockedVersions are the QEMUs of the lock.
var lockedVersions = []string{"10.0.13", "11.1.3"}

// lockedQEMU unpacks a QEMU of the lock and runs it where it lies.
func lockedQEMU(ctx context.Context, in *pinned, version string) (emulator, error) {
	ctx, cancel := context.WithTimeout(ctx, prepareLimit)
	defer cancel()
	q, err := pipeline.InstallQEMU(ctx, pipeline.Options{
		Root: in.Root, CacheDir: in.Cache, OutDir: filepath.Join(in.Cache, "test-out"),
	}, version, func(pipeline.Event) {})
	if err != nil {
		return emulator{}, err
	}
	found, err := probe.Find(ctx, q.Launcher)
	if err != nil {
		return emulator{}, fmt.Errorf("starting QEMU %s: %w", version, err)
	}
	if found.Version != version {
		return emulator{}, fmt.Errorf("the locked QEMU %s says it is %s", version, found.Version)
	}
	return emulator{found, "locked"}, nil
}
