package sched

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"
)

// RefusedError says why nobody serves a request. Its text starts as the network's clients expect (protocol.md section
// 4.2).
type RefusedError struct {
	Kind Refusal
	// Cheapest is the least coefficient of a free worker, for PriceLimit.
	Cheapest int64
	// RetryAfter is the estimated wait, for NotReady and Failing.
	RetryAfter time.Duration
}

// Refusal is the kind of a refusal.
type Refusal uint8

// The refusals.
const (
	// UnknownModel: no worker was ever announced with it.
	UnknownModel Refusal = iota
	// NoWorkers: none that may serve it is connected.
	NoWorkers
	// NotReady: all are busy, and the queue is full or took too long.
	NotReady
	// PriceLimit: all that are free are dearer.
	PriceLimit
	// NoSession: none of the sessions that the request insists on.
	NoSession
	// NoFeature: none has the features that the request needs.
	NoFeature
	// Failing: all that could serve it have failed and are left alone for a while. Nobody waits for that: the line is for
	// workers that are busy, and the next probe may be minutes away.
	Failing
)

// Error is the text on the wire.
func (e *RefusedError) Error() string {
	switch e.Kind {
	case UnknownModel:
		return "unknown model"
	case NoWorkers:
		return "no workers for model"
	case PriceLimit:
		return fmt.Sprintf("can run this query with coefficient=%d", e.Cheapest)
	case NoSession:
		return "no worker with an accepted session"
	case NoFeature:
		return "no worker for model has the features that the request needs"
	case Failing:
		return fmt.Sprintf("no ready workers for model: they failed and are left alone, %s%d s", tryAgain, e.seconds())
	case NotReady:
	}
	return fmt.Sprintf("no ready workers for model: %s%d s", tryAgain, e.seconds())
}

// tryAgain is followed by a number of seconds; gateways of ours read it.
const tryAgain = "try again in "

func (e *RefusedError) seconds() int64 { return max(int64(math.Ceil(e.RetryAfter.Seconds())), 1) }

// waitable says whether waiting can help.
func waitable(err error) bool {
	refused, ok := errors.AsType[*RefusedError](err)
	return ok && refused.Kind == NotReady
}

// try chooses among the workers that are free now. The caller holds the lock.
func (s *Scheduler) try(r Request) (*Lease, error) {
	now := s.cfg.Now()
	free, err := s.eligible(r, now)
	if err != nil {
		return nil, err
	}
	w, reason := s.choose(r, free, now)
	s.stats.Chosen[reason]++
	return &Lease{
		Worker: w.id, Coefficient: w.spec.Coefficient, Reason: reason,
		scheduler: s, worker: w, tokens: r.Tokens, probe: w.take(r.Tokens, now), began: now,
	}, nil
}

// eligible lists who could serve the request now, for one choice, or says what stands in the way: the reason of the worker that
// came closest.
func (s *Scheduler) eligible(r Request, now time.Time) ([]*worker, error) {
	free := s.free[:0]
	closest, cheapest, rest := unknown, int64(math.MaxInt64), time.Duration(math.MaxInt64)
	for _, w := range s.workers {
		if !serves(w.spec.Model, r.Model) {
			continue
		}
		why := w.excluded(r, now)
		if why == suitable {
			free = append(free, w)
			continue
		}
		s.stats.Excluded[why.String()]++
		closest = max(closest, why)
		switch why {
		case tooDear:
			cheapest = min(cheapest, w.spec.Coefficient)
		case resting:
			rest = min(rest, w.openUntil.Sub(now))
		default: // says nothing more
		}
	}
	s.free = free
	if len(free) > 0 {
		slices.SortFunc(free, func(a, b *worker) int { return cmp.Compare(a.id, b.id) }) // the draw decides, not the map
		return free, nil
	}
	switch kind := closest.refusal(); kind {
	case NotReady:
		return nil, s.busy(r)
	case Failing:
		return nil, &RefusedError{Kind: kind, RetryAfter: rest}
	default:
		return nil, &RefusedError{Kind: kind, Cheapest: cheapest}
	}
}

// busy is the refusal of a request for which waiting has not helped.
func (s *Scheduler) busy(r Request) error {
	wait := time.Second
	for _, w := range s.workers {
		if serves(w.spec.Model, r.Model) && w.enabled {
			wait = max(wait, min(w.backlog(), maxWait))
		}
	}
	return &RefusedError{Kind: NotReady, RetryAfter: wait}
}

