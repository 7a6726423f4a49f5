package pipeline_test

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"cocoon/image/deb/debtest"
	"cocoon/image/diff"
	"cocoon/image/fetch"
	"cocoon/image/lock"
	"cocoon/image/manifest"
	"cocoon/image/pipeline"
	"cocoon/image/pipeline/pipelinetest"
	"cocoon/measure/bootfiles"
	"cocoon/measure/launch/pe"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(shared())
		os.Exit(code)
	}))
}

// shared is one cache for all checkouts of the tests that do not damage theirs: only what a test changes is built.
var shared = sync.OnceValue(func() string {
	dir, err := os.MkdirTemp("", "pipeline-test-")
	if err != nil {
		panic(err) //nolint:forbidigo // a test cannot go on without it
	}
	return dir
})

// newCheckout shares its cache; ownCheckout shares only compiled Go packages.
func newCheckout(t *testing.T) *pipelinetest.Checkout {
	t.Helper()
	return pipelinetest.New(t, t.TempDir(), shared())
}

func ownCheckout(t *testing.T) *pipelinetest.Checkout {
	t.Helper()
	return pipelinetest.New(t, t.TempDir(), "")
}

// events collects what a run reports.
type events struct {
	mu   sync.Mutex
	list []pipeline.Event
}

func (e *events) add(ev pipeline.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.list = append(e.list, ev)
}

// ran lists the steps that were not cached, without those that always run.
func (e *events) ran() []string {
	var out []string
	for _, ev := range e.list {
		always := slices.Contains([]string{"lock", "fetch", "sources"}, ev.Step) || strings.HasPrefix(ev.Step, "publish ")
		if ev.Kind == pipeline.StepDone && !ev.Cached && !always {
			out = append(out, ev.Step)
		}
	}
	slices.Sort(out)
	return out
}

func build(t *testing.T, o pipeline.Options) ([]pipeline.Built, *events) {
	t.Helper()
	var ev events
	built, err := pipeline.Run(t.Context(), o, ev.add)
	if err != nil {
		t.Fatal(err)
	}
	return built, &ev
}

func TestRunLeavesTheArtefactsOfEveryBootForm(t *testing.T) {
	c := newCheckout(t)
	built, _ := build(t, c.Options())
	if len(built) != 2 || built[1].Manifest.Image.Name != "worker-cpu" {
		t.Fatalf("built %v, want proxy and worker-cpu", built)
	}
	m, dir := built[1].Manifest, built[1].Dir
	if err := m.CheckFiles(t.Context(), dir); err != nil {
		t.Error(err)
	}
	want := []string{
		"cmdline", "disk.img", "firmware.fd", "image.efi", "initrd.cpio", "initrd.cpio.files", "layer-base.img",
		"layer-base.img.files", "layer-engine-cpu.img", "layer-engine-cpu.img.files", "manifest.json", "sbom.spdx.json", "vmlinuz",
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("files differ (-want +got):\n%s", diff)
	}
	if m.Cmdline != bootfiles.Cmdline(bootfiles.Production) {
		t.Errorf("command line %q", m.Cmdline)
	}
	for _, in := range []string{"deb libalpha", "deb linux-image-6.18.15+test", "go toolchain", "go-source ./cmd/init", "go-sum go.sum"} {
		if !slices.ContainsFunc(m.Inputs, func(i manifest.Input) bool { return i.Kind+" "+i.Name == in }) {
			t.Errorf("the manifest does not list the input %s", in)
		}
	}
}

