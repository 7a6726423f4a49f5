// Package machine runs get methods on proven state, in this process, so that no server has to be believed (contracts.md
// section 8).
//
// It owns the environment of a method, which is the block's, and the forms of arguments and results. It trusts the state
// that it is given and no code in it: gas is bounded, and a panic of the virtual machine is an error. Everything may be used
// concurrently. It is apart from contracts/chain because a guest reads storage and needs no virtual machine in its image.
package machine

import (
	"fmt"
	"math/big"

	"github.com/xssnick/tonutils-go/address"
	"github.com/xssnick/tonutils-go/tlb"
	"github.com/xssnick/tonutils-go/tvm"
	"github.com/xssnick/tonutils-go/tvm/cell"
	"github.com/xssnick/tonutils-go/tvm/tuple"
	"github.com/xssnick/tonutils-go/tvm/vm"

	"cocoon/contracts/chain"
)

// Limits of a get method's execution.
const (
	// getMethodGas is what a liteserver grants a get method.
	getMethodGas = 1_000_000
	// maxArguments bounds what a caller may push.
	maxArguments = 255
	// contextTag begins the virtual machine's context tuple (SmartContractInfo, block.tlb).
	contextTag = 0x076ef1ea
)

// Execute runs a get method on a proven account state with the block's time and configuration, as a liteserver would,
// so that nobody has to be believed. Arguments are int, int64, uint64, *big.Int, *cell.Cell, *cell.Slice,
// *address.Address, nil or []any (a tuple), the first one deepest. Results are *big.Int, *cell.Cell, *cell.Slice,
// *cell.Builder, nil or []any, the deepest first.
func Execute(account *chain.Account, config *chain.Config, method string, args ...any) ([]any, error) {
	return ExecuteID(account, config, method, int64(tlb.MethodNameHash(method)), args...) //nolint:gosec // 17 bits
}

// ExecuteID is Execute for a method that is known by number; name is for errors.
func ExecuteID(account *chain.Account, config *chain.Config, name string, id int64, args ...any) (_ []any, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("running get method %s of %s: %w: %v", name, account.Address, chain.ErrMalformed, p)
		}
	}()
	if account.Status != chain.Active || account.Code == nil {
		return nil, fmt.Errorf("running get method %s of %s: %w: it is %s", name, account.Address, chain.ErrNotActive, account.Status)
	}
	prepared, err := Prepare(config)
	if err != nil {
		return nil, err
	}
	stack, err := pushArguments(id, args)
	if err != nil {
		return nil, fmt.Errorf("running get method %s: %w", name, err)
	}
	c7, err := getContext(account, config, prepared)
	if err != nil {
		return nil, err
	}
	data := account.Data
	if data == nil {
		data = cell.BeginCell().EndCell()
	}
	res, err := tvm.NewTVM().ExecuteGetMethod(account.Code, data, c7, vm.GasWithLimit(getMethodGas), stack,
		tvm.ExecutionConfig{Config: prepared})
	if err != nil {
		return nil, fmt.Errorf("running get method %s of %s: %w", name, account.Address, err)
	}
	if res.ExitCode != 0 && res.ExitCode != 1 {
		return nil, &chain.ExitError{Method: name, Code: res.ExitCode}
	}
	return popResults(res.Stack)
}

// Prepare is a configuration in the form that the virtual machine takes, made once.
func Prepare(c *chain.Config) (*tvm.PreparedBlockchainConfig, error) {
	made, err := c.Once(func(root *cell.Cell) (_ any, err error) {
		defer func() {
			if p := recover(); p != nil {
				err = fmt.Errorf("preparing the configuration: %w: %v", chain.ErrMalformed, p)
			}
		}()
		prepared, err := tvm.PrepareBlockchainConfig(root)
		if err != nil {
			return nil, fmt.Errorf("preparing the configuration: %w: %w", chain.ErrMalformed, err)
		}
		return prepared, nil
	})
	if err != nil {
		return nil, err
	}
	prepared, ok := made.(*tvm.PreparedBlockchainConfig)
	if !ok {
		return nil, fmt.Errorf("preparing the configuration: it is a %T already", made)
	}
	return prepared, nil
}

