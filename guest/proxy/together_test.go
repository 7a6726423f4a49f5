package proxy

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"cocoon/contracts/receipt"
	"cocoon/contracts/wire/tl"
	genuine "cocoon/guest/worker"
	"cocoon/guest/worker/engine"
	"cocoon/guest/worker/engine/enginetest"
)

// patience bounds every wait of these tests, which run in real time.
const patience = 45 * time.Second

// adapterOf serves a fake engine on a socket.
func adapterOf(t *testing.T, h http.Handler) *engine.Adapter {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "e.sock")
	l, err := new(net.ListenConfig).Listen(t.Context(), "unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: h, ReadHeaderTimeout: patience, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0)}
	served := make(chan struct{})
	go func() { defer close(served); _ = server.Serve(l) }()
	cfg, err := engine.Builtin(engine.Fake)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Listen = "unix:" + socket
	a, err := engine.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close(); _ = server.Close(); <-served })
	return a
}

// together is a proxy with a real worker over a fake engine.
func together(t *testing.T, version int32, test func(b *bench, e *enginetest.Engine)) {
	t.Helper()
	b := newBench(t)
	ctx, cancel := context.WithCancel(t.Context())
	b.ctx = ctx
	fake := enginetest.New()
	w, err := genuine.New(genuine.Config{
		Owner: address(5).Friendly(false), Model: model, Coefficient: 1000, MaxActive: 8, ProxyCount: 1, Test: true,
		MinVersion: min(version, 1), MaxVersion: version,
	}, genuine.Deps{
		Engine: adapterOf(t, fake), Proxies: func() []string { return []string{"proxy:1"} }, CheckPeer: func(genuine.Peer) error { return nil },
		Dial: func(context.Context, string) (net.Conn, genuine.Peer, error) {
			near, far := net.Pipe()
			b.served.Go(func() {
				_ = b.p.ServeWorker(ctx, far, Peer{Key: [32]byte{8}, Attested: true, Image: [32]byte{0xe5}, Quote: []byte("quote")})
			})
			return near, genuine.Peer{}, nil
		},
		Prices: func() genuine.Prices { return genuine.Plain(1) }, ReceiptKey: seeded(5), KeyID: "w-1", Now: time.Now, Log: b.p.log,
	})
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() { _ = w.Run(ctx) })
	b.until("the worker is ready", func() bool { return len(b.p.byModel()) == 1 })
	test(b, fake)
	cancel()
	running.Wait()
	b.served.Wait()
	if strings.Contains(b.logs.String(), canary) {
		t.Error("a prompt is in the log")
	}
}

// until waits for something in real time.
func (b *bench) until(what string, is func() bool) {
	b.t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	over := time.NewTimer(patience)
	defer over.Stop()
	for !is() {
		select {
		case <-tick.C:
		case <-over.C:
			b.t.Fatalf("never: %s", what)
		}
	}
}

func fault(body, name string) string { return strings.Replace(body, canary, canary+" fault:"+name, 1) }

