package launch

import (
	"fmt"
	"slices"

	"cocoon/measure/bootfiles"
)

// layerSlots gives every role of a layer its slot of the root bus. A slot belongs to a role; the serial in it is the
// id of the image's layer, by which the guest finds it.
func layerSlots() map[bootfiles.Role]uint8 {
	return map[bootfiles.Role]uint8{
		bootfiles.RoleBase: slotBase, bootfiles.RoleGPU: slotGPU, bootfiles.RoleEngine: slotEngine,
	}
}

// SetLayers gives the layer disks of a built-in machine the serials of an image's layers. Serials are not measured,
// so the prediction stays. In the disk form the layers are partitions and there is nothing to set. A machine without
// a disk for one of the layers, or with a disk for a layer that the image does not have, is an error.
func (m *Machine) SetLayers(layers []bootfiles.Layer) error {
	if m.Boot == BootDisk {
		return nil
	}
	bySlot := make(map[uint8]string, len(layers))
	for _, l := range layers {
		slot := layerSlots()[l.Role]
		if bySlot[slot] != "" {
			return fmt.Errorf("fitting machine %s to the image: layers %s and %s both have role %s", m.Name, bySlot[slot], l.ID, l.Role)
		}
		bySlot[slot] = l.ID
	}
	devices := slices.Clone(m.Devices)
	for i, d := range devices {
		if d.Kind != Disk || d.Bus != RootBus || d.Slot < slotBase || d.Slot > slotEngine {
			continue
		}
		id, ok := bySlot[d.Slot]
		if !ok {
			return fmt.Errorf("fitting machine %s to the image: it has disk %s, the image has no such layer", m.Name, d.ID)
		}
		devices[i].Serial = id
		delete(bySlot, d.Slot)
	}
	for _, l := range layers {
		if _, left := bySlot[layerSlots()[l.Role]]; left {
			return fmt.Errorf("fitting machine %s to the image: it has no disk for layer %s of role %s", m.Name, l.ID, l.Role)
		}
	}
	m.Devices = devices
	return nil
}
