package boot

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"cocoon/guest/clock"
	"cocoon/guest/config"
	"cocoon/guest/klog"
	"cocoon/guest/mounts"
	"cocoon/guest/netcfg"
	"cocoon/guest/rtmr"
	"cocoon/guest/storage"
	"cocoon/measure/bootfiles"
	"cocoon/measure/spec"
	"cocoon/measure/tdx"
)

// rig is a machine made of files and functions: a booting guest without a kernel.
type rig struct {
	t     *testing.T
	deps  *Deps
	out   bytes.Buffer
	files map[string]string
	disks map[string][]byte
	td    fakeTD
	// simulation is the software TDX of the host, if it has one; asked counts who looked for it.
	simulation    Simulation
	simulationErr error
	asked         int

	mounted []mounts.Mount
	failOn  string
	dm      []storage.Command
	clock   clock.Result
}

// fakeTD is the trust domain the test describes.
type fakeTD struct {
	present    bool
	attributes rtmr.Attributes
	bank       rtmr.Bank
}

func (f *fakeTD) Present() (bool, error)               { return f.present, nil }
func (f *fakeTD) Attributes() (rtmr.Attributes, error) { return f.attributes, nil }
func (f *fakeTD) Bank() rtmr.Bank                      { return f.bank }

// Mkdir makes a directory below the rig's root.
func (r *rig) Mkdir(path string, mode os.FileMode) error {
	return os.MkdirAll(filepath.Join(r.deps.Root, path), mode)
}

// Mount notes the mount.
func (r *rig) Mount(m mounts.Mount) error {
	if m.Target == r.failOn {
		return unix.EPERM
	}
	r.mounted = append(r.mounted, m)
	return nil
}

// Ioctl plays device-mapper.
func (r *rig) Ioctl(c storage.Command, buf []byte) error {
	r.dm = append(r.dm, c)
	if c == storage.DevCreate {
		binary.LittleEndian.PutUint64(buf[40:], unix.Mkdev(254, 0))
	}
	return nil
}

type memoryDisk struct{ *bytes.Reader }

func (memoryDisk) Close() error { return nil }

func layer(id string, role bootfiles.Role) bootfiles.Layer {
	return bootfiles.Layer{
		ID: id, DataBlocks: 2, HashStartBlock: 3, HashBlocks: 1, Salt: "00", RootHash: strings.Repeat("ab", 32),
		Mount: bootfiles.LayerMountRoot + "/" + id, Role: role,
	}
}

const workerRole = `{"role":"worker"}`

// modelRole is a worker's role with a model of two data blocks whose tree is one block of zeros, or of something else.
func modelRole(block []byte, more string) string {
	sum := sha256.Sum256(block)
	return `{"role":"worker","model":{"id":"m@c:` + hex.EncodeToString(sum[:]) + `","data_blocks":2,"salt":""` + more + `}}`
}

// newRig is a worker image of the test variant on a machine without TDX, on which everything works.
func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, td: fakeTD{bank: new(rtmr.Software)}}
	r.files = map[string]string{
		bootfiles.CmdlinePath:                  bootfiles.Cmdline(bootfiles.Test),
		"proc/cmdline":                         bootfiles.Cmdline(bootfiles.Test) + "\n",
		bootfiles.ModulesOrderPath:             "dm_verity.ko\nconfigfs.ko\n",
		"lib/modules/dm_verity.ko":             "",
		"lib/modules/configfs.ko":              "",
		"sys/kernel/security/lockdown":         "",
		"proc/sys/kernel/printk_devkmsg":       "",
		"proc/sys/vm/unprivileged_userfaultfd": "",
		"proc/sys/kernel/yama/ptrace_scope":    "",
		"proc/sys/kernel/core_pattern":         "core",
		"proc/sys/kernel/modules_disabled":     "0",
		"proc/sys/kernel/kexec_load_disabled":  "0",
		"proc/sys/kernel/dmesg_restrict":       "0",
		"proc/sys/kernel/kptr_restrict":        "0",
		"proc/sys/kernel/perf_event_paranoid":  "0",
		"proc/sys/kernel/sysrq":                "1",
		"proc/sys/kernel/io_uring_disabled":    "0",
		"run/cocoon/.placeholder":              "",
	}
	r.image(bootfiles.Test, "worker")
	r.layers(layer("base", bootfiles.RoleBase))
	r.disks = map[string][]byte{"base": make([]byte, 4*4096)}
	r.config(workerRole, `{"network":{"mode":"none"},"log_level":"debug"}`)
	level := new(slog.LevelVar)
	r.deps = &Deps{
		Root: t.TempDir(), Log: klog.New(klog.Options{Console: &r.out, Level: level}), Level: level, Now: time.Now,
		OpenKmsg: func() (io.Writer, error) { return io.Discard, nil },
		Kernel:   r, TD: &r.td,
		Simulated: func() (Simulation, error) {
			r.asked++
			return r.simulation, r.simulationErr
		},
		InsertModule: func(*os.File) error { return nil },
		FindDisk:     r.find,
		OpenDisk:     func(d storage.Device) (storage.Disk, error) { return memoryDisk{bytes.NewReader(r.disks[d.Name])}, nil },
		OpenControl:  func() (storage.Control, error) { return r, nil },
		Network: func(_ context.Context, n config.Network) (netcfg.Report, error) {
			return netcfg.Report{Mode: n.Mode, Interface: "eth0", Address: "10.0.0.5/24"}, nil
		},
		Clock: func(context.Context, []string) (clock.Result, error) { return r.clock, nil },
	}
	return r
}

