package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"golang.org/x/sys/unix"

	"cocoon/image/pipeline/pipelinetest"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){program: main, "later": later})
}

func TestScripts(t *testing.T) {
	shared := t.TempDir()
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: false,
		Setup: func(env *testscript.Env) error {
			c := pipelinetest.New(t, env.WorkDir, filepath.Join(shared, "cache"))
			for _, kv := range [][2]string{
				{"HOME", filepath.Join(env.WorkDir, "home")},
				{"GOCACHE", filepath.Join(shared, "go")},
				{"GOMODCACHE", filepath.Join(shared, "modules")},
				{"CHECKOUT", c.Root},
				{"COCOON_ROOT", c.Root},
				{"COCOON_CACHE", c.Cache},
				{"COCOON_OUT", c.Out},
				{"STORE", filepath.Join(c.Cache, "inputs", "sha256")},
			} {
				env.Setenv(kv[0], kv[1])
			}
			env.Values["checkout"] = c
			env.Values["t"] = t
			return nil
		},
		Condition: func(cond string) (bool, error) {
			if cond == "root" {
				return os.Geteuid() == 0, nil
			}
			return false, fmt.Errorf("unknown condition %q", cond)
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"code": exitCode, "schema": checkSchema, "edit": edit, "relock": relock, "owncache": ownCache, "storefile": storeFile,
			"tmpfs": tmpfs, "narrow": narrow, "only-tool": onlyTool, "qemu": addQEMU, "start": start, "waitfile": waitFile,
			"guest":   func(ts *testscript.TestScript, _ bool, _ []string) { buildGuest(ts, shared) },
			"network": runNetwork, "faucet": faucet, "field": field, "travel": travel,
		},
	})
}

// buildGuest builds the guest binary of this checkout, with this process's build cache, and sets $GUEST.
func buildGuest(ts *testscript.TestScript, dir string) {
	name := filepath.Join(dir, "guest")
	out, err := exec.Command("go", "build", "-o", name, "cocoon/cmd/init").CombinedOutput()
	if err != nil {
		ts.Fatalf("building the guest binary: %v\n%s", err, out)
	}
	ts.Setenv("GUEST", name)
}

