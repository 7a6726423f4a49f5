package launch

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"cocoon/measure/eventlog"
	"cocoon/measure/launch/acpi"
	"cocoon/measure/launch/qtest"
	"cocoon/measure/launch/smbios"
	"cocoon/measure/launch/vars"
	"cocoon/measure/tdx"
)

// smbiosFile is QEMU's SMBIOS table.
const smbiosFile = "etc/smbios/smbios-tables"

// predictRTMR0 lists the platform's events (measure.md section 2).
func predictRTMR0(fw *Firmware, m *Machine, in *qtest.FwCfg) ([]Event, error) {
	p := fw.Profile
	hob, err := fw.HOB(m.RAM())
	if err != nil {
		return nil, err
	}
	events := []Event{
		event(tdx.RTMR0, eventlog.HandoffTables2, "TD HOB", hob, InputRAM, InputFirmwareMap),
		{
			Register: tdx.RTMR0, Type: eventlog.FirmwareBlob2, Description: "CFV", Digest: p.CFV, Bytes: fw.cfvSize,
			Inputs: []Input{InputFirmwareStore},
		},
	}
	if p.FwCfgEvents {
		events = append(events, fwCfgEvents(in)...)
	}
	secure, err := secureBootEvents(p)
	if err != nil {
		return nil, err
	}
	tables, err := acpiEvents(in)
	if err != nil {
		return nil, err
	}
	boot, err := bootEvents(p, m)
	if err != nil {
		return nil, err
	}
	var identity []Event
	if p.SMBIOSEvent {
		if identity, err = smbiosEvents(p, in); err != nil {
			return nil, err
		}
	}
	events = slices.Concat(events, secure, []Event{separator(tdx.RTMR0)}, tables)
	if p.SMBIOSOrder == SMBIOSAfterBootOrder {
		events = slices.Concat(events, boot, identity)
	} else {
		events = slices.Concat(events, identity, boot)
	}
	if !p.SeparatorInRTMR1 {
		events = append(events, separator(tdx.RTMR0))
	}
	return events, nil
}

// fwCfgEvents are the configuration items that edk2-stable202505 and newer measure, in its order.
func fwCfgEvents(in *qtest.FwCfg) []Event {
	var out []Event
	add := func(name string, data []byte, inputs ...Input) {
		if len(data) > 0 {
			out = append(out, event(tdx.RTMR0, eventlog.PlatformConfigFlags, name, data, inputs...))
		}
	}
	add("etc/extra-pci-roots", in.Files["etc/extra-pci-roots"], InputDevices)
	add("BootMenu", in.BootMenu, InputBootForm)
	add("etc/boot-menu-wait", in.Files["etc/boot-menu-wait"], InputBootForm)
	add("etc/reserved-memory-end", in.Files["etc/reserved-memory-end"], InputRAM)
	add("opt/ovmf/X-PciMmio64Mb", in.Files["opt/ovmf/X-PciMmio64Mb"], InputWindow)
	add("bootorder", in.Files["bootorder"], InputBootForm)
	return out
}

// secureBootEvents are the five variables of a store without keys.
func secureBootEvents(p *FirmwareProfile) ([]Event, error) {
	var out []Event
	for _, v := range []struct {
		vendor, name string
		data         []byte
	}{
		{vars.GlobalVariable, "SecureBoot", make([]byte, p.SecureBootLength)},
		{vars.GlobalVariable, "PK", nil},
		{vars.GlobalVariable, "KEK", nil},
		{vars.ImageSecurity, "db", nil},
		{vars.ImageSecurity, "dbx", nil},
	} {
		data, err := vars.Data(v.vendor, v.name, v.data)
		if err != nil {
			return nil, err
		}
		out = append(out, event(tdx.RTMR0, eventlog.VariableDriverConfig, v.name, data, InputFirmwareStore, InputFirmwareBuild))
	}
	return out, nil
}