func (r *rig) image(v bootfiles.Variant, profile string) {
	r.t.Helper()
	raw, err := bootfiles.EncodeImage(bootfiles.Image{Name: profile, Profile: profile, Variant: v, Version: 1})
	if err != nil {
		r.t.Fatal(err)
	}
	r.files[bootfiles.ImagePath] = string(raw)
	r.files[bootfiles.CmdlinePath] = bootfiles.Cmdline(v)
	r.files["proc/cmdline"] = bootfiles.Cmdline(v) + "\n"
}

func (r *rig) layers(layers ...bootfiles.Layer) {
	r.t.Helper()
	raw, err := bootfiles.EncodeLayers(layers)
	if err != nil {
		r.t.Fatal(err)
	}
	r.files[bootfiles.LayersPath] = string(raw)
}

func (r *rig) config(role, runtime string) {
	r.t.Helper()
	raw, err := spec.EncodeDisk([]spec.File{{Path: config.RoleFile, Data: []byte(role)}}, []byte(runtime))
	if err != nil {
		r.t.Fatal(err)
	}
	r.disks[config.DiskSerial] = raw
}

func (r *rig) find(_ context.Context, name string) (storage.Device, error) {
	data, ok := r.disks[name]
	if !ok {
		return storage.Device{}, storage.ErrNoDevice
	}
	return storage.Device{Node: "/dev/vda", Name: name, Bytes: uint64(len(data))}, nil
}

// boot writes the files and runs the real table.
func (r *rig) boot() (*State, error) {
	r.t.Helper()
	for name, content := range r.files {
		path := filepath.Join(r.deps.Root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			r.t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			r.t.Fatal(err)
		}
	}
	stages := Stages()
	for i := range stages {
		if stages[i].Name == StageLock { // the kernel answers a lockdown write in its own words; a file cannot
			locked := stages[i].Run
			stages[i].Run = func(ctx context.Context, st *State) error { return r.asKernel(locked(ctx, st)) }
		}
	}
	st := NewState(r.deps)
	return st, Run(context.Background(), stages, st)
}

// asKernel accepts the one failure that a plain file causes: it reads back "integrity" without brackets.
func (r *rig) asKernel(err error) error {
	if err != nil && strings.Contains(err.Error(), `reads "integrity" afterwards`) {
		return nil
	}
	return err
}

func (r *rig) status(name string) Status {
	r.t.Helper()
	for _, s := range lines(r.t, &r.out) {
		if s.Stage == name {
			return s
		}
	}
	r.t.Fatalf("no status of stage %s in\n%s", name, r.out.String())
	return Status{}
}

