package proxy

import (
	"context"
	"sync"
	"time"

	"cocoon/contracts/pricing"
	"cocoon/contracts/receipt"
	"cocoon/contracts/wire/tl"
)

// statementWait is how long a worker's statement may come after its last message: it follows in the same write.
const statementWait = 2 * time.Second

// Statuses of a worker's statement (inference.md section 9).
const (
	statusComplete int32 = iota
	statusCancelled
	statusDeadline
	statusLost
	statusEngine
	statusRefused
)

// statusWord is a statement's status as documents write it; empty for none of them.
func statusWord(n int32) receipt.Status {
	words := []receipt.Status{
		statusComplete: receipt.Complete, statusCancelled: receipt.Cancelled, statusDeadline: receipt.Deadline,
		statusLost: receipt.WorkerLost, statusEngine: receipt.EngineError, statusRefused: receipt.Refused,
	}
	if n < 0 || int(n) >= len(words) {
		return ""
	}
	return words[n]
}

// attest waits for the worker's signature under its numbers, and checks it.
func (r *request) attest(a *attempt, res result) result {
	if a.w.version < versionOurs || a.w.says.key == nil {
		return res
	}
	e, err := a.statement(r.c.ctx)
	if err != nil {
		r.p.metrics.count(`proxy_statements_total{verdict="missing"}`)
		return res
	}
	s := e.statement
	switch {
	case statusWord(s.Status) == "" || s.KeyID != a.w.says.KeyID:
		r.disbelieve(a.w)
		return res
	case !r.odd(res, s) && !a.w.doubt.draw(r.p.deps.Draw):
		r.p.metrics.count(`proxy_statements_total{verdict="unchecked"}`)
		res.statement, res.unchecked = s, true
		return res
	case !r.holds(a, res, s):
		r.disbelieve(a.w)
		return res
	}
	a.w.doubt.believe()
	r.p.metrics.count(`proxy_statements_total{verdict="valid"}`)
	res.statement = s
	return res
}

// statement waits for a worker's last word.
func (a *attempt) statement(ctx context.Context) (event, error) {
	e, err := a.next(ctx, statementWait, nil)
	if err == nil && e.kind != evStatement { // nothing else is accepted behind the last message
		err = errOrder
	}
	return e, err
}

// disbelieve notes a statement that does not hold.
func (r *request) disbelieve(w *worker) {
	w.doubt.disbelieve()
	r.p.metrics.count(`proxy_statements_total{verdict="invalid"}`)
}

// holds checks a worker's signature: its key, over what we forwarded and the numbers that are billed.
func (r *request) holds(a *attempt, res result, s *tl.ProxyQueryStatement) bool {
	tokens, _ := r.usage(res)
	signed := receipt.WorkerStatement{
		RequestID: hexed(r.ask.id[:]), RequestHash: r.bodies.forwarded, ResponseHash: digest(s.ResponseHash[:]),
		Status: statusWord(s.Status), ServedAt: s.ServedAt, WorkerSC: a.w.name, Tokens: tokens,
	}
	return r.p.signers.Verify(a.w.says.key, signed.Bytes(), s.Signature)
}

// odd says that an answer is not what nearly all are: whole, good, counted by the engine, within its reservation, given by
// the first worker before anybody was pinged. Its statement is always verified.
func (r *request) odd(res result, s *tl.ProxyQueryStatement) bool {
	t, lied := r.usage(res)
	return res.err != nil || s.Status != statusComplete || r.httpStatus(res) != okStatus || r.out.pinged() || len(r.tried) > 1 ||
		r.source(res, t) != sourceEngine || lied || res.info.TokensUsed.TotalTokensUsed != t.Prompt+t.Completion ||
		pricing.Bill(t, r.a.lease.Coefficient, r.root.Multipliers).Total() > r.reserved
}

// said is the worker's statement for the receipt, once the whole answer has passed. One that was not verified and is about
// other bytes is seen here.
func (r *request) said(returned string) *tl.ProxyQueryStatement {
	s := r.result.statement
	if s != nil && r.result.unchecked && digest(s.ResponseHash[:]) != returned {
		r.disbelieve(r.a.w)
		return nil
	}
	return s
}

// Of a worker's statements the first verifyFirst are verified, and of the others one in verifyOne.
const verifyFirst, verifyOne = 16, 16

// doubt is how much the statements of one worker connection are looked into. To verify one costs as much as everything else
// that a proxy does for a short request, and it is not this proxy who must not be deceived: whoever pays verifies every
// one (inference.md section 10.5), and what a connection brings was written by the measured worker at its other end. So
// the first ones are verified, which finds a worker that signs wrongly before its clients do, then those of answers that
// are odd, and a few that nobody can foresee. One that does not hold makes all doubtful again.
type doubt struct {
	mu    sync.Mutex
	found int // statements in a row that held, up to verifyFirst
}

// draw says whether a statement has to be verified.
func (d *doubt) draw(below func(int) int) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.found < verifyFirst || below(verifyOne) == 0
}

func (d *doubt) believe() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.found = min(d.found+1, verifyFirst)
}

func (d *doubt) disbelieve() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.found = 0
}
