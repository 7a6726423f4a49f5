package registry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/xssnick/tonutils-go/address"

	"cocoon/contracts/bind"
	"cocoon/contracts/chain"
)

// Bounds of Config.Every. The reference refreshes every 30 to 60 s (contracts.md section 5).
const (
	DefaultEvery = 30 * time.Second
	maxEvery     = 10 * time.Minute
	// maxRefresh ends one refresh, so that a silent server does not stop the next.
	maxRefresh = 20 * time.Second
)

// ErrNoSnapshot is what a Watcher says before its first successful refresh.
var ErrNoSnapshot = errors.New("the root has not been read yet")

// Config of a Watcher.
type Config struct {
	Chain Reader
	Root  *address.Address
	// Every is the time between refreshes, DefaultEvery when zero.
	Every time.Duration
	// MaxAge is how old a block may be that answers rest on; the constant MaxAge when zero.
	MaxAge time.Duration
	// Now is the clock.
	Now func() time.Time
	// Initial is what a process before this one knew; nil is nothing. It serves until a refresh succeeds or it is too old.
	Initial *Snapshot
	// Changed is told of every change, from the goroutine that refreshes; the first time before is nil. It may be nil.
	Changed func(before, after *Snapshot)
	// Log receives refreshes that do not succeed; nil discards it.
	Log *slog.Logger
}

// Watcher keeps a snapshot of one root.
type Watcher struct {
	c       Config
	current atomic.Pointer[Snapshot]
	turn    chan struct{} // holds one token: the right to refresh
}

// NewWatcher makes a watcher without a snapshot: call Refresh or Run.
func NewWatcher(c Config) (*Watcher, error) {
	if c.Every == 0 {
		c.Every = DefaultEvery
	}
	if c.MaxAge == 0 {
		c.MaxAge = MaxAge
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	switch {
	case c.Chain == nil || c.Root == nil || c.Now == nil:
		return nil, errors.New("watching a root: chain, root and clock are needed")
	case c.Every < 0 || c.Every > maxEvery:
		return nil, fmt.Errorf("watching a root: a refresh every %s, at most %s", c.Every, maxEvery)
	}
	w := &Watcher{c: c, turn: make(chan struct{}, 1)}
	w.turn <- struct{}{}
	if c.Initial != nil {
		w.current.Store(c.Initial)
	}
	return w, nil
}

// Run refreshes until the context ends, and returns why it ended. A refresh that does not succeed is logged and tried
// again; the old snapshot serves until it is too old.
func (w *Watcher) Run(ctx context.Context) error {
	tick := time.NewTicker(w.c.Every)
	defer tick.Stop()
	for {
		if err := w.Refresh(ctx); err != nil && ctx.Err() == nil {
			w.c.Log.Warn("Root could not be read", slog.String("contract", w.c.Root.String()), slog.Any("err", err))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// Refresh reads the root once. It never goes back to an older block, and keeps what it has when the new is no good.
func (w *Watcher) Refresh(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, maxRefresh)
	defer cancel()
	select {
	case <-w.turn:
	case <-ctx.Done():
		return fmt.Errorf("refreshing root %s: %w", w.c.Root, ctx.Err())
	}
	defer func() { w.turn <- struct{}{} }()
	next, err := Read(ctx, w.c.Chain, w.c.Root)
	if err != nil {
		return err
	}
	if err := next.CheckAge(w.c.Now(), w.c.MaxAge); err != nil {
		return fmt.Errorf("refreshing root %s: %w", w.c.Root, err)
	}
	before := w.current.Load()
	if before != nil && next.Block.Seqno < before.Block.Seqno {
		return fmt.Errorf("refreshing root %s: %w: block %d after block %d", w.c.Root, chain.ErrOldHead, next.Block.Seqno, before.Block.Seqno)
	}
	w.current.Store(next)
	if w.c.Changed != nil && !next.Equal(before) {
		w.c.Changed(before, next)
	}
	return nil
}

// Newest is the newest snapshot of whatever age, to show and not to decide by; nil before the first.
func (w *Watcher) Newest() *Snapshot { return w.current.Load() }

// Snapshot is the newest snapshot that is young enough to decide by.
func (w *Watcher) Snapshot() (*Snapshot, error) {
	s := w.current.Load()
	if s == nil {
		return nil, fmt.Errorf("root %s: %w", w.c.Root, ErrNoSnapshot)
	}
	if err := s.CheckAge(w.c.Now(), w.c.MaxAge); err != nil {
		return nil, fmt.Errorf("root %s: %w", w.c.Root, err)
	}
	return s, nil
}

// Allowed is a list's hashes and the block time at which they were allowed. The caller does not change them.
func (w *Watcher) Allowed(l List) ([]bind.Hash, time.Time, error) {
	s, err := w.Snapshot()
	if err != nil {
		return nil, time.Time{}, err
	}
	return s.Hashes(l), s.Block.Time, nil
}
