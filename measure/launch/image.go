package launch

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"

	"cocoon/measure/eventlog"
	"cocoon/measure/launch/gpt"
	"cocoon/measure/launch/pe"
	"cocoon/measure/launch/qtest"
	"cocoon/measure/launch/vars"
	"cocoon/measure/tdx"
)

// Image is what of an image is measured, hashed once for any number of machines.
type Image struct {
	Form BootForm
	// Size of the UKI or kernel in bytes.
	Size int

	outer, inner tdx.Digest // Authenticode of UKI and of the kernel in it
	linuxSize    int
	events2      []Event // RTMR2 of a UKI
	partitions   []byte  // GPT event of a disk

	kernel  *pe.Image // kernel form
	file    []byte
	initrd  *Event // nil without initrd
	cmdline string
}

// initrdArgument is what OVMF adds to the command line of a kernel with an initrd.
const initrdArgument = "initrd=initrd"

// UKIImage reads a unified kernel image for -kernel.
func UKIImage(uki []byte) (*Image, error) {
	file, err := pe.Parse(uki)
	if err != nil {
		return nil, fmt.Errorf("reading UKI: %w", err)
	}
	sections, err := file.UKI()
	if err != nil {
		return nil, fmt.Errorf("reading UKI: %w", err)
	}
	linux, err := pe.Parse(sections[0].Data)
	if err != nil {
		return nil, fmt.Errorf("reading the kernel inside the UKI: %w", err)
	}
	img := &Image{Form: BootUKI, Size: len(uki), linuxSize: linux.Size()}
	if img.events2, err = ukiEvents(sections); err != nil {
		return nil, fmt.Errorf("reading UKI: %w", err)
	}
	img.outer, img.inner = file.Authenticode(), linux.Authenticode()
	return img, nil
}

// DiskImage reads a UKI and the disk it is booted from.
func DiskImage(uki []byte, disk io.ReaderAt) (*Image, error) {
	img, err := UKIImage(uki)
	if err != nil {
		return nil, err
	}
	if img.partitions, err = gpt.ReadEvent(disk); err != nil {
		return nil, fmt.Errorf("reading disk: %w", err)
	}
	img.Form = BootDisk
	return img, nil
}

// KernelImage reads a kernel, an initrd (may be empty) and a command line for -kernel, -initrd and -append.
func KernelImage(kernel, initrd []byte, cmdline string) (*Image, error) {
	file, err := pe.Parse(kernel)
	if err != nil {
		return nil, fmt.Errorf("reading kernel: %w", err)
	}
	if _, err := vars.UTF16(cmdline); err != nil {
		return nil, fmt.Errorf("reading command line: %w", err)
	}
	img := &Image{Form: BootKernel, Size: len(kernel), kernel: file, file: kernel, outer: file.Authenticode(), cmdline: cmdline}
	if len(initrd) > 0 {
		e := event(tdx.RTMR2, eventlog.EventTag, "Linux initrd", initrd, InputInitrd)
		img.initrd = &e
	}
	return img, nil
}

// Events lists what a UKI given with -kernel extends into RTMR1 and RTMR2 on any machine.
func (img *Image) Events(p *FirmwareProfile) ([]Event, error) {
	if img.Form != BootUKI {
		return nil, fmt.Errorf("listing events: boot form %s depends on the machine", img.Form)
	}
	rtmr1, err := img.rtmr1(p, nil, nil)
	if err != nil {
		return nil, err
	}
	rtmr2, err := img.rtmr2(p)
	return append(rtmr1, rtmr2...), err
}

// rtmr1 lists the boot applications' events (measure.md section 3).
func (img *Image) rtmr1(p *FirmwareProfile, m *Machine, in *qtest.FwCfg) ([]Event, error) {
	app := func(description string, d tdx.Digest, size int, inputs ...Input) Event {
		return Event{
			Register: tdx.RTMR1, Type: eventlog.BootServicesApplication, Description: description, Digest: d, Bytes: size,
			Inputs: append([]Input{}, inputs...),
		}
	}
	uki, inner := app("UKI", img.outer, img.Size, InputUKI), app("kernel inside the UKI", img.inner, img.linuxSize, InputUKI, InputKernel)
	calling := []Event{action(actionCalling)}
	if p.SeparatorInRTMR1 {
		calling = append(calling, separator(tdx.RTMR1))
	}
	exit := []Event{action(actionExit), action(actionExitSuccess)}
	switch img.Form {
	case BootUKI:
		return slices.Concat([]Event{uki}, calling, []Event{inner}, exit), nil
	case BootDisk:
		table := event(tdx.RTMR1, eventlog.GPTEvent, "partition table", img.partitions, InputDisk)
		return slices.Concat(calling, []Event{table, uki, inner}, exit), nil
	case BootKernel:
		digest, inputs, err := img.kernelDigest(p, m, in)
		if err != nil {
			return nil, err
		}
		return slices.Concat([]Event{app("kernel", digest, img.Size, inputs...)}, calling, exit), nil
	}
	return nil, fmt.Errorf("unknown boot form %q", img.Form)
}

