package proxy

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"cocoon/contracts/receipt"
	"cocoon/contracts/wire/session"
	"cocoon/contracts/wire/tl"
	"cocoon/guest/proxy/ledger"
	"cocoon/tests/logbook"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	model    = "demo/model@0123456789abcdef0123456789abcdef01234567:f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6"
	canary   = "c4n4ry-of-a-prompt"
	messages = `[{"role":"user","content":"` + canary + `"}]`
	chat     = `{"model":"demo/model","messages":` + messages + `,"max_tokens":50,"user":"alice"}`
	stream   = `{"model":"demo/model","messages":` + messages + `,"max_tokens":50,"stream":true}`
	answer   = `{"id":"chatcmpl-1","object":"chat.completion","choices":[{"index":0,"message":{"content":"` + canary + `"},"finish_reason":"stop"}]}`
	first    = "data: {\"id\":\"chatcmpl-1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n\n"
	second   = "data: {\"id\":\"chatcmpl-1\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n"
	done     = "data: [DONE]\n\n"
)

func seeded(n byte) ed25519.PrivateKey { return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, 32)) }

func address(n byte) Address { return Address{Hash: [32]byte(bytes.Repeat([]byte{n}, 32))} }

// chainStub is a Pseudo whose answers a test changes.
type chainStub struct {
	*Pseudo
	mu       sync.Mutex
	root     func(*Root) error
	account  func(*Account)
	funds    ledger.Funds
	register error
	// registered is how long a registration takes to be seen.
	registered time.Duration
}

func (c *chainStub) set(change func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change()
}

func (c *chainStub) Root() (Root, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r, _ := c.Pseudo.Root()
	if c.root != nil {
		return r, c.root(&r)
	}
	return r, nil
}

func (c *chainStub) Client(ctx context.Context, owner Address) (Account, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	a, err := c.Pseudo.Client(ctx, owner)
	if c.account != nil {
		c.account(&a)
	}
	return a, err
}

func (c *chainStub) Registered(ctx context.Context, _ Address, _ int64) error {
	c.mu.Lock()
	err, after := c.register, time.After(c.registered)
	c.mu.Unlock()
	select {
	case <-after:
	case <-ctx.Done():
		return ctx.Err()
	}
	if errors.Is(err, context.DeadlineExceeded) {
		<-ctx.Done()
		return ctx.Err()
	}
	return err
}

func (c *chainStub) fundsOf(string) ledger.Funds {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.funds
}

// bench is a proxy with its surroundings.
type bench struct {
	t      testing.TB
	p      *Proxy
	chain  *chainStub
	ledger *ledger.Memory
	logs   *logbook.Book
	ctx    context.Context
	served sync.WaitGroup
	ends   chan error
}

type option func(*Config, *Deps)

// inProxy runs a test against a proxy in a bubble of its own time.
func inProxy(t *testing.T, test func(b *bench), options ...option) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, options...)
		ctx, cancel := context.WithCancel(t.Context())
		b.ctx = ctx
		test(b)
		cancel()
		b.served.Wait()
		if strings.Contains(b.logs.String(), canary) {
			t.Error("a prompt or an answer is in the log")
		}
		var page bytes.Buffer
		b.p.metrics.Write(&page)
		if strings.Contains(page.String(), canary) {
			t.Error("a prompt or an answer is in the metrics")
		}
		if strings.Contains(b.logs.String(), "panic") {
			t.Errorf("something panicked: %s", b.logs)
		}
	})
}

func newBench(tb testing.TB, options ...option) *bench {
	tb.Helper()
	owner := address(1)
	b := &bench{t: tb, logs: new(logbook.Book), ends: make(chan error, 64)}
	b.chain = &chainStub{Pseudo: &Pseudo{Owner: owner}, funds: (&Pseudo{}).Funds("")}
	var err error
	b.ledger, err = ledger.NewMemory(ledger.Config{Funds: b.chain.fundsOf, Signer: ledger.Keyed{Key: seeded(2)}})
	if err != nil {
		tb.Fatal(err)
	}
	cfg := Config{Owner: owner, Contract: address(0xa1), Test: true}
	public, _ := seeded(2).Public().(ed25519.PublicKey)
	deps := Deps{
		Chain: b.chain, Ledger: b.ledger, PaymentKey: public, ReceiptKey: seeded(3), Now: time.Now, Tick: b.ledger,
		Log:     slog.New(slog.NewTextHandler(b.logs, &slog.HandlerOptions{Level: slog.LevelDebug})),
		TLSKeys: func() [][32]byte { return [][32]byte{{9}} },
	}
	for _, o := range options {
		o(&cfg, &deps)
	}
	if b.p, err = New(cfg, deps); err != nil {
		tb.Fatal(err)
	}
	return b
}

