package storage

import (
	"context"
	"fmt"

	"cocoon/guest/mounts"
)

// superblockBlocks is the one block between data and tree; outside tools read it, the guest never does.
const superblockBlocks = 1

// Volume is a read-only EROFS image with its verity tree behind it, on one device.
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
}

// Opener opens volumes.
type Opener struct {
	Find    func(ctx context.Context, name string) (Device, error)
	Control Control
	Kernel  mounts.Kernel
}

// Opened says where a volume came from and where it went.
type Opened struct {
	Device Device
	// Node is the verity device, /dev/dm-<minor>.
	Node string
}

// Open finds the device, puts verity over it and mounts it.
func (o Opener) Open(ctx context.Context, v Volume) (Opened, error) {
	dev, err := o.Find(ctx, v.Name)
	if err != nil {
		return Opened{}, fmt.Errorf("opening volume %s: %w", v.Name, err)
	}
	opened, err := o.activate(dev, v)
	if err != nil {
		return Opened{}, fmt.Errorf("opening volume %s: %w", v.Name, err)
	}
	return opened, nil
}

func (o Opener) activate(dev Device, v Volume) (Opened, error) {
	if need := v.minBytes(); dev.Bytes < need {
		return Opened{}, fmt.Errorf("disk %s has %d bytes, the volume needs %d: it is truncated", dev.Name, dev.Bytes, need)
	}
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
	m := mounts.Mount{Source: node, Target: v.Mount, FSType: "erofs", Flags: mounts.LayerFlags}
	if err := m.Create(o.Kernel); err != nil {
		return Opened{}, fmt.Errorf("mounting %s: %w", node, err)
	}
	return Opened{Device: dev, Node: node}, nil
}

// minBytes is where the last tree block ends; a single data block has no tree at all, only the superblock block.
func (v Volume) minBytes() uint64 {
	return max(v.HashStartBlock+v.HashBlocks, v.DataBlocks+superblockBlocks) * sectorSize * sectorsPerBlock
}
