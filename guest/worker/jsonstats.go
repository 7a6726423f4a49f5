package worker

import (
	"encoding/hex"
)

type object = map[string]any

// JSONStats is the document of /jsonstats with the reference implementation's keys (protocol.md section 8.2). What only
// the chain knows is null where nobody asks it; what this machine is, its caller adds. It says nothing about clients.
func (w *Worker) JSONStats() map[string]any {
	s, now, c := w.Status(), w.deps.Now(), &w.past.count
	t, shown := s.Totals, w.past.tokens()
	proxies, connections := make([]object, 0, len(s.Proxies)), make([]object, 0, len(s.Proxies))
	for _, p := range s.Proxies {
		proof := w.proofs.Get(p.Proxy)
		proxies = append(proxies, object{
			"sc_inited": nil, "proxy_sc_address": p.Proxy, "proxy_public_key": hex.EncodeToString(p.Key[:]), "sc_address": p.Contract,
			"earned_tokens_committed_to_blockchain": nil, "earned_tokens_committed_to_proxy_db": proof.DB, "earned_tokens_max_known": proof.Max,
			"cached_out_tokens": nil, "expected_cached_out_tokens": nil, "running_request": p.Active, "params_version": nil,
		})
		connections = append(connections, object{
			"address": p.Address, "sc_address": p.Contract, "image_hash": hex.EncodeToString(p.Image[:]), "is_ready": p.Ready,
			"since": p.Since.Unix(), "proto_version": p.Version, "active_requests": p.Active, "owed_tokens": p.Owed,
		})
	}
	status := object{
		"wallet_balance": nil, "actual_image_hash": nil, "actual_model": s.Model, "ton_last_synced_at": nil, "enabled": s.Enabled,
		"git_commit": "", "git_commit_data": "",
		"state": s.State, "reason": s.Reason, "reason_code": s.Code, "engine_up": s.Engine, "active_requests": s.Active, "max_active_requests": s.Limit,
		"started_at": s.Started.Unix(), "engine_running": s.Load.Running, "engine_waiting": s.Load.Waiting, "engine_kv_use": s.Load.KVUse,
	}
	if s.Chain != nil && s.Chain.Known {
		status["ton_last_synced_at"], status["root_age_seconds"], status["root_age"] = s.Chain.Synced.Unix(), int64(s.Chain.Age.Seconds()), s.Chain.Light
	}
	return object{
		"status": status,
		"stats": object{
			"queries": c.queries.Read(now), "success": c.success.Read(now), "failed": c.failed.Read(now), "bytes_received": c.received.Read(now),
			"bytes_sent": c.sent.Read(now), "time": c.seconds.Read(now), "total_adjusted_tokens_used": c.total.Read(now),
			"prompt_adjusted_tokens_used": c.prompt.Read(now), "cached_adjusted_tokens_used": c.cached.Read(now),
			"completion_adjusted_tokens_used": c.completion.Read(now), "reasoning_adjusted_tokens_used": c.reasoning.Read(now),
		},
		"totals": object{
			"queries": t.Queries, "success": t.Success, "failed": t.Failed, "cancelled": t.Cancelled, "refused": t.Refused, "engine_down": t.EngineDown,
			"usage_rejected": t.UsageRejected, "estimated": t.Estimated,
			"prompt_tokens": shown.Prompt, "cached_tokens": shown.Cached, "completion_tokens": shown.Completion, "reasoning_tokens": shown.Reasoning,
		},
		"localconfig":       object{"owner_address": w.cfg.Owner, "model": s.Model, "coefficient": s.Coefficient, "is_test": w.cfg.Test},
		"proxies":           proxies,
		"proxy_connections": connections,
	}
}
