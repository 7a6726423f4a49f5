// Package contractstest runs the contracts in process, on the executor of tonutils-go, for tests: a chain of accounts, a
// message queue with the ordering that the network guarantees, named actors, a printable tree of transactions, and a
// world of one root's proxy, clients and workers.
//
// It owns the accounts it made and the books: at every step, coins on accounts and in flight plus fees equal what was
// minted, or Check says by how much they differ. It trusts the executor for what a transaction does. A Chain belongs to
// one goroutine; different chains share nothing. It refuses messages that cannot be delivered and runs that do not end,
// and it is linked by tests only.
package contractstest

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"math/big"
	"slices"

	"github.com/xssnick/tonutils-go/address"
	"github.com/xssnick/tonutils-go/tlb"
	"github.com/xssnick/tonutils-go/tvm"
	"github.com/xssnick/tonutils-go/tvm/cell"

	"cocoon/contracts/bind"
)

const (
	// Start is the time of a new chain.
	Start uint32 = 1784000000
	// TON is one TON in nanoTON.
	TON bind.Nano = 1e9

	// maxRun bounds the transactions of one run; a path of ours has at most five.
	maxRun = 10000
	// getGas bounds a get method.
	getGas = 1_000_000
	// ltStep is the distance of two blocks in logical time.
	ltStep = 1_000_000
)

// Chain is a set of accounts and the messages between them.
type Chain struct {
	// Now is the block time in Unix seconds; tests may move it forward.
	Now uint32
	// Observe is called after each executed transaction, with what another executor needs to do it again; nil for none.
	Observe func(Executed)
	// Log are the transactions since the last Send or Clear, in order of execution.
	Log []Transaction
	// Emitted are the bodies of messages that left the chain since the last Send or Clear, in order.
	Emitted []Emitted

	vm       *tvm.TVM
	config   *tvm.PreparedBlockchainConfig
	block    *tvm.BlockContext
	lt       int64
	accounts map[string]*account
	names    map[string]string
	queue    []queued
	minted   *big.Int
	fees     *big.Int
}

// account is a contract, or an actor: a name that receives money and runs nothing.
type account struct {
	state *tvm.PreparedAccount
	stat  *cell.Cell
	held  *big.Int // actors only
}

// Executed is a transaction as another executor can repeat it: what went in, and the hashes of what came out.
type Executed struct {
	Account                      *address.Address
	Message                      *cell.Cell
	LT                           uint64
	Now                          uint32
	TransactionHash, AccountHash bind.Hash
}

type queued struct {
	cell   *cell.Cell
	msg    *tvm.PreparedMessage
	parent int
}

// New is a chain of the network's prices under a global version.
func New(version uint32) (*Chain, error) {
	root, err := Config(version)
	if err != nil {
		return nil, err
	}
	return NewWith(root)
}

// NewWith is a chain under a configuration.
func NewWith(root *cell.Cell) (*Chain, error) {
	config, err := tvm.PrepareBlockchainConfig(root)
	if err != nil {
		return nil, fmt.Errorf("preparing configuration: %w", err)
	}
	return &Chain{
		Now: Start, vm: tvm.NewTVM(), config: config, lt: ltStep,
		accounts: map[string]*account{}, names: map[string]string{},
		minted: new(big.Int), fees: new(big.Int),
	}, nil
}

// Actor is the address of a person or a wallet that only sends and receives. The same name is the same address.
func (c *Chain) Actor(name string) *address.Address {
	sum := sha256.Sum256([]byte("actor " + name))
	at := address.NewAddress(0, 0, sum[:])
	if c.accounts[at.StringRaw()] == nil {
		c.accounts[at.StringRaw()] = &account{held: new(big.Int)}
		c.Name(at, name)
	}
	return at
}

// Name gives an address a name in printed trees.
func (c *Chain) Name(at *address.Address, name string) { c.names[at.StringRaw()] = name }

// NameOf is an address's name, or its beginning.
func (c *Chain) NameOf(at *address.Address) string {
	if at == nil || at.IsAddrNone() {
		return "outside"
	}
	if name := c.names[at.StringRaw()]; name != "" {
		return name
	}
	return at.StringRaw()[:10]
}

// Balance is what an account holds.
func (c *Chain) Balance(at *address.Address) bind.Nano {
	a := c.accounts[at.StringRaw()]
	switch {
	case a == nil:
		return 0
	case a.held != nil:
		return bind.Nano(a.held.Uint64())
	case a.state.State() == nil || !a.state.State().IsValid:
		return 0
	}
	return bind.Nano(a.state.State().Balance.Nano().Uint64())
}

// Data is a contract's data, nil while it is not deployed.
func (c *Chain) Data(at *address.Address) *cell.Cell {
	a := c.accounts[at.StringRaw()]
	if a == nil || a.state == nil || a.state.State() == nil || a.state.State().StateInit == nil {
		return nil
	}
	return a.state.State().StateInit.Data
}

// Code is a contract's code, nil while it is not deployed.
func (c *Chain) Code(at *address.Address) *cell.Cell {
	a := c.accounts[at.StringRaw()]
	if a == nil || a.state == nil || a.state.State() == nil || a.state.State().StateInit == nil {
		return nil
	}
	return a.state.State().StateInit.Code
}

// Clone is a copy that continues on its own: accounts, queue and books, but not the log.
func (c *Chain) Clone() *Chain {
	out := *c
	out.Log, out.Emitted, out.block = nil, nil, nil
	out.queue = slices.Clone(c.queue)
	out.minted, out.fees = new(big.Int).Set(c.minted), new(big.Int).Set(c.fees)
	out.names = maps.Clone(c.names)
	out.accounts = make(map[string]*account, len(c.accounts))
	for k, a := range c.accounts {
		b := *a
		if a.held != nil {
			b.held = new(big.Int).Set(a.held)
		}
		out.accounts[k] = &b
	}
	return &out
}

// Check says whether coins on accounts and in flight plus all fees equal what was minted.
func (c *Chain) Check() error {
	sum := new(big.Int).Set(c.fees)
	for _, a := range c.accounts {
		if a.held != nil {
			sum.Add(sum, a.held)
		} else if s := a.state.State(); s != nil && s.IsValid {
			sum.Add(sum, s.Balance.Nano())
		}
	}
	for _, q := range c.queue {
		if q.msg.Message().MsgType == tlb.MsgTypeInternal {
			in := q.msg.Message().AsInternal()
			sum.Add(sum, in.Amount.Nano()).Add(sum, in.FwdFee.Nano())
		}
	}
	if sum.Cmp(c.minted) != 0 {
		return fmt.Errorf("checking the books: minted %s, found %s", c.minted, sum)
	}
	return nil
}
