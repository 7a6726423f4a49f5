package qtest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/bits"
)

// The fw_cfg interface (QEMU docs/specs/fw_cfg).
const (
	selFileDir   = 0x19
	selBootMenu  = 0x0e
	dmaPortHigh  = 0x514
	dmaPortLow   = 0x518
	dmaRead      = 1 << 1
	dmaSelect    = 1 << 3
	dirEntrySize = 64
	dirNameSize  = 56
	bootMenuSize = 2
)

// Guest memory used for the transfer; a machine needs 129 MiB of RAM for it.
const (
	bufferAddr = 0x08000000
	structAddr = 0x08100000
	// MinMemoryMiB is the least RAM of a machine that can be probed.
	MinMemoryMiB = 129
)

// Bounds of what is read. The kernel itself is offered as a file too; nothing that large is measured from fw_cfg.
const (
	maxFiles    = 512
	maxFileSize = 1 << 20
)

// FwCfg is what a machine offers to its firmware.
type FwCfg struct {
	// BootMenu is the item of selector 0x0e, two bytes.
	BootMenu []byte
	// Files holds every file of at most 1 MiB by its name.
	Files map[string][]byte
	// Skipped names the larger files with their sizes: kernel and initrd.
	Skipped map[string]uint32
}

// ReadFwCfg reads the boot menu item and all files. The tables are frozen by the first of these reads: program the
// chipset and the window before.
func (c *Client) ReadFwCfg() (*FwCfg, error) {
	head, err := c.item(selFileDir, 4)
	if err != nil {
		return nil, fmt.Errorf("reading the fw_cfg directory: %w", err)
	}
	count := binary.BigEndian.Uint32(head)
	if count == 0 || count > maxFiles {
		return nil, fmt.Errorf("%w: %d fw_cfg files, want 1..%d", ErrProtocol, count, maxFiles)
	}
	dir, err := c.item(selFileDir, 4+int(count)*dirEntrySize)
	if err != nil {
		return nil, fmt.Errorf("reading the fw_cfg directory: %w", err)
	}
	out := &FwCfg{Files: make(map[string][]byte, count), Skipped: make(map[string]uint32)}
	for entry := dir[4:]; len(entry) > 0; entry = entry[dirEntrySize:] {
		if err := c.readFile(entry[:dirEntrySize], out); err != nil {
			return nil, err
		}
	}
	if out.BootMenu, err = c.item(selBootMenu, bootMenuSize); err != nil {
		return nil, fmt.Errorf("reading the boot menu item: %w", err)
	}
	return out, nil
}

// readFile reads the file of one directory entry: u32 size, u16 selector, u16 zero, name, all big-endian.
func (c *Client) readFile(entry []byte, out *FwCfg) error {
	size := binary.BigEndian.Uint32(entry)
	selector := binary.BigEndian.Uint16(entry[4:])
	raw, _, _ := bytes.Cut(entry[8:8+dirNameSize], []byte{0})
	name := string(raw)
	_, twice := out.Files[name]
	switch {
	case name == "" || twice:
		return fmt.Errorf("%w: fw_cfg file name %q is empty or appears twice", ErrProtocol, name)
	case size > maxFileSize:
		out.Skipped[name] = size
		return nil
	case size == 0:
		out.Files[name] = []byte{}
		return nil
	}
	data, err := c.item(selector, int(size))
	if err != nil {
		return fmt.Errorf("reading fw_cfg file %s: %w", name, err)
	}
	out.Files[name] = data
	return nil
}

// item reads the first bytes of a fw_cfg item by DMA into guest memory.
func (c *Client) item(selector uint16, size int) ([]byte, error) {
	request := binary.BigEndian.AppendUint32(nil, uint32(selector)<<16|dmaSelect|dmaRead)
	request = binary.BigEndian.AppendUint32(request, uint32(size)) //nolint:gosec // at most maxFileSize
	request = binary.BigEndian.AppendUint64(request, bufferAddr)
	if err := c.write(structAddr, request); err != nil {
		return nil, err
	}
	if err := c.out("l", dmaPortHigh, 0); err != nil {
		return nil, err
	}
	if err := c.out("l", dmaPortLow, bits.ReverseBytes32(structAddr)); err != nil {
		return nil, err
	}
	status, err := c.read(structAddr, 4)
	if err != nil {
		return nil, err
	}
	if v := binary.BigEndian.Uint32(status); v != 0 {
		return nil, fmt.Errorf("%w: fw_cfg DMA of item %#x ended with status %#x", ErrProtocol, selector, v)
	}
	return c.read(bufferAddr, size)
}
