package pipeline

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

const (
	// copyBlock is the unit of a sparse copy: a block of zeros becomes a hole.
	copyBlock = 1 << 16
	// maxSmall is the size up to which files are always copied: documents that people edit. A second name would carry
	// the edit into the cache.
	maxSmall = 1 << 20
)

// place puts the file src at dst without copying where the file system allows it: as a clone that shares blocks, as a
// second name of the same file, or as a sparse copy, in this order. The cache notices a change made through a second
// name by the file's time, and builds again.
func place(src, dst string) error {
	st, err := os.Stat(src)
	if err != nil {
		return fmt.Errorf("placing artefact: %w", err)
	}
	if st.Size() <= maxSmall {
		return sparseCopy(src, dst)
	}
	if err := clone(src, dst); err == nil {
		return nil
	}
	if err := os.Link(src, dst); err == nil {
		return nil
	}
	return sparseCopy(src, dst)
}

func clone(src, dst string) (err error) {
	in, err := os.Open(src)
	if err != nil {
		return err
	}
	defer in.Close() //nolint:errcheck // read side
	out, err := os.OpenFile(dst, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o444)
	if err != nil {
		return err
	}
	err = errors.Join(unix.IoctlFileClone(int(out.Fd()), int(in.Fd())), out.Close())
	if err != nil {
		return errors.Join(err, os.Remove(dst))
	}
	return nil
}

func sparseCopy(src, dst string) error {
	in, err := os.Open(src)
	if err != nil {
		return fmt.Errorf("copying artefact: %w", err)
	}
	defer in.Close() //nolint:errcheck // read side
	out, err := os.OpenFile(dst, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o444)
	if err != nil {
		return fmt.Errorf("copying artefact: %w", err)
	}
	if err := errors.Join(copyData(out, in), out.Close()); err != nil {
		return errors.Join(fmt.Errorf("copying artefact to %s: %w", dst, err), os.Remove(dst))
	}
	return nil
}

func copyData(out *os.File, in io.Reader) error {
	buf, zero := make([]byte, copyBlock), make([]byte, copyBlock)
	var size int64
	for {
		n, err := io.ReadFull(in, buf)
		if n > 0 && !bytes.Equal(buf[:n], zero[:n]) {
			if _, err := out.WriteAt(buf[:n], size); err != nil {
				return err
			}
		}
		size += int64(n)
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return out.Truncate(size)
		case err != nil:
			return err
		}
	}
}
