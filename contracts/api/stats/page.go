package stats

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"net/http"
	"strconv"
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

// Page is everything that /stats shows.
type Page struct {
	Role    string // "gateway", "proxy", "worker"
	Title   string
	Verdict Verdict
	// Notice is what everybody who reads the page must know first, such as that the network is simulated.
	Notice string
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
	Health Health
	Word   string // "OK", "degraded", "down"
	// State is what it is doing, where that is not the same: a worker is earning, idle or not eligible.
	State   string
	Reasons []string
	Since   time.Time
}

// Fact is a name and a value. Mono is for hashes and addresses, Full the whole of a Value that was shortened. A fact
// without a value is not shown.
type Fact struct {
	Name, Value, Full string
	Health            Health
	Mono              bool
}

// Number is one figure with its definition and window.
type Number struct {
	Name, Value, Unit, Definition string
	Health                        Health
}

// Table is rows under a head. The first cell names its row; Empty is what the table says without rows.
type Table struct {
	Title, Empty string
	Columns      []string
	Rows         [][]Cell
}

// Cell is one value of a table.
type Cell struct {
	Text   string
	Health Health
	// Full is the whole of a Text that was shortened, and shows when somebody points at it.
	Full string
	// Right aligns numbers; Mono is for hashes and addresses.
	Right, Mono bool
}

var (
	//go:embed page.css
	style string
	//go:embed page.js
	script string
)

// Renderer turns pages into HTML. It is immutable.
type Renderer struct {
	policy string
}

// NewRenderer makes one.
func NewRenderer() *Renderer {
	pin := func(text string) string {
		sum := sha256.Sum256([]byte(text))
		return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
	}
	policy := "default-src 'none'; style-src " + pin(style) + "; script-src " + pin(script) +
		"; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
	return &Renderer{policy: policy}
}

// view is a page with what the reader asked of it.
type view struct {
	Page
	Span  *span
	Spans []span
}

// Serve answers with a page. The query's span says how much of the past the charts show: 10m, 1h or 24h.
func (r *Renderer) Serve(w http.ResponseWriter, req *http.Request, p Page) error {
	v := view{Page: p, Spans: spans()}
	v.Span = &v.Spans[1]
	for i, s := range v.Spans {
		if s.Query == req.URL.Query().Get("span") {
			v.Span = &v.Spans[i]
		}
	}
	out := newHTML().page(&v)
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", r.policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Length", strconv.Itoa(len(out)))
	_, err := w.Write(out)
	return err
}

// line is a row of a table whose cells know their columns, for narrow screens.
type line []struct {
	Cell
	Column string
}

// rows are a table as the template needs it.
type rows struct {
	Table
	Head  []Cell
	Lines []line
}

// table puts heads over numbers on the right where those are.
func table(t Table) rows {
	out := rows{Table: t}
	for i, title := range t.Columns {
		out.Head = append(out.Head, Cell{Text: title, Right: len(t.Rows) > 0 && i < len(t.Rows[0]) && t.Rows[0][i].Right})
	}
	for _, row := range t.Rows {
		l := make(line, len(row))
		for i, c := range row {
			l[i].Cell = c
			if i < len(t.Columns) {
				l[i].Column = t.Columns[i]
			}
		}
		out.Lines = append(out.Lines, l)
	}
	return out
}
