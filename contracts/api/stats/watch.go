package stats

import (
	"sync"
	"time"
)

// Watch remembers since when a verdict is what it is.
type Watch struct {
	mu    sync.Mutex
	last  string
	since time.Time
}

// Note completes a verdict with the time at which its state began. It is called often enough by whoever runs the role,
// so that the time does not depend on somebody looking.
func (w *Watch) Note(now time.Time, v Verdict) Verdict {
	key := string(v.Health) + v.Word + v.State // reasons may carry numbers that move
	w.mu.Lock()
	defer w.mu.Unlock()
	if key != w.last || w.since.IsZero() {
		w.last, w.since = key, now
	}
	v.Since = w.since
	return v
}