// getContext is the context tuple of a get method at the account's block: no message, no value, random seed zero.
func getContext(a *chain.Account, c *chain.Config, prepared *tvm.PreparedBlockchainConfig) (tuple.Tuple, error) {
	now := uint32(a.Block.Time.Unix())                                                                //nolint:gosec // TON's times are 32 bits wide
	block, err := prepared.NewBlockContext(tvm.BlockOptions{Now: now, BlockLT: int64(a.Block.EndLT)}) //nolint:gosec // logical times stay far below 2^63
	if err != nil {
		return tuple.Tuple{}, fmt.Errorf("preparing a get method's context: %w", err)
	}
	var unpacked any
	if t, ok := block.UnpackedConfig(); ok {
		unpacked = t
	}
	lt := new(big.Int).SetUint64(a.Block.EndLT)
	me := cell.BeginCell()
	if err := me.StoreAddr(a.Address); err != nil {
		return tuple.Tuple{}, fmt.Errorf("preparing a get method's context: %w", err)
	}
	zero := func() *big.Int { return new(big.Int) }
	values := []any{
		big.NewInt(contextTag), zero(), zero(), big.NewInt(int64(now)), lt, new(big.Int).Set(lt), zero(),
		tuple.NewTupleValue(new(big.Int).Set(a.Balance), nil), me.ToSlice(), c.Root(),
		// since global version 4
		a.Code, tuple.NewTupleValue(zero(), nil), zero(), nil,
		// since 6
		unpacked, new(big.Int).Set(a.DuePayment), nil,
	}
	if prepared.GlobalVersion() >= 11 {
		values = append(values, tuple.NewTupleValue(zero(), zero(), noneAddress(), zero(), zero(), zero(), zero(), zero(), nil, nil))
	}
	return tuple.NewTupleValue(tuple.NewTupleValue(values...)), nil
}

// noneAddress is addr_none$00, the source of a message that does not exist.
func noneAddress() *cell.Slice {
	b := cell.BeginCell()
	_ = b.StoreUInt(0, 2) // two bits fit an empty cell
	return b.ToSlice()
}

func pushArguments(id int64, args []any) (*vm.Stack, error) {
	if len(args) > maxArguments {
		return nil, fmt.Errorf("%d arguments, at most %d", len(args), maxArguments)
	}
	stack := vm.NewStack()
	for i, a := range args {
		v, err := toStack(a)
		if err != nil {
			return nil, fmt.Errorf("argument %d: %w", i, err)
		}
		if err := stack.PushHostValue(v); err != nil {
			return nil, fmt.Errorf("argument %d: %w", i, err)
		}
	}
	return stack, stack.PushSmallInt(id)
}

func toStack(a any) (any, error) {
	switch v := a.(type) {
	case nil, *big.Int, *cell.Cell, *cell.Slice, *cell.Builder:
		return v, nil
	case int:
		return big.NewInt(int64(v)), nil
	case int64:
		return big.NewInt(v), nil
	case uint64:
		return new(big.Int).SetUint64(v), nil
	case *address.Address:
		b := cell.BeginCell()
		if err := b.StoreAddr(v); err != nil {
			return nil, err
		}
		return b.ToSlice(), nil
	case []any:
		out := make([]any, len(v))
		for i := range v {
			x, err := toStack(v[i])
			if err != nil {
				return nil, err
			}
			out[i] = x
		}
		return tuple.NewTupleOwned(out), nil
	default:
		return nil, fmt.Errorf("type %T is no argument of a get method", a)
	}
}

func popResults(s *vm.Stack) ([]any, error) {
	out := make([]any, s.Len())
	for i := len(out) - 1; i >= 0; i-- {
		v, err := s.PopAny()
		if err != nil {
			return nil, fmt.Errorf("reading a get method's results: %w", err)
		}
		if out[i], err = fromStack(v); err != nil {
			return nil, fmt.Errorf("reading a get method's results: %w", err)
		}
	}
	return out, nil
}

func fromStack(v any) (any, error) {
	switch x := v.(type) {
	case nil, *big.Int, *cell.Cell, *cell.Slice, *cell.Builder:
		return x, nil
	case tuple.Tuple:
		out := make([]any, x.Len())
		for i := range out {
			e, err := x.Index(i)
			if err != nil {
				return nil, err
			}
			if out[i], err = fromStack(e); err != nil {
				return nil, err
			}
		}
		return out, nil
	default:
		return nil, fmt.Errorf("%w: result of type %T", chain.ErrMalformed, v)
	}
}
