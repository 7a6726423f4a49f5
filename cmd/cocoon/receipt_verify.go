package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"cocoon/cmd/internal/cli"
	"cocoon/contracts/api/jsonscan"
	"cocoon/contracts/receipt"
	"cocoon/contracts/registry"
	"cocoon/host/gateway/attest"
	"cocoon/host/gateway/receipts"
	"cocoon/host/gateway/rootview"
	"cocoon/host/gateway/upstream"
	"cocoon/host/publish"
	"cocoon/measure/tdx"
)

// receiptVerifyResult is the verdict on one receipt.
type receiptVerifyResult struct {
	Schema string `json:"schema"`
	OK     bool   `json:"ok"`
	Class  string `json:"class"`
	Why    string `json:"why,omitempty"`
	ID     string `json:"receipt_id,omitempty"`
	Model  string `json:"model,omitempty"`
	Status string `json:"status,omitempty"`
	Tokens int64  `json:"tokens,omitempty"`
	Cost   string `json:"cost_nano,omitempty"`
	// Coefficient is the worker's, in thousandths. Unseen is how many bytes of a cancelled answer came after those given.
	Coefficient int64 `json:"coefficient,omitempty"`
	Unseen      int64 `json:"unseen_bytes,omitempty"`
}

// Text implements cli.Document.
func (r receiptVerifyResult) Text(w io.Writer) error {
	if !r.OK {
		return cli.Table(w, [][]string{{"verdict", r.Class}, {"why", r.Why}})
	}
	rows := [][]string{
		{"verdict", "good"},
		{"receipt", r.ID},
		{"model", r.Model},
		{"status", r.Status},
		{"tokens", fmt.Sprint(r.Tokens)},
		{"cost, nanoTON", r.Cost},
		{"coefficient", fmt.Sprint(r.Coefficient)},
	}
	if r.Unseen > 0 {
		rows = append(rows, []string{"not compared", fmt.Sprintf("the answer's bytes: it was cancelled, and %d more were sent than are given", r.Unseen)})
	}
	return cli.Table(w, rows)
}

// receiptFlags name everything that the verdict rests on.
type receiptFlags struct {
	gatewayFlags
	attestation, session, request, response string
	client, proxy                           string
}

func newReceiptVerifyCmd(a *app) *cobra.Command {
	var v receiptFlags
	cmd := &cobra.Command{
		Use:   "verify FILE",
		Short: "Verify a receipt against evidence, without asking anybody; exit 3 if it is not good",
		Long: "Checks everything that a receipt claims: that the proxy's attested key signed it, that it is\n" +
			"about these bytes, that its sums and its price are right, and that an attested worker counted.\n" +
			"The documents come from /v1/aci/attestation and /v1/aci/sessions/ID.\n\n" +
			"With --global-config, --network and --root-contract, images are the root contract's, and the\n" +
			"price is the one at the versions that the receipt names; otherwise --image, --price-per-token and\n" +
			"--multipliers say them, and nobody is asked.",
		Example: "  cocoon receipt verify receipt.json --attestation report.json --session session.json \\\n" +
			"    --request request.json --response answer.json --price-per-token 20 \\\n" +
			"    --client-contract 0:ab... --proxy-contract 0:cd... --image 650008eb... \\\n" +
			"    --no-intel --collateral bundle.json\n" +
			"  cocoon receipt verify receipt.json ... --global-config ton.json --root-contract EQCn...",
		Args: args(1, 1, "FILE"),
		RunE: func(cmd *cobra.Command, args []string) error { return a.verifyReceipt(cmd.Context(), &v, args[0]) },
	}
	f := cmd.Flags()
	f.StringVar(&v.attestation, "attestation", "", "attestation report of the proxy")
	f.StringVar(&v.session, "session", "", "session that the receipt cites")
	f.StringVar(&v.request, "request", "", "body of the request, as it was sent")
	f.StringVar(&v.response, "response", "", "body of the answer, as it came")
	v.addPrice(f)
	f.StringVar(&v.client, "client-contract", "", "client's contract of the channel")
	f.StringVar(&v.proxy, "proxy-contract", "", "proxy's contract of the channel")
	f.StringVar(&v.trust.policy, "policy", "", "policy (JSON) that the proxy must meet")
	f.StringSliceVar(&v.trust.images, "image", nil, "image hash of proxies to accept; may be repeated; not with --policy")
	f.StringVar(&v.workers, "worker-policy", "", "policy (JSON) that the worker must meet")
	v.chain.addRoot(f)
	v.trust.sources.add(f, "collateral")
	return cmd
}

// filed is a proxy's documents from files.
type filed struct {
	report  []byte
	session []byte
}

// Attestation implements receipts.Source.
func (f filed) Attestation(context.Context, *[32]byte) ([]byte, error) { return f.report, nil }

// Session implements receipts.Source.
func (f filed) Session(context.Context, [32]byte) ([]byte, error) { return f.session, nil }

