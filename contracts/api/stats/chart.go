package stats

import (
	"math"
	"strconv"
	"strings"
)

// span is how much of the past is shown.
type span struct {
	Query, Name   string
	From, Between string // how long ago the left end and the middle of a chart are
	of            func(Line) Points
}

func spans() []span {
	const tenMinutes = 60 // slots of an hour's history
	return []span{
		{"10m", "10 min", "10 min ago", "5 min", func(l Line) Points { return l.Hour[max(len(l.Hour)-tenMinutes, 0):] }},
		{"1h", "1 hour", "1 h ago", "30 min", func(l Line) Points { return l.Hour }},
		{"24h", "24 hours", "24 h ago", "12 h", func(l Line) Points { return l.Day }},
	}
}

// Chart is lines over the last hour and the last day. Unit is "ms", "%", a name, or empty.
type Chart struct {
	Title, Unit string
	Lines       []Line
}

// Line is one quantity. Alarm draws it in the colour of what is bad.
type Line struct {
	Name      string
	Hour, Day Points
	Alarm     bool
}

// Geometry of a chart in its own units, and how many points its width has.
const chartWidth, chartHeight, chartPoints = 240, 200, 120

// drawing is a chart as the template needs it.
type drawing struct {
	Chart
	Top, Middle   string
	Label         string // the unit, where it is the same for all values
	Width, Height int
	Paths         []path
	Flat          bool
}

// path is one line: a stroke for each time that is known without a break.
type path struct {
	Name, Class, Last, Most string
	Strokes                 []string
}

// draw scales the lines of a chart.
func draw(c Chart, s *span) drawing {
	d := drawing{Chart: c, Width: chartWidth, Height: chartHeight}
	unit := c.Unit
	if unit != "ms" { // whose values have units of their own
		d.Label, unit = unit, ""
	}
	most := 0.0
	all := make([]Points, len(c.Lines))
	for i, l := range c.Lines {
		all[i] = thin(s.of(l))
		most = max(most, highest(all[i]))
	}
	top := round(most)
	d.Flat = most == 0
	d.Top, d.Middle = amount(top, unit), amount(top/2, unit)
	colour := 0
	for i, l := range c.Lines {
		p := path{Name: l.Name, Class: "alarm", Last: amount(last(l.Hour), unit)}
		if m := highest(all[i]); m > 0 {
			p.Most = amount(m, unit)
		}
		if !l.Alarm {
			p.Class, colour = "l"+strconv.Itoa(colour%4), colour+1
		}
		p.Strokes = strokes(all[i], top)
		d.Paths = append(d.Paths, p)
	}
	return d
}

func highest(points Points) (most float64) {
	for _, v := range points {
		if !math.IsNaN(v) && !math.IsInf(v, 0) {
			most = max(most, v)
		}
	}
	return most
}

// last is the newest point that is known and whose time is over.
func last(points Points) float64 {
	for i := len(points) - 2; i >= max(len(points)-4, 0); i-- {
		if !math.IsNaN(points[i]) {
			return points[i]
		}
	}
	if n := len(points); n > 0 {
		return points[n-1]
	}
	return math.NaN()
}

// round is the next number that is easy to read: 1, 2 or 5 times a power of ten.
func round(v float64) float64 {
	if v <= 0 {
		return 1
	}
	step := math.Pow(10, math.Floor(math.Log10(v)))
	for _, k := range []float64{1, 2, 5, 10} {
		if v <= k*step*(1+1e-9) {
			return k * step
		}
	}
	return v
}

// strokes are the polylines of a line. Points in the middle of a level stretch are left out.
func strokes(points Points, top float64) (out []string) {
	var b strings.Builder
	x := func(i int) int { return i * chartWidth / max(len(points)-1, 1) }
	y := func(v float64) int { return chartHeight - int(math.Round(min(max(v, 0), top)/top*(chartHeight-4))) - 1 }
	known := func(i int) bool {
		return i >= 0 && i < len(points) && !math.IsNaN(points[i]) && !math.IsInf(points[i], 0)
	}
	for i := range points {
		if !known(i) {
			continue
		}
		here := y(points[i])
		if known(i-1) && known(i+1) && y(points[i-1]) == here && y(points[i+1]) == here {
			continue
		}
		b.WriteString(strconv.Itoa(x(i)) + "," + strconv.Itoa(here))
		if known(i + 1) {
			b.WriteByte(' ')
			continue
		}
		if !known(i - 1) { // a lonely point is a dash
			b.WriteString(" " + strconv.Itoa(min(x(i)+2, chartWidth)) + "," + strconv.Itoa(here))
		}
		out = append(out, b.String())
		b.Reset()
	}
	return out
}

// thin keeps a page small: each point is the highest of those it stands for.
func thin(points Points) Points {
	if len(points) <= chartPoints {
		return points
	}
	out := make(Points, chartPoints)
	for i := range out {
		out[i] = math.NaN()
		for _, v := range points[i*len(points)/chartPoints : (i+1)*len(points)/chartPoints] {
			if math.IsNaN(out[i]) || v > out[i] {
				out[i] = v
			}
		}
	}
	return out
}
