package network

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"cocoon/contracts/registry"
	"cocoon/contracts/registry/follow"
	"cocoon/host/gateway"
	"cocoon/host/gateway/attest"
	"cocoon/host/gateway/keys"
	"cocoon/host/gateway/receipts"
	"cocoon/host/gateway/rootview"
	"cocoon/host/gateway/upstream"
	"cocoon/measure/dcap"
	"cocoon/measure/policy"
	"cocoon/measure/ratls"
	"cocoon/measure/ratls/pcs/sources"
)

// newTrust is by what the gateway judges proxies and workers: this platform and its two images.
func (n *Network) newTrust(ctx context.Context) (*attest.Network, error) {
	roots := n.platform.Roots()
	cache, _, err := sources.Open(sources.Config{Roots: roots, Now: n.cfg.Now, PCCS: []string{n.sim.pcs}, NoIntel: true, Log: n.cfg.Log})
	if err != nil {
		return nil, err
	}
	n.closers = append(n.closers, func() error { cache.Close(); return nil })
	only := func(image string) (*policy.Policy, error) {
		images := fmt.Sprintf(`"image_source":"list","allowed_image_hashes":[%q]`, image)
		if n.chain != nil {
			images = `"image_source":"chain"`
		}
		return policy.Parse(fmt.Appendf(nil, `{"type":"tdx","allow_simulated":true,"allowed_collateral_root_hashes":[%q],%s}`, n.sim.rootID, images))
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
	cfg := attest.Config{
		Proxies: proxies, Workers: workers, Judge: judge, Verifier: verifier, Collateral: cache, Identity: nobody, PricePerToken: price, Now: n.cfg.Now, Log: n.cfg.Log,
	}
	if v := n.view; v != nil {
		cfg.Prices, cfg.ProxyImages, cfg.WorkerImages = v, v.Images(registry.Proxies), v.Images(registry.Workers)
	}
	return attest.New(cfg), err
}

// follow opens the gateway's view of the root contract, and reads it: the proxies are found there.
func (n *Network) follow(ctx context.Context) error {
	if n.chain == nil {
		return nil
	}
	data, err := json.Marshal(n.chain.section(filepath.Join(n.cfg.Dir, "gateway-root")))
	if err != nil {
		return err
	}
	section, err := follow.ParseSection(data)
	if err != nil {
		return err
	}
	root, err := follow.New(section, follow.Deps{Now: n.cfg.Now, Log: n.cfg.Log})
	if err != nil {
		return err
	}
	if err := root.Refresh(ctx); err != nil {
		return err
	}
	n.view, err = rootview.New(root, func(c rootview.Changes) {
		n.pool.Set(n.view.Proxies())
		n.trust.Notify("root")
		if c.Params { // all contracts have new addresses
			n.pool.Renew()
		}
		n.pool.Retry()
	})
	return err
}

// startGateway starts the client role.
func (n *Network) startGateway(ctx context.Context) error {
	err := n.follow(ctx)
	if err != nil {
		return err
	}
	if n.trust, err = n.newTrust(ctx); err != nil {
		return err
	}
	if err := n.meetProxies(ctx); err != nil {
		return err
	}
	return n.serveApps(ctx)
}

// meetProxies makes the gateway's ways to the proxies.
func (n *Network) meetProxies(ctx context.Context) (err error) {
	proxies := make([]string, 0, len(n.roles))
	for _, r := range n.roles {
		if r.kind == proxyKind {
			proxies = append(proxies, local(r.clients))
		}
	}
	const retry, poll = 100 * time.Millisecond, time.Second // everybody is near
	account := attest.SecretAccount{Wallet: member(clientParty, 0)}
	use := upstream.Config{
		Proxies: proxies, Dial: n.trust.Dial, Account: account, Test: true, Now: n.cfg.Now, Log: n.cfg.Log, Backoff: retry, Poll: poll,
	}
	if n.view != nil {
		use.Account, use.ConfigVersion = attest.RootAccount{SecretAccount: account, Root: n.view}, n.view.ConfigVersion
	}
	if n.pool, err = upstream.New(use); err != nil {
		return err
	}
	n.parts.start(ctx, "gateway's trust", n.trust.Run)
	return nil
}

// serveApps starts the gateway's API.
func (n *Network) serveApps(ctx context.Context) error {
	kept := filepath.Join(n.cfg.Dir, "receipts") // those of an earlier platform could not be checked any more
	if err := os.RemoveAll(kept); err != nil {
		return fmt.Errorf("clearing receipts: %w", err)
	}
	store, err := receipts.Open(receipts.Config{Dir: kept, Now: n.cfg.Now})
	if err != nil {
		return err
	}
	n.closers = append(n.closers, store.Close)
	cfg := gateway.Config{
		Pool: n.pool, Keys: new(keys.Book), Store: store, Checker: receipts.NewChecker(n.trust, n.cfg.Now), Test: true, Owner: member(clientParty, 0),
		Build: gateway.Build{Version: n.cfg.Version, Commit: n.cfg.Commit}, Now: n.cfg.Now, Log: n.cfg.Log,
	}
	if n.view != nil {
		cfg.Chain, cfg.Root = n.view, n.view.Address()
		n.parts.start(ctx, "gateway's view of the root", n.view.Run)
	}
	server, err := gateway.New(cfg)
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

// ready waits until every proxy has every worker on offer.
func (n *Network) ready(ctx context.Context) error {
	began := n.cfg.Now()
	ctx, cancel := context.WithTimeout(ctx, readyIn)
	defer cancel()
	const every = 20 * time.Millisecond
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		missing := n.missing()
		if missing == "" {
			return nil
		}
		select {
		case one := <-n.parts.ended:
			return fmt.Errorf("the %s ended before the network was ready", one.name) // stop says why
		case <-ctx.Done():
			return fmt.Errorf("%s after %s: %w", missing, n.cfg.Now().Sub(began).Round(time.Millisecond), ctx.Err())
		case <-tick.C:
		}
	}
}

// missing says which worker is not on offer, or nothing.
func (n *Network) missing() string {
	for _, s := range n.pool.Status() {
		offered := 0
		for _, m := range s.Models {
			offered += len(m.Instances)
		}
		if want := max(n.cfg.Workers, 1); offered < want {
			return fmt.Sprintf("%d of %d workers are on offer at %s, which is %s: %s", offered, want, s.Address, s.State, s.Reason)
		}
	}
	return ""
}
