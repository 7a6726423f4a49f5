package ovmf_test

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	oracle "github.com/google/gce-tcb-verifier/tdx"
	"github.com/google/gce-tcb-verifier/testing/fakeovmf"
	"github.com/google/go-cmp/cmp"

	"cocoon/measure/ovmf"
	"cocoon/measure/tdx"
)

const legalSize = 0x200000

// legalImage is a firmware with TDX metadata and random content, from the independent generator.
func legalImage(tb testing.TB) []byte {
	tb.Helper()
	image := fakeovmf.CleanExample(tb, legalSize)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := 0x1000; i < len(image)-0x1000; i++ {
		image[i] = byte(rng.Uint32())
	}
	return image
}

// descriptor returns the TDVF descriptor of a legal image for editing.
func descriptor(tb testing.TB, image []byte) []byte {
	tb.Helper()
	i := strings.Index(string(image), "TDVF")
	if i < 0 {
		tb.Fatal("no TDVF descriptor in the generated image")
	}
	return image[i:]
}

func TestMRTDEqualsTheOracle(t *testing.T) {
	image := legalImage(t)
	want, err := oracle.MRTD(oracle.LaunchOptionsDefault(""), image)
	if err != nil {
		t.Fatal(err)
	}
	got, err := ovmf.MRTD(image, ovmf.SinglePass)
	if err != nil {
		t.Fatal(err)
	}
	if got != tdx.Digest(want) {
		t.Errorf("MRTD %s, oracle %x", got, want)
	}
}

func TestMRTDCoversTheCodeAndItsAddress(t *testing.T) {
	edits := map[string]struct {
		edit  func(image []byte)
		moves bool
	}{
		"first code byte":           {func(im []byte) { im[0x20000] ^= 1 }, true},
		"last code byte":            {func(im []byte) { im[len(im)-1] ^= 1 }, true},
		"variable store":            {func(im []byte) { im[0x2000] ^= 1 }, false},
		"temporary memory address":  {func(im []byte) { im[0x110+16+32*2+8+2] ^= 2 }, true},
		"code measured or not":      {func(im []byte) { im[0x110+16+28] = 0 }, true},
		"store added at run time":   {func(im []byte) { im[0x110+16+32+28] = 2 }, true},
		"temporary memory measured": {func(im []byte) { im[0x110+16+32*2+28] = 1 }, true},
	}
	for _, order := range []ovmf.Order{ovmf.SinglePass, ovmf.TwoPassPerSection} {
		base, err := ovmf.MRTD(legalImage(t), order)
		if err != nil {
			t.Fatal(err)
		}
		for name, tc := range edits {
			t.Run(order.String()+"/"+name, func(t *testing.T) {
				image := legalImage(t)
				tc.edit(image)
				got, err := ovmf.MRTD(image, order)
				if err != nil {
					t.Fatal(err)
				}
				if (got != base) != tc.moves {
					t.Errorf("MRTD moved: %t, want %t", got != base, tc.moves)
				}
			})
		}
	}
	if _, err := ovmf.MRTD(legalImage(t), ovmf.Order(9)); err == nil {
		t.Error("an unknown order was accepted")
	}
}

// A section shorter than its memory is measured as if padded with zeroes, to the byte.
func TestMRTDPadsContentWithZeroes(t *testing.T) {
	image := legalImage(t)
	d := descriptor(t, image)
	le := binary.LittleEndian
	raw := le.Uint32(d[16+4:]) - 4096 - 100 // neither page nor chunk aligned
	offset := le.Uint32(d[16:])
	padded := append([]byte(nil), image...)
	clear(padded[offset+raw : offset+raw+4096+100-0x100])
	// The file's last 256 bytes hold the GUID table, so the comparison moves the section down by a page.
	le.PutUint32(d[16+4:], raw)
	le.PutUint64(d[16+16:], uint64(raw+100)&^4095+4096)
	short, err := ovmf.MRTD(image, ovmf.SinglePass)
	if err != nil {
		t.Fatal(err)
	}
	p := descriptor(t, padded)
	le.PutUint64(p[16+16:], le.Uint64(d[16+16:]))
	le.PutUint32(p[16+4:], uint32(le.Uint64(d[16+16:])-0x1000))
	le.PutUint64(p[16+16:], le.Uint64(d[16+16:]))
	full, err := ovmf.MRTD(padded, ovmf.SinglePass)
	if err != nil {
		t.Fatal(err)
	}
	if short != full {
		t.Errorf("MRTD of implied zeroes %s, of written zeroes %s", short, full)
	}
}

