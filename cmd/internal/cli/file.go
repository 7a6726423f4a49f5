package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// MaxSmallFile bounds quotes, certificates, policies, keys and configurations, which are read whole.
const MaxSmallFile = 1 << 20

// ReadFile reads a file that the command line names, at most so many bytes of it. What is wrong with it has its exit code
// and the next step.
func ReadFile(name string, most int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, Misnamed(name, err)
	}
	defer f.Close() //nolint:errcheck // read side
	return readOpen(f, most)
}

// ReadSecret is ReadFile for a file that nobody but its owner may read.
func ReadSecret(name string, most int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, Misnamed(name, err)
	}
	defer f.Close() //nolint:errcheck // read side
	info, err := f.Stat()
	if err != nil {
		return nil, Misnamed(name, err)
	}
	if mode := info.Mode(); !mode.IsDir() && mode.Perm()&0o077 != 0 {
		return nil, Tag(KindPrerequisite, fmt.Errorf("others may read %s (mode %04o)", name, mode.Perm()), "chmod 600 "+name)
	}
	return readOpen(f, most)
}

// readOpen takes a regular file's size as a hint alone: that of a device or a pipe says nothing.
func readOpen(f *os.File, most int64) ([]byte, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, Misnamed(f.Name(), err)
	}
	var data bytes.Buffer
	if info.Mode().IsRegular() && info.Size() <= most {
		data.Grow(int(info.Size()) + bytes.MinRead)
	}
	switch n, err := data.ReadFrom(io.LimitReader(f, most+1)); {
	case err != nil:
		return nil, Misnamed(f.Name(), err)
	case n > most:
		return nil, Tag(KindUsage, fmt.Errorf("%s has more than the %d bytes that are read", f.Name(), most), "no such file is so large: check the name")
	}
	return data.Bytes(), nil
}

// Misnamed gives an error about something that the command line names its exit code and the next step.
func Misnamed(name string, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Tag(KindUsage, err, "check the name: \"ls "+filepath.Dir(name)+"\" lists what is there")
	case errors.Is(err, syscall.EISDIR):
		return Tag(KindUsage, err, "name a file: \"ls "+name+"\" lists those of this folder")
	case errors.Is(err, syscall.ENOTDIR):
		return Tag(KindUsage, err, "name a folder, or a file in one: "+name+" is neither")
	case errors.Is(err, fs.ErrPermission):
		return Tag(KindPrerequisite, err, "\"ls -ld "+name+"\" shows whose it is, \"id\" who you are")
	}
	return err
}
