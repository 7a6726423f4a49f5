package gateway

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"cocoon/contracts/pricing"
	"cocoon/contracts/receipt"
	"cocoon/contracts/wire/session"
	"cocoon/contracts/wire/tl"
	"cocoon/host/gateway/keys"
	"cocoon/host/gateway/receipts"
	"cocoon/host/gateway/upstream"
	"cocoon/tests/logbook"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	testOwner, testClientSC, testProxySC = "owner", "0:c1", "0:51"
	canary                               = "canary-7f3a-prompt"
)

// scripted is a proxy that does what a test says.
type scripted struct {
	name    string
	version int32
	models  []tl.ClientWorkerTypeV2
	// serve answers one request; it runs in a goroutine of its own.
	serve func(p *scripted, q *query)
	// instant answers a request where it is read, instead of serve; for benchmarks.
	instant func(s *session.Session, id [32]byte)

	key       ed25519.PrivateKey
	mu        sync.Mutex
	live      []*session.Session
	cancelled chan [32]byte
	credit    chan int32
	asked     []*query
	until     time.Time // of the keyset, whose digest must not change within a test
	seq       int64
	total     uint64
}

// query is a request as it reached the proxy.
type query struct {
	*tl.ClientRunQueryEx
	http *tl.HTTPRequest
	s    *session.Session
	sent []byte
}

func newScripted(name string, version int32, serve func(p *scripted, q *query)) *scripted {
	seed := sha256.Sum256([]byte(name))
	return &scripted{
		name: name, version: version, serve: serve, until: time.Now().Add(time.Hour), key: ed25519.NewKeyFromSeed(seed[:]),
		models:    []tl.ClientWorkerTypeV2{{Name: "org/model@c:r", Workers: []tl.ClientWorkerInstanceV2{{Coefficient: 1000, ActiveRequests: 1, MaxActiveRequests: 4}}}},
		cancelled: make(chan [32]byte, 100), credit: make(chan int32, 1000),
	}
}

// accept runs the proxy's side of one connection.
func (p *scripted) accept(ctx context.Context, conn net.Conn) {
	h := &proxySide{p: p, ctx: ctx}
	h.s = session.New(conn, session.Options{}, h)
	p.mu.Lock()
	p.live = append(p.live, h.s)
	p.mu.Unlock()
	_ = h.s.Run(ctx)
	h.running.Wait()
}

type proxySide struct {
	p       *scripted
	s       *session.Session
	ctx     context.Context
	running sync.WaitGroup
}

func (h *proxySide) Query(_ context.Context, fn tl.Function) (tl.Object, error) {
	p := h.p
	switch fn := fn.(type) {
	case *tl.ClientConnectToProxy:
		if *fn.Params.MinProtoVersion > p.version || fn.Params.ClientOwnerAddress != testOwner {
			return nil, &session.QueryError{Code: session.CodeProtocol, Message: "version"}
		}
		return &tl.ClientConnectedToProxy{
			Params:          tl.ProxyParams{ProxyOwnerAddress: "po", ProxySCAddress: testProxySC, IsTest: new(true), ProtoVersion: new(p.version)},
			ClientSCAddress: testClientSC, SignedPayment: &tl.ProxySignedPaymentEmpty{},
			Auth: &tl.ClientProxyConnectionAuthShort{SecretHash: sha256.Sum256([]byte("secret")), Nonce: 4},
		}, nil
	case *tl.ClientAuthorizeWithProxyShort:
		if string(fn.Data) != "secret" {
			return nil, &session.QueryError{Code: session.CodeError, Message: "sha256 mismatch"}
		}
		return &tl.ClientAuthorizationWithProxySuccess{SignedPayment: &tl.ProxySignedPaymentEmpty{}, TokensCommittedToDB: 10, MaxTokens: 1000}, nil
	case *tl.ClientGetWorkerTypesV2:
		return &tl.ClientWorkerTypesV2{Types: p.models}, nil
	case *tl.ClientUpdatePaymentStatus:
		return &tl.ClientPaymentStatus{SignedPayment: &tl.ProxySignedPaymentEmpty{}, DBTokens: 10, MaxTokens: 1000}, nil
	case *tl.ClientGetAttestation:
		doc, _ := json.Marshal(map[string]any{
			"api_version": "aci/1", "workload_keyset_digest": p.keyset().Digest(),
			"attestation": map[string]any{"workload_keyset": json.RawMessage(p.rawKeyset()), "evidence": map[string]any{"quote": "00ff"}},
		})
		return &tl.ClientAttestation{Document: doc}, nil
	case *tl.ClientGetSession:
		return &tl.ClientSession{Document: p.session()}, nil
	}
	return nil, &session.QueryError{Code: session.CodeProtocol, Message: "unknown"}
}

