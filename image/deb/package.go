package deb

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"regexp"
	"strings"
)

const (
	// maxControl bounds the unpacked control archive; Debian's largest are about 2 MB.
	maxControl = 32 << 20
	// formatVersion is the content of debian-binary (deb(5)).
	formatVersion = "2.0\n"
)

// packageName is Debian Policy 5.6.1's rule, with capitals for packages from elsewhere.
var packageName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9+.-]{1,127}$`)

// Package is an opened .deb file.
type Package struct {
	Name, Version, Arch string
	Control             Paragraph

	path string
	size int64
	data member
}

// Open reads a package's structure and control file. It keeps no file open.
func Open(name string) (*Package, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("opening a package: %w", err)
	}
	defer f.Close() //nolint:errcheck // read side
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("opening a package: %w", err)
	}
	p, err := read(f, info.Size())
	if err != nil {
		return nil, fmt.Errorf("opening package %s: %w", name, err)
	}
	p.path = name
	return p, nil
}

// read reads a package from size bytes.
func read(r io.ReaderAt, size int64) (*Package, error) {
	members, err := readArchive(r, size)
	if err != nil {
		return nil, err
	}
	control, data, err := pick(r, members)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	p := &Package{data: data, size: size}
	if p.Control, err = readControl(io.NewSectionReader(r, control.offset, control.size), compression(control.name)); err != nil {
		return nil, fmt.Errorf("%w: reading %s: %w", ErrFormat, control.name, err)
	}
	p.Name, p.Version, p.Arch = p.Control.Get("Package"), p.Control.Get("Version"), p.Control.Get("Architecture")
	if !packageName.MatchString(p.Name) || !packageName.MatchString(p.Arch) {
		return nil, fmt.Errorf("%w: package %q, architecture %q", ErrFormat, p.Name, p.Arch)
	}
	if _, err := ParseVersion(p.Version); err != nil {
		return nil, fmt.Errorf("%w: package %s: %w", ErrFormat, p.Name, err)
	}
	return p, nil
}

// pick finds the members of deb(5) in their order; members that start with "_" are ignored, as dpkg does.
func pick(r io.ReaderAt, members []member) (control, data member, err error) {
	var kept []member
	for _, m := range members {
		if !strings.HasPrefix(m.name, "_") {
			kept = append(kept, m)
		}
	}
	if len(kept) != 3 || kept[0].name != "debian-binary" || !isTar(kept[1].name, "control.tar") || !isTar(kept[2].name, "data.tar") {
		names := make([]string, len(kept))
		for i, m := range kept {
			names[i] = m.name
		}
		return control, data, fmt.Errorf("members %q, want debian-binary, control.tar.*, data.tar.*", names)
	}
	version := make([]byte, min(kept[0].size, int64(len(formatVersion)+1)))
	if _, err := io.ReadFull(io.NewSectionReader(r, kept[0].offset, kept[0].size), version); err != nil {
		return control, data, fmt.Errorf("reading debian-binary: %w", err)
	}
	if string(version) != formatVersion {
		return control, data, fmt.Errorf("format version %q, want %q", version, formatVersion)
	}
	return kept[1], kept[2], nil
}

func isTar(name, want string) bool { return name == want || strings.HasPrefix(name, want+".") }

// compression is the suffix behind "data.tar".
func compression(name string) string {
	if ext := path.Ext(name); ext != ".tar" {
		return ext
	}
	return ""
}

func readControl(r io.Reader, ext string) (Paragraph, error) {
	d, err := decompress(ext, r)
	if err != nil {
		return nil, err
	}
	defer d.Close() //nolint:errcheck // read side
	bounded := &io.LimitedReader{R: d, N: maxControl}
	tr := tar.NewReader(bounded)
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return nil, errors.New("no control file")
		}
		if err != nil {
			return nil, fmt.Errorf("%w (at most %d bytes are read)", err, maxControl)
		}
		if path.Clean(h.Name) != "control" || h.Typeflag != tar.TypeReg {
			continue
		}
		text, err := io.ReadAll(tr)
		if err != nil {
			return nil, err
		}
		p, err := parseParagraph(bytes.NewReader(text))
		if err != nil {
			return nil, fmt.Errorf("control file: %w", err)
		}
		return p, nil
	}
}

// Origin names the package in tree nodes and errors: "deb libc6 2.41-12".
func (p *Package) Origin() string { return "deb " + p.Name + " " + p.Version }

// openData opens the unpacked data.tar of f, the package's file.
func (p *Package) openData(ctx context.Context, f io.ReaderAt) (io.ReadCloser, error) {
	d, err := decompress(compression(p.data.name), contextReader{ctx, io.NewSectionReader(f, p.data.offset, p.data.size)})
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", p.data.name, err)
	}
	return d, nil
}
