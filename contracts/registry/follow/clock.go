package follow

import (
	"sync"
	"time"
)

// rebase is how often the line is begun anew: a monotonic clock that is a ten-thousandth too fast is 0.4 s ahead by then.
const rebase = time.Hour

// chainClock is the machine's clock within what the chain has proven (attestation.md section 13). The newest block's time,
// carried on by the monotonic clock, is a line behind which no moment is: whoever turns the machine's clock back, the host or a
// server that it asks for the time, does not bring expired evidence back. Nor is any moment further ahead of it than a block may
// be old, so that nothing is made for a distant future. Between the two the machine's clock holds: it is the more exact one.
type chainClock struct {
	local   func() time.Time
	elapsed func() time.Duration // by the monotonic clock, which nobody sets
	slack   time.Duration

	mu    sync.Mutex
	block time.Time     // a block's, zero before the first
	seen  time.Duration // elapsed when it was the newest
}

func (c *chainClock) now() time.Time {
	local, elapsed := c.local(), c.elapsed()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.block.IsZero() {
		return local
	}
	proven := c.line(elapsed)
	if latest := proven.Add(c.slack); local.After(latest) {
		return latest
	}
	if local.Before(proven) {
		return proven
	}
	return local
}

// line is the proven moment. The caller holds the lock.
func (c *chainClock) line(elapsed time.Duration) time.Time { return c.block.Add(elapsed - c.seen) }

// saw notes the time of the newest block.
func (c *chainClock) saw(block time.Time) {
	elapsed := c.elapsed()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.block.IsZero() || block.After(c.line(elapsed)) || elapsed-c.seen >= rebase {
		c.block, c.seen = block, elapsed
	}
}

// Now is the machine's clock within what the chain has proven: by it evidence is judged and certificates are made. It is the
// machine's alone until the root was read. It has no monotonic reading where it is not the machine's: waits are not for it.
func (f *Follower) Now() time.Time { return f.clock.now() }
