package main

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"cocoon/cmd/internal/cli"
	"cocoon/measure/dcap"
	"cocoon/measure/ratls/pcs"
	"cocoon/measure/ratls/pcs/sources"
)

// newCollateralCmd is the noun `collateral`; each verb has a file of its own.
func newCollateralCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "collateral",
		Short:   "Fetch, show and serve what quotes are verified with",
		GroupID: groupRun,
	}
	cmd.AddCommand(newCollateralServeCmd(a), newCollateralFetchCmd(a), newCollateralShowCmd(a))
	return cmd
}

// sourceFlags are the flags of verbs that ask for collateral.
type sourceFlags struct {
	store, bundle, root string
	pccs                []string
	noIntel, early      bool
	anyTLS              bool
}

// bundleFlag is what the flag with bundles is called by verbs about collateral; others call it by what it is.
const bundleFlag = "bundle"

func (s *sourceFlags) add(f *pflag.FlagSet, bundle string) {
	f.StringVar(&s.store, "store", "", "folder that keeps collateral between runs")
	f.StringSliceVar(&s.pccs, "pccs", nil, "caching service to ask before Intel's, http(s)://HOST:PORT")
	f.BoolVar(&s.anyTLS, "any-tls", false, "accept self-signed TLS certificates of caching services")
	f.BoolVar(&s.noIntel, "no-intel", false, "do not ask Intel's service")
	f.BoolVar(&s.early, "early", false, "ask for TCB evaluations before they are in force")
	f.StringVar(&s.bundle, bundle, "", "bundle, or folder of them, for when no service answers")
	addRootFlag(f, &s.root)
}

func addRootFlag(f *pflag.FlagSet, root *string) {
	f.StringVar(root, "trust-root", "", "root certificate (PEM) to trust instead of Intel's")
}

// config is what the flags say.
func (s *sourceFlags) config(a *app) (sources.Config, error) {
	roots, err := trustedRoots(s.root)
	if err != nil {
		return sources.Config{}, err
	}
	return sources.Config{
		Roots: roots, Now: a.now, StoreDir: s.store, PCCS: s.pccs, AnyTLS: s.anyTLS, NoIntel: s.noIntel, Early: s.early, Bundle: s.bundle,
	}, nil
}

// openSources opens what the flags name.
func openSources(cfg sources.Config) (*pcs.Cache, *sources.Store, error) {
	cache, store, err := sources.Open(cfg)
	if dcap.ClassOf(err) == dcap.ClassRoot {
		err = cli.Tag(cli.KindError, err, "a simulated platform's root is named with --trust-root FILE")
	}
	return cache, store, err
}

// trustedRoots is Intel's root, or the one in a file.
func trustedRoots(file string) (*dcap.Roots, error) {
	if file == "" {
		return dcap.IntelRoots(), nil
	}
	cert, err := readRoot(file)
	if err != nil {
		return nil, err
	}
	roots, err := dcap.NewRoots(cert)
	if err != nil {
		return nil, cli.Tag(cli.KindUsage, fmt.Errorf("reading trusted root %s: %w", file, err))
	}
	return roots, nil
}

// readRoot reads the file of --trust-root.
func readRoot(file string) (*x509.Certificate, error) {
	data, err := cli.ReadFile(file, cli.MaxSmallFile)
	if err != nil {
		return nil, fmt.Errorf("reading trusted root: %w", err)
	}
	block, rest := pem.Decode(data)
	if block == nil || block.Type != "CERTIFICATE" || len(rest) > 0 {
		return nil, cli.Usagef("reading trusted root: %s is not exactly one certificate in PEM", file)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, cli.Tag(cli.KindUsage, fmt.Errorf("reading trusted root %s: %w", file, err))
	}
	return cert, nil
}

// refusedCollateral gives an error of the sources its exit code: what the services said is no fault of this machine,
// and a service's deadline is not the command's.
func refusedCollateral(ctx context.Context, err error) error {
	if _, ok := errors.AsType[*pcs.RefusalError](err); !ok || ctx.Err() != nil {
		return err
	}
	if errors.Is(err, pcs.ErrNotFound) {
		return cli.Tag(cli.KindError, err, "check FMSPC and TEE: \"cocoon collateral fetch --quote FILE\" reads them from a quote")
	}
	return cli.Tag(cli.KindError, err, "name a reachable service with --pccs URL, or a bundle fetched elsewhere with --bundle FILE")
}
