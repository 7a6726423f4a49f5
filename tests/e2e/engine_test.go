package e2e

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"cocoon/contracts/receipt"
	"cocoon/guest/proxy"
	"cocoon/guest/proxy/ledger"
	"cocoon/guest/worker"
	"cocoon/guest/worker/engine/enginetest"
	"cocoon/tests/inputs"
)

// fate is what becomes of a request whose engine behaves in some way.
type fate struct {
	// status is that of HTTP, code the error's in the body or in the stream; empty for a whole answer.
	status int
	code   string
	// outcome is the word of ledger and receipt; tokens are what is billed, source where they are from.
	outcome            receipt.Status
	prompt, completion int64
	source             string
	// extra are more members of the request.
	extra string
}

// estimate stands for a prompt whose tokens nobody counted: a quarter of its bytes.
const estimate = -1

// Fates that many behaviours share.
func complete(prompt, completion int64) fate {
	return fate{status: http.StatusOK, outcome: receipt.Complete, prompt: prompt, completion: completion, source: "engine"}
}

func counted(completion int64) fate {
	return fate{status: http.StatusOK, outcome: receipt.Complete, prompt: estimate, completion: completion, source: "counted"}
}

// partly is a stream that ended in an error after some tokens.
func partly(code string, completion int64) fate {
	return fate{status: http.StatusOK, code: code, outcome: receipt.EngineError, prompt: 5, completion: completion, source: "engine_partial"}
}

// fruitless is an error that came before anything of an answer did.
func fruitless() fate {
	return fate{status: http.StatusBadGateway, code: "engine_error", outcome: receipt.EngineError, source: "none"}
}

// withheld is an answer that was generated and is not passed on: it is no good, and costs what it has.
func withheld() fate {
	return fate{status: http.StatusBadGateway, code: "engine_error", outcome: receipt.EngineError, prompt: 5, completion: 3, source: "engine_partial"}
}

func refused(status int, code string) fate {
	return fate{status: status, code: code, outcome: receipt.Refused, source: "none"}
}

// late is a request whose time is up; the prompt was handed to the engine and is billed.
func late(status int) fate {
	return fate{status: status, code: "timeout", outcome: receipt.Deadline, prompt: estimate, source: "counted", extra: `,"timeout":2`}
}

// streamFates are the fates of streams, by the engine's behaviour (inference.md section 14).
func streamFates() map[string]fate {
	return map[string]fate{
		"good": complete(5, 3), "slow-head": complete(5, 3), "slow-first": complete(5, 3), "slow-gaps": complete(5, 20),
		"burst": complete(5, 100), "crlf": complete(5, 3), "no-done": complete(5, 3), "one-byte": complete(5, 3),
		"closing": complete(5, 3), "closing-silently": complete(5, 3), "ignore-cancel": complete(5, 20), "large-event": complete(5, 1), "largest-event": complete(5, 1),
		"endless":     partly("engine_error", 2), // it goes on behind max_tokens and is stopped
		"flood":       partly("engine_error", 2),
		"no-finish":   partly("engine_truncated", 3),
		"truncated":   partly("engine_truncated", 3),
		"error-event": partly("engine_error", 2), "finish-abort": partly("engine_abort", 2), "hang-body": partly("engine_error", 2),
		"cut-in-chunk": partly("engine_truncated", 2), "cut-after-tokens": partly("engine_truncated", 3), "cut-mid-chunk": partly("engine_truncated", 1),
		"cut-in-head": fruitless(), "ndjson": fruitless(), "status-500": fruitless(), "redirect": fruitless(), "wrong-type": fruitless(),
		"gzip": fruitless(), "huge-header": fruitless(),
		"status-400": refused(http.StatusBadRequest, "invalid_value"), "context": refused(http.StatusBadRequest, "context_length_exceeded"),
		"status-429": refused(http.StatusTooManyRequests, "rate_limit_exceeded"),
		"hang-head":  late(http.StatusGatewayTimeout), "pings-only": late(http.StatusOK),
		"usage-absent": counted(2), "usage-null": counted(2), "usage-negative": counted(2), "usage-string": counted(2), "usage-huge": counted(2), "usage-sum": counted(2),
		"usage-lying": complete(5, 200), "usage-decreasing": complete(9, 4), "usage-cached": complete(5, 2),
		"usage-twice": {status: http.StatusOK, code: "malformed_event", outcome: receipt.EngineError, prompt: estimate, source: "counted"},
		"huge-event":  {status: http.StatusOK, code: "event_too_large", outcome: receipt.EngineError, prompt: estimate, source: "counted"},
		"not-json":    {status: http.StatusOK, code: "engine_truncated", outcome: receipt.EngineError, prompt: estimate, source: "counted"},
		"huge-whole":  {status: http.StatusOK, code: "engine_truncated", outcome: receipt.EngineError, prompt: estimate, source: "counted"},
	}
}

