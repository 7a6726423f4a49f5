package proxy

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	chance "math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"cocoon/contracts/api"
	"cocoon/contracts/receipt/often"
	"cocoon/contracts/registry/follow"
	"cocoon/contracts/wire/session"
	"cocoon/guest/proxy/sched"
)

// Proxy serves clients and workers.
type Proxy struct {
	cfg     Config
	deps    Deps
	log     *slog.Logger
	policy  *api.Policy
	paths   map[string]api.Endpoint
	sched   *sched.Scheduler
	metrics *Metrics
	totals  totals
	papers  *papers
	signers often.Cache     // the workers' receipt keys
	routing [32]byte        // keys route digests; leaves this process never
	atOnce  context.Context //nolint:containedctx // has ended: what finds no room at once is not waited for

	own      atomic.Pointer[named] // the contract by the last root
	mu       sync.Mutex
	refusing string
	clients  map[*client]struct{}
	workers  map[uint64]*worker
	models   map[string]bool // base names that a worker has served
	started  time.Time
}

// New checks the configuration against what the process offers. Nothing happens before Run and the Serve calls.
func New(cfg Config, deps Deps) (*Proxy, error) {
	cfg.fill()
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("making proxy: %w", err)
	}
	if err := deps.check(); err != nil {
		return nil, err
	}
	if deps.Log == nil {
		deps.Log = slog.New(slog.DiscardHandler)
	}
	if deps.TLSKeys == nil {
		deps.TLSKeys = func() [][32]byte { return nil }
	}
	if deps.Draw == nil {
		deps.Draw = chance.IntN
	}
	p := &Proxy{
		cfg: cfg, deps: deps, log: deps.Log, policy: api.NewPolicy(api.Limits{AllowDebug: true}), paths: api.Paths(), metrics: newMetrics(deps.Now),
		sched:   sched.New(sched.Config{Now: deps.Now, Rand: deps.Rand, PriceWeight: cfg.PriceWeight, MaxWait: cfg.Times.Queue, Breaker: cfg.Breaker}),
		clients: make(map[*client]struct{}), workers: make(map[uint64]*worker), models: make(map[string]bool), started: deps.Now(),
	}
	var cancel context.CancelFunc
	p.atOnce, cancel = context.WithCancel(context.Background())
	cancel()
	_, _ = rand.Read(p.routing[:]) // never fails (crypto/rand)
	p.own.Store(&named{cfg.Contract, cfg.Contract.String()})
	var err error
	if p.papers, err = newPapers(p); err != nil {
		return nil, fmt.Errorf("making proxy: %w", err)
	}
	return p, nil
}

// Run does what a proxy does by the clock, until ctx ends.
func (p *Proxy) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return every(ctx, lookEvery, p.look) })
	if p.deps.Tick != nil {
		group.Go(func() error { return every(ctx, p.cfg.Times.Flush, p.deps.Tick.Flush) })
		group.Go(func() error { return every(ctx, p.cfg.Times.Commit, p.deps.Tick.Commit) })
	}
	return group.Wait()
}

func every(ctx context.Context, d time.Duration, do func()) error {
	tick := time.NewTicker(d)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			do()
		}
	}
}

// Refuse puts the proxy into the visible state in which it serves nobody new: what runs is finished and signed. An empty
// reason ends that state.
func (p *Proxy) Refuse(reason string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refusing = reason
}

// Ready says whether requests can be served now, and if not why.
func (p *Proxy) Ready() (bool, string) {
	o := p.obstacle()
	return o == Obstacle{}, o.Text
}

// Obstacle is why nobody new is served, as /readyz has it (protocol.md section 8.1).
type Obstacle struct {
	// Code is disabled, image_hash_not_listed, or a follow.Reason; empty when there is none.
	Code string
	Text string
}

func (p *Proxy) obstacle() Obstacle {
	p.mu.Lock()
	reason := p.refusing
	p.mu.Unlock()
	if reason != "" {
		return Obstacle{"disabled", reason}
	}
	if _, err := p.deps.Chain.Root(); err != nil {
		return Obstacle{string(follow.ReasonOf(err)), "root contract: " + err.Error()}
	}
	if p.deps.Eligible != nil {
		if err := p.deps.Eligible(); err != nil {
			return Obstacle{"image_hash_not_listed", "not eligible: " + err.Error()}
		}
	}
	return Obstacle{}
}

// disabled is the answer to whoever asks for something new in the refusing state.
func (p *Proxy) disabled() error {
	if ok, why := p.Ready(); !ok {
		return &session.QueryError{Code: session.CodeNotReady, Message: "proxy is disabled: " + why}
	}
	return nil
}

func (p *Proxy) allWorkers() []*worker {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := make([]*worker, 0, len(p.workers))
	for _, id := range slices.Sorted(maps.Keys(p.workers)) {
		out = append(out, p.workers[id])
	}
	return out
}

func (p *Proxy) worker(id uint64) *worker {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.workers[id]
}

// maxModels bounds the models that are remembered when their last worker has left.
const maxModels = 4096

// meet notes a worker whose handshake has begun. A model stays known when its workers are gone: its absence is then a
// passing weakness and no mistake of the caller's.
func (p *Proxy) meet(w *worker, held error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.workers[w.sched] = w
	if len(p.models) < maxModels && held == nil {
		p.models[base(w.model)] = true
	}
}

