package machine

import (
	"errors"
	"math/big"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/xssnick/tonutils-go/address"
	"github.com/xssnick/tonutils-go/tvm/cell"

	"cocoon/contracts/chain"
	"cocoon/tests/golden"
)

// mainConfig is a configuration that the main network's tools use.
func mainConfig(tb testing.TB) *chain.Config {
	tb.Helper()
	root, err := cell.FromBOC(golden.Vector(tb, "contracts/config.boc.gz"))
	if err != nil {
		tb.Fatal(err)
	}
	return chain.NewConfig(root)
}

// running is an active account with the given code, as of a block.
func running(tb testing.TB, codeBits string) *chain.Account {
	tb.Helper()
	raw := golden.Hex(tb, codeBits)
	a := chain.AbsentAccount(chain.Block{Seqno: 7, Time: time.Unix(1_784_000_123, 0), EndLT: 77}, address.NewAddress(0, 0, make([]byte, 32)))
	a.Status, a.Balance, a.DuePayment = chain.Active, big.NewInt(5_000), big.NewInt(3)
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
	var exit *chain.ExitError
	if _, err := Execute(running(t, throw55), config, "thrower"); !errors.As(err, &exit) || exit.Code != 55 || exit.Method != "thrower" {
		t.Errorf("a throw: %v", err)
	}
	if _, err := Execute(running(t, isVoid), config, "void"); !errors.As(err, &exit) || exit.Code != 6 {
		t.Errorf("an invalid instruction: %v", err)
	}
	if _, err := Execute(chain.AbsentAccount(chain.Block{}, address.NewAddress(0, 0, make([]byte, 32))), config, "x"); !errors.Is(err, chain.ErrNotActive) {
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
	if err := chain.NewConfig(old.AsCell()).RequireGlobalVersion(); !errors.Is(err, chain.ErrGlobalVersion) {
		t.Errorf("version 11: %v", err)
	}
	for name, root := range map[string]*cell.Cell{"no cell": nil, "no dictionary": cell.BeginCell().EndCell()} {
		if _, err := chain.NewConfig(root).Param(8); err == nil {
			t.Errorf("%s: a parameter", name)
		}
		if _, err := Prepare(chain.NewConfig(root)); err == nil {
			t.Errorf("%s: prepared", name)
		}
	}
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
		config := chain.NewConfig(c)
		if _, err := Prepare(config); err == nil {
			if _, _, err := config.GlobalVersion(); err != nil {
				t.Errorf("prepared without a version: %v", err)
			}
		}
		_ = config.RequireGlobalVersion()
	})
}
