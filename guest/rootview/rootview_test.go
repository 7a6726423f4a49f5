package rootview

import (
	"context"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/xssnick/tonutils-go/address"
	"github.com/xssnick/tonutils-go/tvm/cell"

	"cocoon/contracts/bind"
	"cocoon/contracts/chain"
	"cocoon/contracts/code"
	"cocoon/contracts/pricing"
	"cocoon/contracts/registry"
	"cocoon/contracts/registry/follow"
	"cocoon/guest/proxy"
	"cocoon/guest/worker"
)

const model = "demo/model@commit:root"

// root is a chain with one contract on it, of localnet.
type root struct {
	head chain.Block
	says bind.RootStorage
	at   *address.Address
	now  time.Time
}

func (r *root) Head(context.Context) (chain.Block, error) { return r.head, nil }

func (r *root) Account(_ context.Context, at chain.Block, addr *address.Address) (*chain.Account, error) {
	data, err := r.says.Cell()
	return &chain.Account{Address: addr, Block: at, Status: chain.Active, Code: cell.BeginCell().EndCell(), Data: data}, err
}

func (r *root) Config(context.Context, chain.Block, ...int32) (*chain.Config, error) {
	id := cell.BeginCell().MustStoreInt(int64(registry.Localnet), 32).EndCell()
	d := cell.NewDict(32)
	if err := d.SetIntKey(big.NewInt(chain.ParamGlobalID), cell.BeginCell().MustStoreRef(id).EndCell()); err != nil {
		return nil, err
	}
	return chain.NewConfig(d.AsCell()), nil
}

func (r *root) Close() {}

func newRoot() *root {
	now := time.Unix(1_800_000_000, 0)
	at := address.NewAddress(0, 0, append(make([]byte, 31), 9))
	return &root{head: chain.Block{Seqno: 1, Time: now}, at: at, now: now, says: bind.RootStorage{
		Owner: at, Version: 3, ProxyHashes: []bind.Hash{{1}}, WorkerHashes: []bind.Hash{{2}, {3}}, ModelHashes: []bind.Hash{registry.ModelHash(model)},
		Proxies: []bind.RegisteredProxy{{Seqno: 1, Addr: "10.0.0.1:11001 10.0.0.1:11002"}, {Seqno: 2, Addr: "proxy.example:5"}},
		Params: bind.Params{
			StructVersion: 3, ParamsVersion: 2, IsTest: true, PricePerToken: 20, WorkerFee: 19,
			PromptMultiplier: 10_000, CachedMultiplier: 1000, CompletionMultiplier: 80_000, ReasoningMultiplier: 70_000,
		},
	}}
}

// follow gives the root's follower, which has read it once.
func (r *root) follow(t *testing.T) *follow.Follower {
	t.Helper()
	f, err := follow.New(
		&follow.Section{Address: r.at, Network: registry.Localnet, Config: "unused", OneServer: true},
		follow.Deps{Now: func() time.Time { return r.now }, Dial: func(context.Context) (follow.Chain, error) { return r, nil }},
	)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	r.refresh(t, f)
	return f
}

