package e2e

import (
	"context"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cocoon/contracts/receipt"
	"cocoon/guest/proxy"
	"cocoon/guest/proxy/ledger"
	"cocoon/guest/worker"
	"cocoon/tests/chaos"
)

// TestAnEngineIsFreeHoweverItsAppLeaves: soon, before the first token and after it, streaming or not, in line or
// with its gateway cut off; what was generated is billed, and what no engine has seen is not.
func TestAnEngineIsFreeHoweverItsAppLeaves(t *testing.T) {
	const prompt, tokens = 1, 2 // what is billed: a prompt, tokens too
	for name, tc := range map[string]struct {
		fault, extra string
		events       int
		billed       int
		cut          bool
	}{
		"stream, before its head":            {"hang-head", `,"stream":true`, 0, prompt, false},
		"stream, after some tokens":          {"endless", `,"stream":true`, 3, tokens, false},
		"stream, while the engine is silent": {"hang-body", `,"stream":true`, 3, tokens, false},
		"whole answer, before its head":      {"hang-head", "", 0, prompt, false},
		"whole answer, in its middle":        {"hang-body", "", 0, prompt, false},
		"stream, gateway cut off":            {"endless", `,"stream":true`, 3, tokens, true},
		"whole answer, gateway cut off":      {"hang-head", "", 0, prompt, true},
	} {
		t.Run(name, func(t *testing.T) {
			n := faulty(t, options{links: true})
			fake := n.workers[0].fake
			ctx, leave := context.WithCancel(t.Context())
			defer leave()
			events := make(chan int, 64)
			var app sync.WaitGroup
			app.Go(func() {
				seen := 0
				n.watch(ctx, long(tc.fault, tc.extra), func(part []byte) {
					if seen += strings.Count(string(part), "data: "); seen >= tc.events {
						select {
						case events <- seen:
						default:
						}
					}
				})
			})
			n.until("the engine is busy", func() bool { return fake.Active.Load() == 1 })
			if tc.events > 0 {
				<-events
			}
			began := time.Now()
			if tc.cut {
				n.proxies[0].ways[clientPort][0].Break(chaos.Reset)
			} else {
				leave()
			}
			n.within(soon, "the engine is free", func() bool { return fake.Active.Load() == 0 && fake.Cancelled.Load() == 1 })
			t.Logf("free after %s", time.Since(began))
			app.Wait()
			e := n.billed(1)[0]
			if e.Status != string(receipt.Cancelled) || e.Tokens.Prompt == 0 || (e.Tokens.Completion > 0) != (tc.billed == tokens) {
				t.Errorf("billed %+v", e)
			}
			if tc.cut {
				return // the receipt was lost with the link
			}
			if r, ok := n.paper(e); !ok || r.Class != "ok" || r.Usage.Billed != e.Paid() {
				t.Errorf("receipt %+v", r)
			}
			n.secret()
		})
	}
}

// TestWhoLeavesTheLineCostsNothing: its request reaches no engine, and the place in the line is free.
func TestWhoLeavesTheLineCostsNothing(t *testing.T) {
	n := faulty(t, options{tune: tuning{worker: func(_ int, c *worker.Config) { c.MaxActive = 1 }}})
	fake := n.workers[0].fake
	before := fake.Requests.Load()
	var apps sync.WaitGroup
	ask := func(ctx context.Context) {
		apps.Go(func() { n.try(ctx, chatBody("hang-head", "")) })
	}
	first, free := context.WithCancel(t.Context())
	defer free()
	ask(first)
	n.until("the engine is busy", func() bool { return fake.Active.Load() == 1 })
	second, leave := context.WithCancel(t.Context())
	defer leave()
	ask(second)
	n.until("one waits in line", func() bool { return n.proxy.Status().Choices.Queued == 1 })
	leave()
	n.within(soon, "nobody waits in line", func() bool { return n.proxy.Status().Choices.Queued == 0 })
	if asked := fake.Requests.Load() - before; asked != 1 {
		t.Errorf("the engine was asked %d times", asked)
	}
	n.until("it is settled", func() bool { return len(n.settled()) == 1 })
	if e := n.settled()[0]; e.Status != string(receipt.Cancelled) || e.Paid() != 0 || e.Source != "none" {
		t.Errorf("billed %+v", e)
	}
	free()
	apps.Wait()
	n.billed(2)
}

