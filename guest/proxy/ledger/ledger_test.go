package ledger

import (
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"testing"

	"pgregory.net/rapid"

	"cocoon/contracts/pricing"
)

func plain() pricing.Multipliers {
	return pricing.Multipliers{Prompt: 10_000, Cached: 10_000, Completion: 10_000, Reasoning: 10_000}
}

func key() ed25519.PrivateKey { return ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)) }

func newMemory(tb testing.TB, f Funds) *Memory {
	tb.Helper()
	m, err := NewMemory(Config{Funds: func(string) Funds { return f }, Signer: Keyed{Key: key()}, Remember: 16})
	if err != nil {
		tb.Fatal(err)
	}
	return m
}

func TestAvailabilityFollowsTheFormula(t *testing.T) {
	for name, tc := range map[string]struct {
		funds Funds
		want  int64
	}{
		"balance counts":                {Funds{Balance: 2_000, Stake: 15_000, Used: 0, Price: 20}, 100},
		"stake counts":                  {Funds{Balance: 20_000, Stake: 1_500, Used: 0, Price: 20}, 75},
		"what was charged is used":      {Funds{Balance: 2_000, Stake: 15_000, Used: 50, Price: 20}, 100},
		"tokens are free":               {Funds{Balance: 1, Stake: 1, Used: 0, Price: 0}, 1_000_000_000_000},
		"the largest balance there is":  {Funds{Balance: 1<<64 - 1, Stake: 1<<64 - 1, Used: 1<<63 - 1, Price: 1}, 0},
		"a chain that counts backwards": {Funds{Balance: 20, Stake: 20, Used: -5, Price: 1}, 20},
	} {
		t.Run(name, func(t *testing.T) {
			if got := newMemory(t, tc.funds).State(Party{Client, "0:aa"}).Available; got != tc.want {
				t.Errorf("available %d, want %d", got, tc.want)
			}
		})
	}
}

func TestReservingIsRefused(t *testing.T) {
	m := newMemory(t, Funds{Balance: 100, Stake: 100, Price: 1})
	if err := m.Reserve(t.Context(), Reservation{Client: "c", Request: [32]byte{1}, Amount: 60}); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		r    Reservation
		want error
	}{
		"negative":       {Reservation{"c", [32]byte{2}, -1}, ErrRange},
		"nobody":         {Reservation{"", [32]byte{2}, 1}, ErrRange},
		"again":          {Reservation{"c", [32]byte{1}, 60}, ErrDuplicate},
		"again for less": {Reservation{"c", [32]byte{1}, 1}, ErrDuplicate},
		"too much":       {Reservation{"c", [32]byte{2}, 41}, ErrBalance},
		"far too much":   {Reservation{"c", [32]byte{2}, 1<<63 - 1}, ErrBalance},
	} {
		t.Run(name, func(t *testing.T) {
			if err := m.Reserve(t.Context(), tc.r); !errors.Is(err, tc.want) {
				t.Errorf("%v, want %v", err, tc.want)
			}
			if s := m.State(Party{Client, "c"}); s.Reserved != 60 || s.Available != 40 || s.Running != 1 {
				t.Errorf("state changed: %+v", s)
			}
		})
	}
	if err := m.Reserve(t.Context(), Reservation{"other", [32]byte{1}, 60}); err != nil {
		t.Errorf("another client's request with the same id: %v", err)
	}
}

