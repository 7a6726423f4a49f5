package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/sync/errgroup"

	"cocoon/cmd/internal/cli"
	"cocoon/host/gateway"
	"cocoon/host/gateway/attest"
	"cocoon/host/gateway/keys"
	"cocoon/host/gateway/receipts"
	"cocoon/host/gateway/upstream"
	"cocoon/measure/dcap"
	"cocoon/measure/policy"
	"cocoon/measure/ratls"
	"cocoon/measure/ratls/pcs"
)

const (
	// defaultGateway is the reference implementation's port of the client role.
	defaultGateway = "127.0.0.1:10000"
	// gatewayQuotes bounds the judge's cache: proxies and the workers behind them.
	gatewayQuotes = 1024
)

// newGatewayCmd is the noun `gateway`.
func newGatewayCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "gateway",
		Short:   "Give OpenAI clients on this machine attested answers",
		GroupID: groupRun,
	}
	cmd.AddCommand(newGatewayRunCmd(a), newGatewayCheckCmd(a))
	return cmd
}

// gatewayFlags are the flags of the verbs.
type gatewayFlags struct {
	trust                    peerFlags
	proxies, contracts       []string
	wallet, secret, root     string
	admin, token             string
	listen, keys, dir, mode  string
	origins                  []string
	price                    uint64
	test, unverified, strict bool
}

func (g *gatewayFlags) add(f *pflag.FlagSet) {
	f.StringSliceVar(&g.proxies, "proxy", nil, "proxy to use, HOST:PORT; may be repeated")
	f.StringSliceVar(&g.contracts, "proxy-contract", nil, "contract of a proxy that may be paid; may be repeated (default: any)")
	f.StringVar(&g.wallet, "wallet", "", "address of the wallet contract that pays")
	f.StringVar(&g.secret, "secret-file", "", "file with the secret of the payment channels")
	f.StringVar(&g.root, "root-contract", "", "address of the root contract, to show")
	f.BoolVar(&g.test, "test-network", false, "the network is a test network")
	f.BoolVar(&g.unverified, "allow-unverified-proxies", false, "send prompts to proxies that are not verified; for tests only")
	f.StringVar(&g.trust.policy, "policy", "", "policy (JSON) that proxies must meet")
	f.StringSliceVar(&g.trust.images, "image", nil, "image hash of proxies to accept; may be repeated; not with --policy")
	g.trust.sources.add(f, "collateral")
}

// gatewayNet is what the flags make of the network: who is met, by which rules.
type gatewayNet struct {
	pool   *upstream.Pool
	attest *attest.Network
	cache  *pcs.Cache
}

func (n *gatewayNet) close() {
	n.cache.Close()
}

func (g *gatewayFlags) network(ctx context.Context, a *app) (*gatewayNet, error) {
	if len(g.proxies) == 0 {
		return nil, cli.Tag(cli.KindUsage, errors.New("no proxy is named"), "name one with --proxy HOST:PORT")
	}
	for _, p := range g.proxies {
		if _, _, err := net.SplitHostPort(p); err != nil {
			return nil, cli.Usagef("--proxy %q is not HOST:PORT: %w", p, err)
		}
	}
	account := attest.SecretAccount{Wallet: g.wallet, Proxies: g.contracts}
	if g.secret != "" {
		data, err := readSmall(g.secret)
		if err != nil {
			return nil, fmt.Errorf("reading secret: %w", err)
		}
		account.Key = []byte(strings.TrimSpace(string(data)))
	}
	cfg, cache, err := g.trusted(ctx, a)
	if err != nil {
		return nil, err
	}
	n := &gatewayNet{attest: attest.New(cfg), cache: cache}
	n.pool, err = upstream.New(upstream.Config{
		Proxies: g.proxies, Dial: n.attest.Dial, Account: account, Test: g.test, AllowUnverified: g.unverified, Now: a.now, Log: a.logger(),
	})
	if err != nil {
		cache.Close()
		return nil, cli.Tag(cli.KindUsage, err)
	}
	return n, nil
}

