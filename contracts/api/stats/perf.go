package stats

import (
	"fmt"
	"io"
	"runtime"
	"runtime/metrics"
)

// WritePerf says what the process itself is doing: memory, collector, goroutines, waiting for locks. It is for operators
// alone (protocol.md section 8.1).
func WritePerf(w io.Writer) {
	samples := []metrics.Sample{
		{Name: "/sched/goroutines:goroutines"},
		{Name: "/memory/classes/total:bytes"},
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/gc/cycles/total:gc-cycles"},
		{Name: "/gc/heap/allocs:bytes"},
		{Name: "/cpu/classes/total:cpu-seconds"},
		{Name: "/cpu/classes/gc/total:cpu-seconds"},
		{Name: "/sync/mutex/wait/total:seconds"},
	}
	metrics.Read(samples)
	_, _ = fmt.Fprintf(w, "%-42s %s\n%-42s %d\n", "go", runtime.Version(), "/sched/gomaxprocs:threads", runtime.GOMAXPROCS(0))
	for _, v := range samples {
		switch v.Value.Kind() {
		case metrics.KindUint64:
			_, _ = fmt.Fprintf(w, "%-42s %d\n", v.Name, v.Value.Uint64())
		case metrics.KindFloat64:
			_, _ = fmt.Fprintf(w, "%-42s %.3f\n", v.Name, v.Value.Float64())
		default: // a Go release that drops a metric loses its line
		}
	}
}

// Process adds what every role says of its own process.
func (m *Metrics) Process(uptime float64) {
	memory := []metrics.Sample{{Name: "/memory/classes/total:bytes"}}
	metrics.Read(memory)
	m.Add("process_goroutines", KindGauge, "Goroutines.", float64(runtime.NumGoroutine()))
	if memory[0].Value.Kind() == metrics.KindUint64 {
		m.Add("process_memory_bytes", KindGauge, "Memory obtained from the system.", float64(memory[0].Value.Uint64()))
	}
	m.Add("process_uptime_seconds", KindGauge, "Time since the start.", uptime)
}
