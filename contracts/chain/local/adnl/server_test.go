package adnl

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"math/big"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/tonkeeper/tongo/config"
	"github.com/tonkeeper/tongo/liteapi"
	tongotlb "github.com/tonkeeper/tongo/tlb"
	tongo "github.com/tonkeeper/tongo/ton"
	"github.com/xssnick/tonutils-go/address"
	"github.com/xssnick/tonutils-go/liteclient"
	"github.com/xssnick/tonutils-go/tlb"
	"github.com/xssnick/tonutils-go/ton"
	"github.com/xssnick/tonutils-go/ton/wallet"
	"github.com/xssnick/tonutils-go/tvm/cell"
	"go.uber.org/goleak"

	"cocoon/contracts/chain/local"
	"cocoon/contracts/chain/local/blocks"
)

func TestMain(m *testing.M) {
	// The second client library keeps its connections for the life of the process.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/tonkeeper/tongo/liteclient.(*Connection).reader"),
		goleak.IgnoreAnyFunction("github.com/tonkeeper/tongo/liteclient.(*Connection).ping"),
		goleak.IgnoreAnyFunction("github.com/tonkeeper/tongo/liteclient.(*Connection).reconnect"), // seconds after the server's end
		goleak.IgnoreAnyFunction("github.com/tonkeeper/tongo/liteclient.(*Client).reader"),
		goleak.IgnoreAnyFunction("github.com/tonkeeper/tongo/liteapi/pool.(*ConnPool).Run"),
		goleak.IgnoreAnyFunction("github.com/tonkeeper/tongo/liteapi/pool.(*connection).Run"))
}

// network is a chain on the wall clock with its liteserver.
type network struct {
	*local.Chain
	server *Server
	config []byte
}

func newNetwork(tb testing.TB, change ...func(*local.Options)) *network {
	tb.Helper()
	var o local.Options
	for _, f := range change {
		f(&o)
	}
	c, err := local.NewChain(o)
	if err != nil {
		tb.Fatal(err)
	}
	s, err := Start(tb.Context(), c, Options{Listen: "127.0.0.1:0"})
	if err != nil {
		tb.Fatal(err)
	}
	raw, err := GlobalConfig(c, Endpoint{s.Addr(), s.Key()})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Error(err)
		}
		if err := c.Close(); err != nil {
			tb.Error(err)
		}
	})
	return &network{Chain: c, server: s, config: raw}
}

// run makes blocks until the test ends.
func (n *network) run(tb testing.TB) {
	tb.Helper()
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				if err := n.Step(); err != nil {
					tb.Error(err)
					return
				}
			}
		}
	}()
	tb.Cleanup(sync.OnceFunc(func() { close(stop); <-done }))
}

func (n *network) steps(tb testing.TB, count int) {
	tb.Helper()
	if err := n.Steps(count); err != nil {
		tb.Fatal(err)
	}
}

// client is the unmodified library under its strictest policy.
func (n *network) client(tb testing.TB) *ton.APIClient {
	tb.Helper()
	name := filepath.Join(tb.TempDir(), "global.json")
	if err := os.WriteFile(name, n.config, 0o600); err != nil {
		tb.Fatal(err)
	}
	cfg, err := liteclient.GetConfigFromFile(name)
	if err != nil {
		tb.Fatal(err)
	}
	pool := liteclient.NewConnectionPool()
	pool.SetOnDisconnect(nil)
	tb.Cleanup(pool.Stop)
	if err := pool.AddConnectionsFromConfig(tb.Context(), cfg); err != nil {
		tb.Fatal(err)
	}
	api := ton.NewAPIClient(pool, ton.ProofCheckPolicySecure)
	api.SetTrustedBlockFromConfig(cfg)
	return api
}

func someone(workchain int8, n byte) *address.Address {
	h := sha256.Sum256([]byte{n})
	return address.NewAddress(0, byte(workchain), h[:])
}

