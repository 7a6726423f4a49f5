package main

import (
	"log/slog"

	"cocoon/contracts/api/stats"
	"cocoon/guest/proxy"
)

// proxyPages are the proxy's.
func proxyPages(p *proxy.Proxy, machine *self, access string, log *slog.Logger) *rolePages {
	return &rolePages{
		views: stats.Views{
			Page: func() stats.Page { return machine.page(p.Page()) }, JSON: func() any { return machine.json(p.JSONStats()) },
			Metrics: p.WriteMetrics, Ready: p.Readiness,
		},
		orders: map[string]order{
			"enable":  func(func(string) string) error { p.Refuse(""); return nil },
			"disable": func(func(string) string) error { p.Refuse("disabled by the operator"); return nil },
		},
		access: access, log: log,
	}
}
