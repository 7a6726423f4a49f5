package worker

import (
	"context"
	"slices"
	"sync"
	"time"

	"cocoon/contracts/api/stats"
	"cocoon/contracts/pricing"
	"cocoon/contracts/receipt"
	"cocoon/guest/worker/meter"
)

const (
	// aggregate is how many requests' prompts are shown together at least (inference.md section 19): the page, and the
	// machine around it, must not learn the size of one.
	aggregate = 10
	// maxMishaps is how many of the last failures the page shows.
	maxMishaps = 10
	// lookEvery is how often what has no event of its own is looked at.
	lookEvery = time.Second
)

// The ways a request ends, as the page and the metrics have them.
const (
	outcomeComplete  = "complete"
	outcomeCancelled = "cancelled"
	outcomeRefused   = "refused"
	outcomeFailed    = "failed"
)

func outcomes() []string {
	return []string{outcomeComplete, outcomeCancelled, outcomeRefused, outcomeFailed}
}

// mishap is a request that went wrong: no name, no size, no content.
type mishap struct {
	at           time.Time
	status, code string
}

// counters are those of /jsonstats, by their name there.
type counters struct {
	queries, success, failed, received, sent, seconds stats.Counter
	total, prompt, cached, completion, reasoning      stats.Counter
}

// past is what the page's charts and the counters over windows show.
type past struct {
	now   func() time.Time
	count counters
	ended map[string]*stats.History
	// prompt and cached move in aggregates only.
	prompt, cached, completion, reasoning *stats.History
	first, each                           *stats.Latency
	active, running, waiting, kv          *stats.Level
	health                                stats.Watch

	mu sync.Mutex
	// held are prompts of fewer than aggregate requests; shown is what was released of all.
	held      meter.Usage
	heldBills pricing.Billed
	heldCount int
	shown     meter.Usage
	mishaps   []mishap
}

func newPast(clock func() time.Time) *past {
	now := clock()
	p := &past{now: clock, ended: make(map[string]*stats.History), first: stats.NewLatency(now), each: stats.NewLatency(now)}
	for _, o := range outcomes() {
		p.ended[o] = stats.NewHistory(now)
	}
	for _, h := range []**stats.History{&p.prompt, &p.cached, &p.completion, &p.reasoning} {
		*h = stats.NewHistory(now)
	}
	for _, l := range []**stats.Level{&p.active, &p.running, &p.waiting, &p.kv} {
		*l = stats.NewLevel(now)
	}
	return p
}

// over counts a query that has ended.
func (p *past) over(q *query, out outcome, bill pricing.Billed) {
	now, u, c := p.now(), out.used.Usage, &p.count
	outcome := outcomeFailed
	switch out.status {
	case receipt.Complete:
		outcome = outcomeComplete
		c.success.Add(now, 1)
	case receipt.Cancelled:
		outcome = outcomeCancelled
	case receipt.Refused:
		outcome = outcomeRefused
	default:
		c.failed.Add(now, 1)
	}
	p.ended[outcome].Add(now, 1)
	c.queries.Add(now, 1)
	c.seconds.Add(now, now.Sub(q.began).Seconds())
	c.received.Add(now, float64(len(q.ask.Query)))
	c.sent.Add(now, float64(q.sent))
	if q.headSent.Load() && !q.firstByte.IsZero() { // a stream: an answer as a whole has no first token
		p.first.Add(now, q.firstByte.Sub(q.began))
		if u.Completion > 1 {
			p.each.Add(now, now.Sub(q.firstByte)/time.Duration(u.Completion-1))
		}
	}
	p.completion.Add(now, float64(u.Completion))
	p.reasoning.Add(now, float64(u.Reasoning))
	c.completion.Add(now, float64(bill.Completion))
	c.reasoning.Add(now, float64(bill.Reasoning))
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hold(now, u, bill)
	if outcome == outcomeFailed { // what callers did wrong is no error of this machine
		p.mishaps = append(p.mishaps, mishap{now, string(out.status), out.reason()})
		p.mishaps = p.mishaps[max(len(p.mishaps)-maxMishaps, 0):]
	}
}

// hold adds a prompt to those that are not shown yet, and shows them when they are enough. A request without a prompt
// hides none. The caller holds the lock.
func (p *past) hold(now time.Time, u meter.Usage, bill pricing.Billed) {
	p.shown.Completion += u.Completion
	p.shown.Reasoning += u.Reasoning
	if u.Prompt == 0 {
		return
	}
	p.held.Prompt += u.Prompt
	p.held.Cached += u.Cached
	p.heldBills.Prompt += bill.Prompt
	p.heldBills.Cached += bill.Cached
	p.heldBills.Completion += bill.Completion
	p.heldBills.Reasoning += bill.Reasoning
	if p.heldCount++; p.heldCount < aggregate {
		return
	}
	p.shown.Prompt += p.held.Prompt
	p.shown.Cached += p.held.Cached
	p.prompt.Add(now, float64(p.held.Prompt))
	p.cached.Add(now, float64(p.held.Cached))
	p.count.prompt.Add(now, float64(p.heldBills.Prompt))
	p.count.cached.Add(now, float64(p.heldBills.Cached))
	p.count.total.Add(now, float64(p.heldBills.Total()))
	p.held, p.heldBills, p.heldCount = meter.Usage{}, pricing.Billed{}, 0
}

// tokens are the counts that may be shown.
func (p *past) tokens() meter.Usage {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.shown
}

func (p *past) lastMishaps() []mishap {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.mishaps)
}

// look keeps the page's history and the beginning of the verdict.
func (w *Worker) look() {
	s, now := w.Status(), w.deps.Now()
	p := w.past
	p.active.Set(now, float64(s.Active))
	p.running.Set(now, max(s.Load.Running, 0))
	p.waiting.Set(now, max(s.Load.Waiting, 0))
	p.kv.Set(now, max(s.Load.KVUse, 0)*100)
	w.verdict(&s)
}

// watch looks until ctx ends.
func (w *Worker) watch(ctx context.Context) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			w.look()
		}
	}
}
