package e2e

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"cocoon/guest/proxy"
	"cocoon/guest/proxy/ledger"
	"cocoon/guest/router"
	"cocoon/guest/worker"
	"cocoon/guest/worker/engine"
	"cocoon/guest/worker/engine/enginetest"
	"cocoon/host/gateway"
	"cocoon/host/gateway/attest"
	"cocoon/host/gateway/receipts"
	"cocoon/host/gateway/upstream"
	"cocoon/measure/ratls"
	"cocoon/measure/tdx"
)

// startProxy starts the proxy, whose router admits workers of one machine; listed says that the root contract does, too.
func (n *world) startProxy(worker *machine, listed bool) {
	n.t.Helper()
	pseudo := &proxy.Pseudo{
		Owner: address(1), WorkerImages: map[[32]byte]bool{worker.image: listed}, Models: map[[32]byte]bool{sha256.Sum256([]byte(model)): true},
	}
	payments := seeded(2)
	memory, err := ledger.NewMemory(ledger.Config{Funds: pseudo.Funds, Signer: ledger.Keyed{Key: payments}})
	check(n.t, err)
	n.ledger = &book{Memory: memory}
	public, _ := payments.Public().(ed25519.PublicKey)
	n.proxy, err = proxy.New(
		proxy.Config{Owner: address(1), Contract: address(0xa1), Test: true, CheckWorkers: true},
		proxy.Deps{
			Chain: pseudo, Ledger: n.ledger, PaymentKey: public, ReceiptKey: seeded(3), TLSKeys: func() [][32]byte { return n.tlsKeys(n.machine) },
			Attester: n.machine, Tick: memory, Log: n.logger("proxy"), Now: time.Now,
		},
	)
	check(n.t, err)
	serve := func(one func(context.Context, net.Conn, proxy.Peer) error) router.Handler {
		return func(ctx context.Context, c *ratls.Conn) {
			if err := one(ctx, c, proxy.PeerOf(c)); err != nil {
				n.logger("proxy").Info("Session ended", slog.Any("err", err))
			}
		}
	}
	n.background("proxy", n.proxy.Run)
	const port = `{"port":%d,"type":"reverse","policy_name":%q,"destination_host":"localhost","destination_port":%d,"pow_difficulty":4}`
	n.router("proxy", n.machine, door{
		"workers", worker.image, fmt.Sprintf(port+","+port, clientPort, "any", clientPort, workerPort, "workers", workerPort),
		map[uint16]router.Handler{clientPort: serve(n.proxy.ServeClient), workerPort: serve(n.proxy.ServeWorker)},
	})
}

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
	dialer := n.router("worker", of, door{policy: "proxies", image: n.machine.image})
	const concurrent = 8
	var err error
	node.worker, err = worker.New(
		worker.Config{Owner: address(byte(0x70 + i)).Friendly(false), Model: model, Coefficient: 1000, MaxActive: concurrent, ProxyCount: 1, Test: true},
		worker.Deps{
			Engine: adapter, Proxies: func() []string { return []string{n.doors[workerPort]} },
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
	n.background("worker", node.worker.Run)
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
	pool, err := upstream.New(upstream.Config{
		Proxies: []string{n.doors[clientPort]}, Dial: judging.Dial, Account: attest.SecretAccount{Wallet: address(4).Friendly(false)}, Test: true,
		Now: time.Now, Log: n.logger("gateway"), Backoff: 10 * time.Millisecond, Poll: 20 * time.Millisecond,
	})
	check(n.t, err)
	store, err := receipts.Open(receipts.Config{Dir: n.t.TempDir(), Now: time.Now})
	check(n.t, err)
	n.t.Cleanup(func() { check(n.t, store.Close()) })
	server, err := gateway.New(gateway.Config{
		Pool: pool, Keys: o.keys, Store: store, Checker: receipts.NewChecker(judging, time.Now), Test: true, Owner: address(4).Friendly(false),
		Now: time.Now, Log: n.logger("gateway"),
	})
	check(n.t, err)
	l, err := new(net.ListenConfig).Listen(n.t.Context(), "tcp", "127.0.0.1:0")
	check(n.t, err)
	n.url = "http://" + l.Addr().String()
	n.background("gateway", func(ctx context.Context) error { return server.Run(ctx, l) })
	n.t.Cleanup(n.client.CloseIdleConnections) // the gateway waits for connections that are open
	if o.strangeWorkers || o.unlisted || o.strangeProxy {
		return
	}
	n.until("the workers are on offer", func() bool {
		offered := 0
		for _, s := range pool.Status() {
			for _, m := range s.Models {
				offered += len(m.Instances)
			}
		}
		return offered == len(n.workers)
	})
}
