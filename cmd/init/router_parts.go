package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"github.com/google/go-configfs-tsm/configfs/configfsi"

	"cocoon/contracts/registry"
	"cocoon/contracts/registry/follow"
	"cocoon/guest/device"
	"cocoon/guest/router"
	"cocoon/measure/dcap"
	"cocoon/measure/policy"
	"cocoon/measure/ratls"
	"cocoon/measure/ratls/cert"
	"cocoon/measure/ratls/pcs"
	"cocoon/measure/ratls/pcs/sources"
	"cocoon/measure/simtd"
)

const (
	// knownChains is how many certificate chains of peers the verifier remembers; there is one per platform.
	knownChains = 1024
	// metricsTimeout bounds a request for metrics and its answer.
	metricsTimeout = 10 * time.Second
)

// routerProcess is what `init router` is made of. Its functions are replaced by tests.
type routerProcess struct {
	cfg        *router.Config
	log        *slog.Logger
	now        func() time.Time
	allowLocal bool
	// openQuotes gives the TD's quotes, or nil where there is no TD.
	openQuotes func() (quotes, error)
	reload     <-chan os.Signal
	reparse    func() (*router.Config, error)
	// listen replaces the machine's network; nil means it.
	listen func(ctx context.Context, p router.Port) (net.Listener, error)
	// handlers serve reverse ports within this process.
	handlers map[uint16]router.Handler
	// root is what the role follows, with the lists of images that its peers may be on; nil where the router's file says.
	root  *follow.Follower
	lists []registry.List

	// What build found: the certificates that peers see, and the source of quotes, nil where there is none.
	shown  ratls.Credentials
	quoter quotes
	// What build made: work that goes on until the end, and what is closed then.
	background []func(ctx context.Context) error
	closers    []func()
}

// quotes is a source of quotes that is closed at the end.
type quotes interface {
	ratls.Quoter
	Close() error
}

// openHardwareQuotes is the kernel's source of quotes. A machine that has none is no TD.
func openHardwareQuotes() (quotes, error) {
	if _, err := os.Stat(configfsi.TsmPrefix); errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // no TD is not an error
	}
	return device.OpenQuotes()
}

func (p *routerProcess) close() {
	for _, c := range p.closers {
		c()
	}
}

// build wires the router. What it has opened when it fails it closes.
func (p *routerProcess) build(ctx context.Context) (r *router.Router, err error) {
	defer func() {
		if err != nil {
			p.close()
		}
	}()
	roots, err := p.roots()
	if err != nil {
		return nil, err
	}
	if err := p.follow(ctx); err != nil {
		return nil, err
	}
	if p.root != nil { // evidence is judged, and certificates are made, at a time that the chain bounds
		p.now = p.root.Now
	}
	metrics := router.NewMetrics()
	listed, err := p.images(metrics)
	if err != nil {
		return nil, err
	}
	var live atomic.Pointer[router.Router]
	cache, err := p.collateral(roots, func(dcap.Platform, *dcap.Collateral) {
		if r := live.Load(); r != nil { // before there is a router nobody has been admitted
			r.Notify("collateral")
		}
	})
	if err != nil {
		return nil, err
	}
	metrics.WatchCollateral(cache, p.now)
	judge, err := ratls.NewJudge(ratls.JudgeConfig{Verifier: dcap.NewVerifier(roots, knownChains), Collateral: cache, Now: p.now})
	if err != nil {
		return nil, err
	}
	credentials, err := p.credentials(ctx, judge, metrics)
	if err != nil {
		return nil, err
	}
	p.shown = credentials
	if p.cfg.Local {
		p.log.Warn("LOCAL NETWORK: simulated and fake evidence may be admitted")
		metrics.Gauge("router_simulated", func() float64 { return 1 })
	}
	if p.cfg.Metrics != "" {
		if err := p.serveMetrics(ctx, metrics); err != nil {
			return nil, err
		}
	}
	r, err = router.New(p.cfg, router.Deps{
		Log: p.log, Now: p.now, Credentials: credentials, Judge: judge, Quoter: p.quoterOrNil(), Listen: p.listen, Metrics: metrics,
		AllowLocal: p.allowLocal, Handlers: p.handlers, Images: listed,
	})
	if err == nil && p.root != nil {
		p.root.OnChange(judgeAnew(r))
	}
	live.Store(r)
	return r, err
}

// roots are Intel's, or in a local network with software TDX that one's alone.
func (p *routerProcess) roots() (*dcap.Roots, error) {
	if p.cfg.Simulated == nil {
		return dcap.IntelRoots(), nil
	}
	if !p.allowLocal {
		return nil, errors.New("this image refuses simulated platforms")
	}
	c, err := p.cfg.Simulated.Certificate()
	if err != nil {
		return nil, fmt.Errorf("simulated root: %w", err)
	}
	return dcap.NewRoots(c)
}

