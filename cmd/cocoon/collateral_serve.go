package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"cocoon/cmd/internal/cli"
	"cocoon/host/collateral"
	"cocoon/measure/dcap"
	"cocoon/measure/ratls/pcs"
	"cocoon/measure/ratls/pcs/sources"
	"cocoon/measure/tdx"
)

// defaultListen is where guests with user networking find the host as 10.0.2.2:8081; the port is the PCCS's.
const defaultListen = "127.0.0.1:8081"

// collateralServeResult says where the relay answers. It is printed when it does.
type collateralServeResult struct {
	Schema  string   `json:"schema"`
	Listen  string   `json:"listen"`
	Store   string   `json:"store"`
	Sources []string `json:"sources"`
	// Platforms are those of which the store had collateral.
	Platforms []string `json:"platforms"`
}

// Text implements cli.Document.
func (r collateralServeResult) Text(w io.Writer) error {
	return cli.Table(w, [][]string{
		{"listening", "http://" + r.Listen},
		{"store", r.Store},
		{"asking", strings.Join(r.Sources, " ")},
		{"platforms", strings.Join(r.Platforms, " ")},
	})
}

func newCollateralServeCmd(a *app) *cobra.Command {
	var s sourceFlags
	var listen string
	var fmspcs []string
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Relay signed collateral to guests, with the interface of Intel's caching service",
		Long: "Guests verify what they get, so the relay speaks plain HTTP. It keeps the signed\n" +
			"originals in --store, renews them at half of their life, serves them until they expire,\n" +
			"and never goes back to older ones. GET /status says what is held.",
		Example: "  cocoon collateral serve\n" +
			"  cocoon collateral serve --pccs https://pccs.example:8081 --fmspc 90C06F000000",
		Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			warm, err := parseFMSPCs(fmspcs)
			if err != nil {
				return err
			}
			if s.store == "" {
				if s.store, err = a.stateDir("collateral", "--store DIR"); err != nil {
					return err
				}
			}
			return a.serveCollateral(cmd.Context(), &s, listen, warm)
		},
	}
	f := cmd.Flags()
	f.StringVar(&listen, "listen", defaultListen, "address to answer on; port 0 takes a free one")
	f.StringSliceVar(&fmspcs, "fmspc", nil, "FMSPC of TDX guests, to fetch at once; may be repeated")
	s.add(f, bundleFlag)
	f.Lookup("store").Usage = "folder that keeps collateral (default: in the state folder)"
	return cmd
}

func parseFMSPCs(texts []string) ([]dcap.FMSPC, error) {
	out := make([]dcap.FMSPC, len(texts))
	for i, text := range texts {
		var err error
		if out[i], err = dcap.ParseFMSPC(text); err != nil {
			return nil, cli.Usagef("--fmspc: %w", err)
		}
	}
	return out, nil
}

// serveCollateral runs the relay until the command is interrupted, which is its normal end.
func (a *app) serveCollateral(ctx context.Context, s *sourceFlags, listen string, warm []dcap.FMSPC) error {
	cfg, err := s.config(a)
	if err != nil {
		return err
	}
	cfg.Log = a.logger()
	cache, store, err := openSources(cfg)
	if err != nil {
		return err
	}
	defer cache.Close()
	platforms, err := store.Platforms()
	if err != nil {
		return err
	}
	for _, f := range warm {
		platforms = append(platforms, dcap.Platform{TEE: tdx.TDX, FMSPC: f, CA: dcap.PlatformCA})
	}
	relay := collateral.RelayConfig{Cache: cache, Now: a.now, Log: cfg.Log}
	if len(warm) > 0 {
		relay.Seed = warm[0]
	}
	handler, err := collateral.NewRelay(relay)
	if err != nil {
		return err
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", listen)
	if err != nil {
		return cli.Tag(cli.KindPrerequisite, fmt.Errorf("listening for guests: %w", err), "name another address with --listen HOST:PORT")
	}
	if err := a.printer.Result(newServeResult(cfg, l.Addr().String(), platforms)); err != nil {
		return errors.Join(err, l.Close())
	}
	group, grouped := errgroup.WithContext(ctx)
	group.Go(func() error { return collateral.Serve(grouped, l, handler, cfg.Log) })
	group.Go(func() error { return ended(ctx, cache.Run(grouped)) })
	group.Go(func() error {
		warmUp(grouped, cache, platforms, cfg.Log)
		return nil
	})
	return group.Wait()
}

// ended drops the error of a loop that ran until the command's own end.
func ended(ctx context.Context, err error) error {
	if errors.Is(err, context.Cause(ctx)) {
		return nil
	}
	return err
}

// warmUp loads what the store has and what was asked for; a failure is logged and tried again when a guest asks.
func warmUp(ctx context.Context, cache *pcs.Cache, platforms []dcap.Platform, log *slog.Logger) {
	for _, p := range platforms {
		if _, err := cache.Collateral(ctx, p); err != nil && ctx.Err() == nil {
			log.Warn("Nothing valid to begin with", slog.String("platform", p.String()), slog.Any("err", err))
		}
	}
}

func newServeResult(cfg sources.Config, listen string, platforms []dcap.Platform) collateralServeResult {
	out := collateralServeResult{
		Schema: "cocoon.collateral.serve/1", Listen: listen, Store: cfg.StoreDir, Sources: append([]string{}, cfg.PCCS...),
		Platforms: []string{},
	}
	if !cfg.NoIntel {
		out.Sources = append(out.Sources, pcs.IntelURL)
	}
	if cfg.Bundle != "" {
		out.Sources = append(out.Sources, cfg.Bundle)
	}
	for _, p := range platforms {
		out.Platforms = append(out.Platforms, p.String())
	}
	return out
}
