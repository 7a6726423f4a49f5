package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"cocoon/contracts/registry"
	"cocoon/contracts/wire/tl"
	"cocoon/guest/config"
	"cocoon/guest/rootview"
	"cocoon/guest/router"
	"cocoon/guest/worker"
	"cocoon/guest/worker/engine"
)

// workerProcess is what `init worker` is made of. Its functions are replaced by tests.
type workerProcess struct {
	cfg        *workerConfig
	log        *slog.Logger
	allowLocal bool
	// root is what the section root leads to; nil without one.
	root *roleRoot
	// dial replaces the router; nil means it.
	dial func(ctx context.Context, address string) (net.Conn, worker.Peer, error)
	// inner is the router within; nil where there is another way.
	inner *routerProcess

	background []func(ctx context.Context) error
	closers    []func()
}

// runWorker is `init worker -c FILE`.
func runWorker(ctx context.Context, out io.Writer, args []string) (int, error) {
	start, code, err := readStart("worker", out, args)
	if start == nil {
		return code, err
	}
	cfg, warnings, err := parseWorkerConfig(start.file)
	if err != nil {
		return exitUsage, fmt.Errorf("%s: %w", start.path, err)
	}
	p := &workerProcess{cfg: cfg, allowLocal: start.allowLocal, log: start.logger(warnings)}
	stop, cancel := signal.NotifyContext(ctx, unix.SIGTERM, unix.SIGINT)
	defer cancel()
	return served(stop, p.run(stop))
}

// run serves until ctx ends or something it needs breaks.
func (p *workerProcess) run(ctx context.Context) error {
	defer func() {
		for _, c := range p.closers {
			c()
		}
	}()
	w, err := p.build(ctx)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return w.Run(ctx) })
	if p.cfg.HTTPPort != 0 {
		machine, err := p.self(ctx)
		if err != nil {
			return err
		}
		pages := workerPages(w, machine, p.cfg, p.log)
		group.Go(func() error { return pages.serve(ctx, p.cfg.HTTPPort) })
	}
	for _, background := range p.background {
		group.Go(func() error { return background(ctx) })
	}
	return group.Wait()
}

// build wires the worker.
func (p *workerProcess) build(ctx context.Context) (*worker.Worker, error) {
	cfg := p.cfg
	adapter, err := p.engine()
	if err != nil {
		return nil, err
	}
	p.closers = append(p.closers, adapter.Close)
	if p.root, err = cfg.follow(ctx, rootview.Config{Test: cfg.Test, Own: registry.Workers, Model: cfg.Model}, time.Now, p.log); err != nil {
		return nil, err
	}
	if p.root != nil {
		p.closers = append(p.closers, p.root.follower.Close)
		p.background = append(p.background, p.root.follower.Run)
	}
	if p.dial == nil {
		if err := p.connectBy(ctx); err != nil {
			return nil, err
		}
	}
	public, key, err := ed25519.GenerateKey(rand.Reader) // never leaves the process: a restart makes another
	if err != nil {
		return nil, fmt.Errorf("making receipt key: %w", err)
	}
	coefficient, err := p.coefficient()
	if err != nil {
		return nil, err
	}
	deps := worker.Deps{
		Engine: adapter, Dial: p.dial, ReceiptKey: key, KeyID: "worker-" + hex.EncodeToString(public[:8]), Log: p.log, Now: time.Now,
	}
	if err := p.networkOf(&deps); err != nil {
		return nil, err
	}
	w, err := worker.New(worker.Config{
		Owner: cfg.Owner, Model: cfg.Model, Coefficient: coefficient, MaxActive: int(cfg.MaxActive), ProxyCount: int(cfg.Connections),
		Test: cfg.Test, CostFields: cfg.CostFields,
	}, deps)
	if err == nil && p.root != nil {
		p.root.follower.OnChange(func(*registry.Snapshot) { w.RootChanged() })
	}
	return w, err
}

// networkOf fills in what the network says: the root contract's part of it where there is a root, else the file's.
func (p *workerProcess) networkOf(d *worker.Deps) error {
	cfg := p.cfg
	d.Proxies = func() []string { return cfg.Proxies }
	if p.root == nil {
		images, err := cfg.images()
		if err != nil {
			return err
		}
		prices := worker.Prices{PerToken: uint64(cfg.Price), Multipliers: cfg.Multipliers} //nolint:gosec // checked with the file
		d.CheckPeer = func(peer worker.Peer) error { return checkProxy(peer, images, cfg.CheckProxies) }
		d.Prices = func() worker.Prices { return prices }
		return nil
	}
	view := p.root.view
	d.CheckPeer = func(peer worker.Peer) error {
		if !cfg.CheckProxies {
			return nil
		}
		return view.CheckProxy(peer)
	}
	d.CheckProxy = func(p *tl.ProxyParams, workerSC string) error {
		return view.CheckContracts(rootview.Contracts{
			ProxyOwner: p.ProxyOwnerAddress, Proxy: p.ProxySCAddress, ProxyKey: p.ProxyPublicKey, WorkerOwner: cfg.Owner, Worker: workerSC,
		})
	}
	d.Prices, d.Eligible, d.Sync = view.Prices, view.Eligible, p.root.follower.State
	if len(cfg.Proxies) == 0 {
		d.Proxies = view.Addresses
	}
	return nil
}

// self is what the worker's page says of this machine.
func (p *workerProcess) self(ctx context.Context) (*self, error) {
	var eligible func() error
	if p.root != nil {
		eligible = p.root.view.Eligible
	}
	return selfOf(ctx, p.inner, eligible)
}

