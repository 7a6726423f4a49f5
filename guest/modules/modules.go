// Package modules loads kernel modules in the measured order of lib/modules.order (image.md section 5).
//
// It owns the loading rule: finit_module on raw .ko files, dependencies first because the list says so, ENODEV
// accepted only for names declared beforehand, and every file unlinked after loading so that its memory is freed.
// It trusts the initrd (measured); it takes no module name and no parameter from the kernel command line. A Loader
// is used by one goroutine. It refuses to skip: any other error stops the boot at the module's name.
package modules

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Loader loads modules from one folder.
type Loader struct {
	// Dir holds the raw .ko files.
	Dir string
	// Insert loads an open module file; InsertFile is the real one.
	Insert func(f *os.File) error
	// MayBeAbsent names modules (without .ko) whose hardware need not exist: ENODEV is recorded, not an error.
	MayBeAbsent []string
}

// Result says what was loaded.
type Result struct {
	// Loaded counts the modules now in the kernel.
	Loaded int
	// Absent lists modules whose hardware does not exist.
	Absent []string
}

// InsertFile is finit_module without parameters or flags: the kernel checks version magic and signature.
func InsertFile(f *os.File) error { return unix.FinitModule(int(f.Fd()), "", 0) }

// Load loads the files in order. After an error the result names what was done before it.
func (l Loader) Load(ctx context.Context, order []string) (Result, error) {
	var res Result
	for _, file := range order {
		if err := ctx.Err(); err != nil {
			return res, fmt.Errorf("loading module %s: %w", file, err)
		}
		absent, err := l.load(file)
		if err != nil {
			return res, fmt.Errorf("loading module %s: %w", file, err)
		}
		if absent {
			res.Absent = append(res.Absent, strings.TrimSuffix(file, ".ko"))
			continue
		}
		res.Loaded++
	}
	return res, nil
}

func (l Loader) load(file string) (absent bool, err error) {
	path := filepath.Join(l.Dir, file)
	f, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer func() { _ = f.Close() }()
	err = l.Insert(f)
	switch {
	case errors.Is(err, unix.ENODEV) && slices.Contains(l.MayBeAbsent, strings.TrimSuffix(file, ".ko")):
		absent = true
	case errors.Is(err, unix.ENODEV):
		return false, fmt.Errorf("the hardware it drives is absent and the module is not declared optional: %w", err)
	case errors.Is(err, unix.ENOENT): // the kernel's answer to an unresolved symbol, easily read as a missing file
		return false, fmt.Errorf("it needs a symbol of a module that the order does not load before it: %w", err)
	case err != nil:
		return false, err
	}
	if err := os.Remove(path); err != nil {
		return false, fmt.Errorf("freeing its file: %w", err)
	}
	return absent, nil
}
