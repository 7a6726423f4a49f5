package proxy

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"cocoon/contracts/api"
	"cocoon/contracts/api/emulate"
	"cocoon/contracts/api/sse"
	"cocoon/contracts/pricing"
	"cocoon/contracts/receipt"
	"cocoon/contracts/wire/session"
	"cocoon/contracts/wire/tl"
	"cocoon/guest/proxy/ledger"
	"cocoon/guest/proxy/sched"
)

// request is one request of a client, from its message to its receipt. Its goroutine alone touches it, besides out and
// cancel.
type request struct {
	p      *Proxy
	c      *client
	ask    ask
	out    *output
	ctx    context.Context //nolint:containedctx // ends with the request's cause
	cancel context.CancelCauseFunc

	began    time.Time
	deadline time.Time
	root     Root
	account  Account
	job      *job
	held     bool // something is reserved
	reserved int64
	tried    []uint64

	// what is known of the last attempt
	a      *attempt
	bodies bodies
	result result
}

// result is how an attempt ended.
type result struct {
	err error
	// head and body are the unsent end of a complete answer.
	head *tl.HTTPResponse
	body []byte
	info *tl.ProxyQueryFinalInfo
	// statement is the worker's, when it was right; unchecked says that its signature was not looked at.
	statement *tl.ProxyQueryStatement
	unchecked bool
}

func newRequest(c *client, a ask, version int32) *request {
	ctx, cancel := context.WithCancelCause(c.ctx)
	return &request{p: c.p, c: c, ask: a, out: newOutput(c, a.id, version), ctx: ctx, cancel: cancel, began: c.p.deps.Now()}
}

// run serves the request and ends it, once.
func (r *request) run(ctx context.Context) {
	defer r.cancel(nil)
	r.p.metrics.begin()
	defer r.p.metrics.end()
	// What has to be said at the end is said even though the request was cancelled; a session that has ended refuses it.
	last := context.WithoutCancel(ctx)
	defer func() {
		if p := recover(); p != nil {
			r.p.log.Error("Request panicked", slog.Any("err", p))
			r.out.hush()
			if r.a != nil {
				r.a.cancel(r.p.atOnce) //nolint:contextcheck // one that has ended: nothing is waited for
				r.a.release(sched.Neutral, 0)
			}
			r.result = result{err: errInternal}
			r.finish(last)
		}
	}()
	r.result.err = r.admit(r.ctx) //nolint:contextcheck // the request's own context, which has its cause
	if r.result.err == nil {
		alarm := time.AfterFunc(r.deadline.Sub(r.began), func() { r.cancel(errDeadline) })
		defer alarm.Stop()
		stop := r.pings()    //nolint:contextcheck // the request's own context, which has its cause
		r.result = r.serve() //nolint:contextcheck // the request's own context, which has its cause
		stop()
	}
	r.finish(last)
}

// admit is everything that is checked before money is touched, and then the reservation.
func (r *request) admit(ctx context.Context) error {
	if err := r.ask.check(r.p.cfg.MaxTokens); err != nil {
		return err
	}
	if err := r.p.disabled(); err != nil {
		return err
	}
	var err error
	if r.root, err = r.p.deps.Chain.Root(); err != nil {
		return notReady("proxy is disabled: %v", err)
	}
	if r.ask.minConfig > r.root.Version {
		return refusal("active config version is too low: %d, client has %d", r.root.Version, r.ask.minConfig)
	}
	r.account, err = r.p.deps.Chain.Client(ctx, r.c.owner)
	switch {
	case err != nil:
		return notReady("client contract cannot be read")
	case r.account.Closing || r.account.Closed:
		return notReady("client is closing")
	case r.root.ParamsVersion != r.c.since() || r.account.Contract != r.c.account.Contract:
		r.c.retire()
		return notReady("%v to version %d: connect again", errParameters, r.root.ParamsVersion)
	}
	if r.job, err = r.p.read(ctx, &r.ask); err != nil {
		return err
	}
	r.deadline = r.began.Add(r.ask.within(r.p.cfg.Times.Limit))
	return r.reserve(ctx, r.job.reserve(&r.ask, r.root.Multipliers))
}

