package receipt

import (
	"cocoon/contracts/api"
	"cocoon/contracts/pricing"
)

// checkLost is for a receipt whose worker had a key and has signed nothing. A worker whose connection was lost cannot sign any
// more: to demand it, as inference.md section 10.4 does of every receipt, would accuse proxies of what lines do. Without a
// signature nothing may be billed but what the caller can count for itself: estimates, no higher than what it sent and got.
func checkLost(r *Receipt, ctx Context) error {
	if r.Outcome.Status != WorkerLost {
		return broken(StatementInvalid, "the worker's statement is missing")
	}
	t, most := r.Usage.Tokens, seen(ctx)
	if t != (pricing.Tokens{}) && r.Usage.Source != "counted" {
		return broken(StatementInvalid, "the worker was lost and has signed nothing, but counts are from %.20q", r.Usage.Source)
	}
	if t.Prompt > most.Prompt || t.Completion > most.Completion || t.Cached > 0 || t.Reasoning > 0 {
		return broken(StatementInvalid, "the worker was lost and has signed nothing, and %+v is billed where at most %+v can be seen", t, most)
	}
	return nil
}

// seen is the most that can be estimated of what the caller sent and got. Each event ends with an empty line.
func seen(ctx Context) pricing.Tokens {
	t := pricing.Tokens{Prompt: int64(len(ctx.Request)+api.TextBytesPerToken-1) / api.TextBytesPerToken}
	for i := 1; i < len(ctx.Response); i++ {
		if ctx.Response[i-1] == '\n' && ctx.Response[i] == '\n' {
			t.Completion++
		}
	}
	return t
}
