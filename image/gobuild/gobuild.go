// Package gobuild compiles the guest's binary so that anybody gets the same bytes: pinned toolchain, static, no
// paths, no version-control stamp, and an environment that this package writes from nothing (image.md section 17).
//
// It owns the flags and the environment of that one command. It trusts the Go toolchain on the machine only after its
// version equals the pinned one, and the module cache only through go.sum. A build runs offline: what is not in the
// module cache is an error with the command that fetches it. Build is safe for concurrent use with different
// outputs. It refuses another toolchain version, cgo, and a result whose own record disagrees with the flags.
package gobuild

import (
	"context"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	// buildTimeout bounds one build; a cold one of the whole init takes about a minute on two cores.
	buildTimeout = 10 * time.Minute
	// queryTimeout bounds `go env`.
	queryTimeout = 30 * time.Second
	// maxBinary bounds the result; the target of the init is 16 MiB.
	maxBinary = 64 << 20
)

// Spec says what to build.
type Spec struct {
	// Dir is the module's root folder.
	Dir string
	// Package is the main package as the go command takes it: ./cmd/init.
	Package string
	// Out is the file to write; it appears only when it is complete.
	Out string
	// CacheDir holds the compiler's cache; it may be shared, is created, and never changes the result.
	CacheDir string
	// GoVersion is the pinned toolchain version without "go": 1.26.8.
	GoVersion string
	// Go is the go command; empty looks in PATH.
	Go string
	// ModCache is the module cache; empty asks the go command where the user's is.
	ModCache string
	// Jobs limits parallel compilations (-p); 0 leaves it to the go command. It never changes the result.
	Jobs int
}

// Info describes a finished build.
type Info struct {
	// SHA256 is the lower-case hex digest of the binary, Size its bytes.
	SHA256 string
	Size   int64
	// Version is what `go version -m` says about the binary, without the file's name.
	Version string
}

// Validate returns every broken rule of the spec.
func (s Spec) Validate() error {
	var errs []error
	for _, f := range []struct{ name, value string }{
		{"dir", s.Dir}, {"package", s.Package}, {"out", s.Out}, {"cacheDir", s.CacheDir}, {"goVersion", s.GoVersion},
	} {
		if f.value == "" {
			errs = append(errs, fmt.Errorf("%s: empty", f.name))
		}
	}
	if strings.HasPrefix(s.Package, "-") {
		errs = append(errs, fmt.Errorf("package: %q looks like a flag", s.Package))
	}
	if s.Jobs < 0 {
		errs = append(errs, fmt.Errorf("jobs: %d is negative", s.Jobs))
	}
	return errors.Join(errs...)
}

// Build compiles. On an error no output is left behind, and the error carries what the compiler wrote.
func Build(ctx context.Context, s Spec) (Info, error) {
	if err := s.Validate(); err != nil {
		return Info{}, fmt.Errorf("building %s: %w", s.Package, err)
	}
	info, err := build(ctx, s)
	if err != nil {
		return Info{}, fmt.Errorf("building %s: %w", s.Package, err)
	}
	return info, nil
}

func build(ctx context.Context, s Spec) (Info, error) {
	tool, err := newToolchain(ctx, s)
	if err != nil {
		return Info{}, err
	}
	out, err := filepath.Abs(s.Out)
	if err != nil {
		return Info{}, err
	}
	work, err := os.MkdirTemp(filepath.Dir(out), ".gobuild-")
	if err != nil {
		return Info{}, err
	}
	defer os.RemoveAll(work) //nolint:errcheck // our own scratch folder
	binary := filepath.Join(work, "binary")
	if err := tool.compile(ctx, s, work, binary); err != nil {
		return Info{}, err
	}
	info, err := inspect(binary, s.GoVersion)
	if err != nil {
		return Info{}, err
	}
	if err := os.Chmod(binary, 0o755); err != nil {
		return Info{}, err
	}
	return info, os.Rename(binary, out)
}

// inspect reads the binary's own record of how it was built and compares it with what was asked for.
func inspect(name, version string) (Info, error) {
	record, err := buildinfo.ReadFile(name)
	if err != nil {
		return Info{}, fmt.Errorf("reading build record: %w", err)
	}
	if record.GoVersion != "go"+version {
		return Info{}, fmt.Errorf("build record says toolchain %s, the lock says go%s", record.GoVersion, version)
	}
	settings := make(map[string]string)
	for _, kv := range record.Settings {
		settings[kv.Key] = kv.Value
	}
	for _, want := range []struct{ key, value string }{
		{"CGO_ENABLED", "0"}, {"GOARCH", "amd64"}, {"GOOS", "linux"}, {"GOAMD64", "v1"}, {"-trimpath", "true"}, {"vcs.revision", ""},
	} {
		if got := settings[want.key]; got != want.value {
			return Info{}, fmt.Errorf("build record says %s=%q, want %q", want.key, got, want.value)
		}
	}
	f, err := os.Open(name)
	if err != nil {
		return Info{}, err
	}
	defer f.Close() //nolint:errcheck // read side
	h := sha256.New()
	size, err := io.Copy(h, io.LimitReader(f, maxBinary+1))
	if err != nil {
		return Info{}, fmt.Errorf("hashing binary: %w", err)
	}
	if size > maxBinary {
		return Info{}, fmt.Errorf("binary is larger than %d bytes", maxBinary)
	}
	return Info{SHA256: hex.EncodeToString(h.Sum(nil)), Size: size, Version: record.String()}, nil
}
