package lite

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/xssnick/tonutils-go/tlb"
	"github.com/xssnick/tonutils-go/ton"

	"cocoon/contracts/chain"
)

// Head implements chain.Access. Nothing is cached: a head is asked for every time.
func (c *Client) Head(ctx context.Context) (chain.Block, error) {
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
	case <-ctx.Done():
		return chain.Block{}, fmt.Errorf("reading the head: %w", context.Cause(ctx))
	}
	best, err := c.oneHead(ctx)
	if err == nil && c.age(best) > lookAround {
		best = c.newestHead(ctx, best)
	}
	if err == nil {
		err = c.judge(best)
	}
	if err != nil {
		return chain.Block{}, fmt.Errorf("reading the head: %w", err)
	}
	return best, nil
}

func (c *Client) age(b chain.Block) time.Duration { return c.opts.Now().Sub(b.Time) }

// oneHead takes the first server's proven head.
func (c *Client) oneHead(ctx context.Context) (b chain.Block, err error) {
	err = c.each(ctx, func(ctx context.Context, s *session) error {
		b, err = c.headFrom(ctx, s)
		return err
	})
	return b, err
}

// newestHead asks every server, because the one that answered may be stuck.
func (c *Client) newestHead(ctx context.Context, best chain.Block) chain.Block {
	for i, e := range c.endpoints {
		err := e.do(ctx, func(ctx context.Context, s *session) error {
			b, err := c.headFrom(ctx, s)
			if err == nil && b.Seqno > best.Seqno {
				best = b
				c.mu.Lock()
				c.first = i
				c.mu.Unlock()
			}
			return err
		})
		if err != nil {
			c.opts.Log.Warn("Liteserver failed", slog.String("peer", e.server.Addr.String()), slog.Any("err", err))
		}
	}
	return best
}

// judge compares a proven head with the clock.
func (c *Client) judge(b chain.Block) error {
	switch age := c.age(b); {
	case age > MaxAge:
		return fmt.Errorf("%w: block %d is %s old, at most %s", chain.ErrStaleHead, b.Seqno, age.Round(time.Second), MaxAge)
	case age < -MaxSkew:
		return fmt.Errorf("%w: block %d is %s ahead of this machine's clock, at most %s", chain.ErrClock, b.Seqno, (-age).Round(time.Second), MaxSkew)
	case age > WarnAge:
		c.opts.Log.Warn("Head is old", slog.Uint64("seqno", uint64(b.Seqno)), slog.Duration("dur", age.Round(time.Second)))
	}
	return nil
}

// headFrom proves a server's head and makes it the newest one.
func (c *Client) headFrom(ctx context.Context, s *session) (chain.Block, error) {
	info, err := query[ton.MasterchainInfo](ctx, s, ton.GetMasterchainInf{})
	if err != nil {
		return chain.Block{}, err
	}
	c.mu.Lock()
	last, trust := c.last, c.trust
	c.mu.Unlock()
	id := info.Last
	if id == nil {
		return chain.Block{}, fmt.Errorf("%w: no head", chain.ErrProof)
	}
	if err := checkID(id, id.SeqNo); err != nil {
		return chain.Block{}, err
	}
	switch floor := max(last.Seqno, trust.Seqno); {
	case id.SeqNo < floor:
		return chain.Block{}, fmt.Errorf("%w: its head is block %d, block %d was proven before", chain.ErrOldHead, id.SeqNo, floor)
	case last.Seqno == id.SeqNo && id.Equals(idOf(last)):
		return last, nil
	}
	if err := c.prove(ctx, s, id, trust, last); err != nil {
		return chain.Block{}, err
	}
	h, err := s.header(ctx, id)
	if err != nil {
		return chain.Block{}, fmt.Errorf("reading header %d: %w", id.SeqNo, err)
	}
	b := blockOf(id, h)
	return b, c.adopt(ctx, s, b, trust)
}