// TestASlowReaderIsCancelledAndNobodyElseNotices: it is told why, its engine is free, and other streams of the same
// connections go on as before.
func TestASlowReaderIsCancelledAndNobodyElseNotices(t *testing.T) {
	const others, limit = 40, 3 * time.Second
	tune := hasty()
	tune.proxy = func(c *proxy.Config) { c.Times.Slow = limit }
	tune.worker = func(_ int, c *worker.Config) { c.Times.Slow = limit }
	n := faulty(t, options{tune: tune})
	alone := n.latencies(others)
	s := n.openBody(t.Context(), long("flood", `,"stream":true`))
	began := time.Now() // nothing is read from now on
	beside := n.latencies(others)
	n.within(limit+2*soon, "the engine is free", func() bool { return n.workers[0].fake.Active.Load() == 0 })
	took := time.Since(began)
	rest, err := io.ReadAll(s.resp.Body)
	last := string(rest[max(len(rest)-400, 0):])
	if err != nil || !strings.Contains(last, `"code":"slow_reader"`) || strings.Contains(last, "[DONE]") {
		t.Errorf("after %d bytes %v, the end is %q", len(rest), err, last)
	}
	entries := n.billed(2*others + 1)
	slow := slices.IndexFunc(entries, func(e ledger.Entry) bool { return e.Status == string(receipt.Cancelled) })
	if slow < 0 || entries[slow].Tokens.Completion == 0 {
		t.Fatalf("nothing was cancelled, or it cost nothing: %+v", entries)
	}
	if r, ok := n.paper(entries[slow]); !ok || r.Class != "ok" || r.Outcome.Code == nil || *r.Outcome.Code != "slow_reader" {
		t.Errorf("receipt %+v", r)
	}
	a, b := percentile(alone, 99), percentile(beside, 99)
	t.Logf("P50 and P99 of %d others: %s %s alone, %s %s beside a reader that does not read; its engine was free after %s", others,
		percentile(alone, 50), a, percentile(beside, 50), b, took)
	if b > limit { // a stream behind the one that nobody reads would have waited for its end
		t.Errorf("the P99 of others was %s alone and is %s beside", a, b)
	}
	n.reconciled()
}

// latencies are how long brief streams take, four at a time.
func (n *world) latencies(count int) []time.Duration {
	n.t.Helper()
	const atOnce = 4
	var mu sync.Mutex
	var out []time.Duration
	var all sync.WaitGroup
	for range atOnce {
		all.Go(func() {
			for range count / atOnce {
				began := time.Now()
				s := n.try(n.t.Context(), numbered("brief", "other"))
				if !s.whole() {
					n.t.Errorf("an other stream: %+v", s)
				}
				mu.Lock()
				out = append(out, time.Since(began))
				mu.Unlock()
			}
		})
	}
	all.Wait()
	slices.Sort(out)
	return out
}

func percentile(sorted []time.Duration, p int) time.Duration {
	return sorted[min(len(sorted)*p/100, len(sorted)-1)].Round(100 * time.Microsecond)
}

// TestATimeoutInTheMiddleOfAStreamIsBilled: a caller who chooses when to stop pays for what came until then (protocol.md
// section 12 row 3).
func TestATimeoutInTheMiddleOfAStreamIsBilled(t *testing.T) {
	n := faulty(t, options{})
	s := n.try(t.Context(), chatBody("hang-body", `,"stream":true,"timeout":2`))
	tokens := int64(len(s.text))
	if s.status != http.StatusOK || s.code != "timeout" || s.done || s.err != nil || tokens != 2 {
		t.Fatalf("%+v", s)
	}
	e := n.billed(1)[0]
	if e.Status != string(receipt.Deadline) || e.Tokens.Prompt != 5 || e.Tokens.Completion != tokens {
		t.Errorf("%d tokens came, billed %+v", tokens, e)
	}
	if r, ok := n.paper(e); !ok || r.Class != "ok" || r.Outcome.Status != string(receipt.Deadline) || r.Usage.Billed != e.Paid() {
		t.Errorf("receipt %+v", r)
	}
	n.within(soon, "the engine is free", func() bool { return n.workers[0].fake.Active.Load() == 0 })
}

// TestWaitingForTheFirstByteIsHeard: pings tell the app that somebody is there, are part of what the receipt is about, and
// make an error of what comes later one inside the stream.
func TestWaitingForTheFirstByteIsHeard(t *testing.T) {
	const every = 60 * time.Millisecond
	n := faulty(t, options{tune: tuning{proxy: func(c *proxy.Config) { c.Times.Ping = every }}})
	const ping = ": ping\n\n"
	for name, tc := range map[string]struct {
		fault, extra string
		want         fate
	}{
		"and then the answer": {"good", "", complete(5, 3)},
		"and then an error":   {"hang-head", `,"timeout":2`, late(http.StatusOK)},
	} {
		t.Run(name, func(t *testing.T) {
			body := chatBody(tc.fault, `,"stream":true`+tc.extra)
			heard, told := make(chan struct{}), false
			slow := func(_ http.ResponseWriter, r *http.Request) bool {
				select {
				case <-heard:
				case <-r.Context().Done():
				}
				return false
			}
			n.workers[0].before.Store(&slow)
			pings := 0
			s := n.watch(t.Context(), body, func(part []byte) {
				if pings += strings.Count(string(part), ping); pings >= 2 && !told {
					close(heard)
					told = true
				}
			})
			if pings < 2 || !strings.HasPrefix(s.body, ping) {
				t.Errorf("%d pings in %q", pings, s.body)
			}
			n.agrees(name, body, &s, tc.want)
		})
	}
}
