package kernel

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// makeModule writes a relocatable ELF object with one section .modinfo, and a signature behind it as the kernel's
// build appends one.
func makeModule(fields ...string) []byte {
	info := strings.Join(fields, "\x00") + "\x00"
	names := "\x00.modinfo\x00.shstrtab\x00"
	le := binary.LittleEndian
	infoAt := elfHeaderSize
	namesAt := infoAt + len(info)
	tableAt := (namesAt + len(names) + 7) &^ 7
	out := make([]byte, tableAt+3*sectionHeaderSize)
	copy(out, elfIdent)
	le.PutUint16(out[elfTypeOffset:], elfRelocatable)
	le.PutUint16(out[elfMachineOffset:], elfMachineX86)
	le.PutUint32(out[20:], 1) // e_version
	le.PutUint64(out[elfSectionsOffset:], uint64(tableAt))
	le.PutUint16(out[52:], elfHeaderSize) // e_ehsize
	le.PutUint16(out[elfEntSizeOffset:], sectionHeaderSize)
	le.PutUint16(out[elfCountOffset:], 3)
	le.PutUint16(out[elfNamesOffset:], 2)
	copy(out[infoAt:], info)
	copy(out[namesAt:], names)
	put := func(index, name, typ, at, size int) {
		h := out[tableAt+index*sectionHeaderSize:]
		le.PutUint32(h[sectionNameOffset:], uint32(name))
		le.PutUint32(h[4:], uint32(typ)) // sh_type
		le.PutUint64(h[sectionDataOffset:], uint64(at))
		le.PutUint64(h[sectionSizeOffset:], uint64(size))
	}
	put(1, 1, 1, infoAt, len(info))
	put(2, 10, 3, namesAt, len(names))
	return slices.Concat(out, []byte("signature~Module signature appended~\n"))
}

func TestParseInfoReadsTheFieldsThatCount(t *testing.T) {
	data := makeModule("license=Dual MIT/GPL", "alias=pci:a=b", "depends=dm-mod,reed_solomon", "name=dm_verity", "vermagic=6.18 SMP ", "parm=x:y")
	got, err := ParseInfo(data)
	if err != nil {
		t.Fatal(err)
	}
	want := Info{Name: "dm_verity", Depends: []string{"dm_mod", "reed_solomon"}, VersionMagic: "6.18 SMP ", License: "Dual MIT/GPL"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("info (-want +got):\n%s", diff)
	}
}

func TestParseInfoRefusals(t *testing.T) {
	good := makeModule("name=a", "depends=", "vermagic=6")
	le := binary.LittleEndian
	edit := func(change func([]byte)) []byte {
		data := bytes.Clone(good)
		change(data)
		return data
	}
	table := int(le.Uint64(good[elfSectionsOffset:]))
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"empty":               {nil, "not a 64-bit"},
		"32 bit":              {edit(func(d []byte) { d[4] = 1 }), "not a 64-bit"},
		"shared library":      {edit(func(d []byte) { d[elfTypeOffset] = 3 }), "ELF type 3"},
		"other machine":       {edit(func(d []byte) { d[elfMachineOffset] = 183 }), "machine 183"},
		"no sections":         {edit(func(d []byte) { d[elfCountOffset] = 0 }), "0 sections"},
		"many sections":       {edit(func(d []byte) { d[elfCountOffset+1] = 0xff }), "want 1..8192"},
		"small headers":       {edit(func(d []byte) { d[elfEntSizeOffset] = 40 }), "40 bytes"},
		"table outside":       {edit(func(d []byte) { d[elfSectionsOffset+7] = 0xff }), "section table"},
		"names index outside": {edit(func(d []byte) { d[elfNamesOffset] = 9 }), "section of names 9"},
		"name outside":        {edit(func(d []byte) { le.PutUint32(d[table+64:], 1<<30) }), "is outside"},
		"data outside":        {edit(func(d []byte) { le.PutUint64(d[table+64+sectionSizeOffset:], 1<<40) }), "section .modinfo"},
		"data wraps around":   {edit(func(d []byte) { le.PutUint64(d[table+64+sectionDataOffset:], 1<<64-1) }), "section .modinfo"},
		"no .modinfo":         {edit(func(d []byte) { le.PutUint32(d[table+64:], 0) }), "no section .modinfo"},
		"two .modinfo":        {edit(func(d []byte) { le.PutUint32(d[table:], 1) }), "two sections"},
		"cut":                 {good[:100], "outside"},
		"field without =":     {makeModule("name"), "has no ="},
		"name twice":          {makeModule("name=a", "name=b", "depends=", "vermagic=6"), "name twice"},
		"no depends":          {makeModule("name=a", "vermagic=6"), "no depends"},
		"no vermagic":         {makeModule("name=a", "depends="), "no vermagic"},
		"too long":            {makeModule("name=" + strings.Repeat("a", maxInfo)), "at most"},
		"too many fields":     {makeModule(strings.Repeat("a=\x00", maxInfoFields)), "fields"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ParseInfo(c.data)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
		})
	}
}

// FuzzParseInfo holds that nothing panics and that what we read is what the standard library's ELF reader finds.
func FuzzParseInfo(f *testing.F) {
	f.Add(makeModule("name=a", "depends=", "vermagic=6"))
	f.Add(makeModule("name=a", "depends=b,c-d", "vermagic=6.18 SMP", "license=GPL", "alias=x=y"))
	f.Add(makeModule())
	f.Add(makeModule("name=a", "name=a"))
	f.Add(makeModule("name=a", "depends=,", "vermagic=")[:200])
	f.Fuzz(func(t *testing.T, data []byte) {
		info, err := ParseInfo(data)
		if err != nil {
			return
		}
		ours, err := section(data, ".modinfo")
		if err != nil || len(ours) > len(data) {
			t.Fatalf("the section is gone: %v", err)
		}
		if !bytes.Contains(ours, []byte("name="+info.Name)) {
			t.Fatalf("name %q is not in the section", info.Name)
		}
		file, err := elf.NewFile(bytes.NewReader(data))
		if err != nil {
			return // it looks at more of the file than we do
		}
		s := file.Section(".modinfo")
		if s == nil || s.Type == elf.SHT_NOBITS || s.Flags&elf.SHF_COMPRESSED != 0 {
			return
		}
		theirs, err := s.Data()
		if err == nil && !bytes.Equal(ours, theirs) {
			t.Fatalf("section of %d bytes, debug/elf reads %d", len(ours), len(theirs))
		}
	})
}
