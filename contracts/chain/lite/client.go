// Package lite reads the TON network through liteservers that it does not trust.
//
// It owns connections and fail-over, the proof chain from a pinned key block to every head, the newest key block seen,
// freshness, proofs of accounts and configuration, hash-linked transaction lists and sending. It trusts one pinned key
// block, its own clock and its TrustStore; a server can only delay or fall silent. Proofs are checked by tonutils-go
// under its secure policy and, where that is lenient, here. A Client may be used concurrently. It refuses heads that are
// old, older than a trusted block, from the future, or on another chain than heads before; absent accounts without
// proof of absence; and networks too old for our contracts.
package lite

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"cocoon/contracts/chain"
)

// Defaults and limits of Options (contracts.md section 8).
const (
	// WarnAge and MaxAge are how old a head may be: beyond the first it is reported, beyond the second refused.
	WarnAge = 600 * time.Second
	MaxAge  = 7200 * time.Second
	// MaxSkew is how far a head may be ahead of this machine's clock.
	MaxSkew = 30 * time.Second
	// MinServers is how many liteservers a client needs, so that one cannot silence it.
	MinServers = 2
	maxServers = 64

	defaultTimeout = 10 * time.Second
	// lookAround is the age from which on a head is compared with those of the other servers.
	lookAround = 60 * time.Second
	// maxWait ends a wait for a block, retryWait is how long a wait lasts at least when servers fail.
	maxWait   = 10 * time.Second
	retryWait = 500 * time.Millisecond
)

// Server is a liteserver.
type Server struct {
	Addr netip.AddrPort
	Key  ed25519.PublicKey
}

// Options of a client.
type Options struct {
	Servers []Server
	// Trusted is the key block that proofs begin with; it comes from the measured configuration.
	Trusted KeyBlock
	// Store keeps the newest key block over restarts; nil keeps it in memory only.
	Store TrustStore
	// OneServer allows a single liteserver: for local networks.
	OneServer bool
	// Execute runs get methods; it is machine.Execute. Nil refuses them: a guest reads storage and links no virtual machine.
	Execute func(a *chain.Account, c *chain.Config, method string, args ...any) ([]any, error)
	// Timeout of one query to one server, 10 s when zero.
	Timeout time.Duration
	// Now is the clock that heads are compared with; nil is the wall clock.
	Now func() time.Time
	// Log receives old heads and failing servers; nil discards it.
	Log *slog.Logger
}

