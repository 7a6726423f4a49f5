package gobuild_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"cocoon/image/gobuild"
)

// goVersion is the toolchain that runs the test, without "go".
var goVersion = strings.TrimPrefix(runtime.Version(), "go")

// program writes a small module; it prints paths of its own build, which is what would leak.
func program(t *testing.T, dir string) string {
	t.Helper()
	for name, text := range map[string]string{
		"go.mod": "module example.com/prog\n\ngo 1.26.0\n",
		"cmd/init/main.go": `package main

import (
	"os"
	"runtime"

	"example.com/prog/lib"
)

func main() {
	_, file, _, _ := runtime.Caller(0)
	os.Stdout.WriteString(file + " " + lib.Name() + "\n")
}
`,
		"lib/lib.go": "// Package lib is a library.\npackage lib\n\n// Name is its name.\nfunc Name() string { return \"lib\" }\n",
	} {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func spec(dir, work string) gobuild.Spec {
	return gobuild.Spec{
		Dir: dir, Package: "./cmd/init", Out: filepath.Join(work, "init"), CacheDir: filepath.Join(work, "cache"), GoVersion: goVersion,
		ModCache: filepath.Join(work, "mod"),
	}
}

// sharedCache is the developer's own build cache, so that the standard library is compiled once per machine.
func sharedCache(t *testing.T) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "env", "GOCACHE").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// TestSameBytesFromTwoPlaces builds in two folders, one of them a Git checkout in a hostile environment, and wants one
// binary. With COCOON_TEST=repro each build also compiles everything in an empty cache of its own.
func TestSameBytesFromTwoPlaces(t *testing.T) {
	ownCaches := slices.Contains(strings.Split(os.Getenv("COCOON_TEST"), ","), "repro")
	shared := sharedCache(t)
	one, other := program(t, t.TempDir()), program(t, filepath.Join(t.TempDir(), "a longer path", "with spaces"))
	first := spec(one, t.TempDir())
	if !ownCaches {
		first.CacheDir = shared
	}
	a, err := gobuild.Build(t.Context(), first)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := exec.LookPath("git"); err == nil {
		for _, args := range [][]string{{"init", "-q"}, {"add", "."}, {"-c", "user.name=x", "-c", "user.email=x@example.org", "commit", "-q", "-m", "x"}} {
			cmd := exec.CommandContext(t.Context(), "git", args...)
			cmd.Dir = other
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("git %v: %v\n%s", args, err, out)
			}
		}
	}
	for key, value := range map[string]string{
		"GOFLAGS": "-tags=other -race", "GOAMD64": "v3", "CGO_ENABLED": "1", "GOEXPERIMENT": "norandomizedheapbase64", "GOOS": "windows",
		"GOARCH": "arm64", "TZ": "Pacific/Apia", "LC_ALL": "C.UTF-8", "GODEBUG": "http2client=0", "GOWORK": "/nonexistent/go.work",
	} {
		t.Setenv(key, value)
	}
	second := spec(other, t.TempDir())
	second.Jobs = 1
	if !ownCaches {
		second.CacheDir = shared
	}
	b, err := gobuild.Build(t.Context(), second)
	if err != nil {
		t.Fatal(err)
	}
	if a != b {
		t.Errorf("two builds differ:\n%+v\n%+v", a, b)
	}
	data, err := os.ReadFile(second.Out)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(data)
	if hex.EncodeToString(sum[:]) != b.SHA256 || int64(len(data)) != b.Size {
		t.Errorf("the file has %d bytes and SHA-256 %x, reported %+v", len(data), sum, b)
	}
	for _, leak := range []string{one, other, "a longer path"} {
		if strings.Contains(string(data), leak) {
			t.Errorf("the binary contains %q", leak)
		}
	}
	for _, want := range []string{"go\tgo" + goVersion, "path\texample.com/prog/cmd/init", "CGO_ENABLED=0", "GOAMD64=v1"} {
		if !strings.Contains(b.Version, want) {
			t.Errorf("version text lacks %q:\n%s", want, b.Version)
		}
	}
	if st, err := os.Stat(second.Out); err != nil || st.Mode().Perm() != 0o755 {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
	out, err := exec.CommandContext(t.Context(), second.Out).Output()
	if err != nil || string(out) != "example.com/prog/cmd/init/main.go lib\n" {
		t.Errorf("the program prints %q, %v", out, err)
	}
}

func TestAnotherToolchainIsRefusedByBothNames(t *testing.T) {
	s := spec(program(t, t.TempDir()), t.TempDir())
	s.GoVersion = "1.2.3"
	_, err := gobuild.Build(t.Context(), s)
	if err == nil || !strings.Contains(err.Error(), "go1.2.3") || !strings.Contains(err.Error(), "go"+goVersion) {
		t.Errorf("error %v does not name both versions", err)
	}
	s.Go = filepath.Join(t.TempDir(), "go")
	if _, err := gobuild.Build(t.Context(), s); err == nil || !strings.Contains(err.Error(), "install Go 1.2.3") {
		t.Errorf("without a toolchain: %v", err)
	}
}

func TestFailuresShowTheCompilerAndLeaveNothing(t *testing.T) {
	for name, c := range map[string]struct{ file, text, want string }{
		"compile error":  {"cmd/init/main.go", "package main\n\nfunc main() { undefinedName() }\n", "undefinedName"},
		"missing module": {"cmd/init/main.go", "package main\n\nimport _ \"example.com/other/x\"\n\nfunc main() {}\n", "example.com/other/x"},
		"empty source":   {"cmd/init/main.go", "", "main.go:1"},
		"damaged go.mod": {"go.mod", "module example.com/prog\nrequire\n", "go.mod:2"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := program(t, t.TempDir())
			if err := os.WriteFile(filepath.Join(dir, c.file), []byte(c.text), 0o644); err != nil {
				t.Fatal(err)
			}
			work := t.TempDir()
			s := spec(dir, work)
			s.CacheDir = sharedCache(t)
			_, err := gobuild.Build(t.Context(), s)
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "building ./cmd/init") {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
			left, globErr := filepath.Glob(filepath.Join(work, "*"))
			if globErr != nil || len(left) > 0 {
				t.Errorf("left behind: %q, %v", left, globErr)
			}
		})
	}
}

