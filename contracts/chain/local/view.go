package local

import (
	"fmt"
	"sort"

	"github.com/xssnick/tonutils-go/address"
	"github.com/xssnick/tonutils-go/tvm/cell"

	"cocoon/contracts/chain"
	"cocoon/contracts/chain/local/blocks"
)

// Newest is the newest masterchain block's number.
func (c *Chain) Newest() uint32 {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.head.Master.Ref.Seqno
}

// At is the chain as a masterchain block knows it, with states. Block 0 are the zero states.
func (c *Chain) At(seqno uint32) (Tick, error) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.closed {
		return Tick{}, errClosed
	}
	return c.tickAt(seqno)
}

// BlockAt finds a block of a workchain. It comes with state when withState is set.
func (c *Chain) BlockAt(workchain int32, seqno uint32, withState bool) (*Produced, error) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.closed {
		return nil, errClosed
	}
	if withState {
		return c.withState(workchain, seqno)
	}
	return c.block(workchain, seqno)
}

// ShardAt is the number of the shard block that a masterchain block knows.
func (c *Chain) ShardAt(master uint32) (uint32, error) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.closed {
		return 0, errClosed
	}
	return c.store.shardOf(master)
}

// TransactionAt finds a transaction by account and cursor, and the block that contains it.
func (c *Chain) TransactionAt(addr *address.Address, at chain.Cursor) (*cell.Cell, *Produced, error) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.transaction(addr, at)
}

// Search finds the first block of a workchain, numbered 1 to last, for which enough is true; enough must stay true from
// there on. It returns last + 1 when there is none.
func (c *Chain) Search(workchain int32, last uint32, enough func(blocks.Header) bool) (uint32, error) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.closed {
		return 0, errClosed
	}
	var failed error
	n := sort.Search(int(last), func(i int) bool {
		b, err := c.block(workchain, uint32(i)+1) //nolint:gosec // below last
		if err != nil {
			failed = err
			return true
		}
		return enough(b.Header)
	})
	return uint32(n) + 1, failed //nolint:gosec // at most last
}

// MempoolSize is how many external messages wait.
func (c *Chain) MempoolSize() int {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return len(c.pool.waiting)
}

// Options that the chain runs with, defaults filled in.
func (c *Chain) Options() Options { return c.opts }

// Fork returns a chain in memory with the same past and keys and another future: the second half of a split brain.
func (c *Chain) Fork() (*Chain, error) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.closed {
		return nil, errClosed
	}
	m := newMemory()
	if err := m.found(c.genesis.record()); err != nil {
		return nil, err
	}
	for seqno := uint32(1); seqno <= c.head.Master.Ref.Seqno; seqno++ {
		r, err := c.recorded(seqno, m.newestS)
		if err != nil {
			return nil, fmt.Errorf("forking at block %d: %w", seqno, err)
		}
		if err := m.append(r); err != nil {
			return nil, fmt.Errorf("forking at block %d: %w", seqno, err)
		}
	}
	o := c.opts
	o.Dir, o.forked = "", !o.forked
	f := &Chain{
		opts: o, store: m, grown: make(chan struct{}), window: newWindow(o.Window), pool: newMempool(o),
		pending: map[int32]*cell.Cell{}, clock: c.clock, genesis: c.genesis,
	}
	f.clock.opts = o
	if err := f.rewindTo(c.head.Master.Ref.Seqno); err != nil {
		return nil, fmt.Errorf("forking: %w", err)
	}
	return f, nil
}

// recorded makes a stored tick's record again. have is the newest shard block that the copy has.
func (c *Chain) recorded(seqno, have uint32) (tickRecord, error) {
	master, err := c.block(blocks.Masterchain, seqno)
	if err != nil {
		return tickRecord{}, err
	}
	out := tickRecord{}
	if out.known, err = c.store.shardOf(seqno); err != nil {
		return out, err
	}
	if out.master, err = indexed(master); err != nil || out.known == have {
		return out, err
	}
	shard, err := c.block(blocks.Basechain, out.known)
	if err != nil {
		return out, err
	}
	r, err := indexed(shard)
	out.shard = &r
	return out, err
}

// indexed is a block's record with the index made from the block.
func indexed(p *Produced) (blockRecord, error) {
	root, err := p.Root()
	if err != nil {
		return blockRecord{}, err
	}
	refs, cells, err := blocks.Transactions(root)
	if err != nil {
		return blockRecord{}, err
	}
	txs := make([]txRecord, len(refs))
	for i, r := range refs {
		txs[i] = txRecord{account: account(r.Account), lt: r.LT, hash: chain.Hash(cells[i].Hash())}
	}
	return recordOf(p, ^uint32(0), txs), nil
}

// GlobalID marks every local network.
const GlobalID = blocks.GlobalID

// RootHash of a masterchain block; of the zero state for 0.
func (c *Chain) RootHash(seqno uint32) (chain.Hash, error) {
	p, err := c.BlockAt(blocks.Masterchain, seqno, false)
	if err != nil {
		return chain.Hash{}, err
	}
	return p.Ref.RootHash, nil
}
