package proxy

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"sync"
	"time"

	"cocoon/contracts/api/sse"
	"cocoon/contracts/wire/session"
	"cocoon/contracts/wire/tl"
)

const (
	// window is the credit that a stream of ours begins with (inference.md section 9); half of it is when more is granted.
	window = 256 << 10
	// maxWindow bounds the credit that a client may pile up.
	maxWindow = 1 << 30
)

// output is the answer of one request as its client gets it: every byte of the body is hashed in the order in which it
// is sent, pings included.
type output struct {
	c       *client
	id      [32]byte
	version int32
	slow    time.Duration
	now     func() time.Time

	mu     sync.Mutex // held while something is sent: pings and parts do not mix
	begun  bool       // the head was sent
	worker bool       // something of a worker's was sent
	ended  bool
	quiet  bool // nothing is waited for any more: what cannot be sent at once is only hashed
	status int32
	pings  int64
	bytes  int64
	hash   hash.Hash
	first  time.Time
	look   look

	creditMu sync.Mutex
	left     int64
	more     chan struct{} // made by who waits
}

func newOutput(c *client, id [32]byte, version int32) *output {
	return &output{
		c: c, id: id, version: version, slow: c.p.cfg.Times.Slow, now: c.p.deps.Now, hash: sha256.New(), left: window,
	}
}

// credit lets more be sent.
func (o *output) credit(n int64) error {
	o.creditMu.Lock()
	defer o.creditMu.Unlock()
	if n <= 0 || o.left+n > maxWindow {
		return fmt.Errorf("%w: credit of %d bytes", session.ErrProtocol, n)
	}
	o.left += n
	select {
	case o.more <- struct{}{}:
	default:
	}
	return nil
}

// take waits until something of want may be sent. Peers that know no credit have it without end.
func (o *output) take(ctx context.Context, want int64) (int64, error) {
	if o.version < versionOurs {
		return want, nil
	}
	var slow <-chan time.Time
	for {
		o.creditMu.Lock()
		n := min(want, o.left)
		o.left -= n
		if o.more == nil && n == 0 {
			o.more = make(chan struct{}, 1)
		}
		more := o.more
		o.creditMu.Unlock()
		if n > 0 || want == 0 {
			return n, nil
		}
		if slow == nil {
			t := time.NewTimer(o.slow)
			defer t.Stop()
			slow = t.C
		}
		select {
		case <-more:
		case <-slow:
			return 0, errSlowReader
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	}
}

// send sends a message, and does not wait longer than a slow reader may take.
func (o *output) send(ctx context.Context, m tl.Object) error {
	err := o.c.sess.SendWithin(ctx, m, o.slow)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, session.ErrFull):
		return errSlowReader
	case context.Cause(ctx) != nil:
		return context.Cause(ctx)
	}
	return errClientGone
}

// head begins the answer with a worker's head. After pings the head is out already.
func (o *output) head(ctx context.Context, h *tl.HTTPResponse) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.worker = true
	if o.begun {
		return nil
	}
	return o.begin(ctx, h)
}

func (o *output) begin(ctx context.Context, h *tl.HTTPResponse) error {
	if err := o.send(ctx, headMessage(o.version, o.id, tl.Encode(h), nil)); err != nil {
		return err // no part goes out before it
	}
	o.begun, o.status = true, h.StatusCode
	return nil
}

// whole sends an answer in one message, where it fits into one.
func (o *output) whole(ctx context.Context, h *tl.HTTPResponse, body []byte, fin *final) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.worker = true
	if !o.begun && len(body) <= session.MaxPart {
		o.begun, o.ended, o.status = true, true, h.StatusCode
		o.digested(body)
		o.look.only(body)
		h.Payload = body
		return o.send(ctx, headMessage(o.version, o.id, tl.Encode(h), fin))
	}
	if !o.begun {
		if err := o.begin(ctx, h); err != nil {
			return err
		}
	} else if h.StatusCode >= badStatus || !isStream(h) {
		body = sse.Append(nil, body) // the stream has begun: an answer that is no stream becomes an event of it
	}
	return o.parts(ctx, body, fin)
}

// body goes on with the answer, and ends it when fin is set.
func (o *output) body(ctx context.Context, body []byte, fin *final) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.parts(ctx, body, fin)
}

// parts cuts a body so that every client takes its frames. The caller holds the lock.
func (o *output) parts(ctx context.Context, body []byte, fin *final) error {
	o.note(body)
	for len(body) > 0 || fin != nil {
		if o.quiet {
			return o.rest(body, fin)
		}
		n, err := o.take(ctx, min(int64(len(body)), session.MaxPart))
		if err != nil {
			return err
		}
		var last *final
		if int(n) == len(body) && fin != nil {
			last, fin, o.ended = fin, nil, true
		}
		if err := o.send(ctx, partMessage(o.version, o.id, body[:n], last)); err != nil {
			return err
		}
		body = body[n:]
	}
	return nil
}

