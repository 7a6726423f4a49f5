package lock

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/google/renameio/v2"
	"github.com/pelletier/go-toml/v2"
)

// maxFile bounds the text; a heavy image's lock is about 200 kB.
const maxFile = 16 << 20

// document is the text form. Its keys are the lock's contract; the Go names may change.
type document struct {
	Version      int64         `toml:"version"`
	Epoch        int64         `toml:"epoch"`
	Go           string        `toml:"go"`
	RecipeSHA256 string        `toml:"recipe_sha256"`
	Mirrors      []string      `toml:"mirrors"`
	Suites       []docSuite    `toml:"suite"`
	Artefacts    []docArtefact `toml:"artefact"`
}

type docSuite struct {
	Name            string     `toml:"name"`
	Mirror          string     `toml:"mirror"`
	Snapshot        string     `toml:"snapshot"`
	SnapshotFiles   string     `toml:"snapshot_files"`
	Date            string     `toml:"date"`
	ValidUntil      string     `toml:"valid_until"`
	AcceptExpired   bool       `toml:"accept_expired"`
	InReleaseSHA256 string     `toml:"inrelease_sha256"`
	Signers         []string   `toml:"signers"`
	Indexes         []docIndex `toml:"index"`
}

type docIndex struct {
	Path   string `toml:"path"`
	SHA256 string `toml:"sha256"`
}

type docArtefact struct {
	Name    string   `toml:"name"`
	Version string   `toml:"version"`
	Arch    string   `toml:"arch"`
	Kind    Kind     `toml:"kind"`
	Size    int64    `toml:"size"`
	SHA256  string   `toml:"sha256"`
	SHA1    string   `toml:"sha1"`
	Suite   string   `toml:"suite"`
	Path    string   `toml:"path"`
	URLs    []string `toml:"urls"`
	Groups  []string `toml:"groups"`
	Licence string   `toml:"licence"`
}

// Load reads and checks a lock file. Errors about the text name the file and the line.
func Load(name string) (*Lock, error) {
	f, err := os.Open(name)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("loading the lock: %w: run %q to make it", err, UpdateCommand)
	}
	if err != nil {
		return nil, fmt.Errorf("loading the lock: %w", err)
	}
	defer f.Close() //nolint:errcheck // read side
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("loading the lock: %w", err)
	}
	return Parse(name, data)
}

// Parse reads a lock from text; name is for errors.
func Parse(name string, data []byte) (*Lock, error) {
	if len(data) > maxFile {
		return nil, fmt.Errorf("reading %s: over %d bytes", name, maxFile)
	}
	var doc document
	dec := toml.NewDecoder(bytes.NewReader(data)).DisallowUnknownFields()
	if err := dec.Decode(&doc); err != nil {
		return nil, fmt.Errorf("reading %s%w", name, located(err))
	}
	if doc.Version != FormatVersion {
		return nil, fmt.Errorf("reading %s: lock format %d, this program knows %d: run %q", name, doc.Version, FormatVersion, UpdateCommand)
	}
	l := doc.lock()
	l.normalise()
	if err := l.Validate(); err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	l.Expand()
	return l, nil
}

// located puts line and column in front of a TOML error.
func located(err error) error {
	if strict, ok := errors.AsType[*toml.StrictMissingError](err); ok && len(strict.Errors) > 0 {
		row, col := strict.Errors[0].Position()
		return fmt.Errorf(":%d:%d: unknown key %q", row, col, strings.Join(strict.Errors[0].Key(), "."))
	}
	if syntax, ok := errors.AsType[*toml.DecodeError](err); ok {
		row, col := syntax.Position()
		return fmt.Errorf(":%d:%d: %w", row, col, err)
	}
	return fmt.Errorf(": %w", err)
}

// Save checks the lock and writes it in its one form, replacing the file in one step.
func (l *Lock) Save(name string) error {
	data, err := l.Format()
	if err != nil {
		return fmt.Errorf("saving the lock: %w", err)
	}
	if err := renameio.WriteFile(name, data, 0o644); err != nil {
		return fmt.Errorf("saving the lock: %w", err)
	}
	return nil
}

