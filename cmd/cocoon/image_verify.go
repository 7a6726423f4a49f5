package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/spf13/cobra"

	"cocoon/cmd/internal/cli"
	"cocoon/image/diff"
	"cocoon/image/manifest"
	"cocoon/image/pipeline"
	"cocoon/image/repro"
)

// verifyResult says whether an image is what its manifest states, and whether a rebuild gives the same.
type verifyResult struct {
	Schema    string          `json:"schema"`
	Image     string          `json:"image"`
	OK        bool            `json:"ok"`
	Artefacts []artefactCheck `json:"artefacts"`
	Checks    []imageCheck    `json:"checks"`
	Rebuild   *rebuildResult  `json:"rebuild,omitempty"`
}

// artefactCheck is one artefact against the manifest.
type artefactCheck struct {
	Name string `json:"name"`
	OK   bool   `json:"ok"`
	Want string `json:"want"`
	Have string `json:"have"`
}

// imageCheck is one statement about how the artefacts fit together.
type imageCheck struct {
	Name string `json:"name"`
	OK   bool   `json:"ok"`
	// Advisory statements do not decide about the image.
	Advisory bool   `json:"advisory"`
	Error    string `json:"error,omitempty"`
}

// rebuildResult is the comparison of two builds under varied conditions.
type rebuildResult struct {
	Reproducible bool             `json:"reproducible"`
	Conditions   []conditionEntry `json:"conditions"`
	Images       []rebuiltImage   `json:"images"`
	Kept         string           `json:"kept,omitempty"` // both builds, when they differ
}

// conditionEntry is one thing that the two builds had different.
type conditionEntry struct {
	Name string `json:"name"`
	A    string `json:"a"`
	B    string `json:"b"`
}

// rebuiltImage is one image of the rebuild.
type rebuiltImage struct {
	Name           string      `json:"name"`
	ManifestSHA256 string      `json:"manifest_sha256"`
	SameAsGiven    *bool       `json:"same_as_given,omitempty"` // as the image that was to be verified
	Diff           *diffResult `json:"diff,omitempty"`
}

// Text implements cli.Document.
func (r verifyResult) Text(w io.Writer) error {
	p := &lines{w: w}
	for _, a := range r.Artefacts {
		if a.OK {
			p.printf("ok        %s", a.Name)
		} else {
			p.printf("differs   %s: the manifest states %s, the file has %s", a.Name, a.Want, a.Have)
		}
	}
	for _, c := range r.Checks {
		switch {
		case c.OK:
			p.printf("ok        %s", c.Name)
		case c.Advisory:
			p.printf("unknown   %s: %s", c.Name, c.Error)
		default:
			p.printf("wrong     %s: %s", c.Name, c.Error)
		}
	}
	if r.Rebuild != nil {
		r.Rebuild.text(p)
	}
	return p.err
}

func (r *rebuildResult) text(p *lines) {
	p.printf("built twice with different:")
	for _, c := range r.Conditions {
		p.printf("  %s: %s | %s", c.Name, c.A, c.B)
	}
	for _, img := range r.Images {
		switch {
		case img.Diff != nil:
			p.printf("%s: not reproducible", img.Name)
			if p.err == nil {
				p.err = img.Diff.Text(p.w)
			}
		case img.SameAsGiven != nil && !*img.SameAsGiven:
			p.printf("%s: reproducible, but not the image given: manifest %s", img.Name, img.ManifestSHA256)
		default:
			p.printf("%s: reproducible, manifest %s", img.Name, img.ManifestSHA256)
		}
	}
	if r.Kept != "" {
		p.printf("both builds are kept in %s", r.Kept)
	}
}

// verifyFlags are the flags of verify.
type verifyFlags struct {
	rebuild bool
	scratch string
	build   buildFlags
}

func newImageVerifyCmd(a *app) *cobra.Command {
	var v verifyFlags
	cmd := &cobra.Command{
		Use:   "verify [MANIFEST]",
		Short: "Check an image against its manifest, and with --rebuild against two fresh builds",
		Long: "MANIFEST is an image's manifest, its folder, or its name below --out. With --rebuild the image is\n" +
			"built twice under conditions that must not matter, and all bytes are compared; without MANIFEST\n" +
			"all images of the variant are. Exit code 3: the files are not what the manifest states.\n" +
			"Exit code 4: not reproducible.",
		Example: "  cocoon image verify out/proxy/manifest.json\n  cocoon image verify --rebuild",
		Args:    args(0, 1, "MANIFEST"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 && !v.rebuild {
				return cli.Tag(cli.KindUsage, errors.New("missing argument MANIFEST"), "usage: "+cmd.UseLine())
			}
			return a.verify(cmd.Context(), args, v)
		},
	}
	v.build.register(cmd)
	cmd.Flags().BoolVar(&v.rebuild, "rebuild", false, "build twice under different conditions and compare")
	cmd.Flags().StringVar(&v.scratch, "scratch", "", "folder for the two builds (default: the folder for temporary files)")
	return cmd
}

