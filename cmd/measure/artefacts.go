package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"cocoon/cmd/internal/cli"
	"cocoon/image/manifest"
	"cocoon/measure/launch"
)

// Bounds of files that are read whole.
const (
	maxArtefact = 1 << 31   // as launch/pe; a manifest says how large its own are
	maxUKI      = 512 << 20 // one of ours is about 40 MB, one with a distribution's whole initrd a few times that
	maxFirmware = 64 << 20
	maxEvidence = 16 << 20 // event logs and quotes
)

// build is a manifest and the folder its artefacts lie in.
type build struct {
	*manifest.Manifest
	dir string
}

// openBuild loads a manifest by file or folder name.
func openBuild(name string) (*build, error) {
	m, err := manifest.Load(name)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, cli.Tag(cli.KindUsage, err, "make image builds images and their manifests")
		}
		return nil, cli.Tag(cli.KindUsage, err)
	}
	if st, err := os.Stat(name); err == nil && !st.IsDir() { //nolint:gosec // the operator names the file
		name = filepath.Dir(name)
	}
	return &build{Manifest: m, dir: name}, nil
}

// path is where an artefact of a kind lies.
func (b *build) path(k manifest.Kind) (manifest.Artefact, string, error) {
	a, ok := b.Artefact(k)
	if !ok {
		return a, "", fmt.Errorf("the manifest of %s lists no artefact of kind %s", b.Image.Name, k)
	}
	return a, filepath.Join(b.dir, a.Name), nil
}

// read loads an artefact and checks its hash first: a prediction for other bytes would be a lie.
func (b *build) read(k manifest.Kind) ([]byte, error) {
	a, path, err := b.path(k)
	if err != nil {
		return nil, err
	}
	data, err := cli.ReadFile(path, maxArtefact)
	if err != nil {
		return nil, err
	}
	if sum := sha256.Sum256(data); hex.EncodeToString(sum[:]) != a.SHA256 {
		return nil, b.mismatch(a, hex.EncodeToString(sum[:]))
	}
	return data, nil
}

func (b *build) mismatch(a manifest.Artefact, got string) error {
	return cli.Tag(cli.KindDifference,
		fmt.Errorf("artefact %s has SHA-256 %s, the manifest says %s", a.Name, got, a.SHA256),
		"build the image again, or take manifest and artefacts from the same build")
}

// image loads what a boot form measures.
func (b *build) image(form launch.BootForm) (*launch.Image, error) {
	switch form {
	case launch.BootUKI:
		uki, err := b.read(manifest.KindUKI)
		if err != nil {
			return nil, err
		}
		return launch.UKIImage(uki)
	case launch.BootDisk:
		return b.diskImage()
	case launch.BootKernel:
		return b.kernelImage()
	}
	return nil, fmt.Errorf("boot form %q is unknown", form)
}

func (b *build) diskImage() (*launch.Image, error) {
	uki, err := b.read(manifest.KindUKI)
	if err != nil {
		return nil, err
	}
	a, path, err := b.path(manifest.KindDisk)
	if err != nil {
		return nil, err
	}
	sum, _, err := manifest.HashFile(path)
	if err != nil {
		return nil, cli.Tag(cli.KindUsage, err)
	}
	if sum != a.SHA256 {
		return nil, b.mismatch(a, sum)
	}
	disk, err := os.Open(path) //nolint:gosec // beside the manifest, which restricts names
	if err != nil {
		return nil, err
	}
	defer disk.Close() //nolint:errcheck // read side
	return launch.DiskImage(uki, disk)
}

func (b *build) kernelImage() (*launch.Image, error) {
	parts := make(map[manifest.Kind][]byte, 3)
	for _, k := range []manifest.Kind{manifest.KindKernel, manifest.KindInitrd, manifest.KindCmdline} {
		data, err := b.read(k)
		if err != nil {
			return nil, err
		}
		parts[k] = data
	}
	return launch.KernelImage(parts[manifest.KindKernel], parts[manifest.KindInitrd], string(parts[manifest.KindCmdline]))
}

// firmware loads the firmware artefact, or the file that replaces it. For a manifest without firmware the profile
// stands in: it states all that a prediction needs.
func (b *build) firmware(override, profile, usual string) (*launch.Firmware, error) {
	extra, err := readProfile(profile)
	if err != nil {
		return nil, err
	}
	var data []byte
	switch _, listed := b.Artefact(manifest.KindFirmware); {
	case override == "" && !listed && len(extra) > 0:
		return launch.KnownFirmware(extra[0])
	case override == "" && !listed:
		return launch.NamedFirmware(usual)
	}
	if override != "" {
		data, err = cli.ReadFile(override, maxFirmware)
	} else {
		data, err = b.read(manifest.KindFirmware)
	}
	if err != nil {
		return nil, err
	}
	fw, err := launch.LoadFirmware(data, extra...)
	switch {
	case errors.Is(err, launch.ErrNoProfile):
		return nil, cli.Tag(cli.KindPrerequisite, err,
			"measure firmware FILE prints what the file itself says", "measure profile FILE derives a profile, for --profile")
	case err != nil && override != "":
		return nil, cli.Tag(cli.KindUsage, fmt.Errorf("%s: %w", override, err))
	}
	return fw, err
}
