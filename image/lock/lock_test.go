package lock

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// sample is a lock that uses every field.
func sample() *Lock {
	sum := func(c string) string { return strings.Repeat(c, 64) }
	return &Lock{
		Epoch: 1735689600, Go: "1.26.8", RecipeSHA256: sum("a"), Mirrors: []string{"https://mirror.example.org/cocoon"},
		Suites: []Suite{{
			Name: "trixie", Mirror: "http://deb.debian.org/debian", Snapshot: "https://snapshot.example.org/archive/debian/20260912T135541Z",
			SnapshotFiles: "https://snapshot.example.org/file", Date: "2026-09-12T07:55:41Z", ValidUntil: "2026-09-19T07:55:41Z",
			AcceptExpired: true, InReleaseSHA256: sum("b"), Signers: []string{strings.Repeat("c", 40)},
			Indexes: []Index{{"main/binary-amd64/Packages.xz", sum("d")}},
		}},
		Artefacts: []Artefact{
			{
				Name: "libc6", Version: "2.41-12", Arch: "amd64", Kind: Deb, SHA256: sum("e"), SHA1: strings.Repeat("f", 40), Size: 7,
				Suite: "trixie", Path: "pool/main/g/glibc/libc6_2.41-12_amd64.deb", Groups: []string{"engine-cpu", "base"},
			},
			{
				Name: "driver", Version: "580.95.05", Arch: "any", Kind: Archive, SHA256: sum("1"), Size: 9,
				URLs: []string{"https://example.org/driver.run"}, Groups: []string{"gpu"}, Licence: "LicenseRef-NVIDIA",
			},
		},
	}
}

func TestSaveAndLoadKeepEverything(t *testing.T) {
	name := filepath.Join(t.TempDir(), "image.lock")
	want := sample()
	if err := want.Save(name); err != nil {
		t.Fatal(err)
	}
	got, err := Load(name)
	if err != nil {
		t.Fatal(err)
	}
	want.Expand()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("loaded lock (-want +got):\n%s", diff)
	}
	first, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := got.Format(); err != nil || string(again) != string(first) {
		t.Errorf("saving what was loaded changes the text (%v):\n%s", err, cmp.Diff(string(first), string(again)))
	}
}

func TestFormatDoesNotDependOnOrder(t *testing.T) {
	a, b := sample(), sample()
	b.Artefacts[0], b.Artefacts[1] = b.Artefacts[1], b.Artefacts[0]
	b.Artefacts[1].Groups = []string{"base", "engine-cpu", "base"}
	x, errX := a.Format()
	y, errY := b.Format()
	if errX != nil || errY != nil || string(x) != string(y) {
		t.Errorf("two orders, two texts (%v, %v):\n%s", errX, errY, cmp.Diff(string(x), string(y)))
	}
}

func TestSourcesStandInTheSpecifiedOrder(t *testing.T) {
	l := sample()
	l.Expand()
	want := []string{
		"http://deb.debian.org/debian/pool/main/g/glibc/libc6_2.41-12_amd64.deb",
		"https://snapshot.example.org/archive/debian/20260912T135541Z/pool/main/g/glibc/libc6_2.41-12_amd64.deb",
		"https://snapshot.example.org/file/" + strings.Repeat("f", 40),
		"https://mirror.example.org/cocoon/sha256/" + strings.Repeat("e", 64),
	}
	if diff := cmp.Diff(want, l.Artefacts[0].Sources); diff != "" {
		t.Errorf("sources of a Debian package (-want +got):\n%s", diff)
	}
	want = []string{"https://example.org/driver.run", "https://mirror.example.org/cocoon/sha256/" + strings.Repeat("1", 64)}
	if diff := cmp.Diff(want, l.Artefacts[1].Sources); diff != "" {
		t.Errorf("sources of another archive (-want +got):\n%s", diff)
	}
}

