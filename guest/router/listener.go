package router

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"time"

	"cocoon/measure/ratls"
	"cocoon/measure/ratls/pow"
)

// Pauses after an accept that failed for want of resources.
const (
	minPause = 5 * time.Millisecond
	maxPause = time.Second
)

// raisedBy is how much harder a loaded port's challenges are, up to pow.DefaultRaised.
const raisedBy = pow.DefaultRaised - pow.DefaultDifficulty

// listener is a port at work.
type listener struct {
	router  *Router
	port    Port
	metrics *listenerMetrics
	gate    *gate
	// server is for reverse ports; dial is the side of the others.
	server *ratls.Server
}

func newListener(r *Router, p Port) *listener {
	l := &listener{
		router: r, port: p, metrics: r.deps.Metrics.listener(strconv.Itoa(int(p.Listen))),
		gate: newGate(p.Limits, p.Kind != Reverse),
	}
	if p.Kind != Reverse {
		return l
	}
	l.server = &ratls.Server{
		Endpoint: r.endpoint(l.metrics, p.Policy, ratls.Timeouts{PoW: p.Limits.Proof, TLS: p.Limits.Handshake}),
		PoW: pow.Schedule{
			Base: p.Difficulty, Raised: min(p.Difficulty+raisedBy, pow.DefaultRaised), Exempt: p.Limits.Exempt,
		},
		MaxPending: p.Limits.Pending,
	}
	l.server.Detachable = r.deps.Handlers[p.Listen] == nil // a handler gets the connection as crypto/tls has it
	r.freshen(&l.server.Endpoint, p.Fresh)
	r.deps.Metrics.Gauge(fmt.Sprintf(`router_pow_difficulty{listener=%q}`, l.metrics.name), func() float64 {
		return float64(l.server.PoW.For(netip.Addr{}, l.gate.pending(), l.server.MaxPending))
	})
	return l
}

// dialer makes the client's side of a connection.
func (r *Router) dialer(m *listenerMetrics, policyName string, l *Limits, maxDifficulty int) *ratls.Dialer {
	return &ratls.Dialer{
		Endpoint: r.endpoint(m, policyName, ratls.Timeouts{Dial: l.Dial, PoW: l.Proof, TLS: l.ClientHandshake}),
		Effort:   pow.Effort{Accepted: maxDifficulty, CPU: l.Solve},
	}
}

// accept serves a listener until ctx ends and closes it. Connections run under sessions, by the crew.
func (l *listener) accept(ctx, sessions context.Context, from net.Listener, by *crew) error {
	defer from.Close()                                          //nolint:errcheck // nothing was written to it
	stop := context.AfterFunc(ctx, func() { _ = from.Close() }) // Accept returns its error
	defer stop()
	pause := minPause
	for {
		conn, err := from.Accept()
		switch {
		case err == nil:
			pause = minPause
			l.metrics.accepted.Inc()
			l.admit(sessions, conn, by)
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("accepting on port %d: %w", l.port.Listen, err)
		default: // out of file descriptors, for example: those in use will be given back
			l.router.deps.Log.Warn("Accepting paused", slog.Int("port", int(l.port.Listen)), slog.Any("err", err))
			if !rest(ctx, pause) {
				return nil
			}
			pause = min(2*pause, maxPause)
		}
	}
}

// rest is false if ctx ended first.
func rest(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// admit has the crew take a connection if there is a place for it.
func (l *listener) admit(ctx context.Context, conn net.Conn, by *crew) {
	ticket, full := l.gate.admit(addressOf(conn.RemoteAddr()).Addr())
	s := newSocket(conn)
	if ticket == nil {
		l.metrics.outcome(full)
		s.abort()
		return
	}
	c := &connection{listener: l, ticket: ticket, near: s, crew: by}
	c.atEnd(ticket.done)
	by.greet(func() { c.run(ctx) })
}
