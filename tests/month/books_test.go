package month_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/xssnick/tonutils-go/address"
	"github.com/xssnick/tonutils-go/tlb"

	"cocoon/contracts/bind"
	"cocoon/contracts/chain"
	"cocoon/contracts/chain/local"
)

// books follow every account of the network by its proven transactions, and hold the proven balances against them.
type books struct {
	t        *testing.T
	net      *network
	accounts []*entry
	minted   bind.Nano
	fees     bind.Nano // that validators got
	count    int       // transactions

	// payments are the coins that "payout" messages brought, by sender and receiver; notes are the register notes that
	// reached a proxy, by nonce.
	payments map[[2]string]bind.Nano
	notes    map[uint64]note
}

// entry is an account: what its transactions add up to.
type entry struct {
	name   string
	addr   *address.Address
	cursor chain.Cursor
	coins  int64
	rent   bind.Nano // storage fee of the newest transaction
}

// note is a register message as it reached a proxy: who sent it, for whom.
type note struct{ proxy, client, owner string }

func newBooks(n *network) *books {
	minted := bind.Nano(local.Supply().Uint64())
	b := &books{t: n.t, net: n, minted: minted, payments: map[[2]string]bind.Nano{}, notes: map[uint64]note{}}
	b.open("faucet", n.chain.Faucet()).coins = int64(minted)
	return b
}

// open begins to follow an account that has no transactions yet.
func (b *books) open(name string, addr *address.Address) *entry {
	e := &entry{name: name, addr: addr}
	b.accounts = append(b.accounts, e)
	return e
}

func (b *books) find(addr *address.Address) *entry {
	b.t.Helper()
	for _, e := range b.accounts {
		if e.addr.Equals(addr) {
			return e
		}
	}
	b.t.Fatalf("no account %s in the books", addr)
	return nil
}

// paid is what an account received from another as payments.
func (b *books) paid(from, to *address.Address) bind.Nano {
	return b.payments[[2]string{from.StringRaw(), to.StringRaw()}]
}

// balance books everything up to a block and fails unless every account holds exactly what its transactions left it, and
// all accounts and fees together what was minted.
func (b *books) balance(at chain.Block) {
	b.t.Helper()
	sum := b.minted
	for _, e := range b.accounts {
		state := b.net.account(at, e.addr)
		b.follow(e, state.Last)
		if got := state.Balance.Int64(); got != e.coins {
			b.t.Errorf("block %d: %s holds %d, its transactions leave %d", at.Seqno, e.name, got, e.coins)
		}
		sum -= bind.Nano(state.Balance.Uint64())
		if state.DuePayment.Sign() != 0 {
			b.t.Errorf("block %d: %s owes %s for storage", at.Seqno, e.name, state.DuePayment)
		}
	}
	if sum != b.fees {
		b.t.Errorf("block %d: accounts hold %d less than was minted, fees were %d", at.Seqno, sum, b.fees)
	}
}

// follow books an account's transactions up to its proven newest one, aborted ones included.
func (b *books) follow(e *entry, last chain.Cursor) {
	b.t.Helper()
	if last == e.cursor {
		return
	}
	ctx, cancel := context.WithTimeout(b.t.Context(), patience)
	defer cancel()
	for tx, err := range b.net.client.Transactions(ctx, e.addr, e.cursor) {
		check(b.t, err)
		check(b.t, b.book(e, tx))
		if e.cursor = tx.Cursor(); e.cursor == last {
			return
		}
	}
	b.t.Fatalf("history of %s ends before %d", e.name, last.LT)
}

func (b *books) book(e *entry, tx chain.Transaction) error {
	b.count++
	fees := nano(tx.TLB.TotalFees.Coins)
	b.fees += fees
	change := -int64(fees)
	if d, ok := tx.TLB.Description.(tlb.TransactionDescriptionOrdinary); ok && d.StoragePhase != nil {
		e.rent = nano(d.StoragePhase.StorageFeesCollected)
	}
	out, err := tx.Out()
	if err != nil {
		return fmt.Errorf("booking a transaction of %s: %w", e.name, err)
	}
	for _, m := range out {
		if m.MsgType != tlb.MsgTypeInternal {
			return fmt.Errorf("%s sent a message out of the chain", e.name)
		}
		i := m.AsInternal()
		change -= int64(nano(i.Amount) + nano(i.FwdFee))
	}
	if in := tx.In(); in != nil && in.MsgType == tlb.MsgTypeInternal {
		i := in.AsInternal()
		change += int64(nano(i.Amount))
		b.fees += nano(i.FwdFee) // what was left for the receiver's validators
		b.recognise(e, tx, i)
	}
	e.coins += change
	return nil
}

// recognise notes payments and registrations.
func (b *books) recognise(e *entry, tx chain.Transaction, m *tlb.InternalMessage) {
	if got, err := bind.Decode(bind.ContractAny, m.Body); err == nil {
		if _, ok := got.(*bind.Payout); ok {
			b.payments[[2]string{m.SrcAddr.StringRaw(), e.addr.StringRaw()}] += nano(m.Amount)
		}
		return
	}
	got, err := bind.Decode(bind.ContractProxy, m.Body)
	if err != nil {
		return
	}
	told, ok := got.(*bind.ClientNote)
	if !ok {
		return
	}
	if r, ok := told.Payload.(*bind.NoteRegister); ok && tx.Aborted() {
		b.notes[r.Nonce] = note{proxy: e.addr.StringRaw(), client: m.SrcAddr.StringRaw(), owner: told.Owner.StringRaw()}
	}
}
