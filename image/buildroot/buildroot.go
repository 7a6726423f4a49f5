// Package buildroot runs the few programs that an image build cannot do without (a C compiler for kernel modules, an
// interpreter for bytecode) inside a folder that is made from locked packages, cut off from the machine around it.
//
// It owns the way from a rootfs.Tree to a folder and the namespaces of a command: its own root, mounts, processes, host
// name and an empty network, with a fixed environment and working folder, so that no path, user or clock of the builder
// reaches the output. It trusts the tree as far as rootfs does, and the machine's unshare(1) and mount(8). What commands
// print goes into a bounded tail. Commands may run concurrently in one Root as long as they write different files. It refuses
// device nodes, commands without a deadline in their context, and anything that needs set-uid programs: an ordinary
// user's namespaces are enough.
package buildroot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"cocoon/image/rootfs"
)

// maxCollect bounds a file that is read back into memory.
const maxCollect = 1 << 30

// devices are bound from the machine into every root: a user's namespace may not make device nodes.
var devices = []string{"null", "zero", "full", "random", "urandom"} //nolint:gochecknoglobals // constant table

// Root is a folder that holds a written tree.
type Root struct {
	dir string
}

// Create writes a tree to a folder that does not exist yet or is empty. Owners are dropped, modes reduced to the x bit:
// a layer's own rules decide those, not the scratch copy.
func Create(ctx context.Context, dir string, tree *rootfs.Tree) (*Root, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("making a build root: %w", err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		return nil, errors.Join(fmt.Errorf("making a build root: %s is not an empty folder", dir), err)
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("making a build root: %w", err)
	}
	r := &Root{abs}
	if err := r.Add(ctx, tree); err != nil {
		return nil, err
	}
	for _, d := range []string{"dev", "tmp", "proc"} {
		if err := r.mkdir(d); err != nil {
			return nil, fmt.Errorf("making a build root: %w", err)
		}
	}
	for _, d := range devices {
		if err := r.Write("dev/"+d, nil, 0o644); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// Add writes a further tree over the folder; a file that is there already is an error.
func (r *Root) Add(ctx context.Context, tree *rootfs.Tree) error {
	root, err := os.OpenRoot(r.dir)
	if err != nil {
		return fmt.Errorf("filling a build root: %w", err)
	}
	defer root.Close() //nolint:errcheck // a directory handle
	first := make(map[*rootfs.Inode]string)
	for _, n := range tree.Nodes() {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("filling a build root: %w", err)
		}
		if err := writeNode(root, n, first); err != nil {
			return fmt.Errorf("filling a build root: %q (from %s): %w", n.Path, n.Inode.Origin, err)
		}
	}
	return nil
}

// writeNode writes one path; first remembers where an inode was written, for hard links.
func writeNode(root *os.Root, n rootfs.Node, first map[*rootfs.Inode]string) error {
	switch n.Inode.Type {
	case rootfs.Dir:
		if err := root.Mkdir(n.Path, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		return nil
	case rootfs.Symlink:
		return root.Symlink(n.Inode.Target, n.Path)
	case rootfs.File:
		if old, ok := first[n.Inode]; ok {
			return root.Link(old, n.Path)
		}
		first[n.Inode] = n.Path
		return writeFile(root, n)
	default:
		return fmt.Errorf("node type %d has no place in a build root", n.Inode.Type)
	}
}

func writeFile(root *os.Root, n rootfs.Node) (err error) {
	mode := fs.FileMode(0o644)
	if n.Inode.Mode&0o111 != 0 {
		mode = 0o755
	}
	in, err := n.Inode.Content.Open()
	if err != nil {
		return err
	}
	defer in.Close() //nolint:errcheck // read side
	out, err := root.OpenFile(n.Path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	_, err = io.Copy(out, in)
	return err
}

// Write puts one file into the root; folders above it are made.
func (r *Root) Write(name string, data []byte, mode fs.FileMode) error {
	if err := r.mkdir(path.Dir(name)); err != nil {
		return fmt.Errorf("writing %q into a build root: %w", name, err)
	}
	root, err := os.OpenRoot(r.dir)
	if err != nil {
		return fmt.Errorf("writing %q into a build root: %w", name, err)
	}
	defer root.Close() //nolint:errcheck // a directory handle
	if err := root.WriteFile(name, data, mode); err != nil {
		return fmt.Errorf("writing %q into a build root: %w", name, err)
	}
	return nil
}

func (r *Root) mkdir(name string) error {
	root, err := os.OpenRoot(r.dir)
	if err != nil {
		return err
	}
	defer root.Close() //nolint:errcheck // a directory handle
	return root.MkdirAll(name, 0o755)
}

// ReadFile returns a file that a command made. Links cannot lead outside the root.
func (r *Root) ReadFile(name string) ([]byte, error) {
	root, err := os.OpenRoot(r.dir)
	if err != nil {
		return nil, fmt.Errorf("reading from a build root: %w", err)
	}
	defer root.Close() //nolint:errcheck // a directory handle
	f, err := root.Open(name)
	if err != nil {
		return nil, fmt.Errorf("reading from a build root: %w", err)
	}
	defer f.Close() //nolint:errcheck // read side
	data, err := io.ReadAll(io.LimitReader(f, maxCollect+1))
	if err != nil {
		return nil, fmt.Errorf("reading %q from a build root: %w", name, err)
	}
	if len(data) > maxCollect {
		return nil, fmt.Errorf("reading %q from a build root: over %d bytes", name, maxCollect)
	}
	return data, nil
}

// Remove deletes the folder.
func (r *Root) Remove() error {
	if err := os.RemoveAll(r.dir); err != nil {
		return fmt.Errorf("removing a build root: %w", err)
	}
	return nil
}
