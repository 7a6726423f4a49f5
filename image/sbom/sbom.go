// Package sbom writes the bill of materials of an image: SPDX 2.3 as JSON, one package per pinned input and one file
// per artefact (image.md section 1).
//
// It owns the mapping from inputs to SPDX elements, and determinism: identifiers come from names and hashes, the
// creation time is the lock's epoch, the namespace is the hash of what the document lists. It trusts the hashes it
// is given; nothing is read from disk. It is safe for concurrent use. It refuses components without a name or hash
// and never concludes a licence: it repeats what the lock declares.
package sbom

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spdx/tools-golang/json"
	"github.com/spdx/tools-golang/spdx/v2/common"
	"github.com/spdx/tools-golang/spdx/v2/v2_3"
)

// FileName is the document's name beside the other artefacts.
const FileName = "sbom.spdx.json"

// tool is the creator that the document names; it carries no version, so that a rebuild by a later release of an
// unchanged pipeline gives the same bytes.
const tool = "cocoon-image"

// noAssertion is SPDX's word for "not stated here".
const noAssertion = "NOASSERTION"

// Kind is where a component comes from.
type Kind string

// The kinds of components.
const (
	Deb      Kind = "deb"
	Wheel    Kind = "wheel"
	Archive  Kind = "archive"
	GoModule Kind = "go-module"
)

// Component is one thing that somebody else made and that is inside the image, or whose output is.
type Component struct {
	Kind    Kind
	Name    string
	Version string
	Arch    string // Debian architecture; empty for other kinds
	// SHA256 is the hex hash of the file that was fetched. Go modules have none: the module hash of go.sum is in Sum.
	SHA256 string
	Sum    string
	// Source is the first place to fetch it from; empty when there is none.
	Source string
	// Licence is an SPDX expression as the lock declares it; empty when it does not.
	Licence string
	// In lists the artefacts that hold parts of it, by file name.
	In []string
}

// File is one artefact.
type File struct {
	Name   string
	SHA256 string
}

// Spec is everything the document says.
type Spec struct {
	Image      string // name and variant of the image
	Epoch      int64  // seconds
	Components []Component
	Files      []File
}

// Encode writes the document.
func Encode(s Spec) ([]byte, error) {
	if err := s.validate(); err != nil {
		return nil, fmt.Errorf("encoding SBOM: %w", err)
	}
	s.Components = slices.Clone(s.Components)
	slices.SortFunc(s.Components, func(a, b Component) int {
		return cmp.Or(strings.Compare(string(a.Kind), string(b.Kind)), strings.Compare(a.Name, b.Name),
			strings.Compare(a.Version, b.Version), strings.Compare(a.Arch, b.Arch))
	})
	s.Files = slices.Clone(s.Files)
	slices.SortFunc(s.Files, func(a, b File) int { return strings.Compare(a.Name, b.Name) })
	var out bytes.Buffer
	if err := json.Write(document(s), &out, json.Indent("  "), json.EscapeHTML(false)); err != nil {
		return nil, fmt.Errorf("encoding SBOM: %w", err)
	}
	return out.Bytes(), nil
}

var hashRule = regexp.MustCompile(`^[0-9a-f]{64}$`)

func (s Spec) validate() error {
	var errs []error
	if s.Image == "" {
		errs = append(errs, errors.New("image: empty"))
	}
	files := make(map[string]bool)
	for _, f := range s.Files {
		if f.Name == "" || !hashRule.MatchString(f.SHA256) {
			errs = append(errs, fmt.Errorf("file %q: wants a name and a SHA-256, has hash %q", f.Name, f.SHA256))
		}
		files[f.Name] = true
	}
	for _, c := range s.Components {
		switch {
		case c.Name == "" || c.Version == "":
			errs = append(errs, fmt.Errorf("component %q version %q: both are needed", c.Name, c.Version))
		case c.Kind == GoModule && c.Sum == "" || c.Kind != GoModule && !hashRule.MatchString(c.SHA256):
			errs = append(errs, fmt.Errorf("component %s: has no hash", c.Name))
		}
		for _, in := range c.In {
			if !files[in] {
				errs = append(errs, fmt.Errorf("component %s: artefact %q is not listed", c.Name, in))
			}
		}
	}
	return errors.Join(errs...)
}

