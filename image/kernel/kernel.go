// Package kernel takes the guest's kernel apart: the bootable image and the modules that an image loads, from the
// unpacked kernel package (image.md sections 3 and 5).
//
// It owns the module closure: names become files, files say what they depend on, and the result is one loading order,
// because Debian's package ships no modules.dep (depmod runs in a maintainer script). It reads both package layouts,
// the single linux-image and the split of 6.19 and later. The tree's bytes are pinned by the lock; every parser here
// is bounded all the same. A Kernel is read-only and safe for concurrent use. It refuses a name that is neither
// built in nor shipped, a module built for another kernel, and a circle of dependencies; it keeps no cache and
// writes nothing.
package kernel

import (
	"bytes"
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"cocoon/image/rootfs"
)

const (
	// maxVmlinuz bounds the kernel image; the pinned one is 13.6 MB.
	maxVmlinuz = 64 << 20
	// maxBuiltinList bounds modules.builtin; the pinned one is 5 kB.
	maxBuiltinList = 1 << 20
	// minVmlinuz is the smallest file that has the boot header of the x86 boot protocol.
	minVmlinuz = 0x264
)

// moduleRoots are where the two layouts keep modules: /lib is a link to /usr/lib on a merged system, a real folder in
// older packages.
//
//nolint:gochecknoglobals // a constant table
var moduleRoots = []string{"usr/lib/modules", "lib/modules"}

var versionRule = regexp.MustCompile(`^[0-9]+\.[0-9][A-Za-z0-9.+~_-]{0,100}$`)

// Kernel is one kernel version of a tree.
type Kernel struct {
	// Version is the release string: uname -r, and the first word of every module's version magic.
	Version string
	vmlinuz *rootfs.Inode
	builtin map[string]bool          // canonical names
	files   map[string]*rootfs.Inode // canonical name -> compressed or raw module
	paths   map[string]string        // canonical name -> path, for errors
}

// FromTree finds the one kernel of a tree of unpacked packages.
func FromTree(tree *rootfs.Tree) (*Kernel, error) {
	root, version, err := findVersion(tree)
	if err != nil {
		return nil, fmt.Errorf("reading kernel package: %w", err)
	}
	k := &Kernel{
		Version: version,
		builtin: make(map[string]bool),
		files:   make(map[string]*rootfs.Inode),
		paths:   make(map[string]string),
	}
	dir := path.Join(root, version)
	steps := []func(*rootfs.Tree, string) error{k.findVmlinuz, k.readBuiltin, k.findModules}
	for _, step := range steps {
		if err := step(tree, dir); err != nil {
			return nil, fmt.Errorf("reading kernel package %s: %w", version, err)
		}
	}
	return k, nil
}

// Vmlinuz is the bootable kernel image.
func (k *Kernel) Vmlinuz() ([]byte, error) {
	data, err := k.vmlinuz.Content.ReadAll()
	if err != nil {
		return nil, fmt.Errorf("reading kernel image: %w", err)
	}
	// Linux/x86 boot protocol: boot_flag at 0x1fe, header magic at 0x202.
	if data[0x1fe] != 0x55 || data[0x1ff] != 0xaa || !bytes.Equal(data[0x202:0x206], []byte("HdrS")) {
		return nil, errors.New("reading kernel image: no x86 boot header; it is not a bzImage")
	}
	return data, nil
}

// Builtin reports whether a module of this name is part of the kernel image.
func (k *Kernel) Builtin(name string) bool { return k.builtin[canonical(name)] }

// findVersion wants exactly one version below exactly one module folder.
func findVersion(tree *rootfs.Tree) (root, version string, err error) {
	var found []string
	for _, r := range moduleRoots {
		for _, v := range tree.Children(r) {
			found = append(found, path.Join(r, v))
		}
	}
	switch len(found) {
	case 0:
		return "", "", fmt.Errorf("no folder below %s", strings.Join(moduleRoots, " or "))
	case 1:
	default:
		return "", "", fmt.Errorf("several kernels in one tree: %s", strings.Join(found, ", "))
	}
	root, version = path.Split(found[0])
	if !versionRule.MatchString(version) {
		return "", "", fmt.Errorf("kernel version %q does not match %s", version, versionRule)
	}
	return path.Clean(root), version, nil
}

func (k *Kernel) findVmlinuz(tree *rootfs.Tree, dir string) error {
	for _, p := range []string{path.Join("boot", "vmlinuz-"+k.Version), path.Join(dir, "vmlinuz")} {
		n, ok := tree.Get(p)
		if !ok || n.Type != rootfs.File {
			continue
		}
		if n.Content.Size < minVmlinuz || n.Content.Size > maxVmlinuz {
			return fmt.Errorf("%s: %d bytes, want %d..%d", p, n.Content.Size, minVmlinuz, maxVmlinuz)
		}
		k.vmlinuz = n
		return nil
	}
	return fmt.Errorf("no boot/vmlinuz-%s; from 6.19 on it is in the package linux-binary-%s", k.Version, k.Version)
}

// readBuiltin reads modules.builtin: one path of a would-be module a line.
func (k *Kernel) readBuiltin(tree *rootfs.Tree, dir string) error {
	name := path.Join(dir, "modules.builtin")
	n, ok := tree.Get(name)
	if !ok || n.Type != rootfs.File {
		return fmt.Errorf("no %s", name)
	}
	if n.Content.Size > maxBuiltinList {
		return fmt.Errorf("%s: %d bytes, at most %d", name, n.Content.Size, maxBuiltinList)
	}
	data, err := n.Content.ReadAll()
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSuffix(line, "\n")
		if path.Ext(line) != ".ko" {
			return fmt.Errorf("%s: line %q does not end in .ko", name, line)
		}
		k.builtin[canonical(line)] = true
	}
	return nil
}

func (k *Kernel) findModules(tree *rootfs.Tree, dir string) error {
	for _, n := range tree.Nodes() {
		if n.Inode.Type != rootfs.File || !strings.HasPrefix(n.Path, dir+"/kernel/") {
			continue
		}
		if !slices.Contains(moduleSuffixes, suffix(n.Path)) {
			return fmt.Errorf("%s: neither %s", n.Path, strings.Join(moduleSuffixes, " nor "))
		}
		name := canonical(n.Path)
		if old, ok := k.paths[name]; ok {
			return fmt.Errorf("module %s is shipped twice: %s and %s", name, old, n.Path)
		}
		k.files[name], k.paths[name] = n.Inode, n.Path
	}
	if len(k.files) == 0 {
		return fmt.Errorf("no modules below %s/kernel; from 6.19 on they are in the package linux-modules-%s", dir, k.Version)
	}
	return nil
}

// moduleSuffixes are the forms of a module file that this package reads.
//
//nolint:gochecknoglobals // a constant table
var moduleSuffixes = []string{".ko", ".ko.xz"}

// suffix is everything from the first dot after the last dash-or-letter run: ".ko", ".ko.xz", ".ko.zst".
func suffix(p string) string {
	base := path.Base(p)
	if i := strings.Index(base, ".ko"); i >= 0 {
		return base[i:]
	}
	return path.Ext(base)
}

// canonical is the kernel's own name of a module: no folder, no suffix, underscores for dashes.
func canonical(p string) string {
	base := strings.TrimSuffix(path.Base(p), suffix(p))
	return strings.ReplaceAll(base, "-", "_")
}
