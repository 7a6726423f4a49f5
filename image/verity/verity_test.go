package verity_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cocoon/image/verity"
	"cocoon/measure/bootfiles"
)

func params() verity.Params {
	return verity.Params{Salt: verity.LayerSalt("base"), UUID: verity.UUID("verity", sha256.Sum256(nil))}
}

// volume appends a tree to sample data and returns the file's name.
func volume(tb testing.TB, blocks int64) (string, verity.Volume) {
	tb.Helper()
	name := filepath.Join(tb.TempDir(), "layer.img")
	if err := os.WriteFile(name, sample(blocks), 0o600); err != nil {
		tb.Fatal(err)
	}
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // closed for the second time after a failure only
	v, err := verity.Append(context.Background(), f, params())
	if err != nil {
		tb.Fatal(err)
	}
	if err := f.Close(); err != nil {
		tb.Fatal(err)
	}
	return name, v
}

func TestAppendedVolumeHasTheGeometryOfLayersJSON(t *testing.T) {
	t.Parallel()
	for _, blocks := range []int64{1, 2, 128, 129, 1000} {
		name, v := volume(t, blocks)
		l := bootfiles.Layer{
			ID: "base", DataBlocks: v.DataBlocks, HashStartBlock: v.HashStartBlock, HashBlocks: v.HashBlocks,
			Salt: hex.EncodeToString(v.Salt), RootHash: v.String(), Mount: "/run/layers/base", Role: bootfiles.RoleBase,
		}
		if err := l.Validate(); err != nil {
			t.Errorf("%d blocks: %v", blocks, err)
		}
		data, err := os.ReadFile(name)
		if err != nil || int64(len(data)) != v.Size() {
			t.Errorf("%d blocks: file of %d bytes, volume of %d, error %v", blocks, len(data), v.Size(), err)
		}
		if !bytes.Equal(data[:blocks*verity.BlockSize], sample(blocks)) {
			t.Errorf("%d blocks: the data changed", blocks)
		}
		sb, err := verity.ParseSuperblock(data[blocks*verity.BlockSize : (blocks+1)*verity.BlockSize])
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(verity.Superblock{UUID: params().UUID, DataBlocks: uint64(blocks), Salt: params().Salt}, sb); diff != "" {
			t.Errorf("%d blocks: superblock (-want +got):\n%s", blocks, diff)
		}
		if err := verity.Verify(context.Background(), bytes.NewReader(data), v); err != nil {
			t.Errorf("%d blocks: %v", blocks, err)
		}
	}
}

func TestVerifyNamesTheFirstBadBlock(t *testing.T) {
	t.Parallel()
	const blocks = 1000 // 8 blocks of level 0, 1 of level 1
	name, v := volume(t, blocks)
	good, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	block := func(i uint64) uint64 { return i * verity.BlockSize }
	cases := map[string]struct {
		flip []uint64 // bytes
		want verity.BadBlockError
	}{
		"first data block":     {[]uint64{0}, verity.BadBlockError{Block: 0}},
		"last byte of data":    {[]uint64{block(blocks) - 1}, verity.BadBlockError{Block: blocks - 1}},
		"two data blocks":      {[]uint64{block(700), block(300) + 5}, verity.BadBlockError{Block: 300}},
		"root block":           {[]uint64{block(v.HashStartBlock) + 1}, verity.BadBlockError{Tree: true, Level: 1}},
		"level 0":              {[]uint64{block(v.HashStartBlock + 1 + 3)}, verity.BadBlockError{Tree: true, Block: 3}},
		"padding of the tree":  {[]uint64{block(v.HashStartBlock+1) - 1}, verity.BadBlockError{Tree: true, Level: 1}},
		"root block and data":  {[]uint64{7, block(v.HashStartBlock)}, verity.BadBlockError{Tree: true, Level: 1}},
		"level 0 behind data":  {[]uint64{block(200), block(v.HashStartBlock + 1 + 7)}, verity.BadBlockError{Block: 200}},
		"every block of a run": {[]uint64{block(127), block(128), block(129)}, verity.BadBlockError{Block: 127}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			data := bytes.Clone(good)
			for _, at := range c.flip {
				data[at] ^= 0x10
			}
			var bad *verity.BadBlockError
			if err := verity.Verify(context.Background(), bytes.NewReader(data), v); !errors.As(err, &bad) {
				t.Fatalf("error %v, want a bad block", err)
			}
			if diff := cmp.Diff(c.want, *bad); diff != "" {
				t.Errorf("bad block (-want +got):\n%s", diff)
			}
			if bad.Error() == "" || strings.Contains(bad.Error(), "tree") != c.want.Tree {
				t.Errorf("message %q", bad.Error())
			}
		})
	}
	t.Run("superblock does not matter", func(t *testing.T) {
		t.Parallel()
		data := bytes.Clone(good)
		data[block(blocks)+20] ^= 1
		if err := verity.Verify(context.Background(), bytes.NewReader(data), v); err != nil {
			t.Errorf("a superblock is not covered by the root hash, but: %v", err)
		}
	})
}

