package stats

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Health is the colour of a verdict, a number or a cell.
type Health string

// The colours; the zero value is neutral.
const (
	Good     Health = "good"
	Degraded Health = "warn"
	Bad      Health = "bad"
)

// Page is everything that /stats shows, in its order.
type Page struct {
	Role    string // "gateway", "proxy", "worker"
	Title   string
	Verdict Verdict
	// Identity is who this is: version, image, network.
	Identity []Fact
	// Numbers come first: what an operator asks.
	Numbers []Number
	Charts  []Chart
	Tables  []Table
	// Made is when the page was made.
	Made time.Time
}

// Verdict answers "is it alive and does it serve?".
type Verdict struct {
	Health  Health
	Word    string // "OK", "degraded", "down"
	Reasons []string
	Since   time.Time
}

// Fact is a name and a value. Mono is for hashes and addresses.
type Fact struct {
	Name, Value string
	Health      Health
	Mono        bool
}

// Number is one figure with its definition and window.
type Number struct {
	Name, Value, Unit, Definition string
	Health                        Health
}

// Chart is lines over one span of time.
type Chart struct {
	Title, Unit, Span string
	Lines             []Line
}

// Line is one series, oldest point first.
type Line struct {
	Name   string
	Points []float64
}

// Table is rows under a head. Empty is what it says without rows.
type Table struct {
	Title, Empty string
	Columns      []string
	Rows         [][]Cell
}

// Cell is one value of a table.
type Cell struct {
	Text   string
	Health Health
	// Right aligns numbers; Mono is for hashes and addresses.
	Right, Mono bool
}

var (
	//go:embed page.css
	style string
	//go:embed page.html.tmpl
	markup string
)

// Renderer turns pages into HTML. It is immutable.
type Renderer struct {
	tmpl   *template.Template
	policy string
}

// NewRenderer reads the embedded page.
func NewRenderer() (*Renderer, error) {
	t, err := template.New("page").Funcs(template.FuncMap{
		"utc":   func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") },
		"style": func() template.CSS { return template.CSS(style) }, //nolint:gosec // embedded with the program
		"chart": draw,
		"heads": heads,
		"kind":  func(h Health) string { return string(h) },
	}).Parse(markup)
	if err != nil {
		return nil, fmt.Errorf("reading the page's template: %w", err)
	}
	sum := sha256.Sum256([]byte(style))
	policy := "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
		"'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
	return &Renderer{tmpl: t, policy: policy}, nil
}

// Serve answers with a page.
func (r *Renderer) Serve(w http.ResponseWriter, p Page) error {
	var out bytes.Buffer
	if err := r.tmpl.Execute(&out, p); err != nil {
		return fmt.Errorf("rendering the page: %w", err)
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", r.policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Length", strconv.Itoa(out.Len()))
	_, err := w.Write(out.Bytes())
	return err
}

// heads are the column titles of a table, over numbers on the right where those are.
func heads(t Table) []Cell {
	out := make([]Cell, 0, len(t.Columns))
	for i, title := range t.Columns {
		out = append(out, Cell{Text: title, Right: len(t.Rows) > 0 && i < len(t.Rows[0]) && t.Rows[0][i].Right})
	}
	return out
}

// Geometry of a chart in its own units.
const chartWidth, chartHeight = 360, 96

// drawing is a chart as the template needs it.
type drawing struct {
	Chart
	Top    string
	Width  int
	Height int
	Paths  []path
	Flat   bool
}

type path struct {
	Name, Points, Class, Last string
}

// draw scales the lines of a chart.
func draw(c Chart) drawing {
	top := 0.0
	for _, l := range c.Lines {
		for _, v := range l.Points {
			if !math.IsNaN(v) && !math.IsInf(v, 0) {
				top = max(top, v)
			}
		}
	}
	d := drawing{Chart: c, Width: chartWidth, Height: chartHeight, Top: Short(top), Flat: top == 0}
	if d.Flat {
		top = 1
	}
	for i, l := range c.Lines {
		var b strings.Builder
		points := thin(l.Points)
		for j, v := range points {
			x := float64(j) * chartWidth / float64(max(len(points)-1, 1))
			y := chartHeight - min(max(v, 0), top)/top*(chartHeight-6) - 1
			fmt.Fprintf(&b, "%.1f,%.1f ", x, y)
		}
		last := ""
		if n := len(l.Points); n > 0 {
			last = Short(l.Points[n-1])
		}
		d.Paths = append(d.Paths, path{Name: l.Name, Points: strings.TrimSpace(b.String()), Class: fmt.Sprintf("l%d", i%4), Last: last})
	}
	return d
}

// thin keeps a page small: at most one point for two units of width, each the highest of those it stands for.
func thin(points []float64) []float64 {
	const most = chartWidth / 2
	if len(points) <= most {
		return points
	}
	out := make([]float64, most)
	for i := range out {
		from, to := i*len(points)/most, (i+1)*len(points)/most
		for _, v := range points[from:to] {
			out[i] = max(out[i], v)
		}
	}
	return out
}

// Short writes a number for a person: three digits that count, and a suffix for thousands.
func Short(v float64) string {
	for _, s := range []struct {
		from   float64
		suffix string
	}{{1e9, "G"}, {1e6, "M"}, {1e4, "k"}} {
		if math.Abs(v) >= s.from {
			unit := s.from
			if s.suffix == "k" {
				unit = 1e3
			}
			return strconv.FormatFloat(v/unit, 'g', 3, 64) + s.suffix
		}
	}
	switch a := math.Abs(v); {
	case a == 0:
		return "0"
	case a >= 100:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case a < 0.001:
		return strconv.FormatFloat(v, 'g', 2, 64)
	default:
		return strconv.FormatFloat(v, 'g', 3, 64)
	}
}

// Milliseconds writes a duration for a person.
func Milliseconds(d time.Duration) string {
	if d >= 10*time.Second {
		return strconv.FormatFloat(d.Seconds(), 'f', 1, 64) + " s"
	}
	return Short(float64(d.Microseconds())/1000) + " ms"
}
