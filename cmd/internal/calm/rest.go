package calm

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	// look is how often a process is looked at, little what one at rest makes in that time, much what one has made whose
	// memory is worth giving back, all in bytes.
	look         = 15 * time.Second
	little, much = 1 << 20, 8 << 20
)

// GiveBack returns to the system what a process at rest does not use, until ctx ends. The collector does not: with a heap
// that may grow far, as a busy service wants it, what a busy hour took would be kept through the night.
func GiveBack(ctx context.Context) {
	tick := time.NewTicker(look)
	defer tick.Stop()
	var r rest
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if r.due(made()) {
				debug.FreeOSMemory()
			}
		}
	}
}

// made is how many bytes of heap were ever made.
func made() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// rest tells when a process has come to rest.
type rest struct{ last, given uint64 }

// due says, of what was made by now, whether the process has come to rest since the last look, and there is something to give
// back.
func (r *rest) due(now uint64) bool {
	resting := now-r.last < little
	r.last = now
	if !resting || now-r.given < much {
		return false
	}
	r.given = now
	return true
}
