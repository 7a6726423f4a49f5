package pipeline

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"cocoon/image/deb"
	"cocoon/image/gpu"
	"cocoon/image/nvidia"
	"cocoon/image/recipe"
	"cocoon/image/rootfs"
	"cocoon/image/wheel"
)

// Rows and outputs of the gpu variant.
const (
	gpuModulesName = "gpu modules"
	gpuHelperName  = "gpuattest"
	gpuSourcesName = "sources gpuattest"
	gpuHelperFile  = "gpuattest"
	gpuHelperPkg   = "./cmd/gpuattest"
)

// heavyDeadline bounds a row that compiles, or that writes a layer of ten gigabytes.
const heavyDeadline = 3 * time.Hour

// gpuModuleFiles are the modules in loading order.
var gpuModuleFiles = []string{"nvidia.ko", "nvidia_uvm.ko"} //nolint:gochecknoglobals // constant table

// loadGPU reads the definition of the gpu variant; a recipe without one has none.
func loadGPU(root string) (*gpu.Config, error) {
	c, err := gpu.Load(RecipePath(root))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // a recipe without a gpu variant is whole
	}
	return c, err
}

// hasDriver and hasWheels tell what a layer gets beside its packages.
func (b *build) hasDriver(id string) bool { return b.gpu != nil && b.gpu.Driver.Layer == id }
func (b *build) hasWheels(id string) bool { return b.gpu != nil && b.gpu.Engine.Layer == id }

// gpuSteps adds the rows that the driver's layer needs, when a target has it.
func (b *build) gpuSteps() error {
	if !slices.ContainsFunc(b.layerIDs(), b.hasDriver) {
		return nil
	}
	inputs, err := b.lockInputs(b.gpu.Driver.Toolchain)
	if err != nil {
		return err
	}
	b.add(step{
		Name: gpuModulesName, Kind: "gpu-modules", Version: 1, Needs: []string{fetchName}, Inputs: inputs,
		Params: modulesParams{b.recipe.Kernel.Version, b.gpu.Driver.Version, b.lock.Epoch}, Outputs: gpuModuleFiles,
		Deadline: heavyDeadline, Run: b.buildGPUModules,
	})
	b.add(step{
		Name: gpuSourcesName, Kind: "gpu-sources", Uncached: true, Needs: []string{checkName},
		Run: func(ctx context.Context, w *work) error {
			facts, err := b.sourceFacts(ctx, gpuHelperPkg)
			w.Facts, w.Detail = facts, fmt.Sprintf("%d Go files of %s", facts.Files, gpuHelperPkg)
			return err
		},
	})
	b.add(step{
		Name: gpuHelperName, Kind: gpuHelperName, Version: 1, Needs: []string{fetchName, gpuSourcesName},
		Inputs:  append(slices.Clone(inputs), Input{Kind: "go", Name: "toolchain", Version: b.lock.Go, SHA256: hashText(b.lock.Go)}),
		Outputs: []string{gpuHelperFile}, Deadline: heavyDeadline, Run: b.buildGPUHelper,
	})
	return nil
}

// modulesParams is what decides the modules' bytes besides the packages.
type modulesParams struct {
	Release string `json:"release"`
	Driver  string `json:"driver"`
	Epoch   int64  `json:"epoch"`
}

func (b *build) buildGPUModules(ctx context.Context, w *work) error {
	tools, err := b.gpuTools("modules")
	if err != nil {
		return err
	}
	modules, err := nvidia.BuildModules(ctx, nvidia.ModulesSpec{
		Toolchain: tools, Release: b.recipe.Kernel.Version, Driver: b.gpu.Driver.Version, Epoch: b.lock.Epoch,
	})
	if err != nil {
		return err
	}
	for _, m := range modules {
		if err := writeFile(w.out(m.File), m.Data); err != nil {
			return err
		}
	}
	w.Detail = fmt.Sprintf("driver %s for %s", b.gpu.Driver.Version, b.recipe.Kernel.Version)
	return nil
}

