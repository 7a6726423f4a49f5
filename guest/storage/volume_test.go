package storage

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"cocoon/guest/mounts"
)

// mounter notes the one mount of a volume.
type mounter struct {
	got mounts.Mount
	err error
}

func (*mounter) Mkdir(string, os.FileMode) error { return nil }

func (m *mounter) Mount(v mounts.Mount) error {
	m.got = v
	return m.err
}

func testVolume() Volume {
	return Volume{
		Name: "base", DataBlocks: 200, HashStartBlock: 201, HashBlocks: 3,
		RootHash: testRoot, Salt: testSalt, Mount: "/run/layers/base",
	}
}

func found(d Device, err error) func(context.Context, string) (Device, error) {
	return func(context.Context, string) (Device, error) { return d, err }
}

func TestOpenMountsTheVerityDeviceReadOnly(t *testing.T) {
	m := new(mounter)
	k := &kernel{t: t}
	opened, err := Opener{Find: found(Device{Node: "/dev/vda", Name: "vda", Bytes: 204 * 4096}, nil), Control: k, Kernel: m}.
		Open(context.Background(), testVolume())
	if err != nil {
		t.Fatal(err)
	}
	if opened.Node != "/dev/dm-3" || m.got.Source != "/dev/dm-3" || m.got.Target != "/run/layers/base" || m.got.FSType != "erofs" {
		t.Errorf("%+v, %+v", opened, m.got)
	}
	if want := uintptr(unix.MS_RDONLY | unix.MS_NODEV | unix.MS_NOSUID); m.got.Flags != want {
		t.Errorf("flags = %#x, want %#x", m.got.Flags, want)
	}
}

func TestADeviceShorterThanItsTreeIsRefusedBeforeActivation(t *testing.T) {
	k := &kernel{t: t}
	_, err := Opener{Find: found(Device{Node: "/dev/vda", Name: "vda", Bytes: 204*4096 - 512}, nil), Control: k, Kernel: new(mounter)}.
		Open(context.Background(), testVolume())
	if err == nil || !strings.Contains(err.Error(), "truncated") || len(k.calls) != 0 {
		t.Errorf("err = %v, calls %v", err, k.calls)
	}
}

func TestASingleDataBlockNeedsItsSuperblockBlockOnly(t *testing.T) {
	v := testVolume()
	v.DataBlocks, v.HashStartBlock, v.HashBlocks = 1, 2, 0
	if got := v.minBytes(); got != 2*4096 {
		t.Errorf("minimum = %d", got)
	}
}

func TestOpenNamesTheVolumeInEveryError(t *testing.T) {
	good := Device{Node: "/dev/vda", Name: "vda", Bytes: 1 << 30}
	tests := map[string]struct {
		find   func(context.Context, string) (Device, error)
		fail   Command
		mount  error
		change func(*Volume)
		want   error
	}{
		"no disk":   {find: found(Device{}, ErrNoDevice), want: ErrNoDevice},
		"ambiguous": {find: found(Device{}, ErrAmbiguous), want: ErrAmbiguous},
		"dm":        {find: found(good, nil), fail: TableLoad, want: unix.EINVAL},
		"mount":     {find: found(good, nil), mount: unix.EUCLEAN, want: unix.EUCLEAN},
		"bad root":  {find: found(good, nil), change: func(v *Volume) { v.RootHash = "x" }},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			v := testVolume()
			if tc.change != nil {
				tc.change(&v)
			}
			_, err := Opener{Find: tc.find, Control: &kernel{t: t, fail: tc.fail}, Kernel: &mounter{err: tc.mount}}.Open(context.Background(), v)
			if err == nil || !strings.Contains(err.Error(), "volume base") || (tc.want != nil && !errors.Is(err, tc.want)) {
				t.Errorf("err = %v, want %v", err, tc.want)
			}
		})
	}
}

// diskOf is a device that reads as the given bytes.
type diskOf struct{ *bytes.Reader }

func (diskOf) Close() error { return nil }

// TestAVolumeWithAnIdentityIsComparedFirst: a swapped or truncated disk is refused by name, before device-mapper is
// asked for anything; a disk that cannot be read is, too.
func TestAVolumeWithAnIdentityIsComparedFirst(t *testing.T) {
	tree := bytes.Repeat([]byte{7}, 4096)
	salt, err := hex.DecodeString(testSalt)
	if err != nil {
		t.Fatal(err)
	}
	root := sha256.Sum256(append(salt, tree...))
	whole := append(make([]byte, 4*4096), tree...)
	single := slices.Concat(tree, make([]byte, 4096))
	for name, tc := range map[string]struct {
		data   []byte
		change func(*Volume)
		want   string
	}{
		"the volume":            {whole, func(*Volume) {}, ""},
		"one block and no tree": {single, func(v *Volume) { v.DataBlocks, v.HashStartBlock, v.HashBlocks = 1, 2, 0 }, ""},
		"another volume":        {make([]byte, 5*4096), func(*Volume) {}, "is not name@commit:"},
		"another salt":          {whole, func(v *Volume) { v.Salt = "" }, "is not name@commit:"},
		"salt that is none":     {whole, func(v *Volume) { v.Salt = "x" }, "salt"},
		"truncated":             {whole[:4*4096], func(*Volume) {}, "truncated"},
		"shrinking":             {whole[:4*4096], func(v *Volume) { v.Name = "shrinking" }, "EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			v := testVolume()
			v.DataBlocks, v.HashStartBlock, v.HashBlocks, v.RootHash = 3, 4, 1, hex.EncodeToString(root[:])
			v.Identity = "name@commit:" + v.RootHash
			tc.change(&v)
			k := &kernel{t: t}
			size := uint64(len(tc.data))
			if v.Name == "shrinking" {
				size += 4096
			}
			_, err := Opener{
				Find: found(Device{Node: "/dev/vda", Name: "vda", Bytes: size}, nil), Control: k, Kernel: new(mounter),
				Read: func(Device) (Disk, error) { return diskOf{bytes.NewReader(tc.data)}, nil },
			}.Open(context.Background(), v)
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want) || len(k.calls) != 0) {
				t.Errorf("err = %v, calls %v", err, k.calls)
			}
		})
	}
	v := testVolume()
	v.Identity = "name@commit:root"
	unreadable := errors.New("no such device")
	_, err = Opener{
		Find: found(Device{Bytes: 1 << 30}, nil), Read: func(Device) (Disk, error) { return nil, unreadable },
	}.Open(context.Background(), v)
	if !errors.Is(err, unreadable) {
		t.Errorf("err = %v", err)
	}
}

func TestOpenDeviceReadsTheNode(t *testing.T) {
	path := filepath.Join(t.TempDir(), "vda")
	if err := os.WriteFile(path, []byte("bytes"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := OpenDevice(Device{Node: path, Name: "vda"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if _, err := f.Write([]byte("x")); err == nil {
		t.Error("opened for writing")
	}
	if _, err := OpenDevice(Device{Node: path + "x", Name: "vdb"}); err == nil || !strings.Contains(err.Error(), "vdb") {
		t.Errorf("err = %v", err)
	}
}
