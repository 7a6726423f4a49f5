package proxy

import (
	"context"
	"errors"
	"log/slog"

	"cocoon/contracts/api"
	"cocoon/contracts/api/sse"
	"cocoon/contracts/pricing"
	"cocoon/contracts/receipt"
	"cocoon/contracts/wire/session"
	"cocoon/contracts/wire/tl"
	"cocoon/guest/proxy/ledger"
	"cocoon/guest/proxy/sched"
)

// recordOf is what the worker's record says about the attempt.
func (r *request) recordOf(res result) sched.Outcome {
	if res.err != nil {
		return endingOf(res.err).record
	}
	if s := res.statement; s != nil && s.Status != statusComplete && s.Status != statusRefused {
		return sched.Failed
	}
	return sched.Served
}

// finish settles, says the last word, signs, and tells both sides what they may claim.
func (r *request) finish(ctx context.Context) {
	res := r.result
	defer r.out.hush()
	if !r.held && r.out.version >= versionOurs && r.job != nil {
		_ = r.reserve(ctx, 0) // a refusal has a receipt too, where that is possible
	}
	entry, err := r.settle(ctx)
	if err != nil && r.held {
		r.p.log.Error("Request not settled", slog.Any("err", err))
		r.p.Refuse("the ledger does not settle: " + err.Error())
	}
	fin := r.final(entry)
	switch {
	case res.err == nil && res.head != nil:
		stamp(res.head, r.began, r.p.deps.Now())
		r.announce(res.head, &entry)
		err = r.out.whole(ctx, res.head, res.body, &fin)
	case res.err == nil:
		err = r.out.body(ctx, res.body, &fin)
	default:
		err = r.sayError(ctx, res, fin)
	}
	if err != nil {
		r.p.metrics.count("proxy_answers_unread_total")
		r.out.fail(ctx, err, nil, fin) // it needs no credit: a stream that cannot be ended is broken
	}
	now := r.p.deps.Now()
	r.p.metrics.done(r.status(), entry)
	r.p.over(now, r.status(), entry, now.Sub(r.began))
	r.p.totals.received.Add(now, float64(len(r.ask.query)))
	r.p.totals.sent.Add(now, float64(r.out.length()))
	if !r.held {
		return
	}
	if r.out.version >= versionOurs {
		session.GoFirst() // an app waits for the answer, nobody yet for the signature
		r.giveReceipt(ctx, entry)
	}
	r.tellPayments(ctx, entry)
}

// sayError ends the request with an error: as a whole response where the field policy refused, else as a message.
func (r *request) sayError(ctx context.Context, res result, fin final) error {
	if e, ok := errors.AsType[refusedError](res.err); ok {
		r.p.metrics.refused(res.err)
		h := &tl.HTTPResponse{
			HTTPVersion: "HTTP/1.1", StatusCode: int32(e.why.Status()), Reason: string(e.why.Code), //nolint:gosec // a status of a table
			Headers: []tl.HTTPHeader{{Name: "Content-Type", Value: "application/json"}},
		}
		r.announce(h, new(ledger.Entry)) // nobody worked on it
		return r.out.whole(ctx, h, e.why.Body(), &fin)
	}
	if !r.held {
		r.p.metrics.refused(res.err)
	}
	var event []byte
	if r.job != nil && r.job.stream && res.statement == nil {
		e := &api.Error{Code: endingOf(res.err).inside, Message: inBand(res.err), RequestID: requestName(r.ask.id)}
		event = sse.Append(nil, e.Body())
	}
	r.out.fail(ctx, res.err, event, fin)
	return nil
}

// inBand is an error's text inside a stream.
func inBand(err error) string {
	_, text := wireError(err)
	return text
}

// usage is what is billed: the worker's numbers, or an estimate from what passed when it left without any. It lied when
// its numbers had to be changed.
func (r *request) usage(res result) (t pricing.Tokens, lied bool) {
	switch {
	case r.a == nil:
		return pricing.Tokens{}, false
	case res.info != nil && !r.uncounted(res):
		return counted(r.a.w.version, res.info.TokensUsed, r.a.lease.Coefficient, r.root.Multipliers)
	}
	if worker, events := r.out.passed(); worker && events > 0 {
		return pricing.Tokens{Prompt: r.job.promptTokens(), Completion: events}, false
	}
	return pricing.Tokens{}, false
}

// uncounted says that a reference worker ended with an error and no numbers, whatever it had sent: its implementation never has
// any then, and half of an answer is not free (protocol.md section 6.2).
func (r *request) uncounted(res result) bool {
	return res.err != nil && r.a.w.version < versionOurs && res.info.TokensUsed == tl.TokensUsed{}
}

// Where counts may be from (inference.md section 7).
const (
	sourceNone    = "none"
	sourceEngine  = "engine"
	sourcePartial = "engine_partial"
	sourceCounted = "counted"
)

// source says where the counts are from.
func (r *request) source(res result, t pricing.Tokens) string {
	switch {
	case t == pricing.Tokens{}:
		return sourceNone
	case res.info == nil || r.uncounted(res):
		return sourceCounted
	}
	if r.debugged != res.info {
		r.debugged, r.debug = res.info, debugOf(res.info)
	}
	if r.debug != "" {
		return r.debug
	}
	if r.statusOf(res) == receipt.Complete {
		return sourceEngine
	}
	return sourcePartial
}

// settle bills the request.
func (r *request) settle(ctx context.Context) (ledger.Entry, error) {
	if !r.held {
		return ledger.Entry{}, nil
	}
	t, lied := r.usage(r.result)
	if lied {
		r.p.metrics.count("proxy_usage_rejected_total")
	}
	source := r.source(r.result, t)
	c := ledger.Charge{
		Client: r.c.party.Address, Request: r.ask.id, Model: r.ask.model, Multipliers: r.root.Multipliers,
		Tokens: t, Source: source, Estimated: source == sourceCounted, Status: string(r.status()),
	}
	if r.a != nil {
		c.Worker, c.Coefficient, c.Model = r.a.w.party.Address, r.a.lease.Coefficient, r.a.w.model
	}
	return r.p.deps.Ledger.Settle(ctx, c)
}

func (r *request) final(e ledger.Entry) final {
	f := final{
		tokens: tokensFor(r.out.version, e.Tokens, e.Billed), debug: r.ask.debug,
		times: [4]float64{unix(r.began), unix(r.p.deps.Now()), 0, 0},
	}
	if e.Cut > 0 {
		r.p.metrics.count("proxy_usage_cut_total")
		if r.out.version < versionOurs {
			f.tokens.TotalTokensUsed = e.Paid()
		}
	}
	if i := r.result.info; i != nil {
		if i.WorkerDebug != nil {
			f.workerDebug = *i.WorkerDebug
		}
		if i.WorkerStartTime != nil && i.WorkerEndTime != nil {
			f.times[2], f.times[3] = *i.WorkerStartTime, *i.WorkerEndTime
		}
	}
	return f
}
