package upstream

import (
	"context"
	"errors"
	"fmt"
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
	Timeout           time.Duration
	Debug             bool
	PublicKey         *[32]byte
	// Stream says that the answer is passed on as it comes: what waits is bounded. Otherwise it is collected.
	Stream bool
}

// Call is one request under way.
type Call struct {
	Link  *Link
	Offer Offer
	ID    [32]byte

	live    *live
	limit   int
	began   time.Time
	settled chan struct{}
	wake    chan struct{}
	idle    *time.Timer // of Recv, whose goroutine alone touches it

	mu         sync.Mutex
	response   *tl.HTTPResponse
	queue      []byte
	spare      []byte // what was handed over before, to be written over next
	owed       int
	transcript []byte
	final      *Final
	err        error
	over       bool // END, ERROR or the connection's end was seen
	discard    bool // nobody reads any more
	paper      []byte
	closed     bool // settled is closed
}

// Start hands a request to the proxy.
func (l *Link) Start(ctx context.Context, a Ask) (*Call, error) {
	l.mu.Lock()
	v := l.live
	l.mu.Unlock()
	if v == nil {
		return nil, ErrLost
	}
	c := &Call{
		Link: l, Offer: v.offer, ID: a.ID, live: v, limit: MaxAnswer, began: l.cfg.Now(),
		settled: make(chan struct{}), wake: make(chan struct{}, 1),
	}
	if a.Stream {
		c.limit = streamQueue
	}
	v.mu.Lock()
	_, double := v.calls[a.ID]
	if closed := v.closed; closed || double {
		v.mu.Unlock()
		return nil, ErrLost
	}
	v.calls[a.ID] = c
	v.mu.Unlock()
	if err := v.session.SendWithin(ctx, message(a, v.offer.Version, l.cfg.ConfigVersion()), sendPatience); err != nil {
		c.Forget()
		return nil, fmt.Errorf("handing request to proxy: %w: %w", ErrLost, err)
	}
	return c, nil
}

// referenceShare is how much of a deadline a hop of the reference implementation passes on (protocol.md section 4.1).
const referenceShare = 0.95

func message(a Ask, version int, config int32) *tl.ClientRunQueryEx {
	seconds := a.Timeout.Seconds()
	if version < ExtensionVersion {
		seconds *= referenceShare
	}
	m := &tl.ClientRunQueryEx{
		ModelName: a.Model, MaxCoefficient: a.MaxCoefficient, MaxTokens: a.MaxTokens, Timeout: seconds, RequestID: a.ID,
		MinConfigVersion: config, EnableDebug: new(a.Debug),
		Query: tl.Encode(&tl.HTTPRequest{
			Method: "POST", URL: a.Path, HTTPVersion: "HTTP/1.1",
			Headers: []tl.HTTPHeader{{Name: "Content-Type", Value: a.ContentType}}, Payload: a.Body,
		}),
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

// head takes the first message of an answer.
func (c *Call) head(answer []byte, f *Final) {
	v, err := tl.Parse(answer)
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

// add takes bytes of the body. Callers hold the lock.
func (c *Call) add(data []byte, f *Final) {
	if c.Version() >= ExtensionVersion && len(c.transcript)+len(data) <= MaxAnswer {
		c.transcript = append(c.transcript, data...)
	}
	if !c.discard {
		c.queue = append(c.queue, data...)
		if len(c.queue) > c.limit {
			err := ErrSlow
			if c.limit == MaxAnswer {
				err = ErrTooLarge
			}
			c.queue, c.discard = nil, true
			c.err = err
			go c.cancel()
		}
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

func (c *Call) settle() {
	if !c.closed {
		c.closed = true
		close(c.settled)
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
	// Data is valid until the next Recv.
	Data []byte
	// End says that the answer is whole.
	End bool
}

// Recv waits for more of the answer: everything that has come is handed over at once. ErrIdle says that nothing came for
// wait; any other error ends the call. It belongs to one goroutine.
func (c *Call) Recv(ctx context.Context, wait time.Duration) (Piece, error) {
	armed := false
	for first := true; ; first = false {
		c.mu.Lock()
		p := Piece{Head: c.response, Data: c.queue, End: c.over && c.err == nil}
		err, some := c.err, len(c.queue) > 0 || c.over
		if some && !c.discard {
			c.queue, c.spare = c.spare[:0], c.queue
		}
		c.mu.Unlock()
		switch {
		case len(p.Data) > 0:
			c.credit(ctx, len(p.Data))
			return p, nil
		case err != nil:
			return p, err
		case some || p.Head != nil && !first:
			return p, nil
		}
		if !armed {
			c.arm(wait)
			armed = true
		}
		select {
		case <-ctx.Done():
			return p, ctx.Err()
		case <-c.idle.C:
			return p, ErrIdle
		case <-c.wake:
		}
	}
}

func (c *Call) arm(wait time.Duration) {
	if c.idle == nil {
		c.idle = time.NewTimer(wait)
	} else {
		c.idle.Reset(wait)
	}
}

// credit tells the proxy what was consumed.
func (c *Call) credit(ctx context.Context, n int) {
	c.mu.Lock()
	c.owed += n
	give := 0
	if c.owed >= grant && c.Version() >= ExtensionVersion && !c.over {
		give, c.owed = c.owed, 0
	}
	c.mu.Unlock()
	if give == 0 {
		return
	}
	// A session that cannot send has ended, which the call learns by itself.
	_ = c.live.session.SendWithin(ctx, &tl.ClientQueryCredit{RequestID: c.ID, Bytes: int32(give)}, sendPatience)
}

// Close says that nobody reads any more: a request that still runs is cancelled. What comes after is only hashed.
func (c *Call) Close() {
	c.mu.Lock()
	over := c.over
	c.discard, c.queue = true, nil
	c.mu.Unlock()
	if !over {
		c.cancel()
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

// Settled is closed when nothing more is to be expected: the receipt is there, or none will come.
func (c *Call) Settled() <-chan struct{} { return c.settled }

// Forget drops the call from its session; what still comes for it is ignored.
func (c *Call) Forget() {
	c.live.mu.Lock()
	delete(c.live.calls, c.ID)
	c.live.mu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.settle()
}

// Paper is the receipt as it came, nil when none did, with the bytes it is about and what the request used.
func (c *Call) Paper() (receipt, transcript []byte, used *Final) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.paper, c.transcript, c.final
}
