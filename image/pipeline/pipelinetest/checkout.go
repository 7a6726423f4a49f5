// Package pipelinetest makes small checkouts that build complete images in a second, without a network: a module with
// a tiny init, a recipe, a lock, and packages made in memory.
//
// It owns the shape of that checkout and the fake boot parts, which satisfy every check of the pipeline and boot
// nothing. It trusts its caller. A Checkout is for one test at a time. Anything that cannot be made ends the test.
package pipelinetest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/renameio/v2"

	"cocoon/image/deb/debtest"
	"cocoon/image/firmware"
	"cocoon/image/lock"
	"cocoon/image/pipeline"
	"cocoon/image/recipe"
)

// Release is the fake kernel's release string.
const Release = "6.18.15+test"

// Checkout is a folder that `cocoon image build` can build.
type Checkout struct {
	// Root is the checkout, Cache the cache with all inputs, Out where images go.
	Root, Cache, Out string
	// Packages are the inputs by group. Call Relock after a change.
	Packages map[string][]debtest.Package
}

// New makes a checkout below dir with the images proxy (layer base) and worker-cpu (base and engine-cpu). Checkouts may
// share a cache: it is addressed by content. An empty name makes one below dir. Compiled Go packages are the user's,
// because compiling the runtime takes seconds and never changes the result.
func New(tb testing.TB, dir, cache string) *Checkout {
	tb.Helper()
	c := &Checkout{
		Root: filepath.Join(dir, "checkout"), Cache: cache, Out: filepath.Join(dir, "out"),
		Packages: map[string][]debtest.Package{
			"base": {
				{Name: "libalpha", Version: "1.0-1", Files: []debtest.File{
					{Name: "./usr/", Type: '5'},
					{Name: "./usr/lib/", Type: '5'},
					{Name: "./usr/lib/libalpha.so", Body: strings.Repeat("alpha", 2000)},
					{Name: "./usr/share/doc/libalpha/copyright", Body: "free"},
				}},
				{Name: "tools", Version: "2.0-1", Files: []debtest.File{{Name: "./usr/bin/tool", Body: "#!tool", Mode: 0o755}}},
			},
			"engine-cpu": {{Name: "engine", Version: "3.0-1", Files: []debtest.File{{Name: "./usr/bin/engine", Body: "#!engine", Mode: 0o755}}}},
			"kernel":     {kernelPackage("6.18.15-1")},
			"stub":       {{Name: "stub", Version: "1", Files: []debtest.File{{Name: "./usr/lib/stub", Body: string(stub())}}}},
			"firmware": {
				{Name: "fw-tdx", Version: "1", Files: []debtest.File{{Name: "./usr/share/tdx.fd", Body: string(tdxFirmware())}}},
				{Name: "fw-vars", Version: "1", Files: []debtest.File{{Name: "./usr/share/vars.fd", Body: string(variableStore())}}},
			},
		},
	}
	for name, text := range c.sources(tb) {
		c.Write(tb, name, text)
	}
	if c.Cache == "" {
		c.Cache = filepath.Join(dir, "cache")
	}
	ShareGoCache(tb, c.Cache)
	c.Relock(tb)
	return c
}

// ShareGoCache makes the compiled Go packages of a pipeline's cache those of the user.
func ShareGoCache(tb testing.TB, cache string) {
	tb.Helper()
	out, err := exec.CommandContext(tb.Context(), "go", "env", "GOCACHE").Output()
	if err != nil {
		tb.Fatalf("asking for the Go build cache: %v", err)
	}
	err = errors.Join(os.MkdirAll(cache, 0o755), os.Symlink(strings.TrimSpace(string(out)), filepath.Join(cache, "go-build")))
	if err != nil && !errors.Is(err, os.ErrExist) {
		tb.Fatal(err)
	}
}

// Options are those that build the checkout offline.
func (c *Checkout) Options() pipeline.Options {
	return pipeline.Options{Root: c.Root, CacheDir: c.Cache, OutDir: c.Out, Offline: true}
}

// Write puts a file of the checkout.
func (c *Checkout) Write(tb testing.TB, name, text string) {
	tb.Helper()
	name = filepath.Join(c.Root, name)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		tb.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil { //nolint:gosec // a test's own folder
		tb.Fatal(err)
	}
}

// Edit replaces text in a file of the checkout; the text must be there.
func (c *Checkout) Edit(tb testing.TB, name, old, text string) {
	tb.Helper()
	data, err := os.ReadFile(filepath.Join(c.Root, name))
	if err != nil {
		tb.Fatal(err)
	}
	if !strings.Contains(string(data), old) {
		tb.Fatalf("%s does not contain %q", name, old)
	}
	c.Write(tb, name, strings.ReplaceAll(string(data), old, text))
}

