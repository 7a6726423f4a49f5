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
	"errors"
	"fmt"
	"maps"
	"math/big"
	"slices"

	"github.com/xssnick/tonutils-go/address"
	"github.com/xssnick/tonutils-go/tlb"
	"github.com/xssnick/tonutils-go/tvm"
	"github.com/xssnick/tonutils-go/tvm/cell"
	"github.com/xssnick/tonutils-go/tvm/tuple"
	"github.com/xssnick/tonutils-go/tvm/vm"

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
	// Log are the transactions since the last Send or Clear, in order of execution.
	Log []Transaction

	vm       *tvm.TVM
	config   *tvm.PreparedBlockchainConfig
	block    *tvm.BlockContext
	lt       uint64
	accounts map[string]*account
	names    map[string]string
	queue    []queued
	trace    vm.TraceHook
	minted   *big.Int
	fees     *big.Int
}

// account is a contract, or an actor: a name that receives money and runs nothing.
type account struct {
	state *tvm.PreparedAccount
	stat  *cell.Cell
	held  *big.Int // actors only
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

// Message is an internal message as an actor sends it. Its value is minted: actors have what they send.
type Message struct {
	From, To *address.Address
	Value    bind.Nano
	NoBounce bool
	Init     *bind.Instance // deploys the receiver
	Body     *cell.Cell
}

// Send delivers a message and everything that follows from it, in order. The transactions are in Log.
func (c *Chain) Send(m Message) error {
	c.Clear()
	if err := c.Post(m); err != nil {
		return err
	}
	return c.Run()
}

// SendExternal delivers an external message and everything that follows; false means that the contract refused it.
func (c *Chain) SendExternal(to *address.Address, body *cell.Cell) (bool, error) {
	c.Clear()
	c.lt += ltStep
	raw, err := tlb.ToCell(&tlb.ExternalMessage{SrcAddr: address.NewAddressNone(), DstAddr: to, Body: body})
	if err != nil {
		return false, fmt.Errorf("writing external message: %w", err)
	}
	if err := c.push(raw, -1); err != nil {
		return false, err
	}
	accepted, err := c.Step(0)
	if err != nil || !accepted {
		return false, err
	}
	return true, c.Run()
}

// Clear forgets the transactions so far.
func (c *Chain) Clear() { c.Log = c.Log[:0] }

// Post puts a message into the queue; Step or Run delivers it.
func (c *Chain) Post(m Message) error {
	c.lt += ltStep
	msg := &tlb.InternalMessage{
		IHRDisabled: true, Bounce: !m.NoBounce, SrcAddr: m.From, DstAddr: m.To,
		Amount: tlb.FromNanoTON(new(big.Int).SetUint64(uint64(m.Value))), Body: m.Body,
		CreatedLT: c.lt, CreatedAt: c.Now,
	}
	if msg.Body == nil {
		msg.Body = cell.BeginCell().EndCell()
	}
	if m.Init != nil {
		msg.StateInit = &tlb.StateInit{Code: m.Init.Code, Data: m.Init.Data}
	}
	raw, err := tlb.ToCell(msg)
	if err != nil {
		return fmt.Errorf("writing message: %w", err)
	}
	c.minted.Add(c.minted, new(big.Int).SetUint64(uint64(m.Value)))
	return c.push(raw, -1)
}

func (c *Chain) push(raw *cell.Cell, parent int) error {
	msg, err := tvm.PrepareMessage(raw)
	if err != nil {
		return fmt.Errorf("reading message: %w", err)
	}
	c.queue = append(c.queue, queued{raw, msg, parent})
	return nil
}

// Run delivers all messages in the order in which they were made.
func (c *Chain) Run() error {
	for range maxRun {
		if len(c.queue) == 0 {
			return nil
		}
		if _, err := c.Step(0); err != nil {
			return err
		}
	}
	return fmt.Errorf("running messages: more than %d transactions", maxRun)
}

// Clone is a copy that continues on its own: accounts, queue and books, but not the log.
func (c *Chain) Clone() *Chain {
	out := *c
	out.Log, out.block = nil, nil
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

// Pending are the messages that wait for delivery, oldest first.
func (c *Chain) Pending() []*tlb.InternalMessage {
	var out []*tlb.InternalMessage
	for _, q := range c.queue {
		if q.msg.Message().MsgType == tlb.MsgTypeInternal {
			out = append(out, q.msg.Message().AsInternal())
		}
	}
	return out
}

// Lanes are the positions in the queue that may be delivered next: the oldest message of each pair of sender and
// receiver, because the network keeps the order within a pair and no other.
func (c *Chain) Lanes() []int {
	seen := map[string]bool{}
	var out []int
	for i, q := range c.queue {
		key := pair(q.msg.Message())
		if !seen[key] {
			seen[key] = true
			out = append(out, i)
		}
	}
	return out
}

func pair(m *tlb.Message) string {
	if m.MsgType != tlb.MsgTypeInternal {
		return "external"
	}
	in := m.AsInternal()
	return in.SrcAddr.StringRaw() + in.DstAddr.StringRaw()
}

// Step delivers one message of the queue; false means that the receiver refused an external message.
func (c *Chain) Step(i int) (bool, error) {
	q := c.queue[i]
	c.queue = append(c.queue[:i], c.queue[i+1:]...)
	to := receiver(q.msg.Message())
	a := c.accounts[to.StringRaw()]
	if a != nil && a.held != nil {
		return true, c.receive(a, q)
	}
	if a == nil {
		empty := &tlb.ShardAccount{Account: cell.BeginCell().MustStoreUInt(0, 1).EndCell(), LastTransHash: make([]byte, 32)}
		state, err := tvm.PrepareAccount(empty, to)
		if err != nil {
			return false, fmt.Errorf("preparing account: %w", err)
		}
		a = &account{state: state}
		c.accounts[to.StringRaw()] = a
	}
	return c.execute(a, to, q)
}

func receiver(m *tlb.Message) *address.Address {
	if m.MsgType == tlb.MsgTypeInternal {
		return m.AsInternal().DstAddr
	}
	return m.AsExternalIn().DstAddr
}

func (c *Chain) receive(a *account, q queued) error {
	in := q.msg.Message().AsInternal()
	a.held.Add(a.held, in.Amount.Nano())
	c.fees.Add(c.fees, in.FwdFee.Nano())
	c.record(q, Transaction{Received: true})
	return nil
}

func (c *Chain) execute(a *account, to *address.Address, q queued) (bool, error) {
	if err := c.freshBlock(); err != nil {
		return false, err
	}
	r, err := c.vm.EmulateTransaction(c.block, a.state, q.msg, tvm.TransactionOptions{AccountStorageStat: a.stat, LogicalTime: int64(c.lt), TraceHook: c.trace})
	if err != nil {
		return false, fmt.Errorf("running %s: %w", c.NameOf(to), err)
	}
	if r.TransactionCell == nil {
		if q.msg.Message().MsgType == tlb.MsgTypeInternal {
			return false, fmt.Errorf("running %s: an internal message was not processed", c.NameOf(to))
		}
		c.record(q, Transaction{Refused: true, Exit: int(r.ExitCode)})
		return false, nil
	}
	tx, err := r.ParseTransaction()
	if err != nil {
		return false, fmt.Errorf("running %s: %w", c.NameOf(to), err)
	}
	if q.msg.Message().MsgType == tlb.MsgTypeInternal {
		c.fees.Add(c.fees, q.msg.Message().AsInternal().FwdFee.Nano())
	}
	c.fees.Add(c.fees, tx.TotalFees.Coins.Nano())
	a.state, a.stat = r.NextAccount, r.AccountStorageStat
	at := c.record(q, describe(r, tx))
	for _, o := range r.OutMessages {
		if o.Msg.MsgType != tlb.MsgTypeInternal {
			continue
		}
		if err := c.push(o.Cell, at); err != nil {
			return false, err
		}
	}
	return true, nil
}

func (c *Chain) freshBlock() error {
	if c.block != nil && c.block.Now() == c.Now && uint64(c.block.BlockLT()) == c.lt {
		return nil
	}
	block, err := c.config.NewBlockContext(tvm.BlockOptions{Now: c.Now, BlockLT: int64(c.lt), RandSeed: make([]byte, 32)})
	if err != nil {
		return fmt.Errorf("preparing block: %w", err)
	}
	c.block = block
	return nil
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
	if err := s.PushSmallInt(int64(tlb.MethodNameHash(method))); err != nil {
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
