package chain

import (
	"errors"
	"math/big"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/xssnick/tonutils-go/address"
	"github.com/xssnick/tonutils-go/tlb"
	"github.com/xssnick/tonutils-go/tvm/cell"

	"cocoon/tests/golden"
)

// mainConfig is a configuration that the main network's tools use.
func mainConfig(tb testing.TB) *Config {
	tb.Helper()
	root, err := cell.FromBOC(golden.Vector(tb, "contracts/config.boc.gz"))
	if err != nil {
		tb.Fatal(err)
	}
	return NewConfig(root)
}

// running is an active account with the given code, as of a block.
func running(tb testing.TB, codeBits string) *Account {
	tb.Helper()
	raw := golden.Hex(tb, codeBits)
	a := AbsentAccount(Block{Seqno: 7, Time: time.Unix(1_784_000_123, 0), EndLT: 77}, address.NewAddress(0, 0, make([]byte, 32)))
	a.Status, a.Balance, a.DuePayment = Active, big.NewInt(5_000), big.NewInt(3)
	a.Code = cell.BeginCell().MustStoreSlice(raw, uint(len(raw))*8).EndCell()
	a.Data = cell.BeginCell().MustStoreUInt(42, 64).EndCell()
	return a
}

// Small methods in assembled form; each begins by dropping the method's number.
const (
	dropID     = "30"   // DROP
	now        = "F823" // NOW
	blockLT    = "F824" // BLOCKLT
	balance    = "F827" // BALANCE
	myAddr     = "F828" // MYADDR
	configRoot = "F829" // CONFIGROOT
	myCode     = "F82A" // MYCODE
	duePayment = "F82F" // DUEPAYMENT
	throw55    = "F237" // THROW 55
	isVoid     = "F8F1" // no such instruction
)

// The environment of a get method is the block's: a client that recomputes what a liteserver answered must get the same.
func TestExecuteSeesTheBlocksEnvironment(t *testing.T) {
	config := mainConfig(t)
	compare := cmp.Options{
		cmp.Comparer(func(a, b *big.Int) bool { return a.Cmp(b) == 0 }),
		cmp.Comparer(func(a, b *cell.Cell) bool { return string(a.Hash()) == string(b.Hash()) }),
		cmp.Comparer(func(a, b *cell.Slice) bool { return string(a.MustToCell().Hash()) == string(b.MustToCell().Hash()) }),
	}
	addr := cell.BeginCell().MustStoreAddr(address.NewAddress(0, 0, make([]byte, 32))).ToSlice()
	for name, c := range map[string]struct {
		code string
		args []any
		want []any
	}{
		"time":         {dropID + now, nil, []any{big.NewInt(1_784_000_123)}},
		"logical time": {dropID + blockLT, nil, []any{big.NewInt(77)}},
		"balance":      {dropID + balance, nil, []any{[]any{big.NewInt(5_000), nil}}},
		"address":      {dropID + myAddr, nil, []any{addr}},
		"config":       {dropID + configRoot, nil, []any{config.Root()}},
		"code":         {dropID + myCode, nil, []any{running(t, dropID+myCode).Code}},
		"due payment":  {dropID + duePayment, nil, []any{big.NewInt(3)}},
		"arguments":    {dropID, []any{1, int64(2), uint64(3), big.NewInt(4), nil, []any{5, nil}}, []any{big.NewInt(1), big.NewInt(2), big.NewInt(3), big.NewInt(4), nil, []any{big.NewInt(5), nil}}},
		"an address":   {dropID, []any{address.NewAddress(0, 0, make([]byte, 32))}, []any{addr}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Execute(running(t, c.code), config, "test", c.args...)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(c.want, got, compare); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}

func TestExecuteRefuses(t *testing.T) {
	config := mainConfig(t)
	var exit *ExitError
	if _, err := Execute(running(t, throw55), config, "thrower"); !errors.As(err, &exit) || exit.Code != 55 || exit.Method != "thrower" {
		t.Errorf("a throw: %v", err)
	}
	if _, err := Execute(running(t, isVoid), config, "void"); !errors.As(err, &exit) || exit.Code != 6 {
		t.Errorf("an invalid instruction: %v", err)
	}
	if _, err := Execute(AbsentAccount(Block{}, address.NewAddress(0, 0, make([]byte, 32))), config, "x"); !errors.Is(err, ErrNotActive) {
		t.Errorf("an absent account: %v", err)
	}
	if _, err := Execute(running(t, dropID), config, "x", 1.5); err == nil {
		t.Error("an argument that is none")
	}
	if _, err := Execute(running(t, dropID), config, "x", make([]any, 300)...); err == nil {
		t.Error("300 arguments")
	}
	// PUSHINT 0; UNTIL with an empty body that never ends: c3 is bounded by gas.
	endless := running(t, "9170E8")
	endless.Code = cell.BeginCell().MustStoreSlice([]byte{0x71, 0x91, 0x70, 0xE6}, 32).EndCell()
	if _, err := Execute(endless, config, "endless"); !errors.As(err, &exit) {
		t.Errorf("a method without end: %v", err)
	}
}

func TestConfigNamesItsVersion(t *testing.T) {
	config := mainConfig(t)
	if v, caps, err := config.GlobalVersion(); err != nil || v != 12 || caps != 494 {
		t.Errorf("version %d, capabilities %d, %v", v, caps, err)
	}
	if err := config.RequireGlobalVersion(); err != nil {
		t.Error(err)
	}
	old := config.Root().AsDict(32).Copy()
	v := cell.BeginCell().MustStoreUInt(0xc4, 8).MustStoreUInt(11, 32).MustStoreUInt(0, 64).EndCell()
	if err := old.SetIntKey(big.NewInt(8), cell.BeginCell().MustStoreRef(v).EndCell()); err != nil {
		t.Fatal(err)
	}
	if err := NewConfig(old.AsCell()).RequireGlobalVersion(); !errors.Is(err, ErrGlobalVersion) {
		t.Errorf("version 11: %v", err)
	}
	for name, root := range map[string]*cell.Cell{"no cell": nil, "no dictionary": cell.BeginCell().EndCell()} {
		if _, err := NewConfig(root).Param(8); err == nil {
			t.Errorf("%s: a parameter", name)
		}
		if _, err := NewConfig(root).Prepared(); err == nil {
			t.Errorf("%s: prepared", name)
		}
	}
}

func TestParseAccountRefusesAnothersState(t *testing.T) {
	st := tlb.AccountState{
		IsValid: true, Address: address.NewAddress(0, 0, make([]byte, 32)),
		StorageInfo:    tlb.StorageInfo{StorageUsed: tlb.StorageUsed{CellsUsed: big.NewInt(1), BitsUsed: big.NewInt(1)}, StorageExtra: tlb.StorageExtraNone{}},
		AccountStorage: tlb.AccountStorage{Status: tlb.AccountStatusUninit, Balance: tlb.MustFromTON("2")},
	}
	c, err := tlb.ToCell(&st)
	if err != nil {
		t.Fatal(err)
	}
	if a, err := ParseAccount(Block{}, st.Address, c, Cursor{}); err != nil || a.Status != Uninit || a.Balance.Int64() != 2e9 {
		t.Errorf("%+v, %v", a, err)
	}
	if _, err := ParseAccount(Block{}, address.NewAddress(0, 0xff, make([]byte, 32)), c, Cursor{}); !errors.Is(err, ErrMalformed) {
		t.Errorf("for another address: %v", err)
	}
	if _, err := ParseAccount(Block{}, st.Address, nil, Cursor{}); !errors.Is(err, ErrMalformed) {
		t.Errorf("no cell: %v", err)
	}
	if Absent.String() != "absent" || Status(9).String() != "status 9" {
		t.Error("names of states")
	}
}

func TestOutboxKeepsWhatIsPending(t *testing.T) {
	for name, box := range map[string]Outbox{
		"memory": &MemoryOutbox{}, "file": FileOutbox{Path: filepath.Join(t.TempDir(), "outbox.json")},
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := box.Load(); err != nil || len(got) != 0 {
				t.Fatalf("%v, %v", got, err)
			}
			want := []Pending{{Account: "0:00", Seqno: 4, BodyHash: Hash{1}, ValidUntil: 9, Since: Cursor{LT: 3, Hash: Hash{2}}, Message: []byte{5}}}
			if err := box.Save(want); err != nil {
				t.Fatal(err)
			}
			got, err := box.Load()
			if d := cmp.Diff(want, got); err != nil || d != "" {
				t.Errorf("%v\n%s", err, d)
			}
		})
	}
	if err := (FileOutbox{Path: filepath.Join(t.TempDir(), "o")}).Save(make([]Pending, maxPending+1)); err == nil {
		t.Error("too many pending messages were saved")
	}
}

