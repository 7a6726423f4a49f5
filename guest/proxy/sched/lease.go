package sched

import "time"

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

// Lease is one slot of one worker. End must be called once, or Drain and then Free; further calls change nothing.
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

	// the scheduler's lock guards these
	judged, drained, freed bool
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

// End says how the request ended and gives the slot back. Tokens is what the worker generated.
func (l *Lease) End(o Outcome, tokens int64) {
	l.scheduler.mu.Lock()
	defer l.scheduler.mu.Unlock()
	l.judge(o, tokens)
	l.free()
}

// Drain is End of a request whose worker is not through with it: what is known counts now, as nobody knows when the worker
// will be, and the slot stays taken until Free.
func (l *Lease) Drain(o Outcome, tokens int64) {
	l.scheduler.mu.Lock()
	defer l.scheduler.mu.Unlock()
	l.judge(o, tokens)
	if !l.freed && !l.drained {
		l.drained = true
		l.worker.running--
		l.worker.draining++
		l.scheduler.wake(l.worker.spec.Model) // for those whom a breaker that opened now sends away
	}
}

// Free gives back the slot of a request that was drained, or is about to be.
func (l *Lease) Free() {
	l.scheduler.mu.Lock()
	defer l.scheduler.mu.Unlock()
	l.free()
}

// judge notes the outcome, once. The caller holds the lock.
func (l *Lease) judge(o Outcome, tokens int64) {
	if l.judged {
		return
	}
	l.judged = true
	s, w := l.scheduler, l.worker
	now := s.cfg.Now()
	w.record[o].Add(now, 1)
	w.standing.note(o, now)
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
	w.probing = w.probing && !l.probe
}

// free gives the slot back, once. The caller holds the lock.
func (l *Lease) free() {
	if l.freed {
		return
	}
	l.freed = true
	w := l.worker
	if l.drained {
		w.draining--
	} else {
		w.running--
	}
	w.inflight -= l.tokens
	w.probing = w.probing && !l.probe
	l.scheduler.wake(w.spec.Model)
}