func blockOf(id *ton.BlockIDExt, h *tlb.BlockHeader) chain.Block {
	b := chain.Block{
		Seqno: id.SeqNo, RootHash: chain.Hash(id.RootHash), FileHash: chain.Hash(id.FileHash),
		Time: time.Unix(int64(h.GenUtime), 0).UTC(), EndLT: h.EndLt, KeySeqno: h.PrevKeyBlockSeqno,
	}
	if h.KeyBlock {
		b.KeySeqno = b.Seqno
	}
	return b
}

// prove leads from the trusted key block to a head by signatures, and from the head back to the newest head before: two
// chains of the same validators are both signed, but only one of them contains what was proven before.
func (c *Client) prove(ctx context.Context, s *session, id *ton.BlockIDExt, trust KeyBlock, last chain.Block) error {
	if err := s.follows(ctx, trust.id(), id); err != nil {
		return errors.Join(fmt.Errorf("proving block %d from key block %d: %w", id.SeqNo, trust.Seqno, err), s.contradicts(ctx, trust))
	}
	if last.Seqno == 0 {
		return nil
	}
	claimed := id
	if last.Seqno != id.SeqNo {
		var err error
		if claimed, err = s.lookup(ctx, last.Seqno); err != nil {
			return err
		}
		if err := s.follows(ctx, id, claimed); err != nil {
			return fmt.Errorf("proving block %d from block %d: %w", last.Seqno, id.SeqNo, err)
		}
	}
	if !claimed.Equals(idOf(last)) {
		return fmt.Errorf("%w: block %d is %x on this server's chain, %s was proven before", chain.ErrForked, last.Seqno, claimed.RootHash, last.RootHash)
	}
	return nil
}

// contradicts says whether a server's chain has another block in the trusted one's place.
func (s *session) contradicts(ctx context.Context, trust KeyBlock) error {
	id, err := s.lookup(ctx, trust.Seqno)
	if err == nil && !id.Equals(trust.id()) {
		return fmt.Errorf("%w: the server has another block %d than the trusted one", chain.ErrForked, trust.Seqno)
	}
	return nil
}

// adopt remembers a head. A new key block is proven, its configuration checked, and saved before it is used.
func (c *Client) adopt(ctx context.Context, s *session, b chain.Block, trust KeyBlock) error {
	if b.KeySeqno > trust.Seqno {
		key, err := c.keyBlock(ctx, s, b)
		if err != nil {
			return fmt.Errorf("proving key block %d: %w", b.KeySeqno, err)
		}
		if err := c.opts.Store.Save(key); err != nil {
			return err
		}
		trust = key
	}
	if err := c.checkVersion(ctx, s, b); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last, c.trust = b, trust
	return nil
}

// keyBlock is the proven id of the newest key block at or before a head.
func (c *Client) keyBlock(ctx context.Context, s *session, head chain.Block) (KeyBlock, error) {
	if head.KeySeqno == head.Seqno {
		return keyBlockOf(idOf(head)), nil
	}
	id, err := s.lookup(ctx, head.KeySeqno)
	if err != nil {
		return KeyBlock{}, err
	}
	if err := s.follows(ctx, idOf(head), id); err != nil {
		return KeyBlock{}, err
	}
	h, err := s.header(ctx, id)
	if err != nil {
		return KeyBlock{}, err
	}
	if !h.KeyBlock {
		return KeyBlock{}, fmt.Errorf("%w: block %d is no key block", chain.ErrProof, id.SeqNo)
	}
	return keyBlockOf(id), nil
}

// checkVersion refuses a configuration that our contracts cannot run on, once per key block.
func (c *Client) checkVersion(ctx context.Context, s *session, b chain.Block) error {
	if c.configs.get(b.KeySeqno) != nil {
		return nil
	}
	config, err := s.config(ctx, b)
	if err != nil {
		return err
	}
	if err := config.RequireGlobalVersion(); err != nil {
		return err
	}
	c.configs.put(b.KeySeqno, config)
	return nil
}

// Trusted is the newest key block that was proven.
func (c *Client) Trusted() KeyBlock {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.trust
}
