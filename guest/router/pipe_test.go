package router

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"reflect"
	"runtime"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"cocoon/measure/policy"
)

// sockets are two ends of a TCP connection; the first is ours.
func sockets(tb testing.TB) (*socket, *net.TCPConn) {
	tb.Helper()
	l, err := new(net.ListenConfig).Listen(tb.Context(), "tcp", "127.0.0.1:0")
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

// TestSocketIsTuned: a peer that is gone is noticed, as attestation.md section 14.3 says.
func TestSocketIsTuned(t *testing.T) {
	s, _ := sockets(t)
	for _, option := range []struct{ level, name, want int }{
		{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
		{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 30},
		{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, 30},
		{unix.IPPROTO_TCP, unix.TCP_KEEPCNT, 4},
		{unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, 120_000},
	} {
		got := -1
		if err := s.raw.Control(func(fd uintptr) { got, _ = unix.GetsockoptInt(int(fd), option.level, option.name) }); err != nil || got != option.want {
			t.Errorf("option %d: %d, %v, want %d", option.name, got, err, option.want)
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
	if !errors.As(errNotReady, &ne) || !ne.Timeout() || !ne.Temporary() { //nolint:staticcheck // crypto/tls asks for Temporary
		t.Error("crypto/tls would take the error for the end")
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

// counted counts the calls that reach the network.
type counted struct {
	net.Conn
	mu    sync.Mutex
	calls int
	bytes.Buffer
}

func (c *counted) Read(p []byte) (int, error) { return c.Conn.Read(p) }

func (c *counted) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls++
	return c.Buffer.Write(p)
}

// TestCork: what is gathered leaves in one call and in order; what is too much leaves earlier.
func TestCork(t *testing.T) {
	ours, theirs := net.Pipe()
	defer func() { _ = ours.Close() }()
	defer func() { _ = theirs.Close() }()
	for name, tc := range map[string]struct {
		writes []int
		calls  int
	}{
		"four records":           {[]int{16406, 16406, 16406, 16406}, 1},
		"nothing":                {nil, 0},
		"more than a burst":      {[]int{60000, 60000}, 2},
		"one larger than it all": {[]int{10, 200_000, 10}, 3},
	} {
		t.Run(name, func(t *testing.T) {
			c := &counted{Conn: ours}
			s := newSocket(c)
			var want []byte
			s.cork()
			for i, n := range tc.writes {
				p := bytes.Repeat([]byte{byte(i + 1)}, n)
				want = append(want, p...)
				if m, err := s.Write(p); m != n || err != nil {
					t.Fatal(m, err)
				}
			}
			if err := s.flush(); err != nil || s.flush() != nil {
				t.Fatal(err)
			}
			if c.calls != tc.calls || !bytes.Equal(c.Bytes(), want) {
				t.Errorf("%d calls, %d bytes, want %d, %d", c.calls, c.Len(), tc.calls, len(want))
			}
			if _, err := s.Write([]byte{9}); err != nil || c.calls != tc.calls+1 {
				t.Error("after the flush nothing is gathered any more")
			}
		})
	}
}

// secure makes a TLS connection of a socket, and its client.
func secure(tb testing.TB, w *world) (*tls.Conn, *socket, *tls.Conn) {
	tb.Helper()
	c, err := w.identity(tb, w.td).Certificate(1)
	if err != nil {
		tb.Fatal(err)
	}
	s, theirs := sockets(tb)
	server := tls.Server(s, &tls.Config{Certificates: []tls.Certificate{*c}, ClientAuth: tls.RequireAnyClientCert, MinVersion: tls.VersionTLS13, SessionTicketsDisabled: true})
	client := tls.Client(theirs, &tls.Config{Certificates: []tls.Certificate{*c}, InsecureSkipVerify: true}) // the pipe is tested, not the peer
	done := make(chan error, 1)
	go func() { done <- client.HandshakeContext(tb.Context()) }()
	if err := errors.Join(server.HandshakeContext(tb.Context()), <-done); err != nil {
		tb.Fatal(err)
	}
	return server, s, client
}

// TestTLSGoesOnWhereItWas: records that arrive in pieces survive reads that find half of one.
func TestTLSGoesOnWhereItWas(t *testing.T) {
	w := newWorld(t)
	server, s, client := secure(t, w)
	s.eager = true
	records := new(counted)
	records.Conn = client.NetConn()
	data := bytes.Repeat([]byte("0123456789abcdef"), 4096)
	writeThrough(t, client, records, data)
	var got []byte
	buf := make([]byte, 5000)
	raw := records.Bytes()
	for step := 1; len(raw) > 0; step = step*3%1000 + 1 {
		n := min(step, len(raw))
		if _, err := records.Conn.Write(raw[:n]); err != nil {
			t.Fatal(err)
		}
		raw = raw[n:]
		if err := s.ready(); err != nil {
			t.Fatal(err)
		}
		for {
			n, err := server.Read(buf)
			got = append(got, buf[:n]...)
			if errors.Is(err, errNotReady) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	eventually(t, "all of it arrives", func() bool {
		n, _ := server.Read(buf)
		got = append(got, buf[:n]...)
		return len(got) >= len(data)
	})
	if !bytes.Equal(got, data) {
		t.Errorf("%d bytes came through, %d were sent", len(got), len(data))
	}
}

// writeThrough has a client's records written into a buffer instead of its connection.
func writeThrough(t *testing.T, client *tls.Conn, to net.Conn, data []byte) {
	t.Helper()
	f := reflect.ValueOf(client).Elem().FieldByName("conn")
	if !f.IsValid() {
		t.Skip("crypto/tls has changed: no conn in a Conn")
	}
	held := (*net.Conn)(f.Addr().UnsafePointer())
	before := *held
	*held = to
	defer func() { *held = before }()
	if _, err := client.Write(data); err != nil {
		t.Fatal(err)
	}
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
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC() // the second empties the pools
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
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
	if each := (heap() - before) / sessions; each > bufferSize { // both ends of TLS included
		t.Errorf("an idle session holds %d bytes", each)
	}
}
