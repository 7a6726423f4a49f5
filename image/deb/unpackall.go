// Package deb reads Debian packages and archives without dpkg, apt, root or maintainer scripts (image.md section 9).
//
// It owns four things: opening a .deb and putting chosen files into a rootfs.Tree; verifying an archive's InRelease
// file and package list; Debian's version and dependency rules; and resolving what a recipe names into lock entries.
//
// It trusts the keyring that the caller gives and nothing else: every archive, tar, control paragraph and index is
// outside bytes with a bound, errors name the package and the rule. Unpacked data is kept in the caller's cache folder,
// with a hash per file and one over the whole, so a damaged cache is made anew.
//
// All functions may be called concurrently; UnpackAll and Resolve run their own bounded workers. It refuses device
// nodes, paths that leave the root, unsigned or expired indexes, unknown compressions and ambiguous dependencies.
package deb

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"cocoon/image/rootfs"
)

// Source is one package to unpack.
type Source struct {
	Path string // the .deb file
	// SHA256 is what the file must hash to, in hex; "" skips the check.
	SHA256    string
	Selection Selection
}

// UnpackAll unpacks packages in parallel and inserts them in the order of their names, so the tree does not depend on
// timing. The tree has merged /usr: bin, sbin, lib and lib64 link into usr, where the packages have something there.
// Workers 0 means one per CPU.
func UnpackAll(ctx context.Context, sources []Source, workers int, cacheDir string) (*rootfs.Tree, error) {
	tree := rootfs.New()
	if err := MergeUsr(tree); err != nil {
		return nil, err
	}
	if err := UnpackInto(ctx, tree, sources, workers, cacheDir); err != nil {
		return nil, err
	}
	PruneUsr(tree)
	return tree, nil
}

// UnpackInto is UnpackAll for a tree that has something already.
func UnpackInto(ctx context.Context, tree *rootfs.Tree, sources []Source, workers int, cacheDir string) error {
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	parts := make([]*contents, len(sources))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(workers)
	for i, src := range sources {
		g.Go(func() error {
			part, err := load(gctx, src, cacheDir)
			parts[i] = part
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	order := make([]int, len(sources))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return strings.Compare(parts[a].label(), parts[b].label()) })
	for _, i := range order {
		if err := parts[i].insert(tree, sources[i].Selection); err != nil {
			return fmt.Errorf("unpacking %s: %w", parts[i].label(), err)
		}
	}
	return nil
}

// Unpack puts one package's chosen files into the tree.
func Unpack(ctx context.Context, path string, sel Selection, tree *rootfs.Tree, cacheDir string) error {
	return UnpackInto(ctx, tree, []Source{{Path: path, Selection: sel}}, 1, cacheDir)
}

const usrOrigin = "merged /usr"

// usrLinks are the folders of Debian's merged /usr.
var usrLinks = []string{"bin", "lib", "lib64", "sbin"} //nolint:gochecknoglobals // constant table

// MergeUsr prepares a tree, so that packages that still ship /bin or /lib land in /usr.
func MergeUsr(tree *rootfs.Tree) error {
	for _, name := range usrLinks {
		if err := tree.Add("usr/"+name, &rootfs.Inode{Type: rootfs.Dir, Mode: 0o755, Origin: usrOrigin}); err != nil {
			return fmt.Errorf("preparing merged /usr: %w", err)
		}
		link := &rootfs.Inode{Type: rootfs.Symlink, Mode: 0o777, Target: "usr/" + name, Origin: usrOrigin}
		if err := tree.Add(name, link); err != nil {
			return fmt.Errorf("preparing merged /usr: %w", err)
		}
	}
	return nil
}

// PruneUsr removes the folders and links of MergeUsr that nothing came to use.
func PruneUsr(tree *rootfs.Tree) {
	for _, name := range usrLinks {
		dir, ok := tree.Get("usr/" + name)
		link, ok2 := tree.Get(name)
		if ok && ok2 && dir.Origin == usrOrigin && link.Origin == usrOrigin && len(tree.Children("usr/"+name)) == 0 {
			tree.Remove("usr/" + name)
			tree.Remove(name)
		}
	}
	if usr, ok := tree.Get("usr"); ok && usr.Origin == "implied" && len(tree.Children("usr")) == 0 {
		tree.Remove("usr")
	}
}
