package proxy

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"cocoon/contracts/pricing"
	"cocoon/contracts/receipt"
	"cocoon/contracts/wire/session"
	"cocoon/contracts/wire/tl"
	"cocoon/guest/proxy/ledger"
	"cocoon/measure/ratls/cert"
)

// failure is the code and text of a query's error.
func failure(err error) (session.Code, string) {
	if q, ok := errors.AsType[*session.QueryError](err); ok {
		return q.Code, q.Message
	}
	return 0, ""
}

func TestClientHandshakeIsRefused(t *testing.T) {
	good := func() *tl.ClientConnectToProxy {
		return &tl.ClientConnectToProxy{Params: clientParams(address(4), 0, 5), MinConfigVersion: 1}
	}
	for name, tc := range map[string]struct {
		change func(*tl.ClientConnectToProxy)
		before func(*bench)
		code   session.Code
		text   string
	}{
		"no is_test":      {change: func(q *tl.ClientConnectToProxy) { q.Params.IsTest = nil }, code: 602, text: "expected flags bit 0"},
		"another network": {change: func(q *tl.ClientConnectToProxy) { q.Params.IsTest = new(false) }, code: 602, text: "is_test mismatch"},
		"no address":      {change: func(q *tl.ClientConnectToProxy) { q.Params.ClientOwnerAddress = "x" }, code: 602, text: "invalid client owner"},
		"newer config":    {change: func(q *tl.ClientConnectToProxy) { q.MinConfigVersion = 2 }, code: 602, text: "active config version is too low"},
		"version": {change: func(q *tl.ClientConnectToProxy) {
			q.Params.MinProtoVersion, q.Params.MaxProtoVersion = new(int32(7)), new(int32(8))
		}, code: 621, text: "unsupported proto version"},
		"closing":           {before: func(b *bench) { b.chain.account = func(a *Account) { a.Closing = true } }, code: 602, text: "client is closing"},
		"proxy disabled":    {before: func(b *bench) { b.p.Refuse("testing") }, code: 651, text: "proxy is disabled: testing"},
		"config before the": {change: func(q *tl.ClientConnectToProxy) { q.MinConfigVersion, q.Params.MaxProtoVersion = 2, new(int32(-1)) }, code: 602, text: "active config version is too low"},
	} {
		t.Run(name, func(t *testing.T) {
			inProxy(t, func(b *bench) {
				if tc.before != nil {
					b.chain.set(func() { tc.before(b) })
				}
				p, leave := b.join(b.p.ServeClient, Peer{})
				defer leave()
				q := good()
				if tc.change != nil {
					tc.change(q)
				}
				_, err := p.ask(q)
				if code, text := failure(err); code != tc.code || !strings.HasPrefix(text, tc.text) {
					t.Errorf("%v", err)
				}
				if err := <-b.ends; !errors.Is(err, errHandshake) { // the error is sent, then the connection ends
					t.Errorf("ended with %v", err)
				}
			})
		})
	}
}

func TestClientAuthorisation(t *testing.T) {
	secret := sha256.Sum256([]byte("secret"))
	known := func(a *Account) { a.SecretHash, a.Nonce = secret, 17 }
	unknown := func(a *Account) { a.Known = false }
	for name, tc := range map[string]struct {
		account func(*Account)
		steps   []tl.Function
		code    session.Code
		text    string
	}{
		"the secret":            {known, []tl.Function{&tl.ClientAuthorizeWithProxyShort{Data: []byte("secret")}}, 0, ""},
		"the wrong secret":      {known, []tl.Function{&tl.ClientAuthorizeWithProxyShort{Data: []byte("x")}}, 602, "sha256 mismatch"},
		"the long way":          {known, []tl.Function{&tl.ClientAuthorizeWithProxyLong{}}, 0, ""},
		"unknown, the long way": {unknown, []tl.Function{&tl.ClientAuthorizeWithProxyLong{}}, 0, ""},
		"unknown, the short":    {unknown, []tl.Function{&tl.ClientAuthorizeWithProxyShort{}}, 602, "expected auth message"},
		"twice":                 {known, []tl.Function{&tl.ClientAuthorizeWithProxyLong{}, &tl.ClientAuthorizeWithProxyLong{}}, 602, "already authorized"},
		"connect twice":         {known, []tl.Function{&tl.ClientConnectToProxy{Params: clientParams(address(4), 0, 5)}}, 602, "duplicate connect"},
		"too early":             {known, []tl.Function{&tl.ClientGetWorkerTypesV2{}}, 651, "not ready"},
		"unknown function":      {known, []tl.Function{&tl.ClientAuthorizeWithProxyLong{}, &tl.TestQuery{}}, 621, "unknown function"},
		"a worker's function":   {known, []tl.Function{&tl.ClientAuthorizeWithProxyLong{}, &tl.WorkerUpdatePaymentStatus{}}, 621, "unknown function"},
	} {
		t.Run(name, func(t *testing.T) {
			inProxy(t, func(b *bench) {
				b.chain.set(func() { b.chain.account = tc.account })
				p, leave := b.join(b.p.ServeClient, Peer{})
				defer leave()
				mustAsk[*tl.ClientConnectedToProxy](p, &tl.ClientConnectToProxy{Params: clientParams(address(4), 0, 5)})
				var err error
				for _, s := range tc.steps {
					if err != nil {
						t.Fatal(err)
					}
					_, err = p.ask(s)
				}
				if code, text := failure(err); code != tc.code || !strings.HasPrefix(text, tc.text) {
					t.Errorf("%v", err)
				}
			})
		})
	}
}