// choose picks one of the free workers: the route's, or the better of two drawn at random.
func (s *Scheduler) choose(r Request, free []*worker, now time.Time) (*worker, Reason) {
	free, explored := s.sound(r, free)
	switch {
	case explored != nil:
		return explored, Exploration
	case len(free) == 1:
		return free[0], s.retry(r, OnlyOne)
	}
	if w := s.affine(r, free, now); w != nil {
		return w, s.retry(r, Affinity)
	}
	i := s.intn(len(free))
	j := s.intn(len(free) - 1)
	if j >= i {
		j++
	}
	a, b := free[i], free[j]
	if w := lessKnown(a, b, now); w != nil && s.float() < explore {
		return w, s.retry(r, Exploration)
	}
	cheapest := free[0].spec.Coefficient
	for _, w := range free {
		cheapest = min(cheapest, w.spec.Coefficient)
	}
	rate, first := typical(free)
	sa, sb := s.score(a, r, terms{cheapest, rate, first}, now), s.score(b, r, terms{cheapest, rate, first}, now)
	if sb < sa*(1-alike) || sb <= sa*(1+alike) && s.intn(2) == 1 {
		a = b
	}
	if free[i].spec.Coefficient != free[j].spec.Coefficient {
		return a, s.retry(r, Price)
	}
	return a, s.retry(r, Load)
}

// lessKnown is the one of two that exploration gives its share to: one whose standing would keep it from all requests of a quiet
// hour, and so from ever winning it back, or else one without a measurement. Nil when neither needs that.
func lessKnown(a, b *worker, now time.Time) *worker {
	switch of, than := a.standing.success(), b.standing.success(); {
	case of < than*(1-alike):
		return a
	case than < of*(1-alike):
		return b
	case !a.untried(now) && !b.untried(now):
		return nil
	case b.since.After(a.since):
		return b
	}
	return a
}

func (s *Scheduler) retry(r Request, reason Reason) Reason {
	if len(r.Exclude) > 0 {
		return Retry
	}
	return reason
}

// terms are what the scores of one choice have in common.
type terms struct {
	cheapest    int64
	rate, first float64
}

// typical is the mean speed of those that have one, and their mean wait for the first token: what is assumed of a worker
// that has not answered yet, so that the first one to answer does not keep all the others from ever being tried.
func typical(free []*worker) (rate, first float64) {
	rates, firsts := 0.0, 0.0
	for _, w := range free {
		if !w.tokensPerSecond.at.IsZero() {
			rate, rates = rate+w.tokensPerSecond.value, rates+1
		}
		if !w.firstSeconds.at.IsZero() {
			first, firsts = first+w.firstSeconds.value, firsts+1
		}
	}
	if rates == 0 {
		rate, rates = priorRate, 1
	}
	if firsts == 0 {
		first, firsts = priorFirst, 1
	}
	return rate / rates, min(first/firsts, priorFirst) // that all others are slow says nothing about it
}

// score is expected latency x price factor / success; the lower one wins.
func (s *Scheduler) score(w *worker, r Request, t terms, now time.Time) float64 {
	latency := (float64(w.inflight)+float64(max(r.Tokens, 1)))/w.rate(t.rate, now) + w.firstToken(t.first)
	price := math.Pow(float64(max(w.spec.Coefficient, 1))/float64(max(t.cheapest, 1)), s.cfg.PriceWeight)
	return latency * price / w.standing.success()
}

// sound leaves out the workers of poor standing: but for a share of exploration, in which one of them is given the chance to win
// it back, they get what nobody else can take (protocol.md section 10.2).
func (s *Scheduler) sound(r Request, free []*worker) (rest []*worker, explored *worker) {
	bad := func(w *worker) bool { return w.standing.success() < poor }
	if !slices.ContainsFunc(free, bad) {
		return free, nil
	}
	rest = slices.DeleteFunc(slices.Clone(free), bad)
	if len(rest) == 0 {
		return free, nil
	}
	if len(r.Exclude) == 0 && s.float() < explore { // a second attempt is no time for that
		poorly := slices.DeleteFunc(slices.Clone(free), func(w *worker) bool { return !bad(w) })
		explored = poorly[s.intn(len(poorly))]
	}
	return rest, explored
}

func (s *Scheduler) intn(n int) int {
	if s.cfg.Rand != nil {
		return s.cfg.Rand.IntN(n)
	}
	return rand.IntN(n) //nolint:gosec // load balancing, no secret
}

func (s *Scheduler) float() float64 {
	if s.cfg.Rand != nil {
		return s.cfg.Rand.Float64()
	}
	return rand.Float64() //nolint:gosec // load balancing, no secret
}
