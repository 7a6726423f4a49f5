// Package registry_test follows an image from its prediction to a router's verdict: what the root contract says decides
// who is admitted. It owns the scenario, trusts nothing beyond its own local chain and simulated platform, runs one chain
// per test, and refuses nothing.
package registry_test

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/xssnick/tonutils-go/address"
	"github.com/xssnick/tonutils-go/tlb"
	"github.com/xssnick/tonutils-go/tvm/cell"

	"cocoon/contracts/bind"
	"cocoon/contracts/chain"
	"cocoon/contracts/chain/lite"
	"cocoon/contracts/chain/local"
	"cocoon/contracts/chain/local/adnl"
	"cocoon/contracts/chain/machine"
	"cocoon/contracts/code"
	"cocoon/contracts/registry"
	"cocoon/guest/images"
	"cocoon/host/publish"
	"cocoon/measure/dcap"
	"cocoon/measure/measuretest"
	"cocoon/measure/policy"
	"cocoon/measure/tdx"
)

// router judges one peer's quote as a router does whose policy says image_source chain.
type router struct {
	t        *testing.T
	policy   *policy.Policy
	evidence policy.Evidence
	images   *images.Chain
	now      time.Time
}

func newRouter(t *testing.T, images *images.Chain) *router {
	t.Helper()
	now := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	p, err := measuretest.NewPlatform(measuretest.Options{Seed: [measuretest.SeedSize]byte{7}, Now: now})
	check(t, err)
	bundle, err := p.Bundle()
	check(t, err)
	collateral, err := dcap.Open(bundle, p.Roots(), now)
	check(t, err)
	quote, err := p.Quote(t.Context(), [tdx.ReportDataSize]byte{1})
	check(t, err)
	result, err := dcap.NewVerifier(p.Roots(), 1).Verify(quote, collateral, now)
	check(t, err)
	rules := policy.Defaults(policy.TDX)
	rules.ImageSource, rules.AllowSimulated, rules.CollateralRoots = policy.FromChain, true, []dcap.RootID{p.RootID()}
	made, err := policy.New(rules)
	check(t, err)
	return &router{
		t: t, policy: made, images: images, now: now,
		evidence: policy.Evidence{Quote: result, ReportDataOK: true, CertLifetime: time.Hour},
	}
}

func (r *router) judge() policy.Verdict {
	return r.policy.Check(r.evidence, policy.Env{Now: r.now, Images: r.images})
}

// want checks the verdict; before the watcher's next refresh the old answer stands.
func (r *router) want(when string, code policy.Code) {
	r.t.Helper()
	if v := r.judge(); v.Code != code || v.OK != (code == policy.OK) {
		r.t.Errorf("%s: verdict %s, want %s", when, v.Code, code)
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// network is a local chain that makes blocks by itself, seen through liteservers with proofs.
type network struct {
	chain  *local.Chain
	client *lite.Client
	root   *address.Address
	signer *publish.Signer
}

func newNetwork(t *testing.T) *network {
	t.Helper()
	c, err := local.NewChain(local.Options{})
	check(t, err)
	t.Cleanup(func() { check(t, c.Close()) })
	n := &network{chain: c}
	n.signer, err = publish.ParseSigner([]byte(strings.Repeat("5a", 32)))
	check(t, err)
	owner, err := publish.NewWallet(publish.V5R1, n.signer, registry.Localnet)
	check(t, err)
	check(t, c.Pay(&tlb.InternalMessage{
		IHRDisabled: true, DstAddr: owner.Address, Amount: tlb.MustFromTON("10"), Body: cell.BeginCell().EndCell(),
	}))
	data, err := bind.RootStorage{
		Owner: owner.Address, KeyManager: &bind.KeyManager{},
		Params: bind.Params{
			StructVersion: 4, ParamsVersion: 1, UniqueID: 7, IsTest: true, PricePerToken: 20, WorkerFee: 19,
			MinProxyStake: 1e9, MinClientStake: 1e9, Proxy: code.Proxy(), Worker: code.Worker(), Client: code.Client(),
		},
	}.Cell()
	check(t, err)
	n.root, err = bind.Address(code.Root(), data)
	check(t, err)
	check(t, c.Step())
	check(t, c.Pay(&tlb.InternalMessage{
		IHRDisabled: true, DstAddr: n.root, Amount: tlb.MustFromTON("1"), Body: cell.BeginCell().EndCell(),
		StateInit: &tlb.StateInit{Code: code.Root(), Data: data},
	}))
	check(t, c.Steps(2))
	n.serve(t)
	n.run(t)
	return n
}

// serve starts a liteserver and a client that checks every proof.
func (n *network) serve(t *testing.T) {
	t.Helper()
	s, err := adnl.Start(t.Context(), n.chain, adnl.Options{Listen: "127.0.0.1:0", Seed: [32]byte{3}})
	check(t, err)
	t.Cleanup(func() { check(t, s.Close()) })
	config, err := adnl.GlobalConfig(n.chain, adnl.Endpoint{Addr: s.Addr(), Key: s.Key()})
	check(t, err)
	parsed, err := lite.ParseGlobalConfig(config)
	check(t, err)
	n.client, err = lite.New(t.Context(), lite.Options{
		Servers: parsed.Servers, Trusted: parsed.Init, OneServer: true, Execute: machine.Execute, Store: lite.FileTrust{Path: filepath.Join(t.TempDir(), "trust.json")},
	})
	check(t, err)
	t.Cleanup(n.client.Close)
}

// run makes a block every 50 ms until the test ends.
func (n *network) run(t *testing.T) {
	t.Helper()
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
				if err := n.chain.Step(); err != nil {
					done <- err
					return
				}
			}
		}
	}()
	t.Cleanup(func() {
		cancel()
		check(t, <-done)
	})
}

