package gateway

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"runtime/metrics"
	"strconv"
	"strings"
	"time"

	"cocoon/contracts/api"
	"cocoon/contracts/api/stats"
	"cocoon/host/gateway/upstream"
)

func hexKey(k [32]byte) string { return hex.EncodeToString(k[:]) }

// home sends browsers to the page.
func (s *Server) home(w http.ResponseWriter, r *http.Request) {
	http.Redirect(w, r, "/stats", http.StatusSeeOther)
}

func (s *Server) stats(w http.ResponseWriter, _ *http.Request) {
	if err := s.render.Serve(w, s.page()); err != nil {
		s.cfg.Log.Debug("Page was not sent", slog.Any("err", err))
	}
}

// page is everything that /stats shows of a gateway (inference.md section 19).
func (s *Server) page() stats.Page {
	now, r := s.cfg.Now(), s.record
	all := s.cfg.Pool.Status()
	p := stats.Page{Role: "gateway", Title: "cocoon gateway", Made: now, Verdict: s.verdict(all)}
	p.Identity = []stats.Fact{
		{Name: "Version", Value: s.cfg.Build.Version},
		{Name: "Commit", Value: s.cfg.Build.Commit, Mono: true},
		{Name: "Network", Value: map[bool]string{true: "test network", false: "main network"}[s.cfg.Test]},
		{Name: "Wallet contract", Value: s.cfg.Owner, Mono: true},
		{Name: "Root contract", Value: s.cfg.Root, Mono: true},
		{Name: "Up since", Value: s.started.UTC().Format(time.DateTime) + " UTC"},
		{Name: "Receipts", Value: string(s.cfg.Receipts)},
	}
	p.Identity = append(p.Identity, s.chainFact()...)
	if s.cfg.Store != nil {
		n, size, damaged := s.cfg.Store.Size()
		f := stats.Fact{Name: "Receipts kept", Value: fmt.Sprintf("%d, %sB", n, stats.Short(float64(size)))}
		if damaged > 0 {
			f.Value, f.Health = f.Value+fmt.Sprintf(", %d lines damaged", damaged), stats.Bad
		}
		p.Identity = append(p.Identity, f)
	}
	p.Numbers = s.numbers(now)
	hour := func(title, unit string, lines ...stats.Line) stats.Chart {
		return stats.Chart{Title: title, Unit: unit, Span: "1 h", Lines: lines}
	}
	p.Charts = []stats.Chart{
		hour("Requests", "per s", stats.Line{Name: "all", Points: r.requestsHistory.Hour(now)}, stats.Line{Name: "failed", Points: r.failedHistory.Hour(now)}),
		hour("Tokens", "per s", stats.Line{Name: "prompt", Points: r.tokensIn.Hour(now)}, stats.Line{Name: "completion", Points: r.tokensOut.Hour(now)}),
		hour("Spend", "nanoTON per s", stats.Line{Name: "spend", Points: r.spent.Hour(now)}),
		{Title: "Requests", Unit: "per s", Span: "24 h", Lines: []stats.Line{{Name: "all", Points: r.requestsHistory.Day(now)}, {Name: "failed", Points: r.failedHistory.Day(now)}}},
		{Title: "Tokens", Unit: "per s", Span: "24 h", Lines: []stats.Line{{Name: "prompt", Points: r.tokensIn.Day(now)}, {Name: "completion", Points: r.tokensOut.Day(now)}}},
		{Title: "Spend", Unit: "nanoTON per s", Span: "24 h", Lines: []stats.Line{{Name: "spend", Points: r.spent.Day(now)}}},
	}
	p.Tables = []stats.Table{proxiesTable(all, now), s.modelsTable(), s.requestsTable(now)}
	return p
}

// verdict is the first line of the page.
func (s *Server) verdict(all []upstream.Status) stats.Verdict {
	ready, reasons := s.ready()
	v := stats.Verdict{Health: stats.Good, Word: "OK"}
	for _, p := range all {
		if p.State == upstream.Ready && (v.Since.IsZero() || p.Since.Before(v.Since)) {
			v.Since = p.Since
		}
	}
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
		v.Health, v.Word = stats.Degraded, "degraded"
	}
	if !ready {
		v.Health, v.Word, v.Since = stats.Bad, "down", s.started
		for _, p := range all {
			if p.Since.After(v.Since) {
				v.Since = p.Since
			}
		}
	}
	return v
}

