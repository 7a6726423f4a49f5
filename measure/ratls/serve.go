package ratls

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"cocoon/measure/ratls/cert"
	"cocoon/measure/ratls/pow"
)

// DefaultMaxPending bounds the handshakes under way (attestation.md section 14.3).
const DefaultMaxPending = 1024

// Pauses after an Accept that failed for want of resources.
const (
	minAcceptPause = 5 * time.Millisecond
	maxAcceptPause = time.Second
)

// Server admits peers: proof of work, TLS, verdict. It must not be copied.
type Server struct {
	Endpoint
	// PoW says how hard the challenges are.
	PoW pow.Schedule
	// MaxPending bounds the handshakes that Serve does at a time, and is what PoW measures load by; zero means
	// DefaultMaxPending.
	MaxPending int
	// Random gives the salts; nil means crypto/rand.
	Random io.Reader
	// Log gets panics of handlers; nil is silent.
	Log *slog.Logger

	pending atomic.Int64
}

// Validate returns what is missing or wrong.
func (s *Server) Validate() error {
	if err := s.Endpoint.Validate(); err != nil {
		return err
	}
	return s.PoW.Validate()
}

// Pending is how many handshakes are under way.
func (s *Server) Pending() int { return int(s.pending.Load()) }

func (s *Server) maxPending() int {
	if s.MaxPending > 0 {
		return s.MaxPending
	}
	return DefaultMaxPending
}

// Handshake does what follows accept. It owns the connection: if it fails the connection is closed. The error is an
// *Error.
func (s *Server) Handshake(ctx context.Context, raw net.Conn) (*Conn, error) {
	pending := s.pending.Add(1)
	defer s.pending.Add(-1)
	return s.admit(ctx, raw, int(pending))
}

func (s *Server) admit(ctx context.Context, raw net.Conn, pending int) (*Conn, error) {
	keepAlive(raw)
	err := s.stage(ctx, StagePoW, orDefault(s.Timeouts.PoW, DefaultPoWTimeout), func(ctx context.Context) error {
		return bounded(ctx, raw, func() error { return s.challenge(raw, pending) })
	})
	if err != nil {
		_ = raw.Close() // the error at hand says more
		return nil, err
	}
	return s.secure(ctx, raw, cert.Server)
}

// challenge asks for work and checks the response.
func (s *Server) challenge(raw net.Conn, pending int) error {
	random := s.Random
	if random == nil {
		random = rand.Reader
	}
	c, err := pow.New(s.PoW.For(addressOf(raw.RemoteAddr()), pending, s.maxPending()), random)
	if err != nil {
		return coded(CodeInternal, err)
	}
	if _, err := raw.Write(c.Append(make([]byte, 0, pow.ChallengeSize))); err != nil {
		return err
	}
	var response [pow.ResponseSize]byte // and not a byte more: TLS follows
	if _, err := io.ReadFull(raw, response[:]); err != nil {
		return err
	}
	nonce, err := pow.ParseResponse(response[:])
	if err != nil {
		return err
	}
	return c.Check(nonce)
}

// addressOf is the zero address for what is not TCP.
func addressOf(a net.Addr) netip.Addr {
	if tcp, ok := a.(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr()
	}
	return netip.Addr{}
}

// Serve accepts connections until ctx ends and hands those of admitted peers to handle, each in a goroutine of its own.
// It closes the listener, and the connections when their handler returns, and returns after the last one: handlers have
// to end when their context does.
func (s *Server) Serve(ctx context.Context, l net.Listener, handle func(context.Context, *Conn)) error {
	ctx, cancel := context.WithCancel(ctx)
	var open sync.WaitGroup
	defer open.Wait()
	defer cancel()
	defer l.Close()                                          //nolint:errcheck // nothing was written to it
	stop := context.AfterFunc(ctx, func() { _ = l.Close() }) // Accept returns its error
	defer stop()
	pause := minAcceptPause
	for {
		raw, err := l.Accept()
		switch {
		case err == nil:
			pause = minAcceptPause
			open.Go(func() { s.serveOne(ctx, raw, handle) })
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("accepting connections: %w", err)
		default: // out of file descriptors, for example: those in use will be given back
			if !wait(ctx, pause) {
				return nil
			}
			pause = min(2*pause, maxAcceptPause)
		}
	}
}

// wait is false if ctx ended first.
func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// serveOne takes one connection from accept to its end.
func (s *Server) serveOne(ctx context.Context, raw net.Conn, handle func(context.Context, *Conn)) {
	defer func() {
		if p := recover(); p != nil {
			_ = raw.Close()
			if s.Log != nil {
				s.Log.Error("Connection panicked", slog.Any("panic", p), slog.String("stack", string(debug.Stack())))
			}
		}
	}()
	conn := s.admitBounded(ctx, raw)
	if conn == nil {
		return // Observe was told
	}
	defer conn.Close() //nolint:errcheck // the handler is through with it
	handle(ctx, conn)
}

// admitBounded is Handshake within MaxPending; nil means that it failed.
func (s *Server) admitBounded(ctx context.Context, raw net.Conn) *Conn {
	pending := int(s.pending.Add(1))
	defer s.pending.Add(-1)
	if pending > s.maxPending() {
		_ = raw.Close()
		s.observe(StagePoW, s.Judge.now(), &Error{StagePoW, CodeBusy, errors.New("too many handshakes are under way")})
		return nil
	}
	conn, _ := s.admit(ctx, raw, pending)
	return conn
}
