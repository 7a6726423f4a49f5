package contractstest_test

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"testing"

	"github.com/xssnick/tonutils-go/address"
	"github.com/xssnick/tonutils-go/tlb"
	"github.com/xssnick/tonutils-go/tvm"
	"github.com/xssnick/tonutils-go/tvm/cell"

	"cocoon/contracts/contractstest"
	"cocoon/tests/golden"
)

// TestRecordedTransactions: transactions that two independent executors agreed on give the same transaction hashes and
// account hashes here.
func TestRecordedTransactions(t *testing.T) {
	var recorded struct {
		Now  uint32
		Rows []struct {
			Addr, In, TxHash, AccHash string
			LT                        uint64
		}
	}
	golden.JSON(t, "contracts/executor_sample.json", &recorded)
	root, err := cell.FromBOC(golden.Vector(t, "contracts/config.boc.gz"))
	if err != nil {
		t.Fatal(err)
	}
	config, err := tvm.PrepareBlockchainConfig(root)
	if err != nil {
		t.Fatal(err)
	}
	type account struct {
		state *tvm.PreparedAccount
		stat  *cell.Cell
	}
	machine, accounts := tvm.NewTVM(), map[string]*account{}
	for i, r := range recorded.Rows {
		a := accounts[r.Addr]
		if a == nil {
			empty := &tlb.ShardAccount{Account: cell.BeginCell().MustStoreUInt(0, 1).EndCell(), LastTransHash: make([]byte, 32)}
			state, err := tvm.PrepareAccount(empty, address.MustParseRawAddr(r.Addr))
			if err != nil {
				t.Fatal(err)
			}
			a = &account{state: state}
			accounts[r.Addr] = a
		}
		raw, err := base64.StdEncoding.DecodeString(r.In)
		if err != nil {
			t.Fatal(err)
		}
		in, err := cell.FromBOC(raw)
		if err != nil {
			t.Fatal(err)
		}
		msg, err := tvm.PrepareMessage(in)
		if err != nil {
			t.Fatal(err)
		}
		block, err := config.NewBlockContext(tvm.BlockOptions{Now: recorded.Now, BlockLT: int64(r.LT), RandSeed: make([]byte, 32)})
		if err != nil {
			t.Fatal(err)
		}
		out, err := machine.EmulateTransaction(block, a.state, msg, tvm.TransactionOptions{AccountStorageStat: a.stat, LogicalTime: int64(r.LT)})
		if err != nil {
			t.Fatal(err)
		}
		a.state, a.stat = out.NextAccount, out.AccountStorageStat
		same(t, fmt.Sprintf("transaction hash of row %d", i), hex.EncodeToString(out.TransactionCell.Hash()), r.TxHash)
		same(t, "account hash", hex.EncodeToString(a.state.ShardAccount().Account.Hash()), r.AccHash)
	}
	same(t, "number of rows", len(recorded.Rows), 13)
}

// TestConfigPrices: our small configuration has the prices of the one that the vectors were made with.
func TestConfigPrices(t *testing.T) {
	root, err := cell.FromBOC(golden.Vector(t, "contracts/config.boc.gz"))
	if err != nil {
		t.Fatal(err)
	}
	ours, err := contractstest.Config(12)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []uint64{8, 18, 21, 25} {
		key := cell.BeginCell().MustStoreUInt(id, 32).EndCell()
		want, err := root.AsDict(32).LoadValue(key)
		if err != nil {
			t.Fatal(err)
		}
		got, err := ours.AsDict(32).LoadValue(key)
		if err != nil {
			t.Fatal(err)
		}
		if w, g := want.MustLoadRef().MustToCell(), got.MustLoadRef().MustToCell(); w.HashKey() != g.HashKey() {
			t.Errorf("parameter %d is\n%s\nwant\n%s", id, g.Dump(), w.Dump())
		}
	}
}
