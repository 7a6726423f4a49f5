package router

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"cocoon/contracts/wire"
	"cocoon/measure/policy"
	"cocoon/measure/ratls"
	"cocoon/measure/tdx"
)

// hello is a service inside that reads a preamble, answers with a word of its own and then echoes.
func hello(preambles chan<- *wire.Preamble) func(*net.TCPConn) {
	return func(c *net.TCPConn) {
		p, _, err := wire.ReadPreamble(c)
		if err != nil {
			return
		}
		preambles <- p
		echo(c)
	}
}

// TestBothRouters: app, SOCKS, router, proof of work, TLS, router, service, and back; both local sides are told who the
// other end is.
func TestBothRouters(t *testing.T) {
	w := newWorld(t)
	preambles := make(chan *wire.Preamble, 1)
	service := serveInner(t, hello(preambles))
	far := start(t, w, w.identity(t, w.td), "-s -d 4 -R 11001:"+service.dest()+"@sim", w.file(w.images(w.image), ""))
	near := start(t, w, w.identity(t, w.td), "-s -S 8116@sim", w.file(w.images(w.image), ""))

	app := dialTCP(t, near.addr[8116])
	to := addressOf(mustAddr(t, far.addr[11001]))
	request := append([]byte{5, 1, 0, 5, 1, 0, 1, 127, 0, 0, 1}, byte(to.Port()>>8), byte(to.Port()))
	if _, err := app.Write(request); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, 12)
	if _, err := io.ReadFull(app, answer); err != nil || !bytes.HasPrefix(answer, []byte{5, 0, 5, 0, 0, 1}) {
		t.Fatalf("SOCKS answered %x, %v", answer, err)
	}
	mine, g, err := wire.ReadPreamble(app)
	if err != nil || g != wire.Apr2026 {
		t.Fatalf("%v, %v\n%s", g, err, near.log)
	}
	theirs := <-preambles
	for name, p := range map[string]*wire.Preamble{"app's": mine, "service's": theirs} {
		if p.TDX == nil {
			t.Fatalf("the %s peer is not attested", name)
		}
		hash, err := tdx.PublishableHash(measurementsOf(p.TDX))
		if err != nil || hash.String() != w.image || hex.EncodeToString(p.TDX.CollateralRoot[:]) != w.root {
			t.Errorf("the %s peer has image %s (%v), root %x, want %s, %s", name, hash, err, p.TDX.CollateralRoot, w.image, w.root)
		}
	}
	if mine.Destination != to || mine.Source.String() != app.LocalAddr().String() {
		t.Errorf("the app is told %v to %v", mine.Source, mine.Destination)
	}
	if theirs.Destination != service.addr || theirs.Source.Addr().String() != "127.0.0.1" {
		t.Errorf("the service is told %v to %v", theirs.Source, theirs.Destination)
	}
	if mine.PeerKey == theirs.PeerKey {
		t.Error("both ends have the same key")
	}
	if want := `router_sessions{listener="11001",image="` + w.image + `"} 1`; !strings.Contains(far.text(), want) {
		t.Errorf("metrics lack %s:\n%s", want, far.text())
	}
	exchange(t, app, 300_000)
	eventually(t, "sessions end", func() bool { return len(near.Sessions())+len(far.Sessions()) == 0 })
	for _, want := range []string{
		`router_handshakes_total{listener="11001",code="ok"} 1`, `router_bytes_total{listener="11001",direction="in"} 300000`,
		`router_bytes_total{listener="11001",direction="out"} 300000`, `router_platform_tcb{fmspc="50806f000000",status="UpToDate"} 1`,
		`router_pow_total{listener="11001",result="ok"} 1`, `router_stage_seconds_count{listener="11001",stage="verify"} 1`,
	} {
		if !strings.Contains(far.text(), want) {
			t.Errorf("metrics lack %s:\n%s", want, far.text())
		}
	}
}

func mustAddr(tb testing.TB, s string) net.Addr {
	tb.Helper()
	a, err := net.ResolveTCPAddr("tcp", s)
	if err != nil {
		tb.Fatal(err)
	}
	return a
}

type halfCloser interface {
	io.ReadWriter
	CloseWrite() error
}

