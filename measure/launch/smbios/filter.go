package smbios

// field is a part of a structure's formatted area that the firmware blanks before hashing.
type field struct {
	offset int
	size   int
	text   bool // a string number: the string's characters become spaces, the number becomes zero
}

// filtered lists the fields by structure type (SmbiosMeasurementDxe.c, mSmbiosFilterTable). A field is touched only
// if the structure is long enough to hold it.
func filtered(structure uint8) []field {
	switch structure {
	case 1: // system: serial, UUID, wake-up type
		return []field{{0x07, 1, true}, {0x08, 16, false}, {0x18, 1, false}}
	case 2: // baseboard: serial, location in chassis (its number only)
		return []field{{0x07, 1, true}, {0x0a, 1, false}}
	case 3: // chassis: serial, asset tag
		return []field{{0x07, 1, true}, {0x08, 1, true}}
	case 4: // processor: serial, asset, part; core and thread counts; voltage, current speed
		return []field{
			{0x20, 1, true},
			{0x21, 1, true},
			{0x22, 1, true},
			{0x23, 1, false},
			{0x24, 1, false},
			{0x25, 1, false},
			{0x2a, 2, false},
			{0x2c, 2, false},
			{0x2e, 2, false},
			{0x11, 1, false},
			{0x16, 2, false},
		}
	case 17: // memory device: serial, asset, part
		return []field{{0x18, 1, true}, {0x19, 1, true}, {0x1a, 1, true}}
	case 22: // portable battery: serial, SBDS serial, SBDS manufacture date
		return []field{{0x07, 1, true}, {0x10, 2, false}, {0x12, 2, false}}
	case 23: // system reset: reset count, reset limit, timer interval, timeout
		return []field{{0x05, 2, false}, {0x07, 2, false}, {0x09, 2, false}, {0x0b, 2, false}}
	case 27: // cooling device: nominal speed
		return []field{{0x0c, 2, false}}
	case 39: // power supply: serial, asset, part
		return []field{{0x08, 1, true}, {0x09, 1, true}, {0x0a, 1, true}}
	}
	return nil
}

// wholly reports whether everything after the header of a structure type is blanked: OEM strings, event log,
// 32-bit memory error, out-of-band access, 64-bit memory error, and all OEM types.
func wholly(structure uint8) bool {
	switch structure {
	case 0x0b, 0x0f, 0x12, 0x1f, 0x21:
		return true
	}
	return structure >= 128
}

// blank filters one structure in place.
func (s Structure) blank() {
	if wholly(s.Type) {
		clear(s.Data[headerSize:])
		return
	}
	texts := s.strings()
	for _, f := range filtered(s.Type) {
		if f.offset+f.size > s.Length {
			continue
		}
		if number := int(s.Data[f.offset]); f.text && number >= 1 && number <= len(texts) {
			text := texts[number-1]
			for i := range text {
				text[i] = ' '
			}
		}
		clear(s.Data[f.offset : f.offset+f.size])
	}
}
