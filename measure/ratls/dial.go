package ratls

import (
	"context"
	"io"
	"net"
	"time"

	"golang.org/x/sys/unix"

	"cocoon/measure/ratls/cert"
	"cocoon/measure/ratls/pow"
)

// Dialer connects to peers: TCP, proof of work, TLS, verdict.
type Dialer struct {
	Endpoint
	// Effort bounds the proof of work; without a bound on CPU it is pow.DefaultEffort.
	Effort pow.Effort
	// DialContext makes the TCP connection; nil means a net.Dialer.
	DialContext func(ctx context.Context, network, addr string) (net.Conn, error)
}

// Dial connects to addr, host:port. The error is an *Error.
func (d *Dialer) Dial(ctx context.Context, addr string) (*Conn, error) {
	var raw net.Conn
	err := d.stage(ctx, StageDial, orDefault(d.Timeouts.Dial, DefaultDialTimeout), func(ctx context.Context) (err error) {
		dial := d.DialContext
		if dial == nil {
			dial = new(net.Dialer).DialContext
		}
		raw, err = dial(ctx, "tcp", addr)
		return err
	})
	if err != nil {
		return nil, err
	}
	return d.Handshake(ctx, raw)
}

// Handshake does what follows TCP on a connection that exists already. It owns the connection: if it fails the
// connection is closed. The error is an *Error.
func (d *Dialer) Handshake(ctx context.Context, raw net.Conn) (*Conn, error) {
	keepAlive(raw)
	effort := d.Effort
	if effort.CPU <= 0 {
		effort = pow.DefaultEffort()
	}
	wait := orDefault(d.Timeouts.PoW, DefaultPoWTimeout)
	// Processor time may pass slower than time; the server's patience ends earlier anyway.
	err := d.stage(ctx, StagePoW, 2*(wait+effort.CPU), func(ctx context.Context) error {
		return answer(ctx, raw, effort, wait)
	})
	if err != nil {
		_ = raw.Close() // the error at hand says more
		return nil, err
	}
	return d.secure(ctx, raw, cert.Client)
}

// answer reads a challenge and sends the response.
func answer(ctx context.Context, raw net.Conn, effort pow.Effort, wait time.Duration) error {
	var challenge [pow.ChallengeSize]byte // and not a byte more: TLS follows
	if err := within(ctx, raw, wait, func() error {
		_, err := io.ReadFull(raw, challenge[:])
		return err
	}); err != nil {
		return err
	}
	c, err := pow.ParseChallenge(challenge[:])
	if err != nil {
		return err
	}
	nonce, err := effort.Solve(ctx, c)
	if err != nil {
		return err
	}
	return within(ctx, raw, wait, func() error {
		_, err := raw.Write(pow.AppendResponse(nil, nonce))
		return err
	})
}

// within is bounded with a limit of its own.
func within(ctx context.Context, c net.Conn, limit time.Duration, work func() error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return bounded(ctx, c, work)
}

// Dead peers are found by these (attestation.md section 14.3); live ones may be idle for as long as they like.
const (
	keepAlivePeriod = 30 * time.Second
	keepAliveCount  = 4
	userTimeout     = 120 * time.Second
)

// keepAlive makes the kernel notice a peer that is gone. What is not TCP has no such need.
func keepAlive(c net.Conn) {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return
	}
	// A socket that refuses these options is on its way out; using it will tell.
	_ = tcp.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: keepAlivePeriod, Interval: keepAlivePeriod, Count: keepAliveCount})
	if sys, err := tcp.SyscallConn(); err == nil {
		_ = sys.Control(func(fd uintptr) {
			_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(userTimeout.Milliseconds()))
		})
	}
}
