package worker

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cocoon/contracts/promptcrypt"
	"cocoon/contracts/wire/session"
	"cocoon/contracts/wire/tl"
	"cocoon/guest/worker/engine"
	"cocoon/guest/worker/engine/enginetest"
)

// find returns the queries of one kind that a proxy was asked.
func find[T tl.Function](p *proxy) (out []T) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, fn := range p.asked {
		if v, ok := fn.(T); ok {
			out = append(out, v)
		}
	}
	return out
}

func notice[T tl.Object](t *testing.T, p *proxy) T {
	t.Helper()
	for {
		select {
		case o := <-p.notices:
			if v, ok := o.(T); ok {
				return v
			}
		case <-time.After(patience):
			t.Fatal("no notice")
		}
	}
}

// TestHandshake: the worker announces what it is, and the share of a connection is rounded up.
func TestHandshake(t *testing.T) {
	k := newKit(t, func(c *Config, _ *Deps) { c.MaxActive, c.Coefficient = 7, 1500 })
	p := k.connect(5)
	params := find[*tl.WorkerConnectToProxy](p)[0].Params
	var machine map[string]string
	if err := json.Unmarshal([]byte(*params.MachineDescriptionJSON), &machine); err != nil {
		t.Fatal(err)
	}
	if params.Model != testModel || params.Coefficient != 1500 || *params.MaxActiveRequests != 7 || *params.ProxyCnt != 1 || !*params.IsTest ||
		*params.MinProtoVersion != 1 || *params.MaxProtoVersion != 5 || machine["receipt_key"] != fmt.Sprintf("%x", k.key) || machine["engine"] != "fake" {
		t.Errorf("params %+v, %v", params, machine)
	}
	for _, tc := range [][3]int{{60, 1, 60}, {60, 7, 9}, {1, 3, 1}, {10, 5, 2}} {
		if c := (Config{MaxActive: tc[0], ProxyCount: tc[1]}); c.share() != tc[2] {
			t.Errorf("%d over %d: %d", tc[0], tc[1], c.share())
		}
	}
	s := k.w.Status()
	if s.State != "idle" || !s.Ready() || len(s.Proxies) != 1 || s.Proxies[0].Contract != rawContract || s.Proxies[0].Version != 5 {
		t.Errorf("status %+v", s)
	}
}

// TestCompareBalance: numbers that go back are refused; a proxy that says it lost its memory gets the extended step once
// and is then served, and what it had signed is kept.
func TestCompareBalance(t *testing.T) {
	k := newKit(t, nil)
	answers := func(code int32, db int64, data string) func(*proxy) {
		return func(p *proxy) {
			p.compare = &tl.WorkerCompareBalanceWithProxyResult{
				SignedPayment: &tl.ProxySignedPayment{Data: []byte(data)}, TokensCommittedToDB: db, MaxTokens: db, ErrorCode: code,
			}
		}
	}
	leave := func(p *proxy, conn bool) {
		if conn {
			k.until("connected", func() bool { return k.w.Status().Ready() })
		}
		p.send(&tl.ProxyWorkerRequestPayment{SignedPayment: &tl.ProxySignedPaymentEmpty{}, DBTokens: -1}) // ends the connection
		p.wait()
	}
	leave(k.accept(5, answers(0, 100, "first")), true)
	p := k.accept(5, answers(0, 50, "older"))
	p.wait()
	p = k.accept(5, answers(1, 40, "newer"))
	k.until("connected", func() bool { return k.w.Status().Ready() })
	if c := find[*tl.WorkerCompareBalanceWithProxy](p)[0]; c.TokensCommittedToDB != 100 || c.MaxTokens != 100 {
		t.Errorf("compared %+v", c)
	}
	if e := find[*tl.WorkerExtendedCompareBalanceWithProxy](p); len(e) != 1 || e[0].TokensCommittedToDB != 100 || string(e[0].Other) != "first" {
		t.Errorf("extended %+v", e)
	}
	if proof := k.w.proofs.Get(rawContract); proof.DB != 40 || string(proof.Signed) != "first" {
		t.Errorf("kept %+v", proof)
	}
	if a := p.run(1, call{body: chat(false, "x")}); a.code != 0 {
		t.Errorf("not served: %d %s", a.code, a.text)
	}
}

