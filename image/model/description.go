package model

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"cocoon/image/rootfs"
	"cocoon/image/verity"
	"cocoon/measure/strictjson"
)

// Schema names the description's version.
const Schema = "cocoon.image.model/1"

// EROFSWriter names the layout of the EROFS writer in descriptions: another layout gives other roots for the same
// files.
const EROFSWriter = "cocoon-erofs/1"

// maxDescription bounds a description; 10,000 files give about 2 MB.
const maxDescription = 64 << 20

// Format is a form of the volume.
type Format string

// The forms of a volume.
const (
	// EROFS is the primary form: image, superblock and tree in one file, disk serial `model`.
	EROFS Format = "erofs"
	// Tar is the reference's form: padded archive and hash area in two files, serials `model-tar` and
	// `model-tar-verity`, or one behind the other in one, serial `model`.
	Tar Format = "tar"
)

// File is one file of the model.
type File struct {
	Path   string `json:"path"`
	Size   int64  `json:"size"` // bytes
	SHA256 string `json:"sha256"`
}

// Description is the document that is published with a volume.
type Description struct {
	Schema string `json:"schema"`
	// Identity is name@commit:rootHash; it is what a worker and the chain call the model.
	Identity string `json:"identity"`
	Name     string `json:"name"`
	Commit   string `json:"commit"`
	// Source is where the files came from; for people.
	Source string `json:"source,omitempty"`
	Format Format `json:"format"`
	// Writer is EROFSWriter for the primary form, empty for the other, whose bytes another program defines.
	Writer string `json:"writer,omitempty"`
	// DataBlocks, HashStartBlock and HashBlocks are as in verity.Volume; for a tar form of two files the last two count on
	// the device with the hash area.
	DataBlocks     uint64 `json:"dataBlocks"`
	HashStartBlock uint64 `json:"hashStartBlock"`
	HashBlocks     uint64 `json:"hashBlocks"`
	RootHash       string `json:"rootHash"`
	Salt           string `json:"salt"`
	UUID           string `json:"uuid"` // of the verity superblock
	// Excluded are the top-level names that were left out.
	Excluded []string `json:"excluded"`
	// Files are in the order of the volume.
	Files []File `json:"files"`
}

var (
	nameRule   = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,95}(/[A-Za-z0-9][A-Za-z0-9._-]{0,95})?$`)
	commitRule = regexp.MustCompile(`^[0-9a-f]{40}$`)
	hexRule    = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

// joined says that the hash area lies behind the data, in the same file.
func (d *Description) joined() bool { return d.Format != Tar || d.HashStartBlock > d.DataBlocks }

// Volume is what opening the model needs.
func (d *Description) Volume() (verity.Volume, error) {
	v := verity.Volume{DataBlocks: d.DataBlocks, HashStartBlock: d.HashStartBlock, HashBlocks: d.HashBlocks}
	root, err := hex.DecodeString(d.RootHash)
	if err != nil || len(root) != len(v.RootHash) {
		return v, fmt.Errorf("rootHash: %q is not 64 hexadecimal digits", d.RootHash)
	}
	copy(v.RootHash[:], root)
	if v.Salt, err = hex.DecodeString(d.Salt); err != nil {
		return v, fmt.Errorf("salt: %w", err)
	}
	return v, v.Validate()
}

// Validate returns every broken rule.
func (d *Description) Validate() error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	check(d.Schema == Schema, "schema: %q, want %q", d.Schema, Schema)
	check(nameRule.MatchString(d.Name), "name: %q is not a model's name, like Qwen/Qwen3-8B", d.Name)
	check(commitRule.MatchString(d.Commit), "commit: %q is not 40 lower-case hexadecimal digits", d.Commit)
	check(d.Identity == identity(d.Name, d.Commit, d.RootHash), "identity: %q is not name@commit:rootHash", d.Identity)
	check(d.Format == EROFS || d.Format == Tar, "format: %q is neither erofs nor tar", d.Format)
	if _, err := d.Volume(); err != nil {
		errs = append(errs, err)
	}
	check(slices.IsSortedFunc(d.Files, func(a, b File) int { return comparePaths(a.Path, b.Path) }), "files: not in order of their paths")
	for i, f := range d.Files {
		clean, err := rootfs.CleanPath(f.Path)
		check(err == nil && clean == f.Path, "files[%d].path: %q is not a clean path", i, f.Path)
		check(hexRule.MatchString(f.SHA256), "files[%d].sha256: %q is not 64 lower-case hexadecimal digits", i, f.SHA256)
		check(f.Size >= 0, "files[%d].size: %d is negative", i, f.Size)
	}
	return errors.Join(errs...)
}

// Encode is the canonical form.
func (d *Description) Encode() ([]byte, error) {
	if err := d.Validate(); err != nil {
		return nil, fmt.Errorf("encoding model description: %w", err)
	}
	return strictjson.Canonical(d)
}

// Parse reads what Encode wrote, and nothing else.
func Parse(data []byte) (*Description, error) {
	if len(data) > maxDescription {
		return nil, fmt.Errorf("reading model description: %d bytes, at most %d", len(data), maxDescription)
	}
	var d Description
	if err := strictjson.Decode(data, &d); err != nil {
		return nil, fmt.Errorf("reading model description: %w", err)
	}
	again, err := d.Encode()
	if err != nil {
		return nil, fmt.Errorf("reading model description: %w", err)
	}
	if !bytes.Equal(data, again) {
		return nil, errors.New("reading model description: not in canonical form")
	}
	return &d, nil
}

func identity(name, commit, root string) string { return name + "@" + commit + ":" + root }

// comparePaths orders paths depth first with the names of each directory bytewise, as both forms store them: a slash
// sorts before every other byte.
func comparePaths(a, b string) int {
	return strings.Compare(strings.ReplaceAll(a, "/", "\x00"), strings.ReplaceAll(b, "/", "\x00"))
}
