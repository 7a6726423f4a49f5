package e2e

import (
	"errors"
	"io"
	"net/http"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"cocoon/contracts/receipt"
	"cocoon/guest/proxy"
	"cocoon/guest/proxy/sched"
	"cocoon/guest/worker"
	"cocoon/guest/worker/engine/enginetest"
)

// quick is what an answer may take that needs nobody else, on a machine that is busy with something else.
const quick = patience / 2

// breaks asks for a stream that does not end by itself, has something happen in its middle, and checks that the app is told.
func (n *world) breaks(happen func()) (took time.Duration) {
	n.t.Helper()
	s := n.openBody(n.t.Context(), long("endless", `,"stream":true`))
	for range 4 {
		if _, ok := s.next(); !ok {
			n.t.Fatalf("events %q", s.events)
		}
	}
	began := time.Now()
	happen()
	s.rest()
	last := n.read(s.events[len(s.events)-1])
	if last.Error == nil || last.Error.Code != "worker_lost" && last.Error.Code != "cancelled" || s.lines.Err() != nil {
		n.t.Errorf("the last event is %q, %v", s.events[len(s.events)-1], s.lines.Err())
	}
	return time.Since(began)
}

// TestAProxyIsRestartedInTheMiddleOfAStream: the app of the stream is told, others get an error at once while there is no
// proxy, and everything is as before when it is back; what was generated is billed once.
func TestAProxyIsRestartedInTheMiddleOfAStream(t *testing.T) {
	n := faulty(t, options{links: true, tune: hasty()})
	took := n.breaks(n.proxies[0].stop)
	began := time.Now()
	down := n.ask("without a proxy")
	if !down.failed() || down.status != http.StatusServiceUnavailable && down.status != http.StatusBadGateway || time.Since(began) > quick {
		t.Errorf("after %s: %+v", time.Since(began), down)
	}
	n.within(soon, "the engine is free", func() bool { return n.workers[0].fake.Active.Load() == 0 })
	n.proxies[0].start()
	began = time.Now()
	n.until("requests are served again", func() bool { s := n.ask("after the restart"); return s.whole() })
	t.Logf("told after %s, served again after %s", took, time.Since(began))
	e := n.settled()[0]
	if e.Status != string(receipt.Cancelled) || e.Tokens.Completion == 0 || e.Tokens.Prompt == 0 {
		t.Errorf("billed %+v", e)
	}
	n.balanced()
}

// TestAnotherProxyTakesOver: one stream breaks, no other request fails.
func TestAnotherProxyTakesOver(t *testing.T) {
	n := faulty(t, options{proxies: 2, links: true, tune: hasty()})
	n.breaks(func() {
		for _, p := range n.proxies {
			if p.proxy.Status().Workers[0].Running > 0 {
				p.stop()
				return
			}
		}
		t.Error("no proxy has the stream")
	})
	for range 20 {
		if s := n.ask("with one proxy left"); !s.whole() {
			t.Fatalf("%+v\n%s", s, n.log)
		}
	}
	n.balanced()
}

// TestAWorkerThatFailsIsLeftAloneAndComesBack: three failures in a row open its breaker, callers are told at once when to
// come back, one probe decides, and a good one closes it (inference.md section 11).
func TestAWorkerThatFailsIsLeftAloneAndComesBack(t *testing.T) {
	const rest = 2 * time.Second
	n := faulty(t, options{tune: tuning{proxy: func(c *proxy.Config) { c.Breaker = sched.Breaker{Open: rest, Max: 2 * rest} }}})
	fake := n.workers[0].fake
	fail := func() {
		t.Helper()
		if s := n.try(t.Context(), chatBody("cut-in-head", "")); s.status != http.StatusBadGateway || s.code != "engine_error" {
			t.Errorf("status %d, %s", s.status, s.body)
		}
	}
	alone := func(most time.Duration) {
		t.Helper()
		before := fake.Requests.Load()
		s := n.try(t.Context(), chatBody("good", "")) // one that waited for the probe would be served
		after, err := strconv.Atoi(s.header.Get("Retry-After"))
		if s.status != http.StatusTooManyRequests || s.code != "rate_limit_exceeded" || err != nil || after < 1 || time.Duration(after)*time.Second > most+time.Second {
			t.Errorf("status %d, Retry-After %d, %s", s.status, after, s.body)
		}
		if fake.Requests.Load() != before {
			t.Error("an engine that is to be left alone was asked")
		}
	}
	state := func(want string) bool { return n.proxy.Status().Workers[0].Breaker == want }
	for range 3 {
		fail()
	}
	opened := time.Now()
	alone(rest)
	n.until("the breaker lets a probe through", func() bool { return !state("open") })
	if since := time.Since(opened); since < rest/2 {
		t.Errorf("after %s", since)
	}
	fail() // the probe
	alone(2 * rest)
	n.until("the breaker lets a probe through again", func() bool { return !state("open") })
	for range 3 {
		if s := n.try(t.Context(), chatBody("good", "")); !s.whole() {
			t.Fatalf("after a good probe: %+v", s)
		}
	}
	if !state("closed") || n.proxy.Status().Choices.Breakers != 2 {
		t.Errorf("%+v", n.proxy.Status().Choices)
	}
	n.balanced()
}

