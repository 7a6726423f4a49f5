package recipe_test

import (
	"io/fs"
	"maps"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"cocoon/image/recipe"
	"cocoon/image/rootfs"
	"cocoon/measure/bootfiles"
)

const mainConf = `[Distribution]
Distribution=debian
Release=trixie
[Content]
SourceDateEpoch=1735689600
Packages=
    libc6   # comment
    base-files
RemoveFiles=/var/cache/x
`

const engineConf = `[Distribution]
Release=forky
[Content]
Packages=
Packages=engine, tool
`

const bootConf = `[Content]
Packages=
Packages=
    linux-image-6.18.15+x=6.18.15-1
    stub
    fw-tdx
    fw-vars
`

var sum = strings.Repeat("ab", 32)

var document = `version = 1
go = "1.26.8"
[suites.trixie]
mirror = "http://example.org/debian"
components = ["main"]
keyring = ["keyring/a.asc"]
[suites.forky]
mirror = "http://example.org/debian"
components = ["main"]
keyring = ["keyring/a.asc"]
accept_expired = 2026-11-06T08:08:01Z
[accounts]
users = [{ name = "root", uid = 0, gid = 0, home = "/" }]
groups = [{ name = "root", gid = 0 }]
[layers.base]
role = "base"
suites = ["trixie"]
dirs = ["proc"]
drop = ["usr/share/bug/**"]
remove = ["usr/x"]
generate = [{ path = "etc/passwd", kind = "passwd" }]
owners = [{ path = "var/x", mode = 0o750, uid = 1, gid = 2 }]
[layers.base.choices]
awk = "mawk"
[layers.base.exclude]
debconf = "no questions"
[layers.base.files]
base-files = ["etc/*"]
[layers.base.links]
"etc/os-release" = "../usr/lib/os-release"
[layers.base-debug]
extends = "base"
dirs = ["opt"]
[layers.base-debug.files]
libc6 = ["usr/lib/**"]
[layers.engine]
role = "engine"
profile = "worker"
suites = ["forky"]
[groups.boot]
profile = "boot"
suites = ["trixie"]
no_depends = true
[groups.tools]
suites = ["trixie"]
optional = true
pinned = [{ name = "old", version = "1:2-3", arch = "amd64", suite = "trixie", path = "pool/main/o/old.deb", sha256 = "` + sum + `", size = 5 }]
[kernel]
group = "boot"
version = "6.18.15+x"
[stub]
group = "boot"
package = "stub"
path = "usr/lib/stub"
sha256 = "` + sum + `"
[firmware]
group = "boot"
tdx_package = "fw-tdx"
tdx_path = "usr/share/a.fd"
vars_package = "fw-vars"
vars_path = "usr/share/b.fd"
sha256 = "` + sum + `"
[modules]
base = ["virtio_blk", "dm_verity"]
debug = ["qemu_fw_cfg"]
[images.proxy]
profile = "proxy"
layers = ["base"]
modules = ["base"]
[images.worker]
profile = "worker"
layers = ["base", "engine"]
modules = ["base"]
cmdline = ["swiotlb=1048576"]
[variants.debug]
modules = ["debug"]
replace = { base = "base-debug" }
[builds]
cpu = ["worker", "proxy"]
`

// room is a small legal mkosi/.
func room() fstest.MapFS {
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text), Mode: 0o644} }
	return fstest.MapFS{
		"mkosi.conf":                       file(mainConf),
		"mkosi.profiles/worker/mkosi.conf": file(engineConf),
		"mkosi.profiles/boot/mkosi.conf":   file(bootConf),
		"mkosi.extra/etc/hosts":            file("127.0.0.1 localhost\n"),
		"mkosi.extra/usr/bin/tool":         {Data: []byte("#!"), Mode: 0o775},
		"keyring/a.asc":                    file("-----BEGIN PGP PUBLIC KEY BLOCK-----\n"),
		"image.toml":                       file(document),
		"README.md":                        file("words\n"),
		"image.lock":                       file("lock\n"),
		"mkosi.cache/x":                    file("left by mkosi\n"),
	}
}

