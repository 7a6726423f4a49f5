package local

import (
	"fmt"
	"log/slog"
	"maps"
	"math/big"
	"slices"

	"github.com/xssnick/tonutils-go/tlb"
	"github.com/xssnick/tonutils-go/tvm/cell"

	"cocoon/contracts/chain"
	"cocoon/contracts/chain/local/blocks"
	"cocoon/contracts/chain/machine"
)

// masterBuild finishes a masterchain block: what it says about shards, configuration and history, and its signatures.
type masterBuild struct {
	p         *production
	l         *lane
	sealed    *sealed
	header    blocks.Header
	processed *blocks.Processed
	fees      *big.Int // of shard blocks taken in
}

func (m *masterBuild) finish(prev *Produced) error {
	view, err := blocks.ParseMaster(m.l.old.Extra)
	if err != nil {
		return err
	}
	config, validators, err := m.nextConfig(view.Config)
	if err != nil {
		return err
	}
	shards, err := m.shards()
	if err != nil {
		return err
	}
	next, err := m.state(prev, view, shards, config, validators)
	if err != nil {
		return err
	}
	m.sealed.header = m.header
	custom, err := blocks.MasterBlockExtra{
		Shards: shards, Fees: m.fees, Key: m.header.Key, ConfigAddr: blocks.ConfigAddress(), Config: config,
	}.Cell()
	if err != nil {
		return err
	}
	block, err := m.p.assemble(m.l, prev, m.sealed, next, custom)
	if err != nil {
		return err
	}
	signatures, err := m.p.chain.ready.validators.Sign(block.Ref)
	if err != nil {
		return err
	}
	block.Signatures = blocks.EncodeSignatures(signatures)
	m.p.out.tick.Master = block
	m.p.out.ready.validators = validators
	if m.header.Key {
		m.p.out.ready.lastKey = block.Ref
		m.p.out.ready.config, err = configAfter(block.State)
	}
	return err
}

// configAfter reads the configuration from a clean state.
func configAfter(state *cell.Cell) (*chain.Config, error) {
	st, err := blocks.ParseState(state)
	if err != nil {
		return nil, err
	}
	view, err := blocks.ParseMaster(st.Extra)
	if err != nil {
		return nil, err
	}
	return chain.NewConfig(view.Config), nil
}

// nextConfig applies the pending changes, and tells who signs the blocks after this one.
func (m *masterBuild) nextConfig(now *cell.Cell) (*cell.Cell, *blocks.Validators, error) {
	c := m.p.chain
	if len(c.pending) == 0 {
		return now, c.ready.validators, nil
	}
	d := now.AsDict(32).Copy()
	for _, id := range slices.Sorted(maps.Keys(c.pending)) {
		if err := blocks.SetParam(d, int64(id), c.pending[id]); err != nil {
			return nil, nil, fmt.Errorf("changing configuration parameter %d: %w", id, err)
		}
	}
	if _, err := machine.Prepare(chain.NewConfig(d.AsCell())); err != nil {
		return nil, nil, err
	}
	validators := c.ready.validators
	if _, changed := c.pending[chain.ParamValidators]; changed {
		var err error
		m.p.out.ready.epoch++
		if validators, err = blocks.NewValidators(c.opts.Seed, m.p.out.ready.epoch, c.opts.Validators); err != nil {
			return nil, nil, err
		}
	}
	return d.AsCell(), validators, nil
}

func (m *masterBuild) shards() (*cell.Cell, error) {
	shard := m.p.out.tick.Shard
	if shard.Ref.Seqno == 0 {
		return blocks.ShardHashes(nil)
	}
	return blocks.ShardHashes(&blocks.Top{
		Ref: shard.Ref, StartLT: shard.Header.StartLT, Time: shard.Header.Time,
		Registered: m.p.out.ready.registered, MinRefMC: shard.Header.MinRefMC, Fees: m.p.out.ready.shardFees,
	})
}

