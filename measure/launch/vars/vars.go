// Package vars lays out the UEFI variables that firmware measures: UEFI_VARIABLE_DATA for the secure-boot variables
// and the content of BootOrder and Boot#### (measure.md sections 2 and 2.2).
//
// It owns byte layouts of the TCG PC Client firmware profile and the UEFI specification. Its inputs come from our own
// firmware profiles; it still refuses names that have no single UTF-16 form. All functions are pure.
package vars

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
)

// Bounds, in characters: a variable name or a boot option's description; any text that is widened.
const (
	maxText = 1024
	maxWide = 1 << 16
)

// GUID is an EFI_GUID in its memory layout.
type GUID [16]byte

// Names of the vendor GUIDs of measured variables (UEFI specification, sections 3.3 and 32.6.1).
const (
	GlobalVariable = "8be4df61-93ca-11d2-aa0d-00e098032b8c"
	ImageSecurity  = "d719b2cb-3d3a-4596-a3bc-dad00e67656f"
)

// ParseGUID reads the registry form, whose first three groups are little-endian in memory.
func ParseGUID(s string) (GUID, error) {
	var g GUID
	raw, err := hex.DecodeString(strings.ReplaceAll(s, "-", ""))
	if err != nil || len(raw) != len(g) || len(s) != 36 ||
		s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return g, fmt.Errorf("GUID %q is not of the form 8-4-4-4-12", s)
	}
	for i, from := range [16]int{3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15} {
		g[i] = raw[from]
	}
	return g, nil
}

// UTF16 is s in UTF-16LE without a terminator. Only ASCII is accepted: EDK2 widens other bytes one by one, so their
// measured form depends on who wrote them.
func UTF16(s string) ([]byte, error) {
	if len(s) > maxWide {
		return nil, fmt.Errorf("text of %d characters, at most %d", len(s), maxWide)
	}
	out := make([]byte, 2*len(s))
	for i := range len(s) {
		if s[i] == 0 || s[i] >= 0x80 {
			return nil, fmt.Errorf("character %d of %q is not ASCII", i, s)
		}
		out[2*i] = s[i]
	}
	return out, nil
}

// Data is UEFI_VARIABLE_DATA, the bytes hashed for EV_EFI_VARIABLE_DRIVER_CONFIG: GUID, u64 number of characters,
// u64 length of the data, the name in UTF-16LE without NUL, the data.
func Data(vendor, name string, data []byte) ([]byte, error) {
	guid, err := ParseGUID(vendor)
	if err != nil {
		return nil, fmt.Errorf("encoding variable %s: %w", name, err)
	}
	wide, err := UTF16(name)
	if err != nil || len(name) > maxText {
		return nil, fmt.Errorf("encoding variable %q: name: %w", name, err)
	}
	out := append([]byte{}, guid[:]...)
	out = binary.LittleEndian.AppendUint64(out, uint64(len(name)))
	out = binary.LittleEndian.AppendUint64(out, uint64(len(data)))
	out = append(out, wide...)
	return append(out, data...), nil
}

// BootOrder is the content of the variable of that name.
func BootOrder(numbers []uint16) []byte {
	out := make([]byte, 0, 2*len(numbers))
	for _, n := range numbers {
		out = binary.LittleEndian.AppendUint16(out, n)
	}
	return out
}
