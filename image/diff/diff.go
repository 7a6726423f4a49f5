// Package diff explains how two builds of an image differ: artefact, layer, file, first differing byte, and the input
// responsible (image.md section 18).
//
// It owns the comparison and the attribution. Both builds are hostile: formats are read with the bounded readers of
// their own packages, and what does not parse is compared byte by byte. It trusts a manifest only as a statement; an
// artefact that is not the file its manifest describes is reported as changed after the build. It is safe for
// concurrent use. It refuses nothing that two folders can hold, and never writes.
package diff

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"cocoon/image/manifest"
)

// maxFindings bounds what is listed per artefact; the total is always counted.
const maxFindings = 20

// Report is the comparison of two builds.
type Report struct {
	// Inputs are the inputs that differ, in the manifest's order.
	Inputs []InputChange
	// Artefacts are the artefacts that differ, in the manifest's order.
	Artefacts []Artefact
}

// Equal reports whether every artefact has the same bytes.
func (r *Report) Equal() bool { return len(r.Artefacts) == 0 }

// Artefact is one artefact that differs.
type Artefact struct {
	Name string
	// Findings are the first differences inside; Total counts all of them.
	Findings []Finding
	Total    int
	// Causes name the inputs responsible, or say why there are none.
	Causes []string
}

// Finding is one difference inside an artefact.
type Finding struct {
	// Path is where: a file of a layer, a section of a UKI and a record of its initrd; empty for the whole artefact.
	Path string
	// What differs: content, mode, owner, type, target, present, size.
	What string
	// A and B are the two sides in text.
	A, B string
	// Offset is the first differing byte of content, -1 when that does not apply.
	Offset int64
	// Cause is the input responsible for this path, when the listing names one.
	Cause string
}

// Side is one of the two builds.
type Side struct {
	Dir      string
	Manifest *manifest.Manifest
}

// Open reads the manifest of a build: name is the folder or its manifest.
func Open(name string) (Side, error) {
	m, err := manifest.Load(name)
	if err != nil {
		return Side{}, err
	}
	if st, err := os.Stat(name); err == nil && !st.IsDir() {
		name = filepath.Dir(name)
	}
	return Side{name, m}, nil
}

// Compare explains the difference between two builds. Artefacts whose files are missing on both sides are compared by
// the manifests alone.
func Compare(ctx context.Context, a, b Side) (*Report, error) {
	c := &comparison{a: a, b: b, changes: compareInputs(a.Manifest, b.Manifest)}
	report := &Report{Inputs: c.changes}
	for _, name := range artefactNames(a.Manifest, b.Manifest) {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("comparing builds: %w", err)
		}
		art, err := c.artefact(ctx, name)
		if err != nil {
			return nil, fmt.Errorf("comparing %s: %w", name, err)
		}
		if art != nil {
			report.Artefacts = append(report.Artefacts, *art)
		}
	}
	return report, nil
}

// comparison carries what all artefacts of one run share.
type comparison struct {
	a, b    Side
	changes []InputChange
	differ  []string // artefacts found to differ so far
}

// artefact compares one artefact; nil means that it is the same.
func (c *comparison) artefact(ctx context.Context, name string) (*Artefact, error) {
	inA, okA := find(c.a.Manifest, name)
	inB, okB := find(c.b.Manifest, name)
	if okA != okB {
		f := Finding{What: "present", A: presence(okA), B: presence(okB), Offset: -1}
		return c.explain(either(inA, inB), []Finding{f}, nil), nil
	}
	fileA, fileB := filepath.Join(c.a.Dir, name), filepath.Join(c.b.Dir, name)
	missA, missB := missing(fileA), missing(fileB)
	if missA && missB {
		if inA.SHA256 == inB.SHA256 {
			return nil, nil
		}
		f := Finding{What: "content", A: inA.SHA256, B: inB.SHA256, Offset: -1}
		return c.explain(either(inA, inB), []Finding{f}, nil), nil
	}
	if missA || missB {
		f := Finding{What: "file", A: presence(!missA), B: presence(!missB), Offset: -1}
		return c.explain(either(inA, inB), []Finding{f}, nil), nil
	}
	first, equal, err := firstDifferenceOfFiles(ctx, fileA, fileB)
	if err != nil || equal {
		return nil, err
	}
	findings, err := c.inside(ctx, inA.Kind, fileA, fileB)
	if err != nil {
		return nil, err
	}
	if len(findings) == 0 {
		findings = []Finding{first}
	}
	changed, err := c.changedAfterBuild(inA, inB)
	if err != nil {
		return nil, err
	}
	return c.explain(inA, findings, changed), nil
}

// inside looks into the format of an artefact. No findings mean that the format says nothing about the difference.
func (c *comparison) inside(ctx context.Context, kind manifest.Kind, fileA, fileB string) ([]Finding, error) {
	switch kind {
	case manifest.KindLayer:
		return compareLayers(ctx, fileA, fileB)
	case manifest.KindInitrd:
		return compareFiles(fileA, fileB, func(a, b []byte) ([]Finding, error) { return compareInitrds(ctx, a, b) })
	case manifest.KindUKI:
		return compareFiles(fileA, fileB, func(a, b []byte) ([]Finding, error) { return compareUKIs(ctx, a, b) })
	default:
		return nil, nil
	}
}

// changedAfterBuild names the sides whose file is not what their manifest states.
func (c *comparison) changedAfterBuild(inA, inB manifest.Artefact) ([]string, error) {
	var out []string
	for _, s := range []struct {
		side Side
		art  manifest.Artefact
	}{{c.a, inA}, {c.b, inB}} {
		sum, _, err := manifest.HashFile(filepath.Join(s.side.Dir, s.art.Name))
		if err != nil {
			return nil, err
		}
		if sum != s.art.SHA256 {
			out = append(out, fmt.Sprintf("%s was changed after the build: its manifest states SHA-256 %s, the file has %s",
				filepath.Join(s.side.Dir, s.art.Name), s.art.SHA256, sum))
		}
	}
	return out, nil
}

func find(m *manifest.Manifest, name string) (manifest.Artefact, bool) {
	for _, a := range m.Artefacts {
		if a.Name == name {
			return a, true
		}
	}
	return manifest.Artefact{}, false
}

// artefactNames lists the names of both manifests, causes before consequences.
func artefactNames(a, b *manifest.Manifest) []string {
	// Ranks of image.md section 1: a disk holds a UKI, which holds an initrd, which describes the layers.
	order := []manifest.Kind{
		manifest.KindLayer, manifest.KindKernel, manifest.KindCmdline, manifest.KindInitrd, manifest.KindUKI,
		manifest.KindDisk, manifest.KindFirmware, manifest.KindListing, manifest.KindSBOM,
	}
	all := slices.Concat(a.Artefacts, b.Artefacts)
	slices.SortStableFunc(all, func(x, y manifest.Artefact) int {
		return cmp.Or(cmp.Compare(slices.Index(order, x.Kind), slices.Index(order, y.Kind)), cmp.Compare(x.Name, y.Name))
	})
	var out []string
	for _, art := range all {
		if !slices.Contains(out, art.Name) {
			out = append(out, art.Name)
		}
	}
	return out
}

func either(a, b manifest.Artefact) manifest.Artefact {
	if a.Name != "" {
		return a
	}
	return b
}

func missing(name string) bool {
	_, err := os.Stat(name)
	return errors.Is(err, fs.ErrNotExist)
}

func presence(ok bool) string {
	if ok {
		return "present"
	}
	return "missing"
}
