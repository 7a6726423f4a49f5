package pipeline

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cocoon/image/fetch"
	"cocoon/image/lock"
	"cocoon/image/manifest"
	"cocoon/image/sbom"
	"cocoon/measure/bootfiles"
)

func TestRecipeLinesNameWhatAPersonWrote(t *testing.T) {
	lines, err := recipeLines("layer base", struct {
		Role   string   `json:"role"`
		Drop   []string `json:"drop"`
		Nested struct {
			On bool `json:"on"`
		} `json:"nested"`
		None []string `json:"none"`
	}{Role: "base", Drop: []string{"usr/x", "usr/y"}})
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]string)
	for _, l := range lines {
		got[l.Name] = l.Version
	}
	want := map[string]string{
		`layer base drop "usr/x"`: "set", `layer base drop "usr/y"`: "set", "layer base role": `"base"`, "layer base nested on": "false",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("lines differ (-want +got):\n%s", diff)
	}
}

func TestInsertingALineChangesOneRecipeLine(t *testing.T) {
	before, errA := recipeLines("p", []string{"a", "c"})
	after, errB := recipeLines("p", []string{"a", "b", "c"})
	if errA != nil || errB != nil {
		t.Fatal(errA, errB)
	}
	known := make(map[Input]bool)
	for _, l := range before {
		known[l] = true
	}
	var added []string
	for _, l := range after {
		if !known[l] {
			added = append(added, l.Name)
		}
	}
	if diff := cmp.Diff([]string{`p "b"`}, added); diff != "" {
		t.Errorf("added lines differ (-want +got):\n%s", diff)
	}
}

func TestLongRecipeValuesStayUnique(t *testing.T) {
	long := strings.Repeat("x", 500)
	lines, err := recipeLines("p", []string{long + "1", long + "2"})
	if err != nil || len(lines) != 2 || len(lines[0].Name) > 300 {
		t.Errorf("two long values give %+v, %v", lines, err)
	}
}

func TestHashSourcesFollowsNameAndContent(t *testing.T) {
	write := func(files map[string]string) (root string, list []string) {
		root = t.TempDir()
		for name, text := range files {
			if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if strings.HasSuffix(name, ".go") {
				list = append(list, filepath.Join(root, name))
			}
		}
		return root, list
	}
	hash := func(files map[string]string) sourceFacts {
		root, list := write(files)
		f, err := hashSources(root, append(list, list[0]))
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	base := map[string]string{"a.go": "a", "b.go": "b", "go.mod": "m", "go.sum": "s"}
	one := hash(base)
	if two := hash(base); one != two || one.Files != 2 {
		t.Errorf("two folders give %+v and %+v", one, two)
	}
	if other := hash(map[string]string{"a.go": "A", "b.go": "b", "go.mod": "m", "go.sum": "s"}); other.SHA256 == one.SHA256 {
		t.Error("other content gives the same hash")
	}
	if other := hash(map[string]string{"a.go": "a", "c.go": "b", "go.mod": "m", "go.sum": "s"}); other.SHA256 == one.SHA256 {
		t.Error("another name gives the same hash")
	}
	if other := hash(map[string]string{"a.go": "a", "b.go": "b", "go.mod": "m", "go.sum": "t"}); other.GoSum == one.GoSum || other.SHA256 != one.SHA256 {
		t.Error("go.sum is not apart from the sources")
	}
	root, _ := write(base)
	if _, err := hashSources(root, nil); err == nil {
		t.Error("no sources at all were accepted")
	}
}

func TestGoModulesReadsDependencyLines(t *testing.T) {
	text := "path\tcocoon/cmd/init\nmod\tcocoon\t(devel)\t\ndep\tgolang.org/x/sys\tv0.49.0\th1:abc=\ndep\tbroken\nbuild\t-trimpath=true\n"
	want := []sbom.Component{{
		Kind: sbom.GoModule, Name: "golang.org/x/sys", Version: "v0.49.0", Sum: "h1:abc=", In: []string{initrdFile, ukiFile},
	}}
	if diff := cmp.Diff(want, goModules(text)); diff != "" {
		t.Errorf("modules differ (-want +got):\n%s", diff)
	}
}

func TestFetchProgressAddsUpAllFiles(t *testing.T) {
	var done, total int64
	report := fetchProgress([]lock.Artefact{{SHA256: "a", Size: 10}, {SHA256: "b", Size: 30}}, func(d, n int64) { done, total = d, n })
	report(fetch.Event{Artefact: lock.Artefact{SHA256: "a"}, Bytes: 4})
	report(fetch.Event{Artefact: lock.Artefact{SHA256: "b"}, Bytes: 30})
	report(fetch.Event{Artefact: lock.Artefact{SHA256: "a"}, Bytes: 10})
	if done != 40 || total != 40 {
		t.Errorf("%d of %d, want 40 of 40", done, total)
	}
}

func TestLabelsNameTheVariantUnlessItIsProduction(t *testing.T) {
	for v, want := range map[bootfiles.Variant]string{
		bootfiles.Production: "proxy", bootfiles.Debug: "proxy-debug", bootfiles.Test: "proxy-test",
	} {
		if got := Label("proxy", v); got != want {
			t.Errorf("%s: %q, want %q", v, got, want)
		}
	}
	if got := label("a-layer-id-of-twenty"); len(got) != 16 {
		t.Errorf("volume name %q has %d bytes, EROFS has 16", got, len(got))
	}
}

func TestProvenanceFollowsNeeds(t *testing.T) {
	in := func(name string) []Input { return []Input{{Kind: "deb", Name: name, SHA256: name}} }
	b := &build{steps: []step{
		{Name: "a", Inputs: in("x")},
		{Name: "b", Needs: []string{"a"}, Inputs: in("y")},
		{Name: "c", Inputs: in("z")},
	}}
	got := b.provenance([]product{{name: "fileA", step: "a"}, {name: "fileB", step: "b"}})
	want := []manifest.Input{
		{Kind: "deb", Name: "x", SHA256: "x", Artefacts: []string{"fileA", "fileB"}},
		{Kind: "deb", Name: "y", SHA256: "y", Artefacts: []string{"fileB"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("provenance differs (-want +got):\n%s", diff)
	}
}

// TestTwoProcessesMayBuildTheSameStep: the folder of the one that comes second replaces the first, whole.
func TestTwoProcessesMayBuildTheSameStep(t *testing.T) {
	dir := t.TempDir()
	var runs atomic.Int32
	var group sync.WaitGroup
	both := make(chan struct{}, 2)
	for range 2 {
		r := newRig(t, dir)
		s := writes("a", "1", &runs)
		inner := s.Run
		s.Run = func(ctx context.Context, w *work) error {
			both <- struct{}{}
			for len(both) < 2 && ctx.Err() == nil {
			}
			return inner(ctx, w)
		}
		group.Go(func() {
			if _, err := r.run(t.Context(), []step{s}); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	r := newRig(t, dir)
	results, err := r.run(t.Context(), []step{writes("a", "1", &runs)})
	if err != nil || runs.Load() != 2 {
		t.Fatalf("%d runs, %v: the third build must be cached", runs.Load(), err)
	}
	p, err := results["a"].Path("file")
	if err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(p); err != nil || string(data) != "1" {
		t.Errorf("the output is %q, %v", data, err)
	}
	if entries, err := os.ReadDir(filepath.Join(dir, "steps")); err != nil || len(entries) != 1 {
		t.Errorf("the cache holds %v, %v", entries, err)
	}
}
