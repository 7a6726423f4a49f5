package router

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"cocoon/measure/ratls"
)

// connection is one that was accepted, on its way through the stages.
type connection struct {
	*listener
	ticket *ticket
	// near is the accepted socket: the peer's on a reverse port, the local program's on the others.
	near *socket
}

func (c *connection) serve(ctx context.Context) error {
	if c.port.Kind == Reverse {
		return c.inward(ctx)
	}
	return c.outward(ctx)
}

// inward leads a peer to the service inside, which is dialled when the peer has been admitted and not before.
func (c *connection) inward(ctx context.Context) error {
	conn, err := c.server.Handshake(ctx, c.near)
	c.metrics.outcome(string(ratls.CodeOf(err)))
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // takes it off the registry; the streams have ended
	c.ticket.established()
	c.router.models.note(conn.Peer.Verdict.Quote)
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
	defer inner.Close() //nolint:errcheck // see above
	defer context.AfterFunc(ctx, inner.abort)()
	first, err := c.first(nil, conn, addressOf(c.near.RemoteAddr()), addressOf(inner.RemoteAddr()))
	if err != nil {
		return err
	}
	return c.join(ctx, inner, c.near, conn, first)
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
	defer peer.Close() //nolint:errcheck // whoever cares has ended its stream
	defer context.AfterFunc(ctx, peer.abort)()
	if c.port.Reply == Early {
		if err := c.reply(ctx, replyGranted); err != nil {
			return err
		}
	}
	target := addressOf(peer.RemoteAddr())
	conn, err := c.router.dialer(c.metrics, policyName, &c.port.Limits, c.port.MaxDifficulty).Handshake(ctx, peer)
	c.metrics.outcome(string(ratls.CodeOf(err)))
	if err != nil {
		if c.port.Reply == Late {
			err = errors.Join(err, c.reply(ctx, replyTo(err)))
		}
		return err
	}
	defer conn.Close() //nolint:errcheck // takes it off the registry; the streams have ended
	c.ticket.established()
	c.router.models.note(conn.Peer.Verdict.Quote)
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

// join moves bytes between the local side and the peer until both have ended.
func (c *connection) join(ctx context.Context, local, peer *socket, conn *ratls.Conn, first []byte) error {
	if len(first) > 0 {
		if err := local.SetWriteDeadline(deadline(ctx, c.port.Limits.Preamble)); err != nil {
			return err
		}
	}
	return pipe(plain(local), secured(conn.Conn, peer), first, c.metrics.in, c.metrics.out)
}

// deadline is the moment a limit from now, by the clock that sockets go by; Deps.Now may be another.
func deadline(ctx context.Context, limit time.Duration) time.Time {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	at, _ := ctx.Deadline()
	return at
}
