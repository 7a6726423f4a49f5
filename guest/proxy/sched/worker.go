package sched

import (
	"math"
	"slices"
	"time"

	"cocoon/contracts/api/stats"
)

const (
	// breakerAfter failures in a row open the breaker for breakerOpen, doubled each time up to breakerMax.
	breakerAfter = 3
	breakerOpen  = 30 * time.Second
	breakerMax   = 5 * time.Minute
	// slowStart is how long a new or returned worker counts as slower than it is.
	slowStart = 30 * time.Second
	// priorRate and priorFirst are what is assumed of a worker that has not answered yet: tokens and seconds.
	priorRate  = 50.0
	priorFirst = 0.5
	// half is the half-life of speeds.
	half = 5 * time.Minute
	// alike is how much two scores may differ and still count as equal: speeds are measured with noise, and without it
	// the luckier one of two equal workers would get everything.
	alike = 0.15
)

// obstacle is why a worker cannot serve a request now. Later ones are closer to being able to.
type obstacle uint8

const (
	unknown obstacle = iota
	disabled
	otherSession
	noFeature
	tooDear
	tried
	resting
	probed
	busy
	suitable
)

// String is the label of statistics.
func (o obstacle) String() string {
	return [...]string{"unknown", "disabled", "session", "feature", "price", "tried", "breaker", "probe", "busy", "none"}[o]
}

// refusal is what a request is told when nothing closer than this was found.
func (o obstacle) refusal() Refusal {
	return [...]Refusal{UnknownModel, NoWorkers, NoSession, NoFeature, PriceLimit, NoWorkers, Failing, NotReady, NotReady, NotReady}[o]
}

// worker is what the scheduler knows of one connection.
type worker struct {
	id       uint64
	spec     Spec
	enabled  bool
	draining int // slots held by requests that were given up and have not ended
	running  int
	inflight int64 // tokens of work under way
	since    time.Time

	tokensPerSecond, firstSeconds average
	record                        [outcomes]stats.Counter
	busy                          stats.Counter // seconds of requests that have ended
	standing                      *standing

	breaker   Breaker
	failures  int
	openUntil time.Time
	openFor   time.Duration
	probing   bool
}

// average is an exponentially weighted mean.
type average struct {
	value float64
	at    time.Time
}

func (a *average) add(x float64, now time.Time) {
	if a.at.IsZero() {
		a.value, a.at = x, now
		return
	}
	keep := math.Exp2(-now.Sub(a.at).Seconds()/half.Seconds()) * 0.8
	a.value, a.at = keep*a.value+(1-keep)*x, now
}

// excluded says why the worker is out of the question.
func (w *worker) excluded(r Request, now time.Time) obstacle {
	missing := func(f string) bool { return !slices.Contains(w.spec.Features, f) }
	switch {
	case !w.enabled:
		return disabled
	case len(r.Sessions) > 0 && !slices.Contains(r.Sessions, w.spec.Session):
		return otherSession
	case slices.ContainsFunc(r.Features, missing):
		return noFeature
	case w.spec.Coefficient > r.MaxCoefficient:
		return tooDear
	case slices.Contains(r.Exclude, w.id):
		return tried
	case now.Before(w.openUntil):
		return resting
	case w.probing:
		return probed
	case w.running+w.draining >= w.spec.Slots:
		return busy
	}
	return suitable
}

// take credits work at once, so that the next choice sees it. A worker whose breaker has cooled down is probed by one
// request alone.
func (w *worker) take(tokens int64, now time.Time) (probe bool) {
	w.running++
	w.inflight += tokens
	if w.failures >= w.breaker.After && !now.Before(w.openUntil) {
		w.probing = true
	}
	return w.probing
}

// rate is the worker's speed in tokens a second; unknown is what is assumed without a measurement.
func (w *worker) rate(unknown float64, now time.Time) float64 {
	rate := unknown
	if !w.tokensPerSecond.at.IsZero() {
		rate = max(w.tokensPerSecond.value, 0.1)
	}
	if age := now.Sub(w.since); age < slowStart {
		rate *= 0.25 + 0.75*max(age.Seconds(), 0)/slowStart.Seconds()
	}
	return rate
}

// firstToken is its wait for a first token; unknown is what is assumed without a measurement.
func (w *worker) firstToken(unknown float64) float64 {
	if w.firstSeconds.at.IsZero() {
		return unknown
	}
	return w.firstSeconds.value
}

// untried says that there is no record to go by: it has not answered yet, or has come back a moment ago.
func (w *worker) untried(now time.Time) bool {
	return w.tokensPerSecond.at.IsZero() || now.Sub(w.since) < slowStart
}

// backlog is how long the work under way takes.
func (w *worker) backlog() time.Duration {
	rate := priorRate
	if !w.tokensPerSecond.at.IsZero() {
		rate = max(w.tokensPerSecond.value, 0.1)
	}
	return time.Duration(min(float64(w.inflight)/rate, maxWait.Seconds()) * float64(time.Second))
}

// failed counts a failure; it reports that the breaker opened.
func (w *worker) failed(now time.Time, probe bool) bool {
	w.failures++
	if w.failures < w.breaker.After {
		return false
	}
	switch {
	case w.openFor == 0:
		w.openFor = w.breaker.Open
	case probe:
		w.openFor = min(2*w.openFor, w.breaker.Max)
	}
	w.openUntil = now.Add(w.openFor)
	return true
}

// View is a worker on a status page.
type View struct {
	ID      uint64
	Spec    Spec
	Enabled bool
	// Running are the slots taken, of which Draining are held by requests that were given up and have not ended.
	Running, Draining int
	TokensPerSecond   float64
	FirstToken        time.Duration
	// Breaker is "closed", "open" or "probing".
	Breaker string
	// Success is its standing in (0,1), over all its connections.
	Success float64
	// Record counts requests that have ended by their Outcome, Busy their seconds.
	Record [outcomes]stats.Reading
	Busy   stats.Reading
}

func (w *worker) view(now time.Time) View {
	v := View{
		ID: w.id, Spec: w.spec, Enabled: w.enabled, Running: w.running + w.draining, Draining: w.draining, TokensPerSecond: w.tokensPerSecond.value,
		FirstToken: time.Duration(w.firstSeconds.value * float64(time.Second)), Breaker: "closed", Busy: w.busy.Read(now),
		Success: w.standing.success(),
	}
	for o := range w.record {
		v.Record[o] = w.record[o].Read(now)
	}
	switch {
	case w.probing:
		v.Breaker = "probing"
	case now.Before(w.openUntil):
		v.Breaker = "open"
	}
	return v
}
