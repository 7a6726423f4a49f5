package diff

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cocoon/image/fs"
	"cocoon/image/initrd"
	"cocoon/image/manifest"
	"cocoon/image/rootfs"
	"cocoon/image/uki"
)

// stub is a small legal PE32+ image with one section and room for three more headers.
func stub() []byte {
	const pe, coff, opt, table = 0x40, 0x44, 0x58, 0x58 + 240
	b := make([]byte, 0x800)
	le := binary.LittleEndian
	copy(b, "MZ")
	le.PutUint32(b[0x3c:], pe)
	copy(b[pe:], "PE\x00\x00")
	le.PutUint16(b[coff:], 0x8664)
	le.PutUint16(b[coff+2:], 1)
	le.PutUint16(b[coff+16:], 240)
	le.PutUint16(b[coff+18:], 0x22)
	le.PutUint16(b[opt:], 0x20b)
	le.PutUint32(b[opt+32:], 0x1000)
	le.PutUint32(b[opt+36:], 0x200)
	le.PutUint32(b[opt+56:], 0x2000)
	le.PutUint32(b[opt+60:], 0x600)
	le.PutUint32(b[opt+108:], 16)
	copy(b[table:], ".text")
	le.PutUint32(b[table+8:], 0x123)
	le.PutUint32(b[table+12:], 0x1000)
	le.PutUint32(b[table+16:], 0x200)
	le.PutUint32(b[table+20:], 0x600)
	return b
}

