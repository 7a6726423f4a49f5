package recipe

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"cocoon/image/rootfs"
)

const (
	// maxFile and maxFiles bound the room mkosi/; ours is two dozen files of a few kB.
	maxFile  = 16 << 20
	maxFiles = 4096
)

// extraFile is one file of the room as it was hashed.
type extraFile struct {
	data       []byte
	executable bool
}

// notDefinition reports names of mkosi/ that are no part of the recipe: the lock (it holds the recipe's hash),
// documents, dot files, what only mkosi reads, and what mkosi leaves beside its configuration.
func notDefinition(name string) bool {
	top, _, _ := strings.Cut(name, "/")
	switch {
	case path.Ext(name) == ".md", strings.HasPrefix(top, "."), top == "image.lock", path.Base(name) == "mkosi.sandbox":
		return true
	}
	return slices.Contains([]string{"mkosi.output", "mkosi.cache", "mkosi.pkgcache", "mkosi.builddir", "mkosi.workspace", "mkosi.tools"}, top)
}

// readRoom reads every definition file. Links are refused, because Git stores them differently from what they show.
func readRoom(fsys fs.FS) (map[string]extraFile, error) {
	files := make(map[string]extraFile)
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name != "." && notDefinition(name) {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if d.IsDir() {
			return nil
		}
		if len(files) >= maxFiles {
			return fmt.Errorf("more than %d files", maxFiles)
		}
		f, err := readFile(fsys, name, d)
		files[name] = f
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading definitions: %w", err)
	}
	return files, nil
}

func readFile(fsys fs.FS, name string, d fs.DirEntry) (extraFile, error) {
	info, err := d.Info()
	if err != nil {
		return extraFile{}, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxFile {
		return extraFile{}, fmt.Errorf("%s: not a regular file of at most %d bytes", name, maxFile)
	}
	data, err := fs.ReadFile(fsys, name)
	return extraFile{data: data, executable: info.Mode()&0o100 != 0}, err
}

// hashRoom is SHA-256 over one line per file, in bytewise order: content hash, x bit, quoted name.
func hashRoom(files map[string]extraFile) string {
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(files)) {
		bit := '-'
		if files[name].executable {
			bit = 'x'
		}
		_, _ = fmt.Fprintf(h, "%x %c %q\n", sha256.Sum256(files[name].data), bit, name) // a hash takes every write
	}
	return hex.EncodeToString(h.Sum(nil))
}

// AddExtraTrees copies a layer's extra trees into a tree. The bytes are those that the recipe's hash covers; modes are
// reduced to the x bit, because a Git work tree carries the umask of whoever cloned it.
func (r *Recipe) AddExtraTrees(t *rootfs.Tree, l Layer) error {
	for _, dir := range l.ExtraTrees {
		count := 0
		for _, name := range slices.Sorted(maps.Keys(r.extra)) {
			rel, ok := strings.CutPrefix(name, dir+"/")
			if !ok {
				continue
			}
			count++
			inode := &rootfs.Inode{Type: rootfs.File, Mode: 0o644, Content: rootfs.Bytes(r.extra[name].data), Origin: rootfs.OriginRecipe}
			if r.extra[name].executable {
				inode.Mode = 0o755
			}
			if err := t.Add(rel, inode); err != nil {
				return fmt.Errorf("adding extra tree %s to layer %s: %w", dir, l.ID, err)
			}
		}
		if count == 0 {
			return fmt.Errorf("adding extra tree %s to layer %s: it has no files", dir, l.ID)
		}
	}
	return nil
}