// TestTheHandshakeStaysOpenForMinutes: third parties deploy a contract between the two steps; who takes longer is gone.
func TestTheHandshakeStaysOpenForMinutes(t *testing.T) {
	inProxy(t, func(b *bench) {
		p, leave := b.join(b.p.ServeClient, Peer{})
		<-time.After(200 * time.Second) // each step has its own time
		mustAsk[*tl.ClientConnectedToProxy](p, &tl.ClientConnectToProxy{Params: clientParams(address(4), 1, 1)})
		<-time.After(290 * time.Second)
		b.chain.set(func() { b.chain.registered = 290 * time.Second })
		mustAsk[*tl.ClientAuthorizationWithProxySuccess](p, &tl.ClientAuthorizeWithProxyLong{})
		<-time.After(time.Hour)
		mustAsk[*tl.ClientPaymentStatus](p, &tl.ClientUpdatePaymentStatus{})
		leave()
		if err := <-b.ends; errors.Is(err, errSlowHandshake) {
			t.Errorf("ended with %v", err)
		}
		_, leave = b.join(b.p.ServeClient, Peer{})
		defer leave()
		if err := <-b.ends; !errors.Is(err, errSlowHandshake) {
			t.Errorf("ended with %v", err)
		}
	})
}

// TestTheFirstVersionIsServedAsThirdPartiesExpect is protocol.md section 4.4.
func TestTheFirstVersionIsServedAsThirdPartiesExpect(t *testing.T) {
	inProxy(t, func(b *bench) {
		b.worker(5, serveStream)
		p, leave := b.join(b.p.ServeClient, Peer{}) // not attested
		defer leave()
		mustAsk[*tl.ClientConnectedToProxy](p, &tl.ClientConnectToProxy{Params: clientParams(address(4), 1, 1)})
		mustAsk[*tl.ClientAuthorizationWithProxySuccess](p, &tl.ClientAuthorizeWithProxyShort{})
		c := &scriptClient{party: p, version: 1}
		q := run(1, stream)
		q.MaxCoefficient, q.MaxTokens, q.Timeout = 100_000, 200, 30
		c.send(q)
		if r := c.collect(1); r.body != first+second+done || r.info.ProxyStartTime != nil || r.info.ProxyDebug != nil {
			t.Errorf("%+v", r)
		}
		synctest.Wait()
		for len(p.heard) > 0 {
			if m := <-p.heard; m.TLName() == "proxy.clientRequestPayment" || m.TLName() == "client.queryReceipt" {
				t.Errorf("%s is pushed to a client of version 1", m.TLName())
			}
		}
		if s := mustAsk[*tl.ClientPaymentStatus](p, &tl.ClientUpdatePaymentStatus{}); s.MaxTokens != 74 {
			t.Errorf("status %+v", s)
		}
		if _, err := p.ask(&tl.ClientGetSession{}); err == nil {
			t.Error("an extension is answered at version 1")
		}
	})
}

