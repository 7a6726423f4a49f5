package bind

import (
	"errors"
	"fmt"
	"math/big"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/xssnick/tonutils-go/address"
	"github.com/xssnick/tonutils-go/tvm/cell"
)

// addresses and cells are compared by what they name and hold.
func options() cmp.Options {
	return cmp.Options{
		cmp.Comparer(func(a, b *address.Address) bool {
			return a == b || (a != nil && b != nil && a.StringRaw() == b.StringRaw())
		}),
		cmp.Comparer(func(a, b *cell.Cell) bool { return a == b || (a != nil && b != nil && a.HashKey() == b.HashKey()) }),
	}
}

func anyAddr(seed byte) *address.Address {
	data := make([]byte, 32)
	data[0], data[31] = seed, seed
	return address.NewAddress(0, 0, data)
}

func anyCell(v uint64) *cell.Cell { return cell.BeginCell().MustStoreUInt(v, 64).EndCell() }

// fill sets every field of a struct to something random that its layout can hold.
func fill(tb testing.TB, rng *rand.Rand, v reflect.Value) {
	tb.Helper()
	switch x := v.Addr().Interface().(type) {
	case **address.Address:
		*x = anyAddr(byte(rng.Uint32()))
		return
	case **cell.Cell:
		*x = anyCell(rng.Uint64())
		return
	case *Nano:
		*x = Nano(rng.Uint64() >> (1 + rng.IntN(63)))
		return
	case *State:
		*x = State(rng.IntN(3))
		return
	case *NetAddr:
		*x = NetAddr(strings.Repeat("a", rng.IntN(maxNetAddr+1)))
		return
	case *Params:
		fillFields(tb, rng, v)
		x.StructVersion = uint8(3 + rng.IntN(3))
		return
	case *Op:
		*x = OpClientCharge
		return
	case *HashList:
		*x = HashList(rng.IntN(4))
		return
	case *FarmTerms:
		fillFields(tb, rng, v)
		x.Prices = []WorkloadPrice{{1, 5}, {7, Nano(rng.Uint64() >> 1)}}
		return
	case *[]WorkloadPrice:
		return
	case *Message:
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		fillFields(tb, rng, v)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(tb, rng, v.Elem())
	case reflect.Array:
		for i := range v.Len() {
			v.Index(i).SetUint(rng.Uint64() & 0xff)
		}
	case reflect.Bool:
		v.SetBool(rng.IntN(2) == 0)
	case reflect.Uint64:
		v.SetUint(rng.Uint64() >> 1)
	case reflect.Uint32:
		v.SetUint(rng.Uint64() & 0x7fffffff)
	case reflect.Uint8, reflect.Uint16:
		v.SetUint(rng.Uint64() & 0xff)
	default:
		tb.Fatalf("no random value for %s", v.Type())
	}
}

func fillFields(tb testing.TB, rng *rand.Rand, v reflect.Value) {
	tb.Helper()
	for _, field := range v.Fields() {
		fill(tb, rng, field)
	}
}

// families are where a message of a contract can be read.
func families(c Contract) []Contract {
	if c == ContractAny {
		return []Contract{ContractRoot, ContractProxy, ContractClient, ContractWorker, ContractWallet}
	}
	return []Contract{c}
}

