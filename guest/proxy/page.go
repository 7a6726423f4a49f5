package proxy

import (
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"cocoon/contracts/api/stats"
	"cocoon/contracts/registry/follow"
	"cocoon/guest/proxy/sched"
)

// maxRows bounds the tables of the page; /jsonstats has everything.
const maxRows = 30

// Page is /stats (inference.md section 19).
func (p *Proxy) Page() stats.Page {
	s, now := p.Status(), p.deps.Now()
	contract, owner := p.contractBy(&s.Root).Friendly(p.cfg.Testnet), p.cfg.Owner.Friendly(p.cfg.Testnet)
	page := stats.Page{
		Role: "proxy", Title: "cocoon proxy", Made: now, Verdict: p.verdict(&s),
		Identity: []stats.Fact{
			{Name: "Software", Value: p.cfg.Software},
			{Name: "Commit", Value: stats.Hash(p.cfg.Commit), Full: p.cfg.Commit, Mono: true},
			{Name: "Contract", Value: stats.Hash(contract), Full: contract, Mono: true},
			{Name: "Owner", Value: stats.Hash(owner), Full: owner, Mono: true},
			{Name: "Root version", Value: strconv.Itoa(int(s.Root.Version))},
			{Name: "Price of a token", Value: fmt.Sprintf("%d nanoTON, %d to the worker", s.Root.Price, s.Root.WorkerFee)},
			{Name: "Up for", Value: stats.Span(now.Sub(s.Started))},
		},
		Numbers: p.numbers(&s, now),
		Charts:  p.metrics.past.charts(now),
		Tables:  []stats.Table{p.workerTable(s), p.clientTable(s), reasonTable(s)},
	}
	if p.cfg.Test {
		page.Notice = "Test network: payments are worth nothing."
	}
	if s.Chain != nil {
		page.Identity = append(page.Identity, stats.Fact{Name: "Chain", Value: s.Chain.String(), Health: healthOf(s.Chain.Light)})
	}
	return page
}

// verdict is the page's first line.
func (p *Proxy) verdict(s *Status) stats.Verdict {
	v := stats.Verdict{Health: stats.Good, Word: "OK"}
	degraded := func(reason string) {
		v.Health, v.Word, v.Reasons = stats.Degraded, "degraded", append(v.Reasons, reason)
	}
	switch {
	case len(s.Workers) == 0:
		degraded("no worker is connected: requests are refused")
	case s.readyWorkers() == 0:
		degraded("no worker is ready: requests wait, or are refused")
	}
	if n := countBreakers(s); n > 0 {
		degraded(fmt.Sprintf("%d of %d workers are left alone after failures", n, len(s.Workers)))
	}
	if s.Chain != nil && s.Chain.Light != follow.Green {
		degraded("the chain: " + s.Chain.String())
	}
	if !s.Ready {
		v = stats.Verdict{Health: stats.Bad, Word: "down", Reasons: []string{s.Reason}}
	}
	return p.metrics.past.health.Note(p.deps.Now(), v)
}

func countBreakers(s *Status) (n int) {
	for _, w := range s.Workers {
		if w.Breaker != "closed" {
			n++
		}
	}
	return n
}

// numbers are what an operator asks first.
func (p *Proxy) numbers(s *Status, now time.Time) []stats.Number {
	t := &p.totals
	const minute, day = 3, 6
	const secondsOfDay = 86400
	queries, success, failed := t.queries.Read(now), t.success.Read(now), t.failed.Read(now)
	share := stats.Number{Name: "Success", Value: "-", Definition: "complete of complete and failed, since the start"}
	if ended := success[0] + failed[0]; ended > 0 {
		share.Value, share.Unit, share.Health = stats.Percent(success[0]/ended), "%", stats.Share(success[0]/ended)
	}
	fees, unit := stats.Coins(t.fees.Read(now)[day] * secondsOfDay)
	ready := stats.Number{
		Name: "Workers ready", Value: strconv.Itoa(s.readyWorkers()), Unit: fmt.Sprintf("of %d", len(s.Workers)), Definition: "enabled, listed, and answering",
	}
	if s.readyWorkers() == 0 {
		ready.Health = stats.Bad
	}
	return []stats.Number{
		ready,
		{Name: "Clients", Value: strconv.Itoa(len(s.Clients)), Definition: "channels connected now"},
		{Name: "Waiting", Value: strconv.Itoa(s.Choices.Queued), Definition: "requests without a worker now"},
		{Name: "Running", Value: strconv.FormatInt(p.metrics.active.Load(), 10), Definition: "requests under way now"},
		{Name: "Requests", Value: stats.Short(queries[minute]), Unit: "per s", Definition: fmt.Sprintf("mean of about a minute; %s since the start", stats.Short(queries[0]))},
		share,
		{Name: "Tokens", Value: stats.Short(t.total.Read(now)[minute]), Unit: "per s", Definition: "billed, mean of about a minute"},
		{Name: "Fees", Value: fees, Unit: unit, Definition: "kept by this proxy in about a day"},
	}
}

