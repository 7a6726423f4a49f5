package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"sync"
	"time"
)

const (
	// ForwardVerb is the subcommand that joins a unix socket to the loopback of the sandbox.
	ForwardVerb = "sandbox-forward"
	// maxForwards bounds connections at once; the worker has far fewer requests.
	maxForwards = 1024
	// forwardDial bounds the wait for an engine that listens in the same machine.
	forwardDial = 5 * time.Second
)

// Forward joins a unix socket to a port of the sandbox's own loopback, for engines that listen on TCP alone. It is a
// process beside the engine, confined like it.
type Forward struct {
	// Socket is in SocketDir, Address an address and port of the loopback.
	Socket  string `json:"socket"`
	Address string `json:"address"`
}

// check returns what is wrong with it; nothing is right.
func (f *Forward) check() error {
	if f == nil {
		return nil
	}
	at, err := netip.ParseAddrPort(f.Address)
	if !clean(f.Socket) || filepath.Dir(f.Socket) != SocketDir || err != nil || !at.Addr().IsLoopback() || at.Port() == 0 {
		return fmt.Errorf("forward: %q to %q is not a socket in %s and a port of the loopback", f.Socket, f.Address, SocketDir)
	}
	return nil
}

// relay is the description of the process that forwards: everything that the engine has, but another program, which is
// this binary by the descriptor that the third step has it at.
func (s Spec) relay() Spec {
	s.Argv = []string{fmt.Sprintf("/proc/self/fd/%d", specFD+1), ForwardVerb, s.Forward.Socket, s.Forward.Address}
	s.Env, s.Forward = nil, nil
	return s
}

// RunForward listens on the socket and pipes each connection to the address, until ctx ends.
func RunForward(ctx context.Context, socket, address string) error {
	if err := (&Forward{socket, address}).check(); err != nil {
		return err
	}
	l, err := new(net.ListenConfig).Listen(ctx, "unix", socket)
	if err != nil {
		return fmt.Errorf("forwarding to engine: %w", err)
	}
	return forward(ctx, l, func(ctx context.Context) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, forwardDial)
		defer cancel()
		return new(net.Dialer).DialContext(ctx, "tcp", address)
	})
}

// forward accepts until ctx ends and waits for the connections, which end with it.
func forward(ctx context.Context, l net.Listener, dial func(context.Context) (net.Conn, error)) error {
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stop()
	var joins sync.WaitGroup
	defer joins.Wait()
	slots := make(chan struct{}, maxForwards)
	for {
		slots <- struct{}{}
		conn, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return nil
			}
			return fmt.Errorf("forwarding to engine: %w", err)
		}
		joins.Go(func() {
			defer func() { <-slots }()
			defer conn.Close() //nolint:errcheck // over
			engine, err := dial(ctx)
			if err != nil { // still loading, or gone: the worker sees its connection close
				return
			}
			join(ctx, conn, engine)
		})
	}
}

// join copies both ways. The end of one way is the end of both: the worker closes its connection to stop the engine's
// work, and never half of it.
func join(ctx context.Context, a, b net.Conn) {
	end := func() { _, _ = a.Close(), b.Close() }
	stop := context.AfterFunc(ctx, end)
	defer stop()
	var ways sync.WaitGroup
	for _, way := range [][2]net.Conn{{a, b}, {b, a}} {
		ways.Go(func() {
			_, _ = io.Copy(way[0], way[1])
			end()
		})
	}
	ways.Wait()
}
