package contractstest_test

import (
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/xssnick/tonutils-go/address"
	"github.com/xssnick/tonutils-go/tvm/cell"

	"cocoon/contracts/bind"
	"cocoon/contracts/code"
	"cocoon/contracts/contractstest"
)

// TestLife: a client, a worker and a proxy from deployment to closing; every payment is exact and the books balance.
func TestLife(t *testing.T) {
	p := newPlay(t, ourParams())
	alice, bob := p.addClient("alice"), p.addWorker("bob")
	p.do(p.IncreaseStake(5 * ton))
	p.do(p.TopUp(alice, 20*ton))
	same(t, "liabilities", p.proxy().Ext.Liabilities, 20*ton)
	p.do(p.Tell(p.OwnerOf(alice), alice, ton, &bind.ClientRegister{QueryID: 1, Nonce: 7, Excess: p.OwnerOf(alice)}))
	p.exit("proxy", 0) // a note: the proxy does not run
	p.do(p.Charge(alice, 4000))
	same(t, "balance", p.client(alice).Balance, 16*ton)
	p.do(p.Payout(bob, 4000))
	p.gets("bob", 36*ton/10)
	same(t, "revenue", p.proxy().Balance, 4*ton/10)
	same(t, "liabilities", p.proxy().Ext.Liabilities, 16*ton)
	p.do(p.Tell(p.Actor("stranger"), p.Proxy, ton, &bind.ProxyPayout{QueryID: 1, Excess: p.Actor("stranger")}))
	p.gets("proxy owner", 4*ton/10)
	p.do(p.Withdraw(alice))
	p.gets("alice", 15*ton)
	p.do(p.CloseRequest())
	p.do(p.GrantRefund(alice, 4100))
	p.gets("alice", 9*ton/10)
	p.do(p.LastPayout(bob, 4100))
	p.gets("bob", 9*ton/100)
	p.Now += p.Params.ProxyDelay
	p.do(p.CloseComplete())
	p.gets("proxy owner", 5*ton+ton/100)
	end := p.proxy()
	same(t, "liabilities", end.Ext.Liabilities, 0)
	same(t, "state", end.State, bind.Closed)
	if left := p.Balance(p.Proxy.Address); left < ton/10 || left > 4*ton/10 {
		t.Errorf("the closed proxy keeps %d", left)
	}
	for what, at := range map[string]*address.Address{"client": alice.Address, "worker": bob.Address} {
		if left := p.Balance(at); left < ton/10-ton/1000 || left > ton/10+ton/100 {
			t.Errorf("the closed %s keeps %d", what, left)
		}
	}
}

// TestGetMethods: what the get methods say is what the storage holds.
func TestGetMethods(t *testing.T) {
	p := newPlay(t, ourParams())
	alice, bob := p.addClient("alice"), p.addWorker("bob")
	p.do(p.IncreaseStake(5 * ton))
	p.do(p.TopUp(alice, 2*ton))
	p.do(p.Payout(bob, 5000))
	get := func(in bind.Instance, method string) []any {
		t.Helper()
		out, err := p.Get(in.Address, method)
		p.do(err)
		return out
	}
	ps, cs, ws := p.proxy(), p.client(alice), p.worker(bob)
	proxy, err := bind.ParseProxyData(get(p.Proxy, "get_cocoon_proxy_data"))
	p.do(err)
	want := bind.ProxyData{
		Owner: ps.Owner, ProxyKey: ps.ProxyKey, Root: ps.Root, State: ps.State, Balance: ps.Balance, Stake: ps.Stake, UnlockAt: ps.UnlockAt,
		PricePerToken: 1_000_000, WorkerFee: 900_000, MinProxyStake: ton, MinClientStake: ton, ParamsVersion: 1,
	}
	compare(t, want, proxy)
	client, err := bind.ParseClientData(get(alice, "get_cocoon_client_data"))
	p.do(err)
	compare(t, bind.ClientData{Owner: cs.Owner, Proxy: cs.Proxy, ProxyKey: cs.ProxyKey, State: cs.State, Balance: cs.Balance, Stake: cs.Stake, TokensUsed: cs.TokensUsed, SecretHash: cs.SecretHash}, client)
	worker, err := bind.ParseWorkerData(get(bob, "get_cocoon_worker_data"))
	p.do(err)
	compare(t, bind.WorkerData{Owner: ws.Owner, Proxy: ws.Proxy, ProxyKey: ws.ProxyKey, State: ws.State, Tokens: ws.Tokens}, worker)
	unpaid, err := bind.ParseUnpaid(get(bob, "get_unpaid"))
	p.do(err)
	if ws.Ext == nil || unpaid != *ws.Ext {
		t.Errorf("unpaid is %+v, storage %+v", unpaid, ws.Ext)
	}
	owed, err := bind.ParseAmount("get_liabilities", get(p.Proxy, "get_liabilities"))
	p.do(err)
	same(t, "liabilities", owed, ps.Ext.Liabilities)
	claimed, err := bind.ParseAmount("get_claimed", get(alice, "get_claimed"))
	p.do(err)
	same(t, "claimed", claimed, 0)
	tip, err := bind.ParseCommitTip(get(p.Proxy, "get_commit_tip"))
	p.do(err)
	same(t, "tip", tip, bind.CommitTip{})
}

