package worker

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"cocoon/contracts/api"
	"cocoon/contracts/api/jsonscan"
	"cocoon/contracts/api/sse"
	"cocoon/contracts/promptcrypt"
	"cocoon/contracts/receipt"
	"cocoon/guest/worker/engine"
	"cocoon/guest/worker/meter"
)

const (
	// readSize is how much of an engine's stream is read at once: a stream that waits holds as much.
	readSize = 8 << 10
	// readAhead is how much an engine may have written by the time that it is over its bound, in reads of more than a
	// trickle: what came at once is passed on at once.
	readAhead, trickle = 32 << 10, 1 << 10
	// lastWords bounds the sending of what ends a stream after its time was up.
	lastWords = 5 * time.Second
)

// relay passes one stream on. Its goroutine reads, and a timer's pings while that waits.
type relay struct {
	q      *query
	p      *prepared
	m      *meter.Meter
	cipher *cipher
	buf    []byte
	body   io.ReadCloser
	// heard is when the engine was heard last, since the request came. Timers do not move with each event: they look at it
	// when their time has come.
	heard atomic.Int64
	// stopped is why the engine's work was ended by stop.
	stopped atomic.Pointer[error]
	// reading says that the engine has the word: silence is then its own.
	reading atomic.Bool
	// late is how much came beyond the bound of tokens.
	late int

	sending   sync.Mutex // orders pings and parts
	over      bool       // timers do nothing any more
	gap, ping *time.Timer
}

// stream relays a stream of events.
func (q *query) stream(res *engine.Response, p *prepared) outcome {
	r := &relay{q: q, p: p, m: meter.New(p.meter), body: res.Body}
	if p.talk != nil {
		r.cipher = &cipher{talk: p.talk}
	}
	if err := q.head(q.ctx, q.response(http.StatusOK, eventStream, nil)); err != nil {
		return q.broken(r.m.Result(), false, whySent)
	}
	wake := context.AfterFunc(q.ctx, func() { _ = r.body.Close() }) // whatever the body is made of, a read of it ends
	err := r.pump()
	wake()
	return r.end(err)
}

// stop ends the engine's work for a reason.
func (r *relay) stop(why error) {
	r.stopped.CompareAndSwap(nil, &why)
	_ = r.body.Close()
}

// ended is why the relay has to end, whatever the engine says.
func (r *relay) ended() error {
	if why := r.stopped.Load(); why != nil {
		return *why
	}
	if r.q.ctx.Err() == nil {
		return nil
	}
	return context.Cause(r.q.ctx)
}

// errSilent means that the engine stopped talking, errExceeded that it talks more than it may, errDefect that we have one.
var (
	errSilent   = errors.New("the engine is silent")
	errExceeded = errors.New("the engine exceeds the bound of tokens")
	errDefect   = errors.New("internal error")
)

// pump moves events until the stream is over; io.EOF is its own end, a nil error the meter's verdict.
func (r *relay) pump() error {
	times, pool := r.q.c.w.cfg.Times, &r.q.c.w.buffers
	data, ok := pool.Get().(*[readSize]byte)
	if !ok { // the pool has nothing else
		data = new([readSize]byte)
	}
	defer pool.Put(data)
	r.hear()
	r.sending.Lock()
	r.gap = time.AfterFunc(times.Gap, r.guarded(r.silent))
	if r.q.version >= versionOurs { // others do not expect comments in bodies
		r.ping = time.AfterFunc(times.Ping, r.guarded(r.sign))
	}
	r.sending.Unlock()
	defer r.hush()
	for {
		r.reading.Store(true)
		n, err := r.body.Read(data[:])
		r.reading.Store(false)
		r.hear()
		if why := r.ended(); why != nil {
			return why
		}
		r.buf = r.m.Append(r.buf, data[:n])
		if sendErr := r.flush(); sendErr != nil {
			return sendErr
		}
		if err != nil || r.m.Failed() {
			return err
		}
		if r.exceeded(n) {
			return errExceeded
		}
	}
}

// hear notes that the engine was heard.
func (r *relay) hear() { r.heard.Store(int64(r.age())) }

// age is how long ago the request came.
func (r *relay) age() time.Duration { return r.q.c.w.deps.Now().Sub(r.q.began) }

// silence is how long the engine was not heard.
func (r *relay) silence() time.Duration { return r.age() - time.Duration(r.heard.Load()) }

// guarded is what a timer does: a defect in it costs this query alone, as one of the query's own goroutine does.
func (r *relay) guarded(do func()) func() {
	return func() {
		defer func() {
			if p := recover(); p != nil {
				r.q.panicked(p)
				r.stop(errDefect)
			}
		}()
		do()
	}
}

// silent ends a stream whose engine says nothing.
func (r *relay) silent() {
	r.sending.Lock()
	defer r.sending.Unlock()
	gap := r.q.c.w.cfg.Times.Gap
	left := gap - r.silence()
	switch {
	case r.over:
		return
	case !r.reading.Load(): // we were busy, not the engine silent
		left = gap
	case left <= 0:
		r.stop(errSilent)
		return
	}
	r.gap.Reset(left)
}

