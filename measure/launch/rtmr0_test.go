package launch

import (
	"testing"

	"cocoon/measure/eventlog"
	"cocoon/measure/tdx"
	"cocoon/tests/golden"
)

// derived is a derived.json of the acpi fixtures.
type derived struct {
	RTMR0  tdx.Digest `json:"rtmr0"`
	Tables tdx.Digest `json:"acpi_tables_sha384"`
	Loader tdx.Digest `json:"table_loader_sha384"`
	RSDP   tdx.Digest `json:"rsdp_sha384"`
	Events []struct {
		Type        string     `json:"type"`
		Description string     `json:"description"`
		Digest      tdx.Digest `json:"sha384"`
	} `json:"rtmr0_events"`
	Argv []string `json:"qtest_argv"`
}

func TestRTMR0OfCapturedTablesEqualsTheHardwareToolsValue(t *testing.T) {
	t.Parallel()
	for name, ram := range map[string]uint64{"q35-with-hpet": 4096, "canonical-defaults": 2048} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var want derived
			golden.JSON(t, "measure/acpi/"+name+"/derived.json", &want)
			tables := golden.Vector(t, "measure/acpi/"+name+"/acpi_tables.bin.gz")
			offered, err := ACPIOnly(tables)
			if err != nil {
				t.Fatal(err)
			}
			fw := testFirmware(t, "debian-2025.02")
			m := testMachine(t, "test")
			m.MemoryMiB, m.Firmware = ram, fw.Profile.Name
			events, err := predictRTMR0(fw, m, offered)
			if err != nil {
				t.Fatal(err)
			}
			if len(events) != len(want.Events) {
				t.Fatalf("%d events, want %d", len(events), len(want.Events))
			}
			for i, e := range events {
				if e.Digest != want.Events[i].Digest || "EV_"+e.Type.String() != want.Events[i].Type {
					t.Errorf("event %d: %s %s %s, want %s %s %s", i, e.Type, e.Description, e.Digest,
						want.Events[i].Type, want.Events[i].Description, want.Events[i].Digest)
				}
			}
			if got := replay(events); got != want.RTMR0 {
				t.Errorf("RTMR0 = %s, want %s", got, want.RTMR0)
			}
		})
	}
}

func TestSectionOrderOfSMBIOSFollowsTheProfile(t *testing.T) {
	t.Parallel()
	fw := testFirmware(t, "debian-inteltdx-2026.08-blankvars")
	last := func(order string) eventlog.EventType {
		p := *fw.Profile
		p.SMBIOSOrder = order
		events, err := predictRTMR0(&Firmware{Profile: &p, sections: fw.sections, cfvSize: fw.cfvSize}, testMachine(t, "test"), testOffer(t))
		if err != nil {
			t.Fatal(err)
		}
		return events[len(events)-1].Type
	}
	if got := last(SMBIOSBeforeBootOrder); got != eventlog.VariableBoot {
		t.Errorf("with SMBIOS first the last event is %s", got)
	}
	if got := last(SMBIOSAfterBootOrder); got != eventlog.HandoffTables {
		t.Errorf("with SMBIOS last the last event is %s", got)
	}
}
