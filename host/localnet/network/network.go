package network

import (
	"context"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"cocoon/host/collateral"
	"cocoon/host/gateway"
	"cocoon/host/gateway/attest"
	"cocoon/host/gateway/keys"
	"cocoon/host/gateway/receipts"
	"cocoon/host/gateway/upstream"
	"cocoon/measure/dcap"
	"cocoon/measure/eventlog"
	"cocoon/measure/measuretest"
	"cocoon/measure/policy"
	"cocoon/measure/ratls"
	"cocoon/measure/tdx"
)

// Network is a running network.
type Network struct {
	cfg   Config
	parts *parts
	about Description
	// sockets is a folder for unix sockets, whose paths must be short.
	sockets  string
	platform *measuretest.Platform
	sim      simulation
	ports    ports
	pool     *upstream.Pool
	closers  []func() error
}

// Start starts everything and returns when the gateway has a worker to offer. Run must follow.
func Start(ctx context.Context, cfg Config) (*Network, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("starting local network: %w", err)
	}
	began := cfg.Now()
	n := &Network{cfg: cfg, parts: newParts()}
	err := n.start(ctx)
	if err == nil {
		err = n.ready(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("starting local network: %w", errors.Join(err, n.stop()))
	}
	n.about.Ready = cfg.Now().Sub(began).Milliseconds()
	return n, nil
}

// Description says what runs and where.
func (n *Network) Description() Description { return n.about }

// Run returns when ctx ends or something that is needed breaks, after everything has ended in order.
func (n *Network) Run(ctx context.Context) error {
	err := n.parts.wait(ctx)
	return errors.Join(err, n.stop())
}

func (n *Network) stop() error {
	err := n.parts.stop()
	for _, c := range n.closers {
		err = errors.Join(err, c())
	}
	return err
}

func (n *Network) start(ctx context.Context) error {
	for _, path := range []*string{&n.cfg.Dir, &n.cfg.Guest} { // children are not found by their path otherwise
		abs, err := filepath.Abs(*path)
		if err != nil {
			return err
		}
		*path = abs
	}
	dir := n.cfg.Dir
	var err error
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("making folder: %w", err)
	}
	if n.sockets, err = os.MkdirTemp("", "localnet-"); err != nil {
		return err
	}
	n.closers = append(n.closers, func() error { return os.RemoveAll(n.sockets) })
	if n.ports, err = freePorts(); err != nil {
		return err
	}
	_, full := n.cfg.model()
	socket := filepath.Join(n.sockets, "engine.sock")
	for _, step := range []func(context.Context) error{
		n.startTDX,
		func(ctx context.Context) error { return n.startEngine(ctx, socket) },
		func(context.Context) error {
			return writeFiles(dir, n.sim.roleFiles(dir, n.cfg.kind(), full, socket, n.ports))
		},
		func(ctx context.Context) error { n.startRole(ctx, "proxy"); return nil },
		func(ctx context.Context) error { n.startRole(ctx, "worker"); return nil },
		n.startGateway,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	n.about = Describe(&n.cfg)
	n.about.RootID, n.about.ProxyImage, n.about.WorkerImage = n.sim.rootID, n.sim.proxyImage, n.sim.workerImage
	n.about.Proxy = fmt.Sprintf("127.0.0.1:%d", n.ports.clients)
	return nil
}

// startTDX starts the simulated platform: two TDs of different images, and the provisioning service.
func (n *Network) startTDX(ctx context.Context) error {
	var err error
	if n.platform, err = measuretest.NewPlatform(measuretest.Options{Seed: n.cfg.Seed, Now: n.cfg.Now()}); err != nil {
		return err
	}
	root := n.platform.RootID()
	n.sim.rootID = hex.EncodeToString(root[:])
	n.sim.root = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: n.platform.RootCertificate().Raw}))
	for _, td := range []struct {
		role          string
		device, image *string
	}{{"proxy", &n.sim.proxy, &n.sim.proxyImage}, {"worker", &n.sim.worker, &n.sim.workerImage}} {
		if *td.device, *td.image, err = n.launch(ctx, td.role); err != nil {
			return err
		}
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listening for collateral: %w", err)
	}
	n.sim.pcs = "http://" + l.Addr().String()
	service := measuretest.NewService(n.platform)
	n.parts.start(ctx, "provisioning service", func(ctx context.Context) error { return serveHTTP(ctx, l, service) })
	return nil
}

// launch starts the TD of a role, whose name is measured, and says where its quotes are and which image it is.
func (n *Network) launch(ctx context.Context, role string) (device, image string, err error) {
	name := []byte("local network's " + role)
	events := append(measuretest.DefaultEvents(), measuretest.Event{Register: tdx.RTMR2, Type: eventlog.EFIAction, Digest: tdx.Sum(name), Data: name})
	td, err := n.platform.Launch(measuretest.TDOptions{Events: events})
	if err != nil {
		return "", "", err
	}
	m := td.Measurements()
	hash, err := tdx.PublishableHash(&m)
	if err != nil {
		return "", "", err
	}
	path := filepath.Join(n.sockets, role+".td")
	l, err := new(net.ListenConfig).Listen(ctx, "unix", path)
	if err != nil {
		return "", "", fmt.Errorf("listening for the %s's TD: %w", role, err)
	}
	n.parts.start(ctx, role+"'s TD", func(ctx context.Context) error { return td.Serve(ctx, l, n.cfg.Log) })
	return "unix:" + path, hash.String(), nil
}

