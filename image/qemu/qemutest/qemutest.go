// Package qemutest makes packages that package qemu takes for a QEMU: small ELF files with lists of libraries, ROMs, and
// a shell script in the place of the dynamic linker, which says what it was started with.
//
// It owns nothing else and trusts its caller. Values are plain data. It refuses nothing: malformed files are made on
// purpose.
package qemutest

import (
	"encoding/binary"
	"strings"

	"cocoon/image/deb/debtest"
)

// Libraries is where Debian keeps them.
const Libraries = "./usr/lib/x86_64-linux-gnu/"

// Package is a QEMU of a version, Debian's revision included, with two libraries and all ROMs.
func Package(version string) debtest.Package {
	upstream, _, _ := strings.Cut(strings.TrimPrefix(version, "1:"), "+")
	return debtest.Package{Name: "qemu-system-x86", Version: version, Files: []debtest.File{
		{Name: "./usr/bin/qemu-system-x86_64", Body: string(ELF("libone.so.1", "libc.so.6")), Mode: 0o755},
		{Name: "./usr/bin/qemu-system-i386", Body: "another program", Mode: 0o755},
		{Name: Libraries + "libone.so.1", Type: '2', Linkname: "libone.so.1.2.3"},
		{Name: Libraries + "libone.so.1.2.3", Body: string(ELF("libc.so.6"))},
		{Name: Libraries + "libc.so.6", Body: string(ELF("ld-linux-x86-64.so.2")), Mode: 0o755},
		{Name: Libraries + "libunused.so.1", Body: string(ELF())},
		{Name: Libraries + "ld-linux-x86-64.so.2", Body: Linker(upstream), Mode: 0o755},
		{Name: "./usr/share/qemu/kvmvapic.bin", Body: "apic"},
		{Name: "./usr/share/qemu/linuxboot_dma.bin", Body: "linuxboot"},
		{Name: "./usr/share/qemu/multiboot_dma.bin", Body: "multiboot"},
		{Name: "./usr/share/qemu/pvh.bin", Body: "pvh"},
		{Name: "./usr/share/qemu/slof.bin", Body: "of another architecture"},
		{Name: "./usr/share/seabios/bios-256k.bin", Body: "bios"},
		{Name: "./usr/share/seabios/vgabios-stdvga.bin", Body: "screen"},
	}}
}

// Linker stands in for the dynamic linker: it is a program that says a version when asked, and else its arguments and
// the variables that would change a real one, one per line.
func Linker(version string) string {
	return `#!/bin/sh
case "$*" in
*--version) echo "QEMU emulator version ` + version + ` (test)" ;;
*) printf '%s\n' "$@" "LD_PRELOAD=$LD_PRELOAD" "LD_LIBRARY_PATH=$LD_LIBRARY_PATH" "QEMU_MODULE_DIR=$QEMU_MODULE_DIR" ;;
esac
`
}

// Sizes and numbers of the System V ABI, 64 bit.
const (
	headerSize  = 64
	sectionSize = 64
	dynamicSize = 16
	typeDynamic = 6 // SHT_DYNAMIC
	typeStrings = 3 // SHT_STRTAB
	needed      = 1 // DT_NEEDED
	// Machine is where e_machine lies, for tests that change it.
	Machine = 18
)

// ELF is a shared object for x86-64 that needs libraries and has nothing else.
func ELF(libraries ...string) []byte {
	le := binary.LittleEndian
	names := []byte{0}
	var entries []byte
	for _, lib := range libraries {
		entries = le.AppendUint64(entries, needed)
		entries = le.AppendUint64(entries, uint64(len(names)))
		names = append(append(names, lib...), 0)
	}
	entries = append(entries, make([]byte, dynamicSize)...) // DT_NULL
	stringsAt := headerSize + len(entries)
	table := (stringsAt + len(names) + 7) &^ 7
	out := make([]byte, table+3*sectionSize)
	copy(out, "\x7fELF\x02\x01\x01")
	le.PutUint16(out[16:], 3)             // e_type: shared object
	le.PutUint16(out[Machine:], 62)       // e_machine: x86-64
	le.PutUint32(out[20:], 1)             // e_version
	le.PutUint64(out[40:], uint64(table)) //nolint:gosec // small
	le.PutUint16(out[52:], headerSize)
	le.PutUint16(out[58:], sectionSize)
	le.PutUint16(out[60:], 3) // e_shnum: none, dynamic, strings
	le.PutUint16(out[62:], 2) // e_shstrndx
	copy(out[headerSize:], entries)
	copy(out[stringsAt:], names)
	for i, s := range []struct{ kind, at, size, link int }{
		{}, {typeDynamic, headerSize, len(entries), 2}, {typeStrings, stringsAt, len(names), 0},
	} {
		h := out[table+i*sectionSize:]
		le.PutUint32(h[4:], uint32(s.kind))  //nolint:gosec // small
		le.PutUint64(h[24:], uint64(s.at))   //nolint:gosec // small
		le.PutUint64(h[32:], uint64(s.size)) //nolint:gosec // small
		le.PutUint32(h[40:], uint32(s.link)) //nolint:gosec // small
	}
	return out
}
