// Package pcstest is the kit of tests that keep and serve collateral: a clock, a simulated platform and its bundles, real
// bundles at a time when they hold, and the HTTP around them.
//
// It owns these means and no assertion about collateral. It trusts its callers, which are tests; what a function cannot do
// fails the test that called it. A Clock may be used concurrently. Its platform is software: production policy refuses it.
package pcstest

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"cocoon/measure/dcap"
	"cocoon/measure/measuretest"
	"cocoon/measure/ratls/pcs"
	"cocoon/measure/tdx"
	"cocoon/tests/golden"
)

// Day is the unit of collateral's life.
const Day = 24 * time.Hour

// Start is when the simulated world begins.
func Start() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }

// Real is when three of the real bundles are valid.
func Real() time.Time { return time.Date(2025, 6, 20, 0, 0, 0, 0, time.UTC) }

// Clock is a time that tests move.
type Clock struct {
	mu  sync.Mutex
	now time.Time
}

// NewClock makes a clock that stands at a time.
func NewClock(at time.Time) *Clock { return &Clock{now: at} }

// Read is the time.
func (c *Clock) Read() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Set moves the clock.
func (c *Clock) Set(to time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = to
}

// Platform is a simulated platform as of Start, the same in every test.
func Platform(t *testing.T) *measuretest.Platform {
	t.Helper()
	p, err := measuretest.NewPlatform(measuretest.Options{Seed: [measuretest.SeedSize]byte{4, 5, 6}, Now: Start()})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Bundle is a platform's collateral as specified.
func Bundle(t *testing.T, p *measuretest.Platform, s measuretest.CollateralSpec) *dcap.Bundle {
	t.Helper()
	b, err := p.BundleWith(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Issued is a platform's honest collateral that is asked for some time after Start.
func Issued(t *testing.T, p *measuretest.Platform, after time.Duration) *dcap.Bundle {
	t.Helper()
	return Bundle(t, p, measuretest.CollateralSpec{Now: Start().Add(after)})
}

// NameOf is the platform that a bundle is of.
func NameOf(t *testing.T, b *dcap.Bundle, roots *dcap.Roots) dcap.Platform {
	t.Helper()
	col, err := pcs.OpenAtIssue(b, roots)
	if err != nil {
		t.Fatal(err)
	}
	return col.Platform()
}

// Vector is the bundle of a golden vector of attestation, without ".json".
func Vector(tb testing.TB, name string) *dcap.Bundle {
	tb.Helper()
	b, err := dcap.ParseBundle(golden.Vector(tb, "attestation/"+name+".json"))
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// TDXQuotePlatform is the platform of the vector tdx_quote and its collateral.
func TDXQuotePlatform() dcap.Platform {
	return dcap.Platform{TEE: tdx.TDX, CA: dcap.PlatformCA, FMSPC: dcap.FMSPC{0xb0, 0xc0, 0x6f}}
}

// Serve runs a handler until the test ends and returns its address.
func Serve(t *testing.T, h http.Handler) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

// HTTPClient is a client whose connections are closed when the test ends.
func HTTPClient(t *testing.T) *http.Client {
	t.Helper()
	c := pcs.NewHTTPClient()
	t.Cleanup(c.CloseIdleConnections)
	return c
}

// Contains fails the test unless there is an error that has all the words.
func Contains(t *testing.T, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("no %q in %q", w, err)
		}
	}
}
