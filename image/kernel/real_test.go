package kernel_test

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cocoon/image/deb"
	"cocoon/image/kernel"
	"cocoon/image/recipe"
	"cocoon/image/rootfs"
	"cocoon/measure/bootfiles"
)

// TestPinnedKernel reads the pinned package when COCOON_TEST_KERNEL names its file (image.md sections 3 and 5).
func TestPinnedKernel(t *testing.T) {
	file := os.Getenv("COCOON_TEST_KERNEL")
	if file == "" {
		t.Skip("needs the pinned linux-image package: set COCOON_TEST_KERNEL to its path")
	}
	tree := rootfs.New()
	if err := deb.Unpack(t.Context(), file, deb.Selection{}, tree, t.TempDir()); err != nil {
		t.Fatal(err)
	}
	k, err := kernel.FromTree(tree)
	if err != nil {
		t.Fatal(err)
	}
	image, err := k.Vmlinuz()
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(image)
	if got := hex.EncodeToString(sum[:]); got != "fb44deb1b865c78a7157fc6da7e9da7be5e253e056d229b54ba90d13d6df525f" {
		t.Errorf("vmlinuz has SHA-256 %s", got)
	}
	t.Run("order of the base set", func(t *testing.T) {
		want := []string{
			"virtio_blk", "failover", "net_failover", "virtio_net", "dm_mod", "dm_bufio", "reed_solomon", "dm_verity", "erofs",
			"vsock", "vmw_vsock_virtio_transport_common", "vmw_vsock_virtio_transport", "configfs", "tsm_report", "tdx_guest",
			"overlay", "qemu_fw_cfg", "virtio_rng",
		}
		wanted := []string{"virtio_blk", "virtio_net", "dm_verity", "erofs", "vmw_vsock_virtio_transport", "tdx_guest", "overlay", "qemu_fw_cfg", "virtio_rng"}
		mods, err := k.Modules(wanted)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, m := range mods {
			got = append(got, m.Name)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("order (-want +got):\n%s", diff)
		}
	})
	r, err := recipe.Load("../../mkosi")
	if err != nil {
		t.Fatal(err)
	}
	if r.Kernel.Version != k.Version {
		t.Errorf("the recipe names kernel %s, the package is %s", r.Kernel.Version, k.Version)
	}
	for _, img := range r.Images {
		for _, v := range []bootfiles.Variant{bootfiles.Production, bootfiles.Debug, bootfiles.Test} {
			mods, err := k.Modules(img.Modules(v))
			if err != nil {
				t.Errorf("%s %s: %v", img.Name, v, err)
				continue
			}
			size := 0
			for _, m := range mods {
				size += len(m.Data)
			}
			t.Logf("%s %s: %d modules, %d bytes", img.Name, v, len(mods), size)
		}
	}
}
