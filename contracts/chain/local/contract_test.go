package local

import (
	"context"
	"errors"
	"math/big"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/xssnick/tonutils-go/address"
	"github.com/xssnick/tonutils-go/tlb"
	"github.com/xssnick/tonutils-go/tvm/cell"

	"cocoon/contracts/chain"
	"cocoon/contracts/chain/local/blocks"
)

// Small contracts in assembled form (opcodes of the virtual machine's instruction set).
const (
	// counter: c4 += 1 for every run, whatever caused it; a get method returns it too.
	//   PUSHCTR c4; CTOS; 64 LDU; ENDS; INC; NEWC; 64 STU; ENDC; POPCTR c4
	counterCode = "ED44D0D33FD1A4C8CB3FC9ED54"
	// acceptAll: ACCEPT, and the counter.
	acceptCode = "F800" + counterCode
)

func code(tb testing.TB, hex string) *cell.Cell {
	tb.Helper()
	b := cell.BeginCell()
	raw := make([]byte, 0, len(hex)/2)
	for i := 0; i < len(hex); i += 2 {
		v, ok := new(big.Int).SetString(hex[i:i+2], 16)
		if !ok {
			tb.Fatalf("code %q", hex)
		}
		raw = append(raw, byte(v.Uint64()))
	}
	return b.MustStoreSlice(raw, uint(len(raw))*8).EndCell()
}

func zeroCounter() *cell.Cell { return cell.BeginCell().MustStoreUInt(0, 64).EndCell() }

// deploy puts a contract on the chain with some money.
func deploy(tb testing.TB, c *Chain, workchain int8, init *tlb.StateInit, amount *big.Int) *address.Address {
	tb.Helper()
	addr := init.CalcAddress(int(workchain))
	if err := c.Pay(&tlb.InternalMessage{
		IHRDisabled: true, DstAddr: addr, Amount: tlb.FromNanoTON(amount), StateInit: init, Body: cell.BeginCell().EndCell(),
	}); err != nil {
		tb.Fatal(err)
	}
	step(tb, c, 1)
	return addr
}

func counted(tb testing.TB, c *Chain, addr *address.Address) uint64 {
	tb.Helper()
	a := stateOf(tb, c, addr)
	if a.Status != chain.Active {
		tb.Fatalf("%s is %s", addr, a.Status)
	}
	s, err := a.Data.BeginParse()
	if err != nil {
		tb.Fatal(err)
	}
	n, err := s.LoadUInt(64)
	if err != nil {
		tb.Fatal(err)
	}
	return n
}

