package kernel

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/ulikunitz/xz"

	"cocoon/image/rootfs"
)

const release = "6.18.15+test-amd64"

// bzImage is the least that counts as a kernel image: a boot header.
func bzImage() string {
	image := make([]byte, 1024)
	image[0x1fe], image[0x1ff] = 0x55, 0xaa
	copy(image[0x202:], "HdrS")
	return string(image)
}

func compressed(t *testing.T, data []byte) string {
	t.Helper()
	var out bytes.Buffer
	w, err := xz.NewWriter(&out)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func module(name, depends string) []byte {
	return makeModule("license=GPL", "name="+name, "depends="+depends, "vermagic="+release+" SMP preempt mod_unload ")
}

// packageFiles is a small kernel package in one of the two layouts.
func packageFiles(t *testing.T, root string) map[string]string {
	t.Helper()
	dir := root + "/" + release
	return map[string]string{
		"boot/vmlinuz-" + release:           bzImage(),
		dir + "/modules.builtin":            "kernel/fs/ext4/ext4.ko\nkernel/crypto/xts.ko\n",
		dir + "/modules.order":              "kernel/a/leaf.ko\n",
		dir + "/kernel/a/leaf.ko.xz":        compressed(t, module("leaf", "")),
		dir + "/kernel/a/mid-dle.ko.xz":     compressed(t, module("mid_dle", "leaf,other-leaf")),
		dir + "/kernel/b/top.ko.xz":         compressed(t, module("top", "mid-dle,leaf,xts")),
		dir + "/kernel/b/other-leaf.ko":     string(module("other_leaf", "")),
		dir + "/kernel/b/round.ko.xz":       compressed(t, module("round", "about")),
		dir + "/kernel/b/about.ko.xz":       compressed(t, module("about", "round")),
		dir + "/kernel/b/lost.ko.xz":        compressed(t, module("lost", "gone")),
		dir + "/kernel/b/foreign.ko.xz":     compressed(t, makeModule("name=foreign", "depends=", "vermagic=6.1.0 SMP")),
		dir + "/kernel/b/misnamed.ko.xz":    compressed(t, module("other", "")),
		dir + "/kernel/b/damaged.ko.xz":     compressed(t, module("damaged", ""))[:90],
		dir + "/kernel/b/not-a-module.ko":   "text",
		"usr/share/doc/linux/copyright":     "GPL",
		"usr/share/bug/linux-image/control": "",
	}
}

func treeOf(t *testing.T, files map[string]string) *rootfs.Tree {
	t.Helper()
	tree := rootfs.New()
	for name, text := range files {
		if err := tree.Add(name, &rootfs.Inode{Type: rootfs.File, Mode: 0o644, Content: rootfs.Bytes([]byte(text))}); err != nil {
			t.Fatal(err)
		}
	}
	return tree
}

func open(t *testing.T) *Kernel {
	t.Helper()
	k, err := FromTree(treeOf(t, packageFiles(t, "usr/lib/modules")))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestBothPackageLayoutsGiveTheSameKernel(t *testing.T) {
	moved := packageFiles(t, "lib/modules")
	inside := packageFiles(t, "usr/lib/modules")
	inside["usr/lib/modules/"+release+"/vmlinuz"] = inside["boot/vmlinuz-"+release]
	delete(inside, "boot/vmlinuz-"+release)
	for name, files := range map[string]map[string]string{
		"usr/lib": packageFiles(t, "usr/lib/modules"), "lib": moved, "image beside modules": inside,
	} {
		k, err := FromTree(treeOf(t, files))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		image, err := k.Vmlinuz()
		if err != nil || string(image) != bzImage() || k.Version != release || !k.Builtin("ext4") || k.Builtin("leaf") {
			t.Errorf("%s: version %q, image of %d bytes, %v", name, k.Version, len(image), err)
		}
	}
}

func TestModulesComeAfterWhatTheyDependOn(t *testing.T) {
	k := open(t)
	for name, c := range map[string]struct{ wanted, order []string }{
		"dependencies first":     {[]string{"top"}, []string{"leaf", "other_leaf", "mid_dle", "top"}},
		"each once":              {[]string{"leaf", "top", "mid_dle"}, []string{"leaf", "other_leaf", "mid_dle", "top"}},
		"dashes are underscores": {[]string{"other-leaf"}, []string{"other_leaf"}},
		"built in is skipped":    {[]string{"xts", "leaf", "ext4"}, []string{"leaf"}},
		"nothing wanted":         {nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			mods, err := k.Modules(c.wanted)
			if err != nil {
				t.Fatal(err)
			}
			var order []string
			for _, m := range mods {
				order = append(order, m.Name)
				if m.File != m.Name+".ko" || !bytes.HasPrefix(m.Data, elfIdent) {
					t.Errorf("module %s: file %q, %d bytes that are no ELF", m.Name, m.File, len(m.Data))
				}
			}
			if diff := cmp.Diff(c.order, order); diff != "" {
				t.Errorf("order (-want +got):\n%s", diff)
			}
		})
	}
}

func TestModulesThatCannotLoadAreErrors(t *testing.T) {
	k := open(t)
	for name, want := range map[string]string{
		"nowhere":      "neither built into kernel " + release + " nor shipped",
		"lost":         "module gone: neither built into",
		"round":        "depends on itself",
		"foreign":      `built for kernel "6.1.0"`,
		"misnamed":     `calls itself "other"`,
		"damaged":      "decompressing",
		"not-a-module": "ELF",
		"../leaf":      "does not match",
	} {
		_, err := k.Modules([]string{name})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want one with %q", name, err, want)
		}
	}
	if _, err := k.Modules([]string{"lost"}); !strings.Contains(err.Error(), "needed by lost") {
		t.Errorf("error %v does not say who needs it", err)
	}
}

