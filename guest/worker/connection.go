package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"cocoon/contracts/wire/session"
	"cocoon/contracts/wire/tl"
)

const (
	// dialLimit bounds TCP, proof of work, TLS and the verdict on the peer together.
	dialLimit = 60 * time.Second
	// readyLimit is how long a proxy may take to say tcp.connected; answerLimit to answer a query of the handshake.
	readyLimit, answerLimit = 20 * time.Second, 30 * time.Second
	// paymentLimit bounds a payment status query.
	paymentLimit = 60 * time.Second
	// maxRefusals bounds refusals that wait to be sent; a proxy that causes more of them does not read.
	maxRefusals = 256
)

// errProtocol is what a proxy must not do.
var errProtocol = errors.New("the proxy broke the protocol")

// connection is one session with a proxy. Its fields up to the mutex are set before others see it.
type connection struct {
	w       *Worker
	address string
	// plain leaves the machine description out; refused says that the proxy ended before it answered the first query.
	plain, refused bool
	peer           Peer
	sess           *session.Session
	ctx            context.Context //nolint:containedctx // the life of the session, which its queries share
	end            context.CancelCauseFunc
	work           session.Crew

	mu      sync.Mutex
	version int32
	// proxy is the proxy's contract in raw form, empty before the handshake.
	proxy string
	// worker is our contract at this proxy, in raw form.
	worker   string
	ready    bool
	since    time.Time
	queries  map[[32]byte]*query
	refusals int
	// floor is what the proxy's counters must not go below; later is what it becomes at the next payment status. In between
	// messages may overtake each other.
	floor, later Proof
}

func (c *connection) wasReady() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ready
}

// run converses with the proxy until somebody ends it.
func (c *connection) run(ctx context.Context) error {
	dial, cancel := context.WithTimeout(ctx, dialLimit)
	conn, peer, err := c.w.deps.Dial(dial, c.address)
	cancel()
	if err != nil {
		return fmt.Errorf("connecting to proxy: %w", err)
	}
	if err := c.w.deps.CheckPeer(peer); err != nil {
		_ = conn.Close()
		return fmt.Errorf("judging proxy: %w", err)
	}
	c.peer = peer
	group, ctx := errgroup.WithContext(ctx)
	ctx, c.end = context.WithCancelCause(ctx)
	defer c.end(nil)
	c.ctx = ctx
	c.sess = session.New(conn, session.Options{Dialer: true, Log: c.w.log, Ping: c.w.cfg.Times.Quiet, Dead: c.w.cfg.Times.Dead}, c)
	c.w.mu.Lock()
	c.w.conns[c] = struct{}{}
	c.w.mu.Unlock()
	group.Go(func() error { return c.sess.Run(ctx) })
	group.Go(func() error { return c.drive(ctx) })
	err = group.Wait()
	if cause := context.Cause(ctx); cause != nil && errors.Is(err, context.Canceled) {
		err = cause
	}
	c.w.mu.Lock()
	delete(c.w.conns, c)
	c.w.mu.Unlock()
	c.cancelAll(errSession)
	c.work.Wait()
	return err
}

// drive makes the handshake and then keeps the proxy informed.
func (c *connection) drive(ctx context.Context) error {
	told, err := c.handshake(ctx)
	if err != nil {
		return err
	}
	c.w.log.Info("Connected to proxy", slog.String("peer", c.address), slog.Int("version", int(c.version)))
	payments := time.NewTicker(c.w.cfg.Times.Payments)
	defer payments.Stop()
	for {
		now, changed := c.w.announced()
		if err := c.announce(ctx, told, now); err != nil {
			return err
		}
		told = now
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		case <-payments.C:
			if err := c.payments(ctx); err != nil {
				return err
			}
		}
	}
}

func (c *connection) announce(ctx context.Context, told, now announced) error {
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	if told.disabled != now.disabled {
		if err := c.sess.Send(ctx, &tl.WorkerEnabledDisabled{Disabled: flag(now.disabled)}); err != nil {
			return err
		}
	}
	if told.coefficient != now.coefficient {
		return c.sess.Send(ctx, &tl.WorkerNewCoefficient{NewCoefficient: now.coefficient})
	}
	return nil
}

