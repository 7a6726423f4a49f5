package ratls

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"cocoon/measure/measuretest"
	"cocoon/measure/policy"
	"cocoon/measure/ratls/cert"
	"cocoon/measure/ratls/pow"
	"cocoon/measure/tdx"
)

func TestBothEndsKnowEachOther(t *testing.T) {
	w := newWorld(t)
	d, s := w.pair()
	s.PoW = easy()
	m := meet(t, d, s).admitted(t)
	for name, c := range map[string]struct {
		conn *Conn
		peer Credentials
	}{"client": {m.client, s.Credentials}, "server": {m.server, d.Credentials}} {
		p := c.conn.Peer
		own, err := c.peer.Certificate(V2)
		if err != nil {
			t.Fatal(err)
		}
		if key, _ := publicKey(own.Leaf); p.Key != key || !p.Certificate.Equal(own.Leaf) {
			t.Errorf("%s: the peer's key is %x, want %x", name, p.Key, key)
		}
		if p.Profile != V2 || p.Fresh || !p.Verdict.OK || p.Verdict.ImageHash != w.image() {
			t.Errorf("%s: peer is %+v", name, p)
		}
		if p.Report == nil || p.Report.TD.Measurements != w.platform.Measurements() {
			t.Errorf("%s: report is %+v", name, p.Report)
		}
		if p.Root != w.rules().CollateralRoots[0] {
			t.Errorf("%s: root is %s", name, p.Root)
		}
		if c := p.Verdict.Claims; c == nil || c.Role != policy.RoleWorker || c.MCSeqno != 77 {
			t.Errorf("%s: claims are %+v", name, c)
		}
		state := c.conn.ConnectionState()
		if state.Version != tls.VersionTLS13 || state.CurveID != tls.X25519MLKEM768 || state.DidResume || state.ServerName != "" {
			t.Errorf("%s: TLS %x, group %s, resumed %t, server name %q", name, state.Version, state.CurveID, state.DidResume, state.ServerName)
		}
	}
	message := randomBytes(t, 1<<20)
	go func() {
		_, _ = m.client.Write(message)
		_ = m.client.CloseWrite()
	}()
	got, err := io.ReadAll(m.server)
	if err != nil || !bytes.Equal(got, message) {
		t.Errorf("%d bytes arrived (%v), want %d", len(got), err, len(message))
	}
	if _, err := m.server.Write([]byte("still open")); err != nil {
		t.Errorf("after the client's half-close: %v", err)
	}
}

func TestProfilesAreNegotiated(t *testing.T) {
	w := newWorld(t)
	both, v1 := w.identity(), w.identity(noV2)
	for name, c := range map[string]struct {
		client, server       Mode
		clientCert           Credentials
		serverCert           Credentials
		want                 Profile
		clientCode, servCode policy.Code
	}{
		"auto, auto":            {client: Auto, server: Auto, want: V2},
		"auto, v1":              {client: Auto, server: OnlyV1, want: V1},
		"v1, auto":              {client: OnlyV1, server: Auto, want: V1},
		"v2, auto":              {client: OnlyV2, server: Auto, want: V2},
		"auto, v2":              {client: Auto, server: OnlyV2, want: V2},
		"v1, v1":                {client: OnlyV1, server: OnlyV1, want: V1},
		"v2, v2":                {client: OnlyV2, server: OnlyV2, want: V2},
		"v1, v2":                {client: OnlyV1, server: OnlyV2, clientCode: CodePeerRefused, servCode: CodeProfile},
		"v2, v1":                {client: OnlyV2, server: OnlyV1, clientCode: CodeProfile, servCode: CodePeerRefused},
		"auto without v2, auto": {clientCert: v1, want: V1},
		"auto, auto without v2": {serverCert: v1, want: V1},
		"v2 without v2":         {client: OnlyV2, clientCert: v1, clientCode: CodeCredentials, servCode: CodePeerAborted},
	} {
		d := &Dialer{Endpoint: w.endpoint(both, w.terms())}
		s := &Server{Endpoint: w.endpoint(both, w.terms())}
		d.Mode, s.Mode = c.client, c.server
		if c.clientCert != nil {
			d.Credentials = c.clientCert
		}
		if c.serverCert != nil {
			s.Credentials = c.serverCert
		}
		m := meet(t, d, s)
		if c.want == 0 {
			if CodeOf(m.clientErr) != c.clientCode || CodeOf(m.serverErr) != c.servCode {
				t.Errorf("%s: client %v, server %v; want %s and %s", name, m.clientErr, m.serverErr, c.clientCode, c.servCode)
			}
			continue
		}
		if m.clientErr != nil || m.serverErr != nil {
			t.Errorf("%s: client %v, server %v", name, m.clientErr, m.serverErr)
			continue
		}
		if m.client.Peer.Profile != c.want || m.server.Peer.Profile != c.want {
			t.Errorf("%s: profiles %d and %d, want %d", name, m.client.Peer.Profile, m.server.Peer.Profile, c.want)
		}
	}
}

