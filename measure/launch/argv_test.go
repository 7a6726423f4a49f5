package launch

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// hostOf fills everything a machine needs of a host.
func hostOf(m *Machine) HostPaths {
	h := HostPaths{
		Firmware: "/fw.fd", UKI: "/image.efi", Kernel: "/vmlinuz", Initrd: "/initrd", Cmdline: "quiet",
		Disks: map[string]string{}, GPUs: map[string]string{}, CID: 7, QuoteSocket: "vsock:2:4050",
	}
	for _, d := range m.Devices {
		if d.Kind == Disk {
			h.Disks[d.Serial] = "/disks/" + d.Serial
		}
		if d.Kind == GPU {
			h.GPUs[d.ID] = "0000:17:00.0"
		}
	}
	return h
}

// value is the argument behind a flag.
func value(t *testing.T, argv []string, flag string) string {
	t.Helper()
	i := slices.Index(argv, flag)
	if i < 0 || i+1 == len(argv) {
		t.Fatalf("no %s in %q", flag, argv)
	}
	return argv[i+1]
}

// placed lists "bus addr" of every device, in order.
func placed(argv []string) []string {
	var out []string
	for i, a := range argv {
		if a != "-device" {
			continue
		}
		var bus, addr string
		for p := range strings.SplitSeq(argv[i+1], ",") {
			if v, ok := strings.CutPrefix(p, "bus="); ok {
				bus = v
			}
			if v, ok := strings.CutPrefix(p, "addr="); ok {
				addr = v
			}
		}
		out = append(out, bus+" "+addr)
	}
	return out
}

func TestAllRenderingsPlaceTheSameDevices(t *testing.T) {
	t.Parallel()
	for _, name := range Shapes() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := testMachine(t, name)
			td, err := TDXArgv(m, hostOf(m))
			if err != nil {
				t.Fatal(err)
			}
			rehearsal, err := TCGArgv(m, hostOf(m))
			if err != nil {
				t.Fatal(err)
			}
			probe, err := ProbeArgv(m, "/run/q", "/run/k")
			if err != nil {
				t.Fatal(err)
			}
			bare := hostOf(m)
			delete(bare.Disks, SerialModel)
			delete(bare.Disks, SerialData)
			withoutOptional, err := TDXArgv(m, bare)
			if err != nil {
				t.Fatal(err)
			}
			for mode, argv := range map[string][]string{"rehearsal": rehearsal, "probe": probe, "without optional disks": withoutOptional} {
				if d := cmp.Diff(placed(td), placed(argv)); d != "" {
					t.Errorf("TD and %s: %s", mode, d)
				}
				for _, flag := range []string{"-smp", "-m", "-global", "-smbios"} {
					if a, b := value(t, td, flag), value(t, argv, flag); a != b {
						t.Errorf("%s is %q in the TD and %q in the %s", flag, a, b, mode)
					}
				}
				kernel := slices.Contains(td, "-kernel")
				if slices.Contains(argv, "-kernel") != kernel || kernel == (m.Boot == BootDisk) {
					t.Errorf("%s: -kernel does not follow the boot form", mode)
				}
				if a, b := machineWords(t, td), machineWords(t, argv); mode != "without optional disks" && cmp.Diff(a, b) != "" {
					t.Errorf("-machine: %s", cmp.Diff(a, b))
				}
			}
			if !slices.Contains(probe, "-S") {
				t.Error("the probe would run guest code")
			}
			if text := strings.Join(probe, " "); strings.Contains(text, "/disks") || strings.Contains(text, "vfio") || strings.Contains(text, "vhost") {
				t.Errorf("the probe touches the host: %s", text)
			}
		})
	}
}

// machineWords is the -machine value without what only a TD has.
func machineWords(t *testing.T, argv []string) []string {
	t.Helper()
	words := strings.Split(value(t, argv, "-machine"), ",")
	return slices.DeleteFunc(words, func(w string) bool { return strings.HasPrefix(w, "confidential-guest-support") })
}

