// Package manifest is the document that a build leaves beside its artefacts: what was built, from which inputs, with
// which toolchain, and for which machines it is measured (image.md section 1).
//
// It owns the schema and its canonical encoding; the bytes are the same for everybody who builds. It trusts nothing:
// Parse is strict and bounded. It refuses unknown keys and non-canonical documents. Values are plain data.
package manifest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"cocoon/measure/bootfiles"
	"cocoon/measure/strictjson"
)

// Schema names the document's version.
const Schema = "cocoon.image.manifest/1"

// FileName is the manifest's name beside the artefacts.
const FileName = "manifest.json"

// maxSize bounds a manifest; ours are about 20 kB.
const maxSize = 16 << 20

// Kind names an artefact's role in the boot forms of image.md section 1.
type Kind string

// The kinds of artefacts.
const (
	KindUKI      Kind = "uki"
	KindKernel   Kind = "kernel"
	KindInitrd   Kind = "initrd"
	KindCmdline  Kind = "cmdline"
	KindLayer    Kind = "layer"
	KindDisk     Kind = "disk"
	KindFirmware Kind = "firmware"
	KindSBOM     Kind = "sbom"
	// KindListing is a layer's normalised listing with the input that brought each path.
	KindListing Kind = "listing"
)

// kinds is the closed set.
func kinds() []Kind {
	return []Kind{
		KindUKI, KindKernel, KindInitrd, KindCmdline, KindLayer, KindDisk, KindFirmware, KindSBOM, KindListing,
	}
}

// Artefact is one file of the build.
type Artefact struct {
	Name   string `json:"name"` // file name beside the manifest
	Kind   Kind   `json:"kind"`
	Size   int64  `json:"size"` // bytes
	SHA256 string `json:"sha256"`
}

// Input is one pinned thing that entered the build, so that a difference can be named.
type Input struct {
	Kind string `json:"kind"` // deb, wheel, archive, file, go, go-sum, go-source, recipe
	Name string `json:"name"`
	// Version is what a person calls this state of the input; for a line of the recipe it is the line's value.
	Version string `json:"version,omitempty"`
	SHA256  string `json:"sha256"`
	// Artefacts are the files that this input has a part in, directly or through other artefacts.
	Artefacts []string `json:"artefacts,omitempty"`
}

// LayerFiles is the normalised listing of one layer, hashed; the listing itself is an artefact of `image inspect`.
type LayerFiles struct {
	ID         string `json:"id"`
	Files      int    `json:"files"`
	TreeSHA256 string `json:"treeSha256"`
}

// Toolchain is what compiled the binaries.
type Toolchain struct {
	Go        string `json:"go"`
	GoSum     string `json:"goSum"`     // SHA-256 of go.sum
	InitBuild string `json:"initBuild"` // `go version -m` of the init binary
}

// Manifest is the document.
type Manifest struct {
	Schema       string            `json:"schema"`
	Image        bootfiles.Image   `json:"image"`
	Epoch        int64             `json:"epoch"` // seconds; every time stamp in every artefact
	Cmdline      string            `json:"cmdline"`
	LockSHA256   string            `json:"lockSha256"`
	RecipeSHA256 string            `json:"recipeSha256"`
	Artefacts    []Artefact        `json:"artefacts"`
	Layers       []bootfiles.Layer `json:"layers"`
	LayerFiles   []LayerFiles      `json:"layerFiles"`
	Toolchain    Toolchain         `json:"toolchain"`
	Inputs       []Input           `json:"inputs"`
	// Profile is the name of the launch profile the image is measured for; measure/launch knows it.
	Profile string `json:"profile"`
}

// Parse reads a manifest.
func Parse(data []byte) (*Manifest, error) {
	if len(data) > maxSize {
		return nil, fmt.Errorf("reading manifest: %d bytes, at most %d", len(data), maxSize)
	}
	var m Manifest
	if err := strictjson.Decode(data, &m); err != nil {
		return nil, fmt.Errorf("reading manifest: %w", err)
	}
	if err := m.Validate(); err != nil {
		return nil, fmt.Errorf("reading manifest: %w", err)
	}
	again, err := m.Encode()
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(data, again) {
		return nil, errors.New("reading manifest: not in canonical form; it was edited or written by another program")
	}
	return &m, nil
}