// TestRefusalsNameTheRule lets a server refuse clients, each for one reason.
func TestRefusalsNameTheRule(t *testing.T) {
	w := newWorld(t)
	good := w.identity()
	network := int32(-3)
	late := w.identity()
	debug := newWorld(t, func(o *measuretest.Options) {
		o.TD.Attributes = measuretest.AttributeSEPTVEDisable | measuretest.AttributeDebug
	})
	stranger := newWorld(t, func(o *measuretest.Options) { o.Seed[0]++ })
	anyImage := func(r *policy.Rules) { r.AllowedImages = append(r.AllowedImages, debug.image()) }
	unchecked := func(c *IdentityConfig) { c.Terms = Fixed(anybody()) }
	quoted := func(edit func([]byte) []byte) func(*IdentityConfig) {
		return func(c *IdentityConfig) {
			unchecked(c)
			c.Quoter = quoterFunc(func(ctx context.Context, data [64]byte) ([]byte, error) {
				q, err := w.platform.Quote(ctx, data)
				return edit(q), err
			})
		}
	}
	for name, c := range map[string]struct {
		client Credentials
		terms  Terms
		want   policy.Code
	}{
		"nothing is wrong":   {good, w.terms(), policy.OK},
		"another image":      {good, w.terms(func(r *policy.Rules) { r.AllowedImages[0][0]++ }), policy.Image},
		"no list":            {good, w.terms(func(r *policy.Rules) { r.AllowedImages = nil }), policy.PolicyEmpty},
		"debug TD":           {debug.identity(unchecked), w.terms(anyImage), policy.TDDebug},
		"another network":    {good, w.terms(func(r *policy.Rules) { r.Claims.NetworkID = &network }), policy.CertNetwork},
		"profile v1":         {w.identity(noV2), w.terms(func(r *policy.Rules) { r.Claims.Require = true }), policy.CertProfile},
		"simulated platform": {good, Terms{Policy: policy.Builtin(policy.TDX)}, policy.Root},
		"another root":       {stranger.identity(), w.terms(), policy.Root},
		"no quote":           {w.identity(plain), w.terms(), policy.NoQuote},
		"fake quote":         {w.identity(plain, func(c *IdentityConfig) { c.Fake = true }), w.terms(), policy.QuoteType},
		"fake where allowed": {w.identity(plain, func(c *IdentityConfig) { c.Fake = true }), Terms{Policy: policy.Builtin(policy.FakeTDX)}, policy.OK},
		"fake of another key": {w.identity(unchecked, func(c *IdentityConfig) {
			c.Quoter = quoterFunc(func(context.Context, [64]byte) ([]byte, error) { return make([]byte, 64), nil })
		}), Terms{Policy: policy.Builtin(policy.FakeTDX)}, policy.ReportData},
		"quote of another key": {w.identity(unchecked, func(c *IdentityConfig) {
			c.Quoter = quoterFunc(func(ctx context.Context, _ [64]byte) ([]byte, error) { return w.platform.Quote(ctx, [64]byte{1}) })
		}), w.terms(), policy.ReportData},
		"quote of nothing": {w.identity(quoted(func([]byte) []byte { return make([]byte, 5000) })), w.terms(), policy.QuoteType},
		"cut quote":        {w.identity(quoted(func(q []byte) []byte { return q[:len(q)-100] })), w.terms(), policy.QuoteParse},
		"padded quote":     {w.identity(quoted(func(q []byte) []byte { return append(q, make([]byte, 3000)...) })), w.terms(), policy.OK},
		"changed quote": {w.identity(quoted(func(q []byte) []byte {
			q[200]++
			return q
		})), w.terms(), "quote_sig"},
		"short life": {w.identity(func(c *IdentityConfig) { c.Lifetime = 26 * time.Hour; unchecked(c) }), w.terms(), policy.CertLifetime},
	} {
		d := &Dialer{Endpoint: w.endpoint(c.client, anybody())}
		s := &Server{Endpoint: w.endpoint(good, c.terms)}
		m := meet(t, d, s)
		if got := CodeOf(m.serverErr); got != c.want {
			t.Errorf("%s: server says %v, want %s", name, m.serverErr, c.want)
		}
		if (m.server != nil) != (c.want == policy.OK) {
			t.Errorf("%s: the server has connection %v", name, m.server)
		}
		if m.server == nil && m.client != nil {
			_ = m.client.SetReadDeadline(time.Now().Add(time.Minute))
			if n, err := m.client.Read(make([]byte, 1)); err == nil {
				t.Errorf("%s: the refused client reads %d bytes", name, n)
			}
		}
	}
	w.clock.advance(25 * time.Hour)
	s := &Server{Endpoint: w.endpoint(w.identity(), w.terms())}
	d := &Dialer{Endpoint: w.endpoint(keeps(late), w.terms())}
	if m := meet(t, d, s); CodeOf(m.serverErr) != policy.Code(cert.CodeExpired) {
		t.Errorf("expired certificate: %v", m.serverErr)
	}
}