func (h *proxySide) Packet(_ context.Context, v tl.Object) error {
	switch v := v.(type) {
	case *tl.ClientRunQueryEx:
		if h.p.instant != nil {
			h.p.instant(h.s, v.RequestID)
			return nil
		}
		parsed, err := tl.Parse(v.Query)
		if err != nil {
			return err
		}
		request, ok := parsed.(*tl.HTTPRequest)
		if !ok {
			return errors.New("no http.request")
		}
		q := &query{ClientRunQueryEx: v, http: request, s: h.s}
		h.p.mu.Lock()
		h.p.asked = append(h.p.asked, q)
		h.p.mu.Unlock()
		h.running.Go(func() { h.p.serve(h.p, q) })
	case *tl.ClientCancelQuery:
		h.p.cancelled <- v.RequestID
	case *tl.ClientQueryCredit:
		h.p.credit <- v.Bytes
	}
	return nil
}

func (p *scripted) requests() []*query {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]*query{}, p.asked...)
}

func (p *scripted) rawKeyset() []byte {
	return receipt.NewKeyset("cocoon:proxy:"+testProxySC, p.until, "k1", ed25519.PublicKey(p.key[32:]), []string{"spki-" + p.name})
}

func (p *scripted) keyset() *receipt.Keyset {
	k, err := receipt.ParseKeyset(p.rawKeyset())
	if err != nil {
		panic(err) //nolint:forbidigo // the test's own document
	}
	return k
}

func (p *scripted) session() []byte {
	return []byte(`{"api_version":"aci/1","channel_binding":[{"origin":"x","spki_sha256":"ws","type":"tls_spki_sha256"}],"claims":{},` +
		`"established_at":1,"evidence":{"data":"","digest":""},"expires_at":4102444800,"identity":{"engine":"fake/1","image_hash":"ih","model_id":"org/model@c:r","owner":"o","worker_sc":"0:77"}}`)
}

func (q *query) send(v tl.Object) { _ = q.s.Send(context.Background(), v) }

// head sends the head of an answer; body is all of it when the last argument is true.
func (q *query) head(status int32, media string, body string, done bool) {
	q.sent = append(q.sent, body...)
	m := &tl.ClientQueryAnswerEx{RequestID: q.RequestID, Answer: tl.Encode(&tl.HTTPResponse{
		HTTPVersion: "HTTP/1.1", StatusCode: status, Reason: "x", Payload: []byte(body),
		Headers: []tl.HTTPHeader{{Name: "content-type", Value: media}, {Name: "Set-Cookie", Value: "evil=1"}, {Name: "x-cocoon-worker-start", Value: "1.000000"}},
	})}
	if done {
		m.FinalInfo = used()
	}
	q.send(m)
}

func (q *query) part(data string, done bool) {
	q.sent = append(q.sent, data...)
	m := &tl.ClientQueryAnswerPartEx{RequestID: q.RequestID, Answer: []byte(data)}
	if done {
		m.FinalInfo = used()
	}
	q.send(m)
}

func (q *query) fail(code session.Code, text string) {
	q.send(&tl.ClientQueryAnswerErrorEx{RequestID: q.RequestID, ErrorCode: int32(code), Error: text})
}

func used() *tl.ClientQueryFinalInfo {
	return &tl.ClientQueryFinalInfo{
		TokensUsed:     tl.TokensUsed{PromptTokensUsed: 5, CompletionTokensUsed: 11, TotalTokensUsed: 16},
		ProxyStartTime: new(1.5), ProxyEndTime: new(2.5), WorkerStartTime: new(1.75), WorkerEndTime: new(2.25),
	}
}

// receipt signs a receipt for what was sent; change may spoil it.
func (q *query) receipt(p *scripted, change func(r *receipt.Receipt)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s, err := receipt.ParseSession(p.session())
	if err != nil {
		panic(err) //nolint:forbidigo // the test's own document
	}
	r := &receipt.Receipt{
		ID: hex.EncodeToString(q.RequestID[:]), ChatID: "chat-" + hex.EncodeToString(q.RequestID[:4]), Model: q.ModelName, KeysetDigest: p.keyset().Digest(),
		Endpoint: q.http.URL, ServedAt: time.Now().Unix(), RequestHash: receipt.SHA256(q.http.Payload), ForwardedHash: receipt.SHA256(q.http.Payload),
		ResponseHash: receipt.SHA256(q.sent), Verified: receipt.Verified{OK: true, Required: true, Model: "org/model@c:r", SessionID: s.ID},
		Worker: &receipt.Worker{SC: "0:77", SPKI: "ws", Image: "ih", Engine: "fake/1"},
		Usage: receipt.Usage{
			Source: "engine", Tokens: pricing.Tokens{Prompt: 5, Completion: 11}, Coefficient: 1000, Reserved: 1000, Price: 20,
			Multipliers: pricing.Multipliers{Prompt: 10000, Cached: 10000, Completion: 10000, Reasoning: 10000}, ConfigVersion: 3, ParamsVersion: 1,
		},
		Channel: receipt.Channel{ProxySC: testProxySC, ClientSC: testClientSC, ProxyKey: ed25519.PublicKey(p.key[32:]), Test: true},
		Outcome: receipt.Outcome{Status: receipt.Complete, HTTPStatus: 200, FinishReason: "stop", Bytes: int64(len(q.sent)), TTFT: 3, Duration: 5},
	}
	r.Usage.Meter()
	p.seq++
	p.total += uint64(r.Usage.Total())
	r.Channel.LedgerSeq, r.Channel.Total = p.seq, p.total
	if change != nil {
		change(r)
	}
	q.send(&tl.ClientQueryReceipt{RequestID: q.RequestID, Receipt: r.Sign("k1", p.key)})
}

