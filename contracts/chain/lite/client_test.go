package lite

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"math/big"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/xssnick/tonutils-go/address"
	"github.com/xssnick/tonutils-go/tlb"
	"github.com/xssnick/tonutils-go/ton/wallet"
	"github.com/xssnick/tonutils-go/tvm/cell"
	"go.uber.org/goleak"

	"cocoon/contracts/chain"
	"cocoon/contracts/chain/local"
	"cocoon/contracts/chain/local/adnl"
	"cocoon/contracts/chain/machine"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// network is a chain with two liteservers and a clock that tests set.
type network struct {
	*local.Chain
	servers []*adnl.Server

	mu  sync.Mutex
	now time.Time
}

func newNetwork(tb testing.TB, change ...func(*local.Options)) *network {
	tb.Helper()
	o := local.Options{Deterministic: true}
	for _, f := range change {
		f(&o)
	}
	c, err := local.NewChain(o)
	if err != nil {
		tb.Fatal(err)
	}
	n := &network{Chain: c}
	tb.Cleanup(func() {
		if err := n.Close(); err != nil {
			tb.Error(err)
		}
	})
	n.serve(tb, c)
	n.serve(tb, c)
	n.sync(tb)
	return n
}

// serve adds a liteserver of a chain.
func (n *network) serve(tb testing.TB, c *local.Chain) *adnl.Server {
	tb.Helper()
	s, err := adnl.Start(tb.Context(), c, adnl.Options{Listen: "127.0.0.1:0", Seed: [32]byte{byte(len(n.servers) + 1)}})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = s.Close() })
	n.servers = append(n.servers, s)
	return s
}

