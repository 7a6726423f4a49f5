package diff

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cocoon/image/manifest"
	"cocoon/image/rootfs"
	"cocoon/measure/bootfiles"
)

const (
	hashA = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	hashB = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
)

func TestFirstDifferenceNamesTheFirstByte(t *testing.T) {
	long := strings.Repeat("x", chunk+10)
	for name, tc := range map[string]struct {
		a, b  string
		equal bool
		want  Finding
	}{
		"equal":           {"abc", "abc", true, Finding{}},
		"both empty":      {"", "", true, Finding{}},
		"one byte":        {"abc", "abd", false, Finding{What: "content", A: "0x63", B: "0x64", Offset: 2}},
		"shorter":         {"ab", "abc", false, Finding{What: "content", A: "end", B: "more data", Offset: 2}},
		"second chunk":    {long, long[:chunk+5] + "y" + long[chunk+6:], false, Finding{What: "content", A: "0x78", B: "0x79", Offset: chunk + 5}},
		"end at a chunk":  {long[:chunk], long, false, Finding{What: "content", A: "end", B: "more data", Offset: chunk}},
		"equal and long":  {long, long, true, Finding{}},
		"differs and cut": {"abX", "abcdef", false, Finding{What: "content", A: "0x58", B: "0x63", Offset: 2}},
	} {
		t.Run(name, func(t *testing.T) {
			got, equal, err := firstDifference(t.Context(), strings.NewReader(tc.a), strings.NewReader(tc.b))
			if err != nil || equal != tc.equal {
				t.Fatalf("equal %v, %v", equal, err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("finding differs (-want +got):\n%s", diff)
			}
		})
	}
}

func TestFirstDifferenceStopsWhenCancelledOrBroken(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := firstDifference(ctx, strings.NewReader("a"), strings.NewReader("a")); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want a cancelled context", err)
	}
	if _, _, err := firstDifference(t.Context(), broken{}, strings.NewReader("")); !errors.Is(err, os.ErrClosed) {
		t.Errorf("got %v, want the reader's error", err)
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, os.ErrClosed }

func treeOf(t *testing.T, nodes map[string]rootfs.Inode) *rootfs.Tree {
	t.Helper()
	tree := rootfs.New()
	for path, n := range nodes {
		if err := tree.Add(path, &n); err != nil {
			t.Fatal(err)
		}
	}
	return tree
}

func TestCompareTreesFindsEveryProperty(t *testing.T) {
	file := func(text string) rootfs.Inode {
		return rootfs.Inode{Type: rootfs.File, Mode: 0o644, Content: rootfs.Bytes([]byte(text))}
	}
	changed := file("hello")
	changed.Mode, changed.UID = 0o755, 7
	a := treeOf(t, map[string]rootfs.Inode{
		"same": file("x"), "content": file("hello"), "mode": file("hello"), "gone": file(""),
		"link": {Type: rootfs.Symlink, Mode: 0o777, Target: "a"}, "kind": file("x"),
		"dev": {Type: rootfs.CharDevice, Mode: 0o600, Major: 5, Minor: 1},
	})
	b := treeOf(t, map[string]rootfs.Inode{
		"same": file("x"), "content": file("hexlo"), "mode": changed, "new": file(""),
		"link": {Type: rootfs.Symlink, Mode: 0o777, Target: "b"}, "kind": {Type: rootfs.Dir, Mode: 0o644},
		"dev": {Type: rootfs.CharDevice, Mode: 0o600, Major: 5, Minor: 2},
	})
	got, err := compareTrees(t.Context(), a, b, "p/")
	if err != nil {
		t.Fatal(err)
	}
	want := []Finding{
		{Path: "p/content", What: "content", A: "0x6c", B: "0x78", Offset: 2},
		{Path: "p/dev", What: "device", A: "5:1", B: "5:2", Offset: -1},
		{Path: "p/gone", What: "present", A: "present", B: "missing", Offset: -1},
		{Path: "p/kind", What: "type", A: "file", B: "folder", Offset: -1},
		{Path: "p/link", What: "target", A: "a", B: "b", Offset: -1},
		{Path: "p/mode", What: "mode", A: "0644", B: "0755", Offset: -1},
		{Path: "p/mode", What: "owner", A: "0:0", B: "7:0", Offset: -1},
		{Path: "p/new", What: "present", A: "missing", B: "present", Offset: -1},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("findings differ (-want +got):\n%s", diff)
	}
}

func manifestOf(inputs ...manifest.Input) *manifest.Manifest {
	return &manifest.Manifest{Inputs: inputs}
}

func TestCompareInputsSaysWhatChanged(t *testing.T) {
	deb := func(name, version, sum string) manifest.Input {
		return manifest.Input{Kind: "deb", Name: name, Version: version, SHA256: sum}
	}
	a := manifestOf(deb("same", "1", hashA), deb("newer", "1", hashA), deb("gone", "1", hashA), deb("rebuilt", "1", hashA))
	b := manifestOf(deb("newer", "2", hashB), deb("rebuilt", "1", hashB), deb("same", "1", hashA), manifest.Input{Kind: "go-sum", Name: "go.sum", SHA256: hashB})
	var got []string
	for _, c := range compareInputs(a, b) {
		got = append(got, c.String())
	}
	want := []string{
		"deb gone: 1 -> absent",
		"deb newer: 1 -> 2",
		"deb rebuilt: 1 (aaaaaaaaaaaa) -> 1 (bbbbbbbbbbbb)",
		"go-sum go.sum: absent -> bbbbbbbbbbbb",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("changes differ (-want +got):\n%s", diff)
	}
}

// writeBuild makes a folder with a manifest over the given files.
func writeBuild(t *testing.T, files map[string]string, inputs ...manifest.Input) string {
	t.Helper()
	dir := t.TempDir()
	kinds := map[string]manifest.Kind{
		"cmdline": manifest.KindCmdline, "disk.img": manifest.KindDisk, "image.efi": manifest.KindUKI, "layer-base.img": manifest.KindLayer,
		"layer-base.img.files": manifest.KindListing, "vmlinuz": manifest.KindKernel,
	}
	m := &manifest.Manifest{
		Schema: manifest.Schema, LockSHA256: hashA, RecipeSHA256: hashA, Profile: "proxy", Inputs: inputs,
		Image: bootfiles.Image{Name: "proxy", Profile: "proxy", Variant: bootfiles.Production, Version: 1},
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(files[name]), 0o600); err != nil {
			t.Fatal(err)
		}
		sum, size, err := manifest.HashFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		m.Artefacts = append(m.Artefacts, manifest.Artefact{Name: name, Kind: kinds[name], Size: size, SHA256: sum})
	}
	data, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, manifest.FileName), data, 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func compareDirs(t *testing.T, a, b string) *Report {
	t.Helper()
	sideA, errA := Open(a)
	sideB, errB := Open(filepath.Join(b, manifest.FileName))
	if err := errors.Join(errA, errB); err != nil {
		t.Fatal(err)
	}
	r, err := Compare(t.Context(), sideA, sideB)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestCompareNamesCauses(t *testing.T) {
	kernel := func(version, sum string) manifest.Input {
		return manifest.Input{Kind: "deb", Name: "linux", Version: version, SHA256: sum, Artefacts: []string{"vmlinuz", "disk.img"}}
	}
	for name, tc := range map[string]struct {
		a, b     map[string]string
		inA, inB []manifest.Input
		want     map[string][]string // artefact -> causes
	}{
		"equal": {map[string]string{"vmlinuz": "k"}, map[string]string{"vmlinuz": "k"}, nil, nil, map[string][]string{}},
		"equal bytes of other inputs": {
			map[string]string{"vmlinuz": "k"},
			map[string]string{"vmlinuz": "k"},
			[]manifest.Input{kernel("1", hashA)},
			[]manifest.Input{kernel("2", hashB)},
			map[string][]string{},
		},
		"changed input": {
			map[string]string{"vmlinuz": "k", "cmdline": "c"},
			map[string]string{"vmlinuz": "K", "cmdline": "c"},
			[]manifest.Input{kernel("1", hashA)},
			[]manifest.Input{kernel("2", hashB)},
			map[string][]string{"vmlinuz": {"deb linux: 1 -> 2"}},
		},
		"no changed input": {
			map[string]string{"vmlinuz": "k"},
			map[string]string{"vmlinuz": "K"},
			[]manifest.Input{kernel("1", hashA)},
			[]manifest.Input{kernel("1", hashA)},
			map[string][]string{"vmlinuz": {"no input differs: the build is not reproducible"}},
		},
		"consequence": {
			map[string]string{"layer-base.img": "l", "layer-base.img.files": "f", "disk.img": "d"},
			map[string]string{"layer-base.img": "L", "layer-base.img.files": "F", "disk.img": "D"},
			nil,
			nil,
			map[string][]string{
				"layer-base.img":       {"no input differs: the build is not reproducible"},
				"disk.img":             {"follows from layer-base.img"},
				"layer-base.img.files": {"follows from layer-base.img"},
			},
		},
		"artefact on one side": {
			map[string]string{"vmlinuz": "k"},
			map[string]string{"vmlinuz": "k", "cmdline": "c"},
			nil,
			nil,
			map[string][]string{"cmdline": {"no input differs: the build is not reproducible"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := compareDirs(t, writeBuild(t, tc.a, tc.inA...), writeBuild(t, tc.b, tc.inB...))
			got := make(map[string][]string)
			for _, a := range r.Artefacts {
				got[a.Name] = a.Causes
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("causes differ (-want +got):\n%s", diff)
			}
			if r.Equal() != (len(tc.want) == 0) {
				t.Errorf("Equal is %v", r.Equal())
			}
		})
	}
}

func TestCompareWorksWithoutTheFiles(t *testing.T) {
	a, b := writeBuild(t, map[string]string{"vmlinuz": "k"}), writeBuild(t, map[string]string{"vmlinuz": "K"})
	for _, dir := range []string{a, b} {
		if err := os.Remove(filepath.Join(dir, "vmlinuz")); err != nil {
			t.Fatal(err)
		}
	}
	r := compareDirs(t, a, b)
	if len(r.Artefacts) != 1 || len(r.Artefacts[0].Findings) != 1 || len(r.Artefacts[0].Findings[0].A) != 64 {
		t.Errorf("two manifests alone give %+v", r)
	}
}

func TestCompareReportsAMissingFile(t *testing.T) {
	a, b := writeBuild(t, map[string]string{"vmlinuz": "k"}), writeBuild(t, map[string]string{"vmlinuz": "k"})
	if err := os.Remove(filepath.Join(b, "vmlinuz")); err != nil {
		t.Fatal(err)
	}
	r := compareDirs(t, a, b)
	if len(r.Artefacts) != 1 || r.Artefacts[0].Findings[0].B != "missing" {
		t.Errorf("a missing file gives %+v", r)
	}
}

func TestDamagedFormatsAreComparedByByte(t *testing.T) {
	// Neither side is what its kind says: the comparison must still find the byte.
	for _, name := range []string{"layer-base.img", "image.efi"} {
		body := strings.Repeat("z", 5000)
		r := compareDirs(t, writeBuild(t, map[string]string{name: body}), writeBuild(t, map[string]string{name: body[:4999] + "y"}))
		if len(r.Artefacts) != 1 || len(r.Artefacts[0].Findings) != 1 || r.Artefacts[0].Findings[0].Offset != 4999 {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

func TestFindingsAreBoundedAndCounted(t *testing.T) {
	c := &comparison{}
	findings := make([]Finding, maxFindings+5)
	for i := range findings {
		findings[i] = Finding{What: "mode", Offset: -1}
	}
	a := c.explain(manifest.Artefact{Name: "x"}, findings, nil)
	if len(a.Findings) != maxFindings || a.Total != maxFindings+5 {
		t.Errorf("%d findings of %d, want %d of %d", len(a.Findings), a.Total, maxFindings, maxFindings+5)
	}
}

func FuzzComparersNeverFail(f *testing.F) {
	for _, seed := range []string{"", "MZ", "070701", "\xe2\xe1\xf5\xe0", strings.Repeat("0707010000", 20)} {
		f.Add([]byte(seed), []byte(seed+"x"))
	}
	f.Fuzz(func(t *testing.T, a, b []byte) {
		for name, compare := range map[string]func(context.Context, []byte, []byte) ([]Finding, error){
			"initrd": compareInitrds, "uki": compareUKIs,
		} {
			found, err := compare(t.Context(), a, b)
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if bytes.Equal(a, b) && len(found) != 0 {
				t.Errorf("%s: equal bytes give %+v", name, found)
			}
		}
	})
}