func (a *app) verify(ctx context.Context, args []string, v verifyFlags) error {
	out := verifyResult{Schema: "cocoon.image.verify/1", OK: true, Artefacts: []artefactCheck{}, Checks: []imageCheck{}}
	var given *diff.Side
	if len(args) == 1 {
		name, err := a.imagePath(args[0])
		if err != nil {
			return err
		}
		side, err := diff.Open(name)
		if err != nil {
			return err
		}
		given = &side
		out.Image = side.Dir
		if err := out.checkFiles(ctx, side); err != nil {
			return err
		}
		if out.OK {
			out.examine(ctx, side)
		}
	}
	if out.OK && v.rebuild {
		if err := a.rebuild(ctx, &out, given, v); err != nil {
			return err
		}
	}
	a.close()
	if err := a.printer.Result(out); err != nil {
		return err
	}
	return out.verdict()
}

// checkFiles compares every artefact with the manifest.
func (r *verifyResult) checkFiles(ctx context.Context, side diff.Side) error {
	for _, art := range side.Manifest.Artefacts {
		one := &manifest.Manifest{Artefacts: []manifest.Artefact{art}}
		check := artefactCheck{Name: art.Name, OK: true, Want: art.SHA256, Have: art.SHA256}
		err := one.CheckFiles(ctx, side.Dir)
		var m *manifest.MismatchError
		switch {
		case errors.As(err, &m):
			check.OK, check.Want, check.Have = false, m.Want, m.Have
			r.OK = false
		case err != nil:
			return err
		}
		r.Artefacts = append(r.Artefacts, check)
	}
	return nil
}

// examine adds how the artefacts fit together; it has a meaning only for artefacts that are the manifest's.
func (r *verifyResult) examine(ctx context.Context, side diff.Side) {
	for _, c := range pipeline.Examine(ctx, side.Dir, side.Manifest) {
		check := imageCheck{Name: c.Name, OK: c.Err == nil, Advisory: c.Advisory}
		if c.Err != nil {
			check.Error = c.Err.Error()
			r.OK = r.OK && c.Advisory
		}
		r.Checks = append(r.Checks, check)
	}
}

// rebuild builds twice and compares, also with the given image.
func (a *app) rebuild(ctx context.Context, r *verifyResult, given *diff.Side, v verifyFlags) error {
	var names []string
	if given != nil {
		names = []string{given.Manifest.Image.Name}
		v.build.profiles = []string{string(given.Manifest.Image.Variant)}
	}
	o, err := v.build.options(a, names)
	if err != nil {
		return err
	}
	program, err := a.executable()
	if err != nil {
		return fmt.Errorf("finding this program: %w", err)
	}
	outcome, err := repro.Run(ctx, repro.Spec{
		Options: o, Program: program, Scratch: v.scratch,
		Report: func(leg, line string) {
			a.reporter.Report(cli.Event{Kind: cli.EventNote, Name: "leg " + leg, Detail: line})
		},
	})
	if err != nil {
		return err
	}
	r.Rebuild = newRebuildResult(outcome)
	if given == nil {
		return nil
	}
	sum, _, err := manifest.HashFile(filepath.Join(given.Dir, manifest.FileName))
	if err != nil {
		return err
	}
	label := pipeline.Label(given.Manifest.Image.Name, given.Manifest.Image.Variant)
	for i := range r.Rebuild.Images {
		if img := &r.Rebuild.Images[i]; img.Name == label {
			same := img.ManifestSHA256 == sum
			img.SameAsGiven = &same
			r.OK = r.OK && same
		}
	}
	return nil
}

func newRebuildResult(o *repro.Outcome) *rebuildResult {
	out := &rebuildResult{Reproducible: o.Equal(), Kept: o.Kept, Conditions: []conditionEntry{}, Images: []rebuiltImage{}}
	for _, c := range o.Conditions {
		out.Conditions = append(out.Conditions, conditionEntry(c))
	}
	for _, img := range o.Images {
		e := rebuiltImage{Name: img.Label, ManifestSHA256: img.Manifest}
		if !img.Report.Equal() || !img.SameManifest {
			d := newDiffResult("leg a", "leg b", img.Report)
			e.Diff = &d
		}
		out.Images = append(out.Images, e)
	}
	return out
}

// verdict is the error behind the exit code.
func (r *verifyResult) verdict() error {
	switch {
	case r.Rebuild != nil && !r.Rebuild.Reproducible:
		return cli.Shown(cli.KindNotReproducible, errors.New("two builds of the same inputs differ"))
	case !r.OK && r.Rebuild != nil:
		return cli.Shown(cli.KindDifference, fmt.Errorf("%s is not what this checkout builds", r.Image),
			"run \"cocoon image build\" and \"cocoon image diff\" to see which input differs")
	case !r.OK:
		return cli.Shown(cli.KindDifference, fmt.Errorf("%s is not what its manifest states", r.Image))
	}
	return nil
}
