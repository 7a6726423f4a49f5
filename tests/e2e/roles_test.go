package e2e

import (
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"cocoon/guest/proxy"
	"cocoon/guest/worker"
	"cocoon/guest/worker/engine"
	"cocoon/guest/worker/engine/enginetest"
	"cocoon/host/gateway"
	"cocoon/host/gateway/attest"
	"cocoon/host/gateway/receipts"
	"cocoon/host/gateway/upstream"
	"cocoon/measure/ratls"
	"cocoon/measure/tdx"
	"cocoon/tests/chaos"
)

// tlsKeys are the keys of a machine's certificates.
func (n *world) tlsKeys(m *machine) [][32]byte {
	c, err := m.id.Certificate(ratls.V1)
	if err != nil {
		return nil
	}
	leaf, err := x509.ParseCertificate(c.Certificate[0])
	if err != nil {
		return nil
	}
	key, ok := leaf.PublicKey.(ed25519.PublicKey)
	if !ok {
		return nil
	}
	return [][32]byte{[32]byte(key)}
}

// Attest implements proxy.Attester.
func (m *machine) Attest(ctx context.Context, reportData [64]byte) (proxy.Evidence, error) {
	quote, err := m.td.Quote(ctx, reportData)
	return proxy.Evidence{Quote: quote, ImageHash: hex.EncodeToString(m.image[:])}, err
}

// engineSpec is an engine that somebody else runs, as engine.toml describes it.
type engineSpec struct{ config *engine.Config }

// workerNode is a worker with its engine.
type workerNode struct {
	worker *worker.Worker
	fake   *enginetest.Engine
	// links are this worker's ways to the proxies, where the options ask for such.
	links []*chaos.Proxy
	// stop ends the worker.
	stop func()
	// before, if set, sees every completion before the fake engine; true means that it has answered.
	before atomic.Pointer[func(w http.ResponseWriter, r *http.Request) bool]

	mu   sync.Mutex
	conn *ratls.Conn
}

// cut breaks the worker's connection to the proxy as a power failure would: without a word.
func (w *workerNode) cut() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.conn == nil {
		return errors.New("the worker is not connected")
	}
	return w.conn.NetConn().Close()
}

// ServeHTTP is the worker's engine.
func (w *workerNode) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	if before := w.before.Load(); before != nil && r.Method == http.MethodPost && (*before)(rw, r) {
		return
	}
	w.fake.ServeHTTP(rw, r)
}

// startWorker starts a worker on a machine.
func (n *world) startWorker(i int, of *machine, o options) {
	n.t.Helper()
	node := &workerNode{fake: enginetest.New()}
	n.workers = append(n.workers, node)
	adapter := n.adapter(node, o)
	dialer, _ := n.router("worker", of, door{policy: "proxies", image: n.machine.image})
	const concurrent = 8
	cfg := worker.Config{
		Owner: address(byte(0x70 + i)).Friendly(false), Model: model, Coefficient: 1000, MaxActive: concurrent * len(n.proxies), ProxyCount: len(n.proxies), Test: true,
	}
	if o.tune.worker != nil {
		o.tune.worker(i, &cfg)
	}
	doors := make([]string, 0, len(n.proxies))
	for _, p := range n.proxies {
		door := p.doors[workerPort]
		if o.links {
			link := n.link(door)
			node.links, door = append(node.links, link.Proxy), link.address
			p.ways[workerPort] = append(p.ways[workerPort], link.Proxy)
		}
		doors = append(doors, door)
	}
	var err error
	node.worker, err = worker.New(
		cfg,
		worker.Deps{
			Engine: adapter, Proxies: func() []string { return doors },
			Dial: func(ctx context.Context, to string) (net.Conn, worker.Peer, error) {
				conn, err := dialer.Dial(ctx, "proxies", to)
				if err != nil {
					return nil, worker.Peer{}, err
				}
				node.mu.Lock()
				node.conn = conn
				node.mu.Unlock()
				image, err := tdx.PublishableHash(&conn.Peer.Report.TD.Measurements)
				return conn, worker.Peer{Attested: err == nil, Image: image, Key: conn.Peer.Key}, err
			},
			CheckPeer: func(p worker.Peer) error {
				if !p.Attested || p.Image != n.machine.image {
					return errors.New("not the proxy's image")
				}
				return nil
			},
			Prices: func() worker.Prices { return worker.Plain(1) }, ReceiptKey: seeded(byte(0x10 + i)), KeyID: "worker-key",
			Log: n.logger("worker"), Now: time.Now,
		},
	)
	check(n.t, err)
	node.stop = n.background("worker", node.worker.Run)
}

