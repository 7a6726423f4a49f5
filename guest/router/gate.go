package router

import (
	"net/netip"
	"slices"
	"sync"
)

// IPv6 sources are counted by what one subscriber usually gets.
const subscriberBits = 64

// gate counts the places of one listener.
type gate struct {
	limits Limits
	// local listeners serve programs of this machine, which share one address: they are not counted per source.
	local bool

	mu      sync.Mutex
	total   places
	sources map[netip.Prefix]*places
}

type places struct{ pending, sessions int }

func newGate(l Limits, local bool) *gate {
	return &gate{limits: l, local: local, sources: map[netip.Prefix]*places{}}
}

// The refusals, as metrics label and log field.
const (
	fullPending  = "limit_pending"
	fullSessions = "limit_connections"
	fullSource   = "limit_source"
)

// ticket is one place, first as a handshake and then as a session. It belongs to one goroutine.
type ticket struct {
	gate   *gate
	source netip.Prefix // zero: not counted
	state  ticketState
}

type ticketState uint8

const (
	ticketPending ticketState = iota
	ticketEstablished
	ticketReturned
)

// admit takes a place, or names the limit that is reached.
func (g *gate) admit(from netip.Addr) (*ticket, string) {
	from = from.Unmap().WithZone("")
	t := &ticket{gate: g}
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.total.pending >= g.limits.Pending:
		return nil, fullPending
	case g.total.sessions >= g.limits.Sessions:
		return nil, fullSessions
	}
	if !g.local && !g.exempt(from) {
		t.source = sourceOf(from)
		at := g.sources[t.source]
		if at == nil {
			at = new(places)
			g.sources[t.source] = at
		}
		if at.pending >= g.limits.PendingPerSource || at.sessions >= g.limits.SessionsPerSource {
			g.forget(t.source, at)
			return nil, fullSource
		}
		at.pending++
		at.sessions++
	}
	g.total.pending++
	g.total.sessions++
	return t, ""
}

func (g *gate) exempt(from netip.Addr) bool {
	return slices.ContainsFunc(g.limits.Exempt, func(p netip.Prefix) bool { return p.Contains(from) })
}

func sourceOf(from netip.Addr) netip.Prefix {
	bits := from.BitLen()
	if from.Is6() {
		bits = subscriberBits
	}
	return netip.PrefixFrom(from, bits).Masked()
}

func (g *gate) forget(source netip.Prefix, at *places) {
	if *at == (places{}) {
		delete(g.sources, source)
	}
}

// established says that the handshake is over and the session goes on.
func (t *ticket) established() { t.move(ticketEstablished) }

// done gives the place back; more than once is once.
func (t *ticket) done() { t.move(ticketReturned) }

func (t *ticket) move(to ticketState) {
	if to <= t.state {
		return
	}
	g := t.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	counts := []*places{&g.total}
	at := g.sources[t.source]
	if at != nil {
		counts = append(counts, at)
	}
	for _, c := range counts {
		if t.state == ticketPending {
			c.pending--
		}
		if to == ticketReturned {
			c.sessions--
		}
	}
	if at != nil {
		g.forget(t.source, at)
	}
	t.state = to
}

// pending is how many handshakes are under way.
func (g *gate) pending() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.total.pending
}

// sessions is how many connections hold a place, pending ones included.
func (g *gate) sessions() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.total.sessions
}
