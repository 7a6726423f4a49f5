package main

import (
	"fmt"
	"io"
	"path/filepath"

	"github.com/spf13/cobra"

	"cocoon/cmd/internal/cli"
	"cocoon/image/manifest"
	"cocoon/image/pipeline"
	"cocoon/image/recipe"
	"cocoon/measure/bootfiles"
)

// buildResult lists what was built.
type buildResult struct {
	Schema     string       `json:"schema"`
	Images     []imageEntry `json:"images"`
	DurationMS int64        `json:"duration_ms"`
}

// imageEntry is one image with its artefacts.
type imageEntry struct {
	Name           string          `json:"name"`
	Variant        string          `json:"variant"`
	Dir            string          `json:"dir"`
	ManifestSHA256 string          `json:"manifest_sha256"`
	Artefacts      []artefactEntry `json:"artefacts"`
}

// artefactEntry is one artefact.
type artefactEntry struct {
	Name      string `json:"name"`
	Kind      string `json:"kind"`
	SizeBytes int64  `json:"size_bytes"`
	SHA256    string `json:"sha256"`
}

// Text implements cli.Document: artefact, size, hash.
func (r buildResult) Text(w io.Writer) error {
	for i, img := range r.Images {
		if i > 0 {
			fmt.Fprintln(w) //nolint:errcheck // the table reports a closed output
		}
		rows := make([][]string, 0, len(img.Artefacts)+2)
		rows = append(rows, []string{img.Dir, "bytes", "sha256"})
		for _, a := range img.Artefacts {
			rows = append(rows, []string{"  " + a.Name, fmt.Sprintf("%15s", cli.Count(a.SizeBytes)), a.SHA256})
		}
		rows = append(rows, []string{"  " + manifest.FileName, "", img.ManifestSHA256})
		if err := cli.Table(w, rows); err != nil {
			return err
		}
	}
	return nil
}

// planResult is what --dry-run prints.
type planResult struct {
	Schema string   `json:"schema"`
	Steps  []string `json:"steps"`
}

// Text implements cli.Document.
func (r planResult) Text(w io.Writer) error {
	for i, s := range r.Steps {
		if _, err := fmt.Fprintf(w, "%2d %s\n", i+1, s); err != nil {
			return err
		}
	}
	return nil
}

func newImageBuildCmd(a *app) *cobra.Command {
	var b buildFlags
	cmd := &cobra.Command{
		Use:   "build [NAME...]",
		Short: "Build images from the lock, the same bytes on every machine",
		Long: "Build the named images, or all images of the variant. Missing inputs are fetched by hash unless\n" +
			"--offline is given. Finished steps are kept in the cache and used again.",
		Example: "  cocoon image build\n  cocoon image build proxy --profile test --offline",
		RunE: func(cmd *cobra.Command, names []string) error {
			o, err := b.options(a, names)
			if err != nil {
				return err
			}
			if a.dryRun {
				steps, err := pipeline.Plan(o)
				if err != nil {
					return err
				}
				return a.printer.Result(planResult{"cocoon.image.plan/1", steps})
			}
			start := a.now()
			built, err := pipeline.Run(cmd.Context(), o, a.report)
			if err != nil {
				return err
			}
			a.close()
			out := buildResult{Schema: "cocoon.image.build/1", Images: []imageEntry{}, DurationMS: a.now().Sub(start).Milliseconds()}
			for _, img := range built {
				e, err := entry(img.Dir, img.Manifest)
				if err != nil {
					return err
				}
				out.Images = append(out.Images, e)
			}
			return a.printer.Result(out)
		},
	}
	b.register(cmd)
	return cmd
}

// buildFlags are the flags of build, shared with the rebuild of verify.
type buildFlags struct {
	variant  string
	profiles []string
	offline  bool
	noCache  bool
	from     []string
	workers  int
}

func (b *buildFlags) register(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&b.variant, "variant", "cpu", "set of images to build when none is named: cpu or gpu")
	f.StringSliceVar(&b.profiles, "profile", []string{"production"}, "production, debug or test; several with commas")
	f.BoolVar(&b.offline, "offline", false, "use no network; a missing input is an error")
	f.BoolVar(&b.noCache, "no-cache", false, "run every step again")
	f.StringSliceVar(&b.from, "from", nil, "folder or URL with exported inputs to ask first")
	f.IntVar(&b.workers, "workers", 0, "steps that run at once (default: one per processor)")
}

func (b *buildFlags) options(a *app, names []string) (pipeline.Options, error) {
	o, err := a.options()
	if err != nil {
		return o, err
	}
	variants := make([]bootfiles.Variant, 0, len(b.profiles))
	for _, p := range b.profiles {
		v, err := recipe.ParseVariant(p)
		if err != nil {
			return o, cli.Tag(cli.KindUsage, err)
		}
		variants = append(variants, v)
	}
	if b.workers < 0 {
		return o, cli.Usagef("--workers %d is negative", b.workers)
	}
	o.Images, o.Build, o.Variants = names, b.variant, variants
	o.Offline, o.NoCache, o.From, o.Workers = b.offline, b.noCache, b.from, b.workers
	return o, nil
}

// entry describes a published image.
func entry(dir string, m *manifest.Manifest) (imageEntry, error) {
	sum, _, err := manifest.HashFile(filepath.Join(dir, manifest.FileName))
	if err != nil {
		return imageEntry{}, err
	}
	out := imageEntry{
		Name: m.Image.Name, Variant: string(m.Image.Variant), Dir: dir, ManifestSHA256: sum, Artefacts: []artefactEntry{},
	}
	for _, a := range m.Artefacts {
		out.Artefacts = append(out.Artefacts, artefactEntry{a.Name, string(a.Kind), a.Size, a.SHA256})
	}
	return out, nil
}
