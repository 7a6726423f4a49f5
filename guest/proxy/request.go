package proxy

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"cocoon/contracts/api"
	"cocoon/contracts/api/emulate"
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
	both     [2]uint64 // what they lie in: there is one retry

	// what is known of the last attempt
	a      *attempt
	bodies bodies
	result result
	// debug is where the counts of an attempt's last message are from, by what that says of itself.
	debugged *tl.ProxyQueryFinalInfo
	debug    string
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
	r := &request{p: c.p, c: c, ask: a, out: newOutput(c, a.id, version), ctx: ctx, cancel: cancel, began: c.p.deps.Now()}
	r.tried = r.both[:0]
	return r
}

// run serves the request and ends it, once.
//
// What has to be said at the end, within last, is said even though the request was cancelled; a session that has ended refuses
// it.
func (r *request) run(last context.Context) {
	defer r.cancel(nil)
	r.p.metrics.begin(r.began)
	defer r.p.metrics.end()
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
	defer r.p.metrics.waited(r.p.deps.Now())
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

// salt separates the prompt caches of the client and of its callers.
func (r *request) salt() string {
	if secret := r.secret(); secret != "" {
		return cacheSalt(r.c.contract, secret)
	}
	return r.c.salt
}

func (r *request) secret() string {
	if r.job.in == nil {
		return ""
	}
	return r.job.in.RouteSecret
}
