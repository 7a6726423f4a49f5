package boot

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"cocoon/guest/boot"
	"cocoon/guest/config"
	"cocoon/measure/bootfiles"
	"cocoon/measure/launch"
	"cocoon/measure/spec"
)

// blockSize is the unit of dm-verity.
const blockSize = bootfiles.BlockSize

// copyOf gives the machine a changed copy of a disk's file.
func (s *subject) copyOf(serial string, change func(data []byte) []byte) {
	s.t.Helper()
	data, err := os.ReadFile(s.machine.Paths.Disks[serial])
	if err != nil {
		s.t.Fatal(err)
	}
	s.machine.Paths.Disks[serial] = write(s.t, s.dir, serial+"-changed.img", change(data))
}

// without takes a device away.
func (s *subject) without(serial string) {
	s.machine.Shape.Devices = slices.DeleteFunc(s.machine.Shape.Devices, func(d launch.Device) bool { return d.Serial == serial })
}

// withConfig gives the machine a changed config disk.
func (s *subject) withConfig(change func(data []byte) []byte) {
	s.t.Helper()
	s.machine.Paths.Disks[launch.SerialConfig] = write(s.t, s.dir, "config.img", change(s.configDisk()))
}

// flipAt inverts one bit.
func flipAt(offset int) func([]byte) []byte {
	return func(data []byte) []byte {
		data[offset] ^= 1
		return data
	}
}

// twin is a machine that differs in one thing from one that becomes ready.
type twin struct {
	image  string // proxy when empty
	change func(s *subject)
	// stage must fail, with these words in its error.
	stage, words string
}

// offsets in a config disk (image.md section 14.1).
const (
	configMagic      = 0
	configSpecLength = 24
	configSpec       = 4096
)

func configTwins() map[string]twin {
	return map[string]twin{
		"no config disk": {
			change: func(s *subject) { s.without(launch.SerialConfig) },
			stage:  boot.StageConfig, words: launch.SerialConfig,
		},
		"config disk without magic": {
			change: func(s *subject) { s.withConfig(flipAt(configMagic)) },
			stage:  boot.StageConfig, words: "magic",
		},
		"config disk with a flipped spec byte": {
			change: func(s *subject) { s.withConfig(flipAt(configSpec + 200)) },
			stage:  boot.StageConfig, words: "SHA-256",
		},
		"config disk whose spec is longer than the disk": {
			change: func(s *subject) {
				s.withConfig(func(data []byte) []byte {
					binary.LittleEndian.PutUint64(data[configSpecLength:], uint64(len(data)))
					return data
				})
			},
			stage: boot.StageConfig, words: "offset",
		},
		"config disk whose spec is above the limit": {
			change: func(s *subject) {
				s.withConfig(func(data []byte) []byte {
					binary.LittleEndian.PutUint64(data[configSpecLength:], spec.MaxSpecLength+1)
					return append(data, make([]byte, spec.MaxSpecLength+blockSize)...)
				})
			},
			stage: boot.StageConfig, words: "length",
		},
		"config disk whose runtime section is no document": {
			change: func(s *subject) {
				disk, err := spec.EncodeDisk(s.files, []byte("{"))
				if err != nil {
					s.t.Fatal(err)
				}
				s.machine.Paths.Disks[launch.SerialConfig] = write(s.t, s.dir, "config.img", disk)
			},
			stage: boot.StageConfig, words: "runtime",
		},
		"spec of another role": {
			change: func(s *subject) { s.files[0].Data = encode(s.t, config.Measured{Role: "worker"}) },
			stage:  boot.StageConfig, words: "the spec is for a worker",
		},
	}
}

func layerTwins() map[string]twin {
	return map[string]twin{
		"missing layer": {
			change: func(s *subject) { s.without(launch.SerialBase) },
			stage:  boot.StageBase, words: `"base"`,
		},
		"two disks with the serial of a layer": {
			change: func(s *subject) {
				s.machine.Extra = []string{
					"-blockdev", "driver=null-co,node-name=twin,read-only=on,size=1048576",
					"-device", "virtio-blk-pci,drive=twin,serial=" + launch.SerialBase,
				}
			},
			stage: boot.StageBase, words: "two devices",
		},
		"truncated layer": {
			change: func(s *subject) {
				s.copyOf(launch.SerialBase, func(data []byte) []byte { return data[:len(data)-blockSize] })
			},
			stage: boot.StageBase, words: "bytes",
		},
		"no model disk": {
			image:  workerImage,
			change: func(s *subject) { s.withModel(); delete(s.machine.Paths.Disks, launch.SerialModel) },
			stage:  boot.StageModel, words: `"model"`,
		},
	}
}

