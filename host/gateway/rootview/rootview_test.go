package rootview

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/xssnick/tonutils-go/address"
	"github.com/xssnick/tonutils-go/tlb"
	"github.com/xssnick/tonutils-go/tvm/cell"
	"go.uber.org/goleak"

	"cocoon/contracts/bind"
	"cocoon/contracts/chain"
	"cocoon/contracts/chain/local"
	"cocoon/contracts/code"
	"cocoon/contracts/registry"
	"cocoon/contracts/registry/follow"
	"cocoon/measure/tdx"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// world is a chain with a root.
type world struct {
	t           *testing.T
	chain       *local.Chain
	root, owner *address.Address

	mu   sync.Mutex
	at   time.Time
	down error
	told []Changes
}

func (w *world) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.at
}

func (w *world) set(do func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	do()
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, at: time.Unix(1_800_000_000, 0), owner: address.NewAddress(0, 0, append(make([]byte, 31), 7))}
	var err error
	w.chain, err = local.NewChain(local.Options{Now: w.now})
	check(t, err)
	t.Cleanup(func() { check(t, w.chain.Close()) })
	data, err := bind.RootStorage{
		Owner: w.owner, KeyManager: &bind.KeyManager{}, ProxyHashes: []bind.Hash{{1}}, WorkerHashes: []bind.Hash{{2}},
		Params: bind.Params{
			StructVersion: 4, ParamsVersion: 1, UniqueID: 7, IsTest: true, PricePerToken: 20, WorkerFee: 19, MinProxyStake: 1e9, MinClientStake: 1e9,
			PromptMultiplier: 10_000, CachedMultiplier: 1000, CompletionMultiplier: 80_000, ReasoningMultiplier: 80_000,
			Proxy: code.Proxy(), Worker: code.Worker(), Client: code.Client(),
		},
	}.Cell()
	check(t, err)
	w.root, err = bind.Address(code.Root(), data)
	check(t, err)
	w.deliver(&tlb.InternalMessage{
		IHRDisabled: true, SrcAddr: w.owner, DstAddr: w.root, Amount: tlb.MustFromTON("1"),
		StateInit: &tlb.StateInit{Code: code.Root(), Data: data}, Body: cell.BeginCell().EndCell(),
	})
	return w
}

func (w *world) deliver(m *tlb.InternalMessage) {
	w.t.Helper()
	w.set(func() { w.at = w.at.Add(time.Second) })
	check(w.t, errors.Join(w.chain.SendInternal(m), w.chain.Step()))
}

// tell is a message of the root's owner.
func (w *world) tell(m bind.Message) {
	w.t.Helper()
	body, err := bind.Encode(m)
	check(w.t, err)
	w.deliver(&tlb.InternalMessage{IHRDisabled: true, Bounce: true, SrcAddr: w.owner, DstAddr: w.root, Amount: tlb.MustFromTON("0.2"), Body: body})
}

// open is a connection to the chain.
type open struct{ *world }

func (o open) Head(ctx context.Context) (chain.Block, error) {
	o.mu.Lock()
	down := o.down
	o.mu.Unlock()
	if down != nil {
		return chain.Block{}, down
	}
	return o.chain.Head(ctx)
}

func (o open) Account(ctx context.Context, at chain.Block, a *address.Address) (*chain.Account, error) {
	return o.chain.Account(ctx, at, a)
}

func (o open) Config(ctx context.Context, at chain.Block, ids ...int32) (*chain.Config, error) {
	return o.chain.Config(ctx, at, ids...)
}

func (o open) Close() {}

func (w *world) view() *View {
	w.t.Helper()
	f, err := follow.New(
		&follow.Section{Address: w.root, Network: registry.Localnet, Config: "unused", Every: follow.MinEvery, OneServer: true},
		follow.Deps{Now: w.now, Dial: func(context.Context) (follow.Chain, error) { return open{w}, nil }},
	)
	check(w.t, err)
	v, err := New(f, func(c Changes) { w.set(func() { w.told = append(w.told, c) }) })
	check(w.t, err)
	v.look = time.Millisecond
	return v
}

// run runs a view until the test ends.
func (w *world) run(v *View) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- v.Run(ctx) }()
	w.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Error(err)
		}
	})
}

// until waits for a change that was told.
func (w *world) until(want Changes) {
	w.t.Helper()
	w.wait(func() (found bool) {
		w.set(func() {
			if found = slices.Contains(w.told, want); found {
				w.told = nil
			}
		})
		return found
	})
}

// wait waits for something that other goroutines bring about.
func (w *world) wait(ok func() bool) {
	w.t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	limit := time.NewTimer(time.Minute)
	defer limit.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-limit.C:
			w.t.Fatalf("waited in vain; told %+v", w.told)
		}
	}
}

