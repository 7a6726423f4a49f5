package blocks

import (
	"bytes"
	"math/big"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/xssnick/tonutils-go/address"
	"github.com/xssnick/tonutils-go/tlb"
	"github.com/xssnick/tonutils-go/ton"
	"github.com/xssnick/tonutils-go/tvm/cell"
	"pgregory.net/rapid"

	"cocoon/contracts/chain"
)

func anyRef(t *rapid.T, name string) Ref {
	var root, file chain.Hash
	copy(root[:], rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, name+" root"))
	copy(file[:], rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, name+" file"))
	return Ref{EndLT: rapid.Uint64().Draw(t, name+" lt"), Seqno: rapid.Uint32().Draw(t, name+" seqno"), RootHash: root, FileHash: file}
}

func emptyState(tb testing.TB) *cell.Cell {
	tb.Helper()
	accounts, err := BuildAug(tlb.AugShardAccounts{}, nil)
	if err != nil {
		tb.Fatal(err)
	}
	queue, err := tlb.NewOutMsgQueueAugDict()
	if err != nil {
		tb.Fatal(err)
	}
	qc, err := queue.ToCell()
	if err != nil {
		tb.Fatal(err)
	}
	info, err := QueueInfo(qc, &Processed{Master: 3, LT: 9, Hash: chain.Hash{8}})
	if err != nil {
		tb.Fatal(err)
	}
	c, err := State{Queue: info, Accounts: accounts, Balance: big.NewInt(0), ValidatorFees: big.NewInt(0)}.Cell()
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// body is a block without transactions.
func body(tb testing.TB) Body {
	tb.Helper()
	var parts [3]*cell.Cell
	for i, aug := range []cell.Augmentation{tlb.AugInMsgDescr{}, tlb.AugOutMsgDescr{}, tlb.AugShardAccountBlocks{}} {
		var err error
		if parts[i], err = BuildAug(aug, nil); err != nil {
			tb.Fatal(err)
		}
	}
	st := emptyState(tb)
	update, err := cell.CreateMerkleUpdate(st, st)
	if err != nil {
		tb.Fatal(err)
	}
	zero := new(big.Int)
	return Body{In: parts[0], Out: parts[1], Accounts: parts[2], Update: update, Flow: Flow{zero, zero, zero, zero, zero, zero}}
}

func TestHeaderIsReadAsItWasWritten(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		h := Header{
			Workchain: rapid.SampledFrom([]int32{Masterchain, Basechain}).Draw(rt, "workchain"), Seqno: rapid.Uint32().Draw(rt, "seqno"),
			Time: rapid.Uint32().Draw(rt, "time"), StartLT: rapid.Uint64().Draw(rt, "start"), EndLT: rapid.Uint64().Draw(rt, "end"),
			Validators: rapid.Uint32().Draw(rt, "validators"), Catchain: rapid.Uint32().Draw(rt, "catchain"), MinRefMC: rapid.Uint32().Draw(rt, "min"),
			PrevKey: rapid.Uint32().Draw(rt, "key"), Key: rapid.Bool().Draw(rt, "is key"), Version: rapid.Uint32().Draw(rt, "version"),
			Capabilities: rapid.Uint64().Draw(rt, "capabilities"), Prev: anyRef(rt, "prev"),
		}
		if h.Workchain == Basechain {
			m := anyRef(rt, "master")
			h.Master = &m
		}
		b, err := Assemble(h, body(t))
		if err != nil {
			rt.Fatal(err)
		}
		again, err := Parse(b.BOC)
		if err != nil {
			rt.Fatal(err)
		}
		if d := cmp.Diff(h, again.Header); d != "" || again.Ref != b.Ref {
			rt.Fatalf("(-written +read):\n%s%+v, %+v", d, b.Ref, again.Ref)
		}
	})
}

func TestBlockFileIsStable(t *testing.T) {
	b, err := Assemble(Header{Seqno: 7, Prev: Ref{Seqno: 6}}, body(t))
	if err != nil {
		t.Fatal(err)
	}
	root, err := b.Root()
	if err != nil {
		t.Fatal(err)
	}
	again, err := seal(b.Header, root)
	if err != nil || !bytes.Equal(again.BOC, b.BOC) {
		t.Errorf("another file after reading, %v", err)
	}
	for name, boc := range map[string][]byte{"empty": nil, "cut": b.BOC[:len(b.BOC)-1], "no block": emptyState(t).ToBOC()} {
		if _, err := Parse(boc); err == nil {
			t.Errorf("%s: read", name)
		}
	}
	bad := body(t)
	bad.Flow.From = big.NewInt(1)
	if _, err := Assemble(b.Header, bad); err == nil {
		t.Error("a block that loses money")
	}
}

