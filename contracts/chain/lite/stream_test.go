package lite

import (
	"context"
	"errors"
	"math/big"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/xssnick/tonutils-go/address"
	"github.com/xssnick/tonutils-go/tlb"
	"github.com/xssnick/tonutils-go/tvm/cell"

	"cocoon/contracts/chain"
	"cocoon/contracts/chain/local"
	"cocoon/contracts/chain/local/adnl"
)

// flaky is a network on disk whose parts break at random: its servers restart, freeze, lie and go silent, and the
// chain's process restarts.
type flaky struct {
	tb      testing.TB
	rnd     *rand.Rand
	opts    local.Options
	chain   *local.Chain
	servers [2]*adnl.Server
	sent    uint64
	to      *address.Address
}

// here is an address of the loopback network that nobody else is at: servers come back to the port they had, which a connection
// of another process may have taken at the usual one.
const here = "127.83.76.1:0"

func newFlaky(tb testing.TB, seed uint64) *flaky {
	tb.Helper()
	f := &flaky{
		tb: tb, rnd: rand.New(rand.NewPCG(seed, 1)), to: someone(0, 1),
		opts: local.Options{Deterministic: true, Dir: tb.TempDir(), Volatile: true, SnapshotEvery: 8, Window: 6},
	}
	f.open()
	tb.Cleanup(f.stop)
	return f
}

func (f *flaky) open() {
	var err error
	if f.chain, err = local.NewChain(f.opts); err != nil {
		f.tb.Fatal(err)
	}
	for i := range f.servers {
		f.serve(i, here)
	}
}

func (f *flaky) serve(i int, listen string) {
	s, err := adnl.Start(f.tb.Context(), f.chain, adnl.Options{Listen: listen, Seed: [32]byte{byte(i)}})
	if err != nil {
		f.tb.Fatal(err)
	}
	f.servers[i] = s
}

func (f *flaky) stop() {
	for _, s := range f.servers {
		_ = s.Close()
	}
	if err := f.chain.Close(); err != nil {
		f.tb.Error(err)
	}
}

// send queues a message with the next number. The first one brings money, so that the account is not deleted for want
// of it; later ones are notes of 0 to 2 nanoTON.
func (f *flaky) send() {
	amount := f.rnd.Int64N(3)
	if f.sent++; f.sent == 1 {
		amount = 1e9
	}
	m := &tlb.InternalMessage{
		IHRDisabled: true, SrcAddr: someone(0, 2), DstAddr: f.to, Amount: tlb.FromNanoTON(big.NewInt(amount)),
		Body: cell.BeginCell().MustStoreUInt(f.sent, 64).EndCell(), CreatedLT: f.sent,
	}
	if err := f.chain.SendInternal(m); err != nil {
		f.tb.Fatal(err)
	}
}

// live makes blocks with messages for the followed account.
func (f *flaky) live() {
	for range f.rnd.IntN(4) {
		for range f.rnd.IntN(6) {
			f.send()
		}
		if err := f.chain.Step(); err != nil {
			f.tb.Fatal(err)
		}
	}
}

// breakSomething returns how to mend it.
func (f *flaky) breakSomething() func() {
	i := f.rnd.IntN(len(f.servers))
	s := f.servers[i]
	switch f.rnd.IntN(6) {
	case 0:
		s.WrongProofs("*")
		return func() { s.WrongProofs("") }
	case 1:
		s.Freeze(true)
		return func() { s.Freeze(false) }
	case 2:
		s.Hide(true)
		return func() { s.Hide(false) }
	case 3:
		addr := s.Addr().String()
		_ = s.Close()
		return func() { f.serve(i, addr) }
	case 4: // the whole network restarts from disk
		addrs := [2]string{f.servers[0].Addr().String(), f.servers[1].Addr().String()}
		f.stop()
		var err error
		if f.chain, err = local.NewChain(f.opts); err != nil {
			f.tb.Fatal(err)
		}
		for i, a := range addrs {
			f.serve(i, a)
		}
	}
	return func() {}
}

func (f *flaky) client() *Client {
	p, err := f.chain.BlockAt(-1, 1, false)
	if err != nil {
		f.tb.Fatal(err)
	}
	o := Options{Trusted: keyBlockOf(p.ID()), Timeout: 2 * time.Second, Now: func() time.Time {
		b, err := f.chain.Head(context.Background())
		if err != nil {
			return time.Now()
		}
		return b.Time
	}}
	for _, s := range f.servers {
		o.Servers = append(o.Servers, Server{Addr: s.Addr(), Key: s.Key()})
	}
	const tries = 10 // of a client whose servers are well; a busy machine may need more than one
	for n := 1; ; n++ {
		c, err := New(f.tb.Context(), o)
		if err == nil {
			return c
		}
		if n == tries {
			f.tb.Fatal(err)
		}
	}
}

// number is what a message's body says.
func number(tb testing.TB, tx chain.Transaction) uint64 {
	tb.Helper()
	s, err := tx.In().AsInternal().Body.BeginParse()
	if err != nil {
		tb.Fatal(err)
	}
	n, err := s.LoadUInt(64)
	if err != nil {
		tb.Fatal(err)
	}
	return n
}

// TestStreamHasNoGapsAndNoDuplicates follows an account from a saved cursor through faults, with a new client every now
// and then, and compares with what was sent. COCOON_TEST=chain runs more of it.
func TestStreamHasNoGapsAndNoDuplicates(t *testing.T) {
	rounds, lives := 30, 1
	if slices.Contains(strings.Split(os.Getenv("COCOON_TEST"), ","), "chain") {
		rounds, lives = 200, 10
	}
	for seed := range lives {
		f := newFlaky(t, uint64(seed))
		client := f.client()
		var cursor chain.Cursor
		var got []uint64
		for round := range rounds {
			mend := f.breakSomething()
			f.live()
			if round%7 == 3 { // the follower's process restarts
				client.Close()
				mend()
				mend = func() {}
				client = f.client()
			}
			cursor = f.follow(t, client, cursor, &got)
			mend()
		}
		for range 100 { // all is mended now, but the consumer still stops anywhere
			cursor = f.follow(t, client, cursor, &got)
		}
		client.Close()
		if uint64(len(got)) != f.sent || cursor.LT == 0 {
			t.Fatalf("seed %d: %d transactions, %d messages were sent", seed, len(got), f.sent)
		}
		slices.Sort(got)
		for i, n := range got {
			if n != uint64(i)+1 {
				t.Fatalf("seed %d: message %d is at place %d", seed, n, i+1)
			}
		}
	}
}

// follow reads until it has seen what was sent or the stream fails, and returns where it stands.
func (f *flaky) follow(t *testing.T, c *Client, at chain.Cursor, got *[]uint64) chain.Cursor {
	t.Helper()
	if uint64(len(*got)) == f.sent {
		return at
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for tx, err := range c.Transactions(ctx, f.to, at) {
		if errors.Is(err, chain.ErrForked) || (err != nil && ctx.Err() != nil) {
			t.Fatalf("after %d of %d: %v", len(*got), f.sent, err)
		}
		if err != nil {
			return at // a fault that the next round goes on after
		}
		*got = append(*got, number(t, tx))
		if at = tx.Cursor(); uint64(len(*got)) == f.sent || f.rnd.IntN(8) == 0 {
			return at // the consumer may stop anywhere
		}
	}
	return at
}
