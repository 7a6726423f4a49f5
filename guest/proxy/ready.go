package proxy

import "cocoon/contracts/api/stats"

// Readiness is /readyz: why nobody new is served, and whether what is known of the chain grows old.
func (p *Proxy) Readiness() stats.Readiness {
	o := p.obstacle()
	out := stats.Readiness{Ready: o == Obstacle{}}
	if !out.Ready {
		out.Reasons = append(out.Reasons, stats.Reason{Code: o.Code, Text: o.Text})
	}
	if s := p.Status(); out.Ready && s.readyWorkers() == 0 { // the proxy's own part is in order: it stays ready
		out.Reasons = append(out.Reasons, stats.Reason{Code: "no_worker_ready", Text: "no worker takes requests now"})
	}
	if p.deps.Sync == nil {
		return out
	}
	chain := p.deps.Sync()
	out.Chain = chain
	if late := chain.Late(); out.Ready && late != "" {
		out.Reasons = append(out.Reasons, stats.Reason{Code: late, Text: "root contract: " + chain.String()})
	}
	return out
}
