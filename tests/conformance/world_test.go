package conformance

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"cocoon/guest/proxy"
	"cocoon/guest/proxy/ledger"
	"cocoon/guest/worker"
	"cocoon/guest/worker/engine"
	"cocoon/host/gateway"
	"cocoon/host/gateway/upstream"
	"cocoon/tests/logbook"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	base   = "demo/model"
	model  = base + "@0123456789abcdef0123456789abcdef01234567:f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6"
	canary = "c4n4ry-of-a-prompt"
	chat   = `{"model":"demo/model","messages":[{"role":"user","content":"` + canary + `"}],"max_tokens":50}`
	stream = `{"model":"demo/model","messages":[{"role":"user","content":"` + canary + `"}],"max_tokens":50,"stream":true}`
	whole  = `{"id":"c1","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}],` +
		`"usage":{"prompt_tokens":34,"completion_tokens":40,"total_tokens":74}}`
	event1 = "data: {\"id\":\"c1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi\"}}]}\n\n"
	event2 = "data: {\"id\":\"c1\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n"
	event3 = "data: [DONE]\n\n"
	row1   = `{"id":"c1","choices":[{"index":0,"delta":{"content":"hi"}}]}` + "\n"
	row2   = `{"id":"c1","choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":{"prompt_tokens":34,"completion_tokens":40,"total_tokens":74}}` + "\n"
)

func address(n byte) proxy.Address { return proxy.Address{Hash: [32]byte(bytes.Repeat([]byte{n}, 32))} }

func seeded(n byte) ed25519.PrivateKey { return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, 32)) }

// chain is the stand-in for the contracts, some of which a test changes.
type chain struct {
	*proxy.Pseudo
	mu      sync.Mutex
	account func(*proxy.Account)
}

func (c *chain) Client(ctx context.Context, owner proxy.Address) (proxy.Account, error) {
	a, err := c.Pseudo.Client(ctx, owner)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.account != nil {
		c.account(&a)
	}
	return a, err
}

// network is a proxy of ours, and what surrounds it.
type network struct {
	testing.TB
	ctx     context.Context
	proxy   *proxy.Proxy
	chain   *chain
	books   *ledger.Memory
	log     *logbook.Book
	running sync.WaitGroup
	ends    []func()
	served  chan error // how sessions of the proxy ended
}

// options change the proxy of a test.
type option func(*proxy.Config, *proxy.Deps)

// within runs a test in a bubble, with a proxy of ours in it.
func within(t *testing.T, test func(n *network), options ...option) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := &network{TB: t, log: new(logbook.Book), served: make(chan error, 256)}
		ctx, cancel := context.WithCancel(t.Context())
		n.ctx = ctx
		defer n.stop(cancel)
		n.start(options)
		test(n)
	})
}

// stop ends what runs, and looks into the log.
func (n *network) stop(cancel context.CancelFunc) {
	synctest.Wait()
	for _, end := range n.ends {
		end()
	}
	cancel()
	n.running.Wait()
	if text := n.log.String(); strings.Contains(text, canary) || strings.Contains(text, "panic") {
		n.Errorf("a prompt or a panic is in the log: %s", text)
	}
}

func (n *network) start(options []option) {
	n.Helper()
	n.chain = &chain{Pseudo: &proxy.Pseudo{Owner: address(1)}}
	var err error
	n.books, err = ledger.NewMemory(ledger.Config{Funds: n.chain.Funds, Signer: ledger.Keyed{Key: seeded(2)}})
	n.check(err)
	public, _ := seeded(2).Public().(ed25519.PublicKey)
	cfg := proxy.Config{Owner: address(1), Contract: address(0xa1), Test: true}
	deps := proxy.Deps{
		Chain: n.chain, Ledger: n.books, PaymentKey: public, ReceiptKey: seeded(3), Now: time.Now, Tick: n.books, Log: n.logger("proxy"),
		TLSKeys: func() [][32]byte { return [][32]byte{{9}} }, Rand: rand.New(rand.NewPCG(1, 2)),
	}
	for _, o := range options {
		o(&cfg, &deps)
	}
	n.proxy, err = proxy.New(cfg, deps)
	n.check(err)
}

