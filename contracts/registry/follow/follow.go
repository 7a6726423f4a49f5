package follow

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"cocoon/contracts/chain"
	"cocoon/contracts/registry"
)

const (
	// GreenAge is up to which age of the newest block the chain is shown as well (inference.md section 19).
	GreenAge = 600 * time.Second
	// AmberAge is up to which it is shown as late; beyond, it is shown as lost, whether or not what is known still serves.
	AmberAge = 3600 * time.Second
	// retry is how soon a refresh is tried again that did not succeed.
	retry = 5 * time.Second
	// firstRefresh bounds what a start waits for the chain.
	firstRefresh = 20 * time.Second
	// saveEvery is how often an unchanged root is written to disk again, for its newer block.
	saveEvery = time.Minute
	// maxTerms bounds the terms of old versions that are remembered, for receipts that name them.
	maxTerms = 256
)

// Deps are what a Follower needs from its process.
type Deps struct {
	Now func() time.Time
	// Elapsed is the monotonic clock; nil is that of Now's readings.
	Elapsed func() time.Duration
	Log     *slog.Logger
	// Dial replaces the liteservers of the section's file; nil means them.
	Dial func(ctx context.Context) (Chain, error)
}

// Follower follows one root.
type Follower struct {
	section *Section
	deps    Deps
	to      *connector
	clock   chainClock
	watcher *registry.Watcher

	mu        sync.Mutex
	listeners []func(*registry.Snapshot)
	lastErr   error
	saved     time.Time
	terms     map[versions]registry.Terms
	order     []versions
}

// versions name terms.
type versions struct{ config, params int64 }

// New reads the configuration's files and what a process before this one knew. It connects to nobody.
func New(s *Section, d Deps) (*Follower, error) {
	if s == nil || s.Address == nil || d.Now == nil {
		return nil, errors.New("following a root: section with address and clock are needed")
	}
	if err := s.Validate(); err != nil {
		return nil, fmt.Errorf("following root %s: %w", s.Address, err)
	}
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	f := &Follower{section: s, deps: d, terms: make(map[versions]registry.Terms)}
	dial := d.Dial
	if dial == nil {
		var err error
		if dial, err = liteDialer(s, d.Now, d.Log); err != nil {
			return nil, fmt.Errorf("following root %s: %w", s.Address, err)
		}
	}
	f.to = &connector{section: s, dial: dial}
	f.clock.local, f.clock.elapsed, f.clock.slack = d.Now, d.Elapsed, s.MaxAge
	if began := d.Now(); d.Elapsed == nil {
		f.clock.elapsed = func() time.Duration { return d.Now().Sub(began) }
	}
	known, err := f.remembered()
	if err != nil {
		return nil, fmt.Errorf("following root %s: %w", s.Address, err)
	}
	f.watcher, err = registry.NewWatcher(registry.Config{
		Chain: f.to, Root: s.Address, Every: s.Every, MaxAge: s.MaxAge, Now: f.Now, Initial: known, Changed: f.changed, Log: d.Log,
	})
	if err != nil {
		return nil, err
	}
	f.remember(known)
	return f, nil
}

// remembered is the snapshot on disk, or nil. A file that cannot be used is no reason not to start: the chain knows better.
func (f *Follower) remembered() (*registry.Snapshot, error) {
	if f.section.Dir == "" {
		return nil, nil
	}
	if err := os.MkdirAll(f.section.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("root.state_dir: %w", err)
	}
	s, err := registry.Load(filepath.Join(f.section.Dir, snapshotFile), f.section.Address)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err == nil:
		err = errors.Join(s.CheckNetwork(f.section.Network), f.notFromTheFuture(s))
	}
	if err != nil {
		f.deps.Log.Warn("Saved root not used", slog.Any("err", err))
		return nil, nil
	}
	return s, nil
}

func (f *Follower) notFromTheFuture(s *registry.Snapshot) error {
	const skew = 30 * time.Second // contracts.md section 8
	if ahead := s.Block.Time.Sub(f.deps.Now()); ahead > skew {
		return fmt.Errorf("%w: the saved block %d is %s ahead", chain.ErrClock, s.Block.Seqno, ahead.Truncate(time.Second))
	}
	return nil
}

// Section is what is followed. The caller does not change it.
func (f *Follower) Section() *Section { return f.section }

// Watcher is the source of snapshots, for those who follow lists of images.
func (f *Follower) Watcher() *registry.Watcher { return f.watcher }

