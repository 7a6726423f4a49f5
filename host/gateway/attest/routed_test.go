package attest

import (
	"context"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"cocoon/contracts/wire"
	"cocoon/host/gateway/upstream"
	"cocoon/measure/dcap"
	"cocoon/measure/tdx"
)

// door is a router's SOCKS5 port that plays a script after the greeting; the reference's answers are in the tests.
type door struct {
	t    *testing.T
	user string
	// asked is the request as it came.
	asked chan []byte
	play  func(c net.Conn)
}

func (d *door) open() string {
	d.t.Helper()
	l, err := new(net.ListenConfig).Listen(d.t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		d.t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			d.serve(c)
		}
	}()
	d.t.Cleanup(func() { _ = l.Close(); <-done })
	return l.Addr().String()
}

func (d *door) serve(c net.Conn) {
	greeting := make([]byte, 3)
	if _, err := io.ReadFull(c, greeting); err != nil {
		return
	}
	method := byte(methodNone)
	if d.user != "" {
		method = methodUser
	}
	if greeting[2] != method {
		_, _ = c.Write([]byte{5, 0xff})
		_ = c.Close()
		return
	}
	_, _ = c.Write([]byte{5, method})
	if d.user != "" {
		login := make([]byte, 2+len(d.user)+2)
		if _, err := io.ReadFull(c, login); err != nil || string(login[2:2+len(d.user)]) != d.user {
			_, _ = c.Write([]byte{1, 1})
			_ = c.Close()
			return
		}
		_, _ = c.Write([]byte{1, 0})
	}
	request := make([]byte, 10) // IPv4
	if _, err := io.ReadFull(c, request); err != nil {
		_ = c.Close()
		return
	}
	select {
	case d.asked <- request:
	default:
	}
	d.play(c)
}

var granted = []byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0}

// met is what a router says about this platform's proxy.
func (w *world) met(change func(p *wire.Preamble), g wire.Generation) []byte {
	w.t.Helper()
	m := w.platform.Measurements()
	root, err := dcap.RootIDOf(w.platform.RootCertificate())
	if err != nil {
		w.t.Fatal(err)
	}
	p := &wire.Preamble{
		TDX: &wire.TDXReport{
			MRTD: m.MRTD, MRConfigID: m.MRConfigID, MROwner: m.MROwner, MROwnerConfig: m.MROwnerConfig,
			RTMR: [4][48]byte{m.RTMR[0], m.RTMR[1], m.RTMR[2], m.RTMR[3]}, CollateralRoot: root,
		},
		PeerKey: [32]byte{1, 2, 3}, Source: netip.MustParseAddrPort("127.0.0.1:1"), Destination: netip.MustParseAddrPort("10.0.0.1:2"),
	}
	if change != nil {
		change(p)
	}
	out, err := p.Append(nil, g)
	if err != nil {
		w.t.Fatal(err)
	}
	return out
}