// Format returns the lock's text: lists sorted, keys in a fixed order, empty values left out. The same lock has the
// same text always.
func (l *Lock) Format() ([]byte, error) {
	l.normalise()
	if err := l.Validate(); err != nil {
		return nil, err
	}
	w := new(writer)
	w.line("# Written by %q. Do not edit: change the recipe and run it again.", UpdateCommand)
	w.integer("version", FormatVersion)
	w.integer("epoch", l.Epoch)
	w.value("go", l.Go)
	w.value("recipe_sha256", l.RecipeSHA256)
	w.list("mirrors", l.Mirrors)
	for _, s := range l.Suites {
		w.suite(s)
	}
	for _, a := range l.Artefacts {
		w.artefact(a)
	}
	return w.Bytes(), nil
}

// writer makes TOML of values that Validate has shown to need no escapes.
type writer struct{ bytes.Buffer }

func (w *writer) line(format string, args ...any) {
	_, _ = w.WriteString(fmt.Sprintf(format, args...) + "\n")
}

func (w *writer) integer(key string, v int64) { w.line("%s = %d", key, v) }

func (w *writer) value(key, v string) {
	if v != "" {
		w.line("%s = %s", key, strconv.Quote(v))
	}
}

func (w *writer) list(key string, vs []string) {
	if len(vs) == 0 {
		return
	}
	quoted := make([]string, len(vs))
	for i, v := range vs {
		quoted[i] = strconv.Quote(v)
	}
	w.line("%s = [%s]", key, strings.Join(quoted, ", "))
}

func (w *writer) suite(s Suite) {
	w.line("\n[[suite]]")
	w.value("name", s.Name)
	w.value("mirror", s.Mirror)
	w.value("snapshot", s.Snapshot)
	w.value("snapshot_files", s.SnapshotFiles)
	w.value("date", s.Date)
	w.value("valid_until", s.ValidUntil)
	if s.AcceptExpired {
		w.line("accept_expired = true")
	}
	w.value("inrelease_sha256", s.InReleaseSHA256)
	w.list("signers", s.Signers)
	for _, x := range s.Indexes {
		w.line("[[suite.index]]")
		w.value("path", x.Path)
		w.value("sha256", x.SHA256)
	}
}

func (w *writer) artefact(a Artefact) {
	w.line("\n[[artefact]]")
	w.value("name", a.Name)
	w.value("version", a.Version)
	w.value("arch", a.Arch)
	w.value("kind", string(a.Kind))
	w.list("groups", a.Groups)
	w.integer("size", a.Size)
	w.value("sha256", a.SHA256)
	w.value("sha1", a.SHA1)
	w.value("suite", a.Suite)
	w.value("path", a.Path)
	w.list("urls", a.URLs)
	w.value("licence", a.Licence)
}

func (d document) lock() *Lock {
	l := &Lock{Epoch: d.Epoch, Go: d.Go, RecipeSHA256: d.RecipeSHA256, Mirrors: d.Mirrors}
	for _, s := range d.Suites {
		out := Suite{
			Name: s.Name, Mirror: s.Mirror, Snapshot: s.Snapshot, SnapshotFiles: s.SnapshotFiles, Date: s.Date,
			ValidUntil: s.ValidUntil, AcceptExpired: s.AcceptExpired, InReleaseSHA256: s.InReleaseSHA256, Signers: s.Signers,
		}
		for _, x := range s.Indexes {
			out.Indexes = append(out.Indexes, Index(x))
		}
		l.Suites = append(l.Suites, out)
	}
	for _, a := range d.Artefacts {
		l.Artefacts = append(l.Artefacts, Artefact{
			Name: a.Name, Version: a.Version, Arch: a.Arch, Kind: a.Kind, SHA256: a.SHA256, SHA1: a.SHA1, Size: a.Size,
			Suite: a.Suite, Path: a.Path, URLs: a.URLs, Groups: a.Groups, Licence: a.Licence,
		})
	}
	return l
}
