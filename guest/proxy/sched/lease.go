package sched

import (
	"sync"
	"time"
)

// Outcome is how a request on a worker ended.
type Outcome uint8

// The outcomes. Only Failed speaks against the worker.
const (
	// Served: the answer was whole.
	Served Outcome = iota
	// Failed: the worker or its engine broke: lost, malformed, timed out.
	Failed
	// Neutral: the caller gave up, asked for nonsense or ran out of money.
	Neutral

	outcomes = int(Neutral) + 1
)

// Lease is one slot of one worker. End must be called once; further calls change nothing.
type Lease struct {
	Worker uint64
	// Coefficient is fixed at the choice.
	Coefficient int64
	Reason      Reason

	scheduler *Scheduler
	worker    *worker
	tokens    int64
	probe     bool
	began     time.Time
	first     time.Time
	once      sync.Once
}

// FirstByte notes when the answer began.
func (l *Lease) FirstByte() {
	l.scheduler.mu.Lock()
	defer l.scheduler.mu.Unlock()
	if now := l.scheduler.cfg.Now(); l.first.IsZero() {
		l.first = now
		l.worker.firstSeconds.add(now.Sub(l.began).Seconds(), now)
	}
}

// End gives the slot back. Tokens is what the worker generated.
func (l *Lease) End(o Outcome, tokens int64) {
	l.once.Do(func() {
		s := l.scheduler
		s.mu.Lock()
		defer s.mu.Unlock()
		now, w := s.cfg.Now(), l.worker
		w.record[o].Add(now, 1)
		w.busy.Add(now, now.Sub(l.began).Seconds())
		switch o {
		case Served:
			w.failures, w.openFor, w.openUntil = 0, 0, time.Time{}
			if took := now.Sub(l.began).Seconds(); took > 0 && tokens > 0 {
				w.tokensPerSecond.add(float64(tokens)/took, now)
			}
		case Failed:
			if w.failed(now, l.probe) {
				s.stats.Breakers++
			}
		case Neutral:
		}
		s.release(l)
	})
}

// release frees the slot. The caller holds the lock.
func (s *Scheduler) release(l *Lease) {
	w := l.worker
	w.running--
	w.inflight -= l.tokens
	w.probing = w.probing && !l.probe
	s.wake(w.spec.Model)
}

// give takes back a lease that nobody came for. The caller holds the lock.
func (s *Scheduler) give(l *Lease) { l.once.Do(func() { s.release(l) }) }
