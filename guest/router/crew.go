package router

import (
	"sync"

	work "cocoon/contracts/wire/session"
)

// crew is who works for a router: goroutines that take one piece of work after the other, so that the stacks which work has
// grown are there for the next. A handshake needs sixteen times what a goroutine begins with, and growing to that is a
// fiftieth of what a connection costs; moving bytes needs little, and is what most goroutines of a router do. So the two are
// not done by the same ones.
type crew struct {
	// open counts what has not ended: connections, and directions of sessions, also those that wait without a goroutine.
	open              sync.WaitGroup
	greeters, porters work.Crew
}

// greet runs a connection up to where it is a session, or to its end.
func (c *crew) greet(job func()) { c.hand(&c.greeters, job) }

// carry runs a direction of a session.
func (c *crew) carry(job func()) { c.hand(&c.porters, job) }

func (c *crew) hand(to *work.Crew, job func()) {
	c.open.Add(1)
	to.Go(func() {
		defer c.open.Done()
		job()
	})
}

// dismiss ends the goroutines when nothing is open any more.
func (c *crew) dismiss() {
	c.open.Wait()
	c.greeters.Wait()
	c.porters.Wait()
}
