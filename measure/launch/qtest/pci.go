package qtest

import "fmt"

// PCI configuration access through I/O ports (PCI Local Bus specification, section 3.2.2.3.2).
const (
	portConfigAddress = 0xcf8
	portConfigData    = 0xcfc
	configEnable      = 0x80000000
	noDevice          = 0xffff

	offCommand     = 0x04
	commandMemory  = 1 << 1
	offBAR0        = 0x10
	offBARLast     = 0x20 // a 64-bit BAR needs two of the six slots
	barType        = 0xf
	barPrefetch64  = 0xc
	devicesPerBus  = 32
	configByteMask = 3
)

// Registers of the q35 chipset as OVMF leaves them (Intel 82G33 host bridge at 0.0, ICH9 LPC at 31.0).
const (
	devHostBridge  = 0x00
	offPCIEXBARLow = 0x60
	offPCIEXBARHi  = 0x64
	pciexbarValue  = 0xe0000000 | 1 // 256 MiB window at 0xe0000000, enabled
	devLPC         = 0x1f
	offPMBase      = 0x40
	pmBaseValue    = 0x600
	offACPIControl = 0x44
	acpiEnable     = 0x80
)

// configAddress selects a dword of function 0 of a device on the root bus.
func (c *Client) configAddress(dev, off uint32) error {
	return c.out("l", portConfigAddress, configEnable|dev<<11|off&^configByteMask)
}

func (c *Client) configRead(dev, off uint32) (uint32, error) {
	if err := c.configAddress(dev, off); err != nil {
		return 0, err
	}
	return c.inl(portConfigData)
}

func (c *Client) configWrite(dev, off, value uint32) error {
	if err := c.configAddress(dev, off); err != nil {
		return err
	}
	return c.out("l", portConfigData, value)
}

// ProgramChipset sets the registers whose values end up in the tables: without PCIEXBAR there is no MCFG, without
// PMBASE the FADT is wrong. It must run before the first fw_cfg access, because QEMU then freezes the tables.
func (c *Client) ProgramChipset() error {
	for _, r := range []struct{ dev, off, value uint32 }{
		{devHostBridge, offPCIEXBARHi, 0},
		{devHostBridge, offPCIEXBARLow, pciexbarValue},
		{devLPC, offPMBase, pmBaseValue},
	} {
		if err := c.configWrite(r.dev, r.off, r.value); err != nil {
			return fmt.Errorf("programming the chipset: %w", err)
		}
	}
	err := c.configAddress(devLPC, offACPIControl)
	if err == nil {
		err = c.out("b", portConfigData, acpiEnable)
	}
	if err != nil {
		return fmt.Errorf("programming the chipset: %w", err)
	}
	return nil
}

// ProgramWindow writes base into the first 64-bit prefetchable BAR on the root bus, as firmware would for the lowest
// one. QEMU derives the 64-bit PCI window in the DSDT from it. It reports whether there was such a BAR; without one
// the tables have no window.
func (c *Client) ProgramWindow(base uint64) (found bool, err error) {
	for dev := range uint32(devicesPerBus) {
		id, err := c.configRead(dev, 0)
		if err != nil {
			return false, fmt.Errorf("programming the PCI window: %w", err)
		}
		if id&noDevice == noDevice {
			continue
		}
		for off := uint32(offBAR0); off <= offBARLast; off += 4 {
			bar, err := c.configRead(dev, off)
			if err != nil {
				return false, fmt.Errorf("programming the PCI window: %w", err)
			}
			if bar&barType == barPrefetch64 {
				return true, c.programBAR(dev, off, base)
			}
		}
	}
	return false, nil
}

func (c *Client) programBAR(dev, off uint32, base uint64) error {
	err := c.configWrite(dev, off, uint32(base)) //nolint:gosec // low half
	if err == nil {
		err = c.configWrite(dev, off+4, uint32(base>>32))
	}
	if err == nil {
		var command uint32
		if command, err = c.configRead(dev, offCommand); err == nil {
			err = c.configWrite(dev, offCommand, command|commandMemory)
		}
	}
	if err != nil {
		return fmt.Errorf("programming BAR %#x of device %d: %w", off, dev, err)
	}
	return nil
}