// keeps shows a certificate whatever the time.
func keeps(id *Identity) Credentials { return kept{id.current.Load()} }

type kept struct{ *certificates }

func (k kept) Certificate(p Profile) (*tls.Certificate, error) {
	if p == V2 && k.v2 == nil {
		return nil, ErrProfile
	}
	if p == V2 {
		return k.v2, nil
	}
	return k.v1, nil
}

func TestTheStateOfPlatformAndCollateralIsJudged(t *testing.T) {
	for name, c := range map[string]struct {
		spec measuretest.CollateralSpec
		want policy.Code
	}{
		"up to date":       {measuretest.CollateralSpec{}, policy.OK},
		"out of date":      {measuretest.CollateralSpec{Platform: "OutOfDate"}, policy.TCBStatus},
		"revoked platform": {measuretest.CollateralSpec{RevokePCK: true}, "revoked"},
	} {
		w := newWorld(t)
		d, s := w.pair()
		w.publish(c.spec)
		m := meet(t, d, s)
		if CodeOf(m.clientErr) != c.want {
			t.Errorf("%s: client says %v, want %s", name, m.clientErr, c.want)
		}
	}
	w := newWorld(t)
	d, s := w.pair()
	w.clock.advance(31 * 24 * time.Hour)
	d.Credentials, s.Credentials = w.identity(plain), w.identity(func(c *IdentityConfig) { c.Terms = Fixed(anybody()) })
	if m := meet(t, d, s); CodeOf(m.clientErr) != policy.CollateralExpired {
		t.Errorf("stale collateral: %v", m.clientErr)
	}
	down := errors.New("the service is down")
	w.library.broken.Store(&down)
	if m := meet(t, d, s); CodeOf(m.clientErr) != CodeCollateral || !errors.Is(m.clientErr, down) {
		t.Errorf("no collateral: %v", m.clientErr)
	}
}

