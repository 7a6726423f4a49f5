package launch

import (
	"errors"
	"fmt"
	"strings"

	"cocoon/measure/eventlog"
	"cocoon/measure/launch/vars"
	"cocoon/measure/ovmf"
)

// DeriveProfile makes the profile of another firmware file: what the bytes say is measured, what a boot showed is
// taken from the log of a software TPM, and the rest, which neither shows, from the profile of a build that is alike.
// The log may be nil. It should be of a boot with -kernel, where every boot option is the firmware's own.
func DeriveProfile(name string, file *ovmf.Firmware, like *FirmwareProfile, log *eventlog.Log) (*FirmwareProfile, error) {
	cfv, err := file.CFVDigest()
	if err != nil {
		return nil, fmt.Errorf("deriving firmware profile: %w", err)
	}
	p := *like
	p.Name, p.Source = name, "derived from "+like.Name
	p.SHA256, p.MRTD, p.MRTDTwoPass, p.CFV = file.SHA256Hex(), file.SinglePass, file.TwoPass, cfv
	p.Sections = ProfileSections(file)
	if log != nil {
		if err := p.learn(log); err != nil {
			return nil, fmt.Errorf("deriving firmware profile: %w", err)
		}
	}
	if err := p.Validate(); err != nil {
		return nil, fmt.Errorf("deriving firmware profile: %w", err)
	}
	return &p, nil
}

// learn takes over what a TPM log shows of a build.
func (p *FirmwareProfile) learn(log *eventlog.Log) error {
	if log.Kind != eventlog.TPM {
		return errors.New("the log is a TD's; a software TPM's is needed")
	}
	p.SMBIOSEvent, p.HasTPM, p.BootApps = false, true, nil
	for i := range log.Events {
		e := &log.Events[i]
		switch e.Type {
		case eventlog.HandoffTables:
			p.SMBIOSEvent = true
			p.SMBIOSOrder = SMBIOSBeforeBootOrder
			if len(p.BootApps) > 0 {
				p.SMBIOSOrder = SMBIOSAfterBootOrder
			}
		case eventlog.VariableDriverConfig, eventlog.VariableBoot:
			if err := p.learnVariable(e.Data); err != nil {
				return fmt.Errorf("event %d: %w", i, err)
			}
		default: // says nothing about the build
		}
	}
	return nil
}

func (p *FirmwareProfile) learnVariable(data []byte) error {
	v, err := eventlog.ParseVariable(data)
	if err != nil {
		return err
	}
	switch {
	case v.Name == "SecureBoot":
		p.SecureBootLength = len(v.Data)
	case strings.HasPrefix(v.Name, "Boot0"):
		app, err := vars.ParseFirmwareApp(v.Data)
		if err != nil {
			return fmt.Errorf("%s: %w; take the log of a boot with -kernel", v.Name, err)
		}
		p.BootApps = append(p.BootApps, BootApp(app))
	}
	return nil
}
