package contractstest_test

import (
	"crypto/ed25519"
	"testing"

	"github.com/xssnick/tonutils-go/address"
	"github.com/xssnick/tonutils-go/tvm/cell"

	"cocoon/contracts/bind"
	"cocoon/contracts/contractstest"
)

// poor deploys a contract with hardly any coins.
func (p play) poor(in bind.Instance, name string) {
	p.t.Helper()
	p.Name(in.Address, name)
	p.do(p.Send(contractstest.Message{From: p.Actor("alice"), To: in.Address, Value: ton / 100, NoBounce: true, Init: &in}))
}

// TestPoorContracts: a contract that rent has emptied demands more than the commission, and what it then passes on pays
// for the longest path: a bounce at the proxy, or a reply that something is unpaid. Nothing is lost on the way.
func TestPoorContracts(t *testing.T) {
	for name, deployed := range map[string]bool{"unpaid": true, "bounced": false} {
		t.Run(name, func(t *testing.T) {
			p := newPlay(t, ourParams())
			proxy := p.Proxy.Address
			if !deployed {
				proxy = address.NewAddress(0, 0, make([]byte, 32))
			}
			worker, err := bind.NewWorker(p.Params, proxy, p.Actor("alice"), p.PublicKey())
			p.do(err)
			p.poor(worker, "worker0")
			for value, exit := range map[bind.Nano]int{ton/10 + 1: 1001, 15 * ton / 100: 1001, 17 * ton / 100: 0} {
				one := play{p.Clone(), t}
				signed, err := one.Signed(bind.OpWorkerPayout, worker, 1_000_000, one.Actor("alice"))
				one.do(err)
				one.do(one.Tell(one.Actor("alice"), worker, value, &bind.WorkerPayout{Signed: signed}))
				one.exit("worker0", exit)
				got := one.worker(worker)
				if exit != 0 {
					same(t, "counter after a refusal", got.Tokens, 0)
					continue
				}
				one.gets("alice", 900*ton-got.Ext.UnpaidWorker)
				same(t, "counter", got.Tokens, 1_000_000)
				same(t, "unpaid revenue", got.Ext.UnpaidProxy, 100*ton)
			}
			client, err := bind.NewClient(p.Params, proxy, p.Actor("alice"), p.PublicKey())
			p.do(err)
			p.poor(client, "client0")
			p.do(p.Tell(p.Actor("alice"), client, ton+ton/10, &bind.ClientTopUp{QueryID: 1, Amount: ton, Excess: p.Actor("alice")}))
			p.exit("client0", 1001)
			p.do(p.Tell(p.Actor("alice"), client, ton+17*ton/100, &bind.ClientTopUp{QueryID: 1, Amount: ton, Excess: p.Actor("alice")}))
			p.exit("client0", 0)
			want := ton
			if !deployed {
				want = 0
			}
			same(t, "balance", p.client(client).Balance, want)
		})
	}
}

// TestOwnerNobodyCanPay: an owner in a workchain that does not exist gets nothing and loses nothing: what cannot be paid
// comes back into the books.
func TestOwnerNobodyCanPay(t *testing.T) {
	p := newPlay(t, ourParams())
	alice := p.addClient("alice")
	p.do(p.TopUp(alice, 5*ton))
	worker, err := bind.NewWorker(p.Params, p.Proxy.Address, unpayable(), p.PublicKey())
	p.do(err)
	p.Name(worker.Address, "odd worker")
	p.do(p.Send(contractstest.Message{From: p.Actor("alice"), To: worker.Address, Value: ton, NoBounce: true, Init: &worker}))
	signed, err := p.Signed(bind.OpWorkerPayout, worker, 1000, p.Actor("alice"))
	p.do(err)
	p.do(p.Tell(p.Actor("alice"), worker, ton, &bind.WorkerPayout{Signed: signed}))
	got := p.worker(worker)
	if got.Ext == nil || got.Ext.UnpaidWorker != 9*ton/10 || got.Ext.UnpaidProxy != ton/10 {
		t.Errorf("booked %+v\n%s", got.Ext, p.Tree())
	}
	same(t, "liabilities", p.proxy().Ext.Liabilities, 5*ton)
	same(t, "revenue", p.proxy().Balance, 0)
}

