package spec

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// maxWalk bounds the directory entries looked at while packing, ignored ones included.
const maxWalk = 100_000

// FromFS collects the files of a spec directory and returns them with their tree hash. It applies the exclusions of
// the reference implementation (measure.md section 9.3): the top-level folder runtime and the files spec.tree and
// spec.meta, every .gitignore, and whatever those ignore; empty folders vanish. A .git below the top, a symbolic link
// or other special file, a file above MaxFileSize and a name outside the format are errors. A spec.tree that is
// present must hold the resulting hash.
//
// Only .gitignore files inside fsys are consulted: no global or repository excludes, no line-ending conversion.
func FromFS(fsys fs.FS) ([]File, Hash, error) {
	p := packer{fsys: fsys}
	if err := p.dir(".", nil); err != nil {
		return nil, Hash{}, fmt.Errorf("packing spec: %w", err)
	}
	Sort(p.files)
	tree, err := TreeHash(p.files)
	if err != nil {
		return nil, Hash{}, fmt.Errorf("packing spec: %w", err)
	}
	if err := p.checkTreeFile(tree); err != nil {
		return nil, Hash{}, fmt.Errorf("packing spec: %w", err)
	}
	return p.files, tree, nil
}

type packer struct {
	fsys   fs.FS
	files  []File
	walked int
}

// dir packs one folder; rules are those of the folders above it, outermost first.
func (p *packer) dir(dir string, rules []ignoreRule) error {
	if strings.Count(dir, "/")+1 > MaxDepth {
		return fmt.Errorf("folder %s is deeper than %d", dir, MaxDepth)
	}
	entries, err := fs.ReadDir(p.fsys, dir)
	if err != nil {
		return fmt.Errorf("listing folder: %w", err)
	}
	for _, e := range entries {
		if e.Name() != ignoreFile {
			continue
		}
		own, err := p.ignoreRules(dir, e)
		if err != nil {
			return err
		}
		rules = append(slices.Clip(rules), own...)
	}
	for _, e := range entries {
		if p.walked++; p.walked > maxWalk {
			return fmt.Errorf("more than %d folder entries", maxWalk)
		}
		if err := p.entry(path.Join(dir, e.Name()), e, rules); err != nil {
			return err
		}
	}
	return nil
}

func (p *packer) entry(name string, e fs.DirEntry, rules []ignoreRule) error {
	switch {
	case e.Name() == ignoreFile, name == treeFile, name == metaFile:
		return nil
	case name == runtimeDir && e.IsDir():
		return nil
	case strings.EqualFold(e.Name(), gitDir):
		return fmt.Errorf("%s: a repository inside a spec is not hashed by git; remove it", name)
	case ignored(rules, name, e.IsDir()):
		return nil
	case e.IsDir():
		return p.dir(name, rules)
	case !e.Type().IsRegular():
		return fmt.Errorf("%s has type %s: only regular files and folders belong to a spec", name, e.Type())
	}
	if len(p.files) == MaxFiles {
		return fmt.Errorf("more than %d files", MaxFiles)
	}
	info, err := e.Info()
	if err != nil {
		return fmt.Errorf("reading mode: %w", err)
	}
	data, err := p.read(name, info, MaxFileSize)
	if err != nil {
		return err
	}
	p.files = append(p.files, File{Path: name, Executable: info.Mode()&0o100 != 0, Data: data})
	return nil
}

// read refuses by the announced size first, so that a huge file is never loaded.
func (p *packer) read(name string, info fs.FileInfo, limit int64) ([]byte, error) {
	if info.Size() > limit {
		return nil, fmt.Errorf("%s has %d bytes, at most %d", name, info.Size(), limit)
	}
	data, err := fs.ReadFile(p.fsys, name)
	if err != nil {
		return nil, fmt.Errorf("reading file: %w", err)
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("%s has %d bytes, at most %d", name, len(data), limit)
	}
	return data, nil
}

func (p *packer) ignoreRules(dir string, e fs.DirEntry) ([]ignoreRule, error) {
	name := path.Join(dir, ignoreFile)
	if !e.Type().IsRegular() {
		return nil, fmt.Errorf("%s has type %s, want a regular file", name, e.Type())
	}
	info, err := e.Info()
	if err != nil {
		return nil, fmt.Errorf("reading mode: %w", err)
	}
	data, err := p.read(name, info, maxIgnoreFile)
	if err != nil {
		return nil, err
	}
	rules, err := parseIgnore(dir, data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return rules, nil
}

// checkTreeFile compares a spec.tree in the source with the hash just computed.
func (p *packer) checkTreeFile(tree Hash) error {
	info, err := fs.Stat(p.fsys, treeFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("reading mode: %w", err)
	}
	data, err := p.read(treeFile, info, 2*int64(len(tree))+1)
	if err != nil {
		return err
	}
	if got := strings.TrimSuffix(string(data), "\n"); got != tree.String() {
		return fmt.Errorf("%s says %q but the files hash to %s: the spec was edited after it was hashed", treeFile, got, tree)
	}
	return nil
}
