package stats

import (
	"strconv"
	"strings"
	"time"
)

// Kind is the type of a metric.
type Kind string

// The kinds.
const (
	KindCounter Kind = "counter"
	KindGauge   Kind = "gauge"
	KindSummary Kind = "summary"
)

// Metrics collects the text of /metrics in the Prometheus exposition format, version 0.0.4. Names get the prefix cocoon_.
type Metrics struct {
	out  strings.Builder
	last string
}

// Add writes one sample; samples of one name stand together. Labels are pairs of name and value, from closed sets.
func (m *Metrics) Add(name string, kind Kind, help string, value float64, labels ...string) {
	name = "cocoon_" + name
	family := name
	if kind == KindSummary {
		family = strings.TrimSuffix(strings.TrimSuffix(name, "_sum"), "_count")
	}
	if family != m.last {
		m.last = family
		m.out.WriteString("# HELP " + family + " " + help + "\n# TYPE " + family + " " + string(kind) + "\n")
	}
	m.out.WriteString(name)
	for i := 0; i+1 < len(labels); i += 2 {
		sep := ","
		if i == 0 {
			sep = "{"
		}
		m.out.WriteString(sep + labels[i] + `="` + escape(labels[i+1]) + `"`)
	}
	if len(labels) > 1 {
		m.out.WriteByte('}')
	}
	m.out.WriteString(" " + strconv.FormatFloat(value, 'g', -1, 64) + "\n")
}

// escape is for label values.
func escape(s string) string {
	return strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(strings.ToValidUTF8(s, "�"))
}

// Bytes is the text.
func (m *Metrics) Bytes() []byte { return []byte(m.out.String()) }

// ContentType of the text.
const ContentType = "text/plain; version=0.0.4; charset=utf-8"

// Latency adds a latency in seconds: its quantiles, sum and number.
func (m *Metrics) Latency(name, help string, l *Latency, now time.Time) {
	for _, q := range Quantiles() {
		if v, ok := l.Quantile(now, q); ok {
			m.Add(name, KindSummary, help, v.Seconds(), "quantile", strconv.FormatFloat(q, 'g', -1, 64))
		}
	}
	n, sum := l.Total()
	m.Add(name+"_sum", KindSummary, help, sum.Seconds())
	m.Add(name+"_count", KindSummary, help, float64(n))
}
