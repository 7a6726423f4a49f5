package launch

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// mode says what a command line is for. The device table is the same in all of them.
type mode uint8

const (
	modeTD        mode = iota // the real thing
	modeRehearsal             // boots without TDX: stand-ins where a device needs hardware
	modeProbe                 // runs no guest code: null backends
)

// model says how a kind of device looks on QEMU's command line.
type model struct {
	// device is QEMU's name; props are fixed properties. Both are measured through the slot they occupy.
	device string
	props  []string
	// standIn replaces the device where its hardware is missing; empty if QEMU can always make the device.
	standIn string
	// backend adds what is behind the device: arguments before -device and properties naming them.
	backend func(d Device, h HostPaths, m mode) (args, props []string, err error)
}

// virtioProps make a device modern only, as TDX needs it and as QEMU forces it for confidential guests.
func virtioProps() []string { return []string{"disable-legacy=on", "iommu_platform=on"} }

// fillerModel occupies a slot for a device that is not there.
const fillerModel = "virtio-rng-pci"

// models is the whole knowledge about devices.
func models() map[Kind]model {
	virtio := virtioProps()
	return map[Kind]model{
		Console:   {device: "virtio-serial-pci", props: virtio, backend: noBackend},
		ISASerial: {device: "isa-serial", backend: serialBackend},
		// romfile= keeps the boot ROM out: firmware would load and measure it.
		Net:      {device: "virtio-net-pci", props: append([]string{"romfile="}, virtio...), backend: netBackend},
		Vsock:    {device: "vhost-vsock-pci", props: virtio, standIn: fillerModel, backend: vsockBackend},
		RNG:      {device: "virtio-rng-pci", props: virtio, backend: rngBackend},
		Disk:     {device: "virtio-blk-pci", props: virtio, backend: diskBackend},
		RootPort: {device: "pcie-root-port", backend: portBackend},
		GPU:      {device: "vfio-pci", props: []string{"rombar=0"}, standIn: "pci-testdev", backend: gpuBackend},
	}
}

// HostPaths holds what a host puts behind the measured devices; none of it is measured. Zero values are allowed
// where a stand-in or null backend takes over.
type HostPaths struct {
	Firmware string
	// UKI, or Kernel, Initrd and Cmdline, by boot form.
	UKI, Kernel, Initrd, Cmdline string
	// Disks maps serials to files or block devices.
	Disks map[string]string
	// Console and Serial are files that receive the output of hvc0 and ttyS0; empty discards it. ConsoleChardev, if
	// set, replaces Console by any -chardev value without its id.
	Console, Serial, ConsoleChardev string
	// Netdev is a -netdev value without its id, such as "user" or "tap,fd=3"; empty means user-mode networking.
	Netdev string
	// CID is the guest's vsock address.
	CID uint32
	// GPUs maps the ids of GPU rows to host PCI addresses.
	GPUs map[string]string
	// QuoteSocket is the quote generation service for tdx-guest: "vsock:CID:PORT" or a unix socket path; empty
	// leaves quoting to the guest.
	QuoteSocket string
}

// args renders one row.
func (d Device) args(h HostPaths, m mode) ([]string, error) {
	if d.Optional && m != modeProbe && h.Disks[d.Serial] == "" {
		return d.emptyDisk()
	}
	mod := models()[d.Kind]
	device, fixed := mod.device, mod.props
	if mod.standIn != "" && m != modeTD {
		device = mod.standIn
		if device == fillerModel {
			return []string{"-device", d.line(device, virtioProps())}, nil
		}
		fixed = nil
	}
	args, props, err := mod.backend(d, h, m)
	if err != nil {
		return nil, fmt.Errorf("device %s: %w", d.ID, err)
	}
	args = append(args, "-device", d.line(device, fixed, props))
	if d.Kind == Console {
		args = append(args, "-chardev", consoleChardev(h, m), "-device", "virtconsole,bus="+d.ID+".0,chardev="+d.ID+"-out")
	}
	return args, nil
}

// line is the value of -device.
func (d Device) line(device string, props ...[]string) string {
	words := []string{device, "id=" + d.ID}
	if d.Bus != "" {
		words = append(words, "bus="+d.Bus, fmt.Sprintf("addr=%#x", d.Slot))
	}
	for _, p := range props {
		words = append(words, p...)
	}
	return strings.Join(words, ",")
}

func noBackend(Device, HostPaths, mode) (args, props []string, err error) { return nil, nil, nil }

