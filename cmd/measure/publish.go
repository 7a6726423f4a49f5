package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"
	"github.com/xssnick/tonutils-go/address"

	"cocoon/cmd/internal/cli"
	"cocoon/contracts/bind"
	"cocoon/contracts/chain"
	"cocoon/contracts/chain/lite"
	"cocoon/contracts/registry"
	"cocoon/host/publish"
	"cocoon/image/manifest"
)

const (
	publishSchema = "cocoon.measure.publish/1"
	// maxPublications bounds the operands of one command.
	maxPublications = 64
	// maxEntries bounds a prediction or a list of entries.
	maxEntries = 4 << 20
)

// networkVerbs are the two verbs that reach a network.
func networkVerbs() []verb {
	return []verb{
		{
			"publish", "MANIFEST...",
			[2]int{0, maxPublications},
			"Put images' hashes into the root contract: predict, rehearse, sign, send, prove.",
			[]string{
				"measure publish out/worker-cpu --spec spec/ --global-config global.json --root-contract EQ...",
				"measure publish worker.json --global-config global.json --root-contract EQ... --sign-with owner.key --send --save receipt.json",
			},
			setupPublish,
		},
		{
			"audit", "[MANIFEST...]",
			[2]int{0, maxPublications},
			"Replay the root contract's history, and say which of its hashes are those of manifests.",
			[]string{"measure audit --global-config global.json --root-contract EQ...", "measure audit worker.json proxy.json --global-config global.json --root-contract EQ... -o json"},
			setupAudit,
		},
	}
}

// chainFlags say which root is meant and how to reach it.
type chainFlags struct {
	globalConfig, network, root, state string
	oneServer                          bool
	models                             []string
}

func (f *chainFlags) register(fs *flag.FlagSet) {
	fs.StringVar(&f.globalConfig, "global-config", "", "the network's configuration `file`: liteservers and a trusted block")
	fs.StringVar(&f.network, "network", "", "refuse any other `network`: mainnet, testnet, localnet or a global id")
	fs.StringVar(&f.root, "root-contract", "", "`address` of the root contract")
	fs.StringVar(&f.state, "state-dir", "", "`folder` for the newest proven block and sent messages (default: beside --global-config)")
	fs.BoolVar(&f.oneServer, "one-server", false, "be content with a single liteserver")
	fs.Func("model", "full model `string`, name@revision...; may be repeated", func(s string) error {
		f.models = append(f.models, s)
		return nil
	})
}

// site is an open connection and what the flags said about it.
type site struct {
	*lite.Client
	expect registry.Network
	root   *address.Address
	dir    string
}

