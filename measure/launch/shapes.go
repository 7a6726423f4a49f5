package launch

import (
	"fmt"
	"slices"
	"strings"
)

// DefaultFirmware is the profile of the firmware we ship.
const DefaultFirmware = "debian-inteltdx-2026.08-blankvars"

// HostQEMU is the version whose ACPI tables the published shapes have. mkosi/image.lock holds it, and `cocoon image
// qemu` makes it startable.
const HostQEMU = "11.1.3"

// What the published shapes have in common.
const (
	shapeMachine   = "pc-q35-10.0"
	rehearsalType  = "pc-q35-7.2" // known to every QEMU since Debian 12's
	shapePhysBits  = 46
	shapeHoleGiB   = 4096
	gpuBARGiB      = 256 // the largest BAR of an HBM GPU, rounded up to a power of two
	shapeProcessor = "1fcbfbff000806f8"
)

// Slots of the root bus. They are part of what is measured: append, never renumber.
const (
	slotConsole = 0x02
	slotNet     = 0x03
	slotVsock   = 0x04
	slotRNG     = 0x05
	slotBase    = 0x08
	slotGPU     = 0x09
	slotEngine  = 0x0a
	slotConfig  = 0x0b
	slotModel   = 0x0c
	slotData    = 0x0d
	slotPorts   = 0x10
)

// Serials of the disks. A layer's is its id in mkosi/image.toml.
const (
	SerialBase      = "base"
	SerialGPU       = "gpu"
	SerialEngineCPU = "engine-cpu"
	SerialEngineGPU = "engine-gpu"
	SerialConfig    = "cocoon-config"
	SerialModel     = "model"
	SerialData      = "data"
	// SerialDisk is the one disk that replaces the layers in the disk form.
	SerialDisk = "cocoon-disk"
)

// shape is a row of the table of built-in machines.
type shape struct {
	name      string
	vcpus     int
	memoryMiB uint64
	layers    []string
	model     bool
	gpus      int
	rehearsal bool // serial console, any QEMU
}

func shapes() []shape {
	cpuLayers := []string{SerialBase, SerialEngineCPU}
	gpuLayers := []string{SerialBase, SerialGPU, SerialEngineGPU}
	return []shape{
		{name: "proxy", vcpus: 4, memoryMiB: 8 << 10, layers: []string{SerialBase}},
		{name: "worker-cpu", vcpus: 16, memoryMiB: 32 << 10, layers: cpuLayers, model: true},
		{name: "worker-gpu", vcpus: 16, memoryMiB: 128 << 10, layers: gpuLayers, model: true, gpus: 1},
		{name: "worker-gpu-2", vcpus: 32, memoryMiB: 256 << 10, layers: gpuLayers, model: true, gpus: 2},
		{name: "worker-gpu-4", vcpus: 64, memoryMiB: 512 << 10, layers: gpuLayers, model: true, gpus: 4},
		{name: "worker-gpu-8", vcpus: 128, memoryMiB: 1024 << 10, layers: gpuLayers, model: true, gpus: 8},
		{name: "test", vcpus: 2, memoryMiB: 2 << 10, layers: cpuLayers, model: true, rehearsal: true},
		{name: "test-proxy", vcpus: 2, memoryMiB: 2 << 10, layers: []string{SerialBase}, rehearsal: true},
	}
}

// diskSuffix marks the variants that boot from a disk instead of a UKI given to QEMU.
const diskSuffix = "-disk"

// Shapes lists the names of the built-in machines.
func Shapes() []string {
	table := shapes()
	out := make([]string, 0, 2*len(table))
	for _, s := range table {
		out = append(out, s.name)
	}
	for _, s := range table {
		out = append(out, s.name+diskSuffix)
	}
	return out
}

// Shape builds a built-in machine.
func Shape(name string) (*Machine, error) {
	plain, disk := strings.CutSuffix(name, diskSuffix)
	table := shapes()
	i := slices.IndexFunc(table, func(s shape) bool { return s.name == plain })
	if i < 0 {
		return nil, fmt.Errorf("shape %q is none of %s", name, strings.Join(Shapes(), ", "))
	}
	m := table[i].machine()
	if disk {
		m.bootFromDisk()
	}
	return m, m.Validate()
}

// machine expands a row of the table.
func (s shape) machine() *Machine {
	m := &Machine{
		Name: s.name, QEMU: HostQEMU, MachineType: shapeMachine,
		VCPUs: s.vcpus, MemoryMiB: s.memoryMiB, PhysBits: shapePhysBits, PCIHoleGiB: shapeHoleGiB,
		Firmware: DefaultFirmware, Boot: BootUKI,
		SMBIOS: SMBIOS{Manufacturer: "cocoon", Product: "TD", Version: "1", ProcessorID: shapeProcessor},
	}
	if s.rehearsal {
		m.QEMU, m.MachineType = "", rehearsalType
		m.Devices = append(m.Devices, Device{Kind: ISASerial, ID: "ser0"})
	}
	m.Devices = append(m.Devices,
		Device{Kind: Console, ID: consoleID, Bus: RootBus, Slot: slotConsole},
		Device{Kind: Net, ID: "net0", Bus: RootBus, Slot: slotNet},
		Device{Kind: Vsock, ID: "vsock0", Bus: RootBus, Slot: slotVsock},
		Device{Kind: RNG, ID: "rng0", Bus: RootBus, Slot: slotRNG},
	)
	slots := map[string]uint8{SerialBase: slotBase, SerialGPU: slotGPU, SerialEngineCPU: slotEngine, SerialEngineGPU: slotEngine}
	for _, layer := range s.layers {
		m.addDisk(Device{ID: "layer-" + layer, Slot: slots[layer], Serial: layer, ReadOnly: true})
	}
	m.addDisk(Device{ID: "config0", Slot: slotConfig, Serial: SerialConfig, ReadOnly: true})
	if s.model {
		m.addDisk(Device{ID: "model0", Slot: slotModel, Serial: SerialModel, ReadOnly: true, Optional: true})
	}
	m.addDisk(Device{ID: "data0", Slot: slotData, Serial: SerialData, Optional: true})
	for i := range s.gpus {
		port := fmt.Sprintf("rp%d", i)
		m.Devices = append(m.Devices,
			Device{Kind: RootPort, ID: port, Bus: RootBus, Slot: slotPorts + uint8(i), Chassis: uint8(i) + 1},
			Device{Kind: GPU, ID: fmt.Sprintf("gpu%d", i), Bus: port, BARGiB: gpuBARGiB},
		)
	}
	return m
}

func (m *Machine) addDisk(d Device) {
	d.Kind, d.Bus = Disk, RootBus
	m.Devices = append(m.Devices, d)
}

// bootFromDisk replaces the layer disks by the one disk that holds the ESP and all layers, in the base layer's slot.
func (m *Machine) bootFromDisk() {
	m.Name += diskSuffix
	m.Boot = BootDisk
	out := make([]Device, 0, len(m.Devices))
	for _, d := range m.Devices {
		switch {
		case d.ID == "layer-"+SerialBase:
			d.ID, d.Serial = "disk0", SerialDisk
		case strings.HasPrefix(d.ID, "layer-"):
			continue
		}
		out = append(out, d)
	}
	m.Devices = out
}
