package router

import (
	"context"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Dead ends are found by these; live ones may be idle for as long as they like (attestation.md section 14.3).
const (
	keepAlivePeriod = 30 * time.Second
	keepAliveCount  = 4
	userTimeout     = 120 * time.Second
)

// tuneFD sets them. A socket that refuses an option is on its way out, or is not TCP: using it will tell.
func tuneFD(fd uintptr) {
	for _, o := range [...]struct{ level, name, value int }{
		{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
		{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, int(keepAlivePeriod.Seconds())},
		{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, int(keepAlivePeriod.Seconds())},
		{unix.IPPROTO_TCP, unix.TCP_KEEPCNT, keepAliveCount},
		{unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(userTimeout.Milliseconds())},
	} {
		_ = unix.SetsockoptInt(int(fd), o.level, o.name, o.value)
	}
}

// control tunes a socket before it is connected or listens. What a listener accepts has the listener's options (tcp(7)), so
// that nothing is to be set for each connection.
func control(_, _ string, c syscall.RawConn) error { return c.Control(tuneFD) }

// untouched keeps the net package from setting its own.
const untouched = -1

// networkDial is the default of Deps.Dial.
func networkDial(ctx context.Context, network, address string) (net.Conn, error) {
	d := net.Dialer{KeepAlive: untouched, Control: control}
	return d.DialContext(ctx, network, address)
}

// networkListen listens on the machine's network.
func networkListen(ctx context.Context, address string) (net.Listener, error) {
	l := net.ListenConfig{KeepAlive: untouched, Control: control}
	l.SetMultipathTCP(false) // whose sockets do not inherit all options
	return l.Listen(ctx, "tcp", address)
}

// tuned tunes a connection that something else has made.
func tuned(conn net.Conn) net.Conn {
	if sc, ok := conn.(syscall.Conn); ok {
		if raw, err := sc.SyscallConn(); err == nil {
			_ = raw.Control(tuneFD) // a closed socket: using it will tell
		}
	}
	return conn
}

// tunedDial is a process's own dialler with its connections tuned.
func tunedDial(dial func(ctx context.Context, network, address string) (net.Conn, error)) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return tuned(conn), nil
	}
}

// tunedListener is a process's own listener with its connections tuned.
type tunedListener struct{ net.Listener }

// Accept tunes what it returns.
func (l tunedListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return tuned(conn), nil
}