func TestRefundIsRejectedWhileRequestsRun(t *testing.T) {
	inProxy(t, func(b *bench) {
		b.worker(5, obeys)
		c := b.client(4)
		if _, err := c.ask(&tl.ClientRequestRefund{}); err == nil {
			t.Error("a refund without a chain")
		}
		c.send(run(1, chat))
		synctest.Wait()
		if r := mustAsk[*tl.ClientRefundRejected](c.party, &tl.ClientRequestRefund{}); r.ActiveQueries != 1 {
			t.Errorf("%+v", r)
		}
		c.leave()
		if err := <-b.ends; err == nil {
			t.Error("the session ended without a reason")
		}
	})
}

func TestWorkerTypes(t *testing.T) {
	inProxy(t, func(b *bench) {
		c := b.client(5)
		if r := mustAsk[*tl.ClientWorkerTypesV2](c.party, &tl.ClientGetWorkerTypesV2{}); len(r.Types) != 0 {
			t.Errorf("%+v", r)
		}
		cheap := b.worker(5, silent, func(p *tl.WorkerParams) { p.MaxActiveRequests, p.ProxyCnt = new(int32(7)), new(int32(2)) })
		b.worker(4, silent, func(p *tl.WorkerParams) { p.Coefficient = 3000 })
		v2 := mustAsk[*tl.ClientWorkerTypesV2](c.party, &tl.ClientGetWorkerTypesV2{})
		if len(v2.Types) != 1 || v2.Types[0].Name != "demo/model" || len(v2.Types[0].Workers) != 2 || v2.Types[0].Workers[0].MaxActiveRequests != 4 {
			t.Errorf("%+v", v2)
		}
		cheap.send(&tl.WorkerNewCoefficient{NewCoefficient: 2000})
		synctest.Wait()
		v1 := mustAsk[*tl.ClientWorkerTypes](c.party, &tl.ClientGetWorkerTypes{})
		if len(v1.Types) != 1 || v1.Types[0].ActiveWorkers != 2 || v1.Types[0].CoefficientMin != 2000 || v1.Types[0].CoefficientMax != 3000 {
			t.Errorf("%+v", v1)
		}
		cheap.send(&tl.WorkerEnabledDisabled{Disabled: 1})
		synctest.Wait()
		if r := mustAsk[*tl.ClientWorkerTypes](c.party, &tl.ClientGetWorkerTypes{}); r.Types[0].ActiveWorkers != 1 {
			t.Errorf("%+v", r)
		}
	})
	for _, price := range []int32{-1, coefficientLimit, 1<<31 - 1} {
		inProxy(t, func(b *bench) {
			b.worker(5, silent).send(&tl.WorkerNewCoefficient{NewCoefficient: price})
			if err := <-b.ends; err == nil {
				t.Errorf("a price of %d is taken", price)
			}
		})
	}
}

// TestAWorkerIsChosenAfterItsHandshakeOnly: what it says of itself before changes nothing, and what the root says meanwhile
// counts.
func TestAWorkerIsChosenAfterItsHandshakeOnly(t *testing.T) {
	listed := func(c *Config, d *Deps) {
		if chain, ok := d.Chain.(*chainStub); ok {
			chain.WorkerImages = map[[32]byte]bool{{0xe5}: true}
			chain.Models = map[[32]byte]bool{sha256.Sum256([]byte(model)): true}
		}
		c.CheckWorkers = true
	}
	inProxy(t, func(b *bench) {
		p, leave := b.join(b.p.ServeWorker, Peer{Attested: true, Image: [32]byte{0xe5}})
		defer leave()
		c := b.client(5)
		mustAsk[*tl.WorkerConnectedToProxy](p, &tl.WorkerConnectToProxy{Params: workerParams(address(5), 1, 5)})
		mustAsk[*tl.WorkerCompareBalanceWithProxyResult](p, &tl.WorkerCompareBalanceWithProxy{})
		p.send(&tl.WorkerEnabledDisabled{})
		synctest.Wait()
		if r := mustAsk[*tl.ClientWorkerTypesV2](c.party, &tl.ClientGetWorkerTypesV2{}); len(r.Types) != 0 {
			t.Errorf("it can be chosen: %+v", r)
		}
		b.chain.set(func() { b.chain.WorkerImages = nil })
		if _, err := p.ask(&tl.WorkerProxyHandshakeComplete{}); err == nil || !strings.Contains(err.Error(), "not eligible") {
			t.Errorf("its image was taken off the list: %v", err)
		}
	}, listed)
}

