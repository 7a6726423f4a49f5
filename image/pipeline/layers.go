package pipeline

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"cocoon/image/deb"
	"cocoon/image/fs"
	"cocoon/image/lock"
	"cocoon/image/manifest"
	"cocoon/image/recipe"
	"cocoon/image/rootfs"
	"cocoon/image/verity"
	"cocoon/measure/bootfiles"
)

// layerFacts is what later steps need to know of a layer.
type layerFacts struct {
	Layer bootfiles.Layer     `json:"layer"`
	Files manifest.LayerFiles `json:"files"`
}

func layerStep(id string) string  { return "layer " + id }
func layerFile(id string) string  { return "layer-" + id + ".img" }
func layerFiles(id string) string { return layerFile(id) + manifest.ListingSuffix }

// layerSteps adds one row per layer; variants that use the same layer share it.
func (b *build) layerSteps() error {
	for _, id := range b.layerIDs() {
		l, err := b.recipe.Layer(id)
		if err != nil {
			return err
		}
		inputs, err := b.lockInputs(l.Group.Name)
		if err != nil {
			return fmt.Errorf("layer %q: %w", id, err)
		}
		if err := l.CheckPackages(b.packagesOf(l.Group.Name)); err != nil {
			return fmt.Errorf("layer %q: %w", id, err)
		}
		lines, err := recipeLines("layer "+id, recipePart(l))
		if err != nil {
			return fmt.Errorf("layer %q: %w", id, err)
		}
		trees, err := b.extraFiles(l)
		if err != nil {
			return fmt.Errorf("layer %q: %w", id, err)
		}
		needs, beyond := b.beyond(id)
		s := step{
			Name: layerStep(id), Kind: "layer", Version: 1, Needs: append([]string{fetchName}, needs...),
			Inputs:  slices.Concat(inputs, lines, trees),
			Params:  layerParams{id, b.lock.Epoch, recipePart(l), beyond},
			Outputs: []string{layerFile(id), layerFiles(id)},
			Run:     func(ctx context.Context, w *work) error { return b.buildLayer(ctx, w, l) },
		}
		if beyond != nil {
			s.Deadline = heavyDeadline
		}
		b.add(s)
	}
	return nil
}

// packagesOf are the names of a group's packages.
func (b *build) packagesOf(group string) []string {
	var out []string
	for _, a := range b.lock.InGroup(group) {
		if a.Kind == lock.Deb {
			out = append(out, a.Name)
		}
	}
	return out
}

// layerParams is what decides a layer's bytes besides its inputs.
type layerParams struct {
	ID     string    `json:"id"`
	Epoch  int64     `json:"epoch"`
	Recipe layerPart `json:"recipe"`
	// Beyond is what decides the files that are no package's.
	Beyond any `json:"beyond,omitempty"`
}

// layerPart is the part of the recipe's layer that reaches its bytes; how packages were resolved does not.
type layerPart struct {
	Role       bootfiles.Role        `json:"role"`
	Files      []recipe.PackageFiles `json:"files"`
	Drop       []string              `json:"drop"`
	ExtraTrees []string              `json:"extraTrees"`
	Rules      rootfs.Rules          `json:"rules"`
}

func recipePart(l recipe.Layer) layerPart {
	return layerPart{l.Role, l.Files, l.Drop, l.ExtraTrees, l.Rules}
}

// extraFiles are the recipe's files that are copied into a layer, one input each.
func (b *build) extraFiles(l recipe.Layer) ([]Input, error) {
	tree := rootfs.New()
	if err := b.recipe.AddExtraTrees(tree, l); err != nil {
		return nil, err
	}
	var out []Input
	for _, n := range tree.Nodes() {
		if n.Inode.Type == rootfs.File {
			out = append(out, Input{
				Kind: "recipe", Name: "layer " + l.ID + " file " + n.Path, Version: fmt.Sprintf("%04o, %d bytes", n.Inode.Mode, n.Inode.Content.Size),
				SHA256: hex.EncodeToString(n.Inode.Content.SHA256[:]),
			})
		}
	}
	return out, nil
}

