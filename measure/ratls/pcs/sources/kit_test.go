package sources

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"cocoon/measure/dcap"
	"cocoon/measure/measuretest"
	"cocoon/measure/ratls/pcs"
	"cocoon/measure/tdx"
	"cocoon/tests/golden"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const day = 24 * time.Hour

func start() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }

// real is when three of the real bundles are valid.
func realTime() time.Time { return time.Date(2025, 6, 20, 0, 0, 0, 0, time.UTC) }

// clock is a time that tests move.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) read() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) set(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = t
}

func platform(t *testing.T) *measuretest.Platform {
	t.Helper()
	p, err := measuretest.NewPlatform(measuretest.Options{Seed: [measuretest.SeedSize]byte{4, 5, 6}, Now: start()})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func bundle(t *testing.T, p *measuretest.Platform, s measuretest.CollateralSpec) *dcap.Bundle {
	t.Helper()
	b, err := p.BundleWith(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func issued(t *testing.T, p *measuretest.Platform, after time.Duration) *dcap.Bundle {
	t.Helper()
	return bundle(t, p, measuretest.CollateralSpec{Now: start().Add(after)})
}

// nameOf is the platform that a bundle is of.
func nameOf(t *testing.T, b *dcap.Bundle, roots *dcap.Roots) dcap.Platform {
	t.Helper()
	col, err := pcs.OpenAtIssue(b, roots)
	if err != nil {
		t.Fatal(err)
	}
	return col.Platform()
}

func vector(tb testing.TB, name string) *dcap.Bundle {
	tb.Helper()
	b, err := dcap.ParseBundle(golden.Vector(tb, "attestation/"+name+".json"))
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// tdxQuotePlatform is that of tdx_quote and its collateral.
func tdxQuotePlatform() dcap.Platform {
	return dcap.Platform{TEE: tdx.TDX, CA: dcap.PlatformCA, FMSPC: dcap.FMSPC{0xb0, 0xc0, 0x6f}}
}

// serve runs a handler until the test ends and returns its address.
func serve(t *testing.T, h http.Handler) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

// httpClient is a client whose connections are closed when the test ends.
func httpClient(t *testing.T) *http.Client {
	t.Helper()
	c := pcs.NewHTTPClient()
	t.Cleanup(c.CloseIdleConnections)
	return c
}

// host opens a host's collateral with one PCCS and without Intel's service.
func host(t *testing.T, cfg Config, urls ...string) (*pcs.Cache, *Store) {
	t.Helper()
	cfg.NoIntel, cfg.PCCS, cfg.HTTP = true, urls, httpClient(t)
	cache, store, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cache.Close)
	return cache, store
}

func contains(t *testing.T, err error, words ...string) {
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
