package proxy

import (
	"context"
	"crypto/rand"
	"math"
	"sync"
	"time"

	"cocoon/contracts/wire/session"
	"cocoon/contracts/wire/tl"
	"cocoon/guest/proxy/sched"
)

// maxInbox bounds what waits of one answer: a worker that obeys its credit never gets near it (inference.md section 9).
const maxInbox = 1 << 20

// kind tells a worker's messages apart, whichever generation's form they have.
type kind uint8

const (
	evHead kind = iota
	evPart
	evError
	evStatement
)

// event is one message of a worker about one request.
type event struct {
	kind kind
	data []byte
	// info is set in the last message.
	info      *tl.ProxyQueryFinalInfo
	code      int32
	text      string
	statement *tl.ProxyQueryStatement
}

// weight is how much of the inbox a message takes.
func (e *event) weight() int {
	const least = 128 // of one without content
	n := least + len(e.data) + len(e.text)
	if e.statement != nil {
		n += len(e.statement.KeyID) + len(e.statement.Signature)
	}
	if e.info != nil && e.info.WorkerDebug != nil {
		n += len(*e.info.WorkerDebug)
	}
	return n
}

// eventOf reads a worker's message; ok is false for what is none of them.
func eventOf(m tl.Object) (id [32]byte, e event, ok bool) {
	plain := func(done bool, t tl.TokensUsed) *tl.ProxyQueryFinalInfo {
		if !done {
			return nil
		}
		return &tl.ProxyQueryFinalInfo{TokensUsed: t}
	}
	switch m := m.(type) {
	case *tl.ProxyQueryAnswerEx:
		return m.RequestID, event{kind: evHead, data: m.Answer, info: m.FinalInfo}, true
	case *tl.ProxyQueryAnswerPartEx:
		return m.RequestID, event{kind: evPart, data: m.Answer, info: m.FinalInfo}, true
	case *tl.ProxyQueryAnswerErrorEx:
		info := m.FinalInfo
		if info == nil { // the error ends the request whether or not it counts
			info = &tl.ProxyQueryFinalInfo{}
		}
		return m.RequestID, event{kind: evError, code: m.ErrorCode, text: m.Error, info: info}, true
	case *tl.ProxyQueryAnswer:
		return m.RequestID, event{kind: evHead, data: m.Answer, info: plain(m.IsCompleted, m.TokensUsed)}, true
	case *tl.ProxyQueryAnswerPart:
		return m.RequestID, event{kind: evPart, data: m.Answer, info: plain(m.IsCompleted, m.TokensUsed)}, true
	case *tl.ProxyQueryAnswerError:
		return m.RequestID, event{kind: evError, code: m.ErrorCode, text: m.Error, info: plain(true, m.TokensUsed)}, true
	case *tl.ProxyQueryAnswerPartError:
		return m.RequestID, event{kind: evError, code: m.ErrorCode, text: m.Error, info: plain(true, m.TokensUsed)}, true
	case *tl.ProxyQueryStatement:
		return m.RequestID, event{kind: evStatement, statement: m}, true
	}
	return id, event{}, false
}

// attempt is one request on one worker.
type attempt struct {
	id    [32]byte // ours, towards the worker
	w     *worker
	lease *sched.Lease

	mu     sync.Mutex
	queue  []event
	room   [2]event // what the queue lies in as long as it is short
	size   int
	failed error
	given  bool // nobody reads any more; the slot is free when the worker says that it is through
	over   bool // the worker's last message is in
	signed bool // and its statement
	some   chan struct{}
	pass   pass      // there while the request's goroutine waits and has nothing in its hands
	passed time.Time // when pass was last of use

	// The request's goroutine alone touches these, or pass in its place.
	asked    bool        // the worker has the request, or will have it
	consumed int64       // since credit was last granted
	alarm    *time.Timer // of next; it is used again and again
}

// pass takes a part of an answer to the client in the place of the request's goroutine, which need not wake up for it. It
// does nothing and says so where that is not possible at once.
type pass func(part []byte) bool

func newAttempt(w *worker, lease *sched.Lease) *attempt {
	a := &attempt{w: w, lease: lease, some: make(chan struct{}, 1)}
	a.queue = a.room[:0]
	_, _ = rand.Read(a.id[:]) // never fails (crypto/rand)
	return a
}

// deliver takes a message of the worker. It never waits.
func (a *attempt) deliver(e event) {
	passed, free := a.accept(e)
	if passed {
		return
	}
	a.wake()
	if free {
		a.w.leave(a)
		a.lease.Free()
	}
}