func (b *build) buildLayer(ctx context.Context, w *work, l recipe.Layer) (err error) {
	tree, done, err := b.layerTree(ctx, w, l)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	name := w.out(layerFile(l.ID))
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	volume, err := b.writeVolume(ctx, f, tree, l.ID)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	listing, err := manifest.EncodeListing(tree)
	if err != nil {
		return err
	}
	sum := rootfs.TreeHash(tree)
	w.Facts = layerFacts{
		Layer: bootfiles.Layer{
			ID: l.ID, DataBlocks: volume.DataBlocks, HashStartBlock: volume.HashStartBlock, HashBlocks: volume.HashBlocks,
			Salt: hex.EncodeToString(volume.Salt), RootHash: volume.String(), Mount: bootfiles.LayerMountRoot + "/" + l.ID, Role: l.Role,
		},
		Files: manifest.LayerFiles{ID: l.ID, Files: tree.Len(), TreeSHA256: hex.EncodeToString(sum[:])},
	}
	w.Detail = fmt.Sprintf("%d packages, %d paths, %d MB", len(b.lock.InGroup(l.Group.Name)), tree.Len(), volume.DataBlocks*verity.BlockSize/1e6)
	return os.WriteFile(w.out(layerFiles(l.ID)), listing, 0o600)
}

// layerTree unpacks a layer's packages, adds what is no package, and applies the recipe. done must be called when the
// tree is no longer read.
func (b *build) layerTree(ctx context.Context, w *work, l recipe.Layer) (tree *rootfs.Tree, done func() error, err error) {
	if tree, err = b.packageTree(ctx, l); err != nil {
		return nil, nil, err
	}
	if done, err = b.addBeyond(ctx, w, l, tree); err != nil {
		return nil, nil, err
	}
	if err := rootfs.Normalise(tree, l.Rules); err != nil {
		return nil, nil, errors.Join(err, done())
	}
	return tree, done, nil
}

// packageTree unpacks a layer's packages and extra trees.
func (b *build) packageTree(ctx context.Context, l recipe.Layer) (*rootfs.Tree, error) {
	tree := rootfs.New()
	if err := rootfs.Prepare(tree, l.Rules); err != nil {
		return nil, err
	}
	if err := deb.MergeUsr(tree); err != nil {
		return nil, err
	}
	sources, err := b.sources(l.Group.Name, func(name string) deb.Selection {
		return deb.Selection{Globs: l.Globs(name), Drop: l.Drop}
	})
	if err != nil {
		return nil, err
	}
	if err := deb.UnpackInto(ctx, tree, sources, b.opts.Workers, b.debCache()); err != nil {
		return nil, err
	}
	deb.PruneUsr(tree)
	return tree, b.recipe.AddExtraTrees(tree, l)
}

// sources are a group's packages with what is taken of each.
func (b *build) sources(group string, selection func(name string) deb.Selection) ([]deb.Source, error) {
	var out []deb.Source
	for _, a := range b.lock.InGroup(group) {
		if a.Kind != lock.Deb {
			continue // addBeyond's
		}
		p, err := b.path(a.SHA256)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", a.Label(), err)
		}
		out = append(out, deb.Source{Path: p, SHA256: a.SHA256, Selection: selection(a.Name)})
	}
	return out, nil
}

// debCache is where package deb keeps unpacked data.
func (b *build) debCache() string { return filepath.Join(b.opts.CacheDir, "deb") }

// writeVolume writes EROFS and, behind it, the hash tree.
func (b *build) writeVolume(ctx context.Context, f *os.File, tree *rootfs.Tree, id string) (verity.Volume, error) {
	h := sha256.New()
	buffered := bufio.NewWriterSize(f, 1<<20)
	if _, err := fs.Write(ctx, io.MultiWriter(buffered, h), tree, fs.Options{Epoch: b.lock.Epoch, Label: label(id)}); err != nil {
		return verity.Volume{}, err
	}
	if err := buffered.Flush(); err != nil {
		return verity.Volume{}, fmt.Errorf("writing layer: %w", err)
	}
	uuid := verity.UUID("verity", [32]byte(h.Sum(nil)))
	return verity.Append(ctx, f, verity.Params{Salt: verity.LayerSalt(id), UUID: uuid})
}

// label is the volume name; EROFS has 16 bytes for it.
func label(id string) string { return id[:min(len(id), 16)] }