func TestProxiesAndImagesFollowTheRoot(t *testing.T) {
	w := newWorld(t)
	v := w.view()
	if got := v.Proxies(); got != nil || v.ConfigVersion() != 0 {
		t.Errorf("before anything was read: %v, version %d", got, v.ConfigVersion())
	}
	if _, _, err := v.Images(registry.Proxies).Allowed(); !errors.Is(err, registry.ErrNoSnapshot) {
		t.Errorf("images before anything was read: %v", err)
	}
	w.run(v)
	w.until(Changes{First: true, Usable: true})
	for _, tc := range []struct {
		tell    bind.Message
		version int32
		proxies []string
	}{
		{&bind.RootRegisterProxy{Addr: "10.0.0.1:5222 10.0.0.1:8888"}, 1, []string{"10.0.0.1:8888"}},
		{&bind.RootRegisterProxy{Addr: "proxy.example:8888"}, 2, []string{"10.0.0.1:8888", "proxy.example:8888"}},
		{&bind.RootRegisterProxy{Addr: "10.9.9.9:1 10.0.0.1:8888"}, 3, []string{"10.0.0.1:8888", "proxy.example:8888"}},
		{&bind.RootRegisterProxy{Addr: "<script>"}, 4, []string{"10.0.0.1:8888", "proxy.example:8888"}},
		{&bind.RootUnregisterProxy{Seqno: 2}, 5, []string{"10.0.0.1:8888"}},
	} {
		w.tell(tc.tell)
		w.wait(func() bool { return v.version() == tc.version })
		if got := v.Proxies(); !slices.Equal(got, tc.proxies) {
			t.Errorf("after %T: %v, want %v", tc.tell, got, tc.proxies)
		}
	}
	proxies, workers := v.Images(registry.Proxies), v.Images(registry.Workers)
	got, at, err := proxies.Allowed()
	if err != nil || !slices.Equal(got, []tdx.Hash{{1}}) || w.now().Sub(at) > time.Minute {
		t.Errorf("images of proxies %v at %s, %v", got, at, err)
	}
	if got, _, err := workers.Allowed(); err != nil || !slices.Equal(got, []tdx.Hash{{2}}) {
		t.Errorf("images of workers %v, %v", got, err)
	}
	w.tell(&bind.RootHash{Change: registry.Proxies.Op(true), Hash: bind.Hash{3}})
	w.wait(func() bool { return v.version() == 6 })
	if got, _, _ := proxies.Allowed(); len(got) != 2 {
		t.Errorf("images of proxies %v", got)
	}
	if v.version() != 6 || v.Address() != w.root.String() {
		t.Errorf("version %d", v.version())
	}
}

// version is the newest one that was read; 0 before.
func (v *View) version() int32 {
	if s := v.Newest(); s != nil {
		return int32(s.Version)
	}
	return 0
}

func TestProxiesHaveTimeToSeeANewVersion(t *testing.T) {
	w := newWorld(t)
	v := w.view()
	for _, tc := range []struct {
		pass time.Duration
		tell bool
		want int32
	}{
		{0, false, 0},
		{0, true, 0},
		{89 * time.Second, false, 0},
		{2 * time.Second, false, 1},
		{0, true, 1},
		{60 * time.Second, true, 1},
		{40 * time.Second, false, 2},
		{60 * time.Second, false, 3},
	} {
		w.set(func() { w.at = w.at.Add(tc.pass) })
		if tc.tell {
			w.tell(&bind.RootHash{Change: registry.Proxies.Op(true), Hash: bind.Hash{byte(v.version()) + 9}})
		} else {
			check(t, w.chain.Step())
		}
		check(t, v.root.Refresh(t.Context()))
		if got := v.ConfigVersion(); got != tc.want {
			t.Errorf("after %s the root is at %d, and %d is asked for, want %d", tc.pass, v.version(), got, tc.want)
		}
	}
}

func TestPricesOfOldVersionsAreRemembered(t *testing.T) {
	w := newWorld(t)
	v := w.view()
	w.run(v)
	w.until(Changes{First: true, Usable: true})
	w.tell(&bind.RootChangePrice{PricePerToken: 30, WorkerFee: 29})
	w.until(Changes{Params: true, Usable: true})
	for params, want := range map[int64]uint64{1: 20, 2: 30} {
		if got, ok := v.Terms(0, params); !ok || got.Price != want || got.Multipliers != v.terms[0].Multipliers {
			t.Errorf("terms at %d: %+v, %t", params, got, ok)
		}
	}
	if _, ok := v.Terms(0, 3); ok {
		t.Error("a version that never was has a price")
	}
}

func TestAReceiptMayBeAheadOfTheView(t *testing.T) {
	w := newWorld(t)
	v := w.view()
	check(t, v.Catch(t.Context(), 0, 1))
	w.tell(&bind.RootChangePrice{PricePerToken: 40, WorkerFee: 29})
	if _, ok := v.Terms(1, 2); ok {
		t.Fatal("the price is known before it was read")
	}
	check(t, v.Catch(t.Context(), 1, 2))
	if got, ok := v.Terms(1, 2); !ok || got.Price != 40 {
		t.Errorf("terms %+v, %t", got, ok)
	}
	w.set(func() { w.down = errors.New("nobody answers") })
	if err := v.Catch(t.Context(), 9, 9); err == nil || !strings.Contains(err.Error(), "nobody answers") {
		t.Errorf("error %v", err)
	}
	check(t, v.Catch(t.Context(), 1, 2))
}

