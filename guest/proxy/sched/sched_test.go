package sched

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const model = "org/model@c:root"

func fresh() *Scheduler {
	return New(Config{Now: time.Now, Rand: rand.New(rand.NewPCG(1, 2))})
}

// worker adds an enabled worker that is past its slow start.
func (s *Scheduler) worker(change func(*Spec)) uint64 {
	spec := Spec{Model: model, Coefficient: 1000, Slots: 1}
	if change != nil {
		change(&spec)
	}
	id := s.Add(spec)
	s.Enable(id, true)
	s.workers[id].since = time.Time{}
	return id
}

func ask() Request { return Request{Client: "c", Model: model, MaxCoefficient: 4000, Tokens: 100} }

func acquire(t *testing.T, s *Scheduler, r Request) *Lease {
	t.Helper()
	l, err := s.Acquire(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// TestEqualWorkersShareTheWork: protocol.md section 12 row 10, 1000 requests within 45 to 55 percent.
func TestEqualWorkersShareTheWork(t *testing.T) {
	s := fresh()
	now := time.Now()
	s.cfg.Now = func() time.Time { return now }
	a, b := s.worker(nil), s.worker(nil)
	count := map[uint64]int{}
	for i := range 1000 {
		l := acquire(t, s, ask())
		count[l.Worker]++
		now = now.Add(time.Duration(490+i%20) * time.Millisecond) // speeds are measured with noise
		l.FirstByte()
		now = now.Add(time.Second)
		l.End(Served, 100)
	}
	if count[a] < 450 || count[a] > 550 || count[a]+count[b] != 1000 {
		t.Errorf("%v", count)
	}
}

func TestRefusals(t *testing.T) {
	for name, tc := range map[string]struct {
		workers []func(*Spec)
		request func(*Request)
		kind    Refusal
		text    string
	}{
		"no such model":  {kind: UnknownModel, text: "unknown model"},
		"another model":  {workers: []func(*Spec){func(s *Spec) { s.Model = "x@c:r" }}, kind: UnknownModel, text: "unknown model"},
		"another commit": {workers: []func(*Spec){func(s *Spec) { s.Model = "org/model@d:root" }}, kind: UnknownModel, text: "unknown model"},
		"too dear": {
			[]func(*Spec){func(s *Spec) { s.Coefficient = 7000 }, func(s *Spec) { s.Coefficient = 5000 }}, nil, PriceLimit, "can run this query with coefficient=5000",
		},
		"a price of nothing": {nil, func(r *Request) { r.MaxCoefficient = -1 }, UnknownModel, "unknown model"},
		"negative cap":       {[]func(*Spec){nil}, func(r *Request) { r.MaxCoefficient = -1 }, PriceLimit, "can run this query with coefficient=1000"},
		"session":            {[]func(*Spec){nil}, func(r *Request) { r.Sessions = []string{"s"} }, NoSession, "no worker with an accepted session"},
		"feature":            {[]func(*Spec){nil}, func(r *Request) { r.Features = []string{"tools"} }, NoFeature, "features"},
	} {
		t.Run(name, func(t *testing.T) {
			s := fresh()
			for _, w := range tc.workers {
				s.worker(w)
			}
			r := ask()
			if tc.request != nil {
				tc.request(&r)
			}
			_, err := s.Acquire(t.Context(), r)
			e, ok := errors.AsType[*RefusedError](err)
			if !ok || e.Kind != tc.kind || !strings.Contains(err.Error(), tc.text) {
				t.Errorf("err = %v", err)
			}
		})
	}
	s := fresh()
	s.Enable(s.worker(nil), false)
	if _, err := s.Acquire(t.Context(), ask()); fmt.Sprint(err) != "no workers for model" {
		t.Errorf("a disabled worker: %v", err)
	}
}

func TestNamesOfModels(t *testing.T) {
	s := fresh()
	id := s.worker(nil)
	for _, name := range []string{model, "org/model"} {
		r := ask()
		r.Model = name
		l := acquire(t, s, r)
		if l.Worker != id || l.Coefficient != 1000 || l.Reason != OnlyOne {
			t.Errorf("%s: %+v", name, l)
		}
		l.End(Served, 1)
	}
}

// TestTheBetterWorkerWins: of two, the cheaper, the faster and the more reliable one is chosen.
func TestTheBetterWorkerWins(t *testing.T) {
	for name, worse := range map[string]func(s *Scheduler, id uint64){
		"price":   func(s *Scheduler, id uint64) { s.Update(id, func(w *Spec) { w.Coefficient = 1500 }) },
		"success": func(s *Scheduler, id uint64) { s.workers[id].standing.bad = 20 },
		"speed":   func(s *Scheduler, id uint64) { s.workers[id].tokensPerSecond.add(5, time.Now()) },
		"latency": func(s *Scheduler, id uint64) { s.workers[id].firstSeconds.add(9, time.Now()) },
		"load":    func(s *Scheduler, id uint64) { s.workers[id].inflight = 5000 },
		"fresh":   func(s *Scheduler, id uint64) { s.workers[id].since = time.Now() },
	} {
		s := fresh()
		good, bad := s.worker(nil), s.worker(nil)
		for _, id := range []uint64{good, bad} {
			s.workers[id].tokensPerSecond.add(50, time.Time{}.Add(time.Hour))
		}
		worse(s, bad)
		for range 50 {
			l := acquire(t, s, ask())
			if l.Worker != good && l.Reason != Exploration {
				t.Errorf("%s: the worse one was chosen for %s", name, l.Reason)
				break
			}
			l.Free()
		}
	}
}

func TestNewWorkersGetTheirChance(t *testing.T) {
	s := fresh()
	s.worker(func(w *Spec) { w.Slots = 5000 })
	id := s.worker(func(w *Spec) { w.Slots = 5000 })
	got := 0
	for range 500 {
		l := acquire(t, s, ask())
		if l.Worker == id {
			got++
		}
		l.End(Neutral, 0)
	}
	if got == 0 {
		t.Error("a new worker was never chosen")
	}
}

// TestAFastWorkerDoesNotKeepAnotherFromBeingTried: what is assumed of one that has not answered yet is no worse than what
// the others do, and in its first half a minute, in which it counts as slower, it is tried now and then all the same.
func TestAFastWorkerDoesNotKeepAnotherFromBeingTried(t *testing.T) {
	for name, since := range map[string][2]time.Duration{
		"both there for long": {time.Hour, time.Hour}, "one has just come": {time.Hour, 0}, "both have just come": {0, 0},
	} {
		s := fresh()
		now := time.Now()
		s.cfg.Now = func() time.Time { return now }
		fast, other := s.worker(nil), s.worker(nil)
		s.workers[fast].since, s.workers[other].since = now.Add(-since[0]), now.Add(-since[1])
		got := make(map[uint64]int)
		const requests = 400
		for range requests {
			l := acquire(t, s, ask())
			got[l.Worker]++
			now = now.Add(2 * time.Millisecond)
			l.FirstByte()
			now = now.Add(30 * time.Millisecond)
			l.End(Served, 30)
		}
		t.Logf("%s: %d and %d of %d", name, got[fast], got[other], requests)
		if got[other] < requests/100 || since[0] == since[1] && got[other] < requests/3 {
			t.Errorf("%s: the other one served %d of %d", name, got[other], requests)
		}
	}
}

// TestTheQueueIsFairAndBounded: clients take turns, a client's own requests keep their order, and a full line says so.
func TestTheQueueIsFairAndBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := fresh()
		s.worker(nil)
		held := acquire(t, s, ask())
		var mu sync.Mutex
		var order []string
		var wg sync.WaitGroup
		for _, name := range []string{"a1", "a2", "a3", "b1"} {
			r := ask()
			r.Client = name[:1]
			wg.Go(func() {
				l, err := s.Acquire(t.Context(), r)
				if err != nil {
					t.Errorf("%s: %v", name, err)
					return
				}
				mu.Lock()
				order = append(order, name)
				mu.Unlock()
				l.End(Served, 1)
			})
			synctest.Wait()
		}
		_, err := s.Acquire(t.Context(), ask())
		if e, ok := errors.AsType[*RefusedError](err); !ok || e.Kind != NotReady || e.RetryAfter < time.Second {
			t.Errorf("a full line: %v", err)
		}
		held.End(Served, 100)
		wg.Wait()
		if got := strings.Join(order, " "); got != "a1 b1 a2 a3" {
			t.Errorf("served %s", got)
		}
	})
}

