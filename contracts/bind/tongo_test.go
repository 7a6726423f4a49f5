package bind

import (
	"crypto/ed25519"
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"

	abi "github.com/tonkeeper/tongo/abi-tolk/abiGenerated/cocoon"
	"github.com/tonkeeper/tongo/boc"
	"github.com/tonkeeper/tongo/tlb"
	"github.com/xssnick/tonutils-go/tvm/cell"
)

func testKey() ed25519.PrivateKey { return ed25519.NewKeyFromSeed(make([]byte, 32)) }

// theirs opens a cell for the other library.
func theirs(tb testing.TB, c *cell.Cell) *boc.Cell {
	tb.Helper()
	cells, err := boc.DeserializeBoc(c.ToBOC())
	if err != nil || len(cells) != 1 {
		tb.Fatalf("reading a bag of cells: %v", err)
	}
	return cells[0]
}

// rewritten is a cell as the other library reads and writes it.
func rewritten(tb testing.TB, c *cell.Cell, v any) string {
	tb.Helper()
	from := theirs(tb, c)
	if err := tlb.Unmarshal(from, v); err != nil {
		tb.Fatalf("the other library does not read %T: %v\n%s", v, err, c.Dump())
	}
	to := boc.NewCell()
	if err := tlb.Marshal(to, reflect.ValueOf(v).Elem().Interface()); err != nil {
		tb.Fatalf("the other library does not write %T: %v", v, err)
	}
	sum, err := to.Hash256()
	if err != nil {
		tb.Fatal(err)
	}
	return fmt.Sprintf("%x", sum)
}

// prefixed are the structures of the other library that know their own operation code.
func prefixed() map[Op]any {
	return map[Op]any{
		OpExcesses: new(abi.ReturnExcessesBack), OpPayout: new(abi.Payout),
		OpClientNote: new(abi.ClientProxyRequest), OpWorkerNote: new(abi.WorkerProxyRequest),
		OpClientTopUp: new(abi.ExtClientTopUp), OpClientChangeSecretAndTopUp: new(abi.OwnerClientChangeSecretHashAndTopUp),
		OpClientRegister: new(abi.OwnerClientRegister), OpClientChangeSecret: new(abi.OwnerClientChangeSecretHash),
		OpClientIncreaseStake: new(abi.OwnerClientIncreaseStake), OpClientWithdraw: new(abi.OwnerClientWithdraw),
		OpClientRequestRefund: new(abi.OwnerClientRequestRefund), OpClientCharge: new(abi.ExtClientChargeSigned),
		OpClientGrantRefund:  new(abi.ExtClientGrantRefundSigned),
		OpProxyIncreaseStake: new(abi.ExtProxyIncreaseStake), OpProxyPayout: new(abi.ExtProxyPayoutRequest), OpProxyClose: new(abi.OwnerProxyClose),
		OpProxyCloseRequest: new(abi.ExtProxyCloseRequestSigned), OpProxyCloseComplete: new(abi.ExtProxyCloseCompleteRequestSigned),
		OpRootAddWorkerType: new(abi.AddWorkerType), OpRootDelWorkerType: new(abi.DelWorkerType), OpRootAddProxyType: new(abi.AddProxyType),
		OpRootDelProxyType: new(abi.DelProxyType), OpRootAddModelType: new(abi.AddModelType), OpRootDelModelType: new(abi.DelModelType),
		OpRootRegisterProxy: new(abi.RegisterProxy), OpRootUnregisterProxy: new(abi.UnregisterProxy), OpRootUpdateProxy: new(abi.UpdateProxy),
		OpRootChangePrice: new(abi.ChangeFees), OpRootChangeParams: new(abi.ChangeParams), OpRootUpgradeContracts: new(abi.UpgradeContracts),
		OpRootUpgrade: new(abi.UpgradeCode), OpRootReset: new(abi.ResetRoot), OpRootUpgradeFull: new(abi.UpgradeFull), OpRootChangeOwner: new(abi.ChangeOwner),
		OpWalletSend: new(abi.OwnerWalletSendMessage), OpText: new(abi.TextCommand),
	}
}

