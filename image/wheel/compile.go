package wheel

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"cocoon/image/buildroot"
	"cocoon/image/rootfs"
)

const (
	// chunkFiles is how many files one run of the interpreter compiles. It is fixed: what a process compiled before may
	// show in what it writes next, so the cut must not depend on the number of processors.
	chunkFiles = 400
	// chunkDeadline bounds one run; 400 large files take about 20 seconds on a slow machine.
	chunkDeadline = 10 * time.Minute
	// maxPyc bounds one compiled file.
	maxPyc = 256 << 20
)

//go:embed compile.py
var compiler []byte

// Bytecode says how Compile works.
type Bytecode struct {
	// Minor is the x of the layer's Python 3.x.
	Minor int
	// Dirs are the folders below which every .py file is compiled.
	Dirs []string
	// Scratch is a folder that does not exist yet or is empty. The tree refers to files in it afterwards, so it must stay
	// until the layer is written.
	Scratch string
	// Workers bounds interpreters that run at once (0 = one per CPU).
	Workers int
	// Progress, when set, is told how many files are done, of how many; it is called from several goroutines.
	Progress func(done, total int)
}

// Compiled reports what Compile did.
type Compiled struct {
	Files int
	// Failed are files that are not Python of this version: templates, tests of other versions. An import of one fails
	// with or without bytecode.
	Failed []string
}

// Compile adds bytecode of every Python file to the tree, made by the interpreter that the tree itself holds, in a root
// of its own without network. The result depends on the tree alone.
func Compile(ctx context.Context, tree *rootfs.Tree, b Bytecode) (*Compiled, error) {
	sources, scratch, err := b.split(tree)
	if err != nil {
		return nil, fmt.Errorf("compiling Python: %w", err)
	}
	root, err := buildroot.Create(ctx, b.Scratch, scratch)
	if err != nil {
		return nil, fmt.Errorf("compiling Python: %w", err)
	}
	if err := root.Write("tmp/compile.py", compiler, 0o644); err != nil {
		return nil, fmt.Errorf("compiling Python: %w", err)
	}
	chunks := slices.Collect(slices.Chunk(sources, chunkFiles))
	failed := make([][]string, len(chunks))
	g, gctx := errgroup.WithContext(ctx)
	workers := b.Workers
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	g.SetLimit(workers)
	for i, chunk := range chunks {
		g.Go(func() error {
			var err error
			failed[i], err = b.run(gctx, root, i, chunk)
			if b.Progress != nil {
				b.Progress(min((i+1)*chunkFiles, len(sources)), len(sources))
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, fmt.Errorf("compiling Python: %w", err)
	}
	out := &Compiled{Failed: slices.Concat(failed...)}
	if out.Files, err = b.collect(tree, sources, out.Failed); err != nil {
		return nil, fmt.Errorf("compiling Python: %w", err)
	}
	return out, nil
}

// split lists the files to compile, and makes the tree that the interpreter sees: everything outside the folders, and
// the Python files inside.
func (b Bytecode) split(tree *rootfs.Tree) (sources []string, scratch *rootfs.Tree, err error) {
	scratch = rootfs.New()
	for _, n := range tree.Nodes() {
		if n.Path == "." {
			continue
		}
		inside := slices.ContainsFunc(b.Dirs, func(d string) bool { return strings.HasPrefix(n.Path, d+"/") })
		isPython := n.Inode.Type == rootfs.File && path.Ext(n.Path) == ".py"
		if inside && isPython {
			sources = append(sources, n.Path)
		}
		if inside && !isPython && n.Inode.Type == rootfs.File && !b.belongsToInterpreter(n.Path) {
			continue
		}
		if err := scratch.Add(n.Path, n.Inode); err != nil {
			return nil, nil, err
		}
	}
	if len(sources) == 0 {
		return nil, nil, fmt.Errorf("no Python file below %s", strings.Join(b.Dirs, ", "))
	}
	return sources, scratch, nil
}

// belongsToInterpreter keeps the standard library's own shared objects in the scratch root.
func (b Bytecode) belongsToInterpreter(p string) bool {
	return strings.HasPrefix(p, fmt.Sprintf("usr/lib/python3.%d/", b.Minor))
}

// run compiles one chunk and returns the files that are not Python.
func (b Bytecode) run(ctx context.Context, root *buildroot.Root, i int, chunk []string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, chunkDeadline)
	defer cancel()
	list := fmt.Sprintf("tmp/failed-%d", i)
	err := root.Run(ctx, buildroot.Command{
		Args: []string{b.interpreter(), "-I", "-S", "/tmp/compile.py", "/" + list}, Dir: "/",
		// A fixed hash seed: sets of constants are written in the order of their hashes.
		Env:   []string{"PYTHONHASHSEED=0"},
		Stdin: strings.NewReader("/" + strings.Join(chunk, "\n/") + "\n"),
	})
	if err != nil {
		return nil, err
	}
	text, err := root.ReadFile(list)
	if err != nil {
		return nil, err
	}
	var failed []string
	for line := range strings.Lines(string(text)) {
		failed = append(failed, strings.TrimPrefix(strings.TrimSuffix(line, "\n"), "/"))
	}
	return failed, nil
}

func (b Bytecode) interpreter() string { return fmt.Sprintf("/usr/bin/python3.%d", b.Minor) }

// collect adds the compiled files to the tree; one that is missing without being reported is an error.
func (b Bytecode) collect(tree *rootfs.Tree, sources, failed []string) (int, error) {
	root, err := os.OpenRoot(b.Scratch)
	if err != nil {
		return 0, err
	}
	defer root.Close() //nolint:errcheck // a directory handle
	skip := make(map[string]bool, len(failed))
	for _, p := range failed {
		skip[p] = true
	}
	count := 0
	for _, src := range sources {
		name := strings.TrimSuffix(path.Base(src), ".py") + fmt.Sprintf(".cpython-3%d.pyc", b.Minor)
		pyc := path.Join(path.Dir(src), "__pycache__", name)
		content, err := b.content(root, pyc)
		if skip[src] {
			if !errors.Is(err, fs.ErrNotExist) {
				return 0, fmt.Errorf("%q was reported as failed, but there is bytecode", src)
			}
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("bytecode of %q: %w", src, err)
		}
		n := &rootfs.Inode{Type: rootfs.File, Mode: 0o644, Content: content, Origin: rootfs.OriginCompiled}
		if err := tree.Add(pyc, n); err != nil {
			return 0, err
		}
		count++
	}
	return count, nil
}

// content refers to a compiled file after a look at its header: magic, and flags = 1, which is hash-based and unchecked.
func (b Bytecode) content(root *os.Root, pyc string) (rootfs.Content, error) {
	f, err := root.Open(pyc)
	if err != nil {
		return rootfs.Content{}, err
	}
	defer f.Close() //nolint:errcheck // read side
	head := make([]byte, 16)
	if _, err := io.ReadFull(f, head); err != nil {
		return rootfs.Content{}, err
	}
	if head[4] != 1 || head[5]|head[6]|head[7] != 0 {
		return rootfs.Content{}, fmt.Errorf("flags % x, want an unchecked hash", head[4:8])
	}
	h := sha256.New()
	h.Write(head)
	n, err := io.Copy(h, io.LimitReader(f, maxPyc))
	if err != nil {
		return rootfs.Content{}, err
	}
	return rootfs.FileRange(filepath.Join(b.Scratch, pyc), 0, n+int64(len(head)), [32]byte(h.Sum(nil))), nil
}
