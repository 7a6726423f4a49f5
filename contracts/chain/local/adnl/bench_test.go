package adnl

import (
	"math/big"
	"testing"

	"github.com/xssnick/tonutils-go/ton"
)

// BenchmarkAccountProof is one account with its proofs, of two hundred; the target is 0.5 ms.
func BenchmarkAccountProof(b *testing.B) {
	n := newNetwork(b)
	for i := range byte(200) {
		if err := n.Fund(someone(0, i), big.NewInt(1e9), nil); err != nil {
			b.Fatal(err)
		}
	}
	n.steps(b, 1)
	t, err := n.At(n.Newest())
	if err != nil {
		b.Fatal(err)
	}
	q := ton.GetAccountState{ID: t.Master.ID(), Account: ton.AccountID{ID: someone(0, 7).Data()}}
	for b.Loop() {
		if a, err := n.server.accountState(q); err != nil || a == nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkAccountOverADNL is the same with the client's checks, over a connection.
func BenchmarkAccountOverADNL(b *testing.B) {
	n := newNetwork(b)
	n.steps(b, 1)
	api := n.client(b)
	at := head(b, api)
	for b.Loop() {
		if _, err := api.GetAccount(b.Context(), at, n.Faucet()); err != nil {
			b.Fatal(err)
		}
	}
}