func TestATestImageReachesReadyWithoutATD(t *testing.T) {
	r := newRig(t)
	st, err := r.boot()
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]Outcome{
		StageClock: Skipped, StageGPU: Skipped, StageSeal: Skipped, StageStorage: Skipped, StageModel: Skipped,
		StageEngine: Skipped, StageIdentity: Skipped, StageService: Skipped,
	}
	got := map[string]Outcome{}
	for _, s := range lines(t, &r.out) {
		if s.Status != OK {
			got[s.Stage] = s.Status
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if r.status(StageTD).Detail["software"] != true || r.status(StageReady).Detail["software"] != true {
		t.Error("software registers are not called that")
	}
	if !st.Document().Ready || st.deps.Level.Level() != slog.LevelDebug {
		t.Error("not ready, or the runtime's log level was not taken")
	}
	if last := r.mounted[len(r.mounted)-1]; last.Target != "/run/layers/base" || last.Source != "/dev/dm-0" {
		t.Errorf("last mount %s", last)
	}
}

// simulation is a software TDX with registers of an earlier boot.
type simulation struct {
	rtmr.Software
	dirty bool
	err   error
}

func (s *simulation) Reset(context.Context) error {
	s.dirty = false
	return s.err
}

func (s *simulation) Read(reg tdx.Register) (tdx.Digest, error) {
	if s.dirty {
		return tdx.Sum([]byte("an earlier boot")), nil
	}
	return s.Software.Read(reg)
}

func TestATestImageMeasuresIntoItsHostsSoftwareTDX(t *testing.T) {
	r := newRig(t)
	r.simulation = &simulation{dirty: true}
	st, err := r.boot()
	if err != nil {
		t.Fatal(err)
	}
	d := r.status(StageReady).Detail
	if !st.Simulated || st.Software || d["simulated"] != true || d["software"] != nil {
		t.Errorf("ready with %v", d)
	}
	value, err := r.simulation.Read(tdx.RTMR3)
	if want := spec.PredictRTMR3(st.SpecHash, false).Final; err != nil || value != want {
		t.Errorf("RTMR3 = %s, want %s, %v", value, want, err)
	}
}

// TestOnlyTestImagesKnowOfSoftwareTDX: production and debug images do not even look for it, and a TD is never imitated.
func TestOnlyTestImagesKnowOfSoftwareTDX(t *testing.T) {
	for name, tc := range map[string]struct {
		variant bootfiles.Variant
		present bool
		sim     *simulation
		err     error
		asked   int
		stage   string
	}{
		"production":         {variant: bootfiles.Production, stage: StageTD},
		"debug":              {variant: bootfiles.Debug, stage: StageTD},
		"test image in a TD": {variant: bootfiles.Test, present: true},
		"broken channel":     {variant: bootfiles.Test, err: errors.New("no port"), asked: 1, stage: StageTD},
		"reset that fails":   {variant: bootfiles.Test, sim: &simulation{err: errors.New("gone")}, asked: 1, stage: StageTD},
		"reset that works":   {variant: bootfiles.Test, sim: &simulation{dirty: true}, asked: 1},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.image(tc.variant, "worker")
			r.td.present, r.simulationErr = tc.present, tc.err
			if tc.sim != nil {
				r.simulation = tc.sim
			}
			_, err := r.boot()
			failed, _ := errors.AsType[*StageError](err)
			if (failed == nil) != (tc.stage == "") || failed != nil && failed.Stage != tc.stage || r.asked != tc.asked {
				t.Errorf("err = %v after %d questions, want %q after %d", err, r.asked, tc.stage, tc.asked)
			}
		})
	}
}

func TestTheSpecIsMeasuredAsPredicted(t *testing.T) {
	for _, variant := range []bootfiles.Variant{bootfiles.Test, bootfiles.Debug} {
		t.Run(string(variant), func(t *testing.T) {
			r := newRig(t)
			r.image(variant, "worker")
			r.td.present = true
			st, err := r.boot()
			if variant == bootfiles.Test && err != nil {
				t.Fatal(err)
			}
			debug := variant == bootfiles.Debug
			value, err := st.Registers.Value()
			predicted := spec.PredictRTMR3(st.SpecHash, debug)
			want := predicted.Final
			if debug { // without sealed keys its boot ends before they would be out of reach
				want = predicted.Seal
			}
			if err != nil || value != want {
				t.Errorf("RTMR3 = %s, want %s, %v", value, want, err)
			}
			messages := spec.Messages(st.SpecHash, debug)
			if debug {
				messages = messages[:len(messages)-1]
			}
			raw, err := os.ReadFile(st.path(AttestationLog))
			if want := strings.Join(messages, "\n") + "\n"; err != nil || string(raw) != want {
				t.Errorf("log = %q, want %q, %v", raw, want, err)
			}
			if got := r.status(StageConfig).Detail["spec"]; got != st.SpecHash.String() {
				t.Errorf("spec in the status is %v", got)
			}
		})
	}
}

