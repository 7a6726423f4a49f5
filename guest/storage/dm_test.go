package storage

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/containerd/go-dmverity/pkg/dm"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

const (
	testRoot = "9e33dd337c353862c87356f37e63b926b2373dce1b46ecbeb347a52e9eca3047"
	testSalt = "00010203040506070809101a1b1c1d1e1f"
)

func testVerity() Verity {
	return Verity{Device: "/dev/vda", DataBlocks: 200, HashStartBlock: 201, RootHash: testRoot, Salt: testSalt}
}

func TestTableIsTheLineOfTheSpecification(t *testing.T) {
	tests := map[string]struct {
		change func(*Verity)
		want   string
	}{
		"layer": {func(*Verity) {}, "1 /dev/vda /dev/vda 4096 4096 200 201 sha256 " + testRoot + " " + testSalt + " 2 panic_on_corruption panic_on_error"},
		"model": {func(v *Verity) { v.OnError = ReturnErrors }, "1 /dev/vda /dev/vda 4096 4096 200 201 sha256 " + testRoot + " " + testSalt + " 1 panic_on_corruption"},
		"no salt": {
			func(v *Verity) { v.Salt = "" }, "1 /dev/vda /dev/vda 4096 4096 200 201 sha256 " + testRoot + " - 2 panic_on_corruption panic_on_error",
		},
		"partition": {func(v *Verity) { v.Device = "/dev/vda2" }, "1 /dev/vda2 /dev/vda2 4096 4096 200 201 sha256 " + testRoot + " " + testSalt + " 2 panic_on_corruption panic_on_error"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			v := testVerity()
			tc.change(&v)
			got, err := v.Target()
			if err != nil {
				t.Fatal(err)
			}
			want := Target{Type: "verity", Sectors: 1600, Params: tc.want}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestTablesThatWouldWeakenVerityAreRefused(t *testing.T) {
	tests := map[string]struct {
		change func(*Verity)
		want   string
	}{
		"words in the device": {func(v *Verity) { v.Device = "/dev/vda 4096" }, "device"},
		"relative device":     {func(v *Verity) { v.Device = "vda" }, "device"},
		"no data":             {func(v *Verity) { v.DataBlocks = 0 }, "data blocks"},
		"overflowing sectors": {func(v *Verity) { v.DataBlocks = 1 << 62; v.HashStartBlock = 1<<62 + 1 }, "data blocks"},
		"tree within data":    {func(v *Verity) { v.HashStartBlock = 200 }, "hash start"},
		"short root":          {func(v *Verity) { v.RootHash = testRoot[2:] }, "root hash"},
		"upper-case root":     {func(v *Verity) { v.RootHash = strings.ToUpper(testRoot) }, "root hash"},
		"options in the salt": {func(v *Verity) { v.Salt = "00 1 ignore_corruption" }, "salt"},
		"long salt":           {func(v *Verity) { v.Salt = strings.Repeat("00", 257) }, "salt"},
		"unknown error mode":  {func(v *Verity) { v.OnError = 7 }, "error mode"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			v := testVerity()
			tc.change(&v)
			if _, err := v.Target(); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("err = %v, want one about %q", err, tc.want)
			}
		})
	}
}

// The TABLE_LOAD buffer of a short table, byte by byte after linux/dm-ioctl.h.
func TestLoadBufferIsTheKernelsStruct(t *testing.T) {
	got, err := loadBuffer("base", Target{Type: "verity", Sectors: 1600, Params: "1 /dev/vda"})
	if err != nil {
		t.Fatal(err)
	}
	want, err := hex.DecodeString("" +
		"040000000000000000000000" + "70010000" + "38010000" + "01000000" + // version 4.0.0, size 368, start 312, one target
		"00000000" + "01000000" + "00000000" + "00000000" + "0000000000000000" + // open count, READONLY, event, pad, dev
		"62617365" + strings.Repeat("00", 124) + // name
		strings.Repeat("00", 129+7) + // uuid, pad
		"0000000000000000" + "4006000000000000" + "00000000" + "38000000" + // start, length 1600, status, next = 56
		"766572697479" + strings.Repeat("00", 10) + // type
		"31202f6465762f766461" + "000000000000") // parameters, NUL, padded to 8
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestRequestNumbersAreTheKernels(t *testing.T) {
	want := map[Command]uint32{DevCreate: 0xC138FD03, DevRemove: 0xC138FD04, DevSuspend: 0xC138FD06, TableLoad: 0xC138FD09}
	for c, nr := range want {
		if c.Request() != nr {
			t.Errorf("command %d = %#x, want %#x", c, c.Request(), nr)
		}
	}
	other := map[Command]uint32{DevCreate: dm.DMDevCreateCMD, DevRemove: dm.DMDevRemoveCMD, DevSuspend: dm.DMDevSuspendCMD, TableLoad: dm.DMTableLoadCMD}
	for c, nr := range other {
		if uint32(c) != nr {
			t.Errorf("command %d is %d in go-dmverity", c, nr)
		}
	}
}

// kernel is a device-mapper that checks what it is given and fails where told.
type kernel struct {
	t     *testing.T
	fail  Command
	calls []string
}

func (k *kernel) Ioctl(c Command, buf []byte) error {
	k.t.Helper()
	le := binary.LittleEndian
	if int(le.Uint32(buf[12:])) != len(buf) || le.Uint32(buf[16:]) != 312 || le.Uint32(buf[0:]) != 4 {
		k.t.Errorf("command %d: bad header % x", c, buf[:24])
	}
	names := map[Command]string{DevCreate: "create", TableLoad: "load", DevSuspend: "resume", DevRemove: "remove"}
	k.calls = append(k.calls, names[c]+" "+deviceName(buf))
	if c == k.fail {
		return unix.EINVAL
	}
	if c == DevCreate {
		le.PutUint64(buf[40:], unix.Mkdev(254, 3))
	}
	return nil
}

func TestActivateCreatesLoadsAndResumes(t *testing.T) {
	target, err := testVerity().Target()
	if err != nil {
		t.Fatal(err)
	}
	k := &kernel{t: t}
	node, err := Activate(k, "base", target)
	if err != nil || node != "/dev/dm-3" {
		t.Fatalf("%q, %v", node, err)
	}
	if diff := cmp.Diff([]string{"create base", "load base", "resume base"}, k.calls); diff != "" {
		t.Error(diff)
	}
}

func TestActivateLeavesNothingBehindAfterAnError(t *testing.T) {
	target, err := testVerity().Target()
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		fail Command
		want []string
	}{
		"create": {DevCreate, []string{"create base"}},
		"load":   {TableLoad, []string{"create base", "load base", "remove base"}},
		"resume": {DevSuspend, []string{"create base", "load base", "resume base", "remove base"}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			k := &kernel{t: t, fail: tc.fail}
			if _, err := Activate(k, "base", target); !errors.Is(err, unix.EINVAL) {
				t.Errorf("err = %v", err)
			}
			if diff := cmp.Diff(tc.want, k.calls); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestNamesThatTheKernelWouldCutAreRefused(t *testing.T) {
	for _, name := range []string{"", strings.Repeat("x", 128), "a/b", "a\x00b"} {
		if _, err := Activate(&kernel{t: t}, name, Target{Type: "verity"}); err == nil {
			t.Errorf("accepted %q", name)
		}
	}
	if _, err := Activate(&kernel{t: t}, "base", Target{Params: strings.Repeat("x", maxParams+1)}); err == nil {
		t.Error("accepted an oversized table")
	}
}

func TestControlFileRefusesShortBuffersAndOtherFiles(t *testing.T) {
	f, err := os.CreateTemp(t.TempDir(), "control")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	ctl := ControlFile{f}
	if err := ctl.Ioctl(DevCreate, make([]byte, 16)); err == nil {
		t.Error("took a short buffer")
	}
	if err := Remove(ctl, "base"); !errors.Is(err, unix.ENOTTY) {
		t.Errorf("a plain file answered %v", err)
	}
}

// A second implementation builds the same line for every volume.
func TestTableEqualsGoDMVerity(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		root := rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "root")
		salt := rapid.SliceOfN(rapid.Byte(), 0, 256).Draw(t, "salt")
		blocks := rapid.Uint64Range(1, 1<<40-1).Draw(t, "blocks")
		got, err := Verity{
			Device: "/dev/vdc", DataBlocks: blocks, HashStartBlock: blocks + 1,
			RootHash: hex.EncodeToString(root), Salt: hex.EncodeToString(salt),
		}.Target()
		if err != nil {
			t.Fatal(err)
		}
		want, err := dm.BuildTargetParams(dm.OpenArgs{
			Version: 1, DataDevice: "/dev/vdc", HashDevice: "/dev/vdc", DataBlockSize: 4096, HashBlockSize: 4096,
			DataBlocks: blocks, HashName: "sha256", RootDigest: root, Salt: salt, HashStartBytes: (blocks + 1) * 4096,
			Flags: []string{"panic_on_corruption", "panic_on_error"},
		})
		if err != nil || got.Params != want || got.Sectors != blocks*8 {
			t.Errorf("got %q, want %q, %v", got.Params, want, err)
		}
	})
}
