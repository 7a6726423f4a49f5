// Package debtest makes tiny Debian packages and signed archives in memory, for tests that must not need a network.
//
// It owns the writing side of the formats that package deb reads: ar, tar, control files, package lists, InRelease.
// It trusts its caller: malformed packages are made on purpose. Values are plain data; an Archive serves concurrently.
// It refuses nothing but what Go's own encoders refuse, which ends the test.
package debtest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// mtime is every member's time; deb must not depend on it.
var mtime = time.Unix(1_700_000_000, 0).UTC() //nolint:gochecknoglobals // constant

// File is a member of a data archive; the zero Type is a regular file.
type File struct {
	Name     string // with or without "./"
	Body     string
	Mode     int64 // 0 = 0644 for files, 0755 for folders
	Type     byte  // tar.TypeReg, tar.TypeDir, tar.TypeSymlink, tar.TypeLink ...
	Linkname string
	UID, GID int
	PAX      map[string]string
}

// Package is a .deb to make.
type Package struct {
	Name, Version, Arch string // Arch "" is "amd64"
	// Fields are further control lines: "Depends: libc6 (>= 2)".
	Fields []string
	Files  []File
	// Compression is the suffix of the inner archives: "" (= ".xz"), ".gz", ".zst", ".tar" for none.
	Compression string
}

// Member is one file of an ar archive.
type Member struct {
	Name string
	Body []byte
}

// Build returns the package's bytes.
func (p Package) Build(tb testing.TB) []byte {
	tb.Helper()
	ext := p.Compression
	switch ext {
	case "":
		ext = ".xz"
	case ".tar":
		ext = ""
	}
	control := []File{{Name: "./control", Body: p.Control()}}
	return Ar([]Member{
		{"debian-binary", []byte("2.0\n")},
		{"control.tar" + ext, Compress(tb, ext, Tar(tb, control))},
		{"data.tar" + ext, Compress(tb, ext, Tar(tb, p.Files))},
	})
}

// Control is the package's control file.
func (p Package) Control() string {
	arch := p.Arch
	if arch == "" {
		arch = "amd64"
	}
	lines := append([]string{
		"Package: " + p.Name, "Version: " + p.Version, "Architecture: " + arch,
		"Maintainer: Nobody <nobody@example.org>",
	}, p.Fields...)
	return strings.Join(append(lines, "Description: made for a test", " with a second line"), "\n") + "\n"
}

// Ar writes an ar archive.
func Ar(members []Member) []byte {
	var b bytes.Buffer
	b.WriteString("!<arch>\n")
	for _, m := range members {
		fmt.Fprintf(&b, "%-16s%-12d%-6d%-6d%-8s%-10d`\n", m.Name, mtime.Unix(), 0, 0, "100644", len(m.Body))
		b.Write(m.Body)
		if len(m.Body)%2 == 1 {
			b.WriteByte('\n')
		}
	}
	return b.Bytes()
}

// Tar writes a tar archive of the files as they are.
func Tar(tb testing.TB, files []File) []byte {
	tb.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		if f.Type == 0 {
			f.Type = tar.TypeReg
		}
		if f.Mode == 0 {
			f.Mode = map[bool]int64{true: 0o755, false: 0o644}[f.Type == tar.TypeDir]
		}
		h := &tar.Header{
			Typeflag: f.Type, Name: f.Name, Linkname: f.Linkname, Mode: f.Mode, Uid: f.UID, Gid: f.GID, ModTime: mtime,
			PAXRecords: f.PAX,
		}
		if f.Type == tar.TypeReg {
			h.Size = int64(len(f.Body))
		}
		if err := w.WriteHeader(h); err != nil {
			tb.Fatal(err)
		}
		if _, err := w.Write([]byte(f.Body)); f.Type == tar.TypeReg && err != nil {
			tb.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

// Compress packs data as a suffix says: ".xz", ".gz", ".zst" or "".
func Compress(tb testing.TB, ext string, data []byte) []byte {
	tb.Helper()
	var b bytes.Buffer
	var w io.WriteCloser
	var err error
	switch ext {
	case ".xz":
		w, err = xz.NewWriter(&b)
	case ".gz":
		w = gzip.NewWriter(&b)
	case ".zst":
		w, err = zstd.NewWriter(&b)
	default:
		return data
	}
	if err != nil {
		tb.Fatal(err)
	}
	if _, err := w.Write(data); err != nil {
		tb.Fatal(err)
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}
