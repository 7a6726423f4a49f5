package follow

import (
	"context"
	"errors"
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
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// clock is the machine's; blocks have its time as well.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// world is a chain with a root, as one process sees it.
type world struct {
	t *testing.T
	clock
	chain       *local.Chain
	root, owner *address.Address

	mu sync.Mutex
	// down is what connecting ends with, frozen the block that is shown for ever.
	down   error
	frozen *chain.Block
	closed int
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, clock: clock{at: time.Unix(1_800_000_000, 0)}, owner: address.NewAddress(0, 0, append(make([]byte, 31), 7))}
	var err error
	w.chain, err = local.NewChain(local.Options{Now: w.now})
	check(t, err)
	t.Cleanup(func() { check(t, w.chain.Close()) })
	data, err := bind.RootStorage{
		Owner: w.owner, KeyManager: &bind.KeyManager{},
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
	w.pass(time.Second)
	check(w.t, errors.Join(w.chain.SendInternal(m), w.chain.Step()))
}

// tell is a message of the root's owner.
func (w *world) tell(m bind.Message) {
	w.t.Helper()
	body, err := bind.Encode(m)
	check(w.t, err)
	w.deliver(&tlb.InternalMessage{IHRDisabled: true, Bounce: true, SrcAddr: w.owner, DstAddr: w.root, Amount: tlb.MustFromTON("0.2"), Body: body})
}

// block makes one, as of now.
func (w *world) block() {
	w.t.Helper()
	w.pass(time.Second)
	check(w.t, w.chain.Step())
}

// freeze shows the newest block of now until thaw.
func (w *world) freeze() {
	b, err := w.chain.Head(w.t.Context())
	check(w.t, err)
	w.set(func() { w.frozen = &b })
}

func (w *world) thaw() { w.set(func() { w.frozen = nil }) }

func (w *world) set(do func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	do()
}

// session is a connection to the chain.
type session struct{ *world }

func (w *world) dial(context.Context) (Chain, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.down != nil {
		return nil, w.down
	}
	return session{w}, nil
}

func (s session) Head(ctx context.Context) (chain.Block, error) {
	s.mu.Lock()
	frozen, down := s.frozen, s.down
	s.mu.Unlock()
	if down != nil {
		return chain.Block{}, down
	}
	if frozen != nil {
		return *frozen, nil
	}
	return s.chain.Head(ctx)
}

func (s session) Account(ctx context.Context, at chain.Block, a *address.Address) (*chain.Account, error) {
	return s.chain.Account(ctx, at, a)
}

func (s session) Config(ctx context.Context, at chain.Block, ids ...int32) (*chain.Config, error) {
	return s.chain.Config(ctx, at, ids...)
}

func (s session) Close() { s.set(func() { s.closed++ }) }

// section is one that names the world's root.
func (w *world) section() *Section {
	return &Section{Address: w.root, Network: registry.Localnet, Config: "unused", Every: MinEvery, OneServer: true}
}

func (w *world) follow(s *Section) *Follower {
	w.t.Helper()
	f, err := New(s, Deps{Now: w.now, Dial: w.dial})
	check(w.t, err)
	return f
}

// want checks that the root can be decided by, or why not.
func want(t *testing.T, when string, f *Follower, reason Reason) {
	t.Helper()
	_, err := f.Snapshot()
	switch {
	case reason == "" && err != nil:
		t.Errorf("%s: %v", when, err)
	case reason != "" && (err == nil || ReasonOf(err) != reason):
		t.Errorf("%s: %v, want %s", when, err, reason)
	}
}
