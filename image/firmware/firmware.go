// Package firmware assembles the guest's firmware image from two pinned Debian packages: the TDX build of OVMF, whose
// variable store holds Microsoft's keys, with the blank variable store of the generic build in its place
// (image.md section 3; measure.md section 1.5).
//
// It owns that one splice and the checks around it. Inputs are pinned by the lock and checked again: size, the
// firmware volume at the start, its length, and the SHA-256 of the result that the recipe pins. It refuses a store
// that is not blank, because a variable there would be measured and trusted. Functions are pure.
package firmware

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
)

// Paths of the two inputs inside their packages, ovmf-inteltdx and ovmf-generic.
const (
	TDXPath  = "usr/share/ovmf/OVMF.inteltdx.ms.fd"
	VarsPath = "usr/share/OVMF/OVMF_VARS_4M.fd"
)

const (
	// storeSize is the length of the variable area (variables, event log, fault tolerant write) at the start of a
	// 4 MiB OVMF image, and of the separate variables file.
	storeSize = 0x84000
	// maxImage bounds a firmware image; ours is 4 MiB.
	maxImage = 16 << 20
	// alignImage is the granularity of flash; a firmware image ends at 4 GiB.
	alignImage = 4096

	// Firmware volume header (PI 1.7, volume 3, 3.2.1): file system GUID, length, signature "_FVH", header length.
	fvGUIDOffset      = 16
	fvLengthOffset    = 32
	fvSignatureOffset = 40
	fvHeaderLenOffset = 48
	minFVHeader       = 56

	// Variable store header (EDK II, VariableFormat.h): GUID, u32 size, format, state; 28 bytes.
	storeHeaderSize   = 28
	storeSizeOffset   = 16
	storeFormatOffset = 20
	storeStateOffset  = 21
	storeFormatted    = 0x5a
	storeHealthy      = 0xfe
	erased            = 0xff
)

// GUIDs in their byte order on flash.
//
//nolint:gochecknoglobals // constants
var (
	// systemNVDataGUID is gEfiSystemNvDataFvGuid, fff12b8d-7696-4c8b-a985-2747075b4f50.
	systemNVDataGUID = []byte{0x8d, 0x2b, 0xf1, 0xff, 0x96, 0x76, 0x8b, 0x4c, 0xa9, 0x85, 0x27, 0x47, 0x07, 0x5b, 0x4f, 0x50}
	// variableGUID is gEfiAuthenticatedVariableGuid, aaf32c78-947b-439a-a180-2e144ec37792.
	variableGUID = []byte{0x78, 0x2c, 0xf3, 0xaa, 0x7b, 0x94, 0x9a, 0x43, 0xa1, 0x80, 0x2e, 0x14, 0x4e, 0xc3, 0x77, 0x92}
	// tdxMetadata is the signature of the TDX metadata descriptor (Intel TDVF design guide, section 11).
	tdxMetadata = []byte("TDVF")
)

// Assemble replaces the variable store of the TDX image by the blank one. The caller compares the result with the
// recipe's hash through Check.
func Assemble(tdx, vars []byte) ([]byte, error) {
	if err := checkImage(tdx); err != nil {
		return nil, fmt.Errorf("assembling firmware: %s: %w", TDXPath, err)
	}
	if len(vars) != storeSize {
		return nil, fmt.Errorf("assembling firmware: %s: %d bytes, want %d", VarsPath, len(vars), storeSize)
	}
	if err := checkBlank(vars); err != nil {
		return nil, fmt.Errorf("assembling firmware: %s: %w", VarsPath, err)
	}
	out := bytes.Clone(tdx)
	copy(out, vars)
	return out, nil
}

// Check compares an assembled image with the SHA-256 that the recipe pins, in hex: MRTD follows from these bytes.
func Check(image []byte, want string) error {
	sum := sha256.Sum256(image)
	if got := hex.EncodeToString(sum[:]); got != want {
		return fmt.Errorf("checking firmware: SHA-256 %s, the recipe pins %s; a new pair of packages needs a new pin and new measurements", got, want)
	}
	return nil
}

func checkImage(image []byte) error {
	if len(image) <= storeSize || len(image) > maxImage || len(image)%alignImage != 0 {
		return fmt.Errorf("%d bytes, want a multiple of %d in %d..%d", len(image), alignImage, storeSize+1, maxImage)
	}
	if _, err := variables(image); err != nil {
		return err
	}
	if !bytes.Contains(image[storeSize:], tdxMetadata) {
		return errors.New("no TDX metadata; this firmware cannot start a trust domain")
	}
	return nil
}

// variables returns the area of the variable store behind its header, up to the store's own size.
func variables(image []byte) ([]byte, error) {
	if !bytes.Equal(image[fvGUIDOffset:fvGUIDOffset+16], systemNVDataGUID) ||
		string(image[fvSignatureOffset:fvSignatureOffset+4]) != "_FVH" {
		return nil, errors.New("no firmware volume for variables at the start")
	}
	if length := binary.LittleEndian.Uint64(image[fvLengthOffset:]); length != storeSize {
		return nil, fmt.Errorf("firmware volume of %#x bytes, want %#x", length, storeSize)
	}
	header := int(binary.LittleEndian.Uint16(image[fvHeaderLenOffset:]))
	if header < minFVHeader || header+storeHeaderSize > storeSize {
		return nil, fmt.Errorf("firmware volume header of %d bytes", header)
	}
	store := image[header:storeSize]
	if !bytes.Equal(store[:16], variableGUID) {
		return nil, errors.New("no authenticated variable store behind the firmware volume header")
	}
	size := binary.LittleEndian.Uint32(store[storeSizeOffset:])
	if size < storeHeaderSize || uint64(size) > uint64(len(store)) {
		return nil, fmt.Errorf("variable store of %d bytes in %d", size, len(store))
	}
	if store[storeFormatOffset] != storeFormatted || store[storeStateOffset] != storeHealthy {
		return nil, fmt.Errorf("variable store with format %#x and state %#x", store[storeFormatOffset], store[storeStateOffset])
	}
	return store[storeHeaderSize:size], nil
}

// checkBlank wants flash in the erased state behind the store's header.
func checkBlank(vars []byte) error {
	area, err := variables(vars)
	if err != nil {
		return err
	}
	for i, b := range area {
		if b != erased {
			return fmt.Errorf("variable store is not blank: byte %#02x at %d of the variables", b, i)
		}
	}
	return nil
}
