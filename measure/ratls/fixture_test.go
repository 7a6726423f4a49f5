package ratls

import (
	"context"
	"crypto/rand"
	"errors"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cocoon/measure/dcap"
	"cocoon/measure/measuretest"
	"cocoon/measure/policy"
	"cocoon/measure/ratls/cert"
	"cocoon/measure/ratls/pow"
	"cocoon/measure/tdx"
)

// noon is the time of day in these tests.
var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// named reports whether COCOON_TEST asks for a group of expensive tests.
func named(group string) bool {
	for g := range strings.SplitSeq(os.Getenv("COCOON_TEST"), ",") {
		if g == group {
			return true
		}
	}
	return false
}

// clock is a settable time.
type clock struct{ now atomic.Int64 }

func newClock(t time.Time) *clock {
	c := new(clock)
	c.set(t)
	return c
}

func (c *clock) set(t time.Time)         { c.now.Store(t.UnixNano()) }
func (c *clock) advance(d time.Duration) { c.now.Add(int64(d)) }
func (c *clock) time() time.Time         { return time.Unix(0, c.now.Load()).UTC() }

// library is a CollateralSource with one piece of collateral.
type library struct {
	collateral atomic.Pointer[dcap.Collateral]
	// broken makes every answer this error.
	broken atomic.Pointer[error]
	asked  atomic.Int64
}

func (l *library) Collateral(context.Context, dcap.Platform) (*dcap.Collateral, error) {
	l.asked.Add(1)
	if err := l.broken.Load(); err != nil {
		return nil, *err
	}
	return l.collateral.Load(), nil
}

// world is a simulated platform, its collateral and a judge of its quotes.
type world struct {
	tb       testing.TB
	clock    *clock
	platform *measuretest.Platform
	library  *library
	judge    *Judge
}

func newWorld(tb testing.TB, edit ...func(*measuretest.Options)) *world {
	tb.Helper()
	o := measuretest.Options{Seed: [measuretest.SeedSize]byte{7}, Now: noon}
	for _, e := range edit {
		e(&o)
	}
	p, err := measuretest.NewPlatform(o)
	if err != nil {
		tb.Fatal(err)
	}
	w := &world{tb: tb, clock: newClock(o.Now), platform: p, library: new(library)}
	w.publish(measuretest.CollateralSpec{})
	w.judge = w.newJudge(Limits{})
	return w
}

func (w *world) newJudge(l Limits) *Judge {
	w.tb.Helper()
	j, err := NewJudge(JudgeConfig{
		Verifier: dcap.NewVerifier(w.platform.Roots(), 16), Collateral: w.library, Now: w.clock.time, Limits: l,
	})
	if err != nil {
		w.tb.Fatal(err)
	}
	return j
}

// publish replaces the collateral.
func (w *world) publish(s measuretest.CollateralSpec) {
	w.tb.Helper()
	b, err := w.platform.BundleWith(s)
	if err != nil {
		w.tb.Fatal(err)
	}
	c, err := dcap.Open(b, w.platform.Roots(), w.clock.time())
	if err != nil {
		w.tb.Fatal(err)
	}
	w.library.collateral.Store(c)
}

func (w *world) image() tdx.Hash {
	m := w.platform.Measurements()
	return tdx.ImageHash(&m)
}

// rules admit the platform's TD.
func (w *world) rules() policy.Rules {
	w.tb.Helper()
	root, err := dcap.RootIDOf(w.platform.RootCertificate())
	if err != nil {
		w.tb.Fatal(err)
	}
	r := policy.Defaults(policy.TDX)
	r.AllowSimulated, r.CollateralRoots, r.AllowedImages = true, []dcap.RootID{root}, []tdx.Hash{w.image()}
	return r
}

func (w *world) policy(edit ...func(*policy.Rules)) *policy.Policy {
	w.tb.Helper()
	r := w.rules()
	for _, e := range edit {
		e(&r)
	}
	p, err := policy.New(r)
	if err != nil {
		w.tb.Fatal(err)
	}
	return p
}

func (w *world) terms(edit ...func(*policy.Rules)) Terms { return Terms{Policy: w.policy(edit...)} }

func anybody() Terms { return Terms{Policy: policy.Builtin(policy.Any)} }

func testClaims(context.Context) (cert.Claims, error) {
	return cert.Claims{Role: cert.RoleWorker, NetworkID: -239, Seqno: 77, RootHash: [32]byte{1}}, nil
}

// identity makes one with certificates of both profiles.
func (w *world) identity(edit ...func(*IdentityConfig)) *Identity {
	w.tb.Helper()
	c := IdentityConfig{
		Quoter: w.platform, Claims: testClaims, Judge: w.judge, Terms: Fixed(w.terms()), Now: w.clock.time,
	}
	for _, e := range edit {
		e(&c)
	}
	id, err := NewIdentity(c)
	if err != nil {
		w.tb.Fatal(err)
	}
	if err := id.Refresh(w.tb.Context()); err != nil {
		w.tb.Fatal(err)
	}
	return id
}

func plain(c *IdentityConfig) { c.Quoter, c.Terms = nil, Fixed(anybody()) }
func noV2(c *IdentityConfig)  { c.Claims = nil }

func (w *world) endpoint(id Credentials, t Terms) Endpoint {
	return Endpoint{Credentials: id, Judge: w.judge, Terms: Fixed(t)}
}

// pair is an attested client and server that admit each other.
func (w *world) pair() (*Dialer, *Server) {
	w.tb.Helper()
	d := &Dialer{Endpoint: w.endpoint(w.identity(), w.terms())}
	s := &Server{Endpoint: w.endpoint(w.identity(), w.terms())}
	if err := errors.Join(d.Validate(), s.Validate()); err != nil {
		w.tb.Fatal(err)
	}
	return d, s
}

// meeting is how a connection between two ends came out.
type meeting struct {
	client, server       *Conn
	clientErr, serverErr error
}

// meet connects the two over TCP. A client notices that it was refused when it reads.
func meet(tb testing.TB, d *Dialer, s *Server) meeting {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer l.Close() //nolint:errcheck // test
	return meetThrough(tb, d, s, l, l.Addr().String())
}

func meetThrough(tb testing.TB, d *Dialer, s *Server, l net.Listener, addr string) (m meeting) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), time.Minute)
	defer cancel()
	var both sync.WaitGroup
	both.Go(func() {
		raw, err := l.Accept()
		if err != nil {
			m.serverErr = err
			return
		}
		m.server, m.serverErr = s.Handshake(ctx, raw)
	})
	m.client, m.clientErr = d.Dial(ctx, addr)
	both.Wait()
	tb.Cleanup(func() {
		for _, c := range []*Conn{m.client, m.server} {
			if c != nil {
				_ = c.Close()
			}
		}
	})
	return m
}

// admitted fails the test unless both sides have a connection.
func (m meeting) admitted(tb testing.TB) meeting {
	tb.Helper()
	if m.clientErr != nil || m.serverErr != nil {
		tb.Fatalf("client: %v; server: %v", m.clientErr, m.serverErr)
	}
	return m
}

// easy asks for next to no work.
func easy() pow.Schedule { return pow.Schedule{Base: 2} }

// quoterFunc is a Quoter.
type quoterFunc func(ctx context.Context, reportData [64]byte) ([]byte, error)

func (f quoterFunc) Quote(ctx context.Context, reportData [64]byte) ([]byte, error) {
	return f(ctx, reportData)
}

func randomBytes(tb testing.TB, n int) []byte {
	tb.Helper()
	b := make([]byte, n)
	if _, err := rand.Read(b); err != nil {
		tb.Fatal(err)
	}
	return b
}