// exchange sends n bytes to an echo, ends its stream and wants them all back with the end of the other.
func exchange(tb testing.TB, c halfCloser, n int) {
	tb.Helper()
	data := make([]byte, n)
	for i := range data {
		data[i] = byte(i * 31)
	}
	sent := make(chan error, 1)
	go func() {
		_, err := c.Write(data)
		sent <- errors.Join(err, c.CloseWrite())
	}()
	got, err := io.ReadAll(c)
	if err != nil || !bytes.Equal(got, data) {
		tb.Errorf("%d of %d bytes came back, %v", len(got), n, err)
	}
	if err := <-sent; err != nil {
		tb.Error(err)
	}
}

// TestForward: the fixed destination needs no SOCKS; an unattested server is told apart.
func TestForward(t *testing.T) {
	w := newWorld(t)
	service := serveInner(t, echo)
	far := start(t, w, w.identity(t, nil), "-d 0 -R 11001:"+service.dest()+"@any", "")
	near := start(t, w, w.identity(t, nil), "--preamble=dec -s -F 9000:"+far.addr[11001]+"@any", "")
	app := dialTCP(t, near.addr[9000])
	p, g, err := wire.ReadPreamble(app)
	if err != nil || g != wire.Dec2025 || p.Attested() {
		t.Fatalf("%+v, %v, %v", p, g, err)
	}
	exchange(t, app, 100)
	// Programs before such a port do not speak SOCKS, whenever a SOCKS port would answer.
	late := start(t, w, w.identity(t, nil), "--socks-reply late -F 9000:"+far.addr[11001]+"@any", "")
	exchange(t, dialTCP(t, late.addr[9000]), 100)
}

// TestProfiles: a router that may speak either profile and has certificates of the first only speaks that.
func TestProfiles(t *testing.T) {
	w := newWorld(t)
	id := w.identity(t, w.td)
	service := serveInner(t, echo)
	for _, profiles := range [][2]string{{"auto", "auto"}, {"auto", "v1"}, {"v1", "auto"}} {
		far := start(t, w, id, "-d 0 --profile "+profiles[0]+" -R 11001:"+service.dest()+"@sim", w.file(w.images(w.image), ""))
		near := start(t, w, id, "--profile "+profiles[1]+" -F 9000:"+far.addr[11001]+"@sim", w.file(w.images(w.image), ""))
		exchange(t, dialTCP(t, near.addr[9000]), 10)
		if t.Failed() {
			t.Fatalf("%v\n%s\n%s", profiles, far.log, near.log)
		}
	}
}

// TestFirstBytesTravelWithThePreamble: the service reads preamble and first bytes at once, and gets the preamble
// without waiting when the peer says nothing.
func TestFirstBytesTravelWithThePreamble(t *testing.T) {
	w := newWorld(t)
	got := make(chan int, 1)
	service := serveInner(t, func(c *net.TCPConn) {
		buf := make([]byte, 1024)
		n, _ := c.Read(buf)
		got <- n
	})
	written := make(chan struct{})
	far := start(t, w, w.identity(t, nil), "-s -d 0 -R 11001:"+service.dest()+"@any", "", func(d *Deps) {
		d.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			<-written // the peer's bytes are there before the service is
			return new(net.Dialer).DialContext(ctx, network, address)
		}
	})
	conn := dialPeer(t, w.client(t, w.identity(t, nil), policy.Builtin(policy.Any)), far.addr[11001])
	_, err := conn.Write([]byte("first"))
	close(written)
	if err != nil {
		t.Fatal(err)
	}
	if n := <-got; n != 4+572+len("first") {
		t.Errorf("the first read gave %d bytes", n)
	}
	dialPeer(t, w.client(t, w.identity(t, nil), policy.Builtin(policy.Any)), far.addr[11001])
	select {
	case n := <-got:
		if n != 4+572 {
			t.Errorf("the first read gave %d bytes", n)
		}
	case <-time.After(within):
		t.Error("no preamble for a silent peer")
	}
}

// TestThePreambleIsWrittenOnce: also when much more than a burst is there before the service is.
func TestThePreambleIsWrittenOnce(t *testing.T) {
	w := newWorld(t)
	const size = 1 << 20
	got := make(chan []byte, 1)
	service := serveInner(t, func(c *net.TCPConn) {
		all, _ := io.ReadAll(c)
		got <- all
	})
	sent := make(chan error, 1)
	far := start(t, w, w.identity(t, nil), "-s -d 0 -R 11001:"+service.dest()+"@any", "", func(d *Deps) {
		d.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			timer := time.NewTimer(50 * time.Millisecond) // in which the sockets fill
			defer timer.Stop()
			<-timer.C
			return new(net.Dialer).DialContext(ctx, network, address)
		}
	})
	peer := dialPeer(t, w.client(t, w.identity(t, nil), policy.Builtin(policy.Any)), far.addr[11001])
	go func() {
		_, err := peer.Write(bytes.Repeat([]byte{7}, size))
		sent <- errors.Join(err, peer.CloseWrite())
	}()
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	all := <-got
	if rest := len(all) - size; rest != 4+572 || !bytes.Equal(all[rest:], bytes.Repeat([]byte{7}, size)) {
		t.Errorf("the service reads %d bytes besides the peer's", rest)
	}
}

