package eventlog

import (
	"encoding/binary"
	"fmt"
)

// CCEL table layout (ACPI 6.5, "Confidential Computing Event Log"): ACPI header of 36 bytes, u8 type, u8 subtype, u16
// reserved, u64 minimum log length, u64 log address.
const (
	tableSize      = 56
	tableSignature = "CCEL"
	offTableLength = 4
	offCCType      = 36
	offCCSubtype   = 37
	offCCReserved  = 38
	offLogLength   = 40
	offLogAddress  = 48
	ccTypeTDX      = 2
)

// Table is a CCEL ACPI table of a TD.
type Table struct {
	// Subtype is vendor specific; 0 seen.
	Subtype uint8
	// LogLength and LogAddress locate the log buffer in guest memory, in bytes.
	LogLength, LogAddress uint64
}

// ParseTable reads a CCEL table.
func ParseTable(data []byte) (Table, error) {
	if err := checkTable(data); err != nil {
		return Table{}, fmt.Errorf("reading CCEL table: %w", err)
	}
	return Table{
		Subtype:    data[offCCSubtype],
		LogLength:  binary.LittleEndian.Uint64(data[offLogLength:]),
		LogAddress: binary.LittleEndian.Uint64(data[offLogAddress:]),
	}, nil
}

func checkTable(data []byte) error {
	if len(data) != tableSize {
		return fmt.Errorf("%d bytes, want %d", len(data), tableSize)
	}
	if string(data[:4]) != tableSignature {
		return fmt.Errorf("signature is %q, want %q", data[:4], tableSignature)
	}
	if n := binary.LittleEndian.Uint32(data[offTableLength:]); n != tableSize {
		return fmt.Errorf("length field is %d, want %d", n, tableSize)
	}
	var sum byte
	for _, b := range data {
		sum += b
	}
	if sum != 0 {
		return fmt.Errorf("checksum is off by 0x%02x", sum)
	}
	if data[offCCType] != ccTypeTDX {
		return fmt.Errorf("confidential computing type is %d, want %d (TDX)", data[offCCType], ccTypeTDX)
	}
	if r := binary.LittleEndian.Uint16(data[offCCReserved:]); r != 0 {
		return fmt.Errorf("reserved field is %#x, want 0", r)
	}
	return nil
}
