package contractstest_test

import (
	"testing"

	"github.com/xssnick/tonutils-go/address"
	"github.com/xssnick/tonutils-go/tvm/cell"

	"cocoon/contracts/bind"
)

// The attacks of contracts.md section 2.1. Where the code that the network runs falls for one, the test shows that too: a
// test that both pass would not be worth much.

// unpayable is an address in a workchain that does not exist.
func unpayable() *address.Address { return address.NewAddress(0, 5, make([]byte, 32)) }

// TestA1TopUpWhileClosing: what a client pays in while the proxy closes is kept, so nobody can take it out twice.
func TestA1TopUpWhileClosing(t *testing.T) {
	p := newPlay(t, ourParams())
	mallory, honest := p.addClient("mallory"), p.addClient("alice")
	p.do(p.TopUp(honest, 50*ton))
	p.do(p.TopUp(mallory, 2*ton))
	p.do(p.CloseRequest())
	before := p.Balance(p.Proxy.Address)
	p.do(p.TopUp(mallory, 45*ton))
	same(t, "what the pool kept", p.Balance(p.Proxy.Address)-before, 45*ton)
	p.do(p.Withdraw(mallory))
	p.gets("mallory", 46*ton)
	p.do(p.GrantRefund(honest, 0))
	p.gets("alice", 50*ton)
	p.do(p.GrantRefund(mallory, 0))
	p.gets("mallory", ton)
}

// TestA2CloseKeepsClientMoney: closing pays the owner revenue and stake; clients are refunded after it.
func TestA2CloseKeepsClientMoney(t *testing.T) {
	p := newPlay(t, ourParams())
	alice := p.addClient("alice")
	p.do(p.IncreaseStake(5 * ton))
	p.do(p.TopUp(alice, 3*ton))
	p.do(p.CloseRequest())
	p.do(p.CloseComplete())
	p.exit("proxy", 1011)
	p.Now += p.Params.ProxyDelay
	p.do(p.CloseComplete())
	p.gets("proxy owner", 5*ton)
	same(t, "state", p.proxy().State, bind.Closed)
	p.do(p.GrantRefund(alice, 0))
	p.gets("alice", 3*ton)
}

// emptyPool pays a worker more than was charged, so the pool cannot refund the client: what a compromised machine can do.
func emptyPool(p play) bind.Instance {
	alice, bob := p.addClient("alice"), p.addWorker("bob")
	p.do(p.TopUp(alice, 10*ton))
	p.do(p.Payout(bob, 9500))
	return alice
}

// TestA3RefundThatCannotBePaid: a refund that the pool cannot pay goes back into the client's balance.
func TestA3RefundThatCannotBePaid(t *testing.T) {
	live := newPlay(t, liveParams(t))
	alice := emptyPool(live)
	live.do(live.Withdraw(alice))
	live.gets("alice", 0)
	same(t, "live balance after a refund that was not paid", live.client(alice).Balance, ton)

	p := newPlay(t, ourParams())
	alice = emptyPool(p)
	p.do(p.Withdraw(alice))
	paid := p.client(alice).Ext
	if paid == nil || paid.Claimed == 0 {
		t.Fatalf("nothing came back as unpaid\n%s", p.Tree())
	}
	p.gets("alice", 9*ton-paid.Claimed)
	same(t, "balance", p.client(alice).Balance, ton+paid.Claimed)
}

// TestA4PayoutAboveThePool: what the pool cannot pay to a worker is booked and paid later.
func TestA4PayoutAboveThePool(t *testing.T) {
	live := newPlay(t, liveParams(t))
	alice, bob := live.addClient("alice"), live.addWorker("bob")
	live.do(live.TopUp(alice, 2*ton))
	live.do(live.Payout(bob, 10000))
	live.gets("bob", 0)
	same(t, "live counter", live.worker(bob).Tokens, 10000)
	live.do(live.TopUp(alice, 20*ton))
	live.do(live.Payout(bob, 10000))
	live.exit("worker0", 1000) // counted and never payable

	p := newPlay(t, ourParams())
	alice, bob = p.addClient("alice"), p.addWorker("bob")
	p.do(p.TopUp(alice, 2*ton))
	p.do(p.Payout(bob, 10000))
	ext := p.worker(bob).Ext
	if ext == nil || ext.UnpaidProxy != ton {
		t.Fatalf("booked %+v, want all of the revenue\n%s", ext, p.Tree())
	}
	first := 9*ton - ext.UnpaidWorker
	p.gets("bob", first)
	if left := p.Balance(p.Proxy.Address); first < 2*ton || left < ton/10 || left > ton/10+10 {
		t.Errorf("paid %d and left %d, want everything but 0.1 TON paid", first, left)
	}
	p.do(p.TopUp(alice, 20*ton))
	p.do(p.Tell(p.Actor("stranger"), bob, ton/2, &bind.WorkerRetry{QueryID: 1, Excess: p.Actor("stranger")}))
	p.gets("bob", 9*ton-first)
	same(t, "revenue", p.proxy().Balance, ton)
	if p.worker(bob).Ext != nil {
		t.Errorf("still booked: %+v", p.worker(bob).Ext)
	}
}