func archive(t *testing.T, files map[string]string) []byte {
	t.Helper()
	tree := rootfs.New()
	for name, text := range files {
		if err := tree.Add(name, &rootfs.Inode{Type: rootfs.File, Mode: 0o644, Content: rootfs.Bytes([]byte(text))}); err != nil {
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	if err := initrd.Write(&out, tree); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func image(t *testing.T, cmdline string, ram []byte, linux string) []byte {
	t.Helper()
	img, err := uki.Build(stub(), uki.Sections{Cmdline: []byte(cmdline), Initrd: ram, Linux: []byte(linux)})
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func TestCompareUKIsNamesSectionAndRecord(t *testing.T) {
	ram := archive(t, map[string]string{"init": "binary", "etc/cmdline": "quiet"})
	other := archive(t, map[string]string{"init": "binarY", "etc/cmdline": "quiet"})
	base := image(t, "quiet", ram, "kernel")
	text := bytes.Clone(base)
	text[0x600] ^= 0xff
	for name, tc := range map[string]struct {
		b    []byte
		want []Finding
	}{
		"equal":        {base, nil},
		"command line": {image(t, "quieT", ram, "kernel"), []Finding{{Path: ".cmdline", What: "content", A: "0x74", B: "0x54", Offset: 4}}},
		"kernel":       {image(t, "quiet", ram, "kernel6"), []Finding{{Path: ".linux", What: "content", A: "end", B: "more data", Offset: 6}}},
		"record":       {image(t, "quiet", other, "kernel"), []Finding{{Path: ".initrd/init", What: "content", A: "0x79", B: "0x59", Offset: 5}}},
		"stub":         {text, []Finding{{Path: ".text", What: "content", A: "0x00", B: "0xff", Offset: 0}}},
		"foreign initrd": {
			image(t, "quiet", append(bytes.Clone(ram), 0, 0, 0, 1), "kernel"),
			[]Finding{{Path: ".initrd", What: "content", A: "end", B: "more data", Offset: int64(len(ram))}},
		},
		"no UKI": {[]byte("text"), nil},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := compareUKIs(t.Context(), base, tc.b)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("findings differ (-want +got):\n%s", diff)
			}
		})
	}
}

func TestCompareUKIsSeesAMissingSection(t *testing.T) {
	got, err := compareUKIs(t.Context(), stub(), image(t, "quiet", archive(t, map[string]string{"init": "x"}), "kernel"))
	if err != nil || len(got) != 3 {
		t.Fatalf("%+v, %v; want three added sections", got, err)
	}
	for _, f := range got {
		if f.What != "present" || f.A != "missing" {
			t.Errorf("finding %+v", f)
		}
	}
}

func TestCompareLayersWalksBothTrees(t *testing.T) {
	layer := func(files map[string]string) string {
		tree := rootfs.New()
		for name, text := range files {
			if err := tree.Add(name, &rootfs.Inode{Type: rootfs.File, Mode: 0o644, Content: rootfs.Bytes([]byte(text))}); err != nil {
				t.Fatal(err)
			}
		}
		var out bytes.Buffer
		if _, err := fs.Write(t.Context(), &out, tree, fs.Options{Epoch: 1}); err != nil {
			t.Fatal(err)
		}
		name := filepath.Join(t.TempDir(), "layer.img")
		if err := os.WriteFile(name, out.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	big := strings.Repeat("x", 10000)
	a := layer(map[string]string{"usr/a": big, "usr/b": "same"})
	b := layer(map[string]string{"usr/a": big[:9000] + "y" + big[9001:], "usr/b": "same", "usr/c": ""})
	got, err := compareLayers(t.Context(), a, b)
	if err != nil {
		t.Fatal(err)
	}
	want := []Finding{
		{Path: "usr/a", What: "content", A: "0x78", B: "0x79", Offset: 9000},
		{Path: "usr/c", What: "present", A: "missing", B: "present", Offset: -1},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("findings differ (-want +got):\n%s", diff)
	}
}

func TestSectionCausesKeepStubKernelAndRecipeApart(t *testing.T) {
	in := func(kind, name string, artefacts ...string) InputChange {
		i := manifest.Input{Kind: kind, Name: name, Version: "1", SHA256: hashA, Artefacts: artefacts}
		j := i
		j.Version, j.SHA256 = "2", hashB
		return InputChange{kind, name, &i, &j}
	}
	c := &comparison{changes: []InputChange{
		in("deb", "linux", "vmlinuz", "initrd.cpio", "image.efi"),
		in("deb", "stub", "image.efi"),
		in("recipe", "image proxy cmdline", "cmdline", "initrd.cpio", "image.efi"),
		in("go-source", "./cmd/init", "cmdline", "initrd.cpio", "image.efi"),
	}}
	for section, want := range map[string][]string{
		".linux": {"deb linux: 1 -> 2"}, ".text": {"deb stub: 1 -> 2"}, ".cmdline": {"recipe image proxy cmdline: 1 -> 2"},
		".initrd": {"deb linux: 1 -> 2", "recipe image proxy cmdline: 1 -> 2", "go-source ./cmd/init: 1 -> 2"},
	} {
		if diff := cmp.Diff(want, c.sectionCauses(section)); diff != "" {
			t.Errorf("%s: causes differ (-want +got):\n%s", section, diff)
		}
	}
}

func TestCauseMatchesOriginsWithChanges(t *testing.T) {
	change := func(kind, name string) InputChange {
		return InputChange{
			kind, name, &manifest.Input{Version: "1", SHA256: hashA, Artefacts: []string{"x"}},
			&manifest.Input{Version: "2", SHA256: hashB, Artefacts: []string{"x"}},
		}
	}
	c := &comparison{
		changes: []InputChange{change("deb", "libc6"), change("go-sum", "go.sum"), change("go", "toolchain"), change("recipe", "line")},
		differ:  []string{"layer-base.img", "vmlinuz"},
	}
	for origin, want := range map[string]string{
		"deb libc6 2":   "deb libc6: 1 -> 2",
		"deb libc7 2":   "",
		"recipe":        "recipe line: 1 -> 2",
		"go build":      "go-sum go.sum: 1 -> 2; go toolchain: 1 -> 2",
		"layers":        "follows from layer-base.img",
		"merged /usr":   "",
		"":              "",
		"deb":           "deb libc6: 1 -> 2",
		"wheel torch 1": "",
	} {
		if got := c.cause("x", []string{origin}); got != want {
			t.Errorf("origin %q: %q, want %q", origin, got, want)
		}
	}
	if got := c.cause("other", []string{"deb libc6 2"}); got != "" {
		t.Errorf("an input that does not reach the artefact is named: %q", got)
	}
}
