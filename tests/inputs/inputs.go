// Package inputs hands the pinned inputs of the images to tests: files of locked packages, whole groups, the model of
// the vectors.
//
// It owns nothing: recipe, lock and store are the ones that image builds use, in the same cache, so a test that needs
// firmware or a kernel gets exactly what the images contain. Everything is checked by hash on the way. An Inputs may
// be used concurrently. It refuses inputs that the lock does not name.
package inputs

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"cocoon/image/deb"
	"cocoon/image/fetch"
	"cocoon/image/lock"
	"cocoon/image/pipeline"
	"cocoon/image/recipe"
	"cocoon/image/rootfs"
)

// maxModel bounds the unpacked test model; it has 2 MB.
const maxModel = 16 << 20

// ErrNoVectors means that the vectors are not beside the checkout.
var ErrNoVectors = errors.New("the vectors are not beside the checkout")

// Inputs are the pinned inputs of this checkout.
type Inputs struct {
	// Root is the checkout, Cache the folder of store and steps.
	Root, Cache string
	Recipe      *recipe.Recipe
	Lock        *lock.Lock
	Store       *fetch.Store
}

// Open reads recipe and lock of the checkout around the working folder. The cache is $COCOON_CACHE, or the user's.
func Open() (*Inputs, error) {
	root, err := checkout()
	if err != nil {
		return nil, err
	}
	in := &Inputs{Root: root, Cache: os.Getenv("COCOON_CACHE")}
	if in.Cache == "" {
		dir, err := os.UserCacheDir()
		if err != nil {
			return nil, fmt.Errorf("finding the cache: %w", err)
		}
		in.Cache = filepath.Join(dir, "cocoon")
	}
	if in.Recipe, err = recipe.Load(pipeline.RecipePath(root)); err != nil {
		return nil, err
	}
	if in.Lock, err = lock.Load(pipeline.LockPath(root)); err != nil {
		return nil, err
	}
	in.Store, err = fetch.Open(pipeline.StoreDir(in.Cache))
	return in, err
}

func checkout() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("finding the checkout: %w", err)
	}
	for ; dir != "/"; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
	}
	return "", errors.New("finding the checkout: no go.mod above the working folder")
}

// Group is the tree of a group of the lock, without normalisation.
func (in *Inputs) Group(ctx context.Context, name string) (*rootfs.Tree, error) {
	return in.Tree(ctx, in.Lock.InGroup(name), deb.Selection{})
}

// Package is the tree of one package of a group.
func (in *Inputs) Package(ctx context.Context, group, name string) (*rootfs.Tree, error) {
	a, err := in.Lock.Find(group, lock.Deb, name)
	if err != nil {
		return nil, err
	}
	return in.Tree(ctx, []lock.Artefact{a}, deb.Selection{})
}

// Tree unpacks artefacts, fetching what the store lacks.
func (in *Inputs) Tree(ctx context.Context, artefacts []lock.Artefact, sel deb.Selection) (*rootfs.Tree, error) {
	if err := in.Store.Ensure(ctx, artefacts, fetch.Options{}); err != nil {
		return nil, err
	}
	sources := make([]deb.Source, 0, len(artefacts))
	for _, a := range artefacts {
		name, _ := in.Store.Path(a.SHA256)
		sources = append(sources, deb.Source{Path: name, SHA256: a.SHA256, Selection: sel})
	}
	return deb.UnpackAll(ctx, sources, 0, filepath.Join(in.Cache, "deb"))
}

// File is one file of one package.
func (in *Inputs) File(ctx context.Context, group, pkg, name string) ([]byte, error) {
	tree, err := in.Package(ctx, group, pkg)
	if err != nil {
		return nil, err
	}
	n, ok := tree.Get(name)
	if !ok {
		return nil, fmt.Errorf("package %s has no %s", pkg, name)
	}
	return n.Content.ReadAll()
}

// WriteTree puts a tree's folders, files and symlinks below dir, for programs that need a folder.
func WriteTree(tree *rootfs.Tree, dir string) error {
	for _, n := range tree.Nodes() {
		name := filepath.Join(dir, n.Path)
		var err error
		switch n.Inode.Type {
		case rootfs.Dir:
			err = os.MkdirAll(name, 0o755)
		case rootfs.Symlink:
			err = os.Symlink(n.Inode.Target, name)
		case rootfs.File:
			err = writeFile(n.Inode, name)
		case rootfs.CharDevice:
			err = fmt.Errorf("%s is a device", n.Path)
		}
		if err != nil {
			return fmt.Errorf("writing tree: %w", err)
		}
	}
	return nil
}

func writeFile(n *rootfs.Inode, name string) error {
	data, err := n.Content.ReadAll()
	if err != nil {
		return err
	}
	return os.WriteFile(name, data, os.FileMode(n.Mode&0o777)|0o200)
}

// Model unpacks the scripted test model of the vectors to name.
func (in *Inputs) Model(name string) error {
	f, err := os.Open(filepath.Join(in.Root, "../shared/vectors/inference/scripted.gguf.gz"))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNoVectors, err)
	}
	defer f.Close() //nolint:errcheck // read side
	z, err := gzip.NewReader(f)
	if err != nil {
		return fmt.Errorf("unpacking model: %w", err)
	}
	data, err := io.ReadAll(io.LimitReader(z, maxModel))
	if err != nil {
		return fmt.Errorf("unpacking model: %w", err)
	}
	return os.WriteFile(name, data, 0o644)
}

// Wants reports whether COCOON_TEST, a list of groups or "all", names a group of expensive tests.
func Wants(group string) bool {
	return slices.ContainsFunc(strings.Split(os.Getenv("COCOON_TEST"), ","), func(g string) bool {
		return g == group || g == "all"
	})
}
