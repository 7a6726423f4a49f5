package uki_test

import (
	"bytes"
	"crypto/sha256"
	"debug/pe"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cocoon/image/uki"
	"cocoon/tests/golden"
)

// Places of fields in the stub that testStub makes.
const (
	peAt    = 0x40
	coffAt  = peAt + 4
	optAt   = coffAt + 20
	tableAt = optAt + 240
)

// testStub is a small legal PE32+ image with one section.
func testStub() []byte {
	b := make([]byte, 0x800)
	le := binary.LittleEndian
	copy(b, "MZ")
	le.PutUint32(b[0x3c:], peAt)
	copy(b[peAt:], "PE\x00\x00")
	le.PutUint16(b[coffAt:], 0x8664)
	le.PutUint16(b[coffAt+2:], 1)
	le.PutUint32(b[coffAt+4:], 0x12345678) // time stamp
	le.PutUint16(b[coffAt+16:], 240)
	le.PutUint16(b[coffAt+18:], 0x22)
	le.PutUint16(b[optAt:], 0x20b)
	le.PutUint32(b[optAt+32:], 0x1000)
	le.PutUint32(b[optAt+36:], 0x200)
	le.PutUint32(b[optAt+56:], 0x2000)
	le.PutUint32(b[optAt+60:], 0x600)
	le.PutUint32(b[optAt+64:], 0xdeadbeef) // checksum
	le.PutUint32(b[optAt+108:], 16)
	copy(b[tableAt:], ".text")
	le.PutUint32(b[tableAt+8:], 0x123)
	le.PutUint32(b[tableAt+12:], 0x1000)
	le.PutUint32(b[tableAt+16:], 0x200)
	le.PutUint32(b[tableAt+20:], 0x600)
	return b
}

func testSections() uki.Sections {
	return uki.Sections{Cmdline: []byte("console=hvc0 quiet panic=-1"), Initrd: bytes.Repeat([]byte("init"), 3000), Linux: []byte("LINUX")}
}

func TestSectionsAsDebugPEReadsThem(t *testing.T) {
	t.Parallel()
	s := testSections()
	img, err := uki.Build(testStub(), s)
	if err != nil {
		t.Fatal(err)
	}
	f, err := pe.NewFile(bytes.NewReader(img))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][]byte{".cmdline": s.Cmdline, ".initrd": s.Initrd, ".linux": s.Linux}
	var names []string
	end := uint32(0)
	for _, sec := range f.Sections {
		names = append(names, sec.Name)
		if sec.VirtualAddress < end || sec.VirtualAddress%0x1000 != 0 || sec.Offset%0x200 != 0 {
			t.Errorf("%s lies at address %#x and offset %#x", sec.Name, sec.VirtualAddress, sec.Offset)
		}
		end = sec.VirtualAddress + sec.VirtualSize
		content, ok := want[sec.Name]
		if !ok {
			continue
		}
		got, err := sec.Data()
		if err != nil {
			t.Fatal(err)
		}
		if int(sec.VirtualSize) != len(content) || !bytes.Equal(got[:len(content)], content) || len(bytes.Trim(got[len(content):], "\x00")) != 0 {
			t.Errorf("%s holds other bytes", sec.Name)
		}
	}
	if diff := cmp.Diff([]string{".text", ".cmdline", ".initrd", ".linux"}, names); diff != "" {
		t.Errorf("sections (-want +got):\n%s", diff)
	}
	opt, ok := f.OptionalHeader.(*pe.OptionalHeader64)
	if !ok {
		t.Fatal("no PE32+ optional header")
	}
	if opt.CheckSum != 0 || f.TimeDateStamp != 0 || opt.SizeOfImage != (end+0xfff)&^0xfff {
		t.Errorf("checksum %#x, time %#x, image size %#x for an end of %#x", opt.CheckSum, f.TimeDateStamp, opt.SizeOfImage, end)
	}
	if len(img)%512 != 0 {
		t.Errorf("%d bytes, not a multiple of 512", len(img))
	}
}

func TestBuildLeavesTheStubAlone(t *testing.T) {
	t.Parallel()
	stub := testStub()
	before := bytes.Clone(stub)
	a, err := uki.Build(stub, testSections())
	if err != nil {
		t.Fatal(err)
	}
	b, err := uki.Build(stub, testSections())
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(stub, before) {
		t.Error("the stub was changed")
	}
	if !bytes.Equal(a, b) {
		t.Error("two builds differ")
	}
	if !bytes.Equal(a[0x600:0x800], stub[0x600:]) {
		t.Error("the stub's own section changed")
	}
}

func TestBuildRefusesStubs(t *testing.T) {
	t.Parallel()
	put32 := func(at int, v uint32) func([]byte) []byte {
		return func(b []byte) []byte { binary.LittleEndian.PutUint32(b[at:], v); return b }
	}
	cases := map[string]struct {
		change func([]byte) []byte
		want   string
	}{
		"empty":              {func([]byte) []byte { return nil }, "no MZ header"},
		"an ELF file":        {func(b []byte) []byte { copy(b, "\x7fELF"); return b }, "no MZ header"},
		"headers cut off":    {func(b []byte) []byte { return b[:0x90] }, "ends within its headers"},
		"far PE header":      {put32(0x3c, 0xfffffff0), "ends within its headers"},
		"no PE signature":    {func(b []byte) []byte { b[peAt] = 'X'; return b }, "no PE signature"},
		"PE32":               {func(b []byte) []byte { b[optAt] = 0x0b; b[optAt+1] = 1; return b }, "want PE32+"},
		"signed":             {put32(optAt+112+4*8+4, 0x500), "signed"},
		"assembled before":   {func(b []byte) []byte { copy(b[tableAt:], ".linux\x00"); return b }, "has a section .linux already"},
		"no header room":     {put32(optAt+60, tableAt+4*40-1), "header area"},
		"headers past end":   {put32(optAt+60, 0x10000), "header area"},
		"no sections":        {func(b []byte) []byte { b[coffAt+2] = 0; return b }, "ends within its headers"},
		"odd alignment":      {put32(optAt+36, 0x300), "file alignment"},
		"zero alignment":     {put32(optAt+32, 0), "section alignment"},
		"section past end":   {put32(tableAt+20, 0xffffff00), "beyond the file"},
		"section far up":     {put32(tableAt+12, 0xfffff000), "beyond"},
		"oversized":          {func(b []byte) []byte { return append(b, make([]byte, 17<<20)...) }, "at most"},
		"optional too small": {func(b []byte) []byte { b[coffAt+16] = 100; return b }, "ends within its headers"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := uki.Build(c.change(testStub()), testSections())
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one that has %q", err, c.want)
			}
		})
	}
}