// sync sets the client's clock to the chain's newest block.
func (n *network) sync(tb testing.TB) {
	tb.Helper()
	b, err := n.Head(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	n.set(b.Time)
}

func (n *network) set(t time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.now = t
}

func (n *network) clock() time.Time {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.now
}

func (n *network) steps(tb testing.TB, count int) {
	tb.Helper()
	if err := n.Steps(count); err != nil {
		tb.Fatal(err)
	}
	n.sync(tb)
}

func (n *network) pinned(tb testing.TB, seqno uint32) KeyBlock {
	tb.Helper()
	b, err := n.BlockAt(-1, seqno, false)
	if err != nil {
		tb.Fatal(err)
	}
	return keyBlockOf(b.ID())
}

func (n *network) options(tb testing.TB, servers ...*adnl.Server) Options {
	tb.Helper()
	if servers == nil {
		servers = n.servers
	}
	o := Options{Trusted: n.pinned(tb, 1), Now: n.clock, OneServer: true, Execute: machine.Execute, Timeout: 30 * time.Second}
	for _, s := range servers {
		o.Servers = append(o.Servers, Server{Addr: s.Addr(), Key: s.Key()})
	}
	return o
}

func (n *network) client(tb testing.TB, servers ...*adnl.Server) *Client {
	tb.Helper()
	c, err := New(tb.Context(), n.options(tb, servers...))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(c.Close)
	return c
}

func head(tb testing.TB, c *Client) chain.Block {
	tb.Helper()
	b, err := c.Head(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func someone(workchain int8, n byte) *address.Address {
	h := sha256.Sum256([]byte{n})
	return address.NewAddress(0, byte(workchain), h[:])
}

func (n *network) fund(tb testing.TB, to *address.Address, amount int64) {
	tb.Helper()
	if err := n.Fund(to, big.NewInt(amount), nil); err != nil {
		tb.Fatal(err)
	}
}

func TestClientSeesWhatTheChainHas(t *testing.T) {
	n := newNetwork(t)
	n.fund(t, someone(0, 1), 3e9)
	n.fund(t, someone(-1, 2), 4e9)
	n.steps(t, 2)
	c := n.client(t)
	at := head(t, c)
	if want, _ := n.Head(t.Context()); at != want {
		t.Fatalf("head %+v, want %+v", at, want)
	}
	for name, addr := range map[string]*address.Address{
		"absent": someone(0, 9), "absent in the masterchain": someone(-1, 9), "uninit": someone(0, 1), "masterchain": someone(-1, 2), "active": n.Faucet(),
	} {
		t.Run(name, func(t *testing.T) {
			got, err := c.Account(t.Context(), at, addr)
			if err != nil {
				t.Fatal(err)
			}
			want, err := n.Account(t.Context(), at, addr)
			if err != nil {
				t.Fatal(err)
			}
			if got.Status != want.Status || got.Balance.Cmp(want.Balance) != 0 || got.Last != want.Last || got.DuePayment.Cmp(want.DuePayment) != 0 {
				t.Errorf("got %+v, want %+v", got, want)
			}
		})
	}
	got, err := c.RunGet(t.Context(), at, n.Faucet(), "seqno")
	if d := cmp.Diff([]any{big.NewInt(2)}, got, cmp.Comparer(func(a, b *big.Int) bool { return a.Cmp(b) == 0 })); err != nil || d != "" {
		t.Errorf("seqno (-want +got):\n%s%v", d, err)
	}
	var exit *chain.ExitError
	if _, err := c.RunGet(t.Context(), at, n.Faucet(), "nothing"); !errors.As(err, &exit) {
		t.Errorf("a method that does not exist: %v", err)
	}
	if _, err := c.RunGet(t.Context(), at, someone(0, 1), "seqno"); !errors.Is(err, chain.ErrNotActive) {
		t.Errorf("a method of an account without code: %v", err)
	}
	config, err := c.Config(t.Context(), at, 8, 20)
	if err != nil {
		t.Fatal(err)
	}
	if v, _, err := config.GlobalVersion(); err != nil || v != 14 {
		t.Errorf("global version %d, %v", v, err)
	}
	if _, err := c.Config(t.Context(), at, 9999); err == nil {
		t.Error("a parameter that does not exist")
	}
}

// Every fault of a server or chain that a client must notice, with the error that names it.
func TestFaultsAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		fault func(*testing.T, *network)
		want  error
	}{
		"stale head": {func(_ *testing.T, n *network) {
			n.set(n.clock().Add(MaxAge + time.Second))
		}, chain.ErrStaleHead},
		"frozen servers, network goes on": {func(t *testing.T, n *network) {
			t.Helper()
			n.servers[0].Freeze(true)
			n.servers[1].Freeze(true)
			if err := n.Travel(MaxAge + time.Minute); err != nil {
				t.Fatal(err)
			}
			n.steps(t, 1)
		}, chain.ErrStaleHead},
		"block from the future": {func(_ *testing.T, n *network) {
			n.set(n.clock().Add(-MaxSkew - time.Second))
		}, chain.ErrClock},
		"rolled back": {func(t *testing.T, n *network) {
			t.Helper()
			if err := n.Restore("early"); err != nil {
				t.Fatal(err)
			}
			n.sync(t)
		}, chain.ErrOldHead},
		"rolled back and gone on": {func(t *testing.T, n *network) {
			t.Helper()
			if err := n.Restore("early"); err != nil {
				t.Fatal(err)
			}
			n.fund(t, someone(0, 7), 1)
			n.steps(t, 20)
		}, chain.ErrForked},
		"too old a network": {func(t *testing.T, n *network) {
			t.Helper()
			if err := n.SetGlobalVersion(11); err != nil {
				t.Fatal(err)
			}
			n.steps(t, 1)
		}, chain.ErrGlobalVersion},
		"no server": {func(_ *testing.T, n *network) {
			_ = n.servers[0].Close()
			_ = n.servers[1].Close()
		}, chain.ErrUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			n := newNetwork(t)
			n.steps(t, 2)
			if _, err := n.Snapshot("early"); err != nil {
				t.Fatal(err)
			}
			n.steps(t, 3)
			client := n.client(t)
			head(t, client)
			c.fault(t, n)
			if b, err := client.Head(t.Context()); !errors.Is(err, c.want) {
				t.Errorf("got block %d, %v; want %v", b.Seqno, err, c.want)
			}
		})
	}
}

func TestWrongProofsAreRefused(t *testing.T) {
	for _, answer := range []string{"PartialBlockProof", "BlockHeader", "ConfigAll", "AccountState", "*"} {
		t.Run(answer, func(t *testing.T) {
			n := newNetwork(t)
			n.steps(t, 2)
			client := n.client(t)
			at := head(t, client)
			for _, s := range n.servers {
				s.WrongProofs(answer)
			}
			if err := n.SetGlobalVersion(15); err != nil { // a key block, so that every kind of proof is needed
				t.Fatal(err)
			}
			n.steps(t, 3)
			var err error
			if answer == "AccountState" {
				_, err = client.Account(t.Context(), at, n.Faucet())
			} else {
				_, err = client.Head(t.Context())
			}
			if !errors.Is(err, chain.ErrProof) {
				t.Errorf("got %v", err)
			}
			for _, s := range n.servers {
				s.WrongProofs("")
			}
			if _, err := client.Head(t.Context()); err != nil {
				t.Errorf("with right proofs: %v", err)
			}
		})
	}
}

