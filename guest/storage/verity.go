package storage

import (
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"cocoon/measure/bootfiles"
)

const (
	// sectorsPerBlock is 4096 / 512: device-mapper counts sectors, our metadata counts blocks.
	sectorsPerBlock = bootfiles.BlockSize / 512
	// maxSalt is dm-verity's limit on the salt, in bytes (drivers/md/dm-verity-target.c).
	maxSalt = 256
)

// OnError says what the kernel does when a block of the volume cannot be read.
type OnError uint8

const (
	// PanicOnError panics: a host must not be able to feed selected read errors to a running service. Layers.
	PanicOnError OnError = iota
	// ReturnErrors passes read errors to the reader. The model volume, whose reader can report them.
	ReturnErrors
)

// Verity is everything dm-verity needs; all of it comes from measured data. Corruption always panics.
type Verity struct {
	// Device holds the data and, behind it, the superblock block and the tree.
	Device string
	// DataBlocks and HashStartBlock count 4096-byte blocks from the start of the device.
	DataBlocks     uint64
	HashStartBlock uint64
	// RootHash is 64 hex digits, Salt at most 512; both lower case.
	RootHash string
	Salt     string
	OnError  OnError
}

var nodeRule = regexp.MustCompile(`^/dev/[a-z0-9/-]{1,64}$`)

// Target is the table line of image.md section 6.2. It never contains check_at_most_once (the host may change a
// page after its first read), ignore_corruption or restart_on_corruption.
func (v Verity) Target() (Target, error) {
	if err := v.validate(); err != nil {
		return Target{}, fmt.Errorf("making verity table: %w", err)
	}
	salt := v.Salt
	if salt == "" {
		salt = "-"
	}
	options := "1 panic_on_corruption"
	if v.OnError == PanicOnError {
		options = "2 panic_on_corruption panic_on_error"
	}
	return Target{
		Type:    "verity",
		Sectors: v.DataBlocks * sectorsPerBlock,
		Params: fmt.Sprintf("1 %s %s %d %d %d %d sha256 %s %s %s", v.Device, v.Device, bootfiles.BlockSize, bootfiles.BlockSize,
			v.DataBlocks, v.HashStartBlock, v.RootHash, salt, options),
	}, nil
}

// validate keeps every word of the table free of spaces and within the kernel's ranges.
func (v Verity) validate() error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	check(nodeRule.MatchString(v.Device), "device: %q does not match %s", v.Device, nodeRule)
	check(v.DataBlocks >= 1 && v.DataBlocks < 1<<40, "data blocks: %d is not in 1..2^40-1", v.DataBlocks)
	check(v.HashStartBlock > v.DataBlocks, "hash start block: %d lies within the %d data blocks", v.HashStartBlock, v.DataBlocks)
	check(isHex(v.RootHash, 32, 32), "root hash: %q is not 64 lower-case hex digits", v.RootHash)
	check(isHex(v.Salt, 0, maxSalt), "salt: %q is not lower-case hex of at most %d bytes", v.Salt, maxSalt)
	check(v.OnError <= ReturnErrors, "error mode: %d is unknown", v.OnError)
	return errors.Join(errs...)
}

func isHex(s string, minBytes, maxBytes int) bool {
	raw, err := hex.DecodeString(s)
	return err == nil && len(raw) >= minBytes && len(raw) <= maxBytes && strings.ToLower(s) == s
}
