package gateway

import (
	"encoding/hex"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"cocoon/contracts/api/stats"
	"cocoon/host/gateway/receipts"
)

func hexKey(k [32]byte) string { return hex.EncodeToString(k[:]) }

// home sends browsers to the page.
func (s *Server) home(w http.ResponseWriter, r *http.Request) {
	http.Redirect(w, r, "/stats", http.StatusSeeOther)
}

// page is everything that /stats shows of a gateway (inference.md section 19).
func (s *Server) page() stats.Page {
	now := s.cfg.Now()
	p := stats.Page{Role: "gateway", Title: "cocoon gateway", Made: now, Verdict: s.verdict()}
	if s.cfg.Test {
		p.Notice = "Test network: payments are worth nothing."
	}
	p.Identity = []stats.Fact{
		{Name: "Version", Value: s.cfg.Build.Version},
		{Name: "Commit", Value: stats.Hash(s.cfg.Build.Commit), Full: s.cfg.Build.Commit, Mono: true},
		{Name: "Wallet contract", Value: stats.Hash(s.cfg.Owner), Full: s.cfg.Owner, Mono: true},
		{Name: "Root contract", Value: stats.Hash(s.cfg.Root), Full: s.cfg.Root, Mono: true},
		{Name: "Up for", Value: stats.Span(now.Sub(s.started))},
		{Name: "Bad receipts", Value: map[Mode]string{Record: "are recorded", Require: "refuse the answer"}[s.cfg.Receipts]},
	}
	p.Identity = append(p.Identity, s.chainFact()...)
	if s.cfg.Store != nil {
		n, size, damaged := s.cfg.Store.Size()
		f := stats.Fact{Name: "Receipts kept", Value: fmt.Sprintf("%d, %s", n, stats.Bytes(float64(size)))}
		if damaged > 0 {
			f.Value, f.Health = f.Value+fmt.Sprintf(", %d lines damaged", damaged), stats.Bad
		}
		p.Identity = append(p.Identity, f)
	}
	p.Numbers = s.numbers(now)
	p.Charts = s.charts(now)
	p.Tables = []stats.Table{proxiesTable(s.cfg.Pool.Status(), now), s.modelsTable(), s.requestsTable(now)}
	return p
}

func (s *Server) charts(now time.Time) []stats.Chart {
	r := s.record
	ended := stats.Chart{Title: "Requests by outcome", Unit: "/s"}
	for _, status := range statuses() {
		line := r.ended[status].Line(status, now)
		line.Alarm = status == statusFailed
		ended.Lines = append(ended.Lines, line)
	}
	tokens := stats.Chart{Title: "Tokens", Unit: "/s"}
	for i, name := range []string{"prompt", "cached", "completion", "reasoning"} {
		tokens.Lines = append(tokens.Lines, r.tokens[i].Line(name, now))
	}
	return []stats.Chart{
		ended, r.ttft.Chart("First byte", now), r.total.Chart("Whole answer", now), tokens,
		{Title: "Spend", Unit: "nanoTON/s", Lines: []stats.Line{r.spent.Line("charged", now)}},
		{Title: "Under way", Lines: []stats.Line{r.underWay.Line("requests", now)}},
	}
}

// verdict is the first line of the page.
func (s *Server) verdict() stats.Verdict {
	ready, reasons := s.ready()
	v := stats.Verdict{Health: stats.Good, Word: "OK"}
	if _, bad := s.record.recent(); len(bad) > 0 {
		last := bad[len(bad)-1]
		v.Reasons = append(v.Reasons, fmt.Sprintf("%d receipts were not good, the last: %s", len(bad), last))
		v.Health, v.Word = stats.Degraded, "degraded"
		if last == "overcharged" {
			v.Health = stats.Bad
		}
	}
	for _, r := range reasons {
		text := r.Text
		if r.Proxy != "" {
			text = "proxy " + r.Proxy + ": " + text
		}
		v.Reasons = append(v.Reasons, text)
		if v.Word = "degraded"; v.Health != stats.Bad {
			v.Health = stats.Degraded
		}
		if r.Code == string(receipts.Overcharged) {
			v.Health = stats.Bad
		}
	}
	if !ready {
		v.Health, v.Word = stats.Bad, "down"
	}
	return s.record.health.Note(s.cfg.Now(), v)
}

// numbers are what an operator asks first.
func (s *Server) numbers(now time.Time) []stats.Number {
	r := s.record
	queries, success, failed := r.queries(now), r.success(now), r.failed(now)
	const minute, day = 3, 6
	share := stats.Number{Name: "Success", Value: "-", Definition: "complete of complete and failed, since the start"}
	if ended := success[0] + failed[0]; ended > 0 {
		share.Value, share.Unit, share.Health = stats.Percent(success[0]/ended), "%", stats.Share(success[0]/ended)
	}
	quantile := func(name string, d *stats.Latency, q float64, definition string) stats.Number {
		n := stats.Number{Name: name, Value: "-", Definition: definition}
		if v, ok := d.Quantile(now, q); ok {
			n.Value, n.Unit, _ = strings.Cut(stats.Milliseconds(v), " ")
		}
		return n
	}
	const secondsOfDay = 86400
	spend, unit := stats.Coins(r.nano.Read(now)[day] * secondsOfDay)
	return []stats.Number{
		{Name: "Requests", Value: stats.Short(queries[minute]), Unit: "per s", Definition: fmt.Sprintf("mean of about a minute; %s since the start", stats.Short(queries[0]))},
		share,
		quantile("First byte, P50", r.ttft, 0.5, "from the request's arrival; about ten minutes"),
		quantile("First byte, P95", r.ttft, 0.95, "from the request's arrival; about ten minutes"),
		{Name: "Speed", Value: stats.Short(r.completion.Read(now)[minute]), Unit: "tokens/s", Definition: "of answers, mean of about a minute"},
		{Name: "Spend", Value: spend, Unit: unit, Definition: "charged by receipts in about a day"},
		{Name: "Under way", Value: strconv.FormatInt(r.active.Load(), 10), Definition: "requests at this moment"},
		{Name: "Receipts", Value: stats.Short(r.receiptOK.Read(now)[0]), Unit: "good", Definition: fmt.Sprintf("%s bad, %s missing, since the start",
			stats.Short(r.receiptBad.Read(now)[0]), stats.Short(r.receiptMissing.Read(now)[0]))},
	}
}
