package nvidia

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"cocoon/image/buildroot"
	"cocoon/image/kernel"
	"cocoon/image/rootfs"
)

const (
	// sourceArchive is where Debian's nvidia-open-kernel-source has the modules' source.
	sourceArchive = "usr/src/nvidia-open-kernel.tar.xz"
	// sourceDir is the source's folder below buildDir.
	buildDir  = "build"
	sourceDir = buildDir + "/modules/nvidia-open-kernel"
	// compileDeadline bounds make; it takes 2.5 minutes on two cores.
	compileDeadline = time.Hour
	stripDeadline   = 5 * time.Minute
	// builder stands for user and host in what the compilation records.
	builder = "cocoon"
)

// wanted are the modules: file that make leaves, and the kernel's name of it. No DRM, modeset or peermem.
var wanted = []struct{ file, name string }{ //nolint:gochecknoglobals // constant table
	{"nvidia.ko", "nvidia"},
	{"nvidia-uvm.ko", "nvidia_uvm"},
}

// ModulesSpec says for which kernel and of which driver modules are compiled.
type ModulesSpec struct {
	Toolchain Toolchain
	Release   string // uname -r of the guest's kernel: "6.18.15+deb13-cloud-amd64"
	Driver    string // "550.163.01"
	Epoch     int64  // the build's clock, in seconds
}

// Module is one compiled and stripped kernel module.
type Module struct {
	File string // name with underscores, as bootfiles wants it: "nvidia_uvm.ko"
	Data []byte
}

// BuildModules compiles the modules and returns them in loading order. Without a GPU nvidia.ko answers finit_module with
// ENODEV, and nvidia_uvm.ko then fails on unknown symbols nvUvmInterface*: that is how the path is tested without one.
func BuildModules(ctx context.Context, s ModulesSpec) (out []Module, err error) {
	defer func() { err = errors.Join(err, s.Toolchain.clean()) }()
	root, common, err := s.prepare(ctx)
	if err != nil {
		return nil, fmt.Errorf("preparing the kernel modules: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, compileDeadline)
	defer cancel()
	if err := s.make(ctx, root, common); err != nil {
		return nil, fmt.Errorf("compiling the kernel modules: %w", err)
	}
	for _, w := range wanted {
		m, err := s.finish(ctx, root, w.file, w.name)
		if err != nil {
			return nil, fmt.Errorf("finishing %s: %w", w.file, err)
		}
		out = append(out, m)
	}
	return out, nil
}

// prepare writes the root with the source in it and names the folder of common headers.
func (s ModulesSpec) prepare(ctx context.Context) (*buildroot.Root, string, error) {
	tree, err := s.Toolchain.tree(ctx)
	if err != nil {
		return nil, "", err
	}
	archive, ok := tree.Get(sourceArchive)
	if !ok || archive.Type != rootfs.File {
		return nil, "", fmt.Errorf("no package has %s", sourceArchive)
	}
	if _, ok := tree.Get(path.Join("usr/src", "linux-headers-"+s.Release)); !ok {
		return nil, "", fmt.Errorf("no package has the headers of %s", s.Release)
	}
	common := slices.DeleteFunc(tree.Children("usr/src"), func(n string) bool {
		return !strings.HasPrefix(n, "linux-headers-") || !strings.HasSuffix(n, "-common")
	})
	if len(common) != 1 {
		return nil, "", fmt.Errorf("packages have the common headers %q, want one folder", common)
	}
	if err := os.MkdirAll(s.Toolchain.Scratch, 0o755); err != nil {
		return nil, "", err
	}
	source, err := unpackSource(ctx, archive.Content, buildDir, filepath.Join(s.Toolchain.Scratch, "source.tar"))
	if err != nil {
		return nil, "", err
	}
	if err := s.checkDriver(source); err != nil {
		return nil, "", err
	}
	root, err := s.Toolchain.enter(ctx, tree)
	if err != nil {
		return nil, "", err
	}
	return root, common[0], root.Add(ctx, source)
}

// checkDriver compares the source's own version with the one asked for: GSP firmware and libraries must match it exactly.
func (s ModulesSpec) checkDriver(source *rootfs.Tree) error {
	const file = sourceDir + "/Kbuild"
	n, ok := source.Get(file)
	if !ok || n.Type != rootfs.File || n.Content.Size > 1<<20 {
		return fmt.Errorf("the source has no %s", file)
	}
	data, err := n.Content.ReadAll()
	if err != nil {
		return err
	}
	if want := fmt.Sprintf(`NV_VERSION_STRING=\"%s\"`, s.Driver); !strings.Contains(string(data), want) {
		return fmt.Errorf("the source is not of driver %s: %s does not say %s", s.Driver, file, want)
	}
	return nil
}

// make runs the driver's own makefile with everything fixed that it would ask the machine for.
func (s ModulesSpec) make(ctx context.Context, root *buildroot.Root, common string) error {
	jobs := s.Toolchain.Workers
	if jobs <= 0 {
		jobs = runtime.GOMAXPROCS(0)
	}
	return root.Run(ctx, buildroot.Command{
		Args: []string{
			"/usr/bin/make", fmt.Sprintf("-j%d", jobs), "modules",
			"NV_EXCLUDE_KERNEL_MODULES=nvidia-drm nvidia-modeset nvidia-peermem",
			"SYSSRC=/usr/src/" + common, "SYSOUT=/usr/src/linux-headers-" + s.Release, "KERNEL_UNAME=" + s.Release,
			"IGNORE_CC_MISMATCH=1", "CC=gcc-14", "LD=ld", "ARCH=x86_64", "TARGET_ARCH=x86_64",
		},
		Dir: "/" + sourceDir,
		Env: []string{
			"KBUILD_BUILD_TIMESTAMP=" + time.Unix(s.Epoch, 0).UTC().Format(time.UnixDate),
			"KBUILD_BUILD_USER=" + builder, "KBUILD_BUILD_HOST=" + builder,
			"NV_BUILD_USER=" + builder, "NV_BUILD_HOST=" + builder,
			fmt.Sprintf("SOURCE_DATE_EPOCH=%d", s.Epoch),
		},
		Log: s.Toolchain.Log,
	})
}

// finish strips a module and checks what it says about itself. The build id goes: it is a hash over debug data, which
// holds paths.
func (s ModulesSpec) finish(ctx context.Context, root *buildroot.Root, file, name string) (Module, error) {
	ctx, cancel := context.WithTimeout(ctx, stripDeadline)
	defer cancel()
	p := path.Join(sourceDir, file)
	err := root.Run(ctx, buildroot.Command{
		Args: []string{"/usr/bin/strip", "--strip-debug", "-R", ".note.gnu.build-id", "/" + p}, Dir: "/", Log: s.Toolchain.Log,
	})
	if err != nil {
		return Module{}, err
	}
	data, err := root.ReadFile(p)
	if err != nil {
		return Module{}, err
	}
	if err := CheckModule(data, name, s.Release); err != nil {
		return Module{}, err
	}
	return Module{File: name + ".ko", Data: data}, nil
}

// CheckModule refuses a module of another name or for another kernel. The version magic is the only check that the
// pinned kernel makes, too: it has no module versions.
func CheckModule(data []byte, name, release string) error {
	info, err := kernel.ParseInfo(data)
	if err != nil {
		return err
	}
	if info.Name != name {
		return fmt.Errorf("checking a module: it calls itself %q, want %q", info.Name, name)
	}
	if first, _, _ := strings.Cut(info.VersionMagic, " "); first != release {
		return fmt.Errorf("checking module %s: it is for kernel %q, want %q", name, first, release)
	}
	return nil
}
