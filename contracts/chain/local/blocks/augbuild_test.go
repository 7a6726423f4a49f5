package blocks

import (
	"bytes"
	"crypto/sha256"
	"testing"

	"github.com/xssnick/tonutils-go/tlb"
	"github.com/xssnick/tonutils-go/tvm/cell"
	"pgregory.net/rapid"

	"cocoon/contracts/chain"
)

// TestBuildAugEqualsInsertion compares with the library's dictionary, entry by entry, for keys with long common prefixes
// and runs of equal bits.
func TestBuildAugEqualsInsertion(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 40).Draw(t, "entries")
		dict, err := tlb.NewOutMsgDescrAugDict()
		if err != nil {
			t.Fatal(err)
		}
		var items []Item
		known := map[chain.Hash]bool{}
		for i := range n {
			var key chain.Hash
			switch rapid.IntRange(0, 2).Draw(t, "shape") {
			case 0:
				key = sha256.Sum256([]byte{byte(i)})
			case 1:
				key[31] = rapid.Byte().Draw(t, "last")
			default:
				for j := range key {
					key[j] = 0xff
				}
				key[rapid.IntRange(0, 31).Draw(t, "where")] = rapid.Byte().Draw(t, "what")
			}
			if known[key] {
				continue
			}
			known[key] = true
			msg := cell.BeginCell().MustStoreUInt(uint64(i), 16).EndCell()
			rec, err := ExportExternal(msg, msg)
			if err != nil {
				t.Fatal(err)
			}
			items = append(items, Item{key, rec})
			if err := dict.Set(cell.BeginCell().MustStoreSlice(key[:], 256).EndCell(), rec); err != nil {
				t.Fatal(err)
			}
		}
		slow, err := dict.ToCell()
		if err != nil {
			t.Fatal(err)
		}
		fast, err := BuildAug(tlb.AugOutMsgDescr{}, items)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(slow.Hash(), fast.Hash()) {
			t.Fatalf("of %d entries: got\n%s\nwant\n%s", len(items), fast.Dump(), slow.Dump())
		}
	})
}

func TestBuildAugRefusesTwoEntriesForOneKey(t *testing.T) {
	c := cell.BeginCell().EndCell()
	rec, err := ExportExternal(c, c)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := BuildAug(tlb.AugOutMsgDescr{}, []Item{{Value: rec}, {Value: rec}}); err == nil {
		t.Error("two entries for one key")
	}
}
