package blocks

import (
	"bytes"
	"errors"
	"fmt"
	"math/bits"
	"slices"

	"github.com/xssnick/tonutils-go/tvm/cell"

	"cocoon/contracts/chain"
)

// Item is an entry of a dictionary with 256-bit keys.
type Item struct {
	Key   chain.Hash
	Value *cell.Cell
}

// keyBits is the width of an Item's key.
const keyBits = 256

// BuildAug packs HashmapAugE 256 from all its entries at once, which costs a fraction of adding them one by one. It sorts
// the items. The result has the root's extra with it, as AugmentedDictionary.ToCell gives it.
func BuildAug(aug cell.Augmentation, items []Item) (*cell.Cell, error) {
	if len(items) == 0 {
		empty, err := aug.EmptyExtra()
		if err != nil {
			return nil, fmt.Errorf("packing dictionary: %w", err)
		}
		return pack().bit(false).inline(empty).named("dictionary")
	}
	slices.SortFunc(items, func(a, b Item) int { return bytes.Compare(a.Key[:], b.Key[:]) })
	for i := 1; i < len(items); i++ {
		if items[i].Key == items[i-1].Key {
			return nil, fmt.Errorf("packing dictionary: two entries for %s", items[i].Key)
		}
	}
	root, extra, err := augEdge(aug, items, 0)
	if err != nil {
		return nil, fmt.Errorf("packing dictionary: %w", err)
	}
	return pack().bit(true).ref(root).inline(extra).named("dictionary")
}

// augEdge packs the entries that share their first from bits.
func augEdge(aug cell.Augmentation, items []Item, from int) (node, extra *cell.Cell, err error) {
	first, last := items[0].Key, items[len(items)-1].Key
	to := commonBits(first, last)
	p := pack().label(first, from, to)
	if len(items) == 1 {
		v, err := items[0].Value.BeginParse()
		if err != nil {
			return nil, nil, err
		}
		if extra, err = aug.LeafExtra(v); err != nil {
			return nil, nil, err
		}
		node, err = p.inline(extra).inline(items[0].Value).cell()
		return node, extra, err
	}
	split, _ := slices.BinarySearchFunc(items, 1, func(i Item, want int) int { return int(bitAt(i.Key, to)) - want })
	left, le, err := augEdge(aug, items[:split], to+1)
	if err != nil {
		return nil, nil, err
	}
	right, re, err := augEdge(aug, items[split:], to+1)
	if err != nil {
		return nil, nil, err
	}
	if extra, err = combine(aug, le, re); err != nil {
		return nil, nil, err
	}
	node, err = p.ref(left).ref(right).inline(extra).cell()
	return node, extra, err
}

func combine(aug cell.Augmentation, l, r *cell.Cell) (*cell.Cell, error) {
	ls, lerr := l.BeginParse()
	rs, rerr := r.BeginParse()
	if err := errors.Join(lerr, rerr); err != nil {
		return nil, err
	}
	return aug.CombineExtra(ls, rs)
}

func bitAt(k chain.Hash, i int) byte { return k[i/8] >> (7 - i%8) & 1 }

// commonBits is the length of the common prefix; all of it for equal keys.
func commonBits(a, b chain.Hash) int {
	for i := range a {
		if x := a[i] ^ b[i]; x != 0 {
			return i*8 + bits.LeadingZeros8(x)
		}
	}
	return keyBits
}

// label stores HmLabel for bits from..to of a key of which keyBits-from remain, in the form that the reference
// implementation chooses: hml_same$11 for equal bits when shorter, hml_long$10 when its length field pays, else
// hml_short$0.
func (p *packer) label(key chain.Hash, from, to int) *packer {
	n, width := to-from, bits.Len(uint(keyBits-from))
	same := n > 0
	for i := from + 1; i < to && same; i++ {
		same = bitAt(key, i) == bitAt(key, from)
	}
	switch {
	case same && n > 1 && width < 2*n-1:
		return p.uint(0b11, 2).uint(uint64(bitAt(key, from)), 1).uint(uint64(n), uint(width))
	case width < n:
		p.uint(0b10, 2).uint(uint64(n), uint(width)) //nolint:gosec // not negative
	default:
		p.uint(0, 1)
		for range n {
			p.uint(1, 1)
		}
		p.uint(0, 1)
	}
	return p.keyBits(key, from, to)
}

// keyBits stores bits from..to of a key.
func (p *packer) keyBits(key chain.Hash, from, to int) *packer {
	for from < to && from%8 != 0 {
		p.uint(uint64(bitAt(key, from)), 1)
		from++
	}
	if whole := (to - from) / 8; whole > 0 {
		p.bytes(key[from/8 : from/8+whole])
		from += whole * 8
	}
	if rest := to - from; rest > 0 {
		p.uint(uint64(key[from/8]>>(8-rest)), uint(rest))
	}
	return p
}