func TestVerifyRefusesVolumes(t *testing.T) {
	t.Parallel()
	name, good := volume(t, 300)
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		change func(*verity.Volume)
		want   string
	}{
		"another root":      {func(v *verity.Volume) { v.RootHash[0] ^= 1 }, "level 1 does not match"},
		"another salt":      {func(v *verity.Volume) { v.Salt = nil }, "does not match"},
		"no data":           {func(v *verity.Volume) { v.DataBlocks = 0 }, "data blocks: 0"},
		"huge data":         {func(v *verity.Volume) { v.DataBlocks = 1 << 60 }, "data blocks"},
		"another tree size": {func(v *verity.Volume) { v.HashBlocks++ }, "hash blocks: 5, want 4"},
		"fewer data blocks": {func(v *verity.Volume) { v.DataBlocks-- }, "digests for more blocks"},
		"no superblock":     {func(v *verity.Volume) { v.HashStartBlock = 0 }, "no room for a superblock"},
		"beyond the device": {func(v *verity.Volume) { v.HashStartBlock += 1000 }, "unexpected EOF"},
		"long salt":         {func(v *verity.Volume) { v.Salt = make([]byte, 257) }, "salt: 257 bytes"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := good
			c.change(&v)
			err := verity.Verify(context.Background(), bytes.NewReader(data), v)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one that has %q", err, c.want)
			}
		})
	}
}

func TestRootDoesNotDependOnProcessors(t *testing.T) {
	before := runtime.GOMAXPROCS(1)
	defer runtime.GOMAXPROCS(before)
	_, one := volume(t, 2000)
	runtime.GOMAXPROCS(8)
	_, eight := volume(t, 2000)
	if diff := cmp.Diff(one, eight); diff != "" {
		t.Errorf("volume (-1 processor +8):\n%s", diff)
	}
}

func TestAppendRefusesAndCutsBack(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		size   int64
		params verity.Params
		cancel bool
		want   string
	}{
		"empty file":    {0, params(), false, "not a positive multiple"},
		"partial block": {4097, params(), false, "not a positive multiple"},
		"long salt":     {4096, verity.Params{Salt: make([]byte, 257)}, false, "salt: 257 bytes"},
		"cancelled":     {1 << 20, params(), true, "context canceled"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "layer.img")
			if err := os.WriteFile(file, make([]byte, c.size), 0o600); err != nil {
				t.Fatal(err)
			}
			f, err := os.OpenFile(file, os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close() //nolint:errcheck // read side of a test
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			if c.cancel {
				cancel()
			}
			_, err = verity.Append(ctx, f, c.params)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one that has %q", err, c.want)
			}
			if st, err := f.Stat(); err != nil || st.Size() != c.size {
				t.Errorf("the file has %d bytes afterwards, want %d, error %v", st.Size(), c.size, err)
			}
		})
	}
}

// failingArea refuses writes from a position on.
type failingArea struct{ from int64 }

func (f failingArea) WriteAt(p []byte, off int64) (int, error) {
	if off >= f.from {
		return 0, errors.New("no space")
	}
	return len(p), nil
}

func TestFormatReportsReadAndWriteErrors(t *testing.T) {
	t.Parallel()
	data := sample(300)
	for name, from := range map[string]int64{"superblock": 0, "top level": 4096, "level 0": 8192} {
		_, err := verity.Format(context.Background(), io.NewSectionReader(bytes.NewReader(data), 0, int64(len(data))), failingArea{from}, params())
		if err == nil || !strings.Contains(err.Error(), "no space") {
			t.Errorf("%s: error %v, want the write's", name, err)
		}
	}
	short := io.NewSectionReader(bytes.NewReader(data), 0, int64(len(data))+4096)
	if _, err := verity.Format(context.Background(), short, failingArea{1 << 40}, params()); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("data that ends early: error %v", err)
	}
}

func TestIdentifiersFollowTheRules(t *testing.T) {
	t.Parallel()
	if got := hex.EncodeToString(verity.LayerSalt("base")); got != hex.EncodeToString(sum("cocoon-layer:base")) {
		t.Errorf("salt %s is not SHA-256(cocoon-layer:base)", got)
	}
	content := sha256.Sum256([]byte("content"))
	id := verity.UUID("erofs", content)
	want := sum("cocoon-uuid:erofs:" + string(content[:]))[:16]
	want[6], want[8] = want[6]&0x0f|0x80, want[8]&0x3f|0x80
	if !bytes.Equal(id[:], want) {
		t.Errorf("UUID %x, want %x", id, want)
	}
	if id == verity.UUID("verity", content) {
		t.Error("the purpose does not matter")
	}
}

func sum(s string) []byte {
	d := sha256.Sum256([]byte(s))
	return d[:]
}

func TestParseSuperblockRefuses(t *testing.T) {
	t.Parallel()
	name, v := volume(t, 2)
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	good := data[v.DataBlocks*verity.BlockSize : v.HashStartBlock*verity.BlockSize]
	cases := map[string]struct {
		change func([]byte) []byte
		want   string
	}{
		"short":           {func(b []byte) []byte { return b[:512] }, "512 bytes"},
		"other magic":     {func(b []byte) []byte { b[0] = 'V'; return b }, "no magic"},
		"version 2":       {func(b []byte) []byte { b[8] = 2; return b }, "byte 8 "},
		"hash type 0":     {func(b []byte) []byte { b[12] = 0; return b }, "byte 12 "},
		"sha512":          {func(b []byte) []byte { copy(b[32:], "sha512"); return b }, "byte 35 "},
		"512-byte blocks": {func(b []byte) []byte { b[65] = 2; return b }, "byte 65 "},
		"no data":         {func(b []byte) []byte { b[72] = 0; return b }, "0 data blocks"},
		"huge data":       {func(b []byte) []byte { b[79] = 1; return b }, "data blocks, want"},
		"long salt":       {func(b []byte) []byte { b[81] = 2; return b }, "salt of 544 bytes"},
		"stray salt":      {func(b []byte) []byte { b[88+40] = 1; return b }, "byte 128 "},
		"stray byte":      {func(b []byte) []byte { b[4095] = 1; return b }, "byte 4095 "},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := verity.ParseSuperblock(c.change(bytes.Clone(good)))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one that has %q", err, c.want)
			}
		})
	}
}
