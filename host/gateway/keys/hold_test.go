package keys

import (
	"math"
	"testing"
	"time"

	"cocoon/contracts/api"
)

// TestHolds: however many come at once, a day ends at most one request above its budgets, and what is not used comes back.
func TestHolds(t *testing.T) {
	type ask struct {
		tokens int64
		nano   uint64
	}
	for name, tc := range map[string]struct {
		limits string
		asks   []ask
		held   int // how many of them are served at once
	}{
		"without budgets":      {`,"requests_per_minute":5`, []ask{{1 << 60, 1 << 60}, {1 << 60, 1 << 60}}, 2},
		"within the tokens":    {`,"tokens_per_day":100`, []ask{{50, 0}, {50, 0}}, 2},
		"beyond the tokens":    {`,"tokens_per_day":100`, []ask{{50, 0}, {51, 0}, {50, 0}, {1, 0}}, 2},
		"one beyond its day":   {`,"tokens_per_day":100`, []ask{{1000, 0}, {1, 0}}, 1},
		"within the coins":     {`,"nano_per_day":"100"`, []ask{{0, 60}, {0, 40}}, 2},
		"beyond the coins":     {`,"nano_per_day":"100"`, []ask{{0, 60}, {0, 41}}, 1},
		"the price is unknown": {`,"nano_per_day":"100"`, []ask{{9, 0}, {9, 0}}, 2},
		"huge":                 {`,"nano_per_day":"18446744073709551615"`, []ask{{math.MaxInt64, math.MaxUint64}, {-1, math.MaxUint64}}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			b := parse(t, tc.limits)
			var holds []Hold
			for _, a := range tc.asks {
				h, err := b.Hold("a", t0, a.tokens, a.nano)
				if err != nil {
					if code := codeOf(t, err); code != api.RateLimitExceeded {
						t.Errorf("refused with %s", code)
					}
					continue
				}
				holds = append(holds, h)
			}
			if len(holds) != tc.held {
				t.Errorf("%d are served at once, want %d", len(holds), tc.held)
			}
			for _, h := range holds {
				h.Release()
			}
			if a := b.account("a"); a.holds != 0 || a.heldTokens != 0 || a.heldNano != 0 {
				t.Errorf("left are %d holds, %d tokens, %d nano", a.holds, a.heldTokens, a.heldNano)
			}
		})
	}
}

func TestNothingIsHeldOfADayThatIsUsedUp(t *testing.T) {
	b := parse(t, `,"tokens_per_day":100`)
	first, err := b.Hold("a", t0, 80, 0)
	if err != nil {
		t.Fatal(err)
	}
	b.Spend("a", t0, 60, 0)
	first.Release()
	if _, err := b.Hold("a", t0, 500, 0); err != nil {
		t.Errorf("the rest of a day serves one more: %v", err)
	}
	b.Spend("a", t0, 40, 0)
	if _, err := b.Hold("a", t0, 1, 0); err == nil || codeOf(t, err) != api.KeyBudgetExceeded {
		t.Errorf("a day that is used up: %v", err)
	}
	if _, err := b.Hold("a", t0.Add(25*time.Hour), 1, 0); err != nil && codeOf(t, err) == api.KeyBudgetExceeded {
		t.Errorf("the next day: %v", err)
	}
	if h, err := new(Book).Hold("", t0, 1, 1); err != nil || h != (Hold{}) {
		t.Errorf("a book without keys holds %v, %v", h, err)
	}
}
