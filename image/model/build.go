package model

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"cocoon/image/fs"
	"cocoon/image/rootfs"
	"cocoon/image/verity"
)

// Label is the EROFS volume name of every model volume.
const Label = "model"

// Options name a model.
type Options struct {
	// Name is the model's name at its hub, like Qwen/Qwen3-8B.
	Name string
	// Commit is the hub repository's commit, 40 hexadecimal digits.
	Commit string
	// Source is where the files came from, for people; may be empty.
	Source string
	// Excluded are further top-level names to leave out; the download tool's .cache always is.
	Excluded []string
}

// excluded is the full list, sorted.
func (o Options) excluded() []string {
	all := append([]string{downloadCache}, o.Excluded...)
	slices.Sort(all)
	return slices.Compact(all)
}

// validate checks the names before any work is done.
func (o Options) validate() error {
	if !nameRule.MatchString(o.Name) {
		return fmt.Errorf("name %q is not a model's name, like Qwen/Qwen3-8B", o.Name)
	}
	if !commitRule.MatchString(o.Commit) {
		return fmt.Errorf("commit %q is not 40 lower-case hexadecimal digits", o.Commit)
	}
	return nil
}

// layerParams are the verity parameters of the primary form. The salt follows the rule for layers with the id `model`.
// UUIDs are the same for every model, so that a volume is a function of its files alone and one pass makes it: they
// are the rule's values for a content hash of zeros.
func layerParams() verity.Params {
	return verity.Params{Salt: verity.LayerSalt("model"), UUID: verity.UUID("verity", [32]byte{})}
}

// Build writes the primary form of the files in a folder to the file called out, replacing it.
func Build(ctx context.Context, dir, out string, o Options) (*Description, error) {
	if err := o.validate(); err != nil {
		return nil, fmt.Errorf("building model volume: %w", err)
	}
	tree, err := scan(ctx, dir, o.excluded())
	if err != nil {
		return nil, fmt.Errorf("building model volume: %w", err)
	}
	return buildEROFS(ctx, tree, out, o)
}

// buildEROFS writes the primary form of a tree.
func buildEROFS(ctx context.Context, tree *rootfs.Tree, out string, o Options) (*Description, error) {
	normaliseModes(tree)
	var d *Description
	err := writeFile(out, func(f *os.File) error {
		if _, err := fs.Write(ctx, f, tree, fs.Options{Label: Label, UUID: verity.UUID("erofs", [32]byte{})}); err != nil {
			return err
		}
		v, err := verity.Append(ctx, f, layerParams())
		if err != nil {
			return err
		}
		image, err := fs.Open(f, int64(v.DataBlocks)*fs.BlockSize) //nolint:gosec // a file's size
		if err != nil {
			return err
		}
		written, err := image.Tree(ctx)
		if err != nil {
			return err
		}
		d = o.describe(EROFS, v, layerParams().UUID, written)
		return d.Validate()
	})
	if err != nil {
		return nil, fmt.Errorf("building model volume %s: %w", out, err)
	}
	return d, nil
}

// describe makes the description of a finished volume.
func (o Options) describe(format Format, v verity.Volume, uuid [16]byte, written *rootfs.Tree) *Description {
	d := &Description{
		Schema: Schema, Identity: identity(o.Name, o.Commit, v.String()), Name: o.Name, Commit: o.Commit, Source: o.Source,
		Format: format, DataBlocks: v.DataBlocks, HashStartBlock: v.HashStartBlock, HashBlocks: v.HashBlocks,
		RootHash: v.String(), Salt: hex.EncodeToString(v.Salt), UUID: uuidText(uuid), Excluded: o.excluded(), Files: []File{},
	}
	if format == EROFS {
		d.Writer = EROFSWriter
	}
	for _, n := range written.Nodes() {
		if n.Inode.Type == rootfs.File {
			c := n.Inode.Content
			d.Files = append(d.Files, File{Path: n.Path, Size: c.Size, SHA256: hex.EncodeToString(c.SHA256[:])})
		}
	}
	slices.SortFunc(d.Files, func(a, b File) int { return comparePaths(a.Path, b.Path) })
	return d
}

// writeFile makes a new file with the given writer; on an error no file is left.
func writeFile(name string, write func(f *os.File) error) error {
	if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	if err := errors.Join(write(f), f.Close()); err != nil {
		return errors.Join(err, os.Remove(name))
	}
	return nil
}

func uuidText(u [16]byte) string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", u[0:4], u[4:6], u[6:8], u[8:10], u[10:16])
}

// zeroPadded is bytes followed by zeros.
type zeroPadded struct {
	r    io.ReaderAt
	used int64
	size int64
}

// Size is the length with the zeros.
func (z zeroPadded) Size() int64 { return z.size }

// ReadAt reads across the seam.
func (z zeroPadded) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || off >= z.size {
		return 0, io.EOF
	}
	n := int(min(int64(len(p)), z.size-off))
	done := 0
	if off < z.used {
		want := int(min(int64(n), z.used-off))
		got, err := z.r.ReadAt(p[:want], off)
		if got < want {
			return got, err
		}
		done = got
	}
	clear(p[done:n])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}