// account is the test's payment channel.
type account struct{}

func (account) Owner() string                               { return testOwner }
func (account) Check(context.Context, upstream.Offer) error { return nil }
func (account) Secret([32]byte) ([]byte, bool)              { return []byte("secret"), true }

func (account) Register(context.Context, upstream.Offer, int64) error {
	return errors.New("no chain here")
}

// evidence accepts what the scripted proxy shows.
type evidence struct{}

func (evidence) Keyset(_ context.Context, quote []byte, _ [32]byte) error {
	if !bytes.Equal(quote, []byte{0, 255}) {
		return errors.New("another quote")
	}
	return nil
}
func (evidence) Worker(context.Context, *receipt.Session) error { return nil }
func (evidence) Terms(int64, int64) (receipt.Terms, bool) {
	one := pricing.Multipliers{Prompt: 10000, Cached: 10000, Completion: 10000, Reasoning: 10000}
	return receipt.Terms{Price: 20, Multipliers: one}, true
}

// world is a gateway with its proxies.
type world struct {
	t       testing.TB
	url     string
	server  *Server
	proxies map[string]*scripted
	log     *logbook.Book
	store   *receipts.Store
	dir     string
	began   chan struct{} // closed when an app has the head of an answer
	once    sync.Once
	client  *http.Client
	conns   sync.Map // proxy name -> net.Conn of the gateway's side
}

// shortly is the time for the receipt of an answer that has none.
const shortly = 300 * time.Millisecond

type setup struct {
	keys       *keys.Book
	mode       Mode
	unverified bool
	allow      bool
	down       map[string]bool
	refused    map[string]bool // not attested
	ping, gap  time.Duration
	body       time.Duration
	maxBody    int64
	receipt    time.Duration // 10 s when 0: whoever gives none says shortly
	origins    []string
	dir        string
	budgets    string
	chain      Root
	noWait     bool
	bare       bool // receipts are neither checked nor kept
}

