package pipeline

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"cocoon/image/gobuild"
	"cocoon/image/manifest"
)

// initOutput is the compiled guest binary in its step's folder.
const initOutput = "init"

// maxSources bounds the list that `go list` gives; the init has about a thousand files.
const maxSources = 1 << 16

// sourceFacts describe the Go code of the guest binary and what compiles it.
type sourceFacts struct {
	SHA256 string `json:"sha256"` // of the module's own files that the binary is made of
	Files  int    `json:"files"`
	GoSum  string `json:"goSum"`
	GoMod  string `json:"goMod"`
}

// sourcesStep hashes the module's Go files that cmd/init is made of, so that the compiler runs only when one changed.
func (b *build) sourcesStep() step {
	return step{
		Name: sourcesName, Kind: sourcesName, Uncached: true, Needs: []string{checkName},
		Run: func(ctx context.Context, w *work) error {
			facts, err := b.sourceFacts(ctx, initPkg)
			if err != nil {
				return err
			}
			w.Facts = facts
			w.Detail = fmt.Sprintf("%d Go files of %s", facts.Files, initPkg)
			return nil
		},
	}
}

// unresolved stands in the list for a package that the go command could not read.
const unresolved = "?"

// sourceFacts hashes the module's Go files that a program is made of. Files of other modules are covered by go.sum; -e,
// because without cgo the go command finds nothing to compile in the one module that needs it.
//
// On a machine that has never built this checkout the module cache lacks what the program imports: the list is then
// asked for again with a network, which downloads exactly that, checked against go.sum. The compiler runs without one.
func (b *build) sourceFacts(ctx context.Context, pkg string) (sourceFacts, error) {
	query := []string{
		"list", "-e", "-deps", "-f", "{{if .Error}}" + unresolved + "\n{{end}}{{if .Module}}{{if .Module.Main}}{{$d := .Dir}}" +
			"{{range .GoFiles}}{{$d}}/{{.}}\n{{end}}{{range .EmbedFiles}}{{$d}}/{{.}}\n{{end}}" +
			"{{range .SFiles}}{{$d}}/{{.}}\n{{end}}{{end}}{{end}}", pkg,
	}
	out, err := b.goCommand(ctx, query...)
	if err == nil && !b.opts.Offline && slices.Contains(strings.Fields(out), unresolved) {
		out, err = b.goOnline(ctx, query...)
	}
	if err != nil {
		return sourceFacts{}, err
	}
	files := slices.DeleteFunc(strings.Fields(out), func(f string) bool { return f == unresolved })
	facts, err := hashSources(b.opts.Root, files)
	if err != nil {
		return sourceFacts{}, fmt.Errorf("hashing sources of %s: %w", pkg, err)
	}
	return facts, nil
}

func hashSources(root string, files []string) (sourceFacts, error) {
	if len(files) == 0 || len(files) > maxSources {
		return sourceFacts{}, fmt.Errorf("%d files, want 1..%d", len(files), maxSources)
	}
	files = slices.Compact(slices.Sorted(slices.Values(files)))
	h := sha256.New()
	for _, name := range files {
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return sourceFacts{}, err
		}
		sum, _, err := manifest.HashFile(name)
		if err != nil {
			return sourceFacts{}, err
		}
		fmt.Fprintf(h, "%s %q\n", sum, rel) //nolint:errcheck // a hash does not fail
	}
	facts := sourceFacts{SHA256: hex.EncodeToString(h.Sum(nil)), Files: len(files)}
	for _, f := range []struct {
		name string
		sum  *string
	}{{"go.sum", &facts.GoSum}, {"go.mod", &facts.GoMod}} {
		sum, _, err := manifest.HashFile(filepath.Join(root, f.name))
		if err != nil {
			return sourceFacts{}, err
		}
		*f.sum = sum
	}
	return facts, nil
}

// initFacts describe the compiled binary.
type initFacts struct {
	SHA256  string `json:"sha256"`
	Version string `json:"version"` // `go version -m`
}

// initStep compiles the guest binary.
func (b *build) initStep() error {
	b.add(step{
		Name: initName, Kind: initName, Version: 1, Needs: []string{sourcesName},
		Inputs:  []Input{{Kind: "go", Name: "toolchain", Version: b.lock.Go, SHA256: hashText(b.lock.Go)}},
		Outputs: []string{initOutput},
		Run: func(ctx context.Context, w *work) error {
			info, err := gobuild.Build(ctx, gobuild.Spec{
				Dir: b.opts.Root, Package: initPkg, Out: w.out(initOutput), GoVersion: b.lock.Go, Go: b.opts.Go,
				CacheDir: filepath.Join(b.opts.CacheDir, "go-build"),
			})
			if err != nil {
				return err
			}
			w.Facts = initFacts{info.SHA256, info.Version}
			w.Detail = fmt.Sprintf("%.1f MB, go%s", float64(info.Size)/1e6, b.lock.Go)
			return nil
		},
	})
	return nil
}

func hashText(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

// writeFile writes an output that is held in memory.
func writeFile(name string, data []byte) error {
	if err := os.WriteFile(name, data, 0o600); err != nil {
		return fmt.Errorf("writing output: %w", err)
	}
	return nil
}

// readOutput reads a needed step's output whole; for files of at most some tens of megabytes.
func readOutput(w *work, step, output string) ([]byte, error) {
	name, err := w.needPath(step, output)
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("reading result of step %q: %w", step, err)
	}
	return data, nil
}
