package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"cocoon/contracts/registry"
	"cocoon/contracts/wire"
	"cocoon/guest/proxy"
	"cocoon/guest/proxy/ledger"
	"cocoon/guest/rootview"
	"cocoon/guest/router"
	"cocoon/guest/worker"
	"cocoon/measure/ratls"
	"cocoon/measure/tdx"
)

const (
	// preambleWait bounds the router's preamble (protocol.md section 2.5).
	preambleWait = 10 * time.Second
	// maxInner bounds the connections from an external router; the router's own limits are lower.
	maxInner = 4096
)

// proxyProcess is what `init proxy` is made of.
type proxyProcess struct {
	cfg        *proxyConfig
	log        *slog.Logger
	allowLocal bool
	now        func() time.Time

	// root is what the section root leads to; nil without one.
	root *roleRoot
	// keyDial is the way to the key manager.
	keyDial func(ctx context.Context, address string) (net.Conn, worker.Peer, error)

	background []func(ctx context.Context) error
	closers    []func()
}

// runProxy is `init proxy -c FILE`.
func runProxy(ctx context.Context, out io.Writer, args []string) (int, error) {
	start, code, err := readStart("proxy", out, args)
	if start == nil {
		return code, err
	}
	cfg, warnings, err := parseProxyConfig(start.file)
	if err != nil {
		return exitUsage, fmt.Errorf("%s: %w", start.path, err)
	}
	p := &proxyProcess{cfg: cfg, allowLocal: start.allowLocal, now: time.Now, log: start.logger(warnings)}
	stop, cancel := signal.NotifyContext(ctx, unix.SIGTERM, unix.SIGINT)
	defer cancel()
	return served(stop, p.run(stop))
}

// run serves until ctx ends or something it needs breaks.
func (p *proxyProcess) run(ctx context.Context) error {
	defer func() {
		for _, c := range p.closers {
			c()
		}
	}()
	server, err := p.build(ctx)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return server.Run(ctx) })
	for _, background := range p.background {
		group.Go(func() error { return background(ctx) })
	}
	return group.Wait()
}

// build wires the proxy and the ways to it.
func (p *proxyProcess) build(ctx context.Context) (*proxy.Proxy, error) {
	if !p.allowLocal {
		return nil, errors.New("this image refuses a test network: its balances are counted in memory, payments on a chain are not in this build")
	}
	p.log.Warn("TEST NETWORK: payments are counted in memory and worth nothing")
	payment, receipts, err := p.keys()
	if err != nil {
		return nil, err
	}
	public, ok := payment.Public().(ed25519.PublicKey)
	if !ok {
		return nil, errors.New("payment key is no ed25519 key")
	}
	chain, err := p.chain(ctx, public)
	if err != nil {
		return nil, err
	}
	books, err := ledger.NewMemory(ledger.Config{Funds: chain.Funds, Signer: ledger.Keyed{Key: payment}})
	if err != nil {
		return nil, err
	}
	ring, err := p.keyRing()
	if err != nil {
		return nil, err
	}
	way := new(doors)
	deps := proxy.Deps{
		Chain: chain, Ledger: books, PaymentKey: public, ReceiptKey: receipts, TLSKeys: way.tlsKeys, Attester: way, Tick: books,
		Log: p.log, Now: p.now,
	}
	if ring != nil {
		deps.PrivateKey = ring.Private
	}
	if p.root != nil {
		deps.Eligible, deps.Sync = p.root.view.Eligible, p.root.follower.State
	}
	server, err := proxy.New(proxy.Config{
		Owner: chain.Owner, Contract: chain.Contract("proxy", chain.Owner), Test: p.cfg.Test, Testnet: p.cfg.Testnet, CheckWorkers: p.cfg.CheckWorkers,
		MaxTokens: int32(p.cfg.MaxTokens), RootContract: p.cfg.RootContract, Repository: p.cfg.Repository, Commit: p.cfg.Commit, //nolint:gosec // checked with the file
	}, deps)
	if err != nil {
		return nil, err
	}
	if err := p.open(ctx, server, way); err != nil {
		return nil, err
	}
	if p.cfg.HTTPPort != 0 {
		machine, err := selfOf(ctx, way.inner, deps.Eligible)
		if err != nil {
			return nil, err
		}
		pages := proxyPages(server, machine, p.cfg.Access, p.log)
		p.background = append(p.background, func(ctx context.Context) error { return pages.serve(ctx, p.cfg.HTTPPort) })
	}
	if p.root == nil {
		return server, nil
	}
	p.root.follower.OnChange(func(*registry.Snapshot) { server.RootChanged() })
	return server, p.root.learnImage(ctx, way.inner, p.log)
}

