package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"cocoon/cmd/internal/cli"
	"cocoon/host/probe"
	"cocoon/measure/bootfiles"
	"cocoon/measure/launch"
	"cocoon/measure/launch/acpi"
	"cocoon/measure/launch/qtest"
	"cocoon/measure/spec"
)

// predictFlags are what predict, explain, check and diff need to make a prediction.
type predictFlags struct {
	shapes        []string
	qemu          string
	machineType   string
	firmware      string
	profile       string
	spec          string
	allowMismatch bool
}

// register adds the flags to a verb.
func (f *predictFlags) register(fs *flag.FlagSet) {
	fs.Func("shape", "machine: a built-in `name` or a file; may be repeated (default: the manifest's)", func(s string) error {
		f.shapes = append(f.shapes, s)
		return nil
	})
	fs.StringVar(&f.qemu, "qemu", "", "QEMU `binary` that makes the tables (default: qemu-system-x86_64 in PATH)")
	fs.StringVar(&f.machineType, "machine-type", "", "replace the shape's QEMU machine `type`, for a rehearsal")
	fs.StringVar(&f.firmware, "firmware", "", "firmware `file` instead of the manifest's artefact")
	fs.StringVar(&f.profile, "profile", "", "firmware profile `file`, for a firmware without a built-in one")
	fs.StringVar(&f.spec, "spec", "", "spec `folder`, for RTMR3 and the image hash")
	fs.BoolVar(&f.allowMismatch, "allow-qemu-mismatch", false, "predict although QEMU is not the shape's host QEMU")
}

func setupPredict(fs *flag.FlagSet) action {
	var f predictFlags
	f.register(fs)
	return func(ctx context.Context, e *env, operands []string) error {
		doc, err := f.predict(ctx, e, operands[0])
		if err != nil {
			return err
		}
		return e.result(doc)
	}
}

// predict makes the document for a manifest: firmware and image are read and hashed once, shapes in parallel.
func (f *predictFlags) predict(ctx context.Context, e *env, name string) (*predictDoc, error) {
	b, err := openBuild(name)
	if err != nil {
		return nil, err
	}
	machines, err := f.machines(b)
	if err != nil {
		return nil, err
	}
	qemu, err := probe.Find(ctx, f.qemu)
	if err != nil {
		return nil, tagProbe(err)
	}
	for _, m := range machines {
		if err := f.checkQEMU(e, m, qemu); err != nil {
			return nil, err
		}
	}
	in, err := f.load(ctx, b, machines, qemu, e.parallel)
	if err != nil {
		return nil, err
	}
	if f.firmware != "" || f.profile != "" { // the operator chose another one than the shape's
		for _, m := range machines {
			m.Firmware = in.firmware.Profile.Name
		}
	}
	return in.document(b, machines, qemu)
}

// machines loads the shapes asked for.
func (f *predictFlags) machines(b *build) ([]*launch.Machine, error) {
	names := f.shapes
	if len(names) == 0 {
		names = []string{b.shape()}
	}
	var out []*launch.Machine
	for _, name := range names {
		m, err := loadShape(name)
		if err != nil {
			return nil, err
		}
		if f.machineType != "" {
			m.MachineType = f.machineType
		}
		if err := m.Validate(); err != nil {
			return nil, cli.Tag(cli.KindUsage, fmt.Errorf("shape %s: %w", name, err))
		}
		if err := m.SetLayers(b.Layers); err != nil {
			return nil, cli.Tag(cli.KindUsage, err, "measure shape lists the machines")
		}
		out = append(out, m)
	}
	return out, nil
}

// shape is the machine an image is for: the one its manifest names, else the one of its own name, and the rehearsal
// machine for images of the test variant.
func (b *build) shape() string {
	switch {
	case b.Image.Variant == bootfiles.Test && b.Image.Profile == "proxy":
		return "test-proxy"
	case b.Image.Variant == bootfiles.Test:
		return "test"
	case slices.Contains(launch.Shapes(), b.Profile):
		return b.Profile
	}
	return b.Image.Name
}

// checkQEMU refuses a binary that is not the one the shape's host runs: tables differ between versions.
func (f *predictFlags) checkQEMU(e *env, m *launch.Machine, q *probe.QEMU) error {
	if m.QEMU == "" || m.QEMU == q.Version {
		return nil
	}
	if f.allowMismatch {
		e.warn("shape %s is for QEMU %s; RTMR0 below is that of QEMU %s", m.Name, m.QEMU, q.Version)
		return nil
	}
	return cli.Tag(cli.KindPrerequisite,
		fmt.Errorf("shape %s is for hosts with QEMU %s, %s is version %s, and its ACPI tables may differ", m.Name, m.QEMU, q.Path, q.Version),
		fmt.Sprintf("run \"cocoon image qemu --version %s\" and name what it prints with --qemu", m.QEMU),
		"or rehearse with --shape test, or with --allow-qemu-mismatch --machine-type "+rehearsalMachine)
}

