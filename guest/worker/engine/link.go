package engine

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	// linkBuffer is what a connection reads at once.
	linkBuffer = 4 << 10
	// maxInformed is how many answers of a status below 200 may come before the one that counts.
	maxInformed = 5
)

// Errors of an exchange with the engine.
var (
	errHeader = fmt.Errorf("the header of the engine's answer exceeds %d bytes", maxHeader)
	errValue  = errors.New("a header's value has a control character")
	errOften  = errors.New("the engine informs and does not answer")
)

// links are the connections to an engine. A request and its answer are written and read by the goroutine that asks, so that
// nothing is handed from one to another: each event of a stream would pay for that.
type links struct {
	dial func(ctx context.Context) (net.Conn, error)

	mu     sync.Mutex
	idle   []*link // the one used last is at the end
	turn   int
	sweeps *time.Timer
	timed  bool // sweeps runs
	closed bool
}

// link is one connection. Its user alone touches it; Close of the connection alone may come from elsewhere.
type link struct {
	net.Conn
	in *bufio.Reader
	// ask and out are memory for a request's head and for the pieces that are written, of which parts are left.
	ask   []byte
	out   [][]byte
	parts net.Buffers
	// cut closes the connection.
	cut func()
	// raw is the connection for look, which is peek; nothing is what it found.
	raw     syscall.RawConn
	look    func(fd uintptr) bool
	nothing bool
	// left is what may still be read, count what was read since the request was written.
	left, count int64
	used        bool // it has served a request, so the engine may have dropped it meanwhile
	turn        int  // when it became idle
}

// Read reads from the connection within the bound.
func (l *link) Read(p []byte) (int, error) {
	if l.left <= 0 {
		return 0, errHeader
	}
	n, err := l.Conn.Read(p[:min(int64(len(p)), l.left)])
	l.left -= int64(n)
	l.count += int64(n)
	return n, err
}

// newLink makes a link of a new connection.
func newLink(conn net.Conn) (*link, error) {
	l := &link{Conn: conn}
	l.in = bufio.NewReaderSize(l, linkBuffer)
	l.look, l.cut = l.peek, func() { _ = conn.Close() }
	if c, ok := conn.(syscall.Conn); ok {
		raw, err := c.SyscallConn()
		if err != nil {
			return nil, errors.Join(err, conn.Close())
		}
		l.raw = raw
	}
	return l, nil
}

// quiet says that the engine neither closed an idle connection nor wrote what nobody asked for.
func (l *link) quiet() bool {
	if l.raw == nil {
		return true
	}
	l.nothing = false
	err := l.raw.Read(l.look)
	return err == nil && l.nothing
}

// peek looks for quiet whether there is anything to read, and does not wait for it.
func (l *link) peek(fd uintptr) bool {
	var one [1]byte
	_, _, err := syscall.Recvfrom(int(fd), one[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	l.nothing = errors.Is(err, syscall.EAGAIN)
	return true
}

// get is a connection that waits, or a new one.
func (p *links) get(ctx context.Context) (*link, error) {
	for {
		p.mu.Lock()
		last := len(p.idle) - 1
		if last < 0 {
			p.mu.Unlock()
			break
		}
		l := p.idle[last]
		p.idle[last] = nil
		p.idle = p.idle[:last]
		p.mu.Unlock()
		if l.quiet() {
			return l, nil
		}
		_ = l.Close() // the engine has left it, or talks out of turn
	}
	conn, err := p.dial(ctx)
	if err != nil {
		return nil, err
	}
	return newLink(conn)
}

// put keeps a connection for the next request.
func (p *links) put(l *link) {
	l.used = true
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || len(p.idle) >= maxIdle {
		_ = l.Close()
		return
	}
	l.turn = p.turn
	p.idle = append(p.idle, l)
	p.later()
}

// later has sweep look again. A connection is dropped at the second look after its last request, which is within
// idleTimeout. The caller holds the lock.
func (p *links) later() {
	switch {
	case p.timed:
		return
	case p.sweeps == nil:
		p.sweeps = time.AfterFunc(idleTimeout/2, p.sweep)
	default:
		p.sweeps.Reset(idleTimeout / 2)
	}
	p.timed = true
}

func (p *links) sweep() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.timed = false
	p.turn++
	old := 0
	for old < len(p.idle) && p.idle[old].turn < p.turn-1 {
		_ = p.idle[old].Close() // nothing is under way on it
		old++
	}
	kept := copy(p.idle, p.idle[old:])
	clear(p.idle[kept:])
	if p.idle = p.idle[:kept]; kept > 0 {
		p.later()
	}
}

// close drops what waits, now and later.
func (p *links) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	if p.sweeps != nil {
		p.sweeps.Stop()
	}
	for _, l := range p.idle {
		_ = l.Close()
	}
	p.idle = nil
}

