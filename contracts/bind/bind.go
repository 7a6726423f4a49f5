// Package bind holds the on-chain promises as Go types: storage, message bodies, signed payloads, parameters,
// get-method results and addresses of the root, proxy, client, worker and wallet contracts, and of the governor, the workload
// agreement and the registry of farms; one or a few files per contract.
//
// It owns the layouts of contracts.md sections 1, 3, 5 and 13: each is written down once, in a method fields that both reads and
// writes. It trusts nothing about the cells it reads: a value with another constructor, an amount or a counter of 2^63 or
// more (which the network's C++ side holds in signed 64 bits), an address that is not a plain addr_std, and bits or
// references left over are errors that name the field. Values are plain data; nothing here keeps state, so everything
// may be used concurrently. It does no input or output and never guesses: an unknown operation, structure version or
// extension version is refused by name.
package bind

import (
	"errors"
	"fmt"
	"math/big"

	"github.com/xssnick/tonutils-go/address"
	"github.com/xssnick/tonutils-go/tvm/cell"
)

const (
	// maxAmount is the largest amount or counter: the C++ runners hold both in signed 64 bits (contracts.md section 15).
	maxAmount = 1<<63 - 1
	// maxEntries bounds a dictionary of the root: more would not fit what one owner can register.
	maxEntries = 4096
)

// Hash is a representation hash, a key or any other 256-bit string.
type Hash [32]byte

// Big is the hash as a number, as get methods take it.
func (h Hash) Big() *big.Int { return new(big.Int).SetBytes(h[:]) }

// Nano is an amount in nanoTON, below 2^63.
type Nano uint64

// errLeftover is wrapped by every error about bits or references after the last field.
var errLeftover = errors.New("data is left over")

// codec walks the fields of a layout in their order, reading from in or writing to out. The first error stays.
type codec struct {
	in  *cell.Slice
	out *cell.Builder
	err error
}

// layout is anything that lists its fields in the order of its cell.
type layout interface{ fields(c *codec) }

// encode writes a layout into a new cell.
func encode(l layout) (*cell.Cell, error) {
	c := &codec{out: cell.BeginCell()}
	l.fields(c)
	if c.err != nil {
		return nil, c.err
	}
	return c.out.EndCell(), nil
}

// decode reads a layout and refuses what is left over.
func decode(from *cell.Cell, l layout) error {
	c, err := open(from)
	if err != nil {
		return err
	}
	l.fields(c)
	return c.end()
}

func open(from *cell.Cell) (*codec, error) {
	if from == nil {
		return nil, errors.New("no cell")
	}
	if from.GetType() != cell.OrdinaryCellType {
		return nil, errors.New("a special cell instead of an ordinary one")
	}
	s, err := from.BeginParse()
	if err != nil {
		return nil, err
	}
	return &codec{in: s}, nil
}

func (c *codec) reading() bool { return c.in != nil }

func (c *codec) fail(field string, err error) {
	if err != nil && c.err == nil {
		c.err = fmt.Errorf("%s: %w", field, err)
	}
}

// end reports the first error, or that something was not read.
func (c *codec) end() error {
	if c.err == nil && (c.in.BitsLeft() > 0 || c.in.RefsNum() > 0) {
		return fmt.Errorf("%w: %d bits, %d references", errLeftover, c.in.BitsLeft(), c.in.RefsNum())
	}
	return c.err
}

// number covers the widths in use; the bits are the layout's, not the Go type's.
type number interface {
	~uint8 | ~uint16 | ~uint32 | ~uint64
}

func number64[T number](c *codec, field string, bits uint, v *T) {
	if c.err != nil {
		return
	}
	if !c.reading() {
		if bits < 64 && uint64(*v)>>bits != 0 {
			c.fail(field, fmt.Errorf("%d does not fit %d bits", *v, bits))
			return
		}
		c.fail(field, c.out.StoreUInt(uint64(*v), bits))
		return
	}
	got, err := c.in.LoadUInt(bits)
	*v = T(got)
	c.fail(field, err)
}

