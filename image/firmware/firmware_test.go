package firmware

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const headerSize = 0x48 // a firmware volume header with one block map entry and its end

// store is a variable area: volume header, store header, erased flash.
func store() []byte {
	out := bytes.Repeat([]byte{erased}, storeSize)
	clear(out[:headerSize])
	copy(out[fvGUIDOffset:], systemNVDataGUID)
	binary.LittleEndian.PutUint64(out[fvLengthOffset:], storeSize)
	copy(out[fvSignatureOffset:], "_FVH")
	binary.LittleEndian.PutUint16(out[fvHeaderLenOffset:], headerSize)
	copy(out[headerSize:], variableGUID)
	binary.LittleEndian.PutUint32(out[headerSize+storeSizeOffset:], 0x40000-headerSize)
	out[headerSize+storeFormatOffset] = storeFormatted
	out[headerSize+storeStateOffset] = storeHealthy
	return out
}

// image is a TDX firmware image whose store holds a variable.
func image() []byte {
	out := append(store(), bytes.Repeat([]byte{0x90}, 0x3000-storeSize%alignImage)...)
	copy(out[headerSize+storeHeaderSize:], "\xaa\x55\x3fvariable")
	copy(out[len(out)-0x100:], "TDVF")
	return out
}

func TestAssembleTakesStoreAndCodeFromTheirFiles(t *testing.T) {
	tdx, vars := image(), store()
	before := bytes.Clone(tdx)
	out, err := Assemble(tdx, vars)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(out[:storeSize], vars) {
		t.Error("the store is not the blank one")
	}
	if !bytes.Equal(out[storeSize:], tdx[storeSize:]) {
		t.Error("the code is not the TDX image's")
	}
	if !bytes.Equal(tdx, before) {
		t.Error("the input was changed")
	}
}

func TestAssembleRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		change func(tdx, vars []byte) ([]byte, []byte)
		want   string
	}{
		"swapped inputs":     {func(tdx, vars []byte) ([]byte, []byte) { return vars, tdx }, TDXPath},
		"empty image":        {func(_, vars []byte) ([]byte, []byte) { return nil, vars }, "0 bytes"},
		"odd image size":     {func(tdx, vars []byte) ([]byte, []byte) { return tdx[:len(tdx)-1], vars }, "multiple of 4096"},
		"huge image":         {func(_, vars []byte) ([]byte, []byte) { return make([]byte, maxImage+alignImage), vars }, "multiple of 4096"},
		"short store":        {func(tdx, vars []byte) ([]byte, []byte) { return tdx, vars[:storeSize-1] }, VarsPath},
		"no TDX metadata":    {func(tdx, vars []byte) ([]byte, []byte) { clear(tdx[storeSize:]); return tdx, vars }, "trust domain"},
		"image's volume":     {func(tdx, vars []byte) ([]byte, []byte) { tdx[fvGUIDOffset]++; return tdx, vars }, "no firmware volume"},
		"store's volume":     {func(tdx, vars []byte) ([]byte, []byte) { vars[fvSignatureOffset]++; return tdx, vars }, "no firmware volume"},
		"volume length":      {func(tdx, vars []byte) ([]byte, []byte) { vars[fvLengthOffset]++; return tdx, vars }, "want 0x84000"},
		"header length":      {func(tdx, vars []byte) ([]byte, []byte) { vars[fvHeaderLenOffset] = 8; return tdx, vars }, "header of 8 bytes"},
		"header to the end":  {func(tdx, vars []byte) ([]byte, []byte) { vars[fvHeaderLenOffset+1] = 0xff; return tdx, vars }, "variable store"},
		"store's GUID":       {func(tdx, vars []byte) ([]byte, []byte) { vars[headerSize]++; return tdx, vars }, "no authenticated variable store"},
		"store's size":       {func(tdx, vars []byte) ([]byte, []byte) { vars[headerSize+storeSizeOffset+3] = 0x7f; return tdx, vars }, "variable store of"},
		"store not healthy":  {func(tdx, vars []byte) ([]byte, []byte) { vars[headerSize+storeStateOffset] = 0xff; return tdx, vars }, "state 0xff"},
		"store with a value": {func(tdx, vars []byte) ([]byte, []byte) { vars[headerSize+storeHeaderSize+100] = 0; return tdx, vars }, "not blank: byte 0x00 at 100"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Assemble(c.change(image(), store()))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
		})
	}
}

func TestCheckComparesWithThePin(t *testing.T) {
	sum := sha256.Sum256([]byte("image"))
	if err := Check([]byte("image"), hex.EncodeToString(sum[:])); err != nil {
		t.Error(err)
	}
	err := Check([]byte("imagE"), hex.EncodeToString(sum[:]))
	if err == nil || !strings.Contains(err.Error(), hex.EncodeToString(sum[:])) {
		t.Errorf("error %v does not name the pin", err)
	}
}

// FuzzAssemble holds that headers of any content are refused or spliced, never a panic or a changed length.
func FuzzAssemble(f *testing.F) {
	good := store()[:headerSize+storeHeaderSize]
	f.Add(good, good)
	f.Add(good[:16], good)
	f.Add(good, bytes.Repeat([]byte{0xff}, len(good)))
	f.Add([]byte{}, []byte{})
	f.Add(good, append(bytes.Clone(good), 0))
	tdx, vars := image(), store()
	f.Fuzz(func(t *testing.T, a, b []byte) {
		if len(a) > 4096 || len(b) > 4096 {
			return
		}
		x, y := bytes.Clone(tdx), bytes.Clone(vars)
		copy(x, a)
		copy(y, b)
		out, err := Assemble(x, y)
		if err == nil && (!bytes.Equal(out[:storeSize], y) || !bytes.Equal(out[storeSize:], x[storeSize:])) {
			t.Fatal("the result is not the splice of its inputs")
		}
	})
}

// TestPinnedPackages assembles the two pinned packages' files when COCOON_TEST_FIRMWARE names the folder they were
// unpacked into.
func TestPinnedPackages(t *testing.T) {
	dir := os.Getenv("COCOON_TEST_FIRMWARE")
	if dir == "" {
		t.Skip("needs ovmf-inteltdx and ovmf-generic 2026.08+ds-2 unpacked: set COCOON_TEST_FIRMWARE to the folder")
	}
	var inputs [2][]byte
	for i, name := range []string{TDXPath, VarsPath} {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		inputs[i] = data
	}
	out, err := Assemble(inputs[0], inputs[1])
	if err != nil {
		t.Fatal(err)
	}
	if err := Check(out, "424e12dec9d1e175f2e9f56ea73a76dc91dd59e28334ba77310a10dd1702d7e9"); err != nil {
		t.Error(err)
	}
	with, err := os.ReadFile(filepath.Join(dir, "usr/share/OVMF/OVMF_VARS_4M.ms.fd"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Assemble(inputs[0], with); err == nil || !strings.Contains(err.Error(), "not blank") {
		t.Errorf("a store with Microsoft's keys: %v", err)
	}
}
