package network

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"cocoon/image/deb"
	"cocoon/image/fetch"
	"cocoon/image/lock"
	"cocoon/image/rootfs"
)

// EngineGroup is the group of the image lock that the worker's CPU engine is in.
const EngineGroup = "engine-cpu"

// UnpackEngine unpacks the pinned engine of the images below dir, fetching by hash what the store lacks. Cache is where
// unpacked packages are kept.
func UnpackEngine(ctx context.Context, pins *lock.Lock, store *fetch.Store, cache, dir string) error {
	artefacts := pins.InGroup(EngineGroup)
	if err := store.Ensure(ctx, artefacts, fetch.Options{}); err != nil {
		return fmt.Errorf("fetching the engine: %w", err)
	}
	sources := make([]deb.Source, 0, len(artefacts))
	for _, a := range artefacts {
		name, ok := store.Path(a.SHA256)
		if !ok {
			return fmt.Errorf("fetching the engine: the store has lost %s", a.SHA256)
		}
		sources = append(sources, deb.Source{Path: name, SHA256: a.SHA256})
	}
	tree, err := deb.UnpackAll(ctx, sources, 0, filepath.Join(cache, "deb"))
	if err != nil {
		return fmt.Errorf("unpacking the engine: %w", err)
	}
	for _, n := range tree.Nodes() {
		if err := put(n, dir); err != nil {
			return fmt.Errorf("unpacking the engine: %w", err)
		}
	}
	return nil
}

// put writes one node. Paths of a tree are clean and relative. Devices are left out: nothing runs in the folder as a root.
func put(n rootfs.Node, dir string) error {
	name := filepath.Join(dir, n.Path)
	switch n.Inode.Type {
	case rootfs.Dir:
		return os.MkdirAll(name, 0o755)
	case rootfs.Symlink:
		if err := os.Remove(name); err != nil && !os.IsNotExist(err) {
			return err
		}
		return os.Symlink(n.Inode.Target, name)
	case rootfs.File:
		data, err := n.Inode.Content.ReadAll()
		if err != nil {
			return err
		}
		return os.WriteFile(name, data, os.FileMode(n.Inode.Mode&0o777)|0o600)
	case rootfs.CharDevice:
	}
	return nil
}
