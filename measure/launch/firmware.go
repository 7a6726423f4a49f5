package launch

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"cocoon/measure/launch/smbios"
	"cocoon/measure/launch/vars"
	"cocoon/measure/ovmf"
	"cocoon/measure/strictjson"
	"cocoon/measure/tdx"
)

//go:embed profiles/*.json
var profileFiles embed.FS

// maxProfileSize bounds a profile file; ours are 3 kB.
const maxProfileSize = 1 << 20

// Placements of the SMBIOS event relative to the boot variables. Both are ReadyToBoot callbacks, whose order follows
// from driver dispatch (measure.md section 2).
const (
	SMBIOSBeforeBootOrder = "before-boot-order"
	SMBIOSAfterBootOrder  = "after-boot-order"
)

// How OVMF tells a kernel given with -kernel about its initrd (measure.md section 4).
const (
	InitrdPrefix = "prefix" // edk2-stable202508 and newer: "initrd=initrd " + text
	InitrdSuffix = "suffix" // up to edk2-stable202505: text + " initrd=initrd"
)

// FirmwareProfile is what is known about a firmware build beyond what its bytes say.
type FirmwareProfile struct {
	Name string `json:"name"`
	// Source says where the file comes from.
	Source string `json:"source"`
	// SHA256 names the file the profile is for.
	SHA256 string `json:"sha256"`
	// MRTD and MRTDTwoPass are the file's values in the two orders; Order names the one in use.
	MRTD        tdx.Digest `json:"mrtd"`
	MRTDTwoPass tdx.Digest `json:"mrtdTwoPass"`
	Order       string     `json:"order"`
	// CFV is the digest of the variable store.
	CFV tdx.Digest `json:"cfv"`
	// Sections is the memory map.
	Sections []ProfileSection `json:"sections"`
	// EDK2 is the stable tag the build is based on: 202502, 202608.
	EDK2 int `json:"edk2"`
	// FwCfgEvents and SMBIOSEvent: whether those inputs are measured (edk2-stable202505 and newer).
	FwCfgEvents bool `json:"fwCfgEvents"`
	SMBIOSEvent bool `json:"smbiosEvent"`
	// SMBIOSOrder is where the SMBIOS event stands.
	SMBIOSOrder string `json:"smbiosOrder"`
	// CmdlineInitrd is the rule for the command line of a kernel with an initrd.
	CmdlineInitrd string `json:"cmdlineInitrd"`
	// CleanKernel: the firmware prefers etc/boot/kernel, which QEMU does not patch (202502 and newer).
	CleanKernel bool `json:"cleanKernel"`
	// SeparatorInRTMR1: the last separator extends RTMR1 (202411 and newer), before it extended RTMR0.
	SeparatorInRTMR1 bool `json:"separatorInRtmr1"`
	// SecureBootLength is the length of the SecureBoot variable with a blank store: 0 without secure boot in the
	// build, else 1 (the byte 00).
	SecureBootLength int `json:"secureBootLength"`
	// BootApps are the firmware's own boot options, Boot0000 first; DiskApps follow the devices when the firmware
	// looks for something to boot.
	BootApps []BootApp `json:"bootApps"`
	DiskApps []BootApp `json:"diskApps"`
	// SMBIOSType0 are the strings of the structure that the firmware adds.
	SMBIOSType0 Type0 `json:"smbiosType0"`
	// HasTPM: the build contains TPM drivers that do not ask whether they run in a TD; a host that presents a TPM
	// diverts measurements of the kernel to it (measure.md section 13, point 11). Such a build is for rehearsals.
	HasTPM bool `json:"hasTpm"`
}

// ProfileSection is a section of the memory map, as printed by `measure firmware`.
type ProfileSection struct {
	Type       string `json:"type"`
	DataOffset uint32 `json:"dataOffset"`
	RawSize    uint32 `json:"rawSize"`
	Address    uint64 `json:"address"`
	MemorySize uint64 `json:"memorySize"`
	Attributes uint32 `json:"attributes"`
}

// BootApp is a boot option for an application in the firmware volume.
type BootApp struct {
	Attributes  uint32 `json:"attributes"`
	Description string `json:"description"`
	Volume      string `json:"volume"`
	File        string `json:"file"`
}