// addresses compares addresses by what they name, not by how they were made.
func addresses() cmp.Option {
	return cmp.Comparer(func(a, b *address.Address) bool {
		return a == b || (a != nil && b != nil && a.StringRaw() == b.StringRaw())
	})
}

func compare[T any](tb testing.TB, want, got T) {
	tb.Helper()
	if diff := cmp.Diff(want, got, addresses()); diff != "" {
		tb.Errorf("(-want +got):\n%s", diff)
	}
}

// TestTopUpThatBounces: a deposit that the proxy does not take is taken back from the credit, and its coins go on to
// whoever was to have the excess. Here there is no proxy at all.
func TestTopUpThatBounces(t *testing.T) {
	p := newPlay(t, ourParams())
	nowhere := bind.Instance{Address: address.NewAddress(0, 0, make([]byte, 32))}
	alice, err := bind.NewClient(p.Params, nowhere.Address, p.Actor("alice"), p.PublicKey())
	p.do(err)
	p.Name(alice.Address, "client0")
	p.do(p.Send(contractstest.Message{From: p.Actor("alice"), To: alice.Address, Value: ton, NoBounce: true, Init: &alice}))
	held := p.Balance(p.Actor("alice"))
	p.do(p.Tell(p.Actor("alice"), alice, 4*ton, &bind.ClientTopUp{QueryID: 1, Amount: 3 * ton, Excess: p.Actor("alice")}))
	same(t, "balance", p.client(alice).Balance, 0)
	if back := p.Balance(p.Actor("alice")) - held; back < 4*ton-ton/50 {
		t.Errorf("only %d of 4 TON came back\n%s", back, p.Tree())
	}
	if kept := p.Balance(alice.Address); kept > ton {
		t.Errorf("the client contract keeps %d", kept)
	}
}

// TestKeyLost: without the machine's key the owner closes alone, 30 days after the delay: the revenue first, the stake
// once the clients have been refunded from it.
func TestKeyLost(t *testing.T) {
	p := newPlay(t, ourParams())
	alice, bob := p.addClient("alice"), p.addWorker("bob")
	p.do(p.IncreaseStake(5 * ton))
	p.do(p.TopUp(alice, 3*ton))
	p.do(p.Charge(alice, 1000))
	p.do(p.Payout(bob, 1000))
	tell := &bind.ProxyClose{QueryID: 1, Excess: p.Owner}
	p.do(p.Tell(p.Owner, p.Proxy, ton, tell))
	p.Now += p.Params.ProxyDelay + 30*86400 - 1
	p.do(p.Tell(p.Owner, p.Proxy, ton, tell))
	p.exit("proxy", 1006)
	p.Now++
	p.do(p.Tell(p.Actor("stranger"), p.Proxy, ton, tell))
	p.exit("proxy", 1010)
	p.do(p.Tell(p.Owner, p.Proxy, ton, tell))
	p.gets("proxy owner", 3*ton+ton/10) // revenue, and the stake above the 2 TON that are owed
	same(t, "state", p.proxy().State, bind.Closing)
	same(t, "stake", p.proxy().Stake, 2*ton)
	p.do(p.RequestRefund(alice))
	p.Now += p.Params.ClientDelay + 1
	p.do(p.RequestRefund(alice))
	p.do(p.Tell(p.Owner, p.Proxy, ton, tell))
	same(t, "state", p.proxy().State, bind.Closed)
	same(t, "stake", p.proxy().Stake, 0)
}

