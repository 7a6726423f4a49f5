package pcs

import (
	"context"
	"fmt"
	"sync"

	"cocoon/measure/dcap"
)

// maxFixed bounds the bundles of a Fixed; a machine meets a handful of platforms.
const maxFixed = 64

// Fixed is a Source of bundles that came some other way: from measured configuration, from a file, or with a peer. It
// is safe for concurrent use.
type Fixed struct {
	name string

	mu   sync.Mutex
	held map[dcap.Platform]*held
}

// NewFixed makes an empty source; the name stands in errors.
func NewFixed(name string) *Fixed { return &Fixed{name: name, held: map[dcap.Platform]*held{}} }

// String is the name.
func (f *Fixed) String() string { return f.name }

// Add takes a bundle that verifies under the roots at the time of its issue. Of two bundles for one platform the newer
// stays; that it may have expired meanwhile shows when it is used.
func (f *Fixed) Add(b *dcap.Bundle, roots *dcap.Roots) error {
	col, err := OpenAtIssue(b, roots)
	if err != nil {
		return fmt.Errorf("adding collateral to %s: %w", f.name, err)
	}
	k := keyOf(col.Platform())
	f.mu.Lock()
	defer f.mu.Unlock()
	old := f.held[k]
	switch {
	case old != nil && Newer(old.collateral, col) != nil:
		return nil
	case old == nil && len(f.held) >= maxFixed:
		return fmt.Errorf("adding collateral of %s to %s: it holds %d bundles already", k, f.name, maxFixed)
	}
	f.held[k] = &held{bundle: b, collateral: col}
	return nil
}

// Bundle gives the platform's bundle, or ErrNotFound.
func (f *Fixed) Bundle(_ context.Context, p dcap.Platform) (*dcap.Bundle, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if got := f.held[keyOf(p)]; got != nil {
		return got.bundle, nil
	}
	return nil, ErrNotFound
}
