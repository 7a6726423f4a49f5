package launch

import (
	"compress/gzip"
	"encoding/hex"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"testing"

	"cocoon/measure/launch/petest"
	"cocoon/measure/launch/qtest"
)

// vectorPath finds a file of the shared vectors, or skips the test.
func vectorPath(tb testing.TB, name string) string {
	tb.Helper()
	dir, err := os.Getwd()
	if err != nil {
		tb.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		if dir == filepath.Dir(dir) {
			tb.Fatal("no go.mod above the test")
		}
		dir = filepath.Dir(dir)
	}
	path := filepath.Join(dir, "..", "shared", "vectors", name)
	if _, err := os.Stat(path); err != nil {
		tb.Skipf("vectors are not on this machine: %v", err)
	}
	return path
}

// readVector reads a vector file and unpacks it if it is compressed.
func readVector(tb testing.TB, name string) []byte {
	tb.Helper()
	f, err := os.Open(vectorPath(tb, name))
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // read side
	var r io.Reader = f
	if filepath.Ext(name) == ".gz" {
		if r, err = gzip.NewReader(f); err != nil {
			tb.Fatal(err)
		}
	}
	data, err := io.ReadAll(r)
	if err != nil {
		tb.Fatal(err)
	}
	return data
}

// decodeVector reads a JSON vector.
func decodeVector(tb testing.TB, name string, v any) {
	tb.Helper()
	if err := json.Unmarshal(readVector(tb, name), v); err != nil {
		tb.Fatal(err)
	}
}

// testFirmware is a built-in profile's firmware.
func testFirmware(tb testing.TB, name string) *Firmware {
	tb.Helper()
	profiles, err := FirmwareProfiles()
	if err != nil {
		tb.Fatal(err)
	}
	for _, p := range profiles {
		if p.Name == name {
			fw, err := KnownFirmware(p)
			if err != nil {
				tb.Fatal(err)
			}
			return fw
		}
	}
	tb.Fatalf("no profile %s", name)
	return nil
}

// testMachine is a built-in shape.
func testMachine(tb testing.TB, name string) *Machine {
	tb.Helper()
	m, err := Shape(name)
	if err != nil {
		tb.Fatal(err)
	}
	return m
}

// testOffer is fw_cfg content made of vectors: the tables of one machine and the SMBIOS structures of another.
func testOffer(tb testing.TB) *qtest.FwCfg {
	tb.Helper()
	offer, err := ACPIOnly(readVector(tb, "measure/acpi/q35-with-hpet/acpi_tables.bin.gz"))
	if err != nil {
		tb.Fatal(err)
	}
	var table struct {
		Vectors []struct {
			Raw string `json:"fw_cfg_tables_hex"`
		} `json:"vectors"`
	}
	decodeVector(tb, "measure/smbios.json", &table)
	if offer.Files[smbiosFile], err = hex.DecodeString(table.Vectors[0].Raw); err != nil {
		tb.Fatal(err)
	}
	offer.BootMenu = []byte{0, 0}
	offer.Files["bootorder"] = []byte("/rom@genroms/linuxboot_dma.bin\x00")
	return offer
}

// unhex decodes a vector's hexadecimal bytes.
func unhex(tb testing.TB, s string) []byte {
	tb.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// testImage is a UKI whose parts can be chosen.
func testImage(tb testing.TB, kernel, cmdline, initrd string) *Image {
	tb.Helper()
	img, err := UKIImage(petest.UKI(petest.Kernel(kernel), cmdline, initrd))
	if err != nil {
		tb.Fatal(err)
	}
	return img
}