func TestWorkerHandshakeIsRefused(t *testing.T) {
	listed := func(_ *Config, d *Deps) {
		chain, ok := d.Chain.(*chainStub)
		if ok {
			chain.WorkerImages = map[[32]byte]bool{{0xe5}: true}
			chain.Models = map[[32]byte]bool{sha256.Sum256([]byte(model)): true}
		}
	}
	check := func(c *Config, _ *Deps) { c.CheckWorkers = true }
	good := Peer{Attested: true, Image: [32]byte{0xe5}}
	for name, tc := range map[string]struct {
		peer   Peer
		change func(*tl.WorkerParams)
		code   session.Code
		text   string
	}{
		"good":                   {good, func(*tl.WorkerParams) {}, 0, ""},
		"not attested":           {Peer{}, func(*tl.WorkerParams) {}, 602, "worker is not attested"},
		"another image":          {Peer{Attested: true, Image: [32]byte{1}}, func(*tl.WorkerParams) {}, 602, "worker not eligible: image hash 0100"},
		"no model":               {good, func(p *tl.WorkerParams) { p.Model = "" }, 602, "model name has 0"},
		"no flags":               {good, func(p *tl.WorkerParams) { p.IsTest, p.ProxyCnt, p.MaxActiveRequests = nil, nil, nil }, 602, "expected flags"},
		"another network":        {good, func(p *tl.WorkerParams) { p.IsTest = new(false) }, 602, "is_test mismatch"},
		"coefficient -1":         {good, func(p *tl.WorkerParams) { p.Coefficient = -1 }, 602, "coefficient"},
		"coefficient 10^9":       {good, func(p *tl.WorkerParams) { p.Coefficient = 1_000_000_000 }, 602, "coefficient"},
		"coefficient 0":          {good, func(p *tl.WorkerParams) { p.Coefficient = 0 }, 0, ""},
		"no slots":               {good, func(p *tl.WorkerParams) { p.MaxActiveRequests = new(int32(0)) }, 602, "max_active_requests"},
		"negative slots":         {good, func(p *tl.WorkerParams) { p.MaxActiveRequests = new(int32(-4)) }, 602, "max_active_requests"},
		"most slots":             {good, func(p *tl.WorkerParams) { p.MaxActiveRequests = new(int32(1<<31 - 1)) }, 602, "max_active_requests"},
		"no proxies":             {good, func(p *tl.WorkerParams) { p.ProxyCnt = new(int32(0)) }, 602, "proxy_cnt"},
		"negative proxies":       {good, func(p *tl.WorkerParams) { p.ProxyCnt = new(int32(-1)) }, 602, "proxy_cnt"},
		"most proxies":           {good, func(p *tl.WorkerParams) { p.ProxyCnt = new(int32(1<<31 - 1)) }, 602, "proxy_cnt"},
		"no address":             {good, func(p *tl.WorkerParams) { p.WorkerOwnerAddress = "" }, 602, "invalid worker owner"},
		"a description of words": {good, func(p *tl.WorkerParams) { p.MachineDescriptionJSON = new("not JSON") }, 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			inProxy(t, func(b *bench) {
				p, leave := b.join(b.p.ServeWorker, tc.peer)
				defer leave()
				params := workerParams(address(5), 1, 5)
				tc.change(&params)
				_, err := p.ask(&tl.WorkerConnectToProxy{Params: params})
				if code, text := failure(err); code != tc.code || !strings.HasPrefix(text, tc.text) {
					t.Errorf("%v", err)
				}
				if tc.code != 0 {
					if views, _ := b.p.sched.Snapshot(); len(views) != 0 {
						t.Errorf("it can be chosen: %+v", views)
					}
				}
			}, check, listed)
		})
	}
}

func TestAWorkerThatIsDelistedIsLetGo(t *testing.T) {
	inProxy(t, func(b *bench) {
		b.worker(5, silent)
		b.p.RootChanged()
		synctest.Wait()
		if len(b.p.allWorkers()) != 1 {
			t.Fatal("a listed worker is gone")
		}
		b.p.cfg.CheckWorkers = true // nothing is listed
		b.p.RootChanged()
		if err := <-b.ends; err == nil || len(b.p.allWorkers()) != 0 {
			t.Errorf("%v, %d workers", err, len(b.p.allWorkers()))
		}
	})
}