// chain is what the proxy knows of contracts: the root where the configuration names one, with the addresses that follow
// from it, and made-up accounts.
func (p *proxyProcess) chain(ctx context.Context, key ed25519.PublicKey) (*proxy.Pseudo, error) {
	owner, err := proxy.ParseAddress(p.cfg.Owner)
	if err != nil {
		return nil, err
	}
	images, err := p.cfg.images()
	if err != nil {
		return nil, err
	}
	models := make(map[[32]byte]bool)
	for _, m := range p.cfg.Models {
		models[sha256.Sum256([]byte(m))] = true
	}
	out := &proxy.Pseudo{Owner: owner, WorkerImages: images, Models: models}
	p.root, err = p.cfg.follow(ctx, rootview.Config{Test: p.cfg.Test, Own: registry.Proxies, Owner: owner, Key: [32]byte(key)}, p.now, p.log)
	if err != nil || p.root == nil {
		return out, err
	}
	p.closers = append(p.closers, p.root.follower.Close)
	p.background = append(p.background, p.root.follower.Run)
	out.Follow, out.Derive, p.cfg.RootContract = p.root.view.Proxy, p.root.view.Derive, p.cfg.section.Address.String()
	return out, nil
}

// keys are the one for payments, which the configuration may give, and the one for receipts, which never leaves the
// process: a restart makes another.
func (p *proxyProcess) keys() (payment, receipts ed25519.PrivateKey, err error) {
	seed, err := p.cfg.machineKey()
	if err != nil {
		return nil, nil, err
	}
	if seed == [32]byte{} {
		if _, err := rand.Read(seed[:]); err != nil {
			return nil, nil, fmt.Errorf("making payment key: %w", err)
		}
	}
	_, receipts, err = ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("making receipt key: %w", err)
	}
	return ed25519.NewKeyFromSeed(seed[:]), receipts, nil
}

// open makes the ways in: a router within, whose reverse ports lead to the two ports of the configuration, or an
// external one that connects to them on the loopback and writes a preamble.
func (p *proxyProcess) open(ctx context.Context, server *proxy.Proxy, way *doors) error {
	if p.cfg.Router == "" {
		return p.openInner(ctx, server)
	}
	read := func() (*router.Config, error) { return router.Parse([]string{"-c", p.cfg.Router}, readRouterFile) }
	cfg, err := read()
	if err != nil {
		return err
	}
	handlers, err := p.handlers(cfg, server)
	if err != nil {
		return err
	}
	reload := make(chan os.Signal, 1)
	signal.Notify(reload, unix.SIGHUP)
	inner := &routerProcess{
		cfg: cfg, log: p.log, now: p.now, allowLocal: p.allowLocal, openQuotes: openHardwareQuotes, reload: reload, reparse: read,
		handlers: handlers,
	}
	if p.root != nil {
		inner.root, inner.lists = p.root.follower, []registry.List{registry.Workers}
	}
	way.inner = inner
	r, err := inner.build(ctx)
	if err != nil {
		signal.Stop(reload)
		return err
	}
	if p.keyDial == nil {
		p.keyDial = dialRouter(r, p.cfg.KeyPolicy)
	}
	p.closers = append(p.closers, func() { signal.Stop(reload) }, inner.close)
	p.background = append(p.background, r.Run, func(ctx context.Context) error { return inner.reloads(ctx, r) })
	p.background = append(p.background, inner.background...)
	return nil
}

// openInner listens for an external router.
func (p *proxyProcess) openInner(ctx context.Context, server *proxy.Proxy) error {
	roots, err := p.cfg.roots()
	if err != nil {
		return err
	}
	for _, port := range []struct {
		number int64
		serve  serveFunc
	}{{p.cfg.ClientPort, server.ServeClient}, {p.cfg.WorkersPort, server.ServeWorker}} {
		introduced := func(ctx context.Context, conn net.Conn, pre *wire.Preamble) error {
			return port.serve(ctx, conn, proxy.PeerOfPreamble(pre, roots))
		}
		if err := p.listen(ctx, port.number, introduced); err != nil {
			return err
		}
	}
	return nil
}

