package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"cocoon/cmd/internal/cli"
	"cocoon/host/localnet/network"
)

// upResult says what runs and where. It is printed when the gateway has a worker to offer.
type upResult struct {
	Schema string `json:"schema"`
	network.Description
	// Try is a command line that works.
	Try string `json:"try"`
}

// Who answers in a local network.
const (
	engineScripted = "scripted"
	engineLlama    = "llama-server"
	// demoFile is the model that is made on the spot.
	demoFile = "scripted.gguf"
)

const upSchema = "cocoon.localnet.up/1"

func newUpResult(d network.Description) upResult {
	return upResult{upSchema, d, fmt.Sprintf(
		`curl %s/v1/chat/completions -H 'Content-Type: application/json' -d '{"model":%q,"messages":[{"role":"user","content":"Hello"}]}'`, d.URL, d.Model)}
}

// Text implements cli.Document.
func (r upResult) Text(w io.Writer) error {
	engine := "llama-server, pinned by the image lock"
	if r.Engine == engineScripted {
		engine = "SCRIPTED: no model is running; have one run with --engine " + engineLlama
	}
	rows := [][]string{
		{"WARNING", "SIMULATED TDX: nothing here is protected from anybody, payments are worth nothing"},
		{"base URL", r.URL + "/v1"},
		{"page", r.Page},
		{"model", r.Model},
		{"engine", engine},
	}
	roles := make([][]string, 0, len(r.Roles))
	for _, role := range r.Roles {
		roles = append(roles, []string{role.Name, strings.TrimSpace(role.Page + "  " + role.Clients)})
	}
	if c := r.Chain; c != nil {
		roles = append(roles, []string{"root contract", c.Root}, []string{"global config", c.GlobalConfig}, []string{"chain control", c.Control})
	}
	end := [][]string{{"folder", r.Dir}, {"receipts", "cocoon receipt ls --receipts " + filepath.Join(r.Dir, "receipts")}, {"ready", fmt.Sprintf("after %d ms", r.Ready)}}
	if err := cli.Table(w, slices.Concat(rows, roles, end)); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\n%s\n", r.Try)
	return err
}

// upFlags are the verb's flags as they were typed.
type upFlags struct {
	dir, listen, guest, engine, model, template string
	proxies, workers                            int
	detach, chain                               bool
}

func (u *upFlags) register(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&u.dir, "dir", "", "folder for files, logs and receipts (default: in the state folder)")
	f.StringVar(&u.listen, "listen", defaultGateway, "where to answer; port 0 is a free one")
	f.StringVar(&u.guest, "guest", "", "guest binary (default: built from the checkout)")
	f.StringVar(&u.engine, "engine", engineScripted, "who answers: "+engineScripted+" or "+engineLlama)
	f.StringVar(&u.model, "model", "", "GGUF file for "+engineLlama+" (default: a tiny one with known answers)")
	f.StringVar(&u.template, "chat-template", "", "chat template (Jinja) in place of the model's own")
	f.BoolVar(&u.chain, "chain", true, "follow a root contract on a chain of the network's own")
	f.IntVar(&u.proxies, "proxies", 1, "how many proxies to run")
	f.IntVar(&u.workers, "workers", 1, "how many workers to run, each with an engine")
}

func newLocalnetUpCmd(a *app) *cobra.Command {
	var u upFlags
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Run a whole network on this machine: proxies, workers, engines and gateway",
		Long: "Run a whole network on this machine with simulated TDX: proxies and workers as processes of the\n" +
			"guest binary, attested to each other; an engine for each worker; and the gateway, which OpenAI\n" +
			"SDKs talk to. It serves until it is interrupted, or \"cocoon localnet down\", and then ends\n" +
			"everything in order.\n\n" +
			"Answers are scripted, and said to be, unless --engine llama-server has the pinned engine of the\n" +
			"images run a model on this machine's CPU; the engine is fetched by hash if the cache lacks it.\n\n" +
			"A chain of its own holds the root contract that lists the images, the model and the proxies, and\n" +
			"says what a token costs; \"cocoon root publish --sign-with DIR/owner.key\" changes it, and everybody\n" +
			"follows. Balances are counted in memory. The guest binary is built from the checkout unless\n" +
			"--guest names one. Nothing of it is reached from other machines.",
		Example: "  cocoon localnet up\n" +
			"  cocoon localnet up --detach --proxies 2 --workers 3\n" +
			"  cocoon localnet up --engine llama-server\n" +
			"  cocoon localnet up --model tiny.gguf --listen 127.0.0.1:0 -o json",
		Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.localnetUp(cmd.Context(), &u) },
	}
	u.register(cmd)
	cmd.Flags().BoolVarP(&u.detach, "detach", "d", false, "return when it serves; \"cocoon localnet down\" ends it")
	return cmd
}

