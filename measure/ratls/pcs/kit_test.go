package pcs

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"cocoon/measure/dcap"
	"cocoon/measure/measuretest"
	"cocoon/measure/tdx"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const day = 24 * time.Hour

// start is when the simulated world begins.
func start() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }

// world is a simulated platform with a clock that tests move.
type world struct {
	t        *testing.T
	platform *measuretest.Platform
	service  *measuretest.Service

	mu  sync.Mutex
	now time.Time
}

func newWorld(t *testing.T) *world {
	t.Helper()
	p, err := measuretest.NewPlatform(measuretest.Options{Seed: [measuretest.SeedSize]byte{1, 2, 3}, Now: start()})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, platform: p, service: measuretest.NewService(p), now: start()}
	w.service.Collateral.Now = start()
	return w
}

func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

// at moves the clock to a time after the start.
func (w *world) at(after time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = start().Add(after)
}

// name is the simulated platform's.
func (w *world) name() dcap.Platform {
	b := w.bundle(measuretest.CollateralSpec{})
	col, err := OpenAtIssue(b, w.platform.Roots())
	if err != nil {
		w.t.Fatal(err)
	}
	return col.Platform()
}

func (w *world) bundle(s measuretest.CollateralSpec) *dcap.Bundle {
	w.t.Helper()
	b, err := w.platform.BundleWith(s)
	if err != nil {
		w.t.Fatal(err)
	}
	return b
}

// issued is honest collateral that is asked for some time after the start.
func (w *world) issued(after time.Duration) *dcap.Bundle {
	w.t.Helper()
	return w.bundle(measuretest.CollateralSpec{Now: start().Add(after)})
}

func (w *world) cache(cfg Config) *Cache {
	w.t.Helper()
	if cfg.Roots == nil {
		cfg.Roots = w.platform.Roots()
	}
	if cfg.Now == nil {
		cfg.Now = w.clock
	}
	c, err := NewCache(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(c.Close)
	return c
}

// settle waits until no flight is under way.
func settle(c *Cache) { c.flights.Wait() }

// answers is a Source whose answer tests set.
type answers struct {
	name  string
	asked atomic.Int64

	mu     sync.Mutex
	bundle *dcap.Bundle
	err    error
	gate   chan struct{} // when set, an answer waits for it
}

func (a *answers) set(b *dcap.Bundle, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.bundle, a.err = b, err
}

func (a *answers) String() string { return a.name }

func (a *answers) Bundle(ctx context.Context, _ dcap.Platform) (*dcap.Bundle, error) {
	a.asked.Add(1)
	a.mu.Lock()
	b, err, gate := a.bundle, a.err, a.gate
	a.mu.Unlock()
	if gate != nil {
		select {
		case <-gate:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return b, err
}

// wire is an HTTP transport that ends in a simulated service.
type wire struct {
	service *measuretest.Service
	edit    func(*http.Response)
	asked   atomic.Int64
}

func (w *wire) RoundTrip(req *http.Request) (*http.Response, error) {
	w.asked.Add(1)
	a := w.service.Get(req.Context(), req.URL.Path, req.URL.Query())
	if err := req.Context().Err(); err != nil {
		return nil, err
	}
	resp := &http.Response{
		StatusCode: a.Status, Status: fmt.Sprint(a.Status), Header: http.Header{}, Request: req,
		Body: io.NopCloser(bytes.NewReader(a.Body)),
	}
	if a.Header != "" {
		resp.Header.Set(a.Header, a.Chain)
	}
	if w.edit != nil {
		w.edit(resp)
	}
	return resp, nil
}

func client(t *testing.T, cfg ClientConfig) *Client {
	t.Helper()
	c, err := NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// unknown is a platform that nobody serves.
func unknown(n int) dcap.Platform {
	return dcap.Platform{TEE: tdx.TDX, CA: dcap.PlatformCA, FMSPC: dcap.FMSPC{0xff, byte(n >> 8), byte(n)}}
}

// renumber changes the evaluation number that collateral is signed with.
func renumber(n int) func(*measuretest.CollateralSpec) {
	return func(s *measuretest.CollateralSpec) {
		s.TCBInfo = func(i *measuretest.TCBInfo) { i.TCBEvaluationDataNumber = n }
		s.QEIdentity = func(i *measuretest.QEIdentity) { i.TCBEvaluationDataNumber = n }
	}
}

// mustBeJSON guards tests against editing what is no JSON to begin with.
func mustBeJSON(t *testing.T, text string) {
	t.Helper()
	if !json.Valid([]byte(text)) {
		t.Fatalf("not JSON: %.40s", text)
	}
}