func TestTheTDsCommandLine(t *testing.T) {
	t.Parallel()
	m := testMachine(t, "worker-gpu")
	argv, err := TDXArgv(m, hostOf(m))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"pc-q35-10.0,kernel-irqchip=split,smm=off,pic=off,hpet=off,memory-backend=ram0,confidential-guest-support=tdx0",
		"host,host-phys-bits-limit=46",
		`{"qom-type":"tdx-guest","id":"tdx0","quote-generation-socket":{"type":"vsock","cid":"2","port":"4050"}}`,
		"vhost-vsock-pci,id=vsock0,bus=pcie.0,addr=0x4,disable-legacy=on,iommu_platform=on,guest-cid=7",
		"virtio-net-pci,id=net0,bus=pcie.0,addr=0x3,romfile=,disable-legacy=on,iommu_platform=on,netdev=net0-dev",
		`{"driver":"raw","node-name":"layer-base-node","read-only":true,"file":{"driver":"file","read-only":true,"filename":"/disks/base"}}`,
		"virtio-blk-pci,id=layer-base,bus=pcie.0,addr=0x8,disable-legacy=on,iommu_platform=on,drive=layer-base-node,serial=base",
		"pcie-root-port,id=rp0,bus=pcie.0,addr=0x10,chassis=1",
		"vfio-pci,id=gpu0,bus=rp0,addr=0x0,rombar=0,host=0000:17:00.0,iommufd=iommufd0",
		"iommufd,id=iommufd0",
		"q35-pcihost.pci-hole64-size=4096G",
		"/image.efi",
	} {
		if !slices.Contains(argv, want) {
			t.Errorf("no argument %q in\n%s", want, strings.Join(argv, "\n"))
		}
	}
	for _, absent := range []string{"-append", "-initrd", "-tpmdev", "-vga"} {
		if slices.Contains(argv, absent) {
			t.Errorf("argument %s", absent)
		}
	}
}

func TestPathsAreQuoted(t *testing.T) {
	t.Parallel()
	m := testMachine(t, "test")
	h := hostOf(m)
	h.Disks[SerialBase], h.Serial, h.Disks[SerialEngineCPU] = `/a,b"c`, "/x,y", "/dev/nvme0n1"
	argv, err := TCGArgv(m, h)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Join(argv, "\n")
	for _, want := range []string{`"filename":"/a,b\"c"`, "file,path=/x,,y,id=", `{"driver":"host_device","read-only":true,"filename":"/dev/nvme0n1"}`} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
}

func TestKernelFormPassesAllThreeParts(t *testing.T) {
	t.Parallel()
	m := testMachine(t, "test")
	m.Boot = BootKernel
	h := hostOf(m)
	argv, err := TCGArgv(m, h)
	if err != nil {
		t.Fatal(err)
	}
	if value(t, argv, "-kernel") != "/vmlinuz" || value(t, argv, "-initrd") != "/initrd" || value(t, argv, "-append") != "quiet" {
		t.Errorf("arguments %q", argv)
	}
	h.Initrd, h.Cmdline = "", ""
	if argv, err = TCGArgv(m, h); err != nil || slices.Contains(argv, "-initrd") || slices.Contains(argv, "-append") {
		t.Errorf("arguments %q (%v)", argv, err)
	}
}

func TestQuoteSocketForms(t *testing.T) {
	t.Parallel()
	for socket, want := range map[string]string{
		"":              `{"qom-type":"tdx-guest","id":"tdx0"}`,
		"vsock:2:4050":  `{"qom-type":"tdx-guest","id":"tdx0","quote-generation-socket":{"type":"vsock","cid":"2","port":"4050"}}`,
		"/run/qgs.sock": `{"qom-type":"tdx-guest","id":"tdx0","quote-generation-socket":{"type":"unix","path":"/run/qgs.sock"}}`,
	} {
		if got, err := tdGuest(socket); err != nil || got != want {
			t.Errorf("%q: %s (%v), want %s", socket, got, err, want)
		}
	}
	if _, err := tdGuest("qgs.sock"); err == nil {
		t.Error("a relative socket path is accepted")
	}
}

func TestMissingHostPartsAreNamed(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		shape string
		take  func(h *HostPaths)
		says  string
	}{
		"firmware":  {"proxy", func(h *HostPaths) { h.Firmware = "" }, "no firmware"},
		"uki":       {"proxy", func(h *HostPaths) { h.UKI = "" }, "no kernel file"},
		"disk":      {"proxy", func(h *HostPaths) { delete(h.Disks, SerialBase) }, `serial "base"`},
		"cid":       {"proxy", func(h *HostPaths) { h.CID = 2 }, "CID 2"},
		"gpu":       {"worker-gpu-2", func(h *HostPaths) { delete(h.GPUs, "gpu1") }, "device gpu1"},
		"the quote": {"proxy", func(h *HostPaths) { h.QuoteSocket = "x" }, "quote socket"},
	} {
		m := testMachine(t, test.shape)
		h := hostOf(m)
		test.take(&h)
		if _, err := TDXArgv(m, h); err == nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: error %v, want one that says %q", name, err, test.says)
		}
	}
	m := testMachine(t, "test")
	if _, err := ProbeArgv(m, "relative", "/k"); err == nil {
		t.Error("a relative socket is accepted")
	}
	if _, err := ProbeArgv(m, "/s", ""); err == nil {
		t.Error("a probe without a kernel stub is accepted")
	}
	m.VCPUs = 0
	if _, err := ProbeArgv(m, "/s", "/k"); err == nil {
		t.Error("an invalid machine is rendered")
	}
}

