package nvidia

import (
	"context"
	"crypto/sha256"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cocoon/image/deb"
)

func realSources(t *testing.T) []deb.Source {
	var out []deb.Source
	urls, err := os.ReadFile("/tmp/gpuw/tool.urls")
	if err != nil { t.Skip(err) }
	for _, u := range strings.Fields(string(urls)) { out = append(out, deb.Source{Path: "/tmp/gpuw/debs/" + filepath.Base(u)}) }
	more, _ := filepath.Glob("/tmp/gpuw/debs/*6.18.15*")
	src, _ := filepath.Glob("/tmp/gpuw/debs/nvidia-open-kernel-source*")
	for _, p := range append(more, src...) { out = append(out, deb.Source{Path: p}) }
	return out
}

func TestRealModules(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 9*time.Minute)
	defer cancel()
	start := time.Now()
	mods, err := BuildModules(ctx, ModulesSpec{
		Toolchain: Toolchain{Sources: realSources(t), CacheDir: "/tmp/gpuw/cache", Scratch: os.Getenv("SCRATCH")},
		Release: "6.18.15+deb13-cloud-amd64", Driver: "550.163.01", Epoch: 1735689600,
	})
	if err != nil { t.Fatal(err) }
	for _, m := range mods { t.Logf("%s %d %x", m.File, len(m.Data), sha256.Sum256(m.Data)); os.WriteFile(os.Getenv("SCRATCH")+"."+m.File, m.Data, 0o644) }
	t.Log(time.Since(start))
}

func TestRealHelper(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 9*time.Minute)
	defer cancel()
	start := time.Now()
	p, err := BuildHelper(ctx, HelperSpec{
		Toolchain: Toolchain{Sources: realSources(t), CacheDir: "/tmp/gpuw/cache", Scratch: os.Getenv("SCRATCH")},
		Module: "/work/main", GoRoot: "/usr/local/go", ModCache: "/root/go/pkg/mod", GoVersion: "1.26.8",
	})
	if err != nil { t.Fatal(err) }
	t.Logf("%d %x %s", len(p), sha256.Sum256(p), time.Since(start))
	os.WriteFile(os.Getenv("SCRATCH")+".bin", p, 0o755)
}
