package worker

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"cocoon/contracts/pricing"
	"cocoon/contracts/receipt"
	"cocoon/contracts/wire/session"
	"cocoon/contracts/wire/tl"
	"cocoon/guest/worker/engine"
	"cocoon/guest/worker/engine/enginetest"
	"cocoon/tests/logbook"
)

// patience bounds every wait of these tests.
const patience = time.Minute

const (
	testModel = "test/model@commit:root"
	// proxyContract and workerContract are two valid addresses; rawContract is the raw form of the latter.
	proxyContract  = "EQCns7bYSp0igFvS1wpb5wsZjCKCV19MD5AVzI4EyxsnU73k"
	workerContract = "EQCns7bYSp0igFvS1wpb5wsZjCKCV19MD5AVzI4EyxsnU73k"
	rawContract    = "0:a7b3b6d84a9d22805bd2d70a5be70b198c2282575f4c0f9015cc8e04cb1b2753"
	// canary is what must never be seen outside of requests and answers.
	canary = "canary-7f3a"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// kit is a worker between a fake engine and a scripted proxy.
type kit struct {
	t      testing.TB
	w      *Worker
	engine *enginetest.Engine
	conns  chan net.Conn
	log    *logbook.Book
	key    ed25519.PublicKey
	stop   func()
}

// newKit starts a worker. tweak may change what it is made of.
func newKit(tb testing.TB, tweak func(*Config, *Deps)) *kit {
	tb.Helper()
	fake := enginetest.New()
	adapter := serveEngine(tb, fake, nil)
	seed := [ed25519.SeedSize]byte{1}
	key := ed25519.NewKeyFromSeed(seed[:])
	k := &kit{t: tb, engine: fake, conns: make(chan net.Conn, 16), log: new(logbook.Book)}
	k.key, _ = key.Public().(ed25519.PublicKey)
	cfg := Config{Owner: proxyContract, Model: testModel, Coefficient: 1000, MaxActive: 8, ProxyCount: 1, Test: true}
	deps := Deps{
		Engine: adapter, Proxies: func() []string { return []string{"proxy:1"} }, CheckPeer: func(Peer) error { return nil },
		Dial: func(ctx context.Context, _ string) (net.Conn, Peer, error) {
			here, there := net.Pipe()
			select {
			case k.conns <- there:
				return here, Peer{}, nil
			case <-ctx.Done():
				return nil, Peer{}, ctx.Err()
			}
		},
		Prices: func() Prices { return Plain(20) }, ReceiptKey: key, KeyID: "key-1", Now: time.Now,
		Log: slog.New(slog.NewTextHandler(k.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	cfg.Times.Retry = 10 * time.Millisecond
	if tweak != nil {
		tweak(&cfg, &deps)
	}
	var err error
	if k.w, err = New(cfg, deps); err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(tb.Context())
	done := make(chan error, 1)
	go func() { done <- k.w.Run(ctx) }()
	k.stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				tb.Errorf("running worker: %v", err)
			}
		case <-time.After(patience):
			tb.Error("the worker does not end")
		}
		if text := k.log.String(); strings.Contains(text, canary) {
			tb.Errorf("a prompt is in the log:\n%s", text)
		}
	})
	tb.Cleanup(k.stop)
	return k
}

// serveEngine puts a fake engine behind a socket and an adapter before it.
func serveEngine(tb testing.TB, h http.Handler, tweak func(*engine.Config)) *engine.Adapter {
	tb.Helper()
	socket := filepath.Join(tb.TempDir(), "e.sock")
	l, err := new(net.ListenConfig).Listen(tb.Context(), "unix", socket)
	if err != nil {
		tb.Fatal(err)
	}
	server := &http.Server{Handler: h, ReadHeaderTimeout: patience, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0)}
	served := make(chan struct{})
	go func() { defer close(served); _ = server.Serve(l) }()
	cfg, err := engine.Builtin(engine.Fake)
	if err != nil {
		tb.Fatal(err)
	}
	cfg.Listen = "unix:" + socket
	if tweak != nil {
		tweak(cfg)
	}
	a, err := engine.New(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { a.Close(); _ = server.Close(); <-served })
	return a
}

// proxy is the other side of one connection.
type proxy struct {
	t       testing.TB
	sess    *session.Session
	packets chan tl.Object
	// notices are the packets that belong to no query.
	notices chan tl.Object
	// version is what it picks; compare what it answers in the compare step.
	version int32
	compare *tl.WorkerCompareBalanceWithProxyResult
	status  *tl.WorkerPaymentStatus
	// hear, where it is set, takes the packets in place of the channels.
	hear func(o tl.Object)

	mu    sync.Mutex
	asked []tl.Function
	ended chan error
}

