package launch

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Names of objects on the command line.
const (
	ramID     = "ram0"
	tdID      = "tdx0"
	consoleID = "con0"
	iommuID   = "iommufd0"
)

// machineOptions are forced by TDX, or change the ACPI tables if left to QEMU's defaults; so every command line
// states them (measure.md section 7.2).
const machineOptions = "kernel-irqchip=split,smm=off,pic=off,hpet=off"

// rehearsalCPU is the CPU of machines without TDX that run guest code. An AMD vendor string would move RAM above
// 4 GiB to 1 TiB when the PCI window is large (measure.md section 13, point 26).
const rehearsalCPU = "max,vendor=GenuineIntel"

// probeCPU is the CPU of the probe, which runs no guest code: any Intel model will do, and what emulation lacks of it
// is not worth a warning for every virtual CPU.
const probeCPU = "Skylake-Server,check=off"

// TDXArgv is QEMU's command line for a real TD, without the program name. The caller adds only what is not
// measured: sockets for QMP, file descriptors, a run directory.
func TDXArgv(m *Machine, h HostPaths) ([]string, error) {
	guest, err := tdGuest(h.QuoteSocket)
	if err != nil {
		return nil, err
	}
	boot, err := bootArgs(m.Boot, h)
	if err != nil {
		return nil, err
	}
	args := []string{
		"-accel", "kvm",
		"-cpu", fmt.Sprintf("host,host-phys-bits-limit=%d", m.PhysBits),
		"-object", guest,
		"-object", fmt.Sprintf("memory-backend-ram,id=%s,size=%dM", ramID, m.MemoryMiB),
		"-bios", h.Firmware,
	}
	if slices.ContainsFunc(m.Devices, func(d Device) bool { return d.Kind == GPU }) {
		args = append(args, "-object", "iommufd,id="+iommuID) // one for all GPUs: they share the guest's memory map
	}
	return m.assemble(",confidential-guest-support="+tdID, slices.Concat(args, boot), h, modeTD)
}

// TCGArgv is the command line of a rehearsal: the same table under software emulation, or under KVM if there is
// any, without TDX. Devices that need hardware are replaced in their slots.
func TCGArgv(m *Machine, h HostPaths) ([]string, error) {
	boot, err := bootArgs(m.Boot, h)
	if err != nil {
		return nil, err
	}
	args := []string{
		"-accel", "tcg",
		"-cpu", fmt.Sprintf("%s,phys-bits=%d", rehearsalCPU, m.PhysBits),
		"-object", fmt.Sprintf("memory-backend-ram,id=%s,size=%dM", ramID, m.MemoryMiB),
		"-bios", h.Firmware,
	}
	return m.assemble("", slices.Concat(args, boot), h, modeRehearsal)
}

// ProbeArgv is the command line of the probe: the same table with null backends, stopped before its first
// instruction (-S; without it the emulated CPU races the register writes), talking qtest on a unix socket that the
// caller listens on. stub is a file passed as -kernel in the forms that have one: the firmware's boot order item
// depends on there being a kernel, nothing that is read depends on its content.
func ProbeArgv(m *Machine, socket, stub string) ([]string, error) {
	if !filepath.IsAbs(socket) {
		return nil, fmt.Errorf("rendering the probe's command line: socket %q is not an absolute path", socket)
	}
	args := []string{
		"-accel", "tcg", "-S",
		"-qtest", "unix:" + escape(socket), "-qtest-log", "none",
		"-cpu", fmt.Sprintf("%s,phys-bits=%d", probeCPU, m.PhysBits),
		"-object", fmt.Sprintf("memory-backend-ram,id=%s,size=%dM,reserve=off", ramID, m.MemoryMiB),
	}
	if m.Boot != BootDisk {
		if stub == "" {
			return nil, errors.New("rendering the probe's command line: no stand-in kernel file")
		}
		args = append(args, "-kernel", stub)
	}
	return m.assemble("", args, HostPaths{}, modeProbe)
}