// readOnly are the messages that the other library reads well and writes wrongly (it drops the rest of a body, and a flag
// of an optional reference): their fields are compared.
func readOnly() map[Op]func(t *testing.T, body *cell.Cell, m Message, v any) {
	read := func(t *testing.T, body *cell.Cell, v any) {
		t.Helper()
		if err := tlb.Unmarshal(theirs(t, body), v); err != nil {
			t.Fatalf("the other library does not read %T: %v\n%s", v, err, body.Dump())
		}
	}
	rest := func(skip uint, field string) func(*testing.T, *cell.Cell, Message, any) {
		return func(t *testing.T, body *cell.Cell, _ Message, v any) {
			t.Helper()
			read(t, body, v)
			s := body.MustBeginParse()
			if err := s.SkipBits(skip); err != nil {
				t.Fatal(err)
			}
			left, ok := reflect.TypeAssert[boc.Cell](reflect.ValueOf(v).Elem().FieldByName(field))
			if !ok {
				t.Fatalf("%T has no cell %s", v, field)
			}
			sum, err := left.Hash256()
			if err != nil || fmt.Sprintf("%x", sum) != fmt.Sprintf("%x", s.MustToCell().Hash()) {
				t.Fatalf("the other library reads the rest as %x, %v", sum, err)
			}
		}
	}
	return map[Op]func(*testing.T, *cell.Cell, Message, any){
		OpClientCharge:       rest(32, "Rest"),
		OpClientGrantRefund:  rest(32, "Rest"),
		OpProxyCloseRequest:  rest(32, "Rest"),
		OpProxyCloseComplete: rest(32, "Rest"),
		OpRootRegisterProxy:  rest(96, "ProxyInfo"),
		OpRootUpdateProxy:    rest(128, "ProxyAddr"),
		OpClientNote: func(t *testing.T, body *cell.Cell, m Message, v any) {
			t.Helper()
			read(t, body, v)
			got, okGot := v.(*abi.ClientProxyRequest)
			want, okWant := m.(*ClientNote)
			if !okGot || !okWant {
				t.Fatalf("compared %T with %T", v, m)
			}
			state := got.StateData.Value
			if uint64(got.QueryId) != want.QueryID || Nano(state.Balance) != want.Balance || Nano(state.Stake) != want.Stake ||
				uint64(state.TokensUsed) != want.TokensUsed || State(state.State) != want.State || !got.Payload.Exists {
				t.Fatalf("the other library reads %+v, want %+v", got, want)
			}
		},
	}
}

// TestIndependentDecoder: another library with layouts of its own reads every message of the network that we write, and
// writes it back to the same cell.
func TestIndependentDecoder(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	known := prefixed()
	for _, row := range Operations() {
		v, ok := known[row.Op]
		if !ok {
			continue
		}
		delete(known, row.Op)
		t.Run(row.Name, func(t *testing.T) {
			for range 20 {
				m := row.New()
				fill(t, rng, reflect.ValueOf(m).Elem())
				if h, ok := m.(*RootHash); ok {
					h.Change = row.Op
				}
				if n, ok := m.(*ClientNote); ok {
					n.Payload = &NoteTopUp{5, anyAddr(4)}
				}
				body, err := Encode(m)
				if err != nil {
					t.Fatal(err)
				}
				if check := readOnly()[row.Op]; check != nil {
					check(t, body, m, v)
				} else if got := rewritten(t, body, v); got != fmt.Sprintf("%x", body.Hash()) {
					t.Fatalf("the other library writes %s:\n%s", got, body.Dump())
				}
			}
		})
	}
	for op := range known {
		t.Errorf("%s is not in our table", op)
	}
}