// TestRealWorkerAndProxy: every behaviour of an engine ends in exactly one answer, a bill within the reservation and a
// receipt that stands.
func TestRealWorkerAndProxy(t *testing.T) {
	for name, tc := range map[string]struct {
		body, fault string
		status      receipt.Status
		in, not     string
		code        int32
		tokens      int64
	}{
		"a document":              {chat, "good", receipt.Complete, `"object":"chat.completion"`, "data:", 0, 8},
		"a stream":                {stream, "good", receipt.Complete, "data: [DONE]", `"error"`, 0, 8},
		"more than it asked for":  {stream, "burst", receipt.Complete, "data: [DONE]", `"error"`, 0, 55},
		"byte by byte":            {stream, "one-byte", receipt.Complete, "data: [DONE]", `"error"`, 0, 8},
		"no DONE":                 {stream, "no-done", receipt.Complete, "data: [DONE]", `"error"`, 0, -1},
		"cut after tokens":        {stream, "cut-after-tokens", receipt.EngineError, `"error"`, "[DONE]", 0, -1},
		"error in the stream":     {stream, "error-event", receipt.EngineError, `"error"`, "[DONE]", 0, -1},
		"aborted":                 {stream, "finish-abort", receipt.EngineError, `"error"`, "[DONE]", 0, -1},
		"bad request":             {chat, "status-400", receipt.Refused, `"error"`, "data:", 0, 0},
		"usage that lies":         {stream, "usage-lying", receipt.Complete, "", "", 0, -1},
		"usage that is negative":  {stream, "usage-negative", receipt.Complete, "data: [DONE]", "", 0, -1},
		"a crash before the head": {chat, "cut-in-head", receipt.EngineError, "", "data:", 602, 0},
	} {
		t.Run(name, func(t *testing.T) {
			together(t, 5, func(b *bench, _ *enginetest.Engine) {
				c := b.client(5)
				body := fault(tc.body, tc.fault)
				c.send(run(1, body))
				r := c.collect(1)
				if r.code != tc.code || !strings.Contains(r.body, tc.in) || tc.not != "" && strings.Contains(r.body, tc.not) {
					t.Errorf("%d %q: %q", r.code, r.text, r.body)
				}
				raw := hear[*tl.ClientQueryReceipt](c.party).Receipt
				doc, err := b.verify(raw, body, r.body)
				if err != nil {
					t.Fatalf("%v in %s", err, raw)
				}
				if name != "usage that lies" && doc.Outcome.Status != tc.status || tc.tokens >= 0 && doc.Usage.Total() != tc.tokens {
					t.Errorf("status %s, %d tokens: %s", doc.Outcome.Status, doc.Usage.Total(), raw)
				}
				if s := b.state(); s.Reserved != 0 || s.Max != doc.Usage.Total() {
					t.Errorf("books %+v", s)
				}
			})
		})
	}
}

func TestRealWorkerInEveryVersion(t *testing.T) {
	for version := int32(1); version <= versionOurs; version++ {
		t.Run(fmt.Sprint(version), func(t *testing.T) {
			together(t, version, func(b *bench, _ *enginetest.Engine) {
				for i, client := range []int32{0, 1, 4, 5} {
					c := b.client(client)
					c.send(run(byte(i+1), chat))
					if r := c.collect(byte(i + 1)); !strings.Contains(r.body, "chat.completion") || r.tokens.TotalTokensUsed != 8 {
						t.Errorf("client %d: %+v", client, r)
					}
				}
			})
		})
	}
}

// TestCancellationReachesTheEngine is row 8 of protocol.md section 12.
func TestCancellationReachesTheEngine(t *testing.T) {
	for name, stop := range map[string]func(c *scriptClient){
		"by message":    func(c *scriptClient) { c.send(&tl.ClientCancelQuery{RequestID: [32]byte{1}}) },
		"by leaving":    func(c *scriptClient) { c.leave() },
		"by a deadline": func(*scriptClient) {},
	} {
		t.Run(name, func(t *testing.T) {
			together(t, 5, func(b *bench, e *enginetest.Engine) {
				c := b.client(5)
				q := run(1, fault(stream, "endless"))
				if name == "by a deadline" {
					q = run(1, fault(stream, "hang-body")) // which nothing else ends in time
					q.Timeout = 2
				}
				c.send(q)
				hear[*tl.ClientQueryAnswerPartEx](c.party)
				began := time.Now()
				stop(c)
				b.until("the engine's slot is free", func() bool { return e.Active.Load() == 0 })
				t.Logf("the slot was free after %s", time.Since(began))
				b.until("the request is settled", func() bool { return b.state().Running == 0 })
				if s := b.state(); s.Max <= 0 || s.Reserved != 0 {
					t.Errorf("books %+v", s)
				}
			})
		})
	}
}
