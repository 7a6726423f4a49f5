package local

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"math/big"
	"testing"

	"github.com/xssnick/tonutils-go/address"
	"github.com/xssnick/tonutils-go/tvm"
	"github.com/xssnick/tonutils-go/tvm/cell"

	"cocoon/contracts/chain"
	"cocoon/contracts/chain/local/blocks"
	"cocoon/contracts/chain/machine"
	"cocoon/tests/golden"
)

// recorded is a list of transactions that two independent executors agree on.
type recorded struct {
	Now    uint32
	Config struct {
		RootHash string `json:"root_hash"`
	}
	Rows []struct {
		Addr    string `json:"addr"`
		In      string `json:"in"`
		LT      uint64 `json:"lt"`
		TxHash  string `json:"txhash"`
		AccHash string `json:"acchash"`
		Gas     int64  `json:"gas"`
		Exit    int64  `json:"exit"`
		Out     int    `json:"out"`
	}
}

// TestRecordedTransactionsHaveEqualHashes runs each of them in a block of its own: accounts go through state, Merkle
// update and storage statistics as they do on the chain.
func TestRecordedTransactionsHaveEqualHashes(t *testing.T) {
	var rec recorded
	golden.JSON(t, "contracts/executor_sample.json", &rec)
	root, err := cell.FromBOC(golden.Vector(t, "contracts/config.boc.gz"))
	if err != nil {
		t.Fatal(err)
	}
	if got := hex.EncodeToString(root.Hash()); got != rec.Config.RootHash || len(rec.Rows) == 0 {
		t.Fatalf("configuration %s, want %s; %d rows", got, rec.Config.RootHash, len(rec.Rows))
	}
	config, err := machine.Prepare(chain.NewConfig(root))
	if err != nil {
		t.Fatal(err)
	}
	state, err := zeroState(blocks.Basechain, rec.Now, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	stats := map[account]*cell.Cell{}
	for i, row := range rec.Rows {
		ctx, err := config.NewBlockContext(tvm.BlockOptions{Now: rec.Now, BlockLT: int64(row.LT), RandSeed: make([]byte, 32)})
		if err != nil {
			t.Fatal(err)
		}
		l, err := newLane(blocks.Basechain, state, ctx, row.LT-1)
		if err != nil {
			t.Fatal(err)
		}
		l.left, l.stats = 1, stats
		raw, err := base64.StdEncoding.DecodeString(row.In)
		if err != nil {
			t.Fatal(err)
		}
		msg, err := cell.FromBOC(raw)
		if err != nil {
			t.Fatal(err)
		}
		addr := address.MustParseRawAddr(row.Addr)
		res, err := l.run(addr, msg)
		if err != nil {
			t.Fatalf("row %d: %v", i, err)
		}
		if got := hex.EncodeToString(res.TransactionCell.Hash()); got != row.TxHash {
			t.Errorf("row %d: transaction %s, want %s", i, got, row.TxHash)
		}
		if got := hex.EncodeToString(res.NextAccount.ShardAccount().Account.Hash()); got != row.AccHash {
			t.Errorf("row %d: account %s, want %s", i, got, row.AccHash)
		}
		if res.GasUsed != row.Gas || res.ExitCode != row.Exit || len(res.OutMessages) != row.Out {
			t.Errorf("row %d: gas %d, exit %d, %d messages; want %d, %d, %d", i, res.GasUsed, res.ExitCode, len(res.OutMessages), row.Gas, row.Exit, row.Out)
		}
		l.fresh = nil // the recording delivers its messages itself
		stats[account(addr.Data())] = l.touched[account(addr.Data())].stat
		state = stateAfter(t, l, state, rec.Now)
	}
}

// stateAfter seals a lane into the next state. The money of undelivered messages is lost, so no flow is checked.
func stateAfter(tb testing.TB, l *lane, before *cell.Cell, now uint32) *cell.Cell {
	tb.Helper()
	s, err := l.seal(new(big.Int))
	if err != nil {
		tb.Fatal(err)
	}
	queue, err := blocks.QueueInfo(s.queue, nil)
	if err != nil {
		tb.Fatal(err)
	}
	next, err := blocks.State{
		Workchain: l.workchain, Seqno: l.old.Seqno + 1, Time: now, LT: l.lt, Queue: queue, Accounts: s.accounts,
		Balance: s.balance, ValidatorFees: new(big.Int),
	}.Cell()
	if err != nil {
		tb.Fatal(err)
	}
	_, clean, err := l.update(before, next)
	if err != nil {
		tb.Fatal(err)
	}
	if !bytes.Equal(clean.Hash(), next.Hash()) {
		tb.Fatal("the update leads elsewhere")
	}
	return clean
}
