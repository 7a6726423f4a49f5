package worker

import (
	"encoding/hex"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"cocoon/contracts/api/stats"
	"cocoon/contracts/registry/follow"
)

// Page is /stats (inference.md section 19). What this machine is, its caller adds.
func (w *Worker) Page() stats.Page {
	s, now := w.Status(), w.deps.Now()
	name, pin, _ := strings.Cut(s.Model, "@")
	commit, root, _ := strings.Cut(pin, ":")
	p := stats.Page{
		Role: "worker", Title: "cocoon worker", Made: now, Verdict: w.verdict(&s),
		Identity: []stats.Fact{
			{Name: "Model", Value: name},
			{Name: "Model commit", Value: stats.Hash(commit), Full: commit, Mono: true},
			{Name: "Model root", Value: stats.Hash(root), Full: root, Mono: true},
			{Name: "Engine", Value: w.deps.Engine.Config().Kind},
			{Name: "Owner", Value: stats.Hash(w.cfg.Owner), Full: w.cfg.Owner, Mono: true},
			{Name: "Coefficient", Value: strconv.FormatFloat(float64(s.Coefficient)/1000, 'f', 2, 64) + " ×"},
			{Name: "Receipt key", Value: w.deps.KeyID, Mono: true},
			{Name: "Up for", Value: stats.Span(now.Sub(s.Started))},
		},
		Numbers: w.numbers(&s, now),
		Charts:  w.charts(now),
		Tables:  []stats.Table{proxyTable(&s, now), mishapTable(w.past.lastMishaps(), now)},
	}
	if w.cfg.Test {
		p.Notice = "Test network: payments are worth nothing."
	}
	if s.Chain != nil {
		health := map[follow.Light]stats.Health{follow.Green: stats.Good, follow.Amber: stats.Degraded, follow.Red: stats.Bad}[s.Chain.Light]
		p.Identity = append(p.Identity, stats.Fact{Name: "Chain", Value: s.Chain.String(), Health: health})
	}
	return p
}

// verdict answers the two questions of an owner: does it live, and does it earn?
func (w *Worker) verdict(s *Status) stats.Verdict {
	v := stats.Verdict{Health: stats.Good, Word: "OK", State: s.State}
	switch {
	case s.Code == "disabled":
		v.Health, v.Word, v.Reasons = stats.Degraded, "stopped", []string{s.Reason}
	case s.Reason != "":
		v.Health, v.Word, v.Reasons = stats.Bad, "down", []string{s.Reason}
	case s.Chain != nil && s.Chain.Light != follow.Green:
		v.Health, v.Word, v.Reasons = stats.Degraded, "degraded", []string{"the chain: " + s.Chain.String()}
	case s.State == stateIdle:
		v.Reasons = []string{"ready: no proxy has a request for it now"}
	}
	return w.past.health.Note(w.deps.Now(), v)
}