func (n *network) check(err error) {
	n.Helper()
	if err != nil {
		n.Fatal(err)
	}
}

func (n *network) logger(role string) *slog.Logger {
	return slog.New(slog.NewTextHandler(n.log, &slog.HandlerOptions{Level: slog.LevelDebug})).With(slog.String("role", role))
}

// join is a scripted peer at one of the proxy's doors, after the dialler's handshake.
func (n *network) join(serve func(context.Context, net.Conn, proxy.Peer) error, of proxy.Peer, notes *transcript) *peer {
	n.Helper()
	near, far := net.Pipe()
	n.running.Go(func() { n.served <- serve(n.ctx, far, of) })
	n.ends = append(n.ends, func() { _ = near.Close() })
	p := newPeer(n.TB, near, notes)
	p.connect()
	return p
}

// used is what the ledger says of the scripted client.
func (n *network) used() ledger.State {
	return n.books.State(ledger.Party{Role: ledger.Client, Address: address(4).String()})
}

// settled is how much was billed, once nothing is reserved any more.
func (n *network) settled() int64 {
	n.Helper()
	synctest.Wait()
	s := n.used()
	if s.Reserved != 0 || s.Running != 0 {
		n.Errorf("still reserved: %+v", s)
	}
	return s.Max
}

// script is an engine that answers as a test says.
type script struct {
	mu   sync.Mutex
	seen [][]byte
	play func(body []byte) (contentType, answer string)
	// body replaces the reader of an answer.
	body func(answer string) io.ReadCloser
}

func (*script) Config() *engine.Config {
	cfg, err := engine.Builtin(engine.Fake)
	if err != nil {
		return &engine.Config{} // which serves nothing
	}
	return cfg
}
func (*script) Ready(context.Context) error               { return nil }
func (*script) Health(context.Context) error              { return nil }
func (*script) Load(context.Context) (engine.Load, error) { return engine.Load{}, nil }

// Do answers a document, or the events of a stream.
func (s *script) Do(_ context.Context, r engine.Request) (*engine.Response, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	body := bytes.Join(r.Body, nil)
	s.seen = append(s.seen, body)
	kind, text := "application/json", whole
	if r.Stream {
		kind, text = "text/event-stream", event1+event2+event3
	}
	if s.play != nil {
		kind, text = s.play(body)
	}
	out := io.NopCloser(strings.NewReader(text))
	if s.body != nil {
		out = s.body(text)
	}
	return &engine.Response{Status: 200, ContentType: kind, Body: out}, nil
}

func (s *script) asked() [][]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([][]byte(nil), s.seen...)
}

// genuine runs a worker of ours that dials the given ends.
func (n *network) genuine(e *script, low, high int32, dial func() net.Conn) *worker.Worker {
	n.Helper()
	return n.eligible(e, &offer{low, high}, dial, nil)
}

// unlisted runs a worker that the root contract does not list, for a reason.
func (n *network) unlisted(why func() error) *worker.Worker {
	n.Helper()
	return n.eligible(new(script), &offer{1, 5}, func() net.Conn {
		near, far := net.Pipe()
		n.running.Go(func() { n.served <- n.proxy.ServeWorker(n.ctx, far, proxy.Peer{Attested: true}) })
		return near
	}, why)
}