func TestTheUKIHoldsTheOtherArtefacts(t *testing.T) {
	c := newCheckout(t)
	o := c.Options()
	o.Images = []string{"proxy"}
	built, _ := build(t, o)
	read := func(name string) []byte {
		data, err := os.ReadFile(filepath.Join(built[0].Dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	img, err := pe.Parse(read("image.efi"))
	if err != nil {
		t.Fatal(err)
	}
	for section, name := range map[string]string{".linux": "vmlinuz", ".initrd": "initrd.cpio", ".cmdline": "cmdline"} {
		data, ok, err := img.Section(section)
		if err != nil || !ok || !bytes.Equal(data, read(name)) {
			t.Errorf("section %s is not %s (%v, %v)", section, name, ok, err)
		}
	}
}

func TestASecondRunBuildsNothing(t *testing.T) {
	c := newCheckout(t)
	first, _ := build(t, c.Options())
	second, ev := build(t, c.Options())
	if ran := ev.ran(); len(ran) != 0 {
		t.Errorf("the second run built %v", ran)
	}
	for i := range first {
		if diff := cmp.Diff(first[i].Manifest, second[i].Manifest); diff != "" {
			t.Errorf("manifests differ (-first +second):\n%s", diff)
		}
	}
}

func TestAnotherCheckoutAndCacheGiveTheSameManifest(t *testing.T) {
	var texts [2][]byte
	for i, c := range []*pipelinetest.Checkout{newCheckout(t), ownCheckout(t)} {
		built, _ := build(t, c.Options())
		data, err := os.ReadFile(filepath.Join(built[1].Dir, manifest.FileName))
		if err != nil {
			t.Fatal(err)
		}
		texts[i] = data
	}
	if !bytes.Equal(texts[0], texts[1]) {
		t.Errorf("two checkouts give two manifests:\n%s", cmp.Diff(string(texts[0]), string(texts[1])))
	}
}

func TestVariantsShareLayers(t *testing.T) {
	c := ownCheckout(t)
	o := c.Options()
	o.Images = []string{"proxy"}
	build(t, o)
	o.Variants = []bootfiles.Variant{bootfiles.Test}
	built, ev := build(t, o)
	if ran := ev.ran(); slices.ContainsFunc(ran, func(s string) bool { return strings.HasPrefix(s, "layer ") || s == "init" }) {
		t.Errorf("the test variant built %v again", ran)
	}
	if filepath.Base(built[0].Dir) != "proxy-test" || built[0].Manifest.Image.Variant != bootfiles.Test {
		t.Errorf("built %s, variant %s", built[0].Dir, built[0].Manifest.Image.Variant)
	}
}

// TestDiffNamesTheResponsibleInput is the bar of image.md section 19, number 6.
func TestDiffNamesTheResponsibleInput(t *testing.T) {
	for name, tc := range map[string]struct {
		change   func(t *testing.T, c *pipelinetest.Checkout)
		artefact string
		path     string
		cause    string
	}{
		"changed package": {
			func(t *testing.T, c *pipelinetest.Checkout) {
				t.Helper()
				p := &c.Packages["base"][0]
				p.Version = "1.0-2"
				p.Files = slices.Clone(p.Files)
				p.Files[2].Body = strings.Repeat("alpha", 1999) + "alphA"
				c.Relock(t)
			},
			"layer-base.img", "usr/lib/libalpha.so", "deb libalpha: 1.0-1 -> 1.0-2",
		},
		"added package": {
			func(t *testing.T, c *pipelinetest.Checkout) {
				t.Helper()
				c.Edit(t, "mkosi/mkosi.conf", "    tools\n", "    tools\n    more\n")
				c.Packages["base"] = append(c.Packages["base"], debtest.Package{
					Name: "more", Version: "1", Files: []debtest.File{{Name: "./usr/bin/more", Body: "x", Mode: 0o755}},
				})
				c.Relock(t)
			},
			"layer-base.img", "usr/bin/more", "deb more: absent -> 1",
		},
		"changed recipe line": {
			func(t *testing.T, c *pipelinetest.Checkout) {
				t.Helper()
				c.Edit(t, "mkosi/image.toml", `text = "hello"`, `text = "hullo"`)
				c.Relock(t)
			},
			"layer-base.img", "etc/motd", "hullo",
		},
		"changed extra file": {
			func(t *testing.T, c *pipelinetest.Checkout) {
				t.Helper()
				c.Edit(t, "mkosi/mkosi.extra/etc/hosts", "localhost", "localhost me")
				c.Relock(t)
			},
			"layer-base.img", "etc/hosts", "recipe layer base file etc/hosts: 0644, 20 bytes -> 0644, 23 bytes",
		},
		"changed kernel": {
			func(t *testing.T, c *pipelinetest.Checkout) {
				t.Helper()
				c.Packages["kernel"][0] = pipelinetest.KernelPackage("6.18.15-2", "other")
				c.Relock(t)
			},
			"image.efi", ".linux", "deb linux-image-6.18.15+test: 6.18.15-1 -> 6.18.15-2",
		},
		"changed Go source": {
			func(t *testing.T, c *pipelinetest.Checkout) {
				t.Helper()
				c.Edit(t, "cmd/init/main.go", `println("init")`, `println("INIT")`)
			},
			"initrd.cpio", "init", "go-source ./cmd/init: ",
		},
		"changed module list": {
			func(t *testing.T, c *pipelinetest.Checkout) {
				t.Helper()
				c.Edit(t, "mkosi/image.toml", `base = ["virtio_blk"]`, `base = ["virtio_blk", "qemu_fw_cfg"]`)
				c.Relock(t)
			},
			"initrd.cpio", "lib/modules.order", `recipe image proxy modules "qemu_fw_cfg": absent -> set`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCheckout(t)
			o := c.Options()
			o.Images = []string{"proxy"}
			before, _ := build(t, o)
			tc.change(t, c)
			o.OutDir += "-changed"
			after, _ := build(t, o)
			report := compare(t, before[0].Dir, after[0].Dir)
			i := slices.IndexFunc(report.Artefacts, func(a diff.Artefact) bool { return a.Name == tc.artefact })
			if i < 0 {
				t.Fatalf("%s does not differ: %+v", tc.artefact, report)
			}
			a := report.Artefacts[i]
			if !slices.ContainsFunc(a.Findings, func(f diff.Finding) bool { return f.Path == tc.path && strings.Contains(f.Cause, tc.cause) }) &&
				!slices.ContainsFunc(a.Causes, func(s string) bool { return strings.Contains(s, tc.cause) }) {
				t.Errorf("no finding at %s names %q: %+v", tc.path, tc.cause, a)
			}
			if !slices.ContainsFunc(a.Findings, func(f diff.Finding) bool { return f.Path == tc.path }) {
				t.Errorf("no finding at %s: %+v", tc.path, a.Findings)
			}
		})
	}
}

func compare(t *testing.T, a, b string) *diff.Report {
	t.Helper()
	var sides [2]diff.Side
	for i, dir := range []string{a, b} {
		s, err := diff.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		sides[i] = s
	}
	r, err := diff.Compare(t.Context(), sides[0], sides[1])
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestDiffFindsAFlippedByte(t *testing.T) {
	c := newCheckout(t)
	o := c.Options()
	o.Images = []string{"proxy"}
	before, _ := build(t, o)
	o.OutDir += "-flipped"
	after, _ := build(t, o)
	if r := compare(t, before[0].Dir, after[0].Dir); !r.Equal() {
		t.Fatalf("equal builds differ: %+v", r)
	}
	for name, flip := range map[string]struct {
		artefact string
		where    string // text in the file; the byte after its start is flipped
		path     string
	}{
		"in a file of a layer":   {"layer-base.img", "alphaalphaalpha", "usr/lib/libalpha.so"},
		"in a record of the UKI": {"image.efi", "console=hvc0", ".initrd/etc/cmdline"},
		"in the hash tree":       {"layer-base.img", "verity\x00\x00", ""},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(after[0].Dir, flip.artefact)
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			at := bytes.LastIndex(data, []byte(flip.where)) + 1
			changed := bytes.Clone(data)
			changed[at] ^= 1
			replace(t, file, changed)
			defer replace(t, file, data)
			r := compare(t, before[0].Dir, after[0].Dir)
			if len(r.Artefacts) != 1 || len(r.Artefacts[0].Findings) != 1 {
				t.Fatalf("one flipped byte gives %+v", r)
			}
			a := r.Artefacts[0]
			if a.Name != flip.artefact || a.Findings[0].Path != flip.path || a.Findings[0].Offset < 0 {
				t.Errorf("found %+v, want %s %s with an offset", a, flip.artefact, flip.path)
			}
			if len(a.Causes) != 1 || !strings.Contains(a.Causes[0], "was changed after the build") {
				t.Errorf("causes %q, want that the file was changed after the build", a.Causes)
			}
		})
	}
}

// replace gives a name to other bytes; the old file may be shared with the cache.
func replace(t *testing.T, name string, data []byte) {
	t.Helper()
	if err := errors.Join(os.Remove(name), os.WriteFile(name, data, 0o600)); err != nil {
		t.Fatal(err)
	}
}

func TestWrongInputsAreNamed(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(t *testing.T, c *pipelinetest.Checkout, o *pipeline.Options)
		check  func(err error) bool
	}{
		"recipe newer than the lock": {
			func(t *testing.T, c *pipelinetest.Checkout, _ *pipeline.Options) {
				t.Helper()
				c.Edit(t, "mkosi/image.toml", "hello", "hullo")
			},
			func(err error) bool { var m *lock.Mismatch; return errors.As(err, &m) && m.What == "recipe" },
		},
		"another Go": {
			func(t *testing.T, c *pipelinetest.Checkout, _ *pipeline.Options) {
				t.Helper()
				c.Edit(t, "mkosi/image.toml", pipelinetest.GoVersion(), "1.2.3")
				c.Relock(t)
			},
			func(err error) bool { var m *lock.Mismatch; return errors.As(err, &m) && m.Lock == "1.2.3" },
		},
		"no Go": {
			func(_ *testing.T, _ *pipelinetest.Checkout, o *pipeline.Options) { o.Go = "go-that-is-not-there" },
			func(err error) bool { return errors.Is(err, pipeline.ErrNoGo) },
		},
		"unknown image": {
			func(_ *testing.T, _ *pipelinetest.Checkout, o *pipeline.Options) { o.Images = []string{"proxi"} },
			func(err error) bool {
				return errors.Is(err, pipeline.ErrUsage) && strings.Contains(err.Error(), "proxy")
			},
		},
		"unknown build": {
			func(_ *testing.T, _ *pipelinetest.Checkout, o *pipeline.Options) { o.Build = "tpu" },
			func(err error) bool { return errors.Is(err, pipeline.ErrUsage) },
		},
		"missing input, offline": {
			func(t *testing.T, c *pipelinetest.Checkout, _ *pipeline.Options) {
				t.Helper()
				if err := os.Remove(c.StoreFile(t, "engine")); err != nil {
					t.Fatal(err)
				}
			},
			func(err error) bool {
				var m *fetch.MissingError
				return errors.As(err, &m) && m.Artefact.Name == "engine"
			},
		},
		"input with another hash": {
			func(t *testing.T, c *pipelinetest.Checkout, _ *pipeline.Options) {
				t.Helper()
				if err := os.WriteFile(c.StoreFile(t, "engine"), []byte("other"), 0o600); err != nil {
					t.Fatal(err)
				}
			},
			func(err error) bool { return strings.Contains(err.Error(), "layer engine-cpu") },
		},
		"stub with another hash": {
			func(t *testing.T, c *pipelinetest.Checkout, _ *pipeline.Options) {
				t.Helper()
				c.Packages["stub"][0].Files[0].Body += "\x00"
				c.Relock(t)
			},
			func(err error) bool { return strings.Contains(err.Error(), `step "stub": the recipe states SHA-256`) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := ownCheckout(t)
			o := c.Options()
			tc.change(t, c, &o)
			_, err := pipeline.Run(t.Context(), o, func(pipeline.Event) {})
			if err == nil || !tc.check(err) {
				t.Errorf("got %v", err)
			}
			if entries, _ := os.ReadDir(c.Out); len(entries) != 0 {
				t.Errorf("a failed build left %v", entries)
			}
		})
	}
}

