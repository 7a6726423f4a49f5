package month_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/xssnick/tonutils-go/liteclient"
	lib "github.com/xssnick/tonutils-go/ton"

	"cocoon/contracts/chain"
)

// witness is tonutils-go's client as it comes, with full proof checking: it must see what ours sees.
type witness struct {
	t   *testing.T
	api *lib.APIClient
}

func newWitness(t *testing.T, config []byte) *witness {
	t.Helper()
	name := filepath.Join(t.TempDir(), "global.config.json")
	check(t, os.WriteFile(name, config, 0o600))
	parsed, err := liteclient.GetConfigFromFile(name)
	check(t, err)
	pool := liteclient.NewConnectionPool()
	pool.SetOnDisconnect(nil)
	t.Cleanup(pool.Stop)
	check(t, pool.AddConnectionsFromConfig(t.Context(), parsed))
	w := &witness{t: t, api: lib.NewAPIClient(pool, lib.ProofCheckPolicySecure)}
	w.api.SetTrustedBlockFromConfig(parsed)
	return w
}

// agree reads accounts at the block that the books were balanced at, and compares block, balances and newest
// transactions.
func (w *witness) agree(at chain.Block, accounts []*entry) {
	w.t.Helper()
	head, err := w.api.GetMasterchainInfo(w.t.Context())
	check(w.t, err)
	if head.SeqNo != at.Seqno || !bytes.Equal(head.RootHash, at.RootHash[:]) {
		w.t.Fatalf("the library's client sees block %d, ours block %d", head.SeqNo, at.Seqno)
	}
	for _, e := range accounts {
		got, err := w.api.GetAccount(w.t.Context(), head, e.addr)
		check(w.t, err)
		if got.State == nil || got.State.Balance.Nano().Int64() != e.coins || got.LastTxLT != e.cursor.LT {
			w.t.Errorf("block %d: the library's client sees another state of %s", at.Seqno, e.name)
		}
	}
}
