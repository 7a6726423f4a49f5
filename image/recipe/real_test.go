package recipe_test

import (
	"bytes"
	"context"
	"debug/elf"
	"os"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"cocoon/image/deb"
	"cocoon/image/fetch"
	"cocoon/image/lock"
	"cocoon/image/recipe"
	"cocoon/image/rootfs"
)

// TestRealLayers builds the tree of every layer of the committed recipe from Debian's mirror: the groups resolve, the
// file rules name packages that are there, what the packages bring passes the policy, and no library is missing. COCOON_TEST_STORE keeps the
// downloads between runs.
func TestRealLayers(t *testing.T) {
	if !slices.Contains(strings.Split(os.Getenv("COCOON_TEST"), ","), "net") {
		t.Skip("needs Debian's mirror: set COCOON_TEST=net")
	}
	r, err := recipe.Load("../../mkosi")
	if err != nil {
		t.Fatal(err)
	}
	dir := os.Getenv("COCOON_TEST_STORE")
	if dir == "" {
		dir = t.TempDir()
	}
	store, err := fetch.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	res, err := deb.Resolve(ctx, request(r), fetch.Fetcher{Store: store})
	if err != nil {
		t.Fatal(err)
	}
	if len(res.UnusedExcludes) > 0 {
		t.Errorf("exclusions that nothing needs: %q", res.UnusedExcludes)
	}
	for _, l := range r.Layers {
		t.Run(l.ID, func(t *testing.T) {
			tree := layerTree(t, r, l, sourcesOf(t, l, res.Artefacts, store))
			var size int64
			for _, n := range tree.Nodes() {
				size += n.Inode.Content.Size
			}
			t.Logf("%d paths, %d bytes, tree %x", tree.Len(), size, rootfs.TreeHash(tree))
			if missing := missingLibraries(t, tree); len(missing) > 0 {
				t.Errorf("libraries that the recipe leaves out but something needs:\n%s", strings.Join(missing, "\n"))
			}
		})
	}
}

// request turns the recipe into what the resolver takes, without the optional groups.
func request(r *recipe.Recipe) deb.Request {
	req := deb.Request{Arch: r.Arch, Now: time.Now()}
	for _, s := range r.Suites {
		req.Suites = append(req.Suites, deb.Suite{
			Name: s.Name, Mirror: s.Mirror, Components: s.Components, Keyring: s.Keyring,
			AcceptExpired: !s.AcceptExpired.IsZero(), Snapshot: s.Snapshot,
		})
	}
	for _, g := range r.Groups {
		if g.Optional {
			continue
		}
		group := deb.Group{Name: g.Name, Suites: g.Suites, Packages: g.Packages, Choices: g.Choices, NoDepends: g.NoDepends}
		for _, e := range g.Exclude {
			group.Exclude = append(group.Exclude, e.Package)
		}
		req.Groups = append(req.Groups, group)
	}
	return req
}

// sourcesOf finds the packages of a layer in the store.
func sourcesOf(t *testing.T, l recipe.Layer, all []lock.Artefact, store *fetch.Store) []deb.Source {
	t.Helper()
	var sources []deb.Source
	var names []string
	for _, a := range all {
		if !slices.Contains(a.Groups, l.Group.Name) {
			continue
		}
		file, ok := store.Path(a.SHA256)
		if !ok {
			t.Fatalf("%s is not in the store", a.Name)
		}
		names = append(names, a.Name)
		sources = append(sources, deb.Source{Path: file, SHA256: a.SHA256, Selection: deb.Selection{Globs: l.Globs(a.Name), Drop: l.Drop}})
	}
	if err := l.CheckPackages(names); err != nil {
		t.Error(err)
	}
	t.Logf("%d packages: %s", len(names), strings.Join(names, " "))
	return sources
}

func layerTree(t *testing.T, r *recipe.Recipe, l recipe.Layer, sources []deb.Source) *rootfs.Tree {
	t.Helper()
	tree := rootfs.New()
	steps := []func() error{
		func() error { return deb.MergeUsr(tree) },
		func() error { return rootfs.Prepare(tree, l.Rules) },
		func() error { return deb.UnpackInto(t.Context(), tree, sources, 0, t.TempDir()) },
		func() error { deb.PruneUsr(tree); return r.AddExtraTrees(tree, l) },
		func() error { return rootfs.Normalise(tree, l.Rules) },
	}
	for _, step := range steps {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
	return tree
}

// missingLibraries lists shared libraries that a program or library of the tree needs and the tree lacks.
func missingLibraries(t *testing.T, tree *rootfs.Tree) []string {
	t.Helper()
	have := make(map[string]bool)
	for _, n := range tree.Nodes() {
		have[path.Base(n.Path)] = true
	}
	var missing []string
	for _, n := range tree.Nodes() {
		if n.Inode.Type != rootfs.File || n.Inode.Content.Size < 64 {
			continue
		}
		data, err := n.Inode.Content.ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.HasPrefix(data, []byte(elf.ELFMAG)) {
			continue
		}
		f, err := elf.NewFile(bytes.NewReader(data))
		if err != nil {
			t.Fatalf("%s: %v", n.Path, err)
		}
		libs, err := f.ImportedLibraries()
		if err != nil {
			t.Fatalf("%s: %v", n.Path, err)
		}
		for _, lib := range libs {
			if !have[lib] {
				missing = append(missing, n.Path+" needs "+lib)
			}
		}
	}
	return missing
}
