package e2e

import (
	"encoding/hex"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"cocoon/contracts/receipt"
	"cocoon/guest/proxy"
	"cocoon/guest/proxy/ledger"
	"cocoon/guest/worker"
	"cocoon/guest/worker/engine/enginetest"
	"cocoon/host/gateway"
	"cocoon/host/gateway/receipts"
	"cocoon/host/gateway/upstream"
	"cocoon/tests/chaos"
	"cocoon/tests/inputs"
)

// The waits of networks whose links fail, in the place of the tens of seconds that they really are: shorter than a test's
// patience, and long enough for a machine that is busy with something else.
const (
	quiet = 150 * time.Millisecond
	gap   = time.Second
	dead  = 1500 * time.Millisecond
)

// hasty are roles that wait for nothing long. Breakers have a test of their own.
func hasty() tuning {
	const soonest, steady = 5 * time.Millisecond, time.Millisecond
	return tuning{
		proxy: func(c *proxy.Config) {
			c.Times.Gap, c.Times.LastWord, c.Times.Slow, c.Times.Queue, c.Times.Dead = gap, gap, gap, 3*time.Second, dead
			c.Breaker.After = 1 << 20
		},
		worker: func(_ int, c *worker.Config) {
			c.Times.Gap, c.Times.Slow, c.Times.Retry, c.Times.Steady, c.Times.Quiet, c.Times.Dead = gap, gap, soonest, steady, quiet, dead
		},
		upstream: func(c *upstream.Config) { c.Backoff, c.Steady, c.Quiet, c.Dead = soonest, steady, quiet, dead },
		gateway:  func(c *gateway.Config) { c.Ping, c.Gap, c.Receipt = quiet, gap, gap },
	}
}

// numbered asks for tokens that carry a tag and their own number, as a stream.
func numbered(kind, tag string) string {
	return strings.NewReplacer(`"max_tokens":50`, `"max_tokens":100`, canary, canary+" tag:"+tag).Replace(chatBody("numbered-"+kind, `,"stream":true`))
}

// all is the text of a numbered answer.
func all(tag string, tokens int) string {
	var out strings.Builder
	for i := range tokens {
		out.WriteString(enginetest.Numbered(tag, i))
	}
	return out.String()
}

// ask asks for a brief stream and checks it as far as it may be checked whatever happens: it is whole, or it says that it is
// not.
func (n *world) ask(what string) seen {
	n.t.Helper()
	n.asked++
	tag := fmt.Sprintf("t%d", n.asked)
	s := n.try(n.t.Context(), numbered("brief", tag))
	want := all(tag, enginetest.BriefTokens)
	switch {
	case s.whole() && s.text != want, !strings.HasPrefix(want, s.text):
		n.t.Errorf("%s: the answer says %q", what, s.text)
	case s.whole() == s.failed(), s.done && s.failed():
		n.t.Errorf("%s: status %d, code %q, [DONE] %v, %v\n%s", what, s.status, s.code, s.done, s.err, s.body)
	case s.failed() && s.err == nil && s.code == "":
		n.t.Errorf("%s: status %d without an error's code: %s", what, s.status, s.body)
	}
	return s
}

// long asks for a behaviour with room for as many tokens as the engine's context has.
func long(fault, extra string) string {
	return strings.Replace(chatBody(fault, extra), `"max_tokens":50`, `"max_tokens":30000`, 1)
}

// connected waits until requests are served.
func (n *world) connected() {
	n.t.Helper()
	n.until("requests are served", func() bool { s := n.ask("undisturbed"); return s.whole() })
}

// reconciled compares the ledgers with the receipts that the gateway keeps: each kept one is about one entry and says what
// that says. It returns how many entries have none.
func (n *world) reconciled() (missing int) {
	n.t.Helper()
	n.until("nothing is under way", func() bool { return n.held() == 0 })
	n.balanced()
	const coming = 2 * gap // a receipt that is later than this does not come
	for limit := time.Now().Add(coming); ; {
		if missing = n.compare(); missing == 0 || time.Now().After(limit) {
			return missing
		}
	}
}

