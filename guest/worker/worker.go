package worker

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"cocoon/contracts/api"
	"cocoon/guest/worker/engine"
)

const (
	// firstRetry and lastRetry bound the pause before a proxy is tried again (protocol.md section 2.6).
	firstRetry = time.Second
	lastRetry  = time.Minute
	// recheck is how often the reason for not serving is looked at again.
	recheck = 5 * time.Second
	// pollLimit bounds one look at the engine's load.
	pollLimit = 2 * time.Second
)

// Causes that end a request from outside.
var (
	errCancelled  = errors.New("cancelled")
	errSlowReader = errors.New("slow reader")
	errDeadline   = errors.New("timeout")
	errEngineDown = errors.New("the engine is down")
	errSession    = errors.New("the session has ended")
)

// Worker serves proxies until its Run ends.
type Worker struct {
	cfg    Config
	deps   Deps
	log    *slog.Logger
	policy *api.Policy
	// base is the model's name without commit and root.
	base string
	// machine is what the worker says about itself to proxies, JSON.
	machine string
	buffers sync.Pool
	// paths are the endpoints that take JSON, modelName the engine's name of its model in JSON.
	paths     map[string]api.Endpoint
	modelName []byte
	proofs    *Proofs
	poke      chan struct{} // has an element when the engine should be looked at now

	mu          sync.Mutex
	changed     chan struct{} // closed and replaced when something below changes
	coefficient int32
	stopped     bool // by the operator
	engineUp    bool
	engineError string
	load        engine.Load
	active      int
	taken       map[string]bool // addresses that are connected to, or tried
	conns       map[*connection]struct{}
	totals      Totals
	past        *past
	started     time.Time
}

// New checks the configuration. Nothing is dialled before Run.
func New(cfg Config, deps Deps) (*Worker, error) {
	cfg.fill()
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("making worker: %w", err)
	}
	if err := deps.check(); err != nil {
		return nil, err
	}
	if deps.Log == nil {
		deps.Log = slog.New(slog.DiscardHandler)
	}
	eng := deps.Engine.Config()
	w := &Worker{
		cfg: cfg, deps: deps, log: deps.Log, policy: api.NewPolicy(api.Limits{MaxN: eng.Limits.MaxN, AllowDebug: true, FromProxy: true}),
		proofs: NewProofs(), poke: make(chan struct{}, 1), changed: make(chan struct{}), coefficient: cfg.Coefficient,
		load: engine.Load{Running: -1, Waiting: -1, KVUse: -1}, engineError: "the engine has not answered yet",
		taken: make(map[string]bool), conns: make(map[*connection]struct{}), started: deps.Now(), past: newPast(deps.Now),
		buffers: sync.Pool{New: func() any { return new([readSize]byte) }},
		paths:   api.Paths(), modelName: strconv.AppendQuoteToASCII(nil, eng.Model),
	}
	w.base, _, _ = strings.Cut(cfg.Model, "@")
	machine, err := json.Marshal(struct {
		Key   string `json:"receipt_key"`
		KeyID string `json:"receipt_key_id"`
		Kind  string `json:"engine"`
	}{hex.EncodeToString(deps.ReceiptKey[32:]), deps.KeyID, eng.Kind})
	if err != nil {
		return nil, fmt.Errorf("making worker: %w", err)
	}
	w.machine = string(machine)
	return w, nil
}

// Run serves until ctx ends.
func (w *Worker) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return w.watchEngine(ctx) })
	group.Go(func() error { return w.watch(ctx) })
	for range w.cfg.ProxyCount {
		group.Go(func() error { return w.slot(ctx) })
	}
	return group.Wait()
}

// note changes the state and tells everybody who waits for that.
func (w *Worker) note(change func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change()
	close(w.changed)
	w.changed = make(chan struct{})
}

// SetCoefficient changes the price of requests that come from now on and tells the proxies.
func (w *Worker) SetCoefficient(c int32) error {
	if c < 0 || c >= coefficientLimit {
		return fmt.Errorf("setting coefficient: %d is not from 0 to %d", c, coefficientLimit-1)
	}
	w.note(func() { w.coefficient = c })
	return nil
}

// SetEnabled lets the operator stop taking requests, and start again. What runs goes on.
func (w *Worker) SetEnabled(on bool) { w.note(func() { w.stopped = !on }) }

// announced is what proxies are told.
type announced struct {
	disabled    bool
	coefficient int32
}

func (w *Worker) announced() (announced, <-chan struct{}) {
	eligible := w.eligible() == nil
	w.mu.Lock()
	defer w.mu.Unlock()
	return announced{disabled: w.stopped || !w.engineUp || !eligible, coefficient: w.coefficient}, w.changed
}

// RootChanged has everything looked at again that the root contract decides: whether this worker may serve, which the
// proxies are told, and whether they may be served, which ends the connections of those that are not listed any more.
func (w *Worker) RootChanged() {
	w.note(func() {})
	w.mu.Lock()
	conns := slices.Collect(maps.Keys(w.conns))
	w.mu.Unlock()
	for _, c := range conns {
		if err := w.deps.CheckPeer(c.peer); err != nil {
			c.end(fmt.Errorf("judging proxy: %w", err))
		}
	}
}

