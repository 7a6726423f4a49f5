package main

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/sync/errgroup"

	"cocoon/cmd/internal/cli"
	"cocoon/contracts/registry"
	"cocoon/contracts/registry/follow"
	"cocoon/host/gateway/attest"
	"cocoon/host/gateway/receipts"
	"cocoon/host/gateway/rootview"
	"cocoon/host/gateway/upstream"
	"cocoon/measure/dcap"
	"cocoon/measure/policy"
	"cocoon/measure/ratls"
	"cocoon/measure/ratls/pcs"
)

// gatewayNet is what the flags make of the network: who is met, by which rules.
type gatewayNet struct {
	g      *gatewayFlags
	pool   *upstream.Pool
	attest *attest.Network
	view   *rootview.View // nil without a root contract
	cache  *pcs.Cache
	// checker judges receipts; nil where none are judged. It is set before anything runs.
	checker *receipts.Checker
}

func (n *gatewayNet) close() {
	n.cache.Close()
}

// network makes it; nothing is connected yet. The state folder is only used where one is named.
func (g *gatewayFlags) network(ctx context.Context, a *app) (*gatewayNet, error) {
	account := attest.SecretAccount{Wallet: g.wallet, Proxies: g.contracts}
	if g.secret != "" {
		data, err := cli.ReadFile(g.secret, cli.MaxSmallFile)
		if err != nil {
			return nil, fmt.Errorf("reading secret: %w", err)
		}
		if account.Key = bytes.TrimSpace(data); len(account.Key) == 0 {
			return nil, cli.Tag(cli.KindUsage, fmt.Errorf("reading secret: %s is empty", g.secret), "it holds the secret that the payment channels were opened with")
		}
	}
	n := &gatewayNet{g: g}
	if err := n.root(a); err != nil {
		return nil, err
	}
	cfg, err := n.trusted(ctx, a)
	if err != nil {
		return nil, err
	}
	n.attest = attest.New(cfg)
	use := upstream.Config{
		Proxies: n.wanted(), Dial: n.attest.Dial, Account: account, Test: g.test, AllowUnverified: g.unverified, MaxVersion: g.protocol,
		ScoreFile: g.scores, Now: a.now, Log: a.logger(),
	}
	if n.view != nil {
		use.ConfigVersion, use.Account = n.view.ConfigVersion, attest.RootAccount{SecretAccount: account, Root: n.view}
	}
	if n.pool, err = upstream.New(use); err != nil {
		n.close()
		return nil, cli.Tag(cli.KindUsage, err)
	}
	return n, nil
}

// root opens the view of the root contract, if there is one.
func (n *gatewayNet) root(a *app) error {
	if !n.g.rooted() {
		return nil
	}
	c := n.g.chain
	at, err := parseAddress("--root-contract", c.root)
	if err != nil {
		return err
	}
	id, err := registry.ParseNetwork(c.network)
	if err != nil {
		return cli.Tag(cli.KindUsage, fmt.Errorf("--network: %w", err))
	}
	dir, err := c.state(a)
	if err != nil {
		return err
	}
	section := &follow.Section{Address: at, Network: id, Config: c.globalConfig, Dir: dir, OneServer: c.oneServer}
	root, err := follow.New(section, follow.Deps{Now: a.now, Log: a.logger()})
	if err != nil {
		return cli.Tag(cli.KindUsage, err, "name the network's file with --global-config, and see \"cocoon root show\"")
	}
	n.view, err = rootview.New(root, n.changed)
	return err
}

// wanted are the proxies to use now: those that are named, then those that the root contract registers.
func (n *gatewayNet) wanted() []string {
	out := slices.Compact(slices.Clone(n.g.proxies))
	if n.view == nil || !n.g.discover {
		return out
	}
	for _, p := range n.view.Proxies() {
		if !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	return out
}

// changed follows the root contract: its proxies come and go, those that it lists no more lose their sessions, and new
// parameters give all contracts new addresses (protocol.md section 4.1).
func (n *gatewayNet) changed(c rootview.Changes) {
	n.pool.Set(n.wanted())
	n.attest.Notify("root")
	if n.checker != nil {
		n.checker.Rejudge()
	}
	if c.Params {
		n.pool.Renew()
	}
	n.pool.Retry()
}

// run keeps what is known of the network fresh until ctx ends.
func (n *gatewayNet) run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return n.attest.Run(ctx) })
	if n.view != nil {
		group.Go(func() error { return n.view.Run(ctx) })
	}
	return group.Wait()
}

