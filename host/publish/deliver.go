package publish

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/xssnick/tonutils-go/tlb"

	"cocoon/contracts/chain"
)

// maxArrival ends the wait for an order's transaction at its receiver, after the wallet's is on chain.
const maxArrival = 5 * time.Minute

// Arrival is where an order was executed.
type Arrival struct {
	Order       Order
	Wallet      chain.Transaction // that sent it
	Transaction chain.Transaction // of the receiver
	Block       chain.Block       // the first head whose proven state contains it
}

// Deliver signs and sends orders, at most four with one message, and waits until each was executed by its receiver. The
// outbox remembers what was sent and not yet seen; messages that it holds from before are settled first. Sequence numbers
// and block go on, so that the site can be used afterwards.
func (s *Site) Deliver(ctx context.Context, p *Principal, orders []Order, outbox chain.Outbox) ([]Arrival, error) {
	if p.Wallet == nil {
		return nil, fmt.Errorf("sending: %w: nobody signs for %s", ErrNoRights, p.Address)
	}
	sender := chain.NewSender(s.net, outbox)
	var settled int
	if err := sender.Recover(ctx, func(chain.Pending, chain.Receipt, error) { settled++ }); err != nil {
		return nil, fmt.Errorf("settling what was sent before: %w", err)
	}
	if settled > 0 {
		return nil, fmt.Errorf("%d messages of an earlier run were settled now and may have done this already: look, then run again", settled)
	}
	var out []Arrival
	for len(orders) > 0 {
		n := min(len(orders), maxBatch)
		arrived, err := s.deliver(ctx, p, orders[:n], sender)
		out = append(out, arrived...)
		if err != nil {
			return out, err
		}
		orders = orders[n:]
	}
	return out, nil
}

func (s *Site) deliver(ctx context.Context, p *Principal, orders []Order, sender *chain.Sender) ([]Arrival, error) {
	since := make([]chain.Cursor, len(orders))
	for i, o := range orders {
		a, err := s.Account(ctx, o.To)
		if err != nil {
			return nil, err
		}
		since[i] = a.Last
	}
	msg, err := p.sign(s, orders)
	if err != nil {
		return nil, err
	}
	receipt, err := sender.Send(ctx, msg)
	if err != nil {
		return nil, err
	}
	if exit, ran := receipt.Transaction.Exit(); !ran || exit > 1 || exit < 0 {
		return nil, fmt.Errorf("%w: wallet %s, exit code %d, transaction %s", ErrRefused, p.Wallet.Address, exit, receipt.Transaction.Hash)
	}
	p.Wallet.seqno++
	out := make([]Arrival, 0, len(orders))
	for i, o := range orders {
		tx, err := s.await(ctx, p, o, since[i])
		if err != nil {
			return out, err
		}
		out = append(out, Arrival{Order: o, Wallet: receipt.Transaction, Transaction: tx, Block: s.Head})
	}
	p.account, err = s.Account(ctx, p.Wallet.Address)
	return out, err
}

// await follows the receiver until the order's transaction is there, and checks what came of it.
func (s *Site) await(ctx context.Context, p *Principal, o Order, since chain.Cursor) (chain.Transaction, error) {
	ctx, cancel := context.WithTimeout(ctx, maxArrival)
	defer cancel()
	for tx, err := range chain.Follow(ctx, s.net, o.To, since) {
		if err != nil {
			return tx, fmt.Errorf("waiting for %s to execute the message: %w", o.To, err)
		}
		if !o.isFrom(tx, p) {
			continue
		}
		if err := s.refresh(ctx); err != nil {
			return tx, err
		}
		exit, ran := tx.Exit()
		if code, acted := tx.ActionCode(); (ran && (exit > 1 || exit < 0)) || (acted && code != 0) || (!ran && o.Body != nil) {
			return tx, fmt.Errorf("%w: %s, exit code %d, action result %d, transaction %s", ErrRefused, o.To, exit, code, tx.Hash)
		}
		return tx, nil
	}
	return chain.Transaction{}, errors.Join(ctx.Err(), fmt.Errorf("waiting for %s to execute the message: the history ended", o.To))
}

// isFrom recognises the order's message.
func (o Order) isFrom(tx chain.Transaction, p *Principal) bool {
	in := tx.In()
	if in == nil || in.MsgType != tlb.MsgTypeInternal {
		return false
	}
	m := in.AsInternal()
	return m.SrcAddr.Equals(p.Address) && !m.Bounced && m.Body != nil && chain.Hash(m.Body.Hash()) == o.bodyHash()
}