// TestOversizedCounters: counters that readers could not hold are refused, whatever the key signs.
func TestOversizedCounters(t *testing.T) {
	p := newPlay(t, ourParams())
	alice, bob := p.addClient("alice"), p.addWorker("bob")
	p.do(p.TopUp(alice, 5*ton))
	for _, c := range []struct {
		op bind.Op
		to bind.Instance
	}{{bind.OpClientCharge, alice}, {bind.OpClientGrantRefund, alice}, {bind.OpWorkerPayout, bob}, {bind.OpWorkerLastPayout, bob}} {
		before := p.Data(c.to.Address).HashKey()
		inner := head(c.op, 5).MustStoreUInt(1<<63, 64).MustStoreAddr(c.to.Address).EndCell()
		body := head(c.op, 5).MustStoreAddr(p.Owner).MustStoreSlice(ed25519.Sign(p.Key, inner.Hash()), 512).MustStoreRef(inner).EndCell()
		p.do(p.Send(message(p.Owner, c.to.Address, ton, body)))
		p.exit(p.NameOf(c.to.Address), 1004)
		same(t, "unchanged", p.Data(c.to.Address).HashKey(), before)
	}
}

// TestCommitShape: a commit whose inner cell is not two hashes is refused: the tip stays readable.
func TestCommitShape(t *testing.T) {
	p := newPlay(t, ourParams())
	for name, roots := range map[string]*cell.Cell{
		"empty":     cell.BeginCell().EndCell(),
		"short":     cell.BeginCell().MustStoreUInt(0, 256).MustStoreUInt(0, 255).EndCell(),
		"long":      cell.BeginCell().MustStoreUInt(0, 256).MustStoreUInt(0, 256).MustStoreUInt(0, 1).EndCell(),
		"reference": cell.BeginCell().MustStoreUInt(0, 256).MustStoreUInt(0, 256).MustStoreRef(cell.BeginCell().EndCell()).EndCell(),
	} {
		t.Run(name, func(t *testing.T) {
			inner := head(bind.OpProxyCommit, 5).MustStoreAddr(p.Proxy.Address).MustStoreUInt(1, 32).MustStoreUInt(0, 256).MustStoreUInt(1, 256).MustStoreRef(roots).EndCell()
			body := head(bind.OpProxyCommit, 5).MustStoreAddr(p.Owner).MustStoreSlice(ed25519.Sign(p.Key, inner.Hash()), 512).MustStoreRef(inner).EndCell()
			p.do(p.Send(message(p.Owner, p.Proxy.Address, ton, body)))
			p.exit("proxy", 9)
			if p.proxy().Ext != nil {
				t.Error("the tip was written")
			}
		})
	}
}

// TestClosedPool: after closing, clients and workers are paid from what is in the pool, then refused without a loss, and
// what nobody claims for another delay is the owner's.
func TestClosedPool(t *testing.T) {
	p := newPlay(t, ourParams())
	alice, bob := p.addClient("alice"), p.addWorker("bob")
	p.do(p.IncreaseStake(20 * ton))
	p.do(p.TopUp(alice, 10*ton))
	p.do(p.CloseRequest())
	p.do(p.RequestRefund(alice)) // 9 TON from the pool
	p.gets("alice", 9*ton)
	p.Now += p.Params.ClientDelay + 1
	p.do(p.RequestRefund(alice)) // the last one from the stake: its deposit is surplus
	p.gets("alice", ton)
	p.Now += p.Params.ProxyDelay
	p.do(p.CloseComplete())
	p.gets("proxy owner", 19*ton)
	early := play{p.Clone(), t}
	sweep := &bind.ProxySweepSurplus{QueryID: 1, Excess: p.Owner}
	early.do(early.Tell(early.Owner, early.Proxy, ton, sweep))
	early.exit("proxy", 1011)
	p.do(p.Payout(bob, 1000)) // signed late: the surplus pays it
	p.gets("bob", 9*ton/10)
	p.Now += p.Params.ProxyDelay
	p.do(p.Tell(p.Owner, p.Proxy, ton, sweep))
	p.exit("proxy", 0)
	if left := p.Balance(p.Proxy.Address); left < ton/10 || left > ton/10+10 {
		t.Errorf("the pool keeps %d", left)
	}
	p.do(p.Payout(bob, 2000))
	p.exit("proxy", 1006)
	p.gets("bob", 0)
	same(t, "booked", *p.worker(bob).Ext, bind.WorkerExt{UnpaidWorker: 9 * ton / 10, UnpaidProxy: ton / 10})
}
