package worker

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"

	"cocoon/contracts/pricing"
	"cocoon/contracts/registry/follow"
	"cocoon/contracts/wire/tl"
	"cocoon/guest/worker/engine"
)

// Versions of the protocol (protocol.md section 1.1).
const (
	// versionEx has the Ex messages, versionTimes their times, versionKeys prompt encryption, versionOurs our extensions.
	versionEx, versionTimes, versionKeys, versionOurs = 1, 2, 3, 5
	// MinVersion is the lowest that a worker offers.
	MinVersion = 1
	// MaxVersion is the highest.
	MaxVersion = versionOurs
)

// Defaults and bounds.
const (
	// DefaultMaxActive is the shipped limit of the reference implementation (protocol.md section 7).
	DefaultMaxActive = 60
	maxMaxActive     = 1 << 16
	maxProxyCount    = 64
	// coefficientLimit is exclusive (protocol.md decision 5).
	coefficientLimit = 1_000_000_000

	defaultGap      = 60 * time.Second // silence of the engine that ends a stream (inference.md section 8)
	defaultPing     = 10 * time.Second // silence towards the proxy before a ping (inference.md section 6.3)
	defaultSlow     = 30 * time.Second // without credit (inference.md section 9)
	defaultPayments = 15 * time.Second // between payment status queries (protocol.md section 5.1)
	defaultLimit    = time.Hour        // cap of a request's deadline (protocol.md decision 5)
)

// Prices are the root contract's parameters that cost fields and the reference's counts are made with.
type Prices struct {
	// PerToken is in nanoTON for an adjusted token.
	PerToken    uint64
	Multipliers pricing.Multipliers
}

// Plain are prices whose multipliers are all 1.0.
func Plain(perToken uint64) Prices {
	const one = 10_000
	return Prices{PerToken: perToken, Multipliers: pricing.Multipliers{Prompt: one, Cached: one, Completion: one, Reasoning: one}}
}

// Times are the worker's waits; zero means the default.
type Times struct {
	Gap, Ping, Slow, Payments, Limit, Retry time.Duration
	// Quiet is the silence of a proxy after which it is asked for a sign of life, Dead the silence that ends its session; 0
	// means the session's own.
	Quiet, Dead time.Duration
	// Steady is how long a session must have lived for its end to be no repeated failure.
	Steady time.Duration
}

// Config is what a worker is.
type Config struct {
	// Owner is the owner's address, Model the model's identity name@commit:root.
	Owner, Model string
	// Coefficient is the price: 1000 is 1.0.
	Coefficient int32
	// MaxActive is how many requests run at once, over all proxies; ProxyCount how many proxies are connected to.
	MaxActive, ProxyCount int
	// Test is the network's is_test.
	Test bool
	// MinVersion and MaxVersion narrow the versions that are offered; both zero means what the package has.
	MinVersion, MaxVersion int32
	// CostFields puts costs into the usage objects of answers.
	CostFields bool
	Times      Times
}

// Validate reports every broken rule.
func (c *Config) Validate() error {
	base, _, _ := strings.Cut(c.Model, "@")
	rules := []struct {
		name string
		ok   bool
		rule string
	}{
		{"owner", c.Owner != "", "is missing"},
		{"model", base != "", "is missing: write name@commit:root"},
		{"coefficient", c.Coefficient >= 0 && c.Coefficient < coefficientLimit, "must be from 0 to 999999999"},
		{"max_active_requests", c.MaxActive >= 1 && c.MaxActive <= maxMaxActive, fmt.Sprintf("must be from 1 to %d", maxMaxActive)},
		{"proxy_connections", c.ProxyCount >= 1 && c.ProxyCount <= maxProxyCount, fmt.Sprintf("must be from 1 to %d", maxProxyCount)},
		{"versions", c.MinVersion >= 0 && c.MinVersion <= c.MaxVersion && c.MaxVersion <= MaxVersion, "must be a range within 0..5"},
	}
	var found []error
	for _, r := range rules {
		if !r.ok {
			found = append(found, fmt.Errorf("%s %s", r.name, r.rule))
		}
	}
	return errors.Join(found...)
}

