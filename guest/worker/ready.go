package worker

import "cocoon/contracts/api/stats"

// Readiness is /readyz: why a query that came now would not be served, and whether what is known of the chain grows old.
func (w *Worker) Readiness() stats.Readiness {
	s := w.Status()
	out := stats.Readiness{Ready: s.Ready()}
	if !out.Ready {
		out.Reasons = append(out.Reasons, stats.Reason{Code: s.Code, Text: s.Reason})
	}
	if s.Chain == nil {
		return out
	}
	out.Chain = *s.Chain
	if late := s.Chain.Late(); out.Ready && late != "" {
		out.Reasons = append(out.Reasons, stats.Reason{Code: late, Text: "root contract: " + s.Chain.String()})
	}
	return out
}
