package storage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
	"time"
)

const (
	// maxAttribute bounds one sysfs attribute; a page is all the kernel gives.
	maxAttribute = 4096
	// maxUeventLines bounds the keys of a uevent file; a partition has eight.
	maxUeventLines = 64
	// pollInterval is how often sysfs is looked at while a device is missing (image.md section 6.3).
	pollInterval = 2 * time.Millisecond
	// partitionPrefix marks a layer's GPT partition (image.md section 8.2).
	partitionPrefix = "cocoon-"
	sectorSize      = 512
)

var (
	// ErrNoDevice means that no device carries the name.
	ErrNoDevice = errors.New("no such device")
	// ErrAmbiguous means that two devices carry the same name: the host may be playing one against the other.
	ErrAmbiguous = errors.New("two devices of the same name")
)

// Device is a block device found by name.
type Device struct {
	// Node is /dev/<kernel name>.
	Node string
	// Bytes is the size the kernel reports.
	Bytes uint64
	// Name is the kernel's name; Partition says that it is a partition of a disk.
	Name      string
	Partition bool
}

// Finder finds virtio disks and their partitions through sysfs.
type Finder struct {
	// Sys is the file system below /sys; os.DirFS("/sys") is the real one.
	Sys fs.FS
}

// Find waits for the whole disk whose serial is the name or, when there is none, for the partition named
// cocoon-<name>, until ctx ends. It answers at once when a name is taken twice.
func (f Finder) Find(ctx context.Context, name string) (Device, error) {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		dev, err := f.look(name)
		if !errors.Is(err, ErrNoDevice) {
			return dev, err
		}
		select {
		case <-ctx.Done():
			return Device{}, err
		case <-tick.C:
		}
	}
}

// look searches once: disks first, partitions only when no disk matches.
func (f Finder) look(name string) (Device, error) {
	disks, err := fs.Glob(f.Sys, "block/vd*")
	if err != nil {
		return Device{}, fmt.Errorf("listing disks: %w", err)
	}
	dev, err := f.one(name, disks, f.serialIs)
	if !errors.Is(err, ErrNoDevice) {
		return dev, err
	}
	parts, err := fs.Glob(f.Sys, "block/vd*/vd*")
	if err != nil {
		return Device{}, fmt.Errorf("listing partitions: %w", err)
	}
	dev, err = f.one(name, parts, f.partitionIs)
	dev.Partition = err == nil
	return dev, err
}

// one returns the only folder that matches.
func (f Finder) one(name string, dirs []string, match func(dir, name string) bool) (Device, error) {
	var found []string
	for _, d := range dirs {
		if match(d, name) {
			found = append(found, d)
		}
	}
	switch len(found) {
	case 0:
		return Device{}, fmt.Errorf("looking for disk %q: %w; attach it with serial=%s", name, ErrNoDevice, name)
	case 1:
		return f.device(found[0])
	default:
		return Device{}, fmt.Errorf("looking for disk %q: %w: %s", name, ErrAmbiguous, strings.Join(found, " and "))
	}
}

func (f Finder) device(dir string) (Device, error) {
	raw, err := readAttribute(f.Sys, path.Join(dir, "size"))
	if err != nil {
		return Device{}, fmt.Errorf("reading the size of %s: %w", dir, err)
	}
	sectors, err := strconv.ParseUint(strings.TrimSpace(string(raw)), 10, 54)
	if err != nil {
		return Device{}, fmt.Errorf("reading the size of %s: %w", dir, err)
	}
	base := path.Base(dir)
	return Device{Node: "/dev/" + base, Name: base, Bytes: sectors * sectorSize}, nil
}

// serialIs compares the virtio serial; the attribute may lack its newline (image.md section 21).
func (f Finder) serialIs(dir, name string) bool {
	raw, err := readAttribute(f.Sys, path.Join(dir, "serial"))
	return err == nil && string(bytes.TrimRight(raw, "\n\x00")) == name
}

func (f Finder) partitionIs(dir, name string) bool {
	raw, err := readAttribute(f.Sys, path.Join(dir, "uevent"))
	if err != nil {
		return false
	}
	keys, err := ParseUevent(raw)
	return err == nil && keys["PARTNAME"] == partitionPrefix+name
}

// ParseUevent reads a sysfs uevent file: KEY=value lines. Partition names in it are the host's words. A key that
// appears twice is refused, because a name with a newline in it could otherwise override another key.
func ParseUevent(data []byte) (map[string]string, error) {
	if len(data) > maxAttribute {
		return nil, fmt.Errorf("uevent has %d bytes, at most %d", len(data), maxAttribute)
	}
	lines := strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
	if len(lines) > maxUeventLines {
		return nil, fmt.Errorf("uevent has %d lines, at most %d", len(lines), maxUeventLines)
	}
	keys := make(map[string]string, len(lines))
	for i, line := range lines {
		key, value, ok := strings.Cut(line, "=")
		if !ok || key == "" {
			return nil, fmt.Errorf("uevent line %d: %q is not KEY=value", i+1, line)
		}
		if _, dup := keys[key]; dup {
			return nil, fmt.Errorf("uevent line %d: key %q appears twice", i+1, key)
		}
		keys[key] = value
	}
	return keys, nil
}

func readAttribute(sys fs.FS, name string) ([]byte, error) {
	f, err := sys.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, maxAttribute+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxAttribute {
		return nil, fmt.Errorf("attribute %s is longer than %d bytes", name, maxAttribute)
	}
	return data, nil
}

// OpenDevice opens a device node read-only.
func OpenDevice(d Device) (*os.File, error) {
	f, err := os.Open(d.Node)
	if err != nil {
		return nil, fmt.Errorf("opening disk %s: %w", d.Name, err)
	}
	return f, nil
}
