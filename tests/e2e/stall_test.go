package e2e

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cocoon/contracts/receipt"
	"cocoon/guest/worker"
	"cocoon/tests/chaos"
)

// TestAPeerThatStopsReadingStopsTheEngine: a flood of events fills what lies between, and then nobody goes on generating
// for nobody, nor keeps more of it than the window of one stream.
func TestAPeerThatStopsReadingStopsTheEngine(t *testing.T) {
	for name, tc := range map[string]struct {
		port uint16
		dir  chaos.Direction
	}{
		"the gateway": {clientPort, chaos.Down},
		"the proxy":   {workerPort, chaos.Up},
	} {
		t.Run(name, func(t *testing.T) {
			n := faulty(t, options{links: true, tune: hasty()})
			link := n.proxies[0].ways[tc.port][0]
			fake := n.workers[0].fake
			var app sync.WaitGroup
			started := make(chan struct{})
			var once sync.Once
			var s seen
			app.Go(func() {
				s = n.watch(t.Context(), long("flood", `,"stream":true`), func([]byte) { once.Do(func() { close(started) }) })
			})
			<-started
			began := time.Now()
			link.Freeze(tc.dir)
			n.within(gap+dead+2*soon, "the engine is free", func() bool { return fake.Active.Load() == 0 })
			t.Logf("free after %s", time.Since(began))
			app.Wait()
			if s.whole() || !s.failed() {
				t.Errorf("code %q, [DONE] %v, %v", s.code, s.done, s.err)
			}
			link.Thaw()
			n.connected()
			if e := n.settled()[0]; e.Status == string(receipt.Complete) || e.Tokens.Completion == 0 {
				t.Errorf("billed %+v", e)
			}
			n.balanced()
		})
	}
}

// TestLinksThatCutBytesAnyhow: frames arrive in pieces of any size, late, in both directions of both links, and nothing of
// it can be seen.
func TestLinksThatCutBytesAnyhow(t *testing.T) {
	n := faulty(t, options{workers: 2, links: true, tune: hasty()})
	for _, ways := range n.proxies[0].ways {
		for _, way := range ways {
			way.Behave(chaos.Up, chaos.Manner{Piece: 300, Random: true})
			way.Behave(chaos.Down, chaos.Manner{Piece: 300, Random: true, Delay: 200 * time.Microsecond})
		}
	}
	const requests, atOnce = 12, 4
	var all sync.WaitGroup
	for range atOnce {
		all.Go(func() {
			for range requests / atOnce {
				body := numbered("brief", "slow")
				n.agrees("brief", body, new(n.try(t.Context(), body)), complete(5, 30))
			}
		})
	}
	all.Wait()
	if missing := n.reconciled(); missing > 0 {
		t.Errorf("%d requests have no receipt", missing)
	}
}

// TestAnEngineThatIgnoresItsCancellationKeepsNobodyWaiting: the worker's slot is free when the app is gone, whatever the
// engine goes on doing.
func TestAnEngineThatIgnoresItsCancellationKeepsNobodyWaiting(t *testing.T) {
	n := faulty(t, options{tune: tuning{worker: func(_ int, c *worker.Config) { c.MaxActive = 1 }}})
	release := make(chan struct{})
	through := sync.OnceFunc(func() { close(release) })
	t.Cleanup(through)
	var another atomic.Bool
	holds := func(w http.ResponseWriter, r *http.Request) bool {
		if another.Swap(true) {
			return false
		}
		n.workers[0].fake.ServeHTTP(w, r)
		<-release
		return true
	}
	n.workers[0].before.Store(&holds)
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	s := n.openBody(ctx, chatBody("ignore-cancel", `,"stream":true`))
	for range 3 {
		s.next()
	}
	leave()
	next := n.try(t.Context(), chatBody("good", ""))
	if !next.whole() {
		t.Errorf("%+v", next)
	}
	through()
	for _, e := range n.billed(2) {
		if cancelled := e.Status == string(receipt.Cancelled); cancelled != (e.Tokens.Completion != 3 || e.Status != string(receipt.Complete)) || e.Tokens.Completion == 0 || e.Tokens.Completion >= 20 {
			t.Errorf("billed %+v", e)
		}
	}
	n.until("the engine is through", func() bool { return n.workers[0].fake.Active.Load() == 0 })
}

// TestAWorkerThatIsStoppedIsMissedAtOnce: its streams break with an error, and with nobody left callers are told so at once.
func TestAWorkerThatIsStoppedIsMissedAtOnce(t *testing.T) {
	n := faulty(t, options{tune: hasty()})
	took := n.breaks(n.workers[0].stop)
	began := time.Now()
	s := n.ask("without a worker")
	if s.status != http.StatusServiceUnavailable || s.code != "no_workers" || time.Since(began) > quick {
		t.Errorf("after %s: %+v", time.Since(began), s)
	}
	t.Logf("told after %s", took)
	e := n.settled()[0]
	if e.Status == string(receipt.Complete) || e.Tokens.Completion == 0 || e.Tokens.Prompt != 5 && e.Tokens.Prompt != promptEstimate(long("endless", "")) { // as it still said, or as was counted
		t.Errorf("billed %+v", e)
	}
	if r, ok := n.paper(e); !ok || r.Usage.Billed != e.Paid() {
		t.Errorf("receipt %+v", r)
	}
	n.balanced()
}