func TestDescriptorsSurviveEncoding(t *testing.T) {
	t.Parallel()
	for _, name := range Shapes() {
		m := testMachine(t, name)
		text, err := m.Encode()
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseMachine(text)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(m, again); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
	if _, err := Shape("worker-tpu"); err == nil || !strings.Contains(err.Error(), "worker-gpu-8") {
		t.Errorf("an unknown shape: %v", err)
	}
}

func TestValidateNamesEveryBrokenRule(t *testing.T) {
	t.Parallel()
	disk := func(m *Machine) *Device {
		return &m.Devices[slices.IndexFunc(m.Devices, func(d Device) bool { return d.Kind == Disk })]
	}
	gpu := func(m *Machine) *Device {
		return &m.Devices[slices.IndexFunc(m.Devices, func(d Device) bool { return d.Kind == GPU })]
	}
	for says, change := range map[string]func(m *Machine){
		"name:":                          func(m *Machine) { m.Name = "Größe" },
		"qemu:":                          func(m *Machine) { m.QEMU = "newest" },
		"machineType:":                   func(m *Machine) { m.MachineType = "q35" },
		"vcpus:":                         func(m *Machine) { m.VCPUs = 256 },
		"memoryMiB:":                     func(m *Machine) { m.MemoryMiB = 128 },
		"physBits:":                      func(m *Machine) { m.PhysBits = 30 },
		"pciHoleGiB: 100000":             func(m *Machine) { m.PCIHoleGiB = 100000 },
		"does not exceed the sum":        func(m *Machine) { m.PCIHoleGiB = 256 },
		"firmware:":                      func(m *Machine) { m.Firmware = "" },
		"boot:":                          func(m *Machine) { m.Boot = "floppy" },
		"smbios.product:":                func(m *Machine) { m.SMBIOS.Product = "a,b" },
		"smbios.manufacturer:":           func(m *Machine) { m.SMBIOS.Manufacturer = "" },
		"smbios.version:":                func(m *Machine) { m.SMBIOS.Version = "\n" },
		"smbios.processorId:":            func(m *Machine) { m.SMBIOS.ProcessorID = "7" },
		"already taken by con0":          func(m *Machine) { m.Devices[1].Slot = m.Devices[0].Slot },
		"id con0 is already taken":       func(m *Machine) { m.Devices[1].ID = "con0" },
		"serial base is already taken":   func(m *Machine) { d := m.Disks()[0]; d.ID, d.Slot = "twin", 0x1e; m.Devices = append(m.Devices, d) },
		"is not a kind of device":        func(m *Machine) { m.Devices[0].Kind = "tpm-tis" },
		"devices[0].id:":                 func(m *Machine) { m.Devices[0].ID = "a,b" },
		"names its bus":                  func(m *Machine) { m.Devices[0].Bus = "" },
		"neither pcie.0 nor a root port": func(m *Machine) { gpu(m).Bus = "rp9" },
		"GPUs sit behind root ports":     func(m *Machine) { gpu(m).Bus = RootBus },
		"is not a free slot":             func(m *Machine) { m.Devices[0].Slot = 0x1f },
		"disks have a serial":            func(m *Machine) { disk(m).Serial = "" },
		"virtio cuts serials":            func(m *Machine) { disk(m).Serial = strings.Repeat("x", 21) },
		"only disks can be read-only":    func(m *Machine) { m.Devices[0].ReadOnly = true },
		"only disks can be optional":     func(m *Machine) { m.Devices[0].Optional = true },
		"root ports have a chassis":      func(m *Machine) { m.Devices[0].Chassis = 1 },
		"GPUs state the size":            func(m *Machine) { gpu(m).BARGiB = 0 },
		"rows, at most":                  func(m *Machine) { m.Devices = make([]Device, 65) },
		"no virtio device on pcie.0":     func(m *Machine) { m.Devices = nil },
		"boot form disk without a disk":  func(m *Machine) { m.Devices, m.Boot = m.Devices[:1], BootDisk },
	} {
		m := testMachine(t, "worker-gpu")
		change(m)
		if err := m.Validate(); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("error %v, want one that says %q", err, says)
		}
	}
}

func FuzzParseMachine(f *testing.F) {
	for _, name := range []string{"proxy", "worker-cpu", "worker-gpu-2", "test", "test-disk"} {
		m, err := Shape(name)
		if err != nil {
			f.Fatal(err)
		}
		text, err := m.Encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte(`{"name":"x","vcpus":1e9}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := ParseMachine(data)
		if err != nil {
			return
		}
		// A descriptor is strict enough to be a command line: no value of it can smuggle in an option.
		argv, err := ProbeArgv(m, "/s", "/k")
		if err != nil {
			t.Fatal(err)
		}
		for i, a := range argv {
			if a == "-blockdev" && !json.Valid([]byte(argv[i+1])) {
				t.Errorf("block device %q", argv[i+1])
			}
		}
		if len(placed(argv)) < len(m.Devices) {
			t.Error("a device got lost")
		}
		if _, err := m.Encode(); err != nil {
			t.Error(err)
		}
	})
}
