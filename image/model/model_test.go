package model_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cocoon/image/model"
	"cocoon/tests/golden"
)

const commit = "b968826d9c46dd6066d109eabc6255188de91218"

func options() model.Options { return model.Options{Name: "Qwen/Qwen3-8B", Commit: commit} }

// entry is a file of a test folder.
type entry struct {
	mode os.FileMode
	data string
}

// folder makes a folder of files; the download tool's state is always there.
func folder(tb testing.TB, files map[string]entry) string {
	tb.Helper()
	dir := tb.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		tb.Fatal(err)
	}
	files[".cache/huggingface/state"] = entry{0o644, "left out"}
	for name, e := range files {
		full := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			tb.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(e.data), 0o600); err != nil {
			tb.Fatal(err)
		}
		if err := os.Chmod(full, e.mode); err != nil {
			tb.Fatal(err)
		}
	}
	return dir
}

// pattern is the vectors' content: byte k is (7*k + (k>>8)) mod 256.
func pattern(size int) string {
	var b strings.Builder
	for k := range size {
		b.WriteByte(byte(7*k + k>>8))
	}
	return b.String()
}

// plainFiles is the vectors' first folder.
func plainFiles() map[string]entry {
	return map[string]entry{
		"config.json":        {0o644, "{\"architectures\":[\"X\"]}\n"},
		"model.safetensors":  {0o600, pattern(5000)},
		"sub/tokenizer.json": {0o664, "{}\n"},
		"empty":              {0o644, ""},
		"run.sh":             {0o755, "#!/bin/sh\n"},
	}
}

func vectorFolders() map[string]map[string]entry {
	return map[string]map[string]entry{
		"plain": plainFiles(),
		"long_name": {
			"config.json": {0o644, "{}\n"},
			"shard-" + strings.Repeat("0123456789", 11) + ".safetensors": {0o644, pattern(20000)},
		},
		"utf8_name": {"B": {0o644, "b"}, "a": {0o644, "a"}, "ä.txt": {0o644, "ä\n"}},
	}
}

func readFile(tb testing.TB, name string) []byte {
	tb.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		tb.Fatal(err)
	}
	return data
}

// archive builds the reference's form and returns the names of its two files.
func archive(tb testing.TB, dir string) (d *model.Description, volume, hashes string) {
	tb.Helper()
	out := tb.TempDir()
	volume, hashes = filepath.Join(out, "model.tar"), filepath.Join(out, "model.verity")
	d, err := model.BuildTar(context.Background(), dir, volume, hashes, options())
	if err != nil {
		tb.Fatal(err)
	}
	return d, volume, hashes
}

func TestArchivesMatchVectors(t *testing.T) {
	t.Parallel()
	type expect struct {
		Name         string `json:"name"`
		VolumeBytes  int    `json:"volume_bytes"`
		VolumeSHA256 string `json:"volume_sha256"`
		TarBytes     int64  `json:"tar_bytes"`
		TarSHA256    string `json:"tar_sha256"`
		RootHash     string `json:"root_hash"`
		HashArea     string `json:"hash_area_sha256"`
	}
	var v struct {
		Vectors []expect `json:"vectors"`
	}
	golden.JSON(t, "image/model.json", &v)
	for _, want := range v.Vectors {
		t.Run(want.Name, func(t *testing.T) {
			t.Parallel()
			files, ok := vectorFolders()[want.Name]
			if !ok {
				t.Fatalf("no folder for vector %q", want.Name)
			}
			d, volume, hashes := archive(t, folder(t, files))
			data := readFile(t, volume)
			index, err := model.ReadIndex(bytes.NewReader(data), int64(len(data)))
			if err != nil {
				t.Fatal(err)
			}
			sum := func(b []byte) string { return fmt.Sprintf("%x", sha256.Sum256(b)) }
			got := expect{
				want.Name, len(data), sum(data), index.ArchiveSize, sum(data[:index.ArchiveSize]), d.RootHash, sum(readFile(t, hashes)),
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("archive (-want +got):\n%s", diff)
			}
		})
	}
}

