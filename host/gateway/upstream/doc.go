// Package upstream keeps a gateway's sessions with proxies: it dials, shakes hands, polls, chooses, and carries requests
// (protocol.md sections 4 and 8.1, inference.md section 9).
//
// It owns one standing session per proxy, with its backoff, its score and the models it offers. It trusts no proxy: what
// arrives is bounded, an answer that breaks the order ends its request, and a request is only ever handed to a proxy
// whose evidence the caller's Dial has judged, unless the caller said otherwise in so many words. Pool, Link and Call are
// safe for concurrent use; Run owns all goroutines. It never looks into a body and never logs one.
package upstream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"time"
)

const (
	// minVersion and maxVersion are the range that a client of ours offers (protocol.md decision 2).
	minVersion, maxVersion = 1, 5
	// ExtensionVersion is the first version with receipts, cancellation and credit.
	ExtensionVersion = 5

	// Deadlines of protocol.md section 4.1.
	dialTimeout      = 90 * time.Second // proof of work and quotes included
	readyTimeout     = 20 * time.Second
	connectTimeout   = 30 * time.Second
	authorizeTimeout = 300 * time.Second
	typesTimeout     = 10 * time.Second
	paymentTimeout   = 60 * time.Second
	documentTimeout  = 30 * time.Second

	pollEvery    = 10 * time.Second
	paymentEvery = 15 * time.Second

	minBackoff, maxBackoff = time.Second, 60 * time.Second
	// drainTimeout bounds how long a session that is left carries on with its requests.
	drainTimeout = 120 * time.Second
	// steady is how long a session must have lived for its end to be no repeated failure.
	steady = 60 * time.Second

	maxModels    = 4096
	maxCancels   = 1024
	maxInstances = 65536
)

// Peer is what Dial found out about a proxy.
type Peer struct {
	// Verified says that the proxy's evidence passed the caller's policy; Reason says why not.
	Verified bool
	Reason   string
	// Image is the attested image hash and SPKI the SHA-256 of the key's SPKI, in hex; empty without attestation.
	Image, SPKI string
}

// Offer is what a proxy says of itself and of the channel in its handshake.
type Offer struct {
	Address                       string
	ProxyKey                      [32]byte
	ProxyOwner, ProxySC, ClientSC string // contracts in their raw form
	Test                          bool
	Version                       int
	// Peer is the proxy as Dial saw it.
	Peer Peer
}

// Account is the client's side of its payment channels.
type Account interface {
	// Owner is the address of the wallet contract that pays.
	Owner() string
	// Check compares the contracts of an offer with those that the root contract gives; an error refuses the proxy.
	Check(ctx context.Context, o Offer) error
	// Secret is the preimage of a secret's hash, if it is known.
	Secret(hash [32]byte) ([]byte, bool)
	// Register answers the long form: the channel's contract tells the proxy's contract the nonce.
	Register(ctx context.Context, o Offer, nonce int64) error
}

// Config says which proxies there are and how they are met. Everything without a remark is needed.
type Config struct {
	// Proxies are those to begin with; see Pool.Set.
	Proxies []string
	// Dial connects to a proxy and judges it. It must end with its context.
	Dial    func(ctx context.Context, address string) (net.Conn, Peer, error)
	Account Account
	// Test is whether the network is a test network; a proxy must agree.
	Test bool
	// ConfigVersion is the root contract's version that the client has seen; nil means 0.
	ConfigVersion func() int32
	// AllowUnverified lets prompts go to proxies that are not verified. It is for tests.
	AllowUnverified bool
	Now             func() time.Time
	Log             *slog.Logger
	// ScoreFile keeps the records of proxies over restarts; empty keeps them in memory.
	ScoreFile string
	// MaxVersion is the newest protocol version to offer; 0 offers all that are known.
	MaxVersion int32
	// Backoff replaces the first pause after a failure, for tests; Poll the pause between polls, Drain the patience with
	// the requests of a session that is left.
	Backoff, Poll, Drain time.Duration
	// Steady replaces how long a session must have lived for its end to be no repeated failure, for tests; Quiet the silence
	// after which a proxy is asked for a sign of life and Dead the one that ends its session.
	Steady, Quiet, Dead time.Duration
}

func (c *Config) validate() error {
	var problems []error
	need := func(ok bool, what string) {
		if !ok {
			problems = append(problems, errors.New(what))
		}
	}
	need(c.Dial != nil, "Dial is missing")
	need(c.Account != nil, "Account is missing")
	need(c.Now != nil, "Now is missing")
	need(c.Log != nil, "Log is missing")
	need(c.MaxVersion == 0 || c.MaxVersion >= minVersion && c.MaxVersion <= maxVersion,
		fmt.Sprintf("MaxVersion %d is not %d to %d", c.MaxVersion, minVersion, maxVersion))
	seen := make(map[string]bool)
	for _, p := range c.Proxies {
		need(!seen[p], fmt.Sprintf("proxy %q is named twice", p))
		seen[p] = true
	}
	if err := errors.Join(problems...); err != nil {
		return fmt.Errorf("checking proxies: %w", err)
	}
	if c.ConfigVersion == nil {
		c.ConfigVersion = func() int32 { return 0 }
	}
	if c.Backoff <= 0 {
		c.Backoff = minBackoff
	}
	if c.Poll <= 0 {
		c.Poll = pollEvery
	}
	if c.Steady <= 0 {
		c.Steady = steady
	}
	if c.Drain <= 0 {
		c.Drain = drainTimeout
	}
	if c.MaxVersion == 0 {
		c.MaxVersion = maxVersion
	}
	return nil
}

// pause is the wait after the given number of failures: it doubles up to a minute, and is spread by a quarter each way so
// that gateways do not return together.
func pause(first time.Duration, failures int) time.Duration {
	d := first
	for range failures {
		if d *= 2; d >= maxBackoff {
			d = maxBackoff
			break
		}
	}
	spread := int64(d / 2)
	return d - d/4 + time.Duration(rand.Int64N(max(spread, 1))) //nolint:gosec // jitter, not a secret
}
