package upstream

import (
	"slices"
	"time"
)

// Await has f called, once, when nothing more is to be expected: the receipt is there, none will come, or it took longer than
// limit. f must not wait, and must not use the call before it has returned. It is called here when it is so already. Nobody
// receives from the call any more.
func (c *Call) Await(limit time.Duration, f func()) {
	c.mu.Lock()
	settled := c.settled
	if !settled {
		now := c.now()
		c.then, c.until = f, now.Add(limit)
		c.ring(now, c.until)
	}
	c.mu.Unlock()
	if settled {
		f()
	}
}

// Owe counts the call, with what it keeps in memory besides its answer, as one whose receipt its proxy owes, or whose
// verdict is not reached yet, until Forget. A proxy that owes too much is not picked.
func (c *Call) Owe(more int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.debt == 0 {
		c.debt = debtOfCall + int64(len(c.body)+more)
		c.Link.debt.Add(c.debt)
	}
}

// Forget drops the call from its session; what still comes for it is ignored.
func (c *Call) Forget() {
	c.deafen()
	c.live.mu.Lock()
	delete(c.live.calls, c.ID)
	c.live.mu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.Link.debt.Add(-c.debt)
	c.debt = 0
	c.settle()
}

// Whole says that the answer came to its end: nothing of it was held back, and nobody cut it short.
func (c *Call) Whole() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.over && c.err == nil
}

// Paper is the receipt as it came, nil when none did, with the bytes it is about and what the request used. The bytes are
// missing of an answer that was too long.
func (c *Call) Paper() (receipt, transcript []byte, used *Final) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.keeps {
		transcript = slices.Clip(c.body)
	}
	return c.paper, transcript, c.final
}
