package network

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"cocoon/host/gateway/attest"
	"cocoon/host/gateway/rootview"
	"cocoon/host/gateway/upstream"
	"cocoon/measure/measuretest"
)

// Network is a running network.
type Network struct {
	cfg   Config
	parts *parts
	about Description
	// sockets is a folder for unix sockets.
	sockets  string
	platform *measuretest.Platform
	sim      simulation
	roles    []*role
	chain    *chainPart     // nil without one
	view     *rootview.View // likewise
	trust    *attest.Network
	pool     *upstream.Pool
	closers  []func() error
}

// Start starts everything and returns when the gateway has a worker to offer. Run must follow.
func Start(ctx context.Context, cfg Config) (*Network, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("starting local network: %w", errors.Join(err, cfg.Lock.Close()))
	}
	if cfg.Lock == nil {
		var err error
		if cfg.Lock, err = Take(cfg.Dir); err != nil {
			return nil, fmt.Errorf("starting local network: %w", err)
		}
	}
	began := cfg.Now()
	n := &Network{cfg: cfg, parts: newParts(), closers: []func() error{cfg.Lock.Close}}
	err := n.start(ctx)
	if err == nil {
		err = n.ready(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("starting local network: %w", errors.Join(err, n.stop()))
	}
	n.about.Ready = cfg.Now().Sub(began).Milliseconds()
	if err := n.publish(); err != nil {
		return nil, fmt.Errorf("starting local network: %w", errors.Join(err, n.stop()))
	}
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
	for _, c := range slices.Backward(n.closers) { // the lock is the first and goes last
		err = errors.Join(err, c())
	}
	n.closers = nil
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
	if n.sockets, err = makeSockets(dir); err != nil {
		return err
	}
	n.closers = append(n.closers, func() error { return clearSockets(dir) })
	n.roles = newRoles(&n.cfg, n.sockets)
	if err = freePorts(ctx, n.roles); err != nil {
		return err
	}
	for _, step := range []func(context.Context) error{
		n.startTDX,
		n.startChain,
		n.startRoles,
		n.startGateway,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	n.about = Describe(&n.cfg)
	n.about.RootID, n.about.ProxyImage, n.about.WorkerImage = n.sim.rootID, n.sim.proxyImage, n.sim.workerImage
	for _, r := range n.roles {
		n.about.Roles = append(n.about.Roles, r.describe(dir))
	}
	if n.chain != nil {
		n.about.Chain = &n.chain.about
	}
	n.about.Proxy = n.about.Roles[0].Clients
	return nil
}

// startRoles starts the proxies, then each worker after its engine.
func (n *Network) startRoles(ctx context.Context) error {
	for _, r := range n.roles {
		if r.kind == workerKind {
			if err := n.startEngine(ctx, r); err != nil {
				return err
			}
		}
		if err := n.writeRole(r); err != nil {
			return err
		}
		n.startRole(ctx, r)
	}
	return nil
}
