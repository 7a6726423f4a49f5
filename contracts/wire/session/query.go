package session

import (
	"fmt"
	"sync"
)

// Code is an error code on the wire (protocol.md section 2.6).
type Code int32

// The codes.
const (
	CodeParse     Code = 500
	CodeFailure   Code = 601
	CodeError     Code = 602
	CodeWarning   Code = 603
	CodeProtocol  Code = 621
	CodeNotReady  Code = 651
	CodeTimeout   Code = 652
	CodeCancelled Code = 653
)

// QueryError is an error that crosses the wire. Clients match on how Message starts.
type QueryError struct {
	Code    Code
	Message string
}

// Error is the code and the message.
func (e *QueryError) Error() string { return fmt.Sprintf("error %d: %s", e.Code, e.Message) }

// reply is what came back for a query.
type reply struct {
	data []byte
	err  error
}

// pending are the queries that wait for an answer.
type pending struct {
	mu     sync.Mutex
	calls  map[int64]chan<- reply
	closed bool
}

// add registers a query under a fresh id.
func (p *pending) add() (id int64, answered <-chan reply, forget func()) {
	ch := make(chan reply, 1)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		ch <- reply{err: ErrClosed}
		return 0, ch, func() {}
	}
	for id = random(); p.calls[id] != nil; {
		id = random()
	}
	p.calls[id] = ch
	return id, ch, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.calls, id)
	}
}

// answer gives a reply to who waits for it; a late or unasked one has nobody.
func (p *pending) answer(id int64, r reply) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if ch := p.calls[id]; ch != nil {
		delete(p.calls, id)
		ch <- r
	}
}

// fail ends all waiting.
func (p *pending) fail() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for id, ch := range p.calls {
		delete(p.calls, id)
		ch <- reply{err: ErrClosed}
	}
}
