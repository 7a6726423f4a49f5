package acpi

import (
	"encoding/binary"
	"fmt"
)

// Positions inside the FADT and the RSDP that hold addresses (ACPI specification, sections 5.2.9 and 5.2.5).
const (
	fadtFacs  = 36
	fadtDsdt  = 40
	fadtXDsdt = 140
	rsdpRsdt  = 16
	rsdpSum   = 8
	rsdpSize  = 20
)

// Loader is the loader script that QEMU writes for a set of tables with no extra blob (no TPM log, no VM generation
// ID): measure.md section 7.5.
func Loader(blob []byte) ([]byte, error) {
	tables, err := Tables(blob)
	if err != nil {
		return nil, err
	}
	byName := make(map[string]Table, 4)
	for _, name := range []string{"FACS", "DSDT", "FACP", "RSDT"} {
		if byName[name], err = find(tables, name); err != nil {
			return nil, err
		}
	}
	fadt, rsdt := byName["FACP"], byName["RSDT"]
	if fadt.Length < fadtXDsdt+8 {
		return nil, fmt.Errorf("%w: FADT of %d bytes has no 64-bit DSDT address", ErrFormat, fadt.Length)
	}
	commands := []Command{
		{Op: OpAllocate, File: FileRSDP, Align: rsdpAlign, Zone: zoneFSeg},
		{Op: OpAllocate, File: FileTables, Align: tblAlign, Zone: zoneHigh},
		checksum(byName["DSDT"]),
		pointer(fadt, fadtFacs, 4),
		pointer(fadt, fadtDsdt, 4),
		pointer(fadt, fadtXDsdt, 8),
		checksum(fadt),
	}
	for _, t := range tables {
		if _, special := byName[t.Signature]; !special {
			commands = append(commands, checksum(t))
		}
	}
	for off := tableHeader; off+4 <= rsdt.Length; off += 4 {
		entry := binary.LittleEndian.Uint32(blob[rsdt.Offset+off:])
		if uint64(entry) >= uint64(len(blob)) {
			return nil, fmt.Errorf("%w: RSDT entry %#x is outside the tables", ErrFormat, entry)
		}
		commands = append(commands, pointer(rsdt, off, 4))
	}
	commands = append(commands,
		checksum(rsdt),
		Command{Op: OpAddPointer, File: FileRSDP, Source: FileTables, Offset: rsdpRsdt, Size: 4},
		Command{Op: OpAddChecksum, File: FileRSDP, Offset: rsdpSum, Length: rsdpSize},
	)
	return EncodeLoader(commands), nil
}

func checksum(t Table) Command {
	//nolint:gosec // offsets and lengths are below maxTablesSize
	return Command{
		Op: OpAddChecksum, File: FileTables,
		Offset: uint32(t.Offset + offChecksum), Start: uint32(t.Offset), Length: uint32(t.Length),
	}
}

func pointer(t Table, at int, size uint8) Command {
	return Command{
		Op: OpAddPointer, File: FileTables, Source: FileTables,
		Offset: uint32(t.Offset + at), Size: size, //nolint:gosec // below maxTablesSize
	}
}
