package router

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"cocoon/measure/policy"
	"cocoon/measure/ratls"
	"cocoon/measure/ratls/pow"
)

// Handler serves an admitted peer within the router's process. It returns when it is through with the connection, which
// is closed then; when ctx ends it should.
type Handler func(ctx context.Context, conn *ratls.Conn)

// Deps are what a router needs from its process.
type Deps struct {
	// Log gets one line per event of the router's own and, at Debug, per connection; nil is silent.
	Log *slog.Logger
	Now func() time.Time
	// Credentials are shown to peers, Judge judges theirs.
	Credentials ratls.Credentials
	Judge       *ratls.Judge
	// Quoter makes this machine's quotes, for connections with fresh ones; nil where it makes none.
	Quoter ratls.Quoter
	// Images lists the images that the chain allows, for policies whose image source it is; Blocks dates its blocks.
	Images policy.Images
	Blocks policy.Blocks
	// Handlers take the place of the service inside, by reverse port; such a port's destination is not dialled and its
	// peers are told by value, not by preamble.
	Handlers map[uint16]Handler
	// Listen and Dial replace the machine's network; nil means it.
	Listen func(ctx context.Context, p Port) (net.Listener, error)
	Dial   func(ctx context.Context, network, address string) (net.Conn, error)
	// Metrics are added to, and serve one router; nil means a set that nobody reads.
	Metrics *Metrics
	// AllowLocal lets the configuration be a local network's; a production image never does.
	AllowLocal bool
}

func (d *Deps) check() error {
	missing := []struct {
		absent bool
		what   string
	}{
		{d.Now == nil, "clock"},
		{d.Credentials == nil, "credentials"},
		{d.Judge == nil, "judge"},
	}
	for _, m := range missing {
		if m.absent {
			return fmt.Errorf("making router: no %s given", m.what)
		}
	}
	return nil
}

// useNetwork fills in the machine's network, and has what others make tuned as that is.
func (d *Deps) useNetwork() {
	dial, listens := d.Dial, d.Listen
	if d.Dial = networkDial; dial != nil {
		d.Dial = tunedDial(dial)
	}
	d.Listen = listen
	if listens != nil {
		d.Listen = func(ctx context.Context, p Port) (net.Listener, error) {
			l, err := listens(ctx, p)
			if err != nil {
				return nil, err
			}
			return tunedListener{l}, nil
		}
	}
}

// Router accepts and makes attested connections by its configuration.
type Router struct {
	cfg  Config
	deps Deps
	// policies is replaced as a whole by Reload.
	policies  atomic.Pointer[map[string]*policy.Policy]
	sessions  *ratls.Sessions
	listeners []*listener
	// outgoing counts what Dial does.
	outgoing *listenerMetrics
	models   *models
	// quoter makes fresh quotes for all connections; nil where there are none.
	quoter ratls.Quoter
	// lot is where idle sessions wait while Run runs.
	lot    *lot
	reload sync.Mutex
}

// New checks the configuration against what the process offers. Nothing listens before Run.
func New(cfg *Config, deps Deps) (*Router, error) {
	if err := deps.check(); err != nil {
		return nil, err
	}
	if deps.Log == nil {
		deps.Log = slog.New(slog.DiscardHandler)
	}
	if deps.Metrics == nil {
		deps.Metrics = NewMetrics()
	}
	deps.useNetwork()
	r := &Router{cfg: *cfg, deps: deps, outgoing: deps.Metrics.listener("process")}
	if err := r.cfg.Validate(); err != nil {
		return nil, fmt.Errorf("making router: %w", err)
	}
	if r.cfg.Local && !deps.AllowLocal {
		return nil, errors.New("making router: the configuration is a local network's, which this image refuses")
	}
	if err := r.setPolicies(&r.cfg); err != nil {
		return nil, fmt.Errorf("making router: %w", err)
	}
	if err := r.useQuoter(deps.Quoter); err != nil {
		return nil, fmt.Errorf("making router: %w", err)
	}
	var err error
	if r.sessions, err = ratls.NewSessions(deps.Now, r.evicted); err != nil {
		return nil, fmt.Errorf("making router: %w", err)
	}
	r.models = deps.Metrics.watchModels()
	deps.Metrics.watchSessions(r.sessions.List)
	deps.Metrics.WatchJudge(deps.Judge)
	for _, p := range r.cfg.Ports {
		r.listeners = append(r.listeners, newListener(r, p))
	}
	return r, nil
}

// setPolicies puts the policies of cfg in force for handshakes that begin from here on.
func (r *Router) setPolicies(cfg *Config) error {
	all, err := cfg.policies()
	if err != nil {
		return err
	}
	for name, p := range all {
		if p.ImageSource() == policy.FromChain && r.deps.Images == nil && (cfg.used()[name] || !isBuiltin(name)) {
			return fmt.Errorf("policy %q takes its images from the chain: say where that is in the file's section root, or write --image-source=defer or list hashes", name)
		}
	}
	r.policies.Store(&all)
	return nil
}

// Notify has every live session judged anew, because something that admitted them has changed: the chain's list, a
// deny-list, collateral. The reason is the metrics label of those that are closed.
func (r *Router) Notify(reason string) { r.sessions.Notify(reason) }

