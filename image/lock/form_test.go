package lock

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// golden is the sample's text: a change here is a change of the committed format.
const golden = `# Written by "cocoon image lock update". Do not edit: change the recipe and run it again.
version = 1
epoch = 1735689600
go = "1.26.8"
recipe_sha256 = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
mirrors = ["https://mirror.example.org/cocoon"]

[[suite]]
name = "trixie"
mirror = "http://deb.debian.org/debian"
snapshot = "https://snapshot.example.org/archive/debian/20260912T135541Z"
snapshot_files = "https://snapshot.example.org/file"
date = "2026-09-12T07:55:41Z"
valid_until = "2026-09-19T07:55:41Z"
accept_expired = true
inrelease_sha256 = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
signers = ["cccccccccccccccccccccccccccccccccccccccc"]
[[suite.index]]
path = "main/binary-amd64/Packages.xz"
sha256 = "dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd"

[[artefact]]
name = "driver"
version = "580.95.05"
arch = "any"
kind = "archive"
groups = ["gpu"]
size = 9
sha256 = "1111111111111111111111111111111111111111111111111111111111111111"
urls = ["https://example.org/driver.run"]
licence = "LicenseRef-NVIDIA"

[[artefact]]
name = "libc6"
version = "2.41-12"
arch = "amd64"
kind = "deb"
groups = ["base", "engine-cpu"]
size = 7
sha256 = "eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee"
sha1 = "ffffffffffffffffffffffffffffffffffffffff"
suite = "trixie"
path = "pool/main/g/glibc/libc6_2.41-12_amd64.deb"
`

func TestTextIsTheCommittedFormat(t *testing.T) {
	got, err := sample().Format()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(golden, string(got)); diff != "" {
		t.Errorf("text (-want +got):\n%s", diff)
	}
}

func TestSavedFileIsReadableByAll(t *testing.T) {
	name := filepath.Join(t.TempDir(), "image.lock")
	if err := sample().Save(name); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(name)
	if err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("mode %v, %v; want 0644", info.Mode(), err)
	}
	if err := sample().Save(filepath.Join(t.TempDir(), "absent", "image.lock")); err == nil {
		t.Error("Save into an absent folder succeeds")
	}
}

// TestEveryFieldIsChecked breaks one field at a time and wants the error to name the entry and the key.
func TestEveryFieldIsChecked(t *testing.T) {
	long := strings.Repeat("x", maxText+1)
	tests := map[string]struct {
		spoil func(*Lock)
		want  []string
	}{
		"epoch":          {func(l *Lock) { l.Epoch = maxEpoch + 1 }, []string{"epoch"}},
		"go":             {func(l *Lock) { l.Go = "go1.26.8" }, []string{"go = "}},
		"recipe":         {func(l *Lock) { l.RecipeSHA256 = "" }, []string{"recipe_sha256"}},
		"mirror":         {func(l *Lock) { l.Mirrors = []string{"ftp://x"} }, []string{"mirrors"}},
		"mirror host":    {func(l *Lock) { l.Mirrors = []string{"http://"} }, []string{"mirrors"}},
		"mirror syntax":  {func(l *Lock) { l.Mirrors = []string{"http://%zz"} }, []string{"mirrors"}},
		"suite name":     {func(l *Lock) { l.Suites[0].Name = "a b" }, []string{`suite "a b"`, "name"}},
		"suite twice":    {func(l *Lock) { l.Suites = append(l.Suites, l.Suites[0]) }, []string{`suite "trixie" is there twice`}},
		"snapshot":       {func(l *Lock) { l.Suites[0].Snapshot = "x" }, []string{`suite "trixie"`, "snapshot ="}},
		"snapshot files": {func(l *Lock) { l.Suites[0].SnapshotFiles = "http://x/" }, []string{"snapshot_files"}},
		"date":           {func(l *Lock) { l.Suites[0].Date = "yesterday" }, []string{"date"}},
		"valid until":    {func(l *Lock) { l.Suites[0].ValidUntil = "2026-13-01T00:00:00Z" }, []string{"valid_until"}},
		"inrelease":      {func(l *Lock) { l.Suites[0].InReleaseSHA256 = long }, []string{"inrelease_sha256", "..."}},
		"signer":         {func(l *Lock) { l.Suites[0].Signers = []string{"ABC"} }, []string{"signers"}},
		"index path":     {func(l *Lock) { l.Suites[0].Indexes[0].Path = "/main" }, []string{"index path"}},
		"index hash":     {func(l *Lock) { l.Suites[0].Indexes[0].SHA256 = "" }, []string{"index sha256"}},
		"artefact name":  {func(l *Lock) { l.Artefacts[0].Name = "../x" }, []string{"artefact", "name"}},
		"version":        {func(l *Lock) { l.Artefacts[0].Version = "" }, []string{"deb libc6", "version"}},
		"arch":           {func(l *Lock) { l.Artefacts[0].Arch = "-" }, []string{"deb libc6", "arch"}},
		"sha1":           {func(l *Lock) { l.Artefacts[0].SHA1 = "12" }, []string{"deb libc6 2.41-12 amd64", "sha1"}},
		"size":           {func(l *Lock) { l.Artefacts[0].Size = maxArtefactSize + 1 }, []string{"size"}},
		"path":           {func(l *Lock) { l.Artefacts[0].Path = "pool/./x" }, []string{"path"}},
		"path text":      {func(l *Lock) { l.Artefacts[0].Path = "pool/\n" }, []string{"path"}},
		"url":            {func(l *Lock) { l.Artefacts[1].URLs[0] = "https://example.org/#x" }, []string{"urls"}},
		"licence":        {func(l *Lock) { l.Artefacts[1].Licence = "é" }, []string{"licence"}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			l := sample()
			tc.spoil(l)
			err := l.Validate()
			for _, w := range tc.want {
				if err == nil || !strings.Contains(err.Error(), w) {
					t.Errorf("Validate: %v, want an error with %q", err, w)
				}
			}
		})
	}
	all := sample()
	all.Epoch, all.Go, all.Artefacts[0].Size = 0, "", 0
	if err := all.Validate(); err == nil || strings.Count(err.Error(), "\n") != 2 {
		t.Errorf("three faults: %v, want three lines", err)
	}
}

