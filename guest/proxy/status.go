package proxy

import (
	"cmp"
	"encoding/hex"
	"slices"
	"time"

	"cocoon/contracts/api/stats"
	"cocoon/contracts/receipt"
	"cocoon/contracts/registry/follow"
	"cocoon/guest/proxy/ledger"
	"cocoon/guest/proxy/sched"
)

// totals are the counters of /jsonstats, by their name there.
type totals struct {
	queries, success, failed, rejected, received, sent, seconds stats.Counter
	prompt, cached, completion, reasoning, total                stats.Counter
	fees                                                        stats.Counter // nanoTON that stay with the proxy
}

// over counts a request that has ended.
func (t *totals) over(now time.Time, status receipt.Status, e ledger.Entry, took time.Duration) {
	t.queries.Add(now, 1)
	switch status {
	case receipt.Complete:
		t.success.Add(now, 1)
	case receipt.Refused:
		t.rejected.Add(now, 1)
	default:
		t.failed.Add(now, 1)
	}
	t.seconds.Add(now, took.Seconds())
	for _, c := range []struct {
		at *stats.Counter
		n  int64
	}{
		{&t.prompt, e.Billed.Prompt},
		{&t.cached, e.Billed.Cached},
		{&t.completion, e.Billed.Completion},
		{&t.reasoning, e.Billed.Reasoning},
		{&t.total, e.Paid()},
	} {
		c.at.Add(now, float64(c.n))
	}
}

// over counts a request that has ended, for counters and charts.
func (p *Proxy) over(now time.Time, status receipt.Status, e ledger.Entry, took time.Duration) {
	p.totals.over(now, status, e, took)
	fee := 0.0
	if root, err := p.deps.Chain.Root(); err == nil {
		fee = float64(e.Paid()) * (float64(root.Price) - float64(root.WorkerFee))
		p.totals.fees.Add(now, fee)
	}
	p.metrics.past.over(now, status, e, fee, took)
}

// WorkerStatus is a worker connection on a status page.
type WorkerStatus struct {
	sched.View
	Owner, Contract Address
	Image           [32]byte
	Attested        bool
	Version         int32
	// Held says why the worker gets no requests whatever it wants; empty when nothing is in the way.
	Held   string
	Tokens ledger.State
}

// ClientStatus is a client on a status page.
type ClientStatus struct {
	Owner, Contract Address
	Connections     int
	Closing         bool
	Tokens          ledger.State
}

// Status is what a proxy shows of itself. It knows no content.
type Status struct {
	Ready bool
	// Reason explains why not, Code names it for programs.
	Reason, Code string
	Started      time.Time
	Root         Root
	// Chain is how old the root's block is; nil where there is no chain.
	Chain   *follow.State
	Workers []WorkerStatus
	Clients []ClientStatus
	Choices sched.Stats
}

// Status is the present state.
func (p *Proxy) Status() Status {
	s := Status{Started: p.started}
	o := p.obstacle()
	s.Ready, s.Reason, s.Code = o == Obstacle{}, o.Text, o.Code
	s.Root, _ = p.deps.Chain.Root() // its absence is the reason above
	if p.deps.Sync != nil {
		s.Chain = new(p.deps.Sync())
	}
	views, choices := p.sched.Snapshot()
	s.Choices = choices
	for _, v := range views {
		w := p.worker(v.ID)
		if w == nil {
			continue
		}
		x := WorkerStatus{
			View: v, Owner: w.owner, Contract: w.contract, Image: w.peer.Image, Attested: w.peer.Attested, Version: w.version,
			Tokens: p.deps.Ledger.State(w.party),
		}
		if held := w.waits(); held != nil {
			x.Held = "not eligible: " + held.Error()
		}
		s.Workers = append(s.Workers, x)
	}
	s.Clients = p.clientStatus()
	return s
}

func (p *Proxy) clientStatus() []ClientStatus {
	p.mu.Lock()
	sessions := make([]*client, 0, len(p.clients))
	for c := range p.clients {
		sessions = append(sessions, c)
	}
	p.mu.Unlock()
	found := make(map[Address]*ClientStatus)
	for _, c := range sessions {
		if at, _ := c.at(); at != open {
			continue
		}
		s := found[c.owner]
		if s == nil {
			s = &ClientStatus{Owner: c.owner, Contract: c.account.Contract, Closing: c.account.Closing, Tokens: p.deps.Ledger.State(c.party)}
			found[c.owner] = s
		}
		s.Connections++
	}
	out := make([]ClientStatus, 0, len(found))
	for _, s := range found {
		out = append(out, *s)
	}
	slices.SortFunc(out, func(a, b ClientStatus) int { return cmp.Compare(a.Owner.String(), b.Owner.String()) })
	return out
}

type object = map[string]any

