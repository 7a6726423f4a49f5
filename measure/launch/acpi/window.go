package acpi

import "fmt"

// Physical address widths for which OVMF's rule is known (PlatformInitLib: at least 36, clamped to 46 with 4-level
// paging).
const (
	minPhysBits = 36
	maxPhysBits = 46
)

// Mmio64Base is where OVMF puts 64-bit PCI BARs: the last eighth of the physical address space, as wide as the
// firmware sees it. physBits is what the guest's CPUID 0x80000008 shows; wider values are clamped as with 4-level
// paging (measure.md section 7.3).
func Mmio64Base(physBits int) (uint64, error) {
	if physBits < minPhysBits || physBits > 52 {
		return 0, fmt.Errorf("computing the 64-bit PCI window: %d physical address bits, want %d..52", physBits, minPhysBits)
	}
	p := min(physBits, maxPhysBits)
	return 1<<p - 1<<(p-3), nil
}
