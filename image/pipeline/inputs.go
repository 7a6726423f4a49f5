package pipeline

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

	"cocoon/image/fetch"
	"cocoon/image/lock"
)

// Names of the rows that exist once.
const (
	checkName    = "lock"
	fetchName    = "fetch"
	sourcesName  = "sources"
	kernelName   = "kernel"
	stubName     = "stub"
	firmwareName = "firmware"
	initName     = "init"
)

// fetchDeadline bounds the whole fetch; single downloads have their own limits in package fetch.
const fetchDeadline = 2 * time.Hour

// checkDeadline bounds the query of the toolchain, which takes some ten milliseconds.
const checkDeadline = time.Minute

// ErrNoGo marks a machine without a usable Go toolchain.
var ErrNoGo = errors.New("the Go toolchain is missing")

// checkStep compares the lock with the recipe and with the toolchain that will compile the init.
func (b *build) checkStep() step {
	return step{
		Name: checkName, Kind: checkName, Uncached: true,
		Run: func(ctx context.Context, w *work) error {
			ctx, cancel := context.WithTimeout(ctx, checkDeadline)
			defer cancel()
			version, err := b.goCommand(ctx, "env", "GOVERSION")
			if err != nil {
				return err
			}
			w.Detail = fmt.Sprintf("%d inputs, %s", len(b.lock.Artefacts), strings.TrimSpace(version))
			return b.lock.Check(b.recipe.SHA256, strings.TrimSpace(version))
		},
	}
}

// goCommand runs a query of the go command in the checkout, offline and with our own build settings.
func (b *build) goCommand(ctx context.Context, args ...string) (string, error) {
	return b.goQuery(ctx, []string{"GOPROXY=off"}, args)
}

// goOnline is goCommand with the user's own module proxy.
func (b *build) goOnline(ctx context.Context, args ...string) (string, error) {
	return b.goQuery(ctx, nil, args)
}

func (b *build) goQuery(ctx context.Context, env, args []string) (string, error) {
	name := b.opts.Go
	if name == "" {
		name = "go"
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("%w: %w; install Go %s", ErrNoGo, err, b.lock.Go)
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Dir = b.opts.Root
	cmd.Env = append(cmd.Environ(), "GOTOOLCHAIN=local", "GOFLAGS=-mod=readonly", "GOWORK=off",
		"CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64", "GOAMD64=v1", "GOEXPERIMENT=")
	cmd.Env = append(cmd.Env, env...)
	out, err := cmd.Output()
	if ctx.Err() != nil {
		return "", fmt.Errorf("running go %s: %w", args[0], ctx.Err())
	}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return "", fmt.Errorf("running go %s: %w: %s", args[0], err, strings.TrimSpace(string(exit.Stderr)))
	}
	if err != nil {
		return "", fmt.Errorf("running go %s: %w", args[0], err)
	}
	return string(out), nil
}

// fetchStep brings what the targets need into the store.
func (b *build) fetchStep() step {
	return step{
		Name: fetchName, Kind: fetchName, Uncached: true, Needs: []string{checkName}, Deadline: fetchDeadline,
		Run: func(ctx context.Context, w *work) error {
			arts := b.artefacts()
			var size int64
			for _, a := range arts {
				size += a.Size
			}
			missing := slices.DeleteFunc(slices.Clone(arts), func(a lock.Artefact) bool {
				_, ok := b.store.Path(a.SHA256)
				return ok
			})
			w.Detail = fmt.Sprintf("%d inputs of %d MB, %d fetched", len(arts), size/1e6, len(missing))
			if len(missing) == 0 {
				return nil // every step hashes the inputs that it opens
			}
			missing, err := locateWheels(ctx, b.store, missing, b.opts)
			if err != nil {
				return err
			}
			return b.store.Ensure(ctx, missing, b.opts.fetchOptions(fetchProgress(missing, w.progress)))
		},
	}
}

// fetchProgress adds up the bytes of all files.
func fetchProgress(arts []lock.Artefact, progress func(done, total int64)) func(fetch.Event) {
	var total int64
	for _, a := range arts {
		total += a.Size
	}
	var mu sync.Mutex
	have := make(map[string]int64)
	return func(e fetch.Event) {
		mu.Lock()
		defer mu.Unlock()
		have[e.Artefact.SHA256] = e.Bytes
		var done int64
		for _, n := range have {
			done += n
		}
		progress(done, total)
	}
}

// groups are the lock's groups that the targets read.
func (b *build) groups() []string {
	out := []string{b.recipe.Kernel.Group, b.recipe.Stub.Group, b.recipe.Firmware.Group}
	for _, id := range b.layerIDs() {
		if l, err := b.recipe.Layer(id); err == nil {
			out = append(out, l.Group.Name)
		}
		if b.hasDriver(id) {
			out = append(out, b.gpu.Driver.Toolchain)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// artefacts are the locked inputs of the targets, each once.
func (b *build) artefacts() []lock.Artefact {
	var out []lock.Artefact
	seen := make(map[string]bool)
	for _, g := range b.groups() {
		for _, a := range b.lock.InGroup(g) {
			if !seen[a.SHA256] {
				out = append(out, a)
			}
			seen[a.SHA256] = true
		}
	}
	return out
}

// layerIDs are the layers of all targets, each once, in name order.
func (b *build) layerIDs() []string {
	out := make([]string, 0, 3*len(b.targets))
	for _, t := range b.targets {
		out = append(out, t.image.LayerIDs(t.variant)...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// lockInputs are a group's artefacts as step inputs. A group without artefacts is a lock that does not fit.
func (b *build) lockInputs(group string) ([]Input, error) {
	arts := b.lock.InGroup(group)
	out := make([]Input, 0, len(arts))
	for _, a := range arts {
		out = append(out, Input{Kind: string(a.Kind), Name: a.Name, Version: a.Version, SHA256: a.SHA256})
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("group %q has no entry in the lock; run %q", group, lock.UpdateCommand)
	}
	return out, nil
}

// path is where a locked input lies in the store.
func (b *build) path(sum string) (string, error) {
	p, ok := b.store.Path(sum)
	if !ok {
		return "", fmt.Errorf("input with SHA-256 %s is not in the store", sum)
	}
	return p, nil
}