// party is a scripted peer: what it hears is kept in order.
type party struct {
	b     *bench
	sess  *session.Session
	heard chan tl.Object
	act   func(m tl.Object)
}

func (p *party) Query(context.Context, tl.Function) (tl.Object, error) {
	p.b.t.Error("the proxy queries its peer")
	return nil, &session.QueryError{Code: session.CodeProtocol}
}

func (p *party) Packet(_ context.Context, m tl.Object) error {
	if p.act != nil {
		p.act(m)
	}
	p.heard <- m
	return nil
}

// hear waits for the next message of a type.
func hear[T tl.Object](p *party) T {
	p.b.t.Helper()
	timeout := time.NewTimer(10 * time.Minute)
	defer timeout.Stop()
	for {
		select {
		case m := <-p.heard:
			if want, ok := m.(T); ok {
				return want
			}
		case <-timeout.C:
			var zero T
			p.b.t.Fatalf("no %T came", zero)
		}
	}
}

func (p *party) send(m tl.Object) {
	p.b.t.Helper()
	if err := p.sess.Send(p.b.ctx, m); err != nil {
		p.b.t.Errorf("sending %s: %v", m.TLName(), err)
	}
}

func (p *party) ask(fn tl.Function) (tl.Object, error) {
	ctx, cancel := context.WithTimeout(p.b.ctx, 10*time.Minute)
	defer cancel()
	return p.sess.Query(ctx, fn)
}

// mustAsk asks what has to be answered.
func mustAsk[T tl.Object](p *party, fn tl.Function) T {
	p.b.t.Helper()
	out, err := p.ask(fn)
	if err != nil {
		p.b.t.Fatalf("%s: %v", fn.TLName(), err)
	}
	v, ok := out.(T)
	if !ok {
		p.b.t.Fatalf("%s is answered with %s", fn.TLName(), out.TLName())
	}
	return v
}

func (b *bench) join(serve func(context.Context, net.Conn, Peer) error, peer Peer) (*party, context.CancelFunc) {
	near, far := net.Pipe()
	p := &party{b: b, heard: make(chan tl.Object, 4096)}
	p.sess = session.New(near, session.Options{Dialer: true}, p)
	ctx, leave := context.WithCancel(b.ctx)
	b.served.Go(func() { b.ends <- serve(b.ctx, far, peer) })
	b.served.Go(func() { _ = p.sess.Run(ctx) })
	<-p.sess.Ready()
	return p, leave
}

// scriptClient is a client that has shaken hands at a version.
type scriptClient struct {
	*party
	leave   context.CancelFunc
	version int32
}

func clientParams(owner Address, low, high int32) tl.ClientParams {
	return tl.ClientParams{ClientOwnerAddress: owner.Friendly(false), IsTest: new(true), MinProtoVersion: new(low), MaxProtoVersion: new(high)}
}

func (b *bench) client(version int32) *scriptClient {
	b.t.Helper()
	p, leave := b.join(b.p.ServeClient, Peer{Key: [32]byte{7}})
	c := mustAsk[*tl.ClientConnectedToProxy](p, &tl.ClientConnectToProxy{Params: clientParams(address(4), 0, version), MinConfigVersion: 1})
	if *c.Params.ProtoVersion != version {
		b.t.Fatalf("version %d, offered was %d", *c.Params.ProtoVersion, version)
	}
	if _, ok := c.Auth.(*tl.ClientProxyConnectionAuthShort); !ok {
		b.t.Fatalf("a known client is offered %s", c.Auth.TLName())
	}
	mustAsk[*tl.ClientAuthorizationWithProxySuccess](p, &tl.ClientAuthorizeWithProxyShort{})
	return &scriptClient{party: p, leave: leave, version: version}
}

func query(path, body string) []byte {
	return tl.Encode(&tl.HTTPRequest{Method: "POST", URL: path, HTTPVersion: "HTTP/1.1", Headers: []tl.HTTPHeader{{Name: "Content-Type", Value: "application/json"}}, Payload: []byte(body)})
}

