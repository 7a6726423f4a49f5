package pipeline_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cocoon/image/manifest"
	"cocoon/image/pipeline"
	"cocoon/measure/bootfiles"
)

func TestExamineFindsWhatHashesCannotShow(t *testing.T) {
	c := newCheckout(t)
	o := c.Options()
	o.Images = []string{"proxy"}
	built, _ := build(t, o)
	for name, tc := range map[string]struct {
		change func(t *testing.T, dir string, m *manifest.Manifest)
		check  string // start of the failing check's name; empty for none
	}{
		"untouched": {func(*testing.T, string, *manifest.Manifest) {}, ""},
		"another root in the manifest": {
			func(_ *testing.T, _ string, m *manifest.Manifest) { m.Layers[0].RootHash = strings.Repeat("ab", 32) }, "layer base",
		},
		"another command line in the manifest": {
			func(_ *testing.T, _ string, m *manifest.Manifest) { m.Cmdline = "console=ttyS0" }, "the initrd's command line",
		},
		"another variant in the manifest": {
			func(_ *testing.T, _ string, m *manifest.Manifest) { m.Image.Variant = bootfiles.Debug }, "the initrd's identity",
		},
		"another kernel beside the UKI": {
			func(t *testing.T, dir string, _ *manifest.Manifest) {
				t.Helper()
				flip(t, filepath.Join(dir, "vmlinuz"))
			}, "the UKI holds",
		},
		"a damaged layer": {
			func(t *testing.T, dir string, _ *manifest.Manifest) {
				t.Helper()
				flip(t, filepath.Join(dir, "layer-base.img"))
			}, "layer base",
		},
		"no UKI": {
			func(t *testing.T, dir string, _ *manifest.Manifest) {
				t.Helper()
				if err := os.Remove(filepath.Join(dir, "image.efi")); err != nil {
					t.Fatal(err)
				}
			}, "the UKI and its initrd",
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			m := *built[0].Manifest
			m.Layers = append([]bootfiles.Layer(nil), m.Layers...)
			copyImage(t, built[0].Dir, dir, &m)
			tc.change(t, dir, &m)
			var wrong []string
			for _, c := range pipeline.Examine(t.Context(), dir, &m) {
				if c.Err != nil && !c.Advisory {
					wrong = append(wrong, c.Name)
				}
			}
			found := false
			for _, w := range wrong {
				found = found || strings.HasPrefix(w, tc.check)
			}
			if found != (tc.check != "") || tc.check == "" && len(wrong) > 0 {
				t.Errorf("wrong: %q, want %q", wrong, tc.check)
			}
		})
	}
}

func TestUnknownFirmwareIsAdvisory(t *testing.T) {
	o := newCheckout(t).Options()
	o.Images = []string{"proxy"}
	built, _ := build(t, o)
	checks := pipeline.Examine(t.Context(), built[0].Dir, built[0].Manifest)
	last := checks[len(checks)-1]
	if last.Err == nil || !last.Advisory || !strings.Contains(last.Name, "firmware") {
		t.Errorf("made-up firmware gives %+v", last)
	}
}

func copyImage(t *testing.T, from, to string, m *manifest.Manifest) {
	t.Helper()
	for _, a := range m.Artefacts {
		if a.Kind == manifest.KindDisk {
			continue // large, and not examined
		}
		data, err := os.ReadFile(filepath.Join(from, a.Name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(to, a.Name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// flip changes the last byte that is not zero in the first half of a file.
func flip(t *testing.T, name string) {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	at := len(bytes.TrimRight(data[:len(data)/2], "\x00")) - 1
	data[max(at, 0)] ^= 1
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
}
