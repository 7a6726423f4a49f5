package bench

import (
	"fmt"
	"testing"
	"time"

	"cocoon/tests/bench/load"
)

// Bars of inference.md section 18.1: CPU in microseconds, memory in MiB, latency in milliseconds.
const (
	barRequest, stretchRequest   = 120.0, 80.0
	barReceipts, stretchReceipts = 120.0, 100.0
	barPaced, stretchPaced       = 25.0, 15.0
	barGateway, stretchGateway   = 60.0, 45.0
	barAddedP50, stretchAddedP50 = 0.6, 0.4
	barAddedP99                  = 5.0
	barLong                      = 300.0
	barIdle, barHeld             = 25.0, 120.0
)

// figure is one of ours beside its bars; stretch 0 is none.
type figure struct {
	what, unit        string
	got, bar, stretch float64
	there             float64 // what it would be where the bars were set; 0 is unknown, or no matter of processors
}

// verdict says how a value stands to the bars.
func (f figure) verdict(got float64) string {
	switch {
	case got <= f.stretch:
		return "meets the stretch"
	case got <= f.bar:
		return "meets"
	}
	return "MISSES"
}

// show prints the figure, and beside it what it would be where the bars were set.
func (f figure) show(t *testing.T) {
	t.Helper()
	there := ""
	if f.there > 0 {
		there = fmt.Sprintf("; %.1f on the bars' machine: %s", f.there, f.verdict(f.there))
	}
	t.Logf("%-56s %8.2f %-3s %s (%.4g, stretch %.4g)%s", f.what, f.got, f.unit, f.verdict(f.got), f.bar, f.stretch, there)
}

// processor is the unit of processor time.
const processor = "us"

// ourBars measures what only our path has, and puts everything beside the specification's targets.
func (p *path) ourBars(t *testing.T, engine *load.Engine, direct *figures, long lengths, slow slowness) {
	t.Helper()
	b, gateway := &p.best, len(p.roles)-1
	receipts := receiptsCost(t)
	for _, part := range receipts {
		t.Logf("receipts: %-55s %8.2f us", part.name, part.cost)
	}
	proofs, atGateway := receipts[len(receipts)-1].cost, receipts[len(receipts)-2].cost
	short, cpuShort := p.load(t, load.Spec{Clients: longClients, Prompt: prompt, Measure: long.one})
	large, cpuLarge := p.load(t, load.Spec{Clients: longClients, Prompt: longPrompt, Measure: long.one})
	all, more := cpuShort.per(short.Requests), cpuLarge.per(large.Requests)
	passing, atEdge, longAtEdge := b.request.sum()-proofs, b.request[gateway]-atGateway, more[gateway]-atGateway
	passingThere, proofsThere := elsewhere(passing, slow.request), elsewhere(proofs, slow.signatures)
	together := 0.0
	if passingThere > 0 {
		together = passingThere + proofsThere
	}
	for _, f := range []figure{
		{"three roles, per request, without receipts", processor, passing, barRequest, stretchRequest, passingThere},
		{"receipts, all roles together", processor, proofs, barReceipts, stretchReceipts, proofsThere},
		{"three roles, per request, with receipts", processor, b.request.sum(), barRequest + barReceipts, stretchRequest + stretchReceipts, together},
		{"three roles, per paced event, receipts included", processor, b.paced.sum(), barPaced, stretchPaced, elsewhere(b.paced.sum(), slow.paced)},
		{"gateway alone, per request, without receipts", processor, atEdge, barGateway, stretchGateway, elsewhere(atEdge, slow.request)},
		{"added P50, one client", "ms", (b.lone - direct.lone).Seconds() * 1e3, barAddedP50, stretchAddedP50, 0},
		{"added P99, 32 clients", "ms", (b.p99 - direct.p99).Seconds() * 1e3, barAddedP99, 0, 0},
		{"added P99, 32 clients at half of the full rate", "ms", (b.half - direct.half).Seconds() * 1e3, barAddedP99, 0, 0},
		{"64 KB prompt, gateway, per request, without receipts", processor, longAtEdge, barLong, 0, elsewhere(longAtEdge, slow.request)},
	} {
		f.show(t)
	}
	t.Logf("%d clients that ask again at once wait %.1f ms on the average when %.0f requests a second are served", manyClients, manyClients*1e3/b.rate, b.rate)
	t.Logf("64 KB prompt, all roles: %.1f us per request, %.1f with 1 KB, %d clients", more.sum(), all.sum(), longClients)
	p.held(t, engine)
}

// held prints the memory of each role with a thousand slow streams open.
func (p *path) held(t *testing.T, engine *load.Engine) {
	t.Helper()
	engine.Pace(heldPace)
	defer engine.Pace(0)
	peak := make([]memory, len(p.roles))
	spec := load.Spec{Address: p.addr, Model: benchBase, Clients: heldStreams, Stream: true, Prompt: prompt, Warm: 3 * time.Second, Measure: time.Second}
	got, err := load.Run(t.Context(), spec, func() {
		for i, r := range p.roles {
			if now := r.memory(); now.all > peak[i].all {
				peak[i] = now
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if rate := float64(got.Events) / got.Elapsed.Seconds(); got.Broken+got.Refused > 0 || rate < heldStreams {
		t.Logf("%d slow streams: %.0f events/s, %d broken, %d refused: %s", heldStreams, rate, got.Broken, got.Refused, got.Why)
	}
	p.best.broken += got.Broken
	p.best.refused += got.Refused
	for i, r := range p.roles {
		figure{fmt.Sprintf("memory of the %s, idle (%.0f without its binary)", r.name, p.idle[i].own), "MiB", p.idle[i].all, barIdle, 0, 0}.show(t)
		figure{fmt.Sprintf("memory of the %s, %d streams (%.0f)", r.name, heldStreams, peak[i].own), "MiB", peak[i].all, barHeld, 0, 0}.show(t)
	}
	quiet := time.NewTimer(quietAfterAll) // the roles end what we cut
	<-quiet.C
}
