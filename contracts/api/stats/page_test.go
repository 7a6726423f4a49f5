package stats

import (
	"bytes"
	"encoding/json"
	"html/template"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const hostile = `"><script>alert(1)</script>`

func page() Page {
	return Page{
		Role: "proxy", Title: hostile, Made: t0, Notice: hostile, Verdict: Verdict{Health: Degraded, Word: "degraded", State: hostile, Reasons: []string{hostile}, Since: t0},
		Identity: []Fact{{Name: "n", Value: hostile, Mono: true}},
		Numbers:  []Number{{Name: hostile, Value: hostile, Unit: hostile, Definition: hostile}},
		Charts: []Chart{
			{Title: hostile, Unit: hostile, Lines: []Line{{Name: hostile, Hour: Points{0, 1, 5, 2}, Day: Points{9, 9}}, {Name: "none"}}},
			{Title: "flat"},
		},
		Tables: []Table{
			{Title: hostile, Columns: []string{hostile, "n"}, Rows: [][]Cell{{{Text: hostile, Full: hostile}, {Text: "7", Right: true, Health: Bad}}}},
			{Title: "empty", Empty: hostile},
		},
	}
}

func render(t *testing.T, p Page, url string) *httptest.ResponseRecorder {
	t.Helper()
	r := NewRenderer()
	w := httptest.NewRecorder()
	if err := r.Serve(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, url, nil), p); err != nil {
		t.Fatal(err)
	}
	return w
}

func TestThePageEscapesEverythingAndLoadsNothing(t *testing.T) {
	w := render(t, page(), "/stats")
	body := w.Body.String()
	for _, bad := range []string{"http:", "https:", "<img", "ZgotmplZ", "javascript:", "alert(1)</s"} {
		if strings.Contains(body, bad) {
			t.Errorf("the page has %s", bad)
		}
	}
	if n := strings.Count(body, "<script"); n != 1 {
		t.Errorf("%d scripts", n)
	}
	for _, want := range []string{"&lt;script&gt;", "prefers-color-scheme:dark", `class="bad right"`, "<polyline", "nothing yet", "2026-03-04 05:06:07 UTC", `<noscript><meta http-equiv="refresh"`} {
		if !strings.Contains(body, want) {
			t.Errorf("the page has no %s", want)
		}
	}
	policy := w.Header().Get("Content-Security-Policy")
	if !strings.HasPrefix(policy, "default-src 'none'; style-src 'sha256-") || strings.Contains(policy, "unsafe") {
		t.Errorf("policy %s", policy)
	}
	if again := render(t, page(), "/stats"); again.Body.String() != body {
		t.Error("the same page has other bytes")
	}
}

func TestAPageIsSmallAtItsFullest(t *testing.T) {
	busy := make(Points, longSlots)
	for i := range busy {
		busy[i] = float64(i * 7919 % 1013)
	}
	p := page()
	p.Charts, p.Tables = nil, nil
	for range 6 {
		p.Charts = append(p.Charts, Chart{Title: "Requests", Unit: "/s", Lines: []Line{{Name: "a", Hour: busy, Day: busy}, {Name: "b", Hour: busy, Day: busy}, {Name: "c", Hour: busy, Day: busy}}})
	}
	columns, row := make([]string, 11), make([]Cell, 11)
	for i := range row {
		columns[i], row[i] = "a column", Cell{Text: "some value of it", Health: Good, Right: true}
	}
	rows := make([][]Cell, 20)
	for i := range rows {
		rows[i] = row
	}
	p.Tables = []Table{{Title: "Requests", Columns: columns, Rows: rows}}
	const most = 60_000
	for _, url := range []string{"/stats", "/stats?span=24h"} {
		if n := render(t, p, url).Body.Len(); n >= most {
			t.Errorf("%s has %d bytes", url, n)
		}
	}
}

func TestTheSpanIsChosenWithoutScripts(t *testing.T) {
	for url, says := range map[string]string{"/stats": "1 h ago", "/stats?span=10m": "10 min ago", "/stats?span=1h": "1 h ago", "/stats?span=24h": "24 h ago", "/stats?span=%22": "1 h ago"} {
		body := render(t, page(), url).Body.String()
		if strings.Count(body, `href="?span=`) != len(spans())-1 || !strings.Contains(body, says) {
			t.Errorf("%s does not say %s, or shows no way to the others", url, says)
		}
	}
}

