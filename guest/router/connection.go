package router

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"runtime/debug"
	"slices"
	"time"

	"cocoon/measure/ratls"
)

// connection is one that was accepted, on its way through the stages.
type connection struct {
	*listener
	ticket *ticket
	// near is the accepted socket: the peer's on a reverse port, the local program's on the others.
	near *socket
	crew *crew
	// ends is what happens at the connection's end, the latest first.
	ends []func()
	// flowing says that a session has taken over: it calls end.
	flowing bool
}

// atEnd adds what happens at the end.
func (c *connection) atEnd(f func()) { c.ends = append(c.ends, f) }

// closeAtEnd closes a socket at the end, and aborts it when ctx ends before.
func (c *connection) closeAtEnd(ctx context.Context, s *socket) {
	stop := context.AfterFunc(ctx, s.abort)
	c.atEnd(func() {
		stop()
		_ = s.Close() // whoever cares has ended its stream
	})
}

// run takes the connection through its stages, and to its end unless a session takes over.
func (c *connection) run(ctx context.Context) {
	var err error
	defer func() {
		if p := recover(); p != nil {
			c.metrics.panics.Inc()
			c.router.deps.Log.Error("Connection panicked", slog.Any("panic", p), slog.String("stack", string(debug.Stack())))
			c.flowing = false
		}
		if !c.flowing {
			c.end(err)
		}
	}()
	c.closeAtEnd(ctx, c.near)
	if c.port.Kind == Reverse {
		err = c.inward(ctx)
	} else {
		err = c.outward(ctx)
	}
}

func (c *connection) end(err error) {
	for _, f := range slices.Backward(c.ends) {
		f()
	}
	if err != nil {
		c.router.deps.Log.Debug("Connection ended", slog.String("listener", c.metrics.name), slog.String("peer", c.near.RemoteAddr().String()), slog.Any("err", err))
	}
}

// inward leads a peer to the service inside, which is dialled when the peer has been admitted and not before.
func (c *connection) inward(ctx context.Context) error {
	conn, err := c.server.Handshake(ctx, c.near)
	if err := c.admitted(conn, err); err != nil {
		return err
	}
	if serve := c.router.deps.Handlers[c.port.Listen]; serve != nil {
		serve(ctx, conn)
		return nil
	}
	inner, err := c.dial(ctx, c.port.Destination, stageInner, c.port.Limits.InnerDial)
	if err != nil {
		c.metrics.all.Counter(fmt.Sprintf(`router_inner_dial_errors_total{listener=%q}`, c.metrics.name)).Inc()
		c.near.abort()
		return err
	}
	c.closeAtEnd(ctx, inner)
	first, err := c.first(nil, conn, addressOf(c.near.RemoteAddr()), addressOf(inner.RemoteAddr()))
	if err != nil {
		return err
	}
	return c.join(ctx, inner, c.near, conn, first)
}

// admitted counts how a handshake ended. A connection that stands leaves the registry at its end.
func (c *connection) admitted(conn *ratls.Conn, err error) error {
	c.metrics.outcome(string(ratls.CodeOf(err)))
	if err != nil {
		return err
	}
	c.atEnd(func() { _ = conn.Close() }) // the streams have ended
	c.ticket.established()
	c.router.models.note(conn.Peer.Verdict.Quote)
	return nil
}

// outward leads a local program to a peer.
func (c *connection) outward(ctx context.Context) error {
	to, policyName, err := c.wanted(ctx)
	if err != nil {
		return err
	}
	peer, err := c.dial(ctx, to, ratls.StageDial, c.port.Limits.Dial)
	if err != nil {
		c.metrics.outcome(string(ratls.CodeDial))
		return errors.Join(err, c.reply(ctx, replyTo(err)))
	}
	c.closeAtEnd(ctx, peer)
	if c.port.Reply == Early {
		if err := c.reply(ctx, replyGranted); err != nil {
			return err
		}
	}
	target := addressOf(peer.RemoteAddr())
	d := c.router.dialer(c.metrics, policyName, &c.port.Limits, c.port.MaxDifficulty)
	d.Detachable = true
	c.router.freshen(&d.Endpoint, c.port.Fresh)
	conn, err := d.Handshake(ctx, peer)
	if err := c.admitted(conn, err); err != nil {
		if c.port.Reply == Late {
			err = errors.Join(err, c.reply(ctx, replyTo(err)))
		}
		return err
	}
	var head []byte
	if c.port.Kind == SOCKS5 && c.port.Reply == Late {
		head = replyMessage(replyGranted, addressOf(c.near.LocalAddr()))
	}
	first, err := c.first(head, conn, addressOf(c.near.RemoteAddr()), target)
	if err != nil {
		return err
	}
	return c.join(ctx, c.near, peer, conn, first)
}