func TestPackagesThatAreNoKernelAreRefused(t *testing.T) {
	dir := "usr/lib/modules/" + release
	for name, c := range map[string]struct {
		change func(map[string]string)
		want   string
	}{
		"no modules folder": {func(m map[string]string) { clear(m) }, "no folder below"},
		"two kernels":       {func(m map[string]string) { m["usr/lib/modules/6.19.1/modules.builtin"] = "" }, "several kernels"},
		"no image":          {func(m map[string]string) { delete(m, "boot/vmlinuz-"+release) }, "linux-binary-" + release},
		"tiny image":        {func(m map[string]string) { m["boot/vmlinuz-"+release] = "MZ" }, "2 bytes"},
		"no builtin list":   {func(m map[string]string) { delete(m, dir+"/modules.builtin") }, "modules.builtin"},
		"odd builtin list":  {func(m map[string]string) { m[dir+"/modules.builtin"] = "kernel/x.o\n" }, "does not end in .ko"},
		"module twice":      {func(m map[string]string) { m[dir+"/kernel/c/mid_dle.ko"] = "" }, "shipped twice"},
		"compression":       {func(m map[string]string) { m[dir+"/kernel/c/x.ko.zst"] = "" }, "neither .ko nor .ko.xz"},
		"no modules": {func(m map[string]string) {
			for name := range m {
				if strings.HasPrefix(name, dir+"/kernel/") {
					delete(m, name)
				}
			}
		}, "linux-modules-" + release},
		"odd version": {func(m map[string]string) {
			clear(m)
			m["usr/lib/modules/latest/modules.builtin"] = ""
		}, `"latest"`},
	} {
		t.Run(name, func(t *testing.T) {
			files := packageFiles(t, "usr/lib/modules")
			c.change(files)
			_, err := FromTree(treeOf(t, files))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
		})
	}
}

func TestVmlinuzNeedsABootHeader(t *testing.T) {
	files := packageFiles(t, "usr/lib/modules")
	files["boot/vmlinuz-"+release] = strings.Repeat("\x00", 1024)
	k, err := FromTree(treeOf(t, files))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.Vmlinuz(); err == nil || !strings.Contains(err.Error(), "bzImage") {
		t.Errorf("error %v names no bzImage", err)
	}
}
