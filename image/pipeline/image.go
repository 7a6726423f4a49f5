package pipeline

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"

	"cocoon/image/disk"
	"cocoon/image/initrd"
	"cocoon/image/manifest"
	"cocoon/image/rootfs"
	"cocoon/image/uki"
	"cocoon/measure/bootfiles"
)

// Artefacts of one image (image.md section 1).
const (
	initrdFile  = "initrd.cpio"
	cmdlineFile = "cmdline"
	ukiFile     = "image.efi"
	diskFile    = "disk.img"
	// modulesFile is a partial archive: the modules of one image in loading order.
	modulesFile = "modules.cpio"
	// initrdFiles is the listing of the initrd.
	initrdFiles = initrdFile + manifest.ListingSuffix
)

// imageVersion is bootfiles.Image.Version: the contract between the guest and its inputs.
const imageVersion = 1

func modulesStep(t target) string { return "modules " + t.label() }
func initrdStep(t target) string  { return "initrd " + t.label() }
func ukiStep(t target) string     { return "uki " + t.label() }
func diskStep(t target) string    { return "disk " + t.label() }

// imageSteps adds the rows of one image in one variant.
func (b *build) imageSteps(t target) error {
	if err := b.modulesRow(t); err != nil {
		return err
	}
	lines, err := recipeLines("image "+t.image.Name, struct {
		Cmdline  string          `json:"cmdline"`
		Layers   []string        `json:"layers"`
		Identity bootfiles.Image `json:"identity"`
	}{t.image.Cmdline(t.variant), t.image.LayerIDs(t.variant), t.identity()})
	if err != nil {
		return err
	}
	needs := append(t.layerSteps(), modulesStep(t), initName)
	b.add(step{
		Name: initrdStep(t), Kind: "initrd", Version: 1, Needs: needs, Inputs: lines,
		Outputs: []string{initrdFile, initrdFiles, cmdlineFile},
		Run:     func(_ context.Context, w *work) error { return b.buildInitrd(w, t) },
	})
	b.add(step{
		Name: ukiStep(t), Kind: "uki", Version: 1, Needs: []string{initrdStep(t), kernelName, stubName},
		Outputs: []string{ukiFile},
		Run:     func(_ context.Context, w *work) error { return buildUKI(w, t) },
	})
	b.add(step{
		Name: diskStep(t), Kind: "disk", Version: 1, Needs: append(t.layerSteps(), ukiStep(t)), Params: b.lock.Epoch,
		Outputs: []string{diskFile},
		Run:     func(ctx context.Context, w *work) error { return b.buildDisk(ctx, w, t) },
	})
	b.finalSteps(t)
	return nil
}

// identity is etc/image.json.
func (t target) identity() bootfiles.Image {
	return bootfiles.Image{Name: t.image.Name, Profile: t.image.Profile, Variant: t.variant, Version: imageVersion}
}

func (t target) layerSteps() []string {
	ids := t.image.LayerIDs(t.variant)
	out := make([]string, 0, len(ids))
	for _, id := range ids {
		out = append(out, layerStep(id))
	}
	return out
}

// modulesRow adds the row that collects the kernel modules of an image.
func (b *build) modulesRow(t target) error {
	inputs, err := b.lockInputs(b.recipe.Kernel.Group)
	if err != nil {
		return err
	}
	wanted := t.image.Modules(t.variant)
	lines, err := recipeLines("image "+t.image.Name+" modules", wanted)
	if err != nil {
		return err
	}
	b.add(step{
		Name: modulesStep(t), Kind: "modules", Version: 1, Needs: []string{fetchName, kernelName}, // unpacks the package once
		Inputs: slices.Concat(inputs, lines), Params: wanted, Outputs: []string{modulesFile},
		Run: func(ctx context.Context, w *work) error {
			k, err := b.kernel(ctx)
			if err != nil {
				return err
			}
			modules, err := k.Modules(wanted)
			if err != nil {
				return err
			}
			tree, order := rootfs.New(), make([]string, 0, len(modules))
			for _, m := range modules {
				order = append(order, m.File)
				if err := addFile(tree, path.Join(bootfiles.ModulesDir, m.File), m.Data, 0o644, "kernel"); err != nil {
					return err
				}
			}
			list, err := bootfiles.EncodeModulesOrder(order)
			if err != nil {
				return err
			}
			if err := addFile(tree, bootfiles.ModulesOrderPath, list, 0o644, "recipe"); err != nil {
				return err
			}
			w.Detail = fmt.Sprintf("%d modules", len(modules))
			return writeArchive(w.out(modulesFile), tree)
		},
	})
	return nil
}

func addFile(tree *rootfs.Tree, name string, data []byte, mode uint32, origin string) error {
	return tree.Add(name, &rootfs.Inode{Type: rootfs.File, Mode: mode, Content: rootfs.Bytes(data), Origin: origin})
}

