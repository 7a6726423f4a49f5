package pe_test

import (
	"bytes"
	oracle "debug/pe"
	"encoding/binary"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cocoon/measure/launch/pe"
	"cocoon/measure/launch/petest"
	"cocoon/measure/tdx"
)

func sample() []byte {
	return petest.UKI(petest.Kernel("kernel"), "console=ttyS0", "INITRD..")
}

func parse(t *testing.T, data []byte) *pe.Image {
	t.Helper()
	img, err := pe.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func TestSectionsAreThoseOfDebugPE(t *testing.T) {
	t.Parallel()
	data := sample()
	img := parse(t, data)
	want, err := oracle.NewFile(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	if err := sameSections(img, want); err != nil {
		t.Error(err)
	}
	for _, s := range want.Sections {
		content, err := s.Data()
		if err != nil {
			t.Fatal(err)
		}
		got, ok, err := img.Section(s.Name)
		if err != nil || !ok || !bytes.Equal(got, content[:s.VirtualSize]) {
			t.Errorf("section %s: %q, %v, %v", s.Name, got, ok, err)
		}
	}
}

// sameSections compares headers with debug/pe's.
func sameSections(img *pe.Image, want *oracle.File) error {
	var a, b []pe.Section
	for _, s := range img.Sections() {
		s.Name = "" // debug/pe resolves long names through the string table
		a = append(a, s)
	}
	for _, s := range want.Sections {
		b = append(b, pe.Section{VirtualAddress: s.VirtualAddress, VirtualSize: s.VirtualSize, RawOffset: s.Offset, RawSize: s.Size})
	}
	if d := cmp.Diff(b, a); d != "" {
		return errors.New(d)
	}
	return nil
}

func TestAuthenticodeCoversEverythingButTheSignature(t *testing.T) {
	t.Parallel()
	sections := []petest.Section{{Name: ".text", Data: []byte("code")}}
	plain, signed := petest.Build(sections, nil), petest.Build(sections, []byte("16 certificates "))
	want := parse(t, plain).Authenticode()
	if got := parse(t, signed).Authenticode(); got != want {
		t.Error("adding certificates changes the digest")
	}
	if parse(t, plain).Signed() || !parse(t, signed).Signed() {
		t.Error("Signed does not follow the certificate table")
	}
	for i := range plain {
		changed := bytes.Clone(plain)
		changed[i] ^= 0x80
		img, err := pe.Parse(changed)
		if err != nil {
			continue // no image any more, so nobody boots it
		}
		skipped := i >= petest.CheckSumOffset && i < petest.CheckSumOffset+4 ||
			i >= petest.SecurityOffset && i < petest.SecurityOffset+8
		if got := img.Authenticode(); (got == want) != skipped {
			t.Fatalf("byte %#x: digest equal is %v, want %v", i, got == want, skipped)
		}
	}
}

func TestTrailingBytesAreHashed(t *testing.T) {
	t.Parallel()
	data := sample()
	longer := append(bytes.Clone(data), make([]byte, 8)...)
	if parse(t, data).Authenticode() == parse(t, longer).Authenticode() {
		t.Error("bytes behind the last section do not change the digest")
	}
}

func TestUKIListsSectionsInMeasuringOrder(t *testing.T) {
	t.Parallel()
	sections, err := parse(t, sample()).UKI()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range sections {
		names = append(names, s.Name)
	}
	if d := cmp.Diff([]string{".linux", ".cmdline", ".initrd", ".sbat"}, names); d != "" {
		t.Error(d)
	}
	if _, err := parse(t, petest.Kernel("k")).UKI(); err == nil || !strings.Contains(err.Error(), ".linux") {
		t.Errorf("an image without .linux: %v", err)
	}
}

func TestParseRefusesWhatToolsHashDifferently(t *testing.T) {
	t.Parallel()
	const table = 0x40 + 24 + 240
	edit := func(f func(b []byte)) []byte {
		b := sample()
		f(b)
		return b
	}
	put32 := func(off int, v uint32) []byte {
		return edit(func(b []byte) { binary.LittleEndian.PutUint32(b[off:], v) })
	}
	for name, test := range map[string]struct {
		data []byte
		says string
	}{
		"empty":                    {nil, "no MZ"},
		"size not a multiple of 8": {append(sample(), 0), "multiple of 8"},
		"no PE signature":          {put32(0x3c, 0x80), "no PE signature"},
		"header beyond the file":   {put32(0x3c, 0xffffffff), "no PE signature"},
		"unknown magic":            {edit(func(b []byte) { b[0x58] = 7 }), "magic"},
		"many sections":            {edit(func(b []byte) { b[0x46] = 97 }), "97 sections"},
		"short optional header":    {edit(func(b []byte) { b[0x54] = 100 }), "optional header"},
		"headers beyond the file":  {put32(0x58+60, 1<<30), "SizeOfHeaders"},
		"section outside":          {put32(table+20, 1<<30), "outside"},
		"section before the body":  {put32(table+20, 0), "outside"},
		"overlapping sections":     {put32(table+16, 0x400), "overlaps"},
		"certificates overlap":     {put32(petest.SecurityOffset+4, 1<<20), "certificate"},
		"cut off":                  {sample()[:0x100], "do not fit"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := pe.Parse(test.data)
			if !errors.Is(err, pe.ErrFormat) || !strings.Contains(err.Error(), test.says) {
				t.Errorf("error %v, want one that says %q", err, test.says)
			}
		})
	}
}

func TestSectionLargerInMemoryThanInTheFileIsRefused(t *testing.T) {
	t.Parallel()
	b := sample()
	binary.LittleEndian.PutUint32(b[0x40+24+240+8:], 1<<20)
	if _, _, err := parse(t, b).Section(".text"); !errors.Is(err, pe.ErrFormat) {
		t.Errorf("error %v", err)
	}
}

func TestKernelDigestsEqualTheFirmwaresLog(t *testing.T) {
	t.Parallel()
	// vectors/measure/boot.json: logged by OVMF 2026.08 under QEMU 10 and 7.2.
	const (
		size    = 13612672
		clean   = "11f4b33d1a867282acc4e6e9b1a99b24ab59082610eecc97c071cfa299d5099405eece21bed53f3444c9598baf345c41"
		patched = "f9fd7c5a83287539f3905afc0293a9b7c25b16968adc72154ee40150db6c658fccd146f335309d29468ca30e108f4d46"
		initrd  = 1947648
	)
	path := os.Getenv("COCOON_KERNEL")
	if path == "" {
		t.Skip("COCOON_KERNEL does not name the vmlinuz of linux-image-6.18.15+deb13-cloud-amd64")
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(data) != size {
		t.Skipf("%s has %d bytes, the kernel of the vector %d", path, len(data), size)
	}
	digest := func(data []byte) tdx.Digest { return parse(t, data).Authenticode() }
	if got := digest(data).String(); got != clean {
		t.Errorf("clean kernel %s, want %s", got, clean)
	}
	changed, err := pe.PatchSetupHeader(data, initrd, 1024<<20)
	if err != nil {
		t.Fatal(err)
	}
	if got := digest(changed).String(); got != patched {
		t.Errorf("patched kernel %s, want %s", got, patched)
	}
	large, errA := pe.PatchSetupHeader(data, initrd, 2816<<20)
	two, errB := pe.PatchSetupHeader(data, initrd, 2048<<20)
	if err := errors.Join(errA, errB); err != nil || !bytes.Equal(large, two) {
		t.Errorf("2816 MiB and 2 GiB give different kernels (%v)", err)
	}
}

func TestSetupHeaderPatch(t *testing.T) {
	t.Parallel()
	kernel := make([]byte, 0x400)
	copy(kernel[0x202:], "HdrS")
	get := func(b []byte, off int) uint32 { return binary.LittleEndian.Uint32(b[off:]) }
	for name, test := range map[string]struct {
		xloadflags byte
		initrd     int
		ram        uint64
		addr       uint32
	}{
		"old kernel":           {0, 4096, 4 << 30, 0x37ffffff - 4096&^4095},
		"high initrd":          {0x40, 4096, 1 << 30, (1<<30 - 0x28000 - 1 - 4096) &^ 4095},
		"half the low memory":  {0x40, 1, 3 << 30, (0x80000000 - 0x28000 - 1 - 1) &^ 4095},
		"without an initrd":    {0x40, 0, 1 << 30, 0},
		"initrd of odd length": {0x40, 4097, 1 << 30, (1<<30 - 0x28000 - 1 - 4097) &^ 4095},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := bytes.Clone(kernel)
			k[0x236] = test.xloadflags
			got, err := pe.PatchSetupHeader(k, test.initrd, test.ram)
			if err != nil {
				t.Fatal(err)
			}
			want := test.addr
			if name == "old kernel" {
				want = (0x37ffffff - 4096) &^ 4095
			}
			if get(got, 0x218) != want || get(got, 0x21c) != uint32(test.initrd) {
				t.Errorf("initrd at %#x of %d bytes, want %#x", get(got, 0x218), get(got, 0x21c), want)
			}
			if got[0x210] != 0xb0 || got[0x211]&0x80 == 0 || get(got, 0x224) != 0xfe00 || get(got, 0x228) != 0x20000 {
				t.Error("loader fields are not QEMU's")
			}
			if k[0x210] != 0 {
				t.Error("the input was changed")
			}
		})
	}
	uki := sample()
	if got, err := pe.PatchSetupHeader(uki, 4096, 1<<30); err != nil || !bytes.Equal(got, uki) {
		t.Errorf("a UKI is patched (%v)", err)
	}
	if _, err := pe.PatchSetupHeader(kernel, 1<<30, 1<<30); err == nil {
		t.Error("an initrd larger than memory is accepted")
	}
	if _, err := pe.PatchSetupHeader(kernel, 1, 1<<20); err == nil {
		t.Error("a machine of 1 MiB is accepted")
	}
}

func FuzzParse(f *testing.F) {
	f.Add(sample())
	f.Add(petest.Kernel("k"))
	f.Add(petest.Build(nil, []byte("certificate table.......")))
	f.Add(petest.Build([]petest.Section{{Name: ".a"}, {Name: ".b", Data: make([]byte, 700)}}, nil))
	f.Add([]byte("MZ"))
	f.Add(make([]byte, 0x400))
	f.Fuzz(func(t *testing.T, data []byte) {
		img, err := pe.Parse(data)
		if err != nil {
			if !errors.Is(err, pe.ErrFormat) {
				t.Errorf("untyped refusal: %v", err)
			}
			return
		}
		img.Authenticode()
		for _, s := range img.Sections() {
			if content, _, err := img.Section(s.Name); err == nil && len(content) > len(data) {
				t.Errorf("section %q is larger than the file", s.Name)
			}
		}
		_, _ = img.UKI()
		if _, err := pe.PatchSetupHeader(data, len(data), 1<<30); err != nil {
			t.Errorf("patching: %v", err)
		}
		if want, err := oracle.NewFile(bytes.NewReader(data)); err == nil {
			if err := sameSections(img, want); err != nil {
				t.Errorf("debug/pe sees other sections: %v", err)
			}
		}
	})
}