func (n *network) publish(t *testing.T, entries []publish.Entry, remove bool) (*publish.Outcome, error) {
	t.Helper()
	job := publish.Job{
		Root: n.root, Network: registry.Localnet, Entries: entries, Delete: remove, Signer: n.signer, Send: true,
		Outbox: &chain.MemoryOutbox{}, Now: time.Now,
	}
	return job.Run(t.Context(), n.client)
}

// TestTheRootDecidesWhomARouterAdmits goes the whole way: before publication the image is refused, after it accepted,
// after deletion refused again within one refresh. Every state is read through a liteserver with proofs.
func TestTheRootDecidesWhomARouterAdmits(t *testing.T) {
	n := newNetwork(t)
	var changes []string
	watcher, err := registry.NewWatcher(registry.Config{
		Chain: n.client, Root: n.root, Now: time.Now,
		Changed: func(_, s *registry.Snapshot) { changes = append(changes, fmt.Sprint(s.Version)) },
	})
	check(t, err)
	source, err := images.New(watcher, registry.Proxies, registry.Workers)
	check(t, err)
	r := newRouter(t, source)
	refresh := func() {
		t.Helper()
		check(t, watcher.Refresh(t.Context()))
	}
	r.want("before the root was read", policy.PolicyEmpty)
	refresh()
	r.want("with an empty root", policy.PolicyEmpty)

	hash := r.judge().ImageHash
	prediction := `{"schema":"cocoon.measure.predict/1","image":{"name":"worker-cpu","profile":"worker","variant":"production"},` +
		`"predictions":[{"shape":"s","imageHash":"` + hex.EncodeToString(hash[:]) + `"}]}`
	entries, err := publish.ParseEntries([]byte(prediction))
	check(t, err)
	other := publish.Entry{List: registry.Workers, Hash: bind.Hash{1}}
	_, err = n.publish(t, []publish.Entry{other}, false)
	check(t, err)
	refresh()
	r.want("with another image published", policy.Image)

	out, err := n.publish(t, entries, false)
	check(t, err)
	if !out.Valid || len(out.Arrivals) != 1 {
		t.Fatalf("valid %t, %d arrivals", out.Valid, len(out.Arrivals))
	}
	r.want("before the refresh", policy.Image)
	refresh()
	r.want("after publication", policy.OK)
	if v := r.judge(); v.ImagesAt.Before(out.ValidAt.Time) {
		t.Errorf("the verdict rests on the lists of %s, the hash was proven at %s", v.ImagesAt, out.ValidAt.Time)
	}
	if _, err := n.publish(t, entries, false); !errors.Is(err, publish.ErrPresent) {
		t.Errorf("publishing twice: %v", err)
	}

	_, err = n.publish(t, entries, true)
	check(t, err)
	refresh()
	r.want("after deletion", policy.Image)
	if got := strings.Join(changes, " "); got != "0 1 2 3" {
		t.Errorf("versions %s", got)
	}
	audit, err := registry.Audit(t.Context(), n.client, n.root)
	check(t, err)
	if !audit.Agrees() || len(audit.Events) != 3 {
		t.Errorf("complete %t, missing %v, surplus %v, %d events", audit.Complete, audit.Missing, audit.Surplus, len(audit.Events))
	}
}

// TestModelsAreNoImages: a list that holds no images cannot admit any.
func TestModelsAreNoImages(t *testing.T) {
	w, err := registry.NewWatcher(registry.Config{Chain: &lite.Client{}, Root: address.NewAddress(0, 0, make([]byte, 32)), Now: time.Now})
	check(t, err)
	for name, lists := range map[string][]registry.List{"models": {registry.Models}, "none": nil} {
		if _, err := images.New(w, lists...); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := images.New(nil, registry.Proxies); err == nil {
		t.Error("no watcher: accepted")
	}
}