// TestUnsignedComparison: outside of test networks a proxy must sign even nothing.
func TestUnsignedComparison(t *testing.T) {
	k := newKit(t, func(c *Config, _ *Deps) { c.Test = false })
	p := k.accept(5, func(p *proxy) { p.compare.SignedPayment = &tl.ProxySignedPaymentEmpty{} })
	p.wait()
}

// TestProofs: counters only rise, whatever is sent.
func TestProofs(t *testing.T) {
	p := NewProofs()
	empty := &tl.ProxySignedPaymentEmpty{}
	if err := p.Raise("a", &tl.ProxySignedPayment{Data: []byte("x")}, 10, 20); err != nil {
		t.Fatal(err)
	}
	for name, n := range map[string][2]int64{"db back": {9, 20}, "max back": {10, 19}, "negative": {-1, 20}, "smallest": {math.MinInt64, math.MinInt64}} {
		if err := p.Raise("a", empty, n[0], n[1]); !errors.Is(err, errRegress) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := p.Raise("a", empty, math.MaxInt64, math.MaxInt64); err != nil {
		t.Error(err)
	}
	if got := p.Get("a"); string(got.Signed) != "x" || got.DB != math.MaxInt64 || p.Get("b").DB != 0 {
		t.Errorf("%+v", got)
	}
}

// TestPayments: the status is asked for, and one that went back ends the connection.
func TestPayments(t *testing.T) {
	k := newKit(t, func(c *Config, _ *Deps) { c.Times.Payments = 5 * time.Millisecond })
	p := k.accept(5, func(p *proxy) {
		p.status = &tl.WorkerPaymentStatus{SignedPayment: &tl.ProxySignedPaymentEmpty{}, DBTokens: 7}
	})
	k.until("owed", func() bool { s := k.w.Status(); return len(s.Proxies) == 1 && s.Proxies[0].Owed == 7 })
	p.send(&tl.ProxyWorkerRequestPayment{SignedPayment: &tl.ProxySignedPaymentEmpty{}, DBTokens: 9})
	p.wait() // the next status says 7 again
}

// TestAnnouncements: a changed coefficient and a stop reach the proxy, and a bad coefficient nobody.
func TestAnnouncements(t *testing.T) {
	k := newKit(t, nil)
	p := k.connect(5)
	if err := k.w.SetCoefficient(2500); err != nil {
		t.Fatal(err)
	}
	if n := notice[*tl.WorkerNewCoefficient](t, p); n.NewCoefficient != 2500 {
		t.Errorf("%+v", n)
	}
	for _, c := range []int32{-1, coefficientLimit, math.MinInt32, math.MaxInt32} {
		if k.w.SetCoefficient(c) == nil {
			t.Errorf("%d accepted", c)
		}
	}
	k.w.SetEnabled(false)
	for notice[*tl.WorkerEnabledDisabled](t, p).Disabled != 1 {
	}
	if a := p.run(1, call{body: chat(false, "x")}); a.code != int32(session.CodeNotReady) || a.text != "worker is disabled" {
		t.Errorf("%d %s", a.code, a.text)
	}
	if s := k.w.Status(); s.Reason != "stopped by the operator" {
		t.Errorf("%+v", s)
	}
	k.w.SetEnabled(true)
	for notice[*tl.WorkerEnabledDisabled](t, p).Disabled != 0 {
	}
	if a := p.run(2, call{body: chat(false, "x")}); a.code != 0 {
		t.Errorf("%d %s", a.code, a.text)
	}
}

// held is an answer that stops behind its first writes until it may go on.
type held struct {
	http.ResponseWriter
	goOn   <-chan struct{}
	writes int
}

func (h *held) Write(b []byte) (int, error) {
	if h.writes++; h.writes > 2 {
		<-h.goOn
	}
	return h.ResponseWriter.Write(b)
}

func (h *held) Unwrap() http.ResponseWriter { return h.ResponseWriter }

// TestAnEngineThatIsTooBusyForItsHealthCheck: proxies send nothing more, what it has not begun is given back, and a stream
// that goes on goes on.
func TestAnEngineThatIsTooBusyForItsHealthCheck(t *testing.T) {
	t.Parallel()
	fake, release := enginetest.New(), make(chan struct{})
	goOn := sync.OnceFunc(func() { close(release) })
	t.Cleanup(goOn)
	k := newKit(t, func(_ *Config, d *Deps) {
		engines := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fake.ServeHTTP(&held{ResponseWriter: w, goOn: release}, r)
		})
		d.Engine = serveEngine(t, engines, func(c *engine.Config) {
			c.Health.Interval, c.Health.Timeout = engine.Duration(10*time.Millisecond), engine.Duration(500*time.Millisecond)
		})
	})
	p := k.connect(5)
	busy := p.query(1, call{body: chat(true, "fault:good")})
	if head, ok := p.next().(*tl.ProxyQueryAnswerEx); !ok || head.RequestID != busy {
		t.Fatalf("%+v", head)
	}
	fake.SetMute(true)
	for notice[*tl.WorkerEnabledDisabled](t, p).Disabled != 1 {
	}
	goOn()
	var got []byte
	for last := false; !last; {
		part, ok := p.next().(*tl.ProxyQueryAnswerPartEx)
		if !ok {
			t.Fatal("no part")
		}
		got, last = append(got, part.Answer...), part.FinalInfo != nil
	}
	if s, ok := p.next().(*tl.ProxyQueryStatement); !ok || s.Status != 0 || !bytes.HasSuffix(got, []byte("data: [DONE]\n\n")) {
		t.Errorf("%+v, %.300s", s, got)
	}
	fake.SetMute(false)
	for notice[*tl.WorkerEnabledDisabled](t, p).Disabled != 0 {
	}
	waiting := p.query(2, call{body: chat(true, "fault:hang-head")})
	k.until("asked", func() bool { return fake.Active.Load() == 1 })
	fake.SetMute(true)
	if a := p.collect(waiting); a.code != int32(session.CodeError) || a.statement.Status != 4 {
		t.Errorf("%d %s, %+v", a.code, a.text, a.statement)
	}
	fake.SetMute(false)
}

