// Package gpt extracts the GUID partition table event that firmware measures before it boots from a disk: the
// primary header and the partitions in use (measure.md section 3; UEFI_GPT_DATA of the TCG PC Client profile).
//
// It owns the layout of the primary table only; writing disks is the image room's job. Disk bytes are untrusted:
// sizes are bounded and both checksums must hold, because firmware would not boot from the disk otherwise. All
// functions are pure apart from reading.
package gpt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// Layout of the primary table (UEFI specification, section 5.3).
const (
	SectorSize = 512
	HeaderSize = 92
	EntrySize  = 128

	maxEntries = 1024 // the usual number is 128

	offHeaderSize = 12
	offHeaderCRC  = 16
	offMyLBA      = 24
	offEntriesLBA = 72
	offCount      = 80
	offEntrySize  = 84
	offEntriesCRC = 88
)

// ErrFormat marks every refusal of a table by its bytes.
var ErrFormat = errors.New("GUID partition table")

// ReadEvent reads the primary table of a disk and returns the event's bytes.
func ReadEvent(disk io.ReaderAt) ([]byte, error) {
	sector := make([]byte, SectorSize)
	if _, err := disk.ReadAt(sector, SectorSize); err != nil {
		return nil, fmt.Errorf("reading the partition table's header: %w", err)
	}
	header := sector[:HeaderSize]
	if err := checkHeader(header); err != nil {
		return nil, err
	}
	entries := make([]byte, int64(binary.LittleEndian.Uint32(header[offCount:]))*EntrySize)
	start := int64(binary.LittleEndian.Uint64(header[offEntriesLBA:])) * SectorSize //nolint:gosec // bounded by checkHeader
	if _, err := disk.ReadAt(entries, start); err != nil {
		return nil, fmt.Errorf("reading the partition entries: %w", err)
	}
	return Event(header, entries)
}

// checkHeader refuses headers that firmware would not take.
func checkHeader(header []byte) error {
	u32 := func(off int) uint32 { return binary.LittleEndian.Uint32(header[off:]) }
	blank := append([]byte{}, header...)
	clear(blank[offHeaderCRC : offHeaderCRC+4])
	switch {
	case string(header[:8]) != "EFI PART":
		return fmt.Errorf("%w: no signature in the second sector", ErrFormat)
	case u32(offHeaderSize) != HeaderSize:
		return fmt.Errorf("%w: header of %d bytes, want %d", ErrFormat, u32(offHeaderSize), HeaderSize)
	case binary.LittleEndian.Uint64(header[offMyLBA:]) != 1:
		return fmt.Errorf("%w: the header is not a primary one", ErrFormat)
	case crc32.ChecksumIEEE(blank) != u32(offHeaderCRC):
		return fmt.Errorf("%w: header checksum %#x is wrong", ErrFormat, u32(offHeaderCRC))
	case u32(offEntrySize) != EntrySize:
		return fmt.Errorf("%w: entries of %d bytes, want %d", ErrFormat, u32(offEntrySize), EntrySize)
	case u32(offCount) == 0 || u32(offCount) > maxEntries:
		return fmt.Errorf("%w: %d entries, want 1..%d", ErrFormat, u32(offCount), maxEntries)
	case binary.LittleEndian.Uint64(header[offEntriesLBA:]) > 1<<40:
		return fmt.Errorf("%w: entries at an impossible sector", ErrFormat)
	}
	return nil
}

// Event builds the event's bytes from a header and the whole entry array: the header, the number of used entries as
// u64, the used entries.
func Event(header, entries []byte) ([]byte, error) {
	if len(header) != HeaderSize {
		return nil, fmt.Errorf("%w: header of %d bytes, want %d", ErrFormat, len(header), HeaderSize)
	}
	if err := checkHeader(header); err != nil {
		return nil, err
	}
	if want := int(binary.LittleEndian.Uint32(header[offCount:])) * EntrySize; len(entries) != want {
		return nil, fmt.Errorf("%w: %d bytes of entries, the header says %d", ErrFormat, len(entries), want)
	}
	if sum := binary.LittleEndian.Uint32(header[offEntriesCRC:]); crc32.ChecksumIEEE(entries) != sum {
		return nil, fmt.Errorf("%w: checksum %#x of the entries is wrong", ErrFormat, sum)
	}
	var used []byte
	for off := 0; off < len(entries); off += EntrySize {
		entry := entries[off : off+EntrySize]
		if [16]byte(entry[:16]) != [16]byte{} { // partition type GUID
			used = append(used, entry...)
		}
	}
	out := append([]byte{}, header...)
	out = binary.LittleEndian.AppendUint64(out, uint64(len(used)/EntrySize))
	return append(out, used...), nil
}
