package proxy

import (
	"context"
	"slices"
	"strings"
	"time"

	"cocoon/contracts/api/jsonscan"
	"cocoon/contracts/receipt"
	"cocoon/contracts/wire/session"
	"cocoon/contracts/wire/tl"
	"cocoon/guest/proxy/ledger"
)

// perHop is what each hop of the reference implementation takes off a deadline (protocol.md section 4.1).
const perHop = 0.95

// relay sends the request to the worker and its answer to the client.
func (r *request) relay(a *attempt) result {
	forwarded, common, err := r.forward(a)
	if err != nil {
		return r.abandon(a, err)
	}
	r.bodies = hashBodies(r.job.body, forwarded, common) // the worker has it, and needs its time
	var onward pass
	for in := (arrival{r: r, a: a}); ; {
		if r.ctx.Err() != nil { // however much there is to read
			return r.abandon(a, context.Cause(r.ctx))
		}
		patience := time.Duration(0)
		if in.begun && a.w.version >= versionOurs { // others may be silent to their end
			patience = r.p.cfg.Times.Gap
		}
		if onward == nil && in.begun && in.made == nil {
			onward = r.onward(a)
		}
		e, err := a.next(r.ctx, patience, onward)
		if err != nil {
			return r.abandon(a, err)
		}
		if done, res := in.take(e); done {
			return res
		}
	}
}

// onward passes parts on as take does, as long as nothing has to be waited for.
func (r *request) onward(a *attempt) pass {
	return func(part []byte) bool {
		if a.due(len(part)) || !r.out.pass(r.p.atOnce, part) {
			return false
		}
		a.consumed += int64(len(part))
		return true
	}
}

// arrival is where an answer stands.
type arrival struct {
	r     *request
	a     *attempt
	begun bool
	made  *imitation // the stream that is made of it, if one is
}

// take acts on one message of the worker; done is its end.
func (v *arrival) take(e event) (done bool, res result) {
	r := v.r
	switch {
	case e.kind == evError:
		return true, r.attest(v.a, result{err: &workerError{e.code, e.text}, info: e.info})
	case e.kind == evStatement: // before the end it says nothing
		return false, result{}
	case v.begun != (e.kind == evPart):
		return true, r.abandon(v.a, errOrder)
	case v.made != nil:
		return v.made.take(v.a, e.data, e.info)
	case e.kind == evHead:
		v.begun = true
		return v.head(e)
	case e.info != nil:
		return true, r.attest(v.a, result{body: e.data, info: e.info})
	}
	if err := r.out.body(r.ctx, e.data, nil); err != nil {
		return true, r.abandon(v.a, err)
	}
	v.a.grant(r.ctx, len(e.data))
	return false, result{}
}

// head takes the head of the answer, and what of the body came with it.
func (v *arrival) head(e event) (done bool, res result) {
	h, body, err := parseHead(e.data)
	if err != nil {
		return true, v.r.abandon(v.a, err)
	}
	v.a.lease.FirstByte()
	if v.made = v.r.imitate(v.a, h); v.made != nil {
		return v.made.take(v.a, body, e.info)
	}
	return v.r.begin(v.a, h, body, e.info)
}

// forward is the message to the worker: the deadline that is left, the price that was agreed on. It gives the body that was
// sent, and how many of its first bytes are those that came.
func (r *request) forward(a *attempt) (body []byte, common int, err error) {
	w := a.w
	r.bodies = bodies{}
	left := r.deadline.Sub(r.p.deps.Now()).Seconds()
	if left <= 0 {
		return nil, 0, errDeadline
	}
	if w.version < versionOurs {
		left *= perHop
	}
	pay, err := r.p.deps.Ledger.Pay(r.ctx, w.party)
	if err != nil {
		return nil, 0, errInternal
	}
	pieces := r.job.forward(w.version, r.salt())
	query, body := r.job.query(pieces, r.ask.id, w.version)
	if err := w.sess.Send(r.ctx, r.order(a, query, signed(pay), left)); err != nil {
		if cause := context.Cause(r.ctx); cause != nil {
			return nil, 0, cause
		}
		return nil, 0, errWorkerLost
	}
	a.asked = true
	return body, r.job.common(pieces), nil
}

// order is the message that gives a worker the request, in the form of its version.
func (r *request) order(a *attempt, query []byte, pay tl.AnyProxySignedPayment, left float64) tl.Object {
	if a.w.version < versionEx {
		return &tl.ProxyRunQuery{Query: query, SignedPayment: pay, Coefficient: a.lease.Coefficient, Timeout: left, RequestID: a.id}
	}
	m := &tl.ProxyRunQueryEx{
		Query: query, SignedPayment: pay, Coefficient: a.lease.Coefficient, Timeout: left, RequestID: a.id,
		EnableDebug: new(r.ask.debug || a.w.version >= versionOurs), // workers of ours say there where their counts are from
	}
	if a.w.version >= versionKeys {
		m.PrivateKey = r.job.private
	}
	return m
}

