package chain_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"math/big"
	"testing"
	"time"

	"github.com/xssnick/tonutils-go/address"
	"github.com/xssnick/tonutils-go/tlb"
	"github.com/xssnick/tonutils-go/ton/wallet"
	"github.com/xssnick/tonutils-go/tvm/cell"

	"cocoon/contracts/chain"
	"cocoon/contracts/chain/local"
)

// purse is a funded version 3 wallet on a chain that makes a block whenever somebody waits for one.
type purse struct {
	*local.Chain
	key   ed25519.PrivateKey
	addr  *address.Address
	waits int
	// onWait happens before the block of a wait.
	onWait func(int)
}

func newPurse(tb testing.TB) *purse {
	tb.Helper()
	c, err := local.NewChain(local.Options{Deterministic: true})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = c.Close() })
	p := &purse{Chain: c, key: ed25519.NewKeyFromSeed(bytes.Repeat([]byte{3}, 32))}
	init := p.init(tb)
	p.addr = init.CalcAddress(0)
	if err := c.Fund(p.addr, big.NewInt(50e9), nil); err != nil {
		tb.Fatal(err)
	}
	if err := c.Steps(2); err != nil {
		tb.Fatal(err)
	}
	return p
}

func (p *purse) init(tb testing.TB) *tlb.StateInit {
	tb.Helper()
	init, err := wallet.GetStateInit(ed25519.PublicKey(p.key[ed25519.SeedSize:]), wallet.V3R2, wallet.DefaultSubwallet)
	if err != nil {
		tb.Fatal(err)
	}
	return init
}

// Wait implements chain.History: time passes only because somebody waits.
func (p *purse) Wait(ctx context.Context, seqno uint32) error {
	if p.waits++; p.onWait != nil {
		p.onWait(p.waits)
	}
	if err := p.Step(); err != nil {
		return err
	}
	return p.Chain.Wait(ctx, seqno)
}

// order is a signed transfer.
func (p *purse) order(tb testing.TB, seqno uint32, valid time.Duration) chain.Message {
	tb.Helper()
	head, err := p.Head(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	until := head.Time.Add(valid)
	inner, err := tlb.ToCell(&tlb.InternalMessage{IHRDisabled: true, DstAddr: p.Faucet(), Amount: tlb.MustFromTON("0.1"), Body: cell.BeginCell().EndCell()})
	if err != nil {
		tb.Fatal(err)
	}
	payload := cell.BeginCell().MustStoreUInt(wallet.DefaultSubwallet, 32).MustStoreUInt(uint64(until.Unix()), 32).
		MustStoreUInt(uint64(seqno), 32).MustStoreUInt(3, 8).MustStoreRef(inner)
	ext := &tlb.ExternalMessage{DstAddr: p.addr, Body: cell.BeginCell().MustStoreSlice(payload.EndCell().Sign(p.key), 512).MustStoreBuilder(payload).EndCell()}
	if seqno == 0 {
		ext.StateInit = p.init(tb)
	}
	c, err := tlb.ToCell(ext)
	if err != nil {
		tb.Fatal(err)
	}
	return chain.Message{Cell: c, Seqno: seqno, ValidUntil: until}
}

// executed counts the wallet's accepted externals.
func (p *purse) executed(tb testing.TB) int64 {
	tb.Helper()
	head, err := p.Head(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	out, err := p.RunGet(tb.Context(), head, p.addr, "seqno")
	if err != nil || len(out) != 1 {
		tb.Fatalf("%v, %v", out, err)
	}
	n, ok := out[0].(*big.Int)
	if !ok {
		tb.Fatalf("%v", out)
	}
	return n.Int64()
}

// Whatever the network does to messages, each is executed once and its sender learns of it.
func TestSenderSendsOnceUnderEveryTreatment(t *testing.T) {
	for _, treatment := range []local.Externals{local.Deliver, local.Duplicate, local.Reorder} {
		t.Run(treatment.String(), func(t *testing.T) {
			p := newPurse(t)
			s := chain.NewSender(p, &chain.MemoryOutbox{})
			p.SetExternals(treatment)
			for seqno := range uint32(4) {
				r, err := s.Send(t.Context(), p.order(t, seqno, time.Hour))
				if err != nil {
					t.Fatal(err)
				}
				if r.Transaction.Aborted() || r.Block.Seqno == 0 {
					t.Errorf("%+v", r)
				}
			}
			if got := p.executed(t); got != 4 {
				t.Errorf("%d messages were executed", got)
			}
		})
	}
}

func TestSenderSendsAgainWhatWasLost(t *testing.T) {
	p := newPurse(t)
	box := &chain.MemoryOutbox{}
	s := chain.NewSender(p, box)
	p.SetExternals(local.Drop)
	p.onWait = func(n int) {
		if n == 3 {
			p.SetExternals(local.Deliver)
		}
		if left, err := box.Load(); err != nil || len(left) != 1 {
			t.Errorf("the message is not saved while it is open: %v, %v", left, err)
		}
	}
	if _, err := s.Send(t.Context(), p.order(t, 0, time.Hour)); err != nil {
		t.Fatal(err)
	}
	if got := p.executed(t); got != 1 || p.waits < 4 {
		t.Errorf("%d messages were executed after %d waits", got, p.waits)
	}
}

func TestSenderSaysWhatCannotHappenAnyMore(t *testing.T) {
	p := newPurse(t)
	box := &chain.MemoryOutbox{}
	s := chain.NewSender(p, box)
	if _, err := s.Send(t.Context(), p.order(t, 7, time.Hour)); !errors.Is(err, chain.ErrNotAccepted) {
		t.Errorf("a seqno of the future: %v", err)
	}
	p.SetExternals(local.Drop)
	if _, err := s.Send(t.Context(), p.order(t, 0, 10*time.Second)); !errors.Is(err, chain.ErrExpired) {
		t.Errorf("a lost message: %v", err)
	}
	if left, err := box.Load(); err != nil || len(left) != 0 {
		t.Errorf("settled messages are kept: %v, %v", left, err)
	}
	endless := p.order(t, 0, time.Hour)
	endless.ValidUntil = time.Time{}
	if _, err := s.Send(t.Context(), endless); err == nil {
		t.Error("sent a message that never expires")
	}
	if _, err := s.Send(t.Context(), chain.Message{Cell: cell.BeginCell().EndCell(), ValidUntil: time.Now().Add(time.Hour)}); !errors.Is(err, chain.ErrMalformed) {
		t.Errorf("sent something that is no message: %v", err)
	}
}

// brokenBox loses what it should keep.
type brokenBox struct{ chain.MemoryOutbox }

func (*brokenBox) Save([]chain.Pending) error { return errors.New("disk full") }

func TestNothingIsSentThatWasNotSaved(t *testing.T) {
	p := newPurse(t)
	if _, err := chain.NewSender(p, &brokenBox{}).Send(t.Context(), p.order(t, 0, time.Hour)); err == nil {
		t.Fatal("sent")
	}
	if n := p.MempoolSize(); n != 0 {
		t.Errorf("%d messages are on their way", n)
	}
}
