package record_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"io"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"cocoon/measure/ratls/record"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = time.Minute

// sockets are the two ends of a TCP connection.
func sockets(tb testing.TB) (net.Conn, net.Conn) {
	tb.Helper()
	l, err := new(net.ListenConfig).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	a, err := new(net.Dialer).DialContext(tb.Context(), "tcp", l.Addr().String())
	if err != nil {
		tb.Fatal(err)
	}
	b, err := l.Accept()
	if err != nil {
		tb.Fatal(err)
	}
	for _, c := range []net.Conn{a, b} {
		tb.Cleanup(func() { _ = c.Close() })
		if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
			tb.Fatal(err)
		}
	}
	return a, b
}

func certificate(tb testing.TB) tls.Certificate {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		tb.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// handshake makes a connection between crypto/tls and a Conn, which is the client or the server. early is what the other
// side sends right behind its last message, before ours knows that the handshake has ended.
func handshake(tb testing.TB, client bool, early []byte) (*record.Conn, *tls.Conn) {
	tb.Helper()
	a, b := sockets(tb)
	keys, fence := new(record.KeyLog), record.NewFence(a)
	config := &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{certificate(tb)}, MinVersion: tls.VersionTLS13}
	ourConfig := config.Clone()
	ourConfig.KeyLogWriter, ourConfig.SessionTicketsDisabled = keys, true
	ours, theirs := tls.Server(fence, ourConfig), tls.Client(b, config)
	if client {
		ours, theirs = tls.Client(fence, ourConfig), tls.Server(b, config) // which sends tickets
	}
	other := make(chan error, 1)
	go func() {
		err := theirs.HandshakeContext(tb.Context())
		if err == nil && len(early) > 0 {
			_, err = theirs.Write(early)
		}
		other <- err
	}()
	if err := ours.HandshakeContext(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	c, err := record.New(fence, ours.ConnectionState(), keys, client)
	if err := errors.Join(err, <-other); err != nil {
		tb.Fatal(err)
	}
	return c, theirs
}

// exchange sends data from one side to the other and compares.
func exchange(t *testing.T, from io.Writer, to io.Reader, data []byte) {
	t.Helper()
	sent := make(chan error, 1)
	go func() {
		_, err := from.Write(data)
		sent <- err
	}()
	got := make([]byte, len(data))
	if _, err := io.ReadFull(to, got); err != nil || !bytes.Equal(got, data) {
		t.Fatalf("%d bytes arrive changed (%v)", len(data), err)
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
}

func roles(t *testing.T, test func(t *testing.T, client bool)) {
	t.Helper()
	t.Run("server", func(t *testing.T) { test(t, false) })
	t.Run("client", func(t *testing.T) { test(t, true) })
}

func TestTheStreamGoesOnWhereTheHandshakeEnded(t *testing.T) {
	roles(t, func(t *testing.T, client bool) {
		t.Helper()
		early := bytes.Repeat([]byte("early"), 1000)
		c, peer := handshake(t, client, early)
		got := make([]byte, len(early))
		if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, early) {
			t.Fatalf("what was sent early: %v", err)
		}
		for _, size := range []int{1, 100, record.MaxPlaintext, record.MaxPlaintext + 1, 300_000} {
			data := bytes.Repeat([]byte{byte(size)}, size)
			exchange(t, c, peer, data)
			exchange(t, peer, c, data)
		}
	})
}

func TestStreamsEndAsTheyDoInCryptoTLS(t *testing.T) {
	roles(t, func(t *testing.T, client bool) {
		t.Helper()
		c, peer := handshake(t, client, nil)
		if err := errors.Join(c.CloseWrite(), c.CloseWrite()); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write([]byte{1}); !errors.Is(err, record.ErrClosed) {
			t.Errorf("writing after the end: %v", err)
		}
		if n, err := peer.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
			t.Errorf("the peer reads %d, %v", n, err)
		}
		exchange(t, peer, c, []byte("the other direction goes on"))
		if err := peer.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if n, err := c.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
				t.Errorf("after the peer's end: %d, %v", n, err)
			}
		}
	})
	c, peer := handshake(t, false, []byte("last"))
	_ = peer.NetConn().Close() // without a word
	if data, err := io.ReadAll(c); string(data) != "last" || err != nil {
		t.Errorf("read %q, %v from a peer that closes quietly", data, err)
	}
	if n, err := c.Write(nil); n != 0 || err != nil {
		t.Errorf("writing nothing: %d, %v", n, err)
	}
}

