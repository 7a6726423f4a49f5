package contractstest

import (
	"errors"
	"fmt"

	"github.com/xssnick/tonutils-go/tvm/cell"
)

// Numbers of configuration parameters (block.tlb of the network).
const (
	paramVersion      = 8
	paramWorkchains   = 12
	paramStorage      = 18
	paramGlobalID     = 19
	paramGasMaster    = 20
	paramGasBase      = 21
	paramForwardMast  = 24
	paramForwardBase  = 25
	capabilities      = 494 // of the network in 2026
	localGlobalID     = 0xffffff27
	workchainTag      = 0xa6
	storageTag        = 0xcc
	flatGasTag        = 0xd1
	gasTag            = 0xde
	forwardTag        = 0xea
	versionTag        = 0xc4
	firstFrac         = 0x5555
	ihrFactor         = 0x18000
	basechainGasPrice = 400 << 16
	masterGasPrice    = 10000 << 16
)

// field is a number of a parameter and its width.
type field struct {
	bits  uint
	value uint64
}

// Config is a configuration with the network's prices of 2026 and the given global version: what the executor needs, and
// no validators.
func Config(version uint32) (*cell.Cell, error) {
	storage := cell.NewDict(32)
	workchains := cell.NewDict(32)
	err := errors.Join(
		put(storage, 0, pack(field{8, storageTag}, field{32, 0}, field{64, 1}, field{64, 500}, field{64, 1000}, field{64, 500000})),
		put(workchains, 0, pack(field{8, workchainTag}, field{32, 0}, field{8, 0}, field{8, 0}, field{8, 0}, // since, splits
			field{1, 1}, field{1, 1}, field{1, 1}, field{13, 0}, // basic, active, accepting, flags
			field{64, 0}, field{64, 0}, field{64, 0}, field{64, 0}, field{64, 0}, field{64, 0}, field{64, 0}, field{64, 0}, // zero state
			field{32, 0}, field{4, 1}, field{32, 0xffffffff}, field{64, 0})), // format: basic, VM -1
	)
	root := cell.NewDict(32)
	for _, p := range []struct {
		id    uint64
		value *cell.Builder
	}{
		{paramVersion, pack(field{8, versionTag}, field{32, uint64(version)}, field{64, capabilities})},
		{paramWorkchains, cell.BeginCell().MustStoreMaybeRef(workchains.AsCell())},
		{paramStorage, storage.AsCell().ToBuilder()},
		{paramGlobalID, pack(field{32, localGlobalID})},
		{paramGasMaster, gasPrices(1_000_000, masterGasPrice, 70_000_000)},
		{paramGasBase, gasPrices(40_000, basechainGasPrice, 1_000_000)},
		{paramForwardMast, forwardPrices(10_000_000, 655_360_000, 65_536_000_000)},
		{paramForwardBase, forwardPrices(400_000, 26_214_400, 2_621_440_000)},
	} {
		err = errors.Join(err, put(root, p.id, cell.BeginCell().MustStoreRef(p.value.EndCell())))
	}
	if err != nil {
		return nil, fmt.Errorf("writing configuration: %w", err)
	}
	return root.AsCell(), nil
}

func gasPrices(flat, price, special uint64) *cell.Builder {
	return pack(field{8, flatGasTag}, field{64, 100}, field{64, flat}, field{8, gasTag}, field{64, price},
		field{64, 1_000_000}, field{64, special}, field{64, 10_000}, // limit, of special accounts, credit
		field{64, 10_000_000}, field{64, 100_000_000}, field{64, 1_000_000_000}) // of a block; debts that freeze and delete
}

func forwardPrices(lump, bit, perCell uint64) *cell.Builder {
	return pack(field{8, forwardTag}, field{64, lump}, field{64, bit}, field{64, perCell},
		field{32, ihrFactor}, field{16, firstFrac}, field{16, firstFrac})
}

func pack(fields ...field) *cell.Builder {
	b := cell.BeginCell()
	for _, f := range fields {
		b = b.MustStoreUInt(f.value, f.bits)
	}
	return b
}

func put(d *cell.Dictionary, key uint64, value *cell.Builder) error {
	return d.SetBuilder(cell.BeginCell().MustStoreUInt(key, 32).EndCell(), value)
}
