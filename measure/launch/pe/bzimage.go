package pe

import (
	"encoding/binary"
	"fmt"
	"slices"
)

// Fields of the x86 boot protocol's setup header (Linux, Documentation/arch/x86/boot.rst).
const (
	setupMagic       = 0x202 // "HdrS"
	setupLoaderType  = 0x210
	setupLoadFlags   = 0x211
	setupRamdiskAddr = 0x218
	setupRamdiskSize = 0x21c
	setupHeapEnd     = 0x224
	setupCmdlinePtr  = 0x228
	setupXLoadFlags  = 0x236
	setupEnd         = 0x238
)

// What QEMU before version 10.0 writes (hw/i386/x86.c, x86_load_linux).
const (
	qemuLoaderType    = 0xb0
	loadFlagCanHeap   = 0x80
	qemuCmdlineAddr   = 0x20000
	qemuHeapEnd       = qemuCmdlineAddr - 0x10000 - 0x200
	xlfAbove4G        = 0x40
	maxInitrdAddr     = 0xffffffff
	maxInitrdAddrOld  = 0x37ffffff
	acpiDataSize      = 0x28000 // kept free below the top of low memory
	lowMemLimit       = 0xb0000000
	lowMemWhenLarge   = 0x80000000
	initrdPageMask    = 4095
	minPatchedMemSize = 64 << 20
)

// PatchSetupHeader returns the kernel as QEMU before version 10.0 hands it to the firmware: with boot loader fields
// filled in, which depend on the initrd's size and on RAM. A file without a setup header, such as a UKI, is returned
// as it is. The input is not changed.
func PatchSetupHeader(kernel []byte, initrdSize int, ram uint64) ([]byte, error) {
	if len(kernel) < setupEnd || string(kernel[setupMagic:setupMagic+4]) != "HdrS" {
		return kernel, nil
	}
	if ram < minPatchedMemSize {
		return nil, fmt.Errorf("patching the setup header: %d bytes of RAM, want at least %d", ram, minPatchedMemSize)
	}
	k := slices.Clone(kernel)
	k[setupLoaderType] = qemuLoaderType
	k[setupLoadFlags] |= loadFlagCanHeap
	binary.LittleEndian.PutUint32(k[setupHeapEnd:], qemuHeapEnd)
	binary.LittleEndian.PutUint32(k[setupCmdlinePtr:], qemuCmdlineAddr)
	if initrdSize == 0 {
		return k, nil
	}
	limit := uint64(maxInitrdAddrOld)
	if binary.LittleEndian.Uint16(k[setupXLoadFlags:])&xlfAbove4G != 0 {
		limit = maxInitrdAddr
	}
	below4G := ram
	if ram >= lowMemLimit {
		below4G = lowMemWhenLarge
	}
	limit = min(limit, below4G-acpiDataSize-1)
	if initrdSize < 0 || uint64(initrdSize) > limit {
		return nil, fmt.Errorf("patching the setup header: initrd of %d bytes does not fit below %#x", initrdSize, limit)
	}
	addr := (limit - uint64(initrdSize)) &^ initrdPageMask
	binary.LittleEndian.PutUint32(k[setupRamdiskAddr:], uint32(addr))       //nolint:gosec // below 2^32 by limit
	binary.LittleEndian.PutUint32(k[setupRamdiskSize:], uint32(initrdSize)) //nolint:gosec // below limit
	return k, nil
}
