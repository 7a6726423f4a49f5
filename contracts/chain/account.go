package chain

import (
	"fmt"
	"math/big"

	"github.com/xssnick/tonutils-go/address"
	"github.com/xssnick/tonutils-go/tlb"
	"github.com/xssnick/tonutils-go/tvm/cell"
)

// Status of an account.
type Status uint8

// The states of TON's AccountState, and Absent for an account that is not in the shard's dictionary.
const (
	Absent Status = iota
	Uninit
	Active
	Frozen
)

// String implements fmt.Stringer.
func (s Status) String() string {
	names := [...]string{"absent", "uninit", "active", "frozen"}
	if int(s) < len(names) {
		return names[s]
	}
	return fmt.Sprintf("status %d", uint8(s))
}

// Account is the state of one account as of a block.
type Account struct {
	Address *address.Address
	Block   Block
	Status  Status
	// Balance in nanoTON, never nil.
	Balance *big.Int
	// Code and Data are nil unless Active.
	Code, Data *cell.Cell
	// Last is the account's newest transaction; LT 0 when there was none.
	Last Cursor
	// DuePayment is the storage debt in nanoTON, never nil.
	DuePayment *big.Int
	// State is the Account cell as in the shard's dictionary, nil when Absent.
	State *cell.Cell
}

// AbsentAccount is an account that a block does not contain.
func AbsentAccount(at Block, addr *address.Address) *Account {
	return &Account{Address: addr, Block: at, Balance: new(big.Int), DuePayment: new(big.Int)}
}

// ParseAccount reads the Account cell of a shard's dictionary together with the dictionary's account of the newest
// transaction.
func ParseAccount(at Block, addr *address.Address, state *cell.Cell, last Cursor) (*Account, error) {
	var st tlb.AccountState
	if err := parse(&st, state); err != nil {
		return nil, fmt.Errorf("reading account %s: %w", addr, err)
	}
	out := AbsentAccount(at, addr)
	out.Last = last
	if !st.IsValid || st.Status == tlb.AccountStatusNonExist {
		return out, nil
	}
	if st.Address == nil || st.Address.Workchain() != addr.Workchain() || string(st.Address.Data()) != string(addr.Data()) {
		return nil, fmt.Errorf("reading account %s: %w: the state belongs to %s", addr, ErrMalformed, st.Address)
	}
	out.State = state
	out.Balance = st.Balance.Nano()
	if st.StorageInfo.DuePayment != nil {
		out.DuePayment = st.StorageInfo.DuePayment.Nano()
	}
	switch st.Status {
	case tlb.AccountStatusActive:
		if st.StateInit == nil {
			return nil, fmt.Errorf("reading account %s: %w: active without state", addr, ErrMalformed)
		}
		out.Status, out.Code, out.Data = Active, st.StateInit.Code, st.StateInit.Data
	case tlb.AccountStatusFrozen:
		out.Status = Frozen
	default:
		out.Status = Uninit
	}
	return out, nil
}

// parse is tlb.Parse for cells that strangers wrote: the library's panics become errors.
func parse(v any, from *cell.Cell) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", ErrMalformed, p)
		}
	}()
	if from == nil {
		return fmt.Errorf("%w: no cell", ErrMalformed)
	}
	if err := tlb.Parse(v, from); err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return nil
}
