package contractstest

import (
	"fmt"
	"math/big"

	"github.com/xssnick/tonutils-go/address"
	"github.com/xssnick/tonutils-go/tlb"
	"github.com/xssnick/tonutils-go/tvm"
	"github.com/xssnick/tonutils-go/tvm/cell"

	"cocoon/contracts/bind"
)

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
func (c *Chain) Clear() { c.Log, c.Emitted = c.Log[:0], nil }

// Emitted is a message that a contract sent to the outside.
type Emitted struct {
	From *address.Address
	Body *cell.Cell
}

// Post puts a message into the queue; Step or Run delivers it.
func (c *Chain) Post(m Message) error {
	c.lt += ltStep
	msg := &tlb.InternalMessage{
		IHRDisabled: true, Bounce: !m.NoBounce, SrcAddr: m.From, DstAddr: m.To,
		Amount: tlb.FromNanoTON(new(big.Int).SetUint64(uint64(m.Value))), Body: m.Body,
		CreatedLT: uint64(c.lt), CreatedAt: c.Now, //nolint:gosec // counts up from ltStep
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
		c.receive(a, q)
		return true, nil
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

func (c *Chain) receive(a *account, q queued) {
	in := q.msg.Message().AsInternal()
	a.held.Add(a.held, in.Amount.Nano())
	c.fees.Add(c.fees, in.FwdFee.Nano())
	c.record(q, Transaction{Received: true})
}

func (c *Chain) execute(a *account, to *address.Address, q queued) (bool, error) {
	if err := c.freshBlock(); err != nil {
		return false, err
	}
	r, err := c.vm.EmulateTransaction(c.block, a.state, q.msg, tvm.TransactionOptions{AccountStorageStat: a.stat, LogicalTime: c.lt})
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
	if c.Observe != nil {
		c.Observe(Executed{
			Account: to, Message: q.cell, LT: tx.LT, Now: c.Now,
			TransactionHash: bind.Hash(r.TransactionCell.Hash()), AccountHash: bind.Hash(a.state.ShardAccount().Account.Hash()),
		})
	}
	at := c.record(q, describe(r, tx))
	for _, o := range r.OutMessages {
		if o.Msg.MsgType == tlb.MsgTypeExternalOut {
			c.Emitted = append(c.Emitted, Emitted{to, o.Msg.AsExternalOut().Body})
		}
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
	if c.block != nil && c.block.Now() == c.Now && c.block.BlockLT() == c.lt {
		return nil
	}
	block, err := c.config.NewBlockContext(tvm.BlockOptions{Now: c.Now, BlockLT: c.lt, RandSeed: make([]byte, 32)})
	if err != nil {
		return fmt.Errorf("preparing block: %w", err)
	}
	c.block = block
	return nil
}