func load(t *testing.T, fsys fs.FS) *recipe.Recipe {
	t.Helper()
	r, err := recipe.LoadFS(fsys)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestCommittedRecipe loads what the repository ships and holds the properties that other parts rely on.
func TestCommittedRecipe(t *testing.T) {
	r, err := recipe.Load("../../mkosi")
	if err != nil {
		t.Fatal(err)
	}
	if r.Epoch != 1735689600 || r.Go != "1.26.8" || r.Arch != "amd64" {
		t.Errorf("epoch %d, Go %s, architecture %s", r.Epoch, r.Go, r.Arch)
	}
	images, err := r.Select("cpu", nil)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, i := range images {
		names = append(names, i.Name)
	}
	if diff := cmp.Diff([]string{"proxy", "worker-cpu"}, names); diff != "" {
		t.Errorf("light images (-want +got):\n%s", diff)
	}
	worker := images[1]
	for v, want := range map[bootfiles.Variant][]string{
		bootfiles.Production: {"base", "engine-cpu"},
		bootfiles.Test:       {"base", "engine-cpu"},
		bootfiles.Debug:      {"base-debug", "engine-cpu"},
	} {
		if diff := cmp.Diff(want, worker.LayerIDs(v)); diff != "" {
			t.Errorf("%s layers (-want +got):\n%s", v, diff)
		}
	}
	if got, want := worker.Cmdline(bootfiles.Production), "console=hvc0 quiet panic=-1"; got != want {
		t.Errorf("command line %q, want %q", got, want)
	}
	for _, m := range worker.Modules(bootfiles.Production) {
		if m == "qemu_fw_cfg" {
			t.Error("a production image wants qemu_fw_cfg: configuration would come from the host's fw_cfg")
		}
	}
}

func TestLoadMergesDefinitions(t *testing.T) {
	r := load(t, room())
	base, err := r.Layer("base")
	if err != nil {
		t.Fatal(err)
	}
	want := recipe.Layer{
		ID: "base", Role: bootfiles.RoleBase,
		Group: recipe.Group{
			Name: "base", Suites: []string{"trixie"}, Packages: []string{"base-files", "libc6"},
			Choices: map[string]string{"awk": "mawk"}, Exclude: []recipe.Exclusion{{Package: "debconf", Reason: "no questions"}},
		},
		Files: []recipe.PackageFiles{{Package: "base-files", Globs: []string{"etc/*"}}}, Drop: []string{"usr/share/bug/**"},
		ExtraTrees: []string{"mkosi.extra"},
		Rules: rootfs.Rules{
			Links: []rootfs.Link{{Path: "etc/os-release", Target: "../usr/lib/os-release"}}, Dirs: []string{"proc"},
			Generate: []rootfs.Generated{{Path: "etc/passwd", Kind: rootfs.Passwd}},
			Users:    []rootfs.User{{Name: "root", Home: "/"}}, Groups: []rootfs.Group{{Name: "root"}},
			Remove: []string{"usr/x"}, RemoveIfPresent: []string{"/var/cache/x"},
			Owners: []rootfs.Owner{{Path: "var/x", Mode: 0o750, UID: 1, GID: 2}},
		},
	}
	if diff := cmp.Diff(want, base); diff != "" {
		t.Errorf("base (-want +got):\n%s", diff)
	}
	debug, err := r.Layer("base-debug")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"proc", "opt"}, debug.Rules.Dirs); diff != "" {
		t.Errorf("extended layer's directories (-want +got):\n%s", diff)
	}
	if debug.Globs("base-files") == nil || debug.Globs("libc6") == nil || debug.Globs("other") != nil || base.Globs("libc6") != nil {
		t.Error("file rules of the extended layer are not those of both tables")
	}
	engine, err := r.Group("engine")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"engine", "tool"}, engine.Packages); diff != "" {
		t.Errorf("an empty Packages= must clear what came before (-want +got):\n%s", diff)
	}
	forky, err := r.Suite("forky")
	if err != nil {
		t.Fatal(err)
	}
	if !forky.AcceptExpired.Equal(time.Date(2026, 11, 6, 8, 8, 1, 0, time.UTC)) || len(forky.Keyring) == 0 {
		t.Errorf("forky: %+v", forky)
	}
}

