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
	// out is memory for the pieces that are written.
	out [][]byte
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
	l.look = l.peek
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
	ask, err := headOf(r)
	if err != nil {
		return head{}, nil, err
	}
	for {
		l, err := p.get(ctx)
		if err != nil {
			return head{}, nil, err
		}
		stop := context.AfterFunc(ctx, func() { _ = l.Close() }) // whatever is under way on it ends
		h, err := l.exchange(ask, r.Body, rest)
		if err == nil {
			return h, &answer{from: h.body(l.in), pool: p, link: l, stop: stop, last: h.last}, nil
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

// headOf is a request's head. Its values are from outside.
func headOf(r Request) ([]byte, error) {
	const around = 256
	out := make([]byte, 0, around+len(r.Path)+len(r.ContentType)+len(r.ID))
	out = append(append(append(out, "POST "...), r.Path...), " HTTP/1.1\r\nHost: engine\r\n"...)
	if r.Stream {
		out = append(out, "Accept: text/event-stream\r\n"...)
	}
	for _, f := range [...]struct{ name, value string }{
		{"Content-Type: ", r.ContentType},
		{"Idempotency-Key: ", r.ID},
	} {
		for i := range len(f.value) {
			if c := f.value[i]; c < ' ' && c != '\t' || c == 0x7f {
				return nil, errValue
			}
		}
		out = append(append(append(out, f.name...), f.value...), "\r\n"...)
	}
	size := 0
	for _, piece := range r.Body {
		size += len(piece)
	}
	out = append(out, "Content-Length: "...)
	out = strconv.AppendInt(out, int64(size), 10)
	return append(out, "\r\n\r\n"...), nil
}

// exchange writes a request in one write and reads the head of its answer. An engine that refuses a body before it has read
// it breaks the writing, and its answer counts all the same.
func (l *link) exchange(ask []byte, body [][]byte, rest http.Header) (head, error) {
	l.count, l.left = 0, maxHeader
	l.out = append(append(l.out[:0], ask), body...)
	parts := net.Buffers(l.out)
	_, broken := parts.WriteTo(l.Conn)
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
	from io.Reader
	pool *links
	link *link
	stop func() bool
	last bool // nothing follows on the connection

	mu     sync.Mutex
	ended  bool
	closed bool
}

// Read reads the body.
func (a *answer) Read(p []byte) (int, error) {
	a.mu.Lock()
	ended, closed := a.ended, a.closed
	a.mu.Unlock()
	switch {
	case ended:
		return 0, io.EOF
	case closed:
		return 0, net.ErrClosed
	}
	n, err := a.from.Read(p)
	if errors.Is(err, io.EOF) {
		a.mu.Lock()
		a.ended = true
		a.mu.Unlock()
	}
	return n, err
}

// Close gives the connection back or closes it.
func (a *answer) Close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return nil
	}
	a.closed = true
	alive := a.stop() // else it was closed by the request's context
	if alive && a.ended && !a.last && a.link.in.Buffered() == 0 {
		a.pool.put(a.link)
		return nil
	}
	return a.link.Close()
}
