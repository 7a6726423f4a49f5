// Package stats is what a runner shows of itself: counters over windows, histories, the page at /stats, and the text at
// /metrics (inference.md section 19, protocol.md section 8.2).
//
// It owns the shapes and the renderer that gateway, proxy and worker share; what they fill in is theirs. It trusts no
// string: everything reaches a page through html/template and a metric through its escaping, and the page loads nothing
// and runs no script. Counters are safe for concurrent use and take the time from their caller; pages are plain data.
// It holds numbers only: nothing here may carry a prompt, a key or a client's address.
package stats

import (
	"encoding/json"
	"math"
	"sync"
	"time"
)

// windows are those of the reference implementation's counters: 1s, 10s, 1m, 10m, 1h, 1d.
func windows() [6]time.Duration {
	return [...]time.Duration{time.Second, 10 * time.Second, time.Minute, 10 * time.Minute, time.Hour, 24 * time.Hour}
}

// Counter counts, and knows the rate per second over each window.
type Counter struct {
	mu    sync.Mutex
	total float64
	rates [6]float64
	at    time.Time
}

// Add counts n at a time.
func (c *Counter) Add(now time.Time, n float64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.age(now)
	c.total += n
	for i, w := range windows() {
		c.rates[i] += n / w.Seconds()
	}
}

// age lets the rates fade to a time.
func (c *Counter) age(now time.Time) {
	dt := now.Sub(c.at).Seconds()
	if c.at.IsZero() || dt < 0 {
		dt = 0
	}
	for i, w := range windows() {
		c.rates[i] *= math.Exp(-dt / w.Seconds())
	}
	c.at = now
}

// Reading is a counter as JSON has it: [total, 1s, 10s, 1m, 10m, 1h, 1d].
type Reading [7]float64

// MarshalJSON rounds rates to what means something.
func (r Reading) MarshalJSON() ([]byte, error) {
	out := [7]float64{r[0]}
	for i, v := range r[1:] {
		out[i+1] = math.Round(v*1e6) / 1e6
	}
	return json.Marshal(out)
}

// Read is the counter at a time.
func (c *Counter) Read(now time.Time) Reading {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.age(now)
	r := Reading{c.total}
	copy(r[1:], c.rates[:])
	return r
}

const (
	// Resolutions of histories: an hour at 10 s and a day at 2 min.
	shortStep, shortSlots = 10 * time.Second, 360
	longStep, longSlots   = 2 * time.Minute, 720
	// buckets of a Distribution grow by an eighth of a power of two from 0.1 ms to past an hour.
	perOctave, buckets = 8, 208
	firstBucket        = 100 * time.Microsecond
)

// History is what a quantity did over the last hour and the last day.
type History struct {
	mu          sync.Mutex
	short, long ring
}

type ring struct {
	values []float64
	last   int64 // number of the newest slot since the epoch
}

// slot opens the slot of a time and returns its index; slots that were skipped are zero.
func (r *ring) slot(now time.Time, step time.Duration, slots int) int {
	n := now.UnixNano() / int64(step)
	if r.values == nil {
		r.values, r.last = make([]float64, slots), n
	}
	for i := max(r.last+1, n-int64(slots)+1); i <= n; i++ {
		r.values[i%int64(slots)] = 0
	}
	r.last = max(r.last, n)
	return int(n % int64(slots))
}

// Add adds an amount at a time.
func (h *History) Add(now time.Time, amount float64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.short.values[h.short.slot(now, shortStep, shortSlots)] += amount
	h.long.values[h.long.slot(now, longStep, longSlots)] += amount
}

// NewHistory makes one.
func NewHistory(now time.Time) *History {
	h := &History{}
	h.short.slot(now, shortStep, shortSlots)
	h.long.slot(now, longStep, longSlots)
	return h
}

// Hour is the rate per second in each 10 s of the last hour, oldest first.
func (h *History) Hour(now time.Time) []float64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.short.rates(now, shortStep, shortSlots)
}

// Day is the rate per second in each 2 min of the last day, oldest first.
func (h *History) Day(now time.Time) []float64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.long.rates(now, longStep, longSlots)
}

func (r *ring) rates(now time.Time, step time.Duration, slots int) []float64 {
	newest := r.slot(now, step, slots)
	out := make([]float64, slots)
	for i := range out {
		out[i] = r.values[(newest+1+i)%slots] / step.Seconds()
	}
	return out
}

// Distribution counts durations, for quantiles; relative error is below one tenth.
type Distribution struct {
	mu     sync.Mutex
	counts [buckets]float64
	sum    time.Duration
	n      uint64
	at     time.Time
}

// fade is how long a sample weighs in quantiles: they speak of the last ten minutes or so.
const fade = 10 * time.Minute

// Add counts one duration.
func (d *Distribution) Add(now time.Time, v time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.age(now)
	i := 0
	if v > firstBucket {
		i = int(math.Ceil(math.Log2(float64(v)/float64(firstBucket)) * perOctave))
	}
	d.counts[min(i, buckets-1)]++
	d.sum += max(v, 0)
	d.n++
}

func (d *Distribution) age(now time.Time) {
	if !d.at.IsZero() && now.After(d.at) {
		f := math.Exp(-now.Sub(d.at).Seconds() / fade.Seconds())
		for i := range d.counts {
			d.counts[i] *= f
		}
	}
	d.at = now
}

// Quantile is the duration that a share q of the recent samples stays below; false without samples.
func (d *Distribution) Quantile(now time.Time, q float64) (time.Duration, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.age(now)
	total := 0.0
	for _, c := range d.counts {
		total += c
	}
	const trace = 1e-3 // what is left of samples of hours ago
	if total < trace {
		return 0, false
	}
	left := q * total
	for i, c := range d.counts {
		if left -= c; left <= 0 && c > 0 {
			return time.Duration(float64(firstBucket) * math.Exp2(float64(i)/perOctave)), true
		}
	}
	return 0, false
}

// Total is the number of samples and their sum since the start.
func (d *Distribution) Total() (n uint64, sum time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.n, d.sum
}
