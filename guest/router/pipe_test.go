package router

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"cocoon/measure/policy"
)

// sockets are two ends of a TCP connection; the first is ours.
func sockets(tb testing.TB) (*socket, *net.TCPConn) {
	tb.Helper()
	l, err := networkListen(tb.Context(), "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	theirs := dialTCP(tb, l.Addr().String())
	ours, err := l.Accept()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = ours.Close() })
	return newSocket(ours), theirs
}

// TestSocketsAreTuned: a peer that is gone is noticed, as attestation.md section 14.3 says, whoever has made the connection.
func TestSocketsAreTuned(t *testing.T) {
	plain := Deps{
		Listen: func(ctx context.Context, _ Port) (net.Listener, error) {
			return new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
		},
		Dial: new(net.Dialer).DialContext,
	}
	for name, deps := range map[string]Deps{"the machine's network": {}, "the process's": plain} {
		deps.useNetwork()
		l, err := deps.Listen(t.Context(), Port{Kind: Reverse, Host: "127.0.0.1"})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = l.Close() }()
		dialled, err := deps.Dial(t.Context(), "tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = dialled.Close() }()
		accepted, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = accepted.Close() }()
		for side, conn := range map[string]net.Conn{"accepted": accepted, "dialled": dialled} {
			for _, option := range []struct{ level, name, want int }{
				{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
				{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 30},
				{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, 30},
				{unix.IPPROTO_TCP, unix.TCP_KEEPCNT, 4},
				{unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, 120_000},
				{unix.IPPROTO_TCP, unix.TCP_NODELAY, 1},
			} {
				got := -1
				if err := newSocket(conn).raw.Control(func(fd uintptr) { got, _ = unix.GetsockoptInt(int(fd), option.level, option.name) }); err != nil || got != option.want {
					t.Errorf("%s, %s: option %d: %d, %v, want %d", name, side, option.name, got, err, option.want)
				}
			}
		}
	}
}

// TestEagerSocket: it reads what is there and says when nothing is; waiting finds data, the end and errors.
func TestEagerSocket(t *testing.T) {
	s, theirs := sockets(t)
	s.eager = true
	buf := make([]byte, 8)
	if n, err := s.Read(buf); n != 0 || !errors.Is(err, errNotReady) {
		t.Fatalf("%d, %v from a silent socket", n, err)
	}
	var ne net.Error
	if !errors.As(errNotReady, &ne) || !ne.Timeout() || !ne.Temporary() { //nolint:staticcheck // the record layer asks for Temporary
		t.Error("the record layer would take the error for the end")
	}
	for _, step := range []struct {
		do   func() error
		want string
		err  error
	}{
		{func() error { _, err := theirs.Write([]byte("one")); return err }, "one", nil},
		{func() error { _, err := theirs.Write([]byte("two")); return err }, "two", nil},
		{theirs.CloseWrite, "", io.EOF},
	} {
		if err := step.do(); err != nil {
			t.Fatal(err)
		}
		if err := s.ready(); err != nil {
			t.Fatal(err)
		}
		if n, err := s.Read(buf); string(buf[:n]) != step.want || !errors.Is(err, step.err) {
			t.Fatalf("read %q, %v, want %q, %v", buf[:n], err, step.want, step.err)
		}
	}
	s, theirs = sockets(t)
	s.eager = true
	_ = theirs.SetLinger(0)
	_ = theirs.Close()
	err := s.ready()
	if err == nil {
		_, err = s.Read(buf)
	}
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("a reset is told as %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.ready(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a closed socket is ready: %v", err)
	}
}

// TestSessionsMoveWhatThePeerSends: of any size, both ways, to its end; the record layer is the router's own from the end
// of the handshake on.
func TestSessionsMoveWhatThePeerSends(t *testing.T) {
	w := newWorld(t)
	service := serveInner(t, func(c *net.TCPConn) {
		_, _ = io.Copy(struct{ io.Writer }{c}, struct{ io.Reader }{c})
		_ = c.CloseWrite()
	})
	r := start(t, w, w.identity(t, nil), "-d 0 -R 11001:"+service.dest()+"@any", "")
	d := w.client(t, w.identity(t, nil), policy.Builtin(policy.Any))
	for _, size := range []int{0, 1, 16384, 16385, bufferSize - 1, bufferSize, bufferSize + slack, 3_000_000} {
		c := dialPeer(t, d, r.addr[11001])
		data := make([]byte, size)
		for i := range data {
			data[i] = byte(i * i >> 7)
		}
		sent := make(chan error, 1)
		go func() {
			_, err := c.Write(data)
			sent <- errors.Join(err, c.CloseWrite())
		}()
		got, err := io.ReadAll(c)
		if err := errors.Join(err, <-sent); err != nil || !bytes.Equal(got, data) {
			t.Errorf("%d of %d bytes come back: %v", len(got), size, err)
		}
	}
}