func (b *build) buildGPUHelper(ctx context.Context, w *work) error {
	tools, err := b.gpuTools("gpuattest")
	if err != nil {
		return err
	}
	places, err := b.goCommand(ctx, "env", "GOROOT", "GOMODCACHE")
	if err != nil {
		return err
	}
	dirs := strings.Fields(places)
	if len(dirs) != 2 {
		return fmt.Errorf("asking go for its folders: %q", places)
	}
	program, err := nvidia.BuildHelper(ctx, nvidia.HelperSpec{
		Toolchain: tools, Module: b.opts.Root, GoRoot: dirs[0], ModCache: dirs[1], GoVersion: b.lock.Go,
	})
	if err != nil {
		return err
	}
	w.Detail = fmt.Sprintf("%.1f MB", float64(len(program))/1e6)
	return writeFile(w.out(gpuHelperFile), program)
}

// gpuTools are the packages that the gpu layer's programs are compiled with, and a scratch folder of its own.
func (b *build) gpuTools(purpose string) (nvidia.Toolchain, error) {
	sources, err := b.sources(b.gpu.Driver.Toolchain, func(string) deb.Selection { return deb.Selection{} })
	if err != nil {
		return nvidia.Toolchain{}, err
	}
	scratch, err := b.scratch(purpose)
	return nvidia.Toolchain{Sources: sources, CacheDir: b.debCache(), Scratch: scratch, Workers: b.opts.Workers}, err
}

// scratch is a new, empty folder in the cache; whoever uses it removes it.
func (b *build) scratch(purpose string) (string, error) {
	dir := filepath.Join(b.opts.CacheDir, "scratch")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("making a scratch folder: %w", err)
	}
	dir, err := os.MkdirTemp(dir, purpose+"-")
	if err != nil {
		return "", fmt.Errorf("making a scratch folder: %w", err)
	}
	return dir, os.Chmod(dir, 0o755)
}

// beyond are the rows and parameters of a layer that gets more than packages.
func (b *build) beyond(id string) (needs []string, params any) {
	switch {
	case b.hasDriver(id):
		return []string{gpuModulesName, gpuHelperName}, []string{b.gpu.Driver.ModulesDir, b.gpu.Driver.HelperPath}
	case b.hasWheels(id):
		return nil, engineParams{b.gpu.Engine, wheel.UnpackVersion}
	}
	return nil, nil
}

// engineParams is what decides the engine layer's files besides its inputs.
type engineParams struct {
	Engine gpu.Engine `json:"engine"`
	Unpack string     `json:"unpack"`
}

// addBeyond puts what is no package into a layer's tree; done must be called when the tree is no longer read.
func (b *build) addBeyond(ctx context.Context, w *work, l recipe.Layer, tree *rootfs.Tree) (done func() error, err error) {
	switch {
	case b.hasDriver(l.ID):
		return func() error { return nil }, b.addDriver(w, tree)
	case b.hasWheels(l.ID):
		return b.addWheels(ctx, w, l, tree)
	}
	return func() error { return nil }, nil
}

// addDriver puts the compiled files into the gpu layer.
func (b *build) addDriver(w *work, tree *rootfs.Tree) error {
	add := func(step, file, place string, mode uint32) error {
		p, err := w.needPath(step, file)
		if err != nil {
			return err
		}
		data, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		return tree.Add(place, &rootfs.Inode{Type: rootfs.File, Mode: mode, Content: rootfs.Bytes(data), Origin: step})
	}
	for _, file := range gpuModuleFiles {
		if err := add(gpuModulesName, file, path.Join(b.gpu.Driver.ModulesDir, file), 0o644); err != nil {
			return err
		}
	}
	return add(gpuHelperName, gpuHelperFile, b.gpu.Driver.HelperPath, 0o755)
}