// trusted is by what proxies are judged.
func (g *gatewayFlags) trusted(ctx context.Context, a *app) (attest.Config, *pcs.Cache, error) {
	out := attest.Config{Now: a.now, PricePerToken: g.price}
	roots, err := trustedRoots(g.trust.sources.root)
	if err != nil {
		return out, nil, err
	}
	var rules *policy.Policy
	if g.trust.policy != "" || len(g.trust.images) > 0 {
		if rules, err = g.trust.rules(); err != nil {
			return out, nil, err
		}
	}
	sources, err := g.trust.sources.config(a)
	if err != nil {
		return out, nil, err
	}
	cache, _, err := openSources(sources)
	if err != nil {
		return out, nil, err
	}
	out.Proxies, out.Collateral, out.Verifier = rules, cache, dcap.NewVerifier(roots, gatewayQuotes)
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
	return out, cache, err
}

// gatewayRunResult says where the gateway answers. It is printed when it does.
type gatewayRunResult struct {
	Schema   string   `json:"schema"`
	URL      string   `json:"url"`
	Proxies  []string `json:"proxies"`
	Receipts string   `json:"receipts"`
	Keys     bool     `json:"keys"`
	Verified bool     `json:"verified_only"`
}

// Text implements cli.Document.
func (r gatewayRunResult) Text(w io.Writer) error {
	who := "everybody on this machine"
	if r.Keys {
		who = "holders of a key"
	}
	rows := [][]string{
		{"base URL", r.URL + "/v1"}, {"page", r.URL + "/stats"}, {"proxies", strings.Join(r.Proxies, " ")}, {"receipts", r.Receipts}, {"serves", who},
	}
	if !r.Verified {
		rows = append(rows, []string{"WARNING", "proxies need not be verified: prompts may reach anybody"})
	}
	return cli.Table(w, rows)
}

func newGatewayRunCmd(a *app) *cobra.Command {
	var g gatewayFlags
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Serve the OpenAI API and hand requests to attested proxies",
		Long: "Serves the OpenAI API on --listen. Point an SDK at it by its base URL; nothing else changes.\n" +
			"Requests go only to proxies whose evidence meets --policy or --image. Every answer's receipt\n" +
			"is checked and kept. Without --keys only this machine may connect.\n\n" +
			"The file of --keys: {\"keys\":[{\"name\":\"app\",\"sha256\":\"...\",\"requests_per_minute\":60,\n" +
			"\"tokens_per_day\":1000000,\"nano_per_day\":\"5000000000\"}]}; sha256 is of the key itself.",
		Example: "  cocoon gateway run --proxy proxy.example:11001 --wallet UQ... --secret-file s --image 650008eb...\n" +
			"  curl http://127.0.0.1:10000/v1/models",
		Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.runGateway(cmd.Context(), &g) },
	}
	f := cmd.Flags()
	g.add(f)
	f.StringVar(&g.listen, "listen", defaultGateway, "address to answer on; port 0 takes a free one")
	f.StringVar(&g.keys, "keys", "", "file (JSON) of API keys and their budgets")
	f.StringVar(&g.dir, "receipts", "", "folder that keeps receipts (default: in the user's state folder)")
	f.StringVar(&g.mode, "receipt-mode", string(gateway.Record), "what a bad receipt does: record marks it, require refuses the answer")
	f.Uint64Var(&g.price, "price-per-token", 0, "root contract's price in nanoTON that receipts must have; 0 leaves receipts unchecked")
	f.StringVar(&g.admin, "admin-listen", "127.0.0.1:10009", "address for operators, with --admin-token-file")
	f.StringVar(&g.token, "admin-token-file", "", "file with the operators' token; without it there is no such listener")
	f.StringSliceVar(&g.origins, "allow-origin", nil, "web page that browsers may call from, scheme://host[:port]; may be repeated")
	f.BoolVar(&g.strict, "strict", false, "refuse unknown fields of requests instead of dropping them")
	return cmd
}