// TestMessagesRoundTrip: every message reads back as it was written, by its contract, and a bit more or less is refused.
func TestMessagesRoundTrip(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, row := range Operations() {
		if row.New == nil {
			continue
		}
		t.Run(row.Name, func(t *testing.T) {
			for range 50 {
				m := row.New()
				fill(t, rng, reflect.ValueOf(m).Elem())
				if h, ok := m.(*RootHash); ok {
					h.Change = row.Op
				}
				switch n := m.(type) {
				case *RootChangeKeyManager: // one cell holds no more
					n.Addr = n.Addr[:min(len(n.Addr), 50)]
				case *ClientNote:
					n.Payload = &NoteTopUp{Amount: 5, Excess: anyAddr(1)}
				case *WorkerNote:
					n.Payload = &NotePayout{WorkerPart: 5, ProxyPart: 6, Excess: anyAddr(1)}
				}
				body, err := Encode(m)
				if err != nil {
					t.Fatal(err)
				}
				for _, to := range families(row.Contract) {
					got, err := Decode(to, body)
					if err != nil {
						t.Fatal(err)
					}
					if diff := cmp.Diff(m, got, options()); diff != "" {
						t.Fatalf("(-written +read):\n%s", diff)
					}
					more := body.ToBuilder().MustStoreUInt(1, 1).EndCell()
					if _, err := Decode(to, more); err == nil {
						t.Fatal("a bit left over is accepted")
					}
				}
			}
		})
	}
}

// TestStorageRoundTrip: every storage reads back as it was written, with and without what ours appends.
func TestStorageRoundTrip(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 100 {
		var p ProxyStorage
		fill(t, rng, reflect.ValueOf(&p).Elem())
		p.Ext.ChildParams.Proxy = nil
		roundTrip(t, p, ParseProxyStorage)
		p.Ext = nil
		roundTrip(t, p, ParseProxyStorage)
		var c ClientStorage
		fill(t, rng, reflect.ValueOf(&c).Elem())
		roundTrip(t, c, ParseClientStorage)
		c.Ext = nil
		roundTrip(t, c, ParseClientStorage)
		var w WorkerStorage
		fill(t, rng, reflect.ValueOf(&w).Elem())
		roundTrip(t, w, ParseWorkerStorage)
		w.Ext = nil
		roundTrip(t, w, ParseWorkerStorage)
		var wallet WalletStorage
		fill(t, rng, reflect.ValueOf(&wallet).Elem())
		roundTrip(t, wallet, ParseWalletStorage)
		roundTrip(t, anyRoot(t, rng), ParseRoot)
	}
}

// anyRoot is a root of any structure version.
func anyRoot(tb testing.TB, rng *rand.Rand) RootStorage {
	tb.Helper()
	r := RootStorage{Owner: anyAddr(9), Version: rng.Uint32(), LastSeqno: rng.Uint32()}
	fill(tb, rng, reflect.ValueOf(&r.Params).Elem())
	r.Params.StructVersion = uint8(rng.IntN(maxStructVersion + 1))
	if v := r.Params.StructVersion; v < 3 {
		r.Params.PromptMultiplier, r.Params.CompletionMultiplier = unit, unit
		if v < 2 {
			r.Params.CachedMultiplier, r.Params.ReasoningMultiplier = unit, unit
		}
		if v < 1 {
			r.Params.MinProxyStake, r.Params.MinClientStake = defaultStake, defaultStake
		}
	}
	hashes := func() []Hash {
		var out []Hash
		for i := range rng.IntN(5) {
			out = append(out, Hash{byte(i), byte(rng.Uint32())})
		}
		return out
	}
	r.ProxyHashes, r.WorkerHashes, r.ModelHashes = hashes(), hashes(), hashes()
	for i := range rng.IntN(4) {
		r.Proxies = append(r.Proxies, RegisteredProxy{uint32(i * 7), NetAddr(fmt.Sprintf("10.0.0.%d:1 10.0.0.%d:2", i, i))})
	}
	if r.Params.StructVersion >= 4 {
		r.KeyManager = &KeyManager{PublicKey: Hash{4}, ImageHash: Hash{5}, Addr: "1.2.3.4:5"}
		for i := range rng.IntN(4) {
			r.KeyManager.Keys = append(r.KeyManager.Keys, ManagedKey{Hash{byte(i)}, byte(i), rng.Uint32()})
		}
	}
	if r.Params.StructVersion >= 5 {
		r.Verified = &Verified{hashes(), hashes(), hashes()}
	}
	return r
}

