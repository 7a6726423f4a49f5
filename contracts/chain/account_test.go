package chain

import (
	"errors"
	"math/big"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/xssnick/tonutils-go/address"
	"github.com/xssnick/tonutils-go/tlb"
	"github.com/xssnick/tonutils-go/tvm/cell"
)

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
