package vars

import (
	"encoding/binary"
	"fmt"
)

// Attributes of EFI_LOAD_OPTION (UEFI specification, section 3.1.3).
const (
	OptionActive      = 0x001
	OptionCategoryApp = 0x100
	OptionHidden      = 0x008 // the boot manager's menu application is hidden
)

// Device path nodes of a boot option that starts an application inside the firmware volume (UEFI PI, media device
// path types 4/7 and 4/6) and the node that ends every path.
var (
	nodeFirmwareVolume = []byte{0x04, 0x07, 0x14, 0x00}
	nodeFirmwareFile   = []byte{0x04, 0x06, 0x14, 0x00}
	nodeEnd            = []byte{0x7f, 0xff, 0x04, 0x00}
	// nodePCIRoot is ACPI(PNP0A03, 0): the only root bridge of our machines.
	nodePCIRoot = []byte{0x02, 0x01, 0x0c, 0x00, 0xd0, 0x41, 0x03, 0x0a, 0, 0, 0, 0}
	nodePCI     = []byte{0x01, 0x01, 0x06, 0x00}
	// autoCreated marks boot options that the firmware made by itself (mBmAutoCreateBootOptionGuid of EDK2).
	autoCreated = []byte{0x4e, 0xac, 0x08, 0x81, 0x11, 0x9f, 0x59, 0x4d, 0x85, 0x0e, 0xe2, 0x1a, 0x52, 0x2c, 0x59, 0xb2}
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
	var path []byte
	path = append(append(path, nodeFirmwareVolume...), volume[:]...)
	path = append(append(path, nodeFirmwareFile...), file[:]...)
	return loadOption(a.Attributes, a.Description, append(path, nodeEnd...), nil)
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
	path := append(append([]byte{}, nodePCIRoot...), nodePCI...)
	path = append(append(path, 0, slot), nodeEnd...) // function, device
	return loadOption(OptionActive, description, path, autoCreated)
}

// loadOption is EFI_LOAD_OPTION.
func loadOption(attributes uint32, description string, path, optional []byte) ([]byte, error) {
	wide, err := UTF16(description)
	if err != nil || len(description) > maxText {
		return nil, fmt.Errorf("encoding boot option %q: description: %w", description, err)
	}
	out := binary.LittleEndian.AppendUint32(nil, attributes)
	out = binary.LittleEndian.AppendUint16(out, uint16(len(path))) //nolint:gosec // a few nodes of at most 20 bytes
	out = append(append(out, wide...), 0, 0)
	return append(append(out, path...), optional...), nil
}
