package wheel

import (
	"archive/zip"
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/csv"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"

	"cocoon/image/rootfs"
)

const (
	// maxMembers bounds a wheel's files; torch has about 17,000.
	maxMembers = 400_000
	// maxUnpacked bounds a wheel's unpacked size; the largest we know are about 2 GB.
	maxUnpacked = 16 << 30
	// maxText bounds the metadata files that are read into memory.
	maxText = 64 << 20
)

// archive is an opened wheel whose names and sizes have been checked, and whose bytes have not.
type archive struct {
	project  string // as in the .dist-info folder's name
	version  string
	distInfo string
	members  []member
	record   map[string]recorded
	scripts  []launcher
}

// member is one file.
type member struct {
	path string
	exec bool
	zip  *zip.File
}

// recorded is a line of RECORD.
type recorded struct {
	sha256 string // hex; "" where RECORD gives none, which only it and its signatures may have
	size   int64  // -1 where RECORD gives none
}

// readArchive checks a wheel's directory and metadata.
func readArchive(r io.ReaderAt, size int64) (*archive, error) {
	z, err := zip.NewReader(r, size)
	if err != nil {
		return nil, fmt.Errorf("%w: reading the zip directory: %w", ErrFormat, err)
	}
	if len(z.File) > maxMembers {
		return nil, fmt.Errorf("%w: %d members, at most %d", ErrFormat, len(z.File), maxMembers)
	}
	a := &archive{}
	seen := make(map[string]bool, len(z.File))
	var total uint64
	for _, f := range z.File {
		if err := checkMember(f); err != nil {
			return nil, fmt.Errorf("%w: member %.200q: %w", ErrFormat, f.Name, err)
		}
		name := strings.TrimSuffix(f.Name, "/")
		if seen[name] {
			return nil, fmt.Errorf("%w: member %q is there twice", ErrFormat, name)
		}
		seen[name] = true
		if f.Mode().IsDir() {
			continue
		}
		if total += f.UncompressedSize64; total > maxUnpacked {
			return nil, fmt.Errorf("%w: unpacked size over %d bytes", ErrFormat, int64(maxUnpacked))
		}
		a.members = append(a.members, member{path: name, exec: f.Mode()&0o111 != 0, zip: f})
	}
	if err := a.readMetadata(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	return a, nil
}

// checkMember judges a zip entry before anything of it is read.
func checkMember(f *zip.File) error {
	const encrypted = 1 // general purpose bit 0
	name := strings.TrimSuffix(f.Name, "/")
	clean, err := rootfs.CleanPath(name)
	switch {
	case err != nil:
		return err
	case clean != name || clean == "." || strings.ContainsRune(name, '\\'):
		return errors.New("the path is not in its one clean form")
	case f.Flags&encrypted != 0:
		return errors.New("the member is encrypted")
	case f.Method != zip.Store && f.Method != zip.Deflate:
		return fmt.Errorf("compression method %d is neither stored nor deflated", f.Method)
	case f.UncompressedSize64 > maxUnpacked:
		return fmt.Errorf("%d bytes, at most %d", f.UncompressedSize64, int64(maxUnpacked))
	}
	switch mode := f.Mode(); {
	case mode.IsDir() != strings.HasSuffix(f.Name, "/"):
		return errors.New("its mode and its name disagree about being a folder")
	case !mode.IsDir() && mode.Type() != 0 && mode.Type() != fs.ModeIrregular:
		return fmt.Errorf("type %s: only files and folders are allowed", mode.Type())
	case mode.IsDir() && f.UncompressedSize64 != 0:
		return errors.New("a folder with content")
	}
	return nil
}

// readMetadata finds .dist-info and reads WHEEL, RECORD and entry_points.txt.
func (a *archive) readMetadata() error {
	for _, m := range a.members {
		dir, rest, ok := strings.Cut(m.path, "/")
		if !ok || rest != "WHEEL" || !strings.HasSuffix(dir, ".dist-info") {
			continue
		}
		if a.distInfo != "" {
			return fmt.Errorf("two .dist-info folders, %q and %q", a.distInfo, dir)
		}
		a.distInfo = dir
	}
	project, version, ok := strings.Cut(strings.TrimSuffix(a.distInfo, ".dist-info"), "-")
	if !ok || !projectRule.MatchString(project) || !versionRule.MatchString(version) {
		return fmt.Errorf("no PROJECT-VERSION.dist-info/WHEEL (found %q)", a.distInfo)
	}
	a.project, a.version = project, version
	wheel, err := a.text("WHEEL")
	if err != nil {
		return err
	}
	if err := checkWheelVersion(wheel); err != nil {
		return err
	}
	record, err := a.text("RECORD")
	if err != nil {
		return err
	}
	if a.record, err = parseRecord(record); err != nil {
		return err
	}
	points, err := a.text("entry_points.txt")
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	a.scripts, err = parseEntryPoints(points)
	return err
}

// text reads a metadata file.
func (a *archive) text(name string) ([]byte, error) {
	for _, m := range a.members {
		if m.path != a.distInfo+"/"+name {
			continue
		}
		if m.zip.UncompressedSize64 > maxText {
			return nil, fmt.Errorf("%s has %d bytes, at most %d", m.path, m.zip.UncompressedSize64, maxText)
		}
		f, err := m.zip.Open()
		if err != nil {
			return nil, fmt.Errorf("opening %s: %w", m.path, err)
		}
		defer f.Close() //nolint:errcheck // read side
		data, err := io.ReadAll(io.LimitReader(f, maxText+1))
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", m.path, err)
		}
		return data, nil
	}
	return nil, fmt.Errorf("%s/%s: %w", a.distInfo, name, fs.ErrNotExist)
}