// TestA5ForcedRefundWithoutStake: what the stake does not cover stays the client's, by signature or by claim.
func TestA5ForcedRefundWithoutStake(t *testing.T) {
	force := func(p play) bind.Instance {
		alice := p.addClient("alice")
		p.do(p.TopUp(alice, 3*ton))
		p.do(p.RequestRefund(alice))
		p.gets("alice", 2*ton)
		p.Now += p.Params.ClientDelay + 1
		p.do(p.RequestRefund(alice))
		p.gets("alice", 0)
		return alice
	}
	live := newPlay(t, liveParams(t))
	alice := force(live)
	same(t, "live balance", live.client(alice).Balance, 0)
	live.do(live.GrantRefund(alice, 0))
	live.exit("client0", 1006) // the rest is lost

	p := newPlay(t, ourParams())
	alice = force(p)
	same(t, "balance", p.client(alice).Balance, ton)
	granted := play{p.Clone(), t}
	granted.do(granted.GrantRefund(alice, 0))
	granted.gets("alice", ton)
	p.do(p.IncreaseStake(4 * ton / 10))
	claim := &bind.ClientClaim{QueryID: 1, Excess: p.Actor("stranger")}
	p.do(p.Tell(p.Actor("stranger"), alice, ton, claim))
	p.gets("alice", 4*ton/10)
	p.do(p.IncreaseStake(5 * ton))
	p.do(p.Tell(p.Actor("stranger"), alice, ton, claim))
	p.gets("alice", 6*ton/10)
	p.do(p.Tell(p.Actor("stranger"), alice, ton, claim))
	p.exit("client0", 1002)
}

// TestA7EncodingSlips: bodies without a field are refused, ours have it.
func TestA7EncodingSlips(t *testing.T) {
	p := newPlay(t, ourParams())
	alice := p.addClient("alice")
	owner := p.OwnerOf(alice)
	slip := cell.BeginCell().MustStoreUInt(uint64(bind.OpClientIncreaseStake), 32).MustStoreUInt(1, 64).MustStoreAddr(owner).EndCell()
	p.do(p.Send(message(owner, alice.Address, ton, slip)))
	p.exit("client0", 9)
	p.do(p.Tell(owner, alice, ton, &bind.ClientIncreaseStake{QueryID: 1, NewStake: 2 * ton, Excess: owner}))
	same(t, "stake", p.client(alice).Stake, 2*ton)
	slip = cell.BeginCell().MustStoreUInt(uint64(bind.OpProxyClose), 32).MustStoreAddr(p.Owner).EndCell()
	p.do(p.Send(message(p.Owner, p.Proxy.Address, ton, slip)))
	p.exit("proxy", 9)
	p.do(p.Tell(p.Owner, p.Proxy, ton, &bind.ProxyClose{QueryID: 1, Excess: p.Owner}))
	same(t, "state", p.proxy().State, bind.Closing)
}

// TestA8Replay: a signed message works once.
func TestA8Replay(t *testing.T) {
	p := newPlay(t, ourParams())
	alice, bob := p.addClient("alice"), p.addWorker("bob")
	p.do(p.TopUp(alice, 20*ton))
	charge, err := p.Signed(bind.OpClientCharge, alice, 1000, p.Owner)
	p.do(err)
	payout, err := p.Signed(bind.OpWorkerPayout, bob, 1000, p.Owner)
	p.do(err)
	for _, exit := range []int{0, 1000} {
		p.do(p.Tell(p.Actor("stranger"), alice, ton, &bind.ClientCharge{Signed: charge}))
		p.exit("client0", exit)
		same(t, "balance", p.client(alice).Balance, 19*ton)
		p.do(p.Tell(p.Actor("stranger"), bob, ton, &bind.WorkerPayout{Signed: payout}))
		p.exit("worker0", exit)
	}
	same(t, "revenue", p.proxy().Balance, ton/10)
}

// TestA9ExcessNobodyCanPay: an excess address that makes the proxy's actions fail is refused before anything changes.
func TestA9ExcessNobodyCanPay(t *testing.T) {
	none := address.NewAddressNone()
	for name, excess := range map[string]*address.Address{"no such workchain": unpayable(), "addr_none": none} {
		t.Run(name, func(t *testing.T) {
			live := newPlay(t, liveParams(t))
			attackA9(live, excess)
			same(t, "live credit without deposit", live.client(live.Clients[0]).Balance, ton)
			same(t, "live counter without payment", live.worker(live.Workers[0]).Tokens, 1000)

			p := newPlay(t, ourParams())
			attackA9(p, excess)
			p.exit("worker0", 1018)
			same(t, "balance", p.client(p.Clients[0]).Balance, 10*ton)
			same(t, "counter", p.worker(p.Workers[0]).Tokens, 0)
		})
	}
}

// attackA9 tops up 3 TON and withdraws, then submits a payout, each with an excess address of the attacker's choice. Its
// messages are made by hand: the bindings refuse to write such an address.
func attackA9(p play, excess *address.Address) {
	alice, bob := p.addClient("alice"), p.addWorker("bob")
	owner, stranger := p.OwnerOf(alice), p.Actor("stranger")
	p.do(p.TopUp(alice, 10*ton))
	topUp := cell.BeginCell().MustStoreUInt(uint64(bind.OpClientTopUp), 32).MustStoreUInt(1, 64).MustStoreCoins(uint64(3 * ton)).MustStoreAddr(excess).EndCell()
	p.do(p.Send(message(owner, alice.Address, 4*ton, topUp)))
	withdraw := cell.BeginCell().MustStoreUInt(uint64(bind.OpClientWithdraw), 32).MustStoreUInt(1, 64).MustStoreAddr(excess).EndCell()
	p.do(p.Send(message(owner, alice.Address, ton, withdraw)))
	p.gets("alice", 0)
	signed, err := p.Signed(bind.OpWorkerPayout, bob, 1000, stranger)
	p.do(err)
	payout := cell.BeginCell().MustStoreUInt(uint64(bind.OpWorkerPayout), 32).MustStoreUInt(signed.QueryID, 64).MustStoreAddr(excess).
		MustStoreSlice(signed.Signature[:], 512).MustStoreRef(signed.Payload).EndCell()
	p.do(p.Send(message(stranger, bob.Address, ton, payout)))
	p.gets("bob", 0)
}
