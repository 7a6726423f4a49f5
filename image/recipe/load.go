package recipe

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"

	"cocoon/image/rootfs"
	"cocoon/measure/bootfiles"
)

const (
	mainDefinition = "mkosi.conf"
	profileDir     = "mkosi.profiles"
	extraDir       = "mkosi.extra"
	// debianArch is the name that mkosi's x86-64 has in Debian's archives.
	debianArch = "amd64"
)

// Load reads the room mkosi/ from a folder.
func Load(dir string) (*Recipe, error) {
	if _, err := os.Stat(dir); err != nil {
		return nil, fmt.Errorf("loading recipe: %w", err)
	}
	r, err := LoadFS(os.DirFS(dir))
	if err != nil {
		return nil, fmt.Errorf("loading recipe from %s: %w", dir, err)
	}
	return r, nil
}

// LoadFS reads the room from any file system.
func LoadFS(fsys fs.FS) (*Recipe, error) {
	files, err := readRoom(fsys)
	if err != nil {
		return nil, err
	}
	text, ok := files[documentName]
	if !ok {
		return nil, fmt.Errorf("no %s", documentName)
	}
	doc, err := parseDocument(text.data)
	if err != nil {
		return nil, err
	}
	b := builder{files: files, doc: doc, recipe: &Recipe{
		SHA256: hashRoom(files), Arch: debianArch, Go: doc.Go,
		Kernel: doc.Kernel, Stub: doc.Stub, Firmware: doc.Firmware, extra: files,
	}}
	b.build()
	if err := errors.Join(append(b.errs, b.recipe.Validate())...); err != nil {
		return nil, err
	}
	return b.recipe, nil
}

// builder turns the document and the definitions it names into a Recipe, collecting every problem on the way.
type builder struct {
	files  map[string]extraFile
	doc    document
	recipe *Recipe
	used   map[string]bool // profiles that a group names
	errs   []error
}

// errorf records a problem once: mkosi.conf is read for every group.
func (b *builder) errorf(format string, args ...any) {
	err := fmt.Errorf(format, args...)
	if !slices.ContainsFunc(b.errs, func(old error) bool { return old.Error() == err.Error() }) {
		b.errs = append(b.errs, err)
	}
}

func (b *builder) build() {
	b.used = make(map[string]bool)
	for _, name := range slices.Sorted(maps.Keys(b.doc.Suites)) {
		b.recipe.Suites = append(b.recipe.Suites, b.suite(name, b.doc.Suites[name]))
	}
	for _, id := range slices.Sorted(maps.Keys(b.doc.Layers)) {
		layer := b.layer(id, b.doc.Layers[id])
		b.recipe.Layers = append(b.recipe.Layers, layer)
		b.recipe.Groups = append(b.recipe.Groups, layer.Group)
	}
	for _, name := range slices.Sorted(maps.Keys(b.doc.Groups)) {
		if _, ok := b.doc.Layers[name]; ok {
			b.errorf("groups.%s: a layer has this name", name)
			continue
		}
		b.recipe.Groups = append(b.recipe.Groups, b.group(name, b.doc.Groups[name]))
	}
	slices.SortFunc(b.recipe.Groups, func(a, b Group) int { return strings.Compare(a.Name, b.Name) })
	changes := b.variants()
	for _, name := range slices.Sorted(maps.Keys(b.doc.Images)) {
		b.recipe.Images = append(b.recipe.Images, b.image(name, b.doc.Images[name], changes))
	}
	for _, name := range slices.Sorted(maps.Keys(b.doc.Builds)) {
		b.recipe.Builds = append(b.recipe.Builds, Build{name, slices.Sorted(slices.Values(b.doc.Builds[name]))})
	}
	b.checkProfilesUsed()
}