func TestShardHashesAreReadAsTheyWereWritten(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		top := &Top{
			Ref: anyRef(rt, "shard"), StartLT: rapid.Uint64().Draw(rt, "start"), Time: rapid.Uint32().Draw(rt, "time"),
			Registered: rapid.Uint32().Draw(rt, "registered"), MinRefMC: rapid.Uint32().Draw(rt, "min"), Fees: big.NewInt(rapid.Int64Range(0, 1<<60).Draw(rt, "fees")),
		}
		hashes, err := ShardHashes(top)
		if err != nil {
			rt.Fatal(err)
		}
		history, err := NewHistory()
		if err != nil {
			rt.Fatal(err)
		}
		if err := history.Add(Ref{Seqno: 4, EndLT: 5}, true); err != nil {
			rt.Fatal(err)
		}
		key := anyRef(rt, "key")
		config := cell.BeginCell().MustStoreUInt(1, 8).EndCell()
		extra, err := MasterExtra{Shards: hashes, Config: config, History: history, AfterKey: true, LastKey: &key, Global: big.NewInt(77)}.Cell()
		if err != nil {
			rt.Fatal(err)
		}
		st, err := ParseState(emptyState(t))
		if err != nil {
			rt.Fatal(err)
		}
		st.Workchain, st.Extra, st.Seqno = Masterchain, extra, 5
		state, err := st.Cell()
		if err != nil {
			rt.Fatal(err)
		}
		got, err := ParseTop(state)
		if err != nil {
			rt.Fatal(err)
		}
		if d := cmp.Diff(*top, got, cmp.Comparer(func(a, b *big.Int) bool { return a.Cmp(b) == 0 })); d != "" {
			rt.Fatalf("(-written +read):\n%s", d)
		}
		view, err := ParseMaster(extra)
		if err != nil || !view.After || view.LastKey == nil || *view.LastKey != key || view.Global.Int64() != 77 || !bytes.Equal(view.Config.Hash(), config.Hash()) {
			rt.Fatalf("%+v, %v", view, err)
		}
		if proof, err := AncestorProof(state, 4); err != nil || cell.CheckProof(proof, state.Hash()) != nil {
			rt.Fatalf("the older block: %v", err)
		}
		if _, err := AncestorProof(state, 3); err == nil {
			rt.Fatal("proved a block that is not there")
		}
	})
}

