package build

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cocoon/tests/golden"
)

var update = flag.Bool("update", false, "compile and rewrite contracts/code")

// compilerFolder is where the pinned compiler is, or a skip that says why not. Compiling takes seconds and installing
// needs the network, so both are for -update and COCOON_TEST=chain; a plain run compares the sources with the manifest.
func compilerFolder(t *testing.T) string {
	t.Helper()
	if !*update && !slices.Contains(strings.Split(os.Getenv("COCOON_TEST"), ","), "chain") {
		t.Skipf("compiles with %s %s: set COCOON_TEST=chain", Compiler, Version)
	}
	for _, tool := range []string{"node", "npm"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("needs %s to run the compiler: %v", tool, err)
		}
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Skipf("needs a cache folder for the compiler: %v", err)
	}
	dir := filepath.Join(cache, "cocoon", "tolk-"+Version)
	if err := Install(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestCodeIsWhatTheSourcesGive: a fresh compilation gives the committed code and manifest, byte for byte.
func TestCodeIsWhatTheSourcesGive(t *testing.T) {
	root := golden.Root(t)
	artifacts, err := Compile(t.Context(), compilerFolder(t), filepath.Join(root, "contracts", "tolk"))
	if err != nil {
		t.Fatal(err)
	}
	code := filepath.Join(root, "contracts", "code")
	if *update {
		if err := Write(code, artifacts); err != nil {
			t.Fatal(err)
		}
	}
	want, err := Files(artifacts)
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range want {
		got, err := os.ReadFile(filepath.Join(code, name))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, data) {
			t.Errorf("contracts/code/%s is not what the sources give: run make contracts", name)
		}
	}
}

// TestManifestMatchesSources: the committed manifest was made from the committed sources, which needs no compiler.
func TestManifestMatchesSources(t *testing.T) {
	root := golden.Root(t)
	data, err := os.ReadFile(filepath.Join(root, "contracts", "code", ManifestFile))
	if err != nil {
		t.Fatal(err)
	}
	var m Manifest
	if err := json.Unmarshal(data, &m); err != nil {
		t.Fatal(err)
	}
	if m.Compiler != Compiler || m.Version != Version {
		t.Errorf("compiled with %s %s, want %s %s", m.Compiler, m.Version, Compiler, Version)
	}
	names := make([]string, len(m.Contracts))
	used := map[string]bool{}
	for i, e := range m.Contracts {
		names[i] = e.Contract
		digest, err := Digest(filepath.Join(root, "contracts", "tolk"), e.Sources)
		if err != nil {
			t.Fatal(err)
		}
		if digest != e.Digest {
			t.Errorf("%s: sources have changed since the code was compiled: run make contracts", e.Contract)
		}
		for _, s := range e.Sources {
			used[s] = true
		}
	}
	if diff := cmp.Diff(Contracts(), names); diff != "" {
		t.Errorf("contracts of the manifest (-want +got):\n%s", diff)
	}
	all, err := filepath.Glob(filepath.Join(root, "contracts", "tolk", "*", "*.tolk"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range all {
		name, err := filepath.Rel(filepath.Join(root, "contracts", "tolk"), file)
		if err != nil {
			t.Fatal(err)
		}
		if !used[filepath.ToSlash(name)] {
			t.Errorf("%s is part of no contract", name)
		}
	}
}

// TestLockPinsTheCompiler: the lock holds the pinned version with integrity hashes for everything, and no address.
func TestLockPinsTheCompiler(t *testing.T) {
	data, err := files.ReadFile("package-lock.json")
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(data, []byte("resolved")) || bytes.Contains(data, []byte("://")) {
		t.Error("the lock names where packages come from: only their hashes belong into it")
	}
	var lock struct {
		Packages map[string]struct{ Version, Integrity string }
	}
	if err := json.Unmarshal(data, &lock); err != nil {
		t.Fatal(err)
	}
	if got := lock.Packages["node_modules/"+Compiler].Version; got != Version {
		t.Errorf("the lock pins %q, want %s", got, Version)
	}
	for name, p := range lock.Packages {
		if name != "" && !strings.HasPrefix(p.Integrity, "sha512-") {
			t.Errorf("%s has no integrity hash", name)
		}
	}
}

// TestBadAnswers: what is not the pinned compiler's answer for all contracts is refused.
func TestBadAnswers(t *testing.T) {
	sources := t.TempDir()
	if err := os.WriteFile(filepath.Join(sources, "a.tolk"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ answer, want string }{
		"nothing":           {"", "0 contracts"},
		"not JSON":          {"hello\n", "invalid character"},
		"another version":   {`{"name":"a","version":"1.4.0","boc":"","files":["a.tolk"]}`, "1.4.0"},
		"no base64":         {`{"name":"a","version":"1.3.0","boc":"!","files":["a.tolk"]}`, "base64"},
		"no bag of cells":   {`{"name":"a","version":"1.3.0","boc":"AAAA","files":["a.tolk"]}`, "a:"},
		"source outside":    {`{"name":"a","version":"1.3.0","boc":"te6cckEBAQEAAgAAAEysuc0=","files":["../a.tolk"]}`, "outside"},
		"source missing":    {`{"name":"a","version":"1.3.0","boc":"te6cckEBAQEAAgAAAEysuc0=","files":["b.tolk"]}`, "b.tolk"},
		"no sources":        {`{"name":"a","version":"1.3.0","boc":"te6cckEBAQEAAgAAAEysuc0=","files":[]}`, "0 files"},
		"too few contracts": {`{"name":"a","version":"1.3.0","boc":"te6cckEBAQEAAgAAAEysuc0=","files":["a.tolk"]}`, "1 contracts"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := readOutput(bytes.NewBufferString(c.answer), sources)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
}
