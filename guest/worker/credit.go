package worker

import (
	"context"
	"fmt"
	"sync"
	"time"
)

const (
	// window is what may be sent before credit comes back (inference.md section 9).
	window = 256 << 10
	// maxWindow bounds what a proxy can grant.
	maxWindow = 1 << 30
)

// credit is how many bytes of one answer the proxy still takes.
type credit struct {
	mu   sync.Mutex
	left int64
	// free is set where there is no flow control.
	free bool
	// more has an element when credit came; it is made when somebody waits for it.
	more chan struct{}
	// waited says that somebody had to wait for it. It belongs to who takes.
	waited bool
}

// add grants more. A grant that is no count, or more than anybody needs, breaks the protocol.
func (c *credit) add(n int64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n <= 0 || c.left+n > maxWindow {
		return fmt.Errorf("%w: credit of %d", errProtocol, n)
	}
	c.left += n
	if c.more != nil {
		select {
		case c.more <- struct{}{}:
		default:
		}
	}
	return nil
}

// take waits until something may be sent and takes up to want of it.
func (c *credit) take(ctx context.Context, want int, patience time.Duration) (int, error) {
	if c.free {
		return want, nil
	}
	var slow *time.Timer
	for {
		c.mu.Lock()
		n := int(min(int64(want), c.left))
		c.left -= int64(n)
		if n == 0 && c.more == nil {
			c.more = make(chan struct{}, 1)
		}
		more := c.more
		c.mu.Unlock()
		if n > 0 {
			return n, nil
		}
		if slow == nil {
			c.waited = true
			slow = time.NewTimer(patience)
			defer slow.Stop()
		}
		select {
		case <-more:
		case <-slow.C:
			return 0, errSlowReader
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	}
}
