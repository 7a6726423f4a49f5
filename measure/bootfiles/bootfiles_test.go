package bootfiles

import (
	"bytes"
	"strings"
	"testing"
)

func layer(id string, blocks uint64) Layer {
	return Layer{
		ID: id, DataBlocks: blocks, HashStartBlock: blocks + 1, HashBlocks: TreeBlocks(blocks),
		Salt: strings.Repeat("ab", 32), RootHash: strings.Repeat("0f", 32), Mount: LayerMountRoot + "/" + id, Role: RoleBase,
	}
}

// TestTreeBlocks: the edges of the tree's shape (image.md section 6.1).
func TestTreeBlocks(t *testing.T) {
	for blocks, want := range map[uint64]uint64{1: 0, 2: 1, 128: 1, 129: 3, 16384: 129, 16385: 129 + 3} {
		if got := TreeBlocks(blocks); got != want {
			t.Errorf("TreeBlocks(%d) = %d, want %d", blocks, got, want)
		}
	}
}

// TestLayersRoundTrip: one encoding per value, in both directions.
func TestLayersRoundTrip(t *testing.T) {
	data, err := EncodeLayers([]Layer{layer("base", 300), layer("engine", 1)})
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := ParseLayers(data)
	if err != nil {
		t.Fatal(err)
	}
	again, err := EncodeLayers(parsed)
	if err != nil || !bytes.Equal(data, again) {
		t.Fatalf("%s became %s (%v)", data, again, err)
	}
}

// TestLayerRules: each rule refuses by the field's name.
func TestLayerRules(t *testing.T) {
	for name, tc := range map[string]struct {
		spoil func(*Layer)
		want  string
	}{
		"serial over 20 bytes": {func(l *Layer) { l.ID = strings.Repeat("a", 21); l.Mount = LayerMountRoot + "/" + l.ID }, "id:"},
		"upper case id":        {func(l *Layer) { l.ID = "Base" }, "id:"},
		"no blocks":            {func(l *Layer) { l.DataBlocks = 0 }, "dataBlocks:"},
		"hash start":           {func(l *Layer) { l.HashStartBlock++ }, "hashStartBlock:"},
		"hash blocks":          {func(l *Layer) { l.HashBlocks++ }, "hashBlocks:"},
		"salt not hex":         {func(l *Layer) { l.Salt = "xx" }, "salt:"},
		"root upper case":      {func(l *Layer) { l.RootHash = strings.Repeat("0F", 32) }, "rootHash:"},
		"root short":           {func(l *Layer) { l.RootHash = "0f" }, "rootHash:"},
		"mount elsewhere":      {func(l *Layer) { l.Mount = "/etc" }, "mount:"},
		"role":                 {func(l *Layer) { l.Role = "root" }, "role:"},
	} {
		t.Run(name, func(t *testing.T) {
			l := layer("base", 300)
			tc.spoil(&l)
			if err := l.Validate(); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("Validate = %v, want %q", err, tc.want)
			}
		})
	}
	if _, err := EncodeLayers([]Layer{layer("base", 2), layer("base", 2)}); err == nil {
		t.Error("two layers with one id were accepted")
	}
	if _, err := EncodeLayers(nil); err == nil {
		t.Error("no layers were accepted")
	}
}

// TestParseRefusesOtherEncodings: a document that is not its own canonical form is refused.
func TestParseRefusesOtherEncodings(t *testing.T) {
	data, err := EncodeImage(Image{Name: "proxy", Profile: "proxy", Variant: Production, Version: 1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ParseImage(data); err != nil {
		t.Fatal(err)
	}
	for name, doc := range map[string]string{
		"space":      strings.Replace(string(data), ":", ": ", 1),
		"no newline": strings.TrimSuffix(string(data), "\n"),
		"variant":    strings.Replace(string(data), "production", "released", 1),
		"profile":    strings.Replace(string(data), `"profile":"proxy"`, `"profile":"seal"`, 1),
		"version":    strings.Replace(string(data), `"version":1`, `"version":0`, 1),
	} {
		if _, err := ParseImage([]byte(doc)); err == nil {
			t.Errorf("%s: accepted %s", name, doc)
		}
	}
}

// TestModulesOrder: names are plain file names, each once, one a line.
func TestModulesOrder(t *testing.T) {
	data, err := EncodeModulesOrder([]string{"virtio_blk.ko", "dm_mod.ko"})
	if err != nil || string(data) != "virtio_blk.ko\ndm_mod.ko\n" {
		t.Fatalf("%q, %v", data, err)
	}
	for _, bad := range []string{"", "a.ko", "../a.ko\n", "a.ko\na.ko\n", "a\n", "\n", "a.ko\n\n"} {
		if _, err := ParseModulesOrder([]byte(bad)); err == nil {
			t.Errorf("accepted %q", bad)
		}
	}
}

// TestCmdline: the strings are measured; changing one changes every image (image.md section 1).
func TestCmdline(t *testing.T) {
	for v, want := range map[Variant]string{
		Production: "console=hvc0 quiet panic=-1",
		Debug:      "console=hvc0 quiet panic=-1 cocoon_debug",
		Test:       "console=ttyS0 quiet panic=-1",
	} {
		if got := Cmdline(v); got != want {
			t.Errorf("Cmdline(%s) = %q, want %q", v, got, want)
		}
	}
	if got := Cmdline(Production, "swiotlb=1048576"); got != "console=hvc0 quiet panic=-1 swiotlb=1048576" {
		t.Errorf("extra words: %q", got)
	}
}

func fuzzSeeds(f *testing.F) {
	f.Helper()
	layers, err := EncodeLayers([]Layer{layer("base", 300)})
	if err != nil {
		f.Fatal(err)
	}
	img, err := EncodeImage(Image{Name: "proxy", Profile: "proxy", Variant: Test, Version: 1})
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range [][]byte{layers, img, []byte("a.ko\nb.ko\n"), []byte("[]\n"), []byte("{}\n")} {
		f.Add(s)
	}
}

// FuzzBootFiles: no input panics, and what parses has exactly one encoding.
func FuzzBootFiles(f *testing.F) {
	fuzzSeeds(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		if v, err := ParseLayers(data); err == nil {
			if again, err := EncodeLayers(v); err != nil || !bytes.Equal(again, data) {
				t.Fatalf("layers %q became %q (%v)", data, again, err)
			}
		}
		if v, err := ParseImage(data); err == nil {
			if again, err := EncodeImage(v); err != nil || !bytes.Equal(again, data) {
				t.Fatalf("image %q became %q (%v)", data, again, err)
			}
		}
		if v, err := ParseModulesOrder(data); err == nil {
			if again, err := EncodeModulesOrder(v); err != nil || !bytes.Equal(again, data) {
				t.Fatalf("order %q became %q (%v)", data, again, err)
			}
		}
	})
}