func TestNobodyWaitsForever(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := fresh()
		s.worker(nil)
		held := acquire(t, s, ask())
		began := time.Now()
		_, err := s.Acquire(t.Context(), ask())
		if e, ok := errors.AsType[*RefusedError](err); !ok || e.Kind != NotReady || time.Since(began) != maxWait {
			t.Errorf("%v after %s", err, time.Since(began))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := s.Acquire(ctx, ask()); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a caller who left: %v", err)
		}
		if _, stats := s.Snapshot(); stats.Queued != 0 {
			t.Errorf("%d are still in line", stats.Queued)
		}
		held.End(Served, 1)
		acquire(t, s, ask()).End(Served, 1) // the slot is free: nobody who left holds it
	})
}

// TestWhoWaitsForACertainWorkerHoldsUpNobody: a worker that is too dear for the first in line is given to the next.
func TestWhoWaitsForACertainWorkerHoldsUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Config{Now: time.Now})
		cheap := s.worker(nil)
		held := acquire(t, s, ask())
		dear := s.worker(func(w *Spec) { w.Coefficient = 3000 })
		busy := acquire(t, s, ask())
		type got struct {
			client string
			lease  *Lease
		}
		answers := make(chan got, 3)
		wait := func(client string, most int64) {
			r := ask()
			r.Client, r.MaxCoefficient = client, most
			go func() {
				l, err := s.Acquire(t.Context(), r)
				if err != nil {
					t.Errorf("%s: %v", client, err)
				}
				answers <- got{client, l}
			}()
			synctest.Wait()
		}
		wait("thrifty", 1000)
		wait("patient", 4000)
		wait("other", 4000)
		began := time.Now()
		busy.End(Served, 1)
		next := <-answers
		if next.client != "patient" || next.lease.Worker != dear || time.Since(began) > 0 {
			t.Errorf("%s got %d after %s", next.client, next.lease.Worker, time.Since(began))
		}
		held.End(Served, 1)
		if a := <-answers; a.client != "thrifty" || a.lease.Worker != cheap {
			t.Errorf("%s got %d", a.client, a.lease.Worker)
		}
		next.lease.End(Served, 1)
		if a := <-answers; a.client != "other" {
			t.Errorf("%s was last", a.client)
		}
	})
}

