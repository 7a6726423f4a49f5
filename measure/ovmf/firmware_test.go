package ovmf_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cocoon/measure/ovmf"
	"cocoon/measure/tdx"
	"cocoon/tests/golden"
)

type mrtdVectors struct {
	Firmware []struct {
		Name      string
		SHA256    string
		Size      int
		Single    tdx.Digest `json:"mrtd_single_pass"`
		TwoPass   tdx.Digest `json:"mrtd_two_pass"`
		CFV       tdx.Digest `json:"cfv_sha384"`
		Assembly  string
		NotGiven  string `json:"note"`
		SectionsV []struct {
			Type       string
			DataOffset hexNumber `json:"data_offset"`
			RawSize    hexNumber `json:"raw_size"`
			Address    hexNumber
			MemorySize hexNumber `json:"memory_size"`
			Attributes uint32
		} `json:"sections"`
	}
	Rejected []struct{ File, Package, Version, SHA256 string } `json:"must_be_rejected"`
}

const (
	shippedSum   = "424e12dec9d1e175f2e9f56ea73a76dc91dd59e28334ba77310a10dd1702d7e9"
	inteltdxSum  = "a265075b4147a096109e501e76196df1ec8a18659c26f7401492c597ec88f312"
	blankVarsSum = "5d2ac383371b408398accee7ec27c8c09ea5b74a0de0ceea6513388b15be5d1e"
)

// image reads a firmware file, or assembles the one we ship from its two parts.
func image(tb testing.TB, sum string) []byte {
	tb.Helper()
	if sum != shippedSum {
		return firmwareFile(tb, sum)
	}
	out, err := ovmf.WithCFV(firmwareFile(tb, inteltdxSum), firmwareFile(tb, blankVarsSum))
	if err != nil {
		tb.Fatal(err)
	}
	return out
}

func TestRealFirmwareMatchesVectors(t *testing.T) {
	var v mrtdVectors
	golden.JSON(t, "measure/mrtd.json", &v)
	for _, want := range v.Firmware {
		t.Run(want.Name, func(t *testing.T) {
			if len(want.SectionsV) == 0 {
				t.Skip("the file is not provided: its MRTD is known from a quote only")
			}
			fw, err := ovmf.Parse(image(t, want.SHA256))
			if err != nil {
				t.Fatal(err)
			}
			if fw.SHA256Hex() != want.SHA256 || fw.Size != want.Size {
				t.Errorf("file is %s with %d bytes, want %s with %d", fw.SHA256Hex(), fw.Size, want.SHA256, want.Size)
			}
			if fw.SinglePass != want.Single {
				t.Errorf("MRTD single pass %s, want %s", fw.SinglePass, want.Single)
			}
			if fw.TwoPass != want.TwoPass {
				t.Errorf("MRTD two pass %s, want %s", fw.TwoPass, want.TwoPass)
			}
			cfv, err := fw.CFVDigest()
			if err != nil || cfv != want.CFV {
				t.Errorf("CFV %s (%v), want %s", cfv, err, want.CFV)
			}
			if len(fw.Sections) != len(want.SectionsV) {
				t.Fatalf("%d sections, want %d", len(fw.Sections), len(want.SectionsV))
			}
			for i, w := range want.SectionsV {
				s := fw.Sections[i]
				got := []any{s.Type.String(), uint64(s.DataOffset), uint64(s.RawSize), s.Address, s.MemorySize, uint32(s.Attributes)}
				wanted := []any{w.Type, uint64(w.DataOffset), uint64(w.RawSize), uint64(w.Address), uint64(w.MemorySize), w.Attributes}
				if diff := cmp.Diff(wanted, got); diff != "" {
					t.Errorf("section %d (-want +got):\n%s", i, diff)
				}
			}
		})
	}
}

func TestCodeOnlyFilesAreRejectedWithTheReason(t *testing.T) {
	var v mrtdVectors
	golden.JSON(t, "measure/mrtd.json", &v)
	for _, r := range v.Rejected {
		t.Run(r.Version+"/"+r.File[strings.LastIndexByte(r.File, '/')+1:], func(t *testing.T) {
			_, err := ovmf.Parse(firmwareFile(t, r.SHA256))
			if err == nil || !strings.Contains(err.Error(), "OVMF_CODE") {
				t.Errorf("got %v, want an error that names OVMF_CODE files", err)
			}
		})
	}
}

func TestReplacingTheStoreKeepsMRTD(t *testing.T) {
	image := legalImage(t)
	before, err := ovmf.Parse(image)
	if err != nil {
		t.Fatal(err)
	}
	store := bytes.Clone(before.CFV())
	store[0x2000] ^= 1
	changed, err := ovmf.WithCFV(image, store)
	if err != nil {
		t.Fatal(err)
	}
	after, err := ovmf.Parse(changed)
	if err != nil {
		t.Fatal(err)
	}
	if before.SinglePass != after.SinglePass || before.TwoPass != after.TwoPass {
		t.Error("MRTD changed with the variable store")
	}
	oldCFV, err1 := before.CFVDigest()
	newCFV, err2 := after.CFVDigest()
	if err1 != nil || err2 != nil || oldCFV == newCFV {
		t.Errorf("CFV digest %s -> %s (%v, %v), want a change", oldCFV, newCFV, err1, err2)
	}
	if before.SHA256 == after.SHA256 {
		t.Error("file hash did not change")
	}
	if _, err := ovmf.WithCFV(image, store[1:]); err == nil {
		t.Error("a store of another size was accepted")
	}
	// The generated image keeps its metadata inside the store's range, so a blank store destroys it.
	if _, err := ovmf.WithCFV(image, make([]byte, len(store))); err == nil {
		t.Error("a store that destroys the metadata was accepted")
	}
}