func (c *Config) fill() {
	or := func(p *time.Duration, v time.Duration) {
		if *p == 0 {
			*p = v
		}
	}
	or(&c.Times.Gap, defaultGap)
	or(&c.Times.Ping, defaultPing)
	or(&c.Times.Slow, defaultSlow)
	or(&c.Times.Payments, defaultPayments)
	or(&c.Times.Limit, defaultLimit)
	or(&c.Times.Retry, firstRetry)
	or(&c.Times.Steady, lastRetry)
	if c.MinVersion == 0 && c.MaxVersion == 0 {
		c.MinVersion, c.MaxVersion = MinVersion, MaxVersion
	}
	if c.MaxActive == 0 {
		c.MaxActive = DefaultMaxActive
	}
	if c.ProxyCount == 0 {
		c.ProxyCount = 1
	}
}

// share is the limit of one connection: ceil(max_active/proxy_cnt).
func (c *Config) share() int { return (c.MaxActive + c.ProxyCount - 1) / c.ProxyCount }

// Engine is what a worker needs of its engine; *engine.Adapter is one.
type Engine interface {
	Config() *engine.Config
	Ready(ctx context.Context) error
	Health(ctx context.Context) error
	Do(ctx context.Context, r engine.Request) (*engine.Response, error)
	Load(ctx context.Context) (engine.Load, error)
}

// Peer is what attestation says about a proxy.
type Peer struct {
	// Attested says that Image is the hash of a verified report.
	Attested bool
	Image    [32]byte
	// Doubt is why a router's word for the peer does not count; empty without a router's word.
	Doubt string
	// Key is the peer's TLS key.
	Key [32]byte
}

// Unattested is the error of those who need the peer to be attested; what names it.
func (p *Peer) Unattested(what string) error {
	switch {
	case p.Attested:
		return nil
	case p.Doubt != "":
		return fmt.Errorf("%s is not attested: %s", what, p.Doubt)
	}
	return fmt.Errorf("%s is not attested", what)
}

// Deps are what a worker needs from its process.
type Deps struct {
	Engine Engine
	// Proxies lists the addresses of registered proxies.
	Proxies func() []string
	// Dial connects to one, attested.
	Dial func(ctx context.Context, address string) (net.Conn, Peer, error)
	// CheckPeer says whether the root contract lists the peer's image.
	CheckPeer func(Peer) error
	// CheckProxy recomputes the contract addresses that a proxy states; nil where there is no chain.
	CheckProxy func(p *tl.ProxyParams, workerSC string) error
	// Eligible says why this worker cannot serve: its own image or model is not in the root contract. Nil is always.
	Eligible func() error
	// Sync tells how old the chain's newest known block is, for pages; nil where there is no chain.
	Sync   func() follow.State
	Prices func() Prices
	// ReceiptKey signs statements and nothing else; KeyID names it.
	ReceiptKey ed25519.PrivateKey
	KeyID      string
	Log        *slog.Logger
	Now        func() time.Time
}

func (d *Deps) check() error {
	missing := []struct {
		absent bool
		what   string
	}{
		{d.Engine == nil, "engine"},
		{d.Proxies == nil, "list of proxies"},
		{d.Dial == nil, "dialer"},
		{d.CheckPeer == nil, "check of proxies' images"},
		{d.Prices == nil, "prices"},
		{len(d.ReceiptKey) != ed25519.PrivateKeySize, "receipt key"},
		{d.Now == nil, "clock"},
	}
	for _, m := range missing {
		if m.absent {
			return fmt.Errorf("making worker: no %s given", m.what)
		}
	}
	return nil
}

// ParseCoefficient reads a price factor such as 1.5 exactly, into thousandths.
func ParseCoefficient(text string) (int32, error) {
	whole, fraction, dotted := strings.Cut(text, ".")
	if len(whole) == 0 || len(whole) > 6 || len(fraction) > 3 || dotted && fraction == "" {
		return 0, fmt.Errorf("reading coefficient %q: write a number below 1000000 with at most three decimals", text)
	}
	n := int32(0)
	for _, c := range []byte(whole + (fraction + "000")[:3]) {
		if c < '0' || c > '9' {
			return 0, fmt.Errorf("reading coefficient %q: write digits and at most one point", text)
		}
		n = n*10 + int32(c-'0')
	}
	return n, nil
}
