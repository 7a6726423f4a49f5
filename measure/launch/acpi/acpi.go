// Package acpi understands QEMU's three ACPI blobs as far as measuring them needs: the tables inside
// etc/acpi/tables, the loader script etc/table-loader and the root pointer etc/acpi/rsdp, both of which follow from
// the tables alone, and the 64-bit PCI window that the tables contain (measure.md section 7).
//
// It owns table boundaries and the loader script's records. Its input is whatever QEMU or a host handed over: sizes
// are checked before slicing, counts are bounded. It refuses table sets that are not laid out as QEMU's q35 does.
// All functions are pure.
package acpi

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Names of the fw_cfg files (QEMU docs/specs/fw_cfg, hw/acpi/utils.h).
const (
	FileLoader = "etc/table-loader"
	FileRSDP   = "etc/acpi/rsdp"
	FileTables = "etc/acpi/tables"
)

// Bounds of the blobs. QEMU pads the tables to 128 KiB, more only for hundreds of CPUs, and the script to 4 KiB.
const (
	maxTablesSize = 2 << 20
	maxTables     = 128
)

const (
	tableHeader = 36 // ACPI specification, section 5.2.6
	offLength   = 4
	offChecksum = 9
	facsMinimum = 8 // FACS has only signature and length in common with other tables
)

// ErrFormat marks every refusal of a blob by its bytes.
var ErrFormat = errors.New("ACPI blob")

// Table is one table inside etc/acpi/tables.
type Table struct {
	Signature string
	Offset    int
	Length    int
}

// Tables lists the tables of a blob in file order. The zero padding behind the last one is required to be zero.
func Tables(blob []byte) ([]Table, error) {
	if len(blob) > maxTablesSize {
		return nil, fmt.Errorf("%w: %d bytes of tables, at most %d", ErrFormat, len(blob), maxTablesSize)
	}
	var out []Table
	off := 0
	for off+facsMinimum <= len(blob) && blob[off] != 0 {
		if len(out) == maxTables {
			return nil, fmt.Errorf("%w: more than %d tables", ErrFormat, maxTables)
		}
		t := Table{Signature: string(blob[off : off+4]), Offset: off}
		length := int64(binary.LittleEndian.Uint32(blob[off+offLength:]))
		least := int64(tableHeader)
		if t.Signature == "FACS" {
			least = facsMinimum
		}
		if !printable(t.Signature) || length < least || int64(off)+length > int64(len(blob)) {
			return nil, fmt.Errorf("%w: table %d at %#x, signature %q, length %d does not fit",
				ErrFormat, len(out), off, t.Signature, length)
		}
		t.Length = int(length)
		out = append(out, t)
		off += t.Length
	}
	for i, b := range blob[off:] {
		if b != 0 {
			return nil, fmt.Errorf("%w: byte %#x behind the last table at %#x", ErrFormat, b, off+i)
		}
	}
	return out, nil
}

func printable(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// find returns the only table of a signature.
func find(tables []Table, signature string) (Table, error) {
	var found []Table
	for _, t := range tables {
		if t.Signature == signature {
			found = append(found, t)
		}
	}
	if len(found) != 1 {
		return Table{}, fmt.Errorf("%w: %d tables %s, want one", ErrFormat, len(found), signature)
	}
	return found[0], nil
}

// RSDP is etc/acpi/rsdp as QEMU writes it: an ACPI 1.0 root pointer holding the RSDT's offset, checksum not set.
func RSDP(blob []byte) ([]byte, error) {
	tables, err := Tables(blob)
	if err != nil {
		return nil, err
	}
	rsdt, err := find(tables, "RSDT")
	if err != nil {
		return nil, err
	}
	out := []byte("RSD PTR \x00BOCHS \x00")
	return binary.LittleEndian.AppendUint32(out, uint32(rsdt.Offset)), nil //nolint:gosec // below maxTablesSize
}
