package pcs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"cocoon/measure/dcap"
)

// Bounds of what strangers can make a cache hold and do. Intel lists about 50 FMSPCs.
const (
	// maxPlatforms bounds the entries, those of platforms that no source knows included.
	maxPlatforms = 256
	// maxFlights bounds how many platforms are asked for at a time.
	maxFlights = 4
	// strangers and strangersBurst bound how often sources are asked about platforms of which nothing is held. Who asks
	// for a quote's platform should have checked the quote's signatures if Holds says no: Intel knows some dozens of
	// platforms, a forger any number.
	strangers      = rate.Limit(0.5) // per second
	strangersBurst = 32
)

// Source gives the collateral of a platform; what it gives is not trusted. String names it in errors.
type Source interface {
	Bundle(ctx context.Context, p dcap.Platform) (*dcap.Bundle, error)
	String() string
}

// Store keeps bundles beyond the life of a process. Load and Save verify what they touch; a Store that has nothing says
// fs.ErrNotExist, and one that keeps something newer refuses Save with ErrRollback.
type Store interface {
	Load(p dcap.Platform) (*dcap.Bundle, error)
	Save(p dcap.Platform, b *dcap.Bundle, now time.Time) error
}

// Config is what a cache needs. Now is required; Roots decides whose collateral counts.
type Config struct {
	Roots *dcap.Roots
	// Sources are asked in order until one gives valid collateral that is newer than what is held.
	Sources []Source
	// Store is asked before all sources, each time, and gets everything that proved valid; nil keeps collateral in memory
	// only.
	Store Store
	Now   func() time.Time
	// Log gets one line per source that failed and per renewal; nil is silent.
	Log *slog.Logger
	// Changed is called after collateral of a platform was replaced, so that verdicts can be given anew. It must not
	// block. Nil is fine.
	Changed func(dcap.Platform, *dcap.Collateral)
}

// Validate says what is missing.
func (c Config) Validate() error {
	switch {
	case c.Roots == nil:
		return errors.New("collateral cache: no trusted roots given")
	case c.Now == nil:
		return errors.New("collateral cache: no clock given")
	}
	return nil
}

// Cache holds opened collateral and renews it. It is safe for concurrent use.
type Cache struct {
	cfg      Config
	unknown  *rate.Limiter
	slots    chan struct{}
	lifetime context.Context //nolint:containedctx // ends the flights when Close is called
	cancel   context.CancelFunc
	flights  sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	entries map[dcap.Platform]*entry
}

// NewCache checks the configuration. Nothing is asked for yet; Close must be called.
func NewCache(cfg Config) (*Cache, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	ctx, cancel := context.WithCancel(context.Background())
	return &Cache{
		cfg: cfg, unknown: rate.NewLimiter(strangers, strangersBurst), slots: make(chan struct{}, maxFlights),
		lifetime: ctx, cancel: cancel, entries: map[dcap.Platform]*entry{},
	}, nil
}

// Close stops what is under way and waits for it.
func (c *Cache) Close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.cancel()
	c.flights.Wait()
}

// Collateral returns valid collateral of the platform. It waits for the sources only if none is held; renewal goes on
// behind it. The error is a *RefusalError, or says that ctx ended while others still wait.
func (c *Cache) Collateral(ctx context.Context, p dcap.Platform) (*dcap.Collateral, error) {
	held, err := c.obtain(ctx, p)
	if err != nil {
		return nil, err
	}
	return held.collateral, nil
}

// Holds says whether valid collateral of the platform is held, so that Collateral answers without asking a source.
func (c *Cache) Holds(p dcap.Platform) bool {
	now := c.cfg.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.entries[keyOf(p)]
	return e != nil && e.held.validAt(now)
}

// Bundle returns the signed originals of what Collateral returns. The caller must not change them.
func (c *Cache) Bundle(ctx context.Context, p dcap.Platform) (*dcap.Bundle, error) {
	held, err := c.obtain(ctx, p)
	if err != nil {
		return nil, err
	}
	return held.bundle, nil
}

func (c *Cache) obtain(ctx context.Context, p dcap.Platform) (*held, error) {
	f, h, err := c.begin(p) //nolint:contextcheck // a flight outlives the caller that caused it
	if h != nil || err != nil {
		return h, err
	}
	select {
	case <-f.done:
		return f.held, f.err
	case <-ctx.Done():
		return nil, fmt.Errorf("waiting for collateral of %s: %w", p, context.Cause(ctx))
	}
}

// begin gives what is held, or the flight that will bring it. A flight for renewal is started on the way.
func (c *Cache) begin(p dcap.Platform) (*flight, *held, error) {
	now := c.cfg.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, nil, fmt.Errorf("getting collateral of %s: the cache is closed", p)
	}
	e, err := c.entry(p, now)
	if err != nil {
		return nil, nil, err
	}
	e.used = now
	if e.held.validAt(now) {
		if e.dueAt(now) {
			c.launch(e)
		}
		return nil, e.held, nil
	}
	if e.flight == nil {
		if now.Before(e.notBefore) {
			return nil, nil, e.refusal()
		}
		c.launch(e)
	}
	return e.flight, nil, nil
}

// entry finds or makes a platform's entry; the least recently used one makes room, those with nothing in them first.
func (c *Cache) entry(p dcap.Platform, now time.Time) (*entry, error) {
	k := keyOf(p)
	if e := c.entries[k]; e != nil {
		return e, nil
	}
	if !c.unknown.AllowN(now, 1) {
		return nil, fmt.Errorf("getting collateral of %s: %w", p, ErrBusy)
	}
	if len(c.entries) >= maxPlatforms && !c.evict() {
		return nil, fmt.Errorf("getting collateral of %s: %w", p, ErrBusy)
	}
	e := newEntry(p)
	c.entries[k] = e
	return e, nil
}

func (c *Cache) evict() bool {
	var victim *entry
	for _, e := range c.entries {
		if e.flight == nil && (victim == nil || e.cheaper(victim)) {
			victim = e
		}
	}
	if victim == nil {
		return false
	}
	delete(c.entries, keyOf(victim.platform))
	return true
}

// Status is the state of one platform's collateral, for metrics and people.
type Status struct {
	Platform dcap.Platform
	// Held and Bundle are nil when nothing is held; it may have expired. Neither may be changed.
	Held   *dcap.Collateral
	Bundle *dcap.Bundle
	// Renew is when renewal is tried next.
	Renew time.Time
	// Err is what the last attempt failed with; nil after a success.
	Err error
}

// Status lists what is known, sorted by platform.
func (c *Cache) Status() []Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make([]Status, 0, len(c.entries))
	for _, e := range c.entries {
		s := Status{Platform: e.platform, Renew: e.due()}
		if e.held != nil {
			s.Held, s.Bundle = e.held.collateral, e.held.bundle
		}
		if len(e.causes) > 0 {
			s.Err = errors.Join(e.causes...)
		}
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b Status) int { return strings.Compare(a.Platform.String(), b.Platform.String()) })
	return out
}
