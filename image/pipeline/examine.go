package pipeline

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"cocoon/image/initrd"
	"cocoon/image/manifest"
	"cocoon/image/rootfs"
	"cocoon/image/verity"
	"cocoon/measure/bootfiles"
	"cocoon/measure/launch"
	"cocoon/measure/launch/pe"
)

// Check is one statement about an image that was held against its bytes.
type Check struct {
	Name string
	// Err is nil when the statement is true.
	Err error
	// Advisory statements may be false in a sound image: measurements of other firmware need a profile of its own.
	Advisory bool
}

// examination is an image whose parts are read once.
type examination struct {
	dir string
	m   *manifest.Manifest
	uki *pe.Image
	ram *rootfs.Tree
}

// Examine holds a manifest against what its artefacts say about each other: hashes alone cannot show that the UKI
// starts the initrd beside it, or that the layers are those whose roots the initrd trusts.
func Examine(ctx context.Context, dir string, m *manifest.Manifest) []Check {
	e := &examination{dir: dir, m: m}
	checks := []Check{{Name: "the UKI and its initrd are readable", Err: e.open()}}
	if checks[0].Err != nil {
		return checks
	}
	for _, c := range []struct {
		name string
		run  func() error
	}{
		{"the UKI holds kernel, initrd and command line", e.checkUKI},
		{"the initrd's command line is the UKI's", e.checkCmdline},
		{"the initrd's identity is the manifest's", e.checkIdentity},
		{"the initrd trusts the manifest's layers", e.checkLayers},
	} {
		checks = append(checks, Check{Name: c.name, Err: c.run()})
	}
	for _, l := range m.Layers {
		name := "layer " + l.ID + " has the root hash that the initrd trusts"
		checks = append(checks, Check{Name: name, Err: e.checkVolume(ctx, l)})
	}
	return append(checks, Check{Name: "the firmware is one whose measurements are known", Err: e.checkFirmware(), Advisory: true})
}

func (e *examination) read(kind manifest.Kind) ([]byte, error) {
	a, ok := e.m.Artefact(kind)
	if !ok {
		return nil, fmt.Errorf("the manifest has no artefact of kind %s", kind)
	}
	return os.ReadFile(filepath.Join(e.dir, a.Name))
}

func (e *examination) open() error {
	data, err := e.read(manifest.KindUKI)
	if err != nil {
		return err
	}
	if e.uki, err = pe.Parse(data); err != nil {
		return err
	}
	archive, ok, err := e.uki.Section(".initrd")
	if err != nil || !ok {
		return errors.Join(err, errors.New("the UKI has no section .initrd"))
	}
	e.ram, err = initrd.Read(archive)
	return err
}

func (e *examination) checkUKI() error {
	for _, part := range []struct {
		section string
		kind    manifest.Kind
	}{{".linux", manifest.KindKernel}, {".initrd", manifest.KindInitrd}, {".cmdline", manifest.KindCmdline}} {
		section, _, err := e.uki.Section(part.section)
		if err != nil {
			return err
		}
		file, err := e.read(part.kind)
		if err != nil {
			return err
		}
		if !bytes.Equal(section, file) {
			return fmt.Errorf("section %s is not the artefact of kind %s", part.section, part.kind)
		}
	}
	return nil
}

// file is a measured file of the initrd.
func (e *examination) file(name string) ([]byte, error) {
	n, ok := e.ram.Get(name)
	if !ok || n.Type != rootfs.File {
		return nil, fmt.Errorf("the initrd has no file %s", name)
	}
	return n.Content.ReadAll()
}

func (e *examination) checkCmdline() error {
	data, err := e.file(bootfiles.CmdlinePath)
	if err != nil {
		return err
	}
	if string(data) != e.m.Cmdline {
		return fmt.Errorf("%s is %q, the manifest states %q", bootfiles.CmdlinePath, data, e.m.Cmdline)
	}
	return nil
}

func (e *examination) checkIdentity() error {
	data, err := e.file(bootfiles.ImagePath)
	if err != nil {
		return err
	}
	got, err := bootfiles.ParseImage(data)
	if err != nil {
		return err
	}
	if got != e.m.Image {
		return fmt.Errorf("%s is %+v, the manifest states %+v", bootfiles.ImagePath, got, e.m.Image)
	}
	return nil
}

func (e *examination) checkLayers() error {
	data, err := e.file(bootfiles.LayersPath)
	if err != nil {
		return err
	}
	got, err := bootfiles.ParseLayers(data)
	if err != nil {
		return err
	}
	if !slices.Equal(got, e.m.Layers) {
		return fmt.Errorf("%s is %+v, the manifest states %+v", bootfiles.LayersPath, got, e.m.Layers)
	}
	return nil
}

// checkFirmware asks measure, which predicts nothing for a build without a profile.
func (e *examination) checkFirmware() error {
	data, err := e.read(manifest.KindFirmware)
	if err != nil {
		return err
	}
	_, err = launch.LoadFirmware(data)
	return err
}

func (e *examination) checkVolume(ctx context.Context, l bootfiles.Layer) error {
	salt, errSalt := hex.DecodeString(l.Salt)
	root, errRoot := hex.DecodeString(l.RootHash)
	if err := errors.Join(errSalt, errRoot); err != nil {
		return err
	}
	f, err := os.Open(filepath.Join(e.dir, layerFile(l.ID)))
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // read side
	return verity.Verify(ctx, f, verity.Volume{
		DataBlocks: l.DataBlocks, HashStartBlock: l.HashStartBlock, HashBlocks: l.HashBlocks, RootHash: [32]byte(root), Salt: salt,
	})
}
