package pipeline

import (
	"context"
	"encoding/hex"
	"fmt"

	"cocoon/image/deb"
	"cocoon/image/firmware"
	"cocoon/image/kernel"
	"cocoon/image/rootfs"
)

// Outputs of the boot rows (image.md section 1).
const (
	kernelFile   = "vmlinuz"
	stubFile     = "linuxx64.efi.stub"
	firmwareFile = "firmware.fd"
)

// kernelSteps adds the rows for the kernel image and the EFI stub.
func (b *build) kernelSteps() error {
	inputs, err := b.lockInputs(b.recipe.Kernel.Group)
	if err != nil {
		return err
	}
	b.add(step{
		Name: kernelName, Kind: kernelName, Version: 1, Needs: []string{fetchName}, Inputs: inputs,
		Params: b.recipe.Kernel, Outputs: []string{kernelFile},
		Run: func(ctx context.Context, w *work) error {
			k, err := b.kernel(ctx)
			if err != nil {
				return err
			}
			data, err := k.Vmlinuz()
			if err != nil {
				return err
			}
			w.Detail = k.Version
			return writeFile(w.out(kernelFile), data)
		},
	})
	return b.stubStep()
}

// kernel opens the locked kernel package; its data is unpacked into the cache once.
func (b *build) kernel(ctx context.Context) (*kernel.Kernel, error) {
	tree, err := b.unpack(ctx, b.recipe.Kernel.Group, nil)
	if err != nil {
		return nil, err
	}
	k, err := kernel.FromTree(tree)
	if err != nil {
		return nil, err
	}
	if k.Version != b.recipe.Kernel.Version {
		return nil, fmt.Errorf("the recipe names kernel %s, the locked package has %s", b.recipe.Kernel.Version, k.Version)
	}
	return k, nil
}

// unpack returns the tree of a group's packages, or of those paths that globs name per package.
func (b *build) unpack(ctx context.Context, group string, globs map[string][]string) (*rootfs.Tree, error) {
	sources, err := b.sources(group, func(name string) deb.Selection { return deb.Selection{Globs: globs[name]} })
	if err != nil {
		return nil, err
	}
	return deb.UnpackAll(ctx, sources, b.opts.Workers, b.debCache())
}

// file reads one file of one package of a group.
func (b *build) file(ctx context.Context, group, pkg, path string) ([]byte, error) {
	a, err := b.lock.Find(group, "deb", pkg)
	if err != nil {
		return nil, err
	}
	name, err := b.path(a.SHA256)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", a.Label(), err)
	}
	tree, err := deb.UnpackAll(ctx, []deb.Source{{Path: name, SHA256: a.SHA256, Selection: deb.Selection{Globs: []string{path}}}},
		b.opts.Workers, b.debCache())
	if err != nil {
		return nil, err
	}
	n, ok := tree.Get(path)
	if !ok || n.Type != rootfs.File {
		return nil, fmt.Errorf("%s has no file %s", a.Label(), path)
	}
	return n.Content.ReadAll()
}

func (b *build) stubStep() error {
	r := b.recipe.Stub
	a, err := b.lock.Find(r.Group, "deb", r.Package)
	if err != nil {
		return err
	}
	b.add(step{
		Name: stubName, Kind: stubName, Version: 1, Needs: []string{fetchName}, Params: r, Outputs: []string{stubFile},
		Inputs: []Input{{Kind: string(a.Kind), Name: a.Name, Version: a.Version, SHA256: a.SHA256}},
		Run: func(ctx context.Context, w *work) error {
			data, err := b.file(ctx, r.Group, r.Package, r.Path)
			if err != nil {
				return err
			}
			w.Detail = a.Name + " " + a.Version
			return checked(w.out(stubFile), data, r.SHA256)
		},
	})
	return nil
}

// firmwareStep adds the row that splices the blank variable store into the TDX firmware.
func (b *build) firmwareStep() error {
	r := b.recipe.Firmware
	inputs, err := b.lockInputs(r.Group)
	if err != nil {
		return err
	}
	b.add(step{
		Name: firmwareName, Kind: firmwareName, Version: 1, Needs: []string{fetchName}, Inputs: inputs, Params: r,
		Outputs: []string{firmwareFile},
		Run: func(ctx context.Context, w *work) error {
			tdx, err := b.file(ctx, r.Group, r.TDXPackage, r.TDXPath)
			if err != nil {
				return err
			}
			vars, err := b.file(ctx, r.Group, r.VarsPackage, r.VarsPath)
			if err != nil {
				return err
			}
			data, err := firmware.Assemble(tdx, vars)
			if err != nil {
				return err
			}
			w.Detail = fmt.Sprintf("%d kB", len(data)/1000)
			return checked(w.out(firmwareFile), data, r.SHA256)
		},
	})
	return nil
}

// checked writes an output whose hash the recipe states.
func checked(name string, data []byte, want string) error {
	sum := rootfs.Bytes(data).SHA256
	if got := hex.EncodeToString(sum[:]); want != "" && got != want {
		return fmt.Errorf("the recipe states SHA-256 %s, the locked packages give %s", want, got)
	}
	return writeFile(name, data)
}
