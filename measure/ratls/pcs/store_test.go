package pcs

import (
	"errors"
	"io/fs"
	"strings"
	"sync"
	"testing"
	"time"

	"cocoon/measure/dcap"
	"cocoon/measure/measuretest"
)

// shelf is a Store in memory.
type shelf struct {
	mu     sync.Mutex
	bundle *dcap.Bundle
	load   error
	save   error
	saved  int
}

func (s *shelf) Load(dcap.Platform) (*dcap.Bundle, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.load != nil {
		return nil, s.load
	}
	if s.bundle == nil {
		return nil, fs.ErrNotExist
	}
	return s.bundle, nil
}

func (s *shelf) Save(_ dcap.Platform, b *dcap.Bundle, _ time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.save != nil {
		return s.save
	}
	s.bundle, s.saved = b, s.saved+1
	return nil
}

func TestTheStoreIsAskedBeforeTheSources(t *testing.T) {
	w := newWorld(t)
	src := &answers{name: "pccs", bundle: w.issued(0)}
	kept := &shelf{bundle: w.issued(-day)}
	c := w.cache(Config{Sources: []Source{src}, Store: kept})
	if _, err := c.Collateral(t.Context(), w.name()); err != nil || src.asked.Load() != 0 {
		t.Errorf("asked %d times, %v", src.asked.Load(), err)
	}
	w.at(20 * day)
	src.set(w.issued(20*day), nil)
	if _, err := c.Collateral(t.Context(), w.name()); err != nil {
		t.Error(err)
	}
	settle(c)
	if kept.saved != 1 || kept.bundle != src.bundle {
		t.Errorf("renewed collateral was stored %d times", kept.saved)
	}
}

func TestStoreTroubleIsNoReasonToRefuse(t *testing.T) {
	for name, kept := range map[string]*shelf{
		"cannot be read":    {load: errors.New("damaged")},
		"cannot be written": {save: errors.New("disk full")},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			c := w.cache(Config{Sources: []Source{&answers{name: "pccs", bundle: w.issued(0)}}, Store: kept})
			if _, err := c.Collateral(t.Context(), w.name()); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestExpiredStoredCollateralIsTheFloor(t *testing.T) {
	w := newWorld(t)
	kept := &shelf{bundle: w.issued(0)}
	src := &answers{name: "replay"}
	src.set(w.issued(-2*time.Hour), nil) // still valid for the last minutes of the window below
	c := w.cache(Config{Sources: []Source{src}, Store: kept})
	w.at(31 * day)
	_, err := c.Collateral(t.Context(), w.name())
	if !isRefusal(err) || dcap.ClassOf(err) != dcap.ClassCollateralExpired || !strings.Contains(err.Error(), "tcb_info expired at") {
		t.Errorf("got %v, want a refusal that names what the store had", err)
	}
	lower := measuretest.CollateralSpec{Now: start().Add(31 * day)}
	renumber(measuretest.EvaluationNumber - 1)(&lower)
	src.set(w.bundle(lower), nil)
	w.at(32 * day)
	if _, err := c.Collateral(t.Context(), w.name()); !errors.Is(err, ErrRollback) {
		t.Errorf("got %v, want a rollback although the stored collateral has expired", err)
	}
}

func TestAStoreThatHasNewerRefusesWhatASourceGives(t *testing.T) {
	w := newWorld(t)
	c := w.cache(Config{Sources: []Source{&answers{name: "pccs", bundle: w.issued(0)}}, Store: &shelf{save: ErrRollback}})
	if _, err := c.Collateral(t.Context(), w.name()); !errors.Is(err, ErrRollback) {
		t.Errorf("got %v, want the store's refusal", err)
	}
}

func TestNewerCollateralThatAnotherProcessStoredIsPickedUp(t *testing.T) {
	w := newWorld(t)
	src := &answers{name: "pccs", bundle: w.issued(0)}
	kept := &shelf{}
	c := w.cache(Config{Sources: []Source{src}, Store: kept})
	p := w.name()
	if _, err := c.Collateral(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	src.set(nil, errors.New("down"))
	w.at(40 * day)
	if _, err := c.Collateral(t.Context(), p); !isRefusal(err) {
		t.Fatalf("got %v, want a refusal", err)
	}
	if err := kept.Save(p, w.issued(40*day), start()); err != nil { // an operator fetches elsewhere and stores
		t.Fatal(err)
	}
	w.at(41 * day)
	if _, err := c.Collateral(t.Context(), p); err != nil {
		t.Errorf("the stored one is not used: %v", err)
	}
}

func TestPlatformsThatAreBeingAskedForAreNotForgotten(t *testing.T) {
	w := newWorld(t)
	src := &answers{name: "slow", gate: make(chan struct{})}
	c := w.cache(Config{Sources: []Source{src}})
	for n := range maxPlatforms {
		w.at(time.Duration(n) * 3 * time.Second) // slowly, so that the limit on strangers lets them through
		if _, _, err := c.begin(unknown(n)); err != nil {
			t.Fatal(err)
		}
	}
	w.at(maxPlatforms * 3 * time.Second)
	if _, _, err := c.begin(unknown(maxPlatforms)); !errors.Is(err, ErrBusy) {
		t.Errorf("got %v, want ErrBusy: all places are taken by requests under way", err)
	}
	if n := len(c.entries); n != maxPlatforms {
		t.Errorf("%d entries, want %d", n, maxPlatforms)
	}
}