func document(s Spec) *v2_3.Document {
	image := common.ElementID("Image")
	doc := &v2_3.Document{
		SPDXVersion:       v2_3.Version,
		DataLicense:       v2_3.DataLicense,
		SPDXIdentifier:    "DOCUMENT",
		DocumentName:      "cocoon " + s.Image,
		DocumentNamespace: "https://spdx.org/spdxdocs/cocoon-" + s.Image + "-" + s.digest(),
		CreationInfo: &v2_3.CreationInfo{
			Creators: []common.Creator{{CreatorType: "Tool", Creator: tool}},
			Created:  time.Unix(s.Epoch, 0).UTC().Format(time.RFC3339),
		},
		Packages: []*v2_3.Package{{
			PackageName:             "cocoon-" + s.Image,
			PackageSPDXIdentifier:   image,
			PackageDownloadLocation: noAssertion,
			PackageLicenseConcluded: noAssertion,
			PackageLicenseDeclared:  noAssertion,
			PackageCopyrightText:    noAssertion,
			PrimaryPackagePurpose:   "OPERATING-SYSTEM",
		}},
		Relationships: []*v2_3.Relationship{relate("DOCUMENT", common.TypeRelationshipDescribe, image)},
	}
	for _, f := range s.Files {
		doc.Files = append(doc.Files, file(f))
		doc.Relationships = append(doc.Relationships, relate(image, common.TypeRelationshipContains, fileID(f.Name)))
	}
	for _, c := range s.Components {
		doc.Packages = append(doc.Packages, c.pkg())
		doc.Relationships = append(doc.Relationships, relate(image, common.TypeRelationshipContains, c.id()))
		for _, in := range c.In {
			doc.Relationships = append(doc.Relationships, relate(fileID(in), common.TypeRelationshipGeneratedFrom, c.id()))
		}
	}
	return doc
}

// digest identifies what the document lists; it makes the namespace unique per content without randomness.
func (s Spec) digest() string {
	h := sha256.New()
	for _, c := range s.Components {
		fmt.Fprintf(h, "%s %s %s %s %s %s %s\n", c.Kind, c.Name, c.Version, c.Arch, c.SHA256, c.Sum, c.Licence) //nolint:errcheck // a hash does not fail
	}
	for _, f := range s.Files {
		fmt.Fprintf(h, "file %s %s\n", f.Name, f.SHA256) //nolint:errcheck // as above
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

func file(f File) *v2_3.File {
	return &v2_3.File{
		FileName:           "./" + f.Name,
		FileSPDXIdentifier: fileID(f.Name),
		Checksums:          []common.Checksum{{Algorithm: common.SHA256, Value: f.SHA256}},
		LicenseConcluded:   noAssertion,
		FileCopyrightText:  noAssertion,
	}
}

func (c Component) pkg() *v2_3.Package {
	p := &v2_3.Package{
		PackageName:             c.Name,
		PackageSPDXIdentifier:   c.id(),
		PackageVersion:          c.Version,
		PackageDownloadLocation: cmp.Or(c.Source, noAssertion),
		PackageLicenseConcluded: noAssertion,
		PackageLicenseDeclared:  cmp.Or(c.Licence, noAssertion),
		PackageCopyrightText:    noAssertion,
		PackageExternalReferences: []*v2_3.PackageExternalReference{{
			Category: common.CategoryPackageManager, RefType: "purl", Locator: c.purl(),
		}},
	}
	if c.SHA256 != "" {
		p.PackageChecksums = []common.Checksum{{Algorithm: common.SHA256, Value: c.SHA256}}
	}
	if c.Sum != "" {
		p.PackageComment = "module hash " + c.Sum
	}
	return p
}

// purl is the package URL (purl-spec): it is how vulnerability databases name the component.
func (c Component) purl() string {
	version := strings.NewReplacer("+", "%2B", ":", "%3A", "~", "~").Replace(c.Version)
	switch c.Kind {
	case Deb:
		return "pkg:deb/debian/" + c.Name + "@" + version + "?arch=" + cmp.Or(c.Arch, "all")
	case Wheel:
		return "pkg:pypi/" + strings.ToLower(c.Name) + "@" + version
	case GoModule:
		return "pkg:golang/" + c.Name + "@" + version
	default:
		return "pkg:generic/" + c.Name + "@" + version + "?checksum=sha256:" + c.SHA256
	}
}

var idRule = regexp.MustCompile(`[^A-Za-z0-9.-]+`)

// id is unique per component: SPDX allows letters, digits, dots and hyphens only, so the hash keeps what that loses.
func (c Component) id() common.ElementID {
	sum := sha256.Sum256([]byte(string(c.Kind) + " " + c.Name + " " + c.Version + " " + c.Arch))
	name := idRule.ReplaceAllString(c.Name, "-")
	return common.ElementID("Package-" + string(c.Kind) + "-" + name + "-" + hex.EncodeToString(sum[:4]))
}

func fileID(name string) common.ElementID {
	return common.ElementID("File-" + idRule.ReplaceAllString(name, "-"))
}

func relate(a common.ElementID, kind string, b common.ElementID) *v2_3.Relationship {
	return &v2_3.Relationship{
		RefA: common.DocElementID{ElementRefID: a}, RefB: common.DocElementID{ElementRefID: b}, Relationship: kind,
	}
}
