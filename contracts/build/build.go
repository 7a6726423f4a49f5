// Package build compiles the contracts: it installs the pinned Tolk compiler, runs it on contracts/tolk and writes code and
// manifest into contracts/code.
//
// It owns the list of contracts, the manifest and the compiler's lock file. It trusts the lock's integrity hashes, which
// npm checks, and node, which runs the compiler; nothing else of what is installed runs (install scripts are off). The
// same sources give the same bytes on every machine. Functions may be used concurrently on different folders. It refuses
// another compiler version than the pinned one, code that is not one bag of cells, and sources outside their folder. Only
// tests and `make contracts` use it; programs embed what it wrote.
package build

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"

	"github.com/xssnick/tonutils-go/tvm/cell"
)

const (
	// Compiler is the npm package that the lock pins.
	Compiler = "@ton/tolk-js"
	// Version is its version; another gives other code for the same source.
	Version = "1.3.0"

	// ManifestFile lies beside the code.
	ManifestFile = "manifest.json"

	// maxSource and maxOutput bound a source file and the compiler's answer for one contract.
	maxSource = 1 << 20
	maxOutput = 4 << 20
	// maxSources bounds the files of one contract.
	maxSources = 64
)

//go:embed package.json package-lock.json compile.mjs
var files embed.FS

// Contracts are the names of the contracts: NAME.tolk becomes NAME.boc.
func Contracts() []string {
	return []string{"agreement", "client", "farm", "governor", "proxy", "root", "wallet", "worker"}
}

// Artifact is a compiled contract.
type Artifact struct {
	Name string
	BOC  []byte
	Entry
}

// Manifest lists what was compiled, in the order of names.
type Manifest struct {
	Compiler  string  `json:"compiler"`
	Version   string  `json:"version"`
	Contracts []Entry `json:"contracts"`
}

// Entry describes one contract's code.
type Entry struct {
	Contract string   `json:"contract"`
	Sources  []string `json:"sources"`       // relative to contracts/tolk, sorted
	Digest   string   `json:"source_digest"` // sha256 over names, sizes and bytes of the sources
	CodeHash string   `json:"code_hash"`     // representation hash
	Depth    uint16   `json:"depth"`
	Size     int      `json:"size"` // bytes of the bag of cells
}

// Install puts the pinned compiler into a folder, by npm, unless it is there.
func Install(ctx context.Context, dir string) error {
	if installed(dir) {
		return nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("installing %s: %w", Compiler, err)
	}
	for _, name := range []string{"package.json", "package-lock.json"} {
		data, err := files.ReadFile(name)
		if err != nil {
			return fmt.Errorf("installing %s: %w", Compiler, err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			return fmt.Errorf("installing %s: %w", Compiler, err)
		}
	}
	cmd := exec.CommandContext(ctx, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("installing %s: npm ci: %w\n%s", Compiler, err, bytes.TrimSpace(out))
	}
	if !installed(dir) {
		return fmt.Errorf("installing %s: npm ci left no version %s in %s", Compiler, Version, dir)
	}
	return nil
}

func installed(dir string) bool {
	data, err := os.ReadFile(filepath.Join(dir, "node_modules", filepath.FromSlash(Compiler), "package.json"))
	var pkg struct{ Version string }
	return err == nil && json.Unmarshal(data, &pkg) == nil && pkg.Version == Version
}

// Compile compiles all contracts of a source folder with the compiler installed in another.
func Compile(ctx context.Context, compiler, sources string) ([]Artifact, error) {
	script, err := files.ReadFile("compile.mjs")
	if err != nil {
		return nil, fmt.Errorf("compiling contracts: %w", err)
	}
	runner := filepath.Join(compiler, "compile.mjs")
	if err := os.WriteFile(runner, script, 0o644); err != nil {
		return nil, fmt.Errorf("compiling contracts: %w", err)
	}
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, "node", append([]string{runner, compiler, sources}, Contracts()...)...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("compiling contracts: %w\n%s", err, bytes.TrimSpace(stderr.Bytes()))
	}
	return readOutput(&stdout, sources)
}

// line is what compile.mjs prints for one contract.
type line struct {
	Name, Version, BOC string
	Files              []string
}

func readOutput(from *bytes.Buffer, sources string) ([]Artifact, error) {
	var out []Artifact
	lines := bufio.NewScanner(from)
	lines.Buffer(nil, maxOutput)
	for lines.Scan() {
		var l line
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			return nil, fmt.Errorf("reading the compiler's answer: %w", err)
		}
		a, err := l.artifact(sources)
		if err != nil {
			return nil, fmt.Errorf("reading the compiler's answer for %s: %w", l.Name, err)
		}
		out = append(out, a)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("reading the compiler's answer: %w", err)
	}
	if len(out) != len(Contracts()) {
		return nil, fmt.Errorf("reading the compiler's answer: %d contracts, want %d", len(out), len(Contracts()))
	}
	return out, nil
}

func (l line) artifact(sources string) (Artifact, error) {
	if l.Version != Version {
		return Artifact{}, fmt.Errorf("compiler version %q, want %s", l.Version, Version)
	}
	boc, err := base64.StdEncoding.DecodeString(l.BOC)
	if err != nil {
		return Artifact{}, err
	}
	code, err := cell.FromBOC(boc)
	if err != nil {
		return Artifact{}, err
	}
	boc = code.ToBOC()
	names := slices.Clone(l.Files)
	slices.Sort(names)
	digest, err := Digest(sources, names)
	if err != nil {
		return Artifact{}, err
	}
	return Artifact{Name: l.Name, BOC: boc, Entry: Entry{
		Contract: l.Name, Sources: names, Digest: digest,
		CodeHash: hex.EncodeToString(code.Hash()), Depth: code.Depth(), Size: len(boc),
	}}, nil
}

// Digest is the sha256 over the named sources: for each its name, its size and its bytes.
func Digest(sources string, names []string) (string, error) {
	if len(names) == 0 || len(names) > maxSources {
		return "", fmt.Errorf("digesting sources: %d files, 1 to %d", len(names), maxSources)
	}
	sum := sha256.New()
	for _, name := range names {
		if !filepath.IsLocal(filepath.FromSlash(name)) {
			return "", fmt.Errorf("digesting sources: %s lies outside their folder", name)
		}
		data, err := os.ReadFile(filepath.Join(sources, filepath.FromSlash(name)))
		if err != nil {
			return "", fmt.Errorf("digesting sources: %w", err)
		}
		if len(data) > maxSource {
			return "", fmt.Errorf("digesting sources: %s has %d bytes, at most %d", name, len(data), maxSource)
		}
		fmt.Fprintf(sum, "%s\n%d\n", name, len(data)) //nolint:errcheck // a hash does not fail
		sum.Write(data)
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// Files are what Write puts into contracts/code, by name.
func Files(artifacts []Artifact) (map[string][]byte, error) {
	m := Manifest{Compiler: Compiler, Version: Version}
	out := map[string][]byte{}
	for _, a := range artifacts {
		m.Contracts = append(m.Contracts, a.Entry)
		out[a.Name+".boc"] = a.BOC
	}
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("writing manifest: %w", err)
	}
	out[ManifestFile] = append(text, '\n')
	return out, nil
}

// Write replaces the code and the manifest in a folder.
func Write(dir string, artifacts []Artifact) error {
	contents, err := Files(artifacts)
	if err != nil {
		return err
	}
	var errs []error
	for name, data := range contents {
		errs = append(errs, os.WriteFile(filepath.Join(dir, name), data, 0o644))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("writing code: %w", err)
	}
	return nil
}