// exitCode runs a command and checks its exit code: code 3 cocoon image verify ...
func exitCode(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		got = exit.ExitCode()
	case err != nil:
		ts.Fatalf("%v", err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// checkSchema validates the document on stdout, or every line with -lines, against the schema that it names.
func checkSchema(ts *testscript.TestScript, _ bool, args []string) {
	text := ts.ReadFile("stdout")
	docs := []string{text}
	if len(args) > 1 && args[0] == "-lines" {
		docs = strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	}
	want := args[len(args)-1]
	for _, doc := range docs {
		dec := json.NewDecoder(strings.NewReader(doc))
		var value map[string]any
		ts.Check(dec.Decode(&value))
		if dec.More() {
			ts.Fatalf("more than one document on stdout")
		}
		if value["schema"] != want {
			ts.Fatalf("schema %v, want %s", value["schema"], want)
		}
		ts.Check(validate(want, doc))
	}
}

func validate(id, doc string) error {
	schema, err := jsonschema.NewCompiler().Compile(filepath.Join(schemaDir(), strings.ReplaceAll(id, "/", ".")+".json"))
	if err != nil {
		return err
	}
	value, err := jsonschema.UnmarshalJSON(strings.NewReader(doc))
	if err != nil {
		return err
	}
	return schema.Validate(value)
}

// schemaDir is absolute, because scripts change the working directory.
func schemaDir() string {
	dir, err := filepath.Abs("schema")
	if err != nil {
		return "schema"
	}
	return dir
}

func checkout(ts *testscript.TestScript) (*testing.T, *pipelinetest.Checkout) {
	t, okT := ts.Value("t").(*testing.T)
	c, okC := ts.Value("checkout").(*pipelinetest.Checkout)
	if !okT || !okC {
		ts.Fatalf("no checkout")
	}
	return t, c
}

// edit replaces text in a file of the checkout: edit mkosi/image.toml hello hullo.
func edit(ts *testscript.TestScript, _ bool, args []string) {
	t, c := checkout(ts)
	c.Edit(t, args[0], args[1], args[2])
}

func relock(ts *testscript.TestScript, _ bool, _ []string) {
	t, c := checkout(ts)
	c.Relock(t)
}

// ownCache gives the script a cache that no other script sees; compiled Go packages stay shared.
func ownCache(ts *testscript.TestScript, _ bool, _ []string) {
	t, c := checkout(ts)
	c.Cache = ts.MkAbs("own-cache")
	pipelinetest.ShareGoCache(t, c.Cache)
	c.Relock(t)
	ts.Setenv("COCOON_CACHE", c.Cache)
}

// storeFile sets $INPUT to the place of a locked input.
func storeFile(ts *testscript.TestScript, _ bool, args []string) {
	t, c := checkout(ts)
	ts.Setenv("INPUT", c.StoreFile(t, args[0]))
}

// tmpfs mounts a file system of a size; root only.
func tmpfs(ts *testscript.TestScript, _ bool, args []string) {
	dir := ts.MkAbs(args[0])
	ts.Check(os.MkdirAll(dir, 0o755))
	ts.Check(unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+args[1]))
	ts.Defer(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
}

// narrow checks that no line on stdout is wider than 100 columns.
func narrow(ts *testscript.TestScript, _ bool, _ []string) {
	for line := range strings.Lines(ts.ReadFile("stdout")) {
		if len(strings.TrimSuffix(line, "\n")) > 100 {
			ts.Fatalf("line over 100 columns: %s", line)
		}
	}
}

// onlyTool makes a PATH that has this program and nothing else.
func onlyTool(ts *testscript.TestScript, _ bool, _ []string) {
	first, _, _ := strings.Cut(ts.Getenv("PATH"), string(os.PathListSeparator))
	ts.Setenv("PATH", first)
}

// TestInterrupt stops a build in the middle: exit code 130, no image, and the next build goes on.
func TestInterrupt(t *testing.T) {
	dir := t.TempDir()
	c := pipelinetest.New(t, dir, "")
	marker := filepath.Join(dir, "compiling")
	realGo, err := exec.LookPath("go")
	if err != nil {
		t.Skip("go is not in PATH")
	}
	bin := filepath.Join(dir, "bin")
	script := "#!/bin/sh\nif [ \"$1\" = build ]; then : > " + marker + "; exec sleep 600; fi\nexec " + realGo + " \"$@\"\n"
	if err := errors.Join(os.MkdirAll(bin, 0o755), os.WriteFile(filepath.Join(bin, "go"), []byte(script), 0o755)); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH"))
	go func() {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for range tick.C {
			if _, err := os.Stat(marker); err == nil {
				_ = unix.Kill(os.Getpid(), unix.SIGINT)
				return
			}
		}
	}()
	var out, errOut strings.Builder
	code := run([]string{"image", "build", "proxy", "-o", "json", "--root", c.Root, "--cache", c.Cache, "--out", c.Out}, testDeps(&out, &errOut))
	if code != 130 {
		t.Errorf("exit code %d, want 130; %s", code, errOut.String())
	}
	if err := validate("cocoon.error/1", out.String()); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(c.Out, "proxy")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("an interrupted build left an image: %v", err)
	}
	entries, err := os.ReadDir(filepath.Join(c.Cache, "steps"))
	if err != nil || slices.ContainsFunc(entries, func(e os.DirEntry) bool { return strings.HasPrefix(e.Name(), ".") }) {
		t.Errorf("the cache holds %v, %v", entries, err)
	}
}

// TestInterruptedStartOfANetwork ends it in order, at whatever it was: exit code 130, no process, no socket, no description.
func TestInterruptedStartOfANetwork(t *testing.T) {
	dir, sockets := t.TempDir(), t.TempDir()
	t.Setenv("TMPDIR", sockets)
	guest, marker := filepath.Join(dir, "guest"), filepath.Join(dir, "started")
	script := "#!/bin/sh\necho $$ >> " + marker + "\nexec sleep 600\n"
	if err := os.WriteFile(guest, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	go func() {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for range tick.C {
			if data, err := os.ReadFile(marker); err == nil && strings.Count(string(data), "\n") == 2 {
				_ = unix.Kill(os.Getpid(), unix.SIGINT)
				return
			}
		}
	}()
	var out, errOut strings.Builder
	net := filepath.Join(dir, "net")
	code := run([]string{"localnet", "up", "--guest", guest, "--dir", net, "--listen", "127.0.0.1:0", "-o", "json"}, testDeps(&out, &errOut))
	if code != 130 || !strings.Contains(errOut.String(), "cocoon: error: interrupted: ") {
		t.Errorf("exit code %d, want 130; %s", code, errOut.String())
	}
	if err := validate("cocoon.error/1", out.String()); err != nil {
		t.Error(err)
	}
	for _, left := range []string{filepath.Join(sockets, "*"), filepath.Join(net, "localnet.json"), filepath.Join(net, "sockets")} {
		if found, err := filepath.Glob(left); err != nil || len(found) > 0 {
			t.Errorf("left: %v, %v", found, err)
		}
	}
	pids, err := os.ReadFile(marker)
	if err != nil {
		t.Fatal(err)
	}
	for pid := range strings.FieldsSeq(string(pids)) {
		n, err := strconv.Atoi(pid)
		if err != nil || unix.Kill(n, 0) == nil {
			t.Errorf("process %s runs still; %v", pid, err)
		}
	}
}

func testDeps(out, errOut *strings.Builder) deps {
	return deps{
		stdin: strings.NewReader(""), stdout: out, stderr: errOut, getenv: func(string) string { return "" }, getwd: os.Getwd,
		now: time.Now, executable: os.Executable,
	}
}

// TestSchemasAreWellFormed compiles every schema, so that an unused one cannot rot.
func TestSchemasAreWellFormed(t *testing.T) {
	files, err := filepath.Glob("schema/*.json")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d schemas, %v", len(files), err)
	}
	for _, f := range files {
		if _, err := jsonschema.NewCompiler().Compile(f); err != nil {
			t.Errorf("%s: %v", f, err)
		}
	}
}
