package upstream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"cocoon/contracts/wire/session"
	"cocoon/contracts/wire/tl"
)

const (
	// streamQueue is what may wait of a stream whose reader is slow (inference.md section 9).
	streamQueue = 1 << 20
	// MaxAnswer bounds an answer that is collected whole (inference.md section 6.3), and what is kept to check a receipt.
	MaxAnswer = 64 << 20
	// grant is how much is consumed before credit goes back: half of the window of inference.md section 9.
	grant = 128 << 10
	// sendPatience is how long a full connection may hold a request or a word about it.
	sendPatience = 10 * time.Second
	// maxDebt bounds what is kept of answers whose receipts one proxy owes or whose verdicts are not reached; each counts for
	// debtOfCall and its bytes.
	maxDebt, debtOfCall = 256 << 20, 64 << 10
	// maxSlack bounds the memory beyond what came of an answer that is kept for more.
	maxSlack = 256 << 10
	// keptScratch is the largest memory that requests are written down in again and again.
	keptScratch = 256 << 10
)

// How a call can end other than by an answer.
var (
	ErrLost     = errors.New("the connection to the proxy was lost")
	ErrSlow     = errors.New("the answer is not read fast enough")
	ErrTooLarge = fmt.Errorf("the answer exceeds %d bytes", MaxAnswer)
	ErrOrder    = errors.New("the proxy broke the order of an answer")
	// ErrIdle means that nothing came in the time given; the call goes on.
	ErrIdle = errors.New("nothing came yet")
)

// Ask is one request as it goes to a proxy.
type Ask struct {
	ID                [32]byte
	Path, ContentType string
	Model             string
	Body              []byte
	MaxCoefficient    int32
	MaxTokens         int32
	// Timeout is what the proxy is given, Until when the caller waits no more; zero is never.
	Timeout   time.Duration
	Until     time.Time
	Debug     bool
	PublicKey *[32]byte
	// Stream says that the answer is passed on as it comes: what waits is bounded. Otherwise it is collected.
	Stream bool
}

// Call is one request under way.
type Call struct {
	Link  *Link
	Offer *Offer // of the session, which changes it no more
	ID    [32]byte

	live  *live
	ctx   context.Context // of Start
	now   func() time.Time
	until time.Time // when Recv gives up; zero is never
	limit int
	wake  chan struct{}
	// gone ends a wait of Recv with ctx; nil for a stream, which ctx wakes until unhear: it waits for each of its events, for
	// one thing only.
	gone   <-chan struct{}
	unhear func() bool

	mu       sync.Mutex
	response *tl.HTTPResponse
	shown    bool // the head was handed over
	// body is what came: all of it while keeps, because a receipt will be about it; else what was not handed over yet. read
	// is how much of it was.
	body  []byte
	read  int
	keeps bool
	spare []byte // what was handed over before, to be written over next
	owed  int    // credit
	final *Final
	err   error
	over  bool // END, ERROR or the connection's end was seen
	// discard says that nobody reads any more.
	discard bool
	paper   []byte
	// timer rings at a time for Recv, and then for Await.
	timer   *time.Timer
	rings   time.Time
	settled bool
	then    func() // what Await was told
	debt    int64  // what the link's debt grew by
}

// Start hands a request to the proxy. The call's waits end with ctx.
func (l *Link) Start(ctx context.Context, a Ask) (*Call, error) {
	l.mu.Lock()
	v := l.live
	l.mu.Unlock()
	if v == nil {
		return nil, ErrLost
	}
	c := &Call{
		Link: l, Offer: &v.offer, ID: a.ID, live: v, ctx: ctx, now: l.cfg.Now, until: a.Until, limit: MaxAnswer,
		keeps: v.offer.Version >= ExtensionVersion, wake: make(chan struct{}, 1),
	}
	if a.Stream {
		c.limit = streamQueue
		c.unhear = context.AfterFunc(ctx, c.signal)
	} else {
		c.gone = ctx.Done()
	}
	v.mu.Lock()
	_, double := v.calls[a.ID]
	if closed := v.closed; closed || double {
		v.mu.Unlock()
		c.deafen()
		return nil, ErrLost
	}
	v.calls[a.ID] = c
	v.mu.Unlock()
	if err := l.hand(ctx, v, a); err != nil {
		c.Forget()
		return nil, fmt.Errorf("handing request to proxy: %w: %w", ErrLost, err)
	}
	return c, nil
}