// Load reads a manifest from a file, or from the file of the usual name in a folder.
func Load(name string) (*Manifest, error) {
	if st, err := os.Stat(name); err == nil && st.IsDir() {
		name = filepath.Join(name, FileName)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("reading manifest: %w", err)
	}
	defer f.Close() //nolint:errcheck // read side
	data, err := io.ReadAll(io.LimitReader(f, maxSize+1))
	if err != nil {
		return nil, fmt.Errorf("reading manifest: %w", err)
	}
	m, err := Parse(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return m, nil
}

// Encode is the canonical form.
func (m *Manifest) Encode() ([]byte, error) {
	if err := m.Validate(); err != nil {
		return nil, fmt.Errorf("encoding manifest: %w", err)
	}
	return strictjson.Canonical(m)
}

// Artefact finds the first artefact of a kind.
func (m *Manifest) Artefact(k Kind) (Artefact, bool) {
	for _, a := range m.Artefacts {
		if a.Kind == k {
			return a, true
		}
	}
	return Artefact{}, false
}

var (
	fileRule   = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,63}$`)
	sha256Rule = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

// Validate returns every broken rule.
func (m *Manifest) Validate() error {
	var errs []error
	if m.Schema != Schema {
		errs = append(errs, fmt.Errorf("schema: %q, want %q", m.Schema, Schema))
	}
	if err := m.Image.Validate(); err != nil {
		errs = append(errs, fmt.Errorf("image: %w", err))
	}
	errs = append(errs, m.checkArtefacts()...)
	errs = append(errs, m.checkInputs()...)
	for i, l := range m.Layers {
		if err := l.Validate(); err != nil {
			errs = append(errs, fmt.Errorf("layers[%d]: %w", i, err))
		}
	}
	if strings.ContainsAny(m.Cmdline, "\x00\n") {
		errs = append(errs, errors.New("cmdline: contains a NUL or a newline"))
	}
	return errors.Join(errs...)
}

func (m *Manifest) checkArtefacts() []error {
	var errs []error
	seen := make(map[string]bool)
	for i, a := range m.Artefacts {
		switch {
		case !fileRule.MatchString(a.Name):
			errs = append(errs, fmt.Errorf("artefacts[%d].name: %q does not match %s", i, a.Name, fileRule))
		case seen[a.Name]:
			errs = append(errs, fmt.Errorf("artefacts[%d].name: %q appears twice", i, a.Name))
		case !slices.Contains(kinds(), a.Kind):
			errs = append(errs, fmt.Errorf("artefacts[%d].kind: %q is none of %v", i, a.Kind, kinds()))
		case a.Size < 0:
			errs = append(errs, fmt.Errorf("artefacts[%d].size: %d is negative", i, a.Size))
		case !sha256Rule.MatchString(a.SHA256):
			errs = append(errs, fmt.Errorf("artefacts[%d].sha256: %q is not 64 lower-case hex digits", i, a.SHA256))
		}
		seen[a.Name] = true
	}
	return errs
}

func (m *Manifest) checkInputs() []error {
	var errs []error
	for i, in := range m.Inputs {
		if in.Kind == "" || in.Name == "" {
			errs = append(errs, fmt.Errorf("inputs[%d]: kind %q and name %q must not be empty", i, in.Kind, in.Name))
		}
		if !sha256Rule.MatchString(in.SHA256) {
			errs = append(errs, fmt.Errorf("inputs[%d].sha256: %q is not 64 lower-case hex digits", i, in.SHA256))
		}
	}
	for _, f := range []struct{ key, sum string }{{"lockSha256", m.LockSHA256}, {"recipeSha256", m.RecipeSHA256}} {
		if !sha256Rule.MatchString(f.sum) {
			errs = append(errs, fmt.Errorf("%s: %q is not 64 lower-case hex digits", f.key, f.sum))
		}
	}
	return errs
}

// HashFile is the SHA-256 and size of a file, as manifests state them.
func HashFile(name string) (sum string, size int64, err error) {
	f, err := os.Open(name)
	if err != nil {
		return "", 0, fmt.Errorf("hashing artefact: %w", err)
	}
	defer f.Close() //nolint:errcheck // read side
	h := sha256.New()
	if size, err = io.Copy(h, f); err != nil {
		return "", 0, fmt.Errorf("hashing %s: %w", name, err)
	}
	return hex.EncodeToString(h.Sum(nil)), size, nil
}
