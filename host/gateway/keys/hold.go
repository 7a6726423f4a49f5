package keys

import (
	"time"

	"cocoon/contracts/api"
)

// most bounds what one request sets aside, so that sums of many are numbers.
const most = 1 << 53

// Hold is what a request under way may still use of its key's day. The zero value holds nothing.
type Hold struct {
	of     *account
	tokens int64
	nano   uint64
}

// Hold sets aside the most that a request can use, tokens and nanoTON, until Release. A key's first request under way needs
// no more than a rest of the budgets; another one has to fit into what those before it leave. So a day ends at most one
// request above its budgets, however many come at once. A refusal is an *api.Error.
func (b *Book) Hold(name string, now time.Time, tokens int64, nano uint64) (Hold, error) {
	a := b.account(name)
	if a == nil || a.TokensPerDay == 0 && a.NanoPerDay == 0 {
		return Hold{}, nil
	}
	h := Hold{a, min(max(tokens, 0), most), min(nano, most)}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.age(now)
	if err := a.exhausted(now); err != nil {
		return Hold{}, err
	}
	if a.holds > 0 && (a.TokensPerDay > 0 && a.heldTokens+h.tokens > a.TokensPerDay-a.tokens || a.NanoPerDay > 0 && a.heldNano+h.nano > a.NanoPerDay-a.nano) {
		return Hold{}, &api.Error{
			Code: api.RateLimitExceeded, RetryAfter: time.Second,
			Message: "what is left of the key's day is set aside for its requests under way; wait for one to end, or ask for less with max_tokens",
		}
	}
	a.holds++
	a.heldTokens += h.tokens
	a.heldNano += h.nano
	return h, nil
}

// Release gives back what was set aside, once what the request has used is noted. It is called once.
func (h Hold) Release() {
	if h.of == nil {
		return
	}
	h.of.mu.Lock()
	defer h.of.mu.Unlock()
	h.of.holds--
	h.of.heldTokens -= h.tokens
	h.of.heldNano -= h.nano
}
