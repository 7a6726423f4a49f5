package boot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cocoon/guest/boot"
	"cocoon/guest/config"
	"cocoon/image/initrd"
	"cocoon/image/manifest"
	"cocoon/image/model"
	"cocoon/image/pipeline"
	"cocoon/image/rootfs"
	"cocoon/image/uki"
	"cocoon/measure/bootfiles"
	"cocoon/measure/launch"
	"cocoon/measure/spec"
	"cocoon/tests/inputs"
)

// Names of the images and of their artefacts.
const (
	proxyImage  = "proxy"
	workerImage = "worker-cpu"
	ukiFile     = "image.efi"
	initrdFile  = "initrd.cpio"
	diskFile    = "disk.img"
	fwFile      = "firmware.fd"
)

// rehearsalVCPUs is the number of virtual processors. With more than one, QEMU's emulation has races of its own: the
// kernel patches its code while another processor runs it, and one boot in fifty died of that on a busy machine.
const rehearsalVCPUs = 1

// slowStage is what makes a stage worth a word in the log.
const slowStage = 50 * time.Millisecond

// buildLimit bounds a build with an empty cache on a slow machine.
const buildLimit = 15 * time.Minute

// images builds both light images, as test and as production, once; an earlier build in the cache is used again.
var images = sync.OnceValues(func() (map[string]pipeline.Built, error) {
	in, err := locked()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), buildLimit)
	defer cancel()
	built, err := pipeline.Run(ctx, pipeline.Options{
		Root: in.Root, CacheDir: in.Cache, OutDir: filepath.Join(in.Cache, "test-out"),
		Images: []string{proxyImage, workerImage}, Variants: []bootfiles.Variant{bootfiles.Test, bootfiles.Production},
	}, func(pipeline.Event) {})
	if err != nil {
		return nil, err
	}
	out := make(map[string]pipeline.Built)
	for _, b := range built {
		out[pipeline.Label(b.Manifest.Image.Name, b.Manifest.Image.Variant)] = b
	}
	return out, nil
})

// subject is a machine about to be started with one of our images, and the facts that the test knows about it.
type subject struct {
	t     *testing.T
	dir   string
	built pipeline.Built
	// machine is what will be started; tests alter it.
	machine Machine
	// files is the measured spec, runtime what the host wishes.
	files   []spec.File
	runtime config.Runtime
}

// newSubject prepares an image of a variant in a boot form, with a fitting config disk and without network.
func newSubject(t *testing.T, name string, v bootfiles.Variant, form launch.BootForm) *subject {
	t.Helper()
	needs(t)
	all, err := images()
	if err != nil {
		t.Fatalf("building the images: %v", err)
	}
	built, ok := all[pipeline.Label(name, v)]
	if !ok {
		t.Fatalf("no image %s in variant %s", name, v)
	}
	shapeName := map[string]string{proxyImage: "test-proxy", workerImage: "test"}[name]
	if form == launch.BootDisk {
		shapeName += "-disk"
	}
	shape, err := launch.Shape(shapeName)
	if err != nil {
		t.Fatal(err)
	}
	shape.VCPUs = rehearsalVCPUs
	if err := shape.SetLayers(built.Manifest.Layers); err != nil {
		t.Fatal(err)
	}
	s := &subject{
		t: t, dir: scratch(t), built: built,
		files:   []spec.File{{Path: config.RoleFile, Data: encode(t, config.Measured{Role: built.Manifest.Image.Profile})}},
		runtime: config.Runtime{Network: config.Network{Mode: config.NoNetwork}},
	}
	s.machine = Machine{
		QEMU: installedQEMU(t).Path, Shape: shape, WithPIC: true, Production: v == bootfiles.Production,
		Paths: launch.HostPaths{Firmware: s.artefact(fwFile), CID: 3, Disks: map[string]string{}},
	}
	if form == launch.BootDisk {
		s.machine.Paths.Disks[launch.SerialDisk] = s.artefact(diskFile)
		return s
	}
	s.machine.Paths.UKI = s.artefact(ukiFile)
	for _, l := range built.Manifest.Layers {
		s.machine.Paths.Disks[l.ID] = s.artefact("layer-" + l.ID + ".img")
	}
	return s
}

