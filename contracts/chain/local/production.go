package local

import (
	"crypto/sha256"
	"fmt"
	"math/big"
	"slices"

	"github.com/xssnick/tonutils-go/address"
	"github.com/xssnick/tonutils-go/tlb"
	"github.com/xssnick/tonutils-go/tvm"
	"github.com/xssnick/tonutils-go/tvm/cell"

	"cocoon/contracts/chain"
	"cocoon/contracts/chain/local/blocks"
	"cocoon/contracts/chain/machine"
)

// production makes one tick from the chain's head. It changes nothing: the outcome is stored first and then adopted.
type production struct {
	chain *Chain
	now   uint32
	out   outcome
}

// outcome is a tick with all that it changes.
type outcome struct {
	tick     Tick
	ready    lasting
	shardNew bool
	txs      map[int32][]txRecord
	stats    map[int32]map[account]*cell.Cell
	// externals are the pool's messages that this tick has seen, accepted or not.
	externals []chain.Hash
}

func (p *production) run() (*outcome, error) {
	c := p.chain
	p.out = outcome{
		tick: Tick{Shard: c.head.Shard}, ready: c.ready,
		txs: map[int32][]txRecord{}, stats: map[int32]map[account]*cell.Cell{},
	}
	if !c.faults.delayed() {
		if err := p.shard(); err != nil {
			return nil, fmt.Errorf("basechain: %w", err)
		}
	}
	if err := p.master(); err != nil {
		return nil, fmt.Errorf("masterchain: %w", err)
	}
	return &p.out, nil
}

// lane opens a workchain for the next block, after everything that ended before.
func (p *production) lane(prev *Produced, after uint64) (*lane, error) {
	prepared, err := machine.Prepare(p.chain.ready.config)
	if err != nil {
		return nil, err
	}
	libs, err := p.libraries()
	if err != nil {
		return nil, err
	}
	start := (max(prev.Header.EndLT, after)/ltStep + 1) * ltStep
	ctx, err := prepared.NewBlockContext(tvm.BlockOptions{
		Now: p.now, BlockLT: int64(start), RandSeed: p.randSeed(prev), Libraries: libs, //nolint:gosec // logical times stay far below 2^63
	})
	if err != nil {
		return nil, err
	}
	l, err := newLane(prev.Header.Workchain, prev.State, ctx, start)
	if err != nil {
		return nil, err
	}
	l.left = p.chain.opts.MaxTransactions
	l.stats = p.chain.stats[l.workchain]
	return l, nil
}

// libraries are the masterchain's public libraries.
func (p *production) libraries() ([]*cell.Cell, error) {
	st, err := blocks.ParseState(p.chain.head.Master.State)
	if err != nil || st.Libraries == nil {
		return nil, err
	}
	return []*cell.Cell{st.Libraries}, nil
}

// randSeed follows from the block before: nobody chooses it, and equal chains have equal ones.
func (p *production) randSeed(prev *Produced) []byte {
	seed := prev.Ref.RootHash[:]
	if p.chain.opts.forked {
		seed = append([]byte("fork"), seed...)
	}
	h := sha256.Sum256(seed)
	return h[:]
}

func (p *production) shard() error {
	c := p.chain
	prev, master := c.head.Shard, c.head.Master
	l, err := p.lane(prev, master.Header.EndLT)
	if err != nil {
		return err
	}
	processed, err := l.arrivals(master, master.Ref.Seqno)
	if err != nil {
		return err
	}
	if err := p.inbound(l); err != nil {
		return err
	}
	sealed, err := l.seal(new(big.Int))
	if err != nil {
		return err
	}
	queue, err := blocks.QueueInfo(sealed.queue, processed)
	if err != nil {
		return err
	}
	h := p.header(l, prev)
	h.MinRefMC, h.Master = master.Ref.Seqno, &master.Ref
	next, err := blocks.State{
		Workchain: blocks.Basechain, Seqno: h.Seqno, Time: p.now, LT: h.EndLT, MinRefMC: h.MinRefMC, Queue: queue,
		Accounts: sealed.accounts, Balance: sealed.balance, ValidatorFees: new(big.Int).Add(l.old.ValidatorFees, sealed.flow.Fees),
		Libraries: l.old.Libraries, Master: &master.Ref,
	}.Cell()
	if err != nil {
		return err
	}
	sealed.header = h
	block, err := p.assemble(l, prev, sealed, next, nil)
	if err != nil {
		return err
	}
	p.out.tick.Shard, p.out.shardNew = block, true
	p.out.ready.shardFees, p.out.ready.registered = sealed.flow.Fees, master.Ref.Seqno+1
	return nil
}

func (p *production) header(l *lane, prev *Produced) blocks.Header {
	ready := p.chain.ready
	version, caps, _ := ready.config.GlobalVersion() // it was prepared, so it parses
	return blocks.Header{
		Workchain: l.workchain, Seqno: prev.Ref.Seqno + 1, Time: p.now, StartLT: l.startLT, EndLT: l.lt + 1,
		Validators: ready.validators.Short, PrevKey: ready.lastKey.Seqno, Version: version, Capabilities: caps, Prev: prev.Ref,
	}
}

