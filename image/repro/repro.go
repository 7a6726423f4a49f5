// Package repro builds images twice under conditions that must not matter and compares every byte (image.md section
// 18).
//
// It owns the list of conditions and the two legs: each is a copy of the checkout in a folder of its own, built by the
// same program as a child process with its own environment, caches, file modes, file order and, for root, user. It
// trusts the program it starts. Run keeps both legs when they differ, so that the difference can be looked at. It is
// safe for concurrent use with different scratch folders. It never writes into the checkout.
package repro

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sync/errgroup"

	"cocoon/image/diff"
	"cocoon/image/manifest"
	"cocoon/image/pipeline"
)

// Spec says what to rebuild.
type Spec struct {
	// Options are those of the build: checkout, cache with inputs, images, variants.
	Options pipeline.Options
	// Program is the builder, called as `PROGRAM image build ...`.
	Program string
	// Scratch is where the legs work; empty makes a folder for temporary files.
	Scratch string
	// Report, when set, hears a leg's progress line by line.
	Report func(leg, line string)
}

// Outcome is what the two builds showed.
type Outcome struct {
	Conditions []Condition
	Images     []Image
	// Kept is the folder with both legs; empty when they agreed and were deleted.
	Kept string
}

// Condition is one thing that the legs have different.
type Condition struct{ Name, A, B string }

// Image is the comparison of one image.
type Image struct {
	Label string
	// Manifest is the hash of the first leg's manifest.
	Manifest string
	Report   *diff.Report
	// SameManifest tells whether the two manifests are the same bytes.
	SameManifest bool
}

// Equal reports whether every artefact and every manifest was the same.
func (o *Outcome) Equal() bool {
	for _, img := range o.Images {
		if !img.Report.Equal() || !img.SameManifest {
			return false
		}
	}
	return len(o.Images) > 0
}

// Run builds both legs and compares them.
func Run(ctx context.Context, s Spec) (out *Outcome, err error) {
	if _, err := pipeline.CheckLock(ctx, s.Options); err != nil {
		return nil, err
	}
	scratch, err := makeScratch(s.Scratch)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil || out.Equal() {
			err = errors.Join(err, removeAll(scratch))
		}
	}()
	program := filepath.Join(scratch, "cocoon")
	if err := copyFile(s.Program, program, 0o755); err != nil {
		return nil, fmt.Errorf("rebuilding: %w", err)
	}
	inputs := filepath.Join(scratch, "inputs")
	store, arts, err := pipeline.FetchAll(ctx, s.Options, false, nil)
	if err != nil {
		return nil, fmt.Errorf("rebuilding: %w", err)
	}
	if err := store.Export(ctx, inputs, arts); err != nil {
		return nil, fmt.Errorf("rebuilding: %w", err)
	}
	modules, err := moduleCache(ctx, s.Options, filepath.Join(scratch, "modules"))
	if err != nil {
		return nil, fmt.Errorf("rebuilding: %w", err)
	}
	legs := [2]leg{legA(scratch), legB(scratch)}
	group, legCtx := errgroup.WithContext(ctx)
	for i := range legs {
		group.Go(func() error {
			l := &legs[i]
			if err := l.prepare(s.Options.Root); err != nil {
				return fmt.Errorf("preparing leg %s: %w", l.name, err)
			}
			return l.build(legCtx, s, program, inputs, modules)
		})
	}
	if err := group.Wait(); err != nil {
		return nil, fmt.Errorf("rebuilding: %w", err)
	}
	return compare(ctx, legs, scratch)
}

// compare opens what both legs left. An image that only one leg built is an error, not a difference.
func compare(ctx context.Context, legs [2]leg, scratch string) (*Outcome, error) {
	out := &Outcome{Conditions: conditions(legs), Kept: scratch}
	entries, err := os.ReadDir(legs[0].out())
	if err != nil {
		return nil, fmt.Errorf("comparing rebuilds: %w", err)
	}
	for _, e := range entries {
		var sides [2]diff.Side
		var texts [2][]byte
		for i, l := range legs {
			dir := filepath.Join(l.out(), e.Name())
			if sides[i], err = diff.Open(dir); err != nil {
				return nil, fmt.Errorf("comparing rebuilds: leg %s: %w", l.name, err)
			}
			if texts[i], err = os.ReadFile(filepath.Join(dir, manifest.FileName)); err != nil {
				return nil, fmt.Errorf("comparing rebuilds: leg %s: %w", l.name, err)
			}
		}
		report, err := diff.Compare(ctx, sides[0], sides[1])
		if err != nil {
			return nil, fmt.Errorf("comparing rebuilds of %s: %w", e.Name(), err)
		}
		sum, _, err := manifest.HashFile(filepath.Join(sides[0].Dir, manifest.FileName))
		if err != nil {
			return nil, err
		}
		out.Images = append(out.Images, Image{e.Name(), sum, report, bytes.Equal(texts[0], texts[1])})
	}
	if out.Equal() {
		out.Kept = ""
	}
	return out, nil
}
