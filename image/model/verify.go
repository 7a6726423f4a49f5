package model

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"cocoon/image/verity"
)

// Verify reads a volume and compares it with the description's root hash: for a copy that somebody else made or that
// has lain on a disk. hashes names the hash area of a tar form of two files; it is empty for all others.
func (d *Description) Verify(ctx context.Context, volume, hashes string) error {
	v, err := d.Volume()
	if err != nil {
		return fmt.Errorf("verifying model volume: description: %w", err)
	}
	size := v.Size()
	switch {
	case !d.joined() && hashes == "":
		return errors.New("verifying model volume: this tar form has a hash file of its own: name it too")
	case d.joined() && hashes != "":
		return errors.New("verifying model volume: this volume has its tree behind its data: name no hash file")
	case !d.joined():
		size = int64(v.DataBlocks) * verity.BlockSize //nolint:gosec // Volume bounds it
	}
	data, err := openSized(volume, size)
	if err != nil {
		return fmt.Errorf("verifying model volume: %w", err)
	}
	defer data.Close() //nolint:errcheck // read side
	var tree io.ReaderAt = data
	if hashes != "" {
		f, err := openSized(hashes, v.Size())
		if err != nil {
			return fmt.Errorf("verifying model volume: %w", err)
		}
		defer f.Close() //nolint:errcheck // read side
		tree = f
	}
	if err := verity.VerifySplit(ctx, data, tree, v); err != nil {
		return fmt.Errorf("%s is not %s: %w", volume, d.Identity, err)
	}
	return nil
}

// openSized opens a file that must have the given size.
func openSized(name string, size int64) (*os.File, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err == nil && st.Size() != size {
		err = fmt.Errorf("%s has %d bytes, the description says %d", name, st.Size(), size)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}
