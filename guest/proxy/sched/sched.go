// Package sched decides which worker serves a request, and who waits when none is free (protocol.md section 6.1,
// inference.md section 11).
//
// It owns the workers' load, measured speed and breakers, the queue of each model and the reasons for every choice. It
// trusts its caller that a worker was attested and its model listed; what workers report of themselves (coefficient,
// capacity) only ever makes them less eligible or dearer. A Scheduler may be used concurrently and starts no goroutines;
// every wait ends with its context or the queue's own deadline. It refuses to grow: queues, clients' shares and the
// memory of routes and of workers' records are bounded. It never sees a prompt, only the digest that routes it.
package sched

import (
	"cmp"
	"context"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// queuePerSlot and maxQueue bound the queue of a model.
	queuePerSlot = 4
	maxQueue     = 1024
	// maxWait is how long a request waits for a worker at most, unless the configuration says less.
	maxWait = 30 * time.Second
	// explore is the share of choices that goes to a worker without a record, whatever its score.
	explore = 0.05
)

// Config is what a Scheduler needs.
type Config struct {
	Now func() time.Time
	// Rand decides ties and draws; nil means the runtime's source.
	Rand *rand.Rand
	// PriceWeight is the exponent of the price factor; 0 means 1.
	PriceWeight float64
	// MaxWait replaces how long a request waits for a worker at most; 0 means 30 s.
	MaxWait time.Duration
	Breaker Breaker
}

// Breaker says when a worker that fails is left alone; zeros mean the numbers of inference.md section 11.
type Breaker struct {
	// After failures in a row it is left alone for Open, doubled each time a probe fails, up to Max.
	After     int
	Open, Max time.Duration
}

func (c *Config) fill() {
	c.PriceWeight = cmp.Or(c.PriceWeight, 1)
	c.MaxWait = cmp.Or(c.MaxWait, maxWait)
	c.Breaker.After = cmp.Or(c.Breaker.After, breakerAfter)
	c.Breaker.Open = cmp.Or(c.Breaker.Open, breakerOpen)
	c.Breaker.Max = cmp.Or(c.Breaker.Max, breakerMax)
}

// Spec is what a worker offers.
type Spec struct {
	// Model is the full name, name@commit:root.
	Model string
	// Coefficient is its price in thousandths, Slots how many requests it takes at once.
	Coefficient int64
	Slots       int
	// Features it has, such as "tools"; Session is the id of its attested session.
	Features []string
	Session  string
	// Name is who it is, over all its connections: its record is kept by it. Empty means that this connection is all there is.
	Name string
}

// Request is what is asked for.
type Request struct {
	// Client is the channel that pays; the queue is fair between clients.
	Client string
	// Model is a full name, or the base name before the @.
	Model          string
	MaxCoefficient int64
	// Tokens is the expected work: prompt and answer.
	Tokens   int64
	Features []string
	// Sessions restricts the choice when it is not empty. Exclude are workers that this request has tried.
	Sessions []string
	Exclude  []uint64
	// Route is the digest that keeps requests with a common beginning together; empty for short prompts.
	Route string
}

// Reason says why a worker was chosen.
type Reason string

// The reasons.
const (
	OnlyOne     Reason = "only_one"
	Affinity    Reason = "affinity"
	Load        Reason = "load"
	Price       Reason = "price"
	Exploration Reason = "exploration"
	Retry       Reason = "retry"
)

// Scheduler knows every worker.
type Scheduler struct {
	cfg Config

	mu      sync.Mutex
	next    uint64
	workers map[uint64]*worker
	queues  map[string]*queue
	free    []*worker // room for those that one choice is among
	routes  routes
	known   standings
	stats   Stats
}

// New makes a scheduler without workers.
func New(cfg Config) *Scheduler {
	cfg.fill()
	return &Scheduler{
		cfg: cfg, workers: make(map[uint64]*worker), queues: make(map[string]*queue),
		routes: newRoutes(), known: make(standings), stats: Stats{Chosen: make(map[Reason]uint64), Refused: make(map[string]uint64), Excluded: make(map[string]uint64)},
	}
}

// Stats count choices and refusals by reason.
type Stats struct {
	Chosen            map[Reason]uint64
	Refused, Excluded map[string]uint64
	Breakers          uint64
	Queued            int
}

// Add makes a worker known, disabled, and names it.
func (s *Scheduler) Add(spec Spec) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next++
	now := s.cfg.Now()
	w := &worker{id: s.next, spec: spec, since: now, breaker: s.cfg.Breaker, standing: s.known.meet(spec.Name, now)}
	s.workers[w.id] = w
	return w.id
}

// Update replaces what a worker offers; requests under way keep their coefficient.
func (s *Scheduler) Update(id uint64, change func(*Spec)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if w := s.workers[id]; w != nil {
		change(&w.spec)
		s.wake(w.spec.Model)
	}
}