// TestInflatedBalancesDoNotStopTheProxy is rows 4 and 22 of protocol.md section 12.
func TestInflatedBalancesDoNotStopTheProxy(t *testing.T) {
	ours, err := ledger.Keyed{Key: seeded(2)}.Sign(ledger.Party{Role: ledger.Worker, Address: address(5).String()}, 900)
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		compare tl.WorkerCompareBalanceWithProxy
		more    *tl.WorkerExtendedCompareBalanceWithProxy
		code    int32
		want    int64
	}{
		"nothing":            {tl.WorkerCompareBalanceWithProxy{}, nil, 0, 0},
		"bc inflated":        {tl.WorkerCompareBalanceWithProxy{TokensCommittedToBlockchain: 1 << 60}, nil, 1, 0},
		"db inflated":        {tl.WorkerCompareBalanceWithProxy{TokensCommittedToDB: 1<<63 - 1}, nil, 1, 0},
		"max inflated":       {tl.WorkerCompareBalanceWithProxy{MaxTokens: 5}, nil, 1, 0},
		"without proof":      {tl.WorkerCompareBalanceWithProxy{TokensCommittedToDB: 900}, &tl.WorkerExtendedCompareBalanceWithProxy{TokensCommittedToDB: 900}, 1, 0},
		"with nonsense":      {tl.WorkerCompareBalanceWithProxy{TokensCommittedToDB: 900}, &tl.WorkerExtendedCompareBalanceWithProxy{TokensCommittedToDB: 900, Other: make([]byte, 200)}, 1, 0},
		"with our signature": {tl.WorkerCompareBalanceWithProxy{TokensCommittedToDB: 900}, &tl.WorkerExtendedCompareBalanceWithProxy{TokensCommittedToDB: 900, Other: ours}, 1, 900},
		"beyond our word":    {tl.WorkerCompareBalanceWithProxy{TokensCommittedToDB: 901}, &tl.WorkerExtendedCompareBalanceWithProxy{TokensCommittedToDB: 901, Other: ours}, 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			inProxy(t, func(b *bench) {
				p, leave := b.join(b.p.ServeWorker, Peer{})
				defer leave()
				mustAsk[*tl.WorkerConnectedToProxy](p, &tl.WorkerConnectToProxy{Params: workerParams(address(5), 1, 5)})
				r := mustAsk[*tl.WorkerCompareBalanceWithProxyResult](p, &tc.compare)
				if _, ok := r.SignedPayment.(*tl.ProxySignedPayment); r.ErrorCode != tc.code || !ok {
					t.Errorf("%+v", r)
				}
				if tc.more != nil {
					mustAsk[*tl.WorkerExtendedCompareBalanceWithProxyResult](p, tc.more)
				}
				mustAsk[*tl.WorkerProxyHandshakeCompleted](p, &tl.WorkerProxyHandshakeComplete{})
				if s := mustAsk[*tl.WorkerPaymentStatus](p, &tl.WorkerUpdatePaymentStatus{}); s.DBTokens != tc.want || s.MaxTokens != tc.want {
					t.Errorf("%+v, want %d", s, tc.want)
				}
			})
		})
	}
}

func TestWorkerQueriesOutOfOrder(t *testing.T) {
	for name, steps := range map[string][]tl.Function{
		"compare first":           {&tl.WorkerCompareBalanceWithProxy{}},
		"complete first":          {&tl.WorkerProxyHandshakeComplete{}},
		"status first":            {&tl.WorkerUpdatePaymentStatus{}},
		"complete before compare": {&tl.WorkerConnectToProxy{Params: workerParams(address(5), 1, 5)}, &tl.WorkerProxyHandshakeComplete{}},
		"connect twice":           {&tl.WorkerConnectToProxy{Params: workerParams(address(5), 1, 5)}, &tl.WorkerConnectToProxy{Params: workerParams(address(5), 1, 5)}},
		"negative compare":        {&tl.WorkerConnectToProxy{Params: workerParams(address(5), 1, 5)}, &tl.WorkerCompareBalanceWithProxy{MaxTokens: -1}},
		"negative extended": {
			&tl.WorkerConnectToProxy{Params: workerParams(address(5), 1, 5)}, &tl.WorkerCompareBalanceWithProxy{},
			&tl.WorkerExtendedCompareBalanceWithProxy{TokensCommittedToDB: -1},
		},
		"a client's function": {&tl.ClientGetWorkerTypes{}},
	} {
		t.Run(name, func(t *testing.T) {
			inProxy(t, func(b *bench) {
				p, leave := b.join(b.p.ServeWorker, Peer{})
				defer leave()
				for i, s := range steps {
					if _, err := p.ask(s); (err != nil) != (i == len(steps)-1) {
						t.Errorf("%s: %v", s.TLName(), err)
					}
				}
				if err := <-b.ends; !errors.Is(err, errHandshake) {
					t.Errorf("ended with %v", err)
				}
			})
		})
	}
}

