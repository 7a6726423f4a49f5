// Package nvidia makes the parts of the gpu layer that no package holds: NVIDIA's open kernel modules, compiled for the
// pinned kernel, and the gpuattest program, the one that needs a C compiler (image.md sections 11 and 17).
//
// It owns the fixed circumstances of both compilations: a root unpacked from locked packages, the same path, user, host
// name, clock and environment every time, and what is stripped afterwards. It trusts those packages as their hashes and
// the Go toolchain as the lock's version; what comes out is checked again: a module must name the kernel it is for.
//
// Functions may run concurrently in different scratch folders. It refuses packages that do not hold what it needs, a
// driver of another version than asked for, and to run anything with a network.
package nvidia

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/therootcompany/xz"

	"cocoon/image/buildroot"
	"cocoon/image/deb"
	"cocoon/image/rootfs"
)

const (
	// maxSourceFiles and maxSourceBytes bound the modules' source: 550 has about 2,500 files and 130 MB.
	maxSourceFiles = 50_000
	maxSourceBytes = 4 << 30
	// maxDictionary bounds what the xz decoder may allocate.
	maxDictionary = 128 << 20
)

// Toolchain is the root that compilations run in.
type Toolchain struct {
	// Sources are all packages: compiler, make, a shell, headers of C library and kernel, the modules' source.
	Sources []deb.Source
	// CacheDir is where packages are unpacked to.
	CacheDir string
	// Scratch is a folder that does not exist yet or is empty; it is deleted when the work is done.
	Scratch string
	// Workers bounds parallel unpacking and make's jobs (0 = one per CPU). It does not show in the output.
	Workers int
	// Log receives what the tools print, when set.
	Log io.Writer
}

// names are the commands that maintainer scripts would have linked; the first target that is there is taken.
var names = []struct { //nolint:gochecknoglobals // constant table
	name    string
	targets []string
}{
	{"sh", []string{"dash", "bash"}},
	{"awk", []string{"mawk", "gawk"}},
	{"gcc", []string{"gcc-14"}},
	{"cc", []string{"gcc-14"}},
}

// tree unpacks the packages and adds the links.
func (t Toolchain) tree(ctx context.Context) (*rootfs.Tree, error) {
	tree, err := deb.UnpackAll(ctx, t.Sources, t.Workers, t.CacheDir)
	if err != nil {
		return nil, err
	}
	for _, n := range names {
		if err := link(tree, n.name, n.targets); err != nil {
			return nil, err
		}
	}
	return tree, nil
}

func link(tree *rootfs.Tree, name string, targets []string) error {
	if _, ok := tree.Get("usr/bin/" + name); ok {
		return nil
	}
	for _, target := range targets {
		if _, ok := tree.Get("usr/bin/" + target); ok {
			return tree.Add("usr/bin/"+name, &rootfs.Inode{Type: rootfs.Symlink, Mode: 0o777, Target: target, Origin: "toolchain"})
		}
	}
	return fmt.Errorf("preparing the toolchain: no package has usr/bin/%s", strings.Join(targets, " or usr/bin/"))
}

// enter writes the tree to the scratch folder.
func (t Toolchain) enter(ctx context.Context, tree *rootfs.Tree) (*buildroot.Root, error) {
	return buildroot.Create(ctx, filepath.Join(t.Scratch, "root"), tree)
}

// clean removes the scratch folder.
func (t Toolchain) clean() error {
	if err := os.RemoveAll(t.Scratch); err != nil {
		return fmt.Errorf("removing the scratch folder: %w", err)
	}
	return nil
}

// unpackSource makes a tree below dir of a .tar.xz; its bytes lie in the plain archive, which is written to spool.
func unpackSource(ctx context.Context, archive rootfs.Content, dir, spool string) (tree *rootfs.Tree, err error) {
	in, err := archive.Open()
	if err != nil {
		return nil, err
	}
	defer in.Close() //nolint:errcheck // read side
	plain, err := xz.NewReader(in, maxDictionary)
	if err != nil {
		return nil, fmt.Errorf("reading the modules' source: %w", err)
	}
	out, err := os.OpenFile(spool, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("reading the modules' source: %w", err)
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	s := &sourceReader{ctx: ctx, r: plain, w: out}
	tree, tr := rootfs.New(), tar.NewReader(s)
	for count := 0; ; count++ {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return tree, nil
		}
		if err == nil && count == maxSourceFiles {
			err = fmt.Errorf("over %d members", maxSourceFiles)
		}
		if err == nil {
			err = s.add(tree, tr, h, dir, spool)
		}
		if err != nil {
			return nil, fmt.Errorf("reading the modules' source: %w", err)
		}
	}
}

// sourceReader copies what it reads, so that the place of each file's bytes is known.
type sourceReader struct {
	ctx context.Context
	r   io.Reader
	w   io.Writer
	n   int64
}

func (s *sourceReader) Read(p []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := s.r.Read(p)
	if n > 0 {
		if s.n += int64(n); s.n > maxSourceBytes {
			return 0, fmt.Errorf("over %d bytes", int64(maxSourceBytes))
		}
		if _, werr := s.w.Write(p[:n]); werr != nil {
			return 0, werr
		}
	}
	return n, err
}

// add puts one member into the tree. archive/tar reads whole blocks, so the stream stands at the member's first byte.
func (s *sourceReader) add(tree *rootfs.Tree, tr io.Reader, h *tar.Header, dir, spool string) error {
	p, err := rootfs.CleanPath(h.Name)
	if err != nil {
		return err
	}
	n := &rootfs.Inode{Mode: 0o644, Origin: "modules' source"}
	switch h.Typeflag {
	case tar.TypeDir:
		n.Type, n.Mode = rootfs.Dir, 0o755
	case tar.TypeSymlink:
		n.Type, n.Target = rootfs.Symlink, h.Linkname
	case tar.TypeReg:
		n.Type = rootfs.File
		if h.Mode&0o100 != 0 {
			n.Mode = 0o755
		}
		start, sum := s.n, sha256.New()
		size, err := io.Copy(sum, tr)
		if err != nil {
			return err
		}
		n.Content = rootfs.FileRange(spool, start, size, [32]byte(sum.Sum(nil)))
	default:
		return fmt.Errorf("member %q: type %q is none of file, folder, link", h.Name, h.Typeflag)
	}
	if p == "." {
		return nil
	}
	return tree.Add(path.Join(dir, p), n)
}
