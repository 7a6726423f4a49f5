package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"

	"github.com/google/renameio/v2"
	"github.com/spf13/pflag"
	"github.com/xssnick/tonutils-go/address"

	"cocoon/cmd/internal/cli"
	"cocoon/contracts/chain"
	"cocoon/contracts/chain/lite"
	"cocoon/contracts/registry"
	"cocoon/host/publish"
)

// networkHelp belongs to every noun that reads a network.
const networkHelp = "Every verb needs --global-config, and some --root-contract: set COCOON_GLOBAL_CONFIG and\n" +
	"COCOON_ROOT_CONTRACT once instead. State is believed only with proof from the block that the\n" +
	"configuration pins. Messages are rehearsed before they are sent, and sent only with --send."

// networkFlags say which network a verb reads, and which root.
type networkFlags struct {
	globalConfig, network, root, stateDir string
	oneServer                             bool
}

func (n *networkFlags) add(f *pflag.FlagSet) {
	f.StringVar(&n.globalConfig, "global-config", "", "network's configuration: liteservers and a trusted block")
	f.StringVar(&n.network, "network", "", "refuse others: mainnet, testnet, localnet or a global id")
	f.StringVar(&n.stateDir, "state-dir", "", "folder for proven blocks and sent messages")
	f.BoolVar(&n.oneServer, "one-server", false, "be content with a single liteserver")
}

// addRoot adds the flag of verbs that need a root contract.
func (n *networkFlags) addRoot(f *pflag.FlagSet) {
	n.add(f)
	f.StringVar(&n.root, "root-contract", "", "address of the root contract")
}

// onNetwork is an open connection and what the flags said about it.
type onNetwork struct {
	*lite.Client
	expect registry.Network
	root   *address.Address // nil when the verb takes none
	dir    string           // of state that belongs to this network
}

// open connects to the network of the flags.
func (n *networkFlags) open(ctx context.Context, a *app, needRoot bool) (*onNetwork, error) {
	out := &onNetwork{}
	var err error
	if n.network != "" {
		if out.expect, err = registry.ParseNetwork(n.network); err != nil {
			return nil, cli.Tag(cli.KindUsage, fmt.Errorf("--network: %w", err))
		}
	}
	if needRoot {
		if out.root, err = parseAddress("--root-contract", n.root); err != nil {
			return nil, err
		}
	}
	if n.globalConfig == "" {
		return nil, cli.Tag(cli.KindUsage, errors.New("--global-config is missing"),
			"name the network's file, for example https://ton.org/global.config.json saved to disk, or DIR/global.json of \"cocoon localnet chain\"")
	}
	if out.dir, err = n.state(a); err != nil {
		return nil, err
	}
	e := publish.Endpoint{
		GlobalConfig: n.globalConfig, Trust: filepath.Join(out.dir, "trusted.json"), OneServer: n.oneServer, Now: a.now,
		Log: slog.New(slog.DiscardHandler),
	}
	if !a.quiet {
		e.Log = slog.New(slog.NewTextHandler(a.stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	}
	if out.Client, err = publish.Connect(ctx, e); err != nil {
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, chain.ErrMalformed) {
			return nil, cli.Tag(cli.KindUsage, err, "name the network's file with --global-config")
		}
		return nil, explained(err)
	}
	return out, nil
}

// state is a folder of this network's own: another configuration file means another network, with its own proofs.
func (n *networkFlags) state(a *app) (string, error) {
	dir := n.stateDir
	if dir == "" {
		if dir = a.getenv("XDG_STATE_HOME"); !filepath.IsAbs(dir) {
			home := a.getenv("HOME")
			if home == "" {
				return "", cli.Tag(cli.KindUsage, errors.New("neither HOME nor XDG_STATE_HOME is set"), "name a folder with --state-dir DIR")
			}
			dir = filepath.Join(home, ".local", "state")
		}
		dir = filepath.Join(dir, program)
	}
	data, err := cli.ReadFile(n.globalConfig, cli.MaxSmallFile)
	if err != nil {
		return "", cli.Tag(cli.KindUsage, fmt.Errorf("reading network configuration: %w", err), "name the network's file with --global-config")
	}
	sum := sha256.Sum256(data)
	dir = filepath.Join(dir, "chain", hex.EncodeToString(sum[:8]))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("making state folder: %w", err)
	}
	return dir, nil
}

