package session_test

import (
	"sync"
	"sync/atomic"
	"testing"

	"cocoon/contracts/wire/session"
)

// TestCrewRunsAll: every job runs, whatever others wait for, and none is left when Wait returns.
func TestCrewRunsAll(t *testing.T) {
	const rounds, jobs = 50, 100 // more than rest at a time
	var crew session.Crew
	var ran atomic.Int64
	for range rounds {
		var side sync.WaitGroup
		side.Add(jobs)
		together := make(chan struct{})
		for range jobs {
			crew.Go(func() {
				defer ran.Add(1)
				side.Done()
				<-together // all run side by side, or this never ends
			})
		}
		side.Wait()
		close(together)
	}
	crew.Wait()
	if n := ran.Load(); n != rounds*jobs {
		t.Errorf("%d jobs ran, want %d", n, rounds*jobs)
	}
	late := make(chan struct{})
	crew.Go(func() { close(late) })
	<-late
	crew.Wait()
}

// TestCrewUsesGoroutinesAgain: jobs one after the other have one goroutine.
func TestCrewUsesGoroutinesAgain(t *testing.T) {
	var crew session.Crew
	rests := make(chan struct{})
	crew.Go(func() { close(rests) })
	<-rests
	allocated := testing.AllocsPerRun(1000, func() {
		done := make(chan struct{})
		crew.Go(func() { close(done) })
		<-done
	})
	crew.Wait()
	if most := 4.0; allocated > most { // the channel, the job; rarely a goroutine that comes before the other rests
		t.Errorf("%.0f allocations for a job", allocated)
	}
}