// Type0 are the strings of SMBIOS type 0.
type Type0 struct {
	Vendor  string `json:"vendor"`
	Version string `json:"version"`
	Date    string `json:"date"`
}

// ParseFirmwareProfile reads a profile file.
func ParseFirmwareProfile(data []byte) (*FirmwareProfile, error) {
	if len(data) > maxProfileSize {
		return nil, fmt.Errorf("reading firmware profile: %d bytes, at most %d", len(data), maxProfileSize)
	}
	var p FirmwareProfile
	if err := strictjson.Decode(data, &p); err != nil {
		return nil, fmt.Errorf("reading firmware profile: %w", err)
	}
	if err := p.Validate(); err != nil {
		return nil, fmt.Errorf("reading firmware profile %q: %w", p.Name, err)
	}
	return &p, nil
}

// Validate returns every broken rule.
func (p *FirmwareProfile) Validate() error {
	_, type0Err := smbios.Type0(p.SMBIOSType0.Vendor, p.SMBIOSType0.Version, p.SMBIOSType0.Date)
	var errs []error
	for _, r := range []rule{
		{"name", shapeRule.MatchString(p.Name), fmt.Sprintf("%q does not match %s", p.Name, shapeRule)},
		{"sha256", len(p.SHA256) == 64, "not 64 hex digits"},
		{"order", p.Order == ovmf.SinglePass.String() || p.Order == ovmf.TwoPassPerSection.String(), fmt.Sprintf("%q is neither single-pass nor two-pass", p.Order)},
		{"edk2", p.EDK2 >= 202302 && p.EDK2 < 300000, fmt.Sprintf("%d is not a stable tag such as 202502", p.EDK2)},
		{"smbiosOrder", p.SMBIOSOrder == SMBIOSBeforeBootOrder || p.SMBIOSOrder == SMBIOSAfterBootOrder, fmt.Sprintf("%q is unknown", p.SMBIOSOrder)},
		{"cmdlineInitrd", p.CmdlineInitrd == InitrdPrefix || p.CmdlineInitrd == InitrdSuffix, fmt.Sprintf("%q is neither prefix nor suffix", p.CmdlineInitrd)},
		{"secureBootLength", p.SecureBootLength == 0 || p.SecureBootLength == 1, fmt.Sprintf("%d is neither 0 nor 1", p.SecureBootLength)},
		{"bootApps", len(p.BootApps) >= 1 && len(p.BootApps) <= 16 && len(p.DiskApps) <= 16, "want 1..16 boot options"},
		{"smbiosType0", !p.SMBIOSEvent || type0Err == nil, fmt.Sprint(type0Err)},
	} {
		if !r.ok {
			errs = append(errs, fmt.Errorf("%s: %s", r.path, r.says))
		}
	}
	for i, app := range slices.Concat(p.BootApps, p.DiskApps) {
		if _, err := app.encode(); err != nil {
			errs = append(errs, fmt.Errorf("boot option %d: %w", i, err))
		}
	}
	return errors.Join(errs...)
}

func (a BootApp) encode() ([]byte, error) { return vars.FirmwareApp(a).Encode() }

// FirmwareProfiles returns the built-in profiles, by name.
func FirmwareProfiles() ([]*FirmwareProfile, error) {
	names, err := fs.Glob(profileFiles, "profiles/*.json")
	if err != nil {
		return nil, fmt.Errorf("listing firmware profiles: %w", err)
	}
	out := make([]*FirmwareProfile, 0, len(names))
	for _, name := range names {
		data, err := profileFiles.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("reading firmware profile: %w", err)
		}
		p, err := ParseFirmwareProfile(data)
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, nil
}

// ErrNoProfile means that a firmware file is not one that predictions are known for.
var ErrNoProfile = errors.New("no firmware profile")

// Firmware is what predictions use of a firmware file. LoadFirmware makes it from the file, KnownFirmware from the
// profile alone; they are equal, because a file that measures otherwise is refused.
type Firmware struct {
	Profile  *FirmwareProfile
	sections []ovmf.Section
	cfvSize  int
}

