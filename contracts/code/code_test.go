package code

import (
	"encoding/hex"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/xssnick/tonutils-go/tvm/cell"

	"cocoon/tests/golden"
)

// TestEmbedded: each contract is there, has the manifest's hash, depth and size, and is recognised as ours.
func TestEmbedded(t *testing.T) {
	codes := map[string]*cell.Cell{
		"root": Root(), "proxy": Proxy(), "client": Client(), "worker": Worker(), "wallet": Wallet(),
		"governor": Governor(), "agreement": Agreement(), "farm": Farm(),
	}
	entries, err := Manifest()
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		c := codes[e.Contract]
		if c == nil {
			t.Errorf("%s: no code", e.Contract)
			continue
		}
		delete(codes, e.Contract)
		got := Entry{e.Contract, e.Digest, hex.EncodeToString(c.Hash()), c.Depth(), len(c.ToBOC())}
		if diff := cmp.Diff(e, got); diff != "" {
			t.Errorf("%s (-manifest +embedded):\n%s", e.Contract, diff)
		}
		id, ok := Recognise(Hash(c.Hash()))
		if want := (Identity{e.Contract, Ours}); !ok || id != want {
			t.Errorf("%s is recognised as %v, %v", e.Contract, id, ok)
		}
		if id.Commits() != (e.Contract == "proxy") {
			t.Errorf("%s: commits %v", e.Contract, id.Commits())
		}
	}
	for name := range codes {
		t.Errorf("%s is not in the manifest", name)
	}
}

// TestLive: the code in the live root is recognised as the network's, and a changed hash as nothing.
func TestLive(t *testing.T) {
	var v struct {
		BOC string `json:"boc_hex"`
	}
	golden.JSON(t, "contracts/mainnet_root.json", &v)
	root, err := cell.FromBOC(golden.Hex(t, v.BOC))
	if err != nil {
		t.Fatal(err)
	}
	params := root.MustPeekRef(1)
	for i, name := range []string{"proxy", "worker", "client"} {
		h := Hash(params.MustPeekRef(i).Hash())
		id, ok := Recognise(h)
		if want := (Identity{name, Live}); !ok || id != want || id.Commits() {
			t.Errorf("live %s is recognised as %v, %v", name, id, ok)
		}
		h[31] ^= 1
		if id, ok := Recognise(h); ok {
			t.Errorf("another hash is recognised as %v", id)
		}
	}
}
