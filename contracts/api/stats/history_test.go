package stats

import (
	"encoding/json"
	"math"
	"testing"
	"time"
)

func TestWhatWasBeforeTheStartIsNotKnown(t *testing.T) {
	h, l, d := NewHistory(t0), NewLevel(t0), NewLatency(t0)
	d.Add(t0, time.Second)
	for name, points := range map[string]Points{"history": h.Hour(t0), "level": l.Hour(t0.Add(time.Second)), "latency": d.Hour(t0)[0]} {
		n := len(points)
		if n != shortSlots || !math.IsNaN(points[0]) || !math.IsNaN(points[n-2]) || math.IsNaN(points[n-1]) {
			t.Errorf("%s: %d points, from %v to %v", name, n, points[0], points[n-1])
		}
	}
	raw, err := json.Marshal(Points{1, math.NaN(), math.Inf(1)})
	if err != nil || string(raw) != "[1,null,null]" {
		t.Errorf("%s, %v", raw, err)
	}
}

func TestALevelIsTheMeanOfEachSlot(t *testing.T) {
	start := t0.Truncate(longStep)
	l := NewLevel(start)
	l.Set(start.Add(5*time.Second), 4)   // half of the first slot
	l.Set(start.Add(30*time.Second), 10) // the second and third are full of 4
	l.Set(start.Add(35*time.Second), 0)
	points := l.Hour(start.Add(50 * time.Second))
	n := len(points) - 1
	got := points[n-5 : n]
	for i, want := range []float64{2, 4, 4, 5, 0} {
		if got[i] != want {
			t.Errorf("slot %d: %v, wanted %v", i, got[i], want)
		}
	}
	l.Set(start.Add(time.Minute), 1)
	day := l.Day(start.Add(100 * 24 * time.Hour))
	for i, v := range day {
		if v != 1 && i < len(day)-1 {
			t.Fatalf("%v in slot %d after a hundred days of 1", v, i)
		}
	}
}

func TestALatencyRemembersItsQuantiles(t *testing.T) {
	start := t0.Truncate(longStep)
	l := NewLatency(start)
	for i := 1; i <= 100; i++ {
		l.Add(start, time.Duration(i)*time.Millisecond)
	}
	later := start.Add(25 * time.Second)
	l.Add(later, time.Second)
	hour := l.Hour(later)
	for i, q := range Quantiles() {
		n := len(hour[i]) - 1
		if then := hour[i][n-2]; then < 90*q || then > 115*q {
			t.Errorf("P%v was %v ms", 100*q, then)
		}
		if !math.IsNaN(hour[i][n-1]) {
			t.Errorf("%v in a slot without a sample", hour[i][n-1])
		}
		if now := hour[i][n]; now < 900 || now > 1150 {
			t.Errorf("the open slot says %v ms", now)
		}
	}
	if day := l.Day(later)[0]; math.IsNaN(day[len(day)-1]) {
		t.Error("the day's open slot is empty")
	}
	old := l.Hour(start.Add(2 * time.Hour))[2]
	for _, v := range old {
		if !math.IsNaN(v) {
			t.Fatalf("%v from two hours ago", v)
		}
	}
}

func TestHistoriesTakeAnyClock(t *testing.T) {
	h, l, d := NewHistory(t0), NewLevel(t0), NewLatency(t0)
	for _, at := range []time.Time{{}, t0.Add(-48 * time.Hour), t0.Add(time.Hour), t0, t0.Add(1000 * time.Hour)} {
		h.Add(at, 1)
		l.Set(at, 1)
		d.Add(at, time.Second)
		if len(h.Hour(at)) != shortSlots || len(l.Day(at)) != longSlots || len(d.Day(at)[0]) != longSlots {
			t.Errorf("points are missing at %s", at)
		}
	}
}

func TestAWatchKeepsTheBeginning(t *testing.T) {
	var w Watch
	ok := Verdict{Health: Good, Word: "OK"}
	w.Note(t0, ok)
	if got := w.Note(t0.Add(time.Hour), ok); !got.Since.Equal(t0) {
		t.Errorf("since %s", got.Since)
	}
	bad := Verdict{Health: Bad, Word: "down", Reasons: []string{"1 second ago"}}
	w.Note(t0.Add(2*time.Hour), bad)
	bad.Reasons[0] = "2 seconds ago"
	if got := w.Note(t0.Add(3*time.Hour), bad); !got.Since.Equal(t0.Add(2 * time.Hour)) {
		t.Errorf("down since %s", got.Since)
	}
}