// Sessions describes the live sessions, oldest first.
func (r *Router) Sessions() []ratls.Session { return r.sessions.List() }

func (r *Router) evicted(e ratls.Eviction) {
	r.deps.Metrics.evicted(e.Reason)
	r.deps.Log.Warn("Session ended: its peer is no longer admitted", slog.String("listener", e.Label), slog.String("reason", e.Reason),
		slog.String("code", string(ratls.CodeOf(e.Err))), slog.Any("err", e.Err))
}

// known tells whether a policy of that name is in force.
func (r *Router) known(name string) bool {
	_, ok := (*r.policies.Load())[name]
	return ok
}

// terms is what peers are judged by under the policy of that name, whatever it says at the time. A name that a reload
// took away admits nobody.
func (r *Router) terms(name string) func() ratls.Terms {
	return func() ratls.Terms {
		p := (*r.policies.Load())[name]
		if p == nil {
			p = policy.Builtin(policy.TDX)
		}
		return ratls.Terms{Policy: p, Images: r.deps.Images, Blocks: r.deps.Blocks}
	}
}

// endpoint is this side of connections on a listener.
func (r *Router) endpoint(m *listenerMetrics, policyName string, t ratls.Timeouts) ratls.Endpoint {
	return ratls.Endpoint{
		Credentials: r.deps.Credentials, Judge: r.deps.Judge, Terms: r.terms(policyName), Mode: r.cfg.Profile.mode(),
		Sessions: r.sessions, Label: m.name, Timeouts: t, Observe: m.observe,
	}
}

func (p Profile) mode() ratls.Mode {
	switch p {
	case V2:
		return ratls.OnlyV2
	case Auto:
		return ratls.Auto
	case V1:
	}
	return ratls.OnlyV1
}

// Dial connects to a peer from within the process, under the named policy.
func (r *Router) Dial(ctx context.Context, policyName, address string) (*ratls.Conn, error) {
	if !r.known(policyName) {
		return nil, fmt.Errorf("dialling peer: there is no policy %q", policyName)
	}
	limits := r.cfg.Limits.over(DefaultLimits())
	d := r.dialer(r.outgoing, policyName, &limits, pow.DefaultAccepted)
	d.DialContext = r.deps.Dial
	r.freshen(&d.Endpoint, r.cfg.Fresh)
	r.outgoing.accepted.Inc()
	conn, err := d.Dial(ctx, address)
	r.outgoing.outcome(string(ratls.CodeOf(err)))
	if err == nil {
		r.models.note(conn.Peer.Verdict.Quote)
	}
	return conn, err
}

// Run listens on all ports and serves until ctx ends. It then stops accepting, gives live sessions the drain time and
// closes the rest. It returns when nothing of the router runs any more.
func (r *Router) Run(ctx context.Context) error {
	sockets, err := r.open(ctx)
	if err != nil {
		return err
	}
	if r.lot, err = newLot(); err != nil {
		closeAll(sockets)
		return err
	}
	// Sessions outlive ctx by the drain time.
	sessions, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	var judging errgroup.Group
	var by crew
	accepting, ctx := errgroup.WithContext(ctx) // a port that is lost takes the others with it
	judging.Go(func() error { return r.sessions.Run(sessions) })
	judging.Go(func() error { r.lot.run(); return nil })
	judging.Go(func() error { r.lot.sweeps(sessions); return nil })
	for i, l := range r.listeners {
		accepting.Go(func() error { return l.accept(ctx, sessions, sockets[i], &by) })
	}
	err = accepting.Wait()
	r.drain(&by, end)
	r.lot.close()
	return errors.Join(err, judging.Wait())
}

// open makes all listeners, or none.
func (r *Router) open(ctx context.Context) ([]net.Listener, error) {
	var out []net.Listener
	for _, l := range r.listeners {
		s, err := r.deps.Listen(ctx, l.port)
		if err != nil {
			closeAll(out)
			return nil, fmt.Errorf("listening on port %d: %w", l.port.Listen, err)
		}
		out = append(out, s)
		r.deps.Log.Info("Listening", slog.Int("port", int(l.port.Listen)), slog.String("kind", string(l.port.Kind)), slog.String("policy", l.port.Policy))
	}
	return out, nil
}

func closeAll(listeners []net.Listener) {
	for _, l := range listeners {
		_ = l.Close() // nothing was accepted
	}
}

// drain waits for sessions to end and then ends them.
func (r *Router) drain(by *crew, end func()) {
	var patience time.Duration
	for _, l := range r.listeners {
		patience = max(patience, l.port.Limits.Drain)
	}
	ended := make(chan struct{})
	go func() {
		by.dismiss()
		close(ended)
	}()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-ended:
	case <-timer.C:
	}
	end()
	<-ended
}

// listen is the default: local ports are reached from this machine only.
func listen(ctx context.Context, p Port) (net.Listener, error) {
	host := p.Host
	if p.Kind != Reverse {
		host = netip.AddrFrom4([4]byte{127, 0, 0, 1}).String()
	}
	return networkListen(ctx, net.JoinHostPort(host, strconv.Itoa(int(p.Listen))))
}
