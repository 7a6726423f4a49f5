package blocks

import (
	"bytes"
	"math/big"
	"testing"

	"github.com/xssnick/tonutils-go/tvm/cell"

	"cocoon/contracts/chain"
	"cocoon/tests/golden"
)

// The prices and limits are compared with a configuration that the main network's tools use.
func TestFixedParametersAreTheMainNetworks(t *testing.T) {
	root, err := cell.FromBOC(golden.Vector(t, "contracts/config.boc.gz"))
	if err != nil {
		t.Fatal(err)
	}
	v, err := NewValidators([32]byte{}, 0, 1)
	if err != nil {
		t.Fatal(err)
	}
	ours, err := Config(ConfigSpec{GlobalVersion: 12, Validators: v})
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []int32{0, 1, 2, 15, 16, 17, 20, 21, 22, 23, 24, 25, 28, 29} {
		want, err := chain.NewConfig(root).Param(id)
		if err != nil {
			t.Fatal(err)
		}
		got, err := chain.NewConfig(ours).Param(id)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(want.Hash(), got.Hash()) {
			t.Errorf("parameter %d is\n%s\nwant\n%s", id, got.Dump(), want.Dump())
		}
	}
}

func TestFlowRefusesMoneyFromNowhere(t *testing.T) {
	n := big.NewInt
	for name, c := range map[string]struct {
		flow Flow
		ok   bool
	}{
		"empty":    {Flow{n(0), n(0), n(0), n(0), n(0), n(0)}, true},
		"fees":     {Flow{n(10), n(8), n(3), n(4), n(1), n(0)}, true},
		"imported": {Flow{n(10), n(12), n(0), n(0), n(3), n(5)}, true},
		"made":     {Flow{n(10), n(11), n(0), n(0), n(0), n(0)}, false},
		"lost":     {Flow{n(10), n(9), n(0), n(0), n(0), n(0)}, false},
	} {
		t.Run(name, func(t *testing.T) {
			if err := c.flow.Check(); (err == nil) != c.ok {
				t.Errorf("got %v", err)
			}
		})
	}
}
