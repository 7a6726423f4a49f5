// Package mounts is the guest's initial namespace as a list of values: kernel file systems, writable memory and the
// directories that later stages rely on (image.md section 15, stage 2).
//
// It owns which file systems exist in PID 1's namespace and with which flags: everything that can be is nosuid,
// nodev and noexec. It trusts the kernel and nothing else; no entry depends on host input. Values are plain data;
// Apply is called once, from one goroutine. It refuses to go on after the first entry that cannot be made.
package mounts

import (
	"fmt"
	"os"

	"github.com/u-root/u-root/pkg/mount"
	"golang.org/x/sys/unix"
)

// Kernel makes directories and mounts; Linux is the real one.
type Kernel interface {
	Mkdir(path string, mode os.FileMode) error
	Mount(m Mount) error
}

// Entry is one thing that Apply makes.
type Entry interface {
	Create(k Kernel) error
	String() string
}

// Dir is a directory, made with its parents when absent.
type Dir struct {
	Path string
	Mode os.FileMode
}

// Create makes the directory.
func (d Dir) Create(k Kernel) error { return k.Mkdir(d.Path, d.Mode) }

// String describes the entry in errors and tests.
func (d Dir) String() string { return fmt.Sprintf("directory %s mode %#o", d.Path, d.Mode) }

// Mount is one file system; its target is made when absent.
type Mount struct {
	// Source is a device path, or the type's name for kernel file systems.
	Source string
	Target string
	FSType string
	// Flags are MS_* bits.
	Flags uintptr
	// Data is the file system's own option string.
	Data string
}

// Create makes the mount point and mounts.
func (m Mount) Create(k Kernel) error {
	if err := k.Mkdir(m.Target, 0o755); err != nil {
		return err
	}
	return k.Mount(m)
}

// String describes the entry in errors and tests.
func (m Mount) String() string {
	return fmt.Sprintf("%s %s on %s flags %#x options %q", m.FSType, m.Source, m.Target, m.Flags, m.Data)
}

const (
	// inert is what every file system that holds no program and no device gets.
	inert = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	// LayerFlags are the flags of every verity layer (image.md section 6.2).
	LayerFlags = unix.MS_RDONLY | unix.MS_NODEV | unix.MS_NOSUID
	// RunDir holds the status document and the attestation log.
	RunDir = "/run/cocoon"
)

// Namespace lists what exists before any module is loaded, in order.
func Namespace() []Entry {
	return []Entry{
		Mount{Source: "devtmpfs", Target: "/dev", FSType: "devtmpfs", Flags: unix.MS_NOSUID | unix.MS_NOEXEC, Data: "mode=0755"},
		Mount{Source: "proc", Target: "/proc", FSType: "proc", Flags: inert},
		Mount{Source: "sysfs", Target: "/sys", FSType: "sysfs", Flags: inert},
		Mount{Source: "tmpfs", Target: "/run", FSType: "tmpfs", Flags: inert, Data: "mode=0755,size=64m"},
		Mount{Source: "tmpfs", Target: "/tmp", FSType: "tmpfs", Flags: inert, Data: "mode=1777,size=64m"},
		Mount{Source: "tmpfs", Target: "/dev/shm", FSType: "tmpfs", Flags: inert, Data: "mode=1777"},
		Mount{Source: "cgroup2", Target: "/sys/fs/cgroup", FSType: "cgroup2", Flags: inert},
		Mount{Source: "securityfs", Target: "/sys/kernel/security", FSType: "securityfs", Flags: inert},
		Dir{Path: RunDir, Mode: 0o755},
		Dir{Path: "/run/layers", Mode: 0o755},
	}
}

// AfterModules lists what needs a module first: configfs carries the quote interface (configfs/tsm).
func AfterModules() []Entry {
	return []Entry{
		Mount{Source: "configfs", Target: "/sys/kernel/config", FSType: "configfs", Flags: inert},
	}
}

// Apply makes the entries in order and names the one that fails.
func Apply(k Kernel, entries []Entry) error {
	for _, e := range entries {
		if err := e.Create(k); err != nil {
			return fmt.Errorf("making %s: %w", e, err)
		}
	}
	return nil
}

// Linux makes entries with system calls.
type Linux struct{}

// Mkdir makes a directory with its parents; one that exists is left alone.
func (Linux) Mkdir(path string, mode os.FileMode) error { return os.MkdirAll(path, mode) }

// Mount mounts one file system.
func (Linux) Mount(m Mount) error {
	_, err := mount.Mount(m.Source, m.Target, m.FSType, m.Data, m.Flags)
	return err
}