func flag(on bool) int32 {
	if on {
		return 1
	}
	return 0
}

// payments asks what the proxy owes.
func (c *connection) payments(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, paymentLimit)
	defer cancel()
	got, err := c.sess.Query(ctx, &tl.WorkerUpdatePaymentStatus{})
	if refusal, ok := errors.AsType[*session.QueryError](err); ok {
		c.w.log.Warn("Payment status refused", slog.String("peer", c.address), slog.Any("err", refusal))
		return nil
	}
	if err != nil {
		return err
	}
	s, ok := got.(*tl.WorkerPaymentStatus)
	if !ok {
		return fmt.Errorf("%w: %s for a payment status", errProtocol, got.TLName())
	}
	if err := c.paid(s.SignedPayment, s.DBTokens, s.MaxTokens); err != nil {
		return err
	}
	known := c.w.proofs.Get(c.contract())
	c.mu.Lock()
	defer c.mu.Unlock()
	c.floor, c.later = c.later, known
	return nil
}

// paid notes what the proxy admits to owe.
func (c *connection) paid(signed tl.AnyProxySignedPayment, db, maxTokens int64) error {
	c.mu.Lock()
	proxy, floor := c.proxy, c.floor
	c.mu.Unlock()
	if db < floor.DB || maxTokens < floor.Max || db < 0 || maxTokens < 0 {
		return fmt.Errorf("%w: from %d to %d, limit from %d to %d", errRegress, floor.DB, db, floor.Max, maxTokens)
	}
	c.w.proofs.note(proxy, signed, db, maxTokens)
	return nil
}

// contract names the proxy by its contract.
func (c *connection) contract() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.proxy
}

// Query answers what a proxy asks. A worker's model is part of its measured configuration, so there is nothing to
// change.
func (*connection) Query(_ context.Context, fn tl.Function) (tl.Object, error) {
	if _, ok := fn.(*tl.WorkerChangeModel); ok {
		return nil, &session.QueryError{Code: session.CodeError, Message: "the model is measured and cannot change while the worker runs"}
	}
	return nil, &session.QueryError{Code: session.CodeProtocol, Message: "unexpected function " + fn.TLName()}
}

// Packet takes what a proxy sends.
func (c *connection) Packet(_ context.Context, p tl.Object) error {
	if !c.wasReady() {
		switch p.(type) {
		case *tl.ProxyRunQuery, *tl.ProxyRunQueryEx, *tl.ProxyWorkerRequestPayment:
			return fmt.Errorf("%w: %s before the handshake is complete", errProtocol, p.TLName())
		}
	}
	switch p := p.(type) {
	case *tl.ProxyRunQueryEx:
		return c.start(p)
	case *tl.ProxyRunQuery:
		return c.start(&tl.ProxyRunQueryEx{Query: p.Query, Coefficient: p.Coefficient, Timeout: p.Timeout, RequestID: p.RequestID})
	case *tl.ProxyCancelQuery:
		if q := c.find(p.RequestID); q != nil {
			q.cancel(errCancelled)
		}
	case *tl.ProxyQueryCredit:
		if q := c.find(p.RequestID); q != nil {
			return q.credit.add(int64(p.Bytes))
		}
	case *tl.ProxyWorkerRequestPayment:
		return c.paid(p.SignedPayment, p.DBTokens, p.MaxTokens)
	default:
		c.w.log.Debug("Unexpected packet ignored", slog.String("packet", p.TLName()))
	}
	return nil
}

func (c *connection) find(id [32]byte) *query {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.queries[id]
}

func (c *connection) cancelAll(cause error) { c.cancelThose(cause, func(*query) bool { return true }) }

func (c *connection) cancelThose(cause error, which func(q *query) bool) {
	c.mu.Lock()
	all := make([]*query, 0, len(c.queries))
	for _, q := range c.queries {
		if which(q) {
			all = append(all, q)
		}
	}
	c.mu.Unlock()
	for _, q := range all {
		q.cancel(cause)
	}
}

// description is what goes into worker.params beside the numbers.
func (c *connection) description() *string {
	if c.plain || c.w.cfg.MaxVersion < versionOurs || !json.Valid([]byte(c.w.machine)) {
		return nil
	}
	return new(c.w.machine)
}