func (b *builder) suite(name string, t suiteTable) Suite {
	s := Suite{Name: name, Mirror: t.Mirror, Snapshot: t.Snapshot, Components: t.Components, AcceptExpired: t.AcceptExpired}
	var keys bytes.Buffer
	for i, file := range t.Keyring {
		f, ok := b.files[file]
		if !ok {
			b.errorf("suites.%s.keyring[%d]: no file %q", name, i, file)
			continue
		}
		keys.Write(f.data)
		if !bytes.HasSuffix(f.data, []byte("\n")) {
			keys.WriteByte('\n')
		}
	}
	s.Keyring = keys.Bytes()
	return s
}

// define reads mkosi.conf and one profile on top of it, as `mkosi --profile NAME` does.
func (b *builder) define(where, profile string) definition {
	var d definition
	files := []string{mainDefinition}
	if profile != "" {
		files = append(files, path.Join(profileDir, profile, mainDefinition))
		b.used[profile] = true
	}
	for _, name := range files {
		f, ok := b.files[name]
		if !ok {
			b.errorf("%s.profile: no file %s", where, name)
			continue
		}
		settings, err := parseINI(name, f.data)
		if err == nil {
			err = d.apply(name, settings)
		}
		if err != nil {
			b.errorf("%w", err)
		}
		// mkosi copies a folder of this name beside a definition without being told.
		if implied := path.Join(path.Dir(name), extraDir); b.hasDir(implied) && !slices.Contains(d.extraTrees, implied) {
			d.extraTrees = append(d.extraTrees, implied)
		}
	}
	for i, dir := range d.extraTrees {
		if !b.hasDir(dir) {
			b.errorf("%s: ExtraTrees[%d]: no files below %s", where, i, dir)
		}
	}
	if b.recipe.Epoch == 0 {
		b.recipe.Epoch = d.epoch
	}
	if d.epoch != b.recipe.Epoch {
		b.errorf("%s.profile: SourceDateEpoch %d, elsewhere %d: every artefact has one epoch", where, d.epoch, b.recipe.Epoch)
	}
	return d
}

func (b *builder) hasDir(dir string) bool {
	for name := range b.files {
		if strings.HasPrefix(name, dir+"/") {
			return true
		}
	}
	return false
}

func (b *builder) packages(where, name string, t packageTable, d definition) Group {
	g := Group{Name: name, Profile: t.Profile, Suites: t.Suites, Choices: t.Choices, Packages: slices.Sorted(slices.Values(d.packages))}
	for _, p := range slices.Sorted(maps.Keys(t.Exclude)) {
		g.Exclude = append(g.Exclude, Exclusion{p, t.Exclude[p]})
	}
	for i, s := range t.Suites {
		// A definition has one release; the suites of its group are that release and what is built on it.
		if s != d.release && !strings.HasPrefix(s, d.release+"-") {
			b.errorf("%s.suites[%d]: %q is not of release %q, which the definition names", where, i, s, d.release)
		}
	}
	return g
}

func (b *builder) group(name string, t groupTable) Group {
	where := "groups." + name
	g := b.packages(where, name, t.packageTable, b.define(where, t.Profile))
	g.NoDepends, g.Optional, g.Pinned = t.NoDepends, t.Optional, t.Pinned
	return g
}

func (b *builder) layer(id string, t layerTable) Layer {
	where := "layers." + id
	t = b.extend(where, t)
	d := b.define(where, t.Profile)
	l := Layer{ID: id, Role: t.Role, Group: b.packages(where, id, t.packageTable, d), Drop: t.Drop, ExtraTrees: d.extraTrees}
	for _, p := range slices.Sorted(maps.Keys(t.Files)) {
		l.Files = append(l.Files, PackageFiles{p, t.Files[p]})
	}
	l.Rules = rootfs.Rules{Dirs: t.Dirs, Remove: t.Remove, RemoveIfPresent: d.removeFiles}
	for _, p := range slices.Sorted(maps.Keys(t.Links)) {
		l.Rules.Links = append(l.Rules.Links, rootfs.Link{Path: p, Target: t.Links[p]})
	}
	for _, g := range t.Generate {
		l.Rules.Generate = append(l.Rules.Generate, rootfs.Generated{Path: g.Path, Kind: rootfs.GeneratedKind(g.Kind), Text: g.Text, From: g.From})
	}
	for _, o := range t.Owners {
		l.Rules.Owners = append(l.Rules.Owners, rootfs.Owner(o))
	}
	for _, u := range b.doc.Accounts.Users {
		l.Rules.Users = append(l.Rules.Users, rootfs.User(u))
	}
	for _, g := range b.doc.Accounts.Groups {
		l.Rules.Groups = append(l.Rules.Groups, rootfs.Group(g))
	}
	return l
}

