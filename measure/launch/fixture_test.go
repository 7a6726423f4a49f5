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
func vectorPath(t testing.TB, name string) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("no go.mod above the test")
		}
		dir = filepath.Dir(dir)
	}
	path := filepath.Join(dir, "..", "shared", "vectors", name)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("vectors are not on this machine: %v", err)
	}
	return path
}

// readVector reads a vector file and unpacks it if it is compressed.
func readVector(t testing.TB, name string) []byte {
	t.Helper()
	f, err := os.Open(vectorPath(t, name))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // read side
	var r io.Reader = f
	if filepath.Ext(name) == ".gz" {
		if r, err = gzip.NewReader(f); err != nil {
			t.Fatal(err)
		}
	}
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// decodeVector reads a JSON vector.
func decodeVector(t testing.TB, name string, v any) {
	t.Helper()
	if err := json.Unmarshal(readVector(t, name), v); err != nil {
		t.Fatal(err)
	}
}

// testFirmware is a built-in profile's firmware.
func testFirmware(t testing.TB, name string) *Firmware {
	t.Helper()
	profiles, err := FirmwareProfiles()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range profiles {
		if p.Name == name {
			fw, err := KnownFirmware(p)
			if err != nil {
				t.Fatal(err)
			}
			return fw
		}
	}
	t.Fatalf("no profile %s", name)
	return nil
}

// testMachine is a built-in shape.
func testMachine(t testing.TB, name string) *Machine {
	t.Helper()
	m, err := Shape(name)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// testOffer is fw_cfg content made of vectors: the tables of one machine and the SMBIOS structures of another.
func testOffer(t testing.TB) *qtest.FwCfg {
	t.Helper()
	offer, err := ACPIOnly(readVector(t, "measure/acpi/q35-with-hpet/acpi_tables.bin.gz"))
	if err != nil {
		t.Fatal(err)
	}
	var table struct {
		Vectors []struct {
			Raw string `json:"fw_cfg_tables_hex"`
		} `json:"vectors"`
	}
	decodeVector(t, "measure/smbios.json", &table)
	if offer.Files[smbiosFile], err = hex.DecodeString(table.Vectors[0].Raw); err != nil {
		t.Fatal(err)
	}
	offer.BootMenu = []byte{0, 0}
	offer.Files["bootorder"] = []byte("/rom@genroms/linuxboot_dma.bin\x00")
	return offer
}

// unhex decodes a vector's hexadecimal bytes.
func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// testImage is a UKI whose parts can be chosen.
func testImage(t testing.TB, kernel, cmdline, initrd string) *Image {
	t.Helper()
	img, err := UKIImage(petest.UKI(petest.Kernel(kernel), cmdline, initrd))
	if err != nil {
		t.Fatal(err)
	}
	return img
}
