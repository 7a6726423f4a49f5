package arch

import (
	"flag"
	"go/ast"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite deps/*.txt")

func repository(t *testing.T) string {
	t.Helper()
	root, err := Root()
	if err != nil {
		t.Fatal(err)
	}
	return root
}

func packages(t *testing.T) []Package {
	t.Helper()
	pkgs, err := List(t.Context(), repository(t))
	if err != nil {
		t.Fatal(err)
	}
	if len(pkgs) < 10 {
		t.Fatalf("only %d packages found: the listing is broken", len(pkgs))
	}
	return pkgs
}

func sources(t *testing.T) []File {
	t.Helper()
	files, err := Files(repository(t))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// TestImportMatrix: every edge between rooms is in the table, tests of a room included.
func TestImportMatrix(t *testing.T) {
	table := edges()
	for _, p := range packages(t) {
		from := p.Room()
		allowed, ok := table[from]
		if !ok {
			t.Errorf("%s lies in no room of the table", p.ImportPath)
			continue
		}
		for _, imp := range slices.Concat(p.Imports, p.TestImports, p.XTestImports) {
			to := room(imp)
			if to == "" || to == from || slices.Contains(allowed, to) {
				continue
			}
			if to == "tests" && slices.Contains(slices.Concat(p.TestImports, p.XTestImports), imp) && !slices.Contains(p.Imports, imp) {
				continue // a room's own test may use shared test support
			}
			t.Errorf("%s imports %s: room %s may import %v only", p.ImportPath, imp, from, allowed)
		}
	}
}

// TestBannedImports: the extra rules of layout section 2.
func TestBannedImports(t *testing.T) {
	for _, p := range packages(t) {
		for _, b := range bans() {
			if !b.applies(p.ImportPath) {
				continue
			}
			imports := p.Imports
			if b.tests {
				imports = slices.Concat(imports, p.TestImports, p.XTestImports)
			}
			for _, imp := range imports {
				if banned(b.denied, imp) {
					t.Errorf("%s imports %s: %s (%s)", p.ImportPath, imp, b.name, b.reason)
				}
			}
		}
	}
}

func banned(denied []string, imp string) bool {
	return slices.ContainsFunc(denied, func(d string) bool {
		return imp == d || (strings.HasSuffix(d, "/") && strings.HasPrefix(imp, d))
	})
}

// TestCommandsApart: a command imports its own packages and cmd/internal, never another command's.
func TestCommandsApart(t *testing.T) {
	for _, p := range packages(t) {
		if p.Room() != "cmd" {
			continue
		}
		own := strings.Join(strings.SplitN(p.ImportPath, "/", 4)[:3], "/")
		for _, imp := range p.Imports {
			if room(imp) == "cmd" && !strings.HasPrefix(imp+"/", own+"/") && !strings.HasPrefix(imp, Module+"/cmd/internal/") {
				t.Errorf("%s imports %s: commands share cmd/internal only", p.ImportPath, imp)
			}
		}
	}
}

// TestRules: the matchers themselves refuse what they should.
func TestRules(t *testing.T) {
	if !banned([]string{"net"}, "net") || banned([]string{"net"}, "net/netip") {
		t.Error("an exact ban must not match a longer path")
	}
	if !banned([]string{"a/"}, "a/b") || banned([]string{"a/"}, "ab") {
		t.Error("a prefix ban must match below the folder only")
	}
	pure := bans()[0]
	if !pure.applies("cocoon/measure/tdx") || pure.applies("cocoon/measure/ratls") || pure.applies("cocoon/image/fs") {
		t.Error("the purity rule covers the wrong packages")
	}
}

// TestPackageDocs: exactly one package comment per directory, long enough to say something.
func TestPackageDocs(t *testing.T) {
	docs := map[string][]string{}
	dirs := map[string]bool{}
	for _, f := range sources(t) {
		if f.Test {
			continue
		}
		dir := path.Dir(f.Path)
		dirs[dir] = true
		if f.AST.Doc != nil {
			if len(f.AST.Doc.Text()) < 80 {
				t.Errorf("%s: package comment of %d characters says too little", f.Path, len(f.AST.Doc.Text()))
			}
			docs[dir] = append(docs[dir], f.Path)
		}
	}
	for dir := range dirs {
		if n := len(docs[dir]); n != 1 {
			t.Errorf("%s has %d package comments, want exactly one (%v)", dir, n, docs[dir])
		}
	}
}

// TestSizes: files and functions fit in the head.
func TestSizes(t *testing.T) {
	allowed := longFunctions()
	for _, f := range sources(t) {
		if f.Test || f.Gen {
			continue
		}
		if f.Lines > maxFileLines {
			t.Errorf("%s has %d lines, at most %d", f.Path, f.Lines, maxFileLines)
		}
		for _, d := range f.AST.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || fn.Body == nil {
				continue
			}
			lines := f.Fset.Position(fn.End()).Line - f.Fset.Position(fn.Pos()).Line + 1
			if lines > maxFunctionLines && allowed[f.Path+":"+fn.Name.Name] == "" {
				t.Errorf("%s: %s has %d lines, at most %d", f.Path, fn.Name.Name, lines, maxFunctionLines)
			}
		}
	}
}

// TestNoInitNoClock: no init functions, and time.Now only where a clock is owned.
func TestNoInitNoClock(t *testing.T) {
	owners := clockOwners()
	for _, f := range sources(t) {
		if f.Test || strings.HasPrefix(f.Path, "tests/") {
			continue
		}
		for _, d := range f.AST.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
				t.Errorf("%s declares init()", f.Path)
			}
		}
		if strings.HasPrefix(f.Path, "cmd/") || owners[path.Dir(f.Path)] != "" || owners[f.Path] != "" {
			continue
		}
		ast.Inspect(f.AST, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			if sel, ok := call.Fun.(*ast.SelectorExpr); ok && sel.Sel.Name == "Now" {
				if id, ok := sel.X.(*ast.Ident); ok && id.Name == "time" {
					t.Errorf("%s calls time.Now: take a clock", f.Fset.Position(call.Pos()))
				}
			}
			return true
		})
	}
}

// TestTopLevel: nothing at the top but rooms and the named files.
func TestTopLevel(t *testing.T) {
	root := repository(t)
	allowed := append(Rooms(), "README.md", "LICENSE", "go.mod", "go.sum", "Makefile", "out", "bin")
	entries, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") && !slices.Contains(allowed, e.Name()) {
			t.Errorf("%s does not belong at the top of the repository", e.Name())
		}
	}
}

// TestRoomReadmes: each room says what it promises.
func TestRoomReadmes(t *testing.T) {
	root := repository(t)
	for _, r := range Rooms() {
		text, err := os.ReadFile(filepath.Join(root, r, "README.md"))
		if err != nil {
			t.Errorf("room %s: %v", r, err)
			continue
		}
		for _, want := range []string{"# " + r, "```", "## Decisions"} {
			if !strings.Contains(string(text), want) {
				t.Errorf("%s/README.md lacks %q", r, want)
			}
		}
	}
}

// TestDependencies: each binary links exactly the modules of its committed list; a new one shows in the diff.
func TestDependencies(t *testing.T) {
	root := repository(t)
	for name, ceiling := range ceilings() {
		if _, err := os.Stat(filepath.Join(root, "cmd", name)); err != nil {
			t.Errorf("binary %s: %v", name, err)
			continue
		}
		got, err := Modules(t.Context(), root, "./cmd/"+name)
		if err != nil {
			t.Error(err)
			continue
		}
		if len(got) > ceiling {
			t.Errorf("%s links %d third-party modules, at most %d", name, len(got), ceiling)
		}
		file := filepath.Join(root, "tests/arch/deps", name+".txt")
		text := strings.Join(append(got, ""), "\n")
		if *update {
			if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil || string(want) != text {
			t.Errorf("%s differs from what %s links (run go test ./tests/arch -update and review):\n%s", file, name, text)
		}
	}
}

// TestSoftwareTDXStaysOut: nothing that judges or makes real evidence can make simulated evidence (attestation.md
// section 16.4). The host's tool runs local networks, so it is the one binary that links software TDX.
func TestSoftwareTDXStaysOut(t *testing.T) {
	const software = Module + "/measure/measuretest"
	root := repository(t)
	for name := range ceilings() {
		linked, err := Linked(t.Context(), root, "./cmd/"+name)
		if err != nil {
			t.Error(err)
			continue
		}
		if len(linked) == 0 || !slices.Contains(linked, Module+"/cmd/"+name) {
			t.Errorf("%s links none of this module's packages: %v", name, linked)
		}
		if got, want := slices.Contains(linked, software), name == "cocoon"; got != want {
			t.Errorf("%s links %s: %t, want %t", name, software, got, want)
		}
	}
}

// TestTheGuestLinksNothingOfTheHost: what both need lies below both, because the guest's binary is measured; and a guest
// reads storage, so that it needs no virtual machine.
func TestTheGuestLinksNothingOfTheHost(t *testing.T) {
	linked, err := Linked(t.Context(), repository(t), "./cmd/init")
	if err != nil {
		t.Fatal(err)
	}
	for _, pkg := range linked {
		if of := room(pkg); of == "host" || of == "image" || pkg == Module+"/contracts/chain/machine" {
			t.Errorf("init links %s", pkg)
		}
	}
	if !slices.Contains(linked, Module+"/measure/ratls") {
		t.Errorf("the listing is broken: %v", linked)
	}
}