func TestKeysAreUpdated(t *testing.T) {
	roles(t, func(t *testing.T, client bool) {
		t.Helper()
		c, peer := handshake(t, client, nil)
		c.RekeyAfter(5)
		for range 20 {
			exchange(t, c, peer, make([]byte, 3*record.MaxPlaintext))
		}
		if n := c.Written(); n > 5+4 {
			t.Errorf("a key has protected %d records", n)
		}
		// crypto/tls answers with a new key of its own.
		for range 3 {
			if err := c.RequestUpdate(); err != nil {
				t.Fatal(err)
			}
			exchange(t, c, peer, []byte("under a new key"))
			exchange(t, peer, c, []byte("so is this"))
		}
	})
}

// twins are two Conns with each other's keys.
func twins(tb testing.TB, id uint16, secretSize int, a, b net.Conn) (*record.Conn, *record.Conn) {
	tb.Helper()
	up, down := bytes.Repeat([]byte{1}, secretSize), bytes.Repeat([]byte{2}, secretSize)
	client, err := record.Of(a, id, down, up, true)
	server, err2 := record.Of(b, id, up, down, false)
	if err := errors.Join(err, err2); err != nil {
		tb.Fatal(err)
	}
	return client, server
}

func TestBothSuites(t *testing.T) {
	for id, size := range map[uint16]int{
		tls.TLS_AES_128_GCM_SHA256: 32, tls.TLS_AES_256_GCM_SHA384: 48,
	} {
		t.Run(tls.CipherSuiteName(id), func(t *testing.T) {
			a, b := sockets(t)
			client, server := twins(t, id, size, a, b)
			client.RekeyAfter(2)
			for range 4 {
				exchange(t, client, server, make([]byte, 100_000))
				exchange(t, server, client, make([]byte, 100_000))
				if err := server.RequestUpdate(); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := record.Of(a, id, make([]byte, size-1), make([]byte, size), true); err == nil {
				t.Error("a secret of another hash was taken")
			}
		})
	}
	for _, id := range []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_CHACHA20_POLY1305_SHA256, 0} {
		if _, err := record.Of(nil, id, make([]byte, 32), make([]byte, 32), true); err == nil || record.Supports(id) {
			t.Errorf("%s was taken", tls.CipherSuiteName(id))
		}
	}
}

// The records of RFC 8448 section 3, a 1-RTT handshake's data.
func TestRFC8448(t *testing.T) {
	secret := func(text string) []byte {
		out, err := hex.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	a, b := sockets(t)
	client := secret("9e40646ce79a7f9dc05af8889bce6552875afa0b06df0087f792ebb7c17504a5")
	server := secret("a11af9f05531f856ad47116b45a950328204b4f44bfb6b3a4b4f1f3fcb631643")
	c, err := record.Of(a, tls.TLS_AES_128_GCM_SHA256, server, client, true)
	if err != nil {
		t.Fatal(err)
	}
	data := make([]byte, 50)
	for i := range data {
		data[i] = byte(i)
	}
	want := secret("1703030043a23f7054b62c94d0affafe8228ba55cbefacea42f914aa66bcab3f2b9819a8a5b46b395bd54a9a20441e2b62974e1f5a6292a2977014bd1e3deae63aeebb21694915e4")
	if _, err := c.Write(data); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(want))
	if _, err := io.ReadFull(b, got); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%x, want %x (%v)", got, want, err)
	}
}

// piece gives what there is and a temporary error instead of waiting.
type piece struct {
	net.Conn
	in, out bytes.Buffer
	ended   bool
}

type notReadyError struct{}

func (notReadyError) Error() string   { return "no data yet" }
func (notReadyError) Timeout() bool   { return true }
func (notReadyError) Temporary() bool { return true }

func (p *piece) Read(b []byte) (int, error) {
	n, _ := p.in.Read(b)
	switch {
	case n > 0:
		return n, nil
	case p.ended:
		return 0, io.EOF
	}
	return 0, notReadyError{}
}

func (p *piece) Write(b []byte) (int, error) { return p.out.Write(b) }

// alone is a server's Conn on a piece, and a client that makes records for it.
func alone(tb testing.TB) (*record.Conn, *record.Conn, *piece) {
	tb.Helper()
	p := new(piece)
	client, server := twins(tb, tls.TLS_AES_128_GCM_SHA256, 32, nil, p)
	return server, client, p
}