// Each twin changes one thing about a machine that boots and names the stage that must stop it.
func TestNegativeTwins(t *testing.T) {
	production := func(r *rig) {
		r.image(bootfiles.Production, "worker")
		r.td.present = true
	}
	tests := map[string]struct {
		change func(r *rig)
		stage  string
		want   string
	}{
		"no kernel log":        {func(r *rig) { r.deps.OpenKmsg = func() (io.Writer, error) { return nil, unix.ENODEV } }, StageConsole, "kernel log"},
		"no image.json":        {func(r *rig) { delete(r.files, bootfiles.ImagePath) }, StageConsole, "image.json"},
		"other image encoding": {func(r *rig) { r.files[bootfiles.ImagePath] += " " }, StageConsole, "canonical"},
		"mount refused":        {func(r *rig) { r.failOn = "/sys" }, StageMounts, "sysfs"},
		"appended word":        {func(r *rig) { r.files["proc/cmdline"] = "console=ttyS0 quiet panic=-1 init=/bin/sh\n" }, StageCmdline, "without -append"},
		"module missing":       {func(r *rig) { delete(r.files, "lib/modules/dm_verity.ko") }, StageModules, "dm_verity.ko"},
		"empty order":          {func(r *rig) { r.files[bootfiles.ModulesOrderPath] = "" }, StageModules, "newline"},
		"no TD in production":  {func(r *rig) { production(r); r.td.present = false }, StageTD, "not a TD"},
		"no TD in debug":       {func(r *rig) { r.image(bootfiles.Debug, "worker") }, StageTD, "not a TD"},
		"debug TD":             {func(r *rig) { production(r); r.td.attributes = 1 }, StageTD, "debug TD"},
		"TPM":                  {func(r *rig) { r.files["sys/class/tpm/tpm0"] = "" }, StageTD, "TPM"},
		"foreign measurement":  {func(r *rig) { production(r); _ = r.td.bank.Extend(4, [48]byte{1}) }, StageTD, "before this init"},
		"no config disk":       {func(r *rig) { delete(r.disks, config.DiskSerial) }, StageConfig, "no such device"},
		"corrupt config":       {func(r *rig) { r.disks[config.DiskSerial][4200] ^= 1 }, StageConfig, "torn or corrupt"},
		"truncated config":     {func(r *rig) { r.disks[config.DiskSerial] = r.disks[config.DiskSerial][:4500] }, StageConfig, "truncated"},
		"other role":           {func(r *rig) { r.config(`{"role":"proxy"}`, "") }, StageConfig, "this image is a worker"},
		"debug word alone": {func(r *rig) {
			r.files[bootfiles.CmdlinePath] += " " + bootfiles.DebugWord
			r.files["proc/cmdline"] = r.files[bootfiles.CmdlinePath]
		}, StageDebugMarker, "must agree"},
		"debug variant alone": {func(r *rig) {
			r.image(bootfiles.Debug, "worker")
			r.td.present = true
			r.files[bootfiles.CmdlinePath] = bootfiles.Cmdline(bootfiles.Production)
			r.files["proc/cmdline"] = r.files[bootfiles.CmdlinePath]
		}, StageDebugMarker, "must agree"},
		"no base layer":   {func(r *rig) { r.layers(layer("engine", bootfiles.RoleEngine)) }, StageBase, "role base"},
		"missing layer":   {func(r *rig) { delete(r.disks, "base") }, StageBase, "volume base"},
		"truncated layer": {func(r *rig) { r.disks["base"] = r.disks["base"][:4096] }, StageBase, "truncated"},
		"network down": {func(r *rig) {
			r.deps.Network = func(context.Context, config.Network) (netcfg.Report, error) {
				return netcfg.Report{}, netcfg.ErrNoInterface
			}
		}, StageNetwork, "no network"},
		"clock before the epoch": {func(r *rig) {
			r.deps.Clock = func(context.Context, []string) (clock.Result, error) { return clock.Result{}, clock.ErrBeforeEpoch }
		}, StageClock, "epoch"},
		"gpu layer":     {func(r *rig) { r.layers(layer("base", bootfiles.RoleBase), layer("gpu", bootfiles.RoleGPU)) }, StageGPU, "not in this build"},
		"missing model": {func(r *rig) { r.config(modelRole(make([]byte, 4096), ""), "") }, StageModel, ModelSerial},
		"truncated model": {func(r *rig) {
			r.config(modelRole(make([]byte, 4096), ""), "")
			r.disks[ModelSerial] = make([]byte, 4*4096-512)
		}, StageModel, "m@c:ad7facb2586fc6e966c004d7d1d16b024f5805ff7cb47c7a85dabd8b48892ca7 needs 16384"},
		"another model": {func(r *rig) {
			r.config(modelRole(make([]byte, 4095), ""), "")
			r.disks[ModelSerial] = make([]byte, 4*4096)
		}, StageModel, "the root of its hash tree is ad7facb2586fc6e966c004d7d1d16b024f5805ff7cb47c7a85dabd8b48892ca7"},
		"broken archive": {func(r *rig) {
			r.config(modelRole(make([]byte, 4096), `,"format":"tar"`), "")
			r.disks[ModelSerial] = make([]byte, 4*4096)
			r.deps.AttachArchive = func(string, uint64) (*storage.View, error) { return nil, errors.New("a symlink") }
		}, StageModel, "a symlink"},
		"missing engine layer":    {func(r *rig) { r.layers(layer("base", bootfiles.RoleBase), layer("engine", bootfiles.RoleEngine)) }, StageEngine, "volume engine"},
		"production without seal": {production, StageSeal, "not in this build"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			tc.change(r)
			st, err := r.boot()
			var stageErr *StageError
			if !errors.As(err, &stageErr) || stageErr.Stage != tc.stage || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("err = %v, want stage %s and %q", err, tc.stage, tc.want)
			}
			if st.Document().Ready {
				t.Error("ready all the same")
			}
		})
	}
}