// counter is a 64-bit number below 2^63.
func (c *codec) counter(field string, v *uint64) {
	if !c.reading() && *v > maxAmount {
		c.fail(field, fmt.Errorf("%d is 2^63 or more", *v))
	}
	number64(c, field, 64, v)
	if c.err == nil && *v > maxAmount {
		c.fail(field, fmt.Errorf("%d is 2^63 or more", *v))
	}
}

func (c *codec) boolean(field string, v *bool) {
	bit := uint8(0)
	if *v {
		bit = 1
	}
	number64(c, field, 1, &bit)
	*v = bit == 1
}

// amount is VarUInteger 16 in its shortest form, below 2^63.
func (c *codec) amount(field string, v *Nano) {
	if c.err != nil {
		return
	}
	if !c.reading() {
		if *v > maxAmount {
			c.fail(field, fmt.Errorf("amount %d is 2^63 or more", *v))
			return
		}
		c.fail(field, c.out.StoreCoins(uint64(*v)))
		return
	}
	size, err := c.in.LoadUInt(4)
	if err != nil || size > 8 {
		if err == nil {
			err = fmt.Errorf("an amount of %d bytes, at most 8", size)
		}
		c.fail(field, err)
		return
	}
	got, err := c.in.LoadUInt(8 * uint(size))
	switch {
	case err != nil:
	case got > maxAmount:
		err = fmt.Errorf("amount %d is 2^63 or more", got)
	case size > 0 && got>>(8*(size-1)) == 0:
		err = fmt.Errorf("amount %d is written in %d bytes", got, size)
	}
	*v = Nano(got)
	c.fail(field, err)
}

func (c *codec) addr(field string, v **address.Address) {
	if c.err != nil {
		return
	}
	if !c.reading() {
		if err := checkAddr(*v); err != nil {
			c.fail(field, err)
			return
		}
		c.fail(field, c.out.StoreAddr(*v))
		return
	}
	got, err := c.in.LoadAddr()
	if err == nil {
		err = checkAddr(got)
	}
	*v = got
	c.fail(field, err)
}

func checkAddr(a *address.Address) error {
	if a == nil || a.Type() != address.StdAddress || a.Anycast() != nil {
		return errors.New("not a plain addr_std")
	}
	return nil
}

func (c *codec) hash(field string, v *Hash) { c.bytes(field, v[:]) }

func (c *codec) bytes(field string, v []byte) {
	if c.err != nil {
		return
	}
	bits := 8 * uint(len(v))
	if c.reading() {
		c.fail(field, c.in.LoadSliceInto(v, bits))
		return
	}
	c.fail(field, c.out.StoreSlice(v, bits))
}

// raw is a reference to a cell that the layout does not look into.
func (c *codec) raw(field string, v **cell.Cell) {
	if c.err != nil {
		return
	}
	if !c.reading() {
		if *v == nil {
			c.fail(field, errors.New("no cell"))
			return
		}
		c.fail(field, c.out.StoreRef(*v))
		return
	}
	got, err := c.in.LoadRefCell()
	*v = got
	c.fail(field, err)
}

// maybeRaw is Maybe ^Cell; nil is absence.
func (c *codec) maybeRaw(field string, v **cell.Cell) {
	present := *v != nil
	c.boolean(field, &present)
	if present {
		c.raw(field, v)
	}
}

// sub is a reference to a cell with a layout of its own.
func (c *codec) sub(field string, l layout) {
	if c.err != nil {
		return
	}
	var inner *cell.Cell
	if !c.reading() {
		made, err := encode(l)
		if err != nil {
			c.fail(field, err)
			return
		}
		inner = made
	}
	c.raw(field, &inner)
	if c.err == nil && c.reading() {
		c.fail(field, decode(inner, l))
	}
}

// constant writes a number, or checks that it is there.
func (c *codec) constant(field string, bits uint, want uint64) {
	got := want
	number64(c, field, bits, &got)
	if c.err == nil && got != want {
		c.fail(field, fmt.Errorf("%#x, want %#x", got, want))
	}
}