// accept takes the worker's next connection.
func (k *kit) accept(version int32, tweak func(*proxy)) *proxy {
	k.t.Helper()
	p := &proxy{
		t: k.t, packets: make(chan tl.Object, 4096), notices: make(chan tl.Object, 64), version: version, ended: make(chan error, 1),
		compare: &tl.WorkerCompareBalanceWithProxyResult{SignedPayment: &tl.ProxySignedPayment{Data: []byte("signed")}},
		status:  &tl.WorkerPaymentStatus{SignedPayment: &tl.ProxySignedPaymentEmpty{}},
	}
	if tweak != nil {
		tweak(p)
	}
	select {
	case conn := <-k.conns:
		p.sess = session.New(conn, session.Options{}, p)
	case <-time.After(patience):
		k.t.Fatal("the worker does not connect")
	}
	ctx, cancel := context.WithCancel(k.t.Context())
	go func() { p.ended <- p.sess.Run(ctx) }()
	k.t.Cleanup(func() { cancel(); <-p.sess.Done() })
	return p
}

// connect takes a connection and waits until the worker may be asked.
func (k *kit) connect(version int32) *proxy {
	k.t.Helper()
	p := k.accept(version, nil)
	k.until("ready", func() bool { return k.w.Status().Reason == "" })
	return p
}

// until waits for a condition.
func (k *kit) until(what string, ok func() bool) {
	k.t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline:
			k.t.Fatalf("never: %s; %+v\n%s", what, k.w.Status(), k.log)
		case <-tick.C:
		}
	}
}

// Query plays the proxy's part of the handshake.
func (p *proxy) Query(_ context.Context, fn tl.Function) (tl.Object, error) {
	p.mu.Lock()
	p.asked = append(p.asked, fn)
	p.mu.Unlock()
	switch fn.(type) {
	case *tl.WorkerConnectToProxy:
		params := tl.ProxyParams{ProxySCAddress: proxyContract, IsTest: new(true), ProtoVersion: new(p.version)}
		if p.version == 0 {
			params.ProtoVersion = nil
		}
		return &tl.WorkerConnectedToProxy{Params: params, WorkerSCAddress: workerContract}, nil
	case *tl.WorkerCompareBalanceWithProxy:
		return p.compare, nil
	case *tl.WorkerExtendedCompareBalanceWithProxy:
		return &tl.WorkerExtendedCompareBalanceWithProxyResult{}, nil
	case *tl.WorkerProxyHandshakeComplete:
		return &tl.WorkerProxyHandshakeCompleted{}, nil
	case *tl.WorkerUpdatePaymentStatus:
		return p.status, nil
	}
	return nil, &session.QueryError{Code: session.CodeProtocol, Message: "unexpected"}
}

// Packet collects what the worker sends.
func (p *proxy) Packet(ctx context.Context, o tl.Object) error {
	if p.hear != nil {
		p.hear(o)
		return nil
	}
	to := p.packets
	switch o.(type) {
	case *tl.WorkerEnabledDisabled, *tl.WorkerNewCoefficient:
		to = p.notices
	}
	select {
	case to <- o:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *proxy) next() tl.Object {
	p.t.Helper()
	select {
	case o := <-p.packets:
		return o
	case <-time.After(patience):
		p.t.Fatal("nothing comes from the worker")
		return nil
	}
}

// wait returns when the session has ended.
func (p *proxy) wait() {
	p.t.Helper()
	select {
	case err := <-p.ended:
		if err == nil {
			p.t.Error("the session ended for no reason")
		}
	case <-time.After(patience):
		p.t.Fatal("the worker is still connected")
	}
}

func (p *proxy) send(o tl.Object) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), patience)
	defer cancel()
	if err := p.sess.Send(ctx, o); err != nil {
		p.t.Fatal(err)
	}
}

// call is one query of the scripted proxy.
type call struct {
	path, body  string
	timeout     float64
	coefficient int64
	key         *[32]byte
	headers     []tl.HTTPHeader
	raw         []byte
	// contentType is JSON's when empty.
	contentType string
}

func idOf(n uint32) (id [32]byte) {
	binary.BigEndian.PutUint32(id[:], n)
	id[31] = 7
	return id
}

