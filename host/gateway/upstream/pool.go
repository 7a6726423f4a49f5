package upstream

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"
	"time"
)

// Pool is all proxies of a gateway.
type Pool struct {
	links []*Link
}

// New makes a pool; Run brings it to life.
func New(cfg Config) (*Pool, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	p := &Pool{}
	for _, address := range cfg.Proxies {
		p.links = append(p.links, newLink(address, &cfg))
	}
	return p, nil
}

// Run keeps all links up until ctx ends.
func (p *Pool) Run(ctx context.Context) {
	var all sync.WaitGroup
	for _, l := range p.links {
		all.Go(func() { l.run(ctx) })
	}
	all.Wait()
}

// Links are all links, in the order of the configuration.
func (p *Pool) Links() []*Link { return p.links }

// Status lists all proxies, in the order of the configuration.
func (p *Pool) Status() []Status {
	out := make([]Status, 0, len(p.links))
	for _, l := range p.links {
		out = append(out, l.Status())
	}
	return out
}

// Pick chooses the proxy for a model among those that are ready and not excluded: one that offers the model before one
// that does not, then by score. It returns nil when none is ready.
func (p *Pool) Pick(model string, except []*Link) *Link {
	type candidate struct {
		link   *Link
		open   bool
		offers bool
		score  float64
	}
	var found []candidate
	for _, l := range p.links {
		s := l.Status()
		if s.State != Ready || slices.Contains(except, l) {
			continue
		}
		offers := slices.ContainsFunc(s.Models, func(m Model) bool { return serves(m.Name, model) })
		found = append(found, candidate{l, l.resting(), offers, s.Score * (1 + float64(s.Running)/8)})
	}
	if len(found) == 0 {
		return nil
	}
	rank := func(c candidate) int {
		r := 0
		if c.open {
			r += 2
		}
		if !c.offers {
			r++
		}
		return r
	}
	return slices.MinFunc(found, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a.score, b.score))
	}).link
}

// serves says whether an offered name answers to a wanted one: the same, or the same base before "@".
func serves(offered, wanted string) bool {
	base, _, _ := strings.Cut(offered, "@")
	return offered == wanted || base == wanted
}

const (
	// openAfter failures in a row make a proxy the last choice for openFor.
	openAfter, openFor = 3, 30 * time.Second
	// weight is how much the newest sample counts.
	weight = 0.2
	// newcomer is the latency that a proxy without a record is taken to have, in seconds.
	newcomer = 0.5
)

// score is the record of one proxy.
type score struct {
	requests, failures int64
	latency, success   float64
	row                int
	openUntil          time.Time
}

// value is expected latency over success; lower wins.
func (s *score) value() float64 {
	if s.requests == 0 {
		return newcomer
	}
	return (s.latency + 0.05) / max(s.success, 0.05)
}

// Report notes how a request went: whether the proxy failed it, and how long its first byte took.
func (l *Link) Report(failed bool, first time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := &l.score
	if s.requests == 0 {
		s.latency, s.success = newcomer, 1
	}
	s.requests++
	if failed {
		s.failures++
		s.success *= 1 - weight
		if s.row++; s.row >= openAfter {
			s.openUntil = l.cfg.Now().Add(openFor)
		}
		return
	}
	s.row, s.openUntil = 0, time.Time{}
	s.success += weight * (1 - s.success)
	s.latency += weight * (first.Seconds() - s.latency)
}

// Rest makes the link the last choice for a while: the proxy said that it does not serve.
func (l *Link) Rest() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.score.openUntil = l.cfg.Now().Add(openFor)
}

func (l *Link) resting() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cfg.Now().Before(l.score.openUntil)
}
