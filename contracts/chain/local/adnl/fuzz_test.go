package adnl

import (
	"bytes"
	"testing"
	"time"

	"github.com/xssnick/tonutils-go/tl"
	"github.com/xssnick/tonutils-go/ton"

	"cocoon/contracts/chain/local"
)

// FuzzQuery feeds bytes as queries. Every answer must be one that can be sent, and no query may break the server.
func FuzzQuery(f *testing.F) {
	n := newNetwork(f, func(o *local.Options) { o.Deterministic = true })
	n.steps(f, 3)
	tick, err := n.At(n.Newest())
	if err != nil {
		f.Fatal(err)
	}
	id, shard := tick.Master.ID(), tick.Shard.ID()
	faucet := ton.AccountID{ID: n.Faucet().Data()}
	for _, q := range []any{
		ton.GetMasterchainInf{},
		ton.GetMasterchainInfoExt{},
		ton.GetVersion{},
		ton.GetTime{},
		ton.GetBlockData{ID: id},
		ton.GetState{ID: id},
		ton.GetBlockHeader{ID: shard},
		ton.LookupBlock{Mode: 1, ID: &ton.BlockInfoShort{Workchain: -1, Shard: id.Shard, Seqno: 2}},
		ton.GetAllShardsInfo{ID: id},
		ton.GetShardInfo{ID: id},
		ton.GetShardBlockProof{ID: shard},
		ton.GetBlockProof{Mode: 1, KnownBlock: id, TargetBlock: id},
		ton.GetAccountState{ID: id, Account: faucet},
		ton.GetAccountStatePruned{ID: id, Account: faucet},
		ton.RunSmcMethod{Mode: 7, ID: id, Account: faucet, MethodID: 85143},
		ton.SendMessage{Body: []byte{1, 2, 3}},
		ton.GetTransactions{Limit: 5, AccID: &faucet, LT: 1, TxHash: make([]byte, 32)},
		ton.GetOneTransaction{ID: shard, AccID: &faucet, LT: 1},
		ton.ListBlockTransactions{ID: shard, Mode: 39, Count: 10, WantProof: &ton.True{}},
		ton.GetConfigAll{BlockID: id},
		ton.GetConfigParams{BlockID: id, Params: []int32{8}},
		ton.GetLibraries{LibraryList: [][]byte{make([]byte, 32)}},
		ton.GetOutMsgQueueSizes{},
		ton.GetBlockOutMsgQueueSize{ID: id},
		ton.NonfinalGetValidatorGroups{},
		ton.NonfinalGetPendingShardBlocks{},
	} {
		raw, err := tl.Serialize(q, true)
		if err != nil {
			f.Fatalf("%T: %v", q, err)
		}
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var q tl.Serializable
		if _, err := tl.Parse(&q, raw, true); err != nil {
			return
		}
		if w, ok := q.(ton.WaitMasterchainSeqno); ok && time.Duration(w.Timeout) > 0 {
			return // a wait alone is no query
		}
		resp := n.server.answer(q)
		if e, ok := resp.(ton.LSError); ok && e.Text == "internal error" {
			t.Fatalf("%T broke the server", q)
		}
		if _, err := tl.Serialize(resp, true); err != nil {
			t.Errorf("the answer to %T cannot be sent: %v", q, err)
		}
	})
}

// Every query of the protocol is answered: with what it asks for, or with a reason that is not "unknown query".
func TestEveryQueryIsKnown(t *testing.T) {
	n := newNetwork(t, func(o *local.Options) { o.Deterministic = true })
	n.steps(t, 3)
	tick, err := n.At(n.Newest())
	if err != nil {
		t.Fatal(err)
	}
	id, shard := tick.Master.ID(), tick.Shard.ID()
	zero, err := n.BlockAt(-1, 0, false)
	if err != nil {
		t.Fatal(err)
	}
	faucet := ton.AccountID{ID: n.Faucet().Data()}
	for name, c := range map[string]struct {
		query any
		fails bool
	}{
		"info":               {ton.GetMasterchainInfoExt{}, false},
		"version":            {ton.GetVersion{}, false},
		"zero state":         {ton.GetState{ID: zero.ID()}, false},
		"state of a block":   {ton.GetState{ID: id}, true},
		"block of the zero":  {ton.GetBlockData{ID: zero.ID()}, true},
		"shard":              {ton.GetShardInfo{ID: id}, false},
		"shard proof":        {ton.GetShardBlockProof{ID: shard}, false},
		"proof from zero":    {ton.GetBlockProof{Mode: 1, KnownBlock: id, TargetBlock: zero.ID()}, true},
		"pruned account":     {ton.GetAccountStatePruned{ID: id, Account: faucet}, false},
		"shard account":      {ton.GetAccountState{ID: shard, Account: faucet}, false},
		"wrong workchain":    {ton.GetAccountState{ID: shard, Account: ton.AccountID{Workchain: -1, ID: faucet.ID}}, true},
		"garbage message":    {ton.SendMessage{Body: []byte{1}}, true},
		"list with contents": {ton.ListBlockTransactionsExt{ID: shard, Mode: 32, Count: 10}, false},
		"queue sizes":        {ton.GetOutMsgQueueSizes{}, false},
		"queue size":         {ton.GetBlockOutMsgQueueSize{ID: id}, false},
		"validator groups":   {ton.NonfinalGetValidatorGroups{}, false},
		"pending blocks":     {ton.NonfinalGetPendingShardBlocks{}, false},
		"libraries, proven":  {ton.GetLibrariesWithProof{ID: id, LibraryList: [][]byte{make([]byte, 32)}}, false},
		"no such block":      {ton.GetBlockHeader{ID: &ton.BlockIDExt{Workchain: -1, Shard: id.Shard, SeqNo: 999, RootHash: make([]byte, 32), FileHash: make([]byte, 32)}}, true},
		"another's protocol": {ton.GetValidatorStats{ID: id}, true},
	} {
		t.Run(name, func(t *testing.T) {
			resp := n.server.answer(c.query)
			e, failed := resp.(ton.LSError)
			if failed != c.fails || e.Code == codeInternal {
				t.Errorf("got %T %+v", resp, e)
			}
			if raw, err := tl.Serialize(resp, true); err != nil || bytes.Equal(raw, nil) {
				t.Errorf("it cannot be sent: %v", err)
			}
		})
	}
}