// post makes a request. One that died without a byte of an answer on a connection that had waited is repeated: the engine
// had dropped that connection.
func (p *links) post(ctx context.Context, r Request, rest http.Header) (head, *answer, error) {
	if !r.fit() {
		return head{}, nil, errValue
	}
	for {
		l, err := p.get(ctx)
		if err != nil {
			return head{}, nil, err
		}
		stop := context.AfterFunc(ctx, l.cut) // whatever is under way on it ends
		h, err := l.exchange(&r, rest)
		if err == nil {
			return h, &answer{body: h.body(l.in), pool: p, link: l, stop: stop, last: h.last}, nil
		}
		stop()
		_ = l.Close() // it is broken, or closed already
		if ctx.Err() != nil {
			return head{}, nil, context.Cause(ctx)
		}
		if !l.used || l.count > 0 {
			return head{}, nil, err
		}
	}
}

// fit says that what comes from outside is a header's value and nothing more.
func (r *Request) fit() bool {
	for _, value := range [...]string{r.ContentType, r.ID} {
		for i := range len(value) {
			if c := value[i]; c < ' ' && c != '\t' || c == 0x7f {
				return false
			}
		}
	}
	return true
}

// appendHead appends a request's head.
func (r *Request) appendHead(out []byte) []byte {
	out = append(append(append(out, "POST "...), r.Path...), " HTTP/1.1\r\nHost: engine\r\n"...)
	if r.Stream {
		out = append(out, "Accept: text/event-stream\r\n"...)
	}
	out = append(append(append(out, "Content-Type: "...), r.ContentType...), "\r\n"...)
	out = append(append(append(out, "Idempotency-Key: "...), r.ID...), "\r\n"...)
	size := 0
	for _, piece := range r.Body {
		size += len(piece)
	}
	out = strconv.AppendInt(append(out, "Content-Length: "...), int64(size), 10)
	return append(out, "\r\n\r\n"...)
}

// exchange writes a request in one write and reads the head of its answer. An engine that refuses a body before it has read
// it breaks the writing, and its answer counts all the same.
func (l *link) exchange(r *Request, rest http.Header) (head, error) {
	l.count, l.left = 0, maxHeader
	l.ask = r.appendHead(l.ask[:0])
	l.out = append(append(l.out[:0], l.ask), r.Body...)
	l.parts = l.out
	_, broken := l.parts.WriteTo(l.Conn)
	for range maxInformed {
		clear(rest)
		h, err := readHead(l.in, rest)
		switch {
		case err != nil && broken != nil:
			return h, broken
		case err != nil:
			return h, err
		case h.status >= http.StatusOK || h.status == http.StatusSwitchingProtocols:
			l.left = math.MaxInt64
			h.last = h.last || broken != nil
			return h, nil
		}
	}
	return head{}, errOften
}

// answer is the body of an answer. Closing it before its end closes the connection, and so stops the engine's work. Close
// may come at any time from anywhere.
type answer struct {
	body
	pool *links
	link *link
	stop func() bool
	last bool // nothing follows on the connection
	// state is one of those below.
	state atomic.Int32
}

// The states of an answer: an open one ends or is closed, an ended one is closed.
const (
	answerOpen int32 = iota
	answerEnded
	answerClosed
)

// Read reads the body.
func (a *answer) Read(p []byte) (int, error) {
	if a.state.Load() == answerClosed {
		return 0, net.ErrClosed
	}
	n, err := a.body.Read(p)
	if errors.Is(err, io.EOF) {
		a.state.CompareAndSwap(answerOpen, answerEnded)
	}
	return n, err
}

// Close gives the connection back or closes it.
func (a *answer) Close() error {
	was := a.state.Swap(answerClosed)
	if was == answerClosed {
		return nil
	}
	alive := a.stop() // else it was closed by the request's context
	if alive && was == answerEnded && !a.last && a.link.in.Buffered() == 0 {
		a.pool.put(a.link)
		return nil
	}
	return a.link.Close()
}