func chat(stream bool, text string) string {
	return fmt.Sprintf(`{"model":"test/model","stream":%v,"max_tokens":50,"messages":[{"role":"user","content":%q}]}`, stream, canary+" "+text)
}

// query sends a query and returns its id.
func (p *proxy) query(n uint32, c call) [32]byte {
	p.t.Helper()
	if c.path == "" {
		c.path = "/v1/chat/completions"
	}
	if c.timeout == 0 {
		c.timeout = patience.Seconds()
	}
	if c.coefficient == 0 {
		c.coefficient = 1000
	}
	raw := c.raw
	if raw == nil {
		raw = tl.Encode(&tl.HTTPRequest{
			Method: "POST", URL: c.path, HTTPVersion: "HTTP/1.1", Payload: []byte(c.body),
			Headers: append([]tl.HTTPHeader{{Name: "Content-Type", Value: cmp.Or(c.contentType, "application/json")}}, c.headers...),
		})
	}
	id := idOf(n)
	p.send(&tl.ProxyRunQueryEx{
		Query: raw, SignedPayment: &tl.ProxySignedPaymentEmpty{}, Coefficient: c.coefficient, Timeout: c.timeout, RequestID: id,
		EnableDebug: new(true), PrivateKey: c.key,
	})
	return id
}

// answer is what came back for one query.
type answer struct {
	head      *tl.HTTPResponse
	body      []byte
	parts     int
	final     *tl.ProxyQueryFinalInfo
	code      int32
	text      string
	statement *tl.ProxyQueryStatement
}

// collect reads the whole answer to a query, and its statement at our version. Credit is given back for each part.
func (p *proxy) collect(id [32]byte) answer {
	p.t.Helper()
	var a answer
	for a.final == nil {
		switch o := p.next().(type) {
		case *tl.ProxyQueryAnswerEx:
			v, err := tl.Parse(o.Answer)
			head, ok := v.(*tl.HTTPResponse)
			if err != nil || !ok || o.RequestID != id || a.head != nil {
				p.t.Fatalf("head %v, %v", v, err)
			}
			a.head, a.body, a.final = head, append(a.body, head.Payload...), o.FinalInfo
		case *tl.ProxyQueryAnswerPartEx:
			if o.RequestID != id || a.head == nil || len(o.Answer) > session.MaxPart {
				p.t.Fatalf("part of %d bytes", len(o.Answer))
			}
			a.body, a.final = append(a.body, o.Answer...), o.FinalInfo
			a.parts++
			if p.version >= versionOurs && len(o.Answer) > 0 && o.FinalInfo == nil {
				p.send(&tl.ProxyQueryCredit{RequestID: id, Bytes: int32(len(o.Answer))})
			}
		case *tl.ProxyQueryAnswerErrorEx:
			a.code, a.text, a.final = o.ErrorCode, o.Error, o.FinalInfo
			if a.final == nil {
				p.t.Fatal("an error without counts")
			}
		default:
			p.t.Fatalf("unexpected %s", o.TLName())
		}
	}
	if p.version >= versionOurs {
		var ok bool
		if a.statement, ok = p.next().(*tl.ProxyQueryStatement); !ok {
			p.t.Fatal("no statement behind the answer")
		}
	}
	return a
}

// run asks and collects.
func (p *proxy) run(n uint32, c call) answer {
	p.t.Helper()
	return p.collect(p.query(n, c))
}

// checkStatement rebuilds what the worker signed.
func (k *kit) checkStatement(id [32]byte, body string, a answer) {
	k.t.Helper()
	u := a.final.TokensUsed
	statuses := []receipt.Status{receipt.Complete, receipt.Cancelled, receipt.Deadline, receipt.WorkerLost, receipt.EngineError, receipt.Refused}
	signed := receipt.WorkerStatement{
		RequestID: fmt.Sprintf("%x", id), RequestHash: receipt.SHA256([]byte(body)), ResponseHash: receipt.SHA256(a.body),
		Status: statuses[a.statement.Status], ServedAt: a.statement.ServedAt, WorkerSC: rawContract,
		Tokens: pricing.Tokens{Prompt: u.PromptTokensUsed, Cached: u.CachedTokensUsed, Completion: u.CompletionTokensUsed, Reasoning: u.ReasoningTokensUsed},
	}
	if !ed25519.Verify(k.key, signed.Bytes(), a.statement.Signature) || a.statement.ResponseHash != sha256.Sum256(a.body) || a.statement.KeyID != "key-1" {
		k.t.Errorf("the statement does not fit the answer: status %d, body of %d bytes", a.statement.Status, len(a.body))
	}
}