// gnuTarArguments are the reference's options (image.md section 13).
func gnuTarArguments(dir string) []string {
	return []string{
		"--create", "--directory", dir, "--sort=name", "--format=posix", "--mtime=@0", "--owner=0", "--group=0", "--numeric-owner",
		"--mode=go+u,go-w", "--pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime", "--exclude=./.cache", ".",
	}
}

// gnuTar is the reference's own command on a folder.
func gnuTar(t *testing.T, dir string) []byte {
	t.Helper()
	bin, err := exec.LookPath("tar")
	if err != nil {
		t.Skip("tar is not installed")
	}
	if text, err := exec.CommandContext(t.Context(), bin, "--version").Output(); err != nil || !bytes.Contains(text, []byte("GNU tar")) {
		t.Skip("tar is not GNU tar")
	}
	cmd := exec.CommandContext(t.Context(), bin, gnuTarArguments(dir)...)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, os.Stderr
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestArchivesAreThoseOfGNUTar(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("n", 98)
	cases := map[string]map[string]entry{
		"plain":          plainFiles(),
		"order":          {"a-b": {0o644, "1"}, "a/b": {0o644, "2"}, "a.b": {0o644, "3"}, "a/b-c": {0o755, "4"}, "Z": {0o644, "5"}},
		"name of 100":    {long: {0o644, "x"}},
		"name of 101":    {long + "n": {0o644, "x"}},
		"long folder":    {strings.Repeat("d", 120) + "/file": {0o640, "x"}},
		"deep":           {strings.Repeat("folder/", 30) + "file": {0o444, pattern(513)}},
		"umlauts":        {"ü/ö": {0o644, "x"}, "ü/" + strings.Repeat("ß", 60): {0o644, "y"}},
		"delete is odd":  {"tilde~": {0o644, ""}, "space here": {0o644, "x"}},
		"whole records":  {"a": {0o644, pattern(512)}, "b": {0o644, pattern(10240)}},
		"odd modes":      {"a": {0o705, "x"}, "b": {0o070, "x"}, "c": {0o666, "x"}, "d": {0o500, "x"}},
		"aligned at end": {"a": {0o644, pattern(40960 - 4*512)}},
	}
	for name, files := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := folder(t, files)
			want := gnuTar(t, dir)
			_, volume, _ := archive(t, dir)
			got := readFile(t, volume)
			pad := 4096 - len(want)%4096
			if len(got) != len(want)+pad {
				t.Fatalf("volume of %d bytes, want %d and %d of padding", len(got), len(want), pad)
			}
			for i := range want {
				if want[i] != got[i] {
					at := i / 512 * 512
					t.Fatalf("byte %d of record %d is %#x, GNU tar writes %#x; the record's name is %q", i-at, i/512, got[i], want[i], want[at:at+100])
				}
			}
		})
	}
}

func TestBothFormsOfOneModelComeFromTheFolderOrTheArchive(t *testing.T) {
	t.Parallel()
	for name, files := range vectorFolders() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, out := folder(t, files), t.TempDir()
			direct := filepath.Join(out, "direct")
			want, err := model.Build(context.Background(), dir, direct, options())
			if err != nil {
				t.Fatal(err)
			}
			wantTar, volume, _ := archive(t, dir)
			converted := filepath.Join(out, "converted")
			got, gotTar, err := model.FromTar(context.Background(), volume, converted, options())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("erofs (-folder +archive):\n%s", diff)
			}
			if diff := cmp.Diff(wantTar, gotTar); diff != "" {
				t.Errorf("tar (-folder +archive):\n%s", diff)
			}
			if !bytes.Equal(readFile(t, direct), readFile(t, converted)) {
				t.Error("volumes differ")
			}
			if diff := cmp.Diff(want.Files, wantTar.Files); diff != "" {
				t.Errorf("files (-erofs +tar):\n%s", diff)
			}
		})
	}
}
