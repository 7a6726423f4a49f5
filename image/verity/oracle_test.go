package verity_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	dmverity "github.com/containerd/go-dmverity/pkg/verity"

	"cocoon/image/verity"
)

// veritysetup finds the tool or skips.
func veritysetup(tb testing.TB) string {
	tb.Helper()
	for _, name := range []string{"veritysetup", "/usr/sbin/veritysetup", "/sbin/veritysetup"} {
		if full, err := exec.LookPath(name); err == nil {
			return full
		}
	}
	tb.Skip("veritysetup is not installed (package cryptsetup-bin)")
	return ""
}

// splitVolume writes sample data and our hash area into two files.
func splitVolume(t *testing.T, blocks int64) (data, hashes string, v verity.Volume) {
	t.Helper()
	dir := t.TempDir()
	data, hashes = filepath.Join(dir, "data"), filepath.Join(dir, "hashes")
	img, v := appendTo(t, blocks)
	cut := v.DataBlocks * verity.BlockSize
	if err := os.WriteFile(data, img[:cut], 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(hashes, img[cut:], 0o600); err != nil {
		t.Fatal(err)
	}
	return data, hashes, v
}

func TestVeritysetupAgrees(t *testing.T) {
	t.Parallel()
	tool := veritysetup(t)
	rootLine := regexp.MustCompile(`Root hash:\s+([0-9a-f]{64})`)
	for _, blocks := range []int64{1, 2, 128, 129, 4000} {
		data, hashes, v := splitVolume(t, blocks)
		if text, err := exec.CommandContext(t.Context(), tool, "verify", data, hashes, v.String()).CombinedOutput(); err != nil {
			t.Errorf("%d blocks: veritysetup verify: %v\n%s", blocks, err, text)
		}
		theirs := filepath.Join(t.TempDir(), "theirs")
		p := params()
		text, err := exec.CommandContext(t.Context(), tool, "format", "--salt="+hex.EncodeToString(p.Salt), "--uuid="+uuidText(p.UUID), data, theirs).CombinedOutput()
		if err != nil {
			t.Fatalf("%d blocks: veritysetup format: %v\n%s", blocks, err, text)
		}
		root := rootLine.FindSubmatch(text)
		if root == nil || string(root[1]) != v.String() {
			t.Errorf("%d blocks: root %s, veritysetup says\n%s", blocks, v, text)
		}
		want, err := os.ReadFile(theirs)
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(hashes)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%d blocks: our hash area differs from veritysetup's", blocks)
		}
	}
}

func uuidText(u [16]byte) string {
	h := hex.EncodeToString(u[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// theirParams are go-dmverity's for a hash area in a file of its own. It ignores the superblock unless the offset of
// the tree is given.
func theirParams(p verity.Params, blocks uint64) *dmverity.Params {
	q := dmverity.DefaultParams()
	q.DataBlockSize, q.HashBlockSize, q.DataBlocks = verity.BlockSize, verity.BlockSize, blocks
	q.Salt, q.SaltSize, q.UUID, q.HashAreaOffset = p.Salt, uint16(len(p.Salt)), p.UUID, verity.BlockSize
	return &q
}

func TestGoDMVerityAgrees(t *testing.T) {
	t.Parallel()
	for _, blocks := range []int64{2, 128, 129, 4000} {
		data, hashes, v := splitVolume(t, blocks)
		if err := dmverity.Verify(theirParams(params(), v.DataBlocks), data, hashes, v.RootHash[:]); err != nil {
			t.Errorf("%d blocks: go-dmverity refuses our volume: %v", blocks, err)
		}
		theirs := filepath.Join(t.TempDir(), "theirs")
		if err := os.WriteFile(theirs, make([]byte, (v.HashBlocks+1)*verity.BlockSize), 0o600); err != nil {
			t.Fatal(err)
		}
		root, err := dmverity.Create(theirParams(params(), v.DataBlocks), data, theirs)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(root, v.RootHash[:]) {
			t.Errorf("%d blocks: root %s, go-dmverity's is %x", blocks, v, root)
		}
	}
}

// What a kernel would refuse, our Verify refuses too: veritysetup as the judge of flipped bytes.
func TestVeritysetupAgreesOnDamage(t *testing.T) {
	t.Parallel()
	tool := veritysetup(t)
	data, hashes, v := splitVolume(t, 300)
	damage := map[string]struct {
		file string
		at   int64
	}{
		"data": {data, 299 * verity.BlockSize}, "top of the tree": {hashes, verity.BlockSize + 3}, "level 0": {hashes, 3 * verity.BlockSize},
	}
	for name, d := range damage {
		flip(t, d.file, d.at)
		theirs := exec.CommandContext(t.Context(), tool, "verify", data, hashes, v.String()).Run()
		ours := verifyFiles(t, data, hashes, v)
		if theirs == nil || ours == nil {
			t.Errorf("%s: veritysetup says %v, we say %v", name, theirs, ours)
		}
		flip(t, d.file, d.at)
	}
	if err := verifyFiles(t, data, hashes, v); err != nil {
		t.Errorf("repaired: %v", err)
	}
}

func verifyFiles(t *testing.T, data, hashes string, v verity.Volume) error {
	t.Helper()
	d, err := os.Open(data)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close() //nolint:errcheck // read side
	h, err := os.Open(hashes)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close() //nolint:errcheck // read side
	v.HashStartBlock = 1
	return verity.VerifySplit(context.Background(), d, h, v)
}

func flip(t *testing.T, name string, at int64) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // checked by what follows
	var b [1]byte
	if _, err := f.ReadAt(b[:], at); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 0x40
	if _, err := f.WriteAt(b[:], at); err != nil {
		t.Fatal(err)
	}
}
