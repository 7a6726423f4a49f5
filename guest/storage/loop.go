package storage

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

const (
	loopControl = "/dev/loop-control"
	// loopSector is the block size of our loop devices: records of an archive begin at its multiples.
	loopSector = 512
	// loopTries bounds how often a device is asked for that somebody else takes first.
	loopTries = 8
)

// Loop is a read-only block device with the bytes of a file.
type Loop struct {
	// Node is /dev/loop<N>.
	Node string
	file *os.File
}

// AttachLoop makes a block device of an open file. It goes away by itself once it is neither mounted nor held: close
// the Loop when the mount exists.
func AttachLoop(f *os.File) (*Loop, error) {
	control, err := os.OpenFile(loopControl, os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("opening loop control: %w", err)
	}
	defer control.Close() //nolint:errcheck // nothing was written
	for range loopTries {
		var l *Loop
		if l, err = attachOnce(control, f); !errors.Is(err, unix.EBUSY) {
			return l, err
		}
	}
	return nil, err
}

func attachOnce(control, f *os.File) (*Loop, error) {
	n, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
	if err != nil {
		return nil, fmt.Errorf("asking for a loop device: %w", err)
	}
	node := fmt.Sprintf("/dev/loop%d", n)
	dev, err := os.OpenFile(node, os.O_RDONLY, 0)
	if err != nil {
		return nil, fmt.Errorf("opening loop device: %w", err)
	}
	conf := unix.LoopConfig{Fd: uint32(f.Fd()), Size: loopSector} //nolint:gosec // descriptors are small
	conf.Info.Flags = unix.LO_FLAGS_READ_ONLY | unix.LO_FLAGS_AUTOCLEAR
	if err := unix.IoctlLoopConfigure(int(dev.Fd()), &conf); err != nil {
		return nil, errors.Join(fmt.Errorf("configuring %s: %w", node, err), dev.Close())
	}
	return &Loop{Node: node, file: dev}, nil
}

// Close lets the device go.
func (l *Loop) Close() error {
	if err := l.file.Close(); err != nil {
		return fmt.Errorf("closing %s: %w", l.Node, err)
	}
	return nil
}
