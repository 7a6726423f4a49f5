package probe

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"cocoon/image/pipeline"
	"cocoon/measure/launch"
	"cocoon/measure/launch/acpi"
)

// locked is the QEMU of a version: the one that COCOON_QEMU names when it fits, else the one of mkosi/image.lock, which
// is fetched only when COCOON_TEST names the group net.
func locked(t *testing.T, version string) *QEMU {
	t.Helper()
	if path := os.Getenv("COCOON_QEMU"); path != "" {
		q, err := Find(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		if q.Version == version {
			return q
		}
	}
	if !slices.ContainsFunc(strings.Split(os.Getenv("COCOON_TEST"), ","), func(g string) bool { return g == "net" || g == "all" }) {
		t.Skipf("needs QEMU %s: name one with COCOON_QEMU, or let COCOON_TEST=net fetch the locked one", version)
	}
	cache := os.Getenv("COCOON_CACHE")
	if cache == "" {
		dir, err := os.UserCacheDir()
		if err != nil {
			t.Fatal(err)
		}
		cache = filepath.Join(dir, "cocoon")
	}
	installed, err := pipeline.InstallQEMU(t.Context(), pipeline.Options{
		Root: filepath.Join("..", ".."), CacheDir: cache, OutDir: t.TempDir(),
	}, version, func(pipeline.Event) {})
	if err != nil {
		t.Fatal(err)
	}
	q, err := Find(t.Context(), installed.Launcher)
	if err != nil {
		t.Fatal(err)
	}
	if q.Version != version {
		t.Fatalf("the locked QEMU %s says it is %s", version, q.Version)
	}
	return q
}

// TestPublishedShapesOnTheirQEMU reads every built-in machine as it is published, its machine type included, twice.
func TestPublishedShapesOnTheirQEMU(t *testing.T) {
	t.Parallel()
	q := locked(t, launch.HostQEMU)
	for _, name := range launch.Shapes() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := shape(t, name)
			first, err := q.Read(t.Context(), m)
			if err != nil {
				t.Fatal(err)
			}
			again, err := q.Read(t.Context(), m)
			if err != nil {
				t.Fatal(err)
			}
			for _, file := range []string{acpi.FileTables, acpi.FileLoader, acpi.FileRSDP} {
				if len(first.Files[file]) == 0 || !bytes.Equal(first.Files[file], again.Files[file]) {
					t.Errorf("%s: %d and %d bytes, or they differ", file, len(first.Files[file]), len(again.Files[file]))
				}
			}
		})
	}
}
