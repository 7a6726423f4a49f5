package ovmf_test

import (
	"encoding/hex"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cocoon/measure/ovmf"
	"cocoon/measure/tdx"
	"cocoon/tests/golden"
)

type hobGroup struct {
	Sections []struct {
		Type          string
		Address, Size hexNumber
	}
	Vectors []struct {
		RAM    uint64 `json:"ram_mib"`
		SHA384 tdx.Digest
		Hex    string
	}
}

func (g hobGroup) sections(t *testing.T) []ovmf.Section {
	t.Helper()
	types := map[string]ovmf.SectionType{"TempMem": ovmf.TempMem, "TD_HOB": ovmf.TDHOB}
	var out []ovmf.Section
	for _, s := range g.Sections {
		kind, ok := types[s.Type]
		if !ok {
			t.Fatalf("section type %q in the vectors", s.Type)
		}
		out = append(out, ovmf.Section{Type: kind, Address: uint64(s.Address), MemorySize: uint64(s.Size)})
	}
	return out
}

func TestHOBMatchesHardware(t *testing.T) {
	var v struct {
		Hardware hobGroup
		Fixtures hobGroup `json:"from_fixtures"`
	}
	golden.JSON(t, "measure/tdhob.json", &v)
	checked := 0
	for name, g := range map[string]hobGroup{"hardware": v.Hardware, "fixtures": v.Fixtures} {
		sections := g.sections(t)
		for _, vec := range g.Vectors {
			hob, err := ovmf.HOB(sections, vec.RAM<<20, ovmf.Q35())
			if err != nil {
				t.Errorf("%s, %d MiB: %v", name, vec.RAM, err)
				continue
			}
			if got := tdx.Sum(hob); got != vec.SHA384 {
				t.Errorf("%s, %d MiB: digest %s, want %s", name, vec.RAM, got, vec.SHA384)
			}
			if vec.Hex != "" && hex.EncodeToString(hob) != vec.Hex {
				t.Errorf("%s, %d MiB: bytes %x, want %s", name, vec.RAM, hob, vec.Hex)
			}
			checked++
		}
	}
	if checked < 7 {
		t.Errorf("only %d vectors were found", checked)
	}
}

func hobSections() []ovmf.Section {
	return []ovmf.Section{
		{Type: ovmf.TempMem, Address: 0x810000, MemorySize: 0x10000},
		{Type: ovmf.TempMem, Address: 0x80b000, MemorySize: 0x2000},
		{Type: ovmf.TDHOB, Address: 0x809000, MemorySize: 0x2000},
		{Type: ovmf.TempMem, Address: 0x800000, MemorySize: 0x6000},
	}
}

// The resources tile RAM exactly: no hole, no overlap, every byte once.
func TestHOBTilesRAM(t *testing.T) {
	const mib = 1 << 20
	for _, ram := range []uint64{16 * mib, 2047 * mib, 2048 * mib, 2815 * mib, 2816 * mib, 4096 * mib, 512 << 30} {
		hob, err := ovmf.HOB(hobSections(), ram, ovmf.Q35())
		if err != nil {
			t.Fatal(err)
		}
		address, resources, err := ovmf.ParseHOB(hob)
		if err != nil {
			t.Fatal(err)
		}
		if address != 0x809000 {
			t.Errorf("%d MiB: list lies at %#x", ram/mib, address)
		}
		var total, at uint64
		accepted := 0
		for _, r := range resources {
			if r.Start != at && r.Start != 0x1_0000_0000 {
				t.Errorf("%d MiB: range %#x..%#x does not continue at %#x", ram/mib, r.Start, r.End, at)
			}
			if r.Accepted {
				accepted++
			}
			total, at = total+r.End-r.Start, r.End
		}
		if total != ram || accepted != 4 {
			t.Errorf("%d MiB: ranges cover %d bytes with %d accepted, want %d and 4", ram/mib, total, accepted, ram)
		}
	}
}

func TestHOBRefusesImpossibleMachines(t *testing.T) {
	at := func(address, size uint64) []ovmf.Section {
		return []ovmf.Section{{Type: ovmf.TDHOB, Address: address, MemorySize: size}}
	}
	tests := map[string]struct {
		sections []ovmf.Section
		ram      uint64
		split    ovmf.Split
		want     string
	}{
		"no HOB section":       {nil, 1 << 30, ovmf.Q35(), "no TD_HOB section"},
		"no memory":            {hobSections(), 0, ovmf.Q35(), "RAM of 0 bytes"},
		"odd memory":           {hobSections(), 1<<30 + 1, ovmf.Q35(), "multiple of"},
		"absurd memory":        {hobSections(), 1 << 50, ovmf.Q35(), "2^46"},
		"section above RAM":    {hobSections(), 4 << 20, ovmf.Q35(), "above RAM"},
		"section leaves RAM":   {at(0x1ff000, 0x2000), 2 << 20, ovmf.Q35(), "does not lie in RAM"},
		"list does not fit":    {at(0x1000, 0), 2 << 20, ovmf.Q35(), "do not fit"},
		"split upside down":    {hobSections(), 4 << 30, ovmf.Split{Threshold: 1, LowEnd: 1 << 31, HighStart: 1 << 32}, "not a split"},
		"section in the holes": {at(0x9000_0000, 0x2000), 4 << 30, ovmf.Q35(), "does not lie in RAM"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := ovmf.HOB(tc.sections, tc.ram, tc.split)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want an error with %q", err, tc.want)
			}
		})
	}
}

func TestParseHOBRefusesOtherBytes(t *testing.T) {
	hob, err := ovmf.HOB(hobSections(), 1<<30, ovmf.Q35())
	if err != nil {
		t.Fatal(err)
	}
	for _, off := range []int{0, 2, 4, 8, 12, 16, 56, 58, 60, 64, 80, 84} {
		broken := append([]byte(nil), hob...)
		broken[off] ^= 0x40
		if _, _, err := ovmf.ParseHOB(broken); err == nil {
			t.Errorf("byte %d changed and the list was accepted", off)
		}
	}
	for _, n := range []int{0, 55, 57, len(hob) - 1} {
		if _, _, err := ovmf.ParseHOB(hob[:n]); err == nil {
			t.Errorf("%d of %d bytes were accepted", n, len(hob))
		}
	}
}

// What HOB writes parses, and what parses is what HOB writes for those ranges.
func FuzzHOB(f *testing.F) {
	for _, ram := range []uint64{16, 2048, 2815, 2816, 8192} {
		hob, err := ovmf.HOB(hobSections(), ram<<20, ovmf.Q35())
		if err != nil {
			f.Fatal(err)
		}
		f.Add(hob, ram<<20)
	}
	f.Fuzz(func(t *testing.T, data []byte, ram uint64) {
		if _, resources, err := ovmf.ParseHOB(data); err == nil {
			if want := (len(data) - 56) / 48; len(resources) != want {
				t.Errorf("%d resources, want %d", len(resources), want)
			}
		}
		hob, err := ovmf.HOB(hobSections(), ram, ovmf.Q35())
		if err != nil {
			return
		}
		_, first, err := ovmf.ParseHOB(hob)
		if err != nil {
			t.Fatalf("own HOB does not parse: %v", err)
		}
		again, err := ovmf.HOB(hobSections(), ram, ovmf.Q35())
		if err != nil {
			t.Fatal(err)
		}
		_, second, err := ovmf.ParseHOB(again)
		if err != nil || cmp.Diff(first, second) != "" {
			t.Errorf("two runs differ: %v %s", err, cmp.Diff(first, second))
		}
	})
}
