// Package arch holds the house rules as data and the code that reads the repository to check them.
//
// It owns the rule tables (who may import whom, sizes, documents, dependency lists) and walks the source with
// go/parser and `go list`; its tests run in `go test ./...`. It trusts the working tree it runs in. It is not safe
// for concurrent use and refuses nothing at run time: violations are test failures that name file, rule and reason.
package arch

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// Module is the repository's module path; it has no dot, so "is it third party?" compares with it.
const Module = "cocoon"

// Rooms are the top-level folders, the only ones allowed.
func Rooms() []string {
	return []string{"cmd", "contracts", "guest", "host", "image", "measure", "mkosi", "tests"}
}

// Package is what `go list` says of one package of this module.
type Package struct {
	ImportPath   string
	Dir          string
	Name         string
	GoFiles      []string
	CgoFiles     []string
	TestGoFiles  []string
	XTestGoFiles []string
	Imports      []string
	TestImports  []string
	XTestImports []string
}

// Room is the package's top-level folder.
func (p Package) Room() string { return room(p.ImportPath) }

func room(importPath string) string {
	rest, ok := strings.CutPrefix(importPath, Module+"/")
	if !ok {
		return ""
	}
	first, _, _ := strings.Cut(rest, "/")
	return first
}

// List returns every package of the module that has Go files.
func List(ctx context.Context, root string) ([]Package, error) {
	cmd := exec.CommandContext(ctx, "go", "list", "-e", "-json=ImportPath,Dir,Name,GoFiles,CgoFiles,TestGoFiles,XTestGoFiles,Imports,TestImports,XTestImports", "./...")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("listing packages: %w", err)
	}
	var pkgs []Package
	dec := json.NewDecoder(bytes.NewReader(out))
	for {
		var p Package
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return pkgs, nil
		} else if err != nil {
			return nil, fmt.Errorf("decoding package list: %w", err)
		}
		pkgs = append(pkgs, p)
	}
}

// Modules returns the third-party modules linked into a command, sorted.
func Modules(ctx context.Context, root, command string) ([]string, error) {
	mods, err := dependencies(ctx, root, command, "{{with .Module}}{{.Path}}{{end}}")
	return slices.DeleteFunc(mods, func(m string) bool { return m == Module }), err
}

// Linked returns the packages of this module that are linked into a command, sorted.
func Linked(ctx context.Context, root, command string) ([]string, error) {
	pkgs, err := dependencies(ctx, root, command, "{{.ImportPath}}")
	return slices.DeleteFunc(pkgs, func(p string) bool { return !strings.HasPrefix(p, Module+"/") }), err
}

// dependencies lists one property of everything that a command links, sorted, each once.
func dependencies(ctx context.Context, root, command, format string) ([]string, error) {
	cmd := exec.CommandContext(ctx, "go", "list", "-deps", "-f", format, command)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH=amd64")
	if command != "./cmd/gpuattest" {
		cmd.Env = append(cmd.Env, "CGO_ENABLED=0")
	}
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("listing dependencies of %s: %w", command, err)
	}
	found := strings.Fields(string(out))
	slices.Sort(found)
	return slices.Compact(found), nil
}

// File is one parsed source file.
type File struct {
	Path  string // relative to the root
	Lines int
	AST   *ast.File
	Fset  *token.FileSet
	Test  bool
	Gen   bool
}

// Files parses every Go file of the module.
func Files(root string) ([]File, error) {
	var out []File
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if base := d.Name(); name != root && (strings.HasPrefix(base, ".") || base == "testdata" || base == "out") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		f, err := parse(root, name)
		if err != nil {
			return err
		}
		out = append(out, f)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading sources: %w", err)
	}
	return out, nil
}

func parse(root, name string) (File, error) {
	src, err := os.ReadFile(name)
	if err != nil {
		return File{}, err
	}
	fset := token.NewFileSet()
	tree, err := parser.ParseFile(fset, name, src, parser.ParseComments)
	if err != nil {
		return File{}, err
	}
	rel, err := filepath.Rel(root, name)
	if err != nil {
		return File{}, err
	}
	return File{
		Path:  filepath.ToSlash(rel),
		Lines: bytes.Count(src, []byte("\n")),
		AST:   tree,
		Fset:  fset,
		Test:  strings.HasSuffix(name, "_test.go"),
		Gen:   strings.HasSuffix(name, "_gen.go"),
	}, nil
}

// Root finds the folder of go.mod above the working directory.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("finding the repository: %w", err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", errors.New("finding the repository: no go.mod above the working directory")
		}
		dir = up
	}
}
