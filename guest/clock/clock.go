// Package clock sets the guest's clock once at boot, within bounds (image.md section 15, stage 10).
//
// It owns one decision: whether a time server's answer may step the clock. A TD's time is the host's: the clock it
// starts with and the network it asks through are both untrusted, so time here is good enough for certificates'
// validity and never for security by itself. It trusts only the build: no time before the image's epoch is accepted.
// Sync is called once. It refuses steps beyond a bound and answers that fail NTP's own checks.
package clock

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const (
	// MaxStep is the largest step taken: a host whose clock is off by more is to be repaired, not followed.
	MaxStep = 24 * time.Hour
	// minStep is the error that is left alone.
	minStep = 100 * time.Millisecond
	// queryTimeout bounds one server's answer.
	queryTimeout = 3 * time.Second
)

// Epoch is the time of every file in the image (image.md section 2); a clock before it is wrong.
func Epoch() time.Time { return time.Unix(1735689600, 0).UTC() }

// ErrBeforeEpoch means that a clock shows a time before the image was made.
var ErrBeforeEpoch = errors.New("time is before the image's epoch")

// ErrStep means that a server asks for a step beyond the bound.
var ErrStep = errors.New("step is beyond the bound")

// Syncer sets the clock.
type Syncer struct {
	Now func() time.Time
	// Set steps the system clock.
	Set func(time.Time) error
	// Query returns how far the local clock is behind a server's, after NTP's checks.
	Query func(server string, timeout time.Duration) (time.Duration, error)
}

// Result says what was done.
type Result struct {
	// Server answered; empty when none is configured.
	Server string
	// Offset is how far the clock was behind; Stepped says that it was set.
	Offset  time.Duration
	Stepped bool
}

// Sync checks the clock against the epoch and, when servers are configured, steps it to the first good answer.
func (s Syncer) Sync(ctx context.Context, servers []string) (Result, error) {
	if len(servers) == 0 {
		return Result{}, s.checkEpoch(s.Now())
	}
	var errs []error
	for _, server := range servers {
		if err := ctx.Err(); err != nil {
			errs = append(errs, err)
			break
		}
		offset, err := s.Query(server, queryTimeout)
		if err != nil {
			errs = append(errs, fmt.Errorf("asking time server %s: %w", server, err))
			continue
		}
		return s.step(server, offset)
	}
	return Result{}, errors.Join(errs...)
}

func (s Syncer) step(server string, offset time.Duration) (Result, error) {
	res := Result{Server: server, Offset: offset}
	now := s.Now()
	// A machine without a clock starts in the past; from before the epoch any step that lands after it is allowed.
	if offset.Abs() > MaxStep && !now.Before(Epoch()) {
		return res, fmt.Errorf("setting the clock from %s: %w of %s: it asks for %s", server, ErrStep, MaxStep, offset)
	}
	target := now.Add(offset)
	if err := s.checkEpoch(target); err != nil {
		return res, err
	}
	if offset.Abs() < minStep {
		return res, nil
	}
	if err := s.Set(target); err != nil {
		return res, fmt.Errorf("setting the clock: %w", err)
	}
	res.Stepped = true
	return res, nil
}

func (s Syncer) checkEpoch(t time.Time) error {
	if t.Before(Epoch()) {
		return fmt.Errorf("%w: the clock shows %s, the image is from %s; give the VM a real-time clock or a time server",
			ErrBeforeEpoch, t.UTC().Format(time.RFC3339), Epoch().Format(time.RFC3339))
	}
	return nil
}