// numbers are what an owner asks first.
func (w *Worker) numbers(s *Status, now time.Time) []stats.Number {
	const minute, day = 3, 6
	const secondsOfDay = 86400
	c := &w.past.count
	success, failed := c.success.Read(now)[0], c.failed.Read(now)[0]
	share := stats.Number{Name: "Success", Value: "-", Definition: "complete of complete and failed, since the start"}
	if success+failed > 0 {
		v := success / (success + failed)
		share.Value, share.Unit, share.Health = stats.Percent(v), "%", stats.Share(v)
	}
	quantile := func(name string, l *stats.Latency, definition string) stats.Number {
		n := stats.Number{Name: name, Value: "-", Definition: definition}
		if v, ok := l.Quantile(now, 0.5); ok {
			n.Value, n.Unit, _ = strings.Cut(stats.Milliseconds(v), " ")
		}
		return n
	}
	work := c.total.Read(now)[day] * secondsOfDay
	worth, unit := stats.Coins(work * float64(w.deps.Prices().PerToken))
	owed := int64(0)
	for _, p := range s.Proxies {
		owed += p.Owed
	}
	return []stats.Number{
		{Name: "Running", Value: strconv.Itoa(s.Active), Unit: fmt.Sprintf("of %d", s.Limit), Definition: "requests now, and slots"},
		{Name: "Speed", Value: stats.Short(w.speed(now)), Unit: "tokens/s", Definition: "generated, mean of about a minute"},
		{Name: "Requests", Value: stats.Short(c.queries.Read(now)[minute]), Unit: "per s", Definition: fmt.Sprintf("mean of about a minute; %s since the start", stats.Short(c.queries.Read(now)[0]))},
		share,
		quantile("First token", w.past.first, "of streams, P50 of about ten minutes"),
		quantile("Time per token", w.past.each, "of streams, P50 of about ten minutes"),
		{Name: "Worked today", Value: worth, Unit: unit, Definition: "at the network's price, before the proxy's fee; in steps of ten requests"},
		{Name: "Owed", Value: stats.Short(float64(owed)), Unit: "tokens", Definition: "as the connected proxies have recorded durably"},
	}
}

// speed is the mean of generated tokens a second over the last whole minute.
func (w *Worker) speed(now time.Time) float64 {
	points, sum, n := w.past.completion.Hour(now), 0.0, 0
	const slots = 6
	for _, v := range points[max(len(points)-slots, 0):] {
		if !math.IsNaN(v) {
			sum, n = sum+v, n+1
		}
	}
	return sum / float64(max(n, 1))
}

// charts are those of inference.md section 19, as far as this machine can know them.
func (w *Worker) charts(now time.Time) []stats.Chart {
	p := w.past
	ended := stats.Chart{Title: "Requests by outcome", Unit: "/s"}
	for _, o := range outcomes() {
		l := p.ended[o].Line(o, now)
		l.Alarm = o == outcomeFailed
		ended.Lines = append(ended.Lines, l)
	}
	return []stats.Chart{
		{Title: "Tokens", Unit: "/s", Lines: []stats.Line{
			p.completion.Line("completion", now), p.prompt.Line("prompt", now), p.cached.Line("cached", now), p.reasoning.Line("reasoning", now),
		}},
		p.first.Chart("First token", now),
		p.each.Chart("Time per token", now),
		ended,
		{Title: "Running and waiting", Lines: []stats.Line{p.active.Line("requests", now), p.running.Line("in the engine", now), p.waiting.Line("waiting there", now)}},
		{Title: "Memory for context (KV)", Unit: "%", Lines: []stats.Line{p.kv.Line("used", now)}},
	}
}

func proxyTable(s *Status, now time.Time) stats.Table {
	t := stats.Table{
		Title: "Proxies", Empty: "No proxy is connected.",
		Columns: []string{"Address", "State", "Connected", "Contract", "Image", "Protocol", "Running", "Owes"},
	}
	right := func(text string) stats.Cell { return stats.Cell{Text: text, Right: true} }
	for _, p := range s.Proxies {
		state, since := stats.Cell{Text: "handshake", Health: stats.Degraded}, "-"
		if p.Ready {
			state, since = stats.Cell{Text: "ready", Health: stats.Good}, stats.Ago(now.Sub(p.Since))
		}
		image := stats.Cell{Text: "not attested", Health: stats.Bad}
		if p.Image != [32]byte{} {
			full := hex.EncodeToString(p.Image[:])
			image = stats.Cell{Text: stats.Hash(full), Full: full, Mono: true}
		}
		t.Rows = append(t.Rows, []stats.Cell{
			{Text: p.Address, Mono: true},
			state,
			{Text: since},
			{Text: stats.Hash(p.Contract), Full: p.Contract, Mono: true},
			image,
			right(strconv.Itoa(int(p.Version))), right(strconv.Itoa(p.Active)), right(stats.Short(float64(p.Owed)) + " tokens"),
		})
	}
	return t
}

