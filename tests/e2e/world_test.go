package e2e

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"cocoon/guest/proxy"
	"cocoon/guest/proxy/ledger"
	"cocoon/guest/router"
	"cocoon/guest/worker"
	"cocoon/host/gateway"
	"cocoon/host/gateway/keys"
	"cocoon/host/gateway/receipts"
	"cocoon/host/gateway/upstream"
	"cocoon/measure/dcap"
	"cocoon/measure/eventlog"
	"cocoon/measure/measuretest"
	"cocoon/measure/policy"
	"cocoon/measure/ratls"
	"cocoon/measure/tdx"
	"cocoon/tests/logbook"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	// patience bounds every wait.
	patience = time.Minute
	// model is what the workers serve; apps ask for base.
	base  = "demo/model"
	model = base + "@0123456789abcdef0123456789abcdef01234567:f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6"
	// canary is in every prompt and must be nowhere else than in what the engine is asked.
	canary = "c4n4ry-of-a-prompt"
	// clientPort and workerPort name the proxy's two doors; the kernel chooses the real ports.
	clientPort, workerPort = 11002, 11001
)

func address(n byte) proxy.Address { return proxy.Address{Hash: [32]byte(bytes.Repeat([]byte{n}, 32))} }

func seeded(n byte) ed25519.PrivateKey { return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, 32)) }

// book is the honest ledger, which notes how often it was asked to settle.
type book struct {
	*ledger.Memory
	mu      sync.Mutex
	entries []ledger.Entry
}

func (b *book) Settle(ctx context.Context, c ledger.Charge) (ledger.Entry, error) {
	e, err := b.Memory.Settle(ctx, c)
	if err == nil {
		b.mu.Lock()
		b.entries = append(b.entries, e)
		b.mu.Unlock()
	}
	return e, err
}

func (b *book) settled() []ledger.Entry {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]ledger.Entry(nil), b.entries...)
}

// machine is a simulated TD with its certificates.
type machine struct {
	td    *measuretest.TD
	image tdx.Hash
	id    *ratls.Identity
}

// world is everything between an app and its engines.
type world struct {
	caller
	platform *measuretest.Platform
	verifier *dcap.Verifier
	judge    *ratls.Judge
	metrics  *router.Metrics
	doors    map[uint16]string // of the router that was started last
	machine  *machine          // the first proxy's; all run one image
	proxies  []*proxyNode
	workers  []*workerNode
	pool     *upstream.Pool
	store    *receipts.Store // the gateway's
	// proxy and ledger are the first proxy's.
	proxy  *proxy.Proxy
	ledger *book
	asked  int // numbers the requests of tests that tell them apart
	level  slog.Level
}

// options say how a network departs from an honest one with one worker.
type options struct {
	workers int
	// engine replaces the fake engine of every worker.
	engine func(n *world) engineSpec
	// strangeWorkers run an image that nobody lists, unlisted workers one that the router admits and the root contract does
	// not; strangeProxy is one for the gateway.
	strangeWorkers, unlisted, strangeProxy bool
	// keys are who may use the gateway; nil admits everybody.
	keys *keys.Book
	// proxies is how many there are; 0 means one.
	proxies int
	// links puts a proxy that misbehaves as it is told before every door.
	links bool
	// tune changes how the roles are set up.
	tune tuning
	// terse logs warnings only; otherwise everything is logged, because logs are searched for prompts.
	terse bool
}

// tuning changes the configurations of the roles before they start; what is nil changes nothing.
type tuning struct {
	proxy    func(*proxy.Config)
	worker   func(i int, c *worker.Config)
	upstream func(*upstream.Config)
	gateway  func(*gateway.Config)
}

// start builds a network and waits until the gateway may be asked.
func start(t *testing.T, o options) *world {
	t.Helper()
	n := &world{caller: caller{t: t, log: new(logbook.Book), client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}}, doors: make(map[uint16]string), level: slog.LevelDebug}
	if o.terse {
		n.level = slog.LevelWarn
	}
	t.Cleanup(n.client.CloseIdleConnections)
	var err error
	n.platform, err = measuretest.NewPlatform(measuretest.Options{Seed: [measuretest.SeedSize]byte{5}, Now: time.Now()})
	check(t, err)
	n.verifier = dcap.NewVerifier(n.platform.Roots(), 16)
	n.judge, err = ratls.NewJudge(ratls.JudgeConfig{Verifier: n.verifier, Collateral: n.platform, Now: time.Now})
	check(t, err)
	ran := n.launch("worker")
	for i := range max(o.proxies, 1) {
		n.addProxy(i, ran, o)
	}
	n.machine, n.proxy, n.ledger = n.proxies[0].machine, n.proxies[0].proxy, n.proxies[0].book
	if o.strangeWorkers {
		ran = n.launch("stranger")
	}
	for i := range max(o.workers, 1) {
		n.startWorker(i, ran, o)
	}
	n.startGateway(o)
	return n
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (n *world) logger(role string) *slog.Logger {
	return slog.New(slog.NewTextHandler(n.log, &slog.HandlerOptions{Level: n.level})).With(slog.String("role", role))
}

