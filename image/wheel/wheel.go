// Package wheel puts Python wheels into a layer without pip, a resolver or a network: it reads the lock of wheels, opens
// each as the zip file that it is, and places its files as the wheel specification says (image.md section 12).
//
// It owns four things: the list of wheels (mkosi/wheels.lock) and how a resolver's report becomes one; where a package
// index has the files; the unpacker; and the bytecode, compiled once by the layer's own interpreter. It trusts the hash
// that the list gives for a wheel and nothing inside: names, sizes, modes and texts of a zip are outside bytes with
// bounds. Unpacked data is kept in the caller's cache folder, one file per wheel with a hash over it, never in memory.
//
// Unpack and Compile run their own bounded workers; everything may be called concurrently. It refuses source
// distributions, links, encrypted or doubly named entries, files that a wheel's RECORD does not list, and two wheels with
// different files at one path.
package wheel

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
)

// ErrFormat marks bytes that are not a wheel that we accept.
var ErrFormat = errors.New("not an acceptable wheel")

// Name is what a wheel's file name says (PEP 427): NAME-VERSION[-BUILD]-PYTHON-ABI-PLATFORM.whl.
type Name struct {
	Project  string // as written in the file name
	Version  string
	Build    string
	Python   []string // compressed tag sets, split at the dots
	ABI      []string
	Platform []string
}

// maxFileName bounds a wheel's file name; Linux has no longer ones.
const maxFileName = 255

var (
	fileNameRule = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._+!-]*\.whl$`)
	projectRule  = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._]*[A-Za-z0-9])?$`)
	separators   = regexp.MustCompile(`[-_.]+`)
)

// ParseName splits a wheel's file name.
func ParseName(file string) (Name, error) {
	if len(file) > maxFileName || !fileNameRule.MatchString(file) {
		return Name{}, fmt.Errorf("reading wheel name %.80q: want letters, digits and ._+!- with the ending .whl", file)
	}
	parts := strings.Split(strings.TrimSuffix(file, ".whl"), "-")
	if len(parts) != 5 && len(parts) != 6 {
		return Name{}, fmt.Errorf("reading wheel name %q: %d parts, want 5 or 6 between dashes", file, len(parts))
	}
	n := Name{Project: parts[0], Version: parts[1]}
	if len(parts) == 6 {
		n.Build = parts[2]
	}
	tags := parts[len(parts)-3:]
	n.Python, n.ABI, n.Platform = strings.Split(tags[0], "."), strings.Split(tags[1], "."), strings.Split(tags[2], ".")
	if !projectRule.MatchString(n.Project) || n.Version == "" {
		return Name{}, fmt.Errorf("reading wheel name %q: project %q, version %q", file, n.Project, n.Version)
	}
	return n, nil
}

// Normalise is a project's name in the one form that indexes and comparisons use (PEP 503).
func Normalise(project string) string {
	return strings.ToLower(separators.ReplaceAllString(project, "-"))
}

// Interpreter is the Python that a layer has.
type Interpreter struct {
	// Minor is the x of 3.x.
	Minor int
	// GlibcMinor is the x of the layer's glibc 2.x, for manylinux tags.
	GlibcMinor int
}

// Accepts tells whether a wheel's tags fit the interpreter on x86-64 Linux.
func (n Name) Accepts(py Interpreter) error {
	minor := fmt.Sprint(py.Minor)
	pythonOK := slices.ContainsFunc(n.Python, func(tag string) bool {
		switch {
		case tag == "py3" || tag == "py3"+minor || tag == "cp3"+minor:
			return true
		case strings.HasPrefix(tag, "cp3") && slices.Contains(n.ABI, "abi3"):
			return atMost(strings.TrimPrefix(tag, "cp3"), py.Minor)
		}
		return strings.HasPrefix(tag, "py3") && atMost(strings.TrimPrefix(tag, "py3"), py.Minor)
	})
	abiOK := slices.ContainsFunc(n.ABI, func(tag string) bool {
		return tag == "none" || tag == "abi3" || tag == "cp3"+minor
	})
	platformOK := slices.ContainsFunc(n.Platform, func(tag string) bool { return platformFits(tag, py.GlibcMinor) })
	if !pythonOK || !abiOK || !platformOK {
		return fmt.Errorf("the tags %s-%s-%s do not fit Python 3.%d with glibc 2.%d on x86-64",
			strings.Join(n.Python, "."), strings.Join(n.ABI, "."), strings.Join(n.Platform, "."), py.Minor, py.GlibcMinor)
	}
	return nil
}

// platformFits knows PEP 600's manylinux_2_X and its three older names.
func platformFits(tag string, glibcMinor int) bool {
	switch tag {
	case "any", "linux_x86_64", "manylinux1_x86_64", "manylinux2010_x86_64", "manylinux2014_x86_64":
		return true
	}
	rest, ok := strings.CutPrefix(tag, "manylinux_2_")
	if !ok {
		return false
	}
	minor, ok := strings.CutSuffix(rest, "_x86_64")
	return ok && atMost(minor, glibcMinor)
}

// atMost reads a small decimal number and compares it.
func atMost(digits string, limit int) bool {
	if digits == "" || len(digits) > 3 {
		return false
	}
	n := 0
	for _, c := range []byte(digits) {
		if c < '0' || c > '9' {
			return false
		}
		n = n*10 + int(c-'0')
	}
	return n <= limit
}

// isMetadata tells whether a path of a wheel lies in its .dist-info folder, and names the file there.
func isMetadata(p, distInfo string) (string, bool) {
	return strings.CutPrefix(p, distInfo+"/")
}

// UnpackVersion changes when the same wheels give another tree; cache keys hold it.
const UnpackVersion = "2"

// dropped are the files of .dist-info that an installer adds (image.md section 12), and archived signatures of RECORD,
// which nothing can check any more. The wheel's own RECORD stays: it is part of the locked bytes, unlike the one that an
// installer writes, and packages look for their shared libraries in it (importlib.metadata's files).
var dropped = []string{"RECORD.jws", "RECORD.p7s", "INSTALLER", "REQUESTED", "direct_url.json"} //nolint:gochecknoglobals // constant table

// isDropped tells which files of a wheel do not come into a layer.
func isDropped(p, distInfo string) bool {
	if name, ok := isMetadata(p, distInfo); ok && slices.Contains(dropped, name) {
		return true
	}
	return path.Base(path.Dir(p)) == "__pycache__" || path.Ext(p) == ".pyc"
}