func (m *masterBuild) state(prev *Produced, view blocks.MasterView, shards, config *cell.Cell, next *blocks.Validators) (*cell.Cell, error) {
	if err := view.History.Add(prev.Ref, prev.Header.Key); err != nil {
		return nil, err
	}
	lastKey := m.p.chain.ready.lastKey
	extra, err := blocks.MasterExtra{
		Shards: shards, ConfigAddr: blocks.ConfigAddress(), Config: config, Validators: next.Short, History: view.History,
		AfterKey: m.header.Key, LastKey: &lastKey, Global: view.Global,
	}.Cell()
	if err != nil {
		return nil, err
	}
	libraries, err := m.p.chain.publish(m.l.old.Libraries)
	if err != nil {
		return nil, err
	}
	queue, err := blocks.QueueInfo(m.sealed.queue, m.processed)
	if err != nil {
		return nil, err
	}
	return blocks.State{
		Workchain: blocks.Masterchain, Seqno: m.header.Seqno, Time: m.p.now, LT: m.header.EndLT, MinRefMC: m.header.MinRefMC,
		Queue: queue, Accounts: m.sealed.accounts, Balance: m.sealed.balance,
		ValidatorFees: new(big.Int).Add(m.l.old.ValidatorFees, m.sealed.flow.Fees), Libraries: libraries, Extra: extra,
	}.Cell()
}

// readQueue lists a queue's messages and says how far its workchain has imported.
func readQueue(queue *cell.Cell) ([]blocks.Envelope, reached, error) {
	var info tlb.OutMsgQueueInfo
	s, err := queue.BeginParse()
	if err == nil {
		err = info.LoadFromCell(s)
	}
	if err != nil {
		return nil, reached{}, fmt.Errorf("reading the message queue: %w", err)
	}
	done, err := readProcessed(info.ProcInfo)
	if err != nil || info.OutQueue.IsEmpty() {
		return nil, done, err
	}
	items, err := info.OutQueue.RangeExtra(false, false)
	if err != nil {
		return nil, done, fmt.Errorf("reading the message queue: %w", err)
	}
	list := make([]blocks.Envelope, 0, len(items))
	for _, item := range items {
		e, err := readEnqueued(item.Value)
		if err != nil {
			return nil, done, fmt.Errorf("reading the message queue: %w", err)
		}
		list = append(list, e)
	}
	return list, done, nil
}

func readEnqueued(s *cell.Slice) (blocks.Envelope, error) {
	var q tlb.EnqueuedMsg
	if err := q.LoadFromCell(s); err != nil {
		return blocks.Envelope{}, err
	}
	var env tlb.MsgEnvelope
	if err := tlb.Parse(&env, q.Msg); err != nil {
		return blocks.Envelope{}, err
	}
	var msg tlb.InternalMessage
	if err := tlb.Parse(&msg, env.Msg); err != nil {
		return blocks.Envelope{}, err
	}
	return blocks.Envelope{Message: env.Msg, Dst: msg.DstAddr, Fee: env.FwdFeeRemaining.Nano(), LT: q.EnqueuedLT}, nil
}

func readProcessed(d *cell.Dictionary) (reached, error) {
	if d.IsEmpty() {
		return reached{}, nil
	}
	items, err := d.LoadAll()
	if err != nil || len(items) != 1 {
		return reached{}, fmt.Errorf("reading processed messages: %d entries: %w", len(items), err)
	}
	var p blocks.Processed
	if _, err := items[0].Key.LoadUInt(64); err != nil {
		return reached{}, fmt.Errorf("reading processed messages: %w", err)
	}
	master, err := items[0].Key.LoadUInt(32)
	if err != nil {
		return reached{}, fmt.Errorf("reading processed messages: %w", err)
	}
	p.Master = uint32(master) //nolint:gosec // 32 bits
	if p.LT, err = items[0].Value.LoadUInt(64); err != nil {
		return reached{}, fmt.Errorf("reading processed messages: %w", err)
	}
	h, err := items[0].Value.LoadSlice(256)
	if err != nil {
		return reached{}, fmt.Errorf("reading processed messages: %w", err)
	}
	p.Hash = chain.Hash(h)
	return reached{&p}, nil
}

func errAttr(err error) slog.Attr { return slog.Any("err", err) }
