package pipeline

import (
	"fmt"
	"slices"
	"strings"

	"cocoon/image/manifest"
	"cocoon/image/sbom"
	"cocoon/measure/bootfiles"
)

// buildSBOM writes the bill of materials: the locked inputs and the modules linked into the guest binary.
func (b *build) buildSBOM(w *work, t target, products []product, inputs []manifest.Input) error {
	spec := sbom.Spec{Image: t.label(), Epoch: b.lock.Epoch}
	for _, p := range products {
		o, err := output(w, p)
		if err != nil {
			return err
		}
		spec.Files = append(spec.Files, sbom.File{Name: o.Name, SHA256: o.SHA256})
	}
	licences, sources := b.licences(), b.firstSources()
	arch := make(map[string]string)
	for _, a := range b.artefacts() {
		arch[a.SHA256] = a.Arch
	}
	for _, in := range inputs {
		kind, ok := componentKind(in.Kind)
		if !ok {
			continue
		}
		spec.Components = append(spec.Components, sbom.Component{
			Kind: kind, Name: in.Name, Version: in.Version, Arch: arch[in.SHA256], SHA256: in.SHA256,
			Source: sources[in.SHA256], Licence: licences[in.SHA256], In: in.Artefacts,
		})
	}
	var facts initFacts
	r, err := w.need(initName)
	if err != nil {
		return err
	}
	if err := r.facts(&facts); err != nil {
		return err
	}
	spec.Components = append(spec.Components, goModules(facts.Version)...)
	data, err := sbom.Encode(spec)
	if err != nil {
		return err
	}
	w.Detail = fmt.Sprintf("%d components", len(spec.Components))
	return writeFile(w.out(sbom.FileName), data)
}

// componentKind maps the lock's kinds to the bill's; inputs that nobody else made are not in it.
func componentKind(kind string) (sbom.Kind, bool) {
	switch kind {
	case "deb":
		return sbom.Deb, true
	case "wheel":
		return sbom.Wheel, true
	case "archive", "file":
		return sbom.Archive, true
	}
	return "", false
}

// goModules reads the dep lines of `go version -m`: "dep\tmodule\tversion\tsum".
func goModules(version string) []sbom.Component {
	var out []sbom.Component
	for line := range strings.Lines(version) {
		f := strings.Split(strings.TrimSpace(line), "\t")
		if len(f) == 4 && f[0] == "dep" {
			out = append(out, sbom.Component{Kind: sbom.GoModule, Name: f[1], Version: f[2], Sum: f[3], In: []string{initrdFile, ukiFile}})
		}
	}
	return out
}

func output(w *work, p product) (Output, error) {
	r, err := w.need(p.step)
	if err != nil {
		return Output{}, err
	}
	return r.Output(p.name)
}

// buildManifest writes the document that names everything.
func (b *build) buildManifest(w *work, t target, products []product, inputs []manifest.Input) error {
	m := &manifest.Manifest{
		Schema: manifest.Schema, Image: t.identity(), Epoch: b.lock.Epoch, Cmdline: t.image.Cmdline(t.variant),
		LockSHA256: b.lockSum, RecipeSHA256: b.recipe.SHA256, Profile: t.image.Profile,
		Artefacts: []manifest.Artefact{}, Layers: []bootfiles.Layer{}, LayerFiles: []manifest.LayerFiles{},
	}
	for _, p := range products {
		o, err := output(w, p)
		if err != nil {
			return err
		}
		m.Artefacts = append(m.Artefacts, manifest.Artefact{Name: o.Name, Kind: p.kind, Size: o.Size, SHA256: o.SHA256})
	}
	for _, id := range t.image.LayerIDs(t.variant) {
		r, err := w.need(layerStep(id))
		if err != nil {
			return err
		}
		var f layerFacts
		if err := r.facts(&f); err != nil {
			return err
		}
		m.Layers = append(m.Layers, f.Layer)
		m.LayerFiles = append(m.LayerFiles, f.Files)
	}
	var err error
	if m.Toolchain, m.Inputs, err = b.toolchain(w, inputs); err != nil {
		return err
	}
	data, err := m.Encode()
	if err != nil {
		return err
	}
	w.Detail = fmt.Sprintf("%d artefacts, %d inputs", len(m.Artefacts), len(m.Inputs))
	return writeFile(w.out(manifest.FileName), data)
}

// toolchain describes the compiler's part, and adds the guest binary's sources to the inputs.
func (b *build) toolchain(w *work, inputs []manifest.Input) (manifest.Toolchain, []manifest.Input, error) {
	var src sourceFacts
	var bin initFacts
	for _, f := range []struct {
		step string
		v    any
	}{{sourcesName, &src}, {initName, &bin}} {
		r, err := w.need(f.step)
		if err != nil {
			return manifest.Toolchain{}, nil, err
		}
		if err := r.facts(f.v); err != nil {
			return manifest.Toolchain{}, nil, err
		}
	}
	reach := []string{diskFile, ukiFile, initrdFile, initrdFiles}
	inputs = append(slices.Clip(inputs),
		manifest.Input{Kind: "go-mod", Name: "go.mod", SHA256: src.GoMod, Artefacts: reach},
		manifest.Input{Kind: "go-source", Name: initPkg, Version: fmt.Sprintf("%d files", src.Files), SHA256: src.SHA256, Artefacts: reach},
		manifest.Input{Kind: "go-sum", Name: "go.sum", SHA256: src.GoSum, Artefacts: reach})
	return manifest.Toolchain{Go: b.lock.Go, GoSum: src.GoSum, InitBuild: bin.Version}, inputs, nil
}