// JSONStats is the document of /jsonstats with the reference implementation's keys (protocol.md section 8.2). What only
// the chain knows is null where nobody asks it; what this process is, its caller adds.
func (p *Proxy) JSONStats() map[string]any {
	s, now, t := p.Status(), p.deps.Now(), &p.totals
	return object{
		"status": s.head(p.cfg),
		"stats": object{
			"queries": t.queries.Read(now), "success": t.success.Read(now), "failed": t.failed.Read(now), "rejected": t.rejected.Read(now),
			"bytes_received": t.received.Read(now), "bytes_sent": t.sent.Read(now), "time": t.seconds.Read(now),
			"total_adjusted_tokens_used": t.total.Read(now), "prompt_adjusted_tokens_used": t.prompt.Read(now),
			"cached_adjusted_tokens_used": t.cached.Read(now), "completion_adjusted_tokens_used": t.completion.Read(now),
			"reasoning_adjusted_tokens_used": t.reasoning.Read(now),
		},
		"localconfig": object{
			"root_address": p.cfg.RootContract, "owner_address": p.cfg.Owner.Friendly(p.cfg.Testnet), "check_worker_hashes": p.cfg.CheckWorkers,
			"check_image_hashes": p.cfg.CheckWorkers,
		},
		"root_contract_config": object{
			"version": s.Root.Version, "params_version": s.Root.ParamsVersion, "is_test": p.cfg.Test, "price_per_token": s.Root.Price,
			"worker_fee_per_token": s.Root.WorkerFee, "prompt_tokens_price_multiplier": s.Root.Multipliers.Prompt,
			"cached_tokens_price_multiplier":     s.Root.Multipliers.Cached,
			"completion_tokens_price_multiplier": s.Root.Multipliers.Completion,
			"reasoning_tokens_price_multiplier":  s.Root.Multipliers.Reasoning,
		},
		"smartcontract": object{
			"address": p.contractBy(&s.Root).Friendly(p.cfg.Testnet), "params_version": s.Root.ParamsVersion, "balance": nil, "ready_for_withdraw": nil,
			"old_instances": []object{},
		},
		"wallet": object{
			"address": p.cfg.Owner.Friendly(p.cfg.Testnet), "balance": nil, "seqno": nil, "pending_transactions_cnt": nil, "active_transactions_cnt": nil,
		},
		"workers":            p.workersJSON(s),
		"worker_connections": p.connectionsJSON(s),
		"clients":            p.clientsJSON(s),
		"scheduler": object{
			"queued": s.Choices.Queued, "chosen": s.Choices.Chosen, "refused": s.Choices.Refused, "excluded": s.Choices.Excluded,
			"breakers": s.Choices.Breakers,
		},
	}
}

// head is the part of the document that says whether the proxy is well.
func (s *Status) head(cfg Config) object {
	out := object{
		"enabled": s.Ready, "reason": s.Reason, "started_at": s.Started.Unix(), "git_commit": cfg.Commit, "git_commit_data": "", "software": cfg.Software,
		"wallet_balance": nil, "ton_last_synced_at": nil, "actual_image_hash": nil,
	}
	if s.Chain != nil && s.Chain.Known {
		out["ton_last_synced_at"], out["root_age_seconds"], out["root_age"] = s.Chain.Synced.Unix(), int64(s.Chain.Age.Seconds()), s.Chain.Light
	}
	return out
}

func (p *Proxy) workersJSON(s Status) []object {
	out, running := make([]object, 0, len(s.Workers)), make(map[Address]int)
	for _, w := range s.Workers {
		running[w.Owner] += w.Running
	}
	seen := make(map[Address]bool)
	for _, w := range s.Workers {
		if seen[w.Owner] {
			continue
		}
		seen[w.Owner] = true
		out = append(out, object{
			"owner_address": w.Owner.Friendly(p.cfg.Testnet), "sc_address": w.Contract.Friendly(p.cfg.Testnet), "earned_tokens": w.Tokens.Max,
			"unpayed_tokens": w.Tokens.Max - w.Tokens.Chain, "paying_now": 0, "running_queries": running[w.Owner],
		})
	}
	return out
}

func (p *Proxy) connectionsJSON(s Status) []object {
	out := make([]object, 0, len(s.Workers))
	const tenMinutes = 4 // of a counter's windows
	for _, w := range s.Workers {
		rate := func(o sched.Outcome) float64 { return w.Record[o][tenMinutes] }
		all := rate(sched.Served) + rate(sched.Failed) + rate(sched.Neutral)
		out = append(out, object{
			"queries_10m": all, "queries_success_10m": rate(sched.Served), "queries_time_10m": w.Busy[tenMinutes], "worker_queries_time_10m": w.Busy[tenMinutes],
			"owner_address": w.Owner.Friendly(p.cfg.Testnet), "model": w.Spec.Model, "worker_hash": hex.EncodeToString(w.Image[:]),
			"coefficient": w.Spec.Coefficient, "running_queries": w.Running, "max_active_requests": w.Spec.Slots, "enabled": w.Enabled,
			"proto_version": w.Version, "tokens_per_second": w.TokensPerSecond, "first_token_ms": w.FirstToken.Milliseconds(),
			"breaker": w.Breaker, "success": w.Success, "draining_queries": w.Draining, "attested": w.Attested, "session_id": w.Spec.Session, "not_eligible": w.Held,
		})
	}
	return out
}

func (p *Proxy) clientsJSON(s Status) []object {
	out := make([]object, 0, len(s.Clients))
	for _, c := range s.Clients {
		out = append(out, object{
			"owner_address": c.Owner.Friendly(p.cfg.Testnet), "sc_address": c.Contract.Friendly(p.cfg.Testnet), "used_tokens": c.Tokens.Max,
			"tokens_to_charge": c.Tokens.Max - c.Tokens.Chain, "available_tokens": c.Tokens.Available, "reserved_tokens": c.Tokens.Reserved,
			"running_queries": c.Tokens.Running, "connections": c.Connections, "closing": c.Closing, "closed": false,
		})
	}
	return out
}