// hand sends a request. What it is written down in is used again: the session takes a copy.
func (l *Link) hand(ctx context.Context, v *live, a Ask) error {
	buf, ok := l.scratch.Get().(*[]byte)
	if !ok {
		buf = new([]byte)
	}
	m := message(a, v.offer.Version, l.cfg.ConfigVersion(), (*buf)[:0])
	err := v.session.SendWithin(ctx, m, sendPatience)
	if *buf = m.Query; cap(*buf) <= keptScratch {
		l.scratch.Put(buf)
	}
	return err
}

// referenceShare is how much of a deadline a hop of the reference implementation passes on (protocol.md section 4.1).
const referenceShare = 0.95

func message(a Ask, version int, config int32, scratch []byte) *tl.ClientRunQueryEx {
	seconds := a.Timeout.Seconds()
	if version < ExtensionVersion {
		seconds *= referenceShare
	}
	m := &tl.ClientRunQueryEx{
		ModelName: a.Model, MaxCoefficient: a.MaxCoefficient, MaxTokens: a.MaxTokens, Timeout: seconds, RequestID: a.ID,
		MinConfigVersion: config, EnableDebug: new(a.Debug),
		Query: (&tl.HTTPRequest{
			Method: "POST", URL: a.Path, HTTPVersion: "HTTP/1.1",
			Headers: []tl.HTTPHeader{{Name: "Content-Type", Value: a.ContentType}}, Payload: a.Body,
		}).Append(scratch),
	}
	if version >= 3 {
		m.PublicKey = a.PublicKey
	}
	return m
}

// Version is what the proxy speaks.
func (c *Call) Version() int { return c.Offer.Version }

func (c *Call) signal() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// head takes the first message of an answer, whose memory is the call's from now on.
func (c *Call) head(answer []byte, f *Final) {
	v, err := tl.View(answer)
	response, ok := v.(*tl.HTTPResponse)
	c.mu.Lock()
	defer c.mu.Unlock()
	defer c.signal()
	switch {
	case c.over:
		return
	case err != nil || !ok:
		c.end(fmt.Errorf("%w: its head is no http.response", ErrOrder))
		return
	case c.response != nil:
		c.end(fmt.Errorf("%w: two heads", ErrOrder))
		return
	}
	c.response = response
	c.add(response.Payload, f)
	response.Payload = nil
}

func (c *Call) part(data []byte, f *Final) {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer c.signal()
	switch {
	case c.over:
	case c.response == nil:
		c.end(fmt.Errorf("%w: a part before the head", ErrOrder))
	default:
		c.add(data, f)
	}
}

// add takes bytes of the body, which are the call's from now on. Callers hold the lock.
func (c *Call) add(data []byte, f *Final) {
	if c.keeps && len(c.body)+len(data) > MaxAnswer { // too long for a receipt to be checked
		c.body, c.read, c.keeps = slices.Clone(c.body[c.read:]), 0, false
	}
	switch {
	case c.discard && !c.keeps || len(data) == 0:
	case len(c.body) == 0 && c.keeps:
		c.body = data
	default:
		if len(c.body)+len(data) > cap(c.body) { // append alone would grow it by a quarter at a time
			c.body = slices.Grow(c.body, max(len(data), min(len(c.body), maxSlack)))
		}
		c.body = append(c.body, data...)
	}
	if !c.discard && len(c.body)-c.read > c.limit {
		c.err, c.discard = ErrSlow, true
		if c.limit == MaxAnswer {
			c.err = ErrTooLarge
		}
		go c.cancel()
	}
	if f != nil {
		c.final = f
		c.end(nil)
	}
}

func (c *Call) refused(code int32, text string, f *Final) {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer c.signal()
	if c.over {
		return
	}
	if f != nil {
		c.final = f
	}
	c.end(&session.QueryError{Code: session.Code(code), Message: text})
}

// end notes that nothing more comes. Callers hold the lock.
func (c *Call) end(err error) {
	c.over = true
	if c.err == nil {
		c.err = err
	}
	if c.Version() < ExtensionVersion {
		c.settle()
	}
}

// settle notes that nothing more is to be expected. Callers hold the lock.
func (c *Call) settle() {
	if c.settled {
		return
	}
	c.settled = true
	if c.timer != nil {
		c.timer.Stop()
	}
	if then := c.then; then != nil {
		c.then = nil
		then()
	}
}

