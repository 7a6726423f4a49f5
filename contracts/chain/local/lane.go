package local

import (
	"container/heap"
	"errors"
	"fmt"
	"math/big"

	"github.com/xssnick/tonutils-go/address"
	"github.com/xssnick/tonutils-go/tlb"
	"github.com/xssnick/tonutils-go/tvm"
	"github.com/xssnick/tonutils-go/tvm/cell"

	"cocoon/contracts/chain"
	"cocoon/contracts/chain/local/blocks"
)

// lane produces one block of one workchain: it runs messages on the accounts of the state before, and collects what the
// block and the state after consist of. Everything is read through a usage tree, which later says what the Merkle update
// must contain.
type lane struct {
	vm        *tvm.TVM
	workchain int32
	block     *tvm.BlockContext
	startLT   uint64
	lt        uint64 // greatest logical time so far
	left      int    // transactions that still fit

	tree     *cell.CellUsageTree
	old      blocks.State // read with the tree's trace
	accounts *tlb.ShardAccountsAugDict
	queue    *tlb.OutMsgQueueAugDict
	stats    map[account]*cell.Cell // storage statistics, carried from block to block

	touched map[account]*touched
	in, out map[chain.Hash]*cell.Cell // records of messages
	fresh   messages                  // created in this block, not yet run
	txs     []txRecord
}

// account is an address within a workchain.
type account = chain.Hash

// touched is an account that this block has changed.
type touched struct {
	state  *tvm.PreparedAccount
	stat   *cell.Cell
	before []byte
	txs    *tlb.AccountTransactionsAugDict
	// endLT is where the next transaction of this block may begin. The state does not say it when the account was
	// deleted in this block.
	endLT uint64
}

// txRecord is a transaction for the index.
type txRecord struct {
	account account
	lt      uint64
	hash    chain.Hash
}

// message is an internal message on its way. from is the transaction that sent it, nil when another block did.
type message struct {
	blocks.Envelope
	from *cell.Cell
}

// messages is a heap by logical time of creation, then hash: the order in which a collator runs them.
type messages []message

// Len implements heap.Interface.
func (m messages) Len() int { return len(m) }

// Less implements heap.Interface.
func (m messages) Less(i, j int) bool { return earlier(m[i].Envelope, m[j].Envelope) }

// Swap implements heap.Interface.
func (m messages) Swap(i, j int) { m[i], m[j] = m[j], m[i] }

// Push implements heap.Interface.
func (m *messages) Push(x any) {
	if v, ok := x.(message); ok {
		*m = append(*m, v)
	}
}

// Pop implements heap.Interface.
func (m *messages) Pop() any {
	last := (*m)[len(*m)-1]
	*m = (*m)[:len(*m)-1]
	return last
}

func earlier(a, b blocks.Envelope) bool {
	if a.LT != b.LT {
		return a.LT < b.LT
	}
	x, y := a.Hash(), b.Hash()
	return string(x[:]) < string(y[:])
}

func newLane(workchain int32, state *cell.Cell, ctx *tvm.BlockContext, startLT uint64) (*lane, error) {
	l := &lane{
		vm: tvm.NewTVM(), workchain: workchain, block: ctx, startLT: startLT, lt: startLT,
		tree: cell.NewCellUsageTree(), touched: map[account]*touched{},
		in: map[chain.Hash]*cell.Cell{}, out: map[chain.Hash]*cell.Cell{},
	}
	var err error
	if l.old, err = blocks.ParseState(state.WithTrace(l.tree.RootTrace())); err != nil {
		return nil, err
	}
	s, err := l.old.Accounts.BeginParse()
	if err != nil {
		return nil, err
	}
	l.accounts = &tlb.ShardAccountsAugDict{}
	if err := l.accounts.LoadFromCell(s); err != nil {
		return nil, fmt.Errorf("reading accounts: %w", err)
	}
	if s, err = l.old.Queue.BeginParse(); err != nil {
		return nil, err
	}
	l.queue = &tlb.OutMsgQueueAugDict{}
	if err := l.queue.LoadFromCell(s); err != nil {
		return nil, fmt.Errorf("reading the message queue: %w", err)
	}
	return l, nil
}