func anExternal(tb testing.TB, to *address.Address, nonce uint64) *cell.Cell {
	tb.Helper()
	c, err := tlb.ToCell(&tlb.ExternalMessage{DstAddr: to, Body: cell.BeginCell().MustStoreUInt(nonce, 64).EndCell()})
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

func TestContractsRunInBothWorkchains(t *testing.T) {
	for _, version := range []uint32{12, 14, 15} {
		c := newTest(t, func(o *Options) { o.GlobalVersion = version })
		for _, wc := range []int8{0, -1} {
			addr := deploy(t, c, wc, &tlb.StateInit{Code: code(t, acceptCode), Data: zeroCounter()}, tons(10))
			if got := counted(t, c, addr); got != 1 {
				t.Errorf("version %d, workchain %d: %d runs after deploying", version, wc, got)
			}
			if err := c.Send(t.Context(), anExternal(t, addr, 1)); err != nil {
				t.Fatal(err)
			}
			step(t, c, 1)
			if got := counted(t, c, addr); got != 2 {
				t.Errorf("version %d, workchain %d: %d runs after an external message", version, wc, got)
			}
		}
	}
}

func TestSpecialAccountsTickAndTock(t *testing.T) {
	special := chain.Hash{1, 2, 3}
	c := newTest(t, func(o *Options) {
		o.Special = []chain.Hash{special, {4}}
		o.Genesis = []GenesisAccount{{
			Workchain: -1, Address: &special, Code: code(t, counterCode), Data: zeroCounter(), Balance: tons(100), Tick: true, Tock: true,
		}}
	})
	addr := address.NewAddress(0, 0xff, special[:])
	before := counted(t, c, addr)
	step(t, c, 5)
	if got := counted(t, c, addr); got != before+10 {
		t.Errorf("%d runs in 5 blocks, want 10", got-before)
	}
	n := 0
	for tx, err := range c.Transactions(t.Context(), addr, chain.Cursor{}) {
		if err != nil {
			t.Fatal(err)
		}
		if tx.In() != nil {
			t.Error("a tick with a message")
		}
		if code, ran := tx.Exit(); !ran || code != 0 {
			t.Errorf("exit %d, ran %v", code, ran)
		}
		if n++; n == 12 {
			break
		}
	}
}

func TestMessagesCrossWorkchainsBothWays(t *testing.T) {
	c := newTest(t)
	counter := &tlb.StateInit{Code: code(t, counterCode), Data: zeroCounter()}
	master := deploy(t, c, -1, counter, tons(5))
	base := deploy(t, c, 0, counter, tons(5))
	// A message from a masterchain account waits in the masterchain's queue for the next basechain block.
	if err := c.SendInternal(&tlb.InternalMessage{IHRDisabled: true, SrcAddr: base, DstAddr: master, Amount: tlb.MustFromTON("1"), Body: cell.BeginCell().EndCell()}); err != nil {
		t.Fatal(err)
	}
	step(t, c, 1)
	if got := counted(t, c, master); got != 2 {
		t.Errorf("the masterchain's account ran %d times", got)
	}
	bounce := &tlb.InternalMessage{
		IHRDisabled: true, Bounce: true, SrcAddr: base, DstAddr: someone(-1, 77), Amount: tlb.MustFromTON("1"), Body: cell.BeginCell().EndCell(),
	}
	if err := c.SendInternal(bounce); err != nil {
		t.Fatal(err)
	}
	step(t, c, 1) // bounces in the masterchain
	if q, _, err := readQueue(queueOf(t, c, blocks.Masterchain)); err != nil || len(q) != 1 {
		t.Fatalf("%d messages wait for the basechain, %v", len(q), err)
	}
	step(t, c, 1)
	if got := counted(t, c, base); got != 2 {
		t.Errorf("the basechain's account ran %d times: the bounce did not arrive", got)
	}
	step(t, c, 1)
	if q, _, err := readQueue(queueOf(t, c, blocks.Masterchain)); err != nil || len(q) != 0 {
		t.Errorf("%d delivered messages still wait, %v", len(q), err)
	}
}

func TestMempoolRules(t *testing.T) {
	c := newTest(t, func(o *Options) { o.MaxPerAccount, o.MessageTTL = 3, 5*time.Second })
	refuses := deploy(t, c, 0, &tlb.StateInit{Code: code(t, counterCode), Data: zeroCounter()}, tons(5))
	accepts := deploy(t, c, 0, &tlb.StateInit{Code: code(t, acceptCode), Data: zeroCounter()}, tons(5))
	internal, err := tlb.ToCell(&tlb.InternalMessage{IHRDisabled: true, DstAddr: accepts, Amount: tlb.MustFromTON("1"), Body: cell.BeginCell().EndCell()})
	if err != nil {
		t.Fatal(err)
	}
	for name, x := range map[string]struct {
		msg  *cell.Cell
		want error
	}{
		"contract refuses": {anExternal(t, refuses, 1), chain.ErrNotAccepted},
		"no contract":      {anExternal(t, someone(0, 1), 1), chain.ErrNotAccepted},
		"no message":       {cell.BeginCell().EndCell(), chain.ErrMalformed},
		"internal":         {internal, chain.ErrMalformed},
		"nothing":          {nil, chain.ErrMalformed},
		"other workchain":  {anExternal(t, address.NewAddress(0, 5, make([]byte, 32)), 1), chain.ErrMalformed},
		"too big":          {anExternal(t, accepts, 1), nil},
	} {
		if name == "too big" {
			x.msg, x.want = tooBig(t, accepts), chain.ErrMalformed
		}
		if err := c.Send(t.Context(), x.msg); !errors.Is(err, x.want) {
			t.Errorf("%s: got %v, want %v", name, err, x.want)
		}
	}
	for i := range uint64(3) {
		for range 2 { // the same message again is no other message
			if err := c.Send(t.Context(), anExternal(t, accepts, i)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := c.Send(t.Context(), anExternal(t, accepts, 9)); !errors.Is(err, chain.ErrBusy) {
		t.Errorf("a fourth message: %v", err)
	}
	step(t, c, 1)
	if got := counted(t, c, accepts); got != 4 {
		t.Errorf("%d runs, want 4", got)
	}
	c.DelayShard(10)
	if err := c.Send(t.Context(), anExternal(t, accepts, 10)); err != nil {
		t.Fatal(err)
	}
	step(t, c, 12)
	if got := counted(t, c, accepts); got != 4 || c.MempoolSize() != 0 {
		t.Errorf("a message lived longer than its time: %d runs, %d wait", got, c.MempoolSize())
	}
}

func tooBig(tb testing.TB, to *address.Address) *cell.Cell {
	tb.Helper()
	body := cell.BeginCell().EndCell()
	for i := range 600 {
		body = cell.BeginCell().MustStoreUInt(uint64(i), 64).MustStoreSlice(make([]byte, 110), 880).MustStoreRef(body).EndCell()
	}
	c, err := tlb.ToCell(&tlb.ExternalMessage{DstAddr: to, Body: body})
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

func TestExternalsAreDroppedDuplicatedReordered(t *testing.T) {
	for name, x := range map[string]struct {
		mode Externals
		runs uint64
	}{"deliver": {Deliver, 3}, "drop": {Drop, 1}, "duplicate": {Duplicate, 5}, "reorder": {Reorder, 3}} {
		t.Run(name, func(t *testing.T) {
			c := newTest(t)
			addr := deploy(t, c, 0, &tlb.StateInit{Code: code(t, acceptCode), Data: zeroCounter()}, tons(5))
			mode, err := ParseExternals(name)
			if err != nil || mode != x.mode || mode.String() != name {
				t.Fatalf("%v, %v", mode, err)
			}
			c.SetExternals(mode)
			for i := range uint64(2) {
				if err := c.Send(t.Context(), anExternal(t, addr, i)); err != nil {
					t.Fatal(err)
				}
			}
			if mode == Reorder && c.pool.waiting[0].hash != chain.Hash(anExternal(t, addr, 1).Hash()) {
				t.Error("the newest message is not the first")
			}
			step(t, c, 1)
			if got := counted(t, c, addr); got != x.runs {
				t.Errorf("%d runs, want %d", got, x.runs)
			}
		})
	}
	if _, err := ParseExternals("eat"); err == nil {
		t.Error("read a word that is none")
	}
}

func TestLibraryCellsResolve(t *testing.T) {
	c := newTest(t)
	lib := code(t, acceptCode)
	ref, err := libraryCell(lib)
	if err != nil {
		t.Fatal(err)
	}
	init := &tlb.StateInit{Code: ref, Data: zeroCounter()}
	addr := deploy(t, c, 0, init, tons(5))
	if got := counted(t, c, addr); got != 0 {
		t.Fatalf("ran %d times without its code", got)
	}
	if err := c.PublishLibrary(lib); err != nil {
		t.Fatal(err)
	}
	step(t, c, 1)
	fund(t, c, addr, tons(1))
	step(t, c, 1)
	if got := counted(t, c, addr); got != 1 {
		t.Errorf("ran %d times with its code published", got)
	}
}

// libraryCell is the special cell that stands for a public library.
func libraryCell(lib *cell.Cell) (*cell.Cell, error) {
	const libraryType = 2
	b := cell.BeginCell()
	if err := b.StoreUInt(libraryType, 8); err != nil {
		return nil, err
	}
	if err := b.StoreSlice(lib.Hash(), 256); err != nil {
		return nil, err
	}
	return b.EndCellSpecial(true)
}

func TestDeletedAccountsLeaveTheState(t *testing.T) {
	c := newTest(t)
	addr := someone(0, 1)
	fund(t, c, addr, big.NewInt(1000))
	step(t, c, 1)
	if err := c.Travel(100 * 365 * 24 * time.Hour / 4); err != nil {
		t.Fatal(err)
	}
	fund(t, c, addr, big.NewInt(1)) // storage fees eat it, and the empty account goes
	step(t, c, 1)
	if a := stateOf(t, c, addr); a.Status != chain.Absent {
		t.Errorf("it is %s with %s", a.Status, a.Balance)
	}
}

// note queues a numbered message of few nanoTON.
func note(tb testing.TB, c *Chain, to *address.Address, n uint64, amount int64) {
	tb.Helper()
	if err := c.SendInternal(&tlb.InternalMessage{
		IHRDisabled: true, SrcAddr: someone(0, 2), DstAddr: to, Amount: tlb.FromNanoTON(big.NewInt(amount)),
		Body: cell.BeginCell().MustStoreUInt(n, 64).EndCell(), CreatedLT: n,
	}); err != nil {
		tb.Fatal(err)
	}
}

// read takes what a stream has.
func read(tb testing.TB, c *Chain, to *address.Address, from chain.Cursor, most int) (int, error) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), time.Minute)
	defer cancel()
	n := 0
	for _, err := range c.Transactions(ctx, to, from) {
		if err != nil {
			return n, err
		}
		if n++; n == most {
			break
		}
	}
	return n, nil
}

// An account may die and live again. Within a block its transactions still have times of their own and one history;
// later, a follower is told that the history does not lead back.
func TestAccountIsDeletedAndMadeAgain(t *testing.T) {
	c := newTest(t)
	to := someone(0, 1)
	note(t, c, to, 1, 1)
	step(t, c, 1)
	first := stateOf(t, c, to).Last
	note(t, c, to, 2, 0) // a second's rent takes the one nanoTON, and the account goes
	note(t, c, to, 3, 1)
	step(t, c, 1)
	if a := stateOf(t, c, to); a.Balance.Int64() != 1 {
		t.Fatalf("balance %s", a.Balance)
	}
	root, err := c.head.Shard.Root()
	if err != nil {
		t.Fatal(err)
	}
	if refs, _, err := blocks.Transactions(root); err != nil || len(refs) != 2 || refs[0].LT >= refs[1].LT {
		t.Errorf("%v, %v", refs, err)
	}
	if n, err := read(t, c, to, first, 2); n != 2 || err != nil {
		t.Errorf("%d transactions after the first, %v", n, err)
	}
	note(t, c, to, 4, 0)
	step(t, c, 1)
	if a := stateOf(t, c, to); a.Status != chain.Absent {
		t.Fatalf("it is %s", a.Status)
	}
	if _, err := read(t, c, to, first, 1); !errors.Is(err, chain.ErrDeleted) {
		t.Errorf("following a deleted account: %v", err)
	}
	note(t, c, to, 5, 5)
	step(t, c, 1)
	if _, err := read(t, c, to, first, 1); !errors.Is(err, chain.ErrDeleted) {
		t.Errorf("following an account made again: %v", err)
	}
}

// refCounter is the counter for data with references, which it keeps:
//
//	PUSHCTR c4; CTOS; 64 LDU; SWAP; INC; NEWC; 64 STU; STSLICE; ENDC; POPCTR c4
const refCounter = "F800ED44D0D33F01A4C8CB3FCEC9ED54"

// TestStorageStatisticsSurviveARestart: an account of many cells carries a dictionary of them from transaction to
// transaction, and its hash in the state. Without the process that carried it, it is counted again, to the same result.
func TestStorageStatisticsSurviveARestart(t *testing.T) {
	tree := cell.BeginCell().EndCell()
	for i := range uint64(40) {
		tree = cell.BeginCell().MustStoreUInt(i, 32).MustStoreRef(tree).EndCell()
	}
	init := &tlb.StateInit{Code: code(t, refCounter), Data: cell.BeginCell().MustStoreUInt(0, 64).MustStoreRef(tree).EndCell()}
	dir := t.TempDir()
	var runs [2]goldenHashes
	for i := range runs {
		o := func(o *Options) { o.GlobalVersion, o.Volatile = 14, true }
		if i == 1 {
			o = func(o *Options) { o.GlobalVersion, o.Volatile, o.Dir = 14, true, dir }
		}
		c := newTest(t, o)
		addr := deploy(t, c, 0, init, tons(5))
		for n := range uint64(6) {
			if n == 3 && i == 1 {
				if err := c.Close(); err != nil {
					t.Fatal(err)
				}
				c = newTest(t, o)
			}
			if err := c.Send(t.Context(), anExternal(t, addr, n)); err != nil {
				t.Fatal(err)
			}
			step(t, c, 1)
		}
		if got := counted(t, c, addr); got != 7 {
			t.Fatalf("%d runs", got)
		}
		var st tlb.AccountState
		if err := tlb.Parse(&st, stateOf(t, c, addr).State); err != nil {
			t.Fatal(err)
		}
		if _, ok := st.StorageInfo.StorageExtra.(tlb.StorageExtraInfo); !ok {
			t.Errorf("the state has no hash of its cells: %+v", st.StorageInfo)
		}
		runs[i] = goldenOf(t, c)
	}
	if d := cmp.Diff(runs[0], runs[1]); d != "" {
		t.Errorf("(-uninterrupted +restarted):\n%s", d)
	}
}
