package e2e

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cocoon/contracts/receipt"
	"cocoon/guest/proxy"
	"cocoon/guest/proxy/ledger"
	"cocoon/guest/worker"
	"cocoon/guest/worker/engine/enginetest"
	"cocoon/host/gateway"
	"cocoon/tests/inputs"
)

// streams is how many the soak asks for: few in the default tests, thousands with COCOON_TEST=big, and whatever COCOON_SOAK
// says with COCOON_TEST=bench.
func streams(t *testing.T) int {
	t.Helper()
	const few, many = 200, 5000
	if asked := os.Getenv("COCOON_SOAK"); asked != "" && inputs.Wants("bench") {
		n, err := strconv.Atoi(asked)
		if err != nil || n < 1 {
			t.Fatalf("COCOON_SOAK=%q is no number of streams", asked)
		}
		return n
	}
	if inputs.Wants("big") {
		return many
	}
	return few
}

// trial is one request of the soak.
type trial struct {
	kind, tag string
	// leave is behind which event the app goes, 0 for never.
	leave int
	seen  seen
	// why is what is wrong with it, got how many tokens came.
	why string
	got int64
}

// trialOf mixes bursts, paced streams, whole answers, faults of engines and apps that leave: a tenth leaves, a tenth meets a
// fault.
func trialOf(i int) *trial {
	faults := []string{"numbered-cut", "error-event", "finish-abort", "no-finish", "cut-in-head", "status-500", "usage-twice", "cut-mid-chunk", "truncated", "wrong-type"}
	t := &trial{kind: "numbered-burst", tag: fmt.Sprintf("t%d", i)}
	switch i % 20 {
	case 0, 1:
		t.kind = faults[i/20%len(faults)]
	case 2:
		t.leave = 1 + i/20%50
	case 3:
		t.kind, t.leave = "numbered-paced", 1+i/20%90
	case 4, 5, 6, 7, 8:
		t.kind = "numbered-paced"
	case 9:
		t.kind = "good"
	}
	return t
}

func (t *trial) faulty() bool {
	return !strings.HasPrefix(t.kind, "numbered-") && t.kind != "good" || t.kind == "numbered-cut"
}

func (t *trial) run(ctx context.Context, n *world) {
	extra := `,"stream":true`
	if t.kind == "good" {
		extra = ""
	}
	body := strings.NewReplacer(`"max_tokens":50`, `"max_tokens":200`, canary, canary+" tag:"+t.tag).Replace(chatBody(t.kind, extra))
	ctx, leave := context.WithCancel(ctx)
	defer leave()
	events := 0
	t.seen = n.watch(ctx, body, func(part []byte) {
		if events += strings.Count(string(part), "\n\n"); t.leave > 0 && events >= t.leave {
			leave()
		}
	})
	t.why, t.got = t.wrong(), int64(strings.Count(t.seen.text, " "))
	if t.seen.text, t.seen.header = "", nil; t.why == "" {
		t.seen.body = "" // a hundred thousand of them would be most of the memory
	}
}

// wrong says what is wrong with what the app saw; empty for nothing.
func (t *trial) wrong() string {
	s := &t.seen
	switch want := all(t.tag, enginetest.NumberedTokens); {
	case t.leave > 0 && errors.Is(s.err, context.Canceled): // nobody reads the end
		if !strings.HasPrefix(want, s.text) {
			return "tokens are lost, repeated, out of order or another's"
		}
	case s.whole() == s.failed() || s.done && s.failed():
		return fmt.Sprintf("whole %v, failed %v, [DONE] %v", s.whole(), s.failed(), s.done)
	case t.faulty() && s.whole():
		return "an engine's fault looks like a whole answer"
	case t.leave > 0 && s.whole() && s.text == want: // it had come before the app left
		return ""
	case t.kind == "good" && (!s.whole() || s.text != "aaa"):
		return fmt.Sprintf("an answer of %q", s.text)
	case strings.HasPrefix(t.kind, "numbered-") && !strings.HasPrefix(want, s.text):
		return "tokens are lost, repeated, out of order or another's"
	case !t.faulty() && t.leave == 0 && t.kind != "good" && (!s.whole() || s.text != want):
		return fmt.Sprintf("cut short: status %d, code %q, %v", s.status, s.code, s.err)
	}
	return ""
}

// TestSoak: of many streams in bursts and at a pace, with apps that leave, engines that fail and something else that wants
// the processor, none is cut short, reordered or called whole when it is not; afterwards receipts, ledger and engines' own
// counters say the same.
func TestSoak(t *testing.T) {
	count := streams(t)
	const atOnce, slots = 32, 64
	tune := tuning{
		proxy:   func(c *proxy.Config) { c.Breaker.After = 1 << 30 },
		worker:  func(_ int, c *worker.Config) { c.MaxActive = slots },
		gateway: func(c *gateway.Config) { c.Receipt = patience },
	}
	n := faulty(t, options{workers: 3, terse: true, tune: tune})
	if count > 1000 {
		n.hog()
	}
	began := time.Now()
	trials := make([]*trial, count)
	next := atomic.Int64{}
	var apps sync.WaitGroup
	for range atOnce {
		apps.Go(func() {
			for i := int(next.Add(1)) - 1; i < count; i = int(next.Add(1)) - 1 {
				trials[i] = trialOf(i)
				trials[i].run(t.Context(), n)
			}
		})
	}
	apps.Wait()
	took := time.Since(began)
	n.until("nothing is under way", func() bool { return n.held() == 0 })
	n.balanced()
	tally := n.audit(trials)
	t.Logf("%d requests in %s: %s", count, took.Round(time.Millisecond), tally)
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	t.Logf("all roles, apps and engines in one process: %d MiB in use, %d MiB from the system, %d goroutines", m.HeapAlloc>>20, m.Sys>>20, runtime.NumGoroutine())
}