// watchEngine waits for the engine and then looks at it until ctx ends.
func (w *Worker) watchEngine(ctx context.Context) error {
	health := w.deps.Engine.Config().Health
	if err := w.deps.Engine.Ready(ctx); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		w.log.Error("Engine not ready in time", slog.Any("err", err))
	} else {
		w.engineIs(nil)
	}
	tick := time.NewTicker(time.Duration(health.Interval))
	defer tick.Stop()
	for failures := 0; ; {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-w.poke:
		}
		err := w.deps.Engine.Health(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil:
			failures = 0
			w.engineIs(nil)
			w.sample(ctx)
		default:
			if failures++; failures >= health.FailAfter || gone(err) {
				w.engineIs(err)
			}
		}
	}
}

// gone says that nobody listens: that is no passing weakness.
func gone(err error) bool {
	return errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ENOENT)
}

func (w *Worker) sample(ctx context.Context) {
	if w.deps.Engine.Config().Metrics.Path == "" {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, pollLimit)
	defer cancel()
	if load, err := w.deps.Engine.Load(ctx); err == nil {
		w.mu.Lock()
		w.load = load
		w.mu.Unlock()
	}
}

// engineIs notes whether the engine can be used. When it has gone its requests end.
func (w *Worker) engineIs(err error) {
	w.mu.Lock()
	was := w.engineUp
	w.mu.Unlock()
	if was == (err == nil) {
		return
	}
	w.note(func() {
		w.engineUp, w.engineError = err == nil, ""
		if err != nil {
			w.engineError = "the engine does not answer its health check"
			w.totals.EngineDown++
		}
	})
	if err == nil {
		w.log.Info("Engine is up")
		return
	}
	w.log.Warn("Engine is down", slog.Any("err", err))
	w.mu.Lock()
	conns := make([]*connection, 0, len(w.conns))
	for c := range w.conns {
		conns = append(conns, c)
	}
	w.mu.Unlock()
	// An engine that is only slow to answer for its health may be busy with what it streams: a stream that stops ends by its
	// own silence. What it has not begun another worker can do.
	slow := errors.Is(err, context.DeadlineExceeded)
	for _, c := range conns {
		c.cancelThose(errEngineDown, func(q *query) bool { return !slow || !q.headSent.Load() })
	}
}

// lookNow has the engine looked at before its time: a request has failed.
func (w *Worker) lookNow() {
	select {
	case w.poke <- struct{}{}:
	default:
	}
}

// slot keeps one connection to some proxy.
func (w *Worker) slot(ctx context.Context) error {
	plain := make(map[string]bool) // proxies that did not like the machine description
	for failures := 0; ctx.Err() == nil; {
		_, changed := w.announced()
		address, why := w.draw()
		if address == "" {
			w.log.Debug("No proxy to connect to", slog.String("err", why))
			w.await(ctx, changed)
			continue
		}
		c := &connection{w: w, address: address, plain: plain[address], queries: make(map[[32]byte]*query)}
		began := w.deps.Now()
		err := c.run(ctx)
		w.release(address)
		plain[address] = c.refused && !plain[address]
		if failures++; c.wasReady() && w.deps.Now().Sub(began) > w.cfg.Times.Steady {
			failures = 0
		}
		w.log.Info("Connection to proxy ended", slog.String("peer", address), slog.Any("err", err))
		w.pause(ctx, backoff(w.cfg.Times.Retry, failures))
	}
	return nil
}

// backoff doubles from first to lastRetry, with jitter of one half.
func backoff(first time.Duration, failures int) time.Duration {
	d := min(first<<min(max(failures-1, 0), 6), lastRetry)
	return d/2 + rand.N(d) //nolint:gosec // spreads reconnects, decides nothing
}

// await waits until it is time to look for a proxy again: something has changed, or a while has passed.
func (w *Worker) await(ctx context.Context, changed <-chan struct{}) {
	t := time.NewTimer(recheck)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-changed:
	case <-t.C:
	}
}

func (w *Worker) pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// draw takes a random proxy that no other slot has.
func (w *Worker) draw() (address, why string) {
	if err := w.eligible(); err != nil {
		return "", err.Error()
	}
	all := w.deps.Proxies()
	w.mu.Lock()
	defer w.mu.Unlock()
	free := slices.DeleteFunc(slices.Clone(all), func(a string) bool { return a == "" || w.taken[a] })
	if len(free) == 0 {
		return "", "no registered proxy is free"
	}
	address = free[rand.IntN(len(free))] //nolint:gosec // any will do
	w.taken[address] = true
	return address, ""
}

func (w *Worker) release(address string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.taken, address)
}

func (w *Worker) eligible() error {
	if w.deps.Eligible == nil {
		return nil
	}
	return w.deps.Eligible()
}
