package pcs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"runtime/debug"
	"time"

	"cocoon/measure/dcap"
)

// flight is one round of asking, shared by everyone who waits for the same platform. held and err are set before done
// is closed and never change afterwards.
type flight struct {
	done chan struct{}
	held *held
	err  error
}

// launch starts a flight for the entry. The cache's lock is held. The flight does not belong to the caller that caused
// it: others join it, and it ends by its own deadline.
func (c *Cache) launch(e *entry) {
	f := &flight{done: make(chan struct{})}
	e.flight = f
	job := round{platform: e.platform, floor: e.held}
	c.flights.Go(func() {
		ctx, cancel := context.WithTimeout(c.lifetime, time.Duration(len(c.cfg.Sources)+1)*fetchTimeout)
		defer cancel()
		got, causes := c.askGuarded(ctx, &job)
		c.land(e, f, &job, got, causes)
	})
}

// round is what one flight works on. floor is the collateral that nothing older may replace; it need not be valid.
type round struct {
	platform dcap.Platform
	floor    *held
}

// land publishes the outcome.
func (c *Cache) land(e *entry, f *flight, job *round, got *held, causes []error) {
	now := c.cfg.Now()
	c.mu.Lock()
	e.flight = nil
	changed := got != nil && (e.held == nil || got.collateral.Generation() != e.held.collateral.Generation())
	if got != nil {
		e.succeed(got)
	} else {
		if e.held == nil {
			e.held = job.floor // expired, from the store: it names what ran out and stays the floor
		}
		e.fail(now, causes)
	}
	if e.held.validAt(now) {
		f.held = e.held
	} else {
		f.err = e.refusal()
	}
	c.mu.Unlock()
	if changed && c.cfg.Changed != nil {
		c.cfg.Changed(e.platform, got.collateral)
	}
	close(f.done)
}

// askGuarded turns a panic into a cause: what sources send is hostile, and other peers must not suffer from it.
func (c *Cache) askGuarded(ctx context.Context, job *round) (got *held, causes []error) {
	defer func() {
		if p := recover(); p != nil {
			c.cfg.Log.Error("Asking for collateral panicked", slog.String("platform", job.platform.String()),
				slog.String("stack", string(debug.Stack())))
			got, causes = nil, []error{fmt.Errorf("asking for collateral: panic: %v", p)}
		}
	}()
	return c.ask(ctx, job)
}

// ask goes through the store and the sources.
func (c *Cache) ask(ctx context.Context, job *round) (*held, []error) {
	if c.cfg.Store != nil {
		if h := c.fromStore(job); h != nil {
			return h, nil
		}
	}
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	case <-ctx.Done():
		return nil, []error{fmt.Errorf("waiting for a free place among %d requests: %w", maxFlights, context.Cause(ctx))}
	}
	var causes []error
	for _, s := range c.cfg.Sources {
		h, err := c.fromSource(ctx, s, job)
		if err == nil {
			return h, nil
		}
		level := slog.LevelWarn
		if errors.Is(err, ErrUnchanged) {
			level = slog.LevelInfo
		}
		c.cfg.Log.LogAttrs(ctx, level, "Source gave no newer collateral", slog.String("source", s.String()),
			slog.String("platform", job.platform.String()), slog.Any("err", err))
		causes = append(causes, fmt.Errorf("%s: %w", s, err))
	}
	return nil, causes
}

// fromStore gives valid stored collateral that is newer than the floor, which another process may have put there.
// Without a floor, expired collateral becomes it.
func (c *Cache) fromStore(job *round) *held {
	b, err := c.cfg.Store.Load(job.platform)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			c.cfg.Log.Warn("Stored collateral is unusable", slog.String("platform", job.platform.String()), slog.Any("err", err))
		}
		return nil
	}
	h, err := open(c.cfg.Roots, job.platform, b, c.cfg.Now())
	if err == nil && (job.floor == nil || Newer(job.floor.collateral, h.collateral) == nil) {
		return h
	}
	if job.floor == nil {
		if old, err := openAtIssue(c.cfg.Roots, job.platform, b); err == nil {
			job.floor = old
		}
	}
	return nil
}

// fromSource gives collateral that is valid, of this platform and newer than the floor.
func (c *Cache) fromSource(ctx context.Context, s Source, job *round) (*held, error) {
	b, err := s.Bundle(ctx, job.platform)
	if err != nil {
		return nil, err
	}
	now := c.cfg.Now()
	h, err := open(c.cfg.Roots, job.platform, b, now)
	if err != nil {
		return nil, err
	}
	if job.floor != nil {
		if err := Newer(job.floor.collateral, h.collateral); err != nil {
			return nil, err
		}
	}
	if c.cfg.Store != nil {
		if err := c.cfg.Store.Save(job.platform, b, now); errors.Is(err, ErrRollback) {
			return nil, err
		} else if err != nil { // the disk's trouble is no reason to refuse peers
			c.cfg.Log.Warn("Storing collateral did not work", slog.String("platform", job.platform.String()), slog.Any("err", err))
		}
	}
	c.cfg.Log.Info("Collateral renewed", slog.String("source", s.String()), slog.String("platform", job.platform.String()),
		slog.Time("expires", h.collateral.Expires()))
	return h, nil
}