// checkWheelVersion refuses a format that we do not know: "Wheel-Version: 1.x" is ours.
func checkWheelVersion(text []byte) error {
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		key, value, ok := strings.Cut(lines.Text(), ":")
		if ok && strings.EqualFold(key, "Wheel-Version") {
			if value = strings.TrimSpace(value); strings.HasPrefix(value, "1.") {
				return nil
			}
			return fmt.Errorf("WHEEL says version %.20q, want 1.x", value)
		}
	}
	return errors.New("WHEEL has no Wheel-Version")
}

// parseRecord reads RECORD: lines of path, sha256=URL-SAFE-BASE64-WITHOUT-PADDING, size.
func parseRecord(text []byte) (map[string]recorded, error) {
	rows := csv.NewReader(bytes.NewReader(text))
	rows.FieldsPerRecord = 3
	out := make(map[string]recorded)
	for {
		row, err := rows.Read()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, fmt.Errorf("reading RECORD: %w", err)
		}
		if len(out) == maxMembers {
			return nil, fmt.Errorf("reading RECORD: over %d lines", maxMembers)
		}
		r, err := parseRecorded(row[1], row[2])
		if err != nil {
			return nil, fmt.Errorf("reading RECORD: %.200q: %w", row[0], err)
		}
		out[row[0]] = r
	}
}

func parseRecorded(hash, size string) (recorded, error) {
	r := recorded{size: -1}
	if size != "" {
		n, err := strconv.ParseInt(size, 10, 64)
		if err != nil || n < 0 {
			return r, fmt.Errorf("size %.40q", size)
		}
		r.size = n
	}
	if hash == "" {
		return r, nil
	}
	text, ok := strings.CutPrefix(hash, "sha256=")
	raw, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(text, "="))
	if !ok || err != nil || len(raw) != 32 {
		return r, fmt.Errorf("hash %.80q is not a SHA-256", hash)
	}
	r.sha256 = hex.EncodeToString(raw)
	return r, nil
}

// verify compares a member's bytes with RECORD.
func (a *archive) verify(p, sha256Hex string, size int64) error {
	if name, ok := isMetadata(p, a.distInfo); ok && strings.HasPrefix(name, "RECORD") {
		return nil
	}
	want, ok := a.record[p]
	switch {
	case !ok:
		return errors.New("RECORD does not list it")
	case want.sha256 == "":
		return errors.New("RECORD has no hash for it")
	case want.sha256 != sha256Hex:
		return fmt.Errorf("its SHA-256 is %s, RECORD says %s", sha256Hex, want.sha256)
	case want.size >= 0 && want.size != size:
		return fmt.Errorf("%d bytes, RECORD says %d", size, want.size)
	}
	return nil
}