func mishapTable(list []mishap, now time.Time) stats.Table {
	t := stats.Table{Title: "Last errors", Empty: "None since the start.", Columns: []string{"When", "What", "Why"}}
	for _, m := range slices.Backward(list) {
		what, why := strings.ReplaceAll(m.status, "_", " "), strings.ReplaceAll(m.code, "_", " ")
		if why == what {
			why = "-"
		}
		t.Rows = append(t.Rows, []stats.Cell{{Text: stats.Ago(now.Sub(m.at))}, {Text: what, Health: stats.Bad}, {Text: why}})
	}
	return t
}

// WriteMetrics writes all series as Prometheus text. Labels come from lists in the code.
func (w *Worker) WriteMetrics(out io.Writer) {
	s, now := w.Status(), w.deps.Now()
	var m stats.Metrics
	on := func(b bool) float64 {
		if b {
			return 1
		}
		return 0
	}
	m.Add("worker_ready", stats.KindGauge, "Whether a query that came now would be served.", on(s.Ready()))
	for _, state := range []string{stateEarning, stateIdle, stateNotEligible} {
		m.Add("worker_state", stats.KindGauge, "1 for the state that the worker is in.", on(s.State == state), "state", strings.ReplaceAll(state, " ", "_"))
	}
	t := s.Totals
	for i, n := range []int64{t.Success, t.Cancelled, t.Refused, t.Failed} {
		m.Add("worker_requests_total", stats.KindCounter, "Requests by how they ended.", float64(n), "status", outcomes()[i])
	}
	m.Add("worker_requests_active", stats.KindGauge, "Requests under way.", float64(s.Active))
	m.Add("worker_slots", stats.KindGauge, "Requests that run at once at most.", float64(s.Limit))
	shown := w.past.tokens()
	for i, n := range []int64{shown.Prompt, shown.Cached, shown.Completion, shown.Reasoning} {
		m.Add("worker_tokens_total", stats.KindCounter, "Tokens by class; cached is a part of prompt, reasoning of completion. Prompts count in steps of ten requests.",
			float64(n), "class", []string{"prompt", "cached", "completion", "reasoning"}[i])
	}
	m.Add("worker_usage_rejected_total", stats.KindCounter, "Usage objects of the engine that were not valid.", float64(t.UsageRejected))
	m.Add("worker_usage_estimated_total", stats.KindCounter, "Requests whose tokens are not the engine's count.", float64(t.Estimated))
	m.Add("worker_engine_up", stats.KindGauge, "Whether the engine answers its health check.", on(s.Engine))
	m.Add("worker_engine_down_total", stats.KindCounter, "How often the engine went down.", float64(t.EngineDown))
	for _, load := range []struct {
		name, help string
		v          float64
	}{
		{"worker_engine_running", "Requests in the engine.", s.Load.Running},
		{"worker_engine_waiting", "Requests that wait in the engine.", s.Load.Waiting},
		{"worker_engine_kv_use", "Share of the engine's context memory in use.", s.Load.KVUse},
	} {
		if load.v >= 0 {
			m.Add(load.name, stats.KindGauge, load.help, load.v)
		}
	}
	ready := 0
	for _, p := range s.Proxies {
		if p.Ready {
			ready++
		}
	}
	m.Add("worker_proxies_ready", stats.KindGauge, "Proxies that are connected.", float64(ready))
	m.Latency("worker_first_token_seconds", "Time to the first token of streams; quantiles over about ten minutes.", w.past.first, now)
	m.Latency("worker_token_seconds", "Time per token of streams; quantiles over about ten minutes.", w.past.each, now)
	if s.Chain != nil && s.Chain.Known {
		m.Add("worker_root_age_seconds", stats.KindGauge, "Age of the block in which the root contract was last seen.", s.Chain.Age.Seconds())
	}
	m.Process(now.Sub(s.Started).Seconds())
	_, _ = out.Write(m.Bytes()) // the caller is gone when this does not succeed
}