// collateral is where the configuration says. Intel's service is asked where nothing forbids it.
func (p *routerProcess) collateral(roots *dcap.Roots, changed func(dcap.Platform, *dcap.Collateral)) (*pcs.Cache, error) {
	c := sources.Config{
		Roots: roots, Now: p.now, StoreDir: p.cfg.Collateral.StoreDir, Bundle: p.cfg.Collateral.Bundle,
		NoIntel: !p.cfg.Collateral.Refresh || p.cfg.Simulated != nil, Log: p.log, Changed: changed,
	}
	if p.cfg.Collateral.Refresh && p.cfg.Collateral.PCCSURL != "" {
		c.PCCS = []string{p.cfg.Collateral.PCCSURL}
	}
	cache, _, err := sources.Open(c) // the cache asks the store
	if err != nil {
		return nil, misnamed(err)
	}
	p.closers = append(p.closers, cache.Close)
	p.background = append(p.background, cache.Run)
	return cache, nil
}

// credentials are those of the files that the configuration names, or the process's own.
func (p *routerProcess) credentials(ctx context.Context, judge *ratls.Judge, metrics *router.Metrics) (ratls.Credentials, error) {
	if p.cfg.Profile == router.V2 && p.cfg.Claims == nil {
		return nil, errors.New("--profile=v2: its certificates name a block of the chain, which this process does not read: write auto or v1")
	}
	if p.cfg.CertBase != "" {
		files, err := ratls.OpenFiles(p.cfg.CertBase, p.now)
		if err != nil {
			return nil, misnamed(err)
		}
		metrics.WatchCertificate(files.Expires, p.now)
		p.background = append(p.background, func(ctx context.Context) error {
			return files.Run(ctx, ratls.DefaultPoll, func(err error) { p.log.Error("Certificate files not read", slog.Any("err", err)) })
		})
		return files, nil
	}
	source, err := p.quotes()
	if err != nil {
		return nil, err
	}
	c := ratls.IdentityConfig{Now: p.now, Log: p.log, Refreshed: metrics.Certified()}
	if source != nil {
		p.closers = append(p.closers, func() { _ = source.Close() })
		self, err := p.ownPolicy()
		if err != nil {
			return nil, err
		}
		p.quoter = source
		c.Quoter, c.Judge, c.Terms = source, judge, ratls.Fixed(ratls.Terms{Policy: self})
		if own := p.cfg.Claims; own != nil {
			c.Claims = func(context.Context) (cert.Claims, error) {
				return cert.Claims{Role: cert.Role(own.Role), NetworkID: own.NetworkID}, nil
			}
		}
	} else {
		p.log.Warn("No TDX here: certificates without attestation")
	}
	id, err := ratls.NewIdentity(c)
	if err != nil {
		return nil, err
	}
	if err := id.Refresh(ctx); err != nil {
		return nil, fmt.Errorf("making the first certificate: %w", err)
	}
	metrics.WatchCertificate(id.Expires, p.now)
	p.background = append(p.background, id.Run)
	return id, nil
}

// quotes are the software TDX's in a local network that has one, else the kernel's. Nothing falls back to the other.
func (p *routerProcess) quotes() (quotes, error) {
	if p.cfg.Simulated == nil || p.cfg.Simulated.Device == "" {
		return p.openQuotes()
	}
	at, err := simtd.ParseAddress(p.cfg.Simulated.Device)
	if err != nil {
		return nil, err
	}
	return device.NewSimulated(at), nil
}

// quoterOrNil is the source of quotes, if build found one.
func (p *routerProcess) quoterOrNil() ratls.Quoter {
	if p.quoter == nil {
		return nil
	}
	return p.quoter
}

// ownPolicy is what the process's own certificates are checked by before anybody sees them: everything but the image,
// which is for the peers to judge.
func (p *routerProcess) ownPolicy() (*policy.Policy, error) {
	rules := policy.Defaults(policy.TDX)
	rules.ImageSource = policy.Deferred
	if p.cfg.Simulated != nil {
		c, err := p.cfg.Simulated.Certificate()
		if err != nil {
			return nil, err
		}
		id, err := dcap.RootIDOf(c)
		if err != nil {
			return nil, err
		}
		rules.AllowSimulated, rules.CollateralRoots = true, []dcap.RootID{id}
	}
	return policy.New(rules)
}

// serveMetrics answers every request on the metrics address with the page.
func (p *routerProcess) serveMetrics(ctx context.Context, metrics *router.Metrics) error {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", p.cfg.Metrics)
	if err != nil {
		return fmt.Errorf("listening for metrics: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		metrics.Write(w)
	})
	server := &http.Server{
		Handler: mux, ReadTimeout: metricsTimeout, WriteTimeout: metricsTimeout, IdleTimeout: metricsTimeout,
		MaxHeaderBytes: 8 << 10, ErrorLog: slog.NewLogLogger(p.log.Handler(), slog.LevelDebug),
	}
	p.closers = append(p.closers, func() { _ = server.Close() })
	p.background = append(p.background, func(ctx context.Context) error {
		stop := context.AfterFunc(ctx, func() { _ = server.Close() })
		defer stop()
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serving metrics: %w", err)
		}
		return nil
	})
	return nil
}
