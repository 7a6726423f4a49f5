package vectors

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cocoon/image/firmware"
	"cocoon/image/kernel"
	"cocoon/tests/inputs"
)

// layout is a folder with the pinned inputs and the variables that name them.
type layout struct {
	dir string
	env []string
}

func (l *layout) put(t *testing.T, variable, name string, data []byte) {
	t.Helper()
	file := filepath.Join(l.dir, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, data, 0o644); err != nil {
		t.Fatal(err)
	}
	if variable != "" {
		l.env = append(l.env, variable+"="+file)
	}
}

// prepare lays out what the tests look for.
func prepare(ctx context.Context, t *testing.T, in *inputs.Inputs) *layout {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	l := &layout{dir: t.TempDir()}
	r := in.Recipe
	stub, err := in.File(ctx, r.Stub.Group, r.Stub.Package, r.Stub.Path)
	must(err)
	l.put(t, "COCOON_STUB", "stub.efi", stub)

	group, err := in.Group(ctx, r.Kernel.Group)
	must(err)
	k, err := kernel.FromTree(group)
	must(err)
	vmlinuz, err := k.Vmlinuz()
	must(err)
	l.put(t, "COCOON_KERNEL", "vmlinuz", vmlinuz)
	deb, _ := in.Store.Path(in.Lock.InGroup(r.Kernel.Group)[0].SHA256)
	l.env = append(l.env, "COCOON_TEST_KERNEL="+deb)

	roms, err := in.Group(ctx, r.Firmware.Group)
	must(err)
	unpacked := filepath.Join(l.dir, "firmware")
	must(inputs.WriteTree(roms, unpacked))
	tdx, err := os.ReadFile(filepath.Join(unpacked, r.Firmware.TDXPath))
	must(err)
	vars, err := os.ReadFile(filepath.Join(unpacked, r.Firmware.VarsPath))
	must(err)
	shipped, err := firmware.Assemble(tdx, vars)
	must(err)
	l.put(t, "COCOON_FIRMWARE", "firmware/shipped.fd", shipped)
	l.env = append(l.env, "COCOON_TEST_FIRMWARE="+unpacked, "COCOON_TEST_FIRMWARE_DIR="+unpacked)
	return l
}

// TestPinnedInputs: with the pinned files at hand the stored values hold, and no test that needs them is skipped.
func TestPinnedInputs(t *testing.T) {
	if !inputs.Wants("vectors") {
		t.Skip("skipped: fetches the pinned inputs; set COCOON_TEST=vectors")
	}
	in, err := inputs.Open()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
	defer cancel()
	l := prepare(ctx, t, in)
	for pkg, tests := range map[string]string{
		"./image/uki":         "TestBuildMatchesVector",
		"./image/kernel":      "TestPinnedKernel",
		"./image/firmware":    "TestPinnedPackages",
		"./measure/ovmf":      "Vector|Firmware|MRTD",
		"./measure/launch":    "TestLoadFirmwareMeasuresTheFile|Derive",
		"./measure/launch/pe": "Kernel|Vector|Authenticode",
	} {
		t.Run(strings.TrimPrefix(pkg, "./"), func(t *testing.T) {
			cmd := exec.CommandContext(ctx, "go", "test", "-count", "1", "-v", "-run", tests, pkg)
			cmd.Dir = in.Root
			cmd.Env = append(os.Environ(), l.env...)
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			if !strings.Contains(string(out), "--- PASS") {
				t.Fatalf("no test ran\n%s", out)
			}
			for line := range strings.Lines(string(out)) {
				// Indented lines are cases of a table whose file nobody can have.
				if strings.HasPrefix(line, "--- SKIP") {
					t.Errorf("skipped although the inputs are there: %s\n%s", line, out)
				}
			}
		})
	}
}
