package local

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/xssnick/tonutils-go/address"
	"github.com/xssnick/tonutils-go/tlb"
	"github.com/xssnick/tonutils-go/tvm/cell"
	"go.uber.org/goleak"

	"cocoon/contracts/chain"
	"cocoon/contracts/chain/local/blocks"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newTest makes a deterministic chain that ends with the test.
func newTest(tb testing.TB, change ...func(*Options)) *Chain {
	tb.Helper()
	o := Options{Deterministic: true}
	for _, f := range change {
		f(&o)
	}
	c, err := NewChain(o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := c.Close(); err != nil {
			tb.Error(err)
		}
	})
	return c
}

// someone is an address nobody has the key of.
func someone(workchain int8, n byte) *address.Address {
	h := sha256.Sum256([]byte{n})
	return address.NewAddress(0, byte(workchain), h[:])
}

func tons(n int64) *big.Int { return new(big.Int).Mul(big.NewInt(n), big.NewInt(1_000_000_000)) }

func fund(tb testing.TB, c *Chain, to *address.Address, amount *big.Int) {
	tb.Helper()
	if err := c.Fund(to, amount, nil); err != nil {
		tb.Fatal(err)
	}
}

func step(tb testing.TB, c *Chain, n int) {
	tb.Helper()
	if err := c.Steps(n); err != nil {
		tb.Fatal(err)
	}
}

