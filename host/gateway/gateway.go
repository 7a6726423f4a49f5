// Package gateway is the client role: an HTTP server that unmodified OpenAI SDKs talk to, and that hands their requests
// to attested proxies (inference.md sections 2 to 8 and 19).
//
// It owns admission, the choice of a proxy, the answer's way back, and the verdict on its receipt. It trusts the app no
// further than its key, and a proxy no further than its evidence: bodies are bounded and checked before anything is sent,
// a stream that breaks never ends like one that is whole, and no prompt goes to a proxy that was not verified. Server is
// safe for concurrent use; everything ends with Run's context. It never changes the bytes of an answer, never passes an
// app's headers on, and never logs or shows a prompt, a key or an answer.
package gateway

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"cocoon/contracts/api"
	"cocoon/contracts/api/stats"
	"cocoon/host/gateway/keys"
	"cocoon/host/gateway/receipts"
	"cocoon/host/gateway/upstream"
)

const (
	// Limits of the HTTP server (inference.md section 17, pitfall 14).
	headerTimeout = 20 * time.Second
	bodyTimeout   = 60 * time.Second
	idleTimeout   = 120 * time.Second
	maxHeader     = 64 << 10
	// writeTimeout is how long an app may leave its connection full (inference.md section 9).
	writeTimeout = 30 * time.Second
	// writeSlack is how much shorter that may be for a piece of a stream: the deadline is not moved for each.
	writeSlack = time.Second
	// drainTimeout is how long requests may take to end when the gateway stops.
	drainTimeout = 10 * time.Second
	syncEvery    = time.Second
	watchEvery   = time.Second

	// pingAfter is the silence after which a stream gets a sign of life (inference.md section 6.3).
	pingAfter = 10 * time.Second
	// gapTimeout is the silence after which a stream is lost (inference.md section 8).
	gapTimeout = 60 * time.Second
	// receiptTimeout is how long a receipt may take after the end of its answer (protocol.md section 3.5).
	receiptTimeout = 10 * time.Second
)

// Mode is what happens to an answer whose receipt is bad.
type Mode string

// The modes (inference.md section 6.4).
const (
	// Record marks it.
	Record Mode = "record"
	// Require refuses it.
	Require Mode = "require"
)

// Build says which program this is.
type Build struct{ Version, Commit, CommitTime string }

// Config is what a gateway needs. Fields with a remark may be left out.
type Config struct {
	Pool *upstream.Pool
	// Keys are who may use it; nil admits everybody who reaches it.
	Keys *keys.Book
	// Budgets is the file that keeps what keys have used over restarts; without it the receipts of the day are counted again.
	Budgets string
	// Store keeps receipts; nil keeps none.
	Store *receipts.Store
	// Checker judges receipts; nil judges none, which Require refuses.
	Checker *receipts.Checker
	// Receipts is Record when empty.
	Receipts Mode
	Limits   api.Limits
	// MaxBody bounds the JSON of a request; 0 is the most there can be, api.MaxBody.
	MaxBody int64
	// Origins are web pages that browsers may call from; none by default.
	Origins []string
	// Test is whether the network is a test network.
	Test bool
	// Chain is the view of the root contract; nil without access to a chain.
	Chain Root
	// Owner and Root are addresses to show.
	Owner, Root string
	Build       Build
	Now         func() time.Time
	Log         *slog.Logger
	// Ping, Gap and Receipt replace the times of inference.md sections 6 and 8, Body how long a request may take to arrive,
	// for tests.
	Ping, Gap, Receipt, Body time.Duration
}

// Server is one gateway.
type Server struct {
	cfg      Config
	policy   *api.Policy
	surface  *stats.Surface
	record   *recorder
	started  time.Time
	running  errands // what goes on after an answer: receipts
	stopping context.Context
	seen     firstSeen
	audited  auditor
	draining atomic.Bool // by order of the operator
}