func TestARequestIsBilledOnceAndNeverAboveItsReservation(t *testing.T) {
	m := newMemory(t, Funds{Balance: 1000, Stake: 1000, Price: 1})
	c := Charge{Client: "c", Request: [32]byte{1}, Worker: "w", Coefficient: 1000, Multipliers: plain(), Tokens: pricing.Tokens{Prompt: 30, Completion: 100}}
	if _, err := m.Settle(t.Context(), c); !errors.Is(err, ErrUnknown) {
		t.Errorf("settling without a reservation: %v", err)
	}
	if err := m.Reserve(t.Context(), Reservation{"c", [32]byte{1}, 100}); err != nil {
		t.Fatal(err)
	}
	first, err := m.Settle(t.Context(), c)
	if err != nil || first.Paid() != 100 || first.Cut != 30 || first.Seq != 1 || first.Total != 100 {
		t.Fatalf("%+v, %v", first, err)
	}
	c.Tokens.Completion = 1
	if second, err := m.Settle(t.Context(), c); err != nil || second != first {
		t.Errorf("a second settlement: %+v, %v", second, err)
	}
	if err := m.Reserve(t.Context(), Reservation{"c", [32]byte{1}, 100}); !errors.Is(err, ErrDuplicate) {
		t.Errorf("reusing a settled id: %v", err)
	}
	if w := m.State(Party{Worker, "w"}); w.Max != 100 || w.DB != 0 || w.Chain != 0 {
		t.Errorf("worker %+v", w)
	}
}

func TestOnlyWhatIsCommittedIsSigned(t *testing.T) {
	m, p := newMemory(t, Funds{Balance: 1000, Stake: 1000, Price: 1}), Party{Client, "c"}
	if err := m.Reserve(t.Context(), Reservation{"c", [32]byte{1}, 100}); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Settle(t.Context(), Charge{Client: "c", Request: [32]byte{1}, Coefficient: 1000, Multipliers: plain(), Tokens: pricing.Tokens{Prompt: 7}}); err != nil {
		t.Fatal(err)
	}
	signed := func() (Payment, int64) {
		pay, err := m.Pay(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		n, err := Keyed{Key: key()}.Verify(p, pay.Signed)
		if err != nil {
			t.Fatal(err)
		}
		return pay, n
	}
	if pay, n := signed(); n != 0 || pay.Max != 7 || pay.DB != 0 {
		t.Errorf("before the flush: %d signed, %+v", n, pay)
	}
	m.Commit()
	if _, n := signed(); n != 0 {
		t.Errorf("a commit without a flush signs %d", n)
	}
	m.Flush()
	if pay, n := signed(); n != 0 || pay.DB != 7 {
		t.Errorf("after the flush: %d signed, %+v", n, pay)
	}
	m.Commit()
	if _, n := signed(); n != 7 {
		t.Errorf("after the commit: %d signed", n)
	}
}

func TestOnlyOurOwnSignatureRaisesAWorkersCounter(t *testing.T) {
	p := Party{Worker, "w"}
	ours, err := Keyed{Key: key()}.Sign(p, 500)
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := Keyed{Key: ed25519.NewKeyFromSeed([]byte("another seed of thirty-two bytes"))}.Sign(p, 500)
	if err != nil {
		t.Fatal(err)
	}
	forClient, err := Keyed{Key: key()}.Sign(Party{Client, "w"}, 500)
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		tokens int64
		proof  []byte
		want   int64
	}{
		"proved":                 {500, ours, 500},
		"less than proved":       {400, ours, 500},
		"more than proved":       {501, ours, 0},
		"signed by another":      {500, stranger, 0},
		"signed for a client":    {500, forClient, 0},
		"no proof":               {500, nil, 0},
		"cut":                    {500, ours[:len(ours)-1], 0},
		"a negative number":      {-1, ours, 0},
		"nonsense of any length": {1, []byte("x"), 0},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMemory(t, Funds{})
			err := m.Adopt(t.Context(), "w", tc.tokens, tc.proof)
			if (err == nil) != (tc.want > 0) || err != nil && !errors.Is(err, ErrProof) {
				t.Errorf("error %v", err)
			}
			if s := m.State(p); s.Max != tc.want || s.Chain != tc.want {
				t.Errorf("counter %+v, want %d", s, tc.want)
			}
		})
	}
}

// TestToBeAskedAboutTakesNoMemory: whoever connects names an owner, and has proved nothing yet.
func TestToBeAskedAboutTakesNoMemory(t *testing.T) {
	m := newMemory(t, Funds{Balance: 100, Stake: 100, Used: 30, Price: 1})
	for i := range 100 {
		for _, role := range []Role{Client, Worker} {
			pay, err := m.Pay(t.Context(), Party{role, fmt.Sprint(i)})
			if want := int64(30 * (1 - int(role))); err != nil || pay.Max != want || pay.DB != want {
				t.Fatalf("%+v, %v", pay, err)
			}
		}
	}
	if len(m.counters) != 0 {
		t.Errorf("%d counters", len(m.counters))
	}
}