// checkProxy says whether a peer runs a listed image. Only a test network may do without.
func checkProxy(peer worker.Peer, images map[[32]byte]bool, needed bool) error {
	switch {
	case !needed:
		return nil
	case !peer.Attested:
		return peer.Unattested("the proxy")
	case !images[peer.Image]:
		return fmt.Errorf("the proxy's image %x is not in proxy_image_hashes", peer.Image)
	}
	return nil
}

// engine makes the adapter: for the engine that this machine was started with, or for one that runs elsewhere.
func (p *workerProcess) engine() (*engine.Adapter, error) {
	cfg, err := engineSettings(p.cfg.Engine, engineFile)
	if err != nil {
		return nil, err
	}
	if cfg.Kind == engine.Fake && !p.allowLocal {
		return nil, errors.New("this image refuses the fake engine")
	}
	switch {
	case p.cfg.EngineSocket != "":
		cfg.Listen = "unix:" + p.cfg.EngineSocket
	case p.cfg.ForwardTo != "":
		cfg.Listen = p.cfg.ForwardTo
	}
	name, _, _ := strings.Cut(p.cfg.Model, "@")
	cfg.Call(name)
	return engine.New(cfg)
}

// engineSettings are the measured ones of this machine's engine, where PID 1 has left them; otherwise an engine.toml, or
// the one of a kind that comes with the worker. A machine's worker may name the kind, and no other.
func engineSettings(name, measured string) (*engine.Config, error) {
	data, err := readRouterFile(measured)
	switch {
	case err == nil:
		cfg, err := engine.Parse(data)
		if err == nil && name != "" && name != cfg.Kind {
			return nil, fmt.Errorf("engine: this machine's is %s, by its measured %s; leave %q out", cfg.Kind, config.EngineFile, name)
		}
		if err == nil && !strings.HasPrefix(cfg.Listen, "unix:") { // its loopback is the sandbox's own
			cfg.Listen = "unix:" + filepath.Join(engineSocketDir, engine.ForwardedSocket)
		}
		return cfg, err
	case !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("reading %s: %w", measured, err)
	case strings.HasSuffix(name, ".toml"):
		if data, err = readRouterFile(name); err != nil {
			return nil, fmt.Errorf("reading engine.toml: %w", err)
		}
		return engine.Parse(data)
	case name == "":
		name = defaultEngine
	}
	return engine.Builtin(name)
}

// checkWorkerSpec compares what the worker of a machine will announce with what the machine has measured.
func checkWorkerSpec(data []byte, model *config.Model) error {
	cfg, _, err := parseWorkerConfig(data)
	switch {
	case err != nil:
		return err
	case model == nil:
		return fmt.Errorf("worker.json announces the model %q, and %s names none", cfg.Model, config.RoleFile)
	case cfg.Model != model.ID:
		return fmt.Errorf("worker.json announces the model %q, the machine has measured %q", cfg.Model, model.ID)
	}
	return nil
}

// connectBy chooses the way to proxies: a router beside this process, or one within.
func (p *workerProcess) connectBy(ctx context.Context) error {
	if p.cfg.Via != "" {
		roots, err := p.cfg.roots()
		if err == nil {
			err = p.cfg.permit(p.allowLocal)
		}
		if err != nil {
			return err
		}
		p.dial = dialVia(p.cfg.Via, roots)
		return p.learnImage(ctx, nil)
	}
	read := func() (*router.Config, error) { return router.Parse([]string{"-c", p.cfg.Router}, readRouterFile) }
	cfg, err := read()
	if err != nil {
		return err
	}
	reload := make(chan os.Signal, 1)
	signal.Notify(reload, unix.SIGHUP)
	inner := &routerProcess{
		cfg: cfg, log: p.log, now: time.Now, allowLocal: p.allowLocal, openQuotes: openHardwareQuotes, reload: reload, reparse: read,
	}
	if p.root != nil {
		inner.root, inner.lists = p.root.follower, []registry.List{registry.Proxies}
	}
	p.inner = inner
	r, err := inner.build(ctx)
	if err != nil {
		return err
	}
	p.closers = append(p.closers, func() { signal.Stop(reload) }, inner.close)
	p.background = append(p.background, r.Run, func(ctx context.Context) error { return inner.reloads(ctx, r) })
	p.background = append(p.background, inner.background...)
	p.dial = dialRouter(r, p.cfg.Policy)
	return p.learnImage(ctx, inner)
}

// learnImage lets the root's view of this worker know its image.
func (p *workerProcess) learnImage(ctx context.Context, inner *routerProcess) error {
	if p.root == nil {
		return nil
	}
	return p.root.learnImage(ctx, inner, p.log)
}

// coefficient is the configured price, or the one that was set since.
func (p *workerProcess) coefficient() (int32, error) {
	set := p.cfg.Coefficient
	if p.cfg.StateDir == "" {
		return int32(set), nil //nolint:gosec // checked with the file
	}
	data, err := os.ReadFile(filepath.Join(p.cfg.StateDir, coefficientFile))
	if errors.Is(err, fs.ErrNotExist) {
		return int32(set), nil //nolint:gosec // checked with the file
	}
	if err != nil {
		return 0, fmt.Errorf("reading the coefficient that was set: %w", err)
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(data)), 10, 32)
	if err != nil {
		return 0, fmt.Errorf("reading %s: %w; remove the file", coefficientFile, err)
	}
	return int32(n), nil
}
