package bind

import (
	"errors"
	"fmt"
	"math/big"

	"github.com/xssnick/tonutils-go/address"
	"github.com/xssnick/tonutils-go/tvm/cell"
)

// stack reads a get-method's result, which the executor hands out with the first value first. The first error stays.
type stack struct {
	values []any
	at     int
	err    error
}

func (s *stack) next() any {
	if s.err != nil {
		return nil
	}
	if s.at >= len(s.values) {
		s.err = fmt.Errorf("%d values only", len(s.values))
		return nil
	}
	s.at++
	return s.values[s.at-1]
}

func (s *stack) fail(err error) {
	if s.err == nil {
		s.err = fmt.Errorf("value %d: %w", s.at-1, err)
	}
}

func (s *stack) number(bits int) *big.Int {
	v, ok := s.next().(*big.Int)
	switch {
	case !ok:
		s.fail(errors.New("not a number"))
	case v.Sign() < 0 || v.BitLen() > bits:
		s.fail(fmt.Errorf("%v does not fit %d bits", v, bits))
	}
	if s.err != nil {
		return new(big.Int)
	}
	return v
}

func (s *stack) counter() uint64 { return s.number(63).Uint64() }
func (s *stack) word() uint32    { return uint32(s.number(32).Uint64()) } //nolint:gosec // number checks the width
func (s *stack) state() State    { return State(s.number(2).Uint64()) }   //nolint:gosec // number checks the width
func (s *stack) amount() Nano    { return Nano(s.number(63).Uint64()) }

func (s *stack) hash() Hash {
	var h Hash
	s.number(256).FillBytes(h[:])
	return h
}

// truth is a TVM boolean: 0 or -1.
func (s *stack) truth() bool {
	v, ok := s.next().(*big.Int)
	if !ok || !v.IsInt64() || (v.Int64() != 0 && v.Int64() != -1) {
		s.fail(fmt.Errorf("%v is not a truth value", v))
		return false
	}
	return v.Sign() != 0
}

func (s *stack) addr() *address.Address {
	var in *cell.Slice
	switch v := s.next().(type) {
	case *cell.Slice:
		in = v.Copy()
	case *cell.Cell:
		in, _ = v.BeginParse() // a cell that cannot be opened is no address, see below
	}
	if in == nil {
		s.fail(errors.New("not an address"))
		return nil
	}
	a, err := in.LoadAddr()
	if err == nil {
		err = checkAddr(a)
	}
	if err == nil && (in.BitsLeft() > 0 || in.RefsNum() > 0) {
		err = errLeftover
	}
	if err != nil {
		s.fail(err)
		return nil
	}
	return a
}

func (s *stack) end(method string) error {
	if s.err == nil && s.at != len(s.values) {
		s.err = fmt.Errorf("%d values after the last", len(s.values)-s.at)
	}
	if s.err != nil {
		return fmt.Errorf("reading result of %s: %w", method, s.err)
	}
	return nil
}