// TestColoursAreReadable computes the contrast of every text colour of the style with what it stands on, after WCAG 2.2
// (success criterion 1.4.3).
func TestColoursAreReadable(t *testing.T) {
	const enough = 4.5
	_, dark, ok := strings.Cut(style, "@media(prefers-color-scheme:dark)")
	if !ok {
		t.Fatal("there is no dark theme")
	}
	for theme, text := range map[string]string{"light": style[:strings.IndexByte(style, '}')], "dark": dark[:strings.IndexByte(dark, '}')]} {
		colours := make(map[string]float64)
		for _, m := range regexp.MustCompile(`--(\w+):#(\w+)`).FindAllStringSubmatch(text, -1) {
			colours[m[1]] = luminance(t, m[2])
		}
		pairs := map[string][]string{
			"card": {"ink", "dim", "good", "warn", "bad", "a", "b", "c", "d"}, "bg": {"ink", "dim", "a"}, "goodbg": {"ink", "dim", "good"},
			"warnbg": {"ink", "dim", "warn"}, "badbg": {"ink", "dim", "bad"}, "ink": {"bg"},
		}
		for under, inks := range pairs {
			for _, ink := range inks {
				a, b := colours[ink], colours[under]
				if ratio := (max(a, b) + 0.05) / (min(a, b) + 0.05); ratio < enough {
					t.Errorf("%s: %s on %s has a contrast of %.2f", theme, ink, under, ratio)
				}
			}
		}
	}
}

// luminance is the relative luminance of a colour of sRGB, as WCAG defines it.
func luminance(t *testing.T, hex string) float64 {
	t.Helper()
	if len(hex) == 3 {
		hex = string([]byte{hex[0], hex[0], hex[1], hex[1], hex[2], hex[2]})
	}
	n, err := strconv.ParseUint(hex, 16, 24)
	if err != nil {
		t.Fatal(err)
	}
	linear := func(shift uint) float64 {
		c := float64(n>>shift&0xff) / 255
		if c <= 0.04045 {
			return c / 12.92
		}
		return math.Pow((c+0.055)/1.055, 2.4)
	}
	return 0.2126*linear(16) + 0.7152*linear(8) + 0.0722*linear(0)
}

