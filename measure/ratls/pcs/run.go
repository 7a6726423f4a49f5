package pcs

import (
	"context"
	"time"
)

// scanEvery is how often a running cache looks for collateral that is due. Lives are weeks.
const scanEvery = time.Minute

// Run renews collateral that is due, whether or not somebody asks for it, until ctx ends.
func (c *Cache) Run(ctx context.Context) error {
	tick := time.NewTicker(scanEvery)
	defer tick.Stop()
	for {
		c.renewDue() //nolint:contextcheck // a flight ends with the cache
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
}

// renewDue starts a flight for everything that is due. A platform of which nothing was ever held waits until somebody
// asks for it again.
func (c *Cache) renewDue() {
	now := c.cfg.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range c.entries {
		if !c.closed && e.held != nil && e.dueAt(now) {
			c.launch(e)
		}
	}
}