// pass sends a part if that needs no waiting: nobody else sends, the client has credit and its session room for all of it.
// Otherwise it does nothing. The context has ended.
func (o *output) pass(atOnce context.Context, part []byte) bool {
	if len(part) == 0 || len(part) > session.MaxPart || !o.mu.TryLock() {
		return false
	}
	defer o.mu.Unlock()
	if !o.begun || o.ended || o.quiet || !o.takeAll(int64(len(part))) {
		return false
	}
	if o.c.sess.Send(atOnce, partMessage(o.version, o.id, part, nil)) != nil {
		o.giveBack(int64(len(part)))
		return false
	}
	o.note(part)
	return true
}

// takeAll takes credit for n bytes if there is enough; giveBack is for bytes that were not sent.
func (o *output) takeAll(n int64) bool {
	o.creditMu.Lock()
	defer o.creditMu.Unlock()
	if o.version >= versionOurs {
		if o.left < n {
			return false
		}
		o.left -= n
	}
	return true
}

func (o *output) giveBack(n int64) {
	o.creditMu.Lock()
	defer o.creditMu.Unlock()
	if o.version >= versionOurs {
		o.left += n
	}
}

// rest tries to send what is left without waiting.
func (o *output) rest(body []byte, fin *final) error {
	o.ended = o.ended || fin != nil
	for {
		n := min(len(body), session.MaxPart)
		var last *final
		if n == len(body) {
			last = fin
		}
		if err := o.c.sess.Send(o.c.p.atOnce, partMessage(o.version, o.id, body[:n], last)); err != nil {
			return nil //nolint:nilerr // nobody reads it; the bytes are hashed and the request ends all the same
		}
		if body = body[n:]; len(body) == 0 {
			return nil
		}
	}
}

// note hashes bytes of the body and looks at them.
func (o *output) note(b []byte) {
	o.digested(b)
	o.look.see(b)
}

// digested hashes bytes of the body.
func (o *output) digested(b []byte) {
	if len(b) > 0 && o.first.IsZero() {
		o.first = o.now()
	}
	_, _ = o.hash.Write(b) // a hash never fails
	o.bytes += int64(len(b))
}

// ping is a sign of life before the worker's first byte: ours can read it in a stream.
func (o *output) ping(ctx context.Context) error {
	if !o.mu.TryLock() {
		return nil // something is being sent
	}
	defer o.mu.Unlock()
	if o.worker || o.ended || o.version < versionOurs {
		return nil
	}
	if !o.begun {
		if err := o.begin(ctx, streamHead()); err != nil {
			return err
		}
	}
	o.pings++
	_, _ = o.hash.Write([]byte(sse.Ping))
	o.bytes += int64(len(sse.Ping))
	return o.send(ctx, partMessage(o.version, o.id, []byte(sse.Ping), nil))
}

// fail ends the request with an error. A stream that has begun says so inside first, unless a worker has signed for its
// last byte.
func (o *output) fail(ctx context.Context, err error, event []byte, fin final) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.ended {
		return
	}
	if o.begun && event != nil {
		_ = o.parts(ctx, event, nil) // who reads nothing has no use for it
	}
	o.ended = true
	_ = o.send(ctx, errorMessage(o.version, o.id, o.begun, err, fin))
}

// hush stops all waiting for the client.
func (o *output) hush() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.quiet = true
}

// passed says whether something of a worker's was sent, and how many events.
func (o *output) passed() (worker bool, events int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.worker, o.look.events
}

// pinged says that there are pings in the answer.
func (o *output) pinged() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.pings > 0
}

// length is the size of the body.
func (o *output) length() int64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.bytes
}

// statusCode is the status of the head that was sent, or 0.
func (o *output) statusCode() int32 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.status
}

// sent is what the receipt says about the answer.
type sent struct {
	bytes  int64
	pings  int64
	status int32
	begun  bool
	worker bool
	first  time.Time
	look   look
}

func (o *output) sent() sent {
	o.mu.Lock()
	defer o.mu.Unlock()
	return sent{bytes: o.bytes, pings: o.pings, status: o.status, begun: o.begun, worker: o.worker, first: o.first, look: o.look}
}

// digest is the hash of the answer as documents have it.
func (o *output) digest() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return digest(o.hash.Sum(nil))
}
