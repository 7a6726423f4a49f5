package launch

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cocoon/measure/eventlog"
	"cocoon/measure/ovmf"
	"cocoon/tests/golden"
)

func tpmLog(t *testing.T, name string) *eventlog.Log {
	t.Helper()
	log, err := eventlog.Parse(golden.Vector(t, "measure/tcglog/"+name+".bin.gz"), eventlog.TPM)
	if err != nil {
		t.Fatal(err)
	}
	return log
}

func TestALogTeachesWhatABuildMeasures(t *testing.T) {
	t.Parallel()
	want := *testFirmware(t, "debian-generic-2026.08").Profile
	got := *testFirmware(t, "debian-2025.02").Profile
	if err := got.learn(tpmLog(t, "kernel-initrd-q10.0-ovmf2026.08")); err != nil {
		t.Fatal(err)
	}
	type shown struct {
		SMBIOSEvent      bool
		SMBIOSOrder      string
		SecureBootLength int
		BootApps         []BootApp
		HasTPM           bool
	}
	of := func(p *FirmwareProfile) shown {
		return shown{p.SMBIOSEvent, p.SMBIOSOrder, p.SecureBootLength, p.BootApps, p.HasTPM}
	}
	if d := cmp.Diff(of(&want), of(&got)); d != "" {
		t.Error(d)
	}
	secure := want
	if err := secure.learn(tpmLog(t, "secboot")); err != nil {
		t.Fatal(err)
	}
	if secure.SMBIOSOrder != SMBIOSAfterBootOrder || secure.SecureBootLength != 1 {
		t.Errorf("secure-boot build: SMBIOS %s, SecureBoot of %d bytes", secure.SMBIOSOrder, secure.SecureBootLength)
	}
	old := want
	if err := old.learn(tpmLog(t, "kernel-initrd-q10.0-ovmf2025.02")); err != nil || old.SMBIOSEvent {
		t.Errorf("a build without an SMBIOS event: %v (%v)", old.SMBIOSEvent, err)
	}
}

func TestLogsThatTeachNothingAreRefused(t *testing.T) {
	t.Parallel()
	p := *testFirmware(t, "debian-2025.02").Profile
	if err := p.learn(tpmLog(t, "uki-disk-q11.1-ovmf2026.08")); err == nil || !strings.Contains(err.Error(), "with -kernel") {
		t.Errorf("the log of a disk boot: %v", err)
	}
	if err := p.learn(&eventlog.Log{Kind: eventlog.TD}); err == nil {
		t.Error("a TD's log is accepted")
	}
	broken := &eventlog.Log{Kind: eventlog.TPM, Events: []eventlog.Event{{Type: eventlog.VariableBoot, Data: []byte{1}}}}
	if err := p.learn(broken); err == nil {
		t.Error("a broken variable is accepted")
	}
	if _, err := DeriveProfile("x", &ovmf.Firmware{}, &p, nil); err == nil {
		t.Error("a firmware without a variable store has a profile")
	}
}

func TestDerivingFromTheFileItselfGivesItsProfile(t *testing.T) {
	t.Parallel()
	path := os.Getenv("COCOON_FIRMWARE")
	if path == "" {
		t.Skip("COCOON_FIRMWARE does not name a firmware file")
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	fw, err := LoadFirmware(data)
	if err != nil {
		t.Fatal(err)
	}
	file, err := ovmf.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	got, err := DeriveProfile(fw.Profile.Name, file, fw.Profile, nil)
	if err != nil {
		t.Fatal(err)
	}
	got.Source = fw.Profile.Source
	if d := cmp.Diff(fw.Profile, got); d != "" {
		t.Error(d)
	}
}
