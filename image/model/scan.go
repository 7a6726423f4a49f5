package model

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"cocoon/image/rootfs"
)

const (
	// maxFiles bounds a model's files and folders; the largest on the hubs have a few hundred.
	maxFiles = 1 << 16
	// downloadCache is the folder in which the hub's download tool keeps its state.
	downloadCache = ".cache"
)

// scan makes a tree of a folder: contents by reference, owner root, modes as the reference's tar options leave them.
func scan(ctx context.Context, dir string, excluded []string) (*rootfs.Tree, error) {
	tree := rootfs.New()
	seen := make(map[[2]uint64]string)
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, name)
		if err != nil {
			return err
		}
		if slices.Contains(excluded, rel) {
			if d.IsDir() {
				return filepath.SkipDir
			}
			return nil
		}
		if tree.Len() > maxFiles {
			return fmt.Errorf("more than %d files and folders", maxFiles)
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if first, twice := secondName(seen, info, rel); twice {
			return fmt.Errorf("%q and %q are one file; give each a copy of its own", first, rel)
		}
		return put(tree, name, rel, info)
	})
	if err != nil {
		return nil, fmt.Errorf("scanning model folder: %w", err)
	}
	if tree.Len() == 1 {
		return nil, fmt.Errorf("scanning model folder: %s is empty", dir)
	}
	return tree, nil
}

// put adds one file or folder.
func put(tree *rootfs.Tree, name, rel string, info fs.FileInfo) error {
	n := &rootfs.Inode{Mode: tarMode(info.Mode()), Origin: "model folder"}
	switch {
	case info.IsDir():
		n.Type = rootfs.Dir
	case info.Mode().IsRegular():
		n.Type = rootfs.File
		n.Content = rootfs.FileRange(name, 0, info.Size(), [32]byte{})
	case info.Mode()&fs.ModeSymlink != 0:
		return fmt.Errorf("%q is a symlink; a volume holds the files themselves: copy the folder with `cp -rL`", rel)
	default:
		return fmt.Errorf("%q is no plain file or folder (%s)", rel, info.Mode().Type())
	}
	if rel == "." {
		if n.Type != rootfs.Dir {
			return fmt.Errorf("%s is not a folder", name)
		}
		return tree.Replace(rel, n)
	}
	return tree.Add(filepath.ToSlash(rel), n)
}

// secondName reports whether a file has been seen under another name.
func secondName(seen map[[2]uint64]string, info os.FileInfo, rel string) (first string, twice bool) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || info.IsDir() || st.Nlink < 2 {
		return "", false
	}
	key := [2]uint64{st.Dev, st.Ino}
	first, twice = seen[key]
	seen[key] = rel
	return first, twice
}

// tarMode is chmod's go+u,go-w: group and others get the owner's bits but never write.
func tarMode(m fs.FileMode) uint32 {
	p := uint32(m.Perm())
	user := p >> 6
	p |= (user << 3) | user
	return p &^ 0o022
}

// normaliseModes makes modes independent of the form that the files came in: folders 0755, files 0755 when their
// owner may run them and 0644 otherwise.
func normaliseModes(tree *rootfs.Tree) {
	for _, n := range tree.Nodes() {
		switch {
		case n.Inode.Type == rootfs.Dir, n.Inode.Mode&0o100 != 0:
			n.Inode.Mode = 0o755
		default:
			n.Inode.Mode = 0o644
		}
	}
}
