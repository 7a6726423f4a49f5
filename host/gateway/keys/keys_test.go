package keys

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
	"time"

	"cocoon/contracts/api"
)

var t0 = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

func hash(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:])
}

func codeOf(t *testing.T, err error) api.Code {
	t.Helper()
	e, ok := errors.AsType[*api.Error](err)
	if !ok {
		t.Fatalf("error %v", err)
	}
	return e.Code
}

func TestParseRefuses(t *testing.T) {
	good := `{"name":"a","sha256":"` + hash("k") + `"}`
	for name, tc := range map[string]struct{ doc, want string }{
		"nothing":       {``, "EOF"},
		"no keys":       {`{"keys":[]}`, "0 keys"},
		"misspelt":      {`{"keys":[{"name":"a","sha256":"` + hash("k") + `","token_per_day":5}]}`, "token_per_day"},
		"behind":        {`{"keys":[` + good + `]} {}`, "after the document"},
		"a limit twice": {`{"keys":[{"name":"a","sha256":"` + hash("k") + `","tokens_per_day":5,"tokens_per_day":0}]}`, "tokens_per_day"},
		"in capitals":   {`{"keys":[{"name":"a","sha256":"` + hash("k") + `","Tokens_Per_Day":5}]}`, "Tokens_Per_Day"},
		"a key itself":  {`{"keys":[{"name":"a","sha256":"sk-123"}]}`, "64 hexadecimal"},
		"no name":       {`{"keys":[{"sha256":"` + hash("k") + `"}]}`, "name"},
		"odd name":      {`{"keys":[{"name":"a b","sha256":"` + hash("k") + `"}]}`, "name"},
		"twice":         {`{"keys":[` + good + `,` + good + `]}`, "twice"},
		"negative":      {`{"keys":[{"name":"a","sha256":"` + hash("k") + `","requests_per_minute":-1}]}`, "negative"},
		"too long":      {strings.Repeat(" ", MaxFile+1), "at most"},
		"coins, number": {`{"keys":[{"name":"a","sha256":"` + hash("k") + `","nano_per_day":5}]}`, "string"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := Parse([]byte(tc.doc)); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v", err)
			}
		})
	}
}

func parse(t *testing.T, limits string) *Book {
	t.Helper()
	b, err := Parse([]byte(`{"keys":[{"name":"a","sha256":"` + hash("k") + `"` + limits + `}]}`))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestIdentify(t *testing.T) {
	b := parse(t, "")
	for header, want := range map[string]string{"Bearer k": "a", "bearer  k ": "a", "Bearer K": "", "k": "", "": "", "Basic k": "", "Bearer ": ""} {
		name, err := b.Identify(header)
		if name != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q %v", header, name, err)
		}
		if err != nil && codeOf(t, err) != api.InvalidAPIKey {
			t.Errorf("%q: %v", header, err)
		}
	}
	if name, err := (*Book)(nil).Identify(""); name != "" || err != nil {
		t.Errorf("an open book: %q %v", name, err)
	}
}

func TestRequestsAMinute(t *testing.T) {
	b := parse(t, `,"requests_per_minute":2`)
	for i := range 2 {
		if l, err := b.Admit("a", t0); err != nil || l.Requests.Remaining != int64(1-i) {
			t.Fatalf("request %d: %+v %v", i, l.Requests, err)
		}
	}
	_, err := b.Admit("a", t0)
	e, _ := errors.AsType[*api.Error](err)
	if e == nil || e.Code != api.RateLimitExceeded || e.RetryAfter != 30*time.Second {
		t.Fatalf("third: %+v", err)
	}
	if _, err := b.Admit("a", t0.Add(30*time.Second)); err != nil {
		t.Errorf("after the pause: %v", err)
	}
	if _, err := b.Admit("a", t0.Add(20*time.Second)); err == nil {
		t.Error("a clock that goes back gives requests")
	}
}

func TestDailyBudgets(t *testing.T) {
	for name, limits := range map[string]string{"tokens": `,"tokens_per_day":100`, "coins": `,"nano_per_day":"500"`} {
		t.Run(name, func(t *testing.T) {
			b := parse(t, limits)
			b.Spend("a", t0, 99, 499)
			if _, err := b.Admit("a", t0); err != nil {
				t.Fatal(err)
			}
			b.Spend("a", t0, 1, 1)
			if _, err := b.Admit("a", t0.Add(time.Hour)); codeOf(t, err) != api.KeyBudgetExceeded {
				t.Errorf("error %v", err)
			}
			if _, err := b.Admit("a", t0.Add(24*time.Hour)); err != nil {
				t.Errorf("a day later: %v", err)
			}
			b.Spend("a", t0.Add(24*time.Hour), -5, 0)
			b.Spend("nobody", t0, 1, 1)
		})
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{`{"keys":[{"name":"a","sha256":"` + hash("k") + `"}]}`, `{}`, `{"keys":[{}]}`, `[`, `{"keys":[{"name":"a","sha256":"` + hash("k") + `","nano_per_day":"-1"}]}`, `{"keys":null}x`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := Parse(data)
		if err == nil && b.Open() {
			t.Error("a file was accepted that admits everybody")
		}
	})
}
