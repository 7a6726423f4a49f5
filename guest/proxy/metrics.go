package proxy

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"cocoon/contracts/api/stats"
	"cocoon/contracts/receipt"
	"cocoon/guest/proxy/ledger"
)

// Metrics are a proxy's counters as Prometheus text. No label comes from a request.
type Metrics struct {
	set      *metrics.Set
	counters sync.Map // of *metrics.Counter by name: the set makes its names anew with each look
	billed   [4]*metrics.Counter
	active   atomic.Int64
	requests atomic.Int64
	past     *past
}

func newMetrics(now func() time.Time) *Metrics {
	m := &Metrics{set: metrics.NewSet(), past: newPast(now)}
	m.set.NewGauge("cocoon_proxy_requests_running", func() float64 { return float64(m.active.Load()) })
	for i, class := range tokenClasses() {
		m.billed[i] = m.counter(`proxy_adjusted_tokens_total{class="` + class + `"}`)
	}
	return m
}

// Write writes all series.
func (m *Metrics) Write(w io.Writer) { m.set.WritePrometheus(w) }

func (m *Metrics) count(name string) { m.counter(name).Inc() }

func (m *Metrics) counter(name string) *metrics.Counter {
	if c, ok := m.counters.Load(name); ok {
		if c, ok := c.(*metrics.Counter); ok {
			return c
		}
	}
	c := m.set.GetOrCreateCounter("cocoon_" + name)
	m.counters.Store(name, c)
	return c
}

func (m *Metrics) begin(now time.Time) {
	m.past.running.Set(now, float64(m.active.Add(1)))
	m.requests.Add(1)
}

func (m *Metrics) end() { m.past.running.Set(m.past.now(), float64(m.active.Add(-1))) }

// waited notes that a request has waited for its worker until now.
func (m *Metrics) waited(since time.Time) {
	now := m.past.now()
	m.past.waited.Add(now, now.Sub(since))
}

// Second attempts are bounded to a tenth of all requests, and a few at the beginning (inference.md section 11).
const freeRetries, retryShare = 10, 10

// retryAllowed says whether the budget of second attempts has something left.
func (m *Metrics) retryAllowed() bool {
	return int64(m.counter("proxy_retries_total").Get()) < freeRetries+m.requests.Load()/retryShare //nolint:gosec // a counter
}

func (m *Metrics) refused(err error) {
	m.past.ended[outcomeRefused].Add(m.past.now(), 1)
	if e, ok := errors.AsType[refusedError](err); ok {
		m.count(fmt.Sprintf("proxy_requests_refused_total{code=%q}", e.why.Code))
		return
	}
	m.count(fmt.Sprintf("proxy_requests_refused_total{code=\"%d\"}", endingOf(err).code))
}

// done counts a request that is over.
func (m *Metrics) done(status receipt.Status, e ledger.Entry) {
	m.count(`proxy_requests_total{status="` + string(status) + `"}`) // a word of ours
	for i, n := range byClass(e.Billed) {
		m.billed[i].AddInt64(n)
	}
}

// WriteMetrics writes all series as Prometheus text. Labels come from lists in the code, never from peers.
func (p *Proxy) WriteMetrics(w io.Writer) {
	s, now := p.Status(), p.deps.Now()
	p.metrics.Write(w)
	var m stats.Metrics
	ready := 0.0
	if s.Ready {
		ready = 1
	}
	m.Add("proxy_ready", stats.KindGauge, "Whether new requests are served.", ready)
	m.Add("proxy_workers", stats.KindGauge, "Workers connected.", float64(len(s.Workers)))
	m.Add("proxy_workers_ready", stats.KindGauge, "Workers that take requests.", float64(s.readyWorkers()))
	m.Add("proxy_clients", stats.KindGauge, "Clients connected.", float64(len(s.Clients)))
	m.Add("proxy_queue", stats.KindGauge, "Requests that wait for a worker.", float64(s.Choices.Queued))
	for _, why := range reasons() {
		m.Add("proxy_selections_total", stats.KindCounter, "Workers chosen, by the reason.", float64(s.Choices.Chosen[why]), "reason", string(why))
	}
	for _, why := range slices.Sorted(maps.Keys(s.Choices.Excluded)) {
		m.Add("proxy_passed_over_total", stats.KindCounter, "Workers passed over, by the reason.", float64(s.Choices.Excluded[why]), "reason", why)
	}
	for _, why := range refusals() {
		m.Add("proxy_queue_refusals_total", stats.KindCounter, "Requests that the queue refused, by the reason.", float64(s.Choices.Refused[why]), "reason", why)
	}
	m.Add("proxy_breaker_openings_total", stats.KindCounter, "How often a worker was left alone after failures.", float64(s.Choices.Breakers))
	m.Add("proxy_fees_nano_total", stats.KindCounter, "nanoTON that stay with the proxy.", p.totals.fees.Read(now)[0])
	m.Latency("proxy_queue_wait_seconds", "Wait for a worker; quantiles over about ten minutes.", p.metrics.past.waited, now)
	m.Latency("proxy_request_seconds", "Time of requests; quantiles over about ten minutes.", p.metrics.past.took, now)
	if s.Chain != nil && s.Chain.Known {
		m.Add("proxy_root_age_seconds", stats.KindGauge, "Age of the block in which the root contract was last seen.", s.Chain.Age.Seconds())
	}
	m.Process(now.Sub(s.Started).Seconds())
	_, _ = w.Write(m.Bytes()) // the caller is gone when this does not succeed
}
