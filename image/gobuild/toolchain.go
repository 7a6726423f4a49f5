package gobuild

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	// maxOutput bounds what is kept of the compiler's messages: the first part names the cause.
	maxOutput = 16 << 10
	// killGrace is how long the pipes of a killed build may stay open.
	killGrace = 5 * time.Second
)

// toolchain is a go command whose version was checked, and the module cache it reads.
type toolchain struct {
	path     string
	modCache string
}

// newToolchain finds the go command and refuses another version than the pinned one. It is asked in the module's
// folder with GOTOOLCHAIN=local, so that it cannot fetch and become another version.
func newToolchain(ctx context.Context, s Spec) (toolchain, error) {
	path := s.Go
	if path == "" {
		path = "go"
	}
	path, err := exec.LookPath(path)
	if err != nil {
		return toolchain{}, fmt.Errorf("finding the Go toolchain: %w; install Go %s", err, s.GoVersion)
	}
	if path, err = filepath.Abs(path); err != nil {
		return toolchain{}, err
	}
	version, err := query(ctx, s.Dir, path, "GOVERSION")
	if err != nil {
		return toolchain{}, err
	}
	if version != "go"+s.GoVersion {
		return toolchain{}, fmt.Errorf("%s is %s, the lock pins go%s: another toolchain makes another image; install Go %s or run `cocoon image lock` with this one",
			path, version, s.GoVersion, s.GoVersion)
	}
	modCache := s.ModCache
	if modCache == "" {
		if modCache, err = query(ctx, s.Dir, path, "GOMODCACHE"); err != nil {
			return toolchain{}, err
		}
	}
	if modCache, err = filepath.Abs(modCache); err != nil {
		return toolchain{}, err
	}
	return toolchain{path: path, modCache: modCache}, nil
}

// query asks for one variable in the user's own environment: only there is the place of the module cache known.
func query(ctx context.Context, dir, path, name string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, "env", name)
	cmd.Env = append(os.Environ(), "GOTOOLCHAIN=local", "GOFLAGS=")
	out, err := run(ctx, cmd, dir)
	if err != nil {
		return "", fmt.Errorf("asking %s for %s: %w", path, name, err)
	}
	return strings.TrimSpace(out), nil
}

// compile runs the one build command (image.md section 17). work is an empty folder for everything temporary.
func (t toolchain) compile(ctx context.Context, s Spec, work, out string) error {
	ctx, cancel := context.WithTimeout(ctx, buildTimeout)
	defer cancel()
	env, err := t.environment(s.CacheDir, work)
	if err != nil {
		return err
	}
	args := []string{"build", "-mod=readonly", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w -buildid=", "-o", out}
	if s.Jobs > 0 {
		args = append(args, "-p", strconv.Itoa(s.Jobs))
	}
	cmd := exec.CommandContext(ctx, t.path, append(args, s.Package)...)
	cmd.Env = env
	_, err = run(ctx, cmd, s.Dir)
	return err
}

// environment is everything the build sees. Nothing is inherited: GOFLAGS, GOEXPERIMENT, GOAMD64 and a user's
// go/env file would each change the bytes.
func (t toolchain) environment(cacheDir, work string) ([]string, error) {
	cache, err := filepath.Abs(cacheDir)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return nil, fmt.Errorf("making the build cache: %w", err)
	}
	if err := silence(work); err != nil {
		return nil, err
	}
	return []string{
		"CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64", "GOAMD64=v1",
		"GOTOOLCHAIN=local", "GOFLAGS=", "GOEXPERIMENT=", "GOENV=off", "GOWORK=off", "GOFIPS140=off", "GODEBUG=",
		"GOPROXY=off", "GOSUMDB=off", // offline: go.sum alone decides
		"GOCACHE=" + cache, "GOMODCACHE=" + t.modCache,
		"HOME=" + work, "TMPDIR=" + work, "PATH=/usr/bin:/bin", "LC_ALL=C", "TZ=UTC",
	}, nil
}

// silence turns the go command's telemetry off for the build's home folder: a child of it would go on writing there
// after the build, while the folder is being removed.
func silence(home string) error {
	dir := filepath.Join(home, ".config", "go", "telemetry")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("making the build's home: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "mode"), []byte("off\n"), 0o600); err != nil {
		return fmt.Errorf("making the build's home: %w", err)
	}
	return nil
}

// run starts a command in its own process group and waits for it; a cancelled one is killed with its children.
func run(ctx context.Context, cmd *exec.Cmd, dir string) (string, error) {
	var stdout, stderr limited
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &stdout, &stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = killGrace
	err := cmd.Run()
	switch {
	case err == nil:
		return stdout.String(), nil
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return "", fmt.Errorf("%s did not finish in time: %w", filepath.Base(cmd.Path), ctx.Err())
	case ctx.Err() != nil:
		return "", ctx.Err()
	}
	message := strings.TrimSpace(stderr.String())
	if strings.Contains(message, "GOPROXY=off") {
		message += "\nThe module cache lacks a module; run `go mod download` in " + dir + " once, with a network"
	}
	return "", fmt.Errorf("%w\n%s", err, message)
}

// limited keeps the first maxOutput bytes and counts the rest.
type limited struct {
	kept    []byte
	dropped int
}

func (l *limited) Write(p []byte) (int, error) {
	n := min(len(p), maxOutput-len(l.kept))
	l.kept = append(l.kept, p[:n]...)
	l.dropped += len(p) - n
	return len(p), nil
}

func (l *limited) String() string {
	if l.dropped == 0 {
		return string(l.kept)
	}
	return fmt.Sprintf("%s\n(%d more bytes)", l.kept, l.dropped)
}
