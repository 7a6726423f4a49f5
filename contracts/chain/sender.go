package chain

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/xssnick/tonutils-go/address"
	"github.com/xssnick/tonutils-go/tlb"
	"github.com/xssnick/tonutils-go/tvm/cell"
)

// Defaults of a Sender.
const (
	// resendEvery is after how many blocks without the transaction the message is sent again.
	resendEvery = 4
	// maxConfirm ends a wait for a message that says it is valid for longer.
	maxConfirm = 10 * time.Minute
	// expiryGrace is how much block time past valid_until proves that the message cannot be executed any more: blocks
	// may stand still, but not go back.
	expiryGrace = 2 * time.Second
)

// Pending is a message that was about to be sent. It is saved before sending, so that a process that stops in between
// knows after its restart what may have been executed.
type Pending struct {
	// Account that the external message is for, in raw form (workchain:hex).
	Account string `json:"account"`
	// Seqno that the message carries; for people, and to see which of two was first.
	Seqno uint32 `json:"seqno"`
	// BodyHash is the hash of the message's body, by which its transaction is recognised.
	BodyHash Hash `json:"body_hash"`
	// ValidUntil is the unix time after which the contract refuses the message.
	ValidUntil uint32 `json:"valid_until"`
	// Since is the account's newest transaction before sending.
	Since Cursor `json:"since"`
	// Message is the external message as BOC.
	Message []byte `json:"message"`
}

// Outbox keeps pending messages over restarts.
type Outbox interface {
	Load() ([]Pending, error)
	Save([]Pending) error
}

// Message is an external message and what the Sender must know about it.
type Message struct {
	// Cell of the whole message (ext_in_msg_info).
	Cell *cell.Cell
	// Seqno and ValidUntil are what the body says to the contract.
	Seqno      uint32
	ValidUntil time.Time
}

// Receipt says where a message was executed.
type Receipt struct {
	Transaction Transaction
	// Block is the first head whose proven state contains the transaction.
	Block Block
}

// Reader is what a Sender needs of a chain.
type Reader interface {
	History
	Send(ctx context.Context, message *cell.Cell) error
}

// Sender sends external messages one after the other and waits until each is executed or can never be.
type Sender struct {
	chain  Reader
	outbox Outbox

	// turn serialises messages: the next one's seqno depends on this one's fate.
	turn sync.Mutex
}

// NewSender returns a Sender. Call Recover before the first Send if the outbox may not be empty.
func NewSender(chain Reader, outbox Outbox) *Sender { return &Sender{chain: chain, outbox: outbox} }

// Send persists and sends a message, and waits for its transaction. ErrExpired means it was not and never will be
// executed, ErrNotAccepted that the network refused it at once; ErrUnconfirmed and errors of the context leave it in the
// outbox.
func (s *Sender) Send(ctx context.Context, m Message) (Receipt, error) {
	s.turn.Lock()
	defer s.turn.Unlock()
	p, err := s.prepare(ctx, m)
	if err != nil {
		return Receipt{}, fmt.Errorf("sending message: %w", err)
	}
	if err := s.add(p); err != nil {
		return Receipt{}, fmt.Errorf("saving message before sending it: %w", err)
	}
	if err := s.chain.Send(ctx, m.Cell); err != nil {
		if errors.Is(err, ErrNotAccepted) || errors.Is(err, ErrBusy) {
			return Receipt{}, errors.Join(fmt.Errorf("sending message: %w", err), s.remove(p))
		}
		return Receipt{}, fmt.Errorf("sending message: %w", err)
	}
	return s.settle(ctx, p, m.Cell)
}

// Recover finishes what a stopped process left: it waits for every message of the outbox and tells what became of each.
func (s *Sender) Recover(ctx context.Context, report func(Pending, Receipt, error)) error {
	s.turn.Lock()
	defer s.turn.Unlock()
	pending, err := s.outbox.Load()
	if err != nil {
		return fmt.Errorf("reading the outbox: %w", err)
	}
	for _, p := range pending {
		msg, err := cell.FromBOC(p.Message)
		if err != nil {
			return fmt.Errorf("reading the outbox: message with seqno %d: %w: %w", p.Seqno, ErrMalformed, err)
		}
		receipt, err := s.settle(ctx, p, msg)
		report(p, receipt, err)
		if err != nil && !errors.Is(err, ErrExpired) {
			return err
		}
	}
	return nil
}

