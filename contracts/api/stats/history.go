package stats

import (
	"encoding/json"
	"math"
	"sync"
	"time"
)

// Resolutions of histories: an hour at 10 s and a day at 2 min.
const (
	shortStep, shortSlots = 10 * time.Second, 360
	longStep, longSlots   = 2 * time.Minute, 720
)

// Points are values at even distances in time, oldest first. NaN says that nothing is known of that time.
type Points []float64

// MarshalJSON writes null for what is not known.
func (p Points) MarshalJSON() ([]byte, error) {
	out := make([]*float64, len(p))
	for i, v := range p {
		if !math.IsNaN(v) && !math.IsInf(v, 0) {
			out[i] = &v
		}
	}
	return json.Marshal(out)
}

// ring is a value for each slot of a span that ends now.
type ring struct {
	step   time.Duration
	values []float64
	last   int64   // number of the newest slot since the epoch
	blank  float64 // what a slot is in which nothing happened
}

// newRing makes a ring that knows nothing of the time before now.
func newRing(now time.Time, step time.Duration, slots int, blank float64) ring {
	r := ring{step: step, values: make([]float64, slots), blank: blank}
	for i := range r.values {
		r.values[i] = math.NaN()
	}
	r.last = r.number(now)
	r.values[r.last%int64(slots)] = blank
	return r
}

func (r *ring) number(now time.Time) int64 { return max(now.UnixNano(), 0) / int64(r.step) }

// at opens the slot of a time and returns its index. A time that is too old counts as the newest.
func (r *ring) at(now time.Time) int {
	n, slots := r.number(now), int64(len(r.values))
	for i := max(r.last+1, n-slots+1); i <= n; i++ {
		r.values[i%slots] = r.blank
	}
	r.last = max(r.last, n)
	if n <= r.last-slots {
		n = r.last
	}
	return int(n % slots)
}

func (r *ring) add(now time.Time, amount float64) {
	at := &r.values[r.at(now)]
	if math.IsNaN(*at) {
		*at = 0
	}
	*at += amount
}

// points are the slots in the order of time.
func (r *ring) points(now time.Time) Points {
	r.at(now)
	out := make(Points, len(r.values))
	for i := range out {
		out[i] = r.values[(r.last+1+int64(i))%int64(len(r.values))]
	}
	return out
}

// History is how often something happened over the last hour and the last day.
type History struct {
	mu          sync.Mutex
	short, long ring
}

// NewHistory makes one.
func NewHistory(now time.Time) *History {
	return &History{short: newRing(now, shortStep, shortSlots, 0), long: newRing(now, longStep, longSlots, 0)}
}

// Add adds an amount at a time.
func (h *History) Add(now time.Time, amount float64) {
	if amount == 0 {
		return // a slot in which nothing happened is made when somebody looks
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.short.add(now, amount)
	h.long.add(now, amount)
}

// Hour is the rate per second in each 10 s of the last hour.
func (h *History) Hour(now time.Time) Points { return h.rates(now, &h.short) }

// Day is the rate per second in each 2 min of the last day.
func (h *History) Day(now time.Time) Points { return h.rates(now, &h.long) }

func (h *History) rates(now time.Time, r *ring) Points {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := r.points(now)
	for i := range out {
		out[i] /= r.step.Seconds()
	}
	// The newest slot is still open: its rate is that of the part that has passed, once that says something.
	passed := now.Sub(time.Unix(0, r.last*int64(r.step)))
	if n := len(out); passed < r.step/2 {
		out[n-1] = math.NaN()
	} else {
		out[n-1] *= r.step.Seconds() / passed.Seconds()
	}
	return out
}

// Level is what a quantity was, such as a number of requests under way: its mean over each slot.
type Level struct {
	mu          sync.Mutex
	short, long area
	value       float64
	at          time.Time
}

// area is a value times how long it was held, and that time.
type area struct{ sum, seconds ring }

func newArea(now time.Time, step time.Duration, slots int) area {
	return area{newRing(now, step, slots, 0), newRing(now, step, slots, 0)}
}

// hold adds a value that was held from one time to another.
func (a *area) hold(from, to time.Time, value float64) {
	if oldest := to.Add(-a.sum.step * time.Duration(len(a.sum.values)-1)); from.Before(oldest) {
		from = oldest
	}
	for from.Before(to) {
		end := time.Unix(0, (a.sum.number(from)+1)*int64(a.sum.step))
		if end.After(to) {
			end = to
		}
		held := end.Sub(from).Seconds()
		a.sum.add(from, value*held)
		a.seconds.add(from, held)
		from = end
	}
}

func (a *area) means(now time.Time) Points {
	out, seconds := a.sum.points(now), a.seconds.points(now)
	for i := range out {
		out[i] /= seconds[i] // nothing by nothing is NaN
	}
	return out
}

// NewLevel makes one that is 0.
func NewLevel(now time.Time) *Level {
	return &Level{short: newArea(now, shortStep, shortSlots), long: newArea(now, longStep, longSlots), at: now}
}

// Set says what the quantity is from now on.
func (l *Level) Set(now time.Time, value float64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.advance(now)
	l.value = value
}

func (l *Level) advance(now time.Time) {
	if !now.After(l.at) {
		return
	}
	l.short.hold(l.at, now, l.value)
	l.long.hold(l.at, now, l.value)
	l.at = now
}

// Hour is the mean in each 10 s of the last hour.
func (l *Level) Hour(now time.Time) Points { return l.means(now, &l.short) }

// Day is the mean in each 2 min of the last day.
func (l *Level) Day(now time.Time) Points { return l.means(now, &l.long) }

func (l *Level) means(now time.Time, a *area) Points {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.advance(now)
	return a.means(now)
}

// Line is the history as a line of a chart.
func (h *History) Line(name string, now time.Time) Line {
	return Line{Name: name, Hour: h.Hour(now), Day: h.Day(now)}
}

// Line is the level as a line of a chart.
func (l *Level) Line(name string, now time.Time) Line {
	return Line{Name: name, Hour: l.Hour(now), Day: l.Day(now)}
}