func TestHiddenAccountIsNotAbsent(t *testing.T) {
	n := newNetwork(t)
	client := n.client(t)
	at := head(t, client)
	for _, s := range n.servers {
		s.Hide(true)
	}
	for _, addr := range []*address.Address{n.Faucet(), someone(0, 99)} {
		if a, err := client.Account(t.Context(), at, addr); !errors.Is(err, chain.ErrProof) {
			t.Errorf("got %+v, %v", a, err)
		}
	}
}

func TestSplitBrainIsNoticed(t *testing.T) {
	n := newNetwork(t)
	n.steps(t, 3)
	other, err := n.Fork()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := other.Close(); err != nil {
			t.Error(err)
		}
	})
	evil := n.serve(t, other)
	good := n.servers[0]
	client := n.client(t, good, evil)
	n.steps(t, 2)
	before := head(t, client)
	if err := other.Steps(5); err != nil {
		t.Fatal(err)
	}
	_ = good.Close() // only the other half answers now
	if b, err := client.Head(t.Context()); !errors.Is(err, chain.ErrForked) {
		t.Errorf("got block %d after %d, %v", b.Seqno, before.Seqno, err)
	}
}

func TestOneBadServerIsPassedOver(t *testing.T) {
	for name, fault := range map[string]func(*testing.T, *network, *adnl.Server){
		"closed":       func(_ *testing.T, _ *network, s *adnl.Server) { _ = s.Close() },
		"wrong proofs": func(_ *testing.T, _ *network, s *adnl.Server) { s.WrongProofs("*") },
		"hides":        func(_ *testing.T, _ *network, s *adnl.Server) { s.Hide(true) },
		"frozen": func(t *testing.T, n *network, s *adnl.Server) {
			t.Helper()
			s.Freeze(true)
			if err := n.Travel(2 * lookAround); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			n := newNetwork(t)
			client := n.client(t)
			head(t, client)
			fault(t, n, n.servers[0])
			n.fund(t, someone(0, 1), 5)
			n.steps(t, 3)
			at := head(t, client)
			if at.Seqno != n.Newest() {
				t.Errorf("head %d, the network has %d", at.Seqno, n.Newest())
			}
			if a, err := client.Account(t.Context(), at, someone(0, 1)); err != nil || a.Balance.Int64() != 5 {
				t.Errorf("%+v, %v", a, err)
			}
		})
	}
}

func TestNewestKeyBlockOutlivesTheClient(t *testing.T) {
	n := newNetwork(t)
	store := FileTrust{Path: filepath.Join(t.TempDir(), "trusted.json")}
	o := n.options(t)
	o.Store = store
	one, err := New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.Snapshot("before the key block"); err != nil {
		t.Fatal(err)
	}
	if err := n.RotateValidators(); err != nil {
		t.Fatal(err)
	}
	n.steps(t, 3)
	at := head(t, one)
	one.Close()
	saved, err := store.Load()
	if err != nil || saved == nil || *saved != n.pinned(t, at.KeySeqno) || at.KeySeqno <= o.Trusted.Seqno {
		t.Fatalf("saved %+v, %v; the head's key block is %d", saved, err, at.KeySeqno)
	}
	// A rolled-back chain is refused by a new client, although its own head is properly signed.
	if err := n.Restore("before the key block"); err != nil {
		t.Fatal(err)
	}
	n.sync(t)
	if c, err := New(t.Context(), o); err == nil {
		c.Close()
		t.Error("a client took a head from before its key block")
	}
	n.steps(t, 10)
	if c, err := New(t.Context(), o); !errors.Is(err, chain.ErrForked) {
		if c != nil {
			c.Close()
		}
		t.Errorf("another history after the rollback: %v", err)
	}
}

