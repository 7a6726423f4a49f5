package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"cocoon/cmd/internal/cli"
	"cocoon/image/pipeline"
)

const program = "cocoon"

// Groups of verbs in the help text (tools-and-tests.md section 1).
const (
	groupBuild   = "build"
	groupRun     = "run"
	groupCheck   = "check"
	groupGeneral = "general"
)

// app carries what the global flags decided; a verb runs after prepare.
type app struct {
	deps
	format   cli.Format
	printer  *cli.Printer
	reporter cli.Reporter
	cancel   context.CancelFunc
	// late says whether --timeout has passed.
	late func() bool

	output, progress string
	root, cache, out string
	log              logFlags
	quiet, yes       bool
	dryRun           bool
	timeout          time.Duration
}

// newRootCmd builds the whole command tree.
func newRootCmd(d deps) (*cobra.Command, *app) {
	a := &app{deps: d, format: cli.Text, reporter: cli.Quiet{}, late: func() bool { return false }}
	root := &cobra.Command{
		Use:           program,
		Short:         "Build, check and run confidential inference machines",
		SilenceErrors: true,
		SilenceUsage:  true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			return a.prepare(cmd)
		},
	}
	root.SetIn(d.stdin)
	root.SetOut(d.stdout)
	root.SetErr(d.stderr)
	root.AddGroup(&cobra.Group{ID: groupBuild, Title: "Build:"}, &cobra.Group{ID: groupRun, Title: "Run:"},
		&cobra.Group{ID: groupNetwork, Title: "Network:"}, &cobra.Group{ID: groupCheck, Title: "Check:"}, &cobra.Group{ID: groupGeneral, Title: "General:"})
	root.SetHelpCommandGroupID(groupGeneral)
	root.SetCompletionCommandGroupID(groupGeneral)
	a.globalFlags(root.PersistentFlags())
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return flagError(cmd, err) })
	root.AddCommand(newImageCmd(a), newCollateralCmd(a), newGatewayCmd(a), newReceiptCmd(a), newPeerCmd(a), newLocalnetCmd(a), newVersionCmd(a), newRootContractCmd(a),
		newClientCmd(a), newProxyCmd(a), newWorkerCmd(a), newWalletCmd(a), newWorkloadCmd(a))
	dispatch(root)
	return root, a
}

func (a *app) globalFlags(f *pflag.FlagSet) {
	f.StringVarP(&a.output, "output", "o", "text", "result on stdout: text, json or jsonl")
	f.StringVar(&a.progress, "progress", "auto", "progress on stderr: auto, plain or none")
	f.StringVar(&a.root, "root", "", "checkout to build from (default: the one around the working directory)")
	f.StringVar(&a.cache, "cache", "", "folder for inputs and finished steps (default: the user's cache)")
	f.StringVar(&a.out, "out", "", "folder for images (default: out in the checkout)")
	f.BoolVarP(&a.quiet, "quiet", "q", false, "no progress, no logs")
	f.StringVar(&a.log.level, "log-level", defaultLevel, "logs on stderr of what serves: "+logLevels)
	f.StringVar(&a.log.format, "log-format", logText, "form of logs: "+logText+" or "+logJSON)
	f.BoolVar(&a.yes, "yes", false, "do not ask before deleting")
	f.BoolVar(&a.dryRun, "dry-run", false, "say what would happen and do nothing")
	f.DurationVar(&a.timeout, "timeout", 0, "give up after this time, for example 10m (default: no limit)")
}