func TestNumbersForPeople(t *testing.T) {
	for in, want := range map[float64]string{
		0: "0", 0.5: "0.5", 12.345: "12.3", 99.96: "100", 999.6: "1000", 9999: "9999", 12345: "12.3k", 999_900: "1M", 2.5e6: "2.5M", 7e9: "7G", 3e12: "3T", 0.0001234: "0.00012", -5: "-5",
	} {
		if got := Short(in); got != want {
			t.Errorf("%v is %s, want %s", in, got, want)
		}
	}
	for in, want := range map[time.Duration]string{
		1500 * time.Microsecond: "1.5 ms", 12 * time.Second: "12 s", 1234 * time.Millisecond: "1.23 s", 0: "0 ms", 3 * time.Minute: "3 min", 999 * time.Millisecond: "999 ms",
	} {
		if got := Milliseconds(in); got != want {
			t.Errorf("%s is %s, want %s", in, got, want)
		}
	}
	for in, want := range map[time.Duration]string{-time.Second: "0 s", 59 * time.Second: "59 s", time.Hour: "1 h", 47 * time.Hour: "47 h", 49 * time.Hour: "2 days"} {
		if got := Span(in); got != want {
			t.Errorf("%s spans %s, want %s", in, got, want)
		}
	}
	for in, want := range map[float64]string{0: "0 TON", 5: "5 nanoTON", 2e6: "0.002 TON", 3.5e9: "3.5 TON"} {
		if value, unit := Coins(in); value+" "+unit != want {
			t.Errorf("%v is %s %s, want %s", in, value, unit, want)
		}
	}
	for got, want := range map[string]string{Bytes(512): "512 B", Bytes(1536): "1.5 KiB", Bytes(3 << 30): "3 GiB", Percent(0.5): "50.0", Percent(math.NaN()): "-", Hash("0123456789abcdef0123"): "0123456789…ef0123", Hash("short"): "short"} {
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestStrokesKeepPeaksAndGaps(t *testing.T) {
	points := make(Points, longSlots)
	points[333] = 9
	thinned := thin(points)
	if len(thinned) != chartPoints || highest(thinned) != 9 {
		t.Errorf("%d points, the highest %v", len(thinned), highest(thinned))
	}
	one := strokes(thinned, 10)
	if len(one) != 1 || strings.Count(one[0], " ") > 6 {
		t.Errorf("a peak on a level line is drawn as %q", one)
	}
	nan := math.NaN()
	if got := strokes(Points{nan, 1, nan, 2, 3, nan}, 5); len(got) != 2 {
		t.Errorf("two stretches are drawn as %q", got)
	}
	for v, want := range map[float64]float64{0: 1, 0.07: 0.1, 1: 1, 3: 5, 11: 20, 51: 100} {
		if got := round(v); math.Abs(got-want) > want*1e-9 {
			t.Errorf("the axis for %v ends at %v", v, got)
		}
	}
}

func TestTheSurfaceShowsAndChangesNothing(t *testing.T) {
	ready := false
	surface, err := NewSurface(Views{
		Page: page, JSON: func() any { return map[string]float64{"a": 1} }, Metrics: func(w io.Writer) { _, _ = io.WriteString(w, "cocoon_x 1\n") },
		Ready: func() Readiness { return Readiness{Ready: ready, Reasons: []Reason{{Code: "no_proxy", Text: hostile}}} },
	}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	get := func(method, path string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		surface.Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, path, nil))
		return w
	}
	for _, tc := range []struct {
		method, path string
		status       int
		has          string
	}{
		{"GET", "/stats", 200, "<!doctype html>"},
		{"GET", "/jsonstats", 200, `{"a":1}`},
		{"GET", "/metrics", 200, "cocoon_x 1"},
		{"GET", "/healthz", 200, `"ok"`},
		{"GET", "/readyz", 503, `"code":"no_proxy"`},
		{"GET", "/", 303, ""},
		{"GET", "/stats/", 404, "nothing at this path"},
		{"POST", "/stats", 405, ""},
		{"POST", "/request/disable", 405, "operators' port"},
	} {
		w := get(tc.method, tc.path)
		if w.Code != tc.status || !strings.Contains(w.Body.String(), tc.has) || strings.Contains(w.Body.String(), "<script>alert") {
			t.Errorf("%s %s: %d, %s", tc.method, tc.path, w.Code, w.Body)
		}
	}
	ready = true
	var doc struct{ Reasons []Reason }
	if w := get("GET", "/readyz"); w.Code != 200 || json.Unmarshal(w.Body.Bytes(), &doc) != nil || len(doc.Reasons) != 1 {
		t.Errorf("ready: %d, %s", w.Code, w.Body)
	}
	if _, err := NewSurface(Views{Page: page}, nil); err == nil {
		t.Error("a surface without views")
	}
}

func TestPerfSaysWhatTheProcessDoes(t *testing.T) {
	var out bytes.Buffer
	WritePerf(&out)
	for _, want := range []string{"go1.", "/sched/goroutines:goroutines", "/memory/classes/total:bytes", "cpu-seconds"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %s in\n%s", want, out.String())
		}
	}
	var m Metrics
	m.Process(1.5)
	if text := string(m.Bytes()); !strings.Contains(text, "cocoon_process_uptime_seconds 1.5\n") || !strings.Contains(text, "cocoon_process_memory_bytes") {
		t.Errorf("got\n%s", text)
	}
}

// TestPagesAreWhatTheLibraryWouldWrite: html/template, which knows the context of every value, gives the same bytes for the
// same page. It also writes + as a reference, for browsers that are gone.
func TestPagesAreWhatTheLibraryWouldWrite(t *testing.T) {
	markup, err := os.ReadFile("testdata/page.html.tmpl")
	if err != nil {
		t.Fatal(err)
	}
	library, err := template.New("page").Funcs(template.FuncMap{
		"utc": utc, "draw": draw, "lines": table,
		"style":  func() template.CSS { return template.CSS(style) }, // embedded with the program
		"script": func() template.JS { return template.JS(script) },
		"span":   func(t, now time.Time) string { return Span(now.Sub(t)) },
	}).Parse(string(markup))
	if err != nil {
		t.Fatal(err)
	}
	bare := Page{Title: "bare", Made: t0, Verdict: Verdict{Health: Bad, Word: "down"}}
	odd := page()
	odd.Notice, odd.Verdict.Health, odd.Title = "", Good, "a\x00b & 'c' + \"d\" <e> \u2028 \xff"
	odd.Identity = append(odd.Identity, Fact{Name: "nothing"}, Fact{Name: "short", Value: "s", Full: hostile, Health: Bad})
	for name, p := range map[string]Page{"hostile": page(), "bare": bare, "odd": odd} {
		for i := range spans() {
			v := view{Page: p, Spans: spans()}
			v.Span = &v.Spans[i]
			var want bytes.Buffer
			if err := library.Execute(&want, v); err != nil {
				t.Fatal(err)
			}
			got := string(newHTML().page(&v))
			if diff := cmp.Diff(strings.ReplaceAll(want.String(), "&#43;", "+"), got); diff != "" {
				t.Errorf("%s, %s (-library +ours):\n%s", name, v.Span.Name, diff)
			}
		}
	}
}
