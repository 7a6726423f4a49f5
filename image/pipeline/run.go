package pipeline

import (
	"context"
	"fmt"

	"cocoon/image/fetch"
	"cocoon/image/gpu"
	"cocoon/image/lock"
	"cocoon/image/manifest"
	"cocoon/image/recipe"
	"cocoon/measure/bootfiles"
)

// Built is one finished image.
type Built struct {
	// Dir is the folder with the artefacts and the manifest.
	Dir      string
	Manifest *manifest.Manifest
}

// target is one image in one variant.
type target struct {
	image   recipe.Image
	variant bootfiles.Variant
}

// label is the target's folder and the end of its steps' names.
func (t target) label() string { return Label(t.image.Name, t.variant) }

// Label names an image in a variant: the bare name is production.
func Label(image string, v bootfiles.Variant) string {
	if v == bootfiles.Production {
		return image
	}
	return image + "-" + string(v)
}

// build is what the rows of the table are made from.
type build struct {
	opts    Options
	recipe  *recipe.Recipe
	lock    *lock.Lock
	lockSum string
	store   *fetch.Store
	gpu     *gpu.Config // nil when the recipe has no gpu variant
	targets []target
	steps   []step
}

// Run builds images and returns them in the order of their labels.
func Run(ctx context.Context, o Options, report Reporter) ([]Built, error) {
	o, err := o.complete()
	if err != nil {
		return nil, err
	}
	b, err := newBuild(o)
	if err != nil {
		return nil, err
	}
	if err := b.table(); err != nil {
		return nil, fmt.Errorf("planning build: %w", err)
	}
	c, err := openCache(o.CacheDir)
	if err != nil {
		return nil, err
	}
	d := &driver{cache: c, noCache: o.NoCache, workers: o.Workers, report: report, now: o.Now}
	results, err := d.run(ctx, b.steps)
	if err != nil {
		return nil, err
	}
	return b.built(results)
}

// newBuild reads recipe and lock and picks the targets.
func newBuild(o Options) (*build, error) {
	r, err := recipe.Load(RecipePath(o.Root))
	if err != nil {
		return nil, err
	}
	images, err := r.Select(o.Build, o.Images)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUsage, err)
	}
	l, err := lock.Load(LockPath(o.Root))
	if err != nil {
		return nil, err
	}
	sum, _, err := manifest.HashFile(LockPath(o.Root))
	if err != nil {
		return nil, err
	}
	store, err := fetch.Open(StoreDir(o.CacheDir))
	if err != nil {
		return nil, err
	}
	c, err := loadGPU(o.Root)
	if err != nil {
		return nil, err
	}
	b := &build{opts: o, recipe: r, lock: l, lockSum: sum, store: store, gpu: c}
	for _, img := range images {
		for _, v := range o.Variants {
			b.targets = append(b.targets, target{img, v})
		}
	}
	return b, nil
}

// table fills in the rows, each after what it needs.
func (b *build) table() error {
	b.add(b.checkStep())
	b.add(b.fetchStep())
	b.add(b.sourcesStep())
	for _, rows := range []func() error{b.gpuSteps, b.layerSteps, b.kernelSteps, b.firmwareStep, b.initStep} {
		if err := rows(); err != nil {
			return err
		}
	}
	for _, t := range b.targets {
		if err := b.imageSteps(t); err != nil {
			return fmt.Errorf("image %s: %w", t.label(), err)
		}
	}
	return nil
}

func (b *build) add(s step) { b.steps = append(b.steps, s) }

func (b *build) built(results map[string]*Result) ([]Built, error) {
	out := make([]Built, 0, len(b.targets))
	for _, t := range b.targets {
		dir := b.outDir(t)
		m, err := manifest.Load(dir)
		if err != nil {
			return nil, err
		}
		if _, ok := results[publishStep(t)]; !ok {
			return nil, fmt.Errorf("image %s was not published", t.label())
		}
		out = append(out, Built{dir, m})
	}
	return out, nil
}
