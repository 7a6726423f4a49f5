package bind

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/xssnick/tonutils-go/tvm/cell"
)

// seed is the bag of cells of something well formed, to mutate.
func seed(f *testing.F, v interface{ Cell() (*cell.Cell, error) }) []byte {
	f.Helper()
	c, err := v.Cell()
	if err != nil {
		f.Fatal(err)
	}
	return c.ToBOC()
}

// again checks that what was read writes to the same cell.
func again(t *testing.T, from *cell.Cell, v interface{ Cell() (*cell.Cell, error) }) {
	t.Helper()
	back, err := v.Cell()
	if err != nil {
		t.Fatalf("what was read is not written: %v", err)
	}
	if back.HashKey() != from.HashKey() {
		t.Fatalf("read\n%s\nand wrote\n%s", from.Dump(), back.Dump())
	}
}

// FuzzStorage: no cell crashes a storage parser, and what one reads is written back to the same cell.
func FuzzStorage(f *testing.F) {
	params := Params{StructVersion: 4, PricePerToken: 20, WorkerFee: 19, Proxy: anyCell(1), Worker: anyCell(2), Client: anyCell(3)}
	f.Add(seed(f, params))
	f.Add(seed(f, Params{}))
	f.Add(seed(f, ProxyStorage{Owner: anyAddr(1), Root: anyAddr(2), Params: params.With(ProxyCodes), Ext: &ProxyExt{Liabilities: 5, ChildParams: params.With(NoCodes)}}))
	f.Add(seed(f, ClientStorage{Owner: anyAddr(1), Proxy: anyAddr(2), Balance: 5, Params: params.With(NoCodes), Ext: &ClientExt{Claimed: 7}}))
	f.Add(seed(f, WorkerStorage{Owner: anyAddr(1), Proxy: anyAddr(2), Tokens: 9, Params: params.With(NoCodes), Ext: &WorkerExt{1, 2}}))
	f.Add(seed(f, WalletStorage{Owner: anyAddr(1), Seqno: 3}))
	f.Add(seed(f, RootStorage{
		Owner: anyAddr(1), Params: params, Proxies: []RegisteredProxy{{1, "1.2.3.4:5"}}, ModelHashes: []Hash{{1}, {2}},
		KeyManager: &KeyManager{Keys: []ManagedKey{{Hash{1}, 2, 3}}},
	}))
	f.Fuzz(func(t *testing.T, boc []byte) {
		c, err := cell.FromBOC(boc)
		if err != nil {
			return
		}
		if v, err := ParseParams(c); err == nil {
			again(t, c, v)
		}
		if v, err := ParseProxyStorage(c); err == nil {
			again(t, c, v)
		}
		if v, err := ParseClientStorage(c); err == nil {
			again(t, c, v)
		}
		if v, err := ParseWorkerStorage(c); err == nil {
			again(t, c, v)
		}
		if v, err := ParseWalletStorage(c); err == nil {
			again(t, c, v)
		}
		if v, err := ParseRoot(c); err == nil {
			again(t, c, v)
		}
	})
}