// adapter leads to the engine: the fake one behind a socket, unless the options have another.
func (n *world) adapter(node *workerNode, o options) *engine.Adapter {
	n.t.Helper()
	var cfg *engine.Config
	if o.engine != nil {
		cfg = o.engine(n).config
	} else {
		socket := filepath.Join(n.t.TempDir(), "e.sock")
		l, err := new(net.ListenConfig).Listen(n.t.Context(), "unix", socket)
		check(n.t, err)
		server := &http.Server{Handler: node, ReadHeaderTimeout: patience, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0)}
		n.background("engine", func(ctx context.Context) error {
			stop := context.AfterFunc(ctx, func() { _ = server.Close() })
			defer stop()
			if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				return err
			}
			return nil
		})
		cfg, err = engine.Builtin(engine.Fake)
		check(n.t, err)
		cfg.Listen = "unix:" + socket
		cfg.Health.Timeout = engine.Duration(patience) // a machine that is busy with something else is no engine that is down
	}
	a, err := engine.New(cfg)
	check(n.t, err)
	n.t.Cleanup(a.Close)
	return a
}

// startGateway starts the client role and waits for every worker to be on offer, unless there is to be none.
func (n *world) startGateway(o options) {
	n.t.Helper()
	nobody, err := ratls.NewIdentity(ratls.IdentityConfig{Now: time.Now})
	check(n.t, err)
	check(n.t, nobody.Refresh(n.t.Context()))
	listed := n.machine.image
	if o.strangeProxy {
		listed = n.launch("another proxy").image
	}
	judging := attest.New(attest.Config{
		Proxies: n.only(listed), Judge: n.judge, Verifier: n.verifier, Collateral: n.platform, Identity: nobody, PricePerToken: 1, Now: time.Now,
	})
	up := upstream.Config{
		Dial: judging.Dial, Account: attest.SecretAccount{Wallet: address(4).Friendly(false)}, Test: true,
		Now: time.Now, Log: n.logger("gateway"), Backoff: 10 * time.Millisecond, Poll: 20 * time.Millisecond,
	}
	for _, p := range n.proxies {
		door := p.doors[clientPort]
		if o.links {
			link := n.link(door)
			p.ways[clientPort], door = append(p.ways[clientPort], link.Proxy), link.address
		}
		up.Proxies = append(up.Proxies, door)
	}
	if o.tune.upstream != nil {
		o.tune.upstream(&up)
	}
	n.pool, err = upstream.New(up)
	check(n.t, err)
	store, err := receipts.Open(receipts.Config{Dir: n.t.TempDir(), Now: time.Now})
	check(n.t, err)
	n.t.Cleanup(func() { check(n.t, store.Close()) })
	n.store = store
	cfg := gateway.Config{
		Pool: n.pool, Keys: o.keys, Store: store, Checker: receipts.NewChecker(judging, time.Now), Test: true, Owner: address(4).Friendly(false),
		Now: time.Now, Log: n.logger("gateway"),
	}
	if o.tune.gateway != nil {
		o.tune.gateway(&cfg)
	}
	server, err := gateway.New(cfg)
	check(n.t, err)
	l, err := new(net.ListenConfig).Listen(n.t.Context(), "tcp", "127.0.0.1:0")
	check(n.t, err)
	n.url = "http://" + l.Addr().String()
	n.background("gateway", func(ctx context.Context) error { return server.Run(ctx, l) })
	n.t.Cleanup(n.client.CloseIdleConnections) // the gateway waits for connections that are open
	if o.strangeWorkers || o.unlisted || o.strangeProxy {
		return
	}
	n.until("the workers are on offer", func() bool { return n.offered() == len(n.workers)*len(n.proxies) })
}

// offered counts the workers that the gateway knows of, over all proxies.
func (n *world) offered() (count int) {
	for _, s := range n.pool.Status() {
		for _, m := range s.Models {
			count += len(m.Instances)
		}
	}
	return count
}