func TestCheckNamesBothSides(t *testing.T) {
	l := sample()
	other := strings.Repeat("9", 64)
	tests := map[string]struct {
		recipe, goVersion string
		want              []string
	}{
		"same":            {l.RecipeSHA256, "1.26.8", nil},
		"runtime's form":  {l.RecipeSHA256, "go1.26.8", nil},
		"other recipe":    {other, "1.26.8", []string{l.RecipeSHA256, other, UpdateCommand}},
		"other Go":        {l.RecipeSHA256, "go1.25.0", []string{"1.26.8", "1.25.0"}},
		"experimental Go": {l.RecipeSHA256, "go1.26.8 X:nocoverageredesign", []string{"1.26.8", "X:nocoverageredesign"}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			err := l.Check(tc.recipe, tc.goVersion)
			if tc.want == nil {
				if err != nil {
					t.Fatalf("Check refuses a fitting lock: %v", err)
				}
				return
			}
			if _, ok := errors.AsType[*Mismatch](err); !ok {
				t.Fatalf("Check: %v, want a mismatch", err)
			}
			for _, w := range tc.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("the error does not name %q: %v", w, err)
				}
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	good, err := sample().Format()
	if err != nil {
		t.Fatal(err)
	}
	replace := func(old, with string) string {
		if !strings.Contains(string(good), old) {
			t.Fatalf("the sample has no %q", old)
		}
		return strings.Replace(string(good), old, with, 1)
	}
	tests := map[string]struct{ text, want string }{
		"unknown key":            {replace("kind = \"archive\"\n", "kind = \"archive\"\ncolour = \"red\"\n"), "image.lock:27:1: unknown key \"artefact.colour\""},
		"syntax":                 {replace("epoch = ", "epoch ! "), "image.lock:3:"},
		"key twice":              {replace("version = 1\n", "version = 1\nversion = 1\n"), "version"},
		"other format":           {replace("version = 1\n", "version = 2\n"), "lock format 2"},
		"epoch before FAT":       {replace("epoch = 1735689600", "epoch = 0"), "epoch 0"},
		"kind":                   {replace("\"archive\"", "\"rpm\""), "kind \"rpm\""},
		"short hash":             {replace(strings.Repeat("e", 64), "abc"), "sha256 = \"abc\""},
		"upper case hash":        {replace(strings.Repeat("e", 64), strings.Repeat("E", 64)), "sha256"},
		"no size":                {replace("size = 7\n", ""), "size 0"},
		"negative size":          {replace("size = 7\n", "size = -7\n"), "size -7"},
		"unknown suite":          {replace("suite = \"trixie\"", "suite = \"sid\""), "suite \"sid\" is not declared"},
		"path leaves the mirror": {replace("path = \"pool/main/g/glibc/", "path = \"../"), "clean relative path"},
		"path without suite":     {replace("suite = \"trixie\"\n", ""), "without a suite"},
		"nowhere to fetch":       {replace("urls = [\"https://example.org/driver.run\"]\n", ""), "nowhere to fetch"},
		"file URL":               {replace("https://example.org/driver.run", "file:///etc/passwd"), "http or https"},
		"URL with password":      {replace("https://example.org/", "https://me:secret@example.org/"), "without user"},
		"mirror with slash":      {replace("http://deb.debian.org/debian\"", "http://deb.debian.org/debian/\""), "no slash at the end"},
		"no group":               {replace("groups = [\"gpu\"]\n", ""), "nothing uses it"},
		"group's form":           {replace("[\"gpu\"]", "[\"GPU layer\"]"), "groups"},
		"local time":             {replace("2026-09-12T07:55:41Z", "2026-09-12T07:55:41+02:00"), "UTC time"},
		"unsigned suite":         {replace("signers = [\""+strings.Repeat("c", 40)+"\"]\n", ""), "no signers"},
		"escape in text":         {replace("LicenseRef-NVIDIA", `a\"b`), "licence"},
		"binary":                 {"\x00\x01", "image.lock:1:"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := Parse("image.lock", []byte(tc.text))
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("Parse: %v, want an error with %q", err, tc.want)
			}
		})
	}
	if _, err := Parse("image.lock", make([]byte, maxFile+1)); err == nil {
		t.Error("Parse takes a file over its bound")
	}
}

func TestSameArtefactTwiceIsRefused(t *testing.T) {
	l := sample()
	l.Artefacts = append(l.Artefacts, l.Artefacts[0])
	if _, err := l.Format(); err == nil || !strings.Contains(err.Error(), "there twice") {
		t.Errorf("Format: %v, want an error about the double entry", err)
	}
}

func TestMergeJoinsGroupsAndRefusesOtherBytes(t *testing.T) {
	l := sample()
	same := l.Artefacts[0]
	same.Groups, same.URLs = []string{"stub"}, []string{"https://example.org/libc6.deb"}
	if err := l.Merge(same); err != nil {
		t.Fatal(err)
	}
	a, err := l.Find("stub", Deb, "libc6")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"base", "engine-cpu", "stub"}, a.Groups); diff != "" || len(l.Artefacts) != 2 || len(a.URLs) != 1 {
		t.Errorf("merged artefact %+v of %d, groups (-want +got):\n%s", a, len(l.Artefacts), diff)
	}
	same.SHA256 = strings.Repeat("0", 64)
	if err := l.Merge(same); err == nil || !strings.Contains(err.Error(), "two different files") {
		t.Errorf("Merge: %v, want a refusal of other bytes under one name", err)
	}
}

func TestFindSaysWhatTheGroupHas(t *testing.T) {
	if _, err := sample().Find("base", Deb, "dash"); err == nil || !strings.Contains(err.Error(), "libc6") || !strings.Contains(err.Error(), UpdateCommand) {
		t.Errorf("Find: %v, want an error that lists libc6 and names the command", err)
	}
}

func TestLoadOfAMissingLockSaysWhatToRun(t *testing.T) {
	_, err := Load(filepath.Join(t.TempDir(), "image.lock"))
	if !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), UpdateCommand) {
		t.Errorf("Load: %v, want a missing file with the command to run", err)
	}
}

func TestSaveLeavesTheOldFileWhenTheLockIsBad(t *testing.T) {
	name := filepath.Join(t.TempDir(), "image.lock")
	l := sample()
	if err := l.Save(name); err != nil {
		t.Fatal(err)
	}
	l.Artefacts[0].Size = 0
	if err := l.Save(name); err == nil {
		t.Fatal("Save writes a lock that Load would refuse")
	}
	if _, err := Load(name); err != nil {
		t.Errorf("the old lock is gone: %v", err)
	}
}

// FuzzParse: what parses has one text, and that text parses to the same lock.
func FuzzParse(f *testing.F) {
	good, err := sample().Format()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(""))
	f.Add([]byte("version = 1\nepoch = 1735689600\ngo = \"1.26\"\n"))
	f.Add([]byte("[[artefact]]\nname = 'x'\nsize = 0x10\n"))
	f.Add([]byte("version = 1\n[[suite]]\n[[suite.index]]\npath = \"a\"\n"))
	f.Add([]byte("mirrors = [\"http://[::1]/\", 1]\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		l, err := Parse("fuzz", data)
		if err != nil {
			return
		}
		text, err := l.Format()
		if err != nil {
			t.Fatalf("what parsed cannot be written: %v", err)
		}
		again, err := Parse("fuzz", text)
		if err != nil {
			t.Fatalf("what was written does not parse: %v\n%s", err, text)
		}
		if second, err := again.Format(); err != nil || string(second) != string(text) {
			t.Fatalf("two texts of one lock (%v)", err)
		}
	})
}
