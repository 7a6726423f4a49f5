package launch

import (
	"fmt"

	"cocoon/measure/strictjson"
)

// BootForm is the way the kernel gets into the machine (image.md section 1).
type BootForm string

// The boot forms.
const (
	// BootUKI passes a unified kernel image with -kernel and nothing else: the form we publish.
	BootUKI BootForm = "uki"
	// BootKernel passes kernel, initrd and command line separately.
	BootKernel BootForm = "kernel"
	// BootDisk starts the UKI from the EFI system partition of the first disk.
	BootDisk BootForm = "disk"
)

// maxMachineSize bounds a descriptor file; the largest of ours is 4 kB.
const maxMachineSize = 1 << 20

// Machine is the launch descriptor: everything about a machine that is measured, and nothing that is not.
type Machine struct {
	// Name is the shape's name.
	Name string `json:"name"`
	// QEMU is the version of the host's QEMU, such as "11.1.3", because the tables differ between binaries of equal
	// machine type; empty means the machine is for rehearsals with whatever QEMU there is.
	QEMU string `json:"qemu,omitempty"`
	// MachineType is a versioned q35 machine type, such as "pc-q35-10.0".
	MachineType string `json:"machineType"`
	// VCPUs is the number of virtual CPUs, all in one socket.
	VCPUs int `json:"vcpus"`
	// MemoryMiB is the RAM.
	MemoryMiB uint64 `json:"memoryMiB"`
	// PhysBits is the width of guest-physical addresses that the guest sees.
	PhysBits int `json:"physBits"`
	// PCIHoleGiB is the size of the 64-bit PCI window; it must exceed the sum of all BARs (measure.md section 7.3).
	PCIHoleGiB uint64 `json:"pciHoleGiB"`
	// Firmware is the name of the firmware profile.
	Firmware string `json:"firmware"`
	// Boot is the boot form.
	Boot BootForm `json:"boot"`
	// SMBIOS pins the strings and the processor ID that would otherwise follow the host.
	SMBIOS SMBIOS `json:"smbios"`
	// Devices is the device table in command-line order.
	Devices []Device `json:"devices"`
}

// SMBIOS holds the identification that enters the SMBIOS event unfiltered.
type SMBIOS struct {
	Manufacturer string `json:"manufacturer"`
	Product      string `json:"product"`
	Version      string `json:"version"`
	// ProcessorID is the type 4 processor ID, 16 hexadecimal digits: CPUID(1).EDX, then CPUID(1).EAX.
	ProcessorID string `json:"processorId"`
}

// Kind names a device of the table.
type Kind string

// The kinds of devices.
const (
	Console   Kind = "virtio-console"
	ISASerial Kind = "isa-serial"
	Net       Kind = "virtio-net"
	Vsock     Kind = "vhost-vsock"
	RNG       Kind = "virtio-rng"
	Disk      Kind = "virtio-blk"
	RootPort  Kind = "pcie-root-port"
	GPU       Kind = "vfio-gpu"
)

// RootBus is the name of the bus that the host bridge carries.
const RootBus = "pcie.0"

// Device is one row of the device table.
type Device struct {
	Kind Kind `json:"kind"`
	// ID is QEMU's name of the device; for a root port also the name of its bus.
	ID string `json:"id"`
	// Bus and Slot are the explicit address; an ISA device has none.
	Bus  string `json:"bus,omitempty"`
	Slot uint8  `json:"slot,omitempty"`
	// Serial is a disk's serial, by which the guest finds it, at most 20 bytes.
	Serial string `json:"serial,omitempty"`
	// ReadOnly marks disks the guest cannot write.
	ReadOnly bool `json:"readOnly,omitempty"`
	// Optional marks disks whose slot is filled by an empty disk when the host has no file for them: the tables depend
	// on which slots are occupied, and in the disk form the firmware's boot options on which of them are disks.
	Optional bool `json:"optional,omitempty"`
	// Chassis is a root port's chassis number, unique in the machine.
	Chassis uint8 `json:"chassis,omitempty"`
	// BARGiB is the size of a GPU's largest BAR.
	BARGiB uint64 `json:"barGiB,omitempty"`
}

// ParseMachine reads a descriptor file.
func ParseMachine(data []byte) (*Machine, error) {
	if len(data) > maxMachineSize {
		return nil, fmt.Errorf("reading machine: %d bytes, at most %d", len(data), maxMachineSize)
	}
	var m Machine
	if err := strictjson.Decode(data, &m); err != nil {
		return nil, fmt.Errorf("reading machine: %w", err)
	}
	if err := m.Validate(); err != nil {
		return nil, fmt.Errorf("reading machine: %w", err)
	}
	return &m, nil
}

// Encode is the canonical form of the descriptor.
func (m *Machine) Encode() ([]byte, error) {
	if err := m.Validate(); err != nil {
		return nil, fmt.Errorf("encoding machine: %w", err)
	}
	return strictjson.Canonical(m)
}

// RAM is the memory in bytes.
func (m *Machine) RAM() uint64 { return m.MemoryMiB << 20 }

// Disks lists the disks in table order.
func (m *Machine) Disks() []Device {
	var out []Device
	for _, d := range m.Devices {
		if d.Kind == Disk {
			out = append(out, d)
		}
	}
	return out
}
