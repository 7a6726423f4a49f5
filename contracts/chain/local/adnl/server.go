// Package adnl is the liteserver face of a local network: the protocol that the product's client speaks to the main
// network, answered from a local.Chain with real blocks and proofs.
//
// It owns the queries, their limits and error codes, the global configuration file, and faults that a client must
// survive: a frozen head, wrong proofs. It trusts the chain, and nothing that a client sends. A Server answers many
// clients at once; Close ends every connection and waits for the answers under way. It refuses queries that it does not
// know with error 404, and everything beyond its limits.
package adnl

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/xssnick/tonutils-go/liteclient"
	"github.com/xssnick/tonutils-go/tl"
	"github.com/xssnick/tonutils-go/ton"

	"cocoon/contracts/chain/local"
)

// Limits of a server.
const (
	// maxClients and maxQueries bound connections and answers under way.
	maxClients = 256
	maxQueries = 64
	// maxQueryWait ends a client's wait for a block.
	maxQueryWait = 10 * time.Second
	// startAttempts is how often a free port is looked for when none was asked for.
	startAttempts = 5
	startWait     = 3 * time.Second
)

// Options of a server.
type Options struct {
	// Listen is an IPv4 address and port; port 0 takes a free one.
	Listen string
	// Seed derives the server's key; different servers of a network need different ones.
	Seed [32]byte
	// Now is the time that the server tells; nil is the wall clock.
	Now func() time.Time
	// Log receives queries that fail; nil discards it.
	Log *slog.Logger
}

// Server answers lite queries. Make one with Start.
type Server struct {
	chain atomic.Pointer[local.Chain]
	opts  Options
	key   ed25519.PrivateKey
	addr  netip.AddrPort
	lite  *liteclient.Server

	frozen atomic.Uint32          // masterchain block that is the newest for clients, 0 for the real one
	wrong  atomic.Pointer[string] // whose answers get wrong proofs: a type's name, or "*"
	hide   atomic.Bool            // accounts are said to be absent, with proofs that do not reach them

	ctx     context.Context
	cancel  context.CancelCauseFunc
	slots   chan struct{}
	queries sync.WaitGroup
	serving chan struct{}

	mu      sync.Mutex
	clients map[*liteclient.ServerClient]bool
}

// ErrClosed ends waits of a closed server.
var ErrClosed = errors.New("liteserver closed")

// Start begins to serve a chain.
func Start(ctx context.Context, c *local.Chain, o Options) (*Server, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	want, err := netip.ParseAddrPort(o.Listen)
	if err != nil || !want.Addr().Is4() {
		return nil, fmt.Errorf("starting liteserver on %q: want an IPv4 address and port, like 127.0.0.1:0", o.Listen)
	}
	key := sha256.Sum256(append([]byte("cocoon localnet liteserver "), o.Seed[:]...))
	for range startAttempts {
		s := &Server{
			opts: o, key: ed25519.NewKeyFromSeed(key[:]), slots: make(chan struct{}, maxQueries),
			serving: make(chan struct{}), clients: map[*liteclient.ServerClient]bool{},
		}
		s.chain.Store(c)
		s.ctx, s.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
		if err = s.listen(ctx, want); err == nil {
			return s, nil
		}
		s.cancel(err)
		if want.Port() != 0 {
			break
		}
	}
	return nil, fmt.Errorf("starting liteserver on %s: %w", o.Listen, err)
}

// listen starts the protocol's server and waits until it takes connections. The library opens the port itself, so a
// free one is found by opening and closing it first.
func (s *Server) listen(ctx context.Context, want netip.AddrPort) error {
	if want.Port() == 0 {
		free, err := (&net.ListenConfig{}).Listen(ctx, "tcp4", want.String())
		if err != nil {
			return err
		}
		if want, err = netip.ParseAddrPort(free.Addr().String()); err != nil {
			return errors.Join(err, free.Close())
		}
		if err := free.Close(); err != nil {
			return err
		}
	}
	s.addr = want
	s.lite = liteclient.NewServer([]ed25519.PrivateKey{s.key})
	s.lite.SetQueryHandler(s.handle)
	s.lite.SetConnectionHook(s.connected)
	s.lite.SetDisconnectHook(s.disconnected)
	failed := make(chan error, 1)
	go func() {
		defer close(s.serving)
		failed <- s.lite.Listen(want.String())
	}()
	return s.waitUp(ctx, failed)
}

