package deb

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strconv"
	"strings"
)

const (
	// maxPackagesText bounds an unpacked package list; Debian's main for one architecture has about 57 MB.
	maxPackagesText = 256 << 20
	// maxPackages bounds its paragraphs; Debian's main has about 70,000.
	maxPackages = 1_000_000
	// maxPackageSize bounds one .deb.
	maxPackageSize = 8 << 30
)

// Candidate is one package of a suite's list.
type Candidate struct {
	Name, Version, Arch string
	Suite               string
	Path                string // below the mirror
	SHA256              string
	Size                int64
	// The relation fields as they stand in the list; they are parsed when the package is looked at.
	PreDepends, Depends, Conflicts, Breaks, Provides string

	parsed Version
}

// list is a suite's packages.
type list struct {
	byName    map[string][]*Candidate // newest first
	providers map[string][]provider
}

// provider is a package that offers a virtual name, with a version or without.
type provider struct {
	by      *Candidate
	version string // "" when the offer has none
}

// readList parses a package list from its plain text.
func readList(ctx context.Context, r io.Reader, suite, arch string) (*list, error) {
	bounded := &io.LimitedReader{R: contextReader{ctx, r}, N: maxPackagesText + 1}
	out := &list{byName: map[string][]*Candidate{}, providers: map[string][]provider{}}
	in, p := newParagraphs(bounded), Paragraph(nil)
	for n := 0; ; n++ {
		var err error
		if p, err = in.next(p); errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("reading the package list of %s: %w", suite, err)
		}
		if n == maxPackages || bounded.N == 0 {
			return nil, fmt.Errorf("reading the package list of %s: over %d packages or %d bytes", suite, maxPackages, maxPackagesText)
		}
		c, err := candidate(p, suite)
		if err == nil && (c.Arch == arch || c.Arch == "all") {
			err = out.add(c)
		}
		if err != nil {
			return nil, fmt.Errorf("reading the package list of %s: line %d: %w", suite, in.line, err)
		}
	}
	out.sort()
	return out, nil
}

func candidate(p Paragraph, suite string) (*Candidate, error) {
	c := &Candidate{Suite: suite}
	var size string
	for _, f := range p {
		switch f.Name {
		case "Package":
			c.Name = f.Value
		case "Version":
			c.Version = f.Value
		case "Architecture":
			c.Arch = f.Value
		case "Filename":
			c.Path = f.Value
		case "SHA256":
			c.SHA256 = f.Value
		case "Size":
			size = f.Value
		case "Pre-Depends":
			c.PreDepends = f.Value
		case "Depends":
			c.Depends = f.Value
		case "Conflicts":
			c.Conflicts = f.Value
		case "Breaks":
			c.Breaks = f.Value
		case "Provides":
			c.Provides = f.Value
		}
	}
	return c, c.check(size)
}

func (c *Candidate) check(size string) (err error) {
	if !packageName.MatchString(c.Name) || !packageName.MatchString(c.Arch) {
		return fmt.Errorf("package %.80q, architecture %.80q", c.Name, c.Arch)
	}
	if c.parsed, err = ParseVersion(c.Version); err != nil {
		return fmt.Errorf("package %s: %w", c.Name, err)
	}
	if !hexHash.MatchString(c.SHA256) {
		return fmt.Errorf("package %s: SHA256 %.80q", c.Name, c.SHA256)
	}
	if c.Size, err = strconv.ParseInt(size, 10, 64); err != nil || c.Size <= 0 || c.Size > maxPackageSize {
		return fmt.Errorf("package %s: size %.40q", c.Name, size)
	}
	if c.Path == "" || path.IsAbs(c.Path) || path.Clean(c.Path) != c.Path || strings.HasPrefix(c.Path, "..") {
		return fmt.Errorf("package %s: file name %.200q", c.Name, c.Path)
	}
	return nil
}

func (l *list) add(c *Candidate) error {
	l.byName[c.Name] = append(l.byName[c.Name], c)
	if c.Provides == "" {
		return nil
	}
	offers, err := ParseRelations(c.Provides)
	if err != nil {
		return fmt.Errorf("package %s: provides: %w", c.Name, err)
	}
	for _, o := range offers {
		if len(o) != 1 || (o[0].Op != "" && o[0].Op != "=") {
			return fmt.Errorf("package %s: provides %q", c.Name, o)
		}
		l.providers[o[0].Name] = append(l.providers[o[0].Name], provider{c, o[0].Ver})
	}
	return nil
}

// merge takes over another component's packages.
func (l *list) merge(m *list) {
	for name, cs := range m.byName {
		l.byName[name] = append(l.byName[name], cs...)
	}
	for name, ps := range m.providers {
		l.providers[name] = append(l.providers[name], ps...)
	}
	l.sort()
}

// sort puts candidates newest first and providers by name, so that no choice depends on file order.
func (l *list) sort() {
	for _, cs := range l.byName {
		slices.SortFunc(cs, newestFirst)
	}
	for _, ps := range l.providers {
		slices.SortFunc(ps, func(a, b provider) int {
			if c := strings.Compare(a.by.Name, b.by.Name); c != 0 {
				return c
			}
			return newestFirst(a.by, b.by)
		})
	}
}

func newestFirst(a, b *Candidate) int {
	if c := b.parsed.Compare(a.parsed); c != 0 {
		return c
	}
	return strings.Compare(a.SHA256, b.SHA256)
}

// Label names the candidate in errors: "libc6 2.41-12 (trixie)".
func (c *Candidate) Label() string { return c.Name + " " + c.Version + " (" + c.Suite + ")" }