// TestRefusedPeers: who is not admitted by a policy never reaches the service, and the metrics say why.
func TestRefusedPeers(t *testing.T) {
	w := newWorld(t)
	attested, bare := w.identity(t, w.td), w.identity(t, nil)
	for name, tc := range map[string]struct {
		policy string // of the port
		rules  string
		peer   ratls.Credentials
		code   string
	}{
		"no quote":                          {"sim", w.images(w.image), bare, "no_quote"},
		"another image":                     {"sim", w.images(hashA), attested, "image"},
		"a simulated quote in production":   {"tdx_inline_11001", "", attested, "root"},
		"an empty list, written":            {"sim", `, "image_source": "list"`, attested, "policy_empty"},
		"a certificate without its key":     {"sim", w.images(w.image), shown{stolen(t, attested)}, "tls"},
		"the same where nobody is attested": {"any", w.images(w.image), shown{stolen(t, bare)}, "tls"},
		"a denied platform model":           {"sim", w.images(w.image) + `, "fmspc": {"deny": ["50806F000000"]}`, attested, "platform"},
		"fake evidence is not good enough":  {"sim", w.images(w.image), shown{fake(t)}, "quote_type"},
	} {
		t.Run(name, func(t *testing.T) {
			service := serveInner(t, echo)
			args := "-s -d 0 -R 11001:" + service.dest() + "@" + tc.policy
			if tc.policy == "tdx_inline_11001" {
				args = "-s -d 0 -R 11001:" + service.dest() + "@tdx:" + w.image
			}
			r := start(t, w, bare, args, w.file(tc.rules, ""))
			c, err := w.client(t, tc.peer, policy.Builtin(policy.Any)).Dial(t.Context(), r.addr[11001])
			if err == nil { // the server's verdict comes after the client's handshake has ended
				_ = c.SetDeadline(time.Now().Add(within))
				_, err = c.Read(make([]byte, 1))
				_ = c.Close()
			}
			if err == nil {
				t.Error("the peer was served")
			}
			want := fmt.Sprintf(`router_handshakes_total{listener="11001",code=%q} 1`, tc.code)
			eventually(t, "the metrics have "+want, func() bool { return strings.Contains(r.text(), want) })
			r.stop()
			if service.accepted() != 0 {
				t.Error("the service inside saw a connection")
			}
		})
	}
}

func grep(text, word string) string {
	var out []string
	for line := range strings.Lines(text) {
		if strings.Contains(line, word) {
			out = append(out, line)
		}
	}
	return strings.Join(out, "")
}

// TestSimulatedAdmitted: the same simulated quote passes where a local network's configuration says so.
func TestSimulatedAdmitted(t *testing.T) {
	w := newWorld(t)
	service := serveInner(t, echo)
	file := w.file(w.images(w.image), "")
	r := start(t, w, w.identity(t, nil), "-d 0 -R 11001:"+service.dest()+"@sim", file)
	exchange(t, dialPeer(t, w.client(t, w.identity(t, w.td), policy.Builtin(policy.Any)), r.addr[11001]), 10)
}

