package oci

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"cocoon/image/fetch"
	"cocoon/image/lock"
	"cocoon/tests/golden"
)

// spec is the gateway's image of this checkout.
func spec(t *testing.T) GatewaySpec {
	t.Helper()
	if !slices.Contains(strings.Split(os.Getenv("COCOON_TEST"), ","), "repro") {
		t.Skip("compiles the program and fetches certificates; COCOON_TEST=repro runs it")
	}
	root := golden.Root(t)
	locked, err := lock.Load(filepath.Join(root, "mkosi", "image.lock"))
	if err != nil {
		t.Fatal(err)
	}
	home, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	cache := filepath.Join(home, "cocoon")
	store, err := fetch.Open(filepath.Join(cache, "inputs"))
	if err != nil {
		t.Fatal(err)
	}
	return GatewaySpec{Root: root, Lock: locked, Store: store, CacheDir: cache, Version: "v0 test"}
}

// build makes the archive of an image.
func build(t *testing.T, s GatewaySpec) (*Gateway, []byte) {
	t.Helper()
	g, err := BuildGateway(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := g.Write(&out, s.Tag()); err != nil {
		t.Fatal(err)
	}
	return g, out.Bytes()
}

func TestTheGatewaysImageIsReproducibleAndRuns(t *testing.T) {
	// Compiled packages are shared with other builds: that they do not change the program is image/gobuild's promise.
	s := spec(t)
	g, first := build(t, s)
	if err := validate.Image(g.Image); err != nil {
		t.Error(err)
	}
	_, second := build(t, s)
	if !bytes.Equal(first, second) {
		t.Errorf("two builds differ: %d and %d bytes", len(first), len(second))
	}
	config, err := g.Image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes, program %s of %d bytes, %s", len(first), g.Program, g.Size, g.Certificates)
	runs(t, first, config.Config)
	engines(t, first, s.Tag())
}

// runs starts the program as the configuration says: in its own root, as its user, with nothing else of this machine.
func runs(t *testing.T, archive []byte, c v1.Config) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Log("not run: another root needs root")
		return
	}
	dir, _ := unpack(t, archive)
	layers, err := filepath.Glob(filepath.Join(dir, blobs, "*"))
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	largest := slices.MaxFunc(layers, func(a, b string) int { return int(size(t, a) - size(t, b)) })
	if out, err := exec.CommandContext(t.Context(), "tar", "-C", root, "--numeric-owner", "-xpf", largest).CombinedOutput(); err != nil {
		t.Fatalf("unpacking the layer: %v: %s", err, out)
	}
	if err := os.Chmod(root, 0o755); err != nil { // nobody must pass
		t.Fatal(err)
	}
	run := func(args ...string) (string, error) {
		words := append([]string{"--userspec", c.User, root, c.Entrypoint[0]}, args...)
		cmd := exec.CommandContext(t.Context(), "chroot", words...)
		cmd.Env = c.Env
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := run("gateway", "run", "--help"); err != nil || !strings.Contains(out, "cocoon gateway run") {
		t.Errorf("%v: %s", err, out)
	}
	// Without settings it says which file to mount; with them, that an open port needs keys.
	if out, err := run(c.Cmd...); err == nil || !strings.Contains(out, "/etc/cocoon/gateway.json") {
		t.Errorf("%v: %s", err, out)
	}
	settings := filepath.Join(root, "etc", "cocoon", "gateway.json")
	if err := os.WriteFile(settings, []byte(`{"proxy":["127.0.0.1:1"],"image":["`+strings.Repeat("ab", 32)+`"]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(settings, 0o644); err != nil { // read by the image's user
		t.Fatal(err)
	}
	if out, err := run(c.Cmd...); err == nil || !strings.Contains(out, "no API key is set") {
		t.Errorf("%v: %s", err, out)
	}
}

func size(t *testing.T, name string) int64 {
	t.Helper()
	st, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	return st.Size()
}

// engines shows the archive to the tools of others, where they are installed.
func engines(t *testing.T, archive []byte, tag string) {
	t.Helper()
	dir := t.TempDir()
	name := filepath.Join(dir, "image.tar")
	if err := os.WriteFile(name, archive, 0o600); err != nil {
		t.Fatal(err)
	}
	layoutDir, _ := unpack(t, archive)
	for tool, args := range map[string][]string{
		"skopeo": {"--insecure-policy", "copy", "oci-archive:" + name + ":" + tag, "dir:" + filepath.Join(dir, "copied")},
		"umoci":  {"unpack", "--image", layoutDir + ":" + tag, filepath.Join(dir, "bundle")},
	} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Logf("%s is not installed: not asked", tool)
			continue
		}
		if out, err := exec.CommandContext(t.Context(), tool, args...).CombinedOutput(); err != nil {
			t.Errorf("%s: %v: %s", tool, err, out)
		}
	}
}
