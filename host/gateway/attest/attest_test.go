package attest

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"cocoon/contracts/pricing"
	"cocoon/contracts/receipt"
	"cocoon/host/gateway/upstream"
	"cocoon/measure/dcap"
	"cocoon/measure/measuretest"
	"cocoon/measure/policy"
	"cocoon/measure/ratls"
	"cocoon/measure/ratls/cert"
	"cocoon/measure/tdx"
)

// world is a simulated platform with a proxy on it.
type world struct {
	t        *testing.T
	platform *measuretest.Platform
	now      time.Time
}

func (w *world) Collateral(context.Context, dcap.Platform) (*dcap.Collateral, error) {
	b, err := w.platform.Bundle()
	if err != nil {
		return nil, err
	}
	return dcap.Open(b, w.platform.Roots(), w.now)
}

func newWorld(t *testing.T) *world {
	t.Helper()
	now := time.Now()
	p, err := measuretest.NewPlatform(measuretest.Options{Seed: [measuretest.SeedSize]byte{9}, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	return &world{t, p, now}
}

func (w *world) image() tdx.Hash {
	m := w.platform.Measurements()
	return tdx.ImageHash(&m)
}

func (w *world) rules(images ...tdx.Hash) *policy.Policy {
	w.t.Helper()
	root, err := dcap.RootIDOf(w.platform.RootCertificate())
	if err != nil {
		w.t.Fatal(err)
	}
	r := policy.Defaults(policy.TDX)
	r.AllowSimulated, r.CollateralRoots, r.AllowedImages = true, []dcap.RootID{root}, images
	p, err := policy.New(r)
	if err != nil {
		w.t.Fatal(err)
	}
	return p
}

func (w *world) judge() *ratls.Judge {
	w.t.Helper()
	j, err := ratls.NewJudge(ratls.JudgeConfig{Verifier: dcap.NewVerifier(w.platform.Roots(), 16), Collateral: w, Now: time.Now})
	if err != nil {
		w.t.Fatal(err)
	}
	return j
}

func (w *world) identity(cfg ratls.IdentityConfig) *ratls.Identity {
	w.t.Helper()
	cfg.Now = time.Now
	id, err := ratls.NewIdentity(cfg)
	if err == nil {
		err = id.Refresh(w.t.Context())
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return id
}

func (w *world) network(rules *policy.Policy) *Network {
	w.t.Helper()
	return New(Config{
		Proxies: rules, Judge: w.judge(), Verifier: dcap.NewVerifier(w.platform.Roots(), 16), Collateral: w, Identity: w.identity(ratls.IdentityConfig{}),
		PricePerToken: 20, Multipliers: pricing.Multipliers{Prompt: 1, Cached: 2, Completion: 3, Reasoning: 4}, Now: time.Now,
	})
}

// proxy accepts connections until the test ends, and closes them.
func (w *world) proxy() string { return w.serve(func(c net.Conn) { _ = c.Close() }) }

// keeper accepts connections and keeps them.
func (w *world) keeper() string {
	return w.serve(func(c net.Conn) { w.t.Cleanup(func() { _ = c.Close() }) })
}

func (w *world) serve(do func(c net.Conn)) string {
	w.t.Helper()
	judge := w.judge()
	own := w.identity(ratls.IdentityConfig{Quoter: w.platform, Judge: judge, Terms: ratls.Fixed(ratls.Terms{Policy: w.rules(w.image())})})
	server := &ratls.Server{Endpoint: ratls.Endpoint{Credentials: own, Judge: judge, Terms: ratls.Fixed(ratls.Terms{Policy: policy.Builtin(policy.Any)})}}
	l, err := new(net.ListenConfig).Listen(w.t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			raw, err := l.Accept()
			if err != nil {
				return
			}
			if conn, err := server.Handshake(context.Background(), raw); err == nil {
				do(conn)
			}
		}
	}()
	w.t.Cleanup(func() {
		_ = l.Close()
		<-done
	})
	return l.Addr().String()
}

func TestAProxyIsVerifiedByItsImage(t *testing.T) {
	w := newWorld(t)
	address := w.proxy()
	conn, peer, err := w.network(w.rules(w.image())).Dial(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close() //nolint:errcheck // nothing was sent
	if !peer.Verified || peer.Reason != "" || len(peer.SPKI) != 64 || peer.Image != w.image().String() {
		t.Errorf("peer %+v", peer)
	}

	_, _, err = w.network(w.rules(tdx.Hash{1})).Dial(t.Context(), address)
	if !errors.Is(err, upstream.ErrRefused) {
		t.Fatalf("an image that is not listed: %v", err)
	}
	for _, said := range []string{w.image().String(), tdx.Hash{1}.String(), "cocoon peer inspect " + address} {
		if !strings.Contains(err.Error(), said) {
			t.Errorf("the refusal does not say %s: %v", said, err)
		}
	}

	conn, peer, err = w.network(nil).Dial(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	if peer.Verified || !strings.Contains(peer.Reason, "--image") {
		t.Errorf("without rules: %+v", peer)
	}
	if _, _, err := w.network(w.rules(w.image())).Dial(t.Context(), "127.0.0.1:1"); err == nil || errors.Is(err, upstream.ErrRefused) {
		t.Errorf("nobody is there, which is no refusal: %v", err)
	}
}

func TestARefusedProxyIsMetAndMarkedInTests(t *testing.T) {
	w := newWorld(t)
	n := New(Config{
		Proxies: w.rules(tdx.Hash{1}), Judge: w.judge(), Identity: w.identity(ratls.IdentityConfig{}), Unverified: true, Now: time.Now,
	})
	conn, peer, err := n.Dial(t.Context(), w.proxy())
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	if peer.Verified || !strings.Contains(peer.Reason, "image") || peer.Image != w.image().String() {
		t.Errorf("peer %+v", peer)
	}
}

// renewed is an identity that notes that it is kept fresh.
type renewed struct {
	ratls.Credentials
	ran chan struct{}
}

func (r renewed) Run(ctx context.Context) error {
	close(r.ran)
	<-ctx.Done()
	return nil
}

// TestOwnCertificatesAreRenewed: a gateway outlives the day that its first certificate lasts.
func TestOwnCertificatesAreRenewed(t *testing.T) {
	w := newWorld(t)
	id := renewed{w.identity(ratls.IdentityConfig{}), make(chan struct{})}
	n := New(Config{Judge: w.judge(), Identity: id, Now: time.Now})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	select {
	case <-id.ran:
	case <-time.After(time.Minute):
		t.Error("nobody renews the certificate")
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// listed are images of a chain that a test writes.
type listed struct {
	mu     sync.Mutex
	images []tdx.Hash
	err    error
}

func (l *listed) Allowed() ([]tdx.Hash, time.Time, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.images, time.Unix(1, 0), l.err
}

func (l *listed) set(err error, images ...tdx.Hash) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.images, l.err = images, err
}

// following is a network that judges by the chain's list.
func (w *world) following(l *listed, router *Router) *Network {
	w.t.Helper()
	root, err := dcap.RootIDOf(w.platform.RootCertificate())
	if err != nil {
		w.t.Fatal(err)
	}
	r := policy.Defaults(policy.TDX)
	r.AllowSimulated, r.CollateralRoots, r.ImageSource = true, []dcap.RootID{root}, policy.FromChain
	rules, err := policy.New(r)
	if err != nil {
		w.t.Fatal(err)
	}
	n := New(Config{
		Proxies: rules, ProxyImages: l, Judge: w.judge(), Verifier: dcap.NewVerifier(w.platform.Roots(), 16), Collateral: w,
		Identity: w.identity(ratls.IdentityConfig{}), Router: router, Now: time.Now,
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := n.Run(ctx); err != nil {
			w.t.Error(err)
		}
	}()
	w.t.Cleanup(func() { cancel(); <-done })
	return n
}

// ended waits until a connection ends.
func ended(t *testing.T, conn net.Conn) {
	t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		return // it has ended already
	}
	_, err := conn.Read(make([]byte, 1))
	if timeout, ok := errors.AsType[net.Error](err); err == nil || ok && timeout.Timeout() {
		t.Errorf("the session goes on: %v", err)
	}
}

func TestAProxyIsJudgedAnewWhenTheRootsListChanges(t *testing.T) {
	w := newWorld(t)
	address := w.keeper()
	list := &listed{images: []tdx.Hash{w.image()}}
	n := w.following(list, nil)
	conn, peer, err := n.Dial(t.Context(), address)
	if err != nil || !peer.Verified {
		t.Fatalf("peer %+v, %v", peer, err)
	}
	defer conn.Close() //nolint:errcheck // it has ended
	list.set(nil, w.image(), tdx.Hash{2})
	n.Notify("root")
	if err := conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a proxy that is still listed lost its session: %v", err)
	}
	list.set(nil, tdx.Hash{2})
	n.Notify("root")
	ended(t, conn)

	for name, tc := range map[string]struct {
		err  error
		list []tdx.Hash
		want string
	}{
		"taken from the list": {nil, []tdx.Hash{{2}}, "an image of the root contract"},
		"an empty list":       {nil, nil, "/readyz"},
		"a root too old":      {errors.New("block 7 is from yesterday"), nil, "block 7 is from yesterday"},
	} {
		t.Run(name, func(t *testing.T) {
			list.set(tc.err, tc.list...)
			_, _, err := n.Dial(t.Context(), address)
			if !errors.Is(err, upstream.ErrRefused) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestTheQuoteOfAKeysetCarriesItsStatement(t *testing.T) {
	w := newWorld(t)
	n := w.network(w.rules(w.image()))
	data := receipt.ReportData("sha256:"+strings.Repeat("0", 64), nil)
	quote := func(first, second [32]byte) []byte {
		t.Helper()
		q, err := w.platform.Quote(t.Context(), [64]byte(append(first[:], second[:]...)))
		if err != nil {
			t.Fatal(err)
		}
		return q
	}
	good := quote(data, [32]byte{})
	cut := good[:len(good)-9]
	for name, tc := range map[string]struct {
		network *Network
		quote   []byte
		ok      bool
	}{
		"good":            {n, good, true},
		"other statement": {n, quote([32]byte{1}, [32]byte{}), false},
		"half of a key":   {n, quote(data, [32]byte{1}), false},
		"other image":     {w.network(w.rules(tdx.Hash{1})), good, false},
		"no rule":         {w.network(nil), good, false},
		"cut":             {n, cut, false},
		"nothing":         {n, nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			if err := tc.network.Keyset(t.Context(), tc.quote, data); (err == nil) != tc.ok {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestTheQuoteOfAWorkersSession(t *testing.T) {
	w := newWorld(t)
	key, other := cert.Key{5}, cert.Key{6}
	claims := cert.Claims{Role: cert.RoleWorker, NotBefore: 1, NotAfter: 2}
	evidence := func(data [64]byte) (digest, text string) {
		t.Helper()
		quote, err := w.platform.Quote(t.Context(), data)
		if err != nil {
			t.Fatal(err)
		}
		return receipt.SHA256(quote), "data:application/octet-stream;base64," + base64.StdEncoding.EncodeToString(quote)
	}
	spki := func(k cert.Key) string {
		sum := sha256.Sum256(k.SPKI())
		return hex.EncodeToString(sum[:])
	}
	good := receipt.Session{Image: w.image().String(), SPKI: spki(key), Key: key[:]}
	good.EvidenceDigest, good.EvidenceData = evidence(cert.ReportData(key))
	for name, tc := range map[string]struct {
		change func(s *receipt.Session)
		want   string
	}{
		"good": {func(*receipt.Session) {}, ""},
		// What is bound to what: a genuine quote of the right image speaks for one key, and for nobody else's channel.
		"another worker's quote": {func(s *receipt.Session) { s.EvidenceDigest, s.EvidenceData = evidence(cert.ReportData(other)) }, "report_data"},
		"a keyset's quote":       {func(s *receipt.Session) { s.EvidenceDigest, s.EvidenceData = evidence([64]byte{5}) }, "report_data"},
		"another worker's key":   {func(s *receipt.Session) { s.Key, s.SPKI = other[:], spki(other) }, "report_data"},
		"another channel":        {func(s *receipt.Session) { s.SPKI = spki(other) }, "whose hash it names"},
		"no key":                 {func(s *receipt.Session) { s.Key = nil }, "which key"},
		"profile v2": {func(s *receipt.Session) {
			s.Claims = claims.Append(nil)
			s.EvidenceDigest, s.EvidenceData = evidence(cert.ReportDataV2(key, claims))
		}, ""},
		"claims of v2, quote of v1": {func(s *receipt.Session) { s.Claims = claims.Append(nil) }, "report_data"},
		"quote of v2, no claims": {func(s *receipt.Session) {
			s.EvidenceDigest, s.EvidenceData = evidence(cert.ReportDataV2(key, claims))
		}, "report_data"},
		"no claims":    {func(s *receipt.Session) { s.Claims = make([]byte, cert.ClaimsSize) }, "reading claims"},
		"other image":  {func(s *receipt.Session) { s.Image = strings.Repeat("0", 64) }, "names image"},
		"other digest": {func(s *receipt.Session) { s.EvidenceDigest = receipt.SHA256(nil) }, "digest"},
		"no data":      {func(s *receipt.Session) { s.EvidenceData = "" }, "no quote"},
		"no base64":    {func(s *receipt.Session) { s.EvidenceData += "*" }, "reading quote"},
		"no quote": {func(s *receipt.Session) {
			s.EvidenceData, s.EvidenceDigest = "data:application/octet-stream;base64,AAAA", receipt.SHA256(make([]byte, 3))
		}, "verifying quote"},
	} {
		t.Run(name, func(t *testing.T) {
			s := good
			tc.change(&s)
			err := w.network(nil).Worker(t.Context(), &s)
			if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v", err)
			}
		})
	}
	n := w.network(nil)
	n.cfg.Workers = w.rules(tdx.Hash{1})
	if err := n.Worker(t.Context(), &good); err == nil {
		t.Error("the rules for workers are not asked")
	}
	if terms, ok := n.Terms(1, 1); !ok || terms.Price != 20 || terms.Multipliers.Completion != 3 {
		t.Errorf("terms %+v", terms)
	}
}

// derived gives fixed contracts.
type derived struct{ err error }

func (d derived) Contracts(owner, wallet string, _ [32]byte) (proxySC, clientSC string, err error) {
	return "0:p" + owner, "0:c" + wallet, d.err
}

func TestContractsOfAnOfferAreThoseOfTheRoot(t *testing.T) {
	account := RootAccount{SecretAccount: SecretAccount{Wallet: "w"}, Root: derived{}}
	good := upstream.Offer{ProxyOwner: "o", ProxySC: "0:po", ClientSC: "0:cw"}
	if err := account.Check(t.Context(), good); err != nil {
		t.Error(err)
	}
	for name, tc := range map[string]struct {
		change func(o *upstream.Offer, a *RootAccount)
		want   string
	}{
		"another proxy":      {func(o *upstream.Offer, _ *RootAccount) { o.ProxySC = "0:x" }, "its own contract"},
		"another channel":    {func(o *upstream.Offer, _ *RootAccount) { o.ClientSC = "0:x" }, "the channel's contract"},
		"no root":            {func(_ *upstream.Offer, a *RootAccount) { a.Root = derived{errors.New("too old")} }, "too old"},
		"one not to be paid": {func(_ *upstream.Offer, a *RootAccount) { a.Proxies = []string{"0:other"} }, "may be paid"},
	} {
		t.Run(name, func(t *testing.T) {
			o, a := good, account
			tc.change(&o, &a)
			if err := a.Check(t.Context(), o); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestAChannelIsOpenedByItsSecretAlone(t *testing.T) {
	a := SecretAccount{Wallet: "w", Key: []byte("s"), Proxies: []string{"0:" + strings.Repeat("A", 64)}}
	if key, ok := a.Secret(sha256.Sum256([]byte("s"))); !ok || string(key) != "s" || a.Owner() != "w" {
		t.Error("the right secret is refused")
	}
	if _, ok := a.Secret(sha256.Sum256([]byte("x"))); ok {
		t.Error("another secret is given")
	}
	if err := a.Check(t.Context(), upstream.Offer{ProxySC: "0:" + strings.Repeat("a", 64)}); err != nil {
		t.Error(err)
	}
	if err := a.Check(t.Context(), upstream.Offer{ProxySC: "0:" + strings.Repeat("b", 64)}); err == nil {
		t.Error("another contract would be paid")
	}
	if err := (SecretAccount{}).Check(t.Context(), upstream.Offer{ProxySC: "any"}); err != nil {
		t.Error(err)
	}
	if err := a.Register(t.Context(), upstream.Offer{}, 1); err == nil {
		t.Error("registered without a chain")
	}
}
