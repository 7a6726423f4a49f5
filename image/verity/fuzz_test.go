package verity_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"

	"cocoon/image/verity"
)

// A superblock that parses is the one that Format writes for those fields.
func FuzzParseSuperblock(f *testing.F) {
	for _, blocks := range []int64{1, 2, 129} {
		for _, salt := range [][]byte{nil, {1}, bytes.Repeat([]byte{7}, 256)} {
			f.Add(superblock(f, blocks, salt))
		}
	}
	f.Add([]byte("verity\x00\x00"))
	f.Fuzz(func(t *testing.T, block []byte) {
		sb, err := verity.ParseSuperblock(block)
		if err != nil || sb.DataBlocks > 4 {
			return
		}
		again := superblockOf(t, int64(sb.DataBlocks), verity.Params{Salt: sb.Salt, UUID: sb.UUID})
		if !bytes.Equal(again, block) {
			t.Error("a superblock parses but is written differently")
		}
	})
}

func superblock(tb testing.TB, blocks int64, salt []byte) []byte {
	tb.Helper()
	return superblockOf(tb, blocks, verity.Params{Salt: salt, UUID: [16]byte{1, 2, 3}})
}

func superblockOf(tb testing.TB, blocks int64, p verity.Params) []byte {
	tb.Helper()
	data, out := sample(blocks), &area{}
	v, err := verity.Format(context.Background(), io.NewSectionReader(bytes.NewReader(data), 0, int64(len(data))), out, p)
	if err != nil {
		tb.Fatal(err)
	}
	if v.DataBlocks != uint64(blocks) {
		tb.Fatalf("volume of %d blocks, want %d", v.DataBlocks, blocks)
	}
	return out.data[:verity.BlockSize]
}

// Whatever the geometry and the bytes, Verify accepts exactly what Format made, and reads nothing outside the device.
func FuzzVerify(f *testing.F) {
	f.Add(uint64(1), uint64(2), uint64(0), uint16(0), byte(0))
	f.Add(uint64(2), uint64(3), uint64(1), uint16(8192), byte(0))
	f.Add(uint64(2), uint64(3), uint64(1), uint16(17), byte(4))
	f.Add(uint64(1)<<41, uint64(1)<<41, uint64(1), uint16(0), byte(0))
	f.Add(uint64(129), uint64(130), uint64(3), uint16(9999), byte(255))
	f.Fuzz(func(t *testing.T, data, start, hashes uint64, at uint16, flip byte) {
		img, good := appendTo(t, 3)
		v := good
		v.DataBlocks, v.HashStartBlock, v.HashBlocks = data, start, hashes
		i := int(at) % len(img)
		img[i] ^= flip
		err := verity.Verify(context.Background(), bytes.NewReader(img), v)
		inSuperblock := i/verity.BlockSize == 3
		same := data == good.DataBlocks && start == good.HashStartBlock && hashes == good.HashBlocks
		if want := same && (flip == 0 || inSuperblock); (err == nil) != want {
			t.Errorf("verdict %v for geometry %d/%d/%d, byte %d changed by %#x", err, data, start, hashes, i, flip)
		}
		var bad *verity.BadBlockError
		if same && !inSuperblock && flip != 0 && !errors.As(err, &bad) {
			t.Errorf("error %v names no block", err)
		}
	})
}

// appendTo is sample data with its tree, in memory.
func appendTo(tb testing.TB, blocks int64) ([]byte, verity.Volume) {
	tb.Helper()
	data, out := sample(blocks), &area{}
	v, err := verity.Format(context.Background(), io.NewSectionReader(bytes.NewReader(data), 0, int64(len(data))), out, params())
	if err != nil {
		tb.Fatal(err)
	}
	v.HashStartBlock += v.DataBlocks
	return append(data, out.data...), v
}
