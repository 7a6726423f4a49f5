package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"cocoon/cmd/internal/cli"
)

// maxSmallFile bounds quotes, certificates, policies, keys and configurations, which are read whole.
const maxSmallFile = 1 << 20

// readSmall reads such a file.
func readSmall(name string) ([]byte, error) { return readInput(name, maxSmallFile) }

// readInput reads a file that the command line names, at most so many bytes of it: the size of a device or a pipe says
// nothing beforehand.
func readInput(name string, most int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, misnamed(name, err)
	}
	defer f.Close() //nolint:errcheck // read side
	return readOpen(f, most)
}

func readOpen(f *os.File, most int64) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(f, most+1))
	switch {
	case err != nil:
		return nil, misnamed(f.Name(), err)
	case int64(len(data)) > most:
		return nil, cli.Tag(cli.KindUsage, fmt.Errorf("%s has more than the %d bytes that are read", f.Name(), most), "no such file is so large: check the name")
	}
	return data, nil
}

// misnamed gives an error about something that the command line names its exit code and the next step.
func misnamed(name string, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return cli.Tag(cli.KindUsage, err, "check the name: \"ls "+filepath.Dir(name)+"\" lists what is there")
	case errors.Is(err, syscall.EISDIR):
		return cli.Tag(cli.KindUsage, err, "name a file: \"ls "+name+"\" lists those of this folder")
	case errors.Is(err, syscall.ENOTDIR):
		return cli.Tag(cli.KindUsage, err, "name a folder, or a file in one: "+name+" is neither")
	case errors.Is(err, fs.ErrPermission):
		return cli.Tag(cli.KindPrerequisite, err, "\"ls -ld "+name+"\" shows whose it is, \"id\" who you are")
	}
	return err
}