// TestEngineDown: when the engine goes, proxies are told, running requests end with an engine error and their usage, and
// all is well again when it comes back.
func TestEngineDown(t *testing.T) {
	k := newKit(t, nil)
	p := k.connect(5)
	body := strings.Replace(chat(true, "fault:endless"), `"max_tokens":50`, `"max_tokens":4000`, 1)
	id := p.query(1, call{body: body})
	k.until("active", func() bool { return k.engine.Active.Load() == 1 })
	k.engine.SetHealthy(false)
	for notice[*tl.WorkerEnabledDisabled](t, p).Disabled != 1 {
	}
	a := p.collect(id)
	if a.code != 0 && a.code != int32(session.CodeError) || a.statement.Status != 4 {
		t.Errorf("%d %s, %+v", a.code, a.text, a.statement)
	}
	k.checkStatement(id, body, a)
	k.engine.SetHealthy(true)
	for notice[*tl.WorkerEnabledDisabled](t, p).Disabled != 0 {
	}
	if a := p.run(2, call{body: chat(false, "x")}); a.code != 0 {
		t.Errorf("%d %s", a.code, a.text)
	}
	k.until("counted", func() bool { // a query is counted when all of it was sent
		s := k.w.Status()
		return s.Totals.EngineDown == 1 && s.Totals.Failed == 1 && s.Totals.Success == 1
	})
}

// TestReconnect: a lost proxy frees the engine, and the worker comes back, without its description if that was not liked.
func TestReconnect(t *testing.T) {
	k := newKit(t, nil)
	conn := <-k.conns
	_ = conn.Close()
	p := k.accept(5, nil)
	k.until("ready", func() bool { return k.w.Status().Ready() })
	if params := find[*tl.WorkerConnectToProxy](p)[0].Params; params.MachineDescriptionJSON == nil {
		t.Error("no description although nothing was refused")
	}
	p.query(1, call{body: chat(true, "fault:hang-head")})
	k.until("active", func() bool { return k.engine.Active.Load() == 1 })
	p.send(&tl.ProxyQueryCredit{RequestID: idOf(1), Bytes: -5})
	p.wait()
	k.until("slot free", func() bool { return k.engine.Active.Load() == 0 })
	q := k.accept(5, nil)
	k.until("ready", func() bool { return k.w.Status().Ready() })
	if a := q.run(2, call{body: chat(false, "x")}); a.code != 0 {
		t.Errorf("%d %s", a.code, a.text)
	}
}