// outbox remembers what was sent to this network and not yet seen, so that the next command settles it first.
func (n *onNetwork) outbox() chain.Outbox {
	return chain.FileOutbox{Path: filepath.Join(n.dir, "outbox.json")}
}

// parseAddress reads an address that a flag or an argument names.
func parseAddress(what, text string) (*address.Address, error) {
	if text == "" {
		return nil, cli.Tag(cli.KindUsage, fmt.Errorf("%s is missing", what), "give an address such as EQ... or 0:64 hexadecimal digits")
	}
	at, err := address.ParseAddr(text)
	if err != nil {
		at, err = address.ParseRawAddr(text)
	}
	if err != nil || at.Type() != address.StdAddress {
		return nil, cli.Tag(cli.KindUsage, fmt.Errorf("%s: %q is not an address", what, text), "give an address such as EQ... or 0:64 hexadecimal digits")
	}
	return at, nil
}

// explained gives an error of the chain or of publishing its exit code and hint.
func explained(err error) error {
	var tagged *cli.Error
	if err == nil || errors.As(err, &tagged) {
		return err
	}
	advice, ok := publish.Explain(err)
	if !ok {
		return err
	}
	return cli.Tag(cli.Kind(advice.Class), err, advice.Hint)
}

// signFlags say who signs, and whether anything is sent.
type signFlags struct {
	key, save string
	send      bool
}

func (s *signFlags) add(f *pflag.FlagSet) {
	f.StringVar(&s.key, "sign-with", "", "key file: 24 words or 64 hex digits; - is standard input")
	f.BoolVar(&s.send, "send", false, "send, and wait for the proof of the effect")
	f.StringVar(&s.save, "save", "", "file for the result as JSON: messages, or the receipt")
}

// signer reads the key of the flags; nil without one.
func (s *signFlags) signer(a *app) (*publish.Signer, error) {
	if s.send && s.key == "" {
		return nil, cli.Tag(cli.KindUsage, errors.New("--send needs --sign-with"), "name the key's file with --sign-with FILE, or leave out --send for unsigned messages")
	}
	if s.key == "" {
		return nil, nil //nolint:nilnil // no key is a choice
	}
	return readSigner(a, s.key)
}

func readSigner(a *app, name string) (*publish.Signer, error) {
	data, err := readSecret(a, name)
	if err != nil {
		return nil, err
	}
	signer, err := publish.ParseSigner(data)
	if err != nil {
		return nil, cli.Tag(cli.KindUsage, fmt.Errorf("%s: %w", name, err), "\"cocoon wallet new FILE\" writes such a file")
	}
	return signer, nil
}

// readSecret reads a file that only its owner may read, or standard input.
func readSecret(a *app, name string) ([]byte, error) {
	if name == "-" {
		if a.interactive {
			fmt.Fprintln(a.stderr, "key (24 words or 64 hexadecimal digits), then end of input:") //nolint:errcheck // a prompt
		}
		return io.ReadAll(io.LimitReader(a.stdin, publish.MaxKeyFile))
	}
	data, err := cli.ReadSecret(name, publish.MaxKeyFile)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.EISDIR) {
		return nil, cli.Tag(cli.KindUsage, fmt.Errorf("reading key: %w", err), "\"cocoon wallet new FILE\" makes a key; - is standard input")
	}
	if err != nil {
		return nil, fmt.Errorf("reading key: %w", err)
	}
	return data, nil
}

// saved writes the result's JSON to --save.
func (s *signFlags) saved(a *app, doc cli.Document) error {
	if s.save == "" {
		return nil
	}
	f, err := renameio.NewPendingFile(s.save, renameio.WithPermissions(0o644))
	if err != nil {
		return fmt.Errorf("writing %s: %w", s.save, err)
	}
	defer f.Cleanup() //nolint:errcheck // nothing is left to do
	if err := (&cli.Printer{Out: f, Format: cli.JSON, Now: a.now}).Result(doc); err != nil {
		return err
	}
	return f.CloseAtomicallyReplace()
}