func writeArchive(name string, tree *rootfs.Tree) error {
	var out bytes.Buffer
	if err := initrd.Write(&out, tree); err != nil {
		return err
	}
	return writeFile(name, out.Bytes())
}

// buildInitrd puts the archive of image.md section 5 together.
func (b *build) buildInitrd(w *work, t target) error {
	tree, err := b.modulesTree(w, t)
	if err != nil {
		return err
	}
	binary, err := readOutput(w, initName, initOutput)
	if err != nil {
		return err
	}
	layers, err := layerTable(w, t)
	if err != nil {
		return err
	}
	identity, err := bootfiles.EncodeImage(t.identity())
	if err != nil {
		return err
	}
	cmdline := []byte(t.image.Cmdline(t.variant))
	for _, f := range []struct {
		name   string
		data   []byte
		mode   uint32
		origin string
	}{
		{"init", binary, 0o755, "go build"},
		{bootfiles.LayersPath, layers, 0o644, "layers"},
		{bootfiles.ImagePath, identity, 0o644, "recipe"},
		{bootfiles.CmdlinePath, cmdline, 0o644, "recipe"},
	} {
		if err := addFile(tree, f.name, f.data, f.mode, f.origin); err != nil {
			return err
		}
	}
	for _, dir := range []string{"dev", "etc", "lib", bootfiles.ModulesDir, "proc", "run", "sys", "tmp"} {
		if err := tree.Add(dir, &rootfs.Inode{Type: rootfs.Dir, Mode: 0o755, Origin: "fixed"}); err != nil {
			return err
		}
	}
	console := &rootfs.Inode{Type: rootfs.CharDevice, Mode: 0o600, Major: 5, Minor: 1, Origin: "fixed"}
	if err := tree.Add("dev/console", console); err != nil {
		return err
	}
	listing, err := manifest.EncodeListing(tree)
	if err != nil {
		return err
	}
	w.Detail = fmt.Sprintf("%d paths", tree.Len()-1)
	return errors.Join(writeArchive(w.out(initrdFile), tree), writeFile(w.out(initrdFiles), listing),
		writeFile(w.out(cmdlineFile), cmdline))
}

// modulesTree reads the modules' partial archive back; archives carry no origins, so they are set again.
func (b *build) modulesTree(w *work, t target) (*rootfs.Tree, error) {
	data, err := readOutput(w, modulesStep(t), modulesFile)
	if err != nil {
		return nil, err
	}
	tree, err := initrd.Read(data)
	if err != nil {
		return nil, err
	}
	origin := b.lock.InGroup(b.recipe.Kernel.Group)[0].Origin()
	for _, n := range tree.Nodes() {
		switch {
		case n.Path == bootfiles.ModulesOrderPath:
			n.Inode.Origin = "recipe"
		case n.Inode.Type == rootfs.File:
			n.Inode.Origin = origin
		default:
			n.Inode.Origin = "fixed"
		}
	}
	return tree, nil
}

func layerTable(w *work, t target) ([]byte, error) {
	var layers []bootfiles.Layer
	for _, id := range t.image.LayerIDs(t.variant) {
		r, err := w.need(layerStep(id))
		if err != nil {
			return nil, err
		}
		var f layerFacts
		if err := r.facts(&f); err != nil {
			return nil, err
		}
		layers = append(layers, f.Layer)
	}
	return bootfiles.EncodeLayers(layers)
}

func buildUKI(w *work, t target) error {
	parts := make([][]byte, 4)
	for i, p := range []struct{ step, output string }{
		{stubName, stubFile}, {initrdStep(t), cmdlineFile}, {initrdStep(t), initrdFile}, {kernelName, kernelFile},
	} {
		data, err := readOutput(w, p.step, p.output)
		if err != nil {
			return err
		}
		parts[i] = data
	}
	image, err := uki.Build(parts[0], uki.Sections{Cmdline: parts[1], Initrd: parts[2], Linux: parts[3]})
	if err != nil {
		return err
	}
	w.Detail = fmt.Sprintf("%.1f MB", float64(len(image))/1e6)
	return writeFile(w.out(ukiFile), image)
}

func (b *build) buildDisk(ctx context.Context, w *work, t target) error {
	image, err := w.needPath(ukiStep(t), ukiFile)
	if err != nil {
		return err
	}
	spec := disk.Spec{UKI: image, Epoch: b.lock.Epoch}
	for _, id := range t.image.LayerIDs(t.variant) {
		p, err := w.needPath(layerStep(id), layerFile(id))
		if err != nil {
			return err
		}
		spec.Partitions = append(spec.Partitions, disk.Partition{ID: id, Path: p})
	}
	if _, err := disk.Write(ctx, w.out(diskFile), spec); err != nil {
		return err
	}
	st, err := os.Stat(w.out(diskFile))
	if err != nil {
		return err
	}
	w.Detail = fmt.Sprintf("%d partitions, %d MB", 1+len(spec.Partitions), st.Size()/1e6)
	return nil
}