// rehearsalMachine is a machine type that every QEMU in current distributions knows.
const rehearsalMachine = "pc-q35-7.2"

// inputs is everything a prediction stands on.
type inputs struct {
	firmware *launch.Firmware
	images   map[launch.BootForm]*launch.Image
	offered  []*qtest.FwCfg // by machine
	tree     *spec.Hash
}

// load reads firmware, images and spec while the QEMU processes run.
func (f *predictFlags) load(ctx context.Context, b *build, machines []*launch.Machine, q *probe.QEMU, parallel int) (*inputs, error) {
	in := &inputs{images: make(map[launch.BootForm]*launch.Image), offered: make([]*qtest.FwCfg, len(machines))}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(max(parallel, 1) + 1) // probes wait for QEMU more than they compute
	group.Go(func() error {
		var err error
		if in.firmware, err = b.firmware(f.firmware, f.profile, machines[0].Firmware); err != nil {
			return err
		}
		if in.tree, err = readSpec(f.spec); err != nil {
			return err
		}
		for _, m := range machines {
			if in.images[m.Boot] != nil {
				continue
			}
			if in.images[m.Boot], err = b.image(m.Boot); err != nil {
				return err
			}
		}
		return nil
	})
	for i, m := range machines {
		group.Go(func() error {
			offered, err := q.Read(ctx, m)
			in.offered[i] = offered
			return tagProbe(err)
		})
	}
	return in, group.Wait()
}

// tagProbe names the way out of the usual failure, a machine type that the binary does not know.
func tagProbe(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, context.DeadlineExceeded):
		return cli.Tag(cli.KindTimeout, err)
	case errors.Is(err, probe.ErrNoQEMU):
		return cli.Tag(cli.KindPrerequisite, err, "run \"cocoon image qemu\" and name what it prints with --qemu, or install qemu-system-x86")
	case strings.Contains(err.Error(), "machine type"):
		return cli.Tag(cli.KindPrerequisite, err, "use a newer QEMU with --qemu, or rehearse with --machine-type "+rehearsalMachine)
	}
	return err
}

// readSpec hashes a spec folder; nil without one.
func readSpec(dir string) (*spec.Hash, error) {
	if dir == "" {
		return nil, nil //nolint:nilnil // absent means no spec was asked for
	}
	_, tree, err := spec.FromFS(os.DirFS(dir))
	if err != nil {
		return nil, cli.Tag(cli.KindUsage, fmt.Errorf("reading spec %s: %w", dir, err), "a spec is a folder of files: \"ls -lR "+dir+"\" shows what it has")
	}
	return &tree, nil
}

// document predicts every machine.
func (in *inputs) document(b *build, machines []*launch.Machine, q *probe.QEMU) (*predictDoc, error) {
	doc := &predictDoc{
		Schema: "cocoon.measure.predict/1", Image: b.Image,
		Firmware: firmwareRef{Profile: in.firmware.Profile.Name, SHA256: in.firmware.Profile.SHA256},
		QEMU:     q.Version,
	}
	debug := slices.Contains(strings.Fields(b.Cmdline), bootfiles.DebugWord)
	if in.tree != nil {
		values := spec.PredictRTMR3(*in.tree, debug)
		doc.Spec = &specDoc{Tree: in.tree.String(), RTMR3: values, Messages: spec.Messages(*in.tree, debug)}
	}
	for i, m := range machines {
		p, err := launch.Predict(in.firmware, in.images[m.Boot], m, in.offered[i])
		if err != nil {
			return nil, err
		}
		one := shapeDoc{
			Shape: m.Name, MachineType: m.MachineType, VCPUs: m.VCPUs, MemoryMiB: m.MemoryMiB, Boot: m.Boot,
			DeclaredQEMU: m.QEMU, ACPI: acpiHashes(in.offered[i]), MRTD: p.MRTD, Registers: p.Registers(),
			Events: p.Events, Variants: p.Variants, prediction: p,
		}
		if doc.Spec != nil {
			hash, err := p.ImageHash(doc.Spec.RTMR3.Final)
			if err != nil {
				return nil, err
			}
			one.ImageHash = &hash
		}
		doc.Predictions = append(doc.Predictions, one)
	}
	return doc, nil
}

func acpiHashes(offered *qtest.FwCfg) []fileHash {
	names := []string{acpi.FileLoader, acpi.FileRSDP, acpi.FileTables}
	out := make([]fileHash, 0, len(names))
	for _, name := range names {
		sum := sha256.Sum256(offered.Files[name])
		out = append(out, fileHash{Name: name, Bytes: len(offered.Files[name]), SHA256: hex.EncodeToString(sum[:])})
	}
	return out
}
