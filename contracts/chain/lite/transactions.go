package lite

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/xssnick/tonutils-go/address"
	"github.com/xssnick/tonutils-go/ton"
	"github.com/xssnick/tonutils-go/tvm/cell"

	"cocoon/contracts/chain"
)

// Limits of a transaction list and of a message.
const (
	maxListed       = 64
	maxListBytes    = 8 << 20
	maxMessageBytes = 65535
)

// Transactions implements chain.Watcher.
func (c *Client) Transactions(ctx context.Context, addr *address.Address, from chain.Cursor) iter.Seq2[chain.Transaction, error] {
	return chain.Follow(ctx, c, addr, from)
}

// Past implements chain.History. The cursor's hash is proven by the caller, and each transaction's hash by the one
// before, so the list needs no proof of its own.
func (c *Client) Past(ctx context.Context, addr *address.Address, from chain.Cursor, limit int) (txs []chain.Transaction, err error) {
	if from.Hash == (chain.Hash{}) {
		return nil, fmt.Errorf("reading transactions of %s: %w: no hash to begin with", addr, chain.ErrMalformed)
	}
	err = c.each(ctx, func(ctx context.Context, s *session) error {
		txs, err = s.past(ctx, addr, from, min(limit, maxListed))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading transactions of %s from %d: %w", addr, from.LT, err)
	}
	return txs, nil
}

func (s *session) past(ctx context.Context, addr *address.Address, from chain.Cursor, limit int) ([]chain.Transaction, error) {
	resp, err := query[ton.TransactionList](ctx, s, ton.GetTransactions{
		Limit: int32(limit), LT: int64(from.LT), TxHash: from.Hash[:], //nolint:gosec // bounded, and two's complement on the wire
		AccID: &ton.AccountID{Workchain: addr.Workchain(), ID: addr.Data()},
	})
	if err != nil {
		return nil, err
	}
	if len(resp.Transactions) == 0 || len(resp.Transactions) > maxListBytes {
		return nil, fmt.Errorf("%w: %d bytes of transactions", chain.ErrProof, len(resp.Transactions))
	}
	cells, err := cell.FromBOCMultiRoot(resp.Transactions)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", chain.ErrProof, err)
	}
	if len(cells) == 0 || len(cells) > limit {
		return nil, fmt.Errorf("%w: %d transactions, asked for %d", chain.ErrProof, len(cells), limit)
	}
	out := make([]chain.Transaction, 0, len(cells))
	for _, c := range cells {
		if chain.Hash(c.Hash()) != from.Hash {
			return nil, fmt.Errorf("%w: transaction %x, want %s", chain.ErrProof, c.Hash(), from.Hash)
		}
		tx, err := chain.ParseTransaction(c)
		if err != nil {
			return nil, err
		}
		if tx.LT != from.LT {
			return nil, fmt.Errorf("%w: transaction %d, want %d", chain.ErrProof, tx.LT, from.LT)
		}
		out = append(out, tx)
		from = tx.Previous
	}
	return out, nil
}

// Wait implements chain.History.
func (c *Client) Wait(ctx context.Context, seqno uint32) error {
	soonest := time.NewTimer(retryWait)
	defer soonest.Stop()
	limited, cancel := context.WithTimeout(ctx, maxWait)
	defer cancel()
	err := c.each(limited, func(ctx context.Context, s *session) error {
		_, err := s.api.WaitForBlock(seqno + 1).GetTime(ctx)
		return err
	})
	if err != nil { // no server answers: do not spin
		select {
		case <-soonest.C:
		case <-ctx.Done():
		}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// Send implements chain.Access. Every server gets the message, because one could keep it for itself; one that takes it
// is enough.
func (c *Client) Send(ctx context.Context, message *cell.Cell) error {
	if message == nil {
		return fmt.Errorf("sending message: %w: no cell", chain.ErrMalformed)
	}
	body := message.ToBOCWithOptions(cell.BOCSerializeOptions{})
	if len(body) > maxMessageBytes {
		return fmt.Errorf("sending message: %w: %d bytes, at most %d", chain.ErrMalformed, len(body), maxMessageBytes)
	}
	var errs []error
	taken := false
	for _, e := range c.endpoints {
		err := e.do(ctx, func(ctx context.Context, s *session) error { return s.send(ctx, body) })
		taken = taken || err == nil
		if err != nil {
			errs = append(errs, fmt.Errorf("liteserver %s: %w", e.server.Addr, err))
		}
	}
	if taken {
		return nil
	}
	return fmt.Errorf("sending message: %w", errors.Join(errs...))
}

func (s *session) send(ctx context.Context, body []byte) error {
	status, err := query[ton.SendMessageStatus](ctx, s, ton.SendMessage{Body: body})
	var ls ton.LSError
	switch {
	case errors.As(err, &ls) && ls.Code == 0:
		return fmt.Errorf("%w: %w", chain.ErrNotAccepted, err)
	case err != nil:
		return err
	case status.Status != 1:
		return fmt.Errorf("%w: status %d", chain.ErrNotAccepted, status.Status)
	}
	return nil
}
