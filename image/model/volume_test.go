package model_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cocoon/image/fs"
	"cocoon/image/model"
	"cocoon/image/rootfs"
	"cocoon/image/verity"
)

// volume builds the primary form of a folder.
func volume(tb testing.TB, dir string, o model.Options) (string, *model.Description) {
	tb.Helper()
	out := filepath.Join(tb.TempDir(), "model.img")
	d, err := model.Build(context.Background(), dir, out, o)
	if err != nil {
		tb.Fatal(err)
	}
	return out, d
}

func TestVolumeIsALayerWithTheModelsSalt(t *testing.T) {
	t.Parallel()
	name, d := volume(t, folder(t, plainFiles()), options())
	if want := hex.EncodeToString(verity.LayerSalt("model")); d.Salt != want {
		t.Errorf("salt %s, want %s", d.Salt, want)
	}
	if want := "Qwen/Qwen3-8B@" + commit + ":" + d.RootHash; d.Identity != want {
		t.Errorf("identity %s, want %s", d.Identity, want)
	}
	v, err := d.Volume()
	if err != nil {
		t.Fatal(err)
	}
	data := readFile(t, name)
	if v.HashStartBlock != v.DataBlocks+1 || v.Size() != int64(len(data)) {
		t.Errorf("volume of %d bytes with the tree at block %d, file of %d bytes", v.Size(), v.HashStartBlock, len(data))
	}
	if err := verity.Verify(context.Background(), bytes.NewReader(data), v); err != nil {
		t.Error(err)
	}
	r, err := fs.Open(bytes.NewReader(data), int64(v.DataBlocks)*fs.BlockSize)
	if err != nil {
		t.Fatal(err)
	}
	tree, err := r.Tree(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	want := rootfs.New()
	for _, f := range d.Files {
		mode, data := uint32(0o644), plainFiles()[f.Path].data
		if f.Path == "run.sh" {
			mode = 0o755
		}
		if err := want.Add(f.Path, &rootfs.Inode{Type: rootfs.File, Mode: mode, Content: rootfs.Bytes([]byte(data))}); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(string(rootfs.Listing(want)), string(rootfs.Listing(tree))); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	if info := r.Info(); info.Epoch != 0 || info.Label != model.Label {
		t.Errorf("epoch %d and label %q", info.Epoch, info.Label)
	}
}

func TestVolumeDependsOnNamesAndBytesOnly(t *testing.T) {
	t.Parallel()
	first, a := volume(t, folder(t, plainFiles()), options())
	files := plainFiles()
	for name, e := range files {
		e.mode = 0o600
		if name == "run.sh" {
			e.mode = 0o711
		}
		files[name] = e
	}
	dir := folder(t, files)
	if err := os.Chtimes(filepath.Join(dir, "config.json"), time.Unix(1, 0), time.Unix(2, 0)); err != nil {
		t.Fatal(err)
	}
	second, b := volume(t, dir, options())
	if !bytes.Equal(readFile(t, first), readFile(t, second)) {
		t.Error("times or modes that do not matter changed the volume")
	}
	if diff := cmp.Diff(a, b); diff != "" {
		t.Errorf("descriptions differ:\n%s", diff)
	}
	files["config.json"] = entry{0o644, "{}\n"}
	if _, c := volume(t, folder(t, files), options()); c.RootHash == a.RootHash {
		t.Error("another content has the same root")
	}
}

func TestExcludedNamesAreLeftOutAndListed(t *testing.T) {
	t.Parallel()
	files := plainFiles()
	files["original/consolidated.pth"] = entry{0o644, "x"}
	files["sub/.cache"] = entry{0o644, "only the folder's own .cache is left out"}
	o := options()
	o.Excluded = []string{"original"}
	_, d := volume(t, folder(t, files), o)
	var paths []string
	for _, f := range d.Files {
		paths = append(paths, f.Path)
	}
	want := []string{"config.json", "empty", "model.safetensors", "run.sh", "sub/.cache", "sub/tokenizer.json"}
	if diff := cmp.Diff(want, paths); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{".cache", "original"}, d.Excluded); diff != "" {
		t.Errorf("excluded (-want +got):\n%s", diff)
	}
}

func TestBuildRefusesFolders(t *testing.T) {
	t.Parallel()
	check := func(err error) {
		if err != nil {
			t.Error(err)
		}
	}
	cases := map[string]struct {
		prepare func(dir string)
		want    string
	}{
		"symlink":      {func(dir string) { check(os.Symlink("config.json", filepath.Join(dir, "link"))) }, `"link" is a symlink`},
		"two names":    {func(dir string) { check(os.Link(filepath.Join(dir, "config.json"), filepath.Join(dir, "other"))) }, "are one file"},
		"control name": {func(dir string) { check(os.WriteFile(filepath.Join(dir, "a\nb"), nil, 0o600)) }, "control character"},
		"not UTF-8":    {func(dir string) { check(os.WriteFile(filepath.Join(dir, "a\xff"), nil, 0o600)) }, "not UTF-8"},
		"empty":        {func(dir string) { check(os.RemoveAll(dir)); check(os.Mkdir(dir, 0o755)) }, "is empty"},
		"absent":       {func(dir string) { check(os.RemoveAll(dir)) }, "no such file"},
		"a file":       {func(dir string) { check(os.RemoveAll(dir)); check(os.WriteFile(dir, nil, 0o600)) }, "is not a folder"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := folder(t, plainFiles())
			c.prepare(dir)
			out := filepath.Join(t.TempDir(), "out")
			if _, err := model.Build(context.Background(), dir, out, options()); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("erofs: error %v, want one that has %q", err, c.want)
			}
			if _, err := model.BuildTar(context.Background(), dir, out, out+".verity", options()); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("tar: error %v, want one that has %q", err, c.want)
			}
			if left, err := os.ReadDir(filepath.Dir(out)); err != nil || len(left) != 0 {
				t.Errorf("%d files left, error %v", len(left), err)
			}
		})
	}
}