// New checks a configuration and makes a server.
func New(cfg Config) (*Server, error) {
	var problems []error
	need := func(ok bool, what string) {
		if !ok {
			problems = append(problems, errors.New(what))
		}
	}
	if cfg.Receipts == "" {
		cfg.Receipts = Record
	}
	need(cfg.Pool != nil, "Pool is missing")
	need(cfg.Now != nil, "Now is missing")
	need(cfg.Log != nil, "Log is missing")
	need(cfg.Receipts == Record || cfg.Receipts == Require, fmt.Sprintf("receipts %q is none of record, require", cfg.Receipts))
	need(cfg.MaxBody >= 0 && cfg.MaxBody <= api.MaxBody, fmt.Sprintf("MaxBody %d is not from 0 to %d", cfg.MaxBody, api.MaxBody))
	need(cfg.Receipts != Require || cfg.Checker != nil, "receipts cannot be required without a Checker")
	for _, o := range cfg.Origins {
		need(o != "*" && strings.Contains(o, "://"), fmt.Sprintf("origin %q is no scheme://host[:port]", o))
	}
	if err := errors.Join(problems...); err != nil {
		return nil, fmt.Errorf("checking gateway: %w", err)
	}
	cfg.MaxBody = cmp.Or(cfg.MaxBody, api.MaxBody)
	for at, value := range map[*time.Duration]time.Duration{&cfg.Ping: pingAfter, &cfg.Gap: gapTimeout, &cfg.Receipt: receiptTimeout, &cfg.Body: bodyTimeout} {
		if *at <= 0 {
			*at = value
		}
	}
	s := &Server{
		cfg: cfg, policy: api.NewPolicy(cfg.Limits), started: cfg.Now(), record: newRecorder(cfg.Now),
		stopping: context.Background(), seen: firstSeen{at: make(map[string]int64)},
	}
	var err error
	if s.surface, err = stats.NewSurface(stats.Views{Page: s.page, JSON: s.jsonstats, Metrics: s.metrics, Ready: s.readiness}, cfg.Log); err != nil {
		return nil, err
	}
	return s, s.remember()
}

// remember counts what the store knows of this day against the keys' budgets again, and goes on with the ledgers of the
// channels.
func (s *Server) remember() error {
	known := false
	if s.cfg.Budgets != "" {
		var err error
		if known, err = s.cfg.Keys.Recall(s.cfg.Budgets, s.cfg.Now()); err != nil {
			return err // a budget that was spent must not begin anew unseen
		}
	}
	if s.cfg.Store == nil {
		return nil
	}
	const day = 24 * time.Hour
	for r, err := range s.cfg.Store.All() {
		if err != nil {
			return err
		}
		if s.cfg.Checker != nil {
			s.cfg.Checker.Recall(r)
		}
		if !known && r.Key != "" && s.cfg.Now().Sub(r.Time) < day {
			s.cfg.Keys.Spend(r.Key, r.Time, r.Tokens, r.Cost)
		}
	}
	return nil
}

// Run serves until ctx ends, and then lets what is under way finish for a while. It owns the listener.
func (s *Server) Run(ctx context.Context, l net.Listener) error {
	base, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	s.stopping = base
	s.running.start()
	server := &http.Server{
		// ReadTimeout is for what is answered before its body was read: the server reads the rest of it first. A request that is
		// handed on sets its own.
		Handler: s.Handler(), ReadHeaderTimeout: min(headerTimeout, s.cfg.Body), ReadTimeout: s.cfg.Body, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader,
		BaseContext: func(net.Listener) context.Context { return base },
		ErrorLog:    slog.NewLogLogger(s.cfg.Log.Handler(), slog.LevelDebug),
	}
	var all sync.WaitGroup
	all.Go(func() { s.cfg.Pool.Run(base) })
	all.Go(func() { s.syncReceipts(base) })
	all.Go(func() { s.watch(base) })
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	var err error
	select {
	case err = <-served:
	case <-ctx.Done():
		draining, cancel := context.WithTimeout(base, drainTimeout)
		if server.Shutdown(draining) != nil {
			_ = server.Close() // whoever still reads has had its time
		}
		cancel()
		err = <-served
	}
	if errors.Is(err, http.ErrServerClosed) {
		err = nil
	}
	s.running.end()
	cut()
	all.Wait()
	return errors.Join(err, s.sync())
}

// watch looks at the verdict, so that its beginning is known without a reader.
func (s *Server) watch(ctx context.Context) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			s.verdict()
		}
	}
}

// syncReceipts makes receipts and budgets durable, many at a time, and compares the ledgers of channels.
func (s *Server) syncReceipts(ctx context.Context) {
	tick := time.NewTicker(syncEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if err := s.sync(); err != nil {
				s.cfg.Log.Error("Receipts or budgets cannot be kept", slog.Any("err", err))
			}
			s.audit()
		}
	}
}

func (s *Server) sync() (err error) {
	if s.cfg.Store != nil {
		err = s.cfg.Store.Sync()
	}
	if s.cfg.Budgets != "" {
		err = errors.Join(err, s.cfg.Keys.Save(s.cfg.Budgets))
	}
	return err
}
