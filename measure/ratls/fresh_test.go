package ratls

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"cocoon/measure/measuretest"
	"cocoon/measure/policy"
	"cocoon/measure/ratls/cert"
	"cocoon/measure/ratls/pow"
	"cocoon/measure/tdx"
	"cocoon/tests/golden"
)

func freshPair(w *world) (*Dialer, *Server) {
	d, s := w.pair()
	d.Fresh, s.Fresh = w.platform, w.platform
	return d, s
}

func TestFreshQuotesAreExchangedBeforeData(t *testing.T) {
	w := newWorld(t)
	d, s := freshPair(w)
	d.FreshRequired, s.FreshRequired = true, true
	m := meet(t, d, s).admitted(t)
	if !m.client.Peer.Fresh || !m.server.Peer.Fresh || m.client.ConnectionState().NegotiatedProtocol != ProtocolV2Fresh {
		t.Errorf("peers are %+v and %+v", m.client.Peer, m.server.Peer)
	}
	if _, err := m.client.Write([]byte("first data")); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 10)
	if _, err := io.ReadFull(m.server, got); err != nil || string(got) != "first data" {
		t.Errorf("first data is %q (%v)", got, err)
	}
}

func TestFreshIsNegotiated(t *testing.T) {
	w := newWorld(t)
	for name, c := range map[string]struct {
		edit  func(d *Dialer, s *Server)
		fresh bool
		code  policy.Code // of the client
	}{
		"both":                         {func(*Dialer, *Server) {}, true, policy.OK},
		"client cannot":                {func(d *Dialer, _ *Server) { d.Fresh = nil }, false, policy.OK},
		"server cannot":                {func(_ *Dialer, s *Server) { s.Fresh = nil }, false, policy.OK},
		"client must, server can":      {func(d *Dialer, _ *Server) { d.FreshRequired = true }, true, policy.OK},
		"client must, server cannot":   {func(d *Dialer, s *Server) { d.FreshRequired, s.Fresh = true, nil }, false, CodeProfile},
		"server must, client cannot":   {func(d *Dialer, s *Server) { s.FreshRequired, d.Fresh = true, nil }, false, CodePeerRefused},
		"server must, client is of v1": {func(d *Dialer, s *Server) { s.FreshRequired, d.Mode = true, OnlyV1 }, false, CodePeerRefused},
	} {
		d, s := freshPair(w)
		c.edit(d, s)
		m := meet(t, d, s)
		if CodeOf(m.clientErr) != c.code || (m.client != nil) != (m.server != nil) {
			t.Errorf("%s: client %v, server %v; want %s", name, m.clientErr, m.serverErr, c.code)
		}
		if m.client != nil && (m.client.Peer.Fresh != c.fresh || m.server.Peer.Fresh != c.fresh) {
			t.Errorf("%s: fresh %t and %t, want %t", name, m.client.Peer.Fresh, m.server.Peer.Fresh, c.fresh)
		}
	}
}