type (
	serveFunc func(ctx context.Context, conn net.Conn, peer proxy.Peer) error
	// introducedFunc serves a peer of whom an external router tells.
	introducedFunc func(ctx context.Context, conn net.Conn, pre *wire.Preamble) error
)

// handlers take the place of the destinations of the router's reverse ports.
func (p *proxyProcess) handlers(cfg *router.Config, server *proxy.Proxy) (map[uint16]router.Handler, error) {
	out, found := make(map[uint16]router.Handler), make(map[int64]bool)
	for _, port := range cfg.Ports {
		to := int64(port.Destination.Port)
		serve := map[int64]serveFunc{p.cfg.ClientPort: server.ServeClient, p.cfg.WorkersPort: server.ServeWorker}[to]
		if port.Kind != router.Reverse || serve == nil {
			continue
		}
		found[to] = true
		out[port.Listen] = func(ctx context.Context, conn *ratls.Conn) {
			p.ended(serve(ctx, conn, proxy.PeerOf(conn)))
		}
	}
	for _, needed := range []int64{p.cfg.ClientPort, p.cfg.WorkersPort} {
		if !found[needed] {
			return nil, fmt.Errorf("no reverse port of the router leads to port %d of this proxy: add one", needed)
		}
	}
	return out, nil
}

func (p *proxyProcess) ended(err error) {
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, context.Canceled) {
		p.log.Debug("Session ended", slog.Any("err", err))
	}
}

// listen takes connections of an external router on the loopback.
func (p *proxyProcess) listen(ctx context.Context, port int64, serve introducedFunc) error {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.FormatInt(port, 10)))
	if err != nil {
		return fmt.Errorf("listening for the router: %w", err)
	}
	p.closers = append(p.closers, func() { _ = l.Close() })
	p.background = append(p.background, func(ctx context.Context) error { return p.accept(ctx, l, serve) })
	return nil
}

// accept serves connections until ctx ends, and waits for them.
func (p *proxyProcess) accept(ctx context.Context, l net.Listener, serve introducedFunc) error {
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stop()
	slots := make(chan struct{}, maxInner)
	var open sync.WaitGroup
	defer open.Wait()
	for {
		conn, err := l.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("accepting from the router: %w", err)
		}
		select {
		case slots <- struct{}{}:
		default:
			_ = conn.Close()
			continue
		}
		open.Go(func() {
			defer func() { <-slots }()
			defer conn.Close() //nolint:errcheck // the session has ended
			p.ended(p.inner(ctx, conn, serve))
		})
	}
}

// inner reads who the peer is and serves it.
func (p *proxyProcess) inner(ctx context.Context, conn net.Conn, serve introducedFunc) error {
	if err := conn.SetReadDeadline(p.now().Add(preambleWait)); err != nil {
		return err
	}
	pre, _, err := wire.ReadPreamble(conn)
	if err != nil {
		return err
	}
	if err := conn.SetReadDeadline(time.Time{}); err != nil {
		return err
	}
	return serve(ctx, conn, pre)
}

// doors are what the router within knows of this machine's own evidence.
type doors struct{ inner *routerProcess }

// tlsKeys are the keys of the certificates in use.
func (d *doors) tlsKeys() [][32]byte {
	if d.inner == nil || d.inner.shown == nil {
		return nil
	}
	c, err := d.inner.shown.Certificate(ratls.V1)
	if err != nil || c.Leaf == nil {
		return nil
	}
	key, ok := c.Leaf.PublicKey.(ed25519.PublicKey)
	if !ok || len(key) != ed25519.PublicKeySize {
		return nil
	}
	return [][32]byte{[32]byte(key)}
}

// Attest makes a quote of this machine over what the caller wants proved.
func (d *doors) Attest(ctx context.Context, data [64]byte) (proxy.Evidence, error) {
	if d.inner == nil || d.inner.quoter == nil {
		return proxy.Evidence{}, errors.New("making quote: there is no TD here, or the router outside has it")
	}
	raw, err := d.inner.quoter.Quote(ctx, data)
	if err != nil {
		return proxy.Evidence{}, fmt.Errorf("making quote: %w", err)
	}
	out := proxy.Evidence{Quote: raw}
	if q, err := tdx.ParseQuote(raw); err == nil && q.TD != nil {
		h := tdx.ImageHash(&q.TD.Measurements)
		out.ImageHash = fmt.Sprintf("%x", h[:])
	}
	return out, nil
}
