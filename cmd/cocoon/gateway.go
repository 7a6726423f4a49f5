package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"cocoon/cmd/internal/calm"
	"cocoon/cmd/internal/cli"
	"cocoon/host/gateway"
	"cocoon/host/gateway/keys"
	"cocoon/host/gateway/receipts"
)

const (
	// defaultGateway is the reference implementation's port of the client role.
	defaultGateway = "127.0.0.1:10000"
	// Requests leave little behind and much garbage, so a gateway with few of them would collect every few megabytes. The
	// heap may grow by half of itself and of a ballast that is never touched and takes no memory.
	gatewayGCPercent = 50
	gatewayBallast   = 32 << 20
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
	cmd.AddCommand(newGatewayRunCmd(a), newGatewayCheckCmd(a), newGatewayImageCmd(a))
	return cmd
}

// gatewayRunResult says where the gateway answers. It is printed when it does.
type gatewayRunResult struct {
	Schema   string   `json:"schema"`
	URL      string   `json:"url"`
	Form     string   `json:"form"`
	Proxies  []string `json:"proxies"`
	Root     string   `json:"root_contract,omitempty"`
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
		{"base URL", r.URL + "/v1"}, {"page", r.URL + "/stats"}, {"form", r.Form}, {"proxies", strings.Join(r.Proxies, " ")}, {"receipts", r.Receipts}, {"serves", who},
	}
	if r.Root != "" {
		rows = append(rows, []string{"root contract", r.Root})
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
			"Requests go only to proxies whose evidence meets --policy or --image, or whose image the root\n" +
			"contract lists. Every answer's receipt is checked and kept. Without --keys only this machine\n" +
			"may connect. Without a root contract and --price-per-token receipts are kept unchecked.\n\n" +
			"With --global-config, --network and --root-contract the gateway follows the root contract: its\n" +
			"proxies, images and price. A chain that is out of reach stops nothing until what is known is\n" +
			"two hours old; /readyz and /stats show its age.\n\n" +
			"With --router, proof of work, TLS and quotes are left to a router on this machine that runs\n" +
			"with --serialize-info; the gateway judges the image that it names.\n\n" +
			"The file of --keys: {\"keys\":[{\"name\":\"app\",\"sha256\":\"...\",\"requests_per_minute\":60,\n" +
			"\"tokens_per_day\":1000000,\"nano_per_day\":\"5000000000\"}]}; sha256 is of the key itself.",
		Example: "  cocoon gateway run --global-config ton.json --network mainnet --root-contract EQCn... \\\n" +
			"    --wallet UQ... --secret-file s\n" +
			"  cocoon gateway run --proxy proxy.example:11002 --image 650008eb... --wallet UQ... \\\n" +
			"    --secret-file s --price-per-token 20\n" +
			"  cocoon gateway run --config gateway.json --router 127.0.0.1:8116\n" +
			"  curl http://127.0.0.1:10000/v1/models",
		Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := g.load(cmd.Flags()); err != nil {
				return err
			}
			return a.runGateway(cmd.Context(), &g)
		},
	}
	g.add(cmd.Flags())
	g.addRun(cmd.Flags())
	return cmd
}

// book reads the keys, and refuses to serve other machines without any.
func (g *gatewayFlags) book() (*keys.Book, error) {
	host, _, err := net.SplitHostPort(g.listen)
	if err != nil {
		return nil, cli.Usagef("--listen %q is not HOST:PORT: %w", g.listen, err)
	}
	if g.keys != "" {
		data, err := cli.ReadFile(g.keys, cli.MaxSmallFile)
		if err != nil {
			return nil, fmt.Errorf("reading keys: %w", err)
		}
		book, err := keys.Parse(data)
		if err != nil {
			return nil, cli.Tag(cli.KindUsage, fmt.Errorf("--keys %s: %w", g.keys, err))
		}
		return book, nil
	}
	if !isLoopback(host) {
		return nil, cli.Tag(cli.KindUsage, fmt.Errorf("--listen %s reaches beyond this machine and no API key is set", g.listen),
			"name a file of keys with --keys FILE, or listen on 127.0.0.1")
	}
	return new(keys.Book), nil
}

