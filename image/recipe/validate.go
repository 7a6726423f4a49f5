package recipe

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"cocoon/image/rootfs"
	"cocoon/measure/bootfiles"
)

const (
	// maxPackages bounds the packages one group names; the largest of ours names a dozen.
	maxPackages = 1024
	// armorHeader starts an armored public key (RFC 9580, section 6.2).
	armorHeader = "-----BEGIN PGP PUBLIC KEY BLOCK-----"
)

// The forms of names. nameRule is also that of verity devices and virtio serials, which are cut at 20 bytes.
var (
	nameRule      = regexp.MustCompile(`^[a-z0-9-]{1,20}$`)
	suiteRule     = regexp.MustCompile(`^[a-z][a-z0-9-]{0,63}$`)
	packageRule   = regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]+$`)
	versionRule   = regexp.MustCompile(`^[0-9][A-Za-z0-9.+:~-]*$`)
	componentRule = regexp.MustCompile(`^[a-z][a-z-]{0,31}$`)
	goRule        = regexp.MustCompile(`^1\.[0-9]{1,3}(\.[0-9]{1,3})?$`)
	moduleRule    = regexp.MustCompile(`^[a-z0-9_-]{1,60}$`)
	wordRule      = regexp.MustCompile(`^[A-Za-z0-9_.,:=/-]{1,200}$`)
)

// ownWords are the keys of command-line words that bootfiles.Cmdline or the boot itself decides.
//
//nolint:gochecknoglobals // a constant table
var ownWords = []string{"console", "quiet", "panic", bootfiles.DebugWord, "init", "rdinit", "root", "initrd", "module_blacklist"}

// problems collects findings with their paths.
type problems struct{ errs []error }

func (p *problems) check(ok bool, format string, args ...any) {
	if !ok {
		p.errs = append(p.errs, fmt.Errorf(format, args...))
	}
}

func (p *problems) match(rule *regexp.Regexp, value, where string) {
	p.check(rule.MatchString(value), "%s: %q does not match %s", where, value, rule)
}

func (p *problems) patterns(where string, list []string) {
	for i, g := range list {
		_, err := rootfs.CompilePattern(g)
		p.check(err == nil && !strings.HasPrefix(g, "/"), "%s[%d]: pattern %q is not relative and well formed", where, i, g)
	}
}

// Validate returns every broken rule, each with its path in image.toml.
func (r *Recipe) Validate() error {
	p := &problems{}
	p.match(goRule, r.Go, "go")
	p.check(r.Epoch != 0, "%s: no SourceDateEpoch", mainDefinition)
	for _, s := range r.Suites {
		s.validate(p, "suites."+s.Name)
	}
	for _, g := range r.Groups {
		g.validate(p, r)
	}
	for _, l := range r.Layers {
		l.validate(p)
	}
	for _, i := range r.Images {
		i.validate(p, r)
	}
	p.check(len(r.Builds) > 0, "builds: none; name at least one set of images")
	for _, b := range r.Builds {
		p.match(nameRule, b.Name, "builds."+b.Name)
		p.check(len(b.Images) > 0, "builds.%s: no images", b.Name)
		for i, name := range b.Images {
			_, err := r.Image(name)
			p.check(err == nil, "builds.%s[%d]: %w", b.Name, i, err)
		}
	}
	r.validateParts(p)
	return errors.Join(p.errs...)
}

func (s Suite) validate(p *problems, where string) {
	p.match(suiteRule, s.Name, where)
	p.check(isBaseURL(s.Mirror), "%s.mirror: %q is not an http(s) URL without a slash at the end", where, s.Mirror)
	p.check(s.Snapshot == "" || isBaseURL(s.Snapshot), "%s.snapshot: %q is not an http(s) URL without a slash at the end", where, s.Snapshot)
	p.check(len(s.Components) > 0, "%s.components: none", where)
	for i, c := range s.Components {
		p.match(componentRule, c, fmt.Sprintf("%s.components[%d]", where, i))
	}
	p.check(bytes.Contains(s.Keyring, []byte(armorHeader)), "%s.keyring: no armored public key; nobody could sign for the suite", where)
}

func isBaseURL(text string) bool {
	u, err := url.Parse(text)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && u.RawQuery == "" &&
		u.Fragment == "" && u.User == nil && !strings.HasSuffix(text, "/")
}

// where is the group's table in image.toml.
func (r *Recipe) where(g Group) string {
	if _, err := r.Layer(g.Name); err == nil {
		return "layers." + g.Name
	}
	return "groups." + g.Name
}

func (g Group) validate(p *problems, r *Recipe) {
	where := r.where(g)
	p.match(nameRule, g.Name, where)
	p.check(len(g.Suites) > 0, "%s.suites: none", where)
	for i, s := range g.Suites {
		_, err := r.Suite(s)
		p.check(err == nil, "%s.suites[%d]: %w", where, i, err)
		p.check(!slices.Contains(g.Suites[:i], s), "%s.suites[%d]: %q appears twice", where, i, s)
	}
	p.check(len(g.Packages)+len(g.Pinned) > 0, "%s: names no package", where)
	p.check(len(g.Packages) <= maxPackages, "%s: %d packages, at most %d", where, len(g.Packages), maxPackages)
	seen := make(map[string]bool)
	for _, spec := range g.Packages {
		name, version, pinned := strings.Cut(spec, "=")
		p.match(packageRule, name, where+": package")
		if pinned {
			p.match(versionRule, version, where+": version of "+name)
		}
		p.check(!seen[name], "%s: package %s appears twice", where, name)
		seen[name] = true
	}
	g.validateDependencies(p, where, seen)
	for i, pin := range g.Pinned {
		pin.validate(p, fmt.Sprintf("%s.pinned[%d]", where, i), g.Suites)
		p.check(!seen[pin.Name], "%s.pinned[%d]: package %s appears twice", where, i, pin.Name)
	}
}

func (g Group) validateDependencies(p *problems, where string, named map[string]bool) {
	for _, want := range slices.Sorted(maps.Keys(g.Choices)) {
		p.match(packageRule, want, where+".choices")
		p.match(packageRule, g.Choices[want], where+".choices."+want)
	}
	for _, e := range g.Exclude {
		p.match(packageRule, e.Package, where+".exclude")
		p.check(e.Reason != "", "%s.exclude.%s: no reason", where, e.Package)
		p.check(!named[e.Package], "%s.exclude.%s: the definition names this package", where, e.Package)
	}
	p.check(!g.NoDepends || len(g.Choices)+len(g.Exclude) == 0, "%s: choices and exclude have no meaning with no_depends", where)
}

func (pin Pinned) validate(p *problems, where string, suites []string) {
	p.match(packageRule, pin.Name, where+".name")
	p.match(versionRule, pin.Version, where+".version")
	p.check(pin.Arch == debianArch || pin.Arch == "all", "%s.arch: %q is neither %s nor all", where, pin.Arch, debianArch)
	p.check(slices.Contains(suites, pin.Suite), "%s.suite: %q is not among the group's", where, pin.Suite)
	_, err := rootfs.CleanPath(pin.Path)
	p.check(err == nil && strings.HasPrefix(pin.Path, "pool/"), "%s.path: %q is not a path below pool/", where, pin.Path)
	p.check(isSHA256(pin.SHA256), "%s.sha256: %q is not 64 lower-case hex digits", where, pin.SHA256)
	p.check(pin.Size > 0, "%s.size: %d is not above 0", where, pin.Size)
}

func (l Layer) validate(p *problems) {
	where := "layers." + l.ID
	p.check(slices.Contains([]bootfiles.Role{bootfiles.RoleBase, bootfiles.RoleGPU, bootfiles.RoleEngine}, l.Role),
		"%s.role: %q is none of %s, %s, %s", where, l.Role, bootfiles.RoleBase, bootfiles.RoleGPU, bootfiles.RoleEngine)
	p.patterns(where+".drop", l.Drop)
	for _, f := range l.Files {
		p.match(packageRule, f.Package, where+".files")
		p.check(len(f.Globs) > 0, "%s.files.%s: no pattern; exclude the package instead", where, f.Package)
		p.patterns(where+".files."+f.Package, f.Globs)
	}
	if err := l.Rules.Validate(); err != nil {
		p.check(false, "%s: %w", where, err)
	}
}

func (i Image) validate(p *problems, r *Recipe) {
	where := "images." + i.Name
	p.match(nameRule, i.Name, where)
	p.check(i.Profile == "proxy" || i.Profile == "worker", "%s.profile: %q is neither proxy nor worker", where, i.Profile)
	roles := make(map[bootfiles.Role]bool)
	for n, id := range i.layers {
		l, err := r.Layer(id)
		p.check(err == nil, "%s.layers[%d]: %w", where, n, err)
		p.check(err != nil || !roles[l.Role], "%s.layers[%d]: a second layer of role %q; init finds layers by role", where, n, l.Role)
		p.check(n > 0 || err != nil || l.Role == bootfiles.RoleBase, "%s.layers[0]: %q has role %q, the first layer is the base", where, id, l.Role)
		roles[l.Role] = true
	}
	p.check(len(i.layers) > 0, "%s.layers: none", where)
	for _, v := range []bootfiles.Variant{bootfiles.Production, bootfiles.Debug, bootfiles.Test} {
		for _, m := range i.Modules(v) {
			p.match(moduleRule, m, where+".modules ("+string(v)+")")
		}
	}
	for n, word := range i.cmdline {
		key, _, _ := strings.Cut(word, "=")
		p.match(wordRule, word, fmt.Sprintf("%s.cmdline[%d]", where, n))
		p.check(!slices.Contains(ownWords, key), "%s.cmdline[%d]: %q is not for the recipe to decide", where, n, key)
	}
}

// validateParts checks what is not a list: kernel, stub, firmware, and that every group has a use.
func (r *Recipe) validateParts(p *problems) {
	used := make(map[string]bool)
	for _, part := range []struct{ where, group, name, path, sum string }{
		{"kernel", r.Kernel.Group, "linux-image-" + r.Kernel.Version, "", ""},
		{"stub", r.Stub.Group, r.Stub.Package, r.Stub.Path, r.Stub.SHA256},
		{"firmware", r.Firmware.Group, r.Firmware.TDXPackage, r.Firmware.TDXPath, r.Firmware.SHA256},
		{"firmware", r.Firmware.Group, r.Firmware.VarsPackage, r.Firmware.VarsPath, r.Firmware.SHA256},
	} {
		used[part.group] = true
		g, err := r.Group(part.group)
		p.check(err == nil, "%s.group: %w", part.where, err)
		if part.where == "kernel" {
			// From 6.19 on the kernel is in linux-binary-X (image.md section 3); package kernel finds its files.
			split := g.has("linux-binary-" + r.Kernel.Version)
			p.check(err != nil || split || g.has(part.name), "kernel: group %s does not name the package %q", part.group, part.name)
			continue
		}
		p.check(err != nil || g.has(part.name), "%s: group %s does not name the package %q", part.where, part.group, part.name)
		clean, err := rootfs.CleanPath(part.path)
		p.check(err == nil && clean == part.path, "%s: %q is not a clean relative path", part.where, part.path)
		p.check(isSHA256(part.sum), "%s.sha256: %q is not 64 lower-case hex digits", part.where, part.sum)
	}
	for _, g := range r.Groups {
		_, err := r.Layer(g.Name)
		p.check(err == nil || used[g.Name] || g.Optional, "groups.%s: nothing uses it; mark it optional if it is for checks", g.Name)
	}
}

// has reports whether the group names a package, at any version.
func (g Group) has(name string) bool {
	inPackages := slices.ContainsFunc(g.Packages, func(spec string) bool { return spec == name || strings.HasPrefix(spec, name+"=") })
	return inPackages || slices.ContainsFunc(g.Pinned, func(pin Pinned) bool { return pin.Name == name })
}

// CheckPackages compares a layer's file rules with the packages that the lock resolved for it: a rule for a package
// that is not there would silently do nothing.
func (l Layer) CheckPackages(resolved []string) error {
	var errs []error
	for _, f := range l.Files {
		if !slices.Contains(resolved, f.Package) {
			errs = append(errs, fmt.Errorf("layers.%s.files.%s: the layer has no such package", l.ID, f.Package))
		}
	}
	return errors.Join(errs...)
}

func isSHA256(text string) bool {
	raw, err := hex.DecodeString(text)
	return err == nil && len(raw) == 32 && strings.ToLower(text) == text
}
