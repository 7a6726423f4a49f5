package local

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/xssnick/tonutils-go/tlb"
	"github.com/xssnick/tonutils-go/tvm/cell"

	"cocoon/contracts/chain"
	"cocoon/contracts/chain/local/blocks"
)

// Bounds of control.
const (
	maxMarks    = 256
	maxMarkName = 64
	// maxEpochs bounds how often validators can be rotated.
	maxEpochs = 1000
)

// SendExternal queues an external message without asking the contract first.
func (c *Chain) SendExternal(message *cell.Cell) error {
	e, err := parseExternal(message)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return errClosed
	}
	return c.enqueue(e)
}

// SendInternal delivers an internal message with the next block as if another workchain had sent it: from any source,
// with any value. It is for tests of contracts; its money comes from nowhere.
func (c *Chain) SendInternal(m *tlb.InternalMessage) error {
	msg, err := tlb.ToCell(m)
	if err != nil {
		return fmt.Errorf("packing internal message: %w", err)
	}
	if m.SrcAddr == nil || m.SrcAddr.IsAddrNone() {
		return errors.New("sending internal message: it has no source, and a block cannot contain such a one")
	}
	if m.DstAddr == nil || (m.DstAddr.Workchain() != blocks.Masterchain && m.DstAddr.Workchain() != blocks.Basechain) {
		return fmt.Errorf("sending internal message: destination %s is in no workchain", m.DstAddr)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return errClosed
	}
	c.inject = append(c.inject, injected{blocks.Envelope{Message: msg, Dst: m.DstAddr, Fee: m.FwdFee.Nano(), LT: m.CreatedLT}})
	return nil
}

// SetTime gives the next block a time; earlier than the newest block's is refused. Blocks after it go on from there:
// by the period when deterministic, else the wall clock is shifted.
func (c *Chain) SetTime(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.setTime(t)
}

func (c *Chain) setTime(t time.Time) error {
	head := time.Unix(int64(c.head.Master.Header.Time), 0)
	switch {
	case t.Before(head):
		return fmt.Errorf("setting the time: %s is before the newest block's %s, and block time cannot go back", t.UTC(), head.UTC())
	case t.Unix() > math.MaxUint32:
		return fmt.Errorf("setting the time: %s does not fit 32 bits of seconds", t.UTC())
	}
	v := uint32(t.Unix()) //nolint:gosec // bounded above
	c.clock.forced = &v
	if !c.opts.Deterministic {
		c.clock.offset = t.Sub(c.opts.Now())
	}
	return nil
}

// Travel moves time forward.
func (c *Chain) Travel(d time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if d < 0 {
		return fmt.Errorf("travelling in time: %s is negative, and block time cannot go back", d)
	}
	return c.setTime(time.Unix(int64(c.clock.peek(c.head.Master.Header.Time)), 0).Add(d))
}

// FreezeTime keeps block time where it is, or lets it run again.
func (c *Chain) FreezeTime(on bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.clock.frozen = on
}

// SetConfig changes a configuration parameter with the next masterchain block, which becomes a key block.
func (c *Chain) SetConfig(id int32, param *cell.Cell) error {
	if id == chain.ParamValidators || param == nil {
		return fmt.Errorf("changing configuration parameter %d: %w", id, errors.New("validators change by RotateValidators, and a parameter needs a cell"))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pending[id] = param
	return nil
}

// SetGlobalVersion changes parameter 8 with the next masterchain block.
func (c *Chain) SetGlobalVersion(v uint32) error {
	p, err := blocks.VersionParam(v)
	if err != nil {
		return err
	}
	return c.SetConfig(chain.ParamGlobalVersion, p)
}

// RotateValidators makes the next masterchain block a key block after which new keys sign.
func (c *Chain) RotateValidators() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ready.epoch+1 >= maxEpochs {
		return fmt.Errorf("rotating validators: %d sets were used already", maxEpochs)
	}
	v, err := blocks.NewValidators(c.opts.Seed, c.ready.epoch+1, c.opts.Validators)
	if err != nil {
		return err
	}
	p, err := v.Cell()
	if err != nil {
		return err
	}
	c.pending[chain.ParamValidators] = p
	return nil
}

