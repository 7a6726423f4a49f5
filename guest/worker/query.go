package worker

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"log/slog"
	"math"
	"sync/atomic"
	"time"

	"cocoon/contracts/api"
	"cocoon/contracts/pricing"
	"cocoon/contracts/receipt"
	"cocoon/contracts/wire/session"
	"cocoon/contracts/wire/tl"
	"cocoon/guest/worker/meter"
)

// query is one request under way.
type query struct {
	c           *connection
	ask         *tl.ProxyRunQueryEx
	version     int32
	coefficient int64
	prices      Prices // of the moment when it came
	began       time.Time
	ctx         context.Context //nolint:containedctx // the life of the request
	cancel      context.CancelCauseFunc
	credit      credit
	deadline    *time.Timer

	// extra are headers of the engine's answer, where engine.toml does not strip them.
	extra []tl.HTTPHeader
	// name is the client's id of the request in hex; request the hash of what came.
	name, request string
	hash          hash.Hash
	headSent      atomic.Bool
	firstByte     time.Time
	ended         time.Time // when all was there, as the proxy is told
	sent          int64     // bytes of the body
	desk          desk
}

// outcome is how a request ended. Code 0 is an end that is no error message.
type outcome struct {
	status receipt.Status
	code   session.Code
	text   string
	used   meter.Result
	// why is the reason of a failure of the engine, for the page: one of this package's words, never the engine's.
	why string
	// tail is what remains to be sent as the last part of the body.
	tail []byte
	// whole, when set, is sent as the head with its body.
	whole *tl.HTTPResponse
}

// reason is why a request failed, as the page has it.
func (o *outcome) reason() string {
	switch code := o.used.Code; {
	case code != "" && code != api.EngineError:
		return string(code)
	case o.why != "":
		return o.why
	case code == api.EngineError:
		return "its answer is an error"
	}
	return o.text
}

// start admits a query, or refuses it; both without waiting.
func (c *connection) start(p *tl.ProxyRunQueryEx) error {
	c.mu.Lock()
	if c.queries[p.RequestID] != nil {
		c.mu.Unlock()
		return fmt.Errorf("%w: a request id that is under way", errProtocol)
	}
	version, refusals := c.version, c.refusals
	c.mu.Unlock()
	if refusals >= maxRefusals {
		return fmt.Errorf("%w: too many refused queries", errProtocol)
	}
	q := &query{
		c: c, ask: p, version: version, coefficient: p.Coefficient, prices: c.w.deps.Prices(), began: c.w.deps.Now(),
		credit: credit{left: window, free: version < versionOurs}, hash: sha256.New(),
	}
	limit, err := c.w.checkQuery(p)
	if err == nil {
		err = c.admit()
	}
	if err != nil {
		c.refuse(q, err)
		return nil
	}
	q.ctx, q.cancel = context.WithCancelCause(c.ctx)
	q.deadline = time.AfterFunc(limit, func() { q.cancel(errDeadline) })
	c.mu.Lock()
	c.queries[p.RequestID] = q
	c.mu.Unlock()
	c.work.Go(q.run)
	return nil
}

// checkQuery bounds the numbers of a query before anything is calculated with them, and returns its deadline.
func (w *Worker) checkQuery(p *tl.ProxyRunQueryEx) (time.Duration, error) {
	switch {
	case p.Coefficient < 0 || p.Coefficient >= coefficientLimit:
		return 0, &wireError{session.CodeProtocol, "coefficient out of range"}
	case math.IsNaN(p.Timeout) || math.IsInf(p.Timeout, 0) || p.Timeout <= 0:
		return 0, &wireError{session.CodeProtocol, "timeout out of range"}
	}
	limit := w.cfg.Times.Limit
	if p.Timeout < limit.Seconds() {
		limit = time.Duration(p.Timeout * float64(time.Second))
	}
	return max(limit, time.Millisecond), nil
}

