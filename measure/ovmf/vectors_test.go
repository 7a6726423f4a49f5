package ovmf_test

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

// hexNumber is a JSON string like "0x84000".
type hexNumber uint64

func (n *hexNumber) UnmarshalText(text []byte) error {
	v, err := strconv.ParseUint(string(text), 0, 64)
	*n = hexNumber(v)
	return err
}

// firmwareFile returns the file with the given SHA-256 from any folder below $COCOON_TEST_FIRMWARE_DIR; tests/vectors
// sets it.
func firmwareFile(tb testing.TB, sum string) []byte {
	tb.Helper()
	var found []byte
	if dir := os.Getenv("COCOON_TEST_FIRMWARE_DIR"); dir != "" {
		err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
			if err != nil || found != nil || !d.Type().IsRegular() || filepath.Ext(path) != ".fd" {
				return err
			}
			data, err := os.ReadFile(path)
			if err == nil && sumHex(data) == sum {
				found = data
			}
			return err
		})
		if err != nil {
			tb.Fatal(err)
		}
	}
	if found == nil {
		tb.Skipf("no firmware file with SHA-256 %s: unpack the Debian package that mrtd.json names and set COCOON_TEST_FIRMWARE_DIR", sum)
	}
	return found
}

func sumHex(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
