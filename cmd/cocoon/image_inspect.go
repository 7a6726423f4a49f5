package main

import (
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"cocoon/cmd/internal/cli"
	"cocoon/image/diff"
)

// inspectResult is what an image is and what is in it.
type inspectResult struct {
	Schema   string       `json:"schema"`
	Image    imageEntry   `json:"image"`
	Profile  string       `json:"profile"`
	Cmdline  string       `json:"cmdline"`
	Epoch    int64        `json:"epoch"`
	Go       string       `json:"go"`
	Lock     string       `json:"lock_sha256"`
	Recipe   string       `json:"recipe_sha256"`
	Layers   []layerEntry `json:"layers"`
	Packages []inputEntry `json:"packages"`
}

// layerEntry is one layer.
type layerEntry struct {
	ID        string `json:"id"`
	Role      string `json:"role"`
	SizeBytes int64  `json:"size_bytes"` // of the file system, without the hash tree
	Files     int    `json:"files"`
	RootHash  string `json:"root_hash"`
	Packages  int    `json:"packages"`
}

// inputEntry is one package and where it went.
type inputEntry struct {
	Kind      string   `json:"kind"`
	Name      string   `json:"name"`
	Version   string   `json:"version"`
	SHA256    string   `json:"sha256"`
	Artefacts []string `json:"artefacts"`
}

// Text implements cli.Document: four tables.
func (r inspectResult) Text(w io.Writer) error {
	for i, table := range [][][]string{r.head(), r.layerRows(), r.artefactRows(), r.packageRows()} {
		if i > 0 {
			if _, err := fmt.Fprintln(w); err != nil {
				return err
			}
		}
		if err := cli.Table(w, table); err != nil {
			return err
		}
	}
	return nil
}

func (r inspectResult) head() [][]string {
	return [][]string{
		{"image", r.Image.Name + " " + r.Image.Variant},
		{"profile", r.Profile},
		{"cmdline", r.Cmdline},
		{"go", r.Go},
		{"lock", r.Lock},
		{"recipe", r.Recipe},
	}
}

func (r inspectResult) layerRows() [][]string {
	rows := make([][]string, 0, len(r.Layers)+1)
	rows = append(rows, []string{"layer", "role", "bytes", "paths", "packages", "root hash"})
	for _, l := range r.Layers {
		rows = append(rows, []string{
			l.ID, l.Role, cli.Count(l.SizeBytes), cli.Count(int64(l.Files)), fmt.Sprint(l.Packages), l.RootHash,
		})
	}
	return rows
}

func (r inspectResult) artefactRows() [][]string {
	rows := make([][]string, 0, len(r.Image.Artefacts)+1)
	rows = append(rows, []string{"artefact", "bytes", "sha256"})
	for _, a := range r.Image.Artefacts {
		rows = append(rows, []string{a.Name, cli.Count(a.SizeBytes), a.SHA256})
	}
	return rows
}

func (r inspectResult) packageRows() [][]string {
	rows := make([][]string, 0, len(r.Packages)+1)
	rows = append(rows, []string{"package", "version", "sha256"})
	for _, p := range r.Packages {
		rows = append(rows, []string{p.Kind + " " + p.Name, p.Version, p.SHA256})
	}
	return rows
}

func newImageInspectCmd(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "inspect IMAGE",
		Short:   "Print an image's layers, packages, sizes and hashes",
		Long:    "IMAGE is the folder of a built image, its manifest, or the name of an image below --out.",
		Example: "  cocoon image inspect proxy\n  cocoon image inspect out/worker-cpu/manifest.json -o json",
		Args:    args(1, 1, "IMAGE"),
		RunE: func(_ *cobra.Command, args []string) error {
			name, err := a.imagePath(args[0])
			if err != nil {
				return err
			}
			side, err := diff.Open(name)
			if err != nil {
				return err
			}
			out, err := inspect(side)
			if err != nil {
				return err
			}
			return a.printer.Result(out)
		},
	}
}

func inspect(side diff.Side) (*inspectResult, error) {
	m := side.Manifest
	img, err := entry(side.Dir, m)
	if err != nil {
		return nil, err
	}
	out := &inspectResult{
		Schema: "cocoon.image.inspect/1", Image: img, Profile: m.Profile, Cmdline: m.Cmdline, Epoch: m.Epoch, Go: m.Toolchain.Go,
		Lock: m.LockSHA256, Recipe: m.RecipeSHA256, Layers: []layerEntry{}, Packages: []inputEntry{},
	}
	for _, in := range m.Inputs {
		if in.Kind == "deb" || in.Kind == "wheel" || in.Kind == "archive" || in.Kind == "file" {
			out.Packages = append(out.Packages, inputEntry{in.Kind, in.Name, in.Version, in.SHA256, in.Artefacts})
		}
	}
	for i, l := range m.Layers {
		e := layerEntry{ID: l.ID, Role: string(l.Role), SizeBytes: int64(l.DataBlocks) * 4096, RootHash: l.RootHash} //nolint:gosec // the manifest's own check bounds it
		if i < len(m.LayerFiles) {
			e.Files = m.LayerFiles[i].Files
		}
		for _, p := range out.Packages {
			if slices.Contains(p.Artefacts, "layer-"+l.ID+".img") {
				e.Packages++
			}
		}
		out.Layers = append(out.Layers, e)
	}
	return out, nil
}