func trustTwins() map[string]twin {
	cmdline := bootfiles.Cmdline(bootfiles.Test)
	marked := bootfiles.Cmdline(bootfiles.Test, bootfiles.DebugWord)
	return map[string]twin{
		"command line from the host": {
			change: func(s *subject) { s.machine.Extra = []string{"-append", cmdline + " evil=1"} },
			stage:  boot.StageCmdline, words: "evil=1",
		},
		"a TPM": {
			change: func(s *subject) {
				needsTPM(s.t)
				tpm, err := StartTPM(s.t.Context(), s.dir)
				if err != nil {
					s.t.Fatal(err)
				}
				s.t.Cleanup(func() { _ = tpm.Stop() }) // it ends with its QEMU
				s.machine.Extra = tpm.Args()
			},
			stage: boot.StageTD, words: "TPM",
		},
		"the debug word in an image that is not a debug image": {
			change: func(s *subject) {
				s.rebuild(marked, map[string][]byte{bootfiles.CmdlinePath: []byte(marked)})
			},
			stage: boot.StageDebugMarker, words: bootfiles.DebugWord,
		},
		"a module missing from the order": {
			change: func(s *subject) {
				s.rebuild(cmdline, map[string][]byte{bootfiles.ModulesOrderPath: s.order("dm_mod.ko")})
			},
			stage: boot.StageModules, words: "dm_bufio",
		},
		"a module missing from the initrd": {
			change: func(s *subject) { s.rebuild(cmdline, map[string][]byte{bootfiles.ModulesDir + "/erofs.ko": nil}) },
			stage:  boot.StageModules, words: "erofs.ko",
		},
	}
}

// order is the image's module list without one.
func (s *subject) order(without string) []byte {
	s.t.Helper()
	tree := s.initrd()
	n, ok := tree.Get(bootfiles.ModulesOrderPath)
	if !ok {
		s.t.Fatal("the initrd has no module list")
	}
	raw, err := n.Content.ReadAll()
	if err != nil {
		s.t.Fatal(err)
	}
	short := strings.Replace(string(raw), without+"\n", "", 1)
	if short == string(raw) {
		s.t.Fatalf("the module list has no %s", without)
	}
	return []byte(short)
}

// TestBootStopsAtTheNamedStage starts machines that differ in one thing from those that become ready: each must fail
// at one stage, reach none behind it, and power itself off.
func TestBootStopsAtTheNamedStage(t *testing.T) {
	t.Parallel()
	for _, table := range []map[string]twin{configTwins(), layerTwins(), trustTwins()} {
		for name, tw := range table {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				image := tw.image
				if image == "" {
					image = proxyImage
				}
				s := newSubject(t, image, bootfiles.Test, launch.BootUKI)
				tw.change(s)
				run := s.start()
				if run.Failed() != tw.stage {
					t.Fatalf("stage %q failed, want %q; the stages are %v; console:\n%s", run.Failed(), tw.stage, names(run), run.Tail())
				}
				last := run.Stages[len(run.Stages)-1]
				if last.Stage != tw.stage || run.End == nil || run.End.Stage != tw.stage {
					t.Errorf("the boot went on after %s: %v, end %+v", tw.stage, names(run), run.End)
				}
				if !strings.Contains(last.Error, tw.words) {
					t.Errorf("the error is %q, want one with %q", last.Error, tw.words)
				}
				t.Logf("%s: %s", last.Stage, last.Error)
			})
		}
	}
}

// corruption is a change below dm-verity that the kernel must not survive.
type corruption struct {
	image  string
	change func(s *subject)
	// after is the last stage that still reports.
	after string
}

// superblock is the offset of a byte in an EROFS superblock, which every mount reads.
const superblock = 1024 + 96