func TestTheWordOfARouterIsJudged(t *testing.T) {
	w := newWorld(t)
	list := &listed{images: []tdx.Hash{w.image()}}
	keep := func(c net.Conn) { t.Cleanup(func() { _ = c.Close() }) }
	for name, tc := range map[string]struct {
		play    []byte
		want    string
		refused bool
	}{
		"listed":                  {append(granted, w.met(nil, wire.Apr2026)...), "", false},
		"listed, first form":      {append(granted, w.met(nil, wire.Dec2025)...), "", false},
		"another image":           {append(granted, w.met(func(p *wire.Preamble) { p.TDX.RTMR[3][0]++ }, wire.Apr2026)...), "not among the 1", true},
		"another collateral root": {append(granted, w.met(func(p *wire.Preamble) { p.TDX.CollateralRoot[0]++ }, wire.Apr2026)...), "not trusted here", true},
		"no evidence":             {append(granted, w.met(func(p *wire.Preamble) { p.TDX = nil }, wire.Apr2026)...), "there is none", true},
		"not allowed":             {[]byte{5, 2, 0, 1, 0, 0, 0, 0, 0, 0}, "refused the peer", true},
		"connection refused":      {[]byte{5, 5, 0, 1, 0, 0, 0, 0, 0, 0}, "connection refused", false},
		"an unknown reply":        {[]byte{5, 99, 0, 1, 0, 0, 0, 0, 0, 0}, "error 99", false},
		"a name in the reply":     {append([]byte{5, 0, 0, 3, 1, 'x', 0, 0}, w.met(nil, wire.Apr2026)...), "", false},
		"not SOCKS5":              {[]byte("HTTP/1.1 400 "), "version 72", false},
		"no preamble":             {append(granted, 12, 0, 0, 0, 0, 0, 0, 0), "--serialize-info", false},
		"gives up":                {granted, "its log says why", false},
	} {
		t.Run(name, func(t *testing.T) {
			d := &door{t: t, asked: make(chan []byte, 1), play: func(c net.Conn) {
				_, _ = c.Write(tc.play)
				if tc.want != "" {
					_ = c.Close()
					return
				}
				keep(c)
			}}
			n := w.following(list, &Router{Address: d.open()})
			conn, peer, err := n.Dial(t.Context(), "10.0.0.1:8888")
			if tc.want == "" {
				if err != nil || !peer.Verified || peer.Image != w.image().String() || len(peer.SPKI) != 64 {
					t.Fatalf("peer %+v, %v", peer, err)
				}
				_ = conn.Close()
				if got := hex.EncodeToString(<-d.asked); got != "050100010a00000122b8" {
					t.Errorf("asked %s", got)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tc.want) || errors.Is(err, upstream.ErrRefused) != tc.refused {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestARouterIsToldThePolicyByItsName(t *testing.T) {
	w := newWorld(t)
	d := &door{t: t, user: "proxies", asked: make(chan []byte, 1), play: func(c net.Conn) {
		_, _ = c.Write(append(granted, w.met(nil, wire.Apr2026)...))
		t.Cleanup(func() { _ = c.Close() })
	}}
	address := d.open()
	list := &listed{images: []tdx.Hash{w.image()}}
	conn, _, err := w.following(list, &Router{Address: address, Policy: "proxies"}).Dial(t.Context(), "10.0.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	for name, r := range map[string]*Router{
		"an unknown name":     {Address: address, Policy: "proxieX"},
		"none":                {Address: address},
		"a name without end":  {Address: address, Policy: strings.Repeat("x", 300)},
		"nobody at this port": {Address: "127.0.0.1:1"},
	} {
		if _, _, err := w.following(list, r).Dial(t.Context(), "10.0.0.1:1"); err == nil || !strings.Contains(err.Error(), "the router") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAPeerBehindARouterIsJudgedAnew(t *testing.T) {
	w := newWorld(t)
	d := &door{t: t, asked: make(chan []byte, 1), play: func(c net.Conn) {
		_, _ = c.Write(append(granted, w.met(nil, wire.Apr2026)...))
		t.Cleanup(func() { _ = c.Close() })
	}}
	list := &listed{images: []tdx.Hash{w.image()}}
	n := w.following(list, &Router{Address: d.open()})
	conn, _, err := n.Dial(t.Context(), "10.0.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	n.Notify("root") // nothing has changed
	if len(n.routed.live) != 1 {
		t.Error("a proxy that is still listed lost its session")
	}
	list.set(nil, tdx.Hash{7})
	n.Notify("root")
	ended(t, conn)
	list.set(errors.New("too old"))
	if _, _, err := n.Dial(t.Context(), "10.0.0.1:1"); !errors.Is(err, upstream.ErrRefused) || !strings.Contains(err.Error(), "too old") {
		t.Errorf("error %v", err)
	}
}

func TestARouterThatIsSilentIsLeft(t *testing.T) {
	w := newWorld(t)
	quit := make(chan struct{})
	d := &door{t: t, asked: make(chan []byte, 1), play: func(c net.Conn) { <-quit; _ = c.Close() }}
	n := w.following(&listed{}, &Router{Address: d.open()})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, _, err := n.Dial(ctx, "10.0.0.1:1"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
	close(quit)
}

func FuzzRequest(f *testing.F) {
	for _, seed := range []string{"10.0.0.1:1", "[2001:db8::1]:65535", "proxy.example:11002", "::1:1", ":0", "x:99999", "a:b:c", "[::ffff:1.2.3.4]:5"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, address string) {
		out, err := connectRequest(address)
		if err != nil {
			return
		}
		if len(out) < 8 || len(out) > 4+1+maxUserName+2 || out[0] != 5 || out[1] != 1 {
			t.Errorf("%q gives %x", address, out)
		}
	})
}
