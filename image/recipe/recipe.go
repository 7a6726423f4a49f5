// Package recipe reads what an image is made of: the mkosi definitions of the room mkosi/ and, for what mkosi cannot
// express, image.toml (image.md section 10).
//
// It owns both formats as far as this project uses them: the sections and keys of mkosi's INI that have a meaning
// here, and the schema of image.toml. Package names come only from mkosi's definitions. Both files are written by
// people and reviewed, so they are trusted in content but not in form: input is bounded, unknown sections and keys
// are errors with file and line, and Validate reports every broken rule with its path. A Recipe is read-only after
// Load and safe for concurrent use. It refuses to guess: no include, no host-dependent match section, no default
// package. It reads files only; versions and hashes are the lock's business.
package recipe

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"cocoon/image/rootfs"
	"cocoon/measure/bootfiles"
)

// Recipe is the whole of mkosi/.
type Recipe struct {
	// SHA256 covers name, x bit and content of every definition file, in lower-case hex; the lock repeats it.
	SHA256 string
	// Arch is Debian's name of the architecture: amd64.
	Arch string
	// Epoch is the time stamp of every file of every artefact, in seconds (SourceDateEpoch of mkosi.conf).
	Epoch int64
	// Go is the toolchain that compiles the guest binary, without "go": 1.26.8.
	Go string
	// Suites, Groups, Layers, Images and Builds are sorted by name.
	Suites []Suite
	// Groups are all sets of packages to resolve: one per layer, of the layer's id, and those that become no layer.
	Groups []Group
	Layers []Layer
	Images []Image
	// Builds name the sets of images that are built together: VARIANT=cpu, VARIANT=gpu.
	Builds   []Build
	Kernel   Kernel
	Stub     Stub
	Firmware Firmware
	// extra holds the files of extra trees as they were hashed, by path relative to mkosi/.
	extra map[string]extraFile
}

// Suite is one archive to resolve packages from.
type Suite struct {
	Name       string // codename as in dists/: trixie-backports
	Mirror     string // base URL without a slash at the end: http://deb.debian.org/debian
	Snapshot   string // base URL of a snapshot service; empty has none
	Components []string
	// Keyring is the armored public keys that may sign the suite's InRelease, concatenated.
	Keyring []byte
	// AcceptExpired is the Valid-Until of an expired InRelease that may be used all the same; zero accepts none. It
	// names one date, so that a frozen suite does not become a suite without expiry.
	AcceptExpired time.Time
}

// Group is one set of packages that is resolved together.
type Group struct {
	Name string
	// Profile is the mkosi profile whose definition names the packages, on top of mkosi.conf; empty is mkosi.conf alone.
	Profile string
	// Suites are names in order of preference.
	Suites []string
	// Packages are names, or name=version for an exact pin, sorted.
	Packages []string
	// Choices picks a provider for a virtual package or an alternative: name wanted -> package taken.
	Choices map[string]string
	// Exclude are dependencies that are left out, each with the reason.
	Exclude []Exclusion
	// NoDepends takes the named packages alone.
	NoDepends bool
	// Optional groups are tools for checks on the host; a build of images does without them.
	Optional bool
	// Pinned are packages by place and hash, for versions that the index no longer lists.
	Pinned []Pinned
}

// Exclusion is a dependency that a group does without.
type Exclusion struct {
	Package string
	Reason  string
}

// Pinned is one package by pool path.
type Pinned struct {
	Name    string `toml:"name"`
	Version string `toml:"version"`
	Arch    string `toml:"arch"`
	Suite   string `toml:"suite"` // whose mirror has it
	Path    string `toml:"path"`  // pool path below the mirror
	SHA256  string `toml:"sha256"`
	Size    int64  `toml:"size"`
}

// Layer is one read-only file system of an image.
type Layer struct {
	ID    string
	Role  bootfiles.Role
	Group Group
	// Files are the packages of which only some paths are taken, sorted by package.
	Files []PackageFiles
	// Drop are patterns left out of every package, beside man, info, doc and locale.
	Drop []string
	// ExtraTrees are folders of mkosi/ copied into the layer after its packages.
	ExtraTrees []string
	// Rules are links, users, generated files, removals and modes.
	Rules rootfs.Rules
}