func TestAFrozenChainServesUntilItsLimitAndIsToldOf(t *testing.T) {
	w := newWorld(t)
	w.tell(&bind.RootRegisterProxy{Addr: "10.0.0.1:8888"})
	v := w.view()
	w.run(v)
	w.until(Changes{First: true, Usable: true})
	w.set(func() { w.down = errors.New("nobody answers") })
	for _, tc := range []struct {
		pass  time.Duration
		light follow.Light
	}{{0, follow.Green}, {599 * time.Second, follow.Green}, {2 * time.Second, follow.Amber}, {3000 * time.Second, follow.Red}} {
		w.set(func() { w.at = w.at.Add(tc.pass) })
		if _, _, err := v.Images(registry.Proxies).Allowed(); err != nil || v.State().Light != tc.light || len(v.Proxies()) != 1 {
			t.Errorf("at %s: %s, want %s, %v", v.State().Age, v.State().Light, tc.light, err)
		}
	}
	w.set(func() { w.at = w.at.Add(registry.MaxAge) })
	w.until(Changes{Usable: false})
	if _, _, err := v.Images(registry.Proxies).Allowed(); !errors.Is(err, chain.ErrStaleHead) {
		t.Errorf("a root that is too old: %v", err)
	}
	if _, _, err := v.Contracts("", "", [32]byte{}); !errors.Is(err, chain.ErrStaleHead) {
		t.Errorf("contracts of a root that is too old: %v", err)
	}
	w.set(func() { w.down = nil })
	check(t, w.chain.Step())
	w.until(Changes{Usable: true})
}

func TestContractsAreThoseOfTheRootsParameters(t *testing.T) {
	w := newWorld(t)
	v := w.view()
	check(t, v.Catch(t.Context(), 0, 1))
	owner, wallet := address.NewAddress(0, 0, append(make([]byte, 31), 1)), address.NewAddress(0, 0, append(make([]byte, 31), 2))
	s, err := registry.Read(t.Context(), w.chain, w.root)
	check(t, err)
	proxy, err := bind.NewProxy(s.Params, w.root, owner, bind.Hash{9})
	check(t, err)
	client, err := bind.NewClient(s.Params, proxy.Address, wallet, bind.Hash{9})
	check(t, err)
	for _, form := range []func(a *address.Address) string{(*address.Address).String, (*address.Address).StringRaw} {
		gotProxy, gotClient, err := v.Contracts(form(owner), form(wallet), [32]byte{9})
		if err != nil || gotProxy != proxy.Address.StringRaw() || gotClient != client.Address.StringRaw() {
			t.Errorf("%s, %s, %v", gotProxy, gotClient, err)
		}
	}
	for _, bad := range [][2]string{{"x", wallet.String()}, {owner.String(), ""}, {owner.String(), "0:12"}} {
		if _, _, err := v.Contracts(bad[0], bad[1], [32]byte{}); err == nil {
			t.Errorf("%q has contracts", bad)
		}
	}
}

func TestAViewNeedsARoot(t *testing.T) {
	if _, err := New(nil, nil); err == nil {
		t.Error("no root is needed")
	}
}

func TestTermsOfOldVersionsFollowFromTheHistory(t *testing.T) {
	w := newWorld(t)
	for _, m := range []bind.Message{
		&bind.RootHash{Change: registry.Proxies.Op(true), Hash: bind.Hash{4}},                                                           // 1, parameters 1
		&bind.RootChangePrice{PricePerToken: 30, WorkerFee: 29},                                                                         // 2, 2
		&bind.RootHash{Change: registry.Workers.Op(true), Hash: bind.Hash{4}},                                                           // 3, 2
		&bind.RootChangeParams{PricePerToken: 40, WorkerFee: 1, ProxyDelay: 1, ClientDelay: 1, MinProxyStake: 1e9, MinClientStake: 1e9}, // 4, 3
	} {
		w.tell(m)
	}
	for name, tc := range map[string]struct {
		config, params int64
		price          uint64
	}{
		"the deployment": {0, 1, 20}, "before the price": {1, 1, 20}, "the price": {2, 2, 30}, "after it": {3, 2, 30}, "now": {4, 3, 40},
		"another configuration": {3, 1, 0}, "the future": {5, 3, 0}, "parameters of the future": {4, 4, 0}, "nonsense": {-1, 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := TermsAt(t.Context(), w.chain, w.root, tc.config, tc.params)
			if tc.price == 0 {
				if !errors.Is(err, ErrVersion) {
					t.Errorf("%+v, %v", got, err)
				}
				return
			}
			if err != nil || got.Price != tc.price || int64(got.ConfigVersion) != tc.config || int64(got.ParamsVersion) != tc.params {
				t.Errorf("%+v, %v", got, err)
			}
		})
	}
}