// book reads the keys, and refuses to serve other machines without any.
func (g *gatewayFlags) book() (*keys.Book, error) {
	host, _, err := net.SplitHostPort(g.listen)
	if err != nil {
		return nil, cli.Usagef("--listen %q is not HOST:PORT: %w", g.listen, err)
	}
	if g.keys != "" {
		data, err := readSmall(g.keys)
		if err != nil {
			return nil, fmt.Errorf("reading keys: %w", err)
		}
		book, err := keys.Parse(data)
		if err != nil {
			return nil, cli.Tag(cli.KindUsage, fmt.Errorf("--keys %s: %w", g.keys, err))
		}
		return book, nil
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, cli.Tag(cli.KindUsage, fmt.Errorf("--listen %s reaches beyond this machine and no API key is set", g.listen),
			"name a file of keys with --keys FILE, or listen on 127.0.0.1")
	}
	return new(keys.Book), nil
}

// runGateway serves until the command is interrupted, which is its normal end.
func (a *app) runGateway(ctx context.Context, g *gatewayFlags) error {
	book, err := g.book()
	if err != nil {
		return err
	}
	if g.dir == "" {
		if g.dir, err = a.stateDir("receipts"); err != nil {
			return err
		}
	}
	n, err := g.network(ctx, a)
	if err != nil {
		return err
	}
	defer n.close()
	store, err := receipts.Open(receipts.Config{Dir: g.dir, Now: a.now})
	if err != nil {
		return err
	}
	defer store.Close() //nolint:errcheck // the gateway has synced it
	cfg := gateway.Config{
		Pool: n.pool, Keys: book, Store: store, Receipts: gateway.Mode(g.mode), Origins: g.origins, Test: g.test, Owner: g.wallet,
		Root: g.root, Build: buildOf(), Now: a.now, Log: a.logger(),
	}
	cfg.Limits.Strict = g.strict
	if g.price > 0 {
		cfg.Checker = receipts.NewChecker(n.attest, a.now)
	}
	server, err := gateway.New(cfg)
	if err != nil {
		return cli.Tag(cli.KindUsage, err, "receipts are checked when --price-per-token is given")
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", g.listen)
	if err != nil {
		return cli.Tag(cli.KindPrerequisite, fmt.Errorf("listening for apps: %w", err), "name another address with --listen HOST:PORT")
	}
	result := gatewayRunResult{
		Schema: "cocoon.gateway.run/1", URL: "http://" + l.Addr().String(), Proxies: g.proxies, Receipts: g.dir, Keys: !book.Open(), Verified: !g.unverified,
	}
	if err := a.printer.Result(result); err != nil {
		return errors.Join(err, l.Close())
	}
	group, grouped := errgroup.WithContext(ctx)
	group.Go(func() error { return server.Run(grouped, l) })
	group.Go(func() error { return g.serveAdmin(grouped, server) })
	return group.Wait()
}

// serveAdmin serves operators, if there is a token for them.
func (g *gatewayFlags) serveAdmin(ctx context.Context, s *gateway.Server) error {
	const patience = 10 * time.Second
	if g.token == "" {
		return nil
	}
	token, err := readSmall(g.token)
	if err != nil {
		return fmt.Errorf("reading the operators' token: %w", err)
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", g.admin)
	if err != nil {
		return cli.Tag(cli.KindPrerequisite, fmt.Errorf("listening for operators: %w", err), "name another address with --admin-listen HOST:PORT")
	}
	server := &http.Server{Handler: s.Admin(strings.TrimSpace(string(token))), ReadHeaderTimeout: patience, ReadTimeout: patience, WriteTimeout: patience}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// buildOf says which build this is, for the page.
func buildOf() gateway.Build {
	out := gateway.Build{Version: "unknown"}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return out
	}
	out.Version = info.Main.Version
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			out.Commit = s.Value
		case "vcs.time":
			out.CommitTime = s.Value
		}
	}
	return out
}
