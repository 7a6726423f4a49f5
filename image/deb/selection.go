package deb

import (
	"fmt"
	"path"
	"strings"
)

// Selection says which of a package's files a layer takes (image.md section 9.3). Globs add: without any, everything
// comes except man, info and doc pages (copyright files stay) and locales. Drop then takes away.
//
// A glob is a path without leading slash; "*", "?" and "[...]" stay within one component (path.Match), "**" stands for
// any number of components. Parents of what is taken come along.
type Selection struct {
	Globs []string
	Drop  []string
}

// defaultDrop are the folders that a layer has no use for.
var defaultDrop = []string{"usr/share/man", "usr/share/info", "usr/share/doc", "usr/share/locale"} //nolint:gochecknoglobals // constant table

// validate checks the patterns' syntax.
func (s Selection) validate() error {
	for _, list := range [][]string{s.Globs, s.Drop} {
		for _, glob := range list {
			if glob == "" || path.IsAbs(glob) || path.Clean(glob) != glob {
				return fmt.Errorf("glob %q: want a clean path without leading slash", glob)
			}
			for part := range strings.SplitSeq(glob, "/") {
				if _, err := path.Match(part, "x"); err != nil {
					return fmt.Errorf("glob %q: %w", glob, err)
				}
			}
		}
	}
	return nil
}

// takes decides about one path; used collects the globs that matched something.
func (s Selection) takes(e entry, used map[string]bool) bool {
	taken := false
	for _, glob := range s.Globs {
		if matchGlob(glob, e.Path) {
			used[glob], taken = true, true
		}
	}
	if len(s.Globs) == 0 {
		taken = !droppedByDefault(e)
	}
	for _, glob := range s.Drop {
		if taken && matchGlob(glob, e.Path) {
			return false
		}
	}
	return taken
}

func droppedByDefault(e entry) bool {
	for _, dir := range defaultDrop {
		rest, below := strings.CutPrefix(e.Path, dir+"/")
		switch {
		case e.Path == dir:
			return true
		case !below:
			continue
		}
		// usr/share/doc/PACKAGE may be a link to the folder that has the copyright file.
		isCopyright := dir == "usr/share/doc" && (path.Base(rest) == "copyright" || e.Type == typeSymlink && !strings.Contains(rest, "/"))
		return !isCopyright
	}
	return false
}

// matchGlob matches component by component; "**" tries every number of components.
func matchGlob(glob, name string) bool {
	return matchParts(strings.Split(glob, "/"), strings.Split(name, "/"))
}

func matchParts(glob, name []string) bool {
	for len(glob) > 0 {
		if glob[0] == "**" {
			for i := range len(name) + 1 {
				if matchParts(glob[1:], name[i:]) {
					return true
				}
			}
			return false
		}
		if len(name) == 0 {
			return false
		}
		if ok, err := path.Match(glob[0], name[0]); err != nil || !ok {
			return false
		}
		glob, name = glob[1:], name[1:]
	}
	return len(name) == 0
}