// held is how many requests have something reserved.
func (n *world) held() (running int64) {
	for _, p := range n.proxies {
		running += p.book.State(ledger.Party{Role: ledger.Client, Address: address(4).String()}).Running
	}
	return running
}

// compare compares entries with receipts.
func (n *world) compare() (missing int) {
	n.t.Helper()
	kept := make(map[string]int64)
	for r, err := range n.store.All() {
		check(n.t, err)
		if r.Receipt == nil {
			continue
		}
		if _, twice := kept[r.ID]; twice {
			n.t.Errorf("two receipts for %s", r.ID)
		}
		one := record{Class: r.Class, Why: r.Why, Receipt: r.Receipt}
		check(n.t, one.parse())
		kept[r.ID] = one.Usage.Billed
	}
	for _, e := range n.settled() {
		id := hex.EncodeToString(e.Request[:])
		billed, ok := kept[id]
		if !ok {
			missing++
		} else if billed != e.Paid() {
			n.t.Errorf("the receipt of %s bills %d, the ledger %d", id, billed, e.Paid())
		}
		delete(kept, id)
	}
	if len(kept) > 0 {
		n.t.Errorf("%d receipts are about nothing that was settled", len(kept))
	}
	return missing
}

// TestALinkMayBreakAtAnyByte: whichever byte between two roles is the last, or is another than was sent, an app has a
// whole answer or an error, the link comes back by itself, and ledgers and receipts agree.
func TestALinkMayBreakAtAnyByte(t *testing.T) {
	fractions := 5
	if inputs.Wants("big") {
		fractions = 40
	}
	for name, port := range map[string]uint16{"gateway and proxy": clientPort, "proxy and worker": workerPort} {
		t.Run(name, func(t *testing.T) {
			n := faulty(t, options{links: true, tune: hasty()})
			link := n.proxies[0].ways[port][0]
			for _, dir := range []chaos.Direction{chaos.Up, chaos.Down} {
				size := n.sizeOf(link, dir)
				refused, broken := 0, 0
				for i, at := range offsets(size, fractions) {
					action := []chaos.Action{chaos.Cut, chaos.Reset, chaos.Corrupt}[i%3]
					r, b := n.disturb(link, dir, at, action)
					refused, broken = refused+r, broken+b
				}
				t.Logf("%s: a request is about %d bytes; %d were refused, %d broken off", dir, size, refused, broken)
				if broken == 0 && dir == chaos.Down == (port == clientPort) {
					t.Error("no answer was broken off: this test shows nothing")
				}
			}
			missing := n.reconciled()
			if port == workerPort && missing > 0 {
				t.Errorf("%d requests have no receipt, and the gateway's link was never touched", missing)
			}
			n.secret()
		})
	}
}

// offsets are the bytes at which something happens: those of a record's and a frame's head, and others spread over a
// request and a little more.
func offsets(size int64, fractions int) []int64 {
	out := []int64{1, 5, 14, 22}
	if fractions > 10 {
		out = append(out, 2, 6, 13, 21, 23, 30)
	}
	for i := range fractions {
		out = append(out, 40+size*int64(i)*5/4/int64(fractions))
	}
	return slices.Compact(slices.Sorted(slices.Values(out)))
}

// sizeOf is about how much of a request passes a link.
func (n *world) sizeOf(link *chaos.Proxy, dir chaos.Direction) (most int64) {
	n.t.Helper()
	const tries = 3
	n.connected()
	for range tries {
		before := link.Passed(dir)
		n.ask("undisturbed")
		most = max(most, link.Passed(dir)-before)
	}
	return most
}

// disturb has something happen on a link, asks until it has, and waits until the network is as before.
func (n *world) disturb(link *chaos.Proxy, dir chaos.Direction, at int64, do chaos.Action) (refused, broken int) {
	n.t.Helper()
	n.connected()
	fired, err := link.Arm(dir, at, do)
	check(n.t, err)
	for done := false; !done; {
		s := n.ask(fmt.Sprintf("%s at byte %d %s", do, at, dir))
		switch {
		case s.failed() && s.stream:
			broken++
		case s.failed():
			refused++
		}
		select {
		case <-fired:
			done = true
		default:
		}
	}
	return refused, broken
}

