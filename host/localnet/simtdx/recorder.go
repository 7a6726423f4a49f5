package simtdx

import (
	"encoding/binary"
	"fmt"
	"strings"

	"cocoon/measure/eventlog"
	"cocoon/measure/launch"
	"cocoon/measure/launch/vars"
	"cocoon/measure/tdx"
)

const (
	// maxNumbers bounds the boot options, disks and slots that are tried; q35's root bus has 32 slots.
	maxNumbers = 32
	// Tags of the kernel's stub (include/linux/efi.h), by the names that predictions give them.
	tagInitrd      = 0x8f3b22ec
	tagLoadOptions = 0x8f3b22ed
	nameInitrd     = "Linux initrd"
	// imageHeader is the size of UEFI_IMAGE_LOAD_EVENT before the device path.
	imageHeader = 32
)

// recorder writes the data that a firmware's log keeps of events. A prediction has names and digests alone, but where a
// log keeps the measured bytes themselves there are few that our machines can have: the recorder tries them all, and
// takes those with the right digest.
type recorder struct {
	// options are the contents of Boot#### variables.
	options map[tdx.Digest][]byte
}

func newRecorder() (*recorder, error) {
	r := &recorder{options: map[tdx.Digest][]byte{}}
	profiles, err := launch.FirmwareProfiles()
	if err != nil {
		return nil, err
	}
	for _, p := range profiles {
		for _, apps := range [][]launch.BootApp{p.BootApps, p.DiskApps} {
			for _, app := range apps {
				data, err := vars.FirmwareApp(app).Encode()
				if err != nil {
					return nil, err
				}
				r.options[tdx.Sum(data)] = data
			}
		}
	}
	for nth := range maxNumbers {
		for slot := range uint8(maxNumbers) {
			data, err := vars.Disk(nth+1, slot)
			if err != nil {
				return nil, err
			}
			r.options[tdx.Sum(data)] = data
		}
	}
	numbers := make([]uint16, 0, maxNumbers)
	for i := range uint16(maxNumbers) {
		numbers = append(numbers, i)
		data := vars.BootOrder(numbers)
		r.options[tdx.Sum(data)] = data
	}
	return r, nil
}

// logged is the data of an event. Of what cannot be told it is the name, and then a check of the log's digests fails at
// this event.
func (r *recorder) logged(kind eventlog.EventType, name string, digest tdx.Digest) ([]byte, error) {
	switch kind {
	case eventlog.Separator:
		if separator := make([]byte, 4); tdx.Sum(separator) == digest {
			return separator, nil
		}
	case eventlog.VariableDriverConfig:
		return variable(name, digest)
	case eventlog.VariableBoot:
		if data, ok := r.options[digest]; ok {
			short, _, _ := strings.Cut(name, " ") // "Boot0000 and what it starts"
			return vars.Data(vars.GlobalVariable, short, data)
		}
	case eventlog.EventTag:
		id := uint32(tagLoadOptions)
		if name == nameInitrd {
			id = tagInitrd
		}
		out := binary.LittleEndian.AppendUint32(nil, id)
		out = binary.LittleEndian.AppendUint32(out, uint32(len(name))) //nolint:gosec // bounded with the document
		return append(out, name...), nil
	case eventlog.BootServicesApplication:
		return image(name)
	default: // a log keeps names of these
	}
	return []byte(name), nil
}

// variable is UEFI_VARIABLE_DATA of a secure-boot variable, whose content is nothing or zero in a store without keys.
func variable(name string, digest tdx.Digest) ([]byte, error) {
	for _, vendor := range []string{vars.GlobalVariable, vars.ImageSecurity} {
		for _, content := range [][]byte{nil, {0}} {
			data, err := vars.Data(vendor, name, content)
			if err != nil {
				return nil, fmt.Errorf("recording event: %w", err)
			}
			if tdx.Sum(data) == digest {
				return data, nil
			}
		}
	}
	return []byte(name), nil
}

// image is UEFI_IMAGE_LOAD_EVENT with a device path that is only a file's name; where it was loaded is not known.
func image(name string) ([]byte, error) {
	wide, err := vars.UTF16(name)
	if err != nil {
		return nil, fmt.Errorf("recording event: %w", err)
	}
	const file, end = "\x04\x04", "\x7f\xff\x04\x00"                                        // media file path, end of path
	path := binary.LittleEndian.AppendUint16([]byte(file), uint16(len(file)+2+len(wide)+2)) //nolint:gosec // UTF16 bounds it
	path = append(append(path, wide...), 0, 0)
	path = append(path, end...)
	out := make([]byte, imageHeader, imageHeader+len(path))
	binary.LittleEndian.PutUint64(out[24:], uint64(len(path)))
	return append(out, path...), nil
}