// fake is the reference's stand-in for an attested certificate.
func fake(tb testing.TB) *tls.Certificate {
	tb.Helper()
	id, err := ratls.NewIdentity(ratls.IdentityConfig{Fake: true, Now: time.Now})
	if err == nil {
		err = id.Refresh(tb.Context())
	}
	if err != nil {
		tb.Fatal(err)
	}
	c, err := id.Certificate(ratls.V1)
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// TestFakeIsToldAsZeros: where a local network accepts fake evidence the service sees a report of which no image can be
// allowed.
func TestFakeIsToldAsZeros(t *testing.T) {
	w := newWorld(t)
	preambles := make(chan *wire.Preamble, 1)
	service := serveInner(t, hello(preambles))
	r := start(t, w, w.identity(t, nil), "-s -d 0 -R 11001:"+service.dest()+"@fake_tdx", `{"network": "local"}`)
	dialPeer(t, w.client(t, shown{fake(t)}, policy.Builtin(policy.Any)), r.addr[11001])
	p := <-preambles
	if p.TDX == nil || p.TDX.CollateralRoot != [48]byte{} || p.TDX.ReportData == [64]byte{} {
		t.Fatalf("%+v", p.TDX)
	}
	if _, err := tdx.PublishableHash(measurementsOf(p.TDX)); err == nil {
		t.Error("the image of fake evidence can be listed")
	}
}

// TestHandler: a service in the router's process gets the connection with its peer by value.
func TestHandler(t *testing.T) {
	w := newWorld(t)
	var seen ratls.Peer
	r := start(t, w, w.identity(t, w.td), "-d 0 -R 11001:localhost:11101@sim", w.file(w.images(w.image), ""), func(d *Deps) {
		d.Handlers = map[uint16]Handler{11001: func(_ context.Context, c *ratls.Conn) {
			seen = c.Peer
			_, _ = io.Copy(c, c)
			_ = c.CloseWrite()
		}}
	})
	// The way out of the same process, under the same policies.
	conn, err := r.Dial(t.Context(), "sim", r.addr[11001])
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	exchange(t, conn, 1000)
	r.stop()
	if seen.Report == nil || seen.Verdict.ImageHash.String() != w.image {
		t.Errorf("the handler was told %+v", seen.Verdict)
	}
	if _, err := r.Dial(t.Context(), "other", r.addr[11001]); err == nil || !strings.Contains(err.Error(), `"other"`) {
		t.Errorf("dialling under an unknown policy: %v", err)
	}
}

// TestLostPortEndsTheRouter: it does not go on with half of its ports.
func TestLostPortEndsTheRouter(t *testing.T) {
	w := newWorld(t)
	cfg, err := Parse(strings.Fields("-S 8116@any -S 8117@any"), nil)
	if err != nil {
		t.Fatal(err)
	}
	lost := make(chan net.Listener, 2)
	r, err := New(cfg, Deps{Now: time.Now, Credentials: w.identity(t, nil), Judge: w.judge, Listen: func(ctx context.Context, _ Port) (net.Listener, error) {
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
		lost <- l
		return l, err
	}})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- r.Run(t.Context()) }()
	_ = (<-lost).Close()
	select {
	case err := <-done:
		if !errors.Is(err, net.ErrClosed) || !strings.Contains(err.Error(), "8116") {
			t.Errorf("ended with %v", err)
		}
	case <-time.After(within):
		t.Error("it goes on")
	}
}

// TestPortInUse: all ports or none.
func TestPortInUse(t *testing.T) {
	w := newWorld(t)
	cfg, err := Parse(strings.Fields("-S 8116@any -S 8117@any"), nil)
	if err != nil {
		t.Fatal(err)
	}
	var first net.Listener
	r, err := New(cfg, Deps{Now: time.Now, Credentials: w.identity(t, nil), Judge: w.judge, Listen: func(ctx context.Context, p Port) (net.Listener, error) {
		if p.Listen == 8117 {
			return nil, errors.New("in use")
		}
		var err error
		first, err = new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
		return first, err
	}})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "listening on port 8117: in use") {
		t.Errorf("ended with %v", err)
	}
	if _, err := first.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the other port stays open: %v", err)
	}
}

// TestPanicEndsOneConnection: and is counted.
func TestPanicEndsOneConnection(t *testing.T) {
	w := newWorld(t)
	r := start(t, w, w.identity(t, nil), "-d 0 -R 11001:localhost:11101@any", "", func(d *Deps) {
		d.Handlers = map[uint16]Handler{11001: func(_ context.Context, c *ratls.Conn) {
			var one [1]byte
			if _, err := io.ReadFull(c, one[:]); err == nil && one[0] == 'p' {
				var nothing *Router
				_ = nothing.cfg
			}
			_, _ = c.Write(one[:])
		}}
	})
	d := w.client(t, w.identity(t, nil), policy.Builtin(policy.Any))
	for _, word := range []string{"p", "x"} {
		c := dialPeer(t, d, r.addr[11001])
		_, _ = c.Write([]byte(word))
		if got, _ := io.ReadAll(c); (string(got) == word) != (word == "x") {
			t.Errorf("%s: answered %q", word, got)
		}
	}
	eventually(t, "the panic is counted", func() bool { return strings.Contains(r.text(), `router_panics_total{listener="11001"} 1`) })
}
