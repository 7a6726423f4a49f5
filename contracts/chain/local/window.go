package local

import (
	"fmt"

	"github.com/xssnick/tonutils-go/tvm/cell"

	"cocoon/contracts/chain"
	"cocoon/contracts/chain/local/blocks"
)

// blockKey names a block of this chain.
type blockKey struct {
	workchain int32
	seqno     uint32
}

// window keeps the newest blocks with their states. States share cells, so a window costs what its blocks changed.
type window struct {
	size int
	held map[blockKey]*Produced
}

func newWindow(size int) window { return window{size: size, held: map[blockKey]*Produced{}} }

func (w *window) add(p *Produced) {
	k := blockKey{p.Header.Workchain, p.Ref.Seqno}
	w.held[k] = p
	if old := int64(k.seqno) - int64(w.size); old >= 0 {
		delete(w.held, blockKey{k.workchain, uint32(old)}) //nolint:gosec // not negative, below a seqno
	}
}

// block finds a block, in memory or on disk. One from disk comes without state.
func (c *Chain) block(workchain int32, seqno uint32) (*Produced, error) {
	if p := c.window.held[blockKey{workchain, seqno}]; p != nil {
		return p, nil
	}
	if seqno == 0 {
		g := c.genesis.tick()
		if workchain == blocks.Masterchain {
			return g.Master, nil
		}
		return g.Shard, nil
	}
	boc, signatures, err := c.store.block(workchain, seqno)
	if err != nil {
		return nil, err
	}
	if boc == nil {
		return nil, fmt.Errorf("%w: %d of workchain %d", chain.ErrUnknownBlock, seqno, workchain)
	}
	b, err := blocks.Parse(boc)
	if err != nil {
		return nil, err
	}
	return &Produced{Block: b, Signatures: signatures}, nil
}

// withState finds a block with the state after it. A state that is not in memory is made from the stored state before
// it and the updates of the blocks between.
func (c *Chain) withState(workchain int32, seqno uint32) (*Produced, error) {
	p, err := c.block(workchain, seqno)
	if err != nil || p.State != nil {
		return p, err
	}
	at, state, err := c.snapshotBefore(workchain, seqno)
	if err != nil {
		return nil, err
	}
	for at < seqno {
		at++
		b, err := c.block(workchain, at)
		if err != nil {
			return nil, err
		}
		if state, err = applyBlock(state, b.Block); err != nil {
			return nil, fmt.Errorf("making the state after block %d of workchain %d: %w", at, workchain, err)
		}
	}
	return &Produced{Block: p.Block, Signatures: p.Signatures, State: state}, nil
}

func (c *Chain) snapshotBefore(workchain int32, seqno uint32) (uint32, *cell.Cell, error) {
	at, boc, err := c.store.stateBefore(workchain, seqno)
	if err != nil {
		return 0, nil, err
	}
	if boc == nil {
		g := c.genesis.tick()
		if workchain == blocks.Masterchain {
			return 0, g.Master.State, nil
		}
		return 0, g.Shard.State, nil
	}
	state, err := cell.FromBOC(boc)
	if err != nil {
		return 0, nil, fmt.Errorf("reading stored state %d of workchain %d: %w", at, workchain, err)
	}
	return at, state, nil
}

// applyBlock is the state after a block.
func applyBlock(state *cell.Cell, b *blocks.Block) (*cell.Cell, error) {
	root, err := b.Root()
	if err != nil {
		return nil, err
	}
	update, err := root.PeekRef(2) // header, value flow, state update, extra
	if err != nil {
		return nil, err
	}
	next, _, err := cell.ApplyMerkleUpdate(state, update)
	return next, err
}

// tickAt is the tick of a masterchain block, with states.
func (c *Chain) tickAt(seqno uint32) (Tick, error) {
	if seqno == c.head.Master.Ref.Seqno {
		return c.head, nil
	}
	if seqno > c.head.Master.Ref.Seqno {
		return Tick{}, fmt.Errorf("%w: %d, the newest is %d", chain.ErrUnknownBlock, seqno, c.head.Master.Ref.Seqno)
	}
	master, err := c.withState(blocks.Masterchain, seqno)
	if err != nil {
		return Tick{}, err
	}
	shard, err := c.store.shardOf(seqno)
	if err != nil {
		return Tick{}, err
	}
	s, err := c.withState(blocks.Basechain, shard)
	return Tick{Master: master, Shard: s}, err
}