func TestAModuleOutsideTheCacheNamesTheNextStep(t *testing.T) {
	dir := program(t, t.TempDir())
	for name, text := range map[string]string{
		"go.mod": "module example.com/prog\n\ngo 1.26.0\n\nrequire example.com/absent v1.0.0\n",
		"go.sum": "example.com/absent v1.0.0 h1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n" +
			"example.com/absent v1.0.0/go.mod h1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n",
		"cmd/init/main.go": "package main\n\nimport _ \"example.com/absent\"\n\nfunc main() {}\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	s := spec(dir, t.TempDir())
	s.CacheDir = sharedCache(t)
	_, err := gobuild.Build(t.Context(), s)
	if err == nil || !strings.Contains(err.Error(), "go mod download") || !strings.Contains(err.Error(), "example.com/absent") {
		t.Errorf("error %v names no module and no next step", err)
	}
}

// TestCancelledBuildStops uses a go command that waits for ever, with a child that would keep the pipes open.
func TestCancelledBuildStops(t *testing.T) {
	dir, work := program(t, t.TempDir()), t.TempDir()
	fake := filepath.Join(t.TempDir(), "go")
	script := "#!/bin/sh\nif [ \"$1\" = env ]; then echo go" + goVersion + "; exit; fi\nsleep 1000 & sleep 1000\n"
	if err := os.WriteFile(fake, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	s := spec(dir, work)
	s.Go = fake
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	start := time.Now()
	_, err := gobuild.Build(ctx, s)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v is not the deadline's", err)
	}
	if took := time.Since(start); took > time.Minute {
		t.Errorf("stopped after %v", took)
	}
	if left, err := filepath.Glob(filepath.Join(work, ".gobuild-*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %q, %v", left, err)
	}
}

func TestSpecReportsEveryEmptyField(t *testing.T) {
	_, err := gobuild.Build(t.Context(), gobuild.Spec{Package: "-toolexec=x", Jobs: -1})
	for _, want := range []string{"dir", "out", "cacheDir", "goVersion", "looks like a flag", "jobs: -1"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v lacks %q", err, want)
		}
	}
}
