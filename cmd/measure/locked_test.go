package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"cocoon/cmd/internal/cli"
	"cocoon/image/pipeline"
	"cocoon/measure/bootfiles"
	"cocoon/measure/launch"
)

// lockedQEMU unpacks the QEMU of the published shapes.
func lockedQEMU(t *testing.T) string {
	t.Helper()
	if !slices.ContainsFunc(strings.Split(os.Getenv("COCOON_TEST"), ","), func(g string) bool { return g == "net" || g == "all" }) {
		t.Skipf("fetches QEMU %s: set COCOON_TEST=net", launch.HostQEMU)
	}
	cache := os.Getenv("COCOON_CACHE")
	if cache == "" {
		dir, err := os.UserCacheDir()
		if err != nil {
			t.Fatal(err)
		}
		cache = filepath.Join(dir, "cocoon")
	}
	q, err := pipeline.InstallQEMU(t.Context(), pipeline.Options{
		Root: filepath.Join("..", ".."), CacheDir: cache, OutDir: t.TempDir(),
	}, launch.HostQEMU, func(pipeline.Event) {})
	if err != nil {
		t.Fatal(err)
	}
	return q.Launcher
}

// TestPredictsEveryPublishedShape: with the locked QEMU no shape needs an excuse, whatever this machine has installed.
// A shape is predicted for an image with its layers, and no two shapes are measured alike.
func TestPredictsEveryPublishedShape(t *testing.T) {
	t.Parallel()
	qemu := lockedQEMU(t)
	seen := make(map[string]string) // RTMR0 -> shape
	for _, name := range launch.Shapes() {
		m, err := launch.Shape(name)
		if err != nil {
			t.Fatal(err)
		}
		if m.Boot == launch.BootDisk {
			continue // predicted from a disk image, which these tests do not build
		}
		var layers []string
		for _, d := range m.Disks() {
			if strings.HasPrefix(d.ID, "layer-") {
				layers = append(layers, d.Serial)
			}
		}
		dir := buildImage(t, imageParts{variant: bootfiles.Production, layers: layers})
		var doc predictDoc
		measure(t, "predict", dir, "--qemu", qemu, "--shape", name, "-o", "json").want(t, cli.ExitOK).decode(t, &doc)
		if doc.QEMU != launch.HostQEMU || len(doc.Predictions) != 1 {
			t.Fatalf("%s: QEMU %s, %d predictions", name, doc.QEMU, len(doc.Predictions))
		}
		p := doc.Predictions[0]
		if p.Shape != name || p.MachineType != m.MachineType || (p.DeclaredQEMU != "" && p.DeclaredQEMU != doc.QEMU) {
			t.Errorf("%s: predicted %s of type %s for QEMU %s", name, p.Shape, p.MachineType, p.DeclaredQEMU)
		}
		rtmr0 := p.RTMR0.String()
		if other := seen[rtmr0]; other != "" {
			t.Errorf("%s and %s have one RTMR0", name, other)
		}
		seen[rtmr0] = name
	}
}
