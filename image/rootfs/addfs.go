package rootfs

import (
	"fmt"
	"io/fs"
	"path"
)

const (
	// maxExtraFile and maxExtraFiles bound an extra tree of the recipe; ours is a handful of small text files.
	maxExtraFile  = 16 << 20
	maxExtraFiles = 4096
)

// AddFS inserts the files and directories below the root of fsys: an extra tree of the recipe. Modes are reduced to
// the owner's x bit, because a Git work tree carries the umask of whoever cloned it. Links are refused: the recipe
// declares them.
func AddFS(t *Tree, fsys fs.FS, origin string) error {
	count := 0
	err := fs.WalkDir(fsys, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil || p == "." {
			return err
		}
		if count++; count > maxExtraFiles {
			return fmt.Errorf("more than %d files", maxExtraFiles)
		}
		if d.IsDir() {
			return t.Add(p, &Inode{Type: Dir, Mode: 0o755, Origin: origin})
		}
		return addFile(t, fsys, p, origin)
	})
	if err != nil {
		return fmt.Errorf("adding extra tree: %w", err)
	}
	return nil
}

func addFile(t *Tree, fsys fs.FS, p, origin string) error {
	info, err := fs.Lstat(fsys, p)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s: %s is not a regular file; declare links in the recipe", p, info.Mode().Type())
	}
	if info.Size() > maxExtraFile {
		return fmt.Errorf("%s: %d bytes, at most %d", p, info.Size(), maxExtraFile)
	}
	data, err := fs.ReadFile(fsys, p)
	if err != nil {
		return err
	}
	mode := uint32(0o644)
	if info.Mode()&0o100 != 0 {
		mode = 0o755
	}
	return t.Add(path.Clean(p), &Inode{Type: File, Mode: mode, Content: Bytes(data), Origin: origin})
}