// admit takes a slot of the connection and of the worker.
func (c *connection) admit() error {
	c.mu.Lock()
	here := len(c.queries)
	c.mu.Unlock()
	w := c.w
	eligible := w.eligible() == nil
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.stopped || !w.engineUp || !eligible:
		return &wireError{session.CodeNotReady, "worker is disabled"}
	case here >= w.cfg.share() || w.active >= w.cfg.MaxActive:
		return &wireError{session.CodeNotReady, "too many active queries"}
	}
	w.active++
	w.totals.Queries++
	return nil
}

// refuse answers a query that was not admitted.
func (c *connection) refuse(q *query, err error) {
	c.w.mu.Lock()
	c.w.totals.Refused++
	c.w.mu.Unlock()
	c.mu.Lock()
	c.refusals++
	c.mu.Unlock()
	c.work.Go(func() {
		defer func() {
			c.mu.Lock()
			c.refusals--
			c.mu.Unlock()
		}()
		out := refused(err)
		if r, name, err := envelope(q.ask.Query, q.ask.RequestID); err == nil {
			q.name, q.request = name, receipt.SHA256(r.Payload)
		}
		q.finish(c.ctx, out)
	})
}

// refused is the outcome of a request that no engine has seen.
func refused(err error) outcome {
	out := outcome{status: receipt.Refused, code: session.CodeFailure, text: "internal error", used: meter.Result{Source: meter.FromNothing}}
	if e, ok := errors.AsType[*wireError](err); ok {
		out.code, out.text = e.code, e.text
	}
	return out
}

// run serves a query to its end. A defect of ours costs this query alone.
func (q *query) run() {
	defer q.cancel(nil)
	defer q.deadline.Stop()
	q.count(q.finish(q.c.ctx, q.guarded()))
}

// release gives the slot back. That comes before the last message, which the proxy answers with the next query.
func (q *query) release() {
	c := q.c
	if q.cancel == nil { // never admitted
		return
	}
	c.mu.Lock()
	delete(c.queries, q.ask.RequestID)
	c.mu.Unlock()
	c.w.mu.Lock()
	c.w.active--
	c.w.mu.Unlock()
}

func (q *query) guarded() (out outcome) {
	defer func() {
		if p := recover(); p != nil {
			q.panicked(p)
			out = defective()
		}
	}()
	return q.serve()
}

// panicked tells of a defect. The value may quote the request: only its type is told.
func (q *query) panicked(p any) {
	q.c.w.log.Error("Query panicked", slog.String("kind", fmt.Sprintf("%T", p)))
}

// defective is the outcome of a query that a defect of ours has ended.
func defective() outcome {
	return outcome{status: receipt.EngineError, code: session.CodeFailure, text: "internal error", used: meter.Result{Source: meter.FromNothing}}
}

// count adds a finished query to the totals.
func (q *query) count(out outcome) {
	w, u := q.c.w, out.used.Usage
	w.past.over(q, out, pricing.Bill(pricing.Tokens(u), q.coefficient, w.deps.Prices().Multipliers))
	if w.log.Enabled(q.c.ctx, slog.LevelDebug) {
		w.log.Debug("Query ended", slog.String("req", q.name), slog.String("outcome", string(out.status)),
			slog.Duration("dur", w.deps.Now().Sub(q.began)), slog.Int64("prompt_tokens", u.Prompt), slog.Int64("completion_tokens", u.Completion))
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	t := &w.totals
	switch out.status {
	case receipt.Complete:
		t.Success++
	case receipt.Cancelled:
		t.Cancelled++
	case receipt.Refused:
		t.Refused++
	default:
		t.Failed++
	}
	t.PromptTokens += u.Prompt
	t.CachedTokens += u.Cached
	t.CompletionTokens += u.Completion
	t.ReasoningTokens += u.Reasoning
	t.UsageRejected += int64(out.used.Rejected)
	if out.used.Estimated {
		t.Estimated++
	}
}