func run(id byte, body string) *tl.ClientRunQueryEx {
	return &tl.ClientRunQueryEx{
		ModelName: "demo/model", Query: query("/v1/chat/completions", body), MaxCoefficient: 4000, MaxTokens: 100, Timeout: 60,
		RequestID: [32]byte{id}, MinConfigVersion: 1,
	}
}

// reply is an answer as a client collects it, whatever the forms.
type reply struct {
	head   *tl.HTTPResponse
	body   string
	parts  int
	code   int32
	text   string
	tokens tl.TokensUsed
	info   *tl.ClientQueryFinalInfo
}

// collect reads until the request's last message. It returns credit as it reads.
func (c *scriptClient) collect(id byte) reply {
	c.b.t.Helper()
	var r reply
	head := func(raw []byte) {
		v, err := tl.Parse(raw)
		h, ok := v.(*tl.HTTPResponse)
		if err != nil || !ok || r.head != nil {
			c.b.t.Fatalf("no head, or a second one: %v %v", v, err)
		}
		r.head, r.body = h, string(h.Payload)
	}
	for {
		m := hear[tl.Object](c.party)
		if name := m.TLName(); strings.HasPrefix(name, "client.queryAnswer") && strings.HasSuffix(name, "Ex") != (c.version >= versionEx) {
			c.b.t.Fatalf("%s at version %d", name, c.version)
		}
		switch m := m.(type) {
		case *tl.ClientQueryAnswerEx:
			if m.RequestID[0] != id {
				continue
			}
			head(m.Answer)
			if m.FinalInfo == nil && r.body != "" {
				c.b.t.Fatal("a head with a part of the body")
			}
			if m.FinalInfo != nil {
				r.info, r.tokens = m.FinalInfo, m.FinalInfo.TokensUsed
				return r
			}
		case *tl.ClientQueryAnswerPartEx:
			if m.RequestID[0] != id {
				continue
			}
			r.body += string(m.Answer)
			r.parts++
			if c.version >= versionOurs && len(m.Answer) > 0 {
				c.send(&tl.ClientQueryCredit{RequestID: m.RequestID, Bytes: int32(len(m.Answer))})
			}
			if m.FinalInfo != nil {
				r.info, r.tokens = m.FinalInfo, m.FinalInfo.TokensUsed
				return r
			}
		case *tl.ClientQueryAnswerErrorEx:
			if m.RequestID[0] != id {
				continue
			}
			if m.FinalInfo == nil {
				c.b.t.Fatal("an error without final_info")
			}
			r.code, r.text, r.tokens, r.info = m.ErrorCode, m.Error, m.FinalInfo.TokensUsed, m.FinalInfo
			return r
		case *tl.ClientQueryAnswer:
			head(m.Answer)
			if r.tokens = m.RequestTokensUsed; m.IsCompleted {
				return r
			}
		case *tl.ClientQueryAnswerPart:
			r.body += string(m.Answer)
			r.parts++
			if r.tokens = m.RequestTokensUsed; m.IsCompleted {
				return r
			}
		case *tl.ClientQueryAnswerError:
			r.code, r.text, r.tokens = m.ErrorCode, m.Error, m.RequestTokensUsed
			return r
		case *tl.ClientQueryAnswerPartError:
			r.code, r.text, r.tokens = m.ErrorCode, m.Error, m.RequestTokensUsed
			return r
		}
	}
}

// order is a request as a scripted worker gets it.
type order struct {
	id      [32]byte
	http    *tl.HTTPRequest
	timeout float64
	coef    int64
	key     *[32]byte
	client  [32]byte
}

// scriptWorker does with each order what its play says.
type scriptWorker struct {
	*party
	leave    context.CancelFunc
	version  int32
	contract string
	play     func(w *scriptWorker, o order)

	mu     sync.Mutex
	orders []order
	cancel map[[32]byte]bool
}

func workerParams(owner Address, low, high int32) tl.WorkerParams {
	pub, _ := seeded(5).Public().(ed25519.PublicKey)
	description := fmt.Sprintf(`{"receipt_key":"%x","receipt_key_id":"w-1","engine":"fake/1"}`, []byte(pub))
	p := tl.WorkerParams{
		WorkerOwnerAddress: owner.Friendly(false), Model: model, Coefficient: 1000, IsTest: new(true), ProxyCnt: new(int32(1)),
		MaxActiveRequests: new(int32(4)), MinProtoVersion: new(low), MaxProtoVersion: new(high),
	}
	if high >= versionOurs {
		p.MachineDescriptionJSON = &description
	}
	return p
}