// TestKeyLostWithUnsettledCharges: what was charged and never paid out stays owed for ever, because nobody can sign; the
// owner gets the stake above it all the same, and clients find the rest.
func TestKeyLostWithUnsettledCharges(t *testing.T) {
	p := newPlay(t, ourParams())
	alice := p.addClient("alice")
	p.do(p.IncreaseStake(9 * ton))
	p.do(p.TopUp(alice, 4*ton))
	p.do(p.Charge(alice, 1000))
	tell := &bind.ProxyClose{QueryID: 1, Excess: p.Owner}
	p.do(p.Tell(p.Owner, p.Proxy, ton, tell))
	p.Now += p.Params.ProxyDelay + 30*86400
	p.do(p.Tell(p.Owner, p.Proxy, ton, tell))
	p.gets("proxy owner", 5*ton)
	same(t, "stake", p.proxy().Stake, 4*ton)
	same(t, "state", p.proxy().State, bind.Closing)
	p.do(p.RequestRefund(alice)) // 2 TON from the pool, 1 from the stake
	p.Now += p.Params.ClientDelay + 1
	p.do(p.RequestRefund(alice))
	p.gets("alice", ton)
	p.do(p.Tell(p.Owner, p.Proxy, ton, tell))
	p.gets("proxy owner", 2*ton)
	same(t, "stake, as much as is owed", p.proxy().Stake, p.proxy().Ext.Liabilities)
}

// TestKeyInUse: a commit within the 30 days keeps the owner from closing alone.
func TestKeyInUse(t *testing.T) {
	p := newPlay(t, ourParams())
	tell := &bind.ProxyClose{QueryID: 1, Excess: p.Owner}
	p.do(p.Tell(p.Owner, p.Proxy, ton, tell))
	p.Now += p.Params.ProxyDelay + 20*86400
	signed, err := bind.Sign(p.Key, 5, p.Owner, &bind.CommitPayload{QueryID: 5, Contract: p.Proxy.Address, Seqno: 1})
	p.do(err)
	p.do(p.Tell(p.Owner, p.Proxy, ton, &bind.ProxyCommit{Signed: signed}))
	p.exit("proxy", 0)
	p.Now += 30*86400 - 1
	p.do(p.Tell(p.Owner, p.Proxy, ton, tell))
	p.exit("proxy", 1006)
	p.Now++
	p.do(p.Tell(p.Owner, p.Proxy, ton, tell))
	p.exit("proxy", 0)
	same(t, "state", p.proxy().State, bind.Closed)
}

// TestCommits: the tip advances by compare-and-set; the instance that lost a race learns it from the exit.
func TestCommits(t *testing.T) {
	p := newPlay(t, ourParams())
	prev := bind.Hash{}
	for seqno := uint32(1); seqno <= 3; seqno++ {
		next := bind.Hash{byte(seqno)}
		want := bind.CommitPayload{QueryID: uint64(seqno), Contract: p.Proxy.Address, Seqno: seqno, PrevHash: prev, NewHash: next, SessionHash: bind.Hash{1, 1}, ReputationRoot: bind.Hash{2, byte(seqno)}}
		first, err := bind.Sign(p.Key, want.QueryID, p.Owner, &want)
		p.do(err)
		want.NewHash[31] = 0xff // the other instance
		second, err := bind.Sign(p.Key, want.QueryID, p.Owner, &want)
		p.do(err)
		p.do(p.Tell(p.Owner, p.Proxy, ton/10, &bind.ProxyCommit{Signed: first}))
		p.exit("proxy", 0)
		p.do(p.Tell(p.Owner, p.Proxy, ton/10, &bind.ProxyCommit{Signed: second}))
		p.exit("proxy", 1016)
		result, err := p.Get(p.Proxy.Address, "get_commit_tip")
		p.do(err)
		tip, err := bind.ParseCommitTip(result)
		p.do(err)
		same(t, "tip", tip, bind.CommitTip{Seqno: seqno, Hash: next, SessionHash: bind.Hash{1, 1}, ReputationRoot: bind.Hash{2, byte(seqno)}, CommittedAt: p.Now})
		prev = next
	}
}