// Snapshot gives the newest block a name to come back to. Names are 1 to 64 characters; the same name moves.
func (c *Chain) Snapshot(name string) (uint32, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return 0, errClosed
	}
	if name == "" || len(name) > maxMarkName {
		return 0, fmt.Errorf("making snapshot %q: a name has 1 to %d characters", name, maxMarkName)
	}
	all, err := c.store.marked()
	if err != nil {
		return 0, fmt.Errorf("making snapshot %q: %w", name, err)
	}
	if _, known := all[name]; !known && len(all) >= maxMarks {
		return 0, fmt.Errorf("making snapshot %q: there are %d already", name, len(all))
	}
	seqno := c.head.Master.Ref.Seqno
	return seqno, c.store.mark(name, seqno)
}

// Snapshots lists names and their blocks.
func (c *Chain) Snapshots() (map[string]uint32, error) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.closed {
		return nil, errClosed
	}
	return c.store.marked()
}

// Restore takes the chain back to a snapshot: later blocks and snapshots, waiting messages and pending changes are
// gone, and what follows is another history. This is the rollback that clients must notice.
func (c *Chain) Restore(name string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return errClosed
	}
	all, err := c.store.marked()
	if err != nil {
		return fmt.Errorf("restoring snapshot %q: %w", name, err)
	}
	seqno, ok := all[name]
	if !ok {
		return fmt.Errorf("restoring snapshot %q: there is none of that name", name)
	}
	if err := c.rewindTo(seqno); err != nil {
		return fmt.Errorf("restoring snapshot %q: %w", name, err)
	}
	close(c.grown)
	c.grown = make(chan struct{})
	return nil
}

// rewindTo makes a stored block the head.
func (c *Chain) rewindTo(seqno uint32) error {
	if err := c.store.rewind(seqno); err != nil {
		return err
	}
	c.window = newWindow(c.opts.Window)
	c.pool.waiting, c.inject, c.libraries = nil, nil, nil
	clear(c.pending)
	c.stats = map[int32]map[account]*cell.Cell{blocks.Masterchain: {}, blocks.Basechain: {}}
	master, err := c.withState(blocks.Masterchain, seqno)
	if err != nil {
		return err
	}
	known, err := c.store.shardOf(seqno)
	if err != nil {
		return err
	}
	shard, err := c.withState(blocks.Basechain, known)
	if err != nil {
		return err
	}
	c.head = Tick{Master: master, Shard: shard}
	c.window.add(master)
	c.window.add(shard)
	return c.remember()
}

// remember derives from the head what production carries along.
func (c *Chain) remember() error {
	config, err := configAfter(c.head.Master.State)
	if err != nil {
		return err
	}
	c.ready = lasting{config: config}
	if c.ready.epoch, c.ready.validators, err = c.signers(config); err != nil {
		return err
	}
	key := c.head.Master
	if !key.Header.Key {
		if key, err = c.block(blocks.Masterchain, key.Header.PrevKey); err != nil {
			return err
		}
	}
	c.ready.lastKey = key.Ref
	top, err := blocks.ParseTop(c.head.Master.State)
	if err != nil {
		return err
	}
	c.ready.shardFees, c.ready.registered = top.Fees, top.Registered
	return nil
}

// signers finds which of the network's validator sets a configuration names.
func (c *Chain) signers(config *chain.Config) (uint32, *blocks.Validators, error) {
	want, err := config.Param(chain.ParamValidators)
	if err != nil {
		return 0, nil, err
	}
	for epoch := range uint32(maxEpochs) {
		v, err := blocks.NewValidators(c.opts.Seed, epoch, c.opts.Validators)
		if err != nil {
			return 0, nil, err
		}
		p, err := v.Cell()
		if err != nil {
			return 0, nil, err
		}
		if chain.Hash(p.Hash()) == chain.Hash(want.Hash()) {
			return epoch, v, nil
		}
	}
	return 0, nil, errors.New("no key of this network's seed belongs to the configured validators")
}

// peek is next without using up a forced time.
func (k *clock) peek(prev uint32) uint32 {
	saved := k.forced
	now := k.next(prev)
	k.forced = saved
	return now
}