func (b *bench) worker(version int32, play func(w *scriptWorker, o order), change ...func(*tl.WorkerParams)) *scriptWorker {
	b.t.Helper()
	w := &scriptWorker{version: version, play: play, cancel: make(map[[32]byte]bool)}
	w.party, w.leave = b.join(b.p.ServeWorker, Peer{Key: [32]byte{8}, Attested: true, Image: [32]byte{0xe5}, Quote: []byte("quote"), TCB: "UpToDate"})
	w.act = w.take
	params := workerParams(address(5), 0, version)
	for _, c := range change {
		c(&params)
	}
	c := mustAsk[*tl.WorkerConnectedToProxy](w.party, &tl.WorkerConnectToProxy{Params: params})
	if *c.Params.ProtoVersion != version {
		b.t.Fatalf("version %d, offered was %d", *c.Params.ProtoVersion, version)
	}
	at, err := ParseAddress(c.WorkerSCAddress)
	if err != nil {
		b.t.Fatal(err)
	}
	w.contract = at.String()
	if r := mustAsk[*tl.WorkerCompareBalanceWithProxyResult](w.party, &tl.WorkerCompareBalanceWithProxy{}); r.ErrorCode != 0 {
		b.t.Fatalf("compare answers %d", r.ErrorCode)
	}
	mustAsk[*tl.WorkerProxyHandshakeCompleted](w.party, &tl.WorkerProxyHandshakeComplete{})
	return w
}

func (w *scriptWorker) take(m tl.Object) {
	var o order
	var raw []byte
	switch m := m.(type) {
	case *tl.ProxyRunQuery:
		o, raw = order{id: m.RequestID, timeout: m.Timeout, coef: m.Coefficient}, m.Query
	case *tl.ProxyRunQueryEx:
		o, raw = order{id: m.RequestID, timeout: m.Timeout, coef: m.Coefficient, key: m.PrivateKey}, m.Query
	case *tl.ProxyCancelQuery:
		w.mu.Lock()
		w.cancel[m.RequestID] = true
		w.mu.Unlock()
		return
	default:
		return
	}
	v, err := tl.Parse(raw)
	if err != nil {
		w.b.t.Errorf("inner query: %v", err)
		return
	}
	o.http, _ = v.(*tl.HTTPRequest)
	for _, h := range o.http.Headers {
		if h.Name == headerID {
			id, _ := hex.DecodeString(h.Value)
			copy(o.client[:], id)
		}
	}
	w.mu.Lock()
	w.orders = append(w.orders, o)
	w.mu.Unlock()
	if play := w.play; play != nil {
		w.b.served.Go(func() { play(w, o) })
	}
}

func (w *scriptWorker) seen() []order {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.orders)
}

func (w *scriptWorker) cancelled(o order) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.cancel[o.id]
}

func headOf(status int32, contentType, body string) []byte {
	return tl.Encode(&tl.HTTPResponse{HTTPVersion: "HTTP/1.1", StatusCode: status, Reason: "x", Payload: []byte(body), Headers: []tl.HTTPHeader{
		{Name: "Content-Type", Value: contentType}, {Name: "CONTENT-length", Value: "12"}, {Name: "transfer-encoding", Value: "chunked"},
	}})
}

func usedOf(prompt, cached, completion, reasoning int64) *tl.ProxyQueryFinalInfo {
	return &tl.ProxyQueryFinalInfo{
		TokensUsed:      tl.TokensUsed{PromptTokensUsed: prompt, CachedTokensUsed: cached, CompletionTokensUsed: completion, ReasoningTokensUsed: reasoning, TotalTokensUsed: prompt + completion},
		WorkerStartTime: new(1.5), WorkerEndTime: new(2.5),
	}
}

// begin and part are the two ways of an answer in the worker's generation.
func (w *scriptWorker) begin(o order, raw []byte, info *tl.ProxyQueryFinalInfo) {
	if w.version == 0 {
		m := &tl.ProxyQueryAnswer{Answer: raw, RequestID: o.id, IsCompleted: info != nil}
		if info != nil {
			m.TokensUsed = info.TokensUsed
		}
		w.send(m)
		return
	}
	w.send(&tl.ProxyQueryAnswerEx{RequestID: o.id, Answer: raw, FinalInfo: info})
}

