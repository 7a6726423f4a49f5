package gateway

import (
	"strconv"
	"time"

	"cocoon/contracts/api/stats"
	"cocoon/host/gateway/upstream"
)

func proxiesTable(all []upstream.Status, now time.Time) stats.Table {
	t := stats.Table{
		Title: "Proxies", Empty: "No proxy is named.",
		Columns: []string{"Address", "State", "Since", "Image hash", "Version", "Round trip", "Requests", "Failed", "Tokens used", "Last error"},
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
			{Text: stats.Ago(now.Sub(p.Since))},
			{Text: stats.Hash(image), Full: image, Mono: true},
			{Text: strconv.Itoa(p.Offer.Version), Right: true},
			{Text: rtt, Right: true},
			{Text: strconv.FormatInt(p.Requests, 10), Right: true},
			{Text: strconv.FormatInt(p.Failures, 10), Right: true},
			{Text: stats.Short(float64(p.MaxTokens)), Right: true},
			{Text: p.Reason, Full: p.Reason},
		})
	}
	return t
}

func (s *Server) modelsTable() stats.Table {
	t := stats.Table{
		Title: "Models", Empty: "No proxy that is connected offers a model.",
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
		Title: "Last requests", Empty: "None yet.",
		Columns: []string{"Request", "Model", "Ended", "HTTP", "When", "First byte", "Total", "Prompt", "Completion", "Cost", "Receipt"},
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
					value, unit := stats.Coins(float64(r.use.cost))
					verdict.Health, cost = stats.Good, value+" "+unit
				}
			}
		}
		t.Rows = append(t.Rows, []stats.Cell{
			{Text: stats.Hash(r.id), Full: r.id, Mono: true},
			{Text: r.model},
			{Text: ended, Health: health},
			{Text: strconv.Itoa(r.http), Right: true},
			{Text: stats.Ago(now.Sub(r.at))},
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
