package smbios_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"cocoon/measure/launch/smbios"
	"cocoon/measure/tdx"
	"cocoon/tests/golden"
)

// vector is one machine of vectors/measure/smbios.json.
type vector struct {
	Name     string     `json:"name"`
	QEMU     string     `json:"fw_cfg_tables_hex"`
	Type0    string     `json:"type0_hex"`
	Guest    string     `json:"guest_table_hex"`
	Filtered string     `json:"filtered_hex"`
	SHA384   tdx.Digest `json:"sha384"`
}

func vectors(tb testing.TB) []vector {
	tb.Helper()
	var file struct {
		Vectors []vector `json:"vectors"`
	}
	golden.JSON(tb, "measure/smbios.json", &file)
	return file.Vectors
}

func TestTableAndEventEqualTheFirmwares(t *testing.T) {
	t.Parallel()
	for _, v := range vectors(t) {
		t.Run(v.Name, func(t *testing.T) {
			t.Parallel()
			type0, err := smbios.Type0("Debian distribution of EDK II", "2026.08+ds-2", "09/26/2026")
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(type0, golden.Hex(t, v.Type0)) {
				t.Errorf("type 0 is %x, want %s", type0, v.Type0)
			}
			guest, err := smbios.Compose(golden.Hex(t, v.QEMU), type0)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(guest, golden.Hex(t, v.Guest)) {
				t.Errorf("guest table is %x, want %s", guest, v.Guest)
			}
			filtered, err := smbios.Filter(guest)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(filtered, golden.Hex(t, v.Filtered)) || tdx.Sum(filtered) != v.SHA384 {
				t.Errorf("filtered table is %x, want %s", filtered, v.Filtered)
			}
		})
	}
}

// structure builds one structure with a formatted area of n bytes counting from 1, and strings.
func structure(kind byte, n int, texts ...string) []byte {
	out := []byte{kind, byte(n), 1, 0}
	for i := 4; i < n; i++ {
		out = append(out, byte(i))
	}
	for _, s := range texts {
		out = append(append(out, s...), 0)
	}
	if len(texts) == 0 {
		out = append(out, 0)
	}
	return append(out, 0)
}

func TestFilterTouchesOnlyItsFields(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		kind    byte
		length  int
		changed []int // offsets that become zero
	}{
		"system":              {1, 0x1b, []int{7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 0x18}},
		"old system":          {1, 8, []int{7}},
		"board":               {2, 0x0f, []int{7, 0x0a}},
		"chassis":             {3, 0x15, []int{7, 8}},
		"old chassis":         {3, 8, []int{7}},
		"processor":           {4, 0x30, []int{0x11, 0x16, 0x17, 0x20, 0x21, 0x22, 0x23, 0x24, 0x25, 0x2a, 0x2b, 0x2c, 0x2d, 0x2e, 0x2f}},
		"processor, two cut":  {4, 0x2b, []int{0x11, 0x16, 0x17, 0x20, 0x21, 0x22, 0x23, 0x24, 0x25}},
		"memory array":        {16, 0x17, nil},
		"memory device":       {17, 0x28, []int{0x18, 0x19, 0x1a}},
		"range":               {19, 0x1f, nil},
		"battery":             {22, 0x1a, []int{7, 0x10, 0x11, 0x12, 0x13}},
		"reset":               {23, 0x0d, []int{5, 6, 7, 8, 9, 0x0a, 0x0b, 0x0c}},
		"cooling":             {27, 0x0f, []int{0x0c, 0x0d}},
		"power supply":        {39, 0x16, []int{8, 9, 0x0a}},
		"boot information":    {32, 0x0b, nil},
		"firmware":            {0, 0x1a, nil},
		"OEM strings":         {11, 8, []int{4, 5, 6, 7}},
		"vendor's own":        {200, 9, []int{4, 5, 6, 7, 8}},
		"system event log":    {15, 8, []int{4, 5, 6, 7}},
		"last standard type":  {126, 8, nil},
		"out-of-band access":  {31, 6, []int{4, 5}},
		"64-bit memory error": {33, 6, []int{4, 5}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in := structure(test.kind, test.length)
			want := bytes.Clone(in)
			for _, off := range test.changed {
				want[off] = 0
			}
			got, err := smbios.Filter(in)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("got  %x\nwant %x", got, want)
			}
			if !bytes.Equal(in, structure(test.kind, test.length)) {
				t.Error("the input was changed")
			}
		})
	}
}