// TestSessionsOfCryptoTLS: a stream that cannot be taken out of crypto/tls is moved all the same; its Read goes on where it
// was after the socket had nothing.
func TestSessionsOfCryptoTLS(t *testing.T) {
	w := newWorld(t)
	c, err := w.identity(t, w.td).Certificate(1)
	if err != nil {
		t.Fatal(err)
	}
	s, theirs := sockets(t)
	server := tls.Server(s, &tls.Config{Certificates: []tls.Certificate{*c}, MinVersion: tls.VersionTLS13, SessionTicketsDisabled: true})
	client := tls.Client(theirs, &tls.Config{InsecureSkipVerify: true}) // the pipe is tested, not the peer
	shaken := make(chan error, 1)
	go func() { shaken <- client.HandshakeContext(t.Context()) }()
	if err := errors.Join(server.HandshakeContext(t.Context()), <-shaken); err != nil {
		t.Fatal(err)
	}
	local, inner := sockets(t)
	var by crew
	ended := make(chan error, 1)
	m := NewMetrics().listener("test")
	moving := &session{local: plain(local), peer: secured(server, s), in: m.in, out: m.out, ended: func(err error) { ended <- err }}
	by.greet(func() { moving.start(&by, nil) })
	for _, size := range []int{1, 100_000, 3} {
		data := bytes.Repeat([]byte{byte(size)}, size)
		for _, way := range []struct {
			from io.Writer
			to   io.Reader
		}{{client, inner}, {inner, client}} {
			sent := make(chan error, 1)
			go func() {
				_, err := way.from.Write(data)
				sent <- err
			}()
			got := make([]byte, size)
			if _, err := io.ReadFull(way.to, got); err != nil || !bytes.Equal(got, data) {
				t.Fatalf("%d bytes arrive changed (%v)", size, err)
			}
			if err := <-sent; err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := errors.Join(client.CloseWrite(), inner.CloseWrite()); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	by.dismiss()
}

// defective is a stream whose code panics.
type defective struct{ stream }

func (defective) Read([]byte) (int, error) { panic("defect") } //nolint:forbidigo // what the test is about

// TestAPanicEndsTheSession: and no other; the program behind it sees a reset, not an end.
func TestAPanicEndsTheSession(t *testing.T) {
	local, inner := sockets(t)
	s, theirs := sockets(t)
	m := NewMetrics().listener("test")
	ended := make(chan error, 1)
	moving := &session{local: plain(local), peer: secured(defective{s}, s), in: m.in, out: m.out, ended: func(err error) { ended <- err }}
	var by crew
	by.greet(func() { moving.start(&by, nil) })
	if err := <-ended; !errors.Is(err, errAborted) || !strings.Contains(err.Error(), "panic: defect") {
		t.Errorf("the session ended with %v", err)
	}
	for name, c := range map[string]net.Conn{"program": inner, "peer": theirs} {
		if n, err := c.Read(make([]byte, 1)); n > 0 || !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("the %s reads %d, %v", name, n, err)
		}
	}
	by.dismiss()
}

// TestIdleSessionsHoldNoBuffer: a session that has moved bytes and waits keeps none of the 64 KiB it moved them with.
func TestIdleSessionsHoldNoBuffer(t *testing.T) {
	const sessions = 40
	w := newWorld(t)
	service := serveInner(t, func(c *net.TCPConn) {
		_, _ = io.CopyBuffer(struct{ io.Writer }{c}, struct{ io.Reader }{c}, make([]byte, 512))
	})
	r := start(t, w, w.identity(t, nil), "-d 0 -R 11001:"+service.dest()+"@any", "")
	d := w.client(t, w.identity(t, nil), policy.Builtin(policy.Any))
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC() // the second empties the pools
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := heap()
	for range sessions {
		c := dialPeer(t, d, r.addr[11001])
		for range 3 {
			if _, err := c.Write([]byte("ping")); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(c, make([]byte, 4)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if each := (heap() - before) / sessions; each > bufferSize/2 { // the client's end, of crypto/tls, included
		t.Errorf("an idle session holds %d bytes", each)
	}
}