func TestLockReadsEverySettingBack(t *testing.T) {
	for _, s := range lockSysctls() {
		t.Run(s.name, func(t *testing.T) {
			r := newRig(t)
			st := NewState(r.deps)
			path := st.path("/proc/sys/" + strings.ReplaceAll(s.name, ".", "/"))
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink("/dev/null", path); err != nil { // takes writes, reads back nothing
				t.Fatal(err)
			}
			err := st.setSysctl(s)
			if s.value == "" && err != nil {
				t.Errorf("an empty value reads back empty: %v", err)
			}
			if s.value != "" && (err == nil || !strings.Contains(err.Error(), s.name)) {
				t.Errorf("a setting that does not stick: %v", err)
			}
		})
	}
}

func TestLockNeedsTheKernelsWordOnLockdown(t *testing.T) {
	r := newRig(t)
	st := NewState(r.deps)
	for name, content := range r.files {
		path := st.path("/" + name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	if err := runLock(context.Background(), st); err == nil || !strings.Contains(err.Error(), "want [integrity]") {
		t.Errorf("err = %v", err)
	}
	for _, s := range lockSysctls() {
		raw, err := os.ReadFile(st.path("/proc/sys/" + strings.ReplaceAll(s.name, ".", "/")))
		if err != nil || strings.TrimSpace(string(raw)) != s.value {
			t.Errorf("%s = %q, %v", s.name, raw, err)
		}
	}
}

func TestHooksRunInTheirStagesWithTheirVolumesMounted(t *testing.T) {
	r := newRig(t)
	r.layers(layer("base", bootfiles.RoleBase), layer("gpu", bootfiles.RoleGPU), layer("engine", bootfiles.RoleEngine))
	maps.Copy(r.disks, map[string][]byte{"gpu": make([]byte, 4*4096), "engine": make([]byte, 4*4096), ModelSerial: make([]byte, 4*4096)})
	r.config(modelRole(make([]byte, 4096), ""), "")
	r.clock = clock.Result{Server: "time.example", Offset: time.Second, Stepped: true}
	var ran []string
	note := func(name, mount string) Hook {
		return func(context.Context, *State) error {
			if last := r.mounted[len(r.mounted)-1].Target; mount != "" && last != mount {
				t.Errorf("%s ran after the mount of %s", name, last)
			}
			ran = append(ran, name)
			return nil
		}
	}
	r.deps.Hooks = Hooks{
		GPU: note("gpu", "/run/layers/gpu"), Seal: note("seal", ""), Storage: note("storage", ""),
		Engine: note("engine", "/run/layers/engine"), Identity: note("identity", ""), Service: note("service", ""),
	}
	st, err := r.boot()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"gpu", "seal", "storage", "engine", "identity", "service"}, ran); diff != "" {
		t.Error(diff)
	}
	if st.ModelDir != ModelDir || r.status(StageModel).Detail["model"] == nil || r.status(StageClock).Detail["stepped"] != true {
		t.Errorf("model %q, statuses %+v", st.ModelDir, lines(t, &r.out))
	}
}