// TestACopiedCertificateGivesNobodyAConnection: the verdict is reached before the peer has proved that it has the key,
// and must not be acted upon until then.
func TestACopiedCertificateGivesNobodyAConnection(t *testing.T) {
	w := newWorld(t)
	d, s := w.pair()
	admitted := 0
	observe := func(s Stage, _ time.Duration, err error) {
		if s == StageVerify && err == nil {
			admitted++
		}
	}
	thief := func(c Credentials) Credentials {
		own := w.identity(plain)
		stolen := &certificates{}
		for p, into := range map[Profile]**tls.Certificate{V1: &stolen.v1, V2: &stolen.v2} {
			theirs, err := c.Certificate(p)
			if err != nil {
				t.Fatal(err)
			}
			*into = &tls.Certificate{Certificate: theirs.Certificate, PrivateKey: own.current.Load().v1.PrivateKey, Leaf: theirs.Leaf}
		}
		return kept{stolen}
	}
	for _, mode := range []Mode{OnlyV1, OnlyV2} {
		client, server := *d, &Server{Endpoint: s.Endpoint}
		client.Mode, client.Observe = mode, observe
		server.Credentials = thief(s.Credentials)
		if m := meet(t, &client, server); m.client != nil || CodeOf(m.clientErr) != CodeTLS {
			t.Errorf("mode %d: a server without the key gives the client %v (%v)", mode, m.client, m.clientErr)
		}
		client, server = *d, &Server{Endpoint: s.Endpoint}
		server.Mode, server.Observe = mode, observe
		client.Credentials = thief(d.Credentials)
		if m := meet(t, &client, server); m.server != nil || CodeOf(m.serverErr) != CodeTLS {
			t.Errorf("mode %d: a client without the key gives the server %v (%v)", mode, m.server, m.serverErr)
		}
	}
	if admitted != 4 {
		t.Errorf("%d of 4 copied certificates were judged to be good: the test has lost its point", admitted)
	}
}

func TestOneCertificateAndNoMore(t *testing.T) {
	w := newWorld(t)
	d, s := w.pair()
	id := *w.identity().current.Load().v1
	id.Certificate = append(id.Certificate, id.Certificate[0])
	d.Credentials, d.Mode = kept{&certificates{v1: &id}}, OnlyV1
	if m := meet(t, d, s); CodeOf(m.serverErr) != policy.Code(cert.CodeCount) {
		t.Errorf("two certificates: %v", m.serverErr)
	}
}

// TestV2CertificatesNeedV2: the claims would be taken for bound although nobody looked at them.
func TestV2CertificatesNeedV2(t *testing.T) {
	w := newWorld(t)
	both := w.identity().current.Load()
	d, s := w.pair()
	d.Mode = OnlyV1
	d.Credentials = kept{&certificates{v1: both.v2}}
	if m := meet(t, d, s); CodeOf(m.serverErr) != CodeProfile {
		t.Errorf("v2 certificate under v1: %v", m.serverErr)
	}
	d.Mode = OnlyV2
	d.Credentials = kept{&certificates{v1: both.v1, v2: both.v1}}
	if m := meet(t, d, s); CodeOf(m.serverErr) != CodeProfile {
		t.Errorf("v1 certificate under v2: %v", m.serverErr)
	}
}

// TestAServerThatAsksForTheWrongCertificate lists the name without having negotiated the protocol.
func TestAServerThatAsksForTheWrongCertificate(t *testing.T) {
	w := newWorld(t)
	d, s := w.pair()
	err := (&tricky{TLSOptions{Credentials: s.Credentials}, func(c *tls.Config) { c.NextProtos = nil }}).meet(t, d)
	if CodeOf(err) != CodeProfile {
		t.Errorf("client says %v, want %s", err, CodeProfile)
	}
}

// TestAServerThatAsksForNoCertificateIsNoRouter: some web server, for example.
func TestAServerThatAsksForNoCertificateIsNoRouter(t *testing.T) {
	w := newWorld(t)
	d, s := w.pair()
	d.Terms = Fixed(anybody())
	err := (&tricky{TLSOptions{Credentials: s.Credentials}, func(c *tls.Config) { c.ClientAuth, c.NextProtos = tls.NoClientCert, nil }}).meet(t, d)
	if CodeOf(err) != CodeTLS || !strings.Contains(err.Error(), "did not ask for our certificate") {
		t.Errorf("client says %v", err)
	}
}

// tricky is a server whose configuration is bent.
type tricky struct {
	options TLSOptions
	bend    func(*tls.Config)
}

