package launch

import (
	"errors"
	"fmt"
	"regexp"

	"cocoon/measure/launch/acpi"
	"cocoon/measure/launch/qtest"
)

// Bounds of a machine. Below 129 MiB the probe has no room; above 255 vCPUs q35 needs an interrupt remapper.
const (
	maxVCPUs     = 255
	maxMemoryMiB = 16 << 20
	maxHoleGiB   = 1 << 14
	maxDevices   = 64
	maxSlot      = 0x1e // slot 0 is the host bridge, 0x1f the ICH9
	maxSerial    = 20   // virtio-blk cuts longer serials
)

var (
	machineRule   = regexp.MustCompile(`^pc-q35-[0-9]{1,2}\.[0-9]{1,2}$`)
	versionRule   = regexp.MustCompile(`^[0-9]{1,2}\.[0-9]{1,2}\.[0-9]{1,3}$`)
	shapeRule     = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{0,39}$`)
	deviceRule    = regexp.MustCompile(`^[a-z][a-z0-9-]{0,19}$`)
	serialRule    = regexp.MustCompile(`^[a-z0-9-]{1,20}$`)
	smbiosRule    = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9 ._-]{0,31}$`)
	processorRule = regexp.MustCompile(`^[0-9a-f]{16}$`)
)

// rule is one check of a descriptor; what it says is printed behind the path of the value.
type rule struct {
	path string
	ok   bool
	says string
}

// Validate returns every broken rule, each with the path of its value.
func (m *Machine) Validate() error {
	rules := []rule{
		{"name", shapeRule.MatchString(m.Name), fmt.Sprintf("%q does not match %s", m.Name, shapeRule)},
		{"qemu", m.QEMU == "" || versionRule.MatchString(m.QEMU), fmt.Sprintf("%q is not a version such as 11.1.3", m.QEMU)},
		{"machineType", machineRule.MatchString(m.MachineType), fmt.Sprintf("%q is not a versioned q35 machine type", m.MachineType)},
		{"vcpus", m.VCPUs >= 1 && m.VCPUs <= maxVCPUs, fmt.Sprintf("%d is not in 1..%d", m.VCPUs, maxVCPUs)},
		{
			"memoryMiB", m.MemoryMiB >= qtest.MinMemoryMiB && m.MemoryMiB <= maxMemoryMiB,
			fmt.Sprintf("%d is not in %d..%d", m.MemoryMiB, qtest.MinMemoryMiB, maxMemoryMiB),
		},
		{"pciHoleGiB", m.PCIHoleGiB <= maxHoleGiB, fmt.Sprintf("%d is above %d", m.PCIHoleGiB, maxHoleGiB)},
		{
			"pciHoleGiB", m.PCIHoleGiB > m.barGiB()+1,
			fmt.Sprintf("%d does not exceed the sum of all BARs, %d plus the virtio devices'; the window would follow the BARs", m.PCIHoleGiB, m.barGiB()),
		},
		{"firmware", shapeRule.MatchString(m.Firmware), fmt.Sprintf("%q does not match %s", m.Firmware, shapeRule)},
		{"boot", m.Boot == BootUKI || m.Boot == BootKernel || m.Boot == BootDisk, fmt.Sprintf("%q is none of uki, kernel, disk", m.Boot)},
		{"smbios.manufacturer", smbiosRule.MatchString(m.SMBIOS.Manufacturer), fmt.Sprintf("%q does not match %s", m.SMBIOS.Manufacturer, smbiosRule)},
		{"smbios.product", smbiosRule.MatchString(m.SMBIOS.Product), fmt.Sprintf("%q does not match %s", m.SMBIOS.Product, smbiosRule)},
		{"smbios.version", smbiosRule.MatchString(m.SMBIOS.Version), fmt.Sprintf("%q does not match %s", m.SMBIOS.Version, smbiosRule)},
		{"smbios.processorId", processorRule.MatchString(m.SMBIOS.ProcessorID), fmt.Sprintf("%q is not 16 lower-case hex digits", m.SMBIOS.ProcessorID)},
		{"devices", len(m.Devices) <= maxDevices, fmt.Sprintf("%d rows, at most %d", len(m.Devices), maxDevices)},
		{"devices", m.Boot != BootDisk || len(m.Disks()) > 0, "boot form disk without a disk"},
	}
	var errs []error
	for _, r := range rules {
		if !r.ok {
			errs = append(errs, fmt.Errorf("%s: %s", r.path, r.says))
		}
	}
	if _, err := acpi.Mmio64Base(m.PhysBits); err != nil {
		errs = append(errs, fmt.Errorf("physBits: %w", err))
	}
	if len(m.Devices) <= maxDevices {
		errs = append(errs, m.checkDevices()...)
	}
	return errors.Join(errs...)
}

