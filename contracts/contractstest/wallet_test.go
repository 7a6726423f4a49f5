package contractstest_test

import (
	"crypto/ed25519"
	"math/rand/v2"
	"testing"

	"github.com/xssnick/tonutils-go/address"
	"github.com/xssnick/tonutils-go/tlb"
	"github.com/xssnick/tonutils-go/ton/wallet"
	"github.com/xssnick/tonutils-go/tvm/cell"

	"cocoon/contracts/bind"
	"cocoon/contracts/code"
	"cocoon/contracts/contractstest"
)

// purse is a wallet of ours with its machine key and owner.
type purse struct {
	*contractstest.Chain
	t     testing.TB
	key   ed25519.PrivateKey
	owner *address.Address
	at    bind.Instance
}

func newPurse(tb testing.TB, value bind.Nano) purse {
	tb.Helper()
	c := newChain(tb, 12)
	p := purse{Chain: c, t: tb, key: contractstest.KeyOf("machine"), owner: c.Actor("owner")}
	var err error
	if p.at, err = bind.NewWallet(code.Wallet(), publicOf(p.key), p.owner); err != nil {
		tb.Fatal(err)
	}
	c.Name(p.at.Address, "wallet")
	p.do(c.Send(contractstest.Message{From: p.owner, To: p.at.Address, Value: value, NoBounce: true, Init: &p.at}))
	return p
}

func publicOf(key ed25519.PrivateKey) ed25519.PublicKey {
	h := contractstest.PublicKeyOf(key)
	return h[:]
}

func (p purse) do(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
	if err := p.Check(); err != nil {
		p.t.Fatalf("%v\n%s", err, p.Tree())
	}
}

func (p purse) state() bind.WalletStorage {
	p.t.Helper()
	s, err := bind.ParseWalletStorage(p.Data(p.at.Address))
	p.do(err)
	return s
}

// transfer is a message that the wallet is asked to send.
func transfer(tb testing.TB, to *address.Address, value bind.Nano) *cell.Cell {
	tb.Helper()
	out, err := tlb.ToCell(&tlb.InternalMessage{IHRDisabled: true, Bounce: true, SrcAddr: address.NewAddressNone(), DstAddr: to, Amount: tlb.FromNanoTONU(uint64(value)), Body: cell.BeginCell().EndCell()})
	if err != nil {
		tb.Fatal(err)
	}
	return out
}

func (p purse) external(m bind.WalletExternal) *cell.Cell {
	p.t.Helper()
	body, err := m.Sign(p.key)
	p.do(err)
	return body
}

// refused is the exit with which an external message is refused; 0 means that it was accepted.
func (p purse) refused(body *cell.Cell) int {
	p.t.Helper()
	ok, err := p.SendExternal(p.at.Address, body)
	p.do(err)
	if ok {
		return 0
	}
	return p.Log[len(p.Log)-1].Exit
}

// TestWalletSends: a batch goes out in order, the sequence number counts up.
func TestWalletSends(t *testing.T) {
	p := newPurse(t, 10*ton)
	alice, bob := p.Actor("alice"), p.Actor("bob")
	batch := []bind.Outgoing{{Mode: 1, Message: transfer(t, alice, ton)}, {Mode: 1, Message: transfer(t, bob, 2*ton)}}
	same(t, "exit", p.refused(p.external(bind.WalletExternal{ValidUntil: p.Now + 60, Batch: batch})), 0)
	same(t, "alice", p.Balance(alice), ton)
	same(t, "bob", p.Balance(bob), 2*ton)
	same(t, "seqno", p.state().Seqno, 1)
	same(t, "exit of an empty batch", p.refused(p.external(bind.WalletExternal{ValidUntil: p.Now + 60, Seqno: 1})), 0)
	same(t, "seqno", p.state().Seqno, 2)
}

