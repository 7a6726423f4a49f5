package router

import (
	"crypto/tls"
	"io"
	"net"
	"testing"

	"cocoon/measure/ratls"
	"cocoon/measure/ratls/pow"
)

// fastClient is a peer that costs as little as it can: no verdict, no difficulty.
func fastClient(b *testing.B, id ratls.Credentials, addr string) (*tls.Conn, error) {
	b.Helper()
	c, err := id.Certificate(ratls.V1)
	if err != nil {
		return nil, err
	}
	raw, err := new(net.Dialer).DialContext(b.Context(), "tcp", addr)
	if err != nil {
		return nil, err
	}
	if _, err := io.ReadFull(raw, make([]byte, pow.ChallengeSize)); err != nil {
		return nil, err
	}
	if _, err := raw.Write(pow.AppendResponse(nil, 0)); err != nil {
		return nil, err
	}
	conn := tls.Client(raw, &tls.Config{Certificates: []tls.Certificate{*c}, InsecureSkipVerify: true}) // the load, not the thing measured
	return conn, conn.HandshakeContext(b.Context())
}

// BenchmarkConnections is both ends of an attested connection with a cached verdict, from accept to the end.
func BenchmarkConnections(b *testing.B) {
	w := newWorld(b)
	service := serveInner(b, echo)
	r := start(b, w, w.identity(b, w.td), "-d 0 -R 11001:"+service.dest()+"@sim", w.file(w.images(w.image), ""))
	id := w.identity(b, w.td)
	b.ReportAllocs()
	for b.Loop() {
		c, err := fastClient(b, id, r.addr[11001])
		if err != nil {
			b.Fatal(err)
		}
		if _, err := c.Write([]byte{1}); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
			b.Fatal(err)
		}
		_ = c.NetConn().Close()
	}
}

// BenchmarkBulk is both ends of one session that moves bytes one way and back.
func BenchmarkBulk(b *testing.B) {
	w := newWorld(b)
	service := serveInner(b, echo)
	r := start(b, w, w.identity(b, nil), "-d 0 -R 11001:"+service.dest()+"@any", "")
	c, err := fastClient(b, w.identity(b, nil), r.addr[11001])
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = c.NetConn().Close() }()
	buf, back := make([]byte, 256<<10), make([]byte, 256<<10)
	b.SetBytes(int64(len(buf)))
	for b.Loop() {
		go func() { _, _ = c.Write(buf) }()
		if _, err := io.ReadFull(c, back); err != nil {
			b.Fatal(err)
		}
	}
}
