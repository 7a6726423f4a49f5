package wheel

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"path"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"cocoon/image/rootfs"
)

// Source is one wheel to unpack.
type Source struct {
	Path  string // the file
	Entry Entry  // what the list says of it
}

// Layout says where a layer keeps Python's parts. Paths are relative to the layer's root except Python.
type Layout struct {
	Python  string // the interpreter as scripts name it: "/usr/bin/python3.13"
	Site    string // folder of packages
	Scripts string // folder of commands
	Headers string // folder above the headers of each project
	Data    string // what a wheel's "data" folder is put into
}

// DebianLayout is Debian's own place for packages that are not Debian's: its interpreter looks there by itself.
func DebianLayout(minor int) Layout {
	return Layout{
		Python:  fmt.Sprintf("/usr/bin/python3.%d", minor),
		Site:    fmt.Sprintf("usr/local/lib/python3.%d/dist-packages", minor),
		Scripts: "usr/local/bin",
		Headers: fmt.Sprintf("usr/local/include/python3.%d", minor),
		Data:    "usr/local",
	}
}

// Options are the parameters of Unpack.
type Options struct {
	Layout   Layout
	CacheDir string
	// Drop names files that do not come into the layer: normalised project name -> patterns below the site folder. It is
	// for files that projects ship by mistake and that collide with another's. A pattern that matches nothing is an error.
	Drop map[string][]string
	// Workers bounds wheels that are unpacked at once (0 = one per CPU).
	Workers int
	// Progress, when set, hears of each finished wheel; it is called from several goroutines.
	Progress func(done Entry)
}

// Unpack puts wheels into a tree, in the order of their names.
func Unpack(ctx context.Context, tree *rootfs.Tree, sources []Source, o Options) error {
	workers := o.Workers
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	parts := make([]*stored, len(sources))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(workers)
	for i, src := range sources {
		g.Go(func() error {
			part, err := load(gctx, src, o.Layout.Python, o.CacheDir)
			if err != nil {
				return err
			}
			parts[i] = part
			if o.Progress != nil {
				o.Progress(src.Entry)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	slices.SortStableFunc(parts, func(a, b *stored) int { return strings.Compare(Normalise(a.Project), Normalise(b.Project)) })
	if err := checkDrop(o.Drop, parts); err != nil {
		return err
	}
	for _, p := range parts {
		if err := p.insert(tree, o); err != nil {
			return fmt.Errorf("unpacking %s: %w", p.origin(), err)
		}
	}
	return nil
}

// origin is the wheel's name in rootfs nodes.
func (s *stored) origin() string { return fmt.Sprintf("wheel %s %s", Normalise(s.Project), s.Version) }

// checkDrop refuses a wheel name that is not among the wheels.
func checkDrop(drop map[string][]string, parts []*stored) error {
	for _, name := range slices.Sorted(maps.Keys(drop)) {
		if !slices.ContainsFunc(parts, func(s *stored) bool { return Normalise(s.Project) == name }) {
			return fmt.Errorf("dropping files of wheel %q: no wheel has that name", name)
		}
	}
	return nil
}

// insert puts one wheel's files and commands into the tree.
func (s *stored) insert(tree *rootfs.Tree, o Options) error {
	patterns, err := compile(o.Drop[Normalise(s.Project)])
	if err != nil {
		return err
	}
	used := make([]bool, len(patterns))
	for _, f := range s.Files {
		if f.Scheme == site && matches(patterns, used, f.Path) {
			continue
		}
		n, err := s.inode(f)
		if err != nil {
			return err
		}
		dir, err := o.Layout.dir(f.Scheme, Normalise(s.Project))
		if err != nil {
			return err
		}
		if err := tree.Add(path.Join(dir, f.Path), n); err != nil {
			return err
		}
	}
	if i := slices.Index(used, false); i >= 0 {
		return fmt.Errorf("drop pattern %q matches no file of the wheel", patterns[i])
	}
	for _, c := range s.Scripts {
		n := &rootfs.Inode{Type: rootfs.File, Mode: 0o755, Origin: s.origin(), Content: rootfs.Bytes(c.text(o.Layout.Python))}
		if err := tree.Add(path.Join(o.Layout.Scripts, c.Name), n); err != nil {
			return err
		}
	}
	return nil
}

// inode makes a file of the tree whose bytes lie in the spool.
func (s *stored) inode(f file) (*rootfs.Inode, error) {
	raw, err := hex.DecodeString(f.SHA256)
	if err != nil || len(raw) != 32 {
		return nil, errors.Join(fmt.Errorf("%w: hash of %q", ErrFormat, f.Path), err)
	}
	n := &rootfs.Inode{
		Type: rootfs.File, Mode: 0o644, Origin: s.origin(),
		Content: rootfs.FileRange(s.spool, f.Offset, f.Size, [32]byte(raw)),
	}
	if f.Exec {
		n.Mode = 0o755
	}
	return n, nil
}

// dir is the folder that a scheme's files of a project go into.
func (l Layout) dir(s scheme, project string) (string, error) {
	switch s {
	case site:
		return l.Site, nil
	case scripts:
		return l.Scripts, nil
	case headers:
		return path.Join(l.Headers, project), nil
	case data:
		return l.Data, nil
	}
	return "", fmt.Errorf("%w: scheme %q", ErrFormat, s)
}

func compile(texts []string) ([]rootfs.Pattern, error) {
	out := make([]rootfs.Pattern, 0, len(texts))
	for _, t := range texts {
		p, err := rootfs.CompilePattern(t)
		if err != nil {
			return nil, fmt.Errorf("drop pattern: %w", err)
		}
		out = append(out, p)
	}
	return out, nil
}

func matches(patterns []rootfs.Pattern, used []bool, p string) bool {
	hit := false
	for i, pattern := range patterns {
		if pattern.Match(p) {
			used[i], hit = true, true
		}
	}
	return hit
}
