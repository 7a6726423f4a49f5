package wheel

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/google/renameio/v2"
	"github.com/pelletier/go-toml/v2"

	"cocoon/image/lock"
)

const (
	// FormatVersion is the list's version; another one is refused.
	FormatVersion = 1
	// ListName is the list's usual name below mkosi/.
	ListName = "wheels.lock"
	// maxList bounds the file; 200 wheels are 60 kB.
	maxList = 4 << 20
	// maxWheels bounds the entries.
	maxWheels = 4096
	// maxWheel bounds one file; the largest we know is about 1 GB.
	maxWheel = 8 << 30
)

// Entry is one wheel by name and hash.
type Entry struct {
	Name    string // normalised project name
	Version string
	File    string // the wheel's file name
	SHA256  string // hex
	Size    int64  // bytes
}

// List is the lock of wheels: every one that a layer is made of, sorted by name.
type List struct {
	Wheels []Entry
}

// The document's text form.
type document struct {
	Format int             `toml:"format"`
	Wheel  []documentEntry `toml:"wheel"`
}

type documentEntry struct {
	Name    string `toml:"name"`
	Version string `toml:"version"`
	File    string `toml:"file"`
	SHA256  string `toml:"sha256"`
	Size    int64  `toml:"size"`
}

var (
	sha256Rule  = regexp.MustCompile(`^[0-9a-f]{64}$`)
	nameRule    = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)
	versionRule = regexp.MustCompile(`^[0-9A-Za-z][0-9A-Za-z.!+_-]{0,99}$`)
)

// Load reads and checks a list.
func Load(name string) (*List, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("reading the list of wheels: %w", err)
	}
	defer f.Close() //nolint:errcheck // read side
	data, err := io.ReadAll(io.LimitReader(f, maxList+1))
	if err != nil {
		return nil, fmt.Errorf("reading the list of wheels: %w", err)
	}
	l, err := Parse(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return l, nil
}

// Parse reads a list from its text. Comments are allowed, unknown keys are not.
func Parse(data []byte) (*List, error) {
	if len(data) > maxList {
		return nil, fmt.Errorf("reading the list of wheels: over %d bytes", maxList)
	}
	var d document
	dec := toml.NewDecoder(bytes.NewReader(data)).DisallowUnknownFields()
	if err := dec.Decode(&d); err != nil {
		if strict, ok := errors.AsType[*toml.StrictMissingError](err); ok {
			return nil, fmt.Errorf("reading the list of wheels: unknown keys:\n%s", strict.String())
		}
		return nil, fmt.Errorf("reading the list of wheels: %w", err)
	}
	if d.Format != FormatVersion {
		return nil, fmt.Errorf("reading the list of wheels: format %d, this program knows %d", d.Format, FormatVersion)
	}
	l := &List{Wheels: make([]Entry, 0, len(d.Wheel))}
	for _, e := range d.Wheel {
		l.Wheels = append(l.Wheels, Entry(e))
	}
	if err := l.Validate(); err != nil {
		return nil, fmt.Errorf("reading the list of wheels: %w", err)
	}
	return l, nil
}

// Validate returns every broken rule with the entry it is in.
func (l *List) Validate() error {
	var errs []error
	if len(l.Wheels) == 0 || len(l.Wheels) > maxWheels {
		errs = append(errs, fmt.Errorf("%d wheels, want 1..%d", len(l.Wheels), maxWheels))
	}
	for i, e := range l.Wheels {
		if err := e.validate(); err != nil {
			errs = append(errs, fmt.Errorf("wheel %d (%q): %w", i+1, e.Name, err))
		}
		if i > 0 && l.Wheels[i-1].Name >= e.Name {
			errs = append(errs, fmt.Errorf("wheel %d (%q): not in order of names, or there twice", i+1, e.Name))
		}
	}
	return errors.Join(errs...)
}

func (e Entry) validate() error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	check(nameRule.MatchString(e.Name), "name: %q does not match %s", e.Name, nameRule)
	check(versionRule.MatchString(e.Version), "version: %q does not match %s", e.Version, versionRule)
	check(sha256Rule.MatchString(e.SHA256), "sha256: %q is not 64 lower-case hex digits", e.SHA256)
	check(e.Size > 0 && e.Size <= maxWheel, "size: %d, want 1..%d", e.Size, int64(maxWheel))
	n, err := ParseName(e.File)
	if err != nil {
		return errors.Join(append(errs, fmt.Errorf("file: %w", err))...)
	}
	check(Normalise(n.Project) == e.Name, "file: %q is a wheel of %q", e.File, Normalise(n.Project))
	check(sameVersion(n.Version, e.Version), "file: %q has version %q, not %q", e.File, n.Version, e.Version)
	return errors.Join(errs...)
}

// sameVersion compares a version with the form it has in file names, where "-" becomes "_".
func sameVersion(inFile, version string) bool {
	return inFile == strings.ReplaceAll(version, "-", "_")
}

// Encode is the list's text; Parse gives the same list back.
func (l *List) Encode() ([]byte, error) {
	if err := l.Validate(); err != nil {
		return nil, fmt.Errorf("writing the list of wheels: %w", err)
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "# The Python wheels of the gpu engine, by hash. Made from a resolver's report; see README.md.\nformat = %d\n", FormatVersion)
	for _, e := range l.Wheels {
		fmt.Fprintf(&b, "\n[[wheel]]\nname = %q\nversion = %q\nfile = %q\nsha256 = %q\nsize = %d\n", e.Name, e.Version, e.File, e.SHA256, e.Size)
	}
	return b.Bytes(), nil
}

// Save writes the list, whole or not at all.
func (l *List) Save(name string) error {
	data, err := l.Encode()
	if err != nil {
		return err
	}
	if err := renameio.WriteFile(name, data, 0o644); err != nil {
		return fmt.Errorf("writing the list of wheels: %w", err)
	}
	return nil
}

// sortEntries puts entries into the list's order.
func sortEntries(entries []Entry) {
	slices.SortFunc(entries, func(a, b Entry) int { return cmp.Compare(a.Name, b.Name) })
}

// Artefacts are the wheels in the form of the image's lock, for the group of packages that uses them. They have no
// places of their own: Locate finds those.
func (l *List) Artefacts(group string) []lock.Artefact {
	out := make([]lock.Artefact, 0, len(l.Wheels))
	for _, e := range l.Wheels {
		out = append(out, lock.Artefact{
			Name: e.Name, Version: e.Version, Arch: "any", Kind: lock.Wheel,
			SHA256: e.SHA256, Size: e.Size, Groups: []string{group},
		})
	}
	return out
}