func FuzzParseTransaction(f *testing.F) {
	for _, n := range []uint64{0, 7, 0x7123, 1 << 60} {
		f.Add(cell.BeginCell().MustStoreUInt(n, 64).EndCell().ToBOC())
	}
	f.Add([]byte("te6ccgEBAQEAAgAAAA=="))
	f.Fuzz(func(t *testing.T, boc []byte) {
		c, err := cell.FromBOC(boc)
		if err != nil {
			return
		}
		tx, err := ParseTransaction(c)
		if err != nil {
			return
		}
		if tx.Hash != Hash(c.Hash()) || tx.Cursor().LT != tx.LT {
			t.Errorf("%+v", tx)
		}
		tx.Aborted()
		tx.Exit()
		tx.ActionCode()
		_, _ = tx.Out()
	})
}

func FuzzParseAccount(f *testing.F) {
	for _, n := range []uint64{0, 1, 1 << 63, 0xC000_0000_0000_0000, 0x8123_4567_89AB_CDEF} {
		f.Add(cell.BeginCell().MustStoreUInt(n, 64).EndCell().ToBOC())
	}
	addr := address.NewAddress(0, 0, make([]byte, 32))
	f.Fuzz(func(t *testing.T, boc []byte) {
		c, err := cell.FromBOC(boc)
		if err != nil {
			return
		}
		a, err := ParseAccount(Block{}, addr, c, Cursor{})
		if err == nil && (a.Balance == nil || a.DuePayment == nil || (a.Status != Active && (a.Code != nil || a.Data != nil))) {
			t.Errorf("%+v", a)
		}
	})
}

func FuzzConfig(f *testing.F) {
	for _, n := range []uint64{0, 8, 1 << 63, 0xC400_0000_0C00_0000, ^uint64(0)} {
		f.Add(cell.BeginCell().MustStoreUInt(n, 64).MustStoreRef(cell.BeginCell().EndCell()).EndCell().ToBOC())
	}
	f.Fuzz(func(t *testing.T, boc []byte) {
		c, err := cell.FromBOC(boc)
		if err != nil {
			return
		}
		config := NewConfig(c)
		if _, err := config.Prepared(); err == nil {
			if _, _, err := config.GlobalVersion(); err != nil {
				t.Errorf("prepared without a version: %v", err)
			}
		}
		_ = config.RequireGlobalVersion()
	})
}
