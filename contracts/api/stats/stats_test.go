package stats

import (
	"encoding/json"
	"math"
	"testing"
	"time"
)

var t0 = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

func TestACounterKnowsItsRateOverEachWindow(t *testing.T) {
	var c Counter
	for i := range 600 {
		c.Add(t0.Add(time.Duration(i)*100*time.Millisecond), 1)
	}
	r := c.Read(t0.Add(time.Minute))
	if r[0] != 600 {
		t.Errorf("total %v", r[0])
	}
	if r[2] < 9 || r[2] > 11 || r[3] < 5 || r[3] > 8 {
		t.Errorf("10 s: %v, 1 min: %v; ten a second came for a minute", r[2], r[3])
	}
	later := c.Read(t0.Add(time.Hour))
	if later[0] != 600 || later[1] != 0 && later[1] > 1e-9 || later[3] > 1e-9 {
		t.Errorf("an hour later: %v", later)
	}
	raw, err := json.Marshal(later)
	var list []float64
	if err != nil || json.Unmarshal(raw, &list) != nil || len(list) != 7 {
		t.Errorf("JSON %s", raw)
	}
}

func TestTimeThatGoesBackIsNoTrouble(t *testing.T) {
	var c Counter
	h := NewHistory(t0)
	var d Distribution
	for _, at := range []time.Time{t0, t0.Add(-time.Hour), t0.Add(time.Second)} {
		c.Add(at, 1)
		h.Add(at, 1)
		d.Add(at, time.Second)
	}
	if got := c.Read(t0)[0]; got != 3 {
		t.Errorf("total %v", got)
	}
	if n, sum := d.Total(); n != 3 || sum != 3*time.Second {
		t.Errorf("%d samples of %s", n, sum)
	}
}

func TestAHistoryForgetsWhatIsOlderThanItsSpan(t *testing.T) {
	start := t0.Truncate(longStep)
	sum := func(points Points) (out float64) {
		for _, v := range points {
			if !math.IsNaN(v) {
				out += v
			}
		}
		return out
	}
	for name, tc := range map[string]struct {
		after     time.Duration
		hour, day float64
	}{
		"a slot on":  {2 * time.Minute, 2, 20.0 / 120},
		"half an h":  {30 * time.Minute, 2, 20.0 / 120},
		"two hours":  {2 * time.Hour, 0, 20.0 / 120},
		"two days":   {48 * time.Hour, 0, 0},
		"ten years":  {87600 * time.Hour, 0, 0},
		"yet longer": {876000 * time.Hour, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			h := NewHistory(start)
			h.Add(start, 20)
			at := start.Add(tc.after)
			if got := sum(h.Hour(at)); got != tc.hour {
				t.Errorf("hour %v", got)
			}
			if got := sum(h.Day(at)); got != tc.day {
				t.Errorf("day %v", got)
			}
		})
	}
	h := NewHistory(start)
	h.Add(start, 20)
	for passed, want := range map[time.Duration]float64{8 * time.Second: 2.5, 5 * time.Second: 4} {
		if points := h.Hour(start.Add(passed)); points[len(points)-1] != want {
			t.Errorf("after %s of the newest slot its rate is %v", passed, points[len(points)-1])
		}
	}
	if points := h.Hour(start.Add(time.Second)); !math.IsNaN(points[len(points)-1]) {
		t.Error("a second of a slot says nothing")
	}
}

func TestQuantilesAreWithinATenth(t *testing.T) {
	var d Distribution
	if _, ok := d.Quantile(t0, 0.5); ok {
		t.Error("a quantile of nothing")
	}
	for i := 1; i <= 1000; i++ {
		d.Add(t0, time.Duration(i)*time.Millisecond)
	}
	for q, want := range map[float64]time.Duration{0.5: 500 * time.Millisecond, 0.95: 950 * time.Millisecond, 1: time.Second} {
		got, ok := d.Quantile(t0, q)
		if !ok || got < want*9/10 || got > want*11/10 {
			t.Errorf("quantile %v: %s, want about %s", q, got, want)
		}
	}
	if _, ok := d.Quantile(t0.Add(12*time.Hour), 0.5); ok {
		t.Error("samples of half a day ago still count")
	}
}

func TestMetricsText(t *testing.T) {
	var m Metrics
	m.Add("a_total", KindCounter, "What.", 1, "k", "x\"y\n\\")
	m.Add("a_total", KindCounter, "What.", 2.5, "k", "z")
	m.Add("b_seconds", KindSummary, "How long.", 0.5, "quantile", "0.5")
	m.Add("b_seconds_sum", KindSummary, "How long.", 3)
	m.Add("b_seconds_count", KindSummary, "How long.", 4)
	want := `# HELP cocoon_a_total What.
# TYPE cocoon_a_total counter
cocoon_a_total{k="x\"y\n\\"} 1
cocoon_a_total{k="z"} 2.5
# HELP cocoon_b_seconds How long.
# TYPE cocoon_b_seconds summary
cocoon_b_seconds{quantile="0.5"} 0.5
cocoon_b_seconds_sum 3
cocoon_b_seconds_count 4
`
	if got := string(m.Bytes()); got != want {
		t.Errorf("got\n%s", got)
	}
}
