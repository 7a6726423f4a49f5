package stats

import "time"

// icon is the verdict's shape and colour: a disc, a triangle, a square.
func icon(health Health) markup {
	const begin, end = `<link rel="icon" href="data:image/svg+xml,%3Csvg xmlns='http%3A//www.w3.org/2000/svg' viewBox='0 0 9 9'%3E`, `/%3E%3C/svg%3E">`
	switch health {
	case Good:
		return begin + `%3Ccircle cx='4.5' cy='4.5' r='4' fill='%231a8f4c'` + end
	case Degraded:
		return begin + `%3Cpath d='M4.5 0L9 9H0Z' fill='%23c98a00'` + end
	default:
		return begin + `%3Cpath d='M0 0H9V9H0Z' fill='%23d0322a'` + end
	}
}

func utc(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

// page writes a document.
func (h *html) page(v *view) []byte {
	h.is("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n" +
		"<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<meta name=\"color-scheme\" content=\"light dark\">\n" +
		"<noscript><meta http-equiv=\"refresh\" content=\"15\"></noscript>\n<title>")
	h.says(v.Verdict.Word).with(", ", v.Verdict.State, "").is(" · ").says(v.Title).is("</title>\n").is(icon(v.Verdict.Health))
	h.is("\n<style>").is(markup(style)).is("</style>\n</head>\n<body>\n<main>\n<header id=\"head\" data-live><h1>").says(v.Title)
	h.is("</h1><p>").says(utc(v.Made)).is("</p></header>\n" +
		"<p class=\"lost\" role=\"alert\">This page gets no answer any more: what it shows is old.</p>\n")
	h.with(`<p class="notice">`, v.Notice, "</p>\n")
	h.verdict(v)
	h.identity(v.Identity)
	h.numbers(v.Numbers)
	h.charts(v)
	h.is("<div id=\"tables\" data-live>\n")
	for _, t := range v.Tables {
		h.table(table(t))
	}
	h.is("</div>\n<footer><a href=\"/jsonstats\">JSON</a> <a href=\"/metrics\">metrics</a> <a href=\"/readyz\">readiness</a></footer>\n" +
		"</main>\n<script>").is(markup(script)).is("</script>\n</body>\n</html>\n")
	return h.b
}

func (h *html) verdict(v *view) {
	h.is(`<section id="verdict" data-live class="verdict `).says(string(v.Verdict.Health)).is("\" aria-label=\"Verdict\">\n<p><strong>")
	h.says(v.Verdict.Word).is("</strong>").with(" <b>", v.Verdict.State, "</b>")
	if since := v.Verdict.Since; !since.IsZero() {
		h.is(" <span>for ").says(Span(v.Made.Sub(since))).is(", since ").says(utc(since)).is("</span>")
	}
	h.is("</p>")
	for i, reason := range v.Verdict.Reasons {
		h.when(i == 0, "\n<ul>").is("<li>").says(reason).is("</li>")
	}
	h.when(len(v.Verdict.Reasons) > 0, "</ul>").is("\n</section>\n")
}

func (h *html) identity(facts []Fact) {
	h.is("<section id=\"identity\" data-live class=\"card facts\" aria-label=\"Identity\"><dl>\n")
	for _, f := range facts {
		if f.Value == "" {
			continue
		}
		h.is("<div><dt>").says(f.Name).is(`</dt><dd class="`).says(string(f.Health)).when(f.Mono, " mono").is(`"`)
		h.with(` title="`, f.Full, `"`).is(">").says(f.Value).is("</dd></div>\n")
	}
	h.is("</dl></section>\n")
}

func (h *html) numbers(numbers []Number) {
	h.is("<section id=\"numbers\" data-live class=\"tiles\" aria-label=\"Numbers\">\n")
	for _, n := range numbers {
		h.is(`<div class="card tile"><h2>`).says(n.Name).is(`</h2><p class="`).says(string(n.Health)).is(`">`).says(n.Value)
		h.with(" <small>", n.Unit, "</small>").is("</p><i>").says(n.Definition).is("</i></div>\n")
	}
	h.is("</section>\n")
}

func (h *html) charts(v *view) {
	if len(v.Charts) == 0 {
		return
	}
	h.is(`<nav class="spans" aria-label="Span of the charts"><h2>History</h2>`)
	for _, s := range v.Spans {
		if s.Query == v.Span.Query {
			h.is(`<b aria-current="true">`).says(s.Name).is("</b>")
			continue
		}
		h.is(`<a href="?span=`).says(s.Query).is(`">`).says(s.Name).is("</a>")
	}
	h.is("</nav>\n<section id=\"charts\" data-live class=\"charts\" aria-label=\"Charts\">\n")
	for _, c := range v.Charts {
		h.chart(draw(c, v.Span), v.Span)
	}
	h.is("</section>\n")
}

func (h *html) chart(d drawing, s *span) {
	h.is(`<figure class="card"><figcaption><h3>`).says(d.Title).with(" <small>", d.Label, "</small>").is("</h3>\n<ul>")
	for _, p := range d.Paths {
		h.is(`<li class="`).says(p.Class).is(`"><span>`).says(p.Name).is("</span> <b>").says(p.Last).is("</b>")
		h.with(" <small>top ", p.Most, "</small>").is("</li>")
	}
	h.is("</ul></figcaption>\n<div class=\"plot").when(d.Flat, " flat").is(`"><span class="y">`).says(d.Top)
	h.is(`</span><span class="y mid">`).says(d.Middle).is("</span>\n<svg viewBox=\"0 0 ").number(d.Width).is(" ").number(d.Height)
	h.is(`" preserveAspectRatio="none" role="img" aria-label="`).says(d.Title).with(", ", d.Label, "")
	for _, p := range d.Paths {
		h.is("; ").says(p.Name).is(": now ").says(p.Last).with(", top ", p.Most, "")
	}
	h.is(`">`)
	for _, p := range d.Paths {
		for _, stroke := range p.Strokes {
			h.is(`<polyline class="`).says(p.Class).is(`" points="`).says(stroke).is(`"/>`)
		}
	}
	h.is("</svg>").when(d.Flat, "<em>nothing yet</em>").is("</div>\n<div class=\"x\"><span>").says(s.From)
	h.is("</span><span>").says(s.Between).is("</span><span>now</span></div></figure>\n")
}

func (h *html) table(t rows) {
	h.is("<section><h2>").says(t.Title).is("</h2>\n<div class=\"card rows\"")
	if len(t.Lines) == 0 {
		h.is(`><p class="empty">`).says(t.Empty).is("</p></div></section>\n")
		return
	}
	h.is(` role="region" aria-label="`).says(t.Title).is(`" tabindex="0"><table><thead><tr>`)
	for _, c := range t.Head {
		h.is(`<th scope="col"`).when(c.Right, ` class="right"`).is(">").says(c.Text).is("</th>")
	}
	h.is("</tr></thead>\n<tbody>")
	for _, l := range t.Lines {
		h.is("<tr>")
		for i, c := range l {
			begin, end := markup("<td"), markup("</td>")
			if i == 0 {
				begin, end = `<th scope="row"`, "</th>"
			}
			h.is(begin).is(` class="`).says(string(c.Health)).when(c.Right, " right").when(c.Mono, " mono").is(`" data-of="`).says(c.Column).is(`"`)
			h.with(` title="`, c.Full, `"`).is(">").says(c.Text).is(end)
		}
		h.is("</tr>\n")
	}
	h.is("</tbody></table></div></section>\n")
}