// FuzzMessage: no body crashes the decoder of any contract, and what it reads is written back to the same cell.
func FuzzMessage(f *testing.F) {
	contracts := []Contract{ContractRoot, ContractProxy, ContractClient, ContractWorker, ContractWallet, ContractClientPayload, ContractWorkerPayload}
	for _, m := range []Message{
		&ClientTopUp{QueryID: 1, Amount: 5, Excess: anyAddr(1)},
		&ClientNote{Owner: anyAddr(1), Balance: 7, Payload: &NoteRefundForce{Amount: 3, Excess: anyAddr(2)}},
		&WorkerNote{Owner: anyAddr(1), Tokens: 7, Payload: &NotePayout{1, 2, anyAddr(2)}},
		&ProxyCommit{Signed{QueryID: 1, Excess: anyAddr(1), Payload: anyCell(5)}},
		&RootHash{Change: OpRootAddModelType, QueryID: 1, Hash: Hash{7}},
		&RootRegisterProxy{QueryID: 1, Addr: "1.2.3.4:5 6.7.8.9:10"},
		&RootUpgradeContracts{QueryID: 1, Proxy: anyCell(1), Worker: anyCell(2), Client: anyCell(3)},
		&WalletSend{QueryID: 1, Mode: 3, Message: anyCell(9)},
		&SaveState{QueryID: 1, Seqno: 2, UniqueHash: Hash{3}},
		&Text{Command: 'w'},
	} {
		body, err := Encode(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(body.ToBOC())
	}
	f.Fuzz(func(t *testing.T, boc []byte) {
		body, err := cell.FromBOC(boc)
		if err != nil {
			return
		}
		for _, to := range contracts {
			m, err := Decode(to, body)
			if err != nil {
				continue
			}
			back, err := Encode(m)
			if err != nil {
				t.Fatalf("what %s reads is not written: %v", to, err)
			}
			if back.HashKey() != body.HashKey() {
				t.Fatalf("%s read\n%s\nand wrote\n%s", to, body.Dump(), back.Dump())
			}
		}
	})
}

// FuzzPayload: no payload and no external message crashes its reader, and what one reads is written back.
func FuzzPayload(f *testing.F) {
	for _, p := range []SignedPayload{
		&TokensPayload{OpClientCharge, 1, 2, anyAddr(1)},
		&ClosePayload{OpProxyCloseRequest, 1, anyAddr(1)},
		&CommitPayload{QueryID: 1, Contract: anyAddr(1), Seqno: 2, PrevHash: Hash{3}, NewHash: Hash{4}},
		&KeyPayload{1, ManagedKey{Hash{5}, 1, 2}},
		&WalletExternal{ValidUntil: 1, Seqno: 2, Batch: []Outgoing{{3, anyCell(1)}}},
	} {
		c, err := encode(p)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(c.ToBOC())
	}
	f.Fuzz(func(t *testing.T, boc []byte) {
		c, err := cell.FromBOC(boc)
		if err != nil {
			return
		}
		check := func(p SignedPayload, err error) {
			if err != nil {
				return
			}
			back, err := encode(p)
			if err != nil || back.HashKey() != c.HashKey() {
				t.Fatalf("%T read\n%s\nand wrote %v, %v", p, c.Dump(), back, err)
			}
		}
		tokens, err := ParseTokensPayload(c)
		check(&tokens, err)
		closing, err := ParseClosePayload(c)
		check(&closing, err)
		commit, err := ParseCommitPayload(c)
		check(&commit, err)
		key, err := ParseKeyPayload(c)
		check(&key, err)
		if _, err := ParseWalletExternal(c, Hash{}); err == nil {
			t.Fatal("an external message by the key 0 is accepted")
		}
	})
}

// TestSigned: what is signed verifies, by this key, for this payload.
func TestSigned(t *testing.T) {
	key := testKey()
	s, err := Sign(key, 7, anyAddr(1), &TokensPayload{OpClientCharge, 7, 100, anyAddr(2)})
	if err != nil {
		t.Fatal(err)
	}
	public := Hash(key[32:])
	if !s.Verify(public) || s.Verify(Hash{1}) {
		t.Error("the signature verifies wrongly")
	}
	got, err := ParseTokensPayload(s.Payload)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(TokensPayload{OpClientCharge, 7, 100, anyAddr(2)}, got, options()); diff != "" {
		t.Errorf("(-signed +read):\n%s", diff)
	}
	s.Payload = anyCell(1)
	if s.Verify(public) || (&Signed{}).Verify(public) {
		t.Error("another payload verifies")
	}
	if _, err := Sign(key[:5], 7, anyAddr(1), &TokensPayload{}); err == nil {
		t.Error("half a key signs")
	}
	external := WalletExternal{ValidUntil: 5, Seqno: 6, Batch: []Outgoing{{1, anyCell(1)}, {0, anyCell(2)}}}
	body, err := external.Sign(key)
	if err != nil {
		t.Fatal(err)
	}
	back, err := ParseWalletExternal(body, public)
	if err != nil {
		t.Fatal(err)
	}
	want := WalletExternal{ValidUntil: 5, Seqno: 6, Batch: []Outgoing{{3, anyCell(1)}, {2, anyCell(2)}}}
	if diff := cmp.Diff(want, back, options()); diff != "" {
		t.Errorf("errors are not ignored in every mode (-want +read):\n%s", diff)
	}
	if _, err := ParseWalletExternal(body, Hash{1}); err == nil {
		t.Error("another key verifies")
	}
	external.Batch = make([]Outgoing, 5)
	if _, err := external.Sign(key); err == nil {
		t.Error("five messages are signed")
	}
}