func (r *root) refresh(t *testing.T, f *follow.Follower) {
	t.Helper()
	r.head.Seqno++
	if err := f.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func view(t *testing.T, c Config) *View {
	t.Helper()
	v, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestTheRootInTheRolesTerms(t *testing.T) {
	r := newRoot()
	f := r.follow(t)
	v := view(t, Config{Root: f, Test: true, Own: registry.Proxies})
	multipliers := pricing.Multipliers{Prompt: 10_000, Cached: 1000, Completion: 80_000, Reasoning: 70_000}
	want := proxy.Root{
		Version: 3, ParamsVersion: 2, Price: 20, WorkerFee: 19, Multipliers: multipliers,
		WorkerImages: map[[32]byte]bool{{2}: true, {3}: true}, Models: map[[32]byte]bool{registry.ModelHash(model): true},
	}
	got, err := v.Proxy()
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v, %s", err, diff)
	}
	if got := v.Prices(); got != (worker.Prices{PerToken: 20, Multipliers: multipliers}) {
		t.Errorf("%+v", got)
	}
	if diff := cmp.Diff([]string{"10.0.0.1:11001", "proxy.example:5"}, v.Addresses()); diff != "" {
		t.Error(diff)
	}
	r.says.Params.PricePerToken, r.says.Version = 30, 4
	if again, err := v.Proxy(); err != nil || again.Price != 20 {
		t.Errorf("before the refresh: %d, %v", again.Price, err)
	}
	r.refresh(t, f)
	if again, err := v.Proxy(); err != nil || again.Price != 30 || again.Version != 4 || got.Price != 20 {
		t.Errorf("after the refresh: %d at %d, %v", again.Price, again.Version, err)
	}
}

func TestAMachineThatIsNotListedSaysWhatToPublish(t *testing.T) {
	for name, tc := range map[string]struct {
		cfg   Config
		image [32]byte
		says  []string // nothing when eligible
	}{
		"proxy":            {Config{Own: registry.Proxies}, [32]byte{1}, nil},
		"a worker's image": {Config{Own: registry.Proxies}, [32]byte{2}, []string{"image hash 0200", "(proxy) not in root version 3", "publish"}},
		"worker":           {Config{Own: registry.Workers, Model: model}, [32]byte{2}, nil},
		"another model":    {Config{Own: registry.Workers, Model: "x@y:z"}, [32]byte{2}, []string{"model x@y:z not in root version 3", "publish the model x@y:z"}},
		"another image":    {Config{Own: registry.Workers, Model: model}, [32]byte{9}, []string{"image hash 0900", "(worker) not in root version 3", "cocoon root publish"}},
		"unknown image":    {Config{Own: registry.Workers, Model: model}, [32]byte{}, nil},
	} {
		r := newRoot()
		tc.cfg.Root, tc.cfg.Test = r.follow(t), true
		v := view(t, tc.cfg)
		if tc.image != [32]byte{} {
			v.SetImage(tc.image)
		}
		err := v.Eligible()
		if (err == nil) != (tc.says == nil) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, word := range tc.says {
			if !strings.Contains(err.Error(), word) {
				t.Errorf("%s: %v does not say %q", name, err, word)
			}
		}
	}
}

func TestAPublicationMakesEligibleWithoutARestart(t *testing.T) {
	r := newRoot()
	f := r.follow(t)
	v := view(t, Config{Root: f, Test: true, Own: registry.Workers, Model: "x@y:z"})
	if _, ok := errors.AsType[*registry.NotListedError](v.Eligible()); !ok {
		t.Fatalf("%v", v.Eligible())
	}
	r.says.ModelHashes = []bind.Hash{registry.ModelHash("x@y:z")}
	r.refresh(t, f)
	if err := v.Eligible(); err != nil {
		t.Error(err)
	}
}

func TestProxiesAreJudgedByTheirList(t *testing.T) {
	r := newRoot()
	v := view(t, Config{Root: r.follow(t), Test: true, Own: registry.Workers})
	for name, tc := range map[string]struct {
		peer worker.Peer
		says string
	}{
		"listed":       {worker.Peer{Attested: true, Image: [32]byte{1}}, ""},
		"not attested": {worker.Peer{Image: [32]byte{1}}, "not attested"},
		"a worker":     {worker.Peer{Attested: true, Image: [32]byte{2}}, "not in root version 3"},
	} {
		if err := v.CheckProxy(tc.peer); (err == nil) != (tc.says == "") || err != nil && !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAnOldRootDecidesNothingAndItsPricesStay(t *testing.T) {
	r := newRoot()
	f := r.follow(t)
	v := view(t, Config{Root: f, Test: true, Own: registry.Workers})
	_ = v.Prices()
	r.now = r.now.Add(registry.MaxAge + time.Second)
	_, err := v.Proxy()
	for what, err := range map[string]error{"root": err, "eligible": v.Eligible(), "proxy": v.CheckProxy(worker.Peer{Attested: true, Image: [32]byte{1}})} {
		if !errors.Is(err, chain.ErrStaleHead) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if got := v.Prices(); got.PerToken != 20 || v.Addresses() != nil {
		t.Errorf("%+v, %v", got, v.Addresses())
	}
	r.now, r.head.Time = r.now.Add(time.Second), r.now
	r.refresh(t, f)
	if err := v.Eligible(); err != nil {
		t.Errorf("with a new block: %v", err)
	}
}

func TestTheTestMarksMustAgree(t *testing.T) {
	r := newRoot()
	v := view(t, Config{Root: r.follow(t), Test: false, Own: registry.Proxies})
	if _, err := v.Proxy(); !errors.Is(err, ErrTest) || follow.ReasonOf(err) != follow.Foreign {
		t.Errorf("%v", err)
	}
	if got := v.Prices(); got.PerToken != 0 {
		t.Errorf("%+v", got)
	}
	for name, c := range map[string]Config{"no root": {Own: registry.Proxies}, "models": {Root: r.follow(t), Own: registry.Models}} {
		if _, err := New(c); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// checkContracts has the worker's side recompute what the proxy's side names, and every departure refused.
func checkContracts(t *testing.T, v *View, owner, wallet proxy.Address, key [32]byte) {
	t.Helper()
	root, err := v.Proxy()
	if err != nil {
		t.Fatal(err)
	}
	at, err := v.Derive("worker", wallet)
	if err != nil {
		t.Fatal(err)
	}
	good := Contracts{ProxyOwner: owner.String(), Proxy: root.Contract.Friendly(true), ProxyKey: key, WorkerOwner: wallet.Friendly(false), Worker: at.String()}
	if err := v.CheckContracts(good); err != nil {
		t.Error(err)
	}
	for name, spoil := range map[string]func(c *Contracts){
		"another proxy":    func(c *Contracts) { c.Proxy = owner.String() },
		"another worker":   func(c *Contracts) { c.Worker = owner.String() },
		"another key":      func(c *Contracts) { c.ProxyKey[5]++ },
		"another operator": func(c *Contracts) { c.ProxyOwner = wallet.String() },
		"another payee":    func(c *Contracts) { c.WorkerOwner = owner.String() },
		"no address":       func(c *Contracts) { c.Proxy = "EQ" },
	} {
		bad := good
		spoil(&bad)
		if err := v.CheckContracts(bad); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// TestContractsFollowFromTheParameters: what a gateway derives for itself is what its proxy names.
func TestContractsFollowFromTheParameters(t *testing.T) {
	r := newRoot()
	r.says.Params.Proxy, r.says.Params.Worker, r.says.Params.Client = code.Proxy(), code.Worker(), code.Client()
	f := r.follow(t)
	owner, wallet, key := proxy.Address{Hash: [32]byte{1}}, proxy.Address{Workchain: -1, Hash: [32]byte{2}}, [32]byte{3}
	v := view(t, Config{Root: f, Test: true, Own: registry.Proxies, Owner: owner, Key: key})
	for range 2 {
		root, err := v.Proxy()
		if err != nil {
			t.Fatal(err)
		}
		own, err := bind.NewProxy(r.says.Params, r.at, cellAddress(owner), key)
		if err != nil || own.Address.StringRaw() != root.Contract.String() {
			t.Errorf("own %s, want %s, %v", root.Contract, own.Address, err)
		}
		for role, derive := range map[string]func(bind.Params, *address.Address, *address.Address, bind.Hash) (bind.Instance, error){
			"client": bind.NewClient, "worker": bind.NewWorker,
		} {
			want, err := derive(r.says.Params, own.Address, cellAddress(wallet), key)
			if err != nil {
				t.Fatal(err)
			}
			for range 2 { // the second comes from memory
				if got, err := v.Derive(role, wallet); err != nil || got.String() != want.Address.StringRaw() {
					t.Errorf("%s: %s, %v, want %s", role, got, err, want.Address.StringRaw())
				}
			}
		}
		checkContracts(t, v, owner, wallet, key)
		r.says.Params.PricePerToken, r.says.Params.ParamsVersion = 25, 3 // new parameters, new contracts
		r.refresh(t, f)
	}
	if _, err := v.Derive("root", wallet); err == nil {
		t.Error("a root's contract is derived")
	}
	for range maxDerived + 10 {
		wallet.Hash[1]++
		wallet.Hash[2] += wallet.Hash[1]
		if _, err := v.Derive("worker", wallet); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(v.terms.Load().derived); n > maxDerived {
		t.Errorf("%d addresses are remembered", n)
	}
	r.says.Params.Client, r.says.Params.Proxy = nil, nil
	r.refresh(t, f)
	if _, err := v.Proxy(); err == nil {
		t.Error("parameters without codes derive contracts")
	}
}
