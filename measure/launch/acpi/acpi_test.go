package acpi_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cocoon/measure/launch/acpi"
	"cocoon/measure/tdx"
	"cocoon/tests/golden"
)

// fixture is a table set captured by another project, with what we derived from it.
type fixture struct {
	tables []byte
	Tables []struct {
		Signature string `json:"signature"`
		Offset    int    `json:"offset"`
		Length    int    `json:"length"`
	} `json:"tables"`
	Digest tdx.Digest `json:"acpi_tables_sha384"`
	Loader tdx.Digest `json:"table_loader_sha384"`
	RSDP   string     `json:"rsdp_hex"`
}

func load(tb testing.TB, name string) fixture {
	tb.Helper()
	var f fixture
	golden.JSON(tb, "measure/acpi/"+name+"/derived.json", &f)
	f.tables = golden.Vector(tb, "measure/acpi/"+name+"/acpi_tables.bin.gz")
	return f
}

func TestLoaderAndRootPointerFollowFromTheTables(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"q35-with-hpet", "canonical-defaults"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := load(t, name)
			if got := tdx.Sum(f.tables); got != f.Digest {
				t.Fatalf("tables are %s, want %s", got, f.Digest)
			}
			tables, err := acpi.Tables(f.tables)
			if err != nil {
				t.Fatal(err)
			}
			var want []acpi.Table
			for _, x := range f.Tables {
				want = append(want, acpi.Table{Signature: x.Signature, Offset: x.Offset, Length: x.Length})
			}
			if d := cmp.Diff(want, tables); d != "" {
				t.Error(d)
			}
			rsdp, err := acpi.RSDP(f.tables)
			if err != nil || hex.EncodeToString(rsdp) != f.RSDP {
				t.Errorf("root pointer %x, want %s (%v)", rsdp, f.RSDP, err)
			}
			script, err := acpi.Loader(f.tables)
			if err != nil {
				t.Fatal(err)
			}
			if got := tdx.Sum(script); got != f.Loader {
				t.Errorf("loader script %s, want %s", got, f.Loader)
			}
			commands, err := acpi.ParseLoader(script)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(acpi.EncodeLoader(commands), script) {
				t.Error("the script does not survive parsing and encoding")
			}
			if d := cmp.Diff([]string{acpi.FileRSDP, acpi.FileTables}, acpi.Allocations(commands)); d != "" {
				t.Error(d)
			}
		})
	}
}

// table builds one table with a body.
func table(signature string, body int) []byte {
	b := make([]byte, 36+body)
	copy(b, signature)
	binary.LittleEndian.PutUint32(b[4:], uint32(len(b)))
	return b
}

// small is a table set as small as QEMU's could be.
func small() []byte {
	facs := make([]byte, 64)
	copy(facs, "FACS")
	facs[4] = 64
	rsdt := table("RSDT", 8)
	binary.LittleEndian.PutUint32(rsdt[36:], 64+40)
	binary.LittleEndian.PutUint32(rsdt[40:], 64+40+244)
	return bytes.Join([][]byte{facs, table("DSDT", 4), table("FACP", 208), table("APIC", 4), rsdt, make([]byte, 100)}, nil)
}

func TestTableSetsThatAreNotQEMUsAreRefused(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		blob []byte
		says string
	}{
		"no tables":          {nil, "0 tables FACS"},
		"only zeroes":        {make([]byte, 4096), "0 tables FACS"},
		"two DSDTs":          {append(table("DSDT", 0), small()...), "2 tables DSDT"},
		"length beyond":      {append(table("DSDT", 4)[:36], 1), "does not fit"},
		"length below":       {[]byte("APIC\x08\x00\x00\x00"), "does not fit"},
		"bad signature":      {[]byte("A\x01IC\xff\x00\x00\x00"), "does not fit"},
		"bytes behind":       {append(small(), 1), "behind the last table"},
		"short FADT":         {bytes.Replace(small(), table("FACP", 208), table("FACP", 10), 1), "FADT of 46"},
		"RSDT entry outside": {bytes.Replace(small(), []byte{104, 0, 0, 0}, []byte{0, 0, 0, 9}, 1), "outside the tables"},
		"too large":          {make([]byte, 2<<20+1), "at most"},
		"too many":           {bytes.Repeat(table("SSDT", 0), 129), "more than 128"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := acpi.Loader(test.blob); !errors.Is(err, acpi.ErrFormat) || !strings.Contains(err.Error(), test.says) {
				t.Errorf("error %v, want one that says %q", err, test.says)
			}
		})
	}
	if _, err := acpi.Loader(small()); err != nil {
		t.Errorf("the set that the others are made from: %v", err)
	}
	if _, err := acpi.RSDP(table("DSDT", 4)); !errors.Is(err, acpi.ErrFormat) {
		t.Errorf("root pointer without RSDT: %v", err)
	}
}