func corruptions() map[string]corruption {
	engine := "engine-cpu"
	return map[string]corruption{
		"flipped byte of a layer's data": {
			proxyImage, func(s *subject) { s.copyOf(launch.SerialBase, flipAt(superblock)) }, boot.StageDebugMarker,
		},
		"flipped byte of a layer's hash tree": {
			proxyImage, func(s *subject) {
				start := int(s.built.Manifest.Layers[0].HashStartBlock)
				s.copyOf(launch.SerialBase, flipAt(start*blockSize))
			}, boot.StageDebugMarker,
		},
		"another root hash": {
			proxyImage, func(s *subject) {
				layers := slices.Clone(s.built.Manifest.Layers)
				layers[0].RootHash = strings.Repeat("5a", 32)
				table, err := bootfiles.EncodeLayers(layers)
				if err != nil {
					s.t.Fatal(err)
				}
				s.rebuild(bootfiles.Cmdline(bootfiles.Test), map[string][]byte{bootfiles.LayersPath: table})
			}, boot.StageDebugMarker,
		},
		"flipped byte of the model": {
			workerImage, func(s *subject) { s.withModel(); s.copyOf(launch.SerialModel, flipAt(superblock)) }, boot.StageStorage,
		},
		"flipped byte of the engine's layer": {
			workerImage, func(s *subject) { s.withModel(); s.copyOf(engine, flipAt(superblock)) }, boot.StageModel,
		},
	}
}

// TestKernelStopsOnAChangedVolume: what the pinned kernel reads through dm-verity and does not hash to the measured
// root ends the machine at once, before the stage that mounts it can report anything.
func TestKernelStopsOnAChangedVolume(t *testing.T) {
	t.Parallel()
	for name, c := range corruptions() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSubject(t, c.image, bootfiles.Test, launch.BootUKI)
			c.change(s)
			run := s.start()
			if last := run.Stages[len(run.Stages)-1]; last.Stage != c.after || last.Status == boot.Failed || run.End != nil {
				t.Errorf("the stages are %v, end %+v; want none after %s", names(run), run.End, c.after)
			}
			if !strings.Contains(run.Console, "dm-verity device corrupted") {
				t.Errorf("the kernel does not say that the device is corrupted; console:\n%s", run.Tail())
			}
		})
	}
}

// TestSpecDecidesRTMR3: one changed byte of the spec gives another register, in the guest and in the prediction.
func TestSpecDecidesRTMR3(t *testing.T) {
	t.Parallel()
	var seen []string
	for _, label := range []string{"1", "2"} {
		s := newSubject(t, proxyImage, bootfiles.Test, launch.BootUKI)
		s.files = append(s.files, spec.File{Path: "note", Data: []byte(label)})
		s.machine.Until = boot.StageConfig
		run := s.start()
		got, _ := detail(t, run, boot.StageConfig, "rtmr3").(string)
		if want := s.rtmr3().Seal.String(); got != want {
			t.Errorf("note %s: RTMR3 is %s, predicted is %s", label, got, want)
		}
		seen = append(seen, got)
	}
	if seen[0] == seen[1] {
		t.Errorf("two specs gave the same RTMR3 %s", seen[0])
	}
}

// TestConfigDiskIsReadOnce: what the host writes to the config disk after the guest has read it has no effect.
func TestConfigDiskIsReadOnce(t *testing.T) {
	t.Parallel()
	s := newSubject(t, proxyImage, bootfiles.Test, launch.BootUKI)
	disk := write(t, s.dir, "config.img", s.configDisk())
	s.machine.Paths.Disks[launch.SerialConfig] = disk
	other := *s
	other.files = []spec.File{{Path: config.RoleFile, Data: encode(t, config.Measured{Role: "worker"})}}
	other.runtime.Network.Mode = config.DHCP
	changed := other.configDisk()
	rewritten := false
	s.machine.During = func(stage string) {
		if stage == boot.StageConfig {
			rewritten = os.WriteFile(disk, changed, 0o600) == nil
		}
	}
	s.machine.Until = boot.StageReady
	run := s.start()
	if !rewritten {
		t.Fatalf("the disk was not rewritten during the boot; the stages are %v", names(run))
	}
	if got := detail(t, run, boot.StageReady, "rtmr3"); got != s.rtmr3().Final.String() {
		t.Errorf("RTMR3 is %v at the end, predicted for the first disk is %s", got, s.rtmr3().Final)
	}
	if got := detail(t, run, boot.StageNetwork, "mode"); got != config.NoNetwork {
		t.Errorf("the network's mode is %v, the first disk says %s", got, config.NoNetwork)
	}
	if raw, err := os.ReadFile(filepath.Join(s.dir, "config.img")); err != nil || string(raw) != string(changed) {
		t.Errorf("the rewritten disk is not there: %v", err)
	}
}