// refuser answers the first query with an error, like a proxy that does not know a field.
type refuser struct{ *proxy }

func (refuser) Query(context.Context, tl.Function) (tl.Object, error) {
	return nil, &session.QueryError{Code: session.CodeParse, Message: "unknown flag"}
}

// TestOldProxyWithoutDescription: a proxy that does not parse the description is tried without it.
func TestOldProxyWithoutDescription(t *testing.T) {
	k := newKit(t, nil)
	first := &proxy{t: t, ended: make(chan error, 1)}
	first.sess = session.New(<-k.conns, session.Options{}, refuser{first})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { first.ended <- first.sess.Run(ctx) }()
	first.wait()
	p := k.accept(2, nil)
	k.until("ready", func() bool { return k.w.Status().Ready() })
	if find[*tl.WorkerConnectToProxy](p)[0].Params.MachineDescriptionJSON != nil {
		t.Error("the description again")
	}
}

// TestSeveralProxies: no address is used twice at once.
func TestSeveralProxies(t *testing.T) {
	dialled := make(chan string, 16)
	k := newKit(t, func(c *Config, d *Deps) {
		c.ProxyCount = 3
		d.Proxies = func() []string { return []string{"a", "b", "c", "d"} }
		dial := d.Dial
		d.Dial = func(ctx context.Context, address string) (net.Conn, Peer, error) {
			dialled <- address
			return dial(ctx, address)
		}
	})
	var proxies []*proxy
	for range 3 {
		proxies = append(proxies, k.accept(5, nil))
	}
	k.until("all ready", func() bool {
		s := k.w.Status()
		return s.Engine && len(s.Proxies) == 3 && !slices.ContainsFunc(s.Proxies, func(p ProxyStatus) bool { return !p.Ready })
	})
	seen := map[string]bool{<-dialled: true, <-dialled: true, <-dialled: true}
	if len(seen) != 3 {
		t.Errorf("dialled %v", seen)
	}
	for i, p := range proxies { // the share of each is ceil(8/3)
		if a := p.run(uint32(i), call{body: chat(false, "x")}); a.code != 0 {
			t.Errorf("%d: %s", i, a.text)
		}
	}
}

// TestNotEligible: a worker whose image is not listed waits, says so, and dials nobody.
func TestNotEligible(t *testing.T) {
	k := newKit(t, func(_ *Config, d *Deps) {
		d.Eligible = func() error { return errors.New("image hash 00 not in the root contract") }
	})
	k.until("says so", func() bool {
		s := k.w.Status()
		return s.State == "not eligible" && strings.Contains(s.Reason, "image hash")
	})
	if len(k.conns) != 0 {
		t.Error("dialled")
	}
}

// TestUntrustedProxy: a proxy whose image is not listed gets nothing, not even a frame.
func TestUntrustedProxy(t *testing.T) {
	k := newKit(t, func(_ *Config, d *Deps) { d.CheckPeer = func(Peer) error { return errors.New("not listed") } })
	conn := <-k.conns
	if n, err := conn.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Errorf("%d bytes, %v", n, err)
	}
}

// TestEarlyQuery: a query before the handshake is complete ends the connection.
func TestEarlyQuery(t *testing.T) {
	k := newKit(t, nil)
	block := make(chan struct{})
	p := &proxy{t: t, ended: make(chan error, 1), packets: make(chan tl.Object, 16)}
	p.sess = session.New(<-k.conns, session.Options{}, blocked{p, block})
	go func() { p.ended <- p.sess.Run(t.Context()) }()
	<-p.sess.Ready()
	p.query(1, call{body: chat(false, "x")})
	select {
	case <-p.sess.Done():
	case <-time.After(patience):
		t.Error("still connected")
	}
	close(block)
	p.wait()
}

// blocked never answers.
type blocked struct {
	*proxy
	until chan struct{}
}

func (b blocked) Query(context.Context, tl.Function) (tl.Object, error) {
	<-b.until
	return nil, errors.New("over")
}