func TestSignaturesAreTheNetworks(t *testing.T) {
	v, err := NewValidators([32]byte{1}, 0, 4)
	if err != nil {
		t.Fatal(err)
	}
	ref := Ref{Seqno: 9, RootHash: chain.Hash{2}, FileHash: chain.Hash{3}}
	sigs, err := v.Sign(ref)
	if err != nil {
		t.Fatal(err)
	}
	raw := EncodeSignatures(sigs)
	again, err := DecodeSignatures(raw)
	if err != nil || !cmp.Equal(sigs, again) {
		t.Errorf("%v", err)
	}
	c, err := v.Cell()
	if err != nil {
		t.Fatal(err)
	}
	var set tlb.ValidatorSetAny
	if err := tlb.Parse(&set, c); err != nil {
		t.Fatal(err)
	}
	cat := tlb.CatchainConfig{Config: tlb.CatchainConfigV2{ShuffleMcValidators: true}}
	validators, err := ton.GetMainValidators(ref.ID(Masterchain), cat, set, 0)
	if err != nil {
		t.Fatal(err)
	}
	short := set.Validators.(tlb.ValidatorSetExt) //nolint:forcetypeassert // written as such
	if short.Total != 4 || short.TotalWeight != 4 {
		t.Errorf("%+v", short)
	}
	unshuffled, err := ton.GetMainValidators(ref.ID(Masterchain), tlb.CatchainConfig{Config: tlb.CatchainConfigV1{}}, set, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := ton.CheckBlockSignatures(ref.ID(Masterchain), 0, v.Short, sigs, unshuffled); err != nil {
		t.Errorf("the signatures: %v", err)
	}
	other := ref
	other.FileHash[0] ^= 1
	if ton.CheckBlockSignatures(other.ID(Masterchain), 0, v.Short, sigs, unshuffled) == nil {
		t.Error("they hold for another block too")
	}
	if len(validators) != 4 {
		t.Errorf("%d validators", len(validators))
	}
	for _, bad := range [][]byte{nil, raw[:95], raw[:97]} {
		if _, err := DecodeSignatures(bad); err == nil {
			t.Errorf("%d bytes of signatures", len(bad))
		}
	}
	for _, n := range []int{0, 101} {
		if _, err := NewValidators([32]byte{}, 0, n); err == nil {
			t.Errorf("%d validators", n)
		}
	}
	next, err := NewValidators([32]byte{1}, 1, 4)
	if err != nil || next.Short == v.Short {
		t.Errorf("the next epoch has the same keys, %v", err)
	}
}

func TestEnvelopeIsTheLibrarys(t *testing.T) {
	dst := address.NewAddress(0, 0, bytes.Repeat([]byte{7}, 32))
	msg, err := tlb.ToCell(&tlb.InternalMessage{IHRDisabled: true, SrcAddr: dst, DstAddr: dst, Amount: tlb.MustFromTON("1"), FwdFee: tlb.FromNanoTONU(5), Body: cell.BeginCell().EndCell(), CreatedLT: 44})
	if err != nil {
		t.Fatal(err)
	}
	e := Envelope{Message: msg, Dst: dst, Fee: big.NewInt(5), LT: 44}
	c, err := e.Cell()
	if err != nil {
		t.Fatal(err)
	}
	var got tlb.MsgEnvelope
	if err := tlb.Parse(&got, c); err != nil || got.FwdFeeRemaining.Nano().Int64() != 5 || got.NextAddr.UseDestBits != 96 || !bytes.Equal(got.Msg.Hash(), msg.Hash()) {
		t.Errorf("%+v, %v", got, err)
	}
	q, err := tlb.NewOutMsgQueueAugDict()
	if err != nil {
		t.Fatal(err)
	}
	key, err := e.QueueKey()
	if err != nil {
		t.Fatal(err)
	}
	v, err := e.Enqueued()
	if err != nil {
		t.Fatal(err)
	}
	if err := q.Set(key, v); err != nil { // the library derives the extra from what is in the envelope
		t.Fatal(err)
	}
	for name, rec := range map[string]func() (*cell.Cell, error){
		"new":       func() (*cell.Cell, error) { return ExportNew(e, msg) },
		"immediate": func() (*cell.Cell, error) { return ExportImmediate(e, msg, msg) },
		"dequeued":  func() (*cell.Cell, error) { return ExportDequeued(e, msg) },
		"delivered": func() (*cell.Cell, error) { return ExportDelivered(e, 99) },
		"external":  func() (*cell.Cell, error) { return ExportExternal(msg, msg) },
	} {
		c, err := rec()
		if err != nil {
			t.Fatal(err)
		}
		s, err := c.BeginParse()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := (tlb.AugOutMsgDescr{}).LeafExtra(s); err != nil {
			t.Errorf("%s is no OutMsg: %v", name, err)
		}
	}
	for name, rec := range map[string]func() (*cell.Cell, error){
		"external":  func() (*cell.Cell, error) { return ImportExternal(msg, msg) },
		"immediate": func() (*cell.Cell, error) { return ImportImmediate(e, msg) },
		"final":     func() (*cell.Cell, error) { return ImportFinal(e, msg) },
	} {
		c, err := rec()
		if err != nil {
			t.Fatal(err)
		}
		s, err := c.BeginParse()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := (tlb.AugInMsgDescr{}).LeafExtra(s); err != nil {
			t.Errorf("%s is no InMsg: %v", name, err)
		}
	}
	if _, err := AccountBlock(make([]byte, 31), msg, msg.Hash(), msg.Hash()); err == nil {
		t.Error("an account with a short address")
	}
}

func TestCoinsRefuseExtraCurrencies(t *testing.T) {
	plain := cell.BeginCell().MustStoreBigCoins(big.NewInt(9)).MustStoreUInt(0, 1).EndCell()
	if s, err := plain.BeginParse(); err != nil {
		t.Fatal(err)
	} else if v, err := Coins(s); err != nil || v.Int64() != 9 {
		t.Errorf("%v, %v", v, err)
	}
	for name, c := range map[string]*cell.Cell{
		"extra": cell.BeginCell().MustStoreBigCoins(big.NewInt(9)).MustStoreMaybeRef(plain).EndCell(),
		"short": cell.BeginCell().MustStoreUInt(0xf, 4).EndCell(),
		"none":  cell.BeginCell().EndCell(),
	} {
		s, err := c.BeginParse()
		if err != nil {
			t.Fatal(err)
		}
		if v, err := Coins(s); err == nil {
			t.Errorf("%s: %s", name, v)
		}
	}
}

func TestLibrariesAreFoundAndProven(t *testing.T) {
	lib := cell.BeginCell().MustStoreUInt(5, 8).EndCell()
	v, err := Library(lib, ConfigAddress())
	if err != nil {
		t.Fatal(err)
	}
	d := cell.NewDict(256)
	if err := d.Set(cell.BeginCell().MustStoreSlice(lib.Hash(), 256).EndCell(), v); err != nil {
		t.Fatal(err)
	}
	st, err := ParseState(emptyState(t))
	if err != nil {
		t.Fatal(err)
	}
	st.Libraries = d.AsCell()
	state, err := st.Cell()
	if err != nil {
		t.Fatal(err)
	}
	proof, found, err := Libraries(state, []chain.Hash{chain.Hash(lib.Hash()), {1}})
	if err != nil || len(found) != 2 || found[0] == nil || !bytes.Equal(found[0].Hash(), lib.Hash()) || found[1] != nil {
		t.Fatalf("%v, %v", found, err)
	}
	if err := cell.CheckProof(proof, state.Hash()); err != nil {
		t.Error(err)
	}
}