// reserve holds the most that the request can cost.
func (r *request) reserve(ctx context.Context, amount int64) error {
	err := r.p.deps.Ledger.Reserve(ctx, ledger.Reservation{Client: r.c.party.Address, Request: r.ask.id, Amount: amount})
	switch {
	case err == nil:
		r.held, r.reserved = true, amount
		return nil
	case errors.Is(err, ledger.ErrBalance):
		return refusal("client balance is too low: %d tokens have to be available for this request", amount)
	case errors.Is(err, ledger.ErrDuplicate):
		return refusal("duplicate request id")
	default:
		return notReady("proxy is disabled: the ledger does not answer")
	}
}

// pings tells a caller who waits for the first byte that somebody is there.
func (r *request) pings() (stop func()) {
	if !r.job.stream || r.out.version < versionOurs {
		return func() {}
	}
	ctx, cancel := context.WithCancel(r.ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = every(ctx, r.p.cfg.Times.Ping, func() { _ = r.out.ping(ctx) }) // a client that is gone ends the request itself
	}()
	return func() {
		cancel()
		<-done
	}
}

// serve finds a worker and relays its answer; a second one when the first gave nothing.
func (r *request) serve() result {
	res := r.try()
	if res.err == nil || !r.mayRetry(res.err) {
		return res
	}
	r.p.metrics.count("proxy_retries_total")
	again := r.try()
	if _, refused := errors.AsType[*sched.RefusedError](again.err); refused {
		return res // the failure of the first is the reason, not that there is no second
	}
	return again
}

// mayRetry says whether another worker may be asked: once, before anything of this one's went to the client, and for
// what is not the client's doing.
func (r *request) mayRetry(err error) bool {
	if len(r.tried) != 1 || r.ctx.Err() != nil || !r.p.metrics.retryAllowed() {
		return false
	}
	if worker, _ := r.out.passed(); worker {
		return false
	}
	if e, ok := errors.AsType[*workerError](err); ok {
		return retriable(e)
	}
	return errors.Is(err, errWorkerLost) || errors.Is(err, errDown)
}

// try is one attempt.
func (r *request) try() result {
	lease, err := r.acquire()
	if err != nil {
		return result{err: err}
	}
	r.tried = append(r.tried, lease.Worker)
	w := r.p.worker(lease.Worker)
	if w == nil {
		lease.End(sched.Neutral, 0)
		return result{err: errWorkerLost}
	}
	r.a = newAttempt(w, lease)
	if !w.enter(r.a) {
		lease.End(sched.Neutral, 0)
		return result{err: errWorkerLost}
	}
	res := r.relay(r.a)
	used, _ := r.usage(res)
	r.a.release(r.recordOf(res), used.Completion)
	return res
}

// acquire takes a worker's slot. A stream goes to a worker that streams before one whose answer is made a stream.
func (r *request) acquire() (*sched.Lease, error) {
	defer r.p.metrics.wait()()
	first := r.job.stream && len(r.tried) == 0
	lease, err := r.p.sched.Acquire(r.ctx, r.need(first))
	refused, ok := errors.AsType[*sched.RefusedError](err)
	if ok && first && slices.Contains([]sched.Refusal{sched.NoFeature, sched.PriceLimit, sched.Failing}, refused.Kind) {
		lease, err = r.p.sched.Acquire(r.ctx, r.need(false))
		refused, ok = errors.AsType[*sched.RefusedError](err)
	}
	if err == nil {
		return lease, nil
	}
	if cause := context.Cause(r.ctx); cause != nil {
		return nil, cause
	}
	if ok {
		err = r.explain(refused)
	}
	return nil, err
}

// explain says more about a refusal than the scheduler knows.
func (r *request) explain(refused *sched.RefusedError) error {
	switch {
	case refused.Kind == sched.UnknownModel && r.p.knows(r.ask.model):
		return &sched.RefusedError{Kind: sched.NoWorkers}
	case refused.Kind != sched.NoFeature || r.job.in == nil:
		return refused
	}
	// Only reference workers are there: the caller learns which field they do not take.
	for _, v := range []int32{versionKeys, MinVersion} {
		if why, ok := errors.AsType[*api.Error](emulate.Check(r.job.in, emulate.Peer{Role: "worker", Version: v})); ok {
			return refusedError{why}
		}
	}
	return refused
}

func (r *request) need(ours bool) sched.Request {
	need := r.job.need(&r.ask, r.c.party.Address, r.tried, ours)
	need.Route = r.p.routeKey(r.c.contract, r.secret(), r.job.body)
	return need
}

func (r *request) secret() string {
	if r.job.in == nil {
		return ""
	}
	return r.job.in.RouteSecret
}

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
	if s, ok := debugOf(res.info); ok {
		return s
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