func (c *Call) receipt(raw []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.paper == nil {
		c.paper = raw
	}
	c.settle()
}

func (c *Call) lost() {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer c.signal()
	if !c.over {
		c.end(ErrLost)
	}
	c.settle()
}

// Piece is what came of an answer since the last one.
type Piece struct {
	// Head is set from the first piece on.
	Head *tl.HTTPResponse
	// Data is valid until the next Recv, and must not be changed.
	Data []byte
	// End says that the answer is whole.
	End bool
}

// Recv waits for more of the answer: everything that has come is handed over at once. ErrIdle says that nothing came for
// wait; any other error ends the call. It belongs to one goroutine.
func (c *Call) Recv(wait time.Duration) (Piece, error) {
	var idle time.Time
	for {
		c.mu.Lock()
		p, give, err := c.take()
		if len(p.Data) > 0 || p.End || err != nil || p.Head != nil && !c.shown {
			c.shown = p.Head != nil
			c.mu.Unlock()
			c.credit(give)
			return p, err
		}
		now := c.now()
		if idle.IsZero() {
			idle = now.Add(wait)
		}
		err = c.tire(now, idle)
		c.mu.Unlock()
		if err != nil {
			return p, err
		}
		if c.gone == nil {
			<-c.wake
			continue
		}
		select {
		case <-c.wake:
		case <-c.gone:
		}
	}
}

// tire is why a Recv waits no more; without a reason the timer wakes it for the next. The caller holds the lock.
func (c *Call) tire(now, idle time.Time) error {
	next := idle
	if !c.until.IsZero() && c.until.Before(idle) {
		next = c.until
	}
	switch err := c.ctx.Err(); {
	case err != nil:
		return err
	case !c.until.IsZero() && !now.Before(c.until):
		return context.DeadlineExceeded
	case !now.Before(idle):
		return ErrIdle
	}
	c.ring(now, next)
	return nil
}

// take is what has come, and the credit that goes back for it. An error is only given when nothing is left. The caller holds
// the lock.
func (c *Call) take() (p Piece, give int, err error) {
	p = Piece{Head: c.response, End: c.over && c.err == nil}
	if c.discard || len(c.body) == c.read {
		return p, 0, c.err
	}
	end := len(c.body)
	p.Data = c.body[c.read:end:end]
	if c.keeps {
		c.read = end
	} else {
		c.body, c.spare, c.read = c.spare[:0], c.body, 0
	}
	if c.owed += len(p.Data); c.owed >= grant && c.Version() >= ExtensionVersion && !c.over {
		give, c.owed = c.owed, 0
	}
	return p, give, nil
}

// ring has the timer wake the call at a time, or before it: a later Recv lets it run. The caller holds the lock.
func (c *Call) ring(now, at time.Time) {
	switch {
	case c.timer == nil:
		c.timer = time.AfterFunc(at.Sub(now), c.rung)
	case c.rings.After(now) && !at.Before(c.rings):
		return
	default:
		c.timer.Reset(at.Sub(now))
	}
	c.rings = at
}

// rung is what the timer does.
func (c *Call) rung() {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	switch {
	case c.then == nil:
		c.signal()
	case now.Before(c.until):
		c.ring(now, c.until)
	default:
		c.settle()
	}
}

// credit tells the proxy what was consumed.
func (c *Call) credit(give int) {
	if give == 0 {
		return
	}
	// A session that cannot send has ended, which the call learns by itself.
	_ = c.live.session.SendWithin(c.ctx, &tl.ClientQueryCredit{RequestID: c.ID, Bytes: int32(give)}, sendPatience) //nolint:gosec // about grant
}

// Close says that nobody reads any more: a request that still runs is cancelled. What comes after is only hashed.
func (c *Call) Close() {
	c.deafen()
	c.mu.Lock()
	over := c.over
	if c.discard = true; !c.keeps {
		c.body = nil
	}
	c.mu.Unlock()
	if !over {
		c.cancel()
	}
}

// deafen ends what a stream has to do with its ctx.
func (c *Call) deafen() {
	if c.unhear != nil {
		c.unhear()
	}
}

// cancel has the session tell the proxy. It waits only while the session is stuck, and no longer than it lives.
func (c *Call) cancel() {
	if c.Version() < ExtensionVersion {
		return // such a proxy has no word for it
	}
	select {
	case c.live.cancels <- c.ID:
	case <-c.live.session.Done():
	}
}