func TestIllegalMetadataIsRejected(t *testing.T) {
	le := binary.LittleEndian
	section := func(i int) int { return 16 + 32*i }
	tests := map[string]struct {
		edit func(d []byte)
		want string
	}{
		"signature":             {func(d []byte) { d[0] = 'X' }, "signature"},
		"version":               {func(d []byte) { le.PutUint32(d[8:], 2) }, "version is 2"},
		"one section":           {func(d []byte) { le.PutUint32(d[12:], 1); le.PutUint32(d[4:], 48) }, "1 sections"},
		"too many sections":     {func(d []byte) { le.PutUint32(d[12:], 0xffffffff) }, "sections, want"},
		"length":                {func(d []byte) { le.PutUint32(d[4:], 16) }, "length is 16"},
		"section type":          {func(d []byte) { le.PutUint32(d[section(2)+24:], 5) }, "Payload"},
		"unknown type":          {func(d []byte) { le.PutUint32(d[section(2)+24:], 77) }, "type 77"},
		"unknown attribute":     {func(d []byte) { le.PutUint32(d[section(0)+28:], 4) }, "unknown bits"},
		"extend and augment":    {func(d []byte) { le.PutUint32(d[section(0)+28:], 3) }, "added at run time"},
		"unaligned address":     {func(d []byte) { d[section(2)+8] = 1 }, "multiples of 4096"},
		"unaligned size":        {func(d []byte) { d[section(2)+16] = 1 }, "multiples of 4096"},
		"address wraps":         {func(d []byte) { le.PutUint64(d[section(2)+8:], ^uint64(0)&^0xfff) }, "exceed 64 bits"},
		"no memory":             {func(d []byte) { le.PutUint64(d[section(2)+16:], 0) }, "memory size is 0"},
		"raw above memory":      {func(d []byte) { le.PutUint64(d[section(0)+16:], 4096) }, "do not fit"},
		"code without data":     {func(d []byte) { le.PutUint32(d[section(0)+4:], 0) }, "data size is 0"},
		"data in scratch":       {func(d []byte) { le.PutUint32(d[section(2)+4:], 1) }, "want 0"},
		"data past the end":     {func(d []byte) { le.PutUint32(d[section(0):], 0x21000) }, "OVMF_CODE"},
		"offset wraps":          {func(d []byte) { le.PutUint32(d[section(0):], 0xffffffff) }, "OVMF_CODE"},
		"huge memory":           {func(d []byte) { le.PutUint64(d[section(2)+16:], 1<<40) }, "more than"},
		"two variable stores":   {func(d []byte) { copy(d[section(2):section(3)], d[section(1):]); d[section(2)+10] = 0xc0 }, "at most one"},
		"no code":               {func(d []byte) { le.PutUint32(d[section(0)+24:], 3); le.PutUint32(d[section(0)+4:], 0) }, "no BFV"},
		"overlapping sections":  {func(d []byte) { le.PutUint64(d[section(2)+8:], 0x808000) }, "overlap"},
		"two hand-off sections": {func(d []byte) { le.PutUint32(d[section(2)+24:], 2) }, "at most one"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			image := legalImage(t)
			tc.edit(descriptor(t, image))
			_, err := ovmf.Sections(image)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want an error with %q", err, tc.want)
			}
		})
	}
}

func TestFilesWithoutMetadataSaySo(t *testing.T) {
	noEntry := make([]byte, 4096)
	copy(noEntry[len(noEntry)-48:], "\xde\x82\xb5\x96\xb2\x1f\xf7\x45\xba\xea\xa3\x66\xc5\x5a\x08\x2d")
	noEntry[len(noEntry)-50] = 18
	for name, image := range map[string][]byte{
		"empty": nil, "short": make([]byte, 49), "zero": make([]byte, 4096), "table without TDX": noEntry,
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := ovmf.Sections(image); !errors.Is(err, ovmf.ErrNoMetadata) {
				t.Errorf("got %v, want ErrNoMetadata", err)
			}
		})
	}
	for name, edit := range map[string]func(im []byte){
		"table length below its footer": func(im []byte) { im[len(im)-50] = 17 },
		"table longer than the file":    func(im []byte) { im[len(im)-50], im[len(im)-49] = 0xff, 0xff },
		"stray bytes before entries":    func(im []byte) { im[len(im)-50] = 19 },
		"entry length":                  func(im []byte) { im[len(im)-50] = 40; im[len(im)-68] = 3 },
	} {
		t.Run(name, func(t *testing.T) {
			broken := append([]byte(nil), noEntry...)
			edit(broken)
			if _, err := ovmf.Sections(broken); err == nil || errors.Is(err, ovmf.ErrNoMetadata) {
				t.Errorf("got %v, want an error about the GUID table", err)
			}
		})
	}
}