func (s *Sender) prepare(ctx context.Context, m Message) (Pending, error) {
	if m.ValidUntil.IsZero() || m.ValidUntil.Unix() <= 0 || m.ValidUntil.Unix() > int64(^uint32(0)) {
		return Pending{}, fmt.Errorf("valid until %s: a message must expire, else its fate stays open", m.ValidUntil)
	}
	var ext tlb.ExternalMessage
	if err := parse(&ext, m.Cell); err != nil {
		return Pending{}, err
	}
	head, err := s.chain.Head(ctx)
	if err != nil {
		return Pending{}, err
	}
	account, err := s.chain.Account(ctx, head, ext.DstAddr)
	if err != nil {
		return Pending{}, err
	}
	return Pending{
		Account: ext.DstAddr.StringRaw(), Seqno: m.Seqno, BodyHash: Hash(bodyOf(&ext).Hash()),
		ValidUntil: uint32(m.ValidUntil.Unix()), Since: account.Last, Message: m.Cell.ToBOC(), //nolint:gosec // bounded above
	}, nil
}

func bodyOf(m *tlb.ExternalMessage) *cell.Cell {
	if m.Body == nil {
		return cell.BeginCell().EndCell()
	}
	return m.Body
}

// settle waits for the transaction or for the proof that there will be none, and clears the outbox.
func (s *Sender) settle(ctx context.Context, p Pending, msg *cell.Cell) (Receipt, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, maxConfirm, ErrUnconfirmed)
	defer cancel()
	receipt, err := s.confirm(ctx, p, msg)
	switch {
	case err == nil || errors.Is(err, ErrExpired):
		return receipt, errors.Join(err, s.remove(p))
	case ctx.Err() != nil:
		return Receipt{}, fmt.Errorf("waiting for the transaction: %w: %w", ErrUnconfirmed, context.Cause(ctx))
	}
	return Receipt{}, fmt.Errorf("waiting for the transaction: %w", err)
}

func (s *Sender) confirm(ctx context.Context, p Pending, msg *cell.Cell) (Receipt, error) {
	addr, err := address.ParseRawAddr(p.Account)
	if err != nil {
		return Receipt{}, fmt.Errorf("%w: account %q: %w", ErrMalformed, p.Account, err)
	}
	follow := follower{history: s.chain, addr: addr, at: p.Since}
	var receipt *Receipt
	for blocks := 1; ; blocks++ {
		head, err := s.chain.Head(ctx)
		if err != nil {
			return Receipt{}, err
		}
		_, err = follow.catchUp(ctx, head, func(tx Transaction, _ error) bool {
			if matches(tx, p.BodyHash) {
				receipt = &Receipt{Transaction: tx, Block: head}
			}
			return receipt == nil
		})
		if err != nil {
			return Receipt{}, err
		}
		if receipt != nil {
			return *receipt, nil
		}
		if head.Time.After(time.Unix(int64(p.ValidUntil), 0).Add(expiryGrace)) {
			return Receipt{}, fmt.Errorf("message with seqno %d: %w: valid until %d, block time is %d", p.Seqno, ErrExpired, p.ValidUntil, head.Time.Unix())
		}
		if blocks%resendEvery == 0 {
			// A server may have lost it. Refusals say nothing: the contract may have executed it meanwhile.
			_ = s.chain.Send(ctx, msg)
		}
		if err := s.chain.Wait(ctx, head.Seqno); err != nil {
			return Receipt{}, err
		}
		if ctx.Err() != nil {
			return Receipt{}, context.Cause(ctx)
		}
	}
}

func matches(tx Transaction, body Hash) bool {
	in := tx.In()
	if in == nil || in.MsgType != tlb.MsgTypeExternalIn {
		return false
	}
	return Hash(bodyOf(in.AsExternalIn()).Hash()) == body
}

func (s *Sender) add(p Pending) error {
	all, err := s.outbox.Load()
	if err != nil {
		return err
	}
	return s.outbox.Save(append(all, p))
}

func (s *Sender) remove(p Pending) error {
	all, err := s.outbox.Load()
	if err != nil {
		return fmt.Errorf("clearing the outbox: %w", err)
	}
	var rest []Pending
	for _, x := range all {
		if x.BodyHash != p.BodyHash || x.Account != p.Account {
			rest = append(rest, x)
		}
	}
	if err := s.outbox.Save(rest); err != nil {
		return fmt.Errorf("clearing the outbox: %w", err)
	}
	return nil
}
