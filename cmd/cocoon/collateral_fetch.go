package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"cocoon/cmd/internal/cli"
	"cocoon/measure/dcap"
	"cocoon/measure/ratls/pcs"
	"cocoon/measure/ratls/pcs/sources"
	"cocoon/measure/tdx"
)

// collateralFetchResult says what was fetched, or with --dry-run what would be asked.
type collateralFetchResult struct {
	Schema           string   `json:"schema"`
	Platform         string   `json:"platform"`
	File             string   `json:"file,omitempty"`
	SizeBytes        int      `json:"size_bytes,omitempty"`
	Generation       string   `json:"generation,omitempty"`
	EvaluationNumber int      `json:"evaluation_number,omitempty"`
	Issued           string   `json:"issued,omitempty"`
	Expires          string   `json:"expires,omitempty"`
	WouldAsk         []string `json:"would_ask,omitempty"`

	left time.Duration
}

// Text implements cli.Document.
func (r collateralFetchResult) Text(w io.Writer) error {
	if r.File == "" {
		_, err := fmt.Fprintf(w, "%s\nwould ask:\n  %s\n", r.Platform, strings.Join(r.WouldAsk, "\n  "))
		return err
	}
	_, err := fmt.Fprintf(w, "%s: %s bytes for %s\nevaluation %d, expires %s (%s)\n", r.File, cli.Count(int64(r.SizeBytes)),
		r.Platform, r.EvaluationNumber, r.Expires, remaining(r.left))
	return err
}

// platformFlags choose a platform.
type platformFlags struct{ fmspc, tee, ca, quote string }

func newCollateralFetchCmd(a *app) *cobra.Command {
	var p platformFlags
	var s sourceFlags
	var to string
	cmd := &cobra.Command{
		Use:   "fetch",
		Short: "Fetch a platform's collateral as one signed bundle, verified",
		Long: "The bundle holds the signed originals. Whoever gets it verifies it again, so it may\n" +
			"travel any way: into a measured configuration, or to a machine without network.",
		Example: "  cocoon collateral fetch --quote quote.dat\n" +
			"  cocoon collateral fetch --fmspc 90C06F000000 --pccs https://pccs.example:8081 --to bundle.json",
		Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			platform, err := p.platform()
			if err != nil {
				return err
			}
			cfg, err := s.config(a)
			if err != nil {
				return err
			}
			if a.dryRun {
				return a.announceFetch(cfg, platform)
			}
			cache, _, err := openSources(cfg)
			if err != nil {
				return err
			}
			defer cache.Close()
			return a.fetchCollateral(cmd, cache, platform, to)
		},
	}
	f := cmd.Flags()
	f.StringVar(&p.quote, "quote", "", "quote of the platform, which names what it needs")
	f.StringVar(&p.fmspc, "fmspc", "", "FMSPC of the platform, 12 hex digits")
	f.StringVar(&p.tee, "tee", "tdx", "with --fmspc: tdx or sgx")
	f.StringVar(&p.ca, "ca", "platform", "with --fmspc: platform or processor")
	f.StringVar(&to, "to", "", "file to write (default: PLATFORM.json in the working directory)")
	s.add(f, bundleFlag)
	return cmd
}

// platform reads the flags, or the quote that they name.
func (p *platformFlags) platform() (dcap.Platform, error) {
	if (p.quote == "") == (p.fmspc == "") {
		return dcap.Platform{}, cli.Tag(cli.KindUsage, errors.New("give either --quote FILE or --fmspc HEX"),
			"\"cocoon collateral fetch --quote FILE\" reads everything from the quote")
	}
	if p.quote != "" {
		quote, err := cli.ReadFile(p.quote, cli.MaxSmallFile)
		if err != nil {
			return dcap.Platform{}, fmt.Errorf("reading quote: %w", err)
		}
		out, err := dcap.PlatformOf(quote)
		if err != nil {
			return dcap.Platform{}, fmt.Errorf("%s: %w", p.quote, err)
		}
		return out, nil
	}
	var out dcap.Platform
	fmspc, err := dcap.ParseFMSPC(p.fmspc)
	tees := map[string]tdx.TEEType{"tdx": tdx.TDX, "sgx": tdx.SGX}
	cas := map[string]dcap.CA{dcap.PlatformCA.String(): dcap.PlatformCA, dcap.ProcessorCA.String(): dcap.ProcessorCA}
	tee, teeKnown := tees[p.tee]
	ca, caKnown := cas[p.ca]
	switch {
	case err != nil:
		return out, cli.Usagef("--fmspc: %w", err)
	case !teeKnown:
		return out, cli.Usagef("--tee %q is none of tdx, sgx", p.tee)
	case !caKnown:
		return out, cli.Usagef("--ca %q is none of platform, processor", p.ca)
	case tee == tdx.TDX && ca != dcap.PlatformCA:
		return out, cli.Usagef("--ca %s goes with --tee sgx: TDX platforms have certificates of the platform CA", p.ca)
	}
	return dcap.Platform{FMSPC: fmspc, TEE: tee, CA: ca}, nil
}

// announceFetch is --dry-run.
func (a *app) announceFetch(cfg sources.Config, p dcap.Platform) error {
	urls := cfg.PCCS
	if !cfg.NoIntel {
		urls = append(urls, pcs.IntelURL)
	}
	out := collateralFetchResult{Schema: "cocoon.collateral.fetch/1", Platform: p.String()}
	for _, url := range urls {
		c, err := pcs.NewClient(pcs.ClientConfig{URL: url, Early: cfg.Early})
		if err != nil {
			return cli.Tag(cli.KindUsage, err)
		}
		out.WouldAsk = append(out.WouldAsk, c.Addresses(p)...)
	}
	return a.printer.Result(out)
}

func (a *app) fetchCollateral(cmd *cobra.Command, cache *pcs.Cache, p dcap.Platform, to string) error {
	col, err := cache.Collateral(cmd.Context(), p)
	if err != nil {
		return refusedCollateral(cmd.Context(), err)
	}
	b, err := cache.Bundle(cmd.Context(), p)
	if err != nil {
		return refusedCollateral(cmd.Context(), err)
	}
	if to == "" {
		to = p.String() + ".json"
	}
	if err := sources.WriteFile(to, b); err != nil {
		return err
	}
	generation := col.Generation()
	return a.printer.Result(collateralFetchResult{
		Schema: "cocoon.collateral.fetch/1", Platform: p.String(), File: to, SizeBytes: len(b.Encode()),
		Generation: hex.EncodeToString(generation[:]), EvaluationNumber: col.EvaluationNumber(),
		Issued: utc(col.IssuedAt()), Expires: utc(col.Expires()), left: col.Expires().Sub(a.now()),
	})
}

func utc(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// remaining says a time span as people do: "in 29 days", "3 hours ago".
func remaining(d time.Duration) string {
	ago := d < 0
	if ago {
		d = -d
	}
	n, unit := int(d/(24*time.Hour)), "day"
	switch {
	case d < time.Hour:
		n, unit = int(d/time.Minute), "minute"
	case d < 48*time.Hour:
		n, unit = int(d/time.Hour), "hour"
	}
	text := fmt.Sprintf("%d %s", n, unit)
	if n != 1 {
		text += "s"
	}
	if ago {
		return text + " ago"
	}
	return "in " + text
}

// errNotValid is the error of checks whose findings the result shows.
var errNotValid = errors.New("not every bundle is genuine and valid now")
