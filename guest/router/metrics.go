package router

import (
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"cocoon/measure/policy"
	"cocoon/measure/ratls"
)

// Metrics are a router's counters, written as Prometheus text. They carry no platform identity.
type Metrics struct{ set *metrics.Set }

// NewMetrics makes an empty set of its own; nothing is registered globally.
func NewMetrics() *Metrics {
	return &Metrics{set: metrics.NewSet()}
}

// Write writes all series as Prometheus text.
func (m *Metrics) Write(w io.Writer) { m.set.WritePrometheus(w) }

// Gauge adds a series that asks f for its value; name may carry labels.
func (m *Metrics) Gauge(name string, f func() float64) { m.set.GetOrCreateGauge(name, f) }

// Counter is the counter of that name, which may carry labels.
func (m *Metrics) Counter(name string) *metrics.Counter { return m.set.GetOrCreateCounter(name) }

// handshakes counts how handshakes ended, by listener and code.
func (m *Metrics) handshakes(listener, code string) *metrics.Counter {
	return m.Counter(fmt.Sprintf(`router_handshakes_total{listener=%q,code=%q}`, listener, code))
}

// evicted counts a session that was closed because its peer is no longer admitted.
func (m *Metrics) evicted(reason string) {
	m.Counter(fmt.Sprintf(`router_sessions_evicted_total{reason=%q}`, reason)).Inc()
}

// page adds series that f writes, one a line, when the page is asked for.
func (m *Metrics) page(f func(w io.Writer)) { m.set.RegisterMetricsWriter(f) }

// The stages that measure/ratls does not know.
const (
	stageSOCKS ratls.Stage = "socks"
	stageInner ratls.Stage = "inner_dial"
)

// bounds are the buckets of a stage's histogram.
func bounds() []time.Duration {
	const us, ms = time.Microsecond, time.Millisecond
	return []time.Duration{
		100 * us, 250 * us, 500 * us, ms, 5 * ms / 2, 5 * ms, 10 * ms, 25 * ms, 50 * ms, 100 * ms, 250 * ms, 500 * ms,
		time.Second, 5 * time.Second / 2, 5 * time.Second, 10 * time.Second, 30 * time.Second,
	}
}

// histogram is one of Prometheus' form, with fixed buckets: VictoriaMetrics' own form needs its own server.
type histogram struct {
	bounds  []time.Duration
	buckets []*metrics.Counter // cumulative, the last is all
	sum     *metrics.FloatCounter
}

// stage is the histogram of a stage on a listener.
func (m *Metrics) stage(listener string, stage ratls.Stage) *histogram {
	labels := fmt.Sprintf(`listener=%q,stage=%q`, listener, string(stage))
	h := &histogram{bounds: bounds(), sum: m.set.GetOrCreateFloatCounter(fmt.Sprintf(`router_stage_seconds_sum{%s}`, labels))}
	for _, b := range h.bounds {
		le := strconv.FormatFloat(b.Seconds(), 'g', -1, 64)
		h.buckets = append(h.buckets, m.Counter(fmt.Sprintf(`router_stage_seconds_bucket{%s,le=%q}`, labels, le)))
	}
	h.buckets = append(h.buckets,
		m.Counter(fmt.Sprintf(`router_stage_seconds_bucket{%s,le="+Inf"}`, labels)),
		m.Counter(fmt.Sprintf(`router_stage_seconds_count{%s}`, labels)))
	return h
}

func (h *histogram) observe(d time.Duration) {
	for i, b := range h.bounds {
		if d <= b {
			h.buckets[i].Inc()
		}
	}
	h.buckets[len(h.bounds)].Inc()
	h.buckets[len(h.bounds)+1].Inc()
	h.sum.Add(d.Seconds())
}

// listenerMetrics are the series of one listener that every connection touches.
type listenerMetrics struct {
	all      *Metrics
	name     string
	stages   map[ratls.Stage]*histogram
	accepted *metrics.Counter
	admitted *metrics.Counter // of the handshakes, which have a counter for every code
	panics   *metrics.Counter
	// in and out count bytes from peers and to them.
	in, out *metrics.Counter
	// proofs and badProofs count the proofs of work that were made or checked.
	proofs, badProofs *metrics.Counter
}

func (m *Metrics) listener(name string) *listenerMetrics {
	labelled := func(format string) *metrics.Counter { return m.Counter(fmt.Sprintf(format, name)) }
	l := &listenerMetrics{
		all: m, name: name, stages: map[ratls.Stage]*histogram{},
		accepted: labelled(`router_accepted_total{listener=%q}`), admitted: m.handshakes(name, string(policy.OK)), panics: labelled(`router_panics_total{listener=%q}`),
		in: labelled(`router_bytes_total{listener=%q,direction="in"}`), out: labelled(`router_bytes_total{listener=%q,direction="out"}`),
		proofs: labelled(`router_pow_total{listener=%q,result="ok"}`), badProofs: labelled(`router_pow_total{listener=%q,result="failed"}`),
	}
	for _, s := range []ratls.Stage{stageSOCKS, ratls.StageDial, ratls.StagePoW, ratls.StageTLS, ratls.StageVerify, ratls.StageFresh, stageInner} {
		l.stages[s] = m.stage(name, s)
	}
	return l
}

// observe is what measure/ratls calls at the end of a stage.
func (l *listenerMetrics) observe(s ratls.Stage, took time.Duration, err error) {
	if h := l.stages[s]; h != nil {
		h.observe(took)
	}
	switch {
	case s != ratls.StagePoW:
	case err == nil:
		l.proofs.Inc()
	default:
		l.badProofs.Inc()
	}
}

// outcome counts the end of a handshake.
func (l *listenerMetrics) outcome(code string) {
	counter := l.admitted
	if code != string(policy.OK) {
		counter = l.all.handshakes(l.name, code)
	}
	counter.Inc()
}
