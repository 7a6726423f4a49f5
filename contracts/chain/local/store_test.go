package local

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/xssnick/tonutils-go/tlb"
	"github.com/xssnick/tonutils-go/tvm/cell"
	bolt "go.etcd.io/bbolt"

	"cocoon/contracts/chain"
	"cocoon/contracts/chain/local/blocks"
)

func TestOptionsAreChecked(t *testing.T) {
	for name, o := range map[string]Options{
		"period":       {Period: time.Millisecond},
		"half seconds": {Period: 1500 * time.Millisecond},
		"validators":   {Validators: 101},
		"version":      {GlobalVersion: 16},
		"transactions": {MaxTransactions: -1},
		"per account":  {MaxPerAccount: -1},
		"lifetime":     {MessageTTL: time.Millisecond},
		"window":       {Window: 1},
		"time":         {GenesisTime: time.Unix(1<<33, 0)},
	} {
		t.Run(name, func(t *testing.T) {
			if c, err := NewChain(o); err == nil {
				t.Errorf("made: %v", c.Close())
			}
		})
	}
}

func TestStoresAgree(t *testing.T) {
	m := newMemory()
	b, err := openBolt(Options{Dir: t.TempDir(), Volatile: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = b.close() }()
	account1 := account{1}
	for _, s := range []store{m, b} {
		if g, err := s.genesis(); err != nil || g != nil {
			t.Fatalf("%v, %v", g, err)
		}
		if err := s.found(genesisRecord{time: 5, shard: []byte{1}, master: []byte{2}}); err != nil {
			t.Fatal(err)
		}
		for i := uint32(1); i <= 6; i++ {
			r := tickRecord{known: i, master: blockRecord{workchain: -1, seqno: i, boc: []byte{byte(i)}, signatures: []byte{9}}}
			if i%2 == 0 {
				r.master.state = []byte{0xA0, byte(i)}
			}
			r.shard = &blockRecord{workchain: 0, seqno: i, boc: []byte{0xF0, byte(i)}, txs: []txRecord{{account1, uint64(i) * 10, chain.Hash{byte(i)}}}}
			if err := s.append(r); err != nil {
				t.Fatal(err)
			}
		}
		if err := errors.Join(s.mark("early", 2), s.mark("late", 5)); err != nil {
			t.Fatal(err)
		}
	}
	compare := func(when string) {
		t.Helper()
		for i := range uint32(8) {
			for _, wc := range []int32{-1, 0} {
				mb, ms, _ := m.block(wc, i)
				bb, bs, err := b.block(wc, i)
				if err != nil || string(mb) != string(bb) || string(ms) != string(bs) {
					t.Errorf("%s: block %d of %d: %x, %x, %v", when, i, wc, mb, bb, err)
				}
				ma, mstate, _ := m.stateBefore(wc, i)
				ba, bstate, err := b.stateBefore(wc, i)
				if err != nil || ma != ba || string(mstate) != string(bstate) {
					t.Errorf("%s: state before %d of %d: %d %x, %d %x, %v", when, i, wc, ma, mstate, ba, bstate, err)
				}
			}
			mk, _ := m.shardOf(i)
			bk, _ := b.shardOf(i)
			mseq, mh, _ := m.transaction(0, account1, uint64(i)*10)
			bseq, bh, _ := b.transaction(0, account1, uint64(i)*10)
			if mk != bk || mseq != bseq || mh != bh {
				t.Errorf("%s: %d: %d %d, %d %d", when, i, mk, bk, mseq, bseq)
			}
		}
		mt, _ := m.top()
		bt, _ := b.top()
		mm, _ := m.marked()
		bm, _ := b.marked()
		if mt != bt || !cmp.Equal(mm, bm) {
			t.Errorf("%s: top %d, %d; marks %v, %v", when, mt, bt, mm, bm)
		}
	}
	compare("full")
	for _, s := range []store{m, b} {
		if err := s.rewind(3); err != nil {
			t.Fatal(err)
		}
	}
	compare("rewound")
	if top, _ := b.top(); top != 3 {
		t.Errorf("rewound to %d", top)
	}
}

func TestForeignFilesAreRefused(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, fileName)
	if err := os.WriteFile(name, []byte(strings.Repeat("not a chain ", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	if c, err := NewChain(Options{Dir: dir}); err == nil {
		t.Errorf("opened: %v", c.Close())
	}
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	if err := newTest(t, func(o *Options) { o.Dir = dir }).Close(); err != nil {
		t.Fatal(err)
	}
	db, err := bolt.Open(name, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bolt.Tx) error { return tx.Bucket([]byte(bucketMeta)).Put([]byte("version"), be32(99)) })
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	if c, err := NewChain(Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), "99") {
		if c != nil {
			_ = c.Close()
		}
		t.Errorf("another format: %v", err)
	}
}

func TestForkHasTheSamePastAndAnotherFuture(t *testing.T) {
	c := newTest(t, func(o *Options) { o.SnapshotEvery = 2 })
	script(t, c)
	f, err := c.Fork()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if d := cmp.Diff(goldenOf(t, c), goldenOf(t, f)); d != "" {
		t.Fatalf("the past differs:\n%s", d)
	}
	at := c.Newest()
	step(t, c, 2)
	step(t, f, 2)
	for i := at + 1; i <= at+2; i++ {
		a, err := c.RootHash(i)
		if err != nil {
			t.Fatal(err)
		}
		if b, err := f.RootHash(i); err != nil || a == b {
			t.Errorf("block %d is the same, %v", i, err)
		}
	}
	if txs, err := f.Past(t.Context(), someone(0, 3), stateOf(t, f, someone(0, 3)).Last, 10); err != nil || len(txs) != 2 {
		t.Errorf("%d transactions in the fork, %v", len(txs), err)
	}
}

func TestClosedChainSaysSo(t *testing.T) {
	c, err := NewChain(Options{Deterministic: true})
	if err != nil {
		t.Fatal(err)
	}
	at := head(t, c)
	if err := errors.Join(c.Close(), c.Close()); err != nil {
		t.Fatal(err)
	}
	for name, f := range map[string]func() error{
		"step":     c.Step,
		"head":     func() error { _, err := c.Head(t.Context()); return err },
		"account":  func() error { _, err := c.Account(t.Context(), at, someone(0, 1)); return err },
		"config":   func() error { _, err := c.Config(t.Context(), at); return err },
		"fund":     func() error { return c.Fund(someone(0, 1), tons(1), nil) },
		"send":     func() error { return c.Send(t.Context(), anExternal(t, someone(0, 1), 1)) },
		"wait":     func() error { return c.Wait(t.Context(), 99) },
		"snapshot": func() error { _, err := c.Snapshot("x"); return err },
		"restore":  func() error { return c.Restore("x") },
		"fork":     func() error { _, err := c.Fork(); return err },
		"at":       func() error { _, err := c.At(1); return err },
		"search":   func() error { _, err := c.Search(-1, 1, func(blocks.Header) bool { return true }); return err },
	} {
		if err := f(); !errors.Is(err, errClosed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestControlIsChecked(t *testing.T) {
	c := newTest(t)
	lib := cell.BeginCell().EndCell()
	for range maxLibraries {
		if err := c.PublishLibrary(lib); err != nil {
			t.Fatal(err)
		}
	}
	for range maxMarks {
		if _, err := c.Snapshot(strings.Repeat("x", maxMarkName)); err != nil {
			t.Fatal(err)
		}
	}
	for name, f := range map[string]func() error{
		"validators by hand": func() error { return c.SetConfig(chain.ParamValidators, lib) },
		"no parameter":       func() error { return c.SetConfig(20, nil) },
		"libraries":          func() error { return c.PublishLibrary(lib) },
		"no library":         func() error { return c.PublishLibrary(nil) },
		"name":               func() error { _, err := c.Snapshot(""); return err },
		"long name":          func() error { _, err := c.Snapshot(strings.Repeat("x", 65)); return err },
		"no source": func() error {
			return c.SendInternal(&tlb.InternalMessage{IHRDisabled: true, DstAddr: someone(0, 1), Body: lib})
		},
		"no destination": func() error {
			return c.SendInternal(&tlb.InternalMessage{IHRDisabled: true, SrcAddr: someone(0, 1), Body: lib})
		},
		"far future":    func() error { return c.SetTime(time.Unix(1<<33, 0)) },
		"no such block": func() error { _, err := c.At(99); return err },
	} {
		if err := f(); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := c.Past(t.Context(), someone(0, 1), chain.Cursor{LT: 5, Hash: chain.Hash{1}}, 3); !errors.Is(err, chain.ErrMissing) {
		t.Errorf("a transaction that is not there: %v", err)
	}
}