// runGateway serves until the command is interrupted, which is its normal end.
func (a *app) runGateway(ctx context.Context, g *gatewayFlags) error {
	calm.Down()
	debug.SetGCPercent(gatewayGCPercent)
	ballast := make([]byte, gatewayBallast)
	defer runtime.KeepAlive(ballast)
	if err := g.validate(g.serving()...); err != nil {
		return err
	}
	book, err := g.book()
	if err != nil {
		return err
	}
	if err := g.places(a); err != nil {
		return err
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
	token, err := g.operatorsToken()
	if err != nil {
		return err
	}
	server, err := g.server(a, n, book, store)
	if err != nil {
		return err
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", g.listen)
	if err != nil {
		return cli.Tag(cli.KindPrerequisite, fmt.Errorf("listening for apps: %w", err), "name another address with --listen HOST:PORT")
	}
	result := gatewayRunResult{
		Schema: "cocoon.gateway.run/1", URL: "http://" + l.Addr().String(), Form: n.form(), Proxies: n.wanted(), Root: g.chain.root, Receipts: g.dir, Keys: !book.Open(), Verified: !g.unverified,
	}
	if err := a.printer.Result(result); err != nil {
		return errors.Join(err, l.Close())
	}
	group, grouped := errgroup.WithContext(ctx)
	group.Go(func() error { return n.run(grouped) })
	group.Go(func() error { return server.Run(grouped, l) })
	group.Go(func() error { calm.GiveBack(grouped); return nil })
	group.Go(func() error { return g.serveAdmin(grouped, server, token, l.Addr()) })
	return group.Wait()
}

// places are the files and folders that were not named, in the user's state folder.
func (g *gatewayFlags) places(a *app) (err error) {
	for _, p := range []struct {
		file       *string
		name, flag string
	}{{&g.scores, "scores.json", "--scores FILE"}, {&g.budgets, "budgets.json", "--budgets FILE"}} {
		if *p.file == "" {
			if *p.file, err = a.stateFile("gateway", p.name, p.flag); err != nil {
				return err
			}
		}
	}
	if g.dir == "" {
		g.dir, err = a.stateDir("receipts", "--receipts DIR")
	}
	return err
}

// server makes the gateway.
func (g *gatewayFlags) server(a *app, n *gatewayNet, book *keys.Book, store *receipts.Store) (*gateway.Server, error) {
	cfg := gateway.Config{
		Pool: n.pool, Keys: book, Budgets: g.budgets, Store: store, Receipts: gateway.Mode(g.mode), Origins: g.origins, Test: g.test, Owner: g.wallet,
		Root: g.chain.root, Build: buildOf(), Now: a.now, Log: a.logger(), MaxBody: int64(g.maxBody), //nolint:gosec // bounded by the rules
	}
	cfg.Limits.Strict = g.strict
	if n.view != nil {
		cfg.Chain = n.view
	}
	if g.price > 0 || n.view != nil {
		n.checker = receipts.NewChecker(n.attest, a.now)
		cfg.Checker = n.checker
	}
	server, err := gateway.New(cfg)
	if err != nil {
		return nil, cli.Tag(cli.KindError, err, "mend the file of --budgets, or move it away: what keys have used then begins at zero")
	}
	return server, nil
}

// operatorsToken is what operators show; nil without a file of it.
func (g *gatewayFlags) operatorsToken() ([]byte, error) {
	if g.token == "" {
		return nil, nil
	}
	data, err := cli.ReadFile(g.token, cli.MaxSmallFile)
	if err != nil {
		return nil, fmt.Errorf("reading the operators' token: %w", err)
	}
	token := bytes.TrimSpace(data)
	if len(token) == 0 {
		return nil, cli.Tag(cli.KindUsage, fmt.Errorf("reading the operators' token: %s is empty", g.token), "\"openssl rand -hex 32\" makes a token")
	}
	return token, nil
}

// adminAddress is where operators ask: unless it is named, on this machine, nine ports above the apps' (protocol.md section
// 8.1).
func (g *gatewayFlags) adminAddress(apps net.Addr) string {
	const above = 9
	if tcp, ok := apps.(*net.TCPAddr); ok && g.admin == "" {
		return net.JoinHostPort("127.0.0.1", strconv.Itoa(tcp.Port+above))
	}
	return g.admin
}

// serveAdmin serves operators, if there is a token for them.
func (g *gatewayFlags) serveAdmin(ctx context.Context, s *gateway.Server, token []byte, apps net.Addr) error {
	const patience = 10 * time.Second
	if token == nil {
		return nil
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", g.adminAddress(apps))
	if err != nil {
		return cli.Tag(cli.KindPrerequisite, fmt.Errorf("listening for operators: %w", err), "name another address with --admin-listen HOST:PORT")
	}
	server := &http.Server{Handler: s.Admin(string(token)), ReadHeaderTimeout: patience, ReadTimeout: patience, WriteTimeout: patience}
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