// consoleChardev is what hvc0 writes to.
func consoleChardev(h HostPaths, m mode) string {
	id := ",id=" + consoleID + "-out"
	switch {
	case m == modeProbe:
		return "null" + id
	case h.ConsoleChardev != "":
		return h.ConsoleChardev + id
	}
	return fileChardev(h.Console) + id
}

func fileChardev(path string) string {
	if path == "" {
		return "null"
	}
	return "file,path=" + escape(path)
}

// escape doubles commas, which separate properties in QEMU's option syntax.
func escape(s string) string { return strings.ReplaceAll(s, ",", ",,") }

func serialBackend(d Device, h HostPaths, m mode) (args, props []string, err error) {
	chardev := "null"
	if m != modeProbe {
		chardev = fileChardev(h.Serial)
	}
	id := d.ID + "-out"
	return []string{"-chardev", chardev + ",id=" + id}, []string{"chardev=" + id}, nil
}

func netBackend(d Device, h HostPaths, m mode) (args, props []string, err error) {
	netdev := h.Netdev
	switch {
	case m == modeProbe:
		netdev = "hubport,hubid=0"
	case netdev == "":
		netdev = "user"
	}
	id := d.ID + "-dev"
	return []string{"-netdev", netdev + ",id=" + id}, []string{"netdev=" + id}, nil
}

func vsockBackend(_ Device, h HostPaths, _ mode) (args, props []string, err error) {
	const firstGuestCID = 3 // 0..2 are reserved, VIRTIO 1.2 section 5.10.4
	if h.CID < firstGuestCID {
		return nil, nil, fmt.Errorf("vsock CID %d is below %d", h.CID, firstGuestCID)
	}
	return nil, []string{"guest-cid=" + strconv.FormatUint(uint64(h.CID), 10)}, nil
}

func rngBackend(d Device, _ HostPaths, m mode) (args, props []string, err error) {
	object := "rng-random,filename=/dev/urandom"
	if m == modeProbe {
		object = "rng-builtin"
	}
	id := d.ID + "-src"
	return []string{"-object", object + ",id=" + id}, []string{"rng=" + id}, nil
}

// node is a -blockdev description; JSON form, so that no path needs escaping.
type node struct {
	Driver   string `json:"driver"`
	NodeName string `json:"node-name,omitempty"`
	ReadOnly bool   `json:"read-only"`
	Filename string `json:"filename,omitempty"`
	Size     uint64 `json:"size,omitempty"`
	File     *node  `json:"file,omitempty"`
}

func diskBackend(d Device, h HostPaths, m mode) (args, props []string, err error) {
	n := node{Driver: "null-co", NodeName: d.ID + "-node", ReadOnly: d.ReadOnly, Size: 1 << 20}
	if m != modeProbe {
		path := h.Disks[d.Serial]
		if path == "" {
			return nil, nil, fmt.Errorf("no file for the disk with serial %q", d.Serial)
		}
		n.Driver, n.Size = "raw", 0
		n.File = &node{Driver: "file", ReadOnly: d.ReadOnly, Filename: path}
		if strings.HasPrefix(path, "/dev/") {
			n.File.Driver = "host_device"
		}
	}
	description, err := json.Marshal(n)
	if err != nil {
		return nil, nil, fmt.Errorf("describing the disk: %w", err)
	}
	return []string{"-blockdev", string(description)}, []string{"drive=" + n.NodeName, "serial=" + d.Serial}, nil
}

// emptyDisk fills the slot of an optional disk that the host has no file for: a disk again, because firmware that
// looks for something to boot makes an option for every disk; without a serial, so that the guest takes it for none.
func (d Device) emptyDisk() ([]string, error) {
	n := node{Driver: "null-co", NodeName: d.ID + "-node", ReadOnly: true, Size: 1 << 20}
	disk := models()[Disk]
	description, err := json.Marshal(n)
	if err != nil {
		return nil, fmt.Errorf("device %s: describing the disk: %w", d.ID, err)
	}
	return []string{
		"-blockdev", string(description),
		"-device", d.line(disk.device, disk.props, []string{"drive=" + n.NodeName}),
	}, nil
}

func portBackend(d Device, _ HostPaths, _ mode) (args, props []string, err error) {
	return nil, []string{"chassis=" + strconv.Itoa(int(d.Chassis))}, nil
}

func gpuBackend(d Device, h HostPaths, m mode) (args, props []string, err error) {
	if m != modeTD {
		return nil, []string{fmt.Sprintf("membar=%dG", d.BARGiB)}, nil
	}
	host := h.GPUs[d.ID]
	if host == "" {
		return nil, nil, errors.New("no host PCI address for this GPU")
	}
	return nil, []string{"host=" + host, "iommufd=" + iommuID}, nil
}