// TestStaleAndForeignQuotesAreNotFresh: the client sends other quotes than it should.
func TestStaleAndForeignQuotesAreNotFresh(t *testing.T) {
	w := newWorld(t)
	other, err := w.platform.Launch(measuretest.TDOptions{Events: measuretest.DefaultEvents()[1:]})
	if err != nil {
		t.Fatal(err)
	}
	m := other.Measurements()
	both := func(r *policy.Rules) { r.AllowedImages = append(r.AllowedImages, tdx.ImageHash(&m)) }
	changed := func(change func(*tdx.Body)) quoterFunc {
		return func(ctx context.Context, data [64]byte) ([]byte, error) {
			return w.platform.QuoteWith(ctx, measuretest.Spec{ReportData: data, TD: change})
		}
	}
	var replayed []byte
	for name, c := range map[string]struct {
		quote quoterFunc
		want  policy.Code
	}{
		"honest": {func(ctx context.Context, data [64]byte) ([]byte, error) {
			q, err := w.platform.Quote(ctx, data)
			replayed = q
			return q, err
		}, policy.OK},
		"of another TD that is allowed": {other.Quote, CodeFresh},
		"of one with other attributes":  {changed(func(b *tdx.Body) { b.TDAttributes[3] ^= 1 << 6 }), CodeFresh}, // PKS, which policies admit
		"of one with other features":    {changed(func(b *tdx.Body) { b.XFAM[1] ^= 1 << 1 }), CodeFresh},         // PKRU
		"of nobody":                     {func(context.Context, [64]byte) ([]byte, error) { return make([]byte, 2000), nil }, "quote_type"},
		"over something else": {func(ctx context.Context, data [64]byte) ([]byte, error) {
			data[0]++
			return w.platform.Quote(ctx, data)
		}, policy.ReportData},
		"none":     {func(context.Context, [64]byte) ([]byte, error) { return nil, errors.New("the service is down") }, CodePeerAborted},
		"too long": {func(context.Context, [64]byte) ([]byte, error) { return make([]byte, cert.MaxQuote+1), nil }, CodePeerAborted},
	} {
		d, s := freshPair(w)
		d.Fresh, s.Terms = c.quote, Fixed(w.terms(both))
		if m := meet(t, d, s); CodeOf(m.serverErr) != c.want || (m.server != nil) != (c.want == policy.OK) {
			t.Errorf("%s: server says %v, want %s", name, m.serverErr, c.want)
		}
	}
	d, s := freshPair(w)
	d.Fresh = quoterFunc(func(context.Context, [64]byte) ([]byte, error) { return replayed, nil })
	if m := meet(t, d, s); m.server != nil || CodeOf(m.serverErr) != policy.ReportData {
		t.Errorf("quote of an earlier connection: %v", m.serverErr)
	}
}

// stolen is what an attacker in the middle has: the certificates of a node with their keys.
func stolen(c Credentials) Endpoint {
	return Endpoint{Credentials: c, Terms: Fixed(anybody())}
}