func (o *Options) defaults() {
	if o.Timeout == 0 {
		o.Timeout = defaultTimeout
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Store == nil {
		o.Store = &MemoryTrust{}
	}
}

// validate tells everything that is wrong.
func (o *Options) validate() error {
	var errs []error
	least := MinServers
	if o.OneServer {
		least = 1
	}
	if len(o.Servers) < least || len(o.Servers) > maxServers {
		errs = append(errs, fmt.Errorf("servers: %d, want %d to %d", len(o.Servers), least, maxServers))
	}
	known := map[string]bool{}
	for i, s := range o.Servers {
		if !s.Addr.IsValid() || s.Addr.Port() == 0 || len(s.Key) != ed25519.PublicKeySize {
			errs = append(errs, fmt.Errorf("servers[%d]: address %s with a key of %d bytes", i, s.Addr, len(s.Key)))
		}
		if known[string(s.Key)] {
			errs = append(errs, fmt.Errorf("servers[%d]: the same key as another one's", i))
		}
		known[string(s.Key)] = true
	}
	if o.Trusted.Seqno == 0 || o.Trusted.RootHash == (chain.Hash{}) || o.Trusted.FileHash == (chain.Hash{}) {
		errs = append(errs, errors.New("trusted: pin a key block, not the zero state: proofs cannot begin there"))
	}
	if o.Timeout < 0 {
		errs = append(errs, fmt.Errorf("timeout: %s", o.Timeout))
	}
	return errors.Join(errs...)
}

// Client implements chain.Access, chain.Watcher and chain.Reader.
type Client struct {
	opts      Options
	endpoints []*endpoint
	configs   configCache

	// turn lets one goroutine at a time move the head.
	turn chan struct{}

	mu     sync.Mutex
	first  int         // endpoint that answered last
	last   chain.Block // newest head that was returned
	trust  KeyBlock    // newest key block; proofs begin with it
	closed bool
}

// The interfaces that callers use a Client by.
var (
	_ chain.Access  = (*Client)(nil)
	_ chain.Watcher = (*Client)(nil)
	_ chain.Reader  = (*Client)(nil)
)

// errClosed answers calls after Close.
var errClosed = errors.New("the client is closed")

// New connects, proves the newest block from the trusted one, and refuses a network that our contracts cannot run on.
func New(ctx context.Context, o Options) (*Client, error) {
	o.defaults()
	if err := o.validate(); err != nil {
		return nil, fmt.Errorf("making lite client: %w", err)
	}
	trust, err := newestTrust(o)
	if err != nil {
		return nil, fmt.Errorf("making lite client: %w", err)
	}
	c := &Client{opts: o, trust: trust, turn: make(chan struct{}, 1)}
	for _, s := range o.Servers {
		c.endpoints = append(c.endpoints, newEndpoint(s, o.Timeout))
	}
	if err := c.begin(ctx); err != nil {
		c.Close()
		return nil, fmt.Errorf("making lite client: %w", err)
	}
	return c, nil
}

// newestTrust is the stored key block, unless the pinned one is newer.
func newestTrust(o Options) (KeyBlock, error) {
	stored, err := o.Store.Load()
	if err != nil {
		return KeyBlock{}, err
	}
	if stored == nil || stored.Seqno < o.Trusted.Seqno {
		return o.Trusted, nil
	}
	if stored.Seqno == o.Trusted.Seqno && *stored != o.Trusted {
		return KeyBlock{}, fmt.Errorf("%w: the stored key block %d is not the pinned one", chain.ErrForked, stored.Seqno)
	}
	return *stored, nil
}

func (c *Client) begin(ctx context.Context) error {
	if err := c.each(ctx, c.checkTrusted); err != nil {
		return err
	}
	_, err := c.Head(ctx)
	return err
}

// checkTrusted makes sure that the trusted block is a key block: only those name the signers of later ones.
func (c *Client) checkTrusted(ctx context.Context, s *session) error {
	h, err := s.header(ctx, c.trust.id())
	if err != nil {
		return errors.Join(fmt.Errorf("reading the trusted block %d: %w", c.trust.Seqno, err), s.contradicts(ctx, c.trust))
	}
	if !h.KeyBlock {
		return fmt.Errorf("reading the trusted block %d: %w: it is no key block", c.trust.Seqno, chain.ErrProof)
	}
	return nil
}

// Close ends all connections.
func (c *Client) Close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	for _, e := range c.endpoints {
		e.close()
	}
}

// each tries the servers in turn, the last good one first, until one succeeds. Errors name the servers.
func (c *Client) each(ctx context.Context, f func(context.Context, *session) error) error {
	c.mu.Lock()
	first, closed := c.first, c.closed
	c.mu.Unlock()
	if closed {
		return errClosed
	}
	var errs []error
	for i := range c.endpoints {
		at := (first + i) % len(c.endpoints)
		err := c.endpoints[at].do(ctx, f)
		if err == nil {
			c.mu.Lock()
			c.first = at
			c.mu.Unlock()
			return nil
		}
		errs = append(errs, fmt.Errorf("liteserver %s: %w", c.endpoints[at].server.Addr, err))
		if ctx.Err() != nil {
			return errors.Join(append(errs, context.Cause(ctx))...)
		}
		c.opts.Log.Warn("Liteserver failed", slog.String("peer", c.endpoints[at].server.Addr.String()), slog.Any("err", err))
	}
	return errors.Join(errs...)
}