// Relock builds the packages, puts them into the store and writes the lock that fits the recipe.
func (c *Checkout) Relock(tb testing.TB) {
	tb.Helper()
	r, err := recipe.Load(pipeline.RecipePath(c.Root))
	if err != nil {
		tb.Fatal(err)
	}
	l := &lock.Lock{Epoch: r.Epoch, Go: r.Go, RecipeSHA256: r.SHA256}
	store := filepath.Join(pipeline.StoreDir(c.Cache), "sha256")
	if err := os.MkdirAll(store, 0o755); err != nil {
		tb.Fatal(err)
	}
	for group, packages := range c.Packages {
		for _, p := range packages {
			data := p.Build(tb)
			sum := sha256.Sum256(data)
			name := hex.EncodeToString(sum[:])
			if err := renameio.WriteFile(filepath.Join(store, name), data, 0o644); err != nil {
				tb.Fatal(err)
			}
			err := l.Merge(lock.Artefact{
				Name: p.Name, Version: p.Version, Arch: "amd64", Kind: lock.Deb, SHA256: name, Size: int64(len(data)),
				URLs: []string{"http://inputs.invalid/" + name}, Groups: []string{group}, Licence: "Apache-2.0",
			})
			if err != nil {
				tb.Fatal(err)
			}
		}
	}
	if err := l.Save(pipeline.LockPath(c.Root)); err != nil {
		tb.Fatal(err)
	}
}

// StoreFile is where an input of the lock lies in the store.
func (c *Checkout) StoreFile(tb testing.TB, name string) string {
	tb.Helper()
	l, err := lock.Load(pipeline.LockPath(c.Root))
	if err != nil {
		tb.Fatal(err)
	}
	i := slices.IndexFunc(l.Artefacts, func(a lock.Artefact) bool { return a.Name == name })
	if i < 0 {
		tb.Fatalf("the lock has no %s", name)
	}
	return filepath.Join(pipeline.StoreDir(c.Cache), "sha256", l.Artefacts[i].SHA256)
}

// GoVersion is the toolchain that runs the test.
func GoVersion() string { return strings.TrimPrefix(runtime.Version(), "go") }

// sources are the files of the checkout, the lock excepted.
func (c *Checkout) sources(tb testing.TB) map[string]string {
	tb.Helper()
	assembled, err := firmware.Assemble(tdxFirmware(), variableStore())
	if err != nil {
		tb.Fatal(err)
	}
	text := func(template string) string {
		return strings.NewReplacer("GOVERSION", GoVersion(), "STUBSUM", hash(stub()), "FIRMWARESUM", hash(assembled),
			"RELEASE", Release).Replace(template)
	}
	return map[string]string{
		"go.mod":                                   "module cocoon\n\ngo 1.26\n",
		"go.sum":                                   "",
		"cmd/init/main.go":                         "package main\n\nimport _ \"cocoon/guest/part\"\n\nfunc main() { println(\"init\") }\n",
		"guest/part/part.go":                       "// Package part is linked into the init.\npackage part\n",
		"mkosi/mkosi.conf":                         mainDefinition,
		"mkosi/mkosi.profiles/worker/mkosi.conf":   profile("engine"),
		"mkosi/mkosi.profiles/kernel/mkosi.conf":   profile("linux-image-" + Release),
		"mkosi/mkosi.profiles/stub/mkosi.conf":     profile("stub"),
		"mkosi/mkosi.profiles/firmware/mkosi.conf": profile("fw-tdx fw-vars"),
		"mkosi/mkosi.extra/etc/hosts":              "127.0.0.1 localhost\n",
		"mkosi/keyring/a.asc":                      "-----BEGIN PGP PUBLIC KEY BLOCK-----\n",
		"mkosi/image.toml":                         text(document),
	}
}

func hash(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

func profile(packages string) string {
	var out bytes.Buffer
	out.WriteString("[Content]\nPackages=\nPackages=\n")
	for p := range strings.FieldsSeq(packages) {
		out.WriteString("    " + p + "\n")
	}
	return out.String()
}

const mainDefinition = `[Distribution]
Distribution=debian
Release=trixie
[Content]
SourceDateEpoch=1735689600
Packages=
    libalpha
    tools
`

const document = `version = 1
go = "GOVERSION"

[suites.trixie]
mirror = "http://mirror.invalid/debian"
components = ["main"]
keyring = ["keyring/a.asc"]

[accounts]
users = [{ name = "root", uid = 0, gid = 0, home = "/" }]
groups = [{ name = "root", gid = 0 }]

[layers.base]
role = "base"
suites = ["trixie"]
dirs = ["proc"]
generate = [
  { path = "etc/passwd", kind = "passwd" },
  { path = "etc/motd", kind = "text", text = "hello" },
]

[layers.engine-cpu]
role = "engine"
profile = "worker"
suites = ["trixie"]

[groups.kernel]
profile = "kernel"
suites = ["trixie"]

[groups.stub]
profile = "stub"
suites = ["trixie"]

[groups.firmware]
profile = "firmware"
suites = ["trixie"]

[kernel]
group = "kernel"
version = "RELEASE"

[stub]
group = "stub"
package = "stub"
path = "usr/lib/stub"
sha256 = "STUBSUM"

[firmware]
group = "firmware"
tdx_package = "fw-tdx"
tdx_path = "usr/share/tdx.fd"
vars_package = "fw-vars"
vars_path = "usr/share/vars.fd"
sha256 = "FIRMWARESUM"

[modules]
base = ["virtio_blk"]
debug = ["qemu_fw_cfg"]

[images.proxy]
profile = "proxy"
layers = ["base"]
modules = ["base"]

[images.worker-cpu]
profile = "worker"
layers = ["base", "engine-cpu"]
modules = ["base"]

[variants.debug]
modules = ["debug"]

[variants.test]
modules = ["debug"]

[builds]
cpu = ["proxy", "worker-cpu"]
`
