package repro

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"cocoon/image/pipeline"
)

// skipped are names at the top of a checkout that are results, not sources.
var skipped = []string{".git", "out", "bin", ".cache"} //nolint:gochecknoglobals // a constant list

// maxCopied bounds the files of a checkout; ours has about a thousand.
const maxCopied = 1 << 17

func makeScratch(dir string) (string, error) {
	if dir == "" {
		dir = os.TempDir()
	}
	scratch, err := os.MkdirTemp(dir, "cocoon-rebuild-")
	if err != nil {
		return "", fmt.Errorf("making a folder for the rebuild: %w", err)
	}
	return scratch, os.Chmod(scratch, 0o755) // the other user must get in
}

// copyTree copies the checkout's files in the leg's order, with its modes and times.
func copyTree(from, to string, l leg) error {
	var files []string
	err := filepath.WalkDir(from, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, p)
		if err != nil {
			return err
		}
		if d.IsDir() && slices.Contains(skipped, rel) {
			return filepath.SkipDir
		}
		if d.Type().IsRegular() {
			files = append(files, rel)
		}
		if len(files) > maxCopied {
			return fmt.Errorf("%s has over %d files", from, maxCopied)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if l.reverse {
		slices.Reverse(files)
	}
	for _, rel := range files {
		if err := copyOne(filepath.Join(from, rel), filepath.Join(to, rel), l); err != nil {
			return err
		}
	}
	return nil
}

func copyOne(from, to string, l leg) error {
	st, err := os.Stat(from)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // an editor's temporary file
	}
	if err != nil {
		return err
	}
	mode := l.fileMode
	if st.Mode()&0o100 != 0 {
		mode |= (mode >> 2) & 0o111
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	if err := copyFile(from, to, mode); err != nil {
		return err
	}
	return os.Chtimes(to, l.mtime, l.mtime)
}

func copyFile(from, to string, mode os.FileMode) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close() //nolint:errcheck // read side
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close(), os.Chmod(to, mode))
}

func chownAll(dir string, uid int) error {
	return filepath.WalkDir(dir, func(p string, _ fs.DirEntry, err error) error {
		return errors.Join(err, os.Lchown(p, uid, uid)) //nolint:gosec // a folder that only this process fills
	})
}

// removeAll deletes folders whose modes may forbid it.
func removeAll(dir string) error {
	_ = filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			return os.Chmod(p, 0o700) //nolint:gosec // about to be deleted
		}
		return err
	})
	return os.RemoveAll(dir)
}

// moduleCache returns a module cache that any user can read. When the one in use lies in a closed folder, what the
// guest binary needs is linked or copied from it.
func moduleCache(ctx context.Context, o pipeline.Options, to string) (string, error) {
	from, err := goQuery(ctx, o, "env", "GOMODCACHE")
	if err != nil {
		return "", err
	}
	if os.Geteuid() != 0 || openToAll(from) {
		return from, nil
	}
	list, err := goQuery(ctx, o, "list", "-deps", "-f", "{{with .Module}}{{.Dir}}{{end}}", "./cmd/init")
	if err != nil {
		return "", err
	}
	dirs := slices.Compact(slices.Sorted(slices.Values(strings.Fields(list))))
	dirs = append(dirs, filepath.Join(from, "cache", "download"))
	for _, d := range dirs {
		rel, err := filepath.Rel(from, d)
		if err != nil || strings.HasPrefix(rel, "..") {
			continue // the main module
		}
		if err := linkTree(d, filepath.Join(to, rel)); err != nil {
			return "", fmt.Errorf("sharing the module cache: %w", err)
		}
	}
	return to, nil
}

func goQuery(ctx context.Context, o pipeline.Options, args ...string) (string, error) {
	name := o.Go
	if name == "" {
		name = "go"
	}
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = o.Root
	cmd.Env = append(os.Environ(), "GOTOOLCHAIN=local", "GOOS=linux", "GOARCH=amd64", "CGO_ENABLED=0")
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("asking the go command for %s: %w", args[0], err)
	}
	return strings.TrimSpace(string(out)), nil
}

// openToAll reports whether every folder above dir lets other users through.
func openToAll(dir string) bool {
	for at := dir; ; at = filepath.Dir(at) {
		st, err := os.Stat(at)
		if err != nil || st.Mode().Perm()&0o001 == 0 {
			return false
		}
		if at == filepath.Dir(at) {
			return true
		}
	}
}

// linkTree gives every file of a folder a second name, or copies it where that name could not be read by others or lies
// on another file system. Owners and modes of the originals are not touched. Archives stay behind: the module cache
// holds their content unpacked.
func linkTree(from, to string) error {
	return filepath.WalkDir(from, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, p)
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		switch {
		case d.IsDir():
			return os.MkdirAll(target, 0o755)
		case !d.Type().IsRegular() || strings.HasSuffix(p, ".zip"):
			return nil
		}
		if st, err := d.Info(); err == nil && st.Mode().Perm()&0o004 != 0 && os.Link(p, target) == nil { //nolint:gosec // the module cache is trusted
			return nil
		}
		return copyFile(p, target, 0o644)
	})
}