func roundTrip[T interface{ Cell() (*cell.Cell, error) }](t *testing.T, v T, parse func(*cell.Cell) (T, error)) {
	t.Helper()
	c, err := v.Cell()
	if err != nil {
		t.Fatal(err)
	}
	got, err := parse(c)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(v, got, options()); diff != "" {
		t.Fatalf("(-written +read):\n%s", diff)
	}
	if _, err := parse(c.ToBuilder().MustStoreUInt(1, 1).EndCell()); err == nil {
		t.Fatal("a bit left over is accepted")
	}
	s := c.MustBeginParse()
	if bits := s.BitsLeft(); bits > 0 {
		short, err := s.LoadSlice(bits - 1)
		if err != nil {
			t.Fatal(err)
		}
		b := cell.BeginCell().MustStoreSlice(short, bits-1)
		for range c.RefsNum() {
			ref, err := s.LoadRefCell()
			if err != nil {
				t.Fatal(err)
			}
			b.MustStoreRef(ref)
		}
		if _, err := parse(b.EndCell()); err == nil {
			t.Fatal("a bit less is accepted")
		}
	}
}

// TestRefused: what the layouts do not allow is an error that names the field.
func TestRefused(t *testing.T) {
	coins := func(b *cell.Builder) *cell.Cell {
		return cell.BeginCell().MustStoreUInt(uint64(OpClientUnpaid), 32).MustStoreUInt(1, 64).MustStoreBuilder(b).EndCell()
	}
	excess := func(b *cell.Builder) *cell.Cell {
		return cell.BeginCell().MustStoreUInt(uint64(OpClientWithdraw), 32).MustStoreUInt(1, 64).MustStoreBuilder(b).EndCell()
	}
	for name, c := range map[string]struct {
		body *cell.Cell
		want string
	}{
		"amount of nine bytes":     {coins(cell.BeginCell().MustStoreUInt(9, 4).MustStoreUInt(1, 8).MustStoreUInt(0, 64)), "amount: an amount of 9 bytes"},
		"amount of 2^63":           {coins(cell.BeginCell().MustStoreUInt(8, 4).MustStoreUInt(1<<63, 64)), "2^63 or more"},
		"amount in too many":       {coins(cell.BeginCell().MustStoreUInt(2, 4).MustStoreUInt(1, 16)), "written in 2 bytes"},
		"amount cut off":           {coins(cell.BeginCell().MustStoreUInt(2, 4)), "amount"},
		"no address":               {excess(cell.BeginCell().MustStoreUInt(0, 2)), "send_excesses_to: not a plain addr_std"},
		"external address":         {excess(cell.BeginCell().MustStoreUInt(0b01, 2).MustStoreUInt(8, 9).MustStoreUInt(1, 8)), "send_excesses_to"},
		"address with anycast":     {excess(cell.BeginCell().MustStoreUInt(0b101, 3).MustStoreUInt(1, 5).MustStoreUInt(1, 1).MustStoreUInt(0, 8).MustStoreSlice(make([]byte, 32), 256)), "send_excesses_to"},
		"left over":                {coins(cell.BeginCell().MustStoreUInt(0, 4).MustStoreUInt(0, 1)), "left over: 1 bits"},
		"reference left over":      {coins(cell.BeginCell().MustStoreUInt(0, 4).MustStoreRef(anyCell(1))), "1 references"},
		"unknown operation":        {cell.BeginCell().MustStoreUInt(0xabcdef01, 32).EndCell(), "unknown operation abcdef01"},
		"no operation":             {cell.BeginCell().MustStoreUInt(1, 31).EndCell(), "op"},
		"of another contract":      {cell.BeginCell().MustStoreUInt(uint64(OpWorkerPayout), 32).EndCell(), "unknown operation"},
		"declared by nobody's use": {cell.BeginCell().MustStoreUInt(uint64(OpClientTopUpReopen), 32).EndCell(), "unknown operation"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := Decode(ContractClient, c.body); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
	if _, err := Decode(ContractClient, nil); err == nil {
		t.Error("no cell is accepted")
	}
	if _, err := Decode(ContractClient, cell.BeginCell().MustStoreUInt(1, 8).EndCell()); errors.Is(err, ErrUnknownOp) {
		t.Error("a short body is called an unknown operation")
	}
}

// TestUnwritable: values outside the layouts are refused when they are written.
func TestUnwritable(t *testing.T) {
	for name, m := range map[string]Message{
		"no excess address": &ClientWithdraw{QueryID: 1},
		"addr_none":         &ClientWithdraw{QueryID: 1, Excess: address.NewAddressNone()},
		"amount of 2^63":    &ClientUnpaid{Amount: 1 << 63},
		"long address":      &RootRegisterProxy{Addr: NetAddr(strings.Repeat("x", maxNetAddr+1))},
		"very long address": &RootRegisterProxy{Addr: NetAddr(strings.Repeat("x", 300))},
		"seqno of 2^31":     &SaveState{Seqno: 1 << 31},
		"counter of 2^63":   &WorkerNote{Owner: anyAddr(1), Tokens: 1 << 63},
		"state of 3 bits":   &WorkerNote{Owner: anyAddr(1), State: 4},
		"no payload":        &ClientCharge{Signed{Excess: anyAddr(1)}},
		"no code":           &RootUpgrade{},
		"payload inside":    &ClientNote{Owner: anyAddr(1), Payload: &NoteTopUp{}},
	} {
		if _, err := Encode(m); err == nil {
			t.Errorf("%s is written", name)
		}
	}
	root := anyRoot(t, rand.New(rand.NewPCG(1, 1)))
	root.Params.StructVersion, root.KeyManager = 3, &KeyManager{}
	if _, err := root.Cell(); err == nil {
		t.Error("a root of version 3 is written with a key manager")
	}
	root.Params.StructVersion, root.KeyManager = 4, nil
	if _, err := root.Cell(); err == nil {
		t.Error("a root of version 4 is written without a key manager")
	}
	root.Params.StructVersion, root.ModelHashes = 3, []Hash{{1}, {1}}
	if _, err := root.Cell(); err == nil {
		t.Error("a hash is written twice")
	}
	root.ModelHashes, root.Params.StructVersion = nil, 6
	if _, err := root.Cell(); err == nil || !strings.Contains(err.Error(), "struct version 6") {
		t.Errorf("version 6: %v", err)
	}
}

// TestResults: results of get methods are checked value by value.
func TestResults(t *testing.T) {
	addr := cell.BeginCell().MustStoreAddr(anyAddr(3)).ToSlice()
	one := big.NewInt(1)
	good := []any{addr, addr, one, one, one}
	if _, err := ParseWorkerData(good); err != nil {
		t.Error(err)
	}
	if _, err := ParseWorkerData([]any{addr.MustToCell(), addr, one, one, one}); err != nil {
		t.Error(err)
	}
	for name, values := range map[string][]any{
		"too few": good[:4], "too many": append(good[:5:5], one), "a number for an address": {one, addr, one, one, one},
		"an address for a number": {addr, addr, addr, one, one}, "negative": {addr, addr, one, one, big.NewInt(-1)},
		"too big": {addr, addr, one, one, new(big.Int).Lsh(one, 63)}, "no address": {cell.BeginCell().MustStoreUInt(0, 2).ToSlice(), addr, one, one, one},
		"address and more": {cell.BeginCell().MustStoreAddr(anyAddr(3)).MustStoreUInt(1, 1).ToSlice(), addr, one, one, one},
	} {
		if _, err := ParseWorkerData(values); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
	for v, want := range map[int64]bool{0: false, -1: true} {
		if got, err := ParseTruth("x", []any{big.NewInt(v)}); err != nil || got != want {
			t.Errorf("%d is %v, %v", v, got, err)
		}
	}
	if _, err := ParseTruth("x", []any{one}); err == nil {
		t.Error("1 is accepted as a truth value")
	}
	if Hash([32]byte{31: 5}).Big().Int64() != 5 {
		t.Error("a hash is not its number")
	}
}
