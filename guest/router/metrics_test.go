package router

import (
	"bytes"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"cocoon/measure/dcap"
	"cocoon/measure/policy"
	"cocoon/measure/ratls"
	"cocoon/measure/tdx"
)

func pageOf(m *Metrics) string {
	var b bytes.Buffer
	m.Write(&b)
	return b.String()
}

// TestHistogram: buckets are cumulative, the last is the count, and the sum is the sum.
func TestHistogram(t *testing.T) {
	m := NewMetrics()
	h := m.stage("1", ratls.StageTLS)
	for _, d := range []time.Duration{50 * time.Microsecond, time.Millisecond, 3 * time.Millisecond, time.Minute} {
		h.observe(d)
	}
	text := pageOf(m)
	for le, want := range map[string]int{"0.0001": 1, "0.0005": 1, "0.001": 2, "0.0025": 2, "0.005": 3, "30": 3, "+Inf": 4} {
		if line := fmt.Sprintf("router_stage_seconds_bucket{listener=\"1\",stage=\"tls\",le=%q} %d\n", le, want); !strings.Contains(text, line) {
			t.Errorf("no line %s in\n%s", line, text)
		}
	}
	for _, line := range []string{`router_stage_seconds_count{listener="1",stage="tls"} 4`, `router_stage_seconds_sum{listener="1",stage="tls"} 60.00405`} {
		if !strings.Contains(text, line) {
			t.Errorf("no line %s in\n%s", line, text)
		}
	}
}

// TestSessionSeries: sessions are counted by listener and image; images beyond the bound share a series.
func TestSessionSeries(t *testing.T) {
	m := NewMetrics()
	var live []ratls.Session
	for i := range maxImages + 10 {
		live = append(live, ratls.Session{Label: "11001", Image: tdx.Hash{byte(i + 1)}})
	}
	live = append(live, ratls.Session{Label: "11002"}, ratls.Session{Label: "11002"}, ratls.Session{Label: "11001", Image: tdx.Hash{1}})
	m.watchSessions(func() []ratls.Session { return live })
	text := pageOf(m)
	for _, want := range []string{
		`router_sessions{listener="11001",image="01` + strings.Repeat("00", 31) + `"} 2`,
		`router_sessions{listener="11001",image="other"} 10`,
	} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("no line %s in\n%s", want, text)
		}
	}
	if n := strings.Count(text, "router_sessions{"); n > maxImages+2 {
		t.Errorf("%d series", n)
	}
	live = live[len(live)-3:]
	if text := pageOf(m); !strings.Contains(text, `router_sessions{listener="11002",image="none"} 2`) || strings.Count(text, "router_sessions{") != 2 {
		t.Errorf("after most sessions have ended:\n%s", text)
	}
}

// TestPlatformSeries: the last state of each platform model, bounded, without what names a machine.
func TestPlatformSeries(t *testing.T) {
	m := NewMetrics()
	all := m.watchModels()
	all.note(nil)
	all.note(&dcap.Result{FMSPC: dcap.FMSPC{0xab}, Combined: dcap.UpToDate, PPID: [16]byte{0x77, 0x88}})
	all.note(&dcap.Result{FMSPC: dcap.FMSPC{0xab}, Combined: dcap.OutOfDate, Advisories: []string{"INTEL-SA-00615"}})
	for i := range 2 * maxModels {
		all.note(&dcap.Result{FMSPC: dcap.FMSPC{byte(i), byte(i >> 8), 1}})
	}
	text := pageOf(m)
	for _, want := range []string{`router_platform_tcb{fmspc="ab0000000000",status="OutOfDate"} 1`, `router_platform_advisory{fmspc="ab0000000000",advisory="INTEL-SA-00615"} 1`} {
		if !strings.Contains(text, want) {
			t.Errorf("no line %s in\n%s", want, text)
		}
	}
	if n := strings.Count(text, "router_platform_tcb{"); n != maxModels {
		t.Errorf("%d models, at most %d", n, maxModels)
	}
	if strings.Contains(text, "7788") || strings.Contains(text, "UpToDate") {
		t.Error("the page names a machine, or a state that is over")
	}
}

// TestCertificateAlarm: less than six hours left mean that renewal has failed for long.
func TestCertificateAlarm(t *testing.T) {
	for left, want := range map[time.Duration]string{
		24 * time.Hour: "0", ratls.AlarmLeft: "0", ratls.AlarmLeft - time.Second: "1", -time.Hour: "1",
	} {
		m, now := NewMetrics(), time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
		m.WatchCertificate(func() time.Time { return now.Add(left) }, func() time.Time { return now })
		if text := pageOf(m); !strings.Contains(text, "router_certificate_alarm "+want+"\n") {
			t.Errorf("%s left: want alarm %s in\n%s", left, want, text)
		}
	}
}

// TestPageIsPrometheusText: after traffic every line is a series with a number, and none is there twice.
func TestPageIsPrometheusText(t *testing.T) {
	w := newWorld(t)
	id := w.identity(t, w.td)
	service := serveInner(t, echo)
	r := start(t, w, id, "-d 0 -R 11001:"+service.dest()+"@sim -S 8116@any", w.file(w.images(w.image), ""))
	r.metrics.WatchCertificate(id.Expires, time.Now)
	r.metrics.Certified()(time.Second, nil)
	exchange(t, dialPeer(t, w.client(t, id, policy.Builtin(policy.Any)), r.addr[11001]), 1000)
	line := regexp.MustCompile(`^([a-z_]+(?:\{(?:[a-z_]+="[^"\\\n]*",?)+\})?) (\S+)$`)
	seen := map[string]bool{}
	for text := range strings.Lines(r.text()) {
		parts := line.FindStringSubmatch(strings.TrimSuffix(text, "\n"))
		if parts == nil {
			t.Errorf("%q is no series", text)
			continue
		}
		if _, err := strconv.ParseFloat(parts[2], 64); err != nil || seen[parts[1]] {
			t.Errorf("%q: %v, seen before: %v", text, err, seen[parts[1]])
		}
		seen[parts[1]] = true
	}
	for _, want := range []string{
		`router_verifications_total{result="miss"}`, "router_certificate_expiry_seconds", "router_certificate_failures_total", `router_pow_difficulty{listener="11001"}`,
		`router_accepted_total{listener="11001"}`, `router_panics_total{listener="8116"}`, `router_stage_seconds_count{listener="process",stage="certificate"}`,
	} {
		if !seen[want] {
			t.Errorf("no series %s", want)
		}
	}
}
