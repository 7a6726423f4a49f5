package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/xssnick/tonutils-go/address"
	"github.com/xssnick/tonutils-go/tlb"
	"github.com/xssnick/tonutils-go/tvm/cell"

	"cocoon/cmd/internal/cli"
	"cocoon/contracts/bind"
	"cocoon/contracts/chain/local"
	"cocoon/contracts/chain/local/adnl"
	"cocoon/contracts/code"
	"cocoon/contracts/registry"
	"cocoon/host/probe"
	"cocoon/host/publish"
)

// localNetwork is a local chain behind a liteserver, with a root that a key in a file owns.
type localNetwork struct {
	config, key, state string
	root               *address.Address
}

func newLocalNetwork(t *testing.T) *localNetwork {
	t.Helper()
	dir := t.TempDir()
	n := &localNetwork{config: filepath.Join(dir, "global.json"), key: filepath.Join(dir, "owner.key"), state: dir}
	c, err := local.NewChain(local.Options{})
	ok(t, err)
	seed := strings.Repeat("6b", 32)
	signer, err := publish.ParseSigner([]byte(seed))
	ok(t, err)
	ok(t, os.WriteFile(n.key, []byte(seed), 0o600))
	owner, err := publish.NewWallet(publish.V4R2, signer, registry.Localnet)
	ok(t, err)
	data, err := bind.RootStorage{Owner: owner.Address, KeyManager: &bind.KeyManager{}, Params: bind.Params{
		StructVersion: 4, UniqueID: 7, IsTest: true, Proxy: code.Proxy(), Worker: code.Worker(), Client: code.Client(),
	}}.Cell()
	ok(t, err)
	n.root, err = bind.Address(code.Root(), data)
	ok(t, err)
	for to, init := range map[*address.Address]*tlb.StateInit{owner.Address: nil, n.root: {Code: code.Root(), Data: data}} {
		ok(t, c.Pay(&tlb.InternalMessage{
			IHRDisabled: true, DstAddr: to, Amount: tlb.MustFromTON("10"), StateInit: init, Body: cell.BeginCell().EndCell(),
		}))
		ok(t, c.Steps(2))
	}
	s, err := adnl.Start(t.Context(), c, adnl.Options{Listen: "127.0.0.1:0", Seed: [32]byte{1}})
	ok(t, err)
	config, err := adnl.GlobalConfig(c, adnl.Endpoint{Addr: s.Addr(), Key: s.Key()})
	ok(t, err)
	ok(t, os.WriteFile(n.config, config, 0o600))
	stop := steps(c)
	t.Cleanup(func() { ok(t, errors.Join(stop(), s.Close(), c.Close())) })
	return n
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// steps makes a block every 50 ms until it is stopped.
func steps(c *local.Chain) (stop func() error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() {
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				done <- nil
				return
			case <-tick.C:
				if err := c.Step(); err != nil {
					done <- err
					return
				}
			}
		}
	}()
	return func() error {
		cancel()
		return <-done
	}
}

// run is the command with the network's flags, on the wall clock, which the blocks follow.
func (n *localNetwork) run(t *testing.T, args ...string) result {
	t.Helper()
	var out, errs bytes.Buffer
	e := &env{stdout: &out, stderr: &errs, getenv: func(string) string { return "" }, now: time.Now, parallel: 2}
	args = append(args, "--global-config", n.config, "--root-contract", n.root.String(), "--one-server", "--state-dir", n.state)
	code := run(t.Context(), e, args)
	return result{code, out.String(), errs.String()}
}

func (r result) fits(t *testing.T, verb string) result {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(r.stdout))
	ok(t, err)
	if err := schemaOf(t, verb).Validate(doc); err != nil {
		t.Error(err)
	}
	return r
}

