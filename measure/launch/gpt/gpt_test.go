package gpt_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"strings"
	"testing"

	"cocoon/measure/launch/gpt"
	"cocoon/measure/tdx"
	"cocoon/tests/golden"
)

const (
	entryCount = 128
	tableSize  = entryCount * gpt.EntrySize
	diskSize   = 2*gpt.SectorSize + tableSize
)

// disk builds the first sectors of a disk with the given entries.
func disk(entries ...[]byte) []byte {
	d := make([]byte, diskSize)
	h := d[gpt.SectorSize:]
	copy(h, "EFI PART")
	le := binary.LittleEndian
	le.PutUint32(h[8:], 0x10000)
	le.PutUint32(h[12:], gpt.HeaderSize)
	le.PutUint64(h[24:], 1)
	le.PutUint64(h[72:], 2)
	le.PutUint32(h[80:], entryCount)
	le.PutUint32(h[84:], gpt.EntrySize)
	for i, e := range entries {
		copy(d[2*gpt.SectorSize+i*gpt.EntrySize:], e)
	}
	seal(d)
	return d
}

// seal sets both checksums.
func seal(d []byte) {
	h := d[gpt.SectorSize:][:gpt.HeaderSize]
	binary.LittleEndian.PutUint32(h[88:], crc32.ChecksumIEEE(d[2*gpt.SectorSize:]))
	clear(h[16:20])
	binary.LittleEndian.PutUint32(h[16:], crc32.ChecksumIEEE(h))
}

func entry(fill byte) []byte { return bytes.Repeat([]byte{fill}, gpt.EntrySize) }

func TestEventEqualsTheFirmwaresLog(t *testing.T) {
	t.Parallel()
	var vector struct {
		Event struct {
			Hex    string     `json:"hex"`
			SHA384 tdx.Digest `json:"sha384"`
		} `json:"gpt_event"`
	}
	golden.JSON(t, "measure/boot.json", &vector)
	want := golden.Hex(t, vector.Event.Hex)
	// The disk is rebuilt from the event: its header, one used entry, 127 unused ones.
	d := make([]byte, diskSize)
	copy(d[gpt.SectorSize:], want[:gpt.HeaderSize])
	copy(d[2*gpt.SectorSize:], want[gpt.HeaderSize+8:])
	got, err := gpt.ReadEvent(bytes.NewReader(d))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) || tdx.Sum(got) != vector.Event.SHA384 {
		t.Errorf("event %x, want %x", got, want)
	}
}

func TestOnlyUsedEntriesAreMeasured(t *testing.T) {
	t.Parallel()
	unused := entry(7)
	clear(unused[:16]) // no type: leftovers do not count
	got, err := gpt.ReadEvent(bytes.NewReader(disk(entry(1), unused, entry(2))))
	if err != nil {
		t.Fatal(err)
	}
	want := bytes.Join([][]byte{{2, 0, 0, 0, 0, 0, 0, 0}, entry(1), entry(2)}, nil)
	if !bytes.Equal(got[gpt.HeaderSize:], want) {
		t.Errorf("event behind the header %x, want %x", got[gpt.HeaderSize:], want)
	}
}

func TestTablesThatFirmwareWouldNotTakeAreRefused(t *testing.T) {
	t.Parallel()
	header := func(off int, value uint32) func(d []byte) {
		return func(d []byte) {
			binary.LittleEndian.PutUint32(d[gpt.SectorSize+off:], value)
			seal(d)
		}
	}
	for name, test := range map[string]struct {
		change func(d []byte)
		says   string
	}{
		"no signature":       {func(d []byte) { d[gpt.SectorSize] = 'x' }, "signature"},
		"header size":        {header(12, 128), "header of 128"},
		"backup header":      {header(24, 9), "primary"},
		"header changed":     {func(d []byte) { d[gpt.SectorSize+60] ^= 1 }, "header checksum"},
		"entry size":         {header(84, 256), "entries of 256"},
		"no entries":         {header(80, 0), "0 entries"},
		"too many entries":   {header(80, 1<<30), "entries, want"},
		"entries far away":   {header(76, 1<<30), "impossible sector"},
		"entry changed":      {func(d []byte) { d[2*gpt.SectorSize+5] ^= 1 }, "of the entries"},
		"more than there is": {header(80, entryCount+1), "reading the partition entries"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := disk(entry(1))
			test.change(d)
			if _, err := gpt.ReadEvent(bytes.NewReader(d)); err == nil || !strings.Contains(err.Error(), test.says) {
				t.Errorf("error %v, want one that says %q", err, test.says)
			}
		})
	}
	if _, err := gpt.ReadEvent(bytes.NewReader(nil)); err == nil {
		t.Error("an empty disk is accepted")
	}
	if _, err := gpt.Event(make([]byte, 10), nil); !errors.Is(err, gpt.ErrFormat) {
		t.Errorf("a short header: %v", err)
	}
	if _, err := gpt.Event(disk()[gpt.SectorSize:][:gpt.HeaderSize], nil); !errors.Is(err, gpt.ErrFormat) {
		t.Errorf("missing entries: %v", err)
	}
}

func FuzzReadEvent(f *testing.F) {
	f.Add(disk())
	f.Add(disk(entry(1)))
	f.Add(disk(entry(1), make([]byte, gpt.EntrySize), entry(3)))
	f.Add(disk()[:gpt.SectorSize+gpt.HeaderSize])
	f.Add([]byte("EFI PART"))
	f.Fuzz(func(t *testing.T, d []byte) {
		if len(d) >= 2*gpt.SectorSize {
			seal(d) // or nothing but the checksum is ever tested
		}
		event, err := gpt.ReadEvent(bytes.NewReader(d))
		if err != nil {
			return
		}
		if rest := len(event) - gpt.HeaderSize - 8; rest < 0 || rest%gpt.EntrySize != 0 || len(event) > len(d) {
			t.Errorf("event of %d bytes from a disk of %d", len(event), len(d))
		}
	})
}
