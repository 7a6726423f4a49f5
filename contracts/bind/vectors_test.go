package bind

import (
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"slices"
	"strings"
	"testing"

	"github.com/xssnick/tonutils-go/address"
	"github.com/xssnick/tonutils-go/tvm/cell"

	"cocoon/tests/golden"
)

// liveCell is a cell of the network's state.
func liveCell(tb testing.TB, file string) *cell.Cell {
	tb.Helper()
	var v struct {
		BOC string `json:"boc_hex"`
	}
	golden.JSON(tb, file, &v)
	c, err := cell.FromBOC(golden.Hex(tb, v.BOC))
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// TestLiveRoot: the network's root reads as published and writes back to the same cell.
func TestLiveRoot(t *testing.T) {
	c := liveCell(t, "contracts/mainnet_root.json")
	r, err := ParseRoot(c)
	if err != nil {
		t.Fatal(err)
	}
	back, err := r.Cell()
	if err != nil {
		t.Fatal(err)
	}
	if back.HashKey() != c.HashKey() {
		t.Error("the root does not write back to its own hash")
	}
	p := r.Params
	got := fmt.Sprint(r.Version, len(r.ProxyHashes), len(r.WorkerHashes), len(r.ModelHashes), r.LastSeqno, r.Proxies,
		p.StructVersion, p.ParamsVersion, p.UniqueID, p.PricePerToken, p.WorkerFee, p.ProxyDelay, p.ClientDelay, p.MinProxyStake, p.MinClientStake,
		p.PromptMultiplier, p.CachedMultiplier, p.CompletionMultiplier, p.ReasoningMultiplier)
	want := "87 4 5 4 3 [{2 91.108.4.11:5222 91.108.4.11:8888}] 4 17 239 20 19 86400 43200 15000000000 15000000000 10000 1000 80000 80000"
	if got != want {
		t.Errorf("root is\n%s\nwant\n%s", got, want)
	}
	if r.KeyManager == nil || len(r.KeyManager.Keys) != 0 || r.KeyManager.Addr != "" {
		t.Errorf("key manager is %+v", r.KeyManager)
	}
}

// TestLiveProxy: the network's proxy reads, has the root's parameters and derives to its own address.
func TestLiveProxy(t *testing.T) {
	root, err := ParseRoot(liveCell(t, "contracts/mainnet_root.json"))
	if err != nil {
		t.Fatal(err)
	}
	c := liveCell(t, "contracts/mainnet_proxy.json")
	s, err := ParseProxyStorage(c)
	if err != nil {
		t.Fatal(err)
	}
	in, err := NewProxy(root.Params, s.Root, s.Owner, s.ProxyKey)
	if err != nil {
		t.Fatal(err)
	}
	if in.Data.HashKey() != c.HashKey() || in.Address.String() != "EQDTC4XYwcRwan5FEMmfQze48J6YaK8Ao3QiOsvHx83q0uPf" {
		t.Errorf("derived %s", in.Address)
	}
}

// TestDerivationVectors: all rows of the derivation table, with code cells where the live root has them.
func TestDerivationVectors(t *testing.T) {
	root, err := ParseRoot(liveCell(t, "contracts/mainnet_root.json"))
	if err != nil {
		t.Fatal(err)
	}
	var v struct {
		Rows []struct {
			Kind   string
			Inputs struct {
				Owner, Proxy, Root, MachinePublicKey string
				PublicKey                            string `json:"public_key"`
				Key                                  string `json:"proxy_public_key"`
			}
			CodeHash   string `json:"code_hash"`
			CodeDepth  uint16 `json:"code_depth"`
			DataHash   string `json:"data_hash"`
			StateInit  string `json:"state_init_hash"`
			AddressRaw string `json:"address_raw"`
		}
	}
	golden.JSON(t, "contracts/address_derivation.json", &v)
	if len(v.Rows) != 13 {
		t.Fatalf("%d rows, want 13", len(v.Rows))
	}
	for i, row := range v.Rows {
		t.Run(fmt.Sprintf("%d %s", i, row.Kind), func(t *testing.T) {
			parse := func(s string) *address.Address {
				if s == "" {
					return nil
				}
				return address.MustParseAddr(s)
			}
			var key Hash
			copy(key[:], golden.Hex(t, row.Inputs.Key))
			var in Instance
			var err error
			switch row.Kind {
			case "proxy":
				in, err = NewProxy(root.Params, parse(row.Inputs.Root), parse(row.Inputs.Owner), key)
			case "client":
				in, err = NewClient(root.Params, parse(row.Inputs.Proxy), parse(row.Inputs.Owner), key)
			case "worker":
				in, err = NewWorker(root.Params, parse(row.Inputs.Proxy), parse(row.Inputs.Owner), key)
			default:
				copy(key[:], golden.Hex(t, row.Inputs.PublicKey))
				var data *cell.Cell
				data, err = WalletStorage{PublicKey: key, Owner: parse(row.Inputs.Owner)}.Cell()
				if err == nil && hex.EncodeToString(data.Hash()) != row.DataHash {
					t.Errorf("data hash is %x", data.Hash())
				}
				if err == nil {
					at := AddressOf(Hash(golden.Hex(t, row.CodeHash)), row.CodeDepth, Hash(data.Hash()), data.Depth())
					in = Instance{Data: data, Address: at}
				}
			}
			if err != nil {
				t.Fatal(err)
			}
			if in.Address.StringRaw() != row.AddressRaw || hex.EncodeToString(in.Data.Hash()) != row.DataHash {
				t.Errorf("derived %s with data %x, want %s with %s", in.Address.StringRaw(), in.Data.Hash(), row.AddressRaw, row.DataHash)
			}
			if in.Code != nil && hex.EncodeToString(in.Code.Hash()) != row.CodeHash {
				t.Errorf("code hash is %x", in.Code.Hash())
			}
			by := AddressOf(Hash(golden.Hex(t, row.CodeHash)), row.CodeDepth, Hash(in.Data.Hash()), in.Data.Depth())
			if !by.Equals(in.Address) {
				t.Errorf("by hashes and depths: %s", by.StringRaw())
			}
		})
	}
}

// TestOperationTable: our table is the vectors' table of these contracts, and the codes that are ours are the CRC-32 of
// their names.
func TestOperationTable(t *testing.T) {
	var v struct {
		Opcodes []struct {
			Op, Name, Contract, Origin string
			CRC                        string `json:"crc32_of"`
		}
	}
	golden.JSON(t, "contracts/opcodes.json", &v)
	mine := map[string]Operation{}
	for _, row := range Operations() {
		if _, twice := mine[row.Name]; twice {
			t.Errorf("%s is in the table twice", row.Name)
		}
		mine[row.Name] = row
	}
	delete(mine, "text")
	for _, row := range v.Opcodes {
		if slices.Contains([]string{"governor", "agreement", "farm"}, row.Contract) {
			continue // bound in files of their own
		}
		got, ok := mine[row.Name]
		delete(mine, row.Name)
		if !ok || fmt.Sprintf("%08x", uint32(got.Op)) != row.Op {
			t.Errorf("%s is %08x, want %s", row.Name, uint32(got.Op), row.Op)
		}
		if row.Origin == "ours" && uint32(got.Op) != crc32.ChecksumIEEE([]byte(row.CRC)) {
			t.Errorf("%s is not the CRC-32 of %q", row.Name, row.CRC)
		}
		if got.New != nil {
			if m := got.New(); m.Op() != got.Op {
				t.Errorf("%s makes a message of %s", row.Name, m.Op())
			}
		}
		if got.Op.String() != row.Name {
			t.Errorf("%08x prints as %s, want %s", uint32(got.Op), got.Op, row.Name)
		}
	}
	for name, row := range mine {
		if !strings.HasPrefix(name, "governor_") && !strings.HasPrefix(name, "agreement_") && !strings.HasPrefix(name, "farm_") {
			t.Errorf("%s (%08x) is not in the vectors", name, uint32(row.Op))
		}
	}
}
