package launch

import (
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"cocoon/measure/tdx"
	"cocoon/tests/golden"
)

func TestProfilesAgreeWithTheMeasuredFirmware(t *testing.T) {
	t.Parallel()
	var file struct {
		Firmware []struct {
			Name    string     `json:"name"`
			SHA256  string     `json:"sha256"`
			Single  tdx.Digest `json:"mrtd_single_pass"`
			TwoPass string     `json:"mrtd_two_pass"`
			CFV     string     `json:"cfv_sha384"`
		} `json:"firmware"`
	}
	golden.JSON(t, "measure/mrtd.json", &file)
	profiles, err := FirmwareProfiles()
	if err != nil {
		t.Fatal(err)
	}
	if len(profiles) < 3 {
		t.Fatalf("%d profiles", len(profiles))
	}
	for _, p := range profiles {
		i := slices.IndexFunc(file.Firmware, func(f struct {
			Name    string     `json:"name"`
			SHA256  string     `json:"sha256"`
			Single  tdx.Digest `json:"mrtd_single_pass"`
			TwoPass string     `json:"mrtd_two_pass"`
			CFV     string     `json:"cfv_sha384"`
		},
		) bool {
			return f.SHA256 == p.SHA256
		})
		if i < 0 {
			t.Errorf("profile %s is for an unmeasured file", p.Name)
			continue
		}
		f := file.Firmware[i]
		if p.MRTD != f.Single || p.MRTDTwoPass.String() != f.TwoPass || p.CFV.String() != f.CFV {
			t.Errorf("profile %s has other values than vector %s", p.Name, f.Name)
		}
	}
}

func TestLoadFirmwareMeasuresTheFile(t *testing.T) {
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
	changed := slices.Clone(data)
	changed[0x1000] ^= 1
	if _, err := LoadFirmware(changed); !errors.Is(err, ErrNoProfile) {
		t.Errorf("a changed file: %v", err)
	}
	lie := *fw.Profile
	lie.MRTD[0] ^= 1
	if _, err := LoadFirmware(data, &lie); err == nil || !strings.Contains(err.Error(), "mrtd") {
		t.Errorf("a profile that contradicts its file: %v", err)
	}
}

func TestMRTDFollowsTheOrder(t *testing.T) {
	t.Parallel()
	p := *testFirmware(t, DefaultFirmware).Profile
	p.Order = "two-pass"
	fw, err := KnownFirmware(&p)
	if err != nil || fw.MRTD() != p.MRTDTwoPass {
		t.Errorf("MRTD %s (%v)", fw.MRTD(), err)
	}
	if _, err := NamedFirmware("nonsense"); err == nil || !strings.Contains(err.Error(), DefaultFirmware) {
		t.Errorf("an unknown profile: %v", err)
	}
}

func TestBrokenProfilesAreRefused(t *testing.T) {
	t.Parallel()
	for says, change := range map[string]func(p *FirmwareProfile){
		"name:":             func(p *FirmwareProfile) { p.Name = "" },
		"sha256:":           func(p *FirmwareProfile) { p.SHA256 = "00" },
		"order:":            func(p *FirmwareProfile) { p.Order = "backwards" },
		"edk2:":             func(p *FirmwareProfile) { p.EDK2 = 2026 },
		"smbiosOrder:":      func(p *FirmwareProfile) { p.SMBIOSOrder = "never" },
		"cmdlineInitrd:":    func(p *FirmwareProfile) { p.CmdlineInitrd = "infix" },
		"secureBootLength:": func(p *FirmwareProfile) { p.SecureBootLength = 2 },
		"bootApps:":         func(p *FirmwareProfile) { p.BootApps = nil },
		"boot option 0":     func(p *FirmwareProfile) { p.BootApps = []BootApp{{File: "x"}} },
		"smbiosType0:":      func(p *FirmwareProfile) { p.SMBIOSType0.Date = "" },
		"section type":      func(p *FirmwareProfile) { p.Sections = []ProfileSection{{Type: "?"}} },
	} {
		p := *testFirmware(t, DefaultFirmware).Profile
		change(&p)
		if _, err := KnownFirmware(&p); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("error %v, want one that says %q", err, says)
		}
	}
}

func FuzzParseFirmwareProfile(f *testing.F) {
	for _, name := range []string{"debian-2025.02", "debian-generic-2026.08", "debian-inteltdx-2026.08-blankvars"} {
		data, err := profileFiles.ReadFile("profiles/" + name + ".json")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(`{}`))
	f.Add([]byte(`{"name":"x","name":"y"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := ParseFirmwareProfile(data)
		if err != nil {
			return
		}
		if again, err := json.Marshal(p); err != nil {
			t.Error(err)
		} else if _, err := ParseFirmwareProfile(again); err != nil {
			t.Errorf("what was parsed is refused: %v", err)
		}
	})
}
