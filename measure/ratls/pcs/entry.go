package pcs

import (
	"errors"
	"slices"
	"time"

	"github.com/cenkalti/backoff/v5"

	"cocoon/measure/dcap"
)

// When sources are asked again (attestation.md section 11.1: retry with jitter, 1 min to 1 h).
const (
	renewFirst = time.Minute
	renewMost  = time.Hour
	// missingFirst and missingMost hold while nothing valid is held: each such moment refuses peers, so it is shorter.
	missingFirst = 5 * time.Second
	missingMost  = time.Minute
	// absentPause is for a platform that every source says it does not know.
	absentPause = 10 * time.Minute
)

// entry is what the cache knows about one platform. The cache's lock guards it.
type entry struct {
	platform dcap.Platform
	held     *held // nil until something proved valid; stays when it expires, as the floor against older ones
	flight   *flight
	// notBefore is when sources may be asked again; causes is what they said last.
	notBefore time.Time
	causes    []error
	pause     *backoff.ExponentialBackOff
	used      time.Time
}

func newEntry(p dcap.Platform) *entry { return &entry{platform: p} }

// dueAt says whether renewal should begin: half of the life is over and the last failure is long enough ago.
func (e *entry) dueAt(now time.Time) bool { return e.flight == nil && !now.Before(e.due()) }

func (e *entry) due() time.Time {
	if e.held == nil {
		return e.notBefore
	}
	if e.held.half.Before(e.notBefore) {
		return e.notBefore
	}
	return e.held.half
}

// cheaper says which of two entries is the smaller loss: one without collateral, then the longer unused one.
func (e *entry) cheaper(than *entry) bool {
	if (e.held == nil) != (than.held == nil) {
		return e.held == nil
	}
	return e.used.Before(than.used)
}

// succeed takes over what a flight brought; failures are forgotten.
func (e *entry) succeed(h *held) {
	e.held, e.causes, e.pause, e.notBefore = h, nil, nil, time.Time{}
}

// fail remembers what the sources said and when to ask again.
func (e *entry) fail(now time.Time, causes []error) {
	first, most := missingFirst, missingMost
	if e.held.validAt(now) {
		first, most = renewFirst, renewMost
	}
	if e.pause == nil || e.pause.InitialInterval != first {
		e.pause = &backoff.ExponentialBackOff{
			InitialInterval: first, MaxInterval: most, Multiplier: backoff.DefaultMultiplier,
			RandomizationFactor: backoff.DefaultRandomizationFactor,
		}
		e.pause.Reset()
	}
	e.causes = causes
	e.notBefore = now.Add(e.pause.NextBackOff())
	if e.held == nil && absent(causes) {
		e.notBefore = now.Add(absentPause)
	}
}

// absent says that every source answered, and none knows the platform.
func absent(causes []error) bool {
	return len(causes) > 0 && !slices.ContainsFunc(causes, func(err error) bool { return !errors.Is(err, ErrNotFound) })
}

func (e *entry) refusal() *RefusalError {
	r := &RefusalError{Platform: e.platform, NextTry: e.notBefore, Causes: e.causes}
	if e.held != nil {
		r.Object, r.Expired = firstToExpire(e.held.collateral)
	}
	return r
}
