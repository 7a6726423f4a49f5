package registry

import (
	"encoding/hex"
	"errors"
	"math/big"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/xssnick/tonutils-go/address"
	"github.com/xssnick/tonutils-go/tlb"
	"github.com/xssnick/tonutils-go/tvm/cell"
	"go.uber.org/goleak"

	"cocoon/contracts/bind"
	"cocoon/contracts/chain"
	"cocoon/contracts/chain/local"
	"cocoon/contracts/code"
	"cocoon/tests/golden"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// net is a chain with one root that was deployed by a message, and its owner.
type net struct {
	t *testing.T
	*local.Chain
	root, owner *address.Address
}

func addr(b byte) *address.Address {
	a := make([]byte, 32)
	a[0] = b
	return address.NewAddress(0, 0, a)
}

func hashOf(b byte) bind.Hash { return bind.Hash{31: b} }

func storage(owner *address.Address) bind.RootStorage {
	return bind.RootStorage{
		Owner: owner, WorkerHashes: []bind.Hash{hashOf(1)},
		Params: bind.Params{
			StructVersion: 4, ParamsVersion: 1, UniqueID: 7, IsTest: true, PricePerToken: 20, WorkerFee: 19,
			MinProxyStake: 1e9, MinClientStake: 1e9, ProxyDelay: 60, ClientDelay: 30,
			Proxy: code.Proxy(), Worker: code.Worker(), Client: code.Client(),
		},
		KeyManager: &bind.KeyManager{},
	}
}

func newNet(t *testing.T) *net {
	t.Helper()
	c, err := local.NewChain(local.Options{Deterministic: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	n := &net{t: t, Chain: c, owner: addr(0xaa)}
	data, err := storage(n.owner).Cell()
	if err != nil {
		t.Fatal(err)
	}
	if n.root, err = bind.Address(code.Root(), data); err != nil {
		t.Fatal(err)
	}
	n.deliver(&tlb.InternalMessage{
		IHRDisabled: true, SrcAddr: n.owner, DstAddr: n.root, Amount: tlb.MustFromTON("1"),
		StateInit: &tlb.StateInit{Code: code.Root(), Data: data}, Body: cell.BeginCell().EndCell(),
	})
	return n
}

func (n *net) deliver(m *tlb.InternalMessage) {
	n.t.Helper()
	if err := errors.Join(n.SendInternal(m), n.Step()); err != nil {
		n.t.Fatal(err)
	}
}

func (n *net) tell(from *address.Address, m bind.Message) {
	n.t.Helper()
	body, err := bind.Encode(m)
	if err != nil {
		n.t.Fatal(err)
	}
	n.deliver(&tlb.InternalMessage{IHRDisabled: true, Bounce: true, SrcAddr: from, DstAddr: n.root, Amount: tlb.MustFromTON("0.2"), Body: body})
}

func (n *net) snapshot() *Snapshot {
	n.t.Helper()
	s, err := Read(n.t.Context(), n, n.root)
	if err != nil {
		n.t.Fatal(err)
	}
	return s
}

func TestSnapshotIsTheRootAsOfItsBlock(t *testing.T) {
	n := newNet(t)
	before := n.snapshot()
	if !before.Has(Workers, hashOf(1)) || before.Has(Workers, hashOf(2)) || before.Has(Proxies, hashOf(1)) {
		t.Fatalf("lists %v", before.RootStorage)
	}
	n.tell(n.owner, &bind.RootHash{Change: Workers.Op(true), Hash: hashOf(2)})
	after := n.snapshot()
	if !after.Has(Workers, hashOf(2)) || before.Has(Workers, hashOf(2)) || after.Equal(before) || !after.Equal(n.snapshot()) {
		t.Error("the new snapshot does not show the change, or the old one moved")
	}
	old, err := ReadAt(t.Context(), n, before.Block, n.root)
	if err != nil || old.Has(Workers, hashOf(2)) {
		t.Errorf("the old block shows the new hash, or cannot be read: %v", err)
	}
	if after.Code == nil || *after.Code != (code.Identity{Contract: "root", Origin: code.Ours}) {
		t.Errorf("code %v", after.Code)
	}
	got, err := n.RunGet(t.Context(), after.Block, n.root, Workers.Method(), hashOf(2).Big())
	if err != nil {
		t.Fatal(err)
	}
	if valid, err := bind.ParseTruth(Workers.Method(), got); err != nil || !valid {
		t.Errorf("the get method disagrees: %v %v", valid, err)
	}
}

func TestReadRefusesWhatIsNoRoot(t *testing.T) {
	n := newNet(t)
	for name, at := range map[string]*address.Address{"absent": addr(1), "a wallet": n.Faucet()} {
		if _, err := Read(t.Context(), n, at); !errors.Is(err, ErrNotRoot) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

func TestTheLiveRootIsReadAndFitsItsNetwork(t *testing.T) {
	var v struct {
		Address string `json:"address"`
		BOC     string `json:"boc_hex"`
	}
	golden.JSON(t, "contracts/mainnet_root.json", &v)
	boc, err := hex.DecodeString(v.BOC)
	if err != nil {
		t.Fatal(err)
	}
	data, err := cell.FromBOC(boc)
	if err != nil {
		t.Fatal(err)
	}
	s, err := Parse(&chain.Account{
		Address: address.MustParseAddr(v.Address), Status: chain.Active, Code: cell.BeginCell().EndCell(), Data: data,
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(s.ProxyHashes) != 4 || len(s.WorkerHashes) != 5 || len(s.ModelHashes) != 4 || s.Code != nil {
		t.Errorf("%d, %d, %d hashes, code %v", len(s.ProxyHashes), len(s.WorkerHashes), len(s.ModelHashes), s.Code)
	}
	if !s.Has(Workers, s.WorkerHashes[3]) || s.CheckNetwork(Mainnet) != nil || s.CheckNetwork(Testnet) == nil {
		t.Error("a hash is not found, or the root fits another network")
	}
}

func TestNetworkMustFitTheRootsTestMark(t *testing.T) {
	for name, tc := range map[string]struct {
		network Network
		test    bool
		ok      bool
	}{
		"main":          {Mainnet, false, true},
		"test on main":  {Mainnet, true, false},
		"main on test":  {Testnet, false, false},
		"test":          {Testnet, true, true},
		"local":         {Localnet, true, true},
		"main on local": {Localnet, false, false},
	} {
		s := &Snapshot{Root: addr(1)}
		s.Params.IsTest = tc.test
		if err := s.CheckNetwork(tc.network); (err == nil) != tc.ok || (err != nil && !errors.Is(err, ErrNetwork)) {
			t.Errorf("%s: %v", name, err)
		}
	}
	n := newNet(t)
	config, err := n.Config(t.Context(), n.snapshot().Block)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := NetworkOf(config); err != nil || got != Localnet {
		t.Errorf("network %s, %v", got, err)
	}
	for text, want := range map[string]Network{"mainnet": Mainnet, "testnet": Testnet, "localnet": Localnet, "-3": Testnet, "5": 5} {
		if got, err := ParseNetwork(text); err != nil || got != want {
			t.Errorf("%s: %s, %v", text, got, err)
		}
		if back, err := ParseNetwork(want.String()); err != nil || back != want {
			t.Errorf("%s does not read back: %v", want, err)
		}
	}
	if _, err := ParseNetwork("main"); err == nil {
		t.Error("a network of another name is read")
	}
}

func TestListsHaveNames(t *testing.T) {
	for _, l := range Lists() {
		if got, err := ParseList(l.String()); err != nil || got != l {
			t.Errorf("%s: %v, %v", l, got, err)
		}
	}
	if _, err := ParseList("gateway"); err == nil || List(9).String() != "list 9" || (&Snapshot{}).Hashes(9) != nil {
		t.Error("an unknown list has a meaning")
	}
}

// watch is a watcher at the newest block's time, and what it was told.
func watch(t *testing.T, n *net) (*Watcher, *[]uint32, *time.Time) {
	t.Helper()
	now := n.snapshot().Block.Time
	var changes []uint32
	w, err := NewWatcher(Config{
		Chain: n, Root: n.root, Now: func() time.Time { return now },
		Changed: func(_, after *Snapshot) { changes = append(changes, after.Version) },
	})
	if err != nil {
		t.Fatal(err)
	}
	return w, &changes, &now
}

func TestWatcherTellsOfChangesOnly(t *testing.T) {
	n := newNet(t)
	w, changes, _ := watch(t, n)
	if _, _, err := w.Allowed(Workers); !errors.Is(err, ErrNoSnapshot) {
		t.Errorf("before the first refresh: %v", err)
	}
	refresh := func() {
		if err := w.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	refresh()
	if err := n.Step(); err != nil {
		t.Fatal(err)
	}
	refresh()
	n.tell(n.owner, &bind.RootHash{Change: Workers.Op(true), Hash: hashOf(2)})
	refresh()
	n.tell(n.owner, &bind.RootHash{Change: Workers.Op(false), Hash: hashOf(1)})
	refresh()
	if diff := cmp.Diff([]uint32{0, 1, 2}, *changes); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
	got, at, err := w.Allowed(Workers)
	if err != nil || !cmp.Equal(got, []bind.Hash{hashOf(2)}) || !at.Equal(n.snapshot().Block.Time) {
		t.Errorf("allowed %v at %s, %v", got, at, err)
	}
}

func TestWatcherStopsAnsweringWhenTheHeadIsStale(t *testing.T) {
	n := newNet(t)
	w, _, now := watch(t, n)
	if err := w.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	*now = now.Add(MaxAge)
	if _, err := w.Snapshot(); err != nil {
		t.Errorf("at the limit: %v", err)
	}
	*now = now.Add(time.Second)
	if _, err := w.Snapshot(); !errors.Is(err, chain.ErrStaleHead) {
		t.Errorf("past the limit: %v", err)
	}
	if err := w.Refresh(t.Context()); !errors.Is(err, chain.ErrStaleHead) {
		t.Errorf("refreshing with a stale head: %v", err)
	}
}

func TestWatcherNeverGoesBack(t *testing.T) {
	n := newNet(t)
	if _, err := n.Snapshot("before"); err != nil {
		t.Fatal(err)
	}
	w, _, _ := watch(t, n)
	n.tell(n.owner, &bind.RootHash{Change: Workers.Op(false), Hash: hashOf(1)})
	if err := errors.Join(w.Refresh(t.Context()), n.Restore("before")); err != nil {
		t.Fatal(err)
	}
	if err := w.Refresh(t.Context()); !errors.Is(err, chain.ErrOldHead) {
		t.Errorf("a rolled-back chain: %v", err)
	}
	if s, err := w.Snapshot(); err != nil || s.Has(Workers, hashOf(1)) {
		t.Errorf("the deleted hash is back: %v", err)
	}
}

func TestWatcherRefusesItsConfiguration(t *testing.T) {
	n := newNet(t)
	for name, c := range map[string]Config{
		"no chain": {Root: n.root, Now: time.Now},
		"no root":  {Chain: n, Now: time.Now},
		"no clock": {Chain: n, Root: n.root},
		"too slow": {Chain: n, Root: n.root, Now: time.Now, Every: time.Hour},
	} {
		if _, err := NewWatcher(c); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestAuditReplaysTheHistory(t *testing.T) {
	n := newNet(t)
	stranger := addr(0xbb)
	n.tell(n.owner, &bind.RootHash{Change: Workers.Op(true), Hash: hashOf(2)})
	n.tell(stranger, &bind.RootHash{Change: Workers.Op(true), Hash: hashOf(3)}) // refused
	n.tell(n.owner, &bind.RootHash{Change: Models.Op(true), Hash: hashOf(4)})
	n.tell(n.owner, &bind.RootHash{Change: Workers.Op(false), Hash: hashOf(1)})
	n.tell(n.owner, &bind.RootChangePrice{PricePerToken: 30, WorkerFee: 25})
	r, err := Audit(t.Context(), n, n.root)
	if err != nil {
		t.Fatal(err)
	}
	if !r.Agrees() || len(r.Events) != 5 {
		t.Fatalf("complete %t, missing %v, surplus %v, %d events", r.Complete, r.Missing, r.Surplus, len(r.Events))
	}
	var applied []bool
	for _, e := range r.Events {
		applied = append(applied, e.Applied)
	}
	if diff := cmp.Diff([]bool{true, false, true, true, true}, applied); diff != "" {
		t.Errorf("applied (-want +got):\n%s", diff)
	}
	if e := r.Events[1]; e.Exit == 0 || !e.From.Equals(stranger) || e.Op != Workers.Op(true) {
		t.Errorf("the stranger's operation: %+v", e)
	}
}

func TestAuditNamesWhatHistoryDoesNotExplain(t *testing.T) {
	n := newNet(t)
	n.tell(n.owner, &bind.RootHash{Change: Workers.Op(true), Hash: hashOf(2)})
	r, err := Audit(t.Context(), n, n.root)
	if err != nil {
		t.Fatal(err)
	}
	r.Now.WorkerHashes = []bind.Hash{hashOf(2), hashOf(9)}
	l := &lists{}
	l.replace(storage(n.owner))
	l.apply(&bind.RootHash{Change: Workers.Op(true), Hash: hashOf(2)})
	r.compare(l)
	if diff := cmp.Diff([]Listed{{Workers, hashOf(1)}}, r.Missing); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]Listed{{Workers, hashOf(9)}}, r.Surplus); diff != "" {
		t.Error(diff)
	}
	if r.Agrees() {
		t.Error("agrees")
	}
	l.apply(&bind.RootReset{})
	if len(l.of[Workers]) != 0 {
		t.Error("a reset leaves hashes")
	}
	full, err := storage(n.owner).Cell()
	if err != nil {
		t.Fatal(err)
	}
	l.apply(&bind.RootUpgradeFull{Data: full, Code: code.Root()})
	if !l.of[Workers][hashOf(1)] {
		t.Error("a full upgrade's lists are not taken")
	}
}

func TestAuditOfARootFromGenesisIsIncomplete(t *testing.T) {
	data, err := storage(addr(1)).Cell()
	if err != nil {
		t.Fatal(err)
	}
	at, err := bind.Address(code.Root(), data)
	if err != nil {
		t.Fatal(err)
	}
	c, err := local.NewChain(local.Options{Deterministic: true, Genesis: []local.GenesisAccount{{Code: code.Root(), Data: data, Balance: big.NewInt(1e9)}}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close() //nolint:errcheck // in memory
	r, err := Audit(t.Context(), c, at)
	if err != nil {
		t.Fatal(err)
	}
	if r.Complete || r.Agrees() || len(r.Surplus) != 1 {
		t.Errorf("complete %t, surplus %v", r.Complete, r.Surplus)
	}
}
