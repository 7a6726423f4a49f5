package stats

import (
	"math"
	"strconv"
	"sync"
	"time"
)

const (
	// buckets of a Distribution grow by an eighth of a power of two from 0.1 ms to past an hour.
	perOctave, buckets = 8, 208
	firstBucket        = 100 * time.Microsecond
)

// bucket is where a duration is counted.
func bucket(v time.Duration) int {
	if v <= firstBucket {
		return 0
	}
	return min(int(math.Ceil(math.Log2(float64(v)/float64(firstBucket))*perOctave)), buckets-1)
}

// quantile is the upper end of the bucket below which a share q of the counts lies.
func quantile(counts *[buckets]float64, total, q float64) time.Duration {
	left := q * total
	for i, c := range counts {
		if left -= c; left <= 0 && c > 0 {
			return time.Duration(float64(firstBucket) * math.Exp2(float64(i)/perOctave))
		}
	}
	return 0
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
func (d *Distribution) Add(now time.Time, v time.Duration) { d.add(now, v, bucket(v)) }

// add counts one duration in its bucket.
func (d *Distribution) add(now time.Time, v time.Duration, at int) {
	const still = time.Second // in which nothing fades that could be seen
	d.mu.Lock()
	defer d.mu.Unlock()
	if since := now.Sub(d.at); since < 0 || since >= still {
		d.age(now)
	}
	d.counts[at]++
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
	return quantile(&d.counts, total, q), true
}

// Total is the number of samples and their sum since the start.
func (d *Distribution) Total() (n uint64, sum time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.n, d.sum
}

// Latency is a Distribution that remembers what its quantiles were.
type Latency struct {
	Distribution

	past        sync.Mutex
	short, long quantiles
}

// Quantiles are those that a Latency remembers.
func Quantiles() [3]float64 { return [...]float64{0.5, 0.95, 0.99} }

// NewLatency makes one.
func NewLatency(now time.Time) *Latency {
	l := &Latency{}
	l.short.open(now, shortStep, shortSlots)
	l.long.open(now, longStep, longSlots)
	return l
}

// Add counts one duration.
func (l *Latency) Add(now time.Time, v time.Duration) {
	at := bucket(v)
	l.add(now, v, at)
	l.past.Lock()
	defer l.past.Unlock()
	for _, q := range []*quantiles{&l.short, &l.long} {
		q.close(now)
		q.counts[at]++
		q.n++
	}
}

// Hour is P50, P95 and P99 in milliseconds in each 10 s of the last hour, oldest first; NaN where nothing was counted.
func (l *Latency) Hour(now time.Time) [3]Points { return l.read(now, &l.short) }

// Day is the same in each 2 min of the last day.
func (l *Latency) Day(now time.Time) [3]Points { return l.read(now, &l.long) }

func (l *Latency) read(now time.Time, q *quantiles) (out [3]Points) {
	l.past.Lock()
	defer l.past.Unlock()
	q.close(now)
	for i := range q.rings {
		out[i] = q.rings[i].points(now)
		if n := len(out[i]); q.n > 0 { // the slot that is still open
			out[i][n-1] = q.now(i)
		}
	}
	return out
}

// quantiles are those of each slot; the newest slot is still being counted.
type quantiles struct {
	rings  [3]ring
	counts [buckets]float64
	n      float64
	slot   int64
}

func (q *quantiles) open(now time.Time, step time.Duration, slots int) {
	for i := range q.rings {
		q.rings[i] = newRing(now, step, slots, math.NaN())
	}
	q.slot = q.rings[0].last
}

// now is one quantile of the open slot, in milliseconds.
func (q *quantiles) now(i int) float64 {
	return float64(quantile(&q.counts, q.n, Quantiles()[i])) / float64(time.Millisecond)
}

// close writes the open slot down when time has left it.
func (q *quantiles) close(now time.Time) {
	n := q.rings[0].number(now)
	if n <= q.slot {
		return
	}
	if q.n > 0 {
		for i := range q.rings {
			q.rings[i].values[q.slot%int64(len(q.rings[i].values))] = q.now(i)
		}
	}
	for i := range q.rings {
		q.rings[i].at(now)
	}
	q.counts, q.n, q.slot = [buckets]float64{}, 0, n
}

// Chart is the latency as a chart of its quantiles.
func (l *Latency) Chart(title string, now time.Time) Chart {
	c := Chart{Title: title, Unit: "ms"}
	hour, day := l.Hour(now), l.Day(now)
	for i, q := range Quantiles() {
		c.Lines = append(c.Lines, Line{Name: "P" + strconv.Itoa(int(100*q)), Hour: hour[i], Day: day[i]})
	}
	return c
}