// hog keeps a processor busy from another process until the test ends.
func (n *world) hog() {
	ctx, stop := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, "sh", "-c", "while :; do :; done")
	check(n.t, cmd.Start())
	n.t.Cleanup(func() {
		stop()
		_ = cmd.Wait() // it was killed
	})
}

// tally is what became of the requests of a soak.
type tally struct {
	whole, failed, left     int
	tokens, billed, settled int64
}

func (t tally) String() string {
	return fmt.Sprintf("%d whole, %d failed by engines, %d left; %d entries, %d tokens generated, %d completion tokens billed", t.whole, t.failed, t.left, t.settled, t.tokens, t.billed)
}

// audit compares what apps saw, what was billed, what the receipts say and what the engines sent.
func (n *world) audit(trials []*trial) (out tally) {
	n.t.Helper()
	entries := make(map[string]ledger.Entry)
	for _, e := range n.settled() {
		entries[hex.EncodeToString(e.Request[:16])] = e
	}
	if len(entries) != len(trials) {
		n.t.Errorf("%d entries for %d requests", len(entries), len(trials))
	}
	n.receipted(entries)
	const most = 20
	complaints := 0
	for i, one := range trials {
		why := one.why
		e, ok := entries[one.seen.id[:min(len(one.seen.id), 32)]]
		if why == "" && !ok && one.leave == 0 {
			why = "nothing was settled"
		}
		sent := int64(0)
		for _, w := range n.workers {
			sent += int64(w.fake.Tagged(one.tag))
		}
		if why == "" && ok {
			why = one.misbilled(e, sent)
		}
		out.tokens, out.billed = out.tokens+sent, out.billed+e.Tokens.Completion
		switch {
		case one.seen.whole():
			out.whole++
		case one.leave > 0:
			out.left++
		default:
			out.failed++
		}
		if complaints++; why == "" {
			complaints--
		} else if complaints < most {
			n.t.Errorf("request %d, %s, leaving behind %d: %s\nbilled %s, %+v by %s; %d sent\n%.600s", i, one.kind, one.leave, why, e.Status, e.Tokens, e.Source, sent, one.seen.body)
		}
	}
	out.settled = int64(len(entries))
	return out
}

// misbilled says what is wrong with an entry; sent is how many tokens the engines sent.
func (t *trial) misbilled(e ledger.Entry, sent int64) string {
	switch {
	case t.seen.whole() && (e.Status != string(receipt.Complete) || e.Source != "engine" || e.Tokens.Prompt != 5 || e.Tokens.Completion != sent):
		return fmt.Sprintf("a whole answer of %d tokens is billed otherwise", sent)
	case t.faulty() && e.Status != string(receipt.EngineError):
		return "an engine's fault is billed as something else"
	case e.Tokens.Completion > max(sent, 3): // a whole answer that was withheld has three
		return fmt.Sprintf("more is billed than the %d tokens that were generated", sent)
	case strings.HasPrefix(t.kind, "numbered-") && e.Tokens.Completion < t.got:
		return fmt.Sprintf("%d tokens came", t.got)
	}
	return ""
}

// receipted compares entries with receipts: each has one, which is good and says the same.
func (n *world) receipted(entries map[string]ledger.Entry) {
	n.t.Helper()
	const most = 10
	wrong := 0
	n.until("every receipt is kept", func() bool { records, _, _ := n.store.Size(); return records >= len(entries) })
	kept := 0
	for r, err := range n.store.All() {
		check(n.t, err)
		one := record{Class: r.Class, Why: r.Why, Receipt: r.Receipt}
		check(n.t, one.parse())
		e, ok := entries[r.ID[:32]]
		kept++
		if ok && r.Class == "ok" && one.Said != nil && one.Usage.Billed == e.Paid() && one.Outcome.Status == e.Status && one.Usage.Completion == e.Tokens.Completion {
			continue
		}
		if wrong++; wrong < most {
			n.t.Errorf("receipt %s is judged %s (%s) and says %+v, %+v; the entry is %s %+v", r.ID, r.Class, r.Why, one.Outcome, one.Usage, e.Status, e.Tokens)
		}
	}
	if kept != len(entries) || wrong > 0 {
		n.t.Errorf("%d receipts for %d entries, %d of them wrong", kept, len(entries), wrong)
	}
}