// healthOf is the colour of the chain's age (inference.md section 19).
func healthOf(l follow.Light) stats.Health {
	return map[follow.Light]stats.Health{follow.Green: stats.Good, follow.Amber: stats.Degraded, follow.Red: stats.Bad}[l]
}

func right(text string) stats.Cell { return stats.Cell{Text: text, Right: true} }

func count(n int64) stats.Cell { return right(stats.Short(float64(n))) }

func short(text string) stats.Cell {
	return stats.Cell{Text: stats.Hash(text), Full: text, Mono: true}
}

// firstOf says in a table's title that it is cut.
func firstOf(title string, n int) string {
	if n > maxRows {
		return fmt.Sprintf("%s, the first %d of %d", title, maxRows, n)
	}
	return title
}

func (p *Proxy) workerTable(s Status) stats.Table {
	t := stats.Table{
		Title: firstOf("Workers", len(s.Workers)), Empty: "No worker is connected.",
		Columns: []string{"Owner", "Model", "State", "Running", "Coefficient", "Speed", "First token", "Success", "Image", "Earned"},
	}
	for _, w := range s.Workers[:min(len(s.Workers), maxRows)] {
		image := stats.Cell{Text: "not attested", Health: stats.Bad}
		if w.Attested {
			image = short(hex.EncodeToString(w.Image[:]))
		}
		name, _, _ := strings.Cut(w.Spec.Model, "@")
		success := right("-")
		if served, failed := w.Record[sched.Served][0], w.Record[sched.Failed][0]; served+failed > 0 {
			share := served / (served + failed)
			success = stats.Cell{Text: stats.Percent(share) + " %", Right: true, Health: stats.Share(share)}
		}
		t.Rows = append(t.Rows, []stats.Cell{
			short(w.Owner.Friendly(p.cfg.Testnet)),
			{Text: name, Full: w.Spec.Model},
			w.state(),
			right(fmt.Sprintf("%d of %d", w.Running, w.Spec.Slots)), right(strconv.FormatFloat(float64(w.Spec.Coefficient)/1000, 'f', 2, 64) + " ×"),
			measured(stats.Short(w.TokensPerSecond)+" tokens/s", w.TokensPerSecond > 0), measured(stats.Milliseconds(w.FirstToken), w.FirstToken > 0),
			success, image, right(stats.Short(float64(w.Tokens.Max)) + " tokens"),
		})
	}
	return t
}

// measured is a value, or a dash before there is one.
func measured(text string, known bool) stats.Cell {
	if !known {
		return right("-")
	}
	return right(text)
}

// state says whether the worker takes requests, or why it gets none.
func (w *WorkerStatus) state() stats.Cell {
	switch {
	case w.Held != "":
		return stats.Cell{Text: w.Held, Health: stats.Degraded}
	case !w.Enabled:
		return stats.Cell{Text: "disabled by the worker", Health: stats.Degraded}
	case w.Breaker != "closed":
		return stats.Cell{Text: "breaker " + w.Breaker, Health: stats.Bad}
	default:
		return stats.Cell{Text: "ready", Health: stats.Good}
	}
}

func (p *Proxy) clientTable(s Status) stats.Table {
	t := stats.Table{
		Title: firstOf("Clients", len(s.Clients)), Empty: "No client is connected.",
		Columns: []string{"Owner", "State", "Connections", "Running", "Tokens available", "Reserved", "Used", "Not yet on chain"},
	}
	for _, c := range s.Clients[:min(len(s.Clients), maxRows)] {
		state := stats.Cell{Text: "open", Health: stats.Good}
		if c.Closing {
			state = stats.Cell{Text: "closing", Health: stats.Degraded}
		}
		t.Rows = append(t.Rows, []stats.Cell{
			short(c.Owner.Friendly(p.cfg.Testnet)), state, count(int64(c.Connections)), count(c.Tokens.Running),
			count(c.Tokens.Available), count(c.Tokens.Reserved), count(c.Tokens.Max), count(c.Tokens.Max - c.Tokens.Chain),
		})
	}
	return t
}

// label is a reason of the scheduler in words.
func label(reason string) string { return strings.ReplaceAll(reason, "_", " ") }

// reasonTable says why workers were chosen, passed over, and requests refused: so that a worker's owner can be told.
func reasonTable(s Status) stats.Table {
	t := stats.Table{Title: "Choices since the start", Empty: "Nothing was chosen yet.", Columns: []string{"What", "Why", "Times"}}
	row := func(what, why string, n uint64) {
		t.Rows = append(t.Rows, []stats.Cell{{Text: what}, {Text: label(why)}, count(int64(n))}) //nolint:gosec // a counter
	}
	for _, why := range slices.Sorted(maps.Keys(s.Choices.Chosen)) {
		row("worker chosen", string(why), s.Choices.Chosen[why])
	}
	for _, why := range slices.Sorted(maps.Keys(s.Choices.Excluded)) {
		row("worker passed over", why, s.Choices.Excluded[why])
	}
	for _, why := range slices.Sorted(maps.Keys(s.Choices.Refused)) {
		row("request refused", why, s.Choices.Refused[why])
	}
	if s.Choices.Breakers > 0 {
		row("breaker opened", "failures in a row", s.Choices.Breakers)
	}
	return t
}
