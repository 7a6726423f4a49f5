package worker

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net/http"
	"time"

	"cocoon/contracts/api"
	"cocoon/contracts/api/jsonscan"
	"cocoon/contracts/api/sse"
	"cocoon/contracts/promptcrypt"
	"cocoon/contracts/receipt"
	"cocoon/contracts/wire/session"
	"cocoon/guest/worker/engine"
	"cocoon/guest/worker/meter"
)

const (
	// readSize is how much of an engine's stream is read at once, readAhead how many reads may wait.
	readSize, readAhead = 32 << 10, 4
	// lastWords bounds the sending of what ends a stream after its time was up.
	lastWords = 5 * time.Second
)

// chunk is one read.
type chunk struct {
	data *[readSize]byte
	n    int
	err  error
}

// relay passes one stream on.
type relay struct {
	q      *query
	p      *prepared
	m      *meter.Meter
	cipher *cipher
	chunks chan chunk
	buf    []byte
}

// stream relays a stream of events.
func (q *query) stream(ctx context.Context, res *engine.Response, p *prepared) outcome {
	r := &relay{q: q, p: p, m: meter.New(p.meter), chunks: make(chan chunk, readAhead)}
	if p.talk != nil {
		r.cipher = &cipher{talk: p.talk}
	}
	if err := q.head(ctx, q.response(http.StatusOK, eventStream, nil)); err != nil {
		return q.broken(r.m.Result(), false)
	}
	ctx, stop := context.WithCancel(ctx)
	reader := make(chan struct{})
	go func() {
		defer close(reader)
		r.read(ctx, res.Body)
	}()
	err := r.pump()
	stop()
	_ = res.Body.Close() // wakes the reader
	<-reader
	return r.end(err)
}

// read fills the channel until the stream ends or nobody wants more.
func (r *relay) read(ctx context.Context, body io.Reader) {
	pool := &r.q.c.w.buffers
	for {
		data, ok := pool.Get().(*[readSize]byte)
		if !ok { // the pool has nothing else
			return
		}
		n, err := body.Read(data[:])
		select {
		case r.chunks <- chunk{data, n, err}:
		case <-ctx.Done():
			return
		}
		if err != nil {
			return
		}
	}
}

// errSilent means that the engine stopped talking, errExceeded that it talks more than it may.
var (
	errSilent   = errors.New("the engine is silent")
	errExceeded = errors.New("the engine exceeds the bound of tokens")
)

// pump moves events until the stream is over; io.EOF is its own end, a nil error the meter's verdict.
func (r *relay) pump() error {
	times, now := r.q.c.w.cfg.Times, r.q.ctx
	gap, ping := time.NewTimer(times.Gap), time.NewTimer(times.Ping)
	defer gap.Stop()
	defer ping.Stop()
	for {
		select {
		case c := <-r.chunks:
			gap.Reset(times.Gap)
			err := r.take(c)
			if len(r.buf) > 0 {
				if sendErr := r.flush(now); sendErr != nil {
					return sendErr
				}
				ping.Reset(times.Ping)
			}
			if err != nil || r.m.Result().Code != "" {
				return err
			}
			if r.exceeded() {
				return errExceeded
			}
		case <-ping.C:
			if r.q.version >= versionOurs { // others do not expect comments in bodies
				if err := r.q.emit(now, []byte(sse.Ping)); err != nil {
					return err
				}
			}
			ping.Reset(times.Ping)
		case <-gap.C:
			return errSilent
		case <-now.Done():
			return context.Cause(now)
		}
	}
}

// take meters one read and what is already waiting behind it, up to the size of a part.
func (r *relay) take(c chunk) error {
	for {
		r.buf = r.m.Append(r.buf, c.data[:c.n])
		r.q.c.w.buffers.Put(c.data)
		if c.err != nil || len(r.buf) >= session.MaxPart {
			return c.err
		}
		select {
		case c = <-r.chunks:
		default:
			return nil
		}
	}
}

// flush sends what the meter let through.
func (r *relay) flush(ctx context.Context) error {
	out := r.buf
	if r.cipher != nil {
		var err error
		if out, err = r.cipher.append(nil, out); err != nil {
			return err
		}
	}
	r.buf = r.buf[:0]
	return r.q.emit(ctx, out)
}

// exceeded says that the engine goes on although it has generated more than the request may cost.
func (r *relay) exceeded() bool {
	res := r.m.Result()
	if int64(len(res.FinishReasons)) >= max(r.p.meter.Choices, 1) {
		return false // it is through; what it claims beyond the bound is cut
	}
	return res.Usage.Completion > r.p.maxTokens || int64(res.Content) > r.p.maxTokens
}

// end turns the reason for which the relay stopped into an outcome.
func (r *relay) end(err error) outcome {
	q := r.q
	cause := context.Cause(q.ctx)
	switch {
	case errors.Is(err, errSlowReader):
		q.cancel(errSlowReader)
		return r.broken()
	case q.ctx.Err() != nil && errors.Is(cause, errDeadline):
		return r.failed(api.Timeout, receipt.Deadline)
	case q.ctx.Err() != nil && !errors.Is(cause, errEngineDown):
		return r.broken()
	case q.ctx.Err() != nil || errors.Is(err, errSilent) || errors.Is(err, errExceeded):
		q.c.w.lookNow()
		return r.failed(api.EngineError, receipt.EngineError)
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
	out := r.q.broken(r.m.Result(), false)
	r.q.clamp(&out.used, r.p)
	return out
}

func (r *relay) closing(out outcome, tail []byte) outcome {
	r.q.clamp(&out.used, r.p)
	if r.cipher != nil {
		sealed, err := r.cipher.append(nil, tail)
		if err != nil {
			return r.broken()
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

// append takes events and appends them encrypted. Errors and the end of a stream stay readable for the hops between.
func (c *cipher) append(dst, events []byte) ([]byte, error) {
	c.in.Write(events)
	for {
		e, ok, err := c.in.Next()
		if err != nil || !ok {
			return dst, err
		}
		doc, err := jsonscan.Check(e.Data)
		if _, failed := doc.Get("error"); err != nil || failed || bytes.Equal(e.Data, []byte("[DONE]")) {
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
