package device_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/u-root/u-root/pkg/cpio"

	"cocoon/measure/measuretest"
	"cocoon/measure/tdx"
	"cocoon/tests/golden"
	"cocoon/tests/inputs"
)

// machineLimit bounds the machine of this test; it needs 5 s under emulation.
const machineLimit = 2 * time.Minute

// lockedKernel is the kernel of the images.
func lockedKernel(t *testing.T) []byte {
	t.Helper()
	in, err := inputs.Open()
	if err != nil {
		t.Fatal(err)
	}
	tree, err := in.Group(t.Context(), in.Recipe.Kernel.Group)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range tree.Nodes() {
		if strings.HasPrefix(n.Path, "boot/vmlinuz-") {
			data, err := n.Inode.Content.ReadAll()
			if err != nil {
				t.Fatal(err)
			}
			return data
		}
	}
	t.Fatal("the kernel's package has no vmlinuz")
	return nil
}

// portMachine is an initrd with nothing but testdata/portinit in it.
func portMachine(t *testing.T) []byte {
	t.Helper()
	program := filepath.Join(t.TempDir(), "init")
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", program, "./guest/device/testdata/portinit")
	build.Dir, build.Env = golden.Root(t), append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	code, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	w := cpio.Newc.Writer(&out)
	for _, r := range []cpio.Record{
		cpio.Directory("dev", 0o755), cpio.CharDev("dev/console", 0o600, 5, 1), cpio.StaticFile("init", string(code), 0o755),
	} {
		if err := w.WriteRecord(r); err != nil {
			t.Fatal(err)
		}
	}
	if err := cpio.WriteTrailer(w); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// A machine without TDX and without udev finds its serial port by the name that QEMU gave it, and asks over it.
func TestAMachineReachesSoftwareTDXOverItsSerialPort(t *testing.T) {
	if !inputs.Wants("boot") {
		t.Skip("starts a virtual machine: set COCOON_TEST=boot")
	}
	qemu, err := exec.LookPath("qemu-system-x86_64")
	if err != nil {
		t.Skip("qemu-system-x86_64 is not in PATH")
	}
	dir := t.TempDir()
	kernel, initrd, socket := filepath.Join(dir, "vmlinuz"), filepath.Join(dir, "initrd"), filepath.Join(dir, "port")
	if err := errors.Join(os.WriteFile(kernel, lockedKernel(t), 0o600), os.WriteFile(initrd, portMachine(t), 0o600)); err != nil {
		t.Fatal(err)
	}
	p := platform(t)
	l, err := new(net.ListenConfig).Listen(t.Context(), "unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), machineLimit)
	defer cancel()
	accept(t, p.TD, l)
	out, err := exec.CommandContext(ctx, qemu, "-M", "q35", "-accel", "tcg", "-m", "256", "-nodefaults", "-display", "none",
		"-serial", "stdio", "-no-reboot", "-kernel", kernel, "-initrd", initrd, "-append", "console=ttyS0 quiet panic=-1",
		"-device", "virtio-serial-pci", "-chardev", "socket,id=simtd,path="+socket+",reconnect=1",
		"-device", "virtserialport,chardev=simtd,name=org.cocoon.simtd").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %.2000s", err, out)
	}
	checkMachine(t, string(out), p)
}

// checkMachine compares what the machine printed with what the platform holds.
func checkMachine(t *testing.T, console string, p *measuretest.Platform) {
	t.Helper()
	registers := regexp.MustCompile(`portinit: rtmr3 ([0-9a-f]{96}) log (\d+)`).FindStringSubmatch(console)
	quoted := regexp.MustCompile(`portinit: quote ([0-9a-f]+)`).FindStringSubmatch(console)
	if registers == nil || quoted == nil {
		t.Fatalf("the machine printed %.2000s", console)
	}
	want := tdx.Digest{}.Extend(tdx.Sum([]byte("cocoon:tdx_inited")))
	if registers[1] != want.String() || registers[2] != "65536" || p.Measurements().RTMR[3] != want {
		t.Errorf("the machine has RTMR3 %s and a log of %s bytes, the platform RTMR3 %s", registers[1], registers[2], p.Measurements().RTMR[3])
	}
	raw, err := hex.DecodeString(quoted[1])
	if err != nil {
		t.Fatal(err)
	}
	checkQuote(t, raw, [tdx.ReportDataSize]byte{1, 2, 3})
	if q, err := tdx.ParseQuote(raw); err != nil || q.TD.Measurements != p.Measurements() {
		t.Errorf("the quote is of other measurements: %v", err)
	}
}
