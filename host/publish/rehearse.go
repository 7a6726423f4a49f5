package publish

import (
	"context"
	"errors"
	"fmt"
	"math/big"

	"github.com/xssnick/tonutils-go/address"
	"github.com/xssnick/tonutils-go/tlb"
	"github.com/xssnick/tonutils-go/tvm"
	"github.com/xssnick/tonutils-go/tvm/cell"

	"cocoon/contracts/bind"
	"cocoon/contracts/chain"
	"cocoon/contracts/chain/machine"
)

// maxSteps bounds the transactions of a rehearsal: an order's longest path has five.
const maxSteps = 64

// Step is one transaction of a rehearsal.
type Step struct {
	From, To *address.Address
	Value    *big.Int // nanoTON that the message brought
	Op       bind.Op
	// Exit is the contract's exit code; NotRun tells that there was no code to run. Action is the action phase's result.
	Exit, Action int32
	NotRun       bool
	Bounced      bool // the message was a bounce
	Aborted      bool
	Gas          uint64
	Fees         *big.Int // nanoTON
}

// Failed tells whether the step means that an order did not do what it was for.
func (s Step) Failed() bool {
	return s.Bounced || (!s.NotRun && (s.Exit > 1 || s.Exit < 0 || s.Action != 0))
}

// Rehearsal is what orders would do, from the accounts' proven state at the site's block.
type Rehearsal struct {
	Steps []Step
	site  *Site
	vm    *tvm.TVM
	block *tvm.BlockContext
	state map[string]*played
	queue []*cell.Cell
}

type played struct {
	account *tvm.PreparedAccount
	stat    *cell.Cell
}

// Rehearse executes orders in the local executor with the accounts' proven states: through the wallet when the principal
// can sign, else as if the wallet had sent them. It returns what happened also when that is a failure.
func (s *Site) Rehearse(ctx context.Context, p *Principal, orders []Order) (*Rehearsal, error) {
	prepared, err := machine.Prepare(s.Config)
	if err != nil {
		return nil, err
	}
	now := s.deadline().Add(-validity)
	block, err := prepared.NewBlockContext(tvm.BlockOptions{
		Now: uint32(now.Unix()), BlockLT: int64(s.Head.EndLT), RandSeed: make([]byte, 32), //nolint:gosec // within TON's ranges
	})
	if err != nil {
		return nil, fmt.Errorf("preparing a rehearsal: %w", err)
	}
	r := &Rehearsal{site: s, vm: tvm.NewTVM(), block: block, state: map[string]*played{}}
	if p.Wallet == nil {
		err = r.enqueue(orders, p.Address, uint32(now.Unix())) //nolint:gosec // within TON's ranges
	} else {
		err = r.external(ctx, p, orders)
	}
	for err == nil && len(r.queue) > 0 {
		next := r.queue[0]
		r.queue = r.queue[1:]
		if len(r.Steps) >= maxSteps {
			err = fmt.Errorf("more than %d transactions", maxSteps)
			break
		}
		err = r.step(ctx, next)
	}
	if err != nil {
		return r, fmt.Errorf("rehearsing: %w", err)
	}
	return r, nil
}

// enqueue takes orders as if a wallet had sent them.
func (r *Rehearsal) enqueue(orders []Order, from *address.Address, now uint32) error {
	for i, o := range orders {
		m := o.message(from)
		m.CreatedLT, m.CreatedAt = r.site.Head.EndLT+uint64(i)+1, now
		c, err := tlb.ToCell(m)
		if err != nil {
			return fmt.Errorf("writing message to %s: %w", o.To, err)
		}
		r.queue = append(r.queue, c)
	}
	return nil
}

// external plays the wallet's transactions, batch by batch. The sequence number of the principal stays.
func (r *Rehearsal) external(ctx context.Context, p *Principal, orders []Order) error {
	w := *p.Wallet
	copied := *p
	copied.Wallet = &w
	for i := 0; i < len(orders); i += maxBatch {
		m, err := copied.sign(r.site, orders[i:min(i+maxBatch, len(orders))])
		if err != nil {
			return err
		}
		if err := r.step(ctx, m.Cell); err != nil {
			return err
		}
		w.seqno++
	}
	return nil
}