// TestAnAttackerInTheMiddleCannotRelayFreshQuotes has the keys of both certificates, so that v1 and v2 would be lost; it
// passes the fresh quotes on between its two connections.
func TestAnAttackerInTheMiddleCannotRelayFreshQuotes(t *testing.T) {
	w := newWorld(t)
	d, s := freshPair(w)
	d.FreshRequired, s.FreshRequired = true, true

	outward, inward := stolen(d.Credentials), stolen(s.Credentials)
	relay := make(chan []byte, 1)
	front, back := listenTCP(t), listenTCP(t)
	var group sync.WaitGroup
	var victim, target error
	group.Go(func() { // the honest server
		raw, err := back.Accept()
		if err != nil {
			t.Error(err)
			return
		}
		_, target = s.Handshake(t.Context(), raw)
	})
	group.Go(func() { // the honest client
		_, victim = d.Dial(t.Context(), front.Addr().String())
	})
	group.Go(func() { // towards the client the attacker is the server
		raw, err := front.Accept()
		if err != nil {
			t.Error(err)
			return
		}
		defer raw.Close() //nolint:errcheck // test
		c := middle(t, raw, inward.Credentials, cert.Server)
		quote, err := readFresh(c)
		if err != nil {
			t.Error(err)
		}
		relay <- quote
	})
	raw, err := net.Dial("tcp", back.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close() //nolint:errcheck // test
	c := middle(t, raw, outward.Credentials, cert.Client)
	if _, err := c.Write(frameFresh(<-relay)); err != nil {
		t.Error(err)
	}
	_, _ = io.Copy(io.Discard, c)
	group.Wait()
	if CodeOf(target) != policy.ReportData {
		t.Errorf("the server says %v to a relayed quote, want %s", target, policy.ReportData)
	}
	if victim == nil {
		t.Error("the client has a connection")
	}
}

// TestAQuoteCannotBeSentBack: without labels for each role the sender's own quote would satisfy it.
func TestAQuoteCannotBeSentBack(t *testing.T) {
	w := newWorld(t)
	d, s := freshPair(w)
	// Both sides use the same certificate, the worst case.
	s.Credentials = d.Credentials
	front := listenTCP(t)
	var group sync.WaitGroup
	group.Go(func() {
		raw, err := front.Accept()
		if err != nil {
			t.Error(err)
			return
		}
		defer raw.Close() //nolint:errcheck // test
		c := middle(t, raw, s.Credentials, cert.Server)
		quote, err := readFresh(c)
		if err != nil {
			t.Error(err)
		}
		_, _ = c.Write(frameFresh(quote))
		_, _ = io.Copy(io.Discard, c)
	})
	_, err := d.Dial(t.Context(), front.Addr().String())
	if CodeOf(err) != policy.ReportData {
		t.Errorf("client says %v, want %s", err, policy.ReportData)
	}
	group.Wait()
}

// middle is the attacker's end: no questions asked.
func middle(t *testing.T, raw net.Conn, c Credentials, side cert.Purpose) *tls.Conn {
	t.Helper()
	o := TLSOptions{Credentials: c, Fresh: true, Verify: func(tls.ConnectionState) error { return nil }}
	var secured *tls.Conn
	if side == cert.Server {
		challenge, err := pow.New(0, bytes.NewReader(make([]byte, 16)))
		if err != nil {
			t.Error(err)
		}
		_, _ = raw.Write(challenge.Append(nil))
		_, _ = io.ReadFull(raw, make([]byte, pow.ResponseSize))
		secured = tls.Server(raw, ServerConfig(o))
	} else {
		if err := answer(t.Context(), raw, pow.DefaultEffort(), 10*time.Second); err != nil {
			t.Error(err)
		}
		config, err := ClientConfig(o)
		if err != nil {
			t.Error(err)
		}
		secured = tls.Client(raw, config)
	}
	if err := secured.HandshakeContext(t.Context()); err != nil {
		t.Errorf("the attacker's handshake: %v", err)
	}
	return secured
}

func listenTCP(t *testing.T) net.Listener {
	t.Helper()
	l, _ := listen(t)
	return l
}

func TestWithoutAnExporterThereIsNoBinding(t *testing.T) {
	near, far := net.Pipe()
	defer near.Close() //nolint:errcheck // test
	defer far.Close()  //nolint:errcheck // test
	c := &Conn{Conn: tls.Client(near, &tls.Config{InsecureSkipVerify: true})}
	if data, err := freshBinding(c, cert.Client, cert.Key{}); err == nil {
		t.Errorf("a connection without keys gives the binding %x", data)
	}
}

func TestFreshNeedsAQuoteToCompareWith(t *testing.T) {
	w := newWorld(t)
	d, s := freshPair(w)
	s.Terms = Fixed(anybody())
	if m := meet(t, d, s); m.server != nil || CodeOf(m.serverErr) != CodeFresh {
		t.Errorf("server says %v, want %s", m.serverErr, CodeFresh)
	}
}

func TestSlowFreshQuotesAreCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d, s := freshPair(w)
		d.Fresh = quoterFunc(func(ctx context.Context, _ [64]byte) ([]byte, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		})
		near, far := net.Pipe()
		start := time.Now()
		done := make(chan error)
		go func() {
			_, err := s.Handshake(t.Context(), far)
			done <- err
		}()
		_, err := d.Handshake(t.Context(), near)
		for side, err := range map[string]error{"client": err, "server": <-done} {
			e, ok := errors.AsType[*Error](err)
			if !ok || e.Stage != StageFresh || e.Code != CodeTimeout && e.Code != CodePeerAborted {
				t.Errorf("%s: %v", side, err)
			}
		}
		if took := time.Since(start); took != DefaultFreshTimeout {
			t.Errorf("cut after %s", took)
		}
	})
}

func TestLimitedQuotersWorkOneAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		q := LimitQuoter(quoterFunc(func(context.Context, [64]byte) ([]byte, error) {
			if !mu.TryLock() {
				t.Error("two quotes at a time")
			}
			defer mu.Unlock()
			<-time.After(100 * time.Millisecond)
			return []byte{1}, nil
		}))
		start := time.Now()
		var all sync.WaitGroup
		for range 5 {
			all.Go(func() {
				if _, err := q.Quote(t.Context(), [64]byte{}); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if took := time.Since(start); took < 4*time.Second {
			t.Errorf("five quotes in %s, want at most one a second", took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if _, err := q.Quote(ctx, [64]byte{}); err == nil {
			t.Error("a quote within a millisecond of another")
		}
	})
}

func TestFreshFrames(t *testing.T) {
	var v struct {
		V2 struct {
			ID string `json:"fresh_id"`
		} `json:"ratls_v2"`
	}
	golden.JSON(t, "attestation/wire_vectors.json", &v)
	if got := hex.EncodeToString(frameFresh(nil)[4:8]); got != v.V2.ID {
		t.Errorf("constructor is %s, want %s", got, v.V2.ID)
	}
	for _, n := range []int{0, 1, 2, 3, 253, 254, 255, 256, 4999, cert.MaxQuote} {
		quote := bytes.Repeat([]byte{7}, n)
		frame := frameFresh(quote)
		got, err := readFresh(bytes.NewReader(append(frame, 'x')))
		if err != nil || !bytes.Equal(got, quote) {
			t.Errorf("%d bytes come back as %d (%v)", n, len(got), err)
		}
		if len(frame)%4 != 0 || len(frame) > maxFreshFrame+4 {
			t.Errorf("frame of %d bytes", len(frame))
		}
	}
	good := frameFresh(make([]byte, 300))
	edit := func(at int, b ...byte) []byte {
		out := bytes.Clone(good)
		copy(out[at:], b)
		return out
	}
	for name, c := range map[string]struct {
		frame []byte
		want  string
	}{
		"empty":                 {nil, "EOF"},
		"cut":                   {good[:100], "unexpected EOF"},
		"short frame":           {[]byte{7, 0, 0, 0}, "frame of 7 bytes"},
		"long frame":            {[]byte{0, 0, 1, 0}, "frame of 65536 bytes"},
		"odd frame":             {append([]byte{9, 0, 0, 0}, make([]byte, 9)...), "multiple of 4"},
		"another constructor":   {edit(4, 0), "constructor is"},
		"length beyond":         {edit(9, 0x2d), "not TL's"},
		"length below":          {edit(9, 0x20), "not TL's"},
		"padding is not zero":   {append(frameFresh([]byte{1})[:10], 1, 0), "not TL's"},
		"long form of a short":  {append([]byte{12, 0, 0, 0}, good[4], good[5], good[6], good[7], 0xfe, 1, 0, 0, 9, 0, 0, 0), "not TL's"},
		"length byte of 255":    {append([]byte{8, 0, 0, 0}, good[4], good[5], good[6], good[7], 0xff, 0, 0, 0), "not TL's"},
		"word behind the quote": {append([]byte{12, 0, 0, 0}, good[4], good[5], good[6], good[7], 3, 1, 2, 3, 0, 0, 0, 0), "not TL's"},
	} {
		_, err := readFresh(bytes.NewReader(c.frame))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func FuzzFresh(f *testing.F) {
	for _, n := range []int{0, 1, 253, 254, 700} {
		f.Add(frameFresh(bytes.Repeat([]byte{3}, n))[4:])
	}
	f.Add([]byte{0x63, 0x44, 0x19, 0xbc, 0xfe, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, frame []byte) {
		quote, err := parseFresh(frame)
		if err == nil && !bytes.Equal(frameFresh(quote)[4:], frame) {
			t.Errorf("frame %x is written %x", frame, frameFresh(quote)[4:])
		}
	})
}
