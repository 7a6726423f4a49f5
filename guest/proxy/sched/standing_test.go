package sched

import (
	"fmt"
	"math"
	"testing"
	"time"
)

func TestAStandingFollowsWhatHappened(t *testing.T) {
	now := time.Unix(1_000_000_000, 0)
	for name, tc := range map[string]struct {
		good, bad, neutral int
		later              time.Duration
		want               float64
	}{
		"a new worker is in the middle":    {0, 0, 0, 0, 0.5},
		"callers are to blame for nothing": {0, 0, 50, 0, 0.5},
		"it works":                         {80, 0, 0, 0, 0.9},
		"it fails":                         {0, 30, 0, 0, 0.2},
		"both":                             {20, 20, 0, 0, 0.5},
		"half of it counts after a week":   {80, 0, 0, fadeHalf, 50.0 / 60},
		"and nothing of it after a year":   {0, 1000, 0, 52 * fadeHalf, 0.5},
		"a clock that was set back":        {80, 0, 0, -time.Hour, 0.9},
	} {
		t.Run(name, func(t *testing.T) {
			s := make(standings).meet("", now)
			for o, n := range map[Outcome]int{Served: tc.good, Failed: tc.bad, Neutral: tc.neutral} {
				for range n {
					s.note(o, now)
				}
			}
			s.fade(now.Add(tc.later))
			if got := s.success(); math.Abs(got-tc.want) > 1e-6 {
				t.Errorf("%f, want %f", got, tc.want)
			}
		})
	}
}

// TestAStandingSurvivesItsConnections: who comes back is no new worker, and who is somebody else is.
func TestAStandingSurvivesItsConnections(t *testing.T) {
	s := fresh()
	join := func(name string) uint64 { return s.worker(func(w *Spec) { w.Name = name }) }
	id := join("somebody")
	for range 10 {
		acquire(t, s, ask()).End(Served, 1)
	}
	s.Remove(id)
	for name, want := range map[string]float64{"somebody": 20.0 / 30, "somebody else": 0.5, "": 0.5} {
		id := join(name)
		for _, v := range views(s) {
			if v.ID == id && math.Abs(v.Success-want) > 1e-6 {
				t.Errorf("%q has %f, want %f", name, v.Success, want)
			}
		}
		s.Remove(id)
	}
}

func views(s *Scheduler) []View {
	v, _ := s.Snapshot()
	return v
}

// TestAPoorWorkerIsOnlyExplored: it gets a small share, in which it can win its standing back, and what nobody else can take.
func TestAPoorWorkerIsOnlyExplored(t *testing.T) {
	s := fresh()
	good, bad := s.worker(nil), s.worker(nil)
	s.workers[bad].standing.bad, s.workers[good].standing.good = 100, 100
	const all = 2000
	got := 0
	for range all {
		l := acquire(t, s, ask())
		if l.Worker == bad {
			if got++; l.Reason != Exploration {
				t.Fatalf("chosen for %s", l.Reason)
			}
		}
		l.End(Neutral, 0)
	}
	if got < all*3/100 || got > all*7/100 {
		t.Errorf("%d of %d", got, all)
	}
	r := ask()
	r.Exclude = []uint64{99}
	for range 200 {
		l := acquire(t, s, r)
		if l.Worker == bad {
			t.Fatal("a second attempt explores")
		}
		l.End(Neutral, 0)
	}
	held := acquire(t, s, r)
	if l := acquire(t, s, ask()); held.Worker != good || l.Worker != bad {
		t.Error("what nobody else can take waits")
	}
}

// TestAStandingDoesNotStick: who has failed a few times gets a share of a quiet hour, and with it its standing back.
func TestAStandingDoesNotStick(t *testing.T) {
	s := fresh()
	now := time.Now()
	s.cfg.Now = func() time.Time { return now }
	bad, good := s.worker(nil), s.worker(nil)
	s.workers[bad].since, s.workers[good].since = now.Add(-2*time.Second), now.Add(-time.Second) // both start slowly
	for _, id := range []uint64{good, bad} {
		s.workers[id].tokensPerSecond.add(50, time.Time{}.Add(time.Hour))
	}
	s.workers[bad].standing.bad, s.workers[good].standing.good = 2, 40
	share := func(all int, end Outcome) float64 {
		got := 0
		for range all {
			l := acquire(t, s, ask())
			if l.Worker == bad {
				got++
			}
			l.End(end, 0)
		}
		return float64(got) / float64(all)
	}
	if got := share(2000, Neutral); got < 0.03 || got > 0.07 {
		t.Errorf("%.3f of the requests while its standing is low", got)
	}
	now = now.Add(slowStart)
	share(4000, Served)
	if got := share(2000, Neutral); got < 0.4 || got > 0.6 {
		t.Errorf("%.3f of the requests after it served again", got)
	}
}

// TestStandingsAreBounded: those who are there, and those of whom most is known, are remembered longest.
func TestStandingsAreBounded(t *testing.T) {
	all, now := make(standings), time.Unix(1_000_000_000, 0)
	here := all.meet("here", now)
	known := all.meet("known", now)
	known.note(Served, now)
	known.connections--
	for i := range 3 * maxStandings {
		all.meet(fmt.Sprint(i), now).connections--
	}
	if len(all) > maxStandings || all["here"] != here || all["known"] != known {
		t.Errorf("%d standings", len(all))
	}
	for i := range 3 * maxStandings {
		s := all.meet(fmt.Sprint("x", i), now)
		s.note(Failed, now)
		s.note(Failed, now)
		s.connections--
	}
	if len(all) > maxStandings || all["here"] != here {
		t.Errorf("%d standings", len(all))
	}
}
