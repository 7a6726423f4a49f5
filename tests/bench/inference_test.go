package bench

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"cocoon/tests/bench/load"
)

const (
	oursName   = "cocoon, 3 roles, RA-TLS"
	directName = "direct to the engine"
	// onlyPaths names the paths to measure, with commas; a part of a name is enough.
	onlyPaths = "COCOON_BENCH_PATHS"

	manyClients   = 32
	pacedStreams  = 128
	pace          = 10 * time.Millisecond
	prompt        = 1 << 10
	longPrompt    = 64 << 10
	longClients   = 8
	heldStreams   = 1000
	heldPace      = 250 * time.Millisecond
	quietAfterAll = 6 * time.Second
)

// used is what the roles of a path used for one request, or one event, in the order of its roles; in microseconds.
type used []float64

func (u used) sum() (s float64) {
	for _, v := range u {
		s += v
	}
	return s
}

// less keeps the smaller of two measurements.
func less(a, b used) used {
	if a == nil || b != nil && b.sum() < a.sum() {
		return b
	}
	return a
}

// figures are the best of a path's rounds.
type figures struct {
	lone, p50, p99          time.Duration // one client; many
	half                    time.Duration // P99 of many at half the rate
	rate                    float64       // requests per second of many clients
	request, burst, paced   used
	eventsPerWrite          float64 // of paced streams: 1 means that every event was a wake-up of its own
	broken, refused, served int64
	why                     string
}

// lengths are how long each load is measured, and how often.
type lengths struct {
	rounds                        int
	lone, many, burst, paced, one time.Duration
}

func benchLengths() lengths {
	if strings.Contains(os.Getenv("COCOON_TEST"), "big") {
		return lengths{2, time.Second, 2 * time.Second, 2 * time.Second, 3 * time.Second, 3 * time.Second}
	}
	return lengths{1, 700 * time.Millisecond, 1500 * time.Millisecond, 1200 * time.Millisecond, 2 * time.Second, 1500 * time.Millisecond}
}

// TestInferenceBesideProxies: processor time, latency and memory of the three roles together, beside HTTP proxies that do
// nothing but pass on, in one run with one engine. Every answer's bytes are compared; only a path of ours that breaks one
// fails the test.
func TestInferenceBesideProxies(t *testing.T) {
	wanted(t)
	before := loadAverage(t)
	engine, at := startEngine(t)
	paths := startPaths(t, at)
	long := benchLengths()
	for _, p := range paths {
		for _, r := range p.roles {
			p.idle = append(p.idle, r.memory())
		}
	}
	for range long.rounds {
		for _, p := range paths {
			p.measure(t, engine, long)
		}
	}
	slow := slownessHere(t, paths)
	t.Logf("load average %s at the start, %s at the end; every proxy has one core; %v\n%s", before, loadAverage(t), slow, table(paths))
	for _, p := range paths {
		if p.name == oursName {
			p.ourBars(t, engine, &paths[0].best, long, slow)
		}
	}
	for _, p := range paths {
		t.Logf("%-28s %7d answers, %d broken, %d refused %s", p.name, p.best.served, p.best.broken, p.best.refused, p.best.why)
		if p.name == oursName && p.best.broken+p.best.refused > 0 {
			t.Errorf("%d answers were not the engine's and %d were refused: %s", p.best.broken, p.best.refused, p.best.why)
		}
	}
}

// startEngine starts the engine in this process: its time is nobody's.
func startEngine(t *testing.T) (*load.Engine, engineAt) {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "engine.sock")
	tcp, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	unix, err := new(net.ListenConfig).Listen(t.Context(), "unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	e := load.Start(tcp, unix)
	t.Cleanup(func() { _ = e.Close() })
	return e, engineAt{tcp.Addr().String(), socket}
}

// startPaths starts everything that is installed and wanted, the engine itself first and ours last.
func startPaths(t *testing.T, at engineAt) []*path {
	t.Helper()
	paths := []*path{{name: directName, addr: at.address}}
	wanted := strings.Split(os.Getenv(onlyPaths), ",")
	for _, peer := range append(peers(), peer{name: oursName, start: startOurs}) {
		if !slices.ContainsFunc(wanted, func(part string) bool { return strings.Contains(peer.name, part) }) {
			continue
		}
		p, why := peer.start(t, at)
		if p == nil {
			t.Log(why)
			continue
		}
		p.name, p.there = peer.name, peer.there
		paths = append(paths, p)
	}
	return paths
}