// wholeFates are the fates of answers that are no stream, where a behaviour concerns them; all others are good.
func wholeFates() map[string]fate {
	return map[string]fate{
		"no-finish": withheld(), "truncated": withheld(), "finish-abort": withheld(), "error-event": fruitless(), "not-json": fruitless(),
		"hang-body": late(http.StatusGatewayTimeout), "hang-head": late(http.StatusGatewayTimeout),
		"cut-in-chunk": fruitless(), "cut-after-tokens": fruitless(), "cut-mid-chunk": fruitless(),
		"cut-in-head": fruitless(), "ndjson": fruitless(), "status-500": fruitless(), "redirect": fruitless(), "wrong-type": fruitless(),
		"gzip": fruitless(), "huge-header": fruitless(), "usage-twice": fruitless(),
		"status-400": refused(http.StatusBadRequest, "invalid_value"), "context": refused(http.StatusBadRequest, "context_length_exceeded"),
		"status-429":   refused(http.StatusTooManyRequests, "rate_limit_exceeded"),
		"usage-absent": counted(1), "usage-null": counted(1), "usage-negative": counted(1), "usage-string": counted(1), "usage-huge": counted(1), "usage-sum": counted(1),
		"usage-lying": complete(5, 200), "usage-cached": complete(5, 2),
	}
}

// TestEveryBehaviourOfAnEngineHasItsFate: what the app sees, what the ledger bills and what the receipt says of each
// behaviour of inference.md section 14, streaming and not. Nothing that broke looks whole, and the engine is free.
func TestEveryBehaviourOfAnEngineHasItsFate(t *testing.T) {
	n := faulty(t, options{tune: tuning{
		proxy:  func(c *proxy.Config) { c.Breaker.After = 1 << 20 }, // breakers have a test of their own
		worker: func(_ int, c *worker.Config) { c.MaxActive, c.Times.Gap = 64, 3*time.Second },
	}})
	var all sync.WaitGroup
	slots := make(chan struct{}, 8)
	for _, name := range enginetest.Names() {
		if name == "largest-event" && !inputs.Wants("big") {
			continue // 15 MiB, scanned by every role
		}
		onStream, ok := streamFates()[name]
		if !ok {
			t.Errorf("no fate is stated for streams of the behaviour %s", name)
			continue
		}
		whole, ok := wholeFates()[name]
		if !ok {
			whole = complete(5, 3)
		}
		for mode, f := range map[string]fate{"stream": onStream, "whole": whole} {
			extra := `,"max_tokens":200` + f.extra
			if mode == "stream" {
				extra += `,"stream":true,"stream_options":{"include_usage":true}`
			}
			slots <- struct{}{}
			all.Go(func() {
				defer func() { <-slots }()
				n.meets(name+", "+mode, strings.Replace(chatBody(name, extra), `"max_tokens":50,`, "", 1), f)
			})
		}
	}
	all.Wait()
	for name := range wholeFates() {
		if _, ok := streamFates()[name]; !ok {
			t.Errorf("a fate is stated for %s, which is no behaviour", name)
		}
	}
	n.within(soon, "the engine is free", func() bool { return n.workers[0].fake.Active.Load() == 0 })
	n.balanced()
	n.secret()
}

// meets asks and checks that it ends as it is to.
func (n *world) meets(what, body string, f fate) {
	n.t.Helper()
	s := n.try(n.t.Context(), body)
	n.agrees(what, body, &s, f)
}

// agrees compares what was seen, what was billed and what the receipt says with the fate.
func (n *world) agrees(what, body string, s *seen, f fate) {
	n.t.Helper()
	if s.status != f.status || s.code != f.code || s.err != nil || s.whole() == s.failed() || s.whole() != (f.code == "") {
		n.t.Errorf("%s: status %d, want %d; code %q, want %q; whole %v, failed %v; %v\n%.2000s", what, s.status, f.status, s.code, f.code, s.whole(), s.failed(), s.err, s.body)
	}
	if f.code == "rate_limit_exceeded" && s.header.Get("Retry-After") == "" {
		n.t.Errorf("%s: no Retry-After", what)
	}
	e, ok := n.entry(s.id)
	if !ok {
		n.t.Errorf("%s: request %q is not settled\n%.2000s", what, s.id, s.body)
		return
	}
	prompt := f.prompt
	if prompt == estimate {
		prompt = promptEstimate(body)
	}
	if e.Status != string(f.outcome) || e.Tokens.Prompt != prompt || e.Tokens.Completion != f.completion || e.Source != f.source || e.Estimated != (f.source == "counted") {
		n.t.Errorf("%s: billed %s %d+%d %s, want %s %d+%d %s", what, e.Status, e.Tokens.Prompt, e.Tokens.Completion, e.Source, f.outcome, prompt, f.completion, f.source)
	}
	if s.usage != nil && (s.usage.Prompt != e.Tokens.Prompt || s.usage.Completion != e.Tokens.Completion) && f.source == "engine" && f.completion < 200 {
		n.t.Errorf("%s: the app reads %+v, billed was %+v", what, s.usage, e.Tokens)
	}
	n.documented(what, e, f)
}

// promptEstimate is what a prompt counts that nobody counted (inference.md section 7).
func promptEstimate(body string) int64 {
	_, messages, _ := strings.Cut(body, `"messages":`)
	const bytesPerToken = 4
	return int64(strings.Index(messages, "]")+1+bytesPerToken-1) / bytesPerToken
}

// documented compares the receipt with the fate.
func (n *world) documented(what string, e ledger.Entry, f fate) {
	n.t.Helper()
	r, ok := n.paper(e)
	switch {
	case !ok:
		n.t.Errorf("%s: no receipt", what)
	case r.Class != "ok" || r.Said == nil:
		n.t.Errorf("%s: the receipt is judged %s: %s\n%s", what, r.Class, r.Why, r.Receipt)
	case r.Outcome.Status != string(f.outcome) || r.Usage.Billed != e.Paid() || r.Usage.Completion != f.completion:
		n.t.Errorf("%s: the receipt says %+v, %+v; paid was %d", what, r.Outcome, r.Usage, e.Paid())
	}
}
