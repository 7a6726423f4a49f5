package keys

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cocoon/contracts/api"
)

func TestBudgetsOutliveARestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "budgets.json")
	now := time.Unix(1_800_000_000, 0)
	limits := `,"requests_per_minute":3,"tokens_per_day":100,"nano_per_day":"1000"`
	b := parse(t, limits)
	if known, err := b.Recall(path, now); err != nil || known {
		t.Fatalf("before the first run: %t, %v", known, err)
	}
	for range 3 {
		if _, err := b.Admit("a", now); err != nil {
			t.Fatal(err)
		}
	}
	b.Spend("a", now, 60, 999)
	if err := b.Save(path); err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(path); err != nil || strings.Contains(string(data), hash("k")) {
		t.Errorf("the file: %s, %v", data, err)
	}

	again := parse(t, limits)
	if known, err := again.Recall(path, now.Add(time.Second)); err != nil || !known {
		t.Fatalf("%t, %v", known, err)
	}
	if _, err := again.Admit("a", now.Add(time.Second)); codeOf(t, err) != api.RateLimitExceeded {
		t.Errorf("the fourth request of the minute: %v", err)
	}
	later := now.Add(time.Hour)
	got, err := again.Admit("a", later)
	if err != nil || got.Tokens.Remaining != 40 {
		t.Errorf("an hour later: %+v, %v", got.Tokens, err)
	}
	again.Spend("a", later, 0, 1)
	if _, err := again.Admit("a", later); codeOf(t, err) != api.KeyBudgetExceeded {
		t.Errorf("all coins are spent: %v", err)
	}
	if _, err := again.Admit("a", now.Add(25*time.Hour)); err != nil {
		t.Errorf("the next day: %v", err)
	}
}

func TestStatesThatAreNotBelieved(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	for name, tc := range map[string]struct {
		doc   string
		known bool
	}{
		"another schema":   {`{"schema":"x","keys":{}}`, false},
		"more than JSON":   {`{"schema":"cocoon.gateway.budgets/1","keys":{}}{}`, false},
		"unknown member":   {`{"schema":"cocoon.gateway.budgets/1","keys":{},"x":1}`, false},
		"negative tokens":  {`{"schema":"cocoon.gateway.budgets/1","keys":{"a":{"began":"2026-01-01T00:00:00Z","at":"2026-01-01T00:00:00Z","tokens":-5,"nano":"0","allow":0}}}`, false},
		"use before a day": {`{"schema":"cocoon.gateway.budgets/1","keys":{"a":{"began":"2026-01-02T00:00:00Z","at":"2026-01-01T00:00:00Z","tokens":5,"nano":"0","allow":0}}}`, false},
		"another key":      {`{"schema":"cocoon.gateway.budgets/1","keys":{"gone":{"began":"2026-01-01T00:00:00Z","at":"2026-01-01T00:00:00Z","tokens":99,"nano":"0","allow":0}}}`, true},
		"the future":       {`{"schema":"cocoon.gateway.budgets/1","keys":{"a":{"began":"2099-01-01T00:00:00Z","at":"2099-01-01T00:00:00Z","tokens":999,"nano":"0","allow":0}}}`, true},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "budgets.json")
			if err := os.WriteFile(path, []byte(tc.doc), 0o600); err != nil {
				t.Fatal(err)
			}
			b := parse(t, `,"tokens_per_day":100`)
			known, err := b.Recall(path, now)
			if known != tc.known || (err == nil) != tc.known {
				t.Errorf("%t, %v", known, err)
			}
			if got, err := b.Admit("a", now); err != nil || got.Tokens.Remaining != 100 {
				t.Errorf("%+v, %v", got.Tokens, err)
			}
		})
	}
	unwritten := parse(t, `,"tokens_per_day":1`)
	unwritten.Spend("a", now, 1, 1)
	if err := unwritten.Save(filepath.Join(t.TempDir(), "no", "folder")); err == nil {
		t.Error("a folder that is not there was written to")
	}
	if err := new(Book).Save("/nowhere/at/all"); err != nil {
		t.Errorf("nobody has used anything: %v", err)
	}
}

func FuzzState(f *testing.F) {
	for _, seed := range []string{
		`{"schema":"cocoon.gateway.budgets/1","keys":{}}`, `{"schema":"cocoon.gateway.budgets/1","keys":{"a":{"began":"2026-01-01T00:00:00Z","at":"2026-01-01T00:00:00Z","tokens":5,"nano":"7","allow":1.5}}}`,
		`{}`, `[]`, `{"schema":"cocoon.gateway.budgets/1","keys":{"a":{"allow":1e300}}}`, `{"schema":"cocoon.gateway.budgets/1","keys":null} x`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := parseState(data)
		if err != nil {
			return
		}
		for name, u := range s.Keys {
			if u.Tokens < 0 || u.Allow < 0 {
				t.Errorf("%q: %+v", name, u)
			}
		}
	})
}
