package pipeline

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"cocoon/image/fetch"
	"cocoon/image/gpu"
	"cocoon/image/lock"
	"cocoon/image/recipe"
	"cocoon/image/rootfs"
	"cocoon/image/wheel"
)

// addWheels puts the locked wheels and the bytecode of all Python files into the engine layer.
func (b *build) addWheels(ctx context.Context, w *work, l recipe.Layer, tree *rootfs.Tree) (func() error, error) {
	e := b.gpu.Engine
	list, err := e.List(RecipePath(b.opts.Root))
	if err != nil {
		return nil, err
	}
	sources, err := b.wheelSources(list, l.Group.Name)
	if err != nil {
		return nil, err
	}
	err = wheel.Unpack(ctx, tree, sources, wheel.Options{
		Layout: wheel.DebianLayout(e.Python), CacheDir: filepath.Join(b.opts.CacheDir, "wheel"), Drop: e.Drops(), Workers: b.opts.Workers,
	})
	if err != nil {
		return nil, err
	}
	dir, err := b.scratch("bytecode")
	if err != nil {
		return nil, err
	}
	done := func() error { return os.RemoveAll(dir) }
	_, err = wheel.Compile(ctx, tree, wheel.Bytecode{
		Minor: e.Python, Dirs: e.Bytecode, Scratch: dir, Workers: b.opts.Workers,
		Progress: func(files, total int) { w.progress(int64(files), int64(total)) },
	})
	if err != nil {
		return nil, errors.Join(err, done())
	}
	return done, nil
}

// wheelSources pairs the list with the lock: the lock decides which bytes may enter, and it must hold the same list.
func (b *build) wheelSources(list *wheel.List, group string) ([]wheel.Source, error) {
	locked := make(map[string]lock.Artefact)
	for _, a := range b.lock.InGroup(group) {
		if a.Kind == lock.Wheel {
			locked[a.Name] = a
		}
	}
	out := make([]wheel.Source, 0, len(list.Wheels))
	for _, e := range list.Wheels {
		a, ok := locked[e.Name]
		if !ok || a.SHA256 != e.SHA256 || a.Size != e.Size {
			return nil, fmt.Errorf("wheel %s %s is not in the lock as %s lists it; run %q", e.Name, e.Version, b.gpu.Engine.Wheels, lock.UpdateCommand)
		}
		delete(locked, e.Name)
		p, err := b.path(a.SHA256)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", a.Label(), err)
		}
		out = append(out, wheel.Source{Path: p, Entry: e})
	}
	if len(locked) > 0 {
		return nil, fmt.Errorf("the lock holds %d wheels that %s does not list; run %q", len(locked), b.gpu.Engine.Wheels, lock.UpdateCommand)
	}
	return out, nil
}

// lockedWheels are the wheels of a checkout's recipe in the lock's form.
func lockedWheels(root string) ([]lock.Artefact, error) {
	c, err := loadGPU(root)
	if err != nil || c == nil {
		return nil, err
	}
	list, err := c.Engine.List(RecipePath(root))
	if err != nil {
		return nil, err
	}
	return list.Artefacts(c.Engine.Layer), nil
}

// locateWheels gives the wheels that the store lacks their addresses in the package index. Without an index the exports
// may have them.
func locateWheels(ctx context.Context, store *fetch.Store, arts []lock.Artefact, o Options) ([]lock.Artefact, error) {
	var lacking []lock.Artefact
	for _, a := range arts {
		if _, ok := store.Path(a.SHA256); !ok && a.Kind == lock.Wheel {
			lacking = append(lacking, a)
		}
	}
	if o.Offline || len(lacking) == 0 {
		return arts, nil
	}
	found, err := wheel.Index{}.Locate(ctx, lacking)
	if errors.Is(err, wheel.ErrNoIndex) && len(o.From) > 0 {
		return arts, nil
	}
	if err != nil {
		return nil, err
	}
	out := slices.Clone(arts)
	for _, a := range found {
		out[slices.IndexFunc(arts, func(x lock.Artefact) bool { return x.SHA256 == a.SHA256 })] = a
	}
	return out, nil
}

// WheelsChange is one wheel that differs between two lists. The empty string means absent.
type WheelsChange struct {
	Name, Old, New string
}

// ReadWheelsReport makes the list of wheels from a resolver's report and says what differs from the one that the recipe
// has; the caller decides whether to save it at the returned path.
func ReadWheelsReport(ctx context.Context, root string, report []byte, size wheel.Sizer) (*wheel.List, string, []WheelsChange, error) {
	c, err := gpu.Load(RecipePath(root))
	if err != nil {
		return nil, "", nil, err
	}
	list, err := wheel.FromReport(ctx, report, c.Engine.Interpreter(), size)
	if err != nil {
		return nil, "", nil, err
	}
	name := filepath.Join(RecipePath(root), c.Engine.Wheels)
	old, err := wheel.Load(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		old = &wheel.List{}
	case err != nil:
		return nil, "", nil, err
	}
	return list, name, compareWheels(old, list), nil
}

// compareWheels lists what differs, ordered by name.
func compareWheels(a, b *wheel.List) []WheelsChange {
	changes := make(map[string]*WheelsChange)
	for i, l := range []*wheel.List{a, b} {
		for _, e := range l.Wheels {
			if changes[e.Name] == nil {
				changes[e.Name] = &WheelsChange{Name: e.Name}
			}
			side := []*string{&changes[e.Name].Old, &changes[e.Name].New}[i]
			*side = e.Version + " " + e.SHA256[:12]
		}
	}
	var out []WheelsChange
	for _, name := range slices.Sorted(maps.Keys(changes)) {
		if c := changes[name]; c.Old != c.New {
			out = append(out, *c)
		}
	}
	return out
}
