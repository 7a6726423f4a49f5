package boot

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"cocoon/guest/boot"
	"cocoon/guest/config"
	"cocoon/guest/storage/archive"
	"cocoon/guest/worker/engine"
	"cocoon/image/model"
	"cocoon/image/verity"
	"cocoon/measure/bootfiles"
	"cocoon/measure/launch"
	"cocoon/measure/spec"
	"cocoon/tests/inputs"
)

// testModel names the model of these tests.
func testModel() model.Options {
	return model.Options{Name: "test/scripted", Commit: "0123456789abcdef0123456789abcdef01234567"}
}

// withArchive attaches the scripted test model in the reference's form and names it in the spec.
func (s *subject) withArchive() *model.Description {
	s.t.Helper()
	in := needs(s.t)
	folder, name := s.t.TempDir(), "scripted.gguf"
	if err := in.Model(filepath.Join(folder, name)); errors.Is(err, inputs.ErrNoVectors) {
		s.t.Skip(err)
	} else if err != nil {
		s.t.Fatal(err)
	}
	volume, d := joined(s.t, s.dir, folder)
	s.machine.Paths.Disks[launch.SerialModel] = volume
	s.measureModel(config.Model{ID: d.Identity, Format: config.FormatTar, DataBlocks: d.DataBlocks, Salt: d.Salt, File: name})
	return d
}

// joined builds an archive with its hash area behind it, as one disk carries it.
func joined(tb testing.TB, dir, folder string) (string, *model.Description) {
	tb.Helper()
	out := filepath.Join(dir, "model-tar.img")
	d, err := model.BuildTar(tb.Context(), folder, out, "", testModel())
	if err != nil {
		tb.Fatal(err)
	}
	return out, d
}

// measureModel names a model in the spec.
func (s *subject) measureModel(m config.Model) {
	s.t.Helper()
	s.files = []spec.File{{Path: config.RoleFile, Data: encode(s.t, config.Measured{Role: "worker", Model: &m})}}
}

// measuredModel is the model that the spec names.
func (s *subject) measuredModel() config.Model {
	s.t.Helper()
	i := slices.IndexFunc(s.files, func(f spec.File) bool { return f.Path == config.RoleFile })
	var m config.Measured
	if err := json.Unmarshal(s.files[i].Data, &m); err != nil {
		s.t.Fatal(err)
	}
	return *m.Model
}

// TestTheEngineServesAModelFromAnArchive: the worker image opens the reference's form of the model by its measured root,
// the kernel reads the tar in place, and the engine answers with the model's words.
func TestTheEngineServesAModelFromAnArchive(t *testing.T) {
	t.Parallel()
	s := newSubject(t, workerImage, bootfiles.Test, launch.BootUKI)
	d := s.withArchive()
	s.withEngine(func(file string) string { return file })
	s.machine.Until = boot.StageReady
	run := s.start()
	s.checkReady(run)
	if got := detail(t, run, boot.StageModel, "model"); got != d.Identity {
		t.Errorf("the machine's model is %v, the volume is %s", got, d.Identity)
	}
	if got := detail(t, run, boot.StageEngine, "settings"); got != config.EngineFile {
		t.Errorf("the engine's settings come from %v", got)
	}
	m := s.measuredModel()
	hash := m.Hash()
	if got := detail(t, run, boot.StageModel, "model_hash"); got != hex.EncodeToString(hash[:]) {
		t.Errorf("the model's hash is %v, want %x", got, hash)
	}
	volumes, _ := detail(t, run, boot.StageModel, "volumes").([]any)
	if len(volumes) != 1 {
		t.Fatalf("volumes %v", volumes)
	}
	if fields, _ := volumes[0].(map[string]any); fields["members"] != 2.0 { // the folder and the file
		t.Errorf("volume %v", volumes[0])
	}
}

// withEngine puts an engine.toml into the spec: the image's own for its engine, changed.
func (s *subject) withEngine(change func(file string) string) {
	s.t.Helper()
	data, err := engine.BuiltinFile(engine.LlamaCPP)
	if err != nil {
		s.t.Fatal(err)
	}
	s.files = append(s.files, spec.File{Path: config.EngineFile, Data: []byte(change(string(data)))})
}

// TestEngineSettingsAreRefusedBeforeTheEngineRuns: what engine.toml must not say, and a wish of the host's beyond the
// measured bounds, end the boot at the engine's stage.
func TestEngineSettingsAreRefusedBeforeTheEngineRuns(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		change func(s *subject)
		words  string
	}{
		"code from the model": {func(s *subject) {
			s.withEngine(func(file string) string {
				return strings.Replace(file, `"--jinja"`, `"--jinja", "--trust_remote_code"`, 1)
			})
		}, "never allowed"},
		"a wish beyond the bounds": {func(s *subject) { s.runtime.Engine.MaxRequests = 9 }, "max_requests 9 is outside of the measured bounds"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSubject(t, workerImage, bootfiles.Test, launch.BootUKI)
			s.withModel()
			tc.change(s)
			run := s.start()
			if run.Failed() != boot.StageEngine || run.End == nil {
				t.Fatalf("the stages are %v, end %+v; console:\n%s", names(run), run.End, run.Tail())
			}
			last := run.Stages[len(run.Stages)-1]
			if !strings.Contains(last.Error, tc.words) {
				t.Errorf("the error is %q, want one with %q", last.Error, tc.words)
			}
			t.Logf("%s: %s", last.Stage, last.Error)
		})
	}
}

