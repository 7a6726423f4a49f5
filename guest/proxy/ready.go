package proxy

import "cocoon/contracts/api/stats"

// Readiness is /readyz: why nobody new is served, and whether what is known of the chain grows old.
func (p *Proxy) Readiness() stats.Readiness {
	o := p.obstacle()
	out := stats.Readiness{Ready: o == Obstacle{}}
	if !out.Ready {
		out.Reasons = append(out.Reasons, stats.Reason{Code: o.Code, Text: o.Text})
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