// numbers are what an operator asks first.
func (s *Server) numbers(now time.Time) []stats.Number {
	r := s.record
	queries, success, failed := r.queries.Read(now), r.success.Read(now), r.failed.Read(now)
	const minute, day = 3, 6
	share := stats.Number{Name: "Success", Value: "-", Definition: "complete of complete and failed, since the start"}
	if ended := success[0] + failed[0]; ended > 0 {
		share.Value, share.Unit = strconv.FormatFloat(100*success[0]/ended, 'f', 1, 64), "%"
		switch {
		case success[0]/ended >= 0.99:
			share.Health = stats.Good
		case success[0]/ended >= 0.9:
			share.Health = stats.Degraded
		default:
			share.Health = stats.Bad
		}
	}
	quantile := func(name string, d *stats.Distribution, q float64, definition string) stats.Number {
		n := stats.Number{Name: name, Value: "-", Definition: definition}
		if v, ok := d.Quantile(now, q); ok {
			n.Value, n.Unit, _ = strings.Cut(stats.Milliseconds(v), " ")
		}
		return n
	}
	const secondsOfDay, nanoTON = 86400, 1e9
	const small = 1e6 // below a thousandth of a coin the small unit reads better
	amount := r.nano.Read(now)[day] * secondsOfDay
	spend, unit := stats.Short(amount/nanoTON), "TON"
	if amount > 0 && amount < small {
		spend, unit = stats.Short(amount), "nanoTON"
	}
	return []stats.Number{
		{Name: "Requests", Value: stats.Short(queries[minute]), Unit: "per s", Definition: fmt.Sprintf("mean of about a minute; %s since the start", stats.Short(queries[0]))},
		share,
		quantile("First byte, P50", &r.ttft, 0.5, "from the request's arrival; about ten minutes"),
		quantile("First byte, P95", &r.ttft, 0.95, "from the request's arrival; about ten minutes"),
		{Name: "Spend", Value: spend, Unit: unit, Definition: "charged by receipts in about a day"},
		{Name: "Under way", Value: strconv.FormatInt(r.active.Load(), 10), Definition: "requests at this moment"},
		{Name: "Receipts", Value: stats.Short(r.receiptOK.Read(now)[0]), Unit: "good", Definition: fmt.Sprintf("%s bad, %s missing, since the start",
			stats.Short(r.receiptBad.Read(now)[0]), stats.Short(r.receiptMissing.Read(now)[0]))},
	}
}

func proxiesTable(all []upstream.Status, now time.Time) stats.Table {
	t := stats.Table{
		Title: "Proxies", Empty: "no proxy is named",
		Columns: []string{"Address", "State", "Since", "Image hash", "Version", "Round trip", "Requests", "Failed", "Channel tokens", "Last error"},
	}
	for _, p := range all {
		health := map[upstream.State]stats.Health{upstream.Ready: stats.Good, upstream.Refused: stats.Bad, upstream.Down: stats.Bad}[p.State]
		image, rtt, state := p.Offer.Peer.Image, "-", string(p.State)
		if image == "" {
			image = "none"
		}
		if p.Unverified {
			state, health = "ready, not verified", stats.Degraded
		}
		if p.RTT > 0 {
			rtt = stats.Milliseconds(p.RTT)
		}
		t.Rows = append(t.Rows, []stats.Cell{
			{Text: p.Address, Mono: true},
			{Text: state, Health: health},
			{Text: ago(now.Sub(p.Since))},
			{Text: image[:min(len(image), 16)], Mono: true},
			{Text: strconv.Itoa(p.Offer.Version), Right: true},
			{Text: rtt, Right: true},
			{Text: strconv.FormatInt(p.Requests, 10), Right: true},
			{Text: strconv.FormatInt(p.Failures, 10), Right: true},
			{Text: stats.Short(float64(p.DBTokens)) + " of " + stats.Short(float64(p.MaxTokens)), Right: true},
			{Text: p.Reason},
		})
	}
	return t
}

// ago is an age for a person.
func ago(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s ago", int(max(d, 0).Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%d min ago", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h ago", int(d.Hours()))
	default:
		return fmt.Sprintf("%d days ago", int(d.Hours()/24))
	}
}

