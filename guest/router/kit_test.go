package router

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"cocoon/measure/dcap"
	"cocoon/measure/measuretest"
	"cocoon/measure/policy"
	"cocoon/measure/ratls"
	"cocoon/measure/ratls/pow"
	"cocoon/measure/tdx"
	"cocoon/tests/logbook"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var prefixes = cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })

func mustPrefixes(texts ...string) (out []netip.Prefix) {
	for _, s := range texts {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

// within bounds every wait of a test.
const within = time.Minute

// world is a simulated platform with a TD, and what verifies its quotes.
type world struct {
	platform *measuretest.Platform
	td       *measuretest.TD
	judge    *ratls.Judge
	image    string // of the TD
	root     string // of the platform
}

func newWorld(tb testing.TB) *world {
	tb.Helper()
	platform, err := measuretest.NewPlatform(measuretest.Options{Seed: [measuretest.SeedSize]byte{7}, Now: time.Now()})
	if err != nil {
		tb.Fatal(err)
	}
	td, err := platform.Launch(measuretest.TDOptions{})
	if err != nil {
		tb.Fatal(err)
	}
	m := td.Measurements()
	judge, err := ratls.NewJudge(ratls.JudgeConfig{Verifier: dcap.NewVerifier(platform.Roots(), 16), Collateral: &shelf{source: platform}, Now: time.Now})
	if err != nil {
		tb.Fatal(err)
	}
	id := platform.RootID()
	return &world{platform: platform, td: td, judge: judge, image: tdx.ImageHash(&m).String(), root: tdxHex(id[:])}
}

// shelf opens collateral once, as the cache of a process does.
type shelf struct {
	source ratls.CollateralSource
	mu     sync.Mutex
	held   *dcap.Collateral
}

func (s *shelf) Collateral(ctx context.Context, p dcap.Platform) (*dcap.Collateral, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held == nil {
		c, err := s.source.Collateral(ctx, p)
		if err != nil {
			return nil, err
		}
		s.held = c
	}
	return s.held, nil
}

func tdxHex(b []byte) string { return hex.EncodeToString(b) }

// identity makes certificates; quoter may be nil.
func (w *world) identity(tb testing.TB, quoter ratls.Quoter) *ratls.Identity {
	tb.Helper()
	cfg := ratls.IdentityConfig{Quoter: quoter, Now: time.Now}
	if quoter != nil {
		p, err := policy.Parse([]byte(`{"type":"tdx","image_source":"defer","allow_simulated":true,"allowed_collateral_root_hashes":["` + w.root + `"]}`))
		if err != nil {
			tb.Fatal(err)
		}
		cfg.Judge, cfg.Terms = w.judge, ratls.Fixed(ratls.Terms{Policy: p})
	}
	id, err := ratls.NewIdentity(cfg)
	if err == nil {
		err = id.Refresh(tb.Context())
	}
	if err != nil {
		tb.Fatal(err)
	}
	return id
}

// file is a configuration file with one policy "sim" for the world's platform, with the extra rules, and the ports.
func (w *world) file(rules, ports string) string {
	return `{"network": "local", "policies": [{"name": "sim", "type": "tdx", "tdx_config": {"allow_simulated": true, "allowed_collateral_root_hashes": ["` + w.root + `"]` + rules + `}}],
	"ports": [` + ports + `], "limits": {"drain": "100ms"}}`
}

func (w *world) images(hashes ...string) string {
	return `, "image_source": "list", "allowed_image_hashes": ["` + strings.Join(hashes, `", "`) + `"]`
}

// running is a router under test.
type running struct {
	*Router
	metrics *Metrics
	log     *logbook.Book
	addr    map[uint16]string
	stop    func()
	done    chan error
}

// start runs a router on ports of the kernel's choice. args are a command line, file the file of its -c if not empty.
func start(tb testing.TB, w *world, id ratls.Credentials, args, file string, change ...func(*Deps)) *running { //nolint:revive // a test's world, identity and two texts, plainly
	tb.Helper()
	words := strings.Fields(args)
	if file != "" {
		words = append([]string{"-c", "router.json"}, words...)
	}
	cfg, err := Parse(words, files(file))
	if err != nil {
		tb.Fatal(err)
	}
	r := &running{metrics: NewMetrics(), log: new(logbook.Book), addr: map[uint16]string{}, done: make(chan error, 1)}
	var mu sync.Mutex
	ready := make(chan struct{}, len(cfg.Ports))
	deps := Deps{
		Log: slog.New(slog.NewTextHandler(r.log, &slog.HandlerOptions{Level: slog.LevelDebug})), Now: time.Now,
		Credentials: id, Judge: w.judge, AllowLocal: true, Metrics: r.metrics,
		Listen: func(ctx context.Context, p Port) (net.Listener, error) {
			l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
			if err != nil {
				return nil, err
			}
			mu.Lock()
			r.addr[p.Listen] = l.Addr().String()
			mu.Unlock()
			ready <- struct{}{}
			return l, nil
		},
	}
	for _, c := range change {
		c(&deps)
	}
	r.Router, err = New(cfg, deps)
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() { r.done <- r.Run(ctx) }()
	for range cfg.Ports {
		select {
		case <-ready:
		case err := <-r.done:
			tb.Fatalf("the router did not start: %v", err)
		}
	}
	var once sync.Once
	r.stop = func() {
		once.Do(func() {
			cancel()
			select {
			case err := <-r.done:
				if err != nil {
					tb.Errorf("the router ended with %v", err)
				}
			case <-time.After(within):
				tb.Error("the router does not stop")
			}
		})
	}
	tb.Cleanup(r.stop)
	return r
}

// text is the metrics page.
func (r *running) text() string {
	var b bytes.Buffer
	r.metrics.Write(&b)
	return b.String()
}

// eventually waits until ok is true.
func eventually(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for end := time.After(within); ; {
		if ok() {
			return
		}
		select {
		case <-tick.C:
		case <-end:
			tb.Fatalf("waited in vain: %s", what)
		}
	}
}

// inner is a service inside; serve gets each of its connections.
type inner struct {
	addr  netip.AddrPort
	mu    sync.Mutex
	count int
}

func (i *inner) accepted() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.count
}

// dest is the -R and -F form.
func (i *inner) dest() string { return i.addr.String() }

func serveInner(tb testing.TB, serve func(*net.TCPConn)) *inner {
	tb.Helper()
	l, err := new(net.ListenConfig).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	i := &inner{addr: netip.MustParseAddrPort(l.Addr().String())}
	var open sync.WaitGroup
	open.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			i.mu.Lock()
			i.count++
			i.mu.Unlock()
			open.Go(func() {
				defer func() { _ = c.Close() }()
				if tcp, ok := c.(*net.TCPConn); ok {
					_ = tcp.SetDeadline(time.Now().Add(within))
					serve(tcp)
				}
			})
		}
	})
	tb.Cleanup(func() {
		_ = l.Close()
		open.Wait()
	})
	return i
}