// localnetUp runs until the command is interrupted, which is its normal end.
func (a *app) localnetUp(ctx context.Context, u *upFlags) error {
	if a.dryRun {
		c, err := a.localnetConfig(u)
		if err != nil {
			return err
		}
		if u.engine == engineLlama && c.Model == "" {
			c.Model = demoFile
		}
		return a.printer.Result(newUpResult(network.Describe(&c)))
	}
	if u.detach {
		return a.detached(ctx, u)
	}
	return a.withNetwork(ctx, u, func(ctx context.Context, d network.Description) error {
		if a.format != cli.Text && !a.quiet {
			a.logger().Warn("SIMULATED TDX: nothing here is protected from anybody", slog.String("engine", d.Engine))
		}
		if err := a.printer.Result(newUpResult(d)); err != nil {
			return err // nobody knows of it
		}
		<-ctx.Done()
		return nil
	})
}

// localnetConfig is what the flags say; the guest binary and the engine are still to be found.
func (a *app) localnetConfig(u *upFlags) (network.Config, error) {
	if u.model != "" {
		u.engine = engineLlama
	}
	switch {
	case u.engine != engineScripted && u.engine != engineLlama:
		return network.Config{}, cli.Usagef("--engine %q is none of %s, %s", u.engine, engineScripted, engineLlama)
	case u.proxies < 1 || u.workers < 1:
		return network.Config{}, cli.Usagef("--proxies %d, --workers %d: a network has at least one of each", u.proxies, u.workers)
	case u.template != "" && u.engine == engineScripted:
		return network.Config{}, cli.Tag(cli.KindUsage, errors.New("--chat-template is for a model, and answers are scripted"), "have one run with --engine "+engineLlama)
	}
	build := buildOf()
	c := network.Config{
		Model: u.model, Template: u.template, Guest: u.guest, Listen: u.listen, Proxies: u.proxies, Workers: u.workers, Chain: u.chain,
		Version: build.Version, Commit: build.Commit, Now: a.now, Log: slog.New(slog.DiscardHandler),
	}
	_, _ = rand.Read(c.Seed[:]) // never fails (crypto/rand)
	var err error
	c.Dir, err = a.localnetDir(u.dir)
	return c, err
}

// untaken says what may help who did not get a folder for a network.
func untaken(dir string, err error) error {
	if errors.Is(err, network.ErrRunning) {
		return cli.Tag(cli.KindPrerequisite, err, "end it with \"cocoon localnet down\"", "or name another folder with --dir DIR")
	}
	return cli.Misnamed(dir, err)
}

// withNetwork runs a network for as long as serve does. serve's context ends when something that is needed breaks.
func (a *app) withNetwork(ctx context.Context, u *upFlags, serve func(context.Context, network.Description) error) error {
	c, err := a.localnetConfig(u)
	if err != nil {
		return err
	}
	if err := c.Early(); err != nil {
		return cli.Tag(cli.KindUsage, err, "run \"cocoon localnet up --help\"")
	}
	lock, err := network.Take(c.Dir)
	if err != nil {
		return untaken(c.Dir, err)
	}
	log, err := a.makeParts(ctx, u, &c)
	if err != nil {
		return errors.Join(err, lock.Close())
	}
	defer log.Close() //nolint:errcheck // a log
	c.Lock = lock
	n, err := network.Start(ctx, c)
	if err != nil {
		return unstarted(err, c.Dir)
	}
	serving, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() {
		defer stop()
		ended <- n.Run(serving)
	}()
	err = serve(serving, n.Description())
	stop()
	return errors.Join(err, <-ended)
}

// unstarted says what may help a network that did not start.
func unstarted(err error, dir string) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return cli.Tag(cli.KindPrerequisite, err, "name another address with --listen HOST:PORT; port 0 takes a free one")
	case errors.Is(err, syscall.ENOSPC):
		return cli.Tag(cli.KindPrerequisite, err, "free some space, or name a folder of another disk with --dir DIR")
	case errors.Is(err, context.DeadlineExceeded):
		return cli.Tag(cli.KindTimeout, err, "see \"cocoon localnet logs --dir "+dir+"\"")
	}
	return cli.Tag(cli.KindPrerequisite, err, "see \"cocoon localnet logs --dir "+dir+"\"")
}