// Enable lets a worker be chosen, or not.
func (s *Scheduler) Enable(id uint64, on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if w := s.workers[id]; w != nil && w.enabled != on {
		w.enabled = on
		w.since = s.cfg.Now() // a worker that comes back starts slowly again
		s.wake(w.spec.Model)
	}
}

// Remove forgets a worker. Its leases may still be ended.
func (s *Scheduler) Remove(id uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if w := s.workers[id]; w != nil {
		delete(s.workers, id)
		w.standing.connections--
		s.wake(w.spec.Model)
	}
}

// Acquire chooses a worker and takes one of its slots, waiting in the queue if it must. The error is a *RefusedError or
// ctx's.
func (s *Scheduler) Acquire(ctx context.Context, r Request) (*Lease, error) {
	s.mu.Lock()
	lease, err := s.try(r)
	if lease != nil || !waitable(err) {
		s.mu.Unlock()
		return lease, err
	}
	q := s.queueOf(r.Model)
	w, ok := q.join(r, s.slots(r.Model))
	if !ok {
		s.stats.Refused["queue_full"]++
		err := s.busy(r)
		s.mu.Unlock()
		return nil, err
	}
	s.stats.Queued++
	s.mu.Unlock()
	return s.wait(ctx, q, w)
}

// wait is the time in the queue.
func (s *Scheduler) wait(ctx context.Context, q *queue, w *waiter) (*Lease, error) {
	timer := time.NewTimer(s.cfg.MaxWait)
	defer timer.Stop()
	// Breakers close by themselves: nobody would wake the line for that.
	again := time.NewTicker(time.Second)
	defer again.Stop()
	var cause error
	for waiting := true; waiting; {
		select {
		case got := <-w.granted:
			return got.lease, got.err
		case <-again.C:
			s.mu.Lock()
			s.wake(w.request.Model)
			s.mu.Unlock()
		case <-ctx.Done():
			cause, waiting = ctx.Err(), false
		case <-timer.C:
			waiting = false
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case got := <-w.granted: // it came at the last moment
		if cause != nil && got.lease != nil {
			got.lease.free() // nobody came for it
			return nil, cause
		}
		return got.lease, got.err
	default:
	}
	q.leave(w)
	s.stats.Queued--
	if cause != nil {
		return nil, cause
	}
	s.stats.Refused["queue_wait"]++
	return nil, s.busy(w.request)
}

// wake offers free slots of a model to those who wait for it. The caller holds the lock.
func (s *Scheduler) wake(model string) {
	for _, name := range slices.Compact([]string{model, base(model)}) {
		q := s.queues[name]
		if q == nil {
			continue
		}
		for s.serveLine(q, name) {
		}
		if q.n == 0 {
			delete(s.queues, name)
		}
	}
}

// serveLine gives one of those in line what there is for it: a slot, or a reason to wait no longer. Whoever waits for a certain
// worker does not hold up those behind, for whom another will do.
func (s *Scheduler) serveLine(q *queue, model string) bool {
	for i, client := range q.turn {
		w := q.clients[client][0]
		lease, err := s.try(w.request)
		if lease != nil || !waitable(err) {
			q.leave(w)
			s.stats.Queued--
			w.granted <- grant{lease, err}
			return true
		}
		if i == 0 && !s.idle(model) { // so it is for all, and there may be many
			return false
		}
	}
	return false
}

// idle says whether a worker of the model could take a request of somebody's. The caller holds the lock.
func (s *Scheduler) idle(model string) bool {
	now := s.cfg.Now()
	for _, w := range s.workers {
		if serves(w.spec.Model, model) && w.excluded(Request{MaxCoefficient: math.MaxInt64}, now) == suitable {
			return true
		}
	}
	return false
}

func (s *Scheduler) queueOf(model string) *queue {
	q := s.queues[model]
	if q == nil {
		q = newQueue()
		s.queues[model] = q
	}
	return q
}

// slots counts the slots of a model's workers.
func (s *Scheduler) slots(model string) int {
	n := 0
	for _, w := range s.workers {
		if serves(w.spec.Model, model) && w.enabled {
			n += w.spec.Slots
		}
	}
	return n
}

// Snapshot is the present state, for status pages.
func (s *Scheduler) Snapshot() (workers []View, stats Stats) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.cfg.Now()
	for _, w := range s.workers {
		workers = append(workers, w.view(now))
	}
	stats = s.stats
	stats.Chosen, stats.Refused, stats.Excluded = maps.Clone(s.stats.Chosen), maps.Clone(s.stats.Refused), maps.Clone(s.stats.Excluded)
	slices.SortFunc(workers, func(a, b View) int { return cmp.Compare(a.ID, b.ID) })
	return workers, stats
}

// base is a model's name without its version.
func base(model string) string {
	name, _, _ := strings.Cut(model, "@")
	return name
}

// serves says whether a worker's model is what was asked for: exactly, or by its base name.
func serves(has, wanted string) bool {
	return has == wanted || !strings.Contains(wanted, "@") && base(has) == wanted
}