func (r *tricky) meet(t *testing.T, d *Dialer) error {
	t.Helper()
	client, server := net.Pipe()
	go func() {
		defer server.Close() //nolint:errcheck // test
		c, _ := pow.New(0, bytes.NewReader(make([]byte, 16)))
		_, _ = server.Write(c.Append(nil))
		_, _ = io.ReadFull(server, make([]byte, pow.ResponseSize))
		config, err := r.options.serve([]string{ProtocolV2})
		if err != nil {
			t.Error(err)
			return
		}
		own, _ := r.options.Credentials.Certificate(V1)
		config.Certificates = []tls.Certificate{*own}
		r.bend(config)
		config.VerifyConnection = func(tls.ConnectionState) error { return nil }
		_ = tls.Server(server, config).HandshakeContext(t.Context())
	}()
	c, err := d.Handshake(t.Context(), client)
	if c != nil {
		_ = c.Close()
	}
	return err
}

func TestProofOfWorkIsDemanded(t *testing.T) {
	w := newWorld(t)
	d, s := w.pair()
	s.PoW = pow.Schedule{Base: 12}
	d.Effort = pow.Effort{Accepted: 11, CPU: time.Minute}
	m := meet(t, d, s)
	if CodeOf(m.clientErr) != CodePoW || !errors.Is(m.clientErr, pow.ErrTooHard) || CodeOf(m.serverErr) != CodePeerAborted {
		t.Errorf("too hard: client %v, server %v", m.clientErr, m.serverErr)
	}
	d.Effort.Accepted = 12
	meet(t, d, s).admitted(t)
	d.Effort.Accepted = 0
	s.PoW.Exempt = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	meet(t, d, s).admitted(t)
	for name, answer := range map[string][]byte{
		"wrong nonce":  pow.AppendResponse(nil, -1),
		"another text": []byte("GET / HTTP/1"),
	} {
		s.PoW = pow.Schedule{Base: 40}
		client, server := net.Pipe()
		go func() {
			_, _ = io.ReadFull(client, make([]byte, pow.ChallengeSize))
			_, _ = client.Write(answer)
		}()
		if c, err := s.Handshake(t.Context(), server); c != nil || CodeOf(err) != CodePoW {
			t.Errorf("%s: %v", name, err)
		}
		_ = client.Close()
	}
	if s.Pending() != 0 {
		t.Errorf("%d handshakes are pending after the last one", s.Pending())
	}
}

func TestEndOfStreamWithoutCloseNotifyIsAnEnd(t *testing.T) {
	w := newWorld(t)
	d, s := w.pair()
	m := meet(t, d, s).admitted(t)
	if _, err := m.server.Write([]byte("last words")); err != nil {
		t.Fatal(err)
	}
	if err := m.server.raw.Close(); err != nil { // an end, where abort would be a reset
		t.Fatal(err)
	}
	got, err := io.ReadAll(m.client)
	if err != nil || string(got) != "last words" {
		t.Errorf("client reads %q (%v)", got, err)
	}
}

func TestUnattestedPeersHaveNoReport(t *testing.T) {
	w := newWorld(t)
	d := &Dialer{Endpoint: w.endpoint(w.identity(plain, noV2), w.terms())}
	s := &Server{Endpoint: w.endpoint(w.identity(noV2), anybody())}
	m := meet(t, d, s).admitted(t)
	if p := m.server.Peer; p.Report != nil || p.Verdict.ImageHash != (tdx.Hash{}) || p.Profile != V1 {
		t.Errorf("the server's peer is %+v", p)
	}
	// Under any even a quote is not looked at.
	d.Credentials = w.identity()
	m = meet(t, d, s).admitted(t)
	if p := m.server.Peer; p.Report != nil {
		t.Errorf("the server's peer is %+v", p)
	}
}

func TestEndpointValidate(t *testing.T) {
	w := newWorld(t)
	whole := w.endpoint(w.identity(), w.terms())
	for name, edit := range map[string]func(*Endpoint){
		"no credentials":    func(e *Endpoint) { e.Credentials = nil },
		"no judge":          func(e *Endpoint) { e.Judge = nil },
		"no terms":          func(e *Endpoint) { e.Terms = nil },
		"fresh, no quoter":  func(e *Endpoint) { e.FreshRequired = true },
		"fresh with v1":     func(e *Endpoint) { e.FreshRequired, e.Fresh, e.Mode = true, w.platform, OnlyV1 },
		"nothing at all":    func(e *Endpoint) { *e = Endpoint{} },
		"nothing but judge": func(e *Endpoint) { *e = Endpoint{Judge: w.judge} },
	} {
		e := whole
		edit(&e)
		if e.Validate() == nil {
			t.Errorf("%s is accepted", name)
		}
	}
	s := &Server{Endpoint: whole, PoW: pow.Schedule{Base: 65}}
	if s.Validate() == nil {
		t.Error("difficulty 65 is accepted")
	}
}

