package disk

import (
	"os"
	"path/filepath"
	"testing"
)

// The ESP is never exactly 64 MiB or 4 GiB, and always has room for the UKI, both FATs and the folders.
func TestESPSizes(t *testing.T) {
	t.Parallel()
	cases := map[string]struct{ uki, want int64 }{
		"one byte":           {1, 128 * mib},
		"20 MiB":             {20 * mib, 128 * mib},
		"just fits one step": {124*mib - 1, 128 * mib},
		"one step and more":  {124 * mib, 256 * mib},
		"300 MiB":            {300 * mib, 384 * mib},
		"the largest":        {16*124*mib - 1, 2048 * mib},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			uki := filepath.Join(t.TempDir(), "uki")
			if err := os.WriteFile(uki, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Truncate(uki, c.uki); err != nil {
				t.Fatal(err)
			}
			l, err := plan(Spec{UKI: uki, Epoch: fatEpoch})
			if err != nil {
				t.Fatal(err)
			}
			esp := l.Partitions[0]
			if got := int64(esp.LastLBA-esp.FirstLBA+1) * sectorSize; got != c.want || l.Size != c.want+2*mib {
				t.Errorf("ESP of %d bytes on a disk of %d, want %d on %d", got, l.Size, c.want, c.want+2*mib)
			}
		})
	}
}

// image.md section 8.2: the rule, computed by hand for one case with other tools (printf, sha256sum).
func TestGUIDRule(t *testing.T) {
	t.Parallel()
	got := guid("base", [32]byte{})
	if len(got) != 36 || got[14] != '8' || (got[19] != '8' && got[19] != '9' && got[19] != 'A' && got[19] != 'B') {
		t.Errorf("GUID %s has another version or variant", got)
	}
	if want := "A7C50DFF-9AB5-823E-B1B2-4F98B89603E5"; got != want {
		t.Errorf("GUID %s, want %s", got, want)
	}
}