// LoadFirmware measures a firmware file and finds its profile, first among extra, then among the built-in ones. What
// the profile says about the bytes must be what they measure.
func LoadFirmware(image []byte, extra ...*FirmwareProfile) (*Firmware, error) {
	file, err := ovmf.Parse(image)
	if err != nil {
		return nil, err
	}
	profiles, err := FirmwareProfiles()
	if err != nil {
		return nil, err
	}
	for _, p := range append(slices.Clone(extra), profiles...) {
		if p.SHA256 == file.SHA256Hex() {
			if err := p.check(file); err != nil {
				return nil, err
			}
			return KnownFirmware(p)
		}
	}
	return nil, fmt.Errorf("%w for firmware with SHA-256 %s", ErrNoProfile, file.SHA256Hex())
}

// NamedFirmware is the firmware of a built-in profile.
func NamedFirmware(name string) (*Firmware, error) {
	profiles, err := FirmwareProfiles()
	if err != nil {
		return nil, err
	}
	names := make([]string, len(profiles))
	for i, p := range profiles {
		if p.Name == name {
			return KnownFirmware(p)
		}
		names[i] = p.Name
	}
	return nil, fmt.Errorf("firmware profile %q is none of %s", name, strings.Join(names, ", "))
}

// KnownFirmware is the firmware a profile describes, for when the file itself is not at hand.
func KnownFirmware(p *FirmwareProfile) (*Firmware, error) {
	if err := p.Validate(); err != nil {
		return nil, fmt.Errorf("using firmware profile %q: %w", p.Name, err)
	}
	fw := &Firmware{Profile: p}
	for _, s := range p.Sections {
		t, err := sectionType(s.Type)
		if err != nil {
			return nil, fmt.Errorf("using firmware profile %q: %w", p.Name, err)
		}
		if t == ovmf.CFV {
			fw.cfvSize = int(s.RawSize)
		}
		fw.sections = append(fw.sections, ovmf.Section{
			Type: t, DataOffset: s.DataOffset, RawSize: s.RawSize,
			Address: s.Address, MemorySize: s.MemorySize, Attributes: ovmf.Attributes(s.Attributes),
		})
	}
	return fw, nil
}

func sectionType(name string) (ovmf.SectionType, error) {
	for t := ovmf.BFV; t <= ovmf.TDParams; t++ {
		if t.String() == name {
			return t, nil
		}
	}
	return 0, fmt.Errorf("section type %q is unknown", name)
}

// ProfileSections is the memory map of a file in the profile's form.
func ProfileSections(file *ovmf.Firmware) []ProfileSection {
	out := make([]ProfileSection, len(file.Sections))
	for i, s := range file.Sections {
		out[i] = ProfileSection{
			Type: s.Type.String(), DataOffset: s.DataOffset, RawSize: s.RawSize,
			Address: s.Address, MemorySize: s.MemorySize, Attributes: uint32(s.Attributes),
		}
	}
	return out
}

// check compares a file's measurements with what the profile says.
func (p *FirmwareProfile) check(file *ovmf.Firmware) error {
	cfv, err := file.CFVDigest()
	if err != nil {
		return err
	}
	sections := ProfileSections(file)
	for _, r := range []rule{
		{"mrtd", file.SinglePass == p.MRTD, file.SinglePass.String()},
		{"mrtdTwoPass", file.TwoPass == p.MRTDTwoPass, file.TwoPass.String()},
		{"cfv", cfv == p.CFV, cfv.String()},
		{"sections", slices.Equal(sections, p.Sections), fmt.Sprintf("%+v", sections)},
	} {
		if !r.ok {
			return fmt.Errorf("checking firmware against profile %s: %s is %s, not what the profile says", p.Name, r.path, r.says)
		}
	}
	return nil
}

// HOB is the hashed hand-off list of a q35 machine with ram bytes of memory.
func (f *Firmware) HOB(ram uint64) ([]byte, error) { return ovmf.HOB(f.sections, ram, ovmf.Q35()) }

// MRTD is the register's value in the profile's order.
func (f *Firmware) MRTD() tdx.Digest {
	if f.Profile.Order == ovmf.TwoPassPerSection.String() {
		return f.Profile.MRTDTwoPass
	}
	return f.Profile.MRTD
}