// accept passes a message on or queues it. It says whether it was passed, and whether it was the end of an attempt that
// nobody waits for any more. After its last message a worker has only a statement to make.
func (a *attempt) accept(e event) (passed, free bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.over {
		if a.signed || e.kind != evStatement {
			return true, false
		}
		a.signed = true
	}
	a.over = a.over || e.info != nil
	if a.pass != nil && e.kind == evPart && e.info == nil && a.pass(e.data) {
		a.passed = a.w.p.deps.Now()
		return true, false
	}
	a.pass = nil // its turn ends with the first message that is for the goroutine
	switch {
	case a.given:
		return false, a.over
	case a.failed != nil:
	case a.size+e.weight() > maxInbox && len(a.queue) > 0:
		a.failed = errSlowReader
	default:
		a.push(e)
	}
	return false, false
}

// push queues a message. Parts that wait one behind the other become one: they go on in one message. The caller holds
// the lock.
func (a *attempt) push(e event) {
	if n := len(a.queue); n > 0 && e.kind == evPart && e.info == nil {
		last := &a.queue[n-1]
		if last.kind == evPart && last.info == nil && len(last.data)+len(e.data) <= session.MaxPart {
			last.data = append(last.data, e.data...)
			a.size += len(e.data)
			return
		}
	}
	a.queue = append(a.queue, e)
	a.size += e.weight()
}

// fail ends the attempt from outside: the worker is gone.
func (a *attempt) fail(err error) {
	a.mu.Lock()
	if a.failed == nil {
		a.failed = err
	}
	given := a.given
	a.mu.Unlock()
	a.wake()
	if given {
		a.lease.Free()
	}
}

func (a *attempt) wake() {
	select {
	case a.some <- struct{}{}:
	default:
	}
}

// next is the worker's next message that onward, if there is one, has not taken. It waits until ctx ends, or for patience
// when that is not 0.
func (a *attempt) next(ctx context.Context, patience time.Duration, onward pass) (event, error) {
	var silent <-chan time.Time
	for {
		a.mu.Lock()
		a.pass = nil
		if len(a.queue) > 0 {
			e := a.queue[0]
			a.queue[0] = event{}
			if a.queue = a.queue[1:]; len(a.queue) == 0 {
				a.queue = a.room[:0]
			}
			a.size -= e.weight()
			a.mu.Unlock()
			return e, nil
		}
		err := a.failed
		if err == nil {
			a.pass = onward
		}
		a.mu.Unlock()
		if err != nil {
			return event{}, err
		}
		if silent == nil && patience > 0 {
			silent = a.after(patience)
		}
		select {
		case <-a.some:
		case <-silent:
			if left := patience - a.quiet(); left > 0 {
				silent = a.after(left)
				continue
			}
			return event{}, errGap
		case <-ctx.Done():
			_ = a.quiet()
			return event{}, context.Cause(ctx)
		}
	}
}

// quiet ends the turn of pass. It says for how long nothing was passed: for ever, when that never happened.
func (a *attempt) quiet() time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.pass = nil
	if a.passed.IsZero() {
		return math.MaxInt64
	}
	return a.w.p.deps.Now().Sub(a.passed)
}

// after is time.After with the same timer again and again.
func (a *attempt) after(d time.Duration) <-chan time.Time {
	if a.alarm == nil {
		a.alarm = time.NewTimer(d)
	} else {
		a.alarm.Reset(d)
	}
	return a.alarm.C
}

// release ends the attempt for the request: its slot is free now, or when the worker is through with it. A worker that was
// never asked says nothing.
func (a *attempt) release(record sched.Outcome, tokens int64) {
	a.mu.Lock()
	a.given, a.queue = true, nil
	over := a.over || !a.asked || a.failed != nil && a.w.gone()
	a.mu.Unlock()
	if !over {
		a.lease.Drain(record, tokens)
		return
	}
	a.w.leave(a)
	a.lease.End(record, tokens)
}

// due says that the worker gets credit once n bytes more went on.
func (a *attempt) due(n int) bool {
	return a.w.version >= versionOurs && a.consumed+int64(n) >= window/2
}

// grant returns credit for bytes that went on, once they are half a window.
func (a *attempt) grant(ctx context.Context, n int) {
	due := a.due(n)
	if a.consumed += int64(n); !due {
		return
	}
	if a.w.sess.Send(ctx, &tl.ProxyQueryCredit{RequestID: a.id, Bytes: int32(min(a.consumed, maxWindow))}) == nil { //nolint:gosec // bounded at its side
		a.consumed = 0
	}
}

// cancel tells the worker that nobody waits.
func (a *attempt) cancel(ctx context.Context) {
	if a.w.version >= versionOurs {
		_ = a.w.sess.Send(ctx, &tl.ProxyCancelQuery{RequestID: a.id}) // a worker that is gone has stopped
	}
}