// OnChange has a function told of every change of the root, from the goroutine that refreshes. What was known before is
// not told.
func (f *Follower) OnChange(do func(now *registry.Snapshot)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.listeners = append(f.listeners, do)
}

func (f *Follower) changed(before, now *registry.Snapshot) {
	f.remember(now)
	log := []any{slog.String("contract", now.Root.String()), slog.Uint64("version", uint64(now.Version)), slog.Uint64("seqno", uint64(now.Block.Seqno))}
	if before == nil {
		f.deps.Log.Info("Root read", log...)
	} else {
		f.deps.Log.Info("Root changed", log...)
	}
	f.mu.Lock()
	listeners := slices.Clone(f.listeners)
	f.saved = time.Time{} // what has changed is saved at once
	f.mu.Unlock()
	for _, do := range listeners {
		do(now)
	}
}

// remember keeps the terms of a version.
func (f *Follower) remember(s *registry.Snapshot) {
	if s == nil {
		return
	}
	t, err := s.Terms()
	if err != nil {
		return // whoever asks for the terms of now is told
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	v := versions{int64(t.ConfigVersion), int64(t.ParamsVersion)}
	if _, known := f.terms[v]; !known {
		if f.order = append(f.order, v); len(f.order) > maxTerms {
			delete(f.terms, f.order[0])
			f.order = f.order[1:]
		}
	}
	f.terms[v] = t
}

// TermsAt are those of a version of the root that this process has seen; what was never seen is unknown.
func (f *Follower) TermsAt(config, params int64) (registry.Terms, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	t, ok := f.terms[versions{config, params}]
	return t, ok
}

// Refresh reads the root once.
func (f *Follower) Refresh(ctx context.Context) error {
	err := f.watcher.Refresh(ctx)
	f.mu.Lock()
	again := f.lastErr != nil && err == nil
	f.lastErr = err
	f.mu.Unlock()
	switch {
	case err != nil:
		return err
	case again:
		f.deps.Log.Info("Root can be read again", slog.String("contract", f.section.Address.String()))
	}
	s, err := f.watcher.Snapshot()
	if err != nil {
		return err
	}
	f.clock.saw(s.Block.Time)
	f.save(s)
	return nil
}

// save writes the newest snapshot to disk: when the root has changed, and now and then for its age.
func (f *Follower) save(s *registry.Snapshot) {
	now := f.deps.Now()
	f.mu.Lock()
	due := f.section.Dir != "" && now.Sub(f.saved) >= min(saveEvery, f.section.MaxAge/2)
	if due {
		f.saved = now
	}
	f.mu.Unlock()
	if !due {
		return
	}
	if err := s.Save(filepath.Join(f.section.Dir, snapshotFile)); err != nil {
		f.deps.Log.Warn("Root not saved", slog.Any("err", err))
	}
}

// Start reads the root for the first time. A chain that cannot be read now is no error, because Run goes on trying: it is
// logged, and Snapshot says it.
func (f *Follower) Start(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, firstRefresh)
	defer cancel()
	if err := f.Refresh(ctx); err != nil {
		f.deps.Log.Warn("Root could not be read", slog.String("contract", f.section.Address.String()), slog.Any("err", err))
	}
}

// Run refreshes until ctx ends, and closes the connection then.
func (f *Follower) Run(ctx context.Context) error {
	defer f.to.close()
	wait := f.section.Every
	if f.failed() != nil {
		wait = min(wait, retry)
	}
	for {
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
		wait = f.section.Every
		was := f.failed()
		if err := f.Refresh(ctx); err != nil && ctx.Err() == nil {
			if wait = min(wait, retry); was == nil {
				f.deps.Log.Warn("Root could not be read", slog.String("contract", f.section.Address.String()), slog.Any("err", err))
			}
		}
	}
}

// Close ends the connection of a Follower that is not run.
func (f *Follower) Close() { f.to.close() }

func (f *Follower) failed() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.lastErr
}

// Snapshot is the newest one that is young enough to decide by. The error says what is wrong, and with the chain why.
func (f *Follower) Snapshot() (*registry.Snapshot, error) {
	s, err := f.watcher.Snapshot()
	if err == nil {
		return s, nil
	}
	if why := f.failed(); why != nil && errors.Is(err, registry.ErrNoSnapshot) {
		return nil, fmt.Errorf("%w: %w", err, why)
	}
	return nil, err
}
