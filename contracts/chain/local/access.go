package local

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/xssnick/tonutils-go/address"
	"github.com/xssnick/tonutils-go/tlb"
	"github.com/xssnick/tonutils-go/tvm/cell"

	"cocoon/contracts/chain"
	"cocoon/contracts/chain/local/blocks"
	"cocoon/contracts/chain/machine"
)

// A Chain is what the product sees of a network, without proofs: for tests in the same process.
var (
	_ chain.Access  = (*Chain)(nil)
	_ chain.Watcher = (*Chain)(nil)
	_ chain.Reader  = (*Chain)(nil)
)

// maxWait ends a wait for a block.
const maxWait = 10 * time.Second

// Head implements chain.Access.
func (c *Chain) Head(context.Context) (chain.Block, error) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.closed {
		return chain.Block{}, errClosed
	}
	return describeBlock(c.head.Master.Block), nil
}

func describeBlock(b *blocks.Block) chain.Block {
	out := chain.Block{
		Seqno: b.Ref.Seqno, RootHash: b.Ref.RootHash, FileHash: b.Ref.FileHash,
		Time: time.Unix(int64(b.Header.Time), 0).UTC(), EndLT: b.Header.EndLT, KeySeqno: b.Header.PrevKey,
	}
	if b.Header.Key {
		out.KeySeqno = out.Seqno
	}
	return out
}

// Account implements chain.Access.
func (c *Chain) Account(_ context.Context, at chain.Block, addr *address.Address) (*chain.Account, error) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.account(at, addr)
}

func (c *Chain) account(at chain.Block, addr *address.Address) (*chain.Account, error) {
	if addr == nil || len(addr.Data()) != len(chain.Hash{}) {
		return nil, fmt.Errorf("reading account: %w: address %s", chain.ErrMalformed, addr)
	}
	v, err := c.viewAt(at)
	if err != nil {
		return nil, fmt.Errorf("reading account %s: %w", addr, err)
	}
	state := v.Shard.State
	if addr.Workchain() == blocks.Masterchain {
		state = v.Master.State
	}
	st, err := blocks.ParseState(state)
	if err != nil {
		return nil, err
	}
	s, err := blocks.LookupAccount(st.Accounts, addr.Data())
	if err != nil {
		return nil, fmt.Errorf("reading account %s: %w", addr, err)
	}
	if s == nil {
		return chain.AbsentAccount(at, addr), nil
	}
	var sa tlb.ShardAccount
	if err := tlb.LoadFromCell(&sa, s); err != nil {
		return nil, fmt.Errorf("reading account %s: %w", addr, err)
	}
	return chain.ParseAccount(at, addr, sa.Account, chain.Cursor{LT: sa.LastTransLT, Hash: chain.Hash(sa.LastTransHash)})
}

// viewAt finds the tick of a masterchain block and refuses one that is not this chain's.
func (c *Chain) viewAt(at chain.Block) (Tick, error) {
	if c.closed {
		return Tick{}, errClosed
	}
	t, err := c.tickAt(at.Seqno)
	if err != nil {
		return Tick{}, err
	}
	if t.Master.Ref.RootHash != at.RootHash {
		return Tick{}, fmt.Errorf("%w: block %d is %s, not %s", chain.ErrForked, at.Seqno, t.Master.Ref.RootHash, at.RootHash)
	}
	return t, nil
}

// RunGet implements chain.Access.
func (c *Chain) RunGet(ctx context.Context, at chain.Block, addr *address.Address, method string, args ...any) ([]any, error) {
	a, err := c.Account(ctx, at, addr)
	if err != nil {
		return nil, err
	}
	config, err := c.Config(ctx, at)
	if err != nil {
		return nil, err
	}
	return machine.Execute(a, config, method, args...)
}

// Config implements chain.Access.
func (c *Chain) Config(_ context.Context, at chain.Block, ids ...int32) (*chain.Config, error) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	t, err := c.viewAt(at)
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	config, err := configAfter(t.Master.State)
	if err != nil {
		return nil, err
	}
	for _, id := range ids {
		if _, err := config.Param(id); err != nil {
			return nil, err
		}
	}
	return config, nil
}

// Send implements chain.Access: the mempool takes the message if the contract would accept it now.
func (c *Chain) Send(_ context.Context, message *cell.Cell) error {
	e, err := parseExternal(message)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return errClosed
	}
	ok, err := c.accepts(e)
	if err != nil {
		return fmt.Errorf("trying external message: %w: %w", chain.ErrNotAccepted, err)
	}
	if !ok {
		return fmt.Errorf("trying external message for %s: %w", e.dst, chain.ErrNotAccepted)
	}
	return c.enqueue(e)
}

// enqueue puts a message into the pool, under the faults that are switched on.
func (c *Chain) enqueue(e external) error {
	e.since = c.head.Master.Header.Time
	c.pool.expire(e.since)
	return c.faults.mangle(&c.pool, e)
}

// Transactions implements chain.Watcher.
func (c *Chain) Transactions(ctx context.Context, addr *address.Address, from chain.Cursor) iter.Seq2[chain.Transaction, error] {
	return chain.Follow(ctx, c, addr, from)
}

// Past implements chain.History.
func (c *Chain) Past(_ context.Context, addr *address.Address, from chain.Cursor, limit int) ([]chain.Transaction, error) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	var out []chain.Transaction
	for len(out) < limit && from.LT != 0 {
		c, _, err := c.transaction(addr, from)
		if err != nil {
			return nil, fmt.Errorf("reading transactions of %s: %w", addr, err)
		}
		tx, err := chain.ParseTransaction(c)
		if err != nil {
			return nil, err
		}
		out = append(out, tx)
		from = tx.Previous
	}
	return out, nil
}

// transaction finds a transaction and the block that contains it.
func (c *Chain) transaction(addr *address.Address, at chain.Cursor) (*cell.Cell, *Produced, error) {
	if c.closed {
		return nil, nil, errClosed
	}
	seqno, hash, err := c.store.transaction(addr.Workchain(), account(addr.Data()), at.LT)
	if err != nil {
		return nil, nil, err
	}
	if seqno == 0 || (hash != at.Hash && at.Hash != chain.Hash{}) {
		return nil, nil, fmt.Errorf("%w: there is no transaction %d with hash %s", chain.ErrMissing, at.LT, at.Hash)
	}
	b, err := c.block(addr.Workchain(), seqno)
	if err != nil {
		return nil, nil, err
	}
	root, err := b.Root()
	if err != nil {
		return nil, nil, err
	}
	tx, err := blocks.Transaction(root, blocks.TransactionRef{Account: addr.Data(), LT: at.LT})
	if err == nil && tx == nil {
		err = errors.New("the index names a block that does not contain the transaction")
	}
	return tx, b, err
}

// Wait implements chain.History.
func (c *Chain) Wait(ctx context.Context, seqno uint32) error {
	timer := time.NewTimer(maxWait)
	defer timer.Stop()
	for {
		c.mu.RLock()
		head, grown, closed := c.head.Master.Ref.Seqno, c.grown, c.closed
		c.mu.RUnlock()
		switch {
		case closed:
			return errClosed
		case head > seqno:
			return nil
		}
		select {
		case <-grown:
		case <-timer.C:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