// open checks the flags and connects.
func (f *chainFlags) open(ctx context.Context, e *env) (*site, error) {
	if f.globalConfig == "" || f.root == "" {
		return nil, cli.Tag(cli.KindUsage, errors.New("--global-config and --root-contract are needed"),
			"name the network's file and the address of its root contract")
	}
	out := &site{dir: f.state}
	var err error
	if out.root, err = address.ParseAddr(f.root); err != nil {
		if out.root, err = address.ParseRawAddr(f.root); err != nil {
			return nil, cli.Usagef("--root-contract: %q is not an address", f.root)
		}
	}
	if f.network != "" {
		if out.expect, err = registry.ParseNetwork(f.network); err != nil {
			return nil, cli.Tag(cli.KindUsage, fmt.Errorf("--network: %w", err))
		}
	}
	if out.dir == "" {
		out.dir = filepath.Dir(f.globalConfig)
	}
	out.Client, err = publish.Connect(ctx, publish.Endpoint{
		GlobalConfig: f.globalConfig, Trust: filepath.Join(out.dir, "trusted.json"), OneServer: f.oneServer, Now: e.now,
		Log: slog.New(slog.NewTextHandler(e.stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	if errors.Is(err, chain.ErrMalformed) {
		return nil, cli.Tag(cli.KindUsage, err)
	}
	return out, explained(cli.Misnamed(f.globalConfig, err))
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

// publishFlags are those of `publish`.
type publishFlags struct {
	predictFlags
	chainFlags

	key, save    string
	send, remove bool
}

func setupPublish(fs *flag.FlagSet) action {
	var f publishFlags
	f.predictFlags.register(fs)
	f.chainFlags.register(fs)
	fs.StringVar(&f.key, "sign-with", "", "`file` with the key: 24 words or a seed of 64 hex digits")
	fs.BoolVar(&f.send, "send", false, "send the signed messages and wait for the proof of their effect")
	fs.StringVar(&f.save, "save", "", "`file` to write the result to as JSON: unsigned messages, or the receipt")
	fs.BoolVar(&f.remove, "delete", false, "take the hashes out instead")
	return func(ctx context.Context, e *env, operands []string) error { return f.run(ctx, e, operands) }
}

// publishDoc is the document of `publish`.
type publishDoc struct {
	Schema string `json:"schema"`
	publish.OutcomeDoc
}

// run reads key and images before it connects.
func (f *publishFlags) run(ctx context.Context, e *env, operands []string) error {
	if len(operands) == 0 && len(f.models) == 0 {
		return cli.Tag(cli.KindUsage, errors.New("nothing to publish: give manifests, predictions or --model"), "measure publish -h")
	}
	signer, err := f.signer()
	if err != nil {
		return err
	}
	entries, err := f.entries(ctx, e, &f.predictFlags, operands)
	if err != nil {
		return err
	}
	net, err := f.open(ctx, e)
	if err != nil {
		return err
	}
	defer net.Close()
	job := publish.Job{
		Root: net.root, Network: net.expect, Entries: entries, Delete: f.remove, Signer: signer, Send: f.send,
		Outbox: chain.FileOutbox{Path: filepath.Join(net.dir, "outbox.json")}, Now: e.now,
	}
	out, err := job.Run(ctx, net)
	if err != nil && !out.Reported() {
		return explained(err)
	}
	doc, docErr := out.Document()
	if docErr != nil {
		return errors.Join(err, docErr)
	}
	result := &publishDoc{publishSchema, doc}
	if printErr := errors.Join(f.saved(e, result), e.result(result)); printErr != nil {
		return printErr
	}
	return explained(err)
}

// signer reads the key; nil without one.
func (f *publishFlags) signer() (*publish.Signer, error) {
	switch {
	case f.key == "" && f.send:
		return nil, cli.Tag(cli.KindUsage, errors.New("--send needs --sign-with"), "name the key's file, or leave out --send for unsigned messages")
	case f.key == "":
		return nil, nil //nolint:nilnil // no key is a choice
	}
	data, err := cli.ReadSecret(f.key, publish.MaxKeyFile)
	if err != nil {
		return nil, fmt.Errorf("reading key: %w", err)
	}
	s, err := publish.ParseSigner(data)
	if err != nil {
		return nil, cli.Tag(cli.KindUsage, fmt.Errorf("%s: %w", f.key, err), "\"cocoon wallet new FILE\" makes one")
	}
	return s, nil
}

func (f *publishFlags) saved(e *env, doc cli.Document) error {
	if f.save == "" {
		return nil
	}
	var b bytes.Buffer
	if err := (&cli.Printer{Out: &b, Format: cli.JSON, Now: e.now}).Result(doc); err != nil {
		return err
	}
	if err := renameio.WriteFile(f.save, b.Bytes(), 0o644); err != nil {
		return fmt.Errorf("writing %s: %w", f.save, err)
	}
	return nil
}

// entries are the hashes of all operands and models. An operand is a manifest, which is predicted here, or a document that
// was predicted before.
func (f *chainFlags) entries(ctx context.Context, e *env, p *predictFlags, operands []string) ([]publish.Entry, error) {
	var out []publish.Entry
	for _, name := range operands {
		one, err := operand(ctx, e, p, name)
		if err != nil {
			return nil, err
		}
		out = append(out, one...)
	}
	for _, m := range f.models {
		if m == "" {
			return nil, cli.Usagef("--model is empty")
		}
		out = append(out, publish.Entry{List: registry.Models, Hash: sha256.Sum256([]byte(m)), Name: m})
	}
	return out, nil
}

func operand(ctx context.Context, e *env, p *predictFlags, name string) ([]publish.Entry, error) {
	if st, err := os.Stat(name); err == nil && !st.IsDir() { //nolint:gosec // the operator names the file
		data, err := cli.ReadFile(name, maxEntries)
		if err != nil {
			return nil, err
		}
		switch schemaName(data) {
		case manifest.Schema:
		case publish.PredictSchema:
			// The values must follow from the events: an edited prediction would publish anything.
			doc, err := readPrediction(name)
			if err != nil {
				return nil, err
			}
			return entriesOf(name, doc)
		default:
			out, err := publish.ParseEntries(data)
			if err != nil {
				return nil, cli.Tag(cli.KindUsage, fmt.Errorf("%s: %w", name, err))
			}
			return out, nil
		}
	}
	return predicted(ctx, e, p, name)
}

// schemaName is what a document says it is; empty for one that says nothing.
func schemaName(data []byte) string {
	var head struct {
		Schema string `json:"schema"`
	}
	if json.Unmarshal(data, &head) != nil {
		return ""
	}
	return head.Schema
}

// entriesOf are a prediction's hashes.
func entriesOf(name string, doc *predictDoc) ([]publish.Entry, error) {
	data, err := json.Marshal(doc)
	if err != nil {
		return nil, fmt.Errorf("writing prediction: %w", err)
	}
	out, err := publish.ParseEntries(data)
	if err != nil {
		return nil, cli.Tag(cli.KindUsage, fmt.Errorf("%s: %w", name, err))
	}
	return out, nil
}

// predicted predicts a manifest's hashes and remembers which manifest they are of.
func predicted(ctx context.Context, e *env, p *predictFlags, name string) ([]publish.Entry, error) {
	if p.spec == "" {
		return nil, cli.Tag(cli.KindUsage, errors.New("the image hash covers the spec: --spec is missing"), "name the spec folder that the machine runs with --spec DIR")
	}
	doc, err := p.predict(ctx, e, name)
	if err != nil {
		return nil, err
	}
	path := name
	if st, err := os.Stat(name); err == nil && st.IsDir() { //nolint:gosec // the operator names the file
		path = filepath.Join(name, manifest.FileName)
	}
	sum, _, err := manifest.HashFile(path)
	if err != nil {
		return nil, err
	}
	digest, err := hex.DecodeString(sum)
	if err != nil || len(digest) != len(bind.Hash{}) {
		return nil, fmt.Errorf("hashing %s: %q is no SHA-256", path, sum)
	}
	out, err := entriesOf(name, doc)
	if err != nil {
		return nil, err
	}
	for i := range out {
		out[i].Manifest = bind.Hash(digest)
	}
	return out, nil
}

// Text implements cli.Document.
func (d *publishDoc) Text(w io.Writer) error { return d.OutcomeDoc.Text(w) }