// wanted is where the program wants to go and the policy that its peer is judged by.
func (c *connection) wanted(ctx context.Context) (Destination, string, error) {
	if c.port.Kind == Forward {
		return c.port.Destination, c.port.Policy, nil
	}
	start := c.router.deps.Now()
	if err := c.near.SetDeadline(deadline(ctx, c.port.Limits.SOCKS)); err != nil {
		return Destination{}, "", err
	}
	req, err := negotiate(c.near, c.port.PolicyFromUser, c.router.known)
	c.metrics.observe(stageSOCKS, c.router.deps.Now().Sub(start), err)
	if err != nil {
		c.metrics.outcome("socks")
		return Destination{}, "", err
	}
	name := c.port.Policy
	if req.user != "" {
		name = req.user
	}
	return req.to, name, c.near.SetDeadline(time.Time{})
}

// reply answers a SOCKS request. Other programs are not spoken to.
func (c *connection) reply(ctx context.Context, r socksReply) error {
	if c.port.Kind != SOCKS5 {
		return nil
	}
	local := netip.AddrPort{}
	if r == replyGranted {
		local = addressOf(c.near.LocalAddr())
	}
	if err := c.near.SetWriteDeadline(deadline(ctx, c.port.Limits.SOCKS)); err != nil {
		return err
	}
	if _, err := c.near.Write(replyMessage(r, local)); err != nil {
		return fmt.Errorf("answering SOCKS request: %w", err)
	}
	return c.near.SetWriteDeadline(time.Time{})
}

// dial makes a TCP connection within a limit.
func (c *connection) dial(ctx context.Context, to Destination, stage ratls.Stage, limit time.Duration) (*socket, error) {
	start := c.router.deps.Now()
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	conn, err := c.router.deps.Dial(ctx, "tcp", to.String())
	c.metrics.observe(stage, c.router.deps.Now().Sub(start), err)
	if err != nil {
		return nil, fmt.Errorf("dialling %s: %w", to, err)
	}
	return newSocket(conn), nil
}

// first is what the local side gets before anything from the peer: head, and the preamble if the port writes one.
func (c *connection) first(head []byte, conn *ratls.Conn, source, destination netip.AddrPort) ([]byte, error) {
	if !c.port.Serialize {
		return head, nil
	}
	return preambleOf(&conn.Peer, source, destination).Append(head, c.router.cfg.Preamble)
}

// join moves bytes between the local side and the peer until both have ended, without this goroutine.
func (c *connection) join(ctx context.Context, local, peer *socket, conn *ratls.Conn, first []byte) error {
	if len(first) > 0 {
		if err := local.SetWriteDeadline(deadline(ctx, c.port.Limits.Preamble)); err != nil {
			return err
		}
	}
	// What made the handshake, and the findings, which are all good, need not be kept as long as an idle session lasts.
	stream, err := streamOf(conn)
	if err != nil {
		return err
	}
	conn.Peer.Verdict.Findings = nil
	s := &session{
		local: plain(local), peer: secured(stream, peer), first: first, in: c.metrics.in, out: c.metrics.out, ended: c.end,
	}
	c.flowing = true
	s.start(c.crew, c.router.lot) //nolint:contextcheck // the last record has a deadline of its own: the session may be ending because ctx has
	return nil
}

// streamOf is a connection's stream without the memory of its handshake, where that can be.
func streamOf(conn *ratls.Conn) (stream, error) {
	if !conn.Detachable() {
		return conn.Conn, nil
	}
	return conn.Detach()
}

// deadline is the moment a limit from now, by the clock that sockets go by; Deps.Now may be another.
func deadline(ctx context.Context, limit time.Duration) time.Time {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	at, _ := ctx.Deadline()
	return at
}