func TestBuildRefusesNames(t *testing.T) {
	t.Parallel()
	dir := folder(t, plainFiles())
	cases := map[string]struct {
		options model.Options
		want    string
	}{
		"no name":      {model.Options{Commit: commit}, "not a model's name"},
		"odd name":     {model.Options{Name: "a@b", Commit: commit}, "not a model's name"},
		"three levels": {model.Options{Name: "a/b/c", Commit: commit}, "not a model's name"},
		"a branch":     {model.Options{Name: "a/b", Commit: "main"}, `commit "main"`},
		"short commit": {model.Options{Name: "a/b", Commit: commit[:39]}, "40 lower-case"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out := filepath.Join(t.TempDir(), "out")
			builds := map[string]func() error{
				"erofs":    func() error { _, err := model.Build(context.Background(), dir, out, c.options); return err },
				"tar":      func() error { _, err := model.BuildTar(context.Background(), dir, out, out+"2", c.options); return err },
				"from tar": func() error { _, _, err := model.FromTar(context.Background(), dir, out, c.options); return err },
			}
			for form, build := range builds {
				if err := build(); err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("%s: error %v, want one that has %q", form, err, c.want)
				}
			}
		})
	}
}

func TestCancelledBuildLeavesNothing(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	dir, out := folder(t, plainFiles()), t.TempDir()
	if _, err := model.Build(ctx, dir, filepath.Join(out, "a"), options()); err == nil {
		t.Error("erofs: a cancelled build succeeded")
	}
	if _, err := model.BuildTar(ctx, dir, filepath.Join(out, "b"), filepath.Join(out, "c"), options()); err == nil {
		t.Error("tar: a cancelled build succeeded")
	}
	if left, err := os.ReadDir(out); err != nil || len(left) != 0 {
		t.Errorf("%d files left, error %v", len(left), err)
	}
}

func TestDescriptionHasOneEncoding(t *testing.T) {
	t.Parallel()
	_, d := volume(t, folder(t, plainFiles()), options())
	data, err := d.Encode()
	if err != nil {
		t.Fatal(err)
	}
	back, err := model.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(d, back); diff != "" {
		t.Errorf("description (-want +got):\n%s", diff)
	}
	for name, odd := range map[string]string{
		"space":       " " + string(data),
		"unknown key": strings.Replace(string(data), `"name"`, `"nome"`, 1),
		"no newline":  strings.TrimSuffix(string(data), "\n"),
		"trailing":    string(data) + "{}\n",
	} {
		if _, err := model.Parse([]byte(odd)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestDescriptionRules(t *testing.T) {
	t.Parallel()
	_, good := volume(t, folder(t, plainFiles()), options())
	cases := map[string]struct {
		change func(*model.Description)
		want   string
	}{
		"schema":        {func(d *model.Description) { d.Schema = "x" }, "schema"},
		"name":          {func(d *model.Description) { d.Name = "../x" }, "name"},
		"commit":        {func(d *model.Description) { d.Commit = strings.ToUpper(d.Commit) }, "commit"},
		"identity":      {func(d *model.Description) { d.Identity = "x" }, "identity"},
		"format":        {func(d *model.Description) { d.Format = "zip" }, "format"},
		"root":          {func(d *model.Description) { d.RootHash = "00" }, "rootHash"},
		"salt":          {func(d *model.Description) { d.Salt = "zz" }, "salt"},
		"geometry":      {func(d *model.Description) { d.HashBlocks = 9 }, "hash blocks: 9"},
		"order":         {func(d *model.Description) { d.Files[0], d.Files[1] = d.Files[1], d.Files[0] }, "not in order"},
		"path":          {func(d *model.Description) { d.Files[0].Path = "../config.json" }, "not a clean path"},
		"hash":          {func(d *model.Description) { d.Files[0].SHA256 = "" }, "files[0].sha256"},
		"negative size": {func(d *model.Description) { d.Files[0].Size = -1 }, "is negative"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := *good
			d.Files = append([]model.File{}, good.Files...)
			c.change(&d)
			if _, err := d.Encode(); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one that has %q", err, c.want)
			}
		})
	}
}

// The reference's files are for veritysetup and tar as they are.
func TestVeritysetupAcceptsTheArchive(t *testing.T) {
	t.Parallel()
	tool, err := exec.LookPath("veritysetup")
	if err != nil {
		t.Skip("veritysetup is not installed (package cryptsetup-bin)")
	}
	d, data, hashes := archive(t, folder(t, plainFiles()))
	if text, err := exec.CommandContext(t.Context(), tool, "verify", data, hashes, d.RootHash).CombinedOutput(); err != nil {
		t.Errorf("veritysetup: %v\n%s", err, text)
	}
	v, err := d.Volume()
	if err != nil {
		t.Fatal(err)
	}
	area := readFile(t, hashes)
	if err := verity.VerifySplit(context.Background(), bytes.NewReader(readFile(t, data)), bytes.NewReader(area), v); err != nil {
		t.Error(err)
	}
	sb, err := verity.ParseSuperblock(area[:verity.BlockSize])
	if err != nil || hex.EncodeToString(sb.UUID[:]) != strings.ReplaceAll(d.UUID, "-", "") {
		t.Errorf("superblock with UUID %x, description says %s, error %v", sb.UUID, d.UUID, err)
	}
	if _, err := os.Stat(data); err != nil {
		t.Error(err)
	}
}
