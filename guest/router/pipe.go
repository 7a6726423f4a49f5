package router

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/VictoriaMetrics/metrics"
)

const (
	// bufferSize is how much one direction of a session moves at a time: four TLS records.
	bufferSize = 64 << 10
	// slack is what opening a record needs beyond its data.
	slack = 64
	// farewell bounds the last record to a peer who may not be reading.
	farewell = 5 * time.Second
)

// stream is read and written, and can be ended in one direction.
type stream interface {
	io.ReadWriter
	CloseWrite() error
}

// end is one side of a session: the stream, and the socket it runs on.
type end struct {
	conn   stream
	socket *socket
}

// plain is an end without TLS.
func plain(s *socket) end { return end{s, s} }

// secured is an end with TLS on its socket.
func secured(c stream, s *socket) end { return end{c, s} }

// closeWrite ends the stream towards e.
func (e end) closeWrite() error {
	if e.conn != e.socket { // a record is written, to a peer who may not be reading
		if err := e.socket.SetWriteDeadline(deadline(context.Background(), farewell)); err != nil {
			return err
		}
	}
	return e.conn.CloseWrite()
}

// errAborted marks a session that did not end with both streams' ends.
var errAborted = errors.New("session aborted")

// session is two ends and the bytes that flow between them.
type session struct {
	local, peer end
	// first is written to local before anything from the peer, together with what has arrived already, under the write
	// deadline that local has.
	first []byte
	// in and out count bytes from the peer and to it.
	in, out *metrics.Counter
	// ended is called once, when both streams have ended or one broke, and both sockets are closed.
	ended func(err error)

	crew    *crew
	lot     *lot
	mu      sync.Mutex
	errs    []error
	running int
}

// direction is one of a session's two.
type direction struct {
	from, to end
	count    *metrics.Counter
	// head goes before everything else.
	head []byte
	// idle says that there is nothing to read yet, lent that the goroutine is a handshake's.
	idle, lent bool
}

// start moves bytes both ways: what the peer has sent already in this goroutine, the rest in others of the crew. It returns
// when there is nothing to move, so that the stack which the handshake has grown is free for the next one. Directions that
// wait long do so in the lot, if there is one.
func (s *session) start(by *crew, l *lot) {
	s.running, s.crew, s.lot = 2, by, l
	by.carry(func() { s.run(direction{from: s.local, to: s.peer, count: s.out, idle: s.local.socket.pollable()}) })
	s.run(direction{from: s.peer, to: s.local, count: s.in, head: s.first, lent: true})
}

// errElsewhere says that a direction goes on in another goroutine.
var errElsewhere = errors.New("the direction goes on elsewhere")

// run moves one direction until its end, or until it goes on elsewhere.
func (s *session) run(d direction) {
	var err error
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
		if errors.Is(err, errElsewhere) {
			return
		}
		if err != nil { // the other direction cannot go on alone
			s.local.socket.abort()
			s.peer.socket.abort()
		}
		s.finish(err)
	}()
	err = s.move(d)
}

// move is run's work. Most sessions wait most of the time: a direction that waits long has no goroutine, and none waits with
// a handshake's.
func (s *session) move(d direction) error {
	for {
		if d.idle {
			err := s.lot.linger(d.from.socket)
			if errors.Is(err, errPark) {
				s.park(d)
				return errElsewhere
			}
			if err != nil {
				return err
			}
		}
		if err := d.copy(); !errors.Is(err, errNotReady) {
			return err
		}
		d.head, d.idle = nil, true
		if d.lent {
			d.lent = false
			s.crew.carry(func() { s.run(d) })
			return errElsewhere
		}
	}
}

// park has a direction go on when there is something to move. It stays open meanwhile.
func (s *session) park(d direction) {
	s.crew.open.Add(1)
	resume := func() {
		s.crew.carry(func() { s.run(d) })
		s.crew.open.Done()
	}
	if !s.lot.park(d.from.socket, resume) {
		resume()
	}
}

// finish is called by both directions; the last one closes.
func (s *session) finish(err error) {
	s.mu.Lock()
	if err != nil {
		s.errs = append(s.errs, err)
	}
	s.running--
	last, errs := s.running == 0, s.errs
	s.mu.Unlock()
	if !last {
		return
	}
	_ = s.local.socket.Close() // both streams have ended: there is nothing left to lose
	_ = s.peer.socket.Close()
	if len(errs) > 0 {
		s.ended(fmt.Errorf("%w: %w", errAborted, errors.Join(errs...)))
		return
	}
	s.ended(nil)
}

// copy moves what arrives and ends the stream at its end; errNotReady says that nothing more has arrived.
func (d *direction) copy() error {
	d.from.socket.eager = d.from.socket.pollable()
	if err := d.burst(); !errors.Is(err, io.EOF) {
		return err
	}
	if err := d.to.closeWrite(); err != nil && !errors.Is(err, errors.ErrUnsupported) && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("ending a stream: %w", err)
	}
	return nil
}

// burst moves what has arrived, with a buffer that it gives back before anybody waits. It always returns an error.
func (d *direction) burst() error {
	buf := takeBuffer()
	defer copyBuffers.Put(buf)
	for {
		n := copy(*buf, d.head)
		fill, err := readAll(d.from, (*buf)[n:])
		if n+fill > 0 {
			if err := d.write((*buf)[:n+fill]); err != nil {
				return err
			}
			d.count.Add(fill)
		}
		if err != nil {
			return err
		}
	}
}

// write writes a burst. The head has a deadline, which ends with it.
func (d *direction) write(p []byte) error {
	if _, err := d.to.conn.Write(p); err != nil {
		return err
	}
	if d.head == nil {
		return nil
	}
	d.head = nil
	return d.to.socket.SetWriteDeadline(time.Time{})
}

// readAll fills p with what has arrived already; without a pollable socket with one Read.
func readAll(from end, p []byte) (n int, err error) {
	if from.conn == from.socket {
		p = p[:len(p)-slack]
	}
	for n < len(p)-slack {
		m, err := from.conn.Read(p[n:])
		n += m
		if err != nil || !from.socket.eager {
			return n, err
		}
	}
	return n, nil
}