func start(tb testing.TB, c setup, proxies ...*scripted) *world {
	tb.Helper()
	w := &world{t: tb, began: make(chan struct{}), proxies: make(map[string]*scripted), log: new(logbook.Book), client: &http.Client{Transport: &http.Transport{}}}
	var names []string
	for _, p := range proxies {
		w.proxies[p.name] = p
		names = append(names, p.name)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	log := slog.New(slog.NewTextHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	pool, err := upstream.New(upstream.Config{
		Proxies: names, Account: account{}, Test: true, Now: time.Now, Log: log, Backoff: 5 * time.Millisecond, Poll: 20 * time.Millisecond,
		AllowUnverified: c.allow,
		Dial: func(dialing context.Context, address string) (net.Conn, upstream.Peer, error) {
			if c.down[address] {
				return nil, upstream.Peer{}, errors.New("connection refused")
			}
			if c.refused[address] {
				return nil, upstream.Peer{}, fmt.Errorf("%w: image: it has ab12, wanted is an image of the root contract", upstream.ErrRefused)
			}
			near, far, err := pipe(dialing)
			if err != nil {
				return nil, upstream.Peer{}, err
			}
			w.conns.Store(address, near)
			running.Go(func() { w.proxies[address].accept(ctx, far) })
			return near, upstream.Peer{Verified: !c.unverified, Reason: "image hash is not listed", Image: "ab12", SPKI: "spki-" + address}, nil
		},
	})
	if err != nil {
		tb.Fatal(err)
	}
	if c.dir == "" {
		c.dir = tb.TempDir()
	}
	w.dir = c.dir
	if w.store, err = receipts.Open(receipts.Config{Dir: c.dir, Now: time.Now}); err != nil {
		tb.Fatal(err)
	}
	cfg := Config{
		Pool: pool, Keys: c.keys, Budgets: c.budgets, Chain: c.chain, Store: w.store, Checker: receipts.NewChecker(evidence{}, time.Now), Receipts: c.mode, Test: true,
		Owner: testOwner, Root: "0:root", Build: Build{Version: "v1", Commit: "abc"}, Now: time.Now, Log: log,
		Ping: c.ping, Gap: c.gap, Body: c.body, MaxBody: c.maxBody, Receipt: cmp.Or(c.receipt, 10*time.Second), Origins: c.origins,
	}
	if c.bare {
		cfg.Store, cfg.Checker = nil, nil
	}
	if w.server, err = New(cfg); err != nil {
		tb.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	w.url = "http://" + l.Addr().String()
	ended := make(chan error, 1)
	go func() { ended <- w.server.Run(ctx, l) }()
	tb.Cleanup(func() {
		w.client.CloseIdleConnections()
		cancel()
		if err := <-ended; err != nil {
			tb.Errorf("the gateway ended with %v", err)
		}
		running.Wait()
		if err := w.store.Close(); err != nil {
			tb.Error(err)
		}
	})
	if !c.noWait {
		w.until(func() bool { ok, _ := w.server.ready(); return ok })
	}
	return w
}

// pipe is a connection over loopback: unlike net.Pipe it has buffers.
func pipe(ctx context.Context) (near, far net.Conn, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	defer l.Close() //nolint:errcheck // only two ends were needed
	if near, err = new(net.Dialer).DialContext(ctx, "tcp", l.Addr().String()); err != nil {
		return nil, nil, err
	}
	far, err = l.Accept()
	return near, far, err
}

// until waits for something that other goroutines bring about.
func (w *world) until(ok func() bool) {
	w.t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	limit := time.NewTimer(time.Minute)
	defer limit.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-limit.C:
			w.t.Fatalf("waited in vain; log:\n%s", w.log.String())
		}
	}
}

// reply is what an app saw.
type reply struct {
	status int
	header http.Header
	body   string
	err    error
}

func (w *world) do(method, path, body string, header ...string) reply {
	w.t.Helper()
	return w.doCtx(w.t.Context(), method, path, body, header...)
}

func (w *world) doCtx(ctx context.Context, method, path, body string, header ...string) reply {
	w.t.Helper()
	var in io.Reader
	if body != "" {
		in = strings.NewReader(body)
	}
	r, err := http.NewRequestWithContext(ctx, method, w.url+path, in)
	if err != nil {
		w.t.Fatal(err)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := w.client.Do(r)
	if err != nil {
		return reply{err: err}
	}
	w.once.Do(func() { close(w.began) })
	defer resp.Body.Close() //nolint:errcheck // read to its end
	data, err := io.ReadAll(resp.Body)
	return reply{resp.StatusCode, resp.Header, string(data), err}
}

func (w *world) chat(extra string) reply {
	w.t.Helper()
	return w.do("POST", "/v1/chat/completions", chatBody(extra))
}

func chatBody(extra string) string {
	return `{"model":"org/model", "messages":[{"role":"user","content":"` + canary + `"}]` + extra + `}`
}

// problem is the error object of an answer.
type problem struct {
	Error struct {
		Message   string  `json:"message"`
		Type      string  `json:"type"`
		Param     *string `json:"param"`
		Code      *string `json:"code"`
		RequestID string  `json:"request_id"`
	} `json:"error"`
	ErrorCode int `json:"error_code"`
}

func (r reply) code(t *testing.T) string {
	t.Helper()
	var p problem
	if err := json.Unmarshal([]byte(r.body), &p); err != nil {
		t.Fatalf("status %d, body %q: %v", r.status, r.body, err)
	}
	if p.Error.Code == nil {
		return p.Error.Type
	}
	return *p.Error.Code
}

const answerBody = `{"id":"chat-1","object":"chat.completion","created":7,"model":"org/model","choices":[{"index":0,"message":{"role":"assistant","content":"hi <b>"},"finish_reason":"stop"}],"usage":{"prompt_tokens":5,"completion_tokens":11,"total_tokens":16}}`

// good answers a chat, streaming or not, with a receipt.
func good(p *scripted, q *query) {
	if strings.Contains(string(q.http.Payload), `"stream":true`) && p.version >= 5 {
		q.head(200, "text/event-stream", "", false)
		q.part(streamEvents, true)
	} else {
		q.head(200, "application/json", answerBody, true)
	}
	if p.version >= 5 {
		q.receipt(p, nil)
	}
}

const streamEvents = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"h\\u00e9\"}}]}\n\n: ping\n\ndata: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\r\n\r\ndata: [DONE]\n\n"