// TestWalletRefusals: every reason to refuse an external message has its exit and costs nothing.
func TestWalletRefusals(t *testing.T) {
	good := func(p purse) bind.WalletExternal {
		return bind.WalletExternal{ValidUntil: p.Now + 60, Batch: []bind.Outgoing{{Mode: 1, Message: transfer(p.t, p.owner, ton)}}}
	}
	for name, c := range map[string]struct {
		want int
		make func(p purse) *cell.Cell
	}{
		"expired": {1030, func(p purse) *cell.Cell { m := good(p); m.ValidUntil = p.Now; return p.external(m) }},
		"blocked": {1031, func(p purse) *cell.Cell {
			p.do(p.Send(message(p.owner, p.at.Address, ton/10, text('b'))))
			return p.external(good(p))
		}},
		"seqno":     {1032, func(p purse) *cell.Cell { m := good(p); m.Seqno = 1; return p.external(m) }},
		"subwallet": {1033, func(p purse) *cell.Cell { m := good(p); m.Subwallet = 1; return p.external(m) }},
		"signature": {1034, func(p purse) *cell.Cell { p.key = contractstest.KeyOf("other"); return p.external(good(p)) }},
		"balance": {1035, func(p purse) *cell.Cell {
			p.do(p.Send(message(p.owner, p.at.Address, ton/10, text('w'))))
			return p.external(good(p))
		}},
		"format": {1004, func(p purse) *cell.Cell {
			inner := cell.BeginCell().MustStoreUInt(0, 32).MustStoreUInt(uint64(p.Now+60), 32).MustStoreUInt(0, 32).MustStoreUInt(3, 8).EndCell()
			return cell.BeginCell().MustStoreSlice(ed25519.Sign(p.key, inner.Hash()), 512).MustStoreBuilder(inner.ToBuilder()).EndCell()
		}},
		"short": {9, func(purse) *cell.Cell { return cell.BeginCell().MustStoreUInt(0, 64).EndCell() }},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPurse(t, 10*ton)
			body := c.make(p)
			before := p.Balance(p.at.Address)
			same(t, "exit", p.refused(body), c.want)
			same(t, "balance", p.Balance(p.at.Address), before)
		})
	}
}

// TestWalletOwner: the owner sends, withdraws, blocks and unblocks; nobody else does anything.
func TestWalletOwner(t *testing.T) {
	send, err := bind.Encode(&bind.WalletSend{QueryID: 1, Mode: 1, Message: transfer(t, newChain(t, 12).Actor("alice"), ton)})
	if err != nil {
		t.Fatal(err)
	}
	note := func(m bind.Message) *cell.Cell {
		out, err := bind.Encode(m)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	for name, c := range map[string]struct {
		body            *cell.Cell
		owner, stranger int
	}{
		"send":         {send, 0, 1040},
		"withdraw":     {text('w'), 0, 1040},
		"block":        {text('b'), 0, 1040},
		"unblock":      {text('u'), 0, 1040},
		"unknown text": {text('x'), 1041, 1040},
		"unknown op":   {cell.BeginCell().MustStoreUInt(7, 32).EndCell(), 1041, 1040},
		"excesses":     {note(&bind.Excesses{QueryID: 1}), 0, 0},
		"payout":       {note(&bind.Payout{QueryID: 1}), 0, 0},
		"log":          {note(&bind.SaveState{QueryID: 1, Seqno: 1}), 0, 0},
		"empty":        {cell.BeginCell().EndCell(), 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			for _, who := range []string{"owner", "stranger"} {
				p := newPurse(t, 10*ton)
				p.Actor("alice")
				want := c.owner
				if who == "stranger" {
					want = c.stranger
				}
				before := p.Data(p.at.Address).HashKey()
				p.do(p.Send(message(p.Actor(who), p.at.Address, ton, c.body)))
				if _, err := p.Find(contractstest.Match{To: "wallet", Exit: &want}); err != nil {
					t.Error(err)
				}
				if who == "stranger" && p.Data(p.at.Address).HashKey() != before {
					t.Errorf("a stranger changed the wallet:\n%s", p.Tree())
				}
			}
		})
	}
	p := newPurse(t, 10*ton)
	p.Actor("alice")
	p.do(p.Send(message(p.owner, p.at.Address, ton, text('b'))))
	same(t, "status", p.state().Status, bind.WalletBlocked)
	p.do(p.Send(message(p.owner, p.at.Address, ton, text('u'))))
	same(t, "status", p.state().Status, 0)
	p.do(p.Send(message(p.owner, p.at.Address, ton, text('w'))))
	same(t, "what stays", p.Balance(p.at.Address), ton/100)
	p.do(p.Send(message(p.owner, p.at.Address, 5*ton, send)))
	same(t, "alice", p.Balance(p.Actor("alice")), ton)
}

func text(command byte) *cell.Cell {
	return cell.BeginCell().MustStoreUInt(0, 32).MustStoreUInt(uint64(command), 8).EndCell()
}

