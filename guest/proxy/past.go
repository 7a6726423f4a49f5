package proxy

import (
	"sync"
	"time"

	"cocoon/contracts/api/stats"
	"cocoon/contracts/pricing"
	"cocoon/contracts/receipt"
	"cocoon/guest/proxy/ledger"
	"cocoon/guest/proxy/sched"
)

// lookEvery is how often what has no event of its own is looked at.
const lookEvery = time.Second

// The ways a request ends, as the page has them.
const (
	outcomeComplete  = "complete"
	outcomeCancelled = "cancelled"
	outcomeFailed    = "failed"
	outcomeRefused   = "refused"
)

func outcomes() []string {
	return []string{outcomeComplete, outcomeCancelled, outcomeRefused, outcomeFailed}
}

// tokenClasses are those of a bill, in the order of byClass.
func tokenClasses() [4]string { return [...]string{"prompt", "cached", "completion", "reasoning"} }

func byClass(b pricing.Billed) [4]int64 {
	return [...]int64{b.Prompt, b.Cached, b.Completion, b.Reasoning}
}

// reasons are all that a choice of a worker may have.
func reasons() []sched.Reason {
	return []sched.Reason{sched.OnlyOne, sched.Affinity, sched.Load, sched.Price, sched.Exploration, sched.Retry}
}

// refusals are the reasons of the queue; a full breaker is no refusal yet, and counts as one line more.
func refusals() []string { return []string{"queue_full", "queue_wait"} }

// past is what the page's charts show.
type past struct {
	now              func() time.Time
	ended            map[string]*stats.History
	tokens           [4]*stats.History
	fees             *stats.History
	waited, took     *stats.Latency
	running, waiting *stats.Level
	ready, known     *stats.Level
	chosen           map[sched.Reason]*stats.History
	refused          map[string]*stats.History
	breakers         *stats.History
	health           stats.Watch

	mu   sync.Mutex
	seen sched.Stats // of the last look
}

func newPast(clock func() time.Time) *past {
	now := clock()
	p := &past{
		now: clock, ended: make(map[string]*stats.History), waited: stats.NewLatency(now), running: stats.NewLevel(now), waiting: stats.NewLevel(now),
		ready: stats.NewLevel(now), known: stats.NewLevel(now), chosen: make(map[sched.Reason]*stats.History),
		refused: make(map[string]*stats.History), breakers: stats.NewHistory(now),
		fees: stats.NewHistory(now), took: stats.NewLatency(now),
	}
	for _, o := range outcomes() {
		p.ended[o] = stats.NewHistory(now)
	}
	for _, r := range reasons() {
		p.chosen[r] = stats.NewHistory(now)
	}
	for _, r := range refusals() {
		p.refused[r] = stats.NewHistory(now)
	}
	for i := range p.tokens {
		p.tokens[i] = stats.NewHistory(now)
	}
	return p
}

// over counts a request that has ended; fee is what the proxy keeps of it, in nanoTON.
func (p *past) over(now time.Time, status receipt.Status, e ledger.Entry, fee float64, took time.Duration) {
	outcome := outcomeFailed
	switch status {
	case receipt.Complete:
		outcome = outcomeComplete
	case receipt.Cancelled:
		outcome = outcomeCancelled
	case receipt.Refused:
		outcome = outcomeRefused
	case receipt.Deadline, receipt.WorkerLost, receipt.EngineError:
	}
	p.ended[outcome].Add(now, 1)
	p.fees.Add(now, fee)
	p.took.Add(now, took)
	for i, n := range byClass(e.Billed) {
		p.tokens[i].Add(now, float64(n))
	}
}

// look notes what has changed since the last time.
func (p *past) look(s *Status) {
	now := p.now()
	p.waiting.Set(now, float64(s.Choices.Queued))
	p.known.Set(now, float64(len(s.Workers)))
	p.ready.Set(now, float64(s.readyWorkers()))
	p.mu.Lock()
	defer p.mu.Unlock()
	for r, h := range p.chosen {
		h.Add(now, float64(s.Choices.Chosen[r]-p.seen.Chosen[r]))
	}
	for r, h := range p.refused {
		h.Add(now, float64(s.Choices.Refused[r]-p.seen.Refused[r]))
	}
	p.breakers.Add(now, float64(s.Choices.Breakers-p.seen.Breakers))
	p.seen = s.Choices
}

// look keeps the page's history and the beginning of the verdict.
func (p *Proxy) look() {
	now := p.deps.Now()
	for _, w := range p.allWorkers() {
		w.look(now)
	}
	s := p.Status()
	p.metrics.past.look(&s)
	p.verdict(&s)
}

// readyWorkers counts the workers that may be chosen.
func (s *Status) readyWorkers() (n int) {
	for _, w := range s.Workers {
		if w.takes() {
			n++
		}
	}
	return n
}

// takes says whether the worker gets requests when it has a free slot.
func (w *WorkerStatus) takes() bool { return w.Enabled && w.Held == "" && w.Breaker == "closed" }

// charts are those of inference.md section 19.
func (p *past) charts(now time.Time) []stats.Chart {
	ended := stats.Chart{Title: "Requests by outcome", Unit: "/s"}
	for _, o := range outcomes() {
		l := p.ended[o].Line(o, now)
		l.Alarm = o == outcomeFailed
		ended.Lines = append(ended.Lines, l)
	}
	tokens := stats.Chart{Title: "Tokens billed", Unit: "/s"}
	for i, class := range tokenClasses() {
		tokens.Lines = append(tokens.Lines, p.tokens[i].Line(class, now))
	}
	chosen := stats.Chart{Title: "Choices by reason", Unit: "/s"}
	for _, r := range reasons() {
		chosen.Lines = append(chosen.Lines, p.chosen[r].Line(label(string(r)), now))
	}
	turned := stats.Chart{Title: "Turned away, and breakers", Unit: "/s"}
	for _, r := range refusals() {
		turned.Lines = append(turned.Lines, p.refused[r].Line(label(r), now))
	}
	openings := p.breakers.Line("breaker openings", now)
	openings.Alarm = true
	turned.Lines = append(turned.Lines, openings)
	return []stats.Chart{
		ended,
		{Title: "Running and waiting", Lines: []stats.Line{p.running.Line("running", now), p.waiting.Line("waiting", now)}},
		p.waited.Chart("Wait for a worker", now), tokens,
		{Title: "Fees", Unit: "nanoTON/s", Lines: []stats.Line{p.fees.Line("earned", now)}},
		p.took.Chart("Whole request", now), chosen, turned,
		{Title: "Workers", Lines: []stats.Line{p.ready.Line("ready", now), p.known.Line("connected", now)}},
	}
}
