package upstream

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"
)

// Pool is all proxies of a gateway. Which they are may change while it runs.
type Pool struct {
	cfg *Config

	// added wakes Run when there are links to begin.
	added chan struct{}

	mu sync.Mutex
	// links are in the order of the last Set; pending are those of them that nobody runs yet, leaving are those that finish
	// what they carry.
	links, pending, leaving []*Link
	// past are the records of proxies that have no link now.
	past    map[string]score
	running sync.WaitGroup
}

// New makes a pool; Run brings it to life. A file of records that cannot be read is left behind with a warning: they are
// only experience.
func New(cfg Config) (*Pool, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	p := &Pool{cfg: &cfg, added: make(chan struct{}, 1), past: make(map[string]score)}
	if err := p.recall(); err != nil {
		cfg.Log.Warn("Records of proxies cannot be read, and begin anew", slog.Any("err", err))
	}
	p.Set(cfg.Proxies)
	return p, nil
}

// Run keeps all links up until ctx ends.
func (p *Pool) Run(ctx context.Context) {
	tick := time.NewTicker(saveEvery)
	defer tick.Stop()
	for ctx.Err() == nil {
		p.begin(ctx)
		select {
		case <-ctx.Done():
		case <-p.added:
		case <-tick.C:
			p.keep()
		}
	}
	p.running.Wait()
	p.keep()
}

// begin runs the links that nobody runs yet.
func (p *Pool) begin(ctx context.Context) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range p.pending {
		p.running.Go(func() {
			l.run(ctx)
			p.left(l)
		})
	}
	p.pending = nil
}

// left forgets a link that has finished.
func (p *Pool) left(l *Link) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.leaving = slices.DeleteFunc(p.leaving, func(o *Link) bool { return o == l })
}

// Set says which proxies there are from now on. A proxy that is there already keeps its session; one that is no more gets
// no new request, finishes what it carries, and goes. A name that stands twice counts once.
func (p *Pool) Set(addresses []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	was := make(map[string]*Link, len(p.links))
	for _, l := range p.links {
		was[l.address] = l
	}
	now := make([]*Link, 0, len(addresses))
	named := make(map[string]bool, len(addresses))
	for _, address := range addresses {
		if named[address] {
			continue
		}
		named[address] = true
		l := was[address]
		if delete(was, address); l == nil {
			l = newLink(address, p.cfg, p.past[address])
			delete(p.past, address)
			p.pending = append(p.pending, l)
		}
		now = append(now, l)
	}
	for _, l := range was {
		p.past[l.address] = l.record()
		if i := slices.Index(p.pending, l); i >= 0 {
			p.pending = slices.Delete(p.pending, i, i+1)
			continue
		}
		p.leaving = append(p.leaving, l)
		l.leave(retire)
	}
	p.links = now
	select {
	case p.added <- struct{}{}:
	default: // Run will look anyway
	}
}

// Renew makes every session anew, because something that was agreed in its beginning has changed. Each finishes what it
// carries first.
func (p *Pool) Renew() {
	for _, l := range p.Links() {
		l.leave(renew)
	}
}

// Retry has proxies that are not connected tried at once, because what they were refused for may be true no more.
func (p *Pool) Retry() {
	for _, l := range p.Links() {
		l.wake()
	}
}

// Links are all links, in the order that Set was told.
func (p *Pool) Links() []*Link {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.links
}

// Status lists all proxies: in the order of the configuration, and then those that finish what they carry.
func (p *Pool) Status() []Status {
	p.mu.Lock()
	links, leaving := p.links, slices.Clone(p.leaving)
	p.mu.Unlock()
	out := make([]Status, 0, len(links)+len(leaving))
	for _, l := range links {
		out = append(out, l.Status())
	}
	for _, l := range leaving {
		if s := l.Status(); s.State == Draining {
			out = append(out, s)
		}
	}
	return out
}

// Pick chooses the proxy for a model among those that are ready, owe not too much and are not excluded: one that offers the
// model before one that does not, then by score. It returns nil when there is none.
func (p *Pool) Pick(model string, except []*Link) *Link {
	var best *Link
	var lowest standing
	for _, l := range p.Links() {
		if l.Indebted() || slices.Contains(except, l) {
			continue
		}
		if s, ready := l.standing(model); ready && (best == nil || s.before(lowest)) {
			best, lowest = l, s
		}
	}
	return best
}

// standing is what a choice goes by: lower wins, the rank first.
type standing struct {
	rank  int
	score float64
}

func (s standing) before(o standing) bool {
	return cmp.Or(cmp.Compare(s.rank, o.rank), cmp.Compare(s.score, o.score)) < 0
}

// standing is that of the link for a model, if it is ready.
func (l *Link) standing(model string) (s standing, ready bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.status.State != Ready {
		return s, false
	}
	now, running := l.cfg.Now(), 0
	if l.live != nil {
		running = l.live.running()
	}
	if now.Before(l.score.openUntil) {
		s.rank += 2
	}
	if _, offers := l.offered(model); !offers {
		s.rank++
	}
	s.score = l.score.value(now) * (1 + float64(running)/8)
	return s, true
}

// Offered is a model's name as some proxy offers it.
func (p *Pool) Offered(model string) (name string, ok bool) {
	for _, l := range p.Links() {
		l.mu.Lock()
		name, ok = l.offered(model)
		l.mu.Unlock()
		if ok {
			return name, true
		}
	}
	return "", false
}

// offered is a model's name as the proxy offers it. The caller holds the lock.
func (l *Link) offered(model string) (name string, ok bool) {
	i := slices.IndexFunc(l.status.Models, func(m Model) bool { return serves(m.Name, model) })
	if i < 0 {
		return "", false
	}
	return l.status.Models[i].Name, true
}

// serves says whether an offered name answers to a wanted one: the same, or the same base before "@".
func serves(offered, wanted string) bool {
	base, _, _ := strings.Cut(offered, "@")
	return offered == wanted || base == wanted
}
