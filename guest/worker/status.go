package worker

import (
	"cmp"
	"errors"
	"slices"
	"time"

	"cocoon/contracts/registry"
	"cocoon/contracts/registry/follow"
	"cocoon/guest/worker/engine"
)

// Totals count since the start. Tokens are the engine's or estimated, over all requests.
type Totals struct {
	Queries, Success, Failed, Cancelled, Refused, EngineDown      int64
	PromptTokens, CachedTokens, CompletionTokens, ReasoningTokens int64
	UsageRejected, Estimated                                      int64
}

// The states of a worker, as its owner asks: does it earn, could it, or may it not?
const (
	stateEarning     = "earning"
	stateIdle        = "idle"
	stateNotEligible = "not eligible"
)

// ProxyStatus is one connection.
type ProxyStatus struct {
	// Address is where it is, Proxy its contract and Contract ours at it.
	Address, Contract, Proxy string
	Image, Key               [32]byte
	Ready                    bool
	Since                    time.Time
	Version                  int32
	Active                   int
	// Owed is the proxy's own count of what it owes, in tokens.
	Owed int64
}

// Status is a snapshot of the worker. It holds nothing about clients.
type Status struct {
	// State is earning, idle or "not eligible"; Reason explains the last, and idleness where it has a cause.
	State, Reason string
	// Code names the reason for programs (protocol.md section 8.1).
	Code string
	// Chain is how old the root's block is; nil where there is no chain.
	Chain           *follow.State
	Model           string
	Coefficient     int32
	Active, Limit   int
	Enabled, Engine bool
	Load            engine.Load
	Totals          Totals
	Proxies         []ProxyStatus
	Started         time.Time
}

// Ready says whether a query that came now would be served.
func (s Status) Ready() bool { return s.Reason == "" }

// Status takes a snapshot.
func (w *Worker) Status() Status {
	w.mu.Lock()
	s := Status{
		Model: w.cfg.Model, Coefficient: w.coefficient, Active: w.active, Limit: w.cfg.MaxActive, Enabled: !w.stopped, Engine: w.engineUp,
		Load: w.load, Totals: w.totals, Started: w.started,
	}
	engineError := w.engineError
	conns := make([]*connection, 0, len(w.conns))
	for c := range w.conns {
		conns = append(conns, c)
	}
	w.mu.Unlock()
	ready := 0
	for _, c := range conns {
		p := c.status()
		if p.Ready {
			ready++
		}
		s.Proxies = append(s.Proxies, p)
	}
	slices.SortFunc(s.Proxies, func(a, b ProxyStatus) int { return cmp.Compare(a.Address, b.Address) })
	if w.deps.Sync != nil {
		s.Chain = new(w.deps.Sync())
	}
	s.State = stateIdle
	if s.Active > 0 {
		s.State = stateEarning
	}
	switch err := w.eligible(); {
	case err != nil:
		s.State, s.Reason, s.Code = stateNotEligible, err.Error(), obstacleOf(err)
	case !s.Enabled:
		s.Reason, s.Code = "stopped by the operator", "disabled"
	case !s.Engine:
		s.Reason, s.Code = engineError, "engine_down"
	case ready == 0:
		s.Reason, s.Code = "no proxy is connected", "no_proxy_ready"
	}
	return s
}

// obstacleOf names why a worker may not serve.
func obstacleOf(err error) string {
	missing, ok := errors.AsType[*registry.NotListedError](err)
	switch {
	case !ok:
		return string(follow.ReasonOf(err))
	case missing.List == registry.Models:
		return "model_hash_not_listed"
	}
	return "image_hash_not_listed"
}

func (c *connection) status() ProxyStatus {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := ProxyStatus{
		Address: c.address, Contract: c.worker, Proxy: c.proxy, Image: c.peer.Image, Key: c.peer.Key, Ready: c.ready, Since: c.since, Version: c.version,
		Active: len(c.queries),
	}
	p.Owed = c.w.proofs.Get(c.proxy).DB
	return p
}
