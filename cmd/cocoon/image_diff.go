package main

import (
	"fmt"
	"io"
	"path/filepath"

	"github.com/spf13/cobra"

	"cocoon/cmd/internal/cli"
	"cocoon/image/diff"
	"cocoon/image/manifest"
)

// diffResult explains how two images differ.
type diffResult struct {
	Schema    string         `json:"schema"`
	A         string         `json:"a"`
	B         string         `json:"b"`
	Equal     bool           `json:"equal"`
	Inputs    []string       `json:"inputs"`
	Artefacts []artefactDiff `json:"artefacts"`
}

// artefactDiff is one artefact that differs.
type artefactDiff struct {
	Name        string        `json:"name"`
	Causes      []string      `json:"causes"`
	Differences int           `json:"differences"`
	Findings    []findingDiff `json:"findings"`
}

// findingDiff is one difference inside an artefact. An absent offset means that it does not apply.
type findingDiff struct {
	Path   string `json:"path"`
	What   string `json:"what"`
	A      string `json:"a"`
	B      string `json:"b"`
	Offset *int64 `json:"offset,omitempty"`
	Cause  string `json:"cause,omitempty"`
}

// Text implements cli.Document: causes first, then the places.
func (r diffResult) Text(w io.Writer) error {
	p := &lines{w: w}
	if r.Equal {
		p.printf("equal: every artefact has the same bytes")
		return p.err
	}
	if len(r.Inputs) > 0 {
		p.printf("inputs that differ")
		for _, in := range r.Inputs {
			p.printf("  %s", in)
		}
	}
	for _, a := range r.Artefacts {
		p.printf("%s", a.Name)
		for _, c := range a.Causes {
			p.printf("  because  %s", c)
		}
		for _, f := range a.Findings {
			p.printf("  %s", f)
		}
		if more := a.Differences - len(a.Findings); more > 0 {
			p.printf("  and %d more differences", more)
		}
	}
	return p.err
}

// String is one line: place, property, both sides.
func (f findingDiff) String() string {
	place := f.Path
	if place == "" {
		place = "the file"
	}
	if f.Offset != nil {
		return fmt.Sprintf("%s  %s differs first at byte %d: %s | %s", place, f.What, *f.Offset, f.A, f.B)
	}
	return fmt.Sprintf("%s  %s: %s | %s", place, f.What, f.A, f.B)
}

// lines writes lines until one fails.
type lines struct {
	w   io.Writer
	err error
}

func (l *lines) printf(format string, args ...any) {
	if l.err == nil {
		_, l.err = fmt.Fprintf(l.w, format+"\n", args...)
	}
}

func newImageDiffCmd(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "diff A B",
		Short: "Explain how two images differ: artefact, file, first byte, and the input responsible",
		Long:  "A and B are folders of built images, their manifests, or names of images below --out.",
		Example: "  cocoon image diff out/proxy /srv/published/proxy\n" +
			"  cocoon image diff worker-cpu worker-cpu-debug -o json",
		Args: args(2, 2, "A B"),
		RunE: func(cmd *cobra.Command, args []string) error {
			var sides [2]diff.Side
			for i, arg := range args {
				name, err := a.imagePath(arg)
				if err != nil {
					return err
				}
				if sides[i], err = diff.Open(name); err != nil {
					return err
				}
			}
			report, err := diff.Compare(cmd.Context(), sides[0], sides[1])
			if err != nil {
				return err
			}
			out := newDiffResult(sides[0].Dir, sides[1].Dir, report)
			if err := a.printer.Result(out); err != nil {
				return err
			}
			if !report.Equal() {
				return cli.Shown(cli.KindDifference, fmt.Errorf("%d artefacts differ", len(report.Artefacts)))
			}
			return nil
		},
	}
}

func newDiffResult(a, b string, r *diff.Report) diffResult {
	out := diffResult{
		Schema: "cocoon.image.diff/1", A: a, B: b, Equal: r.Equal(), Inputs: []string{}, Artefacts: []artefactDiff{},
	}
	for _, in := range r.Inputs {
		out.Inputs = append(out.Inputs, in.String())
	}
	for _, art := range r.Artefacts {
		d := artefactDiff{Name: art.Name, Causes: art.Causes, Differences: art.Total, Findings: []findingDiff{}}
		for _, f := range art.Findings {
			e := findingDiff{Path: f.Path, What: f.What, A: f.A, B: f.B, Cause: f.Cause}
			if f.Offset >= 0 {
				e.Offset = &f.Offset
			}
			d.Findings = append(d.Findings, e)
		}
		out.Artefacts = append(out.Artefacts, d)
	}
	return out
}

// imagePath turns an argument into the folder or manifest of an image: a path, or a name below --out.
func (a *app) imagePath(arg string) (string, error) {
	if isFile(arg) || isFile(filepath.Join(arg, manifest.FileName)) {
		return arg, nil
	}
	dir := a.out
	if dir == "" {
		root, err := a.checkout()
		if err != nil {
			return "", cli.Tag(cli.KindUsage, fmt.Errorf("no image %q: it is no path, and there is no checkout to look in", arg))
		}
		dir = filepath.Join(root, "out")
	}
	if named := filepath.Join(dir, arg); isDir(named) {
		return named, nil
	}
	return "", cli.Tag(cli.KindUsage, fmt.Errorf("no image %q: neither a manifest, nor a folder with one, nor a name below %s", arg, dir),
		"run \"cocoon image ls\" to see what is built")
}