// begin takes the head of the answer. What comes whole ends the attempt, and so does a failure that another worker may
// not have.
func (r *request) begin(a *attempt, h *tl.HTTPResponse, body []byte, info *tl.ProxyQueryFinalInfo) (done bool, res result) {
	if h.StatusCode >= downStatus && r.mayRetry(errDown) {
		return true, r.abandon(a, errDown)
	}
	if info != nil {
		return true, r.attest(a, result{head: h, body: body, info: info})
	}
	stamp(h, r.began, time.Time{})
	r.announce(h, nil)
	if err := r.out.head(r.ctx, h); err != nil {
		return true, r.abandon(a, err)
	}
	if len(body) > 0 { // the head carries no part of a body (protocol.md section 4.4)
		if err := r.out.body(r.ctx, body, nil); err != nil {
			return true, r.abandon(a, err)
		}
	}
	return false, result{}
}

// abandon gives an attempt up: the worker is told, and has a moment to say what was used. A final answer that crosses
// the cancellation wins.
func (r *request) abandon(a *attempt, cause error) result {
	res := result{err: cause}
	if a.w.gone() {
		return res
	}
	retry := r.mayRetry(cause)
	if !retry {
		r.out.hush()
	}
	if !a.asked {
		return res // there is nobody to tell
	}
	patience := r.p.cfg.Times.LastWord
	ctx, cancel := context.WithTimeout(r.c.ctx, patience)
	defer cancel()
	a.cancel(ctx)
	if !ended(cause) {
		return res // what broke the protocol is not waited for, nor what another worker may do better
	}
	if a.w.version < versionOurs {
		// It cannot be stopped. Its slot is taken and its work counts until its own end; the client need not wait for that.
		_ = r.sayError(ctx, res, r.final(ledger.Entry{}))
		rest, cancel := context.WithTimeout(r.c.ctx, max(r.deadline.Sub(r.p.deps.Now()), 0)+patience)
		defer cancel()
		ctx = rest
	}
	return r.lastWord(ctx, a, res)
}

// lastWord reads what a worker still says about an attempt that was given up.
func (r *request) lastWord(ctx context.Context, a *attempt, res result) result {
	ours := a.w.version >= versionOurs
	for {
		e, err := a.next(ctx, 0, nil)
		if err != nil {
			return res
		}
		worker, _ := r.out.passed()
		if ours && e.kind == evHead && !worker && ended(res.err) {
			if late, whole := r.lateHead(ctx, a, e); whole {
				return late
			}
		}
		if ours && e.kind == evPart && worker {
			if e.info != nil && ended(res.err) {
				return r.attest(a, result{body: e.data, info: e.info})
			}
			_ = r.out.body(ctx, e.data, nil) // hashed, and sent as far as that needs no waiting
		}
		if e.info != nil {
			res.info = e.info
			return r.attest(a, res)
		}
		if ctx.Err() != nil { // it had its time, and goes on and on
			return res
		}
	}
}

// lateHead takes a head that crossed the cancellation: what follows it is passed on, because the worker's statement is about
// it; what came whole is the answer.
func (r *request) lateHead(ctx context.Context, a *attempt, e event) (res result, whole bool) {
	h, body, err := parseHead(e.data)
	if err != nil {
		return res, false
	}
	if e.info != nil {
		return r.attest(a, result{head: h, body: body, info: e.info}), true
	}
	stamp(h, r.began, time.Time{})
	r.announce(h, nil)
	if r.out.head(ctx, h) == nil { // without a head there are no parts
		_ = r.out.body(ctx, body, nil) // hashed, and sent as far as that needs no waiting
	}
	return res, false
}

// ended says that the request ended by its client or its deadline and not by what the worker did.
func ended(err error) bool {
	s := endingOf(err).status
	return s == receipt.Cancelled || s == receipt.Deadline
}

// status is how the request ended, as the receipt says it.
func (r *request) status() receipt.Status { return r.statusOf(r.result) }

func (r *request) statusOf(res result) receipt.Status {
	if res.err != nil {
		return endingOf(res.err).status
	}
	if res.statement != nil {
		return statusWord(res.statement.Status)
	}
	switch status := r.httpStatus(res); {
	case status >= downStatus:
		return receipt.EngineError
	case status >= badStatus:
		return receipt.Refused
	}
	return receipt.Complete
}

// httpStatus is the answer's, sent or not.
func (r *request) httpStatus(res result) int32 {
	if res.head != nil {
		return res.head.StatusCode
	}
	return r.out.statusCode()
}

// debugOf reads where a worker's counts are from; empty where it does not say so.
func debugOf(info *tl.ProxyQueryFinalInfo) string {
	if info.WorkerDebug == nil || len(*info.WorkerDebug) > maxDescription {
		return ""
	}
	doc, err := jsonscan.Check([]byte(*info.WorkerDebug))
	if err != nil {
		return ""
	}
	v, _ := doc.Get("source")
	switch source, _ := v.Text(); source {
	case sourceEngine, sourcePartial, sourceCounted:
		return source
	}
	return ""
}

// retriable says that a worker's error is no verdict on the request.
func retriable(e *workerError) bool {
	switch session.Code(e.code) {
	case session.CodeNotReady, session.CodeFailure:
		return true
	case session.CodeError:
		return slices.ContainsFunc([]string{"too many active queries", "engine error", "connection is dead"}, func(s string) bool {
			return strings.HasPrefix(e.text, s)
		})
	default:
		return false
	}
}