// TestA6ReplayOfFailedAction: an external message whose sending fails is accepted once. A common wallet without the
// committed number accepts it again and again.
func TestA6ReplayOfFailedAction(t *testing.T) {
	c := newChain(t, 12)
	key := contractstest.KeyOf("machine")
	init, err := wallet.GetStateInit(publicOf(key), wallet.V4R2, 0)
	if err != nil {
		t.Fatal(err)
	}
	at, err := bind.Address(init.Code, init.Data)
	if err != nil {
		t.Fatal(err)
	}
	old := bind.Instance{Code: init.Code, Data: init.Data, Address: at}
	c.Name(at, "old wallet")
	if err := c.Send(contractstest.Message{From: c.Actor("owner"), To: at, Value: 5 * ton, NoBounce: true, Init: &old}); err != nil {
		t.Fatal(err)
	}
	inner := cell.BeginCell().MustStoreUInt(0, 32).MustStoreUInt(uint64(c.Now+60), 32).MustStoreUInt(0, 32).MustStoreUInt(0, 8).
		MustStoreUInt(0, 8).MustStoreRef(transfer(t, c.Actor("owner"), 10*ton)).EndCell()
	body := cell.BeginCell().MustStoreSlice(ed25519.Sign(key, inner.Hash()), 512).MustStoreBuilder(inner.ToBuilder()).EndCell()
	for i := range 3 {
		if ok, err := c.SendExternal(at, body); err != nil || !ok {
			t.Fatalf("replay %d of an unguarded wallet: accepted %v, %v", i, ok, err)
		}
	}

	p := newPurse(t, 5*ton)
	raw := cell.BeginCell().MustStoreUInt(0, 32).MustStoreUInt(uint64(p.Now+60), 32).MustStoreUInt(0, 32).
		MustStoreUInt(0, 8).MustStoreRef(transfer(t, p.owner, 10*ton)).EndCell()
	body = cell.BeginCell().MustStoreSlice(ed25519.Sign(p.key, raw.Hash()), 512).MustStoreBuilder(raw.ToBuilder()).EndCell()
	same(t, "exit", p.refused(body), 0)
	same(t, "exit of the replay", p.refused(body), 1032)
}

// TestWalletNumberAlwaysAdvances: whatever a signed batch holds, once it is accepted its number is used up, and the
// account lives on.
func TestWalletNumberAlwaysAdvances(t *testing.T) {
	rounds := 300
	if longRun() {
		rounds = 20000
	}
	rng := rand.New(rand.NewPCG(6, 6))
	p := newPurse(t, 1_000_000*ton)
	for range rounds {
		seqno := p.state().Seqno
		b := cell.BeginCell().MustStoreUInt(0, 32).MustStoreUInt(uint64(p.Now+60), 32).MustStoreUInt(uint64(seqno), 32)
		n := rng.IntN(4)
		for range n {
			b.MustStoreUInt(rng.Uint64()&0xff&^drain(rng), 8)
		}
		for range n {
			b.MustStoreRef(randomMessage(t, p, rng))
		}
		inner := b.EndCell()
		body := cell.BeginCell().MustStoreSlice(ed25519.Sign(p.key, inner.Hash()), 512).MustStoreBuilder(inner.ToBuilder()).EndCell()
		if exit := p.refused(body); exit != 0 {
			t.Fatalf("refused with exit %d:\n%s", exit, inner.Dump())
		}
		if p.state().Seqno != seqno+1 {
			t.Fatalf("accepted, and the number stayed %d:\n%s\n%s", seqno, inner.Dump(), p.Tree())
		}
		if p.Balance(p.at.Address) < 10*ton {
			p.do(p.Send(contractstest.Message{From: p.owner, To: p.at.Address, Value: 1_000_000 * ton, NoBounce: true}))
		}
	}
}

// drain clears the flag that sends everything, most of the time.
func drain(rng *rand.Rand) uint64 {
	if rng.IntN(10) == 0 {
		return 0
	}
	return 128
}

// randomMessage is a message that can be sent, one that cannot, or no message at all.
func randomMessage(tb testing.TB, p purse, rng *rand.Rand) *cell.Cell {
	tb.Helper()
	switch rng.IntN(6) {
	case 0:
		return cell.BeginCell().MustStoreUInt(rng.Uint64(), 64).EndCell()
	case 1:
		return cell.BeginCell().EndCell()
	case 2:
		return transfer(tb, unpayable(), bind.Nano(rng.Uint64N(uint64(ton))))
	case 3:
		return transfer(tb, p.owner, 10_000_000*ton)
	default:
		return transfer(tb, p.owner, bind.Nano(rng.Uint64N(uint64(ton))))
	}
}
