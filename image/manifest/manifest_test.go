package manifest

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cocoon/measure/bootfiles"
)

const (
	hashA = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	// hashHello is the SHA-256 of "hello".
	hashHello = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
)

func sample() *Manifest {
	return &Manifest{
		Schema: Schema, Epoch: 1735689600, Cmdline: "console=hvc0 quiet panic=-1", LockSHA256: hashA, RecipeSHA256: hashA,
		Image:     bootfiles.Image{Name: "proxy", Profile: "proxy", Variant: bootfiles.Production, Version: 1},
		Artefacts: []Artefact{{"image.efi", KindUKI, 5, hashHello}, {"cmdline", KindCmdline, 5, hashHello}},
		Layers: []bootfiles.Layer{{
			ID: "base", DataBlocks: 1, HashStartBlock: 2, RootHash: hashA, Mount: "/run/layers/base", Role: bootfiles.RoleBase,
		}},
		LayerFiles: []LayerFiles{{"base", 7, hashA}},
		Inputs:     []Input{{Kind: "deb", Name: "libc6", Version: "2.41-12", SHA256: hashA, Artefacts: []string{"image.efi"}}},
		Profile:    "proxy",
	}
}

func TestParseReadsWhatEncodeWrites(t *testing.T) {
	data, err := sample().Encode()
	if err != nil {
		t.Fatal(err)
	}
	m, err := Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(sample(), m); diff != "" {
		t.Errorf("manifest differs (-want +got):\n%s", diff)
	}
	if a, ok := m.Artefact(KindUKI); !ok || a.Name != "image.efi" {
		t.Errorf("the UKI is %v, %v", a, ok)
	}
	if _, ok := m.Artefact(KindDisk); ok {
		t.Error("found a disk that is not there")
	}
}

func TestParseRefuses(t *testing.T) {
	valid, err := sample().Encode()
	if err != nil {
		t.Fatal(err)
	}
	edit := func(old, text string) []byte { return bytes.Replace(valid, []byte(old), []byte(text), 1) }
	for name, tc := range map[string]struct {
		data []byte
		want string
	}{
		"unknown key":       {edit(`"epoch":`, `"epoc":1,"epoch":`), `unknown key "epoc"`},
		"other schema":      {edit(Schema, "cocoon.image.manifest/9"), "schema:"},
		"blank inserted":    {edit(`"epoch":1`, `"epoch": 1`), "not in canonical form"},
		"data behind":       {append(bytes.Clone(valid), "{}"...), "data after the document"},
		"path as name":      {edit(`"image.efi"`, `"../../efi"`), "does not match"},
		"name twice":        {edit(`"image.efi"`, `"cmdline"`), "appears twice"},
		"unknown kind":      {edit(`"kind":"uki"`, `"kind":"exe"`), "is none of"},
		"negative size":     {edit(`"size":5`, `"size":-5`), "is negative"},
		"short hash":        {edit(hashHello, hashHello[:62]), "64 lower-case hex"},
		"input hash":        {edit(`"name":"libc6","sha256":"a`, `"name":"libc6","sha256":"A`), "inputs[0].sha256"},
		"input name":        {edit(`"libc6"`, `""`), "must not be empty"},
		"layer geometry":    {edit(`"hashStartBlock":2`, `"hashStartBlock":3`), "layers[0]"},
		"newline in words":  {edit(`console=hvc0 quiet`, `console=hvc0\nquiet`), "cmdline:"},
		"recipe hash":       {edit(`"recipeSha256":"a`, `"recipeSha256":"z`), "recipeSha256"},
		"variant":           {edit(`"production"`, `"prod"`), "variant"},
		"not JSON":          {[]byte("x"), "strict JSON"},
		"empty":             {nil, "strict JSON"},
		"too large, unread": {make([]byte, maxSize+1), "at most"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse(tc.data)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want an error with %q", err, tc.want)
			}
		})
	}
}

func TestLoadTakesAFileOrItsFolder(t *testing.T) {
	dir := t.TempDir()
	data, err := sample().Encode()
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, FileName)
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, arg := range []string{dir, name} {
		if m, err := Load(arg); err != nil || m.Image.Name != "proxy" {
			t.Errorf("%s: %v, %v", arg, m, err)
		}
	}
	if _, err := Load(filepath.Join(dir, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing manifest gives %v", err)
	}
}

func TestCheckFilesNamesEveryDifference(t *testing.T) {
	for name, tc := range map[string]struct {
		content map[string]string
		want    []MismatchError
	}{
		"equal":   {map[string]string{"image.efi": "hello", "cmdline": "hello"}, nil},
		"flipped": {map[string]string{"image.efi": "hellO", "cmdline": "hello"}, []MismatchError{{"image.efi", hashHello, fmt.Sprintf("%x", sha256.Sum256([]byte("hellO")))}}},
		"cut":     {map[string]string{"image.efi": "hell", "cmdline": "hello"}, []MismatchError{{"image.efi", "5 bytes", "4 bytes"}}},
		"missing": {map[string]string{"cmdline": "hello"}, []MismatchError{{"image.efi", hashHello, "missing"}}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for f, text := range tc.content {
				if err := os.WriteFile(filepath.Join(dir, f), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			err := sample().CheckFiles(t.Context(), dir)
			if tc.want == nil {
				if err != nil {
					t.Errorf("equal files give %v", err)
				}
				return
			}
			var m *MismatchError
			if !errors.As(err, &m) {
				t.Fatalf("got %v, want a mismatch", err)
			}
			if diff := cmp.Diff(tc.want[0], *m); diff != "" {
				t.Errorf("mismatch differs (-want +got):\n%s", diff)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	valid, err := sample().Encode()
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range [][]byte{
		valid, valid[:len(valid)/2], []byte("{}\n"), []byte("null"), bytes.ReplaceAll(valid, []byte(`"`), nil),
		bytes.Replace(valid, []byte("5"), []byte("5e1"), 1),
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := Parse(data)
		if err != nil {
			return
		}
		again, err := m.Encode()
		if err != nil || !bytes.Equal(again, data) {
			t.Errorf("what parses has another encoding: %v", err)
		}
	})
}