func TestGroupsKeepTheLocksOrder(t *testing.T) {
	l := sample()
	l.Artefacts[1].Groups = []string{"base"}
	if _, err := l.Format(); err != nil { // puts the entries in order
		t.Fatal(err)
	}
	var got []string
	for _, a := range l.InGroup("base") {
		got = append(got, a.Origin())
	}
	if diff := cmp.Diff([]string{"archive driver 580.95.05", "deb libc6 2.41-12"}, got); diff != "" {
		t.Errorf("group base (-want +got):\n%s", diff)
	}
	if other := l.InGroup("kernel"); len(other) != 0 {
		t.Errorf("group kernel has %v", other)
	}
}

// TestAnyLockSurvivesItsText draws locks and wants text and parser to agree, whatever the order of the entries.
func TestAnyLockSurvivesItsText(t *testing.T) {
	hash := rapid.StringMatching(`[0-9a-f]{64}`)
	groups := rapid.SliceOfNDistinct(rapid.StringMatching(`[a-z][a-z0-9-]{0,8}`), 1, 3, rapid.ID[string])
	rapid.Check(t, func(rt *rapid.T) {
		l := &Lock{Epoch: rapid.Int64Range(minEpoch, maxEpoch).Draw(rt, "epoch"), Go: "1.26", RecipeSHA256: hash.Draw(rt, "recipe")}
		suite := sample().Suites[0]
		suite.AcceptExpired = rapid.Bool().Draw(rt, "accept")
		l.Suites = []Suite{suite}
		for i := range rapid.IntRange(0, 6).Draw(rt, "count") {
			a := Artefact{
				Name: fmt.Sprintf("p%d", i), Version: rapid.StringMatching(`[0-9][0-9.+~:-]{0,6}`).Draw(rt, "version"), Arch: "all",
				Kind: rapid.SampledFrom([]Kind{Deb, Wheel, Archive, File}).Draw(rt, "kind"), SHA256: hash.Draw(rt, "hash"),
				Size: rapid.Int64Range(1, maxArtefactSize).Draw(rt, "size"), Groups: groups.Draw(rt, "groups"),
			}
			if rapid.Bool().Draw(rt, "debian") {
				a.Suite, a.Path = suite.Name, rapid.StringMatching(`pool/[a-z][a-z0-9_.+~-]{0,20}`).Draw(rt, "path")
			} else {
				a.URLs = []string{"https://example.org/" + rapid.StringMatching(`[a-z0-9._%-]{0,10}`).Filter(validURL).Draw(rt, "url")}
			}
			l.Artefacts = append(l.Artefacts, a)
		}
		l.Artefacts = rapid.Permutation(l.Artefacts).Draw(rt, "order")
		text, err := l.Format()
		if err != nil {
			rt.Fatal(err)
		}
		got, err := Parse("drawn", text)
		if err != nil {
			rt.Fatalf("%v in\n%s", err, text)
		}
		l.Expand()
		if len(l.Artefacts) == 0 {
			l.Artefacts = nil
		}
		if diff := cmp.Diff(l, got); diff != "" {
			rt.Fatalf("parsed lock (-want +got):\n%s", diff)
		}
	})
}

func validURL(s string) bool { return checkURL("url", "https://example.org/"+s) == nil }