// TestAFrozenLinkIsLostAndComesBack: a peer that neither speaks nor leaves costs nobody more than the silence that is
// allowed; the engine is free, and what was generated is billed once.
func TestAFrozenLinkIsLostAndComesBack(t *testing.T) {
	const both, up, down = "both ways", "towards the proxy", "from the proxy"
	ways := map[string][]chaos.Direction{both: {chaos.Up, chaos.Down}, up: {chaos.Up}, down: {chaos.Down}}
	for name, tc := range map[string]struct {
		port    uint16
		way     string
		outcome receipt.Status
	}{
		"worker's, both ways":          {workerPort, both, receipt.WorkerLost},
		"worker's, towards the proxy":  {workerPort, up, receipt.WorkerLost},
		"worker's, from the proxy":     {workerPort, down, receipt.WorkerLost},
		"gateway's, both ways":         {clientPort, both, receipt.Cancelled},
		"gateway's, towards the proxy": {clientPort, up, receipt.Cancelled},
		"gateway's, from the proxy":    {clientPort, down, receipt.Cancelled},
	} {
		if tc.way != both && !inputs.Wants("big") {
			continue // each takes as long as the silence that is allowed
		}
		t.Run(name, func(t *testing.T) {
			n := faulty(t, options{links: true, tune: hasty()})
			link := n.proxies[0].ways[tc.port][0]
			s := n.openBody(t.Context(), long("endless", `,"stream":true`))
			for range 4 {
				s.next()
			}
			began := time.Now()
			link.Freeze(ways[tc.way]...)
			s.rest()
			took := time.Since(began)
			last := n.read(s.events[len(s.events)-1])
			if last.Error == nil || last.Error.Code != "worker_lost" || took > gap+dead+soon {
				t.Errorf("after %s: %q", took, s.events[len(s.events)-1])
			}
			fake := n.workers[0].fake
			n.within(dead+2*soon, "the engine is free", func() bool { return fake.Active.Load() == 0 })
			e := n.billed(1)[0]
			if receipt.Status(e.Status) != tc.outcome || e.Tokens.Completion == 0 {
				t.Errorf("billed %+v", e)
			}
			if tc.outcome == receipt.WorkerLost { // the others' receipts are lost with their connection
				n.until("the receipt is good, although nobody could sign for the worker", func() bool {
					good := 0
					for r, err := range n.store.All() {
						check(t, err)
						if r.Class != receipts.ClassOK {
							t.Fatalf("%s: %s", r.Class, r.Why)
						}
						good++
					}
					return good == 1
				})
			}
			link.Thaw()
			n.connected()
			t.Logf("the app was told after %s", took)
			n.balanced()
		})
	}
}

// TestAWorkerThatFreezesBeforeItsFirstByteIsReplaced: nobody has seen anything of its answer, so another one gives it.
func TestAWorkerThatFreezesBeforeItsFirstByteIsReplaced(t *testing.T) {
	n := faulty(t, options{workers: 2, links: true, tune: hasty()})
	frozen := make(chan *workerNode, 2)
	for _, w := range n.workers {
		freeze := func(http.ResponseWriter, *http.Request) bool {
			select {
			case frozen <- w:
				if len(frozen) == 1 {
					w.links[0].Freeze(chaos.Up, chaos.Down)
				}
			default:
			}
			return false
		}
		w.before.Store(&freeze)
	}
	began := time.Now()
	s := n.ask("frozen")
	if !s.whole() || time.Since(began) > dead+2*soon {
		t.Fatalf("after %s: %+v\n%s", time.Since(began), s, n.log)
	}
	e := n.billed(1)[0]
	if e.Status != string(receipt.Complete) || e.Tokens.Prompt != 5 || e.Tokens.Completion != enginetest.BriefTokens {
		t.Errorf("billed %+v", e)
	}
	if r, ok := n.paper(e); !ok || r.Class != "ok" || r.Outcome.Retries != 1 {
		t.Errorf("receipt %+v", r)
	}
	(<-frozen).links[0].Thaw()
	n.connected()
	n.within(soon, "the engines are free", func() bool { return n.workers[0].fake.Active.Load()+n.workers[1].fake.Active.Load() == 0 })
}