func TestOnlyAKeyBlockCanBePinned(t *testing.T) {
	n := newNetwork(t)
	n.steps(t, 3)
	o := n.options(t)
	o.Trusted = n.pinned(t, 2)
	if c, err := New(t.Context(), o); !errors.Is(err, chain.ErrProof) {
		if c != nil {
			c.Close()
		}
		t.Errorf("got %v", err)
	}
	o.Trusted = KeyBlock{}
	if _, err := New(t.Context(), o); err == nil {
		t.Error("began without a trusted block")
	}
}

func TestOneServerIsNotEnough(t *testing.T) {
	n := newNetwork(t)
	o := n.options(t, n.servers[0])
	o.OneServer = false
	if _, err := New(t.Context(), o); err == nil {
		t.Error("began with one server")
	}
	o.Servers = append(o.Servers, o.Servers[0])
	if _, err := New(t.Context(), o); err == nil {
		t.Error("began with the same server twice")
	}
}

// walletMessage is a signed message of a version 5 wallet for a chain's time.
func walletMessage(tb testing.TB, key ed25519.PrivateKey, seqno uint32, until time.Time) (*address.Address, *cell.Cell) {
	tb.Helper()
	w, err := wallet.FromPrivateKeyWithOptions(key, wallet.V3R2)
	if err != nil {
		tb.Fatal(err)
	}
	payload := cell.BeginCell().MustStoreUInt(wallet.DefaultSubwallet, 32).MustStoreUInt(uint64(until.Unix()), 32).MustStoreUInt(uint64(seqno), 32)
	inner, err := tlb.ToCell(&tlb.InternalMessage{IHRDisabled: true, DstAddr: someone(0, 50), Amount: tlb.MustFromTON("0.01"), Body: cell.BeginCell().EndCell()})
	if err != nil {
		tb.Fatal(err)
	}
	payload.MustStoreUInt(3, 8).MustStoreRef(inner)
	body := cell.BeginCell().MustStoreSlice(payload.EndCell().Sign(key), 512).MustStoreBuilder(payload).EndCell()
	ext := &tlb.ExternalMessage{DstAddr: w.WalletAddress(), Body: body}
	if seqno == 0 {
		pub := ed25519.PublicKey(bytes.Clone(key[ed25519.SeedSize:]))
		if ext.StateInit, err = wallet.GetStateInit(pub, wallet.V3R2, wallet.DefaultSubwallet); err != nil {
			tb.Fatal(err)
		}
	}
	c, err := tlb.ToCell(ext)
	if err != nil {
		tb.Fatal(err)
	}
	return w.WalletAddress(), c
}

// background makes a block whenever the client waits for one.
func (n *network) background(tb testing.TB) {
	tb.Helper()
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				if err := n.Steps(1); err != nil {
					tb.Error(err)
					return
				}
				n.sync(tb)
			}
		}
	}()
	tb.Cleanup(func() { close(stop); <-done })
}

func TestSenderConfirmsExpiresAndRefuses(t *testing.T) {
	n := newNetwork(t)
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{9}, 32))
	addr, _ := walletMessage(t, key, 0, n.clock().Add(time.Hour))
	n.fund(t, addr, 100e9)
	n.steps(t, 2)
	client := n.client(t)
	outbox := chain.FileOutbox{Path: filepath.Join(t.TempDir(), "outbox.json")}
	sender := chain.NewSender(client, outbox)
	n.background(t)
	for seqno := range uint32(3) {
		until := n.clock().Add(time.Hour)
		_, msg := walletMessage(t, key, seqno, until)
		r, err := sender.Send(t.Context(), chain.Message{Cell: msg, Seqno: seqno, ValidUntil: until})
		if err != nil {
			t.Fatalf("message %d: %v", seqno, err)
		}
		if code, ran := r.Transaction.Exit(); !ran || code != 0 || r.Transaction.Aborted() {
			t.Errorf("message %d: exit %d, ran %v", seqno, code, ran)
		}
	}
	until := n.clock().Add(time.Hour)
	_, again := walletMessage(t, key, 1, until)
	if _, err := sender.Send(t.Context(), chain.Message{Cell: again, Seqno: 1, ValidUntil: until}); !errors.Is(err, chain.ErrNotAccepted) {
		t.Errorf("an old seqno: %v", err)
	}
	n.SetExternals(local.Drop)
	until = n.clock().Add(2 * time.Minute)
	_, lost := walletMessage(t, key, 3, until)
	if _, err := sender.Send(t.Context(), chain.Message{Cell: lost, Seqno: 3, ValidUntil: until}); !errors.Is(err, chain.ErrExpired) {
		t.Errorf("a lost message: %v", err)
	}
	if left, err := outbox.Load(); err != nil || len(left) != 0 {
		t.Errorf("the outbox keeps %v, %v", left, err)
	}
}