// launch starts a TD whose measurements its role tells apart.
func (n *world) launch(role string) *machine {
	n.t.Helper()
	name := []byte(role)
	events := append(measuretest.DefaultEvents(), measuretest.Event{Register: tdx.RTMR2, Type: eventlog.EFIAction, Digest: tdx.Sum(name), Data: name})
	td, err := n.platform.Launch(measuretest.TDOptions{Measurements: measured(events), Events: events})
	check(n.t, err)
	m := td.Measurements()
	out := &machine{td: td}
	out.image, err = tdx.PublishableHash(&m)
	check(n.t, err)
	own, err := policy.Parse([]byte(n.rules(`"image_source":"defer"`)))
	check(n.t, err)
	out.id, err = ratls.NewIdentity(ratls.IdentityConfig{Quoter: td, Judge: n.judge, Terms: ratls.Fixed(ratls.Terms{Policy: own}), Now: time.Now})
	check(n.t, err)
	check(n.t, out.id.Refresh(n.t.Context()))
	return out
}

// measured are the registers that events leave.
func measured(events []measuretest.Event) tdx.Measurements {
	m := tdx.Measurements{MRTD: tdx.Sum([]byte("firmware of the tests"))}
	for _, e := range events {
		r := &m.RTMR[e.Register-tdx.RTMR0]
		*r = r.Extend(e.Digest)
	}
	return m
}

// rules is a policy that admits TDs of this platform, with more rules.
func (n *world) rules(more string) string {
	root := n.platform.RootID()
	return fmt.Sprintf(`{"type":"tdx","allow_simulated":true,"allowed_collateral_root_hashes":["%x"],%s}`, root[:], more)
}

// only is a policy that admits one image.
func (n *world) only(image tdx.Hash) *policy.Policy {
	n.t.Helper()
	p, err := policy.Parse([]byte(n.rules(`"image_source":"list","allowed_image_hashes":["` + image.String() + `"]`)))
	check(n.t, err)
	return p
}

// door is what a router of this network differs by: its one policy, which admits an image, and its ports in the form of the
// configuration file.
type door struct {
	policy   string
	image    tdx.Hash
	ports    string
	handlers map[uint16]router.Handler
}

// router makes a router of a machine and runs it until the test ends, or stop is called.
func (n *world) router(role string, of *machine, d door) (r *router.Router, stop func()) {
	n.t.Helper()
	root := n.platform.RootID()
	file := fmt.Sprintf(`{"network":"local","policies":[{"name":%q,"type":"tdx","tdx_config":{"allow_simulated":true,
		"allowed_collateral_root_hashes":["%x"],"image_source":"list","allowed_image_hashes":["%s"]}}],"ports":[%s],"limits":{"drain":"100ms"}}`,
		d.policy, root[:], d.image, d.ports)
	cfg, err := router.Parse([]string{"-c", "router.json"}, func(string) ([]byte, error) { return []byte(file), nil })
	check(n.t, err)
	var opening sync.Mutex
	opened := make(chan struct{}, len(cfg.Ports))
	metrics := router.NewMetrics()
	if d.handlers != nil {
		n.metrics = metrics
	}
	r, err = router.New(cfg, router.Deps{
		Log: n.logger(role + "'s router"), Now: time.Now, Credentials: of.id, Judge: n.judge, Handlers: d.handlers, AllowLocal: true, Metrics: metrics,
		Listen: func(ctx context.Context, p router.Port) (net.Listener, error) {
			l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
			if err == nil {
				opening.Lock()
				n.doors[p.Listen] = l.Addr().String()
				opening.Unlock()
				opened <- struct{}{}
			}
			return l, err
		},
	})
	check(n.t, err)
	stop = n.background(role+"'s router", r.Run)
	for range cfg.Ports {
		select {
		case <-opened:
		case <-time.After(patience):
			n.t.Fatalf("the %s's router does not listen\n%s", role, n.log)
		}
	}
	return r, stop
}

// background runs something until the test ends, and the function returned ends it sooner. What was started last ends
// first.
func (n *world) background(what string, run func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				n.t.Errorf("the %s ended with %v", what, err)
			}
		case <-time.After(patience):
			n.t.Errorf("the %s does not end", what)
		}
	})
	n.t.Cleanup(stop)
	return stop
}

// mentions says whether a text has the canary in any case.
func mentions(text string) bool { return strings.Contains(strings.ToLower(text), canary) }