// step executes one message and queues what it causes.
func (r *Rehearsal) step(ctx context.Context, msg *cell.Cell) error {
	prepared, err := tvm.PrepareMessage(msg)
	if err != nil {
		return err
	}
	var parsed tlb.Message
	if err := tlb.Parse(&parsed, msg); err != nil {
		return err
	}
	to := parsed.Msg.DestAddr()
	at, err := r.load(ctx, to)
	if err != nil {
		return err
	}
	res, err := r.vm.EmulateTransaction(r.block, at.account, prepared, tvm.TransactionOptions{
		AccountStorageStat: at.stat, LogicalTime: int64(r.site.Head.EndLT) + int64(len(r.Steps)+1)*1000, //nolint:gosec // logical times stay far below 2^63
	})
	if err != nil {
		return fmt.Errorf("%w: executing message to %s: %w", ErrRehearsal, to, err)
	}
	if res.TransactionCell == nil {
		return fmt.Errorf("%w: %s does not accept the message, exit code %d", ErrRehearsal, to, res.ExitCode)
	}
	at.account, at.stat = res.NextAccount, res.AccountStorageStat
	tx, err := chain.ParseTransaction(res.TransactionCell)
	if err != nil {
		return err
	}
	r.Steps = append(r.Steps, newStep(&parsed, tx))
	for _, o := range res.OutMessages {
		if o.Msg.MsgType == tlb.MsgTypeInternal {
			r.queue = append(r.queue, o.Cell)
		}
	}
	return nil
}

// load prepares an account's proven state, once.
func (r *Rehearsal) load(ctx context.Context, addr *address.Address) (*played, error) {
	key := addr.StringRaw()
	if at := r.state[key]; at != nil {
		return at, nil
	}
	a, err := r.site.Account(ctx, addr)
	if err != nil {
		return nil, err
	}
	state := a.State
	if state == nil {
		none := cell.BeginCell()
		if err := none.StoreBoolBit(false); err != nil { // account_none$0
			return nil, err
		}
		state = none.EndCell()
	}
	account, err := tvm.PrepareAccount(&tlb.ShardAccount{Account: state, LastTransHash: a.Last.Hash[:], LastTransLT: a.Last.LT}, addr)
	if err != nil {
		return nil, fmt.Errorf("preparing account %s: %w", addr, err)
	}
	at := &played{account: account}
	r.state[key] = at
	return at, nil
}

func newStep(m *tlb.Message, tx chain.Transaction) Step {
	s := Step{To: m.Msg.DestAddr(), Value: new(big.Int), Aborted: tx.Aborted(), Fees: tx.TLB.TotalFees.Coins.Nano()}
	if m.MsgType == tlb.MsgTypeInternal {
		in := m.AsInternal()
		s.From, s.Value, s.Bounced = in.SrcAddr, in.Amount.Nano(), in.Bounced
		s.Op = opOf(in.Body)
	}
	exit, ran := tx.Exit()
	s.Exit, s.NotRun = exit, !ran
	s.Action, _ = tx.ActionCode()
	if d, ok := tx.TLB.Description.(tlb.TransactionDescriptionOrdinary); ok {
		if vm, ok := d.ComputePhase.Phase.(tlb.ComputePhaseVM); ok {
			s.Gas = vm.Details.GasUsed.Uint64()
		}
	}
	return s
}

// opOf is a body's operation code; 0 when it has none.
func opOf(body *cell.Cell) bind.Op {
	if body == nil || body.BitsSize() < 32 {
		return 0
	}
	s, err := body.BeginParse()
	if err != nil {
		return 0
	}
	op, err := s.LoadUInt(32)
	if err != nil {
		return 0
	}
	return bind.Op(op) //nolint:gosec // 32 bits were read
}

// After is an account's state when everything has been executed.
func (r *Rehearsal) After(addr *address.Address) (*chain.Account, error) {
	at := r.state[addr.StringRaw()]
	if at == nil {
		return nil, fmt.Errorf("account %s took no part in the rehearsal", addr)
	}
	shard := at.account.ShardAccount()
	return chain.ParseAccount(r.site.Head, addr, shard.Account, chain.Cursor{LT: shard.LastTransLT, Hash: chain.Hash(shard.LastTransHash)})
}

// Err is ErrRehearsal with the first step that failed, or nil. An order that reached nobody has failed too.
func (r *Rehearsal) Err(orders []Order) error {
	for _, s := range r.Steps {
		if s.Failed() {
			return fmt.Errorf("%w: %s at %s ends with exit code %d, action result %d", ErrRehearsal, s.Op, s.To, s.Exit, s.Action)
		}
	}
	var errs []error
	for _, o := range orders {
		if !r.reached(o) {
			errs = append(errs, fmt.Errorf("%w: the message to %s is not sent; is the wallet's balance enough?", ErrRehearsal, o.To))
		}
	}
	return errors.Join(errs...)
}

func (r *Rehearsal) reached(o Order) bool {
	for _, s := range r.Steps {
		if s.From != nil && s.To.Equals(o.To) && s.Op == opOf(o.Body) {
			return true
		}
	}
	return false
}

// Gas and Fees are sums over all steps.
func (r *Rehearsal) Gas() (sum uint64) {
	for _, s := range r.Steps {
		sum += s.Gas
	}
	return sum
}

// Fees of all transactions, in nanoTON.
func (r *Rehearsal) Fees() *big.Int {
	sum := new(big.Int)
	for _, s := range r.Steps {
		sum.Add(sum, s.Fees)
	}
	return sum
}