// TestCounterCannotRestart: a closed contract outlives what an old signature is worth, so nobody deploys it again with its
// first counter: ten years of rent leave it alive.
func TestCounterCannotRestart(t *testing.T) {
	p := newPlay(t, ourParams())
	bob, alice := p.addWorker("bob"), p.addClient("alice")
	p.do(p.TopUp(alice, 20*ton))
	p.do(p.Payout(bob, 1000))
	p.do(p.LastPayout(bob, 2000))
	p.Now += 10 * 365 * 86400
	p.do(p.Send(contractstest.Message{From: p.Actor("mallory"), To: bob.Address, Value: 3 * ton / 10, NoBounce: true, Init: &bob}))
	same(t, "counter", p.worker(bob).Tokens, 2000)
	same(t, "state", p.worker(bob).State, bind.Closed)
	p.do(p.Payout(bob, 2000))
	p.exit("worker0", 1006)
}

// TestDerivation: for any parameters the proxy recognises exactly the clients and workers that the bindings derive.
func TestDerivation(t *testing.T) {
	rounds := 40
	if longRun() {
		rounds = 3000
	}
	rng := rand.New(rand.NewPCG(10, 10))
	for range rounds {
		params := bind.Params{
			StructVersion: uint8(3 + rng.IntN(3)), ParamsVersion: rng.Uint32(), UniqueID: rng.Uint32(), IsTest: rng.IntN(2) == 0,
			PricePerToken: bind.Nano(rng.Uint64N(1e9)), PromptMultiplier: rng.Uint32(), CachedMultiplier: rng.Uint32(),
			CompletionMultiplier: rng.Uint32(), ReasoningMultiplier: rng.Uint32(), ProxyDelay: rng.Uint32N(1e6), ClientDelay: rng.Uint32N(1e6),
			MinProxyStake: bind.Nano(rng.Uint64() >> (1 + rng.IntN(63))), MinClientStake: bind.Nano(rng.Uint64() >> (1 + rng.IntN(63))),
			Proxy: code.Proxy(), Worker: code.Worker(), Client: code.Client(),
		}
		params.WorkerFee = bind.Nano(rng.Uint64N(uint64(params.PricePerToken) + 1))
		p := newPlay(t, params)
		alice, bob := p.addClient("alice"), p.addWorker("bob")
		p.do(p.TopUp(alice, ton))
		same(t, "deposit", p.proxy().Ext.Liabilities, ton)
		p.do(p.Payout(bob, 1))
		p.exit("proxy", 0)
		same(t, "revenue", p.proxy().Balance, params.PricePerToken-params.WorkerFee)
	}
}

// TestUnknownStructVersion: contracts refuse parameters whose layout they do not know.
func TestUnknownStructVersion(t *testing.T) {
	for _, version := range []uint64{2, 6} {
		p := newPlay(t, ourParams())
		raw, err := p.Params.With(bind.NoCodes).Cell()
		p.do(err)
		rest := raw.MustBeginParse()
		rest.MustLoadUInt(8)
		params := cell.BeginCell().MustStoreUInt(version, 8).MustStoreBuilder(rest.ToBuilder()).EndCell()
		bob := p.addWorker("bob")
		data := bob.Data.MustBeginParse()
		key := data.MustLoadSlice(267 + 267 + 256)
		b := cell.BeginCell().MustStoreSlice(key, 267+267+256).MustStoreUInt(0, 66).MustStoreRef(params).EndCell()
		at, err := bind.Address(bob.Code, b)
		p.do(err)
		odd := bind.Instance{Code: bob.Code, Data: b, Address: at}
		p.Name(at, "odd worker")
		p.do(p.Send(contractstest.Message{From: p.Actor("bob"), To: at, Value: ton, NoBounce: true, Init: &odd}))
		signed, err := p.Signed(bind.OpWorkerPayout, odd, 5, p.Actor("bob"))
		p.do(err)
		p.do(p.Tell(p.Actor("bob"), odd, ton, &bind.WorkerPayout{Signed: signed}))
		p.exit("odd worker", 1008)
	}
}