func (p *Proxy) knows(model string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.models[base(model)]
}

// RootChanged judges the workers by what the root contract says now: those whose image or model was taken off its lists
// are let go, those whose model was put on are given requests. When the parameters have changed, and with them every
// contract, all sessions end as soon as nothing of theirs runs: what runs goes on under the terms that it began with.
func (p *Proxy) RootChanged() {
	root, err := p.deps.Chain.Root()
	if err != nil {
		return // nobody new is served in this state
	}
	for _, w := range p.allWorkers() {
		if err := p.admitted(root, w.peer); err != nil {
			w.end(err)
			continue
		}
		w.judge(root)
	}
	p.mu.Lock()
	clients := slices.Collect(maps.Keys(p.clients))
	p.mu.Unlock()
	for _, c := range clients {
		if at, _ := c.at(); at != fresh && c.since() != root.ParamsVersion {
			c.retire()
		}
	}
}

// errParameters ends sessions whose contracts are not those of the root's parameters any more (protocol.md section 6.6).
var errParameters = errors.New("the root's parameters changed")

// named is an address with its raw form.
type named struct {
	Address
	text string
}

// contractBy is the proxy's own contract by a root's parameters: the one that it names, that of the last one that did, or
// the configured one.
func (p *Proxy) contractBy(root *Root) *named {
	own := p.own.Load()
	if root.Contract == (Address{}) || own.Address == root.Contract {
		return own
	}
	own = &named{root.Contract, root.Contract.String()}
	p.own.Store(own)
	return own
}

// contract is the proxy's own: by the root, by the last one that could be read, or as configured.
func (p *Proxy) contract() Address {
	root, err := p.deps.Chain.Root()
	if err != nil {
		root = Root{}
	}
	return p.contractBy(&root).Address
}

// negotiate picks the version of a session (protocol.md section 1.1).
func (p *Proxy) negotiate(low, high *int32) (int32, error) {
	from, to := int32(0), int32(0)
	if low != nil {
		from = *low
	}
	if high != nil {
		to = *high
	}
	fail := func(format string, args ...any) (int32, error) {
		return 0, &session.QueryError{Code: session.CodeProtocol, Message: fmt.Sprintf(format, args...)}
	}
	switch {
	case from < 0 || to < from:
		return fail("unsupported proto version: %d..%d is no range", from, to)
	case to < p.cfg.MinVersion || p.cfg.MaxVersion < from:
		return fail("unsupported proto version: %d..%d offered, %d..%d supported", from, to, p.cfg.MinVersion, p.cfg.MaxVersion)
	}
	return min(to, p.cfg.MaxVersion), nil
}

// refusal is a 602, the network's code for what the peer got wrong.
func refusal(format string, args ...any) error {
	return &session.QueryError{Code: session.CodeError, Message: fmt.Sprintf(format, args...)}
}

// violation is a 621.
func violation(format string, args ...any) error {
	return &session.QueryError{Code: session.CodeProtocol, Message: fmt.Sprintf(format, args...)}
}

// notReady is a 651.
func notReady(format string, args ...any) error {
	return &session.QueryError{Code: session.CodeNotReady, Message: fmt.Sprintf(format, args...)}
}

// lastWords lets the answer that gives the reason leave before its session ends: a session answers after its handler.
func lastWords(ctx context.Context, err error) error {
	const moment = 200 * time.Millisecond
	timer := time.NewTimer(moment)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
	return err
}

// errHandshake ends the session of a peer whose handshake was refused, after the refusal was sent.
var errHandshake = errors.New("the handshake was refused")

// errSlowHandshake ends the session of a peer that does not get on.
var errSlowHandshake = errors.New("the handshake took too long")

// progress is how a session gets on: what it says of its handshake, and why it is to end.
type progress struct {
	// steps has an element when the peer has taken a step, opened is closed after the last.
	steps, opened chan struct{}
	ended         chan error
}

func newProgress() progress {
	return progress{steps: make(chan struct{}, 1), opened: make(chan struct{}), ended: make(chan error, 1)}
}

// step gives the peer its time again. Each step is taken once.
func (g *progress) step() {
	select {
	case g.steps <- struct{}{}:
	default:
	}
}

// end has the session end for a reason; the first one counts.
func (g *progress) end(err error) {
	select {
	case g.ended <- err:
	default:
	}
}

// serve runs a session whose handshake must get on in time. The peer is heard in between.
func (p *Proxy) serve(ctx context.Context, s *session.Session, of progress) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		if err := s.Run(ctx); err != nil {
			return err
		}
		return context.Canceled // the other waits end as well
	})
	group.Go(func() error {
		timer := time.NewTimer(p.cfg.Times.Handshake)
		defer timer.Stop()
		for {
			select {
			case <-ctx.Done():
				return nil
			case err := <-of.ended:
				return lastWords(ctx, err)
			case <-of.steps:
				timer.Reset(p.cfg.Times.Handshake)
			case <-of.opened:
				of.opened, of.steps = nil, nil
				timer.Stop()
			case <-timer.C:
				return errSlowHandshake
			}
		}
	})
	return group.Wait()
}