func TestWithoutVerifyNobodyIsAdmitted(t *testing.T) {
	w := newWorld(t)
	id := w.identity()
	for name, o := range map[string]TLSOptions{"no Verify": {Credentials: id}} {
		config, err := ClientConfig(o)
		if err != nil {
			t.Fatal(err)
		}
		client, server := net.Pipe()
		go func() {
			accept := ServerConfig(TLSOptions{Credentials: id, Verify: func(tls.ConnectionState) error { return nil }})
			_ = tls.Server(server, accept).HandshakeContext(t.Context())
			_ = server.Close()
		}()
		if err := tls.Client(client, config).HandshakeContext(t.Context()); err == nil {
			t.Errorf("%s: the client is content", name)
		}
		_ = client.Close()
	}
}

// TestTLSIsOfTodayOnly tries clients of all kinds against a server's configuration.
func TestTLSIsOfTodayOnly(t *testing.T) {
	w := newWorld(t)
	id := w.identity()
	own, err := id.Certificate(V1)
	if err != nil {
		t.Fatal(err)
	}
	server := ServerConfig(TLSOptions{Credentials: id, Verify: func(tls.ConnectionState) error { return nil }})
	for name, c := range map[string]struct {
		edit func(*tls.Config)
		want tls.CurveID // 0 is a refusal
	}{
		"hybrid":             {func(*tls.Config) {}, tls.X25519MLKEM768},
		"X25519":             {func(c *tls.Config) { c.CurvePreferences = []tls.CurveID{tls.X25519} }, tls.X25519},
		"X25519 and P-256":   {func(c *tls.Config) { c.CurvePreferences = []tls.CurveID{tls.CurveP256, tls.X25519} }, tls.X25519},
		"P-256":              {func(c *tls.Config) { c.CurvePreferences = []tls.CurveID{tls.CurveP256} }, tls.CurveP256},
		"P-384":              {func(c *tls.Config) { c.CurvePreferences = []tls.CurveID{tls.CurveP384} }, 0},
		"TLS 1.2":            {func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS12, tls.VersionTLS12 }, 0},
		"without a key pair": {func(c *tls.Config) { c.Certificates = nil }, 0},
		"other protocols":    {func(c *tls.Config) { c.NextProtos = []string{"h2", "http/1.1"} }, tls.X25519MLKEM768},
	} {
		cache := &sessionCache{}
		config := &tls.Config{
			Certificates: []tls.Certificate{*own}, InsecureSkipVerify: true, ClientSessionCache: cache, ServerName: "peer",
		}
		c.edit(config)
		l := listenTCP(t)
		served := make(chan error, 1)
		go func() {
			raw, err := l.Accept()
			if err != nil {
				served <- err
				return
			}
			defer raw.Close() //nolint:errcheck // test
			secured := tls.Server(raw, server)
			if err = secured.HandshakeContext(t.Context()); err == nil {
				_, err = secured.Write([]byte("x"))
			}
			served <- err
		}()
		raw, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		secured := tls.Client(raw, config)
		_, err = secured.Read(make([]byte, 1))
		if refused := <-served; (refused == nil) != (c.want != 0) || (err == nil) != (c.want != 0) {
			t.Errorf("%s: client %v, server %v", name, err, refused)
		}
		if state := secured.ConnectionState(); c.want != 0 && (state.CurveID != c.want || state.NegotiatedProtocol != "") {
			t.Errorf("%s: group %s, protocol %q; want %s", name, state.CurveID, state.NegotiatedProtocol, c.want)
		}
		if cache.tickets > 0 {
			t.Errorf("%s: the server gave a ticket", name)
		}
		_ = raw.Close()
	}
}

type sessionCache struct{ tickets int }

func (s *sessionCache) Get(string) (*tls.ClientSessionState, bool) { return nil, false }
func (s *sessionCache) Put(string, *tls.ClientSessionState)        { s.tickets++ }