// acpiEvents are the loader script and the files it allocates, in the script's order, as they are before linking.
func acpiEvents(in *qtest.FwCfg) ([]Event, error) {
	script, ok := in.Files[acpi.FileLoader]
	if !ok {
		return nil, fmt.Errorf("QEMU offers no %s", acpi.FileLoader)
	}
	commands, err := acpi.ParseLoader(script)
	if err != nil {
		return nil, err
	}
	files := acpi.Allocations(commands)
	if slices.Equal(files, []string{acpi.FileRSDP, acpi.FileTables}) {
		if err := checkDerived(in); err != nil {
			return nil, err
		}
	}
	inputs := []Input{InputQEMU, InputMachineType, InputVCPUs, InputDevices, InputWindow, InputRAM}
	out := []Event{event(tdx.RTMR0, eventlog.PlatformConfigFlags, acpi.FileLoader, script, inputs...)}
	for _, name := range files {
		data, ok := in.Files[name]
		if !ok {
			return nil, fmt.Errorf("QEMU's loader script names %s, which it does not offer", name)
		}
		out = append(out, event(tdx.RTMR0, eventlog.PlatformConfigFlags, name, data, inputs...))
	}
	return out, nil
}

// checkDerived compares script and root pointer with what follows from the tables; a difference means that the
// three blobs do not belong together.
func checkDerived(in *qtest.FwCfg) error {
	tables := in.Files[acpi.FileTables]
	script, err := acpi.Loader(tables)
	if err != nil {
		return err
	}
	rsdp, err := acpi.RSDP(tables)
	if err != nil {
		return err
	}
	if !bytes.Equal(script, in.Files[acpi.FileLoader]) || !bytes.Equal(rsdp, in.Files[acpi.FileRSDP]) {
		return errors.New("the loader script or root pointer does not follow from the ACPI tables; this QEMU builds them in an unknown way")
	}
	return nil
}

// ACPIOnly is fw_cfg content for a captured etc/acpi/tables: the other two blobs are derived from it.
func ACPIOnly(tables []byte) (*qtest.FwCfg, error) {
	script, err := acpi.Loader(tables)
	if err != nil {
		return nil, err
	}
	rsdp, err := acpi.RSDP(tables)
	if err != nil {
		return nil, err
	}
	return &qtest.FwCfg{Files: map[string][]byte{
		acpi.FileTables: tables, acpi.FileLoader: script, acpi.FileRSDP: rsdp,
	}}, nil
}

// smbiosEvents is the filtered table of the guest.
func smbiosEvents(p *FirmwareProfile, in *qtest.FwCfg) ([]Event, error) {
	t := p.SMBIOSType0
	type0, err := smbios.Type0(t.Vendor, t.Version, t.Date)
	if err != nil {
		return nil, err
	}
	table, err := smbios.Compose(in.Files[smbiosFile], type0)
	if err != nil {
		return nil, err
	}
	filtered, err := smbios.Filter(table)
	if err != nil {
		return nil, err
	}
	return []Event{event(tdx.RTMR0, eventlog.HandoffTables, "SMBIOS", filtered,
		InputRAM, InputVCPUs, InputSMBIOS, InputMachineType, InputQEMU, InputFirmwareBuild)}, nil
}

// bootEvents are BootOrder and the options it lists. With -kernel the firmware looks for nothing else to boot; from
// disk it makes an option for every disk, in bus order.
func bootEvents(p *FirmwareProfile, m *Machine) ([]Event, error) {
	type option struct {
		name string
		data []byte
	}
	var options []option
	add := func(apps []BootApp) error {
		for _, app := range apps {
			data, err := app.encode()
			if err != nil {
				return err
			}
			options = append(options, option{app.Description, data})
		}
		return nil
	}
	if err := add(p.BootApps); err != nil {
		return nil, err
	}
	inputs := []Input{InputFirmwareBuild, InputBootForm}
	if m.Boot == BootDisk {
		inputs = append(inputs, InputDevices)
		for i, d := range bySlot(m.Disks()) {
			data, err := vars.Disk(i+1, d.Slot)
			if err != nil {
				return nil, err
			}
			options = append(options, option{"disk " + d.ID, data})
		}
		if err := add(p.DiskApps); err != nil {
			return nil, err
		}
	}
	numbers := make([]uint16, len(options))
	out := []Event{{}}
	for i, o := range options {
		numbers[i] = uint16(i)
		out = append(out, event(tdx.RTMR0, eventlog.VariableBoot, fmt.Sprintf("Boot%04X %s", i, o.name), o.data, inputs...))
	}
	out[0] = event(tdx.RTMR0, eventlog.VariableBoot, "BootOrder", vars.BootOrder(numbers), inputs...)
	return out, nil
}

func bySlot(disks []Device) []Device {
	out := slices.Clone(disks)
	slices.SortFunc(out, func(a, b Device) int { return int(a.Slot) - int(b.Slot) })
	return out
}
