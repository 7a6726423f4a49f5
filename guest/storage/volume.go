package storage

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"cocoon/guest/mounts"
	"cocoon/measure/bootfiles"
)

// superblockBlocks is the one block between data and tree; outside tools read it, the guest never does.
const superblockBlocks = 1

// Volume is a read-only EROFS image, or an archive, with its verity tree behind it, on one device.
type Volume struct {
	// Name is the virtio serial, the partition name without its prefix, and the device-mapper name.
	Name string
	// DataBlocks, HashStartBlock and HashBlocks count 4096-byte blocks.
	DataBlocks     uint64
	HashStartBlock uint64
	HashBlocks     uint64
	// RootHash and Salt are lower-case hex.
	RootHash string
	Salt     string
	// Mount is the absolute mount point.
	Mount   string
	OnError OnError
	// Archive says that the data is a model in the reference's form, a tar, and no EROFS image.
	Archive bool
	// Identity is what the volume is called outside, name@commit:root. A volume that has one is compared with its root
	// before anything is activated: a swapped disk is then refused by name, and not by a panic of the kernel.
	Identity string
}

// Disk is an open block device.
type Disk interface {
	io.ReaderAt
	io.Closer
}

// Opener opens volumes.
type Opener struct {
	Find    func(ctx context.Context, name string) (Device, error)
	Control Control
	Kernel  mounts.Kernel
	// Read opens a device for the comparison of volumes with an identity.
	Read func(d Device) (Disk, error)
	// Attach makes the archive on a verity device mountable; AttachArchive is the real one.
	Attach func(node string, bytes uint64) (*View, error)
}

// Opened says where a volume came from and where it went.
type Opened struct {
	Device Device
	// Node is the verity device, /dev/dm-<minor>.
	Node string
	// Members counts an archive's files and folders.
	Members int
}

// Open finds the device, puts verity over it and mounts it.
func (o Opener) Open(ctx context.Context, v Volume) (Opened, error) {
	dev, err := o.Find(ctx, v.Name)
	if err != nil {
		return Opened{}, fmt.Errorf("opening volume %s: %w", v.Name, err)
	}
	if err := o.compare(dev, v); err != nil {
		return Opened{}, fmt.Errorf("opening volume %s: %w", v.Name, err)
	}
	opened, err := o.activate(dev, v)
	if err != nil {
		return Opened{}, fmt.Errorf("opening volume %s: %w", v.Name, err)
	}
	return opened, nil
}

// compare refuses a device that cannot be the volume: too short, or the tree of another one. What it reads is hashed and
// not interpreted, and decides nothing: the kernel checks every block against the root again.
func (o Opener) compare(dev Device, v Volume) (err error) {
	if need := v.minBytes(); dev.Bytes < need {
		return fmt.Errorf("disk %s has %d bytes, %s needs %d: it is truncated", dev.Name, dev.Bytes, v.title(), need)
	}
	if v.Identity == "" {
		return nil
	}
	disk, err := o.Read(dev)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, disk.Close()) }()
	top, err := v.top(disk)
	if err != nil {
		return fmt.Errorf("reading disk %s: %w", dev.Name, err)
	}
	if top != v.RootHash {
		return fmt.Errorf("disk %s is not %s: the root of its hash tree is %s; attach that volume, or measure another configuration",
			dev.Name, v.Identity, top)
	}
	return nil
}

// top is the root hash that the device's own tree has: the digest of its first block, or of the only data block.
func (v Volume) top(r io.ReaderAt) (string, error) {
	at := v.HashStartBlock
	if v.HashBlocks == 0 {
		at = 0
	}
	block := make([]byte, bootfiles.BlockSize)
	if n, err := r.ReadAt(block, int64(at)*bootfiles.BlockSize); n < len(block) {
		return "", err
	}
	salt, err := hex.DecodeString(v.Salt)
	if err != nil {
		return "", fmt.Errorf("salt: %w", err)
	}
	sum := sha256.Sum256(append(salt, block...))
	return hex.EncodeToString(sum[:]), nil
}

func (v Volume) title() string {
	if v.Identity != "" {
		return v.Identity
	}
	return "the volume"
}

func (o Opener) activate(dev Device, v Volume) (Opened, error) {
	target, err := Verity{
		Device: dev.Node, DataBlocks: v.DataBlocks, HashStartBlock: v.HashStartBlock,
		RootHash: v.RootHash, Salt: v.Salt, OnError: v.OnError,
	}.Target()
	if err != nil {
		return Opened{}, err
	}
	node, err := Activate(o.Control, v.Name, target)
	if err != nil {
		return Opened{}, err
	}
	opened := Opened{Device: dev, Node: node}
	m := mounts.Mount{Source: node, Target: v.Mount, FSType: "erofs", Flags: mounts.LayerFlags}
	if v.Archive {
		view, err := o.Attach(node, v.DataBlocks*bootfiles.BlockSize)
		if err != nil {
			return Opened{}, err
		}
		defer view.Close() //nolint:errcheck // the mount has taken the devices, or there is none and they are not missed
		m.Source, m.Data, opened.Members = view.Source, "device="+view.Device, view.Members
	}
	if err := m.Create(o.Kernel); err != nil {
		if v.Identity != "" && !v.Archive { // its root was right
			err = fmt.Errorf("%w: the volume is %s and no EROFS image; is its measured format another?", err, v.Identity)
		}
		return Opened{}, fmt.Errorf("mounting %s: %w", m.Source, err)
	}
	return opened, nil
}

// minBytes is where the last tree block ends; a single data block has no tree at all, only the superblock block.
func (v Volume) minBytes() uint64 {
	return max(v.HashStartBlock+v.HashBlocks, v.DataBlocks+superblockBlocks) * sectorSize * sectorsPerBlock
}