// gated is a ledger that signs nothing before its gate is open.
type gated struct {
	ledger.Ledger
	gate chan struct{}
}

func (g *gated) Pay(ctx context.Context, p ledger.Party) (ledger.Payment, error) {
	<-g.gate
	return g.Ledger.Pay(ctx, p)
}

// TestAStepIsTakenOnce: queries are answered side by side, and a handshake has one after the other.
func TestAStepIsTakenOnce(t *testing.T) {
	g := new(gated)
	inProxy(t, func(b *bench) {
		p, leave := b.join(b.p.ServeWorker, Peer{})
		defer leave()
		mustAsk[*tl.WorkerConnectedToProxy](p, &tl.WorkerConnectToProxy{Params: workerParams(address(5), 1, 5)})
		answers := make(chan error, 2)
		for range cap(answers) {
			go func() {
				_, err := p.ask(&tl.WorkerCompareBalanceWithProxy{})
				answers <- err
			}()
		}
		synctest.Wait()
		close(g.gate)
		if one, two := <-answers, <-answers; (one == nil) == (two == nil) {
			t.Errorf("answered with %v and %v", one, two)
		}
		if err := <-b.ends; !errors.Is(err, errHandshake) {
			t.Errorf("ended with %v", err)
		}
	}, func(_ *Config, d *Deps) {
		g.gate = make(chan struct{}) // one of the bubble's
		g.Ledger, d.Ledger = d.Ledger, g
	})
}

// stuck is an Attester whose machine does not answer.
type stuck struct{}

func (stuck) Attest(ctx context.Context, _ [64]byte) (Evidence, error) {
	<-ctx.Done()
	return Evidence{}, ctx.Err()
}

// TestNobodyWaitsForAQuoteForEver: nor in line behind who does (inference.md section 9).
func TestNobodyWaitsForAQuoteForEver(t *testing.T) {
	inProxy(t, func(b *bench) {
		c := b.client(5)
		began, answers := time.Now(), make(chan error, 3)
		for i := range cap(answers) {
			go func() {
				_, err := c.ask(&tl.ClientGetAttestation{Nonce: &[32]byte{byte(i)}})
				answers <- err
			}()
		}
		for range cap(answers) {
			e, ok := errors.AsType[*session.QueryError](<-answers)
			if took := time.Since(began); !ok || e.Code != session.CodeNotReady || took > attestWait {
				t.Errorf("%v after %s", e, took)
			}
		}
	}, func(_ *Config, d *Deps) { d.Attester = stuck{} })
}

// TestAClientsQueriesAreBoundedByTheirBytes: they are in memory to their end, and one alone always passes.
func TestAClientsQueriesAreBoundedByTheirBytes(t *testing.T) {
	inProxy(t, func(b *bench) {
		w := b.worker(5, silent)
		c := b.client(5)
		for id := range byte(3) {
			c.send(run(id, chat))
		}
		if r := c.collect(2); r.code != 651 || !strings.HasPrefix(r.text, "no ready workers for model") {
			t.Errorf("the third: %d %q", r.code, r.text)
		}
		synctest.Wait()
		for _, o := range w.seen() {
			serveWhole(w, o)
		}
		b.settled()
		w.play = serveWhole
		long := strings.Replace(chat, canary, strings.Repeat("x", 2<<10), 1)
		c.send(run(4, long))
		if r := c.collect(4); r.body != answer {
			t.Errorf("one alone: %+v", r)
		}
		b.settled()
	}, func(c *Config, _ *Deps) { c.ClientBytes = 2*len(query("/v1/chat/completions", chat)) + 1 })
}

// TestAClientsRequestsAreBounded: each is a goroutine and a body in memory.
func TestAClientsRequestsAreBounded(t *testing.T) {
	inProxy(t, func(b *bench) {
		w := b.worker(5, silent, func(p *tl.WorkerParams) { p.MaxActiveRequests = new(int32(2 * maxClientRequests)) })
		c := b.client(5)
		for i := range maxClientRequests + 1 {
			m := run(0, chat)
			m.RequestID = numbered(i)
			c.send(m)
		}
		if m := hear[*tl.ClientQueryAnswerErrorEx](c.party); m.RequestID != numbered(maxClientRequests) || m.ErrorCode != 651 {
			t.Errorf("%d %q for %x", m.ErrorCode, m.Error, m.RequestID[:4])
		}
		synctest.Wait()
		if n := len(w.seen()); n != maxClientRequests {
			t.Errorf("%d requests reached the worker", n)
		}
	})
}

