package sched

import (
	"crypto/sha256"
	"encoding/binary"
	"time"
)

const (
	// routeFor is how long a route is remembered; maxRoutes bounds how many are.
	routeFor  = 10 * time.Minute
	maxRoutes = 4096
	// hot is the rate above which a route is spread over two workers, in requests a minute.
	hot = 15
	// lead is how many requests an affine worker may have more than the least loaded one.
	lead = 2
)

// routes remember how often a route was asked for, so that a hot one is spread.
type routes struct {
	recent map[string]*route
}

type route struct {
	window time.Time
	count  int
}

func newRoutes() routes { return routes{recent: make(map[string]*route)} }

// hit counts a request and reports whether the route is hot.
func (r *routes) hit(key string, now time.Time) bool {
	e := r.recent[key]
	if e == nil || now.Sub(e.window) > routeFor {
		if e == nil && len(r.recent) >= maxRoutes {
			r.forget(now)
		}
		e = &route{window: now}
		r.recent[key] = e
	}
	e.count++
	return float64(e.count) > hot*max(now.Sub(e.window).Minutes(), 1)
}

// forget drops what is old, or everything when nothing is.
func (r *routes) forget(now time.Time) {
	for key, e := range r.recent {
		if now.Sub(e.window) > routeFor {
			delete(r.recent, key)
		}
	}
	if len(r.recent) >= maxRoutes {
		clear(r.recent)
	}
}

// affine is the worker that rendezvous hashing gives a route, the second one in turn when it is hot, as long as it is
// not much busier than the others.
func (s *Scheduler) affine(r Request, free []*worker, now time.Time) *worker {
	if r.Route == "" {
		return nil
	}
	var best, second *worker
	var bestAt, secondAt uint64
	least := free[0].running
	for _, w := range free {
		least = min(least, w.running)
		switch at := rendezvous(r.Route, w.id); {
		case best == nil || at > bestAt:
			second, secondAt = best, bestAt
			best, bestAt = w, at
		case second == nil || at > secondAt:
			second, secondAt = w, at
		}
	}
	if s.routes.hit(r.Route, now) && second.running < best.running {
		best = second
	}
	if best.running > least+lead {
		return nil
	}
	return best
}

// rendezvous is a worker's draw for a route.
func rendezvous(key string, id uint64) uint64 {
	h := sha256.New()
	_, _ = h.Write(binary.LittleEndian.AppendUint64([]byte(key), id))
	return binary.LittleEndian.Uint64(h.Sum(nil))
}
