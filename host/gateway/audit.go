package gateway

import (
	"log/slog"
	"maps"
	"slices"
	"sync"

	"cocoon/host/gateway/receipts"
	"cocoon/host/gateway/upstream"
)

// audit compares what proxies say that channels have used with what their receipts say (inference.md section 10.5). A
// channel on which something is in flight is left for later.
func (s *Server) audit() {
	if s.cfg.Checker == nil {
		return
	}
	for _, p := range s.cfg.Pool.Status() {
		if p.State != upstream.Ready || p.Running > 0 || p.Offer.Version < upstream.ExtensionVersion {
			continue
		}
		err := s.cfg.Checker.Asked(p.Offer.ClientSC, p.Offer.ProxySC, p.DBTokens)
		if s.audited.note(p.Address, err) {
			s.cfg.Log.Error("Proxy asks for more than its receipts say", slog.String("peer", p.Address), slog.Any("err", err))
		}
	}
}

// auditor remembers which proxies ask for more than their receipts say, and why.
type auditor struct {
	mu  sync.Mutex
	why map[string]string
}

// note takes a finding, or that there is none any more; it reports whether a proxy is news.
func (a *auditor) note(proxy string, err error) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	_, was := a.why[proxy]
	if err == nil {
		delete(a.why, proxy)
		return false
	}
	if a.why == nil {
		a.why = make(map[string]string)
	}
	a.why[proxy] = err.Error()
	return !was
}

// reasons are the findings, by proxy.
func (a *auditor) reasons() (out []reason) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, proxy := range slices.Sorted(maps.Keys(a.why)) {
		out = append(out, reason{string(receipts.Overcharged), proxy, a.why[proxy]})
	}
	return out
}