func TestAnInterruptedBuildLeavesNoHalfImageAndResumes(t *testing.T) {
	c := ownCheckout(t)
	ctx, cancel := context.WithCancel(t.Context())
	_, err := pipeline.Run(ctx, c.Options(), func(e pipeline.Event) {
		if e.Kind == pipeline.StepDone && strings.HasPrefix(e.Step, "uki ") {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v, want a cancelled build", err)
	}
	if entries, _ := os.ReadDir(c.Out); len(entries) != 0 {
		t.Errorf("an interrupted build left %v", entries)
	}
	steps, err := os.ReadDir(filepath.Join(c.Cache, "steps"))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range steps {
		if strings.HasPrefix(s.Name(), ".") {
			t.Errorf("an interrupted build left %s in the cache", s.Name())
		}
	}
	_, ev := build(t, c.Options())
	if ran := ev.ran(); slices.Contains(ran, "layer base") || !slices.Contains(ran, "manifest proxy") {
		t.Errorf("the second build ran %v, want only what was missing", ran)
	}
}

func TestPlanNamesEveryRowInOrder(t *testing.T) {
	c := newCheckout(t)
	o := c.Options()
	o.Images = []string{"proxy"}
	rows, err := pipeline.Plan(o)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"lock", "fetch", "sources", "layer base", "kernel", "stub", "firmware", "init", "modules proxy", "initrd proxy", "uki proxy",
		"disk proxy", "sbom proxy", "manifest proxy", "publish proxy",
	}
	if diff := cmp.Diff(want, rows); diff != "" {
		t.Errorf("rows differ (-want +got):\n%s", diff)
	}
}

func TestProvenanceReachesWhatAnInputIsIn(t *testing.T) {
	built, _ := build(t, newCheckout(t).Options())
	want := map[string][]string{
		"deb engine":                   {"disk.img", "image.efi", "initrd.cpio", "initrd.cpio.files", "layer-engine-cpu.img", "layer-engine-cpu.img.files", "cmdline"},
		"deb fw-vars":                  {"firmware.fd"},
		"deb stub":                     {"disk.img", "image.efi"},
		"deb linux-image-6.18.15+test": {"disk.img", "image.efi", "initrd.cpio", "initrd.cpio.files", "vmlinuz", "cmdline"},
	}
	got := make(map[string][]string)
	for _, in := range built[1].Manifest.Inputs {
		if _, ok := want[in.Kind+" "+in.Name]; ok {
			got[in.Kind+" "+in.Name] = in.Artefacts
		}
	}
	for _, list := range want {
		slices.Sort(list)
	}
	if diff := cmp.Diff(want, maps.Clone(got)); diff != "" {
		t.Errorf("provenance differs (-want +got):\n%s", diff)
	}
}
