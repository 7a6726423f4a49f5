package gateway

import (
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestErrandsAreDoneOnce, whoever hands requests over meanwhile; none is announced after the end.
func TestErrandsAreDoneOnce(t *testing.T) {
	const bringers, each = 8, 200
	var e errands
	e.start()
	var done, announced atomic.Int64
	var all sync.WaitGroup
	half := make(chan struct{})
	for range bringers {
		all.Go(func() {
			for i := range each {
				if i == each/2 {
					<-half
				}
				if e.begin() {
					announced.Add(1)
					e.bring(func() { done.Add(1) })
				}
				e.handed()
			}
		})
	}
	close(half)
	e.end()
	if got, want := done.Load(), announced.Load(); got > want || got < want && !e.ended {
		t.Errorf("%d errands are done at the end, %d were announced", got, want)
	}
	all.Wait()
	e.end()
	if got, want := done.Load(), announced.Load(); got != want {
		t.Errorf("%d errands were done, %d were announced", got, want)
	}
	if e.begin() || e.next() != nil {
		t.Error("an errand was announced after the end, or is left")
	}
}

// TestErrandsGiveWay: one that is due is begun when a request was handed over, or after a lull, and not before.
func TestErrandsGiveWay(t *testing.T) {
	for name, tc := range map[string]struct {
		after, want time.Duration
	}{
		"a request": {time.Millisecond, time.Millisecond},
		"a lull":    {time.Hour, lull},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var e errands
				for i := range 4 { // the timer is used again, and a goroutine from the third on
					if i == 2 {
						e.start()
					}
					began, did := time.Now(), make(chan time.Duration, 1)
					if e.next() != nil || !e.begin() {
						t.Fatal("no errand can be announced")
					}
					waited := e.next()
					e.bring(func() { did <- time.Since(began) })
					handed := time.AfterFunc(tc.after, e.handed)
					if got := <-did; got != tc.want {
						t.Errorf("begun after %s, want %s", got, tc.want)
					}
					<-waited
					handed.Stop()
					time.Sleep(2 * lull) //nolint:forbidigo // the bubble's clock
				}
				e.end()
			})
		})
	}
}