// TestBreaker: three failures in a row open it, one probe closes it or opens it for twice as long; callers who gave up
// do not count.
func TestBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := fresh()
		id := s.worker(nil)
		other := s.worker(nil)
		s.Enable(other, false)
		once := func(o Outcome) { acquire(t, s, ask()).End(o, 1) }
		for range 5 {
			once(Neutral)
		}
		once(Failed)
		once(Failed)
		once(Served)
		once(Failed)
		once(Failed)
		if v, _ := s.Snapshot(); v[0].Breaker != "closed" {
			t.Fatalf("breaker %s", v[0].Breaker)
		}
		once(Failed)
		state := func(want string) {
			t.Helper()
			if v, _ := s.Snapshot(); v[0].Breaker != want {
				t.Errorf("breaker %s, want %s", v[0].Breaker, want)
			}
		}
		state("open")
		time.Sleep(2*time.Second + 100*time.Millisecond) //nolint:forbidigo // the bubble's clock
		began := time.Now()
		_, err := s.Acquire(t.Context(), ask()) // nobody waits for a worker that nobody may ask
		if e, ok := errors.AsType[*RefusedError](err); !ok || e.Kind != Failing || e.RetryAfter != 27900*time.Millisecond || time.Since(began) > 0 {
			t.Errorf("%v after %s", err, time.Since(began))
		}
		if text := fmt.Sprint(err); !strings.HasPrefix(text, "no ready workers for model") || !strings.HasSuffix(text, tryAgain+"28 s") {
			t.Errorf("told %q", text)
		}
		time.Sleep(breakerOpen - 2*time.Second) //nolint:forbidigo // the bubble's clock
		l := acquire(t, s, ask())
		if l.Worker != id {
			t.Errorf("probed %d", l.Worker)
		}
		state("probing")
		l.End(Failed, 0)
		state("open")
		time.Sleep(breakerOpen + time.Second) //nolint:forbidigo // the bubble's clock
		state("open")
		time.Sleep(breakerOpen) //nolint:forbidigo // the bubble's clock
		once(Served)
		state("closed")
		if _, stats := s.Snapshot(); stats.Breakers != 2 {
			t.Errorf("%d openings", stats.Breakers)
		}
	})
}