// TestQueriesToTheWorker: a change of the model is refused, an unknown function answered at once.
func TestQueriesToTheWorker(t *testing.T) {
	k := newKit(t, nil)
	p := k.connect(5)
	for name, tc := range map[string]struct {
		fn   tl.Function
		code session.Code
	}{
		"change model": {&tl.WorkerChangeModel{NewModel: "x"}, session.CodeError},
		"another":      {&tl.ClientGetWorkerTypesV2{}, session.CodeProtocol},
	} {
		_, err := p.sess.Query(t.Context(), tc.fn)
		if e, ok := errors.AsType[*session.QueryError](err); !ok || e.Code != tc.code {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestEncrypted: prompt and answer are encrypted on the wire, streaming or not; key and mark go together.
func TestEncrypted(t *testing.T) {
	k := newKit(t, nil)
	p := k.connect(5)
	client, worker := [32]byte{1}, [32]byte{2}
	for i, stream := range []bool{true, false} {
		sealed, talk, err := promptcrypt.SealRequest([]byte(chat(stream, "secret")), client, promptcrypt.Public(worker), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		a := p.run(uint32(i), call{body: string(sealed), key: &worker})
		if a.code != 0 || a.head.StatusCode != http.StatusOK || bytes.Contains(a.body, []byte(`"content":"a`)) {
			t.Fatalf("%d %s, %s", a.code, a.text, a.body)
		}
		k.checkStatement(idOf(uint32(i)), string(sealed), a) // over the bytes on the wire
		docs := [][]byte{a.body}
		if stream {
			docs = nil
			for event := range strings.SplitSeq(string(a.body), "\n\n") {
				if data, ok := strings.CutPrefix(event, "data: "); ok && data != "[DONE]" {
					docs = append(docs, []byte(data))
				}
			}
		}
		var text []byte
		for _, doc := range docs {
			open, err := talk.OpenAnswer(doc)
			if err != nil {
				t.Fatal(err)
			}
			text = append(text, open...)
		}
		if !bytes.Contains(text, []byte(`"content":"a`)) || !bytes.Contains(k.engine.LastBody(), []byte(canary)) {
			t.Errorf("opened %s", text)
		}
	}
	sealed, _, err := promptcrypt.SealRequest([]byte(chat(false, "x")), client, promptcrypt.Public(worker), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		c    call
		code session.Code
	}{
		"a key without encryption": {call{body: chat(false, "x"), key: &worker}, session.CodeError},
		"encryption without a key": {call{body: string(sealed)}, session.CodeError},
		"another's key":            {call{body: string(sealed), key: &client}, session.CodeError},
		"a short string":           {call{body: strings.Replace(string(sealed), `"stream":false`, `"stop":"ab"`, 1), key: &worker}, session.CodeProtocol},
	} {
		if a := p.run(100, tc.c); a.code != int32(tc.code) || a.final.TokensUsed != (tl.TokensUsed{}) {
			t.Errorf("%s: %d %s", name, a.code, a.text)
		}
	}
}

// TestRawAddress: both forms of an address name the same contract; damaged ones are refused.
func TestRawAddress(t *testing.T) {
	for _, text := range []string{proxyContract, rawContract, strings.ToUpper(rawContract), strings.NewReplacer("-", "+", "_", "/").Replace(proxyContract)} {
		if got, err := rawAddress(text); err != nil || got != rawContract {
			t.Errorf("%s: %s, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "x", proxyContract[1:], "0:ab", "900:" + rawContract[2:], strings.Replace(proxyContract, "n", "m", 1), proxyContract + "AAAA"} {
		if got, err := rawAddress(text); err == nil {
			t.Errorf("%s: %s", text, got)
		}
	}
}

// TestBackoff: pauses double up to a minute, with jitter around them.
func TestBackoff(t *testing.T) {
	for failures, want := range map[int]time.Duration{0: time.Second, 1: time.Second, 2: 2 * time.Second, 5: 16 * time.Second, 100: time.Minute} {
		for range 100 {
			if d := backoff(firstRetry, failures); d < want/2 || d > 3*want/2 {
				t.Fatalf("%d failures: %s", failures, d)
			}
		}
	}
}

// TestParseCoefficient: decimals are exact.
func TestParseCoefficient(t *testing.T) {
	for text, want := range map[string]int32{"1": 1000, "1.5": 1500, "0": 0, "0.001": 1, "999999.999": 999999999, "2.050": 2050} {
		if got, err := ParseCoefficient(text); err != nil || got != want {
			t.Errorf("%s: %d, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "-1", "1.", ".5", "1.5555", "1e3", "1000000", "+1", "1,5", "0x1", "NaN", "1.-5"} {
		if got, err := ParseCoefficient(text); err == nil {
			t.Errorf("%s: %d", text, got)
		}
	}
}

// TestNewRefuses: each broken rule and each missing part is named.
func TestNewRefuses(t *testing.T) {
	err := (&Config{Coefficient: -1, MaxActive: -1, ProxyCount: 100, MinVersion: 3, MaxVersion: 9}).Validate()
	for _, word := range []string{"owner", "model", "coefficient", "max_active_requests", "proxy_connections", "versions"} {
		if err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%s is not named: %v", word, err)
		}
	}
	if _, err := New(Config{Owner: "o", Model: "m@c:r"}, Deps{}); err == nil || !strings.Contains(err.Error(), "engine") {
		t.Errorf("%v", err)
	}
}

// alone is a worker with an engine and without a network.
func alone(tb testing.TB) *Worker {
	tb.Helper()
	w, err := New(Config{Owner: "o", Model: testModel, Coefficient: 1}, Deps{
		Engine: serveEngine(tb, nil, nil), Proxies: func() []string { return nil }, CheckPeer: func(Peer) error { return nil },
		Dial:   func(context.Context, string) (net.Conn, Peer, error) { return nil, Peer{}, errors.New("no network") },
		Prices: func() Prices { return Plain(1) }, ReceiptKey: make([]byte, 64), Now: time.Now,
	})
	if err != nil {
		tb.Fatal(err)
	}
	return w
}

// FuzzEnvelope: whatever http.request a proxy sends, the worker answers or refuses it, and what reaches the engine keeps
// to the bounds.
func FuzzEnvelope(f *testing.F) {
	w := alone(f)
	for _, body := range []string{
		chat(true, "x"), chat(false, "x"), `{}`, `{"model":"test/model","prompt":"x","n":8,"max_tokens":2147483647}`,
		`{"model":"test/model","cache_salt":5,"messages":[]}`, `{"model":"test/model","input":"x"}`, `[`, "\xff",
	} {
		for _, path := range []string{"/v1/chat/completions", "/v1/completions", "/v1/responses"} {
			f.Add(tl.Encode(&tl.HTTPRequest{Method: "POST", URL: path, Payload: []byte(body)}), false)
		}
	}
	f.Fuzz(func(t *testing.T, raw []byte, keyed bool) {
		r, name, err := envelope(raw, idOf(1))
		if err != nil {
			return
		}
		var key *[32]byte
		if keyed {
			key = &[32]byte{1}
		}
		p, err := w.prepare(r, key, name, new(desk))
		if err != nil {
			return
		}
		var doc struct {
			Model string `json:"model"`
			Max   int64  `json:"max_tokens"`
			N     int64  `json:"n"`
		}
		body := bytes.Join(p.body, nil)
		if err := json.Unmarshal(body, &doc); err != nil || doc.Model != "model" || doc.Max < 0 || doc.Max*max(doc.N, 1) > p.maxTokens {
			t.Fatalf("%s: %+v, %v, bound %d", body, doc, err, p.maxTokens)
		}
	})
}

// BenchmarkPrepare is what a request costs between its arrival and the engine, by the size of its prompt.
func BenchmarkPrepare(b *testing.B) {
	w := alone(b)
	salt := base64.RawURLEncoding.EncodeToString(make([]byte, saltSize))
	for _, size := range []int{1 << 10, 64 << 10} {
		body := `{"model":"test/model","messages":[{"role":"user","content":"` + strings.Repeat("A few words. ", size/13) +
			`"}],"temperature":0.5,"stream":true,"stream_options":{"include_usage":true},"cache_salt":"` + salt + `"}`
		raw := tl.Encode(&tl.HTTPRequest{
			Method: "POST", URL: "/v1/chat/completions", HTTPVersion: "HTTP/1.1", Payload: []byte(body),
			Headers: []tl.HTTPHeader{{Name: "Content-Type", Value: "application/json"}, {Name: requestIDHeader, Value: strings.Repeat("0a", 32)}},
		})
		b.Run(fmt.Sprintf("%dKiB", size>>10), func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				r, name, err := envelope(raw, idOf(1))
				if err != nil {
					b.Fatal(err)
				}
				if _, err := w.prepare(r, nil, name, new(desk)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
