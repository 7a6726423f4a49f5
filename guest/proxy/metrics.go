package proxy

import (
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/VictoriaMetrics/metrics"

	"cocoon/contracts/receipt"
	"cocoon/guest/proxy/ledger"
)

// Metrics are a proxy's counters as Prometheus text. No label comes from a request.
type Metrics struct {
	set      *metrics.Set
	active   atomic.Int64
	requests atomic.Int64
}

func newMetrics() *Metrics {
	m := &Metrics{set: metrics.NewSet()}
	m.set.NewGauge("cocoon_proxy_requests_running", func() float64 { return float64(m.active.Load()) })
	return m
}

// Write writes all series.
func (m *Metrics) Write(w io.Writer) { m.set.WritePrometheus(w) }

func (m *Metrics) count(name string) { m.add(name, 1) }

func (m *Metrics) add(name string, n int64) {
	m.set.GetOrCreateCounter("cocoon_" + name).AddInt64(n)
}

func (m *Metrics) begin() {
	m.active.Add(1)
	m.requests.Add(1)
}

func (m *Metrics) end() { m.active.Add(-1) }

// Second attempts are bounded to a tenth of all requests, and a few at the beginning (inference.md section 11).
const freeRetries, retryShare = 10, 10

// retryAllowed says whether the budget of second attempts has something left.
func (m *Metrics) retryAllowed() bool {
	views := m.set.GetOrCreateCounter("cocoon_proxy_retries_total").Get()
	return int64(views) < freeRetries+m.requests.Load()/retryShare //nolint:gosec // a counter
}

func (m *Metrics) refused(err error) {
	if e, ok := errors.AsType[refusedError](err); ok {
		m.count(fmt.Sprintf("proxy_requests_refused_total{code=%q}", e.why.Code))
		return
	}
	m.count(fmt.Sprintf("proxy_requests_refused_total{code=\"%d\"}", endingOf(err).code))
}

// done counts a request that is over.
func (m *Metrics) done(status receipt.Status, e ledger.Entry) {
	m.count(fmt.Sprintf("proxy_requests_total{status=%q}", status))
	for _, c := range []struct {
		class string
		n     int64
	}{{"prompt", e.Billed.Prompt}, {"cached", e.Billed.Cached}, {"completion", e.Billed.Completion}, {"reasoning", e.Billed.Reasoning}} {
		m.add(fmt.Sprintf("proxy_adjusted_tokens_total{class=%q}", c.class), c.n)
	}
}
