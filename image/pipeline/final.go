package pipeline

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"cocoon/image/lock"
	"cocoon/image/manifest"
	"cocoon/image/sbom"
	"cocoon/measure/bootfiles"
)

func sbomStep(t target) string     { return "sbom " + t.label() }
func manifestStep(t target) string { return "manifest " + t.label() }
func publishStep(t target) string  { return "publish " + t.label() }

func (b *build) outDir(t target) string { return filepath.Join(b.opts.OutDir, t.label()) }

// product is one artefact and the row that makes it.
type product struct {
	name string
	kind manifest.Kind
	step string
}

// products are an image's artefacts in the manifest's order, the bill of materials and the manifest excepted.
func (t target) products() []product {
	ids := t.image.LayerIDs(t.variant)
	out := append(make([]product, 0, 7+2*len(ids)), []product{
		{ukiFile, manifest.KindUKI, ukiStep(t)},
		{kernelFile, manifest.KindKernel, kernelName},
		{initrdFile, manifest.KindInitrd, initrdStep(t)},
		{cmdlineFile, manifest.KindCmdline, initrdStep(t)},
	}...)
	for _, id := range ids {
		out = append(out, product{layerFile(id), manifest.KindLayer, layerStep(id)})
	}
	out = append(out,
		product{diskFile, manifest.KindDisk, diskStep(t)},
		product{firmwareFile, manifest.KindFirmware, firmwareName},
		product{initrdFiles, manifest.KindListing, initrdStep(t)})
	for _, id := range ids {
		out = append(out, product{layerFiles(id), manifest.KindListing, layerStep(id)})
	}
	return out
}

// finalSteps adds the rows that describe an image and put it into its folder.
func (b *build) finalSteps(t target) {
	products := t.products()
	needs := []string{sourcesName, initName}
	for _, p := range products {
		needs = append(needs, p.step)
	}
	slices.Sort(needs)
	needs = slices.Compact(needs)
	origins := b.provenance(products)
	b.add(step{
		Name: sbomStep(t), Kind: "sbom", Version: 1, Needs: needs, Outputs: []string{sbom.FileName},
		Params: struct {
			Label   string            `json:"label"`
			Epoch   int64             `json:"epoch"`
			Inputs  []manifest.Input  `json:"inputs"`
			Licence map[string]string `json:"licence"`
			Source  map[string]string `json:"source"`
		}{t.label(), b.lock.Epoch, origins, b.licences(), b.firstSources()},
		Run: func(_ context.Context, w *work) error { return b.buildSBOM(w, t, products, origins) },
	})
	all := append(slices.Clone(products), product{sbom.FileName, manifest.KindSBOM, sbomStep(t)})
	b.add(step{
		Name: manifestStep(t), Kind: "manifest", Version: 1, Needs: append(slices.Clone(needs), sbomStep(t)),
		Outputs: []string{manifest.FileName},
		Params: struct {
			Image   bootfiles.Image  `json:"image"`
			Cmdline string           `json:"cmdline"`
			Epoch   int64            `json:"epoch"`
			Lock    string           `json:"lock"`
			Recipe  string           `json:"recipe"`
			Inputs  []manifest.Input `json:"inputs"`
		}{t.identity(), t.image.Cmdline(t.variant), b.lock.Epoch, b.lockSum, b.recipe.SHA256, origins},
		Run: func(_ context.Context, w *work) error { return b.buildManifest(w, t, all, origins) },
	})
	b.add(step{
		Name: publishStep(t), Kind: "publish", Uncached: true, Needs: append(slices.Clone(needs), sbomStep(t), manifestStep(t)),
		Run: func(ctx context.Context, w *work) error { return b.publish(ctx, w, t, all) },
	})
}

// provenance lists every input of the rows so far with the artefacts that it can reach.
func (b *build) provenance(products []product) []manifest.Input {
	reach := make(map[string][]string) // row -> artefacts that depend on it
	for _, p := range products {
		for _, name := range b.closure(p.step) {
			if !slices.Contains(reach[name], p.name) {
				reach[name] = append(reach[name], p.name)
			}
		}
	}
	inputs := make(map[Input][]string)
	for _, s := range b.steps {
		for _, in := range s.Inputs {
			if names := reach[s.Name]; len(names) > 0 {
				inputs[in] = append(inputs[in], names...)
			}
		}
	}
	out := make([]manifest.Input, 0, len(inputs))
	for in, names := range inputs {
		slices.Sort(names)
		out = append(out, manifest.Input{
			Kind: in.Kind, Name: in.Name, Version: in.Version, SHA256: in.SHA256, Artefacts: slices.Compact(names),
		})
	}
	slices.SortFunc(out, func(x, y manifest.Input) int {
		return strings.Compare(x.Kind+"\x00"+x.Name+"\x00"+x.Version+"\x00"+x.SHA256, y.Kind+"\x00"+y.Name+"\x00"+y.Version+"\x00"+y.SHA256)
	})
	return out
}

// closure is a row and everything it needs.
func (b *build) closure(name string) []string {
	out := []string{name}
	for i := 0; i < len(out); i++ {
		at := slices.IndexFunc(b.steps, func(s step) bool { return s.Name == out[i] })
		for _, n := range b.steps[at].Needs {
			if !slices.Contains(out, n) {
				out = append(out, n)
			}
		}
	}
	return out
}

// licences and firstSources are what the bill of materials repeats from the lock, by SHA-256.
func (b *build) licences() map[string]string {
	return b.fromLock(func(a lock.Artefact) string { return a.Licence })
}

func (b *build) firstSources() map[string]string {
	return b.fromLock(func(a lock.Artefact) string {
		if len(a.Sources) == 0 {
			return ""
		}
		return a.Sources[0]
	})
}

func (b *build) fromLock(value func(lock.Artefact) string) map[string]string {
	out := make(map[string]string)
	for _, a := range b.artefacts() {
		if v := value(a); v != "" {
			out[a.SHA256] = v
		}
	}
	return out
}

// publish gives an image's folder its files in one step: a folder beside it is filled and then takes its name.
func (b *build) publish(ctx context.Context, w *work, t target, products []product) error {
	if err := os.MkdirAll(b.opts.OutDir, 0o755); err != nil {
		return fmt.Errorf("publishing: %w", err)
	}
	dir, err := os.MkdirTemp(b.opts.OutDir, unfinished)
	if err != nil {
		return fmt.Errorf("publishing: %w", err)
	}
	defer os.RemoveAll(dir) //nolint:errcheck // gone already when all went well
	products = append(slices.Clone(products), product{name: manifest.FileName, step: manifestStep(t)})
	for _, p := range products {
		if err := ctx.Err(); err != nil {
			return err
		}
		src, err := w.needPath(p.step, p.name)
		if err != nil {
			return err
		}
		if err := place(src, filepath.Join(dir, p.name)); err != nil {
			return err
		}
	}
	w.Detail = fmt.Sprintf("%d files", len(products))
	return errors.Join(os.Chmod(dir, 0o755), replaceDir(dir, b.outDir(t)))
}
