// Package qemu makes a QEMU of locked packages startable where it is unpacked: one flat folder with the program, its
// libraries, its ROMs and a launcher. It needs no root, no installation and no namespace.
//
// Predictions ask QEMU for ACPI tables, which differ between its versions (measure.md section 7), so QEMU is an input by
// hash like any other. This package owns which files of the packages come along, and the launcher. Libraries are found by
// following the programs' own lists, so one that no package brings is an error here instead of the host's at run time.
// Modules stay behind: machines of ours need none, and QEMU checks that a module is of its own build. It trusts the tree
// as far as rootfs does; ELF files are read within bounds. All functions may be called concurrently. It refuses another
// architecture, and to overwrite files.
package qemu

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"time"

	"cocoon/image/rootfs"
)

// Launcher is the file of the folder that takes QEMU's arguments. It has the name of the program that it stands for.
const Launcher = "qemu-system-x86_64"

const (
	// binary is the program itself.
	binary = Launcher + ".elf"
	// loader is the dynamic linker of the x86-64 psABI, which can start a program given as its argument.
	loader = "ld-linux-x86-64.so.2"
	// askLimit bounds the question for a version; usual is 50 ms.
	askLimit = time.Minute
)

// script is the launcher. The folder may be moved and linked to: the script looks where it lies itself. $ORIGIN is the
// dynamic linker's word for the program's folder, safe for every character in its name.
const script = `#!/bin/sh
# Starts the QEMU of this folder with its own dynamic linker, libraries and ROMs.
self=$(readlink -f -- "$0") || exit 127
here=${self%/*}
unset LD_AUDIT LD_LIBRARY_PATH LD_PRELOAD QEMU_MODULE_DIR
exec "$here/` + loader + `" --inhibit-cache --library-path '$ORIGIN' --argv0 ` + Launcher + ` \
  "$here/` + binary + `" -L "$here" "$@"
`

// File is one file of the folder.
type File struct {
	Name       string
	Executable bool
	Content    rootfs.Content
}

// Write puts files into a folder, which must not have any of them yet.
func Write(ctx context.Context, dir string, files []File) error {
	for _, f := range files {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("writing QEMU: %w", err)
		}
		if err := f.write(dir); err != nil {
			return fmt.Errorf("writing QEMU's file %s: %w", f.Name, err)
		}
	}
	return nil
}

func (f File) write(dir string) (err error) {
	mode := os.FileMode(0o644)
	if f.Executable {
		mode = 0o755
	}
	in, err := f.Content.Open()
	if err != nil {
		return err
	}
	defer in.Close() //nolint:errcheck // read side
	out, err := os.OpenFile(filepath.Join(dir, f.Name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	h := sha256.New()
	if _, err := io.Copy(io.MultiWriter(out, h), in); err != nil {
		return err
	}
	if [32]byte(h.Sum(nil)) != f.Content.SHA256 {
		return errors.New("its bytes changed since it was unpacked")
	}
	return nil
}

var versionRule = regexp.MustCompile(`^QEMU emulator version ([0-9]+(?:\.[0-9]+){1,3})\b`)

// Version starts a launcher and returns what it says it is, such as "11.1.3".
func Version(ctx context.Context, launcher string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	out, err := exec.CommandContext(ctx, launcher, "--version").Output()
	if ctx.Err() != nil {
		return "", fmt.Errorf("asking QEMU for its version: %w", ctx.Err())
	}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return "", fmt.Errorf("asking QEMU for its version: %w: %.500s", err, exit.Stderr)
	}
	if err != nil {
		return "", fmt.Errorf("asking QEMU for its version: %w", err)
	}
	m := versionRule.FindSubmatch(out)
	if m == nil {
		return "", fmt.Errorf("asking QEMU for its version: it said %.100q", out)
	}
	return string(m[1]), nil
}
