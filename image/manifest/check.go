package manifest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// MismatchError is an artefact that is not what its manifest states.
type MismatchError struct {
	Artefact string
	Want     string // SHA-256, or a size in bytes
	Have     string // the same of the file, or "missing"
}

// Error names the artefact and both sides.
func (m *MismatchError) Error() string {
	return fmt.Sprintf("artefact %s: the manifest states %s, the file has %s", m.Artefact, m.Want, m.Have)
}

// CheckFiles compares every artefact of the manifest with the file of that name in dir. The error joins one *MismatchError
// per artefact that differs.
func (m *Manifest) CheckFiles(ctx context.Context, dir string) error {
	var errs []error
	for _, a := range m.Artefacts {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("checking artefacts: %w", err)
		}
		if err := a.check(dir); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (a Artefact) check(dir string) error {
	name := filepath.Join(dir, a.Name)
	st, err := os.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return &MismatchError{a.Name, a.SHA256, "missing"}
	case err != nil:
		return fmt.Errorf("checking artefact: %w", err)
	case st.Size() != a.Size:
		return &MismatchError{a.Name, fmt.Sprintf("%d bytes", a.Size), fmt.Sprintf("%d bytes", st.Size())}
	}
	sum, _, err := HashFile(name)
	if err != nil {
		return err
	}
	if sum != a.SHA256 {
		return &MismatchError{a.Name, a.SHA256, sum}
	}
	return nil
}
