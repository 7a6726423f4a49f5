package blocks

import (
	"fmt"
	"math/big"

	"github.com/xssnick/tonutils-go/tvm/cell"

	"cocoon/contracts/chain"
)

// packer writes a cell field by field and keeps the first error, so that a structure reads like its TL-B line.
type packer struct {
	b   *cell.Builder
	err error
}

func pack() *packer { return &packer{b: cell.BeginCell()} }

func (p *packer) do(f func() error) *packer {
	if p.err == nil {
		p.err = f()
	}
	return p
}

func (p *packer) uint(v uint64, bits uint) *packer {
	return p.do(func() error { return p.b.StoreUInt(v, bits) })
}

func (p *packer) int32(v int32) *packer {
	return p.do(func() error { return p.b.StoreInt(int64(v), 32) })
}

func (p *packer) bit(v bool) *packer { return p.do(func() error { return p.b.StoreBoolBit(v) }) }

func (p *packer) hash(v chain.Hash) *packer { return p.bytes(v[:]) }

func (p *packer) bytes(v []byte) *packer {
	return p.do(func() error { return p.b.StoreSlice(v, uint(len(v))*8) })
}

func (p *packer) ref(c *cell.Cell) *packer { return p.do(func() error { return p.b.StoreRef(c) }) }

// maybe stores Maybe ^Cell, which is also how a HashmapE stores its root.
func (p *packer) maybe(c *cell.Cell) *packer {
	return p.do(func() error { return p.b.StoreMaybeRef(c) })
}

// inline appends the bits and references of a finished cell.
func (p *packer) inline(c *cell.Cell) *packer {
	return p.do(func() error { return p.b.StoreBuilder(c.ToBuilder()) })
}

// coins stores Grams: VarUInteger 16.
func (p *packer) coins(v *big.Int) *packer { return p.do(func() error { return p.b.StoreBigCoins(v) }) }

// currency stores CurrencyCollection without extra currencies.
func (p *packer) currency(v *big.Int) *packer { return p.coins(v).uint(0, 1) }

// sub stores another packer's cell as a reference.
func (p *packer) sub(q *packer) *packer {
	return p.do(func() error {
		c, err := q.cell()
		if err != nil {
			return err
		}
		return p.b.StoreRef(c)
	})
}

func (p *packer) cell() (*cell.Cell, error) {
	if p.err != nil {
		return nil, p.err
	}
	return p.b.EndCell(), nil
}

// named finishes a cell and says which structure an error belongs to.
func (p *packer) named(name string) (*cell.Cell, error) {
	c, err := p.cell()
	if err != nil {
		return nil, fmt.Errorf("packing %s: %w", name, err)
	}
	return c, nil
}
