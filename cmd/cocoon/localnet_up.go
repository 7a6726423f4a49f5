package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/spf13/cobra"

	"cocoon/cmd/internal/cli"
	"cocoon/host/localnet/network"
	"cocoon/image/fetch"
	"cocoon/image/lock"
	"cocoon/image/pipeline"
)

// upResult says what runs and where. It is printed when the gateway has a worker to offer.
type upResult struct {
	Schema string `json:"schema"`
	network.Description
	// Try is a command line that works.
	Try string `json:"try"`
}

const upSchema = "cocoon.localnet.up/1"

func newUpResult(d network.Description) upResult {
	return upResult{upSchema, d, fmt.Sprintf(
		`curl %s/v1/chat/completions -H 'Content-Type: application/json' -d '{"model":%q,"messages":[{"role":"user","content":"Hello"}]}'`, d.URL, d.Model)}
}

// Text implements cli.Document.
func (r upResult) Text(w io.Writer) error {
	engine := "llama-server, pinned by the image lock"
	if r.Engine == "scripted" {
		engine = "SCRIPTED: no model is running; give one with --model FILE.gguf"
	}
	if err := cli.Table(w, [][]string{
		{"WARNING", "SIMULATED TDX: nothing here is protected from anybody, payments are worth nothing"},
		{"base URL", r.URL + "/v1"},
		{"page", r.Page},
		{"model", r.Model},
		{"engine", engine},
		{"proxy", r.Proxy},
		{"folder", r.Dir},
		{"ready", fmt.Sprintf("after %d ms", r.Ready)},
	}); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\n%s\n", r.Try)
	return err
}

// upFlags are the verb's flags as they were typed.
type upFlags struct{ dir, listen, guest, model, template string }

func newLocalnetUpCmd(a *app) *cobra.Command {
	var u upFlags
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Run a whole network on this machine: proxy, worker, engine and gateway",
		Long: "Run a whole network on this machine with simulated TDX: a proxy and a worker as processes of the\n" +
			"guest binary, attested to each other; an engine; and the gateway, which OpenAI SDKs talk to. It\n" +
			"serves until it is interrupted and then ends everything in order.\n\n" +
			"Without --model the answers are scripted, and said to be. With a GGUF file the pinned engine of the\n" +
			"images runs it on this machine's CPU; it is fetched by hash if the cache lacks it.\n\n" +
			"The guest binary is built from the checkout unless --guest names one. There is no chain in this\n" +
			"network yet: the proxy counts payments in memory (\"cocoon localnet chain\" runs a chain alone).\n" +
			"The proxy's two ports accept connections from other machines; the gateway's does not.",
		Example: "  cocoon localnet up\n" +
			"  cocoon localnet up --model tiny.gguf --listen 127.0.0.1:0 -o json",
		Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.localnetUp(cmd.Context(), &u) },
	}
	f := cmd.Flags()
	f.StringVar(&u.dir, "dir", "", "folder for configurations, logs and receipts (default: in the user's state folder)")
	f.StringVar(&u.listen, "listen", defaultGateway, "address of this machine to answer on; port 0 takes a free one")
	f.StringVar(&u.guest, "guest", "", "guest binary (default: built from the checkout)")
	f.StringVar(&u.model, "model", "", "GGUF file for the engine to run (default: scripted answers)")
	f.StringVar(&u.template, "chat-template", "", "chat template (Jinja) in place of the model's own, for example to enable tools")
	return cmd
}

// localnetUp runs until the command is interrupted, which is its normal end.
func (a *app) localnetUp(ctx context.Context, u *upFlags) error {
	build := buildOf()
	c := network.Config{
		Template: u.template, Dir: u.dir, Guest: u.guest, Listen: u.listen, Version: build.Version, Commit: build.Commit, Now: a.now, Log: slog.New(slog.DiscardHandler),
	}
	if _, err := rand.Read(c.Seed[:]); err != nil {
		return fmt.Errorf("making seed: %w", err)
	}
	var err error
	if c.Dir == "" {
		if c.Dir, err = a.stateDir("localnet"); err != nil {
			return err
		}
	}
	if a.dryRun {
		c.Model = u.model
		return a.printer.Result(newUpResult(network.Describe(&c)))
	}
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return fmt.Errorf("making folder: %w", err)
	}
	log, err := os.Create(filepath.Join(c.Dir, "gateway.log"))
	if err != nil {
		return fmt.Errorf("making log: %w", err)
	}
	defer log.Close() //nolint:errcheck // a log
	c.Log = slog.New(slog.NewTextHandler(log, nil))
	if c.Guest == "" {
		if c.Guest, err = a.buildGuest(ctx, c.Dir); err != nil {
			return err
		}
	}
	if u.model != "" {
		if err := a.realEngine(ctx, u.model, &c); err != nil {
			return err
		}
	}
	return a.runLocalnet(ctx, c)
}

// runLocalnet starts a network, says where it is, and runs it.
func (a *app) runLocalnet(ctx context.Context, c network.Config) error {
	if err := c.Validate(); err != nil {
		return cli.Tag(cli.KindUsage, err, "run \"cocoon localnet up --help\"")
	}
	n, err := network.Start(ctx, c)
	if err != nil {
		return cli.Tag(cli.KindPrerequisite, err, "the roles' logs are in "+c.Dir, "another gateway may have the port: name another address with --listen HOST:PORT")
	}
	if a.format != cli.Text && !a.quiet {
		a.logger().Warn("SIMULATED TDX: nothing here is protected from anybody", slog.String("engine", n.Description().Engine))
	}
	stopping, stop := context.WithCancel(ctx)
	defer stop()
	err = a.printer.Result(newUpResult(n.Description()))
	if err != nil {
		stop() // nobody knows of it
	}
	return errors.Join(err, n.Run(stopping))
}

// buildGuest builds the guest binary of the checkout into the folder.
func (a *app) buildGuest(ctx context.Context, dir string) (string, error) {
	root, err := a.checkout()
	if err != nil {
		return "", cli.Tag(cli.KindUsage, err, "name the guest binary with --guest FILE, or run the command inside a checkout")
	}
	dir, err = filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	name := filepath.Join(dir, "init")
	build := exec.CommandContext(ctx, "go", "build", "-o", name, "./cmd/init")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		return "", cli.Tag(cli.KindPrerequisite, fmt.Errorf("building the guest binary: %w\n%s", err, out), "name one with --guest FILE")
	}
	return name, nil
}

// realEngine puts the pinned engine below the network's folder.
func (a *app) realEngine(ctx context.Context, model string, c *network.Config) error {
	o, err := a.options()
	if err != nil {
		return err
	}
	if c.Model, err = filepath.Abs(model); err != nil {
		return err
	}
	pins, err := lock.Load(pipeline.LockPath(o.Root))
	if err != nil {
		return err
	}
	store, err := fetch.Open(pipeline.StoreDir(o.CacheDir))
	if err != nil {
		return err
	}
	c.Engine = filepath.Join(c.Dir, "engine")
	return network.UnpackEngine(ctx, pins, store, o.CacheDir, c.Engine)
}