func (n *network) eligible(e *script, o *offer, dial func() net.Conn, why func() error) *worker.Worker {
	n.Helper()
	w, err := worker.New(worker.Config{
		Owner: address(5).Friendly(false), Model: model, Coefficient: 1000, MaxActive: 8, ProxyCount: 1, Test: true, MinVersion: o.low, MaxVersion: o.high,
	}, worker.Deps{
		Engine: e, Proxies: func() []string { return []string{"proxy:1"} }, CheckPeer: func(worker.Peer) error { return nil },
		Dial: func(context.Context, string) (net.Conn, worker.Peer, error) {
			if conn := dial(); conn != nil {
				return conn, worker.Peer{}, nil
			}
			return nil, worker.Peer{}, net.ErrClosed
		},
		Eligible: why, Prices: func() worker.Prices { return worker.Plain(1) }, ReceiptKey: seeded(5), KeyID: "w-1", Now: time.Now, Log: n.logger("worker"),
	})
	n.check(err)
	n.running.Go(func() { _ = w.Run(n.ctx) })
	return w
}

// workerOf runs a worker of ours at this network's proxy.
func (n *network) workerOf(e *script, low, high int32) {
	n.Helper()
	n.genuine(e, low, high, func() net.Conn {
		near, far := net.Pipe()
		n.running.Go(func() { n.served <- n.proxy.ServeWorker(n.ctx, far, proxy.Peer{Attested: true, Image: [32]byte{0xe5}}) })
		return near
	})
	synctest.Wait()
}

// owner is the account of a gateway.
type owner struct{ secret []byte }

func (owner) Owner() string                                         { return address(4).Friendly(false) }
func (owner) Check(context.Context, upstream.Offer) error           { return nil }
func (o owner) Secret([32]byte) ([]byte, bool)                      { return o.secret, true }
func (owner) Register(context.Context, upstream.Offer, int64) error { return nil }

// gateway runs the client of ours, which dials the given ends.
func (n *network) gateway(dial func() net.Conn) *upstream.Link {
	n.Helper()
	return n.pool(dial).Links()[0]
}

func (n *network) pool(dial func() net.Conn) *upstream.Pool {
	n.Helper()
	pool, err := upstream.New(upstream.Config{
		Proxies: []string{"proxy:1"}, Account: owner{}, Test: true, ConfigVersion: func() int32 { return 1 }, Now: time.Now, Log: n.logger("gateway"),
		Dial: func(context.Context, string) (net.Conn, upstream.Peer, error) {
			if conn := dial(); conn != nil {
				return conn, upstream.Peer{Verified: true}, nil
			}
			return nil, upstream.Peer{}, net.ErrClosed
		},
	})
	n.check(err)
	n.running.Go(func() { pool.Run(n.ctx) })
	return pool
}

// app is the gateway's HTTP surface, over a pool.
func (n *network) app(pool *upstream.Pool) func(path, body string) *httptest.ResponseRecorder {
	n.Helper()
	s, err := gateway.New(gateway.Config{Pool: pool, Test: true, Now: time.Now, Log: n.logger("gateway")})
	n.check(err)
	handler := s.Handler()
	return func(path, body string) *httptest.ResponseRecorder {
		method := http.MethodGet
		if body != "" {
			method = http.MethodPost
		}
		r := httptest.NewRequestWithContext(n.ctx, method, path, strings.NewReader(body))
		r.Host = "127.0.0.1:10000"
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		return w
	}
}

// own dials this network's proxy as a client.
func (n *network) own() net.Conn {
	near, far := net.Pipe()
	n.running.Go(func() { n.served <- n.proxy.ServeClient(n.ctx, far, proxy.Peer{}) })
	return near
}

// lives is the proof that the proxy still serves: somebody else's completion.
func (n *network) lives() {
	n.Helper()
	w := n.join(n.proxy.ServeWorker, proxy.Peer{Key: [32]byte{0x33}, Attested: true, Image: [32]byte{0xe5}}, nil)
	wv := w.enlisted(connectModel("alive@c:r", &offer{1, 5}, 0x33, 1000, 1))
	c, cv := n.client(&offer{1, 5}, nil)
	q := good(0x77, strings.Replace(chat, base, "alive", 1))
	q.model = "alive"
	c.tell(q.run(cv))
	w.begin(wv, w.order(), response(200, "application/json", whole), usage(wv))
	if r := c.collect(0x77); r.status != 200 || r.body != whole {
		n.Errorf("the proxy does not serve any more: %+v", r)
	}
}
