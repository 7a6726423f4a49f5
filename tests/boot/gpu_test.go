package boot

import (
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	imagefs "cocoon/image/fs"
	"cocoon/image/initrd"
	"cocoon/image/manifest"
	"cocoon/image/rootfs"
	"cocoon/measure/bootfiles"
)

// gpuImage is the environment variable with the folder of a built worker-gpu image; empty is the checkout's own.
const gpuImage = "COCOON_GPU_IMAGE"

// TestGPUModulesLoadUpToTheMissingGPU takes the kernel and the gpu layer of a built image, hands both modules to that
// kernel in a machine without a GPU, and expects what image.md section 11 says: nvidia.ko is a module of this kernel and
// answers ENODEV, and nvidia_uvm.ko then misses the symbols of nvidia.ko. A module of another kernel would be ENOEXEC.
func TestGPUModulesLoadUpToTheMissingGPU(t *testing.T) {
	if !slices.Contains(strings.Split(os.Getenv("COCOON_TEST"), ","), "gpu") {
		t.Skip("needs a built worker-gpu image: run \"cocoon image build --variant gpu\", then set COCOON_TEST=gpu")
	}
	qemu, err := exec.LookPath("qemu-system-x86_64")
	if err != nil {
		t.Skip("QEMU is not installed")
	}
	dir := os.Getenv(gpuImage)
	if dir == "" {
		dir = "../../out/worker-gpu"
	}
	m, err := manifest.Load(dir)
	if err != nil {
		t.Fatalf("%v; set %s to the folder of a built worker-gpu image", err, gpuImage)
	}
	vmlinuz, ok := m.Artefact(manifest.KindKernel)
	if !ok {
		t.Fatal("the image has no kernel")
	}
	archive := filepath.Join(t.TempDir(), "initrd.cpio")
	if err := os.WriteFile(archive, gpuInitrd(t, dir, m), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, qemu, "-machine", "q35,accel=tcg", "-m", "1500", "-nodefaults", "-display", "none",
		"-serial", "stdio", "-no-reboot", "-kernel", filepath.Join(dir, vmlinuz.Name), "-initrd", archive,
		"-append", "console=ttyS0 quiet panic=-1").CombinedOutput()
	if err != nil {
		t.Fatalf("running QEMU: %v\n%s", err, tail(string(out)))
	}
	for name, errno := range map[string]unix.Errno{"nvidia.ko": unix.ENODEV, "nvidia_uvm.ko": unix.ENOENT} {
		if want := "MODULE " + name + " "; !strings.Contains(string(out), want+strconv.Itoa(int(errno))+"\r") {
			t.Errorf("%s did not answer %v; console:\n%s", name, errno, tail(string(out)))
		}
	}
}

// gpuInitrd holds the two modules of the image's gpu layer and a program that loads them.
func gpuInitrd(t *testing.T, dir string, m *manifest.Manifest) []byte {
	t.Helper()
	init := filepath.Join(t.TempDir(), "init")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", init, "./testdata/modprobe")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("compiling the loader: %v\n%s", err, out)
	}
	program, err := os.ReadFile(init)
	if err != nil {
		t.Fatal(err)
	}
	tree := rootfs.New()
	add := func(name string, n *rootfs.Inode) {
		if err := tree.Add(name, n); err != nil {
			t.Fatal(err)
		}
	}
	add("init", &rootfs.Inode{Type: rootfs.File, Mode: 0o755, Content: rootfs.Bytes(program)})
	add("dev/console", &rootfs.Inode{Type: rootfs.CharDevice, Mode: 0o600, Major: 5, Minor: 1})
	i := slices.IndexFunc(m.Layers, func(l bootfiles.Layer) bool { return l.Role == bootfiles.RoleGPU })
	if i < 0 {
		t.Fatal("the image has no gpu layer")
	}
	f, err := os.Open(filepath.Join(dir, "layer-"+m.Layers[i].ID+".img"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // read side
	layer, err := imagefs.Open(f, int64(m.Layers[i].DataBlocks)*imagefs.BlockSize)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"nvidia.ko", "nvidia_uvm.ko"} {
		e, ok := layer.Stat("usr/lib/modules/nvidia/" + name)
		if !ok {
			t.Fatalf("the gpu layer has no %s", name)
		}
		data, err := io.ReadAll(e.Content())
		if err != nil {
			t.Fatal(err)
		}
		add(name, &rootfs.Inode{Type: rootfs.File, Mode: 0o644, Content: rootfs.Bytes(data)})
	}
	var out bytes.Buffer
	if err := initrd.Write(&out, tree); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}