// sign is a sign of life while the engine thinks.
func (r *relay) sign() {
	r.sending.Lock()
	defer r.sending.Unlock()
	if r.over {
		return
	}
	if left := r.q.c.w.cfg.Times.Ping - r.silence(); left > 0 {
		r.ping.Reset(left)
		return
	}
	if err := r.q.emit(r.q.ctx, []byte(sse.Ping)); err != nil {
		r.stop(err)
		return
	}
	r.ping.Reset(r.q.c.w.cfg.Times.Ping)
}

// hush ends the timers, and waits for a sign of life that is being sent.
func (r *relay) hush() {
	r.sending.Lock()
	defer r.sending.Unlock()
	r.over = true
	r.gap.Stop()
	if r.ping != nil {
		r.ping.Stop()
	}
}

// flush sends what the meter let through: what the engine had written when it was read leaves in one message.
func (r *relay) flush() error {
	if len(r.buf) == 0 {
		return nil
	}
	out := r.buf
	if r.cipher != nil {
		var err error
		if out, err = r.cipher.seal(out); err != nil {
			return err
		}
	}
	r.buf = r.buf[:0]
	r.sending.Lock()
	defer r.sending.Unlock()
	err := r.q.emit(r.q.ctx, out)
	if r.q.credit.waited { // the reader was slow, not the engine silent
		r.q.credit.waited = false
		r.hear()
	}
	return err
}

// exceeded says that the engine goes on, by n bytes, although it has generated more than the request may cost.
func (r *relay) exceeded(n int) bool {
	through, tokens := r.m.Progress()
	switch {
	case through: // what it claims beyond the bound is cut; but what it says still is an event or two
		r.late += n
		return r.late > sse.MaxEvent
	case tokens <= r.p.maxTokens:
		return false
	}
	r.late += n
	return n < trickle || r.late > readAhead
}

// end turns the reason for which the relay stopped into an outcome.
func (r *relay) end(err error) outcome {
	q := r.q
	cause := context.Cause(q.ctx)
	switch {
	case errors.Is(err, errDefect):
		return defective()
	case errors.Is(err, errSlowReader):
		q.cancel(errSlowReader)
		return r.broken()
	case q.ctx.Err() != nil && errors.Is(cause, errDeadline):
		return r.failed(api.Timeout, receipt.Deadline)
	case q.ctx.Err() != nil && !errors.Is(cause, errEngineDown):
		return r.broken()
	case q.ctx.Err() != nil || errors.Is(err, errSilent) || errors.Is(err, errExceeded):
		q.c.w.lookNow()
		out := r.failed(api.EngineError, receipt.EngineError)
		out.why = reasonOf(errors.Join(err, cause), "the stream was cut short")
		return out
	case err != nil && !errors.Is(err, io.EOF) && q.c.ctx.Err() != nil:
		return r.broken()
	}
	// The engine's own end, or the meter's verdict on it.
	tail := r.m.Finish(nil)
	out := outcome{status: receipt.Complete, used: r.m.Result()}
	if out.used.Code != "" {
		out.status = receipt.EngineError
		q.c.w.lookNow()
	}
	return r.closing(out, tail)
}

// failed ends the stream with an error event.
func (r *relay) failed(code api.Code, status receipt.Status) outcome {
	tail := r.m.Fail(nil, code)
	return r.closing(outcome{status: status, used: r.m.Result()}, tail)
}

// broken ends the stream with an error message: its reader does not want more.
func (r *relay) broken() outcome {
	out := r.q.broken(r.m.Result(), false, "the stream was cut short")
	r.q.clamp(&out.used, r.p)
	return out
}

func (r *relay) closing(out outcome, tail []byte) outcome {
	r.q.clamp(&out.used, r.p)
	if r.cipher != nil {
		sealed, err := r.cipher.seal(tail)
		if err != nil {
			broken := r.broken()
			broken.why = whySealed
			return broken
		}
		tail = sealed
	}
	out.tail = tail
	return out
}

// cipher encrypts the data of whole events (protocol.md section 9).
type cipher struct {
	talk *promptcrypt.Conversation
	in   sse.Splitter
}

// seal encrypts events. What the meter makes of errors, and the end of a stream, stay readable for
// the hops between; of an engine's own words nothing does.
func (c *cipher) seal(events []byte) (dst []byte, err error) {
	c.in.Write(events)
	for {
		e, ok, err := c.in.Next()
		if err != nil || !ok {
			return dst, err
		}
		if e.Data == nil || bytes.Equal(bytes.TrimSpace(e.Data), []byte("[DONE]")) {
			dst = append(dst, e.Raw...)
			continue
		}
		doc, err := jsonscan.Check(e.Data)
		if err != nil {
			return dst, err
		}
		if why, _ := doc.Get("error"); why.Kind() == jsonscan.Object { // an engine's ends the stream and is not passed on
			dst = append(dst, e.Raw...)
			continue
		}
		sealed, err := c.talk.SealAnswer(e.Data, rand.Reader)
		if err != nil {
			return dst, err
		}
		dst = sse.Append(dst, sealed)
	}
}
