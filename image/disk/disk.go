// Package disk writes bootable disk images: a GPT with an EFI system partition that holds the UKI, and one partition
// per layer (image.md sections 8.2 and 8.3).
//
// It owns sizes, order, names and GUIDs, all derived from content: the firmware measures the partition table, so every
// byte of it is part of the image's identity and the file is never resized afterwards. Tables and FAT come from
// go-diskfs, with two corrections that its FAT needs. Layers are copied in pieces and hashed on the way, so their size
// does not matter. It trusts its inputs' names, nothing about their content. FAT directory entries carry the time of
// the environment variable SOURCE_DATE_EPOCH, because the library reads it there: Write sets it, and refuses to run in
// a process where it has another value. Calls with one epoch may run concurrently. It writes plain files only, never
// devices.
package disk

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"strconv"
)

const (
	sectorSize = 512
	mib        = 1 << 20
	// gptReserve is the room in front of the first partition, and behind the last for the backup table.
	gptReserve = mib
	// espStep is the step of the ESP's size. With this library a FAT of exactly 64 MiB or 4 GiB is broken; the first
	// is below the step and the second above maxESP.
	espStep = 128 * mib
	// espOverhead is set aside in every step for the FATs (8 bytes per 512) and directories.
	espOverhead = 4 * mib
	// maxESP bounds the ESP. A UKI has about 20 MB.
	maxESP = 16 * espStep
	// maxPartitions bounds the layers; a worker has three.
	maxPartitions = 16
	// maxLayer bounds one layer; an engine layer has about 10 GB.
	maxLayer = 1 << 42
	// epochVariable is what go-diskfs takes directory entries' times from.
	epochVariable = "SOURCE_DATE_EPOCH"
	// fatEpoch is 1980-01-01, the first date that a FAT directory entry can hold.
	fatEpoch = 315532800
)

// Partition types (UEFI specification, table "Defined GPT Partition Entry - Partition Type GUIDs", and systemd's
// discoverable partitions for Linux data).
const (
	TypeESP  = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"
	TypeData = "0FC63DAF-8483-4772-8E79-3D69D8477DE4"
)

// NamePrefix goes in front of a layer's id in its partition's name; the guest finds layers by it.
const NamePrefix = "cocoon-"

// Partition is a layer that goes onto the disk.
type Partition struct {
	// ID is the layer's id, as in etc/layers.json.
	ID string
	// Path is the layer file.
	Path string
}

// Spec is what a disk is made of.
type Spec struct {
	// UKI is the file that becomes \EFI\BOOT\BOOTX64.EFI.
	UKI string
	// Partitions are the layers in order of their partitions, which follow the ESP.
	Partitions []Partition
	// Epoch is the time of every directory entry, in seconds since 1970 and not before 1980.
	Epoch int64
}

// Placed is one partition of a finished disk.
type Placed struct {
	Name string
	Type string
	GUID string
	// FirstLBA and LastLBA count sectors of 512 bytes, both inclusive.
	FirstLBA, LastLBA uint64
	// Bytes is the length of the content; the partition is padded with zeros.
	Bytes int64
	// SHA256 is the content's: the layer file's, for the ESP the UKI's.
	SHA256 [sha256.Size]byte
}

// Layout is what Write made.
type Layout struct {
	// Size is the disk's in bytes.
	Size int64
	GUID string
	// Partitions are in order of their numbers; the first is the ESP.
	Partitions []Placed
}

// Write makes the disk image called name, replacing a file of that name. On an error no file is left.
func Write(ctx context.Context, name string, s Spec) (Layout, error) {
	l, err := plan(s)
	if err != nil {
		return Layout{}, fmt.Errorf("planning disk %s: %w", name, err)
	}
	if err := setEpoch(s.Epoch); err != nil {
		return Layout{}, fmt.Errorf("writing disk %s: %w", name, err)
	}
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Layout{}, fmt.Errorf("writing disk: %w", err)
	}
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return Layout{}, fmt.Errorf("writing disk: %w", err)
	}
	if err := errors.Join(l.write(ctx, f, s), f.Close()); err != nil {
		return Layout{}, errors.Join(fmt.Errorf("writing disk %s: %w", name, err), os.Remove(name))
	}
	return l, nil
}

