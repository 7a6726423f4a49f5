package rootfs

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Origins of files that no package brought.
const (
	// OriginRecipe marks what the recipe's links, directories and generated files made.
	OriginRecipe = "recipe"
	// OriginCompiled marks Python bytecode that our own pipeline compiled; any other is forbidden.
	OriginCompiled = "compiled"
)

// maxProblems bounds the findings in one error; a wrong recipe line may hit thousands of files.
const maxProblems = 20

// Normalise turns an unpacked tree into the tree of a layer (image.md section 7): files are generated and removed as
// the rules say, then every owner becomes 0:0 and every mode 0755 or 0644 unless an Owner line names the path, and
// what may not be in a layer is an error. The content and names of files are not changed.
func Normalise(t *Tree, r Rules) error {
	if err := r.Validate(); err != nil {
		return fmt.Errorf("normalising: %w", err)
	}
	steps := []struct {
		name string
		run  func(*Tree, Rules) error
	}{
		{"generating files", generate},
		{"removing files", remove},
		{"setting modes", setModes},
		{"checking links", checkLinks},
		{"checking policy", checkPolicy},
	}
	for _, s := range steps {
		if err := s.run(t, r); err != nil {
			return fmt.Errorf("normalising: %s: %w", s.name, err)
		}
	}
	return nil
}

// remove deletes what the patterns name. A generated file that a pattern would delete is a contradiction.
func remove(t *Tree, r Rules) error {
	for _, list := range []struct {
		patterns []string
		must     bool
	}{{r.Remove, true}, {r.RemoveIfPresent, false}} {
		patterns, err := compilePatterns(list.patterns)
		if err != nil {
			return err
		}
		for _, p := range patterns {
			if err := removePattern(t, r, p, list.must); err != nil {
				return err
			}
		}
	}
	return nil
}

func removePattern(t *Tree, r Rules, p Pattern, must bool) error {
	for _, g := range r.Generate {
		if p.Covers(g.Path) {
			return fmt.Errorf("pattern %q removes %s, which the recipe generates", p, g.Path)
		}
	}
	count := 0
	for _, n := range t.Nodes() {
		if n.Path != "." && p.Match(n.Path) {
			count += t.Remove(n.Path)
		}
	}
	if must && count == 0 {
		return fmt.Errorf("pattern %q matches nothing; delete the line or correct it", p)
	}
	return nil
}

// setModes applies the one mode rule, then the recipe's exceptions.
func setModes(t *Tree, r Rules) error {
	for _, n := range t.Nodes() {
		n.Inode.UID, n.Inode.GID = 0, 0
		switch {
		case n.Inode.Type == Symlink:
			n.Inode.Mode = 0o777
		case n.Inode.Type == Dir, n.Inode.Mode&0o100 != 0:
			n.Inode.Mode = 0o755
		default:
			n.Inode.Mode = 0o644
		}
	}
	for _, o := range r.Owners {
		n, ok := t.Get(o.Path)
		if !ok {
			return fmt.Errorf("owner line for %s: no such path in the layer", o.Path)
		}
		if n.Type != Dir && n.Type != File {
			return fmt.Errorf("owner line for %s: only files and directories have an owner line", o.Path)
		}
		n.Mode, n.UID, n.GID = o.Mode, o.UID, o.GID
	}
	return nil
}

// checkLinks refuses a link of the recipe that leads nowhere. Links of packages may: their targets are often in
// packages that the layer leaves out on purpose.
func checkLinks(t *Tree, r Rules) error {
	var errs []error
	for _, l := range r.Links {
		target, err := t.follow(l.Path, 0)
		if err != nil {
			errs = append(errs, fmt.Errorf("link %s: %w", l.Path, err))
			continue
		}
		if _, ok := t.nodes[target]; !ok && !atRunTime(target) {
			errs = append(errs, fmt.Errorf("link %s -> %s leads to %s, which is not in the layer", l.Path, l.Target, target))
		}
	}
	return errors.Join(errs...)
}

// atRunTime reports paths that exist only in a running guest.
func atRunTime(p string) bool {
	for _, dir := range []string{"run", "proc", "sys", "dev", "tmp"} {
		if p == dir || strings.HasPrefix(p, dir+"/") {
			return true
		}
	}
	return false
}

func checkTarget(target string) error {
	switch {
	case target == "" || len(target) > maxPath:
		return fmt.Errorf("link target of %d bytes, want 1..%d", len(target), maxPath)
	case !utf8.ValidString(target) || strings.ContainsFunc(target, unicode.IsControl):
		return fmt.Errorf("link target %q is not UTF-8 without control characters", target)
	}
	return nil
}
