// Package local is a TON network in one process: it executes messages with the real virtual machine, packs real blocks
// with signatures and proofs, and keeps them in memory or on disk.
//
// It owns the order of messages, block production, the mempool's rules, the faucet, time, snapshots and storage;
// sub-package blocks owns the layouts, sub-package adnl the liteserver that the product's client talks to. It trusts its
// caller, who can mint faucet money, travel in time and rewind: it is a test network, marked by global id -217 and by
// keys derived from a seed, and nothing may rely on it for value. A Chain may be used concurrently; blocks are made one
// at a time. It refuses messages that a validator would refuse, blocks whose money does not add up, and a directory
// that another network's chain lies in.
package local

import (
	"errors"
	"fmt"
	"math/big"
	"sync"
	"time"

	"github.com/xssnick/tonutils-go/tvm/cell"

	"cocoon/contracts/chain"
	"cocoon/contracts/chain/local/blocks"
)

// ltStep is the distance between the logical times at which blocks begin.
const ltStep = 1_000_000

// Chain is a local network. Make one with NewChain.
type Chain struct {
	opts    Options
	store   store
	genesis *genesis

	mu sync.RWMutex
	// grown is closed and replaced whenever a masterchain block was made.
	grown chan struct{}

	window  window
	head    Tick
	ready   lasting
	pool    mempool
	faults  faults
	clock   clock
	inject  []injected
	pending map[int32]*cell.Cell // configuration changes for the next key block
	// libraries become public with the next masterchain block.
	libraries []*cell.Cell
	stats     map[int32]map[account]*cell.Cell
	closed    bool
}

// Tick is one step of the chain: a masterchain block and the newest shard block that it knows.
type Tick struct {
	Master *Produced
	Shard  *Produced
}

// Produced is a block with the state after it. Use it by pointer.
type Produced struct {
	*blocks.Block
	// State after the block; nil when only the block was asked for.
	State *cell.Cell
	// Signatures of a masterchain block, as EncodeSignatures writes them.
	Signatures []byte

	stateProof, shardsProof proofOnce
}

// lasting is what production carries from tick to tick besides the states.
type lasting struct {
	config     *chain.Config
	validators *blocks.Validators
	epoch      uint32
	lastKey    blocks.Ref // newest key block, possibly the head
	registered uint32     // masterchain block that took in the newest shard block
	shardFees  *big.Int   // fees of shard blocks that the masterchain has not taken in
}

// injected is an internal message from nowhere.
type injected struct {
	blocks.Envelope
}

// NewChain makes a network or opens the one in Options.Dir. The new one has made its first block, a key block.
func NewChain(o Options) (*Chain, error) {
	o.defaults()
	if err := o.validate(); err != nil {
		return nil, fmt.Errorf("making local chain: %w", err)
	}
	c, err := open(o)
	if err != nil {
		return nil, fmt.Errorf("making local chain: %w", err)
	}
	return c, nil
}

func open(o Options) (*Chain, error) {
	st, err := openStore(o)
	if err != nil {
		return nil, err
	}
	c := &Chain{
		opts: o, store: st, grown: make(chan struct{}), window: newWindow(o.Window), pool: newMempool(o),
		pending: map[int32]*cell.Cell{}, stats: map[int32]map[account]*cell.Cell{blocks.Masterchain: {}, blocks.Basechain: {}},
	}
	c.clock = clock{opts: o}
	if err := c.begin(); err != nil {
		return nil, errors.Join(err, st.close())
	}
	return c, nil
}

// begin restores what the store has, or makes the zero states and the first block.
func (c *Chain) begin() error {
	saved, err := c.store.genesis()
	if err != nil {
		return err
	}
	if saved == nil {
		if c.genesis, err = newGenesis(c.opts); err != nil {
			return err
		}
		if err := c.store.found(c.genesis.record()); err != nil {
			return err
		}
		c.fromGenesis()
		return c.step()
	}
	if c.genesis, err = loadGenesis(c.opts, *saved); err != nil {
		return err
	}
	top, err := c.store.top()
	if err != nil {
		return err
	}
	if top == 0 { // the process stopped between the zero state and the first block
		c.fromGenesis()
		return c.step()
	}
	return c.rewindTo(top)
}

func (c *Chain) fromGenesis() {
	c.head = c.genesis.tick()
	c.ready = lasting{
		config: chain.NewConfig(c.genesis.config), validators: c.genesis.validators,
		lastKey: c.head.Master.Ref, shardFees: new(big.Int),
	}
	c.window.add(c.head.Master)
	c.window.add(c.head.Shard)
}

// Close ends the chain and releases its file.
func (c *Chain) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil
	}
	c.closed = true
	close(c.grown)
	return c.store.close()
}

// errClosed answers calls after Close.
var errClosed = errors.New("the chain is closed")

// Step makes one masterchain block and, unless the shard is delayed, one block of the basechain.
func (c *Chain) Step() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return errClosed
	}
	return c.step()
}

// Steps makes n blocks.
func (c *Chain) Steps(n int) error {
	for range n {
		if err := c.Step(); err != nil {
			return err
		}
	}
	return nil
}

// step makes the next tick and stores it.
func (c *Chain) step() error {
	now := c.clock.next(c.head.Master.Header.Time)
	p := &production{chain: c, now: now}
	next, err := p.run()
	if err != nil {
		return fmt.Errorf("making block %d: %w", c.head.Master.Ref.Seqno+1, err)
	}
	if err := c.store.append(next.record(c.opts.SnapshotEvery)); err != nil {
		return fmt.Errorf("storing block %d: %w", next.tick.Master.Ref.Seqno, err)
	}
	c.adopt(next)
	close(c.grown)
	c.grown = make(chan struct{})
	return nil
}

// adopt makes a stored tick the head.
func (c *Chain) adopt(n *outcome) {
	c.head, c.ready = n.tick, n.ready
	c.window.add(n.tick.Master)
	if n.shardNew {
		c.window.add(n.tick.Shard)
	}
	for wc, stats := range n.stats {
		for k, s := range stats {
			if s == nil {
				delete(c.stats[wc], k)
			} else {
				c.stats[wc][k] = s
			}
		}
	}
	c.inject, c.libraries = nil, nil
	clear(c.pending)
	c.pool.settle(n.externals)
	c.pool.expire(n.tick.Master.Header.Time)
}

// clock says which time the next block has.
type clock struct {
	opts Options
	// offset is added to the wall clock; forced, when set, replaces the next block's time once.
	offset time.Duration
	forced *uint32
	frozen bool
}

// next is the time of the block after one of time prev: never earlier.
func (k *clock) next(prev uint32) uint32 {
	now := prev
	switch {
	case k.forced != nil:
		now, k.forced = *k.forced, nil
	case k.frozen:
	case k.opts.Deterministic:
		now = prev + uint32(k.opts.Period/time.Second) //nolint:gosec // validated
	default:
		now = uint32(k.opts.Now().Add(k.offset).Unix()) //nolint:gosec // TON's times are 32 bits wide
	}
	return max(now, prev)
}
