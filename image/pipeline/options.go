package pipeline

import (
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"time"

	"cocoon/image/fetch"
	"cocoon/measure/bootfiles"
)

// Folders and files below the root of a checkout.
const (
	recipeDir = "mkosi"
	lockName  = "image.lock"
	initPkg   = "./cmd/init"
)

// Options say what to build and where.
type Options struct {
	// Root is the checkout: go.mod, cmd/init and mkosi/ are below it.
	Root string
	// CacheDir keeps fetched inputs, finished steps and compiled packages; it may be shared by checkouts.
	CacheDir string
	// OutDir gets one folder per image.
	OutDir string
	// Images are names of the recipe; empty means all of the build set.
	Images []string
	// Build is the recipe's set of images, cpu or gpu, when Images is empty.
	Build string
	// Variants are the ways each image is built; empty means production.
	Variants []bootfiles.Variant
	// Offline forbids the network; what is not in the cache is an error.
	Offline bool
	// From are places to ask first for inputs (fetch.Options).
	From []string
	// NoCache runs every step again.
	NoCache bool
	// Workers is the number of steps that run at once; 0 means one per processor.
	Workers int
	// Go is the go command; empty looks in PATH.
	Go string
	// Now is the clock for durations; nil means the real one.
	Now func() time.Time
}

// ErrUsage marks options that name something the recipe does not have.
var ErrUsage = errors.New("unknown name")

// complete checks the options and fills in defaults.
func (o Options) complete() (Options, error) {
	for _, f := range []struct {
		name string
		dir  *string
	}{{"root", &o.Root}, {"cache", &o.CacheDir}, {"out", &o.OutDir}} {
		if *f.dir == "" {
			return o, fmt.Errorf("building images: no %s folder given", f.name)
		}
		abs, err := filepath.Abs(*f.dir)
		if err != nil {
			return o, fmt.Errorf("building images: %w", err)
		}
		*f.dir = abs
	}
	if o.Build == "" {
		o.Build = "cpu"
	}
	if len(o.Variants) == 0 {
		o.Variants = []bootfiles.Variant{bootfiles.Production}
	}
	if o.Workers <= 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o, nil
}

// StoreDir is where the fetched inputs of a cache lie.
func StoreDir(cacheDir string) string { return filepath.Join(cacheDir, "inputs") }

// LockPath is the lock file of a checkout.
func LockPath(root string) string { return filepath.Join(root, recipeDir, lockName) }

// RecipePath is the recipe's folder of a checkout.
func RecipePath(root string) string { return filepath.Join(root, recipeDir) }

func (o Options) fetchOptions(progress func(fetch.Event)) fetch.Options {
	return fetch.Options{Offline: o.Offline, From: o.From, Progress: progress}
}