// inbound runs what comes from outside, and then what all messages of this block led to.
func (p *production) inbound(l *lane) error {
	for _, m := range p.chain.inject {
		if m.Dst.Workchain() != l.workchain {
			continue
		}
		if err := l.deliver(m.Envelope, false); err != nil {
			return err
		}
	}
	for _, e := range p.chain.pool.take(p.now, l.workchain, l.left) {
		p.out.externals = append(p.out.externals, e.hash)
		if _, err := l.external(e.dst, e.msg); err != nil {
			// A message that cannot even be executed is dropped like one that is not accepted: it must not stop the chain.
			p.chain.opts.Log.Warn("External message dropped", errAttr(err))
		}
	}
	return l.settle()
}

// assemble finishes a block and the clean state after it.
func (p *production) assemble(l *lane, prev *Produced, s *sealed, next, custom *cell.Cell) (*Produced, error) {
	update, clean, err := l.update(prev.State, next)
	if err != nil {
		return nil, err
	}
	b, err := blocks.Assemble(s.header, blocks.Body{
		In: s.in, Out: s.out, Accounts: s.accountBlocks, Flow: s.flow, Update: update, RandSeed: chain.Hash(p.randSeed(prev)), Custom: custom,
	})
	if err != nil {
		return nil, err
	}
	p.out.txs[l.workchain] = l.txs
	stats := map[account]*cell.Cell{}
	for k, t := range l.touched {
		stats[k] = t.stat
	}
	p.out.stats[l.workchain] = stats
	return &Produced{Block: b, State: clean}, nil
}

func (p *production) master() error {
	c := p.chain
	prev, shard := c.head.Master, p.out.tick.Shard
	l, err := p.lane(prev, shard.Header.EndLT)
	if err != nil {
		return err
	}
	if err := p.tickTock(l, false); err != nil {
		return err
	}
	processed, err := l.arrivals(shard, prev.Ref.Seqno+1)
	if err != nil {
		return err
	}
	if err := p.inbound(l); err != nil {
		return err
	}
	if err := p.tickTock(l, true); err != nil {
		return err
	}
	fees := new(big.Int)
	if p.out.shardNew {
		fees = p.out.ready.shardFees
	}
	sealed, err := l.seal(fees)
	if err != nil {
		return err
	}
	h := p.header(l, prev)
	h.Key = h.Seqno == 1 || len(c.pending) > 0
	m := masterBuild{p: p, l: l, sealed: sealed, header: h, processed: processed, fees: fees}
	return m.finish(prev)
}

// tickTock runs the special accounts that ask for it.
func (p *production) tickTock(l *lane, tock bool) error {
	for _, special := range p.chain.opts.Special {
		addr := address.NewAddress(0, 0xff, special[:])
		t, err := l.load(addr)
		if err != nil {
			return err
		}
		st := t.state.State()
		if st == nil || st.Status != tlb.AccountStatusActive || st.StateInit == nil || st.StateInit.TickTock == nil {
			continue
		}
		if wants := st.StateInit.TickTock; (tock && !wants.Tock) || (!tock && !wants.Tick) {
			continue
		}
		res, err := l.vm.EmulateTickTockTransaction(l.block, t.state, tock, l.options(t))
		if err != nil {
			return fmt.Errorf("running special account %x: %w", special, err)
		}
		if _, err := l.commit(addr, t, res); err != nil {
			return err
		}
	}
	return nil
}

// arrivals imports queued messages: the workchain's own and the other one's, in the order of their creation, as many as
// fit. It also removes from the own queue what the other one has imported. It returns how far imports have come.
func (l *lane) arrivals(other *Produced, lookedAt uint32) (*blocks.Processed, error) {
	due, mine, err := l.due(other)
	if err != nil {
		return nil, err
	}
	for _, a := range due {
		if l.left <= 0 {
			break
		}
		if err := l.deliver(a.Envelope, a.own); err != nil {
			return nil, err
		}
		mine = reached{&blocks.Processed{LT: a.LT, Hash: a.Hash()}}
	}
	if mine.Processed == nil {
		return nil, nil
	}
	mine.Master = lookedAt
	return mine.Processed, nil
}

// due lists the queued messages for this workchain, and cleans the own queue of what has arrived elsewhere.
func (l *lane) due(other *Produced) ([]arrival, reached, error) {
	own, mine, err := readQueue(l.old.Queue)
	if err != nil {
		return nil, mine, err
	}
	st, err := blocks.ParseState(other.State)
	if err != nil {
		return nil, mine, err
	}
	foreign, theirs, err := readQueue(st.Queue)
	if err != nil {
		return nil, mine, err
	}
	var due []arrival
	for _, e := range own {
		switch {
		case e.Dst.Workchain() == l.workchain:
			due = append(due, arrival{e, true})
		case theirs.covers(e):
			if err := l.delivered(e, other.Header.EndLT); err != nil {
				return nil, mine, err
			}
		}
	}
	for _, e := range foreign {
		if e.Dst.Workchain() == l.workchain && !mine.covers(e) {
			due = append(due, arrival{e, false})
		}
	}
	slices.SortFunc(due, func(a, b arrival) int {
		if earlier(a.Envelope, b.Envelope) {
			return -1
		}
		return 1
	})
	return due, mine, nil
}

// arrival is a queued message that can be imported now.
type arrival struct {
	blocks.Envelope
	own bool
}

// reached is how far a workchain has imported; nil is not at all.
type reached struct{ *blocks.Processed }

func (r reached) covers(e blocks.Envelope) bool {
	if r.Processed == nil {
		return false
	}
	h := e.Hash()
	return e.LT < r.LT || (e.LT == r.LT && string(h[:]) <= string(r.Hash[:]))
}