// PackageFiles names the paths of one package that a layer takes: patterns without a leading slash.
type PackageFiles struct {
	Package string
	Globs   []string
}

// Image is one bootable image.
type Image struct {
	Name    string
	Profile string // proxy or worker
	// layers, modules and cmdline depend on the variant; see the methods.
	layers  []string
	modules []string
	cmdline []string
	variant map[bootfiles.Variant]variantChange
}

// variantChange is what a variant does to every image.
type variantChange struct {
	replace map[string]string // layer id -> layer id
	modules []string
}

// Build is a set of images with one name on the command line.
type Build struct {
	Name   string
	Images []string
}

// Kernel says which group holds the guest's kernel and which release it is.
type Kernel struct {
	Group   string `toml:"group"`
	Version string `toml:"version"` // uname -r
}

// Stub is the EFI stub of the UKI: one file of one package.
type Stub struct {
	Group   string `toml:"group"`
	Package string `toml:"package"`
	Path    string `toml:"path"`
	SHA256  string `toml:"sha256"`
}

// Firmware is the pair of packages whose files are spliced into the guest's firmware.
type Firmware struct {
	Group       string `toml:"group"`
	TDXPackage  string `toml:"tdx_package"`
	TDXPath     string `toml:"tdx_path"`
	VarsPackage string `toml:"vars_package"`
	VarsPath    string `toml:"vars_path"`
	SHA256      string `toml:"sha256"` // of the spliced image
}

// LayerIDs are the image's layers in mount order.
func (i Image) LayerIDs(v bootfiles.Variant) []string {
	out := slices.Clone(i.layers)
	for n, id := range out {
		if other, ok := i.variant[v].replace[id]; ok {
			out[n] = other
		}
	}
	return out
}

// Modules are the kernel modules that the image wants, before their dependencies.
func (i Image) Modules(v bootfiles.Variant) []string {
	return append(slices.Clone(i.modules), i.variant[v].modules...)
}

// Cmdline is the exact kernel command line.
func (i Image) Cmdline(v bootfiles.Variant) string { return bootfiles.Cmdline(v, i.cmdline...) }

// Image finds an image by name; the error lists the names there are.
func (r *Recipe) Image(name string) (Image, error) {
	return find(r.Images, name, "image", func(i Image) string { return i.Name })
}

// Layer finds a layer by id.
func (r *Recipe) Layer(id string) (Layer, error) {
	return find(r.Layers, id, "layer", func(l Layer) string { return l.ID })
}

// Group finds a set of packages by name.
func (r *Recipe) Group(name string) (Group, error) {
	return find(r.Groups, name, "package group", func(g Group) string { return g.Name })
}

// Suite finds a suite by name.
func (r *Recipe) Suite(name string) (Suite, error) {
	return find(r.Suites, name, "suite", func(s Suite) string { return s.Name })
}

// Select returns the images to build: those named, or all of a build set (VARIANT) when no name is given, in name
// order.
func (r *Recipe) Select(build string, names []string) ([]Image, error) {
	if len(names) == 0 {
		set, err := find(r.Builds, build, "variant", func(b Build) string { return b.Name })
		if err != nil {
			return nil, err
		}
		names = set.Images
	}
	var out []Image
	for _, name := range slices.Compact(slices.Sorted(slices.Values(names))) {
		img, err := r.Image(name)
		if err != nil {
			return nil, err
		}
		out = append(out, img)
	}
	return out, nil
}

// ParseVariant reads a profile's name: production, debug or test.
func ParseVariant(name string) (bootfiles.Variant, error) {
	all := []bootfiles.Variant{bootfiles.Production, bootfiles.Debug, bootfiles.Test}
	return find(all, name, "profile", func(v bootfiles.Variant) string { return string(v) })
}

func find[T any](list []T, name, what string, key func(T) string) (T, error) {
	var names []string
	for _, v := range list {
		if key(v) == name {
			return v, nil
		}
		names = append(names, key(v))
	}
	var none T
	return none, fmt.Errorf("no %s %q; there are: %s", what, name, strings.Join(names, ", "))
}

// Globs are the patterns of the paths that the layer takes of one package; none means all of it.
func (l Layer) Globs(pkg string) []string {
	for _, f := range l.Files {
		if f.Package == pkg {
			return f.Globs
		}
	}
	return nil
}