// measure is one round of a path.
func (p *path) measure(t *testing.T, engine *load.Engine, long lengths) {
	t.Helper()
	b := &p.best
	engine.Pace(0)
	lone, _ := p.load(t, load.Spec{Clients: 1, Prompt: prompt, Measure: long.lone})
	b.lone = shorter(b.lone, lone.P50)
	many, cpu := p.load(t, load.Spec{Clients: manyClients, Prompt: prompt, Measure: long.many})
	b.p50, b.p99 = shorter(b.p50, many.P50), shorter(b.p99, many.P99)
	b.rate = max(b.rate, float64(many.Requests)/many.Elapsed.Seconds())
	b.request = less(b.request, cpu.per(many.Requests))
	every := 2 * many.Elapsed * manyClients / time.Duration(max(many.Requests, 1))
	half, _ := p.load(t, load.Spec{Clients: manyClients, Prompt: prompt, Measure: long.many, Every: every})
	b.half = shorter(b.half, half.P99)
	burst, cpu := p.load(t, load.Spec{Clients: manyClients, Stream: true, Prompt: prompt, Measure: long.burst})
	b.burst = less(b.burst, cpu.per(burst.Events))
	engine.Pace(pace)
	paced, cpu := p.load(t, load.Spec{Clients: pacedStreams, Stream: true, Prompt: prompt, Warm: time.Second, Measure: long.paced})
	if cost := cpu.per(paced.Events); b.paced == nil || cost.sum() < b.paced.sum() {
		b.paced, b.eventsPerWrite = cost, float64(paced.Events)/float64(max(paced.Writes, 1))
	}
	engine.Pace(0)
}

// spent is the processor time of each role.
type spent []time.Duration

// per is the share of one of n.
func (s spent) per(n int64) used {
	out := make(used, 0, len(s))
	for _, d := range s {
		out = append(out, float64(d.Nanoseconds())/1e3/float64(max(n, 1)))
	}
	return out
}

// load runs one load and reads what the roles used in its measured time.
func (p *path) load(t *testing.T, spec load.Spec) (load.Result, spent) {
	t.Helper()
	const warm = 300 * time.Millisecond
	spec.Address, spec.Model, spec.Warm = p.addr, benchBase, max(spec.Warm, warm)
	cpu, first := make(spent, len(p.roles)), true
	got, err := load.Run(t.Context(), spec, func() {
		for i, r := range p.roles {
			now := processorTime(t, r.pid)
			if first {
				cpu[i] = now
			} else {
				cpu[i] = now - cpu[i]
			}
		}
		first = false
	})
	if err != nil {
		t.Fatalf("%s: %v", p.name, err)
	}
	p.best.served += got.Requests
	p.best.broken += got.Broken
	p.best.refused += got.Refused
	if p.best.why == "" {
		p.best.why = got.Why
	}
	return got, cpu
}

func shorter(a, b time.Duration) time.Duration {
	if a == 0 {
		return b
	}
	return min(a, b)
}

func loadAverage(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		t.Fatal(err)
	}
	one, _, _ := strings.Cut(string(data), " ")
	return one
}

// table is the comparison. Ratios are to nginx, or to the first proxy that is there.
func table(paths []*path) string {
	var out strings.Builder
	w := tabwriter.NewWriter(&out, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintln(w, "path\tP50 c=1\tadded\tP50 c=32\tP99 c=32\tadded\tP99 half\treq/s\tCPU us/req\tratio\tus/event burst\tratio\tus/event paced\tratio\tevents/write\tRSS MiB\t")
	direct := paths[0]
	var base *figures
	for _, p := range paths {
		b := &p.best
		if base == nil && len(p.roles) > 0 {
			base = b
		}
		ratio := func(u, to used) string { return fmt.Sprintf("%.2f", u.sum()/to.sum()) }
		cells := []string{
			p.name, ms(b.lone), ms(b.lone - direct.best.lone), ms(b.p50), ms(b.p99), ms(b.p99 - direct.best.p99), ms(b.half), fmt.Sprintf("%.0f", b.rate),
		}
		if len(p.roles) > 0 {
			rss := 0.0
			for _, r := range p.roles {
				rss += r.memory().all
			}
			cells = append(cells,
				fmt.Sprintf("%.1f", b.request.sum()), ratio(b.request, base.request), fmt.Sprintf("%.2f", b.burst.sum()), ratio(b.burst, base.burst),
				fmt.Sprintf("%.2f", b.paced.sum()), ratio(b.paced, base.paced), fmt.Sprintf("%.2f", b.eventsPerWrite), fmt.Sprintf("%.0f", rss))
		} else {
			cells = append(cells, "-", "-", "-", "-", "-", "-", fmt.Sprintf("%.2f", b.eventsPerWrite), "-")
		}
		_, _ = fmt.Fprintln(w, strings.Join(cells, "\t")+"\t")
		for i, r := range p.roles {
			if len(p.roles) > 1 {
				_, _ = fmt.Fprintf(w, "%s\t\t\t\t\t\t\t\t%.1f\t\t%.2f\t\t%.2f\t\t\t%.0f\t\n", r.name, b.request[i], b.burst[i], b.paced[i], r.memory().all)
			}
		}
	}
	_ = w.Flush()
	return out.String()
}

// memory of a process, in MiB: all that is resident, and what of it is no file's. Zeros when it is gone.
type memory struct{ all, own float64 }

func (r role) memory() memory {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", r.pid))
	var size, resident, shared int64
	if err != nil {
		return memory{}
	}
	if _, err := fmt.Sscan(string(data), &size, &resident, &shared); err != nil {
		return memory{}
	}
	page := float64(os.Getpagesize()) / mib
	return memory{float64(resident) * page, float64(resident-shared) * page}
}

func ms(d time.Duration) string { return fmt.Sprintf("%.2f ms", float64(d.Microseconds())/1e3) }
