package contractstest

import (
	"errors"
	"fmt"
	"math/big"

	"github.com/xssnick/tonutils-go/address"
	"github.com/xssnick/tonutils-go/tlb"
	"github.com/xssnick/tonutils-go/tvm"
	"github.com/xssnick/tonutils-go/tvm/cell"
	"github.com/xssnick/tonutils-go/tvm/tuple"
	"github.com/xssnick/tonutils-go/tvm/vm"
)

// Get runs a get method; the result's first value comes first.
func (c *Chain) Get(at *address.Address, method string, args ...*big.Int) ([]any, error) {
	a := c.accounts[at.StringRaw()]
	if a == nil || a.state == nil || c.Data(at) == nil {
		return nil, fmt.Errorf("running %s: no contract there", method)
	}
	s := vm.NewStack()
	for _, arg := range args {
		if err := s.PushInt(arg); err != nil {
			return nil, err
		}
	}
	if err := s.PushInt(new(big.Int).SetUint64(tlb.MethodNameHash(method))); err != nil {
		return nil, err
	}
	c7 := tuple.NewTupleValue(tuple.NewTupleValue(big.NewInt(0x076ef1ea), big.NewInt(0), big.NewInt(0), big.NewInt(int64(c.Now)), big.NewInt(0), big.NewInt(0), big.NewInt(0), nil, cell.BeginCell().MustStoreAddr(at).ToSlice()))
	r, err := c.vm.ExecuteGetMethod(c.Code(at), c.Data(at), c7, vm.GasWithLimit(getGas), s, tvm.ExecutionConfig{Config: c.config})
	if err != nil {
		return nil, fmt.Errorf("running %s: %w", method, err)
	}
	if r.ExitCode != 0 {
		return nil, fmt.Errorf("running %s: exit %d", method, r.ExitCode)
	}
	return results(r.Stack)
}

func results(s *vm.Stack) ([]any, error) {
	out := make([]any, s.Len())
	for i := range out {
		v, err := s.PopAny()
		if err != nil {
			return nil, errors.Join(errors.New("reading result"), err)
		}
		out[len(out)-1-i] = v
	}
	return out, nil
}
