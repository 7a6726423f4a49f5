// Package lock holds the image's lock file (mkosi/image.lock): every byte that a build may read from outside, by hash,
// size and place (image.md section 9.2).
//
// It owns the document's types, its one text form, and the question "does this lock belong to this recipe". It reads
// and writes one local file and never the network. It trusts nothing in a lock it reads: the text is bounded, unknown
// keys are errors with file and line, every value has a checked form. It refuses artefacts without a hash, a size, a
// place or a user. A Lock is plain data: safe for concurrent reading, not for concurrent change.
package lock

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// FormatVersion is the document's version; another one is refused.
const FormatVersion = 1

// UpdateCommand is what a person runs when a lock no longer fits.
const UpdateCommand = "cocoon image lock update"

// Kind says how a build opens an artefact.
type Kind string

// The kinds of artefacts: a Debian package, a Python wheel, any other archive that the pipeline unpacks, and a file
// that is used as it is.
const (
	Deb     Kind = "deb"
	Wheel   Kind = "wheel"
	Archive Kind = "archive"
	File    Kind = "file"
)

// Lock is the whole document.
type Lock struct {
	// Epoch is the time of every file in an image, in seconds since 1970 (image.md section 2).
	Epoch int64
	// Go is the toolchain that builds the guest binary, for example "1.26.8".
	Go string
	// RecipeSHA256 is the hash of the recipe this lock was made from, in hex.
	RecipeSHA256 string
	// Mirrors are base URLs of the project's own mirrors, which serve BASE/sha256/HEX like an exported store. They are
	// tried last.
	Mirrors   []string
	Suites    []Suite
	Artefacts []Artefact
}

// Suite is one Debian archive index that artefacts were resolved from.
type Suite struct {
	Name string // codename, for example "trixie-backports"
	// Mirror is the base URL that pool paths are relative to, without a slash at the end.
	Mirror string
	// Snapshot is the same base as a dated snapshot ("" when the suite has none).
	Snapshot string
	// SnapshotFiles serves BASE/SHA1 ("" when the suite has none).
	SnapshotFiles string
	// Date and ValidUntil are the index's own times in RFC 3339, UTC. ValidUntil is "" when the index has none.
	Date       string
	ValidUntil string
	// AcceptExpired records that ValidUntil had passed when the lock was made, and that the recipe allows it here.
	AcceptExpired bool
	// InReleaseSHA256 is the hash of the signed file as fetched.
	InReleaseSHA256 string
	// Signers are the fingerprints of the primary keys whose signatures were good, in hex.
	Signers []string
	Indexes []Index
}

// Index is one package list of a suite.
type Index struct {
	Path   string // below dists/SUITE, for example "main/binary-amd64/Packages.xz"
	SHA256 string
}

// Artefact is one locked input.
type Artefact struct {
	Name    string
	Version string
	Arch    string // Debian's names: "amd64", "all"; "any" for what has no architecture
	Kind    Kind
	SHA256  string
	// SHA1 addresses the file in Debian's snapshot service; it protects nothing. "" where the service has no such file.
	SHA1 string
	Size int64
	// Suite and Path place the artefact in a Debian archive: Suite names one of Lock.Suites, Path is below its Mirror.
	Suite string
	Path  string
	// URLs are places beside the suite's, in the order to try.
	URLs []string
	// Groups are the parts of the build that use the artefact: "base", "engine-cpu", "kernel" and so on.
	Groups []string
	// Licence is an SPDX expression for the SBOM, where the recipe states one.
	Licence string
	// Sources are all places in the order to try. They follow from the fields above and the suites: Load and Expand
	// fill them, the document does not hold them.
	Sources []string
}

// Mismatch reports a lock that was made for something else.
type Mismatch struct { //nolint:errname // reads as lock.Mismatch
	What string // "recipe" or "Go toolchain"
	Lock string // what the lock names
	Have string // what is here
}

// Error names both sides and the next step.
func (m *Mismatch) Error() string {
	if m.What == whatGo {
		return fmt.Sprintf("the lock pins Go %s but this is Go %s: install Go %s, or change the recipe and run %q",
			m.Lock, m.Have, m.Lock, UpdateCommand)
	}
	return fmt.Sprintf("the lock was made from recipe %s but the recipe here is %s: run %q and commit the result",
		m.Lock, m.Have, UpdateCommand)
}

const (
	whatRecipe = "recipe"
	whatGo     = "Go toolchain"
)

