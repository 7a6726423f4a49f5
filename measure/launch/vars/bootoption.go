package vars

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// Attributes of EFI_LOAD_OPTION (UEFI specification, section 3.1.3).
const (
	OptionActive      = 0x001
	OptionCategoryApp = 0x100
	OptionHidden      = 0x008 // the boot manager's menu application is hidden
)

// Headers of device path nodes: type, subtype, u16 length (UEFI specification, section 10.3, and UEFI PI for 4/6 and
// 4/7).
const (
	nodeFirmwareVolume = "\x04\x07\x14\x00" // followed by the volume's GUID
	nodeFirmwareFile   = "\x04\x06\x14\x00" // followed by the file's GUID
	nodePCI            = "\x01\x01\x06\x00" // followed by function and device
	nodeEnd            = "\x7f\xff\x04\x00"
	// nodePCIRoot is ACPI(PNP0A03, 0): the only root bridge of our machines.
	nodePCIRoot = "\x02\x01\x0c\x00\xd0\x41\x03\x0a\x00\x00\x00\x00"
	// autoCreated marks boot options that the firmware made by itself (mBmAutoCreateBootOptionGuid of EDK2).
	autoCreated = "\x4e\xac\x08\x81\x11\x9f\x59\x4d\x85\x0e\xe2\x1a\x52\x2c\x59\xb2"
)

// FirmwareApp is a boot option of the firmware's own.
type FirmwareApp struct {
	Attributes  uint32
	Description string
	Volume      string // GUID of the firmware volume
	File        string // GUID of the application's file
}

// Encode is the content of the Boot#### variable: u32 attributes, u16 path length, description, device path.
func (a FirmwareApp) Encode() ([]byte, error) {
	volume, err := ParseGUID(a.Volume)
	if err != nil {
		return nil, fmt.Errorf("encoding boot option %q: %w", a.Description, err)
	}
	file, err := ParseGUID(a.File)
	if err != nil {
		return nil, fmt.Errorf("encoding boot option %q: %w", a.Description, err)
	}
	path := nodeFirmwareVolume + string(volume[:]) + nodeFirmwareFile + string(file[:]) + nodeEnd
	return loadOption(a.Attributes, a.Description, path, "")
}

// diskDescription is EDK2's name for a block device whose kind it does not know, as virtio-blk is.
const diskDescription = "UEFI Misc Device"

// Disk is the boot option that EDK2 makes for the nth (from 1) virtio disk, at a slot of the root bus. Further disks
// get their number as a suffix (BmMakeBootOptionDescriptionUnique).
func Disk(nth int, slot uint8) ([]byte, error) {
	description := diskDescription
	if nth > 1 {
		description = fmt.Sprintf("%s %d", diskDescription, nth)
	}
	path := nodePCIRoot + nodePCI + string([]byte{0, slot}) + nodeEnd
	return loadOption(OptionActive, description, path, autoCreated)
}

// loadOption is EFI_LOAD_OPTION.
func loadOption(attributes uint32, description, path, optional string) ([]byte, error) {
	wide, err := UTF16(description)
	if err != nil || len(description) > maxText {
		return nil, fmt.Errorf("encoding boot option %q: description: %w", description, err)
	}
	out := binary.LittleEndian.AppendUint32(nil, attributes)
	out = binary.LittleEndian.AppendUint16(out, uint16(len(path))) //nolint:gosec // a few nodes of at most 20 bytes
	out = append(append(out, wide...), 0, 0)
	return append(append(out, path...), optional...), nil
}

// Layout of EFI_LOAD_OPTION and of a firmware application's path: two nodes of 20 bytes and the end node of 4.
const (
	optionHeader = 6
	appPathSize  = 20 + 20 + 4
)

// ParseFirmwareApp reads a Boot#### variable that starts an application of the firmware, and nothing else: what is
// accepted encodes to the same bytes.
func ParseFirmwareApp(data []byte) (FirmwareApp, error) {
	var app FirmwareApp
	if len(data) < optionHeader+2+appPathSize || len(data) > optionHeader+2*(maxText+1)+appPathSize {
		return app, fmt.Errorf("reading boot option: %d bytes are not a firmware application's", len(data))
	}
	app.Attributes = binary.LittleEndian.Uint32(data)
	text, path := data[optionHeader:len(data)-appPathSize], data[len(data)-appPathSize:]
	for i := 0; i+2 < len(text); i += 2 {
		app.Description += string(rune(binary.LittleEndian.Uint16(text[i:])))
	}
	app.Volume, app.File = formatGUID([16]byte(path[4:20])), formatGUID([16]byte(path[24:40]))
	again, err := app.Encode()
	if err != nil || !bytes.Equal(again, data) {
		return FirmwareApp{}, fmt.Errorf("reading boot option: %x is not a firmware application's", data)
	}
	return app, nil
}

// formatGUID is the registry form.
func formatGUID(g GUID) string {
	le := binary.LittleEndian
	return fmt.Sprintf("%08x-%04x-%04x-%x-%x", le.Uint32(g[:]), le.Uint16(g[4:]), le.Uint16(g[6:]), g[8:10], g[10:])
}