// TestOneBrokenWorkerCostsNobodyAnything: while its engine fails every request the other worker serves them, and it serves
// again once it can.
func TestOneBrokenWorkerCostsNobodyAnything(t *testing.T) {
	const rest = 300 * time.Millisecond
	n := faulty(t, options{workers: 2, tune: tuning{proxy: func(c *proxy.Config) { c.Breaker = sched.Breaker{Open: rest, Max: rest} }}})
	var asked atomic.Int64
	broken := func(w http.ResponseWriter, r *http.Request) bool {
		asked.Add(1)
		_, err := io.Copy(io.Discard, r.Body)
		if err != nil {
			t.Error(err)
		}
		w.WriteHeader(http.StatusInternalServerError)
		return true
	}
	n.workers[0].before.Store(&broken)
	const requests = 40
	for range requests {
		if s := n.ask("beside a broken worker"); !s.whole() {
			t.Fatalf("%+v\n%s", s, n.log)
		}
	}
	t.Logf("of %d requests %d met the broken worker first", requests, asked.Load())
	if asked.Load() == 0 {
		t.Error("the broken worker was never asked: this test shows nothing")
	}
	if n.proxy.Status().Choices.Breakers == 0 && asked.Load() >= 3 {
		t.Error("its breaker has not opened")
	}
	n.workers[0].before.Store(nil)
	n.until("it serves again", func() bool {
		before := n.workers[0].fake.Requests.Load()
		s := n.ask("after the repair")
		return s.whole() && n.workers[0].fake.Requests.Load() > before
	})
	for _, e := range n.settled() {
		if e.Status != string(receipt.Complete) || e.Tokens.Completion != enginetest.BriefTokens {
			t.Errorf("billed %+v", e)
		}
	}
	if missing := n.reconciled(); missing > 0 {
		t.Errorf("%d requests have no receipt", missing)
	}
}

// TestAFullLineIsToldSo: who cannot wait is told when to come back, at once, and who waited too long as well.
func TestAFullLineIsToldSo(t *testing.T) {
	const wait = 2 * time.Second
	n := faulty(t, options{tune: tuning{
		proxy:  func(c *proxy.Config) { c.Times.Queue = wait },
		worker: func(_ int, c *worker.Config) { c.MaxActive = 1 },
	}})
	busy := n.openBody(t.Context(), long("endless", `,"stream":true`))
	if _, ok := busy.next(); !ok {
		t.Fatal("no event")
	}
	const line, late = 4, 6 // four wait for each slot, the others find the line full
	answers := make(chan error, line+late)
	for i := range line + late {
		if i == line {
			n.until("the line is full", func() bool { return n.proxy.Status().Choices.Queued == line })
		}
		go func() {
			began := time.Now()
			s := n.try(t.Context(), chatBody("good", ""))
			switch took := time.Since(began); {
			case s.status != http.StatusTooManyRequests || s.code != "rate_limit_exceeded" || s.header.Get("Retry-After") == "" || s.whole():
				answers <- errors.New(s.body)
			case took > wait+quick:
				answers <- errors.New("after " + took.String())
			default:
				answers <- nil
			}
		}()
	}
	for range line + late {
		if err := <-answers; err != nil {
			t.Error(err)
		}
	}
	refused := n.proxy.Status().Choices.Refused
	if refused["queue_full"] != late || refused["queue_wait"] != line {
		t.Errorf("refused: %v", refused)
	}
	check(t, busy.resp.Body.Close())
	n.within(soon, "the engine is free", func() bool { return n.workers[0].fake.Active.Load() == 0 })
	if s := n.try(t.Context(), chatBody("good", "")); !s.whole() {
		t.Errorf("%+v", s)
	}
}
