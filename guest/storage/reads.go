package storage

import (
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
)

// sectorsRead is the field of a device's stat file that counts the sectors read (Documentation/block/stat.rst).
const sectorsRead = 2

// SectorsRead counts what has been read of a device node since it exists, in units of 512 bytes. sys is the file system
// below /sys.
func SectorsRead(sys fs.FS, node string) (uint64, error) {
	name := path.Join("block", path.Base(node), "stat")
	raw, err := readAttribute(sys, name)
	if err != nil {
		return 0, fmt.Errorf("reading %s: %w", name, err)
	}
	fields := strings.Fields(string(raw))
	if len(fields) <= sectorsRead {
		return 0, fmt.Errorf("reading %s: %d fields, want more than %d", name, len(fields), sectorsRead)
	}
	n, err := strconv.ParseUint(fields[sectorsRead], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("reading %s: %w", name, err)
	}
	return n, nil
}