// startRole runs a service of the guest binary.
func (n *Network) startRole(ctx context.Context, role string) {
	n.parts.start(ctx, role, func(ctx context.Context) error {
		cmd := exec.Command(n.cfg.Guest, role, "-c", filepath.Join(n.cfg.Dir, role+".json")) //nolint:noctx // the caller's binary; child ends it
		cmd.Env = []string{"HOME=" + n.cfg.Dir, "PATH=/usr/bin:/bin"}
		return child(ctx, filepath.Join(n.cfg.Dir, role+".log"), cmd)
	})
}

// trust is by what the gateway judges proxies and workers: this platform and its two images.
func (n *Network) trust(ctx context.Context) (*attest.Network, error) {
	roots := n.platform.Roots()
	cache, _, err := collateral.Open(collateral.Config{Roots: roots, Now: n.cfg.Now, PCCS: []string{n.sim.pcs}, NoIntel: true, Log: n.cfg.Log})
	if err != nil {
		return nil, err
	}
	n.closers = append(n.closers, func() error { cache.Close(); return nil })
	only := func(image string) (*policy.Policy, error) {
		return policy.Parse(fmt.Appendf(nil, `{"type":"tdx","allow_simulated":true,"allowed_collateral_root_hashes":[%q],"image_source":"list",
			"allowed_image_hashes":[%q]}`, n.sim.rootID, image))
	}
	proxies, err := only(n.sim.proxyImage)
	if err != nil {
		return nil, err
	}
	workers, err := only(n.sim.workerImage)
	if err != nil {
		return nil, err
	}
	verifier := dcap.NewVerifier(roots, 0)
	judge, err := ratls.NewJudge(ratls.JudgeConfig{Verifier: verifier, Collateral: cache, Now: n.cfg.Now})
	if err != nil {
		return nil, err
	}
	nobody, err := ratls.NewIdentity(ratls.IdentityConfig{Now: n.cfg.Now})
	if err == nil {
		err = nobody.Refresh(ctx)
	}
	return attest.New(attest.Config{
		Proxies: proxies, Workers: workers, Judge: judge, Verifier: verifier, Collateral: cache, Identity: nobody, PricePerToken: price, Now: n.cfg.Now,
	}), err
}

// startGateway starts the client role.
func (n *Network) startGateway(ctx context.Context) error {
	trust, err := n.trust(ctx)
	if err != nil {
		return err
	}
	const retry, poll = 100 * time.Millisecond, time.Second // everybody is near
	n.pool, err = upstream.New(upstream.Config{
		Proxies: []string{fmt.Sprintf("127.0.0.1:%d", n.ports.clients)}, Dial: trust.Dial, Account: attest.SecretAccount{Wallet: clientOwner},
		Test: true, Now: n.cfg.Now, Log: n.cfg.Log, Backoff: retry, Poll: poll,
	})
	if err != nil {
		return err
	}
	store, err := receipts.Open(receipts.Config{Dir: filepath.Join(n.cfg.Dir, "receipts"), Now: n.cfg.Now})
	if err != nil {
		return err
	}
	n.closers = append(n.closers, store.Close)
	server, err := gateway.New(gateway.Config{
		Pool: n.pool, Keys: new(keys.Book), Store: store, Checker: receipts.NewChecker(trust, n.cfg.Now), Test: true, Owner: clientOwner,
		Build: gateway.Build{Version: n.cfg.Version, Commit: n.cfg.Commit}, Now: n.cfg.Now, Log: n.cfg.Log,
	})
	if err != nil {
		return err
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", n.cfg.Listen)
	if err != nil {
		return fmt.Errorf("listening for apps: %w", err)
	}
	n.cfg.Listen = l.Addr().String() // the port that the system chose
	n.parts.start(ctx, "gateway", func(ctx context.Context) error { return server.Run(ctx, l) })
	return nil
}

// ready waits until a worker is on offer.
func (n *Network) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyIn)
	defer cancel()
	const every = 20 * time.Millisecond
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		s := n.pool.Status()[0]
		if len(s.Models) > 0 && len(s.Models[0].Instances) > 0 {
			return nil
		}
		select {
		case one := <-n.parts.ended:
			return fmt.Errorf("the %s ended before the network was ready", one.name) // stop says why
		case <-ctx.Done():
			return fmt.Errorf("no worker is on offer after %s: the proxy is %s: %s; see the logs in %s: %w", readyIn, s.State, s.Reason, n.cfg.Dir, ctx.Err())
		case <-tick.C:
		}
	}
}