// TestAnArchiveIsMountedThroughItsView: the image in memory is the source, the verity device behind a loop device the
// further one, and the model's identity and hash are told as the network will hear them.
func TestAnArchiveIsMountedThroughItsView(t *testing.T) {
	r := newRig(t)
	r.disks[ModelSerial] = make([]byte, 4*4096)
	r.config(modelRole(make([]byte, 4096), `,"format":"tar"`), "")
	var node string
	var size uint64
	r.deps.AttachArchive = func(n string, b uint64) (*storage.View, error) {
		node, size = n, b
		return &storage.View{Source: "/dev/loop0", Device: "/dev/loop1", Members: 7}, nil
	}
	if _, err := r.boot(); err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(r.mounted, func(m mounts.Mount) bool { return m.Target == ModelDir })
	if i < 0 || r.mounted[i].Source != "/dev/loop0" || r.mounted[i].Data != "device=/dev/loop1" || r.mounted[i].Flags != mounts.LayerFlags {
		t.Errorf("mounts %+v", r.mounted)
	}
	if node != "/dev/dm-0" || size != 2*4096 {
		t.Errorf("attached %s of %d bytes", node, size)
	}
	detail := r.status(StageModel).Detail
	id, _ := detail["model"].(string)
	hash := sha256.Sum256([]byte(id))
	if id == "" || detail["model_hash"] != hex.EncodeToString(hash[:]) {
		t.Errorf("details %v", detail)
	}
}

func TestCheckCmdline(t *testing.T) {
	const baked = "console=hvc0 quiet panic=-1"
	tests := map[string]struct {
		given, baked string
		ok           bool
	}{
		"equal":           {baked + "\n", baked, true},
		"no newline":      {baked, baked, true},
		"prefix":          {"initrd=initrd " + baked + "\n", baked, true},
		"suffix":          {baked + " initrd=initrd\n", baked, true},
		"both":            {"initrd=initrd " + baked + " initrd=initrd\n", baked, false},
		"other initrd":    {"initrd=evil " + baked, baked, false},
		"two newlines":    {baked + "\n\n", baked, false},
		"case":            {strings.ToUpper(baked), baked, false},
		"trailing space":  {baked + " ", baked, false},
		"cut":             {baked[:10], baked, false},
		"empty":           {"", baked, false},
		"NUL":             {baked + "\x00", baked, false},
		"duplicate baked": {"a=1 a=2", "a=1 a=2", false},
		"dash duplicate":  {"a-b=1 a_b=2", "a-b=1 a_b=2", false},
		"empty baked":     {"", "", false},
		"quoted baked":    {`a="b c"`, `a="b c"`, false},
		"double space":    {"a  b", "a  b", false},
		"control baked":   {"a\tb", "a\tb", false},
		"long baked":      {strings.Repeat("x", 3000), strings.Repeat("x", 3000), false},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := CheckCmdline(tc.given, tc.baked)
			if (err == nil) != tc.ok || (tc.ok && got != tc.baked) {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
}

func FuzzCheckCmdline(f *testing.F) {
	baked := bootfiles.Cmdline(bootfiles.Production)
	for _, s := range []string{baked, baked + "\n", "initrd=initrd " + baked, baked + " initrd=initrd", "", `x="`, baked + " cocoon_debug", "a=1 a=2"} {
		f.Add(s, baked)
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, given, baked string) {
		got, err := CheckCmdline(given, baked)
		if err != nil {
			return
		}
		if got != baked {
			t.Errorf("returned %q for %q", got, baked)
		}
		rest := strings.Replace(strings.TrimSuffix(given, "\n"), baked, "", 1)
		if rest != "" && strings.TrimSpace(rest) != ovmfInitrdWord {
			t.Errorf("accepted the extra words %q", rest)
		}
	})
}