// TestThoseInLineLeaveWhenTheBreakerOpens: what they wait for does not come; and while one probes, the others wait for how
// it ends.
func TestThoseInLineLeaveWhenTheBreakerOpens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Config{Now: time.Now, Breaker: Breaker{After: 1, Open: time.Second}})
		s.worker(nil)
		only := acquire(t, s, ask())
		answers := make(chan error, 2)
		wait := func() {
			go func() {
				l, err := s.Acquire(t.Context(), ask())
				if l != nil {
					l.End(Served, 1)
				}
				answers <- err
			}()
			synctest.Wait()
		}
		wait()
		wait()
		began := time.Now()
		only.End(Failed, 0)
		for range 2 {
			if e, ok := errors.AsType[*RefusedError](<-answers); !ok || e.Kind != Failing || time.Since(began) > 0 {
				t.Errorf("%v after %s", e, time.Since(began))
			}
		}
		time.Sleep(time.Second) //nolint:forbidigo // the bubble's clock
		probe := acquire(t, s, ask())
		wait()
		probe.End(Served, 1)
		if err := <-answers; err != nil {
			t.Errorf("after a good probe: %v", err)
		}
		if _, stats := s.Snapshot(); stats.Queued != 0 || stats.Excluded["probe"] == 0 || stats.Excluded["breaker"] == 0 {
			t.Errorf("%+v", stats)
		}
	})
}

// TestAnOldFailureIsNoVerdictOnTheProbe: what began before the breaker opened neither ends the probe nor doubles its time.
func TestAnOldFailureIsNoVerdictOnTheProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Config{Now: time.Now, Breaker: Breaker{After: 2, Open: time.Second, Max: 3 * time.Second}})
		id := s.worker(func(w *Spec) { w.Slots = 8 })
		old, late := acquire(t, s, ask()), acquire(t, s, ask())
		for range 2 {
			acquire(t, s, ask()).End(Failed, 0)
		}
		time.Sleep(time.Second) //nolint:forbidigo // the bubble's clock
		probe := acquire(t, s, ask())
		old.End(Neutral, 0)
		if v, _ := s.Snapshot(); v[0].Breaker != "probing" {
			t.Errorf("breaker %s after an older request ended", v[0].Breaker)
		}
		late.End(Failed, 0)
		probe.End(Failed, 0)
		if w := s.workers[id]; w.openFor != 2*time.Second {
			t.Errorf("open for %s", w.openFor)
		}
		for range 3 {
			time.Sleep(3 * time.Second) //nolint:forbidigo // the bubble's clock
			acquire(t, s, ask()).End(Failed, 0)
		}
		if w := s.workers[id]; w.openFor != 3*time.Second {
			t.Errorf("open for %s", w.openFor)
		}
	})
}

func TestARetryGoesElsewhere(t *testing.T) {
	s := fresh()
	a, b := s.worker(nil), s.worker(nil)
	for range 20 {
		first := acquire(t, s, ask())
		r := ask()
		r.Exclude = []uint64{first.Worker}
		second := acquire(t, s, r)
		if second.Worker == first.Worker || second.Worker != a && second.Worker != b || second.Reason != Retry {
			t.Errorf("%+v after %+v", second, first)
		}
		r.Exclude = append(r.Exclude, second.Worker)
		if _, err := s.Acquire(t.Context(), r); fmt.Sprint(err) != "no workers for model" {
			t.Errorf("after both were tried: %v", err)
		}
		first.End(Neutral, 0)
		second.End(Served, 1)
	}
}

// TestRoutesStayTogether: equal beginnings meet the same worker while it is not much busier; a hot route is spread.
func TestRoutesStayTogether(t *testing.T) {
	s := fresh()
	for range 4 {
		s.worker(func(w *Spec) { w.Slots = 100 })
	}
	r := ask()
	r.Route = "digest"
	seen := map[uint64]int{}
	var held []*Lease
	for range 3 {
		l := acquire(t, s, r)
		seen[l.Worker]++
		held = append(held, l)
	}
	if len(seen) != 1 {
		t.Errorf("a route met %v", seen)
	}
	for range 5 {
		l := acquire(t, s, r)
		seen[l.Worker]++
		held = append(held, l)
	}
	if len(seen) < 2 {
		t.Errorf("an overloaded worker kept its route: %v", seen)
	}
	for _, l := range held {
		l.End(Neutral, 0)
	}
	clear(seen)
	for range 40 { // above the rate at which it is hot
		l := acquire(t, s, r)
		seen[l.Worker]++
		held = append(held, l)
	}
	if len(seen) < 2 {
		t.Errorf("a hot route met %v", seen)
	}
}

