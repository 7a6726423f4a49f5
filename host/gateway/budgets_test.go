package gateway

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cocoon/contracts/api"
	"cocoon/host/gateway/keys"
)

// TestBudgetsOutliveTheGateway: behind a reference proxy there are no receipts to count again, so the file has to hold.
func TestBudgetsOutliveTheGateway(t *testing.T) {
	file := filepath.Join(t.TempDir(), "budgets.json")
	open := func() *keys.Book {
		return book(t, `{"keys":[{"name":"a","sha256":"HASH0","tokens_per_day":16}]}`, "secret")
	}
	ask := func(w *world) reply {
		r := w.do("POST", "/v1/chat/completions", chatBody(""), "Authorization", "Bearer secret")
		w.server.running.end()
		return r
	}
	t.Run("the first run", func(t *testing.T) {
		w := start(t, setup{keys: open(), budgets: file}, newScripted("p1", 4, good))
		if r := ask(w); r.status != 200 {
			t.Fatalf("%d %s", r.status, r.body)
		}
	})
	t.Run("the second run", func(t *testing.T) {
		w := start(t, setup{keys: open(), budgets: file}, newScripted("p1", 4, good))
		if r := ask(w); r.status != 402 || r.code(t) != string(api.KeyBudgetExceeded) || r.header.Get("X-Ratelimit-Remaining-Tokens") != "0" {
			t.Errorf("%d %s", r.status, r.body)
		}
	})
	if err := os.WriteFile(file, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	w := start(t, setup{}, newScripted("p1", 5, good))
	cfg := w.server.cfg
	cfg.Keys, cfg.Budgets = open(), file
	if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), "reading budgets") {
		t.Errorf("a file that cannot be read is passed over: %v", err)
	}
}