// Records that arrive in pieces survive reads that find part of one, into buffers of any size, and no buffer is held
// while nothing is there.
func TestReadingGoesOnWhereItWas(t *testing.T) {
	server, client, p := alone(t)
	want := bytes.Repeat([]byte("0123456789abcdef"), 8192)
	var raw []byte
	for i, rest := 1, want; len(rest) > 0; i++ {
		n := min(len(rest), i*i*37%record.MaxPlaintext+1)
		raw, rest = append(raw, client.Seal(record.TypeApplication, rest[:n], i%3)...), rest[n:]
	}
	var got []byte
	for step := 1; len(raw) > 0; step = step*7%40_000 + 1 {
		n := min(step, len(raw))
		p.in.Write(raw[:n])
		raw = raw[n:]
		buf := make([]byte, step%20_000+1)
		for {
			n, err := server.Read(buf)
			got = append(got, buf[:n]...)
			if errors.Is(err, notReadyError{}) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if server.HoldsBuffer() {
			t.Fatal("a buffer is held while nothing is there")
		}
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%d bytes came through, %d were sent", len(got), len(want))
	}
}

func TestWrongRecordsEndTheConnection(t *testing.T) {
	type seal = func(kind byte, data []byte, padding int) []byte
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	const data, hand, alert = record.TypeApplication, record.TypeHandshake, record.TypeAlert
	for name, tc := range map[string]struct {
		input  func(s seal) []byte
		reason string
		quiet  bool // whether the peer is told
	}{
		"another type of record":   {func(s seal) []byte { r := s(data, []byte{1}, 0); r[0] = hand; return r }, "begins with", false},
		"change of cipher spec":    {func(seal) []byte { return []byte{20, 3, 3, 0, 1, 1} }, "begins with", false},
		"another version":          {func(s seal) []byte { r := s(data, []byte{1}, 0); r[2] = 4; return r }, "begins with", false},
		"too long":                 {func(seal) []byte { return []byte{data, 3, 3, 0x41, 1} }, "record of 16641 bytes", false},
		"too short":                {func(seal) []byte { return []byte{data, 3, 3, 0, 16} }, "record of 16 bytes", false},
		"too much data":            {func(s seal) []byte { return s(data, make([]byte, record.MaxPlaintext+1), 0) }, "bytes of data", false},
		"too much padding":         {func(s seal) []byte { return s(data, make([]byte, record.MaxPlaintext), 1) }, "bytes of data", false},
		"no content type":          {func(s seal) []byte { return s(0, nil, 0) }, "without content type", false},
		"unknown content type":     {func(s seal) []byte { return s(24, []byte{1}, 0) }, "type 24", false},
		"alert of one byte":        {func(s seal) []byte { return s(alert, []byte{1}, 0) }, "type 21", false},
		"alert":                    {func(s seal) []byte { return s(alert, []byte{2, 40}, 0) }, "alert 40", true},
		"empty handshake record":   {func(s seal) []byte { return s(hand, nil, 0) }, "type 22", false},
		"a ticket for a server":    {func(s seal) []byte { return s(hand, []byte{4, 0, 0, 1, 0}, 0) }, "message of type 4", false},
		"a new hello":              {func(s seal) []byte { return s(hand, []byte{1, 0, 0, 1, 0}, 0) }, "message of type 1", false},
		"a huge message":           {func(s seal) []byte { return s(hand, []byte{4, 1, 0, 1}, 0) }, "message of 65537 bytes", false},
		"key update, empty":        {func(s seal) []byte { return s(hand, []byte{24, 0, 0, 0}, 0) }, "key update", false},
		"key update, unknown":      {func(s seal) []byte { return s(hand, []byte{24, 0, 0, 1, 2}, 0) }, "key update", false},
		"key update, not the last": {func(s seal) []byte { return s(hand, []byte{24, 0, 0, 1, 0, 24}, 0) }, "follows a key update", false},
		"key update, old key":      {func(s seal) []byte { return join(s(hand, []byte{24, 0, 0, 1, 0}, 0), s(data, []byte{1}, 0)) }, "does not verify", false},
		"data within a message":    {func(s seal) []byte { return join(s(hand, []byte{24, 0}, 0), s(data, []byte{1}, 0)) }, "within a handshake message", false},
		"alert within a message":   {func(s seal) []byte { return join(s(hand, []byte{24, 0}, 0), s(alert, []byte{1, 0}, 0)) }, "within a handshake message", false},
		"a record twice":           {func(s seal) []byte { r := s(data, []byte{1}, 0); return join(r, r) }, "does not verify", false},
		"records in another order": {func(s seal) []byte { a, b := s(data, []byte{1}, 0), s(data, []byte{2}, 0); return join(b, a) }, "does not verify", false},
		"a cut record":             {func(s seal) []byte { r := s(data, []byte{1}, 0); return r[:len(r)-1] }, "unexpected EOF", true},
		"a cut header":             {func(seal) []byte { return []byte{data, 3} }, "unexpected EOF", true},
		"many records without data": {func(s seal) (out []byte) {
			for range record.MaxUseless + 1 {
				out = append(out, s(data, nil, 0)...)
			}
			return out
		}, "without data", false},
	} {
		t.Run(name, func(t *testing.T) {
			server, client, p := alone(t)
			p.ended = true
			p.in.Write(tc.input(client.Seal))
			_, err := io.ReadAll(server)
			if err == nil || !strings.Contains(err.Error(), tc.reason) {
				t.Errorf("%v, want an error with %q", err, tc.reason)
			}
			if told := p.out.Len() > 0; told == tc.quiet {
				t.Errorf("the peer is told: %t", told)
			}
			p.in.Write(client.Seal(data, []byte("more"), 0))
			if n, again := server.Read(make([]byte, 9)); n != 0 || !errors.Is(again, err) {
				t.Errorf("after the error: %d, %v", n, again)
			}
			if server.HoldsBuffer() {
				t.Error("a buffer is held after the end")
			}
		})
	}
}

func TestEveryBitOfARecordCounts(t *testing.T) {
	_, client, _ := alone(t)
	good := client.Seal(record.TypeApplication, []byte("data"), 3)
	for i := range good {
		for bit := range 8 {
			server, _, p := alone(t)
			p.ended = true
			changed := bytes.Clone(good)
			changed[i] ^= 1 << bit
			p.in.Write(changed)
			if n, err := server.Read(make([]byte, 64)); n != 0 || err == nil {
				t.Errorf("bit %d of byte %d: %d bytes, %v", bit, i, n, err)
			}
		}
	}
}

func TestWhatSaysNothingIsPassedOver(t *testing.T) {
	server, client, p := alone(t)
	for _, r := range [][]byte{
		client.Seal(record.TypeApplication, nil, 9), client.Seal(record.TypeAlert, []byte{1, 90}, 0),
		client.Seal(record.TypeHandshake, []byte{24, 0}, 0), client.Seal(record.TypeHandshake, []byte{0, 1}, 0),
	} {
		p.in.Write(r)
	}
	if n, err := server.Read(make([]byte, 9)); n != 0 || !errors.Is(err, notReadyError{}) {
		t.Fatalf("%d, %v", n, err)
	}
	p = new(piece)
	reader, writer := twins(t, tls.TLS_AES_128_GCM_SHA256, 32, p, nil)
	ticket := append([]byte{4, 0, 0x40, 0}, make([]byte, 1<<14)...)
	p.in.Write(writer.Seal(record.TypeHandshake, ticket[:9000], 0))
	p.in.Write(writer.Seal(record.TypeHandshake, append(bytes.Clone(ticket[9000:]), ticket[:100]...), 0))
	p.in.Write(writer.Seal(record.TypeHandshake, ticket[100:], 0))
	p.in.Write(writer.Seal(record.TypeApplication, []byte("data"), 0))
	buf := make([]byte, 9)
	if n, err := reader.Read(buf); string(buf[:n]) != "data" || err != nil {
		t.Errorf("after tickets: %q, %v", buf[:n], err)
	}
}

// What cannot be taken over is refused: nobody must go on with wrong keys or in the middle of something.
func TestOnlyFinishedHandshakesAreTakenOver(t *testing.T) {
	done := tls.ConnectionState{Version: tls.VersionTLS13, HandshakeComplete: true, CipherSuite: tls.TLS_AES_128_GCM_SHA256}
	full := func() *record.KeyLog {
		k := new(record.KeyLog)
		for _, label := range []string{"CLIENT_TRAFFIC_SECRET_0", "SERVER_TRAFFIC_SECRET_0", "CLIENT_HANDSHAKE_TRAFFIC_SECRET"} {
			if _, err := io.WriteString(k, label+" 00 "+strings.Repeat("ab", 32)+"\n"); err != nil {
				t.Fatal(err)
			}
		}
		return k
	}
	within := func() *record.Fence {
		p := new(piece)
		p.in.WriteString("\x16\x03\x03\x00\x05hello")
		f := record.NewFence(p)
		if n, err := f.Read(make([]byte, 6)); n != 6 || err != nil {
			t.Fatal(n, err)
		}
		return f
	}
	for name, tc := range map[string]struct {
		fence *record.Fence
		state func(s *tls.ConnectionState)
		keys  *record.KeyLog
		good  bool
	}{
		"good":        {record.NewFence(nil), func(*tls.ConnectionState) {}, full(), true},
		"TLS 1.2":     {record.NewFence(nil), func(s *tls.ConnectionState) { s.Version = tls.VersionTLS12 }, full(), false},
		"unfinished":  {record.NewFence(nil), func(s *tls.ConnectionState) { s.HandshakeComplete = false }, full(), false},
		"other suite": {record.NewFence(nil), func(s *tls.ConnectionState) { s.CipherSuite = tls.TLS_AES_256_GCM_SHA384 }, full(), false},
		"no keys":     {record.NewFence(nil), func(*tls.ConnectionState) {}, new(record.KeyLog), false},
		"in a record": {within(), func(*tls.ConnectionState) {}, full(), false},
	} {
		state := done
		tc.state(&state)
		if _, err := record.New(tc.fence, state, tc.keys, true); (err == nil) != tc.good {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := record.New(record.NewFence(nil), done, tc.keys, true); err == nil {
			t.Errorf("%s: the secrets can be used a second time", name)
		}
	}
	for _, line := range []string{"", "CLIENT_TRAFFIC_SECRET_0 00", "CLIENT_TRAFFIC_SECRET_0 00 0g", "SERVER_TRAFFIC_SECRET_0 00 " + strings.Repeat("00", 49)} {
		if _, err := new(record.KeyLog).Write([]byte(line)); err == nil {
			t.Errorf("%q was taken", line)
		}
	}
	if _, err := io.WriteString(full(), "CLIENT_TRAFFIC_SECRET_0 00 00"); err == nil {
		t.Error("a second secret was taken")
	}
}

// Whatever a peer with the right keys sends: what is read is the data that was sent, up to an end or an error.
func FuzzContents(f *testing.F) {
	for _, seed := range []struct {
		kinds string
		data  []byte
	}{
		{"\x17\x17\x16", []byte("data, more data")},
		{"\x16", []byte{24, 0, 0, 1, 1}},
		{"\x16\x16", []byte{24, 0, 0, 1, 0}},
		{"\x15\x17", []byte{1, 0, 'd', 'a'}},
		{"\x16\x17", []byte{4, 0, 0, 20}},
		{"", nil},
	} {
		f.Add([]byte(seed.kinds), seed.data, true)
	}
	f.Fuzz(func(t *testing.T, kinds, data []byte, client bool) {
		p := new(piece)
		reader, writer := twins(t, tls.TLS_AES_128_GCM_SHA256, 32, p, nil)
		if !client {
			writer, reader = twins(t, tls.TLS_AES_128_GCM_SHA256, 32, nil, p)
		}
		p.ended = true
		var sent []byte
		for i, kind := range kinds {
			part := data[len(data)*i/len(kinds) : len(data)*(i+1)/len(kinds)]
			part = part[:min(len(part), record.MaxPlaintext)]
			p.in.Write(writer.Seal(kind, part, i))
			// The content type is the last byte that is not zero: a type of zero is padding behind another one.
			if inner := bytes.TrimRight(append(bytes.Clone(part), kind), "\x00"); bytes.HasSuffix(inner, []byte{record.TypeApplication}) {
				sent = append(sent, inner[:len(inner)-1]...)
			}
		}
		got, err := io.ReadAll(reader)
		if !bytes.HasPrefix(sent, got) {
			t.Errorf("%x was sent, %x is read (%v)", sent, got, err)
		}
	})
}

// Whatever arrives from the network, nothing of it is taken for data.
func FuzzRecords(f *testing.F) {
	_, client, _ := alone(f)
	good := client.Seal(record.TypeApplication, []byte("data"), 0)
	for _, seed := range [][]byte{good[:9], append(bytes.Clone(good[:5]), make([]byte, 21)...), {23, 3, 3, 0xff, 0xff}, {20, 3, 3, 0, 1, 1}, nil} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, input []byte) {
		server, _, p := alone(t)
		p.ended = true
		p.in.Write(input)
		got, err := io.ReadAll(server)
		if bytes.HasPrefix(input, good) {
			return
		}
		if len(got) > 0 || (err == nil && len(input) > 0) {
			t.Errorf("%x is taken for %x (%v)", input, got, err)
		}
	})
}
