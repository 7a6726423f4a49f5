package pipelinetest

import (
	"bytes"
	"encoding/binary"
	"strings"

	"cocoon/image/deb/debtest"
)

// kernelPackage has the least that counts as a kernel: a boot header, module lists, two modules.
func kernelPackage(version string) debtest.Package {
	dir := "./usr/lib/modules/" + Release
	return debtest.Package{Name: "linux-image-" + Release, Version: version, Files: []debtest.File{
		{Name: "./boot/vmlinuz-" + Release, Body: string(bzImage())},
		{Name: dir + "/modules.builtin", Body: "kernel/fs/ext4/ext4.ko\n"},
		{Name: dir + "/modules.order", Body: "kernel/virtio_blk.ko\n"},
		{Name: dir + "/kernel/virtio_blk.ko", Body: string(module("virtio_blk"))},
		{Name: dir + "/kernel/qemu_fw_cfg.ko", Body: string(module("qemu_fw_cfg"))},
	}}
}

// KernelPackage is the kernel with other bytes behind its boot header.
func KernelPackage(version, content string) debtest.Package {
	p := kernelPackage(version)
	p.Files[0].Body += content
	return p
}

// bzImage has the boot header of the x86 boot protocol: boot_flag at 0x1fe, magic at 0x202.
func bzImage() []byte {
	image := make([]byte, 1024)
	image[0x1fe], image[0x1ff] = 0x55, 0xaa
	copy(image[0x202:], "HdrS")
	return image
}

// module is a relocatable ELF object (System V ABI, 64 bit) with one section .modinfo.
func module(name string) []byte {
	info := strings.Join([]string{"license=GPL", "name=" + name, "depends=", "vermagic=" + Release + " SMP preempt mod_unload ", ""}, "\x00")
	const names = "\x00.modinfo\x00.shstrtab\x00"
	const header, sectionHeader = 64, 64
	le := binary.LittleEndian
	namesAt := header + len(info)
	table := (namesAt + len(names) + 7) &^ 7
	out := make([]byte, table+3*sectionHeader)
	copy(out, "\x7fELF\x02\x01\x01")
	le.PutUint16(out[16:], 1)  // e_type: relocatable
	le.PutUint16(out[18:], 62) // e_machine: x86-64
	le.PutUint32(out[20:], 1)
	le.PutUint64(out[40:], uint64(table)) //nolint:gosec // small
	le.PutUint16(out[52:], header)
	le.PutUint16(out[58:], sectionHeader)
	le.PutUint16(out[60:], 3)
	le.PutUint16(out[62:], 2)
	copy(out[header:], info)
	copy(out[namesAt:], names)
	for i, s := range []struct{ name, kind, at, size int }{{}, {1, 1, header, len(info)}, {10, 3, namesAt, len(names)}} {
		h := out[table+i*sectionHeader:]
		le.PutUint32(h, uint32(s.name))      //nolint:gosec // small
		le.PutUint32(h[4:], uint32(s.kind))  //nolint:gosec // small
		le.PutUint64(h[24:], uint64(s.at))   //nolint:gosec // small
		le.PutUint64(h[32:], uint64(s.size)) //nolint:gosec // small
	}
	return out
}

// stub is a small legal PE32+ image with one section and room for three more headers.
func stub() []byte {
	const pe, coff, opt, table = 0x40, 0x44, 0x58, 0x58 + 240
	b := make([]byte, 0x800)
	le := binary.LittleEndian
	copy(b, "MZ")
	le.PutUint32(b[0x3c:], pe)
	copy(b[pe:], "PE\x00\x00")
	le.PutUint16(b[coff:], 0x8664)
	le.PutUint16(b[coff+2:], 1)
	le.PutUint16(b[coff+16:], 240)
	le.PutUint16(b[coff+18:], 0x22)
	le.PutUint16(b[opt:], 0x20b)
	le.PutUint32(b[opt+32:], 0x1000)
	le.PutUint32(b[opt+36:], 0x200)
	le.PutUint32(b[opt+56:], 0x2000)
	le.PutUint32(b[opt+60:], 0x600)
	le.PutUint32(b[opt+108:], 16)
	copy(b[table:], ".text")
	le.PutUint32(b[table+8:], 0x123)
	le.PutUint32(b[table+12:], 0x1000)
	le.PutUint32(b[table+16:], 0x200)
	le.PutUint32(b[table+20:], 0x600)
	return b
}

// storeSize is the variable store in front of the firmware's code (measure.md section 1.5).
const storeSize = 0x84000

// variableStore is a blank one: firmware volume header, store header, erased flash (EDK II, VariableFormat.h).
func variableStore() []byte {
	const header = 0x48
	out := bytes.Repeat([]byte{0xff}, storeSize)
	clear(out[:header])
	copy(out[16:], []byte{0x8d, 0x2b, 0xf1, 0xff, 0x96, 0x76, 0x8b, 0x4c, 0xa9, 0x85, 0x27, 0x47, 0x07, 0x5b, 0x4f, 0x50})
	binary.LittleEndian.PutUint64(out[32:], storeSize)
	copy(out[40:], "_FVH")
	binary.LittleEndian.PutUint16(out[48:], header)
	copy(out[header:], []byte{0x78, 0x2c, 0xf3, 0xaa, 0x7b, 0x94, 0x9a, 0x43, 0xa1, 0x80, 0x2e, 0x14, 0x4e, 0xc3, 0x77, 0x92})
	binary.LittleEndian.PutUint32(out[header+16:], 0x40000-header)
	out[header+20], out[header+21] = 0x5a, 0xfe
	return out
}

// tdxFirmware is a firmware image with a variable in its store and TDX metadata at its end.
func tdxFirmware() []byte {
	out := append(variableStore(), bytes.Repeat([]byte{0x90}, 0x7c000)...)
	copy(out[0x48+28:], "\xaa\x55\x3fvariable")
	copy(out[len(out)-0x100:], "TDVF")
	return out
}
