package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"cocoon/cmd/internal/cli"
	"cocoon/host/localnet/chainnode"
)

// chainResult says what runs and where. It is printed when the network answers, and before that in a dry run.
type chainResult struct {
	Schema string `json:"schema"`
	chainnode.Description
}

const chainSchema = "cocoon.localnet.chain/1"

// Text implements cli.Document.
func (r chainResult) Text(w io.Writer) error {
	rows := [][]string{{"global config", r.GlobalConfig}, {"control", r.Control}}
	for _, s := range r.Liteservers {
		rows = append(rows, []string{"liteserver", strings.TrimSpace(s.Addr + " " + s.Key)})
	}
	if r.Faucet != "" {
		rows = append(rows, []string{"faucet", r.Faucet}, []string{"zero state", r.ZeroState}, []string{"block", fmt.Sprint(r.Seqno)})
	}
	return cli.Table(w, rows)
}

// chainFlags are the verb's flags as they were typed.
type chainFlags struct {
	dir, seed, listen, control string
	period                     time.Duration
	liteservers                int
	globalVersion              uint32
	paused, deterministic      bool
}

func newLocalnetChainCmd(a *app) *cobra.Command {
	var s chainFlags
	cmd := &cobra.Command{
		Use:   "chain",
		Short: "Run a TON network of one process, with real blocks and proofs",
		Long: "Run a TON network of one process: contracts execute in the real virtual machine, blocks are signed,\n" +
			"and liteservers answer with the proofs that clients of the main network check. Clients begin with\n" +
			"--dir/" + chainnode.ConfigName + ". Global id -217 and keys from --seed mark it as worthless.\n\n" +
			"The control interface takes JSON by POST below /v1/: step, pace, faucet, time, snapshot, restore,\n" +
			"faults, config; GET /v1/status and /v1/snapshots read. The chain stays in --dir over restarts.\n" +
			"Port 0 takes a free port.",
		Example: "  cocoon localnet chain --dir chain\n" +
			"  cocoon localnet chain --dir chain --paused --deterministic -o json\n" +
			"  curl -H 'Content-Type: application/json' http://127.0.0.1:8098/v1/faucet \\\n" +
			"    -d '{\"address\":\"0:5f...\",\"amount\":\"1000000000\"}'",
		Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.localChain(cmd.Context(), &s) },
	}
	f := cmd.Flags()
	f.StringVar(&s.dir, "dir", "", "folder that keeps the chain and its global configuration")
	f.StringVar(&s.seed, "seed", "", "64 hexadecimal digits that every key follows from (default: zeros)")
	f.StringVar(&s.listen, "listen", "127.0.0.1:0", "IPv4 address of the first liteserver")
	f.IntVar(&s.liteservers, "liteservers", chainnode.DefaultLiteservers, "how many liteservers answer")
	f.StringVar(&s.control, "control", "127.0.0.1:0", "loopback address of the control API")
	f.DurationVar(&s.period, "period", chainnode.DefaultPeriod, "time between blocks; 0 makes blocks on request only")
	f.BoolVar(&s.paused, "paused", false, "make no blocks until told to")
	f.BoolVar(&s.deterministic, "deterministic", false, "block times advance by a second a block")
	f.Uint32Var(&s.globalVersion, "global-version", 0, "configuration parameter 8 of a new chain (default 14)")
	return cmd
}

// config is what the flags say.
func (s *chainFlags) config(a *app) (chainnode.Config, error) {
	c := chainnode.Config{
		Dir: s.dir, Period: s.period, Paused: s.paused, Deterministic: s.deterministic, GlobalVersion: s.globalVersion,
		Liteservers: s.liteservers, Now: a.now, Log: slog.New(slog.DiscardHandler),
	}
	if !a.quiet {
		c.Log = slog.New(slog.NewTextHandler(a.stderr, nil))
	}
	if s.dir == "" {
		return c, cli.Tag(cli.KindUsage, errors.New("--dir is missing"), "name a folder for the chain, for example --dir chain")
	}
	seed, err := hex.DecodeString(s.seed)
	if err != nil || (s.seed != "" && len(seed) != len(c.Seed)) {
		return c, cli.Usagef("--seed: want %d hexadecimal digits", 2*len(c.Seed))
	}
	copy(c.Seed[:], seed)
	if c.Listen, err = netip.ParseAddrPort(s.listen); err != nil {
		return c, cli.Usagef("--listen %q: %w", s.listen, err)
	}
	if c.Control, err = netip.ParseAddrPort(s.control); err != nil {
		return c, cli.Usagef("--control %q: %w", s.control, err)
	}
	if err := c.Validate(); err != nil {
		return c, cli.Tag(cli.KindUsage, err, "run \"cocoon localnet chain --help\"")
	}
	return c, nil
}

// localChain runs until the command is interrupted, which is its normal end.
func (a *app) localChain(ctx context.Context, s *chainFlags) error {
	c, err := s.config(a)
	if err != nil {
		return err
	}
	if a.dryRun {
		return a.printer.Result(chainResult{chainSchema, c.Describe()})
	}
	node, err := chainnode.New(ctx, c)
	if err != nil {
		return cli.Tag(cli.KindPrerequisite, err, "name another folder with --dir, or other addresses with --listen and --control")
	}
	d, err := node.Describe()
	if err == nil {
		err = a.printer.Result(chainResult{chainSchema, d})
	}
	if err != nil {
		return errors.Join(err, node.Close())
	}
	return errors.Join(node.Run(ctx), node.Close())
}