func TestImagesDependOnTheVariant(t *testing.T) {
	img, err := load(t, room()).Image("worker")
	if err != nil {
		t.Fatal(err)
	}
	for v, want := range map[bootfiles.Variant]struct {
		layers, modules []string
		cmdline         string
	}{
		bootfiles.Production: {[]string{"base", "engine"}, []string{"virtio_blk", "dm_verity"}, "console=hvc0 quiet panic=-1 swiotlb=1048576"},
		bootfiles.Debug: {
			[]string{"base-debug", "engine"},
			[]string{"virtio_blk", "dm_verity", "qemu_fw_cfg"},
			"console=hvc0 quiet panic=-1 cocoon_debug swiotlb=1048576",
		},
		bootfiles.Test: {[]string{"base", "engine"}, []string{"virtio_blk", "dm_verity"}, "console=ttyS0 quiet panic=-1 swiotlb=1048576"},
	} {
		if diff := cmp.Diff(want.layers, img.LayerIDs(v)); diff != "" {
			t.Errorf("%s layers (-want +got):\n%s", v, diff)
		}
		if diff := cmp.Diff(want.modules, img.Modules(v)); diff != "" {
			t.Errorf("%s modules (-want +got):\n%s", v, diff)
		}
		if got := img.Cmdline(v); got != want.cmdline {
			t.Errorf("%s command line %q, want %q", v, got, want.cmdline)
		}
	}
}

func TestUnknownNamesListTheKnownOnes(t *testing.T) {
	r := load(t, room())
	for name, c := range map[string]struct {
		run  func() error
		want string
	}{
		"image":         {func() error { _, err := r.Image("wroker"); return err }, `no image "wroker"; there are: proxy, worker`},
		"selection":     {func() error { _, err := r.Select("cpu", []string{"x"}); return err }, "there are: proxy, worker"},
		"variant":       {func() error { _, err := r.Select("tpu", nil); return err }, `no variant "tpu"; there are: cpu`},
		"profile":       {func() error { _, err := recipe.ParseVariant("release"); return err }, "there are: production, debug, test"},
		"layer":         {func() error { _, err := r.Layer("x"); return err }, "there are: base, base-debug, engine"},
		"package group": {func() error { _, err := r.Group("x"); return err }, "there are: base, base-debug, boot, engine, tools"},
		"suite":         {func() error { _, err := r.Suite("x"); return err }, "there are: forky, trixie"},
	} {
		if err := c.run(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", name, err, c.want)
		}
	}
}