func encode(t *testing.T, v any) []byte {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func (s *subject) artefact(name string) string {
	s.t.Helper()
	if !slices.ContainsFunc(s.built.Manifest.Artefacts, func(a manifest.Artefact) bool { return a.Name == name }) {
		s.t.Fatalf("image %s has no artefact %s", s.built.Manifest.Image.Name, name)
	}
	return filepath.Join(s.built.Dir, name)
}

// configDisk is the disk of spec and runtime.
func (s *subject) configDisk() []byte {
	s.t.Helper()
	spec.Sort(s.files)
	disk, err := spec.EncodeDisk(s.files, encode(s.t, s.runtime))
	if err != nil {
		s.t.Fatal(err)
	}
	return disk
}

// start runs the machine. The config disk is written unless a test has put its own there.
func (s *subject) start() *Run {
	s.t.Helper()
	if s.machine.Paths.Disks[launch.SerialConfig] == "" {
		s.machine.Paths.Disks[launch.SerialConfig] = write(s.t, s.dir, "config.img", s.configDisk())
	}
	run, err := s.machine.Boot(s.t.Context(), s.dir)
	if err != nil {
		s.t.Fatal(err)
	}
	return run
}

// rtmr3 are the predicted values of a production or test image after its spec was measured, and at the end.
func (s *subject) rtmr3() spec.RTMR3 {
	s.t.Helper()
	tree, err := spec.TreeHash(s.files)
	if err != nil {
		s.t.Fatal(err)
	}
	return spec.PredictRTMR3(tree, false)
}

// withModel attaches the scripted test model and names it in the spec.
func (s *subject) withModel() string {
	s.t.Helper()
	in := needs(s.t)
	folder, name, volume := s.t.TempDir(), "scripted.gguf", filepath.Join(s.dir, "model.img")
	if err := in.Model(filepath.Join(folder, name)); errors.Is(err, inputs.ErrNoVectors) {
		s.t.Skip(err)
	} else if err != nil {
		s.t.Fatal(err)
	}
	d, err := model.Build(s.t.Context(), folder, volume, model.Options{Name: "test/scripted", Commit: "0123456789abcdef0123456789abcdef01234567"})
	if err != nil {
		s.t.Fatal(err)
	}
	s.machine.Paths.Disks[launch.SerialModel] = volume
	s.files = []spec.File{{Path: config.RoleFile, Data: encode(s.t, config.Measured{
		Role:  "worker",
		Model: &config.Model{ID: d.Identity, DataBlocks: d.DataBlocks, Salt: d.Salt, File: name},
	})}}
	return volume
}

// initrd is the image's initial RAM disk.
func (s *subject) initrd() *rootfs.Tree {
	s.t.Helper()
	raw, err := os.ReadFile(s.artefact(initrdFile))
	if err != nil {
		s.t.Fatal(err)
	}
	tree, err := initrd.Read(raw)
	if err != nil {
		s.t.Fatal(err)
	}
	return tree
}

// rebuild replaces files of the initrd, or removes those with nil content, and boots the UKI made from it with the
// given command line.
func (s *subject) rebuild(cmdline string, files map[string][]byte) {
	s.t.Helper()
	in, tree := needs(s.t), s.initrd()
	for name, data := range files {
		if data == nil {
			if tree.Remove(name) == 0 {
				s.t.Fatalf("the initrd has no %s", name)
			}
			continue
		}
		old, ok := tree.Get(name)
		if !ok {
			s.t.Fatalf("the initrd has no %s", name)
		}
		next := *old
		next.Content = rootfs.Bytes(data)
		if err := tree.Replace(name, &next); err != nil {
			s.t.Fatal(err)
		}
	}
	archive, err := initrd.Encode(tree)
	if err != nil {
		s.t.Fatal(err)
	}
	image, err := uki.Build(in.stub, uki.Sections{Cmdline: []byte(cmdline), Initrd: archive, Linux: in.vmlinuz})
	if err != nil {
		s.t.Fatal(err)
	}
	s.machine.Paths.UKI = write(s.t, s.dir, ukiFile, image)
}

// detail is one fact of a stage.
func detail(t *testing.T, run *Run, stage, key string) any {
	t.Helper()
	st, ok := run.Stage(stage)
	if !ok {
		t.Fatalf("stage %s was not reached; the stages are %v; console:\n%s", stage, names(run), run.Tail())
	}
	return st.Detail[key]
}

func names(run *Run) []string {
	var out []string
	for _, s := range run.Stages {
		out = append(out, s.Stage+" "+string(s.Status))
	}
	return out
}

// TestImageBootsAndKernelMountsOurVolumes boots the images of the test variant from the UKI and from the GPT disk.
// The pinned kernel is the judge of what image/fs, image/verity, image/disk and image/model wrote: it mounts every
// layer, and the model, through dm-verity, and the engine in the layer answers one completion with the model's words.
func TestImageBootsAndKernelMountsOurVolumes(t *testing.T) {
	t.Parallel()
	for _, name := range []string{proxyImage, workerImage} {
		for _, form := range []launch.BootForm{launch.BootUKI, launch.BootDisk} {
			t.Run(name+"/"+string(form), func(t *testing.T) {
				t.Parallel()
				s := newSubject(t, name, bootfiles.Test, form)
				if name == workerImage {
					s.withModel()
				} else {
					s.runtime.Network.Mode = config.DHCP
				}
				s.machine.Until = boot.StageReady
				run := s.start()
				s.checkReady(run)
			})
		}
	}
}

// checkReady checks a boot that should have reached its last stage.
func (s *subject) checkReady(run *Run) {
	t := s.t
	t.Helper()
	if st, ok := run.Stage(boot.StageReady); !ok || st.Status != boot.OK {
		t.Fatalf("the machine is not ready; the stages are %v; console:\n%s", names(run), run.Tail())
	}
	for _, p := range []struct{ what, stage string }{
		{"init's first line", boot.StageConsole}, {"layers mounted", boot.StageBase}, {"ready", boot.StageReady},
	} {
		t.Logf("%s after %.1f s, %.1f s of processor time", p.what, run.Reached[p.stage].Seconds(), run.CPU[p.stage].Seconds())
	}
	var slow []string
	for _, st := range run.Stages {
		if st.DurationMS >= slowStage.Milliseconds() {
			slow = append(slow, fmt.Sprintf("%s %d ms", st.Stage, st.DurationMS))
		}
	}
	t.Logf("the stages that took time: %s", strings.Join(slow, ", "))
	if got, want := detail(t, run, boot.StageConfig, "rtmr3"), s.rtmr3().Seal.String(); got != want {
		t.Errorf("RTMR3 with the spec is %v, predicted is %s", got, want)
	}
	if detail(t, run, boot.StageTD, "software") != true {
		t.Error("the machine does not say that its registers are software")
	}
	stages := []string{boot.StageBase}
	if s.built.Manifest.Image.Profile == "worker" {
		stages = append(stages, boot.StageModel, boot.StageEngine)
		const words = "Hello from a scripted model running inside llama-server."
		if got := detail(t, run, boot.StageEngine, "answer"); got != words {
			t.Errorf("the engine answered %v, want %q", got, words)
		}
	} else if got := detail(t, run, boot.StageNetwork, "mode"); got != config.DHCP {
		t.Errorf("the network's mode is %v", got)
	}
	var roots []any
	for _, stage := range stages {
		volumes, _ := detail(t, run, stage, "volumes").([]any)
		for _, v := range volumes {
			fields, _ := v.(map[string]any)
			roots = append(roots, fields["root"])
		}
	}
	for _, l := range s.built.Manifest.Layers {
		if !slices.Contains(roots, any(l.RootHash)) {
			t.Errorf("layer %s with root %s is not among the mounted %v", l.ID, l.RootHash, roots)
		}
	}
}

// TestProductionImageNeedsATD: without TDX a production image says at which stage it stopped, and powers off.
func TestProductionImageNeedsATD(t *testing.T) {
	t.Parallel()
	for _, name := range []string{proxyImage, workerImage} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSubject(t, name, bootfiles.Production, launch.BootUKI)
			run := s.start()
			if run.Failed() != boot.StageTD || run.End == nil || run.End.Stage != boot.StageTD {
				t.Errorf("the boot ended with stages %v and %+v, want the failure of %s", names(run), run.End, boot.StageTD)
			}
		})
	}
}