func TestEveryCommandSurvivesEncodingAndParsing(t *testing.T) {
	t.Parallel()
	want := []acpi.Command{
		{Op: acpi.OpAllocate, File: "etc/acpi/rsdp", Align: 16, Zone: 2},
		{Op: acpi.OpAllocate, File: "etc/tpm/log", Align: 1, Zone: 1},
		{Op: acpi.OpAddPointer, File: "a", Source: "b", Offset: 36, Size: 4},
		{Op: acpi.OpAddChecksum, File: "a", Offset: 9, Start: 0, Length: 100},
		{Op: acpi.OpWritePointer, File: "etc/vmgenid_addr", Source: "etc/vmgenid_guid", Offset: 0, Start: 40, Size: 8},
	}
	script := acpi.EncodeLoader(want)
	got, err := acpi.ParseLoader(script)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if len(script) != 4096 || len(acpi.EncodeLoader(nil)) != 4096 {
		t.Error("scripts are not padded to 4096 bytes")
	}
	if d := cmp.Diff([]string{"etc/acpi/rsdp", "etc/tpm/log"}, acpi.Allocations(got)); d != "" {
		t.Error(d)
	}
}

func TestMalformedScriptsAreRefused(t *testing.T) {
	t.Parallel()
	edit := func(f func(b []byte)) []byte {
		b := acpi.EncodeLoader([]acpi.Command{
			{Op: acpi.OpAllocate, File: "f", Align: 1, Zone: 1}, {Op: acpi.OpAddPointer, File: "f", Source: "g"},
		})
		f(b)
		return b
	}
	for name, script := range map[string][]byte{
		"cut off":            edit(func([]byte) {})[:100],
		"unknown command":    edit(func(b []byte) { b[0] = 9 }),
		"no name":            edit(func(b []byte) { b[4] = 0 }),
		"name not padded":    edit(func(b []byte) { b[10] = 'x' }),
		"unprintable name":   edit(func(b []byte) { b[4] = 1 }),
		"name fills field":   edit(func(b []byte) { copy(b[4:60], strings.Repeat("x", 56)) }),
		"no source":          edit(func(b []byte) { b[128+60] = 0 }),
		"bytes behind":       edit(func(b []byte) { b[100] = 1 }),
		"behind the padding": edit(func(b []byte) { b[4000] = 1 }),
		"too many":           bytes.Repeat(edit(func([]byte) {})[:128], 1025),
	} {
		if _, err := acpi.ParseLoader(script); !errors.Is(err, acpi.ErrFormat) {
			t.Errorf("%s: error %v, want %v", name, err, acpi.ErrFormat)
		}
	}
}

func TestWindowFollowsPhysicalAddressBits(t *testing.T) {
	t.Parallel()
	for bits, want := range map[int]uint64{36: 0xe0000_0000, 40: 0xe0_0000_0000, 46: 0x3800_0000_0000, 52: 0x3800_0000_0000} {
		if got, err := acpi.Mmio64Base(bits); err != nil || got != want {
			t.Errorf("%d bits: %#x, want %#x (%v)", bits, got, want, err)
		}
	}
	for _, bits := range []int{-1, 0, 35, 53} {
		if _, err := acpi.Mmio64Base(bits); err == nil {
			t.Errorf("%d bits are accepted", bits)
		}
	}
}

func FuzzTables(f *testing.F) {
	f.Add(small())
	f.Add(table("DSDT", 10))
	f.Add(make([]byte, 200))
	f.Add([]byte("FACS\x08\x00\x00\x00"))
	f.Add([]byte("RSDT\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, blob []byte) {
		tables, err := acpi.Tables(blob)
		if err != nil {
			return
		}
		end := 0
		for _, x := range tables {
			if x.Offset != end || x.Offset+x.Length > len(blob) {
				t.Fatalf("table %+v in a blob of %d bytes", x, len(blob))
			}
			end += x.Length
		}
		if script, err := acpi.Loader(blob); err == nil {
			if _, err := acpi.ParseLoader(script); err != nil {
				t.Errorf("our own script: %v", err)
			}
		}
		_, _ = acpi.RSDP(blob)
	})
}

func FuzzParseLoader(f *testing.F) {
	script, err := acpi.Loader(small())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(script)
	f.Add(script[:128])
	f.Add(acpi.EncodeLoader([]acpi.Command{{Op: acpi.OpWritePointer, File: "a", Source: "b"}}))
	f.Add(make([]byte, 4096))
	f.Add([]byte{1})
	f.Fuzz(func(t *testing.T, script []byte) {
		commands, err := acpi.ParseLoader(script)
		if err != nil {
			return
		}
		again := acpi.EncodeLoader(commands)
		if n := min(len(again), len(script)); !bytes.Equal(again[:n], script[:n]) {
			t.Error("what was parsed encodes to something else")
		}
	})
}