// kernelDigest is the hash of the kernel as the firmware gets it. QEMU before version 10 patches its setup header;
// newer ones also offer the clean file, which newer firmware prefers.
func (img *Image) kernelDigest(p *FirmwareProfile, m *Machine, in *qtest.FwCfg) (tdx.Digest, []Input, error) {
	const cleanKernel = "etc/boot/kernel"
	_, offered := in.Files[cleanKernel]
	_, large := in.Skipped[cleanKernel]
	if p.CleanKernel && (offered || large) {
		return img.outer, []Input{InputKernel}, nil
	}
	initrdSize := 0
	if img.initrd != nil {
		initrdSize = img.initrd.Bytes
	}
	patched, err := pe.PatchSetupHeader(img.file, initrdSize, m.RAM())
	if err != nil {
		return tdx.Digest{}, nil, err
	}
	file, err := pe.Parse(patched)
	if err != nil {
		return tdx.Digest{}, nil, err
	}
	return file.Authenticode(), []Input{InputKernel, InputInitrd, InputRAM, InputQEMU}, nil
}

// rtmr2 lists the kernel's and the stub's events (measure.md section 4).
func (img *Image) rtmr2(p *FirmwareProfile) ([]Event, error) {
	if img.Form != BootKernel {
		return img.events2, nil
	}
	text := img.cmdline
	if img.initrd != nil {
		switch p.CmdlineInitrd {
		case InitrdPrefix:
			text = initrdArgument + " " + text
		case InitrdSuffix:
			text += " " + initrdArgument
		}
	}
	var out []Event
	if text != "" {
		options, err := loadOptions(text)
		if err != nil {
			return nil, err
		}
		options.Inputs = append(options.Inputs, InputFirmwareBuild)
		out = append(out, options)
	}
	if img.initrd != nil {
		out = append(out, *img.initrd)
	}
	return out, nil
}

// loadOptions is the kernel stub's event for its command line: UTF-16 with the terminating NUL.
func loadOptions(text string) (Event, error) {
	wide, err := vars.UTF16(text)
	if err != nil {
		return Event{}, fmt.Errorf("measuring command line: %w", err)
	}
	return event(tdx.RTMR2, eventlog.EventTag, "LOADED_IMAGE::LoadOptions", append(wide, 0, 0), InputCmdline), nil
}

// ukiEvents are systemd-stub's two events for every section, then the kernel stub's for command line and initrd.
func ukiEvents(sections []pe.Content) ([]Event, error) {
	var out []Event
	content := make(map[string][]byte, len(sections))
	digests := make(map[string]tdx.Digest, len(sections))
	for _, s := range sections {
		name := append([]byte(s.Name), 0)
		measured := event(tdx.RTMR2, eventlog.IPL, s.Name+" content", s.Data, sectionInputs(s.Name)...)
		out = append(out, event(tdx.RTMR2, eventlog.IPL, s.Name+" name", name), measured)
		content[s.Name], digests[s.Name] = s.Data, measured.Digest
	}
	if _, ok := content[pe.SectionOSRel]; ok {
		return nil, errors.New("section .osrel: the stub would append a generated archive to the initrd; our images have none")
	}
	cmdline, initrd := content[pe.SectionCmdline], content[pe.SectionInitrd]
	if len(cmdline) == 0 || bytes.ContainsAny(cmdline, "\x00\n") {
		return nil, errors.New("section .cmdline is missing, or holds a NUL or a newline")
	}
	options, err := loadOptions(string(cmdline))
	if err != nil {
		return nil, err
	}
	out = append(out, options)
	if len(initrd) > 0 {
		if len(initrd)%4 != 0 {
			return nil, fmt.Errorf("section .initrd has %d bytes, not a multiple of 4; the stub would pad it", len(initrd))
		}
		out = append(out, Event{
			Register: tdx.RTMR2, Type: eventlog.EventTag, Description: "Linux initrd", Digest: digests[pe.SectionInitrd],
			Bytes: len(initrd), Inputs: []Input{InputInitrd, InputUKI},
		})
	}
	return out, nil
}

func sectionInputs(name string) []Input {
	switch name {
	case pe.SectionLinux:
		return []Input{InputKernel, InputUKI}
	case pe.SectionCmdline:
		return []Input{InputCmdline, InputUKI}
	case pe.SectionInitrd:
		return []Input{InputInitrd, InputUKI}
	}
	return []Input{InputUKI}
}
