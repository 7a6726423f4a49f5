package launch

import (
	"testing"

	"cocoon/measure/launch/petest"
	"cocoon/measure/launch/qtest"
	"cocoon/tests/golden"
)

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
	offer, err := ACPIOnly(golden.Vector(tb, "measure/acpi/q35-with-hpet/acpi_tables.bin.gz"))
	if err != nil {
		tb.Fatal(err)
	}
	var table struct {
		Vectors []struct {
			Raw string `json:"fw_cfg_tables_hex"`
		} `json:"vectors"`
	}
	golden.JSON(tb, "measure/smbios.json", &table)
	offer.Files[smbiosFile] = golden.Hex(tb, table.Vectors[0].Raw)
	offer.BootMenu = []byte{0, 0}
	offer.Files["bootorder"] = []byte("/rom@genroms/linuxboot_dma.bin\x00")
	return offer
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