// hostileArchive attaches an archive that dm-verity vouches for and that no honest publisher made: a symlink out of the
// model.
func (s *subject) hostileArchive() {
	s.t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, h := range []tar.Header{
		{Name: "./", Mode: 0o755, Typeflag: tar.TypeDir},
		{Name: "./scripted.gguf", Mode: 0o777, Typeflag: tar.TypeSymlink, Linkname: "/proc/self/mem"},
	} {
		h.Format = tar.FormatUSTAR
		if err := w.WriteHeader(&h); err != nil {
			s.t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		s.t.Fatal(err)
	}
	data := append(buf.Bytes(), make([]byte, blockSize-buf.Len()%blockSize)...)
	name := write(s.t, s.dir, "hostile.img", data)
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		s.t.Fatal(err)
	}
	v, err := verity.Append(context.Background(), f, verity.Params{Salt: []byte{1}})
	if err := errors.Join(err, f.Close()); err != nil {
		s.t.Fatal(err)
	}
	s.machine.Paths.Disks[launch.SerialModel] = name
	s.measureModel(config.Model{
		ID: "test/hostile@main:" + v.String(), Format: config.FormatTar, DataBlocks: v.DataBlocks, Salt: hex.EncodeToString(v.Salt),
	})
}

// otherModel puts a model of other files on the disk that the spec knows, no smaller than the measured one.
func (s *subject) otherModel() {
	s.t.Helper()
	folder, volume := s.t.TempDir(), filepath.Join(s.dir, "other.img")
	if err := os.WriteFile(filepath.Join(folder, "scripted.gguf"), make([]byte, 8<<20), 0o600); err != nil {
		s.t.Fatal(err)
	}
	if _, err := model.Build(s.t.Context(), folder, volume, testModel()); err != nil {
		s.t.Fatal(err)
	}
	s.machine.Paths.Disks[launch.SerialModel] = volume
}

// TestAModelThatIsNotTheMeasuredOneIsRefusedByName: whatever the host attaches instead, the boot ends at the model's
// stage with the reason, before the engine's layer is opened.
func TestAModelThatIsNotTheMeasuredOneIsRefusedByName(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		change func(s *subject)
		words  string
	}{
		"swapped": {func(s *subject) { s.withModel(); s.otherModel() }, "is not test/scripted@0123456789abcdef0123456789abcdef01234567:"},
		"another root": {func(s *subject) {
			s.withModel()
			m := s.measuredModel()
			m.ID = m.ID[:len(m.ID)-64] + strings.Repeat("5a", 32)
			s.measureModel(m)
		}, "is not test/scripted@0123456789abcdef0123456789abcdef01234567:" + strings.Repeat("5a", 32)},
		"truncated": {func(s *subject) {
			s.withModel()
			s.copyOf(launch.SerialModel, func(data []byte) []byte { return data[:len(data)-blockSize] })
		}, "it is truncated"},
		"an archive where the spec has an image": {func(s *subject) {
			s.withArchive()
			m := s.measuredModel()
			m.Format = config.FormatEROFS
			s.measureModel(m)
		}, "no EROFS image"},
		"a link in an archive": {(*subject).hostileArchive, `"scripted.gguf" is of type '2'`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSubject(t, workerImage, bootfiles.Test, launch.BootUKI)
			tc.change(s)
			run := s.start()
			if run.Failed() != boot.StageModel || run.End == nil || run.End.Stage != boot.StageModel {
				t.Fatalf("the stages are %v, end %+v; console:\n%s", names(run), run.End, run.Tail())
			}
			last := run.Stages[len(run.Stages)-1]
			if !strings.Contains(last.Error, tc.words) {
				t.Errorf("the error is %q, want one with %q", last.Error, tc.words)
			}
			t.Logf("%s: %s", last.Stage, last.Error)
		})
	}
}

// TestGuestAndBuilderIndexArchivesAlike: the guest's reader and the builder's find the same members in the builder's
// archives, and the guest takes no archive that the builder refuses for its members.
func TestGuestAndBuilderIndexArchivesAlike(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	for name, size := range map[string]int{
		"config.json": 700, "empty": 0, "model-00001-of-00002.safetensors": 1 << 20, "sub/tokenizer.json": 4097,
		"sub/" + strings.Repeat("n", 120): 512, "sub/\u00fcml\u00e4ut.txt": 3, "z": 1,
	} {
		path := filepath.Join(folder, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	volume, d := joined(t, t.TempDir(), folder)
	f, err := os.Open(volume)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // read side
	size := int64(d.DataBlocks) * blockSize
	want, err := model.ReadIndex(f, size)
	if err != nil {
		t.Fatal(err)
	}
	got, err := archive.Read(f, size)
	if err != nil {
		t.Fatal(err)
	}
	same := func(a archive.Member, b model.Member) bool { return a == archive.Member(b) }
	if !slices.EqualFunc(got, want.Members, same) {
		t.Errorf("the guest sees %+v\nthe builder %+v", got, want.Members)
	}
}