// TestIndependentStorage: the other library reads our storages and finds the same values; what it writes well, it writes
// back to the same cell.
func TestIndependentStorage(t *testing.T) {
	rng := rand.New(rand.NewPCG(8, 8))
	read := func(c *cell.Cell, err error, v any) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		if err := tlb.Unmarshal(theirs(t, c), v); err != nil {
			t.Fatalf("the other library does not read %T: %v", v, err)
		}
	}
	for range 20 {
		var params Params
		fill(t, rng, reflect.ValueOf(&params).Elem())
		var p abi.CocoonParams
		c, err := params.Cell()
		read(c, err, &p)
		got := fmt.Sprint(p.StructVersion, p.ParamsVersion, p.UniqueId, p.IsTest, p.PricePerToken, p.WorkerFeePerToken, p.PromptTokensPriceMultiplier,
			p.CachedTokensPriceMultiplier, p.CompletionTokensPriceMultiplier, p.ReasoningTokensPriceMultiplier, p.ProxyDelayBeforeClose, p.ClientDelayBeforeClose, p.MinProxyStake, p.MinClientStake)
		want := fmt.Sprint(params.StructVersion, params.ParamsVersion, params.UniqueID, params.IsTest, params.PricePerToken, params.WorkerFee, params.PromptMultiplier,
			params.CachedMultiplier, params.CompletionMultiplier, params.ReasoningMultiplier, params.ProxyDelay, params.ClientDelay, params.MinProxyStake, params.MinClientStake)
		if got != want {
			t.Errorf("parameters are read as\n%s\nwant\n%s", got, want)
		}
		var client ClientStorage
		fill(t, rng, reflect.ValueOf(&client).Elem())
		var cs abi.ClientStorage
		c, err = client.Cell()
		read(c, err, &cs)
		if Nano(cs.Balance) != client.Balance || Nano(cs.Stake) != client.Stake || uint64(cs.TokensUsed) != client.TokensUsed || uint32(cs.UnlockTs) != client.UnlockAt {
			t.Errorf("a client is read as %+v, want %+v", cs, client)
		}
		var proxy ProxyStorage
		fill(t, rng, reflect.ValueOf(&proxy).Elem())
		var ps abi.ProxyStorage
		c, err = proxy.Cell()
		read(c, err, &ps)
		if Nano(ps.Balance) != proxy.Balance || Nano(ps.Stake) != proxy.Stake || State(ps.State) != proxy.State || uint32(ps.UnlockTs) != proxy.UnlockAt {
			t.Errorf("a proxy is read as %+v, want %+v", ps, proxy)
		}
		c, err = WalletStorage{Seqno: rng.Uint32(), PublicKey: Hash{1}, Owner: anyAddr(2)}.Cell()
		if err != nil {
			t.Fatal(err)
		}
		if got := rewritten(t, c, new(abi.WalletStorage)); got != fmt.Sprintf("%x", c.Hash()) {
			t.Errorf("a wallet is written as %s", got)
		}
	}
}

// TestIndependentFields: the other library reads the same values from the network's own root.
func TestIndependentFields(t *testing.T) {
	c := liveCell(t, "contracts/mainnet_root.json")
	r, err := ParseRoot(c)
	if err != nil {
		t.Fatal(err)
	}
	var params abi.CocoonParams
	if err := tlb.Unmarshal(theirs(t, c.MustPeekRef(1)), &params); err != nil {
		t.Fatal(err)
	}
	if Nano(params.PricePerToken) != r.Params.PricePerToken || Nano(params.MinClientStake) != r.Params.MinClientStake || uint32(params.UniqueId) != r.Params.UniqueID {
		t.Errorf("the other library reads %+v", params)
	}
}

// TestIndependentExternal: the other library reads the wallet's external message with the key's signature in place.
func TestIndependentExternal(t *testing.T) {
	body, err := WalletExternal{ValidUntil: 5, Seqno: 6, Batch: []Outgoing{{1, anyCell(1)}}}.Sign(testKey())
	if err != nil {
		t.Fatal(err)
	}
	var m abi.WalletExternalMessage
	if got := rewritten(t, body, &m); got != fmt.Sprintf("%x", body.Hash()) {
		t.Errorf("the other library writes %s", got)
	}
	if m.Message.MsgSeqno != 6 || m.Message.ValidUntil != 5 || len(m.Message.Forward) != 1 || m.Message.Forward[0].Mode != 3 {
		t.Errorf("the other library reads %+v", m.Message)
	}
}
