package repro

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"cocoon/image/pipeline"
	"cocoon/image/pipeline/pipelinetest"
	"cocoon/image/repro"
	"cocoon/measure/bootfiles"
	"cocoon/tests/golden"
)

// builder compiles the command, once per test, with the user's caches.
func builder(t *testing.T) string {
	t.Helper()
	groups := strings.Split(os.Getenv("COCOON_TEST"), ",")
	if !slices.Contains(groups, "repro") && !slices.Contains(groups, "all") {
		t.Skip("compiles twice with cold caches; set COCOON_TEST=repro to run it")
	}
	name := filepath.Join(openDir(t), "cocoon")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", name, "./cmd/cocoon")
	cmd.Dir = golden.Root(t)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building the command: %v\n%s", err, out)
	}
	return name
}

func TestASmallCheckoutIsReproducible(t *testing.T) {
	program := builder(t)
	c := pipelinetest.New(t, t.TempDir(), "")
	o := c.Options()
	o.Build = "cpu"
	out, err := repro.Run(t.Context(), repro.Spec{Options: o, Program: program, Scratch: openDir(t)})
	if err != nil {
		t.Fatal(err)
	}
	for _, cond := range out.Conditions {
		if cond.Name == "user" && os.Geteuid() == 0 && cond.A == cond.B {
			t.Error("both legs ran as the same user")
		}
	}
	if !out.Equal() || len(out.Images) != 2 || out.Kept != "" {
		t.Errorf("the two builds differ: %+v", out)
	}
}

// TestABuilderThatLooksAtItsConditionsIsCaught is the negative twin: what a build must not depend on is let into it.
func TestABuilderThatLooksAtItsConditionsIsCaught(t *testing.T) {
	program := builder(t)
	for name, tc := range map[string]struct {
		leak     string // shell words run in the leg's checkout before the build
		artefact string
		path     string
	}{
		"time zone":         {`echo "var zone = \"$TZ\"; func init() { println(zone) }" >> cmd/init/main.go`, "initrd.cpio", "init"},
		"working directory": {`echo "var dir = \"$PWD\"; func init() { println(dir) }" >> guest/part/part.go`, "initrd.cpio", "init"},
	} {
		t.Run(name, func(t *testing.T) {
			leaky := filepath.Join(t.TempDir(), "leaky")
			script := "#!/bin/sh\n" + tc.leak + "\nexec " + program + " \"$@\"\n"
			if err := os.WriteFile(leaky, []byte(script), 0o755); err != nil {
				t.Fatal(err)
			}
			o := pipelinetest.New(t, t.TempDir(), "").Options()
			o.Images = []string{"proxy"}
			o.Build = "cpu"
			out, err := repro.Run(t.Context(), repro.Spec{Options: o, Program: leaky, Scratch: openDir(t)})
			if err != nil {
				t.Fatal(err)
			}
			if out.Equal() || out.Kept == "" {
				t.Fatalf("a build that depends on its %s counts as reproducible", name)
			}
			for _, a := range out.Images[0].Report.Artefacts {
				if a.Name != tc.artefact {
					continue
				}
				f := a.Findings[0]
				if f.Path != tc.path || f.Offset < 0 || !strings.Contains(f.Cause, "go-source ./cmd/init") {
					t.Errorf("the difference is explained as %+v, want %s because of the Go source", f, tc.path)
				}
				return
			}
			t.Errorf("%s is not among what differs: %+v", tc.artefact, out.Images[0].Report)
		})
	}
}

// openDir is a temporary folder that the second leg's user may enter.
func openDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for at := dir; at != os.TempDir() && at != "/"; at = filepath.Dir(at) {
		if err := os.Chmod(at, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestTheLightImagesAreReproducible is bar 1 of image.md section 19 for the committed recipe.
func TestTheLightImagesAreReproducible(t *testing.T) {
	program := builder(t)
	cache := os.Getenv("COCOON_CACHE")
	if cache == "" {
		dir, err := os.UserCacheDir()
		if err != nil {
			t.Fatal(err)
		}
		cache = filepath.Join(dir, "cocoon")
	}
	o := pipeline.Options{
		Root: golden.Root(t), CacheDir: cache, OutDir: t.TempDir(), Build: "cpu", Variants: []bootfiles.Variant{bootfiles.Production},
	}
	out, err := repro.Run(t.Context(), repro.Spec{Options: o, Program: program, Report: func(leg, line string) { t.Log(leg, line) }})
	if err != nil {
		t.Fatal(err)
	}
	for _, img := range out.Images {
		t.Logf("%s: manifest %s", img.Label, img.Manifest)
	}
	if !out.Equal() {
		t.Errorf("the two builds differ: %+v", out)
	}
}