// idRule is the rule for layer ids (image.md section 2).
var idRule = regexp.MustCompile(`^[a-z0-9-]{1,20}$`)

// plan places every partition; hashes and GUIDs come later.
func plan(s Spec) (Layout, error) {
	if len(s.Partitions) > maxPartitions {
		return Layout{}, fmt.Errorf("%d layers, at most %d", len(s.Partitions), maxPartitions)
	}
	if s.Epoch < fatEpoch {
		return Layout{}, fmt.Errorf("epoch %d lies before 1980, where FAT's calendar begins", s.Epoch)
	}
	uki, err := fileSize(s.UKI)
	if err != nil {
		return Layout{}, err
	}
	steps := uki/(espStep-espOverhead) + 1
	if steps*espStep > maxESP {
		return Layout{}, fmt.Errorf("UKI %s of %d bytes does not fit an ESP of %d", s.UKI, uki, maxESP)
	}
	var l Layout
	next := int64(gptReserve)
	add := func(p Placed, size int64) {
		p.FirstLBA = uint64(next / sectorSize)         //nolint:gosec // positive
		p.LastLBA = uint64((next+size)/sectorSize) - 1 //nolint:gosec // positive
		l.Partitions, next = append(l.Partitions, p), next+size
	}
	add(Placed{Name: "esp", Type: TypeESP, Bytes: uki}, steps*espStep)
	seen := make(map[string]bool)
	for _, p := range s.Partitions {
		size, err := fileSize(p.Path)
		switch {
		case err != nil:
			return Layout{}, err
		case !idRule.MatchString(p.ID):
			return Layout{}, fmt.Errorf("layer id %q does not match %s", p.ID, idRule)
		case seen[p.ID]:
			return Layout{}, fmt.Errorf("layer id %q appears twice", p.ID)
		}
		seen[p.ID] = true
		add(Placed{Name: NamePrefix + p.ID, Type: TypeData, Bytes: size}, (size+mib-1)/mib*mib)
	}
	l.Size = next + gptReserve
	return l, nil
}

// fileSize is the size of a plain, non-empty file.
func fileSize(name string) (int64, error) {
	st, err := os.Stat(name)
	switch {
	case err != nil:
		return 0, fmt.Errorf("measuring input: %w", err)
	case !st.Mode().IsRegular():
		return 0, fmt.Errorf("input %s is not a plain file", name)
	case st.Size() == 0 || st.Size() > maxLayer:
		return 0, fmt.Errorf("input %s has %d bytes, want 1..%d", name, st.Size(), int64(maxLayer))
	}
	return st.Size(), nil
}

// setEpoch makes the environment name the epoch.
func setEpoch(epoch int64) error {
	want := strconv.FormatInt(epoch, 10)
	switch got, ok := os.LookupEnv(epochVariable); {
	case ok && got != want:
		return fmt.Errorf("%s is %q in the environment, the image's epoch is %s: unset the variable", epochVariable, got, want)
	case ok:
		return nil
	}
	if err := os.Setenv(epochVariable, want); err != nil {
		return fmt.Errorf("setting %s: %w", epochVariable, err)
	}
	return nil
}

// guid derives a GUID from what it names (image.md section 8.2); version nibble 8 and variant as in RFC 9562.
func guid(label string, content [sha256.Size]byte) string {
	s := sha256.Sum256(append([]byte("cocoon-guid:"+label+":"), content[:]...))
	s[6] = s[6]&0x0f | 0x80
	s[8] = s[8]&0x3f | 0x80
	return fmt.Sprintf("%X-%X-%X-%X-%X", s[0:4], s[4:6], s[6:8], s[8:10], s[10:16])
}