// KernelStub is the content of a file that ProbeArgv's stub may name: QEMU takes it for a kernel without a setup
// header, as it takes a UKI.
func KernelStub() []byte { return make([]byte, 16<<10) }

// assemble puts the common part, the mode's part and the device table together.
func (m *Machine) assemble(machineExtra string, specific []string, h HostPaths, mo mode) ([]string, error) {
	if err := m.Validate(); err != nil {
		return nil, fmt.Errorf("rendering command line: %w", err)
	}
	args := []string{
		"-no-user-config", "-nodefaults", "-display", "none", "-no-reboot",
		"-machine", m.MachineType + "," + machineOptions + ",memory-backend=" + ramID + machineExtra,
		"-smp", fmt.Sprintf("%d,sockets=1,cores=%d,threads=1", m.VCPUs, m.VCPUs),
		"-m", fmt.Sprintf("%dM", m.MemoryMiB),
		"-global", fmt.Sprintf("q35-pcihost.pci-hole64-size=%dG", m.PCIHoleGiB),
	}
	args = append(args, m.SMBIOS.args()...)
	args = append(args, specific...)
	for _, d := range m.Devices {
		row, err := d.args(h, mo)
		if err != nil {
			return nil, fmt.Errorf("rendering command line: %w", err)
		}
		args = append(args, row...)
	}
	return args, nil
}

// args pins the strings of the structures that QEMU would otherwise fill from its machine type and the CPU.
func (s SMBIOS) args() []string {
	processor, _ := strconv.ParseUint(s.ProcessorID, 16, 64) // the form was checked by Validate
	id := fmt.Sprintf("manufacturer=%s,version=%s", s.Manufacturer, s.Version)
	return []string{
		"-smbios", fmt.Sprintf("type=1,product=%s,%s", s.Product, id),
		"-smbios", "type=3," + id,
		"-smbios", fmt.Sprintf("type=4,sock_pfx=CPU,%s,processor-id=%d", id, processor),
		"-smbios", "type=17,loc_pfx=DIMM,manufacturer=" + s.Manufacturer,
	}
}

// bootArgs are the arguments of a boot form.
func bootArgs(form BootForm, h HostPaths) ([]string, error) {
	switch {
	case h.Firmware == "":
		return nil, errors.New("rendering command line: no firmware file")
	case form == BootUKI && h.UKI != "":
		return []string{"-kernel", h.UKI}, nil
	case form == BootKernel && h.Kernel != "":
		args := []string{"-kernel", h.Kernel}
		if h.Initrd != "" {
			args = append(args, "-initrd", h.Initrd)
		}
		if h.Cmdline != "" {
			args = append(args, "-append", h.Cmdline)
		}
		return args, nil
	case form == BootDisk:
		return nil, nil
	}
	return nil, fmt.Errorf("rendering command line: no kernel file for boot form %s", form)
}

// socketAddress is QEMU's SocketAddress in JSON.
type socketAddress struct {
	Type string `json:"type"`
	Path string `json:"path,omitempty"`
	CID  string `json:"cid,omitempty"`
	Port string `json:"port,omitempty"`
}

// tdGuest is the tdx-guest object.
func tdGuest(quote string) (string, error) {
	object := struct {
		QOMType string         `json:"qom-type"`
		ID      string         `json:"id"`
		Quote   *socketAddress `json:"quote-generation-socket,omitempty"`
	}{QOMType: "tdx-guest", ID: tdID}
	switch fields := strings.Split(quote, ":"); {
	case quote == "":
	case fields[0] == "vsock" && len(fields) == 3:
		object.Quote = &socketAddress{Type: "vsock", CID: fields[1], Port: fields[2]}
	case filepath.IsAbs(quote):
		object.Quote = &socketAddress{Type: "unix", Path: quote}
	default:
		return "", fmt.Errorf("rendering command line: quote socket %q is neither vsock:CID:PORT nor an absolute path", quote)
	}
	out, err := json.Marshal(object)
	if err != nil {
		return "", fmt.Errorf("rendering command line: %w", err)
	}
	return string(out), nil
}