// TestASumThatWouldWrapIsCutAllTheSame: the entry says what the counters grew by.
func TestASumThatWouldWrapIsCutAllTheSame(t *testing.T) {
	m := newMemory(t, Funds{Balance: 1000, Stake: 1000, Price: 1})
	if err := m.Reserve(t.Context(), Reservation{"c", [32]byte{1}, 100}); err != nil {
		t.Fatal(err)
	}
	huge := pricing.Multipliers{Prompt: 1 << 62, Completion: 1 << 62}
	e, err := m.Settle(t.Context(), Charge{Client: "c", Request: [32]byte{1}, Coefficient: 999_999_999, Multipliers: huge, Tokens: pricing.Tokens{Prompt: 1 << 30, Completion: 1 << 30}})
	if err != nil || e.Paid() != 100 || e.Total != 100 {
		t.Errorf("paid %d, %+v, %v", e.Paid(), e, err)
	}
}

// TestMoneyIsConserved: whatever happens in whatever order, nothing is negative, what clients pay is what workers earn,
// and nobody pays more than was reserved, nor than there is.
func TestMoneyIsConserved(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		funds := Funds{
			Balance: rapid.Uint64Range(0, 5_000).Draw(t, "balance"), Stake: rapid.Uint64Range(0, 5_000).Draw(t, "stake"),
			Price: rapid.Uint64Range(0, 3).Draw(t, "price"),
		}
		m, err := NewMemory(Config{Funds: func(string) Funds { return funds }, Remember: 1000})
		if err != nil {
			t.Fatal(err)
		}
		clients, workers := []string{"a", "b"}, []string{"x", "y", ""}
		earned, paid := int64(0), int64(0)
		any64 := rapid.OneOf(rapid.Int64Range(-2, 300), rapid.Int64())
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			client, id := rapid.SampledFrom(clients).Draw(t, "client"), [32]byte{rapid.Byte().Draw(t, "id") % 6}
			switch rapid.IntRange(0, 3).Draw(t, "step") {
			case 0:
				_ = m.Reserve(t.Context(), Reservation{client, id, any64.Draw(t, "amount")})
			case 1:
				before := m.seq
				worker := rapid.SampledFrom(workers).Draw(t, "worker")
				e, err := m.Settle(t.Context(), Charge{
					Client: client, Request: id, Worker: worker, Coefficient: any64.Draw(t, "coefficient"), Multipliers: plain(),
					Tokens: pricing.Tokens{Prompt: any64.Draw(t, "prompt"), Cached: any64.Draw(t, "cached"), Completion: any64.Draw(t, "completion"), Reasoning: any64.Draw(t, "reasoning")},
				})
				if err != nil || m.seq == before {
					continue
				}
				if min(total(e.Billed), e.Reserved) < 0 {
					t.Fatalf("negative entry %+v", e)
				}
				paid += min(total(e.Billed), e.Reserved)
				if worker != "" {
					earned += min(total(e.Billed), e.Reserved)
				}
			case 2:
				m.Flush()
			case 3:
				m.Commit()
			}
			var fromClients, toWorkers int64
			for _, name := range clients {
				s := m.State(Party{Client, name})
				if s.Reserved < 0 || s.Available < 0 || s.Running < 0 || s.Max < s.DB || s.DB < s.Chain || s.Chain < 0 {
					t.Fatalf("client %s: %+v", name, s)
				}
				if s.Max+s.Reserved > funds.limit() {
					t.Fatalf("client %s: %+v exceeds %d", name, s, funds.limit())
				}
				fromClients += s.Max
			}
			for _, name := range workers[:2] {
				toWorkers += m.State(Party{Worker, name}).Max
			}
			if fromClients != paid || toWorkers != earned {
				t.Fatalf("clients %d of %d, workers %d of %d", fromClients, paid, toWorkers, earned)
			}
		}
	})
}