// TestExtensionsAreForTheirVersion: what a client of an earlier version cannot have agreed on changes nothing.
func TestExtensionsAreForTheirVersion(t *testing.T) {
	inProxy(t, func(b *bench) {
		w := b.worker(5, silent)
		c := b.client(4)
		c.send(run(1, chat))
		synctest.Wait()
		c.send(&tl.ClientCancelQuery{RequestID: [32]byte{1}})
		c.send(&tl.ClientQueryCredit{RequestID: [32]byte{1}, Bytes: -1})
		synctest.Wait()
		if o := w.seen()[0]; w.cancelled(o) {
			t.Error("a cancellation of version 4 was obeyed")
		} else {
			serveWhole(w, o)
		}
		if r := c.collect(1); r.body != answer {
			t.Errorf("%+v", r)
		}
	})
}

// quotes is an Attester that repeats what it is asked to prove.
type quotes struct{ n int }

func (q *quotes) Attest(_ context.Context, data [64]byte) (Evidence, error) {
	q.n++
	return Evidence{Quote: data[:], ImageHash: strings.Repeat("e5", 32)}, nil
}

func TestAttestationProvesTheKeyset(t *testing.T) {
	q := new(quotes)
	inProxy(t, func(b *bench) {
		c := b.client(5)
		began := time.Now()
		for _, nonce := range []*[32]byte{nil, nil, {7}, {8}} {
			raw := mustAsk[*tl.ClientAttestation](c.party, &tl.ClientGetAttestation{Nonce: nonce}).Document
			var doc struct {
				Digest      string `json:"workload_keyset_digest"`
				Attestation struct {
					Keyset   json.RawMessage `json:"workload_keyset"`
					Evidence struct{ Quote string }
				}
			}
			if err := json.Unmarshal(raw, &doc); err != nil {
				t.Fatal(err)
			}
			set, err := receipt.ParseKeyset(doc.Attestation.Keyset)
			if err != nil || set.Digest() != doc.Digest || len(set.TLS) != 1 {
				t.Errorf("%v, %+v", err, set)
			}
			want := receipt.ReportData(doc.Digest, nonce)
			if got, _ := hex.DecodeString(doc.Attestation.Evidence.Quote); !bytes.Equal(got, append(want[:], make([]byte, 32)...)) {
				t.Errorf("report data %x", got)
			}
		}
		if took := time.Since(began); q.n != 3 || took < 2*time.Second || took > 3*time.Second {
			t.Errorf("%d quotes in %s", q.n, took)
		}
	}, func(_ *Config, d *Deps) { d.Attester = q })
}

func TestKeysetsAreRenewedBeforeTheirEnd(t *testing.T) {
	inProxy(t, func(b *bench) {
		_, old, _ := b.p.papers.current()
		<-time.After(22 * time.Hour)
		_, same, _ := b.p.papers.current()
		<-time.After(90 * time.Minute) // half an hour before its end
		_, renewed, _ := b.p.papers.current()
		if old != same || renewed == old {
			t.Errorf("%s, %s, %s", old, same, renewed)
		}
	})
}

// TestAKeysetIsOfTheContractThatAReceiptIsFor: what runs when the root's parameters change ends under the old one.
func TestAKeysetIsOfTheContractThatAReceiptIsFor(t *testing.T) {
	inProxy(t, func(b *bench) {
		d := b.p.papers
		digests := make(map[string]bool)
		for _, contract := range []Address{b.p.contract(), address(77), b.p.contract()} {
			raw, digest, err := d.of(contract)
			if err != nil {
				t.Fatal(err)
			}
			set, err := receipt.ParseKeyset(raw)
			if err != nil || set.Subject != receipt.Subject(contract.String()) || set.Digest() != digest {
				t.Errorf("%s: %v, %+v", contract, err, set)
			}
			digests[digest] = true
		}
		if len(digests) != 2 || len(d.keysets) != 2 {
			t.Errorf("%d digests, %d keysets", len(digests), len(d.keysets))
		}
		<-time.After(25 * time.Hour)
		if _, _, err := d.current(); err != nil || len(d.keysets) != 1 {
			t.Errorf("%v, %d keysets, of which the old ones have ended", err, len(d.keysets))
		}
	})
}

