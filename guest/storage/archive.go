package storage

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"cocoon/guest/storage/archive"
)

// View is an archive made mountable: an EROFS image in memory, and the device that has the contents.
type View struct {
	// Source and Device are the nodes to mount: the image, and its further device.
	Source, Device string
	// Members counts files and folders; ImageBytes is the size of the image.
	Members, ImageBytes int
	closers             []io.Closer
}

// AttachArchive indexes the archive on a device and makes it mountable. Its members begin at multiples of 512 bytes,
// which a verity device of 4096-byte blocks does not read; a loop device in front of it does. Close the view once it is
// mounted.
func AttachArchive(node string, bytes uint64) (_ *View, err error) {
	v := new(View)
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("attaching archive on %s: %w", node, err), v.Close())
		}
	}()
	dev, err := os.Open(node)
	if err != nil {
		return nil, err
	}
	defer dev.Close()                               //nolint:errcheck // read side; the loop device has its own reference
	members, err := archive.Read(dev, int64(bytes)) //nolint:gosec // Read bounds it
	if err != nil {
		return nil, err
	}
	image, err := archive.Image(members, int64(bytes)) //nolint:gosec // the same
	if err != nil {
		return nil, err
	}
	v.Members, v.ImageBytes = len(members), len(image)
	mem, err := sealedFile("model-index", image)
	if err != nil {
		return nil, err
	}
	defer mem.Close() //nolint:errcheck // the loop device has its own reference
	if v.Source, err = v.attach(mem); err != nil {
		return nil, err
	}
	if v.Device, err = v.attach(dev); err != nil {
		return nil, err
	}
	return v, nil
}

func (v *View) attach(f *os.File) (string, error) {
	l, err := AttachLoop(f)
	if err != nil {
		return "", err
	}
	v.closers = append(v.closers, l)
	return l.Node, nil
}

// Close lets the devices go; a mount keeps them.
func (v *View) Close() error {
	errs := make([]error, 0, len(v.closers))
	for _, c := range v.closers {
		errs = append(errs, c.Close())
	}
	v.closers = nil
	return errors.Join(errs...)
}

// sealedFile is an anonymous file that nobody can change any more.
func sealedFile(name string, data []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING|unix.MFD_NOEXEC_SEAL)
	if err != nil {
		return nil, fmt.Errorf("making anonymous file: %w", err)
	}
	f := os.NewFile(uintptr(fd), name)
	_, err = f.WriteAt(data, 0)
	if err == nil {
		_, err = unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_SEAL|unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_WRITE)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("filling anonymous file: %w", err), f.Close())
	}
	return f, nil
}