// barGiB sums the large BARs.
func (m *Machine) barGiB() uint64 {
	var sum uint64
	for _, d := range m.Devices {
		sum += min(d.BARGiB, maxHoleGiB)
	}
	return sum
}

// checkDevices checks each row, and what rows must not share.
func (m *Machine) checkDevices() []error {
	var errs []error
	taken := make(map[string]string)
	claim := func(i int, what, value string) {
		key := what + " " + value
		if other, ok := taken[key]; ok {
			errs = append(errs, fmt.Errorf("devices[%d]: %s is already taken by %s", i, key, other))
		}
		taken[key] = m.Devices[i].ID
	}
	buses := map[string]bool{RootBus: true}
	onRoot := false
	for i, d := range m.Devices {
		for _, r := range d.rules(buses) {
			if !r.ok {
				errs = append(errs, fmt.Errorf("devices[%d].%s: %s", i, r.path, r.says))
			}
		}
		claim(i, "id", d.ID)
		if d.Kind != ISASerial {
			claim(i, "slot", fmt.Sprintf("%s:%#x", d.Bus, d.Slot))
		}
		if d.Kind == Disk {
			claim(i, "serial", d.Serial)
		}
		if d.Kind == RootPort {
			claim(i, "chassis", fmt.Sprint(d.Chassis))
			buses[d.ID] = true
		}
		onRoot = onRoot || d.Bus == RootBus && d.Kind != RootPort
	}
	if !onRoot {
		errs = append(errs, errors.New("devices: no virtio device on pcie.0, whose BAR would define the 64-bit window"))
	}
	return errs
}

// rules are the checks of one row; buses are those that exist so far.
func (d Device) rules(buses map[string]bool) []rule {
	isa, disk, port, gpu := d.Kind == ISASerial, d.Kind == Disk, d.Kind == RootPort, d.Kind == GPU
	_, known := models()[d.Kind]
	slotOK := d.Slot >= 1 && d.Slot <= maxSlot
	if d.Bus != RootBus {
		slotOK = d.Slot == 0 // a root port has one slot
	}
	return []rule{
		{"kind", known, fmt.Sprintf("%q is not a kind of device", d.Kind)},
		{"id", deviceRule.MatchString(d.ID), fmt.Sprintf("%q does not match %s", d.ID, deviceRule)},
		{"bus", isa == (d.Bus == ""), fmt.Sprintf("%q: every device but isa-serial names its bus", d.Bus)},
		{"bus", isa || buses[d.Bus], fmt.Sprintf("%q is neither pcie.0 nor a root port above this row", d.Bus)},
		{"bus", gpu != (d.Bus == RootBus) || isa, fmt.Sprintf("%q: GPUs sit behind root ports, all else on pcie.0", d.Bus)},
		{"slot", slotOK || isa && d.Slot == 0, fmt.Sprintf("%#x is not a free slot of bus %q", d.Slot, d.Bus)},
		{"serial", disk == (d.Serial != ""), "disks have a serial, other devices do not"},
		{"serial", !disk || serialRule.MatchString(d.Serial), fmt.Sprintf("%q does not match %s (virtio cuts serials at %d bytes)", d.Serial, serialRule, maxSerial)},
		{"readOnly", disk || !d.ReadOnly, "only disks can be read-only"},
		{"optional", disk || !d.Optional, "only disks can be optional"},
		{"chassis", port == (d.Chassis != 0), "root ports have a chassis number, other devices do not"},
		{"barGiB", gpu == (d.BARGiB != 0), "GPUs state the size of their largest BAR, other devices do not"},
	}
}