// TestWorkersDocumentsAreRenewedBeforeTheirEnd: a connection stands for longer than what was said at its beginning, and a
// receipt always cites a document that is valid.
func TestWorkersDocumentsAreRenewedBeforeTheirEnd(t *testing.T) {
	inProxy(t, func(b *bench) {
		b.worker(5, obeys)
		began := time.Now()
		cited := make(map[string]bool)
		for i, at := range []time.Duration{0, 22 * time.Hour, 23*time.Hour + time.Minute, 25 * time.Hour, 47 * time.Hour} {
			<-time.After(time.Until(began.Add(at)))
			b.p.look()
			c := b.client(5)
			id := byte(i + 1)
			c.send(run(id, stream))
			hear[*tl.ClientQueryAnswerPartEx](c.party)
			c.send(&tl.ClientCancelQuery{RequestID: [32]byte{id}})
			c.collect(id)
			doc, err := b.verify(hear[*tl.ClientQueryReceipt](c.party).Receipt, stream, first)
			if err != nil {
				t.Fatalf("%s later: %v", at, err)
			}
			cited[doc.Verified.SessionID] = true
			c.leave()
		}
		if len(cited) != 3 {
			t.Errorf("%d documents were cited, want one for each 23 hours", len(cited))
		}
	})
}

// TestADocumentSaysWhichKeyItsQuoteSpeaksFor, so that who reads it can compare the two.
func TestADocumentSaysWhichKeyItsQuoteSpeaksFor(t *testing.T) {
	d := newBench(t).p.papers
	for name, peer := range map[string]Peer{
		"v1": {Key: [32]byte{1}, Quote: []byte("quote")},
		"v2": {Key: [32]byte{2}, Quote: []byte("quote"), Claims: cert.Claims{Role: cert.RoleWorker, NetworkID: -217}.Append(nil)},
	} {
		id, err := hex.DecodeString(d.meet(&worker{p: d.p, name: name, peer: peer, spki: spki(peer.Key)}, Root{}))
		if err != nil {
			t.Fatal(err)
		}
		s, err := receipt.ParseSession(d.session([32]byte(id)))
		if err != nil || !bytes.Equal(s.Key, peer.Key[:]) || !bytes.Equal(s.Claims, peer.Claims) || s.SPKI != spki(peer.Key) {
			t.Errorf("%s: %v, %+v", name, err, s)
		}
	}
}

// TestDocumentsOfSessionsAreBounded: the oldest go first.
func TestDocumentsOfSessionsAreBounded(t *testing.T) {
	d := newBench(t).p.papers
	var ids []string
	for i := range maxSessions + 2 {
		w := &worker{p: d.p, name: fmt.Sprint(i), peer: Peer{Quote: []byte(fmt.Sprint(i))}}
		ids = append(ids, d.meet(w, Root{}))
	}
	for i, known := range map[int]bool{0: false, 1: false, 2: true, maxSessions + 1: true} {
		raw, err := hex.DecodeString(ids[i])
		if err != nil || (d.session([32]byte(raw)) != nil) != known {
			t.Errorf("session %d: %v", i, err)
		}
	}
	if len(d.sessions) != maxSessions || len(d.order) != maxSessions {
		t.Errorf("%d documents, %d names", len(d.sessions), len(d.order))
	}
}

func TestUsageOfReferenceWorkersBillsTheSameAgain(t *testing.T) {
	m := pricing.Multipliers{Prompt: 10000, Cached: 1000, Completion: 20000, Reasoning: 30000}
	for _, coefficient := range []int64{1, 333, 960, 1000, 1500, 4000, 999_999_999} {
		for _, tokens := range []pricing.Tokens{{}, {Prompt: 34, Cached: 11, Completion: 100, Reasoning: 10}, {Prompt: 7777, Completion: 1}, {Prompt: 15, Cached: 15}} {
			b := pricing.Bill(tokens, coefficient, m)
			if b.Total() > maxCount {
				continue
			}
			got, lied := counted(4, tokensFor(4, tokens, b), coefficient, m)
			if again := pricing.Bill(got, coefficient, m); again != b || lied {
				t.Errorf("%+v at %d: %+v, then %+v", tokens, coefficient, b, again)
			}
		}
	}
}
