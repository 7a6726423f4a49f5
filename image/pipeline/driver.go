package pipeline

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// EventKind is what happened to a step.
type EventKind string

// The kinds of events.
const (
	StepStarted  EventKind = "start"
	StepProgress EventKind = "progress"
	StepDone     EventKind = "done"
	StepFailed   EventKind = "fail"
	StepNote     EventKind = "note"
)

// Event is one thing that happened during a run.
type Event struct {
	Kind   EventKind
	Step   string
	Detail string
	// Index counts finished steps from 1, Total is the number of steps of the run.
	Index, Total int
	Cached       bool
	Duration     time.Duration
	// Done and Size are bytes, for steps that move many of them.
	Done, Size int64
}

// Reporter receives events; it is called from several goroutines.
type Reporter func(Event)

// driver runs a table of steps: each as soon as what it needs is there, at most workers at a time.
type driver struct {
	cache   *cache
	noCache bool
	workers int
	report  Reporter
	now     func() time.Time

	mu       sync.Mutex
	finished int
	total    int
	results  map[string]*Result
}

// run runs every step and returns their results by name. The first error stops the steps that have not begun and
// cancels those that run.
func (d *driver) run(ctx context.Context, steps []step) (map[string]*Result, error) {
	if err := checkTable(steps); err != nil {
		return nil, err
	}
	d.total, d.results = len(steps), make(map[string]*Result, len(steps))
	done := make(map[string]chan struct{}, len(steps))
	for i := range steps {
		done[steps[i].Name] = make(chan struct{})
	}
	slots := make(chan struct{}, max(1, d.workers))
	group, ctx := errgroup.WithContext(ctx)
	for i := range steps {
		s := &steps[i]
		group.Go(func() error {
			for _, name := range s.Needs {
				select {
				case <-done[name]:
				case <-ctx.Done():
					return ctx.Err()
				}
			}
			select {
			case slots <- struct{}{}:
				defer func() { <-slots }()
			case <-ctx.Done():
				return ctx.Err()
			}
			if err := d.one(ctx, s); err != nil {
				return err
			}
			close(done[s.Name])
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return d.results, nil
}

// one runs or looks up one step and reports it.
func (d *driver) one(ctx context.Context, s *step) error {
	start := d.now()
	d.report(Event{Kind: StepStarted, Step: s.Name, Total: d.total})
	r, cached, err := d.result(ctx, s)
	if err != nil {
		d.report(Event{Kind: StepFailed, Step: s.Name, Detail: firstLine(err), Duration: d.now().Sub(start)})
		return fmt.Errorf("step %q: %w", s.Name, err)
	}
	d.mu.Lock()
	d.results[s.Name] = r
	d.finished++
	index := d.finished
	d.mu.Unlock()
	d.report(Event{
		Kind: StepDone, Step: s.Name, Detail: r.Detail, Index: index, Total: d.total,
		Cached: cached, Duration: d.now().Sub(start),
	})
	return nil
}

func (d *driver) result(ctx context.Context, s *step) (r *Result, cached bool, err error) {
	d.mu.Lock()
	needs := maps.Clone(d.results)
	d.mu.Unlock()
	maps.DeleteFunc(needs, func(name string, _ *Result) bool { return !slices.Contains(s.Needs, name) })
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(s.Deadline, defaultDeadline))
	defer cancel()
	w := &work{needs: needs, progress: func(done, size int64) {
		d.report(Event{Kind: StepProgress, Step: s.Name, Done: done, Size: size})
	}}
	if s.Uncached {
		r, err = runUncached(ctx, s, w)
		return r, false, err
	}
	key, err := s.key(needs)
	if err != nil {
		return nil, false, err
	}
	before := d.cache.load(key)
	if before != nil && !d.noCache {
		return before, true, nil
	}
	r, err = d.build(ctx, s, key, w)
	if err == nil && before != nil {
		d.compare(s, before, r)
	}
	return r, false, err
}

// build runs a step in a fresh folder and keeps the folder when it succeeded.
func (d *driver) build(ctx context.Context, s *step, key string, w *work) (r *Result, err error) {
	folder, err := d.cache.draft(key)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, folder.discard()) }()
	w.Dir = folder.dir
	if err := s.Run(ctx, w); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return d.cache.commit(folder, s, key, w)
}

// compare says when a step that ran again gave other bytes for the same key: the cheapest determinism test there is.
func (d *driver) compare(s *step, before, after *Result) {
	a, errA := before.digest()
	b, errB := after.digest()
	if errA == nil && errB == nil && a != b {
		d.report(Event{Kind: StepNote, Step: s.Name, Detail: "gave other bytes than the cached run of the same inputs: " +
			"the step changed without a new version, or it is not deterministic"})
	}
}