// TestHashCoversWhatMatters changes one thing at a time: every definition counts, documents and leftovers do not.
func TestHashCoversWhatMatters(t *testing.T) {
	want := load(t, room()).SHA256
	for name, c := range map[string]struct {
		change func(fstest.MapFS)
		same   bool
	}{
		"nothing":              {func(fstest.MapFS) {}, true},
		"document":             {func(m fstest.MapFS) { m["README.md"].Data = []byte("other\n") }, true},
		"lock":                 {func(m fstest.MapFS) { delete(m, "image.lock") }, true},
		"mkosi's cache":        {func(m fstest.MapFS) { delete(m, "mkosi.cache/x") }, true},
		"mkosi's own sources":  {func(m fstest.MapFS) { m["mkosi.sandbox/etc/x"] = &fstest.MapFile{Mode: 0o644} }, true},
		"group-write bit":      {func(m fstest.MapFS) { m["mkosi.conf"].Mode = 0o664 }, true},
		"file time":            {func(m fstest.MapFS) { m["mkosi.conf"].ModTime = time.Unix(1, 0) }, true},
		"comment in mkosi":     {func(m fstest.MapFS) { m["mkosi.conf"].Data = []byte(mainConf + "# x\n") }, false},
		"extra file's content": {func(m fstest.MapFS) { m["mkosi.extra/etc/hosts"].Data = []byte("x") }, false},
		"extra file's x bit":   {func(m fstest.MapFS) { m["mkosi.extra/etc/hosts"].Mode = 0o755 }, false},
		"new file":             {func(m fstest.MapFS) { m["mkosi.extra/etc/new"] = &fstest.MapFile{Mode: 0o644} }, false},
		"key":                  {func(m fstest.MapFS) { m["keyring/a.asc"].Data = append(m["keyring/a.asc"].Data, 'x') }, false},
	} {
		t.Run(name, func(t *testing.T) {
			fsys := room()
			c.change(fsys)
			if got := load(t, fsys).SHA256; (got == want) != c.same {
				t.Errorf("hash %s, before %s", got, want)
			}
		})
	}
}

func TestExtraTreesKeepOnlyTheXBit(t *testing.T) {
	r := load(t, room())
	base, err := r.Layer("base")
	if err != nil {
		t.Fatal(err)
	}
	tree := rootfs.New()
	if err := r.AddExtraTrees(tree, base); err != nil {
		t.Fatal(err)
	}
	got := make(map[string]uint32)
	for _, n := range tree.Nodes() {
		if n.Inode.Type == rootfs.File {
			got[n.Path] = n.Inode.Mode
		}
	}
	if diff := cmp.Diff(map[string]uint32{"etc/hosts": 0o644, "usr/bin/tool": 0o755}, got); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	conflict := rootfs.New()
	if err := conflict.Add("etc/hosts", &rootfs.Inode{Type: rootfs.File, Content: rootfs.Bytes([]byte("other")), Origin: "deb x 1"}); err != nil {
		t.Fatal(err)
	}
	if err := r.AddExtraTrees(conflict, base); err == nil || !strings.Contains(err.Error(), "deb x 1") {
		t.Errorf("a package's different file: %v", err)
	}
	if err := r.AddExtraTrees(rootfs.New(), recipe.Layer{ID: "x", ExtraTrees: []string{"gone"}}); err == nil {
		t.Error("an extra tree without files passed")
	}
}

func TestCheckPackagesNamesRulesWithoutAPackage(t *testing.T) {
	base, err := load(t, room()).Layer("base")
	if err != nil {
		t.Fatal(err)
	}
	if err := base.CheckPackages([]string{"base-files", "libc6"}); err != nil {
		t.Error(err)
	}
	if err := base.CheckPackages([]string{"libc6"}); err == nil || !strings.Contains(err.Error(), "layers.base.files.base-files") {
		t.Errorf("error %v names no rule", err)
	}
}

func TestLoadReportsMissingParts(t *testing.T) {
	if _, err := recipe.Load(t.TempDir() + "/gone"); err == nil {
		t.Error("a missing folder loads")
	}
	for _, name := range []string{"image.toml", "mkosi.conf", "mkosi.profiles/worker/mkosi.conf", "keyring/a.asc"} {
		fsys := maps.Clone(room())
		delete(fsys, name)
		if _, err := recipe.LoadFS(fsys); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("without %s: error %v does not name it", name, err)
		}
	}
	link := room()
	link["mkosi.extra/etc/link"] = &fstest.MapFile{Mode: fs.ModeSymlink | 0o777, Data: []byte("hosts")}
	if _, err := recipe.LoadFS(link); err == nil || !strings.Contains(err.Error(), "mkosi.extra/etc/link") {
		t.Errorf("a link in an extra tree: %v", err)
	}
}