// load returns an account's state in this block.
func (l *lane) load(addr *address.Address) (*touched, error) {
	key := account(addr.Data())
	if t := l.touched[key]; t != nil {
		return t, nil
	}
	shard := &tlb.ShardAccount{Account: absentState(), LastTransHash: make([]byte, 32)}
	k, err := hashKey(key)
	if err != nil {
		return nil, err
	}
	v, err := l.accounts.LoadValue(k)
	if err != nil && !errors.Is(err, cell.ErrNoSuchKeyInDict) {
		return nil, fmt.Errorf("reading account %s: %w", addr, err)
	}
	if err == nil {
		if err := tlb.LoadFromCell(shard, v); err != nil {
			return nil, fmt.Errorf("reading account %s: %w", addr, err)
		}
	}
	before := shard.Account.Hash()
	prepared, err := tvm.PrepareAccount(shard, addr)
	if err != nil {
		return nil, fmt.Errorf("reading account %s: %w", addr, err)
	}
	return &touched{state: prepared, stat: l.stats[key], before: before}, nil
}

// absentState is account_none$0.
func absentState() *cell.Cell {
	b := cell.BeginCell()
	_ = b.StoreBoolBit(false) // one bit fits an empty cell
	return b.EndCell()
}

func hashKey(h chain.Hash) (*cell.Cell, error) {
	b := cell.BeginCell()
	if err := b.StoreSlice(h[:], 256); err != nil {
		return nil, err
	}
	return b.EndCell(), nil
}

// run executes a message. It returns nil when an external message was not accepted.
func (l *lane) run(addr *address.Address, msg *cell.Cell) (*tvm.TransactionExecutionResult, error) {
	prepared, err := tvm.PrepareMessage(msg)
	if err != nil {
		return nil, err
	}
	t, err := l.load(addr)
	if err != nil {
		return nil, err
	}
	res, err := l.vm.EmulateTransaction(l.block, t.state, prepared, l.options(t))
	if err != nil {
		return nil, fmt.Errorf("executing message for %s: %w", addr, err)
	}
	return l.commit(addr, t, res)
}

func (l *lane) options(t *touched) tvm.TransactionOptions {
	return tvm.TransactionOptions{AccountStorageStat: t.stat, LogicalTime: int64(max(l.startLT+1, t.endLT))} //nolint:gosec // logical times stay far below 2^63
}

// commit takes over what a transaction left.
func (l *lane) commit(addr *address.Address, t *touched, res *tvm.TransactionExecutionResult) (*tvm.TransactionExecutionResult, error) {
	if res.TransactionCell == nil {
		return nil, nil
	}
	key := account(addr.Data())
	if t.txs == nil {
		txs, err := tlb.NewAccountTransactionsAugDict()
		if err != nil {
			return nil, err
		}
		t.txs = txs
		l.touched[key] = t
	}
	t.state, t.stat = res.NextAccount, res.AccountStorageStat
	lt := t.state.ShardAccount().LastTransLT
	v := cell.BeginCell()
	if err := v.StoreRef(res.TransactionCell); err != nil {
		return nil, err
	}
	if err := t.txs.SetIntKey(new(big.Int).SetUint64(lt), v.EndCell()); err != nil {
		return nil, fmt.Errorf("adding transaction: %w", err)
	}
	l.txs = append(l.txs, txRecord{account: key, lt: lt, hash: chain.Hash(res.TransactionCell.Hash())})
	t.endLT = res.EndLT
	l.lt = max(l.lt, res.EndLT)
	l.left--
	return res, l.emit(res)
}