// prepare fills flags that were not given from COCOON_* variables and sets up output. It runs before every verb.
func (a *app) prepare(cmd *cobra.Command) error {
	var unknown error
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		name := "COCOON_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		if v := a.getenv(name); v != "" && !f.Changed && unknown == nil {
			if err := cmd.Flags().Set(f.Name, v); err != nil {
				unknown = cli.Usagef("environment variable %s: %w", name, err)
			}
		}
	})
	if unknown != nil {
		return unknown
	}
	format, err := cli.ParseFormat(a.output)
	if err != nil {
		return err
	}
	a.format = format
	a.printer = &cli.Printer{Out: a.stdout, Format: format, Now: a.now}
	if a.timeout < 0 {
		return cli.Tag(cli.KindUsage, fmt.Errorf("--timeout %s is below zero", a.timeout), "leave it out for no limit")
	}
	if a.timeout > 0 {
		ctx, cancel := context.WithTimeout(cmd.Context(), a.timeout)
		a.cancel, a.late = cancel, func() bool { return errors.Is(ctx.Err(), context.DeadlineExceeded) }
		cmd.SetContext(ctx)
	}
	if _, err := a.log.parse(); err != nil {
		return err
	}
	return a.chooseReporter()
}

func (a *app) chooseReporter() error {
	switch {
	case a.progress != "auto" && a.progress != "plain" && a.progress != "none":
		return cli.Usagef("--progress %q is none of auto, plain, none", a.progress)
	case a.quiet || a.progress == "none":
		a.reporter = cli.Quiet{}
	case a.format == cli.JSONL:
		a.reporter = cli.NewLines(a.printer)
	case a.progress == "auto" && a.terminal:
		a.reporter = cli.NewTerminal(a.stderr, a.now, a.getenv)
	default:
		a.reporter = cli.NewPlain(a.stderr)
	}
	return nil
}

// close ends the progress display, so that the final error stands on a line of its own.
func (a *app) close() {
	a.reporter.Close()
	a.reporter = cli.Quiet{}
	if a.cancel != nil {
		a.cancel()
	}
}

// options are the pipeline's options that all image verbs share.
func (a *app) options() (pipeline.Options, error) {
	root, err := a.checkout()
	if err != nil {
		return pipeline.Options{}, err
	}
	cache, err := a.cacheDir()
	if err != nil {
		return pipeline.Options{}, err
	}
	out := a.out
	if out == "" {
		out = filepath.Join(root, "out")
	}
	return pipeline.Options{Root: root, CacheDir: cache, OutDir: out, Now: a.now}, nil
}

// checkout finds the folder with go.mod and the recipe, from the working directory upwards.
func (a *app) checkout() (string, error) {
	if a.root != "" {
		if !isCheckout(a.root) {
			return "", cli.Tag(cli.KindUsage, fmt.Errorf("--root %s is no checkout: it has no go.mod and mkosi", a.root), "name the folder that \"git clone\" made")
		}
		return a.root, nil
	}
	dir, err := a.getwd()
	if err != nil {
		return "", fmt.Errorf("finding the checkout: %w", err)
	}
	for at := dir; ; at = filepath.Dir(at) {
		if isCheckout(at) {
			return at, nil
		}
		if at == filepath.Dir(at) {
			return "", cli.Tag(cli.KindUsage, fmt.Errorf("no checkout around %s: no folder above has go.mod and mkosi", dir),
				"run the command inside a checkout, or name one with --root DIR")
		}
	}
}

func isCheckout(dir string) bool {
	return isDir(pipeline.RecipePath(dir)) && isFile(filepath.Join(dir, "go.mod"))
}

func (a *app) cacheDir() (string, error) {
	if a.cache != "" {
		return a.cache, nil
	}
	if dir := a.getenv("XDG_CACHE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, program), nil
	}
	if home := a.getenv("HOME"); home != "" {
		return filepath.Join(home, ".cache", program), nil
	}
	return "", cli.Tag(cli.KindUsage, errors.New("neither HOME nor XDG_CACHE_HOME is set"), "name the cache with --cache DIR")
}

func isDir(name string) bool {
	st, err := os.Stat(name)
	return err == nil && st.IsDir()
}

func isFile(name string) bool {
	st, err := os.Stat(name)
	return err == nil && st.Mode().IsRegular()
}
