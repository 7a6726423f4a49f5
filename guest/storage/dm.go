package storage

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Layout of struct dm_ioctl and struct dm_target_spec (linux/dm-ioctl.h): a 312-byte header, then one 40-byte spec
// and its parameter string, all in one buffer.
const (
	headerSize = 312
	specSize   = 40

	offVersion  = 0 // u32 major, minor, patch
	offDataSize = 12
	offStart    = 16
	offTargets  = 20
	offFlags    = 28
	offDev      = 40
	offName     = 48
	nameSize    = 128 // with its NUL

	specSectors = 8
	specNext    = 20
	specType    = 24

	// interfaceMajor is the ioctl interface's major version.
	interfaceMajor = 4
	flagReadOnly   = 1

	// maxParams bounds a table line: device names, two 64-digit numbers, root, salt and options stay below it.
	maxParams = 2048
)

// Command is a device-mapper ioctl number.
type Command uint32

// The commands in use; DevSuspend without the suspend flag resumes, which makes the loaded table live.
const (
	DevCreate  Command = 3
	DevRemove  Command = 4
	DevSuspend Command = 6
	TableLoad  Command = 9
)

// Request is the ioctl request number of a command: _IOWR(0xfd, nr, struct dm_ioctl).
func (c Command) Request() uint32 { return 3<<30 | headerSize<<16 | 0xfd<<8 | uint32(c) }

// Control issues device-mapper ioctls; the kernel answers in the buffer.
type Control interface {
	Ioctl(c Command, buf []byte) error
}

// ControlFile is /dev/mapper/control.
type ControlFile struct{ *os.File }

// OpenControl opens the control node, which devtmpfs makes when dm_mod is loaded.
func OpenControl() (ControlFile, error) {
	f, err := os.OpenFile("/dev/mapper/control", os.O_RDWR, 0)
	if err != nil {
		return ControlFile{}, fmt.Errorf("opening device-mapper: %w", err)
	}
	return ControlFile{f}, nil
}

// Ioctl issues one command.
func (c ControlFile) Ioctl(cmd Command, buf []byte) error {
	if len(buf) < headerSize {
		return fmt.Errorf("device-mapper buffer has %d bytes, want at least %d", len(buf), headerSize)
	}
	//nolint:gosec // the ioctl takes the address of the caller's buffer, which outlives the call
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, c.Fd(), uintptr(cmd.Request()), uintptr(unsafe.Pointer(&buf[0])))
	if errno != 0 {
		return errno
	}
	return nil
}

// Target is one line of a device-mapper table.
type Target struct {
	Type string
	// Sectors is the length of the mapping in 512-byte sectors; it starts at sector 0.
	Sectors uint64
	Params  string
}

// Activate creates a device, loads the target read-only and makes it live. It returns the node, /dev/dm-<minor>.
// Nothing is left behind after an error.
func Activate(ctl Control, name string, t Target) (string, error) {
	create, err := commandBuffer(name)
	if err != nil {
		return "", err
	}
	if err := ctl.Ioctl(DevCreate, create); err != nil {
		return "", fmt.Errorf("creating device-mapper device %s: %w", name, err)
	}
	dev := binary.LittleEndian.Uint64(create[offDev:])
	if err := loadAndResume(ctl, name, t); err != nil {
		return "", errors.Join(err, Remove(ctl, name))
	}
	return fmt.Sprintf("/dev/dm-%d", unix.Minor(dev)), nil
}

func loadAndResume(ctl Control, name string, t Target) error {
	load, err := loadBuffer(name, t)
	if err != nil {
		return err
	}
	if err := ctl.Ioctl(TableLoad, load); err != nil {
		return fmt.Errorf("loading table of %s: %w", name, err)
	}
	resume, err := commandBuffer(name)
	if err != nil {
		return err
	}
	if err := ctl.Ioctl(DevSuspend, resume); err != nil {
		return fmt.Errorf("resuming %s: %w", name, err)
	}
	return nil
}

// Remove removes a device that nothing holds open.
func Remove(ctl Control, name string) error {
	buf, err := commandBuffer(name)
	if err != nil {
		return err
	}
	if err := ctl.Ioctl(DevRemove, buf); err != nil {
		return fmt.Errorf("removing device-mapper device %s: %w", name, err)
	}
	return nil
}

// commandBuffer is the header alone. Only the name is set: the kernel takes a device by name or by uuid, not both.
func commandBuffer(name string) ([]byte, error) { return newBuffer(name, headerSize) }

// loadBuffer is the header, one target spec, and the parameters with their NUL, padded to 8.
func loadBuffer(name string, t Target) ([]byte, error) {
	if len(t.Params) > maxParams {
		return nil, fmt.Errorf("table of %s has %d characters, at most %d", name, len(t.Params), maxParams)
	}
	params := len(t.Params) + 1
	params += (8 - params%8) % 8
	buf, err := newBuffer(name, headerSize+specSize+params)
	if err != nil {
		return nil, err
	}
	le := binary.LittleEndian
	le.PutUint32(buf[offTargets:], 1)
	le.PutUint32(buf[offFlags:], flagReadOnly)
	spec := buf[headerSize:]
	le.PutUint64(spec[specSectors:], t.Sectors)
	le.PutUint32(spec[specNext:], uint32(specSize+params)) //nolint:gosec // bounded by maxParams above
	copy(spec[specType:specSize-1], t.Type)
	copy(spec[specSize:], t.Params)
	return buf, nil
}

func newBuffer(name string, size int) ([]byte, error) {
	if name == "" || len(name) >= nameSize || strings.ContainsAny(name, "/\x00") {
		return nil, fmt.Errorf("device-mapper name %q is empty, longer than %d bytes, or holds a slash or NUL", name, nameSize-1)
	}
	buf := make([]byte, size)
	le := binary.LittleEndian
	le.PutUint32(buf[offVersion:], interfaceMajor)
	le.PutUint32(buf[offDataSize:], uint32(size)) //nolint:gosec // at most headerSize + specSize + maxParams + 8
	le.PutUint32(buf[offStart:], headerSize)
	copy(buf[offName:offName+nameSize-1], name)
	return buf, nil
}

// deviceName reads the name back from a buffer, for errors and tests.
func deviceName(buf []byte) string {
	name, _, _ := bytes.Cut(buf[offName:offName+nameSize], []byte{0})
	return string(name)
}