func (s *Server) modelsTable() stats.Table {
	t := stats.Table{
		Title: "Models", Empty: "no proxy that is connected offers a model",
		Columns: []string{"Model", "Workers", "Free slots", "Price, lowest", "Price, highest"},
	}
	price := func(c int) string { return strconv.FormatFloat(float64(c)/1000, 'f', 2, 64) + " ×" }
	const most = 100
	for i, m := range s.models(false) {
		if i == most {
			t.Title += ", the first " + strconv.Itoa(most)
			break
		}
		t.Rows = append(t.Rows, []stats.Cell{
			{Text: m.ID},
			{Text: strconv.Itoa(m.WorkersReady), Right: true},
			{Text: strconv.Itoa(m.SlotsFree), Right: true},
			{Text: price(m.CoefficientMin), Right: true},
			{Text: price(m.CoefficientMax), Right: true},
		})
	}
	return t
}

func (s *Server) requestsTable(now time.Time) stats.Table {
	t := stats.Table{
		Title: "Last requests", Empty: "none yet",
		Columns: []string{"Request", "Model", "Ended", "HTTP", "When", "First byte", "Total", "Prompt", "Completion", "Cost, nanoTON", "Receipt"},
	}
	rows, _ := s.record.recent()
	for _, r := range rows {
		health := map[string]stats.Health{statusComplete: stats.Good, statusFailed: stats.Bad, statusDeadline: stats.Bad}[r.status]
		ended, first := r.status, "-"
		if r.code != "" {
			ended += ", " + r.code
		}
		if r.first > 0 {
			first = stats.Milliseconds(r.first)
		}
		prompt, completion, cost, verdict := "-", "-", "-", stats.Cell{Text: "-"}
		if r.settled {
			prompt, completion = strconv.FormatInt(r.use.prompt, 10), strconv.FormatInt(r.use.completion, 10)
			if v := r.use.verdict; v != nil {
				verdict = stats.Cell{Text: v.class, Health: stats.Bad}
				if v.ok() {
					verdict.Health, cost = stats.Good, strconv.FormatUint(r.use.cost, 10)
				}
			}
		}
		t.Rows = append(t.Rows, []stats.Cell{
			{Text: r.id[:min(len(r.id), 16)] + "…", Mono: true},
			{Text: r.model},
			{Text: ended, Health: health},
			{Text: strconv.Itoa(r.http), Right: true},
			{Text: ago(now.Sub(r.at))},
			{Text: first, Right: true},
			{Text: stats.Milliseconds(r.total), Right: true},
			{Text: prompt, Right: true},
			{Text: completion, Right: true},
			{Text: cost, Right: true},
			verdict,
		})
	}
	return t
}

// Admin is the listener for operators: /perf, which says what the process itself is doing. It asks for a token and
// refuses requests that a web page made (protocol.md section 8.1).
func (s *Server) Admin(token string) http.Handler {
	want := sha256.Sum256([]byte("Bearer " + token))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got := sha256.Sum256([]byte(r.Header.Get("Authorization")))
		switch {
		case token == "" || subtle.ConstantTimeCompare(got[:], want[:]) != 1 || r.Header.Get("Origin") != "":
			refuse(w, &api.Error{Code: api.Unauthorized, Message: "send the token of this gateway's operator: Authorization: Bearer TOKEN"})
			return
		case r.URL.Path != "/perf":
			refuse(w, &api.Error{Code: api.UnknownURL, Message: "there is nothing at this path; there is /perf"})
			return
		case r.Method != http.MethodGet:
			w.Header().Set("Allow", http.MethodGet)
			refuse(w, &api.Error{Code: api.MethodNotAllowed, Message: "this path takes GET"})
			return
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
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
		var out strings.Builder
		fmt.Fprintf(&out, "%-42s %s\n%-42s %d\n", "go", runtime.Version(), "requests under way", s.record.active.Load())
		for _, v := range samples {
			switch v.Value.Kind() {
			case metrics.KindUint64:
				fmt.Fprintf(&out, "%-42s %d\n", v.Name, v.Value.Uint64())
			case metrics.KindFloat64:
				fmt.Fprintf(&out, "%-42s %.3f\n", v.Name, v.Value.Float64())
			default:
			}
		}
		_, _ = w.Write([]byte(out.String())) // the caller is gone when this does not succeed
	})
}
