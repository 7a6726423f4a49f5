package sandbox

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	// stageDir is where the root is composed before it is moved over "/"; any existing folder does, because the mount
	// namespace is new. /run is a tmpfs in the guest.
	stageDir = "/run"
	// guarded is how everything without programs or devices is mounted.
	guarded = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
)

// mountStep is one mount of the sandbox's root; target is relative to the new root.
type mountStep struct {
	source, target, kind string
	flags                uintptr
	data                 string
}

// composeRoot builds the engine's root and moves it over this namespace's "/". The caller's own root stays what it
// was; only the third step changes root (pivot_root does not work from an initramfs).
func composeRoot(spec Spec) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("making mounts private: %w", err)
	}
	lower, err := openLayers(spec.Lower)
	if err != nil {
		return err
	}
	binds, err := openBinds(spec.Binds)
	if err != nil {
		return err
	}
	scratch := fmt.Sprintf("mode=0755,size=%d", spec.ScratchBytes)
	if err := unix.Mount("tmpfs", stageDir, "tmpfs", unix.MS_NOSUID, scratch); err != nil {
		return fmt.Errorf("mounting scratch: %w", err)
	}
	root := filepath.Join(stageDir, "root")
	for _, d := range []string{root, filepath.Join(stageDir, "upper"), filepath.Join(stageDir, "work")} {
		if err := os.Mkdir(d, 0o755); err != nil {
			return fmt.Errorf("making %s: %w", d, err)
		}
	}
	options := fmt.Sprintf("lowerdir=%s,upperdir=%s/upper,workdir=%s/work", strings.Join(lower, ":"), stageDir, stageDir)
	if err := unix.Mount("overlay", root, "overlay", unix.MS_NOSUID|unix.MS_NODEV, options); err != nil {
		return fmt.Errorf("mounting root overlay: %w", err)
	}
	if err := populate(root, spec, binds); err != nil {
		return err
	}
	if err := unix.Chdir(root); err != nil {
		return fmt.Errorf("entering new root: %w", err)
	}
	if err := unix.Mount(".", "/", "", unix.MS_MOVE, ""); err != nil {
		return fmt.Errorf("moving new root: %w", err)
	}
	// From here on "." is the new root for the third step, which inherits it.
	return nil
}

// openLayers returns paths that stay valid after the scratch tmpfs hides the folder the layers are mounted in.
func openLayers(dirs []string) ([]string, error) {
	out := make([]string, len(dirs))
	for i, d := range dirs {
		p, err := pin(d)
		if err != nil {
			return nil, fmt.Errorf("opening layer: %w", err)
		}
		out[i] = p
	}
	return out, nil
}

func openBinds(binds []Bind) ([]Bind, error) {
	out := make([]Bind, len(binds))
	for i, b := range binds {
		p, err := pin(b.Source)
		if err != nil {
			return nil, fmt.Errorf("opening bind: %w", err)
		}
		out[i] = Bind{Source: p, Target: b.Target, Writable: b.Writable}
	}
	return out, nil
}

// pin opens a folder and names it by descriptor. The descriptor is closed by the exec of the third step.
func pin(dir string) (string, error) {
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", &os.PathError{Op: "open", Path: dir, Err: err}
	}
	return fmt.Sprintf("/proc/self/fd/%d", fd), nil
}

func populate(root string, spec Spec, binds []Bind) error {
	size := fmt.Sprintf("size=%d", spec.ScratchBytes)
	steps := []mountStep{
		{"proc", "proc", "proc", guarded, ""},
		{"tmpfs", "dev", "tmpfs", unix.MS_NOSUID | unix.MS_NOEXEC, "mode=0755,size=64k"},
		{"tmpfs", "dev/shm", "tmpfs", guarded, "mode=1777," + size},
		{"tmpfs", "tmp", "tmpfs", unix.MS_NOSUID | unix.MS_NODEV, "mode=1777," + size},
		{"tmpfs", "run", "tmpfs", guarded, "mode=0755,size=1m"},
		{"tmpfs", "sys", "tmpfs", guarded, "mode=0755,size=64k"},
	}
	for _, s := range steps {
		if err := s.mount(root); err != nil {
			return err
		}
	}
	for _, d := range append(baseDevices(), spec.Devices...) {
		if err := makeDevice(root, d); err != nil {
			return err
		}
	}
	for _, dir := range visibleSysfs() {
		if err := bind(root, Bind{Source: dir, Target: dir}); err != nil {
			return err
		}
	}
	for _, b := range binds {
		if err := bind(root, b); err != nil {
			return err
		}
	}
	for _, dir := range []string{"sys", "dev", "proc/sys"} {
		if err := sealMount(filepath.Join(root, dir)); err != nil {
			return err
		}
	}
	return nil
}

func (s mountStep) mount(root string) error {
	target := filepath.Join(root, s.target)
	if err := os.MkdirAll(target, 0o755); err != nil {
		return fmt.Errorf("making mount point: %w", err)
	}
	if err := unix.Mount(s.source, target, s.kind, s.flags, s.data); err != nil {
		return fmt.Errorf("mounting %s on /%s: %w", s.kind, s.target, err)
	}
	return nil
}

// visibleSysfs is what engines ask about the machine: processor counts and memory nodes.
func visibleSysfs() []string {
	return []string{"/sys/devices/system/cpu", "/sys/devices/system/node"}
}

func baseDevices() []Device {
	return []Device{{"/dev/null", 1, 3}, {"/dev/zero", 1, 5}, {"/dev/full", 1, 7}, {"/dev/random", 1, 8}, {"/dev/urandom", 1, 9}}
}

func makeDevice(root string, d Device) error {
	name := filepath.Join(root, d.Path)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return fmt.Errorf("making device folder: %w", err)
	}
	if err := unix.Mknod(name, unix.S_IFCHR|0o666, int(unix.Mkdev(d.Major, d.Minor))); err != nil { //nolint:gosec // device numbers are 32 bits
		return fmt.Errorf("making device %s: %w", d.Path, err)
	}
	if err := os.Chmod(name, 0o666); err != nil { // the umask took bits away
		return fmt.Errorf("making device %s: %w", d.Path, err)
	}
	return nil
}

func bind(root string, b Bind) error {
	target := filepath.Join(root, b.Target)
	if err := os.MkdirAll(target, 0o755); err != nil {
		return fmt.Errorf("making bind target: %w", err)
	}
	if err := unix.Mount(b.Source, target, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("binding on %s: %w", b.Target, err)
	}
	flags := uintptr(unix.MS_BIND | unix.MS_REMOUNT | unix.MS_NOSUID | unix.MS_NODEV)
	if !b.Writable {
		flags |= unix.MS_RDONLY
	}
	if err := unix.Mount("", target, "", flags, ""); err != nil {
		return fmt.Errorf("restricting bind %s: %w", b.Target, err)
	}
	return nil
}

// sealMount makes a folder of the new root read-only for good: its mount, or a bind of itself where it is none.
func sealMount(dir string) error {
	if err := unix.Mount(dir, dir, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("binding %s on itself: %w", dir, err)
	}
	flags := uintptr(unix.MS_BIND | unix.MS_REMOUNT | unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NOEXEC)
	if err := unix.Mount("", dir, "", flags, ""); err != nil {
		return fmt.Errorf("making %s read-only: %w", dir, err)
	}
	return nil
}