func head(tb testing.TB, c *Chain) chain.Block {
	tb.Helper()
	b, err := c.Head(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func stateOf(tb testing.TB, c *Chain, addr *address.Address) *chain.Account {
	tb.Helper()
	a, err := c.Account(tb.Context(), head(tb, c), addr)
	if err != nil {
		tb.Fatal(err)
	}
	return a
}

func TestFundReachesBothWorkchains(t *testing.T) {
	c := newTest(t)
	base, master := someone(0, 1), someone(-1, 2)
	if got := stateOf(t, c, base).Status; got != chain.Absent {
		t.Fatalf("before: %s", got)
	}
	fund(t, c, base, tons(3))
	fund(t, c, master, tons(4))
	step(t, c, 1)
	if a := stateOf(t, c, base); a.Status != chain.Uninit || a.Balance.Cmp(tons(3)) != 0 {
		t.Errorf("basechain: %s, %s", a.Status, a.Balance)
	}
	if a := stateOf(t, c, master); a.Status != chain.Uninit || a.Balance.Cmp(tons(4)) != 0 {
		t.Errorf("masterchain: %s, %s", a.Status, a.Balance)
	}
	step(t, c, 1)
	if q, _, err := readQueue(queueOf(t, c, blocks.Basechain)); err != nil || len(q) != 0 {
		t.Errorf("the delivered message still waits: %d, %v", len(q), err)
	}
}

func queueOf(tb testing.TB, c *Chain, workchain int32) *cell.Cell {
	tb.Helper()
	state := c.head.Shard.State
	if workchain == blocks.Masterchain {
		state = c.head.Master.State
	}
	st, err := blocks.ParseState(state)
	if err != nil {
		tb.Fatal(err)
	}
	return st.Queue
}

// goldenHashes are the hashes of a deterministic chain's blocks: they change when a layout, an order or a price does.
type goldenHashes struct {
	Blocks []goldenBlock `json:"blocks"`
}

type goldenBlock struct {
	Seqno  uint32     `json:"seqno"`
	Master chain.Hash `json:"master_root"`
	Shard  chain.Hash `json:"shard_root"`
	File   chain.Hash `json:"master_file"`
}

// script is a short life with a bit of everything.
func script(tb testing.TB, c *Chain) {
	tb.Helper()
	step(tb, c, 1)
	for i := range byte(5) {
		fund(tb, c, someone(0, i), tons(int64(i)+1))
	}
	fund(tb, c, someone(-1, 9), tons(2))
	step(tb, c, 2)
	if err := c.Travel(24 * time.Hour); err != nil {
		tb.Fatal(err)
	}
	step(tb, c, 1)
	if err := c.SetGlobalVersion(15); err != nil {
		tb.Fatal(err)
	}
	fund(tb, c, someone(0, 3), tons(7))
	step(tb, c, 2)
	if err := c.RotateValidators(); err != nil {
		tb.Fatal(err)
	}
	step(tb, c, 2)
}

func goldenOf(tb testing.TB, c *Chain) goldenHashes {
	tb.Helper()
	var g goldenHashes
	for s := range c.head.Master.Ref.Seqno + 1 {
		t, err := c.tickAt(s)
		if err != nil {
			tb.Fatal(err)
		}
		g.Blocks = append(g.Blocks, goldenBlock{s, t.Master.Ref.RootHash, t.Shard.Ref.RootHash, t.Master.Ref.FileHash})
	}
	return g
}

func TestDeterministicChainHasGoldenHashes(t *testing.T) {
	for _, version := range []uint32{12, 14, 15} {
		name := filepath.Join("testdata", "golden_"+big.NewInt(int64(version)).String()+".json")
		a := newTest(t, func(o *Options) { o.GlobalVersion = version })
		script(t, a)
		got := goldenOf(t, a)
		if os.Getenv("UPDATE_GOLDEN") != "" {
			raw, err := json.MarshalIndent(got, "", " ")
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(name, append(raw, '\n'), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		raw, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var want goldenHashes
		if err := json.Unmarshal(raw, &want); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("version %d (-want +got):\n%s", version, d)
		}
	}
}

func TestMoneyIsConserved(t *testing.T) {
	c := newTest(t)
	script(t, c)
	total := new(big.Int)
	for _, state := range []*cell.Cell{c.head.Master.State, c.head.Shard.State} {
		st, err := blocks.ParseState(state)
		if err != nil {
			t.Fatal(err)
		}
		total.Add(total, st.Balance)
		if state == c.head.Master.State {
			total.Add(total, st.ValidatorFees)
		}
	}
	queued := new(big.Int)
	for _, wc := range []int32{blocks.Masterchain, blocks.Basechain} {
		list, _, err := readQueue(queueOf(t, c, wc))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range list {
			var m tlb.InternalMessage
			if err := tlb.Parse(&m, e.Message); err != nil {
				t.Fatal(err)
			}
			queued.Add(queued, m.Amount.Nano()).Add(queued, e.Fee)
		}
	}
	if total.Add(total, queued); total.Cmp(Supply()) != 0 {
		t.Errorf("the chain has %s nanoTON, %s were made", total, Supply())
	}
}

func TestRestartKeepsTheChain(t *testing.T) {
	dir := t.TempDir()
	with := func(o *Options) { o.Dir, o.Volatile, o.SnapshotEvery, o.Window = dir, true, 3, 4 }
	one := newTest(t, with)
	script(t, one)
	want := goldenOf(t, one)
	if err := one.Close(); err != nil {
		t.Fatal(err)
	}
	two := newTest(t, with)
	if d := cmp.Diff(want, goldenOf(t, two)); d != "" {
		t.Fatalf("after a restart (-before +after):\n%s", d)
	}
	// What follows is what would have followed without the restart.
	three := newTest(t)
	script(t, three)
	for _, c := range []*Chain{two, three} {
		fund(t, c, someone(0, 3), tons(1))
		step(t, c, 3)
	}
	if d := cmp.Diff(goldenOf(t, three), goldenOf(t, two)); d != "" {
		t.Errorf("going on after a restart (-uninterrupted +restarted):\n%s", d)
	}
}

func TestAnotherSeedDoesNotOpenTheChain(t *testing.T) {
	dir := t.TempDir()
	if err := newTest(t, func(o *Options) { o.Dir = dir }).Close(); err != nil {
		t.Fatal(err)
	}
	if c, err := NewChain(Options{Dir: dir, Seed: [32]byte{1}}); err == nil {
		t.Errorf("opened by another seed: %v", c.Close())
	}
}

func TestRestoreBeginsAnotherHistory(t *testing.T) {
	for name, dir := range map[string]string{"memory": "", "disk": t.TempDir()} {
		t.Run(name, func(t *testing.T) {
			c := newTest(t, func(o *Options) { o.Dir, o.Volatile, o.SnapshotEvery = dir, true, 2 })
			fund(t, c, someone(0, 1), tons(1))
			step(t, c, 2)
			if _, err := c.Snapshot("before"); err != nil {
				t.Fatal(err)
			}
			at := head(t, c)
			fund(t, c, someone(0, 1), tons(5))
			step(t, c, 3)
			after := head(t, c)
			if err := c.Restore("before"); err != nil {
				t.Fatal(err)
			}
			if got := head(t, c); got != at {
				t.Fatalf("restored to %+v, want %+v", got, at)
			}
			if got := stateOf(t, c, someone(0, 1)).Balance; got.Cmp(tons(1)) != 0 {
				t.Errorf("balance %s after the rollback", got)
			}
			step(t, c, 3)
			if got := head(t, c); got.Seqno != after.Seqno || got.RootHash == after.RootHash {
				t.Errorf("the new history is the old one: %+v", got)
			}
			if _, err := c.Account(t.Context(), after, someone(0, 1)); !errors.Is(err, chain.ErrForked) {
				t.Errorf("asking at a forgotten block: %v", err)
			}
			if err := c.Restore("nothing"); err == nil {
				t.Error("restored a snapshot that does not exist")
			}
		})
	}
}

func TestDelayedShardStandsStill(t *testing.T) {
	c := newTest(t)
	step(t, c, 1)
	c.DelayShard(2)
	at := c.head.Shard.Ref.Seqno
	fund(t, c, someone(0, 1), tons(1))
	step(t, c, 2)
	if got := c.head.Shard.Ref.Seqno; got != at {
		t.Fatalf("the shard went on to %d", got)
	}
	if got := stateOf(t, c, someone(0, 1)).Status; got != chain.Absent {
		t.Errorf("the message was executed: %s", got)
	}
	step(t, c, 1)
	if got := stateOf(t, c, someone(0, 1)).Balance; got.Cmp(tons(1)) != 0 {
		t.Errorf("after the delay: %s", got)
	}
}

func TestFullBlocksQueueTheRest(t *testing.T) {
	dir := t.TempDir()
	limit := func(o *Options) { o.Dir, o.Volatile, o.MaxTransactions = dir, true, 3 }
	c := newTest(t, limit)
	const n = 8
	for i := range byte(n) {
		fund(t, c, someone(0, i), tons(1))
	}
	step(t, c, 1)
	if q, _, err := readQueue(queueOf(t, c, blocks.Basechain)); err != nil || len(q) == 0 {
		t.Fatalf("nothing waits in the queue: %v", err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	c = newTest(t, limit) // the queue is in the state, the faucet's waiting messages are not
	step(t, c, 10)
	if q, _, err := readQueue(queueOf(t, c, blocks.Basechain)); err != nil || len(q) != 0 {
		t.Errorf("%d messages still wait: %v", len(q), err)
	}
	for i := range byte(3) {
		if got := stateOf(t, c, someone(0, i)).Balance; got.Cmp(tons(1)) != 0 {
			t.Errorf("account %d has %s", i, got)
		}
	}
}

func TestTimeDoesNotGoBack(t *testing.T) {
	c := newTest(t)
	step(t, c, 1)
	at := head(t, c).Time
	if err := c.SetTime(at.Add(-time.Second)); err == nil {
		t.Error("time was set back")
	}
	if err := c.Travel(-time.Second); err == nil {
		t.Error("travelled back")
	}
	if err := c.SetTime(at.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	step(t, c, 2)
	if got, want := head(t, c).Time, at.Add(time.Hour+time.Second); !got.Equal(want) {
		t.Errorf("time is %s, want %s", got, want)
	}
	c.FreezeTime(true)
	step(t, c, 3)
	if got, want := head(t, c).Time, at.Add(time.Hour+time.Second); !got.Equal(want) {
		t.Errorf("frozen time is %s, want %s", got, want)
	}
}
