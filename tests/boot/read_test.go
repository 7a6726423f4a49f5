package boot

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cocoon/guest/storage"
	"cocoon/image/initrd"
	"cocoon/image/model"
	"cocoon/image/rootfs"
	"cocoon/image/uki"
	"cocoon/measure/bootfiles"
	"cocoon/measure/launch"
)

// largeFile is the file that readinit times; largeSize is what an emulated processor hashes in seconds.
const (
	largeFile = "large.bin"
	largeSize = 12 << 20
)

// readReport is readinit's.
type readReport struct {
	Files   map[string]string
	Millis  map[string]float64
	Members int
}

// readWays are readinit's ways of reading, in the order of the table.
func readWays() []string {
	return []string{"open", "sequential", "mmap backward", "backward in 1 MiB", "80 small reads", "sequential, cached"}
}

// TestModelFormsReadAlike opens the same files as an EROFS volume and as the reference's archive, in one machine and as a
// worker opens them: every file has the same bytes in both. How fast each way of reading is gets printed.
func TestModelFormsReadAlike(t *testing.T) {
	t.Parallel()
	s := newSubject(t, workerImage, bootfiles.Test, launch.BootUKI)
	folder, want := readableModel(t)
	image := filepath.Join(s.dir, "model.img")
	erofs, err := model.Build(t.Context(), folder, image, testModel())
	if err != nil {
		t.Fatal(err)
	}
	joinedTar, tar := joined(t, s.dir, folder)
	s.machine.Paths.Disks[launch.SerialModel] = image
	s.withConfig(func(data []byte) []byte { return data })
	s.machine.Extra = []string{
		"-blockdev", "driver=file,node-name=tar,read-only=on,filename=" + joinedTar,
		"-device", "virtio-blk-pci,drive=tar,serial=model-tar",
	}
	volume := func(name string, d *model.Description) storage.Volume {
		return storage.Volume{
			Name: name, DataBlocks: d.DataBlocks, HashStartBlock: d.DataBlocks + 1, HashBlocks: bootfiles.TreeBlocks(d.DataBlocks),
			RootHash: d.RootHash, Salt: d.Salt, Mount: "/" + name, OnError: storage.ReturnErrors, Archive: d.Format == model.Tar, Identity: d.Identity,
		}
	}
	s.machine.Paths.UKI = s.reader(t, volume(launch.SerialModel, erofs), volume("model-tar", tar))
	dump, err := s.machine.Dump(t.Context(), s.dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	if text, bad := dump.Errors["result.json"]; bad {
		t.Fatal(text)
	}
	var got map[string]readReport
	if err := json.Unmarshal(dump.Files["result.json"], &got); err != nil {
		t.Fatal(err)
	}
	for _, form := range []string{launch.SerialModel, "model-tar"} {
		if diff := cmp.Diff(want, got[form].Files); diff != "" {
			t.Errorf("%s (-want +got):\n%s", form, diff)
		}
	}
	if n := got["model-tar"].Members; n != len(want)+2 { // the root and one folder
		t.Errorf("the archive's index has %d members", n)
	}
	t.Logf("%d MiB, emulated processor, nothing cached unless said so:%s", largeSize>>20, table(got))
}

// table shows both forms beside each other.
func table(got map[string]readReport) string {
	var out strings.Builder
	fmt.Fprintf(&out, "\n%-20s %12s %12s", "", "erofs", "tar")
	for _, way := range readWays() {
		fmt.Fprintf(&out, "\n%-20s", way)
		for _, form := range []string{launch.SerialModel, "model-tar"} {
			ms := got[form].Millis[way]
			if strings.Contains(way, "small") || way == "open" {
				fmt.Fprintf(&out, " %9.1f ms", ms)
				continue
			}
			fmt.Fprintf(&out, " %7.0f MB/s", largeSize/1e3/ms)
		}
	}
	return out.String()
}

// readableModel makes a folder with one large file and several small ones, and says what their hashes are.
func readableModel(t *testing.T) (string, map[string]string) {
	t.Helper()
	dir, want := t.TempDir(), make(map[string]string)
	source := rand.NewChaCha8([32]byte{7})
	for name, size := range map[string]int{largeFile: largeSize + 77, "config.json": 700, "empty": 0, "sub/tokenizer.json": 70001, "z": 1} {
		data := make([]byte, size)
		_, _ = source.Read(data)
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(data)
		want[name] = hex.EncodeToString(sum[:])
	}
	return dir, want
}

// reader is a kernel image whose init is readinit, with its modules and volumes.
func (s *subject) reader(t *testing.T, volumes ...storage.Volume) string {
	t.Helper()
	in := needs(t)
	ctx, cancel := context.WithTimeout(t.Context(), prepareLimit)
	defer cancel()
	program := filepath.Join(s.dir, "readinit")
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", program, "./tests/boot/readinit")
	build.Dir, build.Env = in.Root, append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64", "GOFLAGS=")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building readinit: %v\n%s", err, out)
	}
	binary, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	mods, err := in.kernel.Modules([]string{"virtio_blk", "dm_verity", "erofs", "loop"})
	if err != nil {
		t.Fatal(err)
	}
	tree := rootfs.New()
	add := func(name string, mode uint32, data []byte) {
		err = errors.Join(err, tree.Add(name, &rootfs.Inode{Type: rootfs.File, Mode: mode, Content: rootfs.Bytes(data)}))
	}
	add("init", 0o755, binary)
	add("volumes.json", 0o644, encode(t, volumes))
	var order []byte
	for _, m := range mods {
		add("lib/modules/"+m.File, 0o644, m.Data)
		order = append(order, m.File+"\n"...)
	}
	add("modules", 0o644, order)
	err = errors.Join(err, tree.Add("dev/console", &rootfs.Inode{Type: rootfs.CharDevice, Mode: 0o600, Major: 5, Minor: 1}))
	if err != nil {
		t.Fatal(err)
	}
	archive, err := initrd.Encode(tree)
	if err != nil {
		t.Fatal(err)
	}
	kernel, err := uki.Build(in.stub, uki.Sections{Cmdline: []byte("console=ttyS0 quiet panic=-1"), Initrd: archive, Linux: in.vmlinuz})
	if err != nil {
		t.Fatal(err)
	}
	return write(t, s.dir, ukiFile, kernel)
}