// echo returns what it gets and ends its stream at the end of the other.
func echo(c *net.TCPConn) {
	_, _ = io.Copy(c, c)
	_ = c.CloseWrite()
}

// dialTCP is a connection that cannot hang a test.
func dialTCP(tb testing.TB, addr string) *net.TCPConn {
	tb.Helper()
	c, err := new(net.Dialer).DialContext(tb.Context(), "tcp", addr)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = c.Close() })
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		tb.Fatalf("%T", c)
	}
	if err := tcp.SetDeadline(time.Now().Add(within)); err != nil {
		tb.Fatal(err)
	}
	return tcp
}

// client dials a reverse port under a policy.
func (w *world) client(tb testing.TB, id ratls.Credentials, p *policy.Policy) *ratls.Dialer {
	tb.Helper()
	return &ratls.Dialer{
		Endpoint: ratls.Endpoint{Credentials: id, Judge: w.judge, Terms: ratls.Fixed(ratls.Terms{Policy: p}), Mode: ratls.OnlyV1},
		Effort:   pow.Effort{Accepted: 8, CPU: time.Second},
	}
}

func dialPeer(tb testing.TB, d *ratls.Dialer, addr string) *ratls.Conn {
	tb.Helper()
	c, err := d.Dial(tb.Context(), addr)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(within)); err != nil {
		tb.Fatal(err)
	}
	return c
}

// stolen shows somebody's certificate with a key of its own.
func stolen(tb testing.TB, id ratls.Credentials) *tls.Certificate {
	tb.Helper()
	c, err := id.Certificate(ratls.V1)
	if err != nil {
		tb.Fatal(err)
	}
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	return &tls.Certificate{Certificate: c.Certificate, PrivateKey: key}
}

// shown is Credentials of one certificate.
type shown struct{ certificate *tls.Certificate }

func (s shown) Certificate(p ratls.Profile) (*tls.Certificate, error) {
	if p != ratls.V1 {
		return nil, ratls.ErrProfile
	}
	return s.certificate, nil
}
