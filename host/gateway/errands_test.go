package gateway

import (
	"sync"
	"sync/atomic"
	"testing"
)

// TestErrandsAreDoneOnce whether they are brought before, while or after the end.
func TestErrandsAreDoneOnce(t *testing.T) {
	const bringers, each = 8, 200
	var e errands
	var done atomic.Int64
	var all sync.WaitGroup
	half := make(chan struct{})
	for range bringers {
		all.Go(func() {
			for i := range each {
				if i == each/2 {
					<-half
				}
				e.run(func() { done.Add(1) })
			}
		})
	}
	close(half)
	e.end()
	all.Wait()
	e.end()
	e.run(func() { done.Add(1) })
	if got := done.Load(); got != bringers*each+1 {
		t.Errorf("%d errands were done, want %d", got, bringers*each+1)
	}
}