func head(tb testing.TB, api *ton.APIClient) *ton.BlockIDExt {
	tb.Helper()
	b, err := api.GetMasterchainInfo(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func TestProofChainsHoldInEveryDirection(t *testing.T) {
	n := newNetwork(t)
	n.steps(t, 5)
	if err := n.SetGlobalVersion(15); err != nil {
		t.Fatal(err)
	}
	n.steps(t, 4)
	if err := n.RotateValidators(); err != nil {
		t.Fatal(err)
	}
	n.steps(t, 6)
	api := n.client(t)
	last := head(t, api)
	if last.SeqNo != n.Newest() {
		t.Fatalf("head is %d, the chain has %d", last.SeqNo, n.Newest())
	}
	id := func(seqno uint32) *ton.BlockIDExt {
		b, err := api.LookupBlock(t.Context(), -1, blocks.Shard, seqno)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for from := uint32(1); from <= last.SeqNo; from++ {
		for to := uint32(1); to <= last.SeqNo; to++ {
			if err := api.VerifyProofChain(t.Context(), id(from), id(to)); err != nil {
				t.Errorf("from %d to %d: %v", from, to, err)
			}
		}
	}
}

func TestAccountsAreProven(t *testing.T) {
	n := newNetwork(t)
	if err := n.Fund(someone(0, 1), big.NewInt(3e9), nil); err != nil {
		t.Fatal(err)
	}
	if err := n.Fund(someone(-1, 2), big.NewInt(4e9), nil); err != nil {
		t.Fatal(err)
	}
	n.steps(t, 2)
	api := n.client(t)
	at := head(t, api)
	for name, c := range map[string]struct {
		addr    *address.Address
		active  bool
		status  tlb.AccountStatus
		balance string
	}{
		"absent":                {someone(0, 9), false, "", ""},
		"absent, masterchain":   {someone(-1, 9), false, "", ""},
		"uninit":                {someone(0, 1), true, tlb.AccountStatusUninit, "3"},
		"uninit, masterchain":   {someone(-1, 2), true, tlb.AccountStatusUninit, "4"},
		"active (the faucet's)": {n.Faucet(), true, tlb.AccountStatusActive, ""},
	} {
		t.Run(name, func(t *testing.T) {
			a, err := api.GetAccount(t.Context(), at, c.addr)
			if err != nil {
				t.Fatal(err)
			}
			if a.IsActive != c.active || (c.active && a.State.Status != c.status) {
				t.Errorf("got %+v", a)
			}
			if c.balance != "" && a.State.Balance.String() != c.balance {
				t.Errorf("balance %s, want %s", a.State.Balance, c.balance)
			}
		})
	}
}

func TestWalletLivesOnTheNetwork(t *testing.T) {
	n := newNetwork(t)
	n.run(t)
	api := n.client(t)
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, 32))
	w, err := wallet.FromPrivateKey(api, key, wallet.ConfigV5R1Final{NetworkGlobalID: blocks.GlobalID, Workchain: 0})
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Fund(w.WalletAddress(), big.NewInt(100e9), nil); err != nil {
		t.Fatal(err)
	}
	if err := n.Step(); err != nil {
		t.Fatal(err)
	}
	for i := range 2 { // the first one deploys the wallet
		tx, block, err := w.SendWaitTransaction(ctx, &wallet.Message{Mode: 3, InternalMessage: &tlb.InternalMessage{
			IHRDisabled: true, DstAddr: someone(0, 5), Amount: tlb.MustFromTON("1.5"), Body: cell.BeginCell().EndCell(),
		}})
		if err != nil {
			t.Fatalf("transfer %d: %v", i, err)
		}
		if tx.LT == 0 || block.SeqNo == 0 {
			t.Errorf("transfer %d: %+v in %+v", i, tx, block)
		}
		// The library caches the head for a second, and with it the seqno.
		if _, err := api.WaitForBlock(block.SeqNo + 60).GetMasterchainInfo(ctx); err != nil {
			t.Fatal(err)
		}
	}
	at := head(t, api)
	if res, err := api.RunGetMethod(ctx, at, w.WalletAddress(), "seqno"); err != nil || res.MustInt(0).Int64() != 2 {
		t.Errorf("seqno: %v, %v", res, err)
	}
	if _, err := api.RunGetMethod(ctx, at, w.WalletAddress(), "no_such_method"); err == nil {
		t.Error("a method that does not exist has a result")
	}
	a, err := api.GetAccount(ctx, at, w.WalletAddress())
	if err != nil {
		t.Fatal(err)
	}
	list, err := api.ListTransactions(ctx, w.WalletAddress(), 10, a.LastTxLT, a.LastTxHash)
	if err != nil || len(list) != 3 {
		t.Errorf("%d transactions, %v", len(list), err)
	}
	t.Run("one transaction with proof", func(t *testing.T) { oneTransaction(t, api, a) })
}

func oneTransaction(t *testing.T, api *ton.APIClient, a *tlb.Account) {
	t.Helper()
	shards, err := api.GetBlockShardsInfo(t.Context(), head(t, api))
	if err != nil || len(shards) != 1 {
		t.Fatalf("%v, %v", shards, err)
	}
	for seqno := shards[0].SeqNo; seqno > 0; seqno-- {
		id, err := api.LookupBlock(t.Context(), 0, blocks.Shard, seqno)
		if err != nil {
			t.Fatal(err)
		}
		ids, more, err := api.GetBlockTransactionsV2(t.Context(), id, 100)
		if err != nil || more {
			t.Fatalf("block %d: %v, more %v", seqno, err, more)
		}
		for _, tx := range ids {
			if tx.LT != a.LastTxLT {
				continue
			}
			got, err := api.GetTransaction(t.Context(), id, address.NewAddress(0, 0, tx.Account), tx.LT)
			if err != nil || !bytes.Equal(got.Hash, a.LastTxHash) {
				t.Errorf("%v, %v", got, err)
			}
			return
		}
	}
	t.Error("no block lists the wallet's newest transaction")
}

func TestBlocksAreWhole(t *testing.T) {
	n := newNetwork(t)
	for i := range byte(3) {
		if err := n.Fund(someone(0, i), big.NewInt(1e9), nil); err != nil {
			t.Fatal(err)
		}
	}
	n.steps(t, 3)
	api := n.client(t)
	at := head(t, api)
	shards, err := api.GetBlockShardsInfo(t.Context(), at)
	if err != nil {
		t.Fatal(err)
	}
	id, err := api.LookupBlock(t.Context(), 0, blocks.Shard, 2)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range append(shards, id) {
		b, err := api.GetBlockData(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		h, err := api.GetBlockHeader(t.Context(), id)
		if err != nil || h.SeqNo != b.BlockInfo.SeqNo || b.GlobalID != blocks.GlobalID {
			t.Errorf("%+v, %v", h, err)
		}
		for _, d := range []struct {
			name string
			load func() error
		}{
			{"in messages", func() error { return load(b.Extra.InMsgDesc, (&tlb.InMsgDescrAugDict{}).LoadFromCell) }},
			{"out messages", func() error { return load(b.Extra.OutMsgDesc, (&tlb.OutMsgDescrAugDict{}).LoadFromCell) }},
			{"accounts", func() error { return load(b.Extra.ShardAccountBlocks, (&tlb.ShardAccountBlocksAugDict{}).LoadFromCell) }},
		} {
			if err := d.load(); err != nil {
				t.Errorf("%s of block %d: %v", d.name, id.SeqNo, err)
			}
		}
	}
	txs, err := mustBlock(t, api, id).ListTransactions()
	if err != nil || len(txs) != 6 { // three messages to the faucet, three transfers
		t.Errorf("%d transactions, %v", len(txs), err)
	}
	if cfg, err := api.GetBlockchainConfig(t.Context(), at); err != nil {
		t.Error(err)
	} else if v, err := cfg.GetGlobalVersion(); err != nil || v.Version != 14 {
		t.Errorf("global version %+v, %v", v, err)
	}
}

func load(c *cell.Cell, into func(*cell.Slice) error) error {
	s, err := c.BeginParse()
	if err != nil {
		return err
	}
	return into(s)
}

func mustBlock(tb testing.TB, api *ton.APIClient, id *ton.BlockIDExt) *tlb.Block {
	tb.Helper()
	b, err := api.GetBlockData(tb.Context(), id)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func TestLookupByTimeAndLogicalTime(t *testing.T) {
	n := newNetwork(t, func(o *local.Options) { o.Deterministic = true })
	n.steps(t, 6)
	api := n.client(t)
	for seqno := uint32(2); seqno < n.Newest(); seqno++ {
		b, err := n.BlockAt(-1, seqno, false)
		if err != nil {
			t.Fatal(err)
		}
		for name, q := range map[string]ton.LookupBlock{
			"end of block":   {Mode: byLT, LT: b.Header.EndLT},
			"begin of block": {Mode: byLT, LT: b.Header.StartLT},
			"time":           {Mode: byTime, UTime: b.Header.Time},
		} {
			q.ID = &ton.BlockInfoShort{Workchain: -1, Shard: blocks.Shard}
			var resp any
			if err := api.Client().QueryLiteserver(t.Context(), q, &resp); err != nil {
				t.Fatal(err)
			}
			if got, ok := resp.(ton.BlockHeader); !ok || got.ID.SeqNo != seqno {
				t.Errorf("%s of block %d: %+v", name, seqno, resp)
			}
		}
	}
}

func TestPublishedLibrariesAreFound(t *testing.T) {
	n := newNetwork(t)
	lib := cell.BeginCell().MustStoreUInt(0xfeed, 16).EndCell()
	if err := n.PublishLibrary(lib); err != nil {
		t.Fatal(err)
	}
	n.steps(t, 2)
	got, err := n.client(t).GetLibraries(t.Context(), lib.Hash(), make([]byte, 32))
	if err != nil || got[0] == nil || !bytes.Equal(got[0].Hash(), lib.Hash()) || got[1] != nil {
		t.Errorf("%v, %v", got, err)
	}
}

// A second client library, which shares no code with the first, reads the same chain.
func TestTongoReadsTheChain(t *testing.T) {
	n := newNetwork(t)
	n.run(t)
	if err := n.Fund(someone(0, 1), big.NewInt(3e9), nil); err != nil {
		t.Fatal(err)
	}
	n.steps(t, 2)
	cfg, err := config.ParseConfig(bytes.NewReader(n.config))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	c, err := liteapi.NewClient(liteapi.WithConfigurationFile(*cfg), liteapi.WithInitializationContext(ctx), liteapi.WithProofPolicy(liteapi.ProofPolicyFast))
	if err != nil {
		t.Fatal(err)
	}
	info, err := c.GetMasterchainInfo(ctx)
	if err != nil || info.Last.Seqno == 0 {
		t.Fatalf("%+v, %v", info, err)
	}
	faucet := tongo.MustParseAccountID(n.Faucet().StringRaw())
	st, err := c.GetAccountState(ctx, faucet)
	if err != nil || st.Account.SumType != "Account" {
		t.Errorf("account: %v, %v", st.Account.SumType, err)
	}
	code, stack, err := c.RunSmcMethod(ctx, faucet, "seqno", tongotlb.VmStack{})
	if err != nil || code != 0 || stack.Len() != 1 || stack.PeekBottom(0).VmStkTinyInt != 1 {
		t.Errorf("get method: %d, %v, %v", code, stack, err)
	}
	txs, err := c.GetLastTransactions(ctx, faucet, 5)
	if err != nil || len(txs) != 1 {
		t.Errorf("transactions: %d, %v", len(txs), err)
	}
	id, info2, err := c.LookupBlock(ctx, tongo.BlockID{Workchain: 0, Shard: 1 << 63, Seqno: 2}, 1, nil, nil)
	if err != nil {
		t.Fatalf("look-up: %v", err)
	}
	if b, err := c.GetBlock(ctx, id); err != nil || b.Info.SeqNo != 2 || info2.SeqNo != 2 {
		t.Errorf("block: %v", err)
	}
	master, _, err := c.LookupBlock(ctx, tongo.BlockID{Workchain: -1, Shard: 1 << 63, Seqno: 1}, 1, nil, nil)
	if err != nil {
		t.Fatalf("look-up: %v", err)
	}
	if b, err := c.GetBlock(ctx, master); err != nil || !b.Info.KeyBlock {
		t.Errorf("key block: %v", err)
	}
}

// A shard block is proven from the masterchain block that registered it, for clients that begin at a shard block.
func TestShardBlockIsProvenFromTheMasterchain(t *testing.T) {
	n := newNetwork(t, func(o *local.Options) { o.Deterministic = true })
	n.steps(t, 2)
	n.DelayShard(2)
	n.steps(t, 4)
	for seqno := uint32(1); seqno <= 4; seqno++ {
		p, err := n.BlockAt(0, seqno, false)
		if err != nil {
			t.Fatal(err)
		}
		resp, ok := n.server.answer(ton.GetShardBlockProof{ID: p.ID()}).(ton.ShardBlockProof)
		if !ok || len(resp.Links) != 1 {
			t.Fatalf("block %d: %+v", seqno, resp)
		}
		proof, err := cell.FromBOC(resp.Links[0].Proof)
		if err != nil {
			t.Fatal(err)
		}
		block, err := ton.CheckBlockProof(proof, resp.MasterchainID.RootHash)
		if err != nil {
			t.Fatal(err)
		}
		shards, err := ton.LoadShardsFromHashes(block.Extra.Custom.ShardHashes, true)
		if err != nil || len(shards) != 1 || !shards[0].Equals(p.ID()) {
			t.Errorf("block %d: the masterchain block knows %+v, %v", seqno, shards, err)
		}
	}
}
