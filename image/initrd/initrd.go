// Package initrd writes and reads the initial RAM disk: an uncompressed newc cpio archive in one canonical form
// (image.md section 5).
//
// It owns that form: names sorted bytewise, every header field set here, nothing taken from the build machine. Read
// accepts only bytes that Write would produce, so an archive that parses has exactly one encoding. Functions are pure
// and safe for concurrent use. Trees and archives are hostile input. Refused: hard links, owners other than root,
// modes and device nodes other than ours, and the paths from which Linux would take ACPI tables or processor
// microcode before any of our code runs.
package initrd

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/u-root/u-root/pkg/cpio"

	"cocoon/image/rootfs"
)

const (
	// maxArchive bounds an archive; ours are about 6 MB, a debug one stays below 100 MB.
	maxArchive = 1 << 30
	// maxRecords bounds the records of an archive; ours have about 40.
	maxRecords = 1 << 16
	// maxLink bounds a symlink's target: Linux' PATH_MAX with its NUL.
	maxLink = 4095
)

// Linux reads these straight from the archive: ACPI table overrides (CONFIG_ACPI_TABLE_UPGRADE) and early microcode.
// Nothing of ours belongs there.
const (
	earlyACPI      = "kernel/firmware/acpi"
	earlyMicrocode = "kernel/x86/microcode"
)

// The console device; without it PID 1 has no standard input and output.
const (
	consolePath  = "dev/console"
	consoleMajor = 5
	consoleMinor = 1
)

// Write writes the tree as an archive. The root directory has no record.
func Write(w io.Writer, tree *rootfs.Tree) error {
	nodes := tree.Nodes()
	if len(nodes) > maxRecords {
		return fmt.Errorf("writing initrd: %d paths, at most %d", len(nodes), maxRecords)
	}
	archive := cpio.Newc.Writer(w)
	seen := make(map[*rootfs.Inode]string, len(nodes))
	for _, n := range nodes {
		if n.Path == "." {
			continue
		}
		if first, ok := seen[n.Inode]; ok {
			return fmt.Errorf("writing initrd: %q is a hard link to %q; store it as a file of its own", n.Path, first)
		}
		seen[n.Inode] = n.Path
		rec, err := record(n)
		if err != nil {
			return fmt.Errorf("writing initrd: %q: %w", n.Path, err)
		}
		if err := archive.WriteRecord(rec); err != nil {
			return fmt.Errorf("writing initrd: %q: %w", n.Path, err)
		}
	}
	if err := archive.WriteRecord(trailer()); err != nil {
		return fmt.Errorf("writing initrd: %w", err)
	}
	return nil
}

// Encode is Write into memory.
func Encode(tree *rootfs.Tree) ([]byte, error) {
	var out bytes.Buffer
	if err := Write(&out, tree); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// record makes the cpio record of a node. Inode number, owner, time and device are 0, the link count is 1.
func record(n rootfs.Node) (cpio.Record, error) {
	if err := checkNode(n); err != nil {
		return cpio.Record{}, err
	}
	info := cpio.Info{Name: n.Path, Mode: uint64(n.Inode.Mode), NLink: 1}
	var data io.ReaderAt
	switch n.Inode.Type {
	case rootfs.Dir:
		info.Mode |= cpio.S_IFDIR
	case rootfs.Symlink:
		info.Mode |= cpio.S_IFLNK
		info.FileSize = uint64(len(n.Inode.Target))
		data = strings.NewReader(n.Inode.Target)
	case rootfs.CharDevice:
		info.Mode |= cpio.S_IFCHR
		info.Rmajor, info.Rminor = uint64(n.Inode.Major), uint64(n.Inode.Minor)
	default:
		info.Mode |= cpio.S_IFREG
		info.FileSize = uint64(n.Inode.Content.Size) //nolint:gosec // checkNode
		data = io.NewSectionReader(n.Inode.Content, 0, n.Inode.Content.Size)
	}
	return cpio.Record{ReaderAt: data, Info: info}, nil
}

// trailer ends the archive.
func trailer() cpio.Record {
	return cpio.Record{Info: cpio.Info{Name: cpio.Trailer, NLink: 1}}
}

// shape is one legal kind of node.
type shape struct {
	kind  rootfs.Type
	text  string
	modes []uint32
	legal func(n rootfs.Node) bool
}

// shapes are all legal kinds.
func shapes() []shape {
	return []shape{
		{rootfs.Dir, "directory 0755", []uint32{0o755}, func(rootfs.Node) bool { return true }},
		{rootfs.File, "file 0644 or 0755 of at most 1 GiB", []uint32{0o644, 0o755}, func(n rootfs.Node) bool {
			return n.Inode.Content.Size >= 0 && n.Inode.Content.Size <= maxArchive
		}},
		{rootfs.Symlink, "symlink 0777", []uint32{0o777}, func(n rootfs.Node) bool {
			return n.Inode.Target != "" && len(n.Inode.Target) <= maxLink
		}},
		{rootfs.CharDevice, "device dev/console 0600 5:1", []uint32{0o600}, func(n rootfs.Node) bool {
			return n.Path == consolePath && n.Inode.Major == consoleMajor && n.Inode.Minor == consoleMinor
		}},
	}
}

// checkNode applies the rules of the form to one node.
func checkNode(n rootfs.Node) error {
	for _, early := range []string{earlyACPI, earlyMicrocode} {
		if n.Path == early || strings.HasPrefix(n.Path, early+"/") {
			return fmt.Errorf("the kernel reads %s from the initrd by itself; an image must not have it", early)
		}
	}
	if n.Path == cpio.Trailer {
		return errors.New("this name ends an archive")
	}
	if n.Inode.UID != 0 || n.Inode.GID != 0 {
		return fmt.Errorf("owner %d:%d, want 0:0", n.Inode.UID, n.Inode.GID)
	}
	var legal []string
	for _, s := range shapes() {
		if s.kind == n.Inode.Type && slices.Contains(s.modes, n.Inode.Mode) && s.legal(n) {
			return nil
		}
		legal = append(legal, s.text)
	}
	return fmt.Errorf("mode %#o of type %d is none of: %s", n.Inode.Mode, n.Inode.Type, strings.Join(legal, ", "))
}