func TestRoutesAreForgotten(t *testing.T) {
	r := newRoutes()
	now := time.Now()
	for i := range 3 * maxRoutes {
		r.hit(fmt.Sprint(i), now)
	}
	if len(r.recent) > maxRoutes {
		t.Errorf("%d routes", len(r.recent))
	}
}

// TestADrainedRequestIsJudgedAtOnceAndKeepsItsSlot: nobody knows when its worker will be through with it, and a worker that
// never is must not look better than one that fails at once. In whichever order both are said, each counts once.
func TestADrainedRequestIsJudgedAtOnceAndKeepsItsSlot(t *testing.T) {
	s := New(Config{Now: time.Now, Breaker: Breaker{After: 2}})
	id := s.Add(Spec{Model: model, Coefficient: 1000, Slots: 2})
	s.Enable(id, true)
	view := func() View { v, _ := s.Snapshot(); return v[0] }
	first, second := acquire(t, s, ask()), acquire(t, s, ask())
	first.Drain(Failed, 0)
	first.Drain(Failed, 0)
	first.End(Failed, 0)
	if v := view(); v.Running != 1 || v.Draining != 0 || v.Record[Failed][0] != 1 || v.Breaker != "closed" {
		t.Errorf("after the first: %+v", v)
	}
	second.Drain(Failed, 0)
	if v := view(); v.Running != 1 || v.Draining != 1 || v.Record[Failed][0] != 2 || v.Breaker != "open" {
		t.Errorf("while the second drains: %+v", v)
	}
	second.Free()
	second.Free()
	if v := view(); v.Running != 0 || v.Draining != 0 || v.Record[Failed][0] != 2 {
		t.Errorf("in the end: %+v", v)
	}
	s.workers[id].openUntil = time.Time{}
	third := acquire(t, s, ask())
	third.Free() // the worker was quicker
	third.Drain(Served, 1)
	if v := view(); v.Running != 0 || v.Draining != 0 || v.Record[Served][0] != 1 || v.Breaker != "closed" || s.workers[id].inflight != 0 {
		t.Errorf("freed first: %+v", v)
	}
}

// TestALineIsBounded: by the slots that there are, and by a number.
func TestALineIsBounded(t *testing.T) {
	for slots, want := range map[int]int{0: queuePerSlot, 1: queuePerSlot, 7: 7 * queuePerSlot, 1 << 20: maxQueue} {
		q, n := newQueue(), 0
		for ; n <= maxQueue; n++ {
			if _, ok := q.join(Request{Client: fmt.Sprint(n % 3)}, slots); !ok {
				break
			}
		}
		if n != want || q.n != want {
			t.Errorf("%d slots: %d in line, want %d", slots, n, want)
		}
	}
}

// TestManyAtOnce: under load from many sides every slot is given back and no worker has more than its slots.
func TestManyAtOnce(t *testing.T) {
	s := New(Config{Now: time.Now})
	for range 3 {
		s.Enable(s.Add(Spec{Model: model, Coefficient: 1000, Slots: 4}), true)
	}
	var wg sync.WaitGroup
	for i := range 32 {
		wg.Go(func() {
			for n := range 50 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(1+n%7)*time.Millisecond)
				r := ask()
				r.Client = fmt.Sprint(i % 5)
				if l, err := s.Acquire(ctx, r); err == nil {
					views, _ := s.Snapshot()
					for _, v := range views {
						if v.Running > v.Spec.Slots {
							t.Errorf("%d requests in %d slots", v.Running, v.Spec.Slots)
						}
					}
					l.FirstByte()
					l.End(Outcome(n%2)*2, 10)
				}
				cancel()
			}
		})
	}
	wg.Wait()
	views, stats := s.Snapshot()
	for _, v := range views {
		if v.Running != 0 {
			t.Errorf("%d slots were not given back", v.Running)
		}
	}
	if stats.Queued != 0 || len(s.queues) != 0 {
		t.Errorf("%d in line, %d queues", stats.Queued, len(s.queues))
	}
}

func BenchmarkAcquire(b *testing.B) {
	s := New(Config{Now: time.Now})
	for range 50 {
		s.Enable(s.Add(Spec{Model: model, Coefficient: 1000, Slots: 8}), true)
	}
	b.ReportAllocs()
	for b.Loop() {
		l, err := s.Acquire(b.Context(), ask())
		if err != nil {
			b.Fatal(err)
		}
		l.End(Served, 10)
	}
}
