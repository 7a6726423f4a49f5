package pipeline

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cocoon/image/fetch"
	"cocoon/image/gpu"
	"cocoon/image/lock"
	"cocoon/image/wheel"
)

func planOf(t *testing.T, build string) []string {
	t.Helper()
	rows, err := Plan(Options{Root: "../..", CacheDir: t.TempDir(), OutDir: t.TempDir(), Build: build})
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

func TestOnlyTheGPUVariantCompilesWithTheLockedToolchain(t *testing.T) {
	rows := planOf(t, "gpu")
	layer := slices.Index(rows, layerStep("gpu"))
	for _, name := range []string{gpuModulesName, gpuHelperName} {
		if i := slices.Index(rows, name); i < 0 || i > layer {
			t.Errorf("row %q is number %d of %q, want it before the gpu layer", name, i, rows)
		}
	}
	if !slices.Contains(rows, layerStep("engine-gpu")) || slices.Contains(rows, layerStep("engine-cpu")) {
		t.Errorf("rows %q have the wrong engine", rows)
	}
	for _, name := range planOf(t, "cpu") {
		if strings.Contains(name, "gpu") {
			t.Errorf("the cpu variant has the row %q", name)
		}
	}
}

// heavy is a build whose lock holds the given wheels for the engine layer.
func heavy(t *testing.T, wheels ...lock.Artefact) *build {
	t.Helper()
	store, err := fetch.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range wheels {
		if err := os.WriteFile(filepath.Join(store.Dir(), "sha256", w.SHA256), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return &build{store: store, lock: &lock.Lock{Artefacts: wheels}, gpu: &gpu.Config{Engine: gpu.Engine{Layer: "engine-gpu", Wheels: "wheels.lock"}}}
}

func lockedWheel(name, sum string) lock.Artefact {
	return lock.Artefact{Kind: lock.Wheel, Name: name, Version: "1", SHA256: strings.Repeat(sum, 64), Size: 5, Groups: []string{"engine-gpu"}}
}

func TestLockAndListOfWheelsMustAgree(t *testing.T) {
	list := &wheel.List{Wheels: []wheel.Entry{{Name: "a", Version: "1", SHA256: strings.Repeat("1", 64), Size: 5}}}
	for name, tc := range map[string]struct {
		locked []lock.Artefact
		want   string // "" is success
	}{
		"equal":       {[]lock.Artefact{lockedWheel("a", "1")}, ""},
		"other bytes": {[]lock.Artefact{lockedWheel("a", "2")}, "is not in the lock"},
		"not locked":  {nil, "is not in the lock"},
		"one more":    {[]lock.Artefact{lockedWheel("a", "1"), lockedWheel("b", "2")}, "does not list"},
	} {
		t.Run(name, func(t *testing.T) {
			sources, err := heavy(t, tc.locked...).wheelSources(list, "engine-gpu")
			if tc.want == "" && (err != nil || len(sources) != 1) || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("%d sources, error %v, want %q", len(sources), err, tc.want)
			}
			if tc.want != "" && !strings.Contains(err.Error(), lock.UpdateCommand) {
				t.Errorf("error %v does not name the next step", err)
			}
		})
	}
}

func TestWheelsAreLookedUpOnlyWhenTheyAreMissing(t *testing.T) {
	t.Setenv(wheel.IndexVariable, "")
	have, lacking := lockedWheel("a", "1"), lockedWheel("b", "2")
	b := heavy(t, have)
	for name, tc := range map[string]struct {
		arts []lock.Artefact
		opts Options
		want error
	}{
		"all there":            {[]lock.Artefact{have}, Options{}, nil},
		"one lacking":          {[]lock.Artefact{have, lacking}, Options{}, wheel.ErrNoIndex},
		"lacking but offline":  {[]lock.Artefact{lacking}, Options{Offline: true}, nil}, // the store says what is missing
		"lacking but exported": {[]lock.Artefact{lacking}, Options{From: []string{"/srv"}}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := locateWheels(t.Context(), b.store, tc.arts, tc.opts)
			if !errors.Is(err, tc.want) {
				t.Fatalf("error %v, want %v", err, tc.want)
			}
			if tc.want == nil && !cmp.Equal(tc.arts, got) {
				t.Errorf("artefacts %v changed to %v", tc.arts, got)
			}
		})
	}
}

func TestWheelsReportNamesWhatChanged(t *testing.T) {
	root := t.TempDir()
	dir := RecipePath(root)
	definition, err := os.ReadFile("../../mkosi/gpu.toml")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, gpu.FileName), definition, 0o600); err != nil {
		t.Fatal(err)
	}
	entry := func(name, version, sum string) string {
		return `{"download_info":{"url":"https://x.example/` + name + "-" + version + `-py3-none-any.whl","archive_info":{"hashes":{"sha256":"` +
			strings.Repeat(sum, 64) + `"}}},"metadata":{"name":"` + name + `","version":"` + version + `"}}`
	}
	size := func(context.Context, string) (int64, error) { return 7, nil }
	read := func(entries ...string) (*wheel.List, []WheelsChange) {
		t.Helper()
		report := `{"version":"1","install":[` + strings.Join(entries, ",") + `]}`
		list, name, changes, err := ReadWheelsReport(t.Context(), root, []byte(report), size)
		if err != nil {
			t.Fatal(err)
		}
		if want := filepath.Join(dir, "wheels.lock"); name != want {
			t.Errorf("the list belongs at %s, want %s", name, want)
		}
		return list, changes
	}
	list, changes := read(entry("a", "1", "1"), entry("b", "1", "2"))
	if len(changes) != 2 {
		t.Errorf("changes %v of a first list", changes)
	}
	if err := list.Save(filepath.Join(dir, "wheels.lock")); err != nil {
		t.Fatal(err)
	}
	_, changes = read(entry("b", "2", "3"), entry("c", "1", "4"))
	want := []WheelsChange{{"a", "1 111111111111", ""}, {"b", "1 222222222222", "2 333333333333"}, {"c", "", "1 444444444444"}}
	if diff := cmp.Diff(want, changes); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
}