// form is how proxies are reached, for people.
func (n *gatewayNet) form() string {
	switch {
	case n.g.router != "":
		return "external router at " + n.g.router
	case n.g.trust.sources.root != "":
		return "router in process, simulated platforms (local network)"
	default:
		return "router in process"
	}
}

// trusted is by what proxies, workers and prices are judged.
func (n *gatewayNet) trusted(ctx context.Context, a *app) (attest.Config, error) {
	g := n.g
	out := attest.Config{Now: a.now, PricePerToken: g.price, Unverified: g.unverified, Log: a.logger()}
	roots, err := trustedRoots(g.trust.sources.root)
	if err != nil {
		return out, err
	}
	if out.Multipliers, err = g.multiplied(); err != nil {
		return out, err
	}
	if out.Proxies, err = g.policyOf(g.trust.policy, g.trust.images); err != nil {
		return out, err
	}
	if out.Workers, err = g.policyOf(g.workers, nil); err != nil {
		return out, err
	}
	if n.view != nil {
		out.Prices, out.ProxyImages, out.WorkerImages = n.view, n.view.Images(registry.Proxies), n.view.Images(registry.Workers)
	}
	if err := unusable(out, g.rooted()); err != nil {
		return out, err
	}
	if g.router != "" {
		out.Router = &attest.Router{Address: g.router, Policy: g.routerPolicy}
	}
	sources, err := g.trust.sources.config(a)
	if err != nil {
		return out, err
	}
	sources.Changed = func(dcap.Platform, *dcap.Collateral) { n.collateralChanged() }
	cache, _, err := openSources(sources)
	if err != nil {
		return out, err
	}
	n.cache = cache
	out.Collateral, out.Verifier = cache, dcap.NewVerifier(roots, gatewayQuotes)
	out.Judge, err = ratls.NewJudge(ratls.JudgeConfig{Verifier: out.Verifier, Collateral: cache, Now: a.now})
	if err == nil {
		var identity *ratls.Identity
		if identity, err = ratls.NewIdentity(ratls.IdentityConfig{Now: a.now}); err == nil {
			out.Identity, err = identity, identity.Refresh(ctx)
		}
	}
	if err != nil {
		cache.Close()
	}
	return out, err
}

// collateralChanged has proxies judged anew by collateral that is new.
func (n *gatewayNet) collateralChanged() {
	if n.attest != nil {
		n.attest.Notify("collateral")
	}
}

// unusable refuses policies that need a list which nobody gives.
func unusable(c attest.Config, rooted bool) error {
	for flag, p := range map[string]*policy.Policy{"--policy": c.Proxies, "--worker-policy": c.Workers} {
		if p != nil && p.ImageSource() == policy.FromChain && !rooted {
			return cli.Tag(cli.KindUsage, fmt.Errorf("%s: its image_source is chain, and there is no root contract to read", flag),
				"name the network with --global-config FILE and --root-contract ADDRESS, or list images in the policy")
		}
	}
	return nil
}

// policyOf is a policy from a file, from a list of images, or, with neither, from the root contract; nil without one.
func (g *gatewayFlags) policyOf(file string, images []string) (*policy.Policy, error) {
	if file != "" || len(images) > 0 {
		p := peerFlags{policy: file, images: images, sources: g.trust.sources}
		return p.rules()
	}
	if !g.rooted() {
		return nil, nil //nolint:nilnil // no policy is a choice
	}
	p := peerFlags{sources: g.trust.sources}
	made, err := p.rules()
	if err != nil {
		return nil, err
	}
	r := made.Rules()
	r.ImageSource = policy.FromChain
	out, err := policy.New(r)
	if err != nil {
		return nil, cli.Tag(cli.KindUsage, err)
	}
	return out, nil
}

// isLoopback tells an address of this machine alone.
func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}