func TestTDShimAnnouncesTheDescriptorDirectly(t *testing.T) {
	image := legalImage(t)
	want, err := ovmf.Sections(image)
	if err != nil {
		t.Fatal(err)
	}
	offset := strings.Index(string(image), "TDVF")
	clear(image[len(image)-0x200:])
	binary.LittleEndian.PutUint32(image[len(image)-0x20:], uint32(offset))
	got, err := ovmf.Sections(image)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("sections differ (-table +direct):\n%s", diff)
	}
}

func FuzzSections(f *testing.F) {
	// Seeds are small: the descriptor, the end of the file and nothing else matter here.
	small := func(count byte, edit func(im []byte)) []byte {
		im := make([]byte, 0x3000)
		d := im[0x2000:]
		copy(d, "TDVF")
		d[4], d[8], d[12] = 16+32*count, 1, count
		binary.LittleEndian.PutUint32(im[len(im)-0x20:], 0x2000)
		for i := range int(count) {
			s := d[16+32*i:]
			binary.LittleEndian.PutUint64(s[8:], uint64(0x800000+i*0x1000))
			binary.LittleEndian.PutUint64(s[16:], 0x1000)
			s[24] = 3
		}
		d[16+24], d[16+28] = 0, 1
		binary.LittleEndian.PutUint32(d[16+4:], 0x1000)
		edit(im)
		return im
	}
	f.Add([]byte{})
	f.Add(small(2, func([]byte) {}))
	f.Add(small(6, func([]byte) {}))
	f.Add(small(2, func(im []byte) { im[0x2000+16+6] = 0xff }))
	f.Add(small(3, func(im []byte) { im[0x2000+16+32+24], im[0x2000+16+32+6] = 1, 0x10 }))
	f.Add(small(2, func(im []byte) {
		clear(im[len(im)-0x20:])
		copy(im[len(im)-48:], "\xde\x82\xb5\x96\xb2\x1f\xf7\x45\xba\xea\xa3\x66\xc5\x5a\x08\x2d")
		copy(im[len(im)-66:], "\x35\x65\x7a\xe4\x4a\x98\x98\x47\x86\x5e\x46\x85\xa7\xbf\x8e\xc2")
		im[len(im)-50], im[len(im)-68] = 40, 22
		binary.LittleEndian.PutUint32(im[len(im)-72:], 0x1000)
	}))
	f.Fuzz(func(t *testing.T, image []byte) {
		sections, err := ovmf.Sections(image)
		if err != nil {
			return
		}
		var added uint64
		for _, s := range sections {
			if uint64(s.DataOffset)+uint64(s.RawSize) > uint64(len(image)) || uint64(s.RawSize) > s.MemorySize {
				t.Errorf("section %+v reaches outside a file of %d bytes", s, len(image))
			}
			added += s.MemorySize
		}
		if added > 1<<20 {
			return // legal, but too slow to hash a million times
		}
		fw, err := ovmf.Parse(image)
		if err != nil {
			t.Fatalf("sections parse but the file does not: %v", err)
		}
		if one, err := ovmf.MRTD(image, ovmf.SinglePass); err != nil || one != fw.SinglePass {
			t.Errorf("MRTD %s (%v), Parse says %s", one, err, fw.SinglePass)
		}
	})
}

func BenchmarkMRTD(b *testing.B) {
	image := image(b, shippedSum)
	b.Run("ours", func(b *testing.B) {
		b.SetBytes(int64(len(image)))
		b.ReportAllocs()
		for b.Loop() {
			if _, err := ovmf.MRTD(image, ovmf.SinglePass); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("oracle", func(b *testing.B) {
		b.SetBytes(int64(len(image)))
		b.ReportAllocs()
		for b.Loop() {
			if _, err := oracle.MRTD(oracle.LaunchOptionsDefault(""), image); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("both orders and file hash", func(b *testing.B) {
		b.SetBytes(int64(len(image)))
		for b.Loop() {
			if _, err := ovmf.Parse(image); err != nil {
				b.Fatal(err)
			}
		}
	})
}
