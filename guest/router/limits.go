package router

import (
	"cmp"
	"fmt"
	"net/netip"
	"time"
)

// Defaults of every stage's deadline and of every limit (attestation.md section 14.3).
const (
	defaultSOCKS           = 10 * time.Second
	defaultDial            = 10 * time.Second
	defaultInnerDial       = 5 * time.Second
	defaultProof           = 10 * time.Second
	defaultSolve           = 30 * time.Second // of processor time
	defaultHandshake       = 10 * time.Second
	defaultClientHandshake = 30 * time.Second
	defaultPreamble        = 5 * time.Second
	defaultDrain           = 10 * time.Second

	defaultPending           = 1024
	defaultPendingPerSource  = 32
	defaultSessions          = 10_000
	defaultSessionsPerSource = 256

	// longestStage bounds what a configuration may set: a stage that takes longer protects nobody.
	longestStage = 10 * time.Minute
	// mostPlaces bounds counts in a configuration.
	mostPlaces = 1 << 20
)

// Limits bound the stages of a connection and the places of a listener. Zero inherits: a port's from the router's, the
// router's from the defaults.
type Limits struct {
	// SOCKS bounds the negotiation with a local program.
	SOCKS time.Duration
	// Dial bounds reaching a peer, names and TCP together; InnerDial reaching the service inside.
	Dial, InnerDial time.Duration
	// Proof bounds the wait for a client's proof of work, Solve the processor time spent on making one.
	Proof, Solve time.Duration
	// Handshake bounds TLS and verification as a server, ClientHandshake as a client.
	Handshake, ClientHandshake time.Duration
	// Preamble bounds the first write to the local side.
	Preamble time.Duration
	// Drain bounds how long live sessions may go on after the router was told to stop.
	Drain time.Duration
	// Pending and PendingPerSource bound handshakes under way, Sessions and SessionsPerSource connections, on each
	// listener. A source is an IPv4 address or an IPv6 /64.
	Pending, PendingPerSource   int
	Sessions, SessionsPerSource int
	// Exempt networks are not counted per source, and are asked for no proof of work.
	Exempt []netip.Prefix
}

// DefaultLimits are those of attestation.md section 14.3.
func DefaultLimits() Limits {
	return Limits{
		SOCKS: defaultSOCKS, Dial: defaultDial, InnerDial: defaultInnerDial, Proof: defaultProof, Solve: defaultSolve,
		Handshake: defaultHandshake, ClientHandshake: defaultClientHandshake, Preamble: defaultPreamble, Drain: defaultDrain,
		Pending: defaultPending, PendingPerSource: defaultPendingPerSource,
		Sessions: defaultSessions, SessionsPerSource: defaultSessionsPerSource,
	}
}

// durations and counts name the limits, for the file's keys and for Validate.
func (l *Limits) durations() map[string]*time.Duration {
	return map[string]*time.Duration{
		"socks": &l.SOCKS, "dial": &l.Dial, "inner_dial": &l.InnerDial, "pow": &l.Proof, "pow_max_cpu": &l.Solve,
		"handshake": &l.Handshake, "client_handshake": &l.ClientHandshake, "preamble": &l.Preamble, "drain": &l.Drain,
	}
}

func (l *Limits) counts() map[string]*int {
	return map[string]*int{
		"pending": &l.Pending, "pending_per_source": &l.PendingPerSource,
		"connections": &l.Sessions, "connections_per_source": &l.SessionsPerSource,
	}
}

// over fills what l leaves out from base.
func (l Limits) over(base Limits) Limits {
	from, to := base.durations(), l.durations()
	for name, d := range to {
		*d = cmp.Or(*d, *from[name])
	}
	places, counts := base.counts(), l.counts()
	for name, n := range counts {
		*n = cmp.Or(*n, *places[name])
	}
	if l.Exempt == nil {
		l.Exempt = base.Exempt
	}
	return l
}

// problems lists limits that no listener can work under. Zero is not one: it inherits.
func (l Limits) problems() []problem {
	var out []problem
	durations := l.durations()
	for _, name := range sortedKeys(durations) {
		if d := *durations[name]; d < 0 || d > longestStage {
			out = append(out, problem{name, fmt.Errorf("%s is not in 0s..%s", d, longestStage)})
		}
	}
	counts := l.counts()
	for _, name := range sortedKeys(counts) {
		if n := *counts[name]; n < 0 || n > mostPlaces {
			out = append(out, problem{name, fmt.Errorf("%d is not in 0..%d", n, mostPlaces)})
		}
	}
	return out
}
