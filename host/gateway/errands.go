package gateway

import "sync"

// errands are what goes on after an answer, such as waiting for its receipt. An answer may outlive the listener's patience
// at the end; its errand is then run by whoever brings it.
type errands struct {
	mu    sync.Mutex
	ended bool
	group sync.WaitGroup
}

// run runs an errand beside what goes on, or here after end.
func (e *errands) run(do func()) {
	e.mu.Lock()
	late := e.ended
	if !late {
		e.group.Go(do)
	}
	e.mu.Unlock()
	if late {
		do()
	}
}

// end waits for all errands that were begun. More than once is once.
func (e *errands) end() {
	e.mu.Lock()
	e.ended = true
	e.mu.Unlock()
	e.group.Wait()
}
