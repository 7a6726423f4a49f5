// Package stats is what a runner shows of itself: counters over windows, histories, the page at /stats, and the text at
// /metrics (inference.md section 19, protocol.md section 8.2).
//
// It owns the shapes, the renderer and the read-only HTTP surface that gateway, proxy and worker share; what they fill in
// is theirs. It trusts no string: everything reaches a page and a metric through its escaping. A
// page loads nothing from elsewhere and says the same without scripts; its one script, pinned by hash, only renews it.
// Counters and histories are safe for concurrent use and take the time from their caller; pages are plain data. It
// refuses to change anything, and holds numbers only: nothing here may carry a prompt, a key or a client's address.
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

// grain is how long what is counted waits to be made part of the rates: a small part of the shortest window.
const grain = 10 * time.Millisecond

// Counter counts, and knows the rate per second over each window.
type Counter struct {
	mu    sync.Mutex
	total float64
	rates [6]float64
	// fresh was counted since at, which is when the rates were last right.
	fresh float64
	at    time.Time
}

// Add counts n at a time.
func (c *Counter) Add(now time.Time, n float64) {
	if n == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if since := now.Sub(c.at); since < 0 || since >= grain {
		c.age(now)
	}
	c.total += n
	c.fresh += n
}

// age lets the rates fade to a time, and adds what is fresh.
func (c *Counter) age(now time.Time) {
	dt := now.Sub(c.at).Seconds()
	if c.at.IsZero() || dt < 0 {
		dt = 0
	}
	for i, w := range windows() {
		c.rates[i] = c.rates[i]*math.Exp(-dt/w.Seconds()) + c.fresh/w.Seconds()
	}
	c.fresh, c.at = 0, now
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