// TestTheMemoryOfSettledRequestsIsBounded: the last ones are known word by word, those before them not at all, and what
// they had in common is shared as long as one has it.
func TestTheMemoryOfSettledRequestsIsBounded(t *testing.T) {
	const most, n = 2*pageSize + 16, 5 * pageSize
	m, err := NewMemory(Config{Funds: func(string) Funds { return Funds{} }, Remember: most})
	if err != nil {
		t.Fatal(err)
	}
	charge := func(i int) Charge {
		return Charge{
			Client: "c" + string(rune('a'+i%3)), Request: [32]byte{byte(i), byte(i >> 8)}, Worker: "w", Model: fmt.Sprint("model ", i/10),
			Coefficient: 1000, Multipliers: plain(), Tokens: pricing.Tokens{Prompt: int64(i), Completion: int64(i % 50)},
			Source: "engine", Estimated: i%2 == 0, Status: "complete",
		}
	}
	entries := make([]Entry, n)
	for i := range entries {
		c := charge(i)
		if err := m.Reserve(t.Context(), Reservation{c.Client, c.Request, 1000}); err != nil {
			t.Fatal(err)
		}
		if entries[i], err = m.Settle(t.Context(), c); err != nil || entries[i].Charge != c {
			t.Fatalf("%+v, %v", entries[i], err)
		}
	}
	for i, want := range entries {
		got, err := m.Settle(t.Context(), Charge{Client: want.Client, Request: want.Request})
		if known := i >= n-most; known && (err != nil || got != want) || !known && !errors.Is(err, ErrUnknown) {
			t.Fatalf("request %d: %+v, %v, want %+v", i, got, err, want)
		}
	}
	s := &m.settled
	if len(s.index) != most || len(s.pages) != 3 || len(m.held) != 0 {
		t.Errorf("%d settled in %d pages, %d held", len(s.index), len(s.pages), len(m.held))
	}
	// Ten requests in a row have a model in common, and by threes and twos a client and whether they are estimates.
	if kinds := len(s.terms); kinds != len(s.kinds)-len(s.free) || kinds < most/10*6 || kinds > (most/10+2)*6 {
		t.Errorf("%d kinds of %d places, %d free", kinds, len(s.kinds), len(s.free))
	}
}

// BenchmarkSettled: what a collection takes while all that a ledger remembers is there.
func BenchmarkSettled(b *testing.B) {
	m, err := NewMemory(Config{Funds: func(string) Funds { return Funds{} }})
	if err != nil {
		b.Fatal(err)
	}
	var id [32]byte
	settle := func(i int) {
		binary.LittleEndian.PutUint64(id[:], uint64(i))
		if err := m.Reserve(b.Context(), Reservation{"c", id, 1000}); err != nil {
			b.Fatal(err)
		}
		if _, err := m.Settle(b.Context(), Charge{Client: "c", Request: id, Worker: "w", Model: "m", Source: "engine", Status: "complete"}); err != nil {
			b.Fatal(err)
		}
	}
	for i := range maxSettled {
		settle(i)
	}
	runtime.GC()
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	b.Run("settle", func(b *testing.B) {
		b.ReportAllocs()
		for i := range b.N {
			settle(maxSettled + b.N*maxSettled + i)
		}
	})
	b.Run("collect", func(b *testing.B) {
		for b.Loop() {
			runtime.GC()
		}
		b.ReportMetric(float64(mem.HeapAlloc)/(1<<20), "MB")
	})
	runtime.KeepAlive(m)
}

func FuzzVerify(f *testing.F) {
	p := Party{Worker, "w"}
	good, err := Keyed{Key: key()}.Sign(p, 500)
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range [][]byte{good, good[:40], nil, make([]byte, 200), append([]byte(nil), good[1:]...)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, payment []byte) {
		if n, err := (Keyed{Key: key()}).Verify(p, payment); err == nil && (n != 500 || string(payment) != string(good)) {
			t.Errorf("a payment of %d tokens that nobody signed", n)
		}
	})
}