func (s *Server) waitUp(ctx context.Context, failed <-chan error) error {
	ctx, cancel := context.WithTimeout(ctx, startWait)
	defer cancel()
	retry := time.NewTicker(5 * time.Millisecond)
	defer retry.Stop()
	for {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp4", s.addr.String())
		if err == nil {
			return conn.Close()
		}
		select {
		case err := <-failed:
			return err
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), s.lite.Close())
		case <-retry.C:
		}
	}
}

// Close ends the server.
func (s *Server) Close() error {
	s.cancel(ErrClosed)
	err := s.lite.Close()
	<-s.serving
	s.mu.Lock()
	for c := range s.clients {
		c.Close()
	}
	s.mu.Unlock()
	s.queries.Wait()
	return err
}

// Addr is where the server listens.
func (s *Server) Addr() netip.AddrPort { return s.addr }

// Key is the server's public key, by which clients know it.
func (s *Server) Key() ed25519.PublicKey {
	pub, _ := s.key.Public().(ed25519.PublicKey) // documented to be of this type
	return pub
}

// Freeze shows clients today's newest block as the newest from now on, or the real one again.
func (s *Server) Freeze(on bool) {
	if on {
		s.frozen.Store(s.current().Newest())
		return
	}
	s.frozen.Store(0)
}

// WrongProofs changes a bit in every proof of answers of one type (such as AccountState or PartialBlockProof), of all
// answers for "*", or of none for "".
func (s *Server) WrongProofs(answer string) { s.wrong.Store(&answer) }

// Switch answers from another chain from now on: the other half of a split brain, or the same half again. The chain
// before must stay open until Close or until its answers are out.
func (s *Server) Switch(c *local.Chain) { s.chain.Store(c) }

func (s *Server) current() *local.Chain { return s.chain.Load() }

// Hide says of every account that it is absent, with a proof that is right as far as it goes but ends before the
// account.
func (s *Server) Hide(on bool) { s.hide.Store(on) }

func (s *Server) connected(c *liteclient.ServerClient) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() != nil || len(s.clients) >= maxClients {
		return fmt.Errorf("%d clients are connected", len(s.clients))
	}
	s.clients[c] = true
	return nil
}

func (s *Server) disconnected(c *liteclient.ServerClient) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.clients, c)
}

// handle answers in the background: the library calls it from the connection's reader.
func (s *Server) handle(_ context.Context, c *liteclient.ServerClient, id []byte, q tl.Serializable) {
	select {
	case s.slots <- struct{}{}:
	default:
		c.Answer(id, ton.LSError{Code: codeBusy, Text: "too many queries"})
		return
	}
	if !s.begin() {
		<-s.slots
		return
	}
	go func() { //nolint:contextcheck // a query ends with the server, not with the reader that the library runs it from
		defer s.queries.Done()
		defer func() { <-s.slots }()
		c.Answer(id, s.answer(q))
	}()
}

// begin counts a query unless the server is closing; the counter must not grow while Close waits for it.
func (s *Server) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() != nil {
		return false
	}
	s.queries.Add(1)
	return true
}

// answer never fails: errors are answers too, and a query that breaks the code below loses only itself.
func (s *Server) answer(q tl.Serializable) (out tl.Serializable) {
	defer func() {
		if p := recover(); p != nil {
			s.opts.Log.Error("Query panicked", slog.String("query", fmt.Sprintf("%T", q)), slog.Any("err", p), slog.String("stack", string(debug.Stack())))
			out = ton.LSError{Code: codeInternal, Text: "internal error"}
		}
	}()
	resp, err := s.query(q)
	if err == nil {
		return s.spoil(resp)
	}
	var known *Error
	if !errors.As(err, &known) {
		s.opts.Log.Warn("Query failed", slog.String("query", fmt.Sprintf("%T", q)), slog.Any("err", err))
		known = &Error{Code: codeInternal, Text: err.Error()}
	}
	return ton.LSError{Code: known.Code, Text: known.Text}
}
