package spec

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// The limits of a spec (image.md section 14.1).
const (
	// MaxFiles bounds the number of files.
	MaxFiles = 1024
	// MaxFileSize bounds one file: the reference implementation's 10 MB.
	MaxFileSize = 10_000_000
	// MaxPath bounds a path in bytes, without the terminating NUL.
	MaxPath = 255
	// MaxDepth bounds the components of a path.
	MaxDepth = 16
	// MaxSpecLength bounds the encoded spec section.
	MaxSpecLength = 15 << 20
	// MaxRuntimeLength bounds the runtime section.
	MaxRuntimeLength = 1 << 20
)

// Names that never belong to a spec: files describing it, the unmeasured folder, and git's own.
const (
	runtimeDir = "runtime"
	treeFile   = "spec.tree"
	metaFile   = "spec.meta"
	ignoreFile = ".gitignore"
	gitDir     = ".git"
)

// File is one regular file of a spec.
type File struct {
	// Path is relative and slash-separated, of components [A-Za-z0-9._-]+ other than "." and "..".
	Path string
	// Executable is the owner's x bit, the only mode bit that is hashed.
	Executable bool
	// Data is the content.
	Data []byte
}

// Sort orders files as the container and the tree hash want them: bytewise by path.
func Sort(files []File) {
	slices.SortFunc(files, func(a, b File) int { return cmp.Compare(a.Path, b.Path) })
}

// Check applies every rule of the format that does not depend on the encoding: the limits, the names, strict bytewise
// order, and that no file's path is also a folder of another.
func Check(files []File) error {
	if len(files) > MaxFiles {
		return fmt.Errorf("spec has %d files, at most %d", len(files), MaxFiles)
	}
	paths := make(map[string]bool, len(files))
	for i, f := range files {
		if err := checkPath(f.Path); err != nil {
			return err
		}
		if len(f.Data) > MaxFileSize {
			return fmt.Errorf("spec file %s has %d bytes, at most %d", f.Path, len(f.Data), MaxFileSize)
		}
		if i > 0 && files[i-1].Path >= f.Path {
			return fmt.Errorf("spec file %s follows %s: paths are sorted bytewise and unique", f.Path, files[i-1].Path)
		}
		paths[f.Path] = true
	}
	for _, f := range files {
		for dir := parent(f.Path); dir != ""; dir = parent(dir) {
			if paths[dir] {
				return fmt.Errorf("spec file %s is also a folder, of %s", dir, f.Path)
			}
		}
	}
	return nil
}

func checkPath(path string) error {
	if len(path) > MaxPath {
		return fmt.Errorf("spec path %q... has %d bytes, at most %d", path[:32], len(path), MaxPath)
	}
	parts := strings.Split(path, "/")
	if len(parts) > MaxDepth {
		return fmt.Errorf("spec path %s is %d deep, at most %d", path, len(parts), MaxDepth)
	}
	for _, part := range parts {
		if err := checkComponent(part); err != nil {
			return fmt.Errorf("spec path %q: %w", path, err)
		}
	}
	switch {
	case path == treeFile, path == metaFile:
		return fmt.Errorf("spec path %s describes a spec and is never part of one", path)
	case len(parts) > 1 && parts[0] == runtimeDir:
		return fmt.Errorf("spec path %s: the folder runtime/ is unmeasured and belongs to the runtime section", path)
	}
	return nil
}

func checkComponent(name string) error {
	if name == "" || name == "." || name == ".." {
		return fmt.Errorf("component %q is not a name", name)
	}
	for i := range len(name) {
		if !nameByte(name[i]) {
			return fmt.Errorf("component %q has byte 0x%02x, allowed are A-Z a-z 0-9 . _ -", name, name[i])
		}
	}
	// git itself refuses .git in any letter case, so such a name could never have come from a spec tree.
	if strings.EqualFold(name, gitDir) || name == ignoreFile {
		return fmt.Errorf("component %q is git's own", name)
	}
	return nil
}

func nameByte(c byte) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '_', c == '-':
		return true
	}
	return false
}

// parent is the path without its last component, "" at the top.
func parent(path string) string {
	i := strings.LastIndexByte(path, '/')
	if i < 0 {
		return ""
	}
	return path[:i]
}
