package verity_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cocoon/image/verity"
	"cocoon/tests/golden"
)

type treeVector struct {
	RootHash string `json:"root_hash"`
	Bytes    int64  `json:"hash_area_bytes"`
	SHA256   string `json:"hash_area_sha256"`
}

type vectorFile struct {
	Salt    string `json:"salt"`
	UUID    string `json:"uuid"`
	Vectors []struct {
		Blocks     int64      `json:"blocks"`
		DataSHA256 string     `json:"data_sha256"`
		Salted     treeVector `json:"salted"`
		Unsalted   treeVector `json:"unsalted"`
	} `json:"vectors"`
}

// sample is the vectors' data: byte k of block b is (31*b + 7*k + (k>>8)) mod 256.
func sample(blocks int64) []byte {
	out := make([]byte, blocks*verity.BlockSize)
	for i := range out {
		b, k := i/verity.BlockSize, i%verity.BlockSize
		out[i] = byte(31*b + 7*k + k>>8)
	}
	return out
}

// area collects what Format writes from several goroutines, like a file would.
type area struct {
	mu   sync.Mutex
	data []byte
}

func (a *area) WriteAt(p []byte, off int64) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if end := int(off) + len(p); end > len(a.data) {
		a.data = append(a.data, make([]byte, end-len(a.data))...)
	}
	return copy(a.data[off:], p), nil
}

func loadVectors(t *testing.T) vectorFile {
	t.Helper()
	var f vectorFile
	golden.JSON(t, "image/verity.json", &f)
	return f
}

func TestFormatMatchesVeritysetupVectors(t *testing.T) {
	t.Parallel()
	vectors := loadVectors(t)
	var uuid [16]byte
	copy(uuid[:], golden.Hex(t, string(bytes.ReplaceAll([]byte(vectors.UUID), []byte("-"), nil))))
	for _, v := range vectors.Vectors {
		data := sample(v.Blocks)
		if got := fmt.Sprintf("%x", sha256.Sum256(data)); got != v.DataSHA256 {
			t.Fatalf("%d blocks: test data has hash %s, want %s", v.Blocks, got, v.DataSHA256)
		}
		cases := map[string]struct {
			salt []byte
			want treeVector
		}{
			"salted":   {golden.Hex(t, vectors.Salt), v.Salted},
			"unsalted": {nil, v.Unsalted},
		}
		for name, c := range cases {
			t.Run(fmt.Sprintf("%d blocks %s", v.Blocks, name), func(t *testing.T) {
				t.Parallel()
				hashArea := &area{}
				src := io.NewSectionReader(bytes.NewReader(data), 0, int64(len(data)))
				vol, err := verity.Format(context.Background(), src, hashArea, verity.Params{Salt: c.salt, UUID: uuid})
				if err != nil {
					t.Fatal(err)
				}
				got := treeVector{vol.String(), int64(len(hashArea.data)), fmt.Sprintf("%x", sha256.Sum256(hashArea.data))}
				if diff := cmp.Diff(c.want, got); diff != "" {
					t.Errorf("hash area (-want +got):\n%s", diff)
				}
				if err := verity.VerifySplit(context.Background(), src, bytes.NewReader(hashArea.data), vol); err != nil {
					t.Errorf("verifying what was just written: %v", err)
				}
			})
		}
	}
}