// TestAnImageIsPublishedFromItsManifest goes from the build's folder to the proof that the root allows its hash, and to
// the audit that knows the hash by its manifest.
func TestAnImageIsPublishedFromItsManifest(t *testing.T) {
	t.Parallel()
	if _, err := probe.Find(t.Context(), ""); errors.Is(err, probe.ErrNoQEMU) {
		t.Skipf("no prediction without QEMU: %v", err)
	}
	n, image, spec := newLocalNetwork(t), buildImage(t, imageParts{}), specDir(t, "{}")
	n.run(t, "publish", image).want(t, cli.ExitUsage, "--spec is missing")
	n.run(t, "publish", image, "--spec", spec).want(t, 0, "rehearsal", "unsigned", "ton://transfer/")
	n.run(t, "audit").want(t, 0, "0 operations, complete: true")
	receipt := filepath.Join(n.state, "receipt.json")
	r := n.run(t, "publish", image, "--spec", spec, "--sign-with", n.key, "--send", "--save", receipt, "-o", "json").want(t, 0).fits(t, "publish")
	saved, err := os.ReadFile(receipt)
	ok(t, err)
	if string(saved) != r.stdout {
		t.Error("the receipt is not what was printed")
	}
	var doc publish.OutcomeDoc
	r.decode(t, &doc)
	if doc.Receipt == nil || !doc.Receipt.Valid || doc.Receipt.Orders[0].ExitCode != 0 {
		t.Errorf("receipt %+v", doc.Receipt)
	}
	if !strings.Contains(r.stdout, `"manifest_sha256"`) {
		t.Error("the receipt does not name the manifest")
	}
	n.run(t, "publish", image, "--spec", spec, "--sign-with", n.key, "--send").want(t, cli.ExitDifference, "already on the list")
	n.run(t, "audit", image, "--spec", spec, "-o", "json").want(t, 0, `"known": true`, `"manifest_sha256"`).fits(t, "audit")

	prediction := filepath.Join(n.state, "prediction.json")
	ok(t, os.WriteFile(prediction, []byte(measure(t, "predict", image, "--spec", spec, "-o", "json").want(t, 0).stdout), 0o600))
	n.run(t, "audit", prediction).want(t, 0, "root_add_worker_type", "applied", "worker-cpu")
	n.run(t, "publish", prediction, "--delete", "--sign-with", n.key, "--send").want(t, 0, "proven")
	n.run(t, "audit", prediction).want(t, 0, "root_del_worker_type")
	ok(t, os.WriteFile(prediction, edited(t, prediction), 0o600))
	n.run(t, "publish", prediction).want(t, cli.ExitUsage, "does not follow")
}

// edited puts another image hash into a prediction.
func edited(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(name)
	ok(t, err)
	var doc predictDoc
	ok(t, json.Unmarshal(data, &doc))
	doc.Predictions[0].ImageHash[0] ^= 1
	out, err := json.Marshal(doc)
	ok(t, err)
	return out
}

func TestModelsAreKnownByTheirStrings(t *testing.T) {
	t.Parallel()
	n := newLocalNetwork(t)
	n.run(t, "publish", "--model", "some/model@1", "--sign-with", n.key, "--send").want(t, 0, "proven")
	n.run(t, "audit", "--model", "some/model@1").want(t, 0, "some/model@1")
	n.run(t, "audit", "--model", "some/model@2", "-o", "json").want(t, cli.ExitDifference, "none of the manifests and models has it").fits(t, "audit")
}

func TestPublishRefusesWrongInput(t *testing.T) {
	t.Parallel()
	n := newLocalNetwork(t)
	other := filepath.Join(n.state, "other.key")
	ok(t, os.WriteFile(other, []byte(strings.Repeat("11", 32)), 0o600))
	open := filepath.Join(n.state, "open.key")
	ok(t, os.WriteFile(open, []byte(strings.Repeat("11", 32)), 0o644))
	bad := filepath.Join(n.state, "bad.key")
	ok(t, os.WriteFile(bad, []byte("canary"), 0o600))
	for name, tc := range map[string]struct {
		args []string
		code int
		word string
	}{
		"nothing":          {[]string{"publish"}, cli.ExitUsage, "nothing to publish"},
		"empty model":      {[]string{"publish", "--model", ""}, cli.ExitUsage, "--model is empty"},
		"send without key": {[]string{"publish", "--model", "x", "--send"}, cli.ExitUsage, "--sign-with"},
		"no such file":     {[]string{"publish", "nowhere", "--spec", n.state}, cli.ExitUsage, "nowhere"},
		"not entries":      {[]string{"publish", n.config}, cli.ExitUsage, "schema"},
		"a public key":     {[]string{"publish", "--model", "x", "--sign-with", open}, cli.ExitPrerequisite, "chmod 600"},
		"no key":           {[]string{"publish", "--model", "x", "--sign-with", bad}, cli.ExitUsage, "wallet new"},
		"another's key":    {[]string{"publish", "--model", "x", "--sign-with", other, "--send"}, cli.ExitPrerequisite, "no right"},
		"another network":  {[]string{"publish", "--model", "x", "--network", "mainnet"}, cli.ExitDifference, "the liteservers serve localnet"},
		"unknown network":  {[]string{"audit", "--network", "moon"}, cli.ExitUsage, "moon"},
		"absent model":     {[]string{"publish", "--model", "x", "--delete"}, cli.ExitDifference, "not on the list"},
		"too late":         {[]string{"audit", "--timeout", "1ns"}, cli.ExitTimeout, "deadline"},
	} {
		t.Run(name, func(t *testing.T) {
			r := n.run(t, tc.args...).want(t, tc.code, tc.word)
			if strings.Contains(r.stdout+r.stderr, "canary") {
				t.Error("the key is in the output")
			}
		})
	}
	measure(t, "audit").want(t, cli.ExitUsage, "--global-config and --root-contract are needed")
	measure(t, "audit", "--global-config", "nowhere", "--root-contract", n.root.String()).want(t, cli.ExitUsage, "nowhere")
	measure(t, "audit", "--global-config", n.config, "--root-contract", "EQx").want(t, cli.ExitUsage, "not an address")
}
