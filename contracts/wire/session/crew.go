package session

import "sync"

// maxRested bounds the goroutines of a Crew that wait for work.
const maxRested = 64

// Crew runs jobs side by side on goroutines that take one job after the other. A goroutine that was used has a stack that is
// large enough: a new one for each request would have to grow it again, by copying, several times.
//
// The zero value is ready. A Crew may be used concurrently.
type Crew struct {
	mu     sync.Mutex
	rested []chan func() // of those that wait, the one used last at the end
	all    sync.WaitGroup
	ended  bool
}

// Go runs a job; it never waits for one.
func (c *Crew) Go(job func()) {
	c.mu.Lock()
	if n := len(c.rested); n > 0 {
		next := c.rested[n-1]
		c.rested[n-1] = nil
		c.rested = c.rested[:n-1]
		c.mu.Unlock()
		next <- job // there is room: who rests has no job
		return
	}
	c.mu.Unlock()
	c.all.Go(func() { c.serve(job) })
}

// serve runs jobs as long as there is room to rest between them.
func (c *Crew) serve(job func()) {
	var next chan func()
	for {
		job()
		if next == nil {
			next = make(chan func(), 1)
		}
		c.mu.Lock()
		if c.ended || len(c.rested) >= maxRested {
			c.mu.Unlock()
			return
		}
		c.rested = append(c.rested, next)
		c.mu.Unlock()
		var ok bool
		if job, ok = <-next; !ok {
			return
		}
	}
}

// Wait sends home who rests and waits until all jobs are done. What is handed over later runs on a goroutine of its own, and
// Wait does not see it.
func (c *Crew) Wait() {
	c.mu.Lock()
	c.ended = true
	for _, next := range c.rested {
		close(next)
	}
	c.rested = nil
	c.mu.Unlock()
	c.all.Wait()
}