func (w *scriptWorker) part(o order, body string, info *tl.ProxyQueryFinalInfo) {
	if w.version == 0 {
		m := &tl.ProxyQueryAnswerPart{Answer: []byte(body), RequestID: o.id, IsCompleted: info != nil}
		if info != nil {
			m.TokensUsed = info.TokensUsed
		}
		w.send(m)
		return
	}
	w.send(&tl.ProxyQueryAnswerPartEx{RequestID: o.id, Answer: []byte(body), FinalInfo: info})
}

// sign sends the worker's statement over a body and its numbers.
func (w *scriptWorker) sign(o order, body string, status int32, info *tl.ProxyQueryFinalInfo) {
	hash := sha256.Sum256([]byte(body))
	t, _ := counted(versionOurs, info.TokensUsed, 0, (Root{}).Multipliers)
	s := receipt.WorkerStatement{
		RequestID: hex.EncodeToString(o.client[:]), RequestHash: receipt.SHA256(o.http.Payload), ResponseHash: receipt.SHA256([]byte(body)),
		Status: statusWord(status), ServedAt: time.Now().Unix(), WorkerSC: w.contract, Tokens: t,
	}
	w.send(&tl.ProxyQueryStatement{
		RequestID: o.id, ResponseHash: hash, Status: status, ServedAt: s.ServedAt, KeyID: "w-1", Signature: ed25519.Sign(seeded(5), s.Bytes()),
	})
}

// serveWhole answers in one message, serveStream event by event.
// usage is what a worker of its version reports for 34 tokens, 11 of them cached, and 40, 10 of them reasoning.
func (w *scriptWorker) usage() *tl.ProxyQueryFinalInfo {
	if w.version >= versionOurs {
		return usedOf(34, 11, 40, 10)
	}
	return usedOf(23, 11, 30, 10)
}

func serveWhole(w *scriptWorker, o order) {
	info := w.usage()
	w.begin(o, headOf(200, "application/json", answer), info)
	if w.version >= versionOurs {
		w.sign(o, answer, statusComplete, info)
	}
}

func serveStream(w *scriptWorker, o order) {
	info := w.usage()
	w.begin(o, headOf(200, "text/event-stream", ""), nil)
	w.part(o, first, nil)
	w.part(o, second, nil)
	w.part(o, done, info)
	if w.version >= versionOurs {
		w.sign(o, first+second+done, statusComplete, info)
	}
}

// silent takes orders and says nothing.
func silent(*scriptWorker, order) {}

// verify checks a receipt the way a gateway does.
func (b *bench) verify(raw []byte, request, response string) (*receipt.Receipt, error) {
	b.t.Helper()
	keyset, digest, err := b.p.papers.current()
	if err != nil {
		b.t.Fatal(err)
	}
	set, err := receipt.ParseKeyset(keyset)
	if err != nil {
		b.t.Fatal(err)
	}
	account, _ := b.chain.Client(b.ctx, address(4))
	return receipt.Verify(raw, receipt.Context{
		Request: []byte(request), Response: []byte(response), Keysets: map[string]*receipt.Keyset{digest: set},
		ProxySC: b.p.cfg.Contract.String(), ClientSC: account.Contract.String(),
		Terms: func(c, p int64) (receipt.Terms, bool) {
			root, err := b.chain.Root()
			return receipt.Terms{Price: 1, Multipliers: root.Multipliers}, err == nil && c == 1 && p == 1
		},
		Session: func(id string) *receipt.Session {
			var name [32]byte
			if n, err := hex.Decode(name[:], []byte(id)); err != nil || n != 32 {
				return nil
			}
			s, err := receipt.ParseSession(b.p.papers.session(name))
			if err != nil || s.ID != id {
				b.t.Errorf("session %s: %v", id, err)
				return nil
			}
			return s
		},
	})
}

// depsOf are the least that a proxy needs.
func depsOf(tb testing.TB, chain *Pseudo) Deps {
	tb.Helper()
	books, err := ledger.NewMemory(ledger.Config{Funds: chain.Funds})
	if err != nil {
		tb.Fatal(err)
	}
	public, _ := seeded(2).Public().(ed25519.PublicKey)
	return Deps{Chain: chain, Ledger: books, PaymentKey: public, ReceiptKey: seeded(3), Now: time.Now}
}
