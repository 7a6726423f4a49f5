package gateway

import (
	"strings"
	"testing"
	"time"

	"cocoon/host/gateway/upstream"
)

// stateOf is a proxy's state by its name; empty when it is not used.
func (w *world) stateOf(name string) upstream.State {
	for _, s := range w.server.cfg.Pool.Status() {
		if s.Address == name {
			return s.State
		}
	}
	return ""
}

func (w *world) link(name string) *upstream.Link {
	w.t.Helper()
	for _, l := range w.server.cfg.Pool.Links() {
		if l.Address() == name {
			return l
		}
	}
	w.t.Fatalf("%s is not used", name)
	return nil
}

// count is how many requests reached a proxy.
func (w *world) count(name string) int { return len(w.proxies[name].requests()) }

// TestAFleetOfProxiesServesThroughEveryLoss: four proxies, of which one dies with a request in its hands, one is slow, one
// is not attested, and one is taken from the root contract while it answers. No app sees more than its answer.
func TestAFleetOfProxiesServesThroughEveryLoss(t *testing.T) {
	release := make(chan struct{})
	w := start(t, setup{refused: map[string]bool{"stranger": true}},
		newScripted("dies", 5, func(*scripted, *query) {}), // it takes requests, and its connection is cut
		newScripted("slow", 5, func(p *scripted, q *query) { <-release; good(p, q) }),
		newScripted("stranger", 5, good), newScripted("good", 5, good),
	)
	w.until(func() bool {
		return w.stateOf("dies") == upstream.Ready && w.stateOf("slow") == upstream.Ready && w.stateOf("good") == upstream.Ready && w.stateOf("stranger") == upstream.Refused
	})

	// The one that is not attested gets nothing, and the operator is told what to look at.
	if r := w.do("GET", "/readyz", ""); r.status != 200 || !strings.Contains(r.body, "an image of the root contract") {
		t.Errorf("/readyz: %d %s", r.status, r.body)
	}

	// "dies" has the best record, so it gets the request; it is lost before the first byte, and another one answers.
	w.link("good").Report(false, 200*time.Millisecond)
	w.link("slow").Report(false, 400*time.Millisecond)
	w.link("dies").Report(false, time.Millisecond)
	answered := make(chan reply, 1)
	go func() { answered <- w.chat("") }()
	w.until(func() bool { return w.count("dies") == 1 })
	w.cut("dies")
	if r := <-answered; r.status != 200 || r.body != answerBody {
		t.Fatalf("the request of the proxy that died: %d %s", r.status, r.body)
	}
	if w.count("good") != 1 || w.count("slow") != 0 || w.count("stranger") != 0 {
		t.Errorf("asked: good %d, slow %d, stranger %d", w.count("good"), w.count("slow"), w.count("stranger"))
	}
	w.until(func() bool { return w.stateOf("dies") == upstream.Ready }) // it comes back by itself

	// The slow one is chosen less than the fast one, whose record is better.
	for range 5 {
		w.link("dies").Report(true, 0)
		w.link("good").Report(false, 10*time.Millisecond)
		if r := w.chat(""); r.status != 200 {
			t.Fatalf("%d %s", r.status, r.body)
		}
	}
	if w.count("good") != 6 || w.count("slow") != 0 {
		t.Errorf("asked: good %d, slow %d", w.count("good"), w.count("slow"))
	}

	// One that leaves the root contract while it answers finishes, and gets nothing more.
	w.server.cfg.Pool.Set([]string{"slow", "stranger"})
	w.until(func() bool { return w.stateOf("good") == "" && w.stateOf("dies") == "" })
	go func() { answered <- w.chat("") }()
	w.until(func() bool { return w.count("slow") == 1 })
	w.server.cfg.Pool.Set([]string{"good", "stranger"})
	w.until(func() bool { return w.stateOf("slow") == upstream.Draining && w.stateOf("good") == upstream.Ready })
	if r := w.chat(""); r.status != 200 || w.count("good") != 7 {
		t.Errorf("while it drains: %d, good was asked %d times", r.status, w.count("good"))
	}
	close(release)
	if r := <-answered; r.status != 200 || r.body != answerBody {
		t.Errorf("the answer of the proxy that left: %d %s", r.status, r.body)
	}
	w.until(func() bool { return w.stateOf("slow") == "" })

	// With nobody left but a stranger, nothing is sent to anybody.
	w.server.cfg.Pool.Set([]string{"stranger"})
	w.until(func() bool { return w.stateOf("good") == "" && w.stateOf("stranger") == upstream.Refused })
	if r := w.chat(""); r.status != 503 || r.code(t) != "upstream_verification_failed" || r.header.Get("X-Should-Retry") != "false" {
		t.Errorf("with a stranger alone: %d %s", r.status, r.body)
	}
	if w.count("stranger") != 0 {
		t.Error("a stranger has seen a request")
	}
}

func TestModelsOfAllProxiesAreOneList(t *testing.T) {
	a, b := newScripted("a", 5, good), newScripted("b", 5, good)
	b.models = append(b.models, b.models[0])
	b.models[1].Name = "org/other@c:r"
	w := start(t, setup{}, a, b)
	w.until(func() bool { return len(w.server.merged()) == 2 && len(w.server.merged()[0].instances) == 2 })
	if r := w.do("GET", "/v1/models/org%2Fmodel@c:r", ""); !strings.Contains(r.body, `"workers_ready":2,"slots_free":6`) {
		t.Errorf("workers of two proxies: %s", r.body)
	}
	w.server.cfg.Pool.Set([]string{"a"})
	w.until(func() bool { return len(w.server.merged()) == 1 })
	if r := w.do("GET", "/v1/models", ""); strings.Contains(r.body, "other") || !strings.Contains(r.body, `"workers_ready":1`) {
		t.Errorf("after one left: %s", r.body)
	}
}

// TestAProxyThatRunsOutOfTimeEarlyIsNotTheLastWord: another one gets what is left, unless that is too little.
func TestAProxyThatRunsOutOfTimeEarlyIsNotTheLastWord(t *testing.T) {
	impatient := func(wait time.Duration) func(*scripted, *query) {
		return func(_ *scripted, q *query) {
			after := time.NewTimer(wait)
			defer after.Stop()
			<-after.C
			q.fail(652, "timeout")
		}
	}
	for name, tc := range map[string]struct {
		wait    time.Duration
		timeout string // in seconds; a quarter of it is too little
		status  int
	}{"early": {0, "60", 200}, "late": {1800 * time.Millisecond, "2", 504}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := start(t, setup{}, newScripted("impatient", 5, impatient(tc.wait)), newScripted("good", 5, good))
			w.until(func() bool { return w.stateOf("impatient") == upstream.Ready && w.stateOf("good") == upstream.Ready })
			w.link("impatient").Report(false, time.Millisecond)
			if r := w.chat(`,"timeout":` + tc.timeout); r.status != tc.status || w.count("impatient") != 1 || (w.count("good") == 1) != (tc.status == 200) {
				t.Errorf("%d %s, the other one was asked %d times", r.status, r.body, w.count("good"))
			}
		})
	}
}
