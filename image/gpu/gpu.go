// Package gpu reads what the gpu variant of the worker has beyond packages: which driver its kernel modules are compiled
// from, and which Python wheels its engine is made of (mkosi/gpu.toml; image.md sections 11 and 12).
//
// It owns that file's form. The file is part of the recipe: reviewed by people and covered by the recipe's hash, so it is
// trusted in content but not in form. A Config is read-only after Load. It refuses unknown keys, and to guess a version.
package gpu

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"cocoon/image/rootfs"
	"cocoon/image/wheel"
)

const (
	// FileName is the definition's name in the recipe's folder.
	FileName = "gpu.toml"
	// formatVersion is the file's version; another one is refused.
	formatVersion = 1
	// maxFile bounds the file; ours has 3 kB.
	maxFile = 1 << 20
)

// Config is the whole file.
type Config struct {
	Version int    `toml:"version"`
	Driver  Driver `toml:"driver"`
	Engine  Engine `toml:"engine"`
}

// Driver is what the gpu layer gets beside its packages.
type Driver struct {
	// Version is the driver's; firmware, libraries and modules must agree on it.
	Version string `toml:"version"`
	// Layer is the layer's id, Toolchain the group of packages that its programs are compiled with.
	Layer     string `toml:"layer"`
	Toolchain string `toml:"toolchain"`
	// ModulesDir and HelperPath are where the layer has the modules and gpuattest.
	ModulesDir string `toml:"modules_dir"`
	HelperPath string `toml:"helper_path"`
}

// Engine is what the engine layer gets beside its packages.
type Engine struct {
	Layer string `toml:"layer"`
	// Wheels is the list's file, relative to the recipe's folder.
	Wheels string `toml:"wheels"`
	// Python and Glibc are the x of the layer's Python 3.x and glibc 2.x.
	Python int `toml:"python"`
	Glibc  int `toml:"glibc"`
	// Bytecode are the folders whose Python files are compiled.
	Bytecode []string `toml:"bytecode"`
	Drop     []Drop   `toml:"drop"`
}

// Drop names files of a wheel that do not come into the layer.
type Drop struct {
	Wheel  string   `toml:"wheel"`
	Paths  []string `toml:"paths"`
	Reason string   `toml:"reason"`
}

// Load reads the definition of a recipe's folder. A recipe without one has no gpu variant: the error is fs.ErrNotExist.
func Load(dir string) (*Config, error) {
	f, err := os.Open(filepath.Join(dir, FileName))
	if err != nil {
		return nil, fmt.Errorf("reading the gpu variant's definition: %w", err)
	}
	defer f.Close() //nolint:errcheck // read side
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("reading the gpu variant's definition: %w", err)
	}
	c, err := Parse(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.Name(), err)
	}
	return c, nil
}

// Parse reads the definition's text.
func Parse(data []byte) (*Config, error) {
	if len(data) > maxFile {
		return nil, fmt.Errorf("reading the gpu variant's definition: over %d bytes", maxFile)
	}
	var c Config
	if err := toml.NewDecoder(bytes.NewReader(data)).DisallowUnknownFields().Decode(&c); err != nil {
		if strict, ok := errors.AsType[*toml.StrictMissingError](err); ok {
			return nil, fmt.Errorf("reading the gpu variant's definition: unknown keys:\n%s", strict.String())
		}
		return nil, fmt.Errorf("reading the gpu variant's definition: %w", err)
	}
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("reading the gpu variant's definition: %w", err)
	}
	return &c, nil
}

var (
	driverRule = regexp.MustCompile(`^[0-9]{3}\.[0-9]{1,3}(\.[0-9]{1,3})?$`)
	nameRule   = regexp.MustCompile(`^[a-z0-9-]{1,32}$`)
)

// Validate returns every broken rule with its key.
func (c *Config) Validate() error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	check(c.Version == formatVersion, "version: %d, this program knows %d", c.Version, formatVersion)
	d, e := c.Driver, c.Engine
	check(driverRule.MatchString(d.Version), "driver.version: %q does not match %s", d.Version, driverRule)
	for _, f := range []struct{ key, value string }{
		{"driver.layer", d.Layer}, {"driver.toolchain", d.Toolchain}, {"engine.layer", e.Layer},
	} {
		check(nameRule.MatchString(f.value), "%s: %q does not match %s", f.key, f.value, nameRule)
	}
	for _, f := range []struct{ key, value string }{
		{"driver.modules_dir", d.ModulesDir}, {"driver.helper_path", d.HelperPath}, {"engine.wheels", e.Wheels},
	} {
		check(isClean(f.value), "%s: %q is not a clean relative path", f.key, f.value)
	}
	check(e.Python >= 10 && e.Python < 100, "engine.python: %d, want 10..99", e.Python)
	check(e.Glibc >= 17 && e.Glibc < 100, "engine.glibc: %d, want 17..99", e.Glibc)
	check(len(e.Bytecode) > 0, "engine.bytecode: no folder")
	for i, p := range e.Bytecode {
		check(isClean(p), "engine.bytecode[%d]: %q is not a clean relative path", i, p)
	}
	for i, p := range e.Drop {
		check(p.Wheel == wheel.Normalise(p.Wheel) && p.Wheel != "", "engine.drop[%d].wheel: %q is not a normalised name", i, p.Wheel)
		check(len(p.Paths) > 0, "engine.drop[%d].paths: none", i)
		check(strings.TrimSpace(p.Reason) != "", "engine.drop[%d].reason: empty; say why the files may go", i)
		check(!slices.ContainsFunc(e.Drop[:i], func(q Drop) bool { return q.Wheel == p.Wheel }), "engine.drop[%d].wheel: %q is there twice", i, p.Wheel)
	}
	return errors.Join(errs...)
}

func isClean(p string) bool {
	clean, err := rootfs.CleanPath(p)
	return err == nil && clean == p && fs.ValidPath(p) && p != "."
}

// Interpreter is the engine's Python as wheels' tags are compared with it.
func (e Engine) Interpreter() wheel.Interpreter {
	return wheel.Interpreter{Minor: e.Python, GlibcMinor: e.Glibc}
}

// Drops is the drop list in the form that package wheel takes.
func (e Engine) Drops() map[string][]string {
	out := make(map[string][]string, len(e.Drop))
	for _, d := range e.Drop {
		out[d.Wheel] = d.Paths
	}
	return out
}

// List reads the engine's wheels and checks that each fits the interpreter.
func (e Engine) List(dir string) (*wheel.List, error) {
	l, err := wheel.Load(filepath.Join(dir, e.Wheels))
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, w := range l.Wheels {
		n, err := wheel.ParseName(w.File)
		if err == nil {
			err = n.Accepts(e.Interpreter())
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("wheel %s: %w", w.Name, err))
		}
	}
	return l, errors.Join(errs...)
}
