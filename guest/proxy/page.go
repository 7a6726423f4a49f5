package proxy

import (
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"cocoon/contracts/api/stats"
	"cocoon/contracts/registry/follow"
)

// Page is /stats (inference.md section 19).
func (p *Proxy) Page() stats.Page {
	s, now, t := p.Status(), p.deps.Now(), &p.totals
	ready := 0
	for _, w := range s.Workers {
		if w.Enabled {
			ready++
		}
	}
	page := stats.Page{
		Role: "proxy", Title: "Proxy", Made: now, Verdict: stats.Verdict{Health: stats.Good, Word: "OK", Since: s.Started},
		Identity: []stats.Fact{
			{Name: "software", Value: p.cfg.Software},
			{Name: "commit", Value: p.cfg.Commit},
			{Name: "contract", Value: p.cfg.Contract.Friendly(p.cfg.Testnet), Mono: true},
			{Name: "root configuration", Value: strconv.Itoa(int(s.Root.Version))},
		},
		Numbers: []stats.Number{
			{Name: "workers ready", Value: fmt.Sprintf("%d / %d", ready, len(s.Workers)), Definition: "enabled connections of all"},
			{Name: "clients", Value: strconv.Itoa(len(s.Clients)), Definition: "channels connected now"},
			{Name: "queue", Value: strconv.Itoa(s.Choices.Queued), Definition: "requests that wait for a worker"},
			{Name: "tokens", Value: stats.Short(t.total.Read(now)[3]), Unit: "/s", Definition: "adjusted tokens billed, mean of a minute"},
			{Name: "requests", Value: stats.Short(t.queries.Read(now)[3]), Unit: "/s", Definition: "requests ended, mean of a minute"},
		},
		Tables: []stats.Table{p.workerTable(s), p.clientTable(s), reasonTable(s)},
	}
	if s.Chain != nil {
		page.Identity = append(page.Identity, stats.Fact{Name: "chain", Value: s.Chain.String(), Health: healthOf(s.Chain.Light)})
	}
	switch {
	case !s.Ready:
		page.Verdict.Health, page.Verdict.Word, page.Verdict.Reasons = stats.Bad, "down", []string{s.Reason}
	case ready == 0:
		page.Verdict.Health, page.Verdict.Word, page.Verdict.Reasons = stats.Degraded, "degraded", []string{"no worker is ready"}
	}
	return page
}

// healthOf is the colour of the chain's age (inference.md section 19).
func healthOf(l follow.Light) stats.Health {
	return map[follow.Light]stats.Health{follow.Green: stats.Good, follow.Amber: stats.Degraded, follow.Red: stats.Bad}[l]
}

func right(text string) stats.Cell { return stats.Cell{Text: text, Right: true} }

func count(n int64) stats.Cell { return right(strconv.FormatInt(n, 10)) }

func (p *Proxy) workerTable(s Status) stats.Table {
	t := stats.Table{
		Title: "Workers", Empty: "no worker is connected",
		Columns: []string{"owner", "model", "coefficient", "running", "tokens/s", "first token", "breaker", "image", "enabled", "earned"},
	}
	for _, w := range s.Workers {
		image := stats.Cell{Text: "not attested", Health: stats.Degraded}
		if w.Attested {
			image = stats.Cell{Text: hex.EncodeToString(w.Image[:8]), Mono: true}
		}
		breaker := stats.Cell{Text: w.Breaker, Health: stats.Good}
		if w.Breaker != "closed" {
			breaker.Health = stats.Bad
		}
		t.Rows = append(t.Rows, []stats.Cell{
			{Text: w.Owner.Friendly(p.cfg.Testnet), Mono: true},
			{Text: w.Spec.Model},
			count(w.Spec.Coefficient),
			right(fmt.Sprintf("%d / %d", w.Running, w.Spec.Slots)), right(stats.Short(w.TokensPerSecond)),
			right(stats.Milliseconds(w.FirstToken)), breaker, image,
			wants(&w),
			count(w.Tokens.Max),
		})
	}
	return t
}

// wants says whether the worker takes requests, or why it gets none.
func wants(w *WorkerStatus) stats.Cell {
	if w.Held != "" {
		return stats.Cell{Text: w.Held, Health: stats.Degraded}
	}
	return stats.Cell{Text: strconv.FormatBool(w.Enabled)}
}

func (p *Proxy) clientTable(s Status) stats.Table {
	t := stats.Table{
		Title: "Clients", Empty: "no client is connected", Columns: []string{"owner", "available", "reserved", "used", "to charge", "running"},
	}
	for _, c := range s.Clients {
		t.Rows = append(t.Rows, []stats.Cell{
			{Text: c.Owner.Friendly(p.cfg.Testnet), Mono: true},
			count(c.Tokens.Available), count(c.Tokens.Reserved), count(c.Tokens.Max),
			count(c.Tokens.Max - c.Tokens.Chain), count(c.Tokens.Running),
		})
	}
	return t
}

// reasonTable says why workers were chosen, passed over, and requests refused: so that a worker's owner can be told.
func reasonTable(s Status) stats.Table {
	t := stats.Table{Title: "Choices", Empty: "nothing was chosen yet", Columns: []string{"what", "why", "times"}}
	row := func(what, why string, n uint64) {
		t.Rows = append(t.Rows, []stats.Cell{{Text: what}, {Text: why}, right(strconv.FormatUint(n, 10))})
	}
	for _, why := range slices.Sorted(maps.Keys(s.Choices.Chosen)) {
		row("chosen", string(why), s.Choices.Chosen[why])
	}
	for _, why := range slices.Sorted(maps.Keys(s.Choices.Excluded)) {
		row("passed over", why, s.Choices.Excluded[why])
	}
	for _, why := range slices.Sorted(maps.Keys(s.Choices.Refused)) {
		row("refused", why, s.Choices.Refused[why])
	}
	return t
}