func TestBuildRefusesContents(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		change func(*uki.Sections)
		want   string
	}{
		"no command line":      {func(s *uki.Sections) { s.Cmdline = nil }, ".cmdline has 0 bytes"},
		"no initrd":            {func(s *uki.Sections) { s.Initrd = nil }, ".initrd has 0 bytes"},
		"no kernel":            {func(s *uki.Sections) { s.Linux = []byte{} }, ".linux has 0 bytes"},
		"newline at the end":   {func(s *uki.Sections) { s.Cmdline = []byte("quiet\n") }, "byte 5"},
		"NUL at the end":       {func(s *uki.Sections) { s.Cmdline = []byte("quiet\x00") }, "byte 5"},
		"not ASCII":            {func(s *uki.Sections) { s.Cmdline = []byte("é") }, "byte 0"},
		"command line of 2048": {func(s *uki.Sections) { s.Cmdline = bytes.Repeat([]byte("a"), 2048) }, "at most 2047"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := testSections()
			c.change(&s)
			_, err := uki.Build(testStub(), s)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one that has %q", err, c.want)
			}
		})
	}
}

type vectorHeader struct {
	Name        string `json:"name"`
	RVA         string `json:"rva"`
	VirtualSize uint32 `json:"virtual_size"`
	RawOffset   string `json:"raw_offset"`
	RawSize     uint32 `json:"raw_size"`
}

type vectorFile struct {
	Stub struct {
		SHA256 string `json:"sha256"`
	} `json:"stub"`
	Sections []struct{ Name, Data string } `json:"sections"`
	Expect   struct {
		Bytes   int            `json:"bytes"`
		SHA256  string         `json:"sha256"`
		Headers []vectorHeader `json:"headers"`
	} `json:"expect"`
}

// realStub finds the stub that the vector was made with: COCOON_STUB names a copy, or systemd-boot-efi is installed.
func realStub(t *testing.T, sum string) []byte {
	t.Helper()
	for _, name := range []string{os.Getenv("COCOON_STUB"), "/usr/lib/systemd/boot/efi/linuxx64.efi.stub"} {
		data, err := os.ReadFile(name)
		if got := sha256.Sum256(data); err == nil && hex.EncodeToString(got[:]) == sum {
			return data
		}
	}
	t.Skipf("no systemd stub with SHA-256 %s: set COCOON_STUB to linuxx64.efi.stub of systemd-boot-efi 257.13-1~deb13u1", sum)
	return nil
}

func TestBuildMatchesVector(t *testing.T) {
	t.Parallel()
	var v vectorFile
	golden.JSON(t, "image/uki.json", &v)
	data := make(map[string][]byte)
	for _, s := range v.Sections {
		data[s.Name] = []byte(s.Data)
	}
	img, err := uki.Build(realStub(t, v.Stub.SHA256), uki.Sections{Cmdline: data[".cmdline"], Initrd: data[".initrd"], Linux: data[".linux"]})
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprintf("%x", sha256.Sum256(img)); got != v.Expect.SHA256 || len(img) != v.Expect.Bytes {
		t.Errorf("UKI of %d bytes with hash %s, want %d bytes with hash %s", len(img), got, v.Expect.Bytes, v.Expect.SHA256)
	}
	f, err := pe.NewFile(bytes.NewReader(img))
	if err != nil {
		t.Fatal(err)
	}
	var headers []vectorHeader
	for _, s := range f.Sections {
		if data[s.Name] != nil {
			headers = append(headers, vectorHeader{s.Name, fmt.Sprintf("%#x", s.VirtualAddress), s.VirtualSize, fmt.Sprintf("%#x", s.Offset), s.Size})
		}
	}
	if diff := cmp.Diff(v.Expect.Headers, headers); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}
}

// Whatever the stub, Build returns an error or an image that another reader accepts with our three sections.
func FuzzBuild(f *testing.F) {
	f.Add(testStub())
	f.Add(testStub()[:0x200])
	f.Add([]byte("MZ"))
	for _, at := range []int{0x3c, coffAt + 2, coffAt + 16, optAt + 32, optAt + 60, tableAt + 8, tableAt + 20} {
		b := testStub()
		b[at] ^= 0x80
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, stub []byte) {
		img, err := uki.Build(stub, testSections())
		if err != nil {
			return
		}
		s := testSections()
		for _, content := range [][]byte{s.Cmdline, s.Initrd, s.Linux} {
			if !bytes.Contains(img, content) {
				t.Error("a section's content is not in the image")
			}
		}
		if _, err := uki.Build(img, s); err == nil {
			t.Error("an assembled image was accepted as a stub")
		}
	})
}
