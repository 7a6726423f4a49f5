package pcs

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cocoon/measure/dcap"
	"cocoon/measure/measuretest"
	"cocoon/measure/tdx"
)

func TestRefusalsSayWhatHappenedAndWhatToDo(t *testing.T) {
	p := dcap.Platform{TEE: tdx.TDX, CA: dcap.PlatformCA, FMSPC: dcap.FMSPC{0x90, 0xc0, 0x6f}}
	expired, next := start(), start().Add(time.Minute)
	down, stale := fmt.Errorf("http://pccs: %w", errors.New("connection refused")), fmt.Errorf("bundle.json: %w", ErrUnchanged)
	for name, tc := range map[string]struct {
		refusal RefusalError
		text    string
		class   dcap.Class
		is      error
	}{
		"expired": {
			RefusalError{p, "pck_crl", expired, next, []error{down, stale}},
			"collateral tdx-90C06F000000-platform: pck_crl expired at 2026-03-01T12:00:00Z and no source gave a valid one " +
				"(http://pccs: connection refused; bundle.json: same as the collateral held): make a source reachable or give " +
				"a newer bundle; next try after 2026-03-01T12:01:00Z",
			dcap.ClassCollateralExpired, ErrUnchanged,
		},
		"nothing held": {
			RefusalError{p, "", time.Time{}, next, []error{ErrNotFound}},
			"collateral tdx-90C06F000000-platform: none is held and no source gave a valid one (not found): make a source " +
				"reachable or give a newer bundle; next try after 2026-03-01T12:01:00Z",
			ClassUnavailable, ErrNotFound,
		},
		"no source": {
			RefusalError{Platform: p, Object: "tcb_info", Expired: expired},
			"collateral tdx-90C06F000000-platform: tcb_info expired at 2026-03-01T12:00:00Z and no source is configured: name a " +
				"PCCS, or give a bundle that was fetched elsewhere",
			dcap.ClassCollateralExpired, nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			err := fmt.Errorf("verifying quote: %w", &tc.refusal)
			if diff := cmp.Diff(tc.text, tc.refusal.Error()); diff != "" {
				t.Errorf("text differs (-want +got):\n%s", diff)
			}
			if dcap.ClassOf(err) != tc.class {
				t.Errorf("class %q, want %q", dcap.ClassOf(err), tc.class)
			}
			if tc.is != nil && !errors.Is(err, tc.is) {
				t.Errorf("%v does not lead to %v", err, tc.is)
			}
		})
	}
}

func TestNewerComparesEveryPart(t *testing.T) {
	w := newWorld(t)
	open := func(s measuretest.CollateralSpec, edit ...func(*dcap.Bundle)) *dcap.Collateral {
		b := w.bundle(s)
		for _, e := range edit {
			e(b)
		}
		col, err := OpenAtIssue(b, w.platform.Roots())
		if err != nil {
			t.Fatal(err)
		}
		return col
	}
	at := func(after time.Duration) measuretest.CollateralSpec {
		return measuretest.CollateralSpec{Now: start().Add(after)}
	}
	older := w.issued(-day)
	higher := at(0)
	renumber(measuretest.EvaluationNumber + 1)(&higher)
	held := open(at(0))
	for name, tc := range map[string]struct {
		offered *dcap.Collateral
		want    error
	}{
		"the same":       {open(at(0)), ErrUnchanged},
		"newer":          {open(at(day)), nil},
		"higher number":  {open(higher), nil},
		"older TCB info": {open(at(day), func(b *dcap.Bundle) { b.TCBInfo, b.TCBInfoSignature = older.TCBInfo, older.TCBInfoSignature }), ErrRollback},
		"older QE identity": {open(at(day), func(b *dcap.Bundle) {
			b.QEIdentity, b.QEIdentitySignature = older.QEIdentity, older.QEIdentitySignature
		}), ErrRollback},
		"older PCK CRL":  {open(at(day), func(b *dcap.Bundle) { b.PCKCRL = older.PCKCRL }), ErrRollback},
		"older root CRL": {open(at(day), func(b *dcap.Bundle) { b.RootCACRL = older.RootCACRL }), ErrRollback},
	} {
		if err := Newer(held, tc.offered); !errors.Is(err, tc.want) {
			t.Errorf("%s: got %v, want %v", name, err, tc.want)
		}
	}
}

func TestStatusTellsHeldFromMissing(t *testing.T) {
	w := newWorld(t)
	src := &answers{name: "pccs", bundle: w.issued(0)}
	c := w.cache(Config{Sources: []Source{src}})
	known := w.name()
	if _, err := c.Bundle(t.Context(), known); err != nil {
		t.Fatal(err)
	}
	src.set(nil, errors.New("down"))
	if _, err := c.Bundle(t.Context(), unknown(1)); !isRefusal(err) {
		t.Fatal(err)
	}
	status := c.Status()
	if len(status) != 2 || status[0].Platform.FMSPC != known.FMSPC {
		t.Fatalf("status %+v, want two platforms by name", status)
	}
	good, bad := status[0], status[1]
	if good.Held == nil || good.Bundle != w.bundleOf(c, known) || good.Err != nil || !good.Renew.After(start().Add(14*day)) {
		t.Errorf("the held one: %+v", good)
	}
	if bad.Held != nil || bad.Bundle != nil || bad.Err == nil || !bad.Renew.After(start()) {
		t.Errorf("the missing one: %+v", bad)
	}
}

// bundleOf is what a cache holds.
func (w *world) bundleOf(c *Cache, p dcap.Platform) *dcap.Bundle {
	w.t.Helper()
	b, err := c.Bundle(w.t.Context(), p)
	if err != nil {
		w.t.Fatal(err)
	}
	return b
}