// emit takes a transaction's messages: external ones are records, internal ones wait for their turn.
func (l *lane) emit(res *tvm.TransactionExecutionResult) error {
	for _, o := range res.OutMessages {
		if o.Msg.MsgType != tlb.MsgTypeInternal {
			rec, err := blocks.ExportExternal(o.Cell, res.TransactionCell)
			if err != nil {
				return err
			}
			l.out[chain.Hash(o.Cell.Hash())] = rec
			continue
		}
		m := o.Msg.AsInternal()
		heap.Push(&l.fresh, message{
			Envelope: blocks.Envelope{Message: o.Cell, Dst: m.DstAddr, Fee: m.FwdFee.Nano(), LT: m.CreatedLT},
			from:     res.TransactionCell,
		})
	}
	return nil
}

// external runs an external message and tells whether the contract accepted it.
func (l *lane) external(addr *address.Address, msg *cell.Cell) (bool, error) {
	res, err := l.run(addr, msg)
	if err != nil || res == nil {
		return false, err
	}
	rec, err := blocks.ImportExternal(msg, res.TransactionCell)
	if err != nil {
		return false, err
	}
	l.in[chain.Hash(msg.Hash())] = rec
	return true, nil
}

// deliver runs a message that another block queued; own tells that it was this workchain's.
func (l *lane) deliver(e blocks.Envelope, own bool) error {
	res, err := l.run(e.Dst, e.Message)
	if err != nil {
		return err
	}
	if res == nil {
		return fmt.Errorf("executing message for %s: no transaction", e.Dst)
	}
	rec, err := blocks.ImportFinal(e, res.TransactionCell)
	if err != nil {
		return err
	}
	l.in[e.Hash()] = rec
	if !own {
		return nil
	}
	gone, err := blocks.ExportDequeued(e, rec)
	if err != nil {
		return err
	}
	l.out[e.Hash()] = gone
	return l.dequeue(e)
}

// settle runs the messages that this block created while they fit; the rest is queued.
func (l *lane) settle() error {
	for l.fresh.Len() > 0 {
		m, ok := heap.Pop(&l.fresh).(message)
		if !ok {
			return errors.New("running messages: the heap holds something else")
		}
		var err error
		if m.Dst.Workchain() == l.workchain && l.left > 0 {
			err = l.immediate(m)
		} else {
			err = l.enqueue(m)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (l *lane) immediate(m message) error {
	res, err := l.run(m.Dst, m.Message)
	if err != nil {
		return err
	}
	if res == nil {
		return fmt.Errorf("executing message for %s: no transaction", m.Dst)
	}
	rec, err := blocks.ImportImmediate(m.Envelope, res.TransactionCell)
	if err != nil {
		return err
	}
	sent, err := blocks.ExportImmediate(m.Envelope, m.from, rec)
	if err != nil {
		return err
	}
	l.in[m.Hash()], l.out[m.Hash()] = rec, sent
	return nil
}

func (l *lane) enqueue(m message) error {
	rec, err := blocks.ExportNew(m.Envelope, m.from)
	if err != nil {
		return err
	}
	key, err := m.QueueKey()
	if err != nil {
		return err
	}
	v, err := m.Enqueued()
	if err != nil {
		return err
	}
	if err := l.queue.Set(key, v); err != nil {
		return fmt.Errorf("queueing message: %w", err)
	}
	l.out[m.Hash()] = rec
	return nil
}

// delivered removes a message that the other workchain imported in a block that ended at importLT.
func (l *lane) delivered(e blocks.Envelope, importLT uint64) error {
	rec, err := blocks.ExportDelivered(e, importLT)
	if err != nil {
		return err
	}
	l.out[e.Hash()] = rec
	return l.dequeue(e)
}

func (l *lane) dequeue(e blocks.Envelope) error {
	key, err := e.QueueKey()
	if err != nil {
		return err
	}
	if err := l.queue.Delete(key); err != nil {
		return fmt.Errorf("dequeueing message: %w", err)
	}
	return nil
}