// read reads the files that the flags name. All are needed: what is not checked is not verified.
func (v *receiptFlags) read(file string) (filed, receipts.Claim, error) {
	var from filed
	claim := receipts.Claim{ClientSC: upstream.RawAddress(v.client), ProxySC: upstream.RawAddress(v.proxy)}
	for _, in := range []struct {
		flag, name string
		most       int64
		into       *[]byte
	}{
		{"", file, receipt.MaxDocument, &claim.Receipt},
		{"--attestation", v.attestation, 2 * receipt.MaxDocument, &from.report},
		{"--session", v.session, receipt.MaxDocument, &from.session},
		{"--request", v.request, upstream.MaxAnswer, &claim.Request},
		{"--response", v.response, upstream.MaxAnswer, &claim.Response},
	} {
		if in.name == "" {
			return from, claim, cli.Tag(cli.KindUsage, fmt.Errorf("%s is missing", in.flag), "run \"cocoon receipt verify --help\"")
		}
		var err error
		if *in.into, err = cli.ReadFile(in.name, in.most); err != nil {
			return from, claim, fmt.Errorf("reading evidence: %w", err)
		}
	}
	if doc, err := jsonscan.Check(claim.Request); err == nil { // a form names no cap
		v, _ := doc.Get("max_coefficient")
		claim.MaxCoefficient, _ = v.Int()
	}
	return from, claim, nil
}

func (a *app) verifyReceipt(ctx context.Context, v *receiptFlags, file string) error {
	from, claim, err := v.read(file)
	if err != nil {
		return err
	}
	n := &gatewayNet{g: &v.gatewayFlags}
	cfg, err := n.trusted(ctx, a)
	if err != nil {
		return err
	}
	defer n.close()
	if v.rooted() {
		if err := v.asOf(ctx, a, &cfg, claim.Receipt); err != nil {
			return err
		}
	}
	r, err := receipts.NewChecker(attest.New(cfg), a.now).Check(ctx, from, claim)
	out := receiptVerifyResult{Schema: "cocoon.receipt.verify/1", OK: err == nil, Class: receipts.ClassOK}
	if broken, ok := errors.AsType[*receipt.BrokenError](err); ok {
		out.Class, out.Why = string(broken.Class), broken.Why
	} else if err != nil {
		return err
	}
	if r != nil {
		out.ID, out.Model, out.Status = r.ID, r.Model, string(r.Outcome.Status)
		out.Tokens, out.Cost = r.Usage.Tokens.Prompt+r.Usage.Tokens.Completion, fmt.Sprint(r.Usage.Cost)
		out.Coefficient, out.Unseen = r.Usage.Coefficient, max(r.Outcome.Bytes-int64(len(claim.Response)), 0)
	}
	if err := a.printer.Result(out); err != nil || out.OK {
		return err
	}
	sum := sha256.Sum256(claim.Receipt)
	return cli.Shown(cli.KindDifference, fmt.Errorf("the receipt (sha256 %s) is not good: %s", hex.EncodeToString(sum[:8]), out.Class))
}

// fixedTerms are what a root's history says of one version.
type fixedTerms struct {
	of  registry.Terms
	err error
}

// Terms implements attest.Prices.
func (t fixedTerms) Terms(config, params int64) (terms receipt.Terms, ok bool) {
	terms = receipt.Terms{Price: t.of.Price, Multipliers: t.of.Multipliers}
	return terms, t.err == nil && config == int64(t.of.ConfigVersion) && params == int64(t.of.ParamsVersion)
}

// Catch implements attest.Prices: why there is no price.
func (t fixedTerms) Catch(context.Context, int64, int64) error { return t.err }

// listedAt are a root's images as of a block.
type listedAt struct {
	hashes []tdx.Hash
	at     time.Time
}

// Allowed implements policy.Images.
func (l listedAt) Allowed() ([]tdx.Hash, time.Time, error) { return l.hashes, l.at, nil }

func newListedAt(s *registry.Snapshot, list registry.List) listedAt {
	out := listedAt{at: s.Block.Time}
	for _, h := range s.Hashes(list) {
		out.hashes = append(out.hashes, tdx.Hash(h))
	}
	return out
}

// asOf gives the verdict the root contract's lists of now and its price at the versions that the receipt names.
func (v *receiptFlags) asOf(ctx context.Context, a *app, cfg *attest.Config, doc []byte) error {
	net, err := v.chain.open(ctx, a, true)
	if err != nil {
		return err
	}
	defer net.Close()
	site, err := publish.View(ctx, net, a.now)
	if err == nil {
		err = site.Expect(net.expect)
	}
	var root *registry.Snapshot
	if err == nil {
		root, err = site.Root(ctx, net.root)
	}
	if err != nil {
		return explained(err)
	}
	cfg.ProxyImages, cfg.WorkerImages = newListedAt(root, registry.Proxies), newListedAt(root, registry.Workers)
	config, params, ok := receipts.Versions(doc)
	if !ok {
		cfg.Prices = fixedTerms{err: errors.New("the receipt names no version of the root contract")}
		return nil
	}
	terms, err := rootview.TermsAt(ctx, net, net.root, config, params)
	if err != nil && !errors.Is(err, rootview.ErrVersion) {
		return explained(err)
	}
	cfg.Prices = fixedTerms{terms, err}
	return nil
}