// extend puts a layer's table on top of the one it names. One level only: the reader should see what a layer holds.
func (b *builder) extend(where string, t layerTable) layerTable {
	if t.Extends == "" {
		return t
	}
	from, ok := b.doc.Layers[t.Extends]
	if !ok || from.Extends != "" {
		b.errorf("%s.extends: %q is not a layer that stands for itself", where, t.Extends)
		return t
	}
	out := from
	out.Profile = cmp.Or(t.Profile, from.Profile)
	out.Role = cmp.Or(t.Role, from.Role)
	if len(t.Suites) > 0 {
		out.Suites = t.Suites
	}
	out.Choices = union(from.Choices, t.Choices)
	out.Exclude = union(from.Exclude, t.Exclude)
	out.Files = union(from.Files, t.Files)
	out.Links = union(from.Links, t.Links)
	out.Drop = slices.Concat(from.Drop, t.Drop)
	out.Remove = slices.Concat(from.Remove, t.Remove)
	out.Dirs = slices.Concat(from.Dirs, t.Dirs)
	out.Generate = slices.Concat(from.Generate, t.Generate)
	out.Owners = slices.Concat(from.Owners, t.Owners)
	return out
}

// union is both tables; the second wins.
func union[V any](a, b map[string]V) map[string]V {
	out := maps.Clone(a)
	if out == nil {
		out = make(map[string]V)
	}
	maps.Copy(out, b)
	return out
}

// variants resolves what each variant changes.
func (b *builder) variants() map[bootfiles.Variant]variantChange {
	out := make(map[bootfiles.Variant]variantChange)
	for _, name := range slices.Sorted(maps.Keys(b.doc.Variants)) {
		where := "variants." + name
		v, err := ParseVariant(name)
		if err != nil {
			b.errorf("%s: %w", where, err)
			continue
		}
		t := b.doc.Variants[name]
		for _, from := range slices.Sorted(maps.Keys(t.Replace)) {
			old, ok1 := b.doc.Layers[from]
			other, ok2 := b.doc.Layers[t.Replace[from]]
			if !ok1 || !ok2 || b.extend(where, old).Role != b.extend(where, other).Role {
				b.errorf("%s.replace.%s: %q and %q are not two layers of one role", where, from, from, t.Replace[from])
			}
		}
		out[v] = variantChange{replace: t.Replace, modules: b.modules(where, t.Modules)}
	}
	return out
}

// modules flattens names of module sets.
func (b *builder) modules(where string, sets []string) []string {
	var out []string
	for i, set := range sets {
		list, ok := b.doc.Modules[set]
		if !ok {
			b.errorf("%s.modules[%d]: no module set %q; there are: %s", where, i, set, names(b.doc.Modules))
		}
		out = append(out, list...)
	}
	return out
}

func (b *builder) image(name string, t imageTable, changes map[bootfiles.Variant]variantChange) Image {
	return Image{
		Name: name, Profile: t.Profile, layers: t.Layers, cmdline: t.Cmdline,
		modules: b.modules("images."+name, t.Modules), variant: changes,
	}
}

// checkProfilesUsed refuses a definition that nothing reads: its packages would look like part of the image.
func (b *builder) checkProfilesUsed() {
	for _, name := range slices.Sorted(maps.Keys(b.files)) {
		rest, ok := strings.CutPrefix(name, profileDir+"/")
		if !ok {
			continue
		}
		if profile, _, _ := strings.Cut(rest, "/"); !b.used[profile] {
			b.errorf("%s: no layer and no group names the profile %q", name, profile)
		}
	}
}