func TestFilteredStringsBecomeSpacesOfTheirLength(t *testing.T) {
	t.Parallel()
	in := structure(1, 8, "Maker", "SECRET-SERIAL")
	in[7] = 2
	got, err := smbios.Filter(in)
	if err != nil {
		t.Fatal(err)
	}
	want := structure(1, 8, "Maker", strings.Repeat(" ", len("SECRET-SERIAL")))
	want[7] = 0
	if !bytes.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestComposeKeepsTheHostsOwnType0(t *testing.T) {
	t.Parallel()
	ours := structure(0, 0x1a, "host")
	got, err := smbios.Compose(append(bytes.Clone(ours), structure(127, 4)...), nil)
	if err != nil {
		t.Fatal(err)
	}
	if want := append(ours, 127, 4, 0xff, 0xfe, 0, 0); !bytes.Equal(got, want) {
		t.Errorf("got %x, want %x", got, want)
	}
	if _, err := smbios.Compose(structure(1, 8), structure(1, 8)); !errors.Is(err, smbios.ErrFormat) {
		t.Errorf("another structure passes for type 0: %v", err)
	}
}

func TestFirmwareStringsAreThoseOfType0(t *testing.T) {
	t.Parallel()
	type0, err := smbios.Type0("maker", "1.2", "01/02/2026")
	if err != nil {
		t.Fatal(err)
	}
	vendor, version, date, err := smbios.Firmware(append(structure(1, 8), type0...))
	if err != nil || vendor != "maker" || version != "1.2" || date != "01/02/2026" {
		t.Errorf("%q %q %q (%v)", vendor, version, date, err)
	}
	short := structure(0, 9)
	if vendor, _, _, err := smbios.Firmware(short); err != nil || vendor != "" {
		t.Errorf("numbers of strings that are not there: %q (%v)", vendor, err)
	}
	for _, table := range [][]byte{nil, structure(1, 8), {1}} {
		if _, _, _, err := smbios.Firmware(table); !errors.Is(err, smbios.ErrFormat) {
			t.Errorf("table %x: %v", table, err)
		}
	}
}

func TestMalformedTablesAreRefused(t *testing.T) {
	t.Parallel()
	for name, table := range map[string][]byte{
		"cut header":      {1, 4},
		"length below 4":  {1, 3, 0, 0, 0, 0},
		"length too long": {1, 200, 0, 0, 0, 0},
		"no terminator":   {1, 4, 0, 0, 'a', 'b', 0},
		"after the end":   append(structure(127, 4), structure(1, 8)...),
		"too large":       make([]byte, 1<<20+1),
		"too many":        bytes.Repeat(structure(1, 4), 8193),
		"many strings":    structure(1, 4, strings.Split(strings.Repeat("a ", 255)+"a", " ")...),
	} {
		if _, err := smbios.Parse(table); !errors.Is(err, smbios.ErrFormat) {
			t.Errorf("%s: error %v, want %v", name, err, smbios.ErrFormat)
		}
	}
	for _, s := range []string{"", strings.Repeat("x", 65), "a\x00b"} {
		if _, err := smbios.Type0(s, "1", "2"); err == nil {
			t.Errorf("type 0 with vendor %q is accepted", s)
		}
	}
}

func FuzzFilter(f *testing.F) {
	f.Add(structure(1, 0x1b, "a", "b", "c"))
	f.Add(append(structure(4, 0x30, "CPU 0"), structure(127, 4)...))
	f.Add(structure(17, 0x28, "DIMM"))
	f.Add(structure(200, 30, "vendor"))
	f.Add([]byte{})
	f.Add([]byte{1, 4, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, table []byte) {
		once, err := smbios.Filter(table)
		if err != nil {
			if !errors.Is(err, smbios.ErrFormat) {
				t.Errorf("untyped refusal: %v", err)
			}
			return
		}
		_, _, _, _ = smbios.Firmware(table)
		if len(once) != len(table) {
			t.Fatalf("%d bytes became %d", len(table), len(once))
		}
		structures, err := smbios.Parse(table)
		if err != nil {
			t.Fatal(err)
		}
		var joined []byte
		for _, s := range structures {
			joined = append(joined, s.Data...)
		}
		if !bytes.Equal(joined, table) {
			t.Error("the structures do not make up the table")
		}
	})
}