// ends is a client whose process ends once a message has left.
type ends struct {
	*Client
	end context.CancelFunc
}

func (e ends) Send(ctx context.Context, message *cell.Cell) error {
	defer e.end()
	return e.Client.Send(ctx, message)
}

func TestSenderFinishesAfterARestart(t *testing.T) {
	n := newNetwork(t)
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{9}, 32))
	addr, _ := walletMessage(t, key, 0, n.clock())
	n.fund(t, addr, 100e9)
	n.steps(t, 2)
	client := n.client(t)
	outbox := &chain.MemoryOutbox{}
	until := n.clock().Add(time.Hour)
	_, msg := walletMessage(t, key, 0, until)
	ctx, cancel := context.WithCancel(t.Context())
	_, err := chain.NewSender(ends{client, cancel}, outbox).Send(ctx, chain.Message{Cell: msg, ValidUntil: until}) // no block comes
	cancel()
	if !errors.Is(err, chain.ErrUnconfirmed) {
		t.Fatalf("got %v", err)
	}
	n.steps(t, 2)
	found := 0
	err = chain.NewSender(client, outbox).Recover(t.Context(), func(p chain.Pending, r chain.Receipt, err error) {
		if err == nil && r.Transaction.LT > 0 && p.Account == addr.StringRaw() {
			found++
		}
	})
	if left, _ := outbox.Load(); err != nil || found != 1 || len(left) != 0 {
		t.Errorf("recovered %d, left %v, %v", found, left, err)
	}
}

// The same life at every global version that the contracts run on.
func TestWalletLivesAtEveryGlobalVersion(t *testing.T) {
	for _, version := range []uint32{12, 14, 15} {
		n := newNetwork(t, func(o *local.Options) { o.GlobalVersion = version })
		key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{9}, 32))
		addr, _ := walletMessage(t, key, 0, n.clock())
		n.fund(t, addr, 10e9)
		n.steps(t, 2)
		client := n.client(t)
		for seqno := range uint32(3) {
			_, msg := walletMessage(t, key, seqno, n.clock().Add(time.Hour))
			if err := client.Send(t.Context(), msg); err != nil {
				t.Fatalf("version %d, message %d: %v", version, seqno, err)
			}
			n.steps(t, 2)
		}
		at := head(t, client)
		a, err := client.Account(t.Context(), at, someone(0, 50))
		if err != nil || a.Balance.Int64() != 3e7-2 { // two nanoTON of rent between the three payments
			t.Errorf("version %d: %+v, %v", version, a, err)
		}
		got, err := client.RunGet(t.Context(), at, addr, "seqno")
		if d := cmp.Diff([]any{big.NewInt(3)}, got, cmp.Comparer(func(a, b *big.Int) bool { return a.Cmp(b) == 0 })); err != nil || d != "" {
			t.Errorf("version %d: %v %s", version, err, d)
		}
	}
}

// A client without a virtual machine reads storage and says what it lacks.
func TestGetMethodsNeedAMachine(t *testing.T) {
	n := newNetwork(t)
	n.steps(t, 2)
	o := n.options(t)
	o.Execute = nil
	client, err := New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := client.RunGet(t.Context(), head(t, client), someone(0, 1), "seqno"); !errors.Is(err, chain.ErrNoMachine) {
		t.Errorf("%v", err)
	}
}

func BenchmarkHead(b *testing.B) {
	n := newNetwork(b)
	client := n.client(b)
	for b.Loop() {
		b.StopTimer()
		n.steps(b, 1)
		b.StartTimer()
		head(b, client)
	}
}

func BenchmarkAccount(b *testing.B) {
	n := newNetwork(b)
	client := n.client(b)
	at := head(b, client)
	for b.Loop() {
		if _, err := client.Account(b.Context(), at, n.Faucet()); err != nil {
			b.Fatal(err)
		}
	}
}
