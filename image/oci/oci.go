// Package oci makes container images without a container engine: a file tree becomes one layer, and an archive in the
// layout of the OCI image specification 1.0, which every engine loads (layout.md section 8, "OCI image of the client").
//
// It owns the bytes of the layer and of the archive: one tar with fixed times, owners and order, stored and not compressed,
// because what a compressor makes of it changes between versions. Digests, manifests and their rules are go-containerregistry's. It
// trusts its caller's tree and configuration; inputs from outside come by their locked hashes. The same inputs give the
// same bytes. All functions may be called concurrently. It refuses device nodes and what has no form in a layer.
package oci

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"cocoon/image/rootfs"
)

const (
	// layoutVersion is the content of the file oci-layout (OCI image-spec 1.0, image-layout.md).
	layoutVersion = `{"imageLayoutVersion":"1.0.0"}`
	// refName is the annotation that names an image in an index (OCI image-spec 1.0, annotations.md).
	refName = "org.opencontainers.image.ref.name"
	// blobs is the folder of everything that is named by its digest.
	blobs = "blobs/sha256/"
)

// Spec is an image beside its files.
type Spec struct {
	// Tree are the files.
	Tree *rootfs.Tree
	// Config is how the image is run.
	Config v1.Config
	// Created is the time of the image and of all its files.
	Created time.Time
	// Comment says in one line how the layer was made.
	Comment string
}

// New makes an image for linux/amd64.
func New(s Spec) (v1.Image, error) {
	if s.Tree == nil || s.Created.IsZero() {
		return nil, errors.New("making container image: a tree and a time are needed")
	}
	l, err := newLayer(s.Tree, s.Created)
	if err != nil {
		return nil, err
	}
	base := mutate.MediaType(mutate.ConfigMediaType(empty.Image, types.OCIConfigJSON), types.OCIManifestSchema1)
	created := v1.Time{Time: s.Created.UTC()}
	img, err := mutate.Append(base, mutate.Addendum{
		Layer: l, MediaType: types.OCILayer, History: v1.History{Created: created, CreatedBy: s.Comment},
	})
	if err != nil {
		return nil, fmt.Errorf("making container image: %w", err)
	}
	file, err := img.ConfigFile()
	if err != nil {
		return nil, fmt.Errorf("making container image: %w", err)
	}
	file = file.DeepCopy()
	file.Architecture, file.OS, file.Created, file.Config = "amd64", "linux", created, s.Config
	img, err = mutate.ConfigFile(img, file)
	if err != nil {
		return nil, fmt.Errorf("making container image: %w", err)
	}
	return img, nil
}

// member is one file of an archive.
type member struct {
	name string
	data func() (io.ReadCloser, error)
	size int64
}

func inMemory(name string, data []byte) member {
	return member{name, func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil }, int64(len(data))}
}

// Write writes an image as an archive in the OCI layout. A manifest.json stands beside it, so that engines load it which
// know nothing but the older form. The tag is what the image is called then, NAME:TAG.
func Write(w io.Writer, img v1.Image, tag string, created time.Time) error {
	members, err := membersOf(img, tag)
	if err != nil {
		return fmt.Errorf("writing container image: %w", err)
	}
	out := tar.NewWriter(w)
	for _, dir := range []string{"blobs/", blobs} {
		h := &tar.Header{Typeflag: tar.TypeDir, Name: dir, Mode: 0o755, ModTime: created.UTC(), Format: tar.FormatUSTAR}
		if err := out.WriteHeader(h); err != nil {
			return fmt.Errorf("writing container image: %w", err)
		}
	}
	for _, m := range members {
		if err := m.write(out, created); err != nil {
			return fmt.Errorf("writing container image: %s: %w", m.name, err)
		}
	}
	return out.Close()
}

func (m member) write(out *tar.Writer, created time.Time) error {
	h := &tar.Header{Typeflag: tar.TypeReg, Name: m.name, Mode: 0o644, Size: m.size, ModTime: created.UTC(), Format: tar.FormatUSTAR}
	if err := out.WriteHeader(h); err != nil {
		return err
	}
	r, err := m.data()
	if err != nil {
		return err
	}
	_, err = io.Copy(out, r)
	return errors.Join(err, r.Close())
}

// membersOf lists the archive's files in the order of their names.
func membersOf(img v1.Image, tag string) ([]member, error) {
	manifest, err := img.RawManifest()
	if err != nil {
		return nil, err
	}
	config, err := img.RawConfigFile()
	if err != nil {
		return nil, err
	}
	configName, err := img.ConfigName()
	if err != nil {
		return nil, err
	}
	digest, err := img.Digest()
	if err != nil {
		return nil, err
	}
	out := []member{inMemory("oci-layout", []byte(layoutVersion)), inMemory(blobs+digest.Hex, manifest), inMemory(blobs+configName.Hex, config)}
	layers, err := img.Layers()
	if err != nil {
		return nil, err
	}
	var names []string
	for _, l := range layers {
		d, err := l.Digest()
		if err != nil {
			return nil, err
		}
		size, err := l.Size()
		if err != nil {
			return nil, err
		}
		names = append(names, blobs+d.Hex)
		out = append(out, member{blobs + d.Hex, l.Compressed, size})
	}
	index, err := json.Marshal(v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: []v1.Descriptor{{
		MediaType: types.OCIManifestSchema1, Size: int64(len(manifest)), Digest: digest, Platform: &v1.Platform{Architecture: "amd64", OS: "linux"},
		Annotations: map[string]string{refName: tag},
	}}})
	if err != nil {
		return nil, err
	}
	older, err := json.Marshal([]olderManifest{{blobs + configName.Hex, []string{tag}, names}})
	if err != nil {
		return nil, err
	}
	out = append(out, inMemory("index.json", index), inMemory("manifest.json", older))
	slices.SortFunc(out, func(a, b member) int { return bytes.Compare([]byte(a.name), []byte(b.name)) })
	return out, nil
}

// olderManifest is a row of manifest.json, the list that engines read before they knew the OCI layout.
type olderManifest struct {
	Config   string
	RepoTags []string
	Layers   []string
}