// Check compares the lock with the recipe's hash and the running toolchain ("1.26.8", or runtime.Version's
// "go1.26.8"). A difference is a *Mismatch.
func (l *Lock) Check(recipeSHA256, goVersion string) error {
	if l.RecipeSHA256 != recipeSHA256 {
		return &Mismatch{What: whatRecipe, Lock: l.RecipeSHA256, Have: recipeSHA256}
	}
	if have := strings.TrimPrefix(goVersion, "go"); l.Go != have {
		return &Mismatch{What: whatGo, Lock: l.Go, Have: have}
	}
	return nil
}

// InGroup returns the artefacts of one group in the lock's order.
func (l *Lock) InGroup(group string) []Artefact {
	var out []Artefact
	for _, a := range l.Artefacts {
		if slices.Contains(a.Groups, group) {
			out = append(out, a)
		}
	}
	return out
}

// Find returns the artefact of a group by kind and name; the error lists what the group has.
func (l *Lock) Find(group string, kind Kind, name string) (Artefact, error) {
	var names []string
	for _, a := range l.InGroup(group) {
		if a.Kind == kind && a.Name == name {
			return a, nil
		}
		names = append(names, a.Name)
	}
	return Artefact{}, fmt.Errorf("finding %s %q in group %q of the lock: it holds only %s; run %q",
		kind, name, group, strings.Join(names, ", "), UpdateCommand)
}

// Merge adds artefacts. One that is there already, byte for byte, gains the new one's groups and places.
func (l *Lock) Merge(arts ...Artefact) error {
	for _, a := range arts {
		i := slices.IndexFunc(l.Artefacts, func(b Artefact) bool { return compare(a, b) == 0 })
		if i < 0 {
			l.Artefacts = append(l.Artefacts, a)
			continue
		}
		old := &l.Artefacts[i]
		if old.SHA256 != a.SHA256 || old.Size != a.Size {
			return fmt.Errorf("adding %s to the lock: two different files, SHA-256 %s and %s", a.Label(), old.SHA256, a.SHA256)
		}
		old.Groups = union(old.Groups, a.Groups)
		for _, u := range a.URLs {
			if !slices.Contains(old.URLs, u) {
				old.URLs = append(old.URLs, u)
			}
		}
	}
	l.normalise()
	return nil
}

// Label names an artefact in errors and progress: "deb libc6 2.41-12 amd64".
func (a Artefact) Label() string {
	return fmt.Sprintf("%s %s %s %s", a.Kind, a.Name, a.Version, a.Arch)
}

// Origin is the artefact's name in rootfs nodes: "deb libc6 2.41-12".
func (a Artefact) Origin() string {
	return fmt.Sprintf("%s %s %s", a.Kind, a.Name, a.Version)
}

// Expand fills every artefact's Sources from the suites, the artefact's own URLs and the mirrors (image.md section
// 9.2: mirror, snapshot by time, snapshot by SHA-1, the project's mirror by SHA-256).
func (l *Lock) Expand() {
	suites := make(map[string]Suite, len(l.Suites))
	for _, s := range l.Suites {
		suites[s.Name] = s
	}
	for i := range l.Artefacts {
		a := &l.Artefacts[i]
		a.Sources = nil
		if s, ok := suites[a.Suite]; ok && a.Suite != "" {
			a.Sources = s.places(a.Path, a.SHA1)
		}
		a.Sources = append(a.Sources, a.URLs...)
		for _, m := range l.Mirrors {
			a.Sources = append(a.Sources, m+"/sha256/"+a.SHA256)
		}
	}
}

func (s Suite) places(path, sha1 string) []string {
	out := []string{s.Mirror + "/" + path}
	if s.Snapshot != "" {
		out = append(out, s.Snapshot+"/"+path)
	}
	if s.SnapshotFiles != "" && sha1 != "" {
		out = append(out, s.SnapshotFiles+"/"+sha1)
	}
	return out
}

// compare is the order of artefacts in the document and their identity.
func compare(a, b Artefact) int {
	return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Version, b.Version), cmp.Compare(a.Arch, b.Arch),
		cmp.Compare(a.Kind, b.Kind))
}

// normalise puts every list whose order means nothing into one order.
func (l *Lock) normalise() {
	slices.SortFunc(l.Artefacts, compare)
	for i := range l.Artefacts {
		l.Artefacts[i].Groups = union(l.Artefacts[i].Groups, nil)
	}
	slices.SortFunc(l.Suites, func(a, b Suite) int { return cmp.Compare(a.Name, b.Name) })
	for i := range l.Suites {
		l.Suites[i].Signers = union(l.Suites[i].Signers, nil)
		slices.SortFunc(l.Suites[i].Indexes, func(a, b Index) int { return cmp.Compare(a.Path, b.Path) })
	}
}

func union(a, b []string) []string {
	out := slices.Concat(a, b)
	slices.Sort(out)
	return slices.Compact(out)
}
