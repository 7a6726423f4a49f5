package gateway

import (
	"sync"
	"time"

	"cocoon/contracts/wire/session"
)

// lull is how long verdicts wait for a request to be handed over.
const lull = 2 * time.Millisecond

// errands are what goes on after an answer: the verdicts on receipts. A verdict takes a tenth of a millisecond of the
// processor, and an app that has its answer asks its next question at once. So an errand that is due is begun when some
// request has just been handed to its proxy and waits for its answer there, or after a lull; it never stands before an
// answer. Each runs on a goroutine of its own: one that waits for a proxy's document holds up none that does not. How many
// there may be is bounded where they come from (upstream.Call.Owe).
//
// An answer may outlive the listener's patience at the end; whoever brings it runs its errand.
type errands struct {
	crew  session.Crew   // between start and end, who runs them
	group sync.WaitGroup // those that were begun

	mu    sync.Mutex
	due   []func()
	timer *time.Timer
	timed bool
	open  int           // those that were begun and are not done
	fewer chan struct{} // closed when one more is done; nil while nobody waits
	kept  bool          // the crew rests between errands
	ended bool
}

// start says that there will be an end: until then goroutines are kept from one errand to the next.
func (e *errands) start() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.kept = !e.ended
}

// begin announces an errand, which is brought later; not after end.
func (e *errands) begin() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.ended {
		return false
	}
	e.group.Add(1)
	e.open++
	return true
}

// bring hands an errand over that was announced.
func (e *errands) bring(do func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.due = append(e.due, do)
	if e.timed {
		return
	}
	e.timed = true
	if e.timer == nil {
		e.timer = time.AfterFunc(lull, func() { e.run(true) })
	} else {
		e.timer.Reset(lull)
	}
}

// handed says that a request has been handed over: now is the time for what is due.
func (e *errands) handed() {
	e.mu.Lock()
	some := len(e.due) > 0
	e.mu.Unlock()
	if some {
		session.GoFirst()
		e.run(false)
	}
}

// run begins what is due.
func (e *errands) run(lulled bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if lulled {
		e.timed = false
	}
	for _, do := range e.due {
		job := func() {
			defer e.done()
			do()
		}
		if e.kept {
			e.crew.Go(job)
		} else {
			go job()
		}
	}
	clear(e.due)
	e.due = e.due[:0]
}

func (e *errands) done() {
	e.mu.Lock()
	e.open--
	if e.fewer != nil {
		close(e.fewer)
		e.fewer = nil
	}
	e.mu.Unlock()
	e.group.Done()
}

// next is closed when one more errand is done; nil when there is none.
func (e *errands) next() <-chan struct{} {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.open == 0 {
		return nil
	}
	if e.fewer == nil {
		e.fewer = make(chan struct{})
	}
	return e.fewer
}

// end waits for all errands that were announced. More than once is once.
func (e *errands) end() {
	e.mu.Lock()
	e.ended = true
	e.mu.Unlock()
	e.group.Wait()
	e.mu.Lock()
	e.kept = false
	e.mu.Unlock()
	e.crew.Wait()
}
