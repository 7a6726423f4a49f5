package router

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
)

// TestCrewIsDismissedWhenNothingIsOpen: not before what was begun has ended, not before what waits without a goroutine has,
// and nobody of it is left then.
func TestCrewIsDismissedWhenNothingIsOpen(t *testing.T) {
	before := runtime.NumGoroutine()
	var by crew
	var done atomic.Int32
	hold := make(chan struct{})
	for range 100 {
		by.greet(func() {
			by.carry(func() { <-hold; done.Add(1) })
			done.Add(1)
		})
	}
	by.open.Add(1) // a direction in the lot
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		by.dismiss()
	}()
	close(hold)
	eventually(t, "the work is done", func() bool { return done.Load() == 200 })
	select {
	case <-gone:
		t.Fatal("dismissed while something waits")
	default:
	}
	by.carry(func() { done.Add(1) }) // which has something to move
	by.open.Done()
	<-gone
	if n := done.Load(); n != 201 {
		t.Errorf("%d pieces of work done, want 201", n)
	}
	eventually(t, "all have gone", func() bool { return runtime.NumGoroutine() <= before })
}

// deep needs a stack like a handshake's.
//
//go:noinline
func deep(n int) int {
	var room [256]byte
	if n == 0 {
		return int(room[n])
	}
	return deep(n-1) + int(room[n%len(room)])
}

// BenchmarkGreet is what a piece of work costs that needs the stack of a handshake, beside a goroutine of its own for it.
func BenchmarkGreet(b *testing.B) {
	const frames = 64
	b.Run("crew", func(b *testing.B) {
		var by crew
		done := make(chan int)
		for b.Loop() {
			by.greet(func() { done <- deep(frames) })
			<-done
		}
		by.dismiss()
	})
	b.Run("goroutine", func(b *testing.B) {
		var all sync.WaitGroup
		done := make(chan int)
		for b.Loop() {
			all.Go(func() { done <- deep(frames) })
			<-done
		}
		all.Wait()
	})
}
