// Package session is the conversation of two runners over an established byte stream: frames, readiness, pings, queries
// and one-way packets (protocol.md section 2.6).
//
// It owns the framing with its sequence numbers, the handshake of tcp.connect and tcp.connected, liveness, the match of
// answers to queries, and the bound on what waits to be sent. It trusts no peer: a frame is bounded before it is read, a
// wrong number or an unknown packet ends the session, an unknown or malformed query is answered with an error at once.
// What the messages mean is the Handler's.
//
// A Session may be used concurrently. Packets reach the Handler in order and one at a time, so a Handler hands slow work
// on; queries are answered side by side, up to a bound. Every wait ends with its context or with the session; all
// goroutines have ended when Run returns. It refuses to query or send before the peer is ready.
package session

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"cocoon/contracts/wire"
	"cocoon/contracts/wire/tl"
)

const (
	// MaxFrame is the longest payload (protocol.md section 2.6).
	MaxFrame = 1 << 24
	// MaxPart is the longest part of a body that we send: some clients refuse frames above 1 MiB.
	MaxPart = 256 << 10

	headerSize = 8
	minPayload = 4
	// word is the size of a TL id.
	word = 4
	// keep is the largest buffer that is used again.
	keep = 256 << 10
	// record is what one TLS record holds (RFC 8446 section 5.1).
	record = 16 << 10
	// pieceSize is what a peer must take of a write while it has time, and what is read at a time of a frame that is longer:
	// a number that a peer announces takes no memory before its bytes are there.
	pieceSize = 256 << 10
	// controlRoom is what pings and answers may take beyond MaxSend.
	controlRoom = 1 << 20
	// maxUnknown bounds the kinds of unknown packets that are logged.
	maxUnknown = 32

	// defaults of Options.
	defaultPing    = 10 * time.Second
	defaultDialed  = 20 * time.Second
	defaultAccept  = 60 * time.Second
	defaultMaxSend = 4 << 20
	defaultQueries = 64
	// soon is how long a message that is in no hurry may wait for company.
	soon = 20 * time.Millisecond
	// lastWords is how long an ending session may take to send what waits.
	lastWords = time.Second
)

// Errors of calls that could not be made.
var (
	ErrNotReady = errors.New("the peer is not ready yet")
	ErrClosed   = errors.New("the session has ended")
	// ErrSilent means that the peer sent nothing for too long.
	ErrSilent = errors.New("the peer is silent")
	// ErrProtocol marks what a peer must not do.
	ErrProtocol = errors.New("protocol violation")

	errInternal = errors.New("internal error")
)

// Handler is what a session's owner does with what arrives.
type Handler interface {
	// Query answers a function. An error that is no *QueryError is answered with CodeFailure.
	Query(ctx context.Context, fn tl.Function) (tl.Object, error)
	// Packet takes a one-way message. It must not wait for the peer. An error ends the session.
	Packet(ctx context.Context, p tl.Object) error
}

// Options are a session's knobs; the zero value is an acceptor with the defaults.
type Options struct {
	// Dialer is true for the side that made the connection: it says tcp.connect, and pings.
	Dialer bool
	// Ping is the silence after which a dialer asks; Dead is the silence that ends the session.
	Ping, Dead time.Duration
	// MaxSend bounds the bytes that wait to be sent, MaxQueries the peer's queries under way.
	MaxSend, MaxQueries int
	Log                 *slog.Logger
	// Unknown is told of each one-way message of an unknown kind, which is skipped (protocol.md section 0, 19); nil is nobody.
	Unknown func()
	// Now is the clock that the connection's deadlines are on; nil means the system's.
	Now func() time.Time
}

// Session is one conversation.
type Session struct {
	conn    net.Conn
	opt     Options
	handler Handler

	ready     chan struct{}
	readyOnce sync.Once
	done      chan struct{} // closed when the session has ended; cause is set before
	cause     error

	out     outbox
	pending pending
	heard   atomic.Int64 // when the peer was last heard, Unix nanoseconds
	last    time.Time    // the same, for the reader alone
	news    bool         // something was read since then; the reader's too

	unknown map[uint32]struct{} // ids of unknown packets that were logged; the reader's too
}

// New makes a session on a connection, which it owns from now on. Nothing happens before Run.
func New(conn net.Conn, opt Options, h Handler) *Session {
	set := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	set(&opt.Ping, defaultPing)
	if opt.Dialer {
		set(&opt.Dead, defaultDialed)
	}
	set(&opt.Dead, defaultAccept)
	if opt.MaxSend == 0 {
		opt.MaxSend = defaultMaxSend
	}
	if opt.MaxQueries == 0 {
		opt.MaxQueries = defaultQueries
	}
	if opt.Now == nil {
		opt.Now = time.Now
	}
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	if opt.Unknown == nil {
		opt.Unknown = func() {}
	}
	s := &Session{
		conn: conn, opt: opt, handler: h, ready: make(chan struct{}), done: make(chan struct{}), unknown: make(map[uint32]struct{}),
	}
	s.out.init(opt.MaxSend)
	s.pending.calls = make(map[int64]chan<- reply)
	return s
}

// Ready is closed when both sides may speak.
func (s *Session) Ready() <-chan struct{} { return s.ready }

// Done is closed when the session has ended.
func (s *Session) Done() <-chan struct{} { return s.done }

// Run converses until the peer leaves, somebody breaks the protocol, or ctx ends. It returns the reason; a peer that
// closes the connection between two frames gives io.EOF.
func (s *Session) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	group, inner := errgroup.WithContext(ctx)
	s.touch()
	s.listen()
	group.Go(func() (err error) {
		defer s.survive(&err)
		return s.read(inner, group)
	})
	group.Go(func() error { return s.write(inner) })
	if s.opt.Dialer {
		group.Go(func() error { return s.ping(inner) })
		_ = s.out.control(&tl.TCPConnect{ID: random()}) // the first frame has room
	}
	group.Go(func() error {
		<-inner.Done()
		s.end(context.Cause(inner))
		return nil
	})
	err := group.Wait()
	if ctx.Err() != nil && err == nil {
		err = ctx.Err()
	}
	return err
}

// end stops everything that waits; what is already in the outbox gets a last chance.
func (s *Session) end(cause error) {
	s.cause = cause
	close(s.done)
	_ = s.conn.SetWriteDeadline(s.opt.Now().Add(lastWords))
	s.out.close()
	s.pending.fail()
	_ = s.conn.SetReadDeadline(time.Unix(1, 0)) // wakes the reader
}

// survive keeps a defect of the handler from ending more than this session.
func (s *Session) survive(err *error) {
	if p := recover(); p != nil {
		s.opt.Log.Error("Packet handler panicked", slog.Any("err", p))
		*err = errInternal
	}
}

// touch notes that the peer was heard, which gives it time until the next word.
func (s *Session) touch() {
	s.last, s.news = s.opt.Now(), false
	s.heard.Store(s.last.UnixNano())
}

// listen gives the peer what is left of its time since it was heard; patient says whether something is. The connection's
// deadline is moved when it is reached, and not with every frame.
func (s *Session) listen() (patient bool) {
	now := s.opt.Now()
	if s.news { // a part of a frame: a long one may take longer than a peer may be silent
		s.touch()
	}
	left := s.opt.Dead - now.Sub(s.last)
	if left <= 0 {
		return false
	}
	_ = s.conn.SetReadDeadline(now.Add(left)) // a connection that refuses deadlines is dead and says so on reading
	select {
	case <-s.done:
		_ = s.conn.SetReadDeadline(time.Unix(1, 0))
		return false
	default:
		return true
	}
}

// packet acts on one packet.
func (s *Session) packet(ctx context.Context, p tl.Object, slots chan struct{}, group *errgroup.Group) error {
	switch p := p.(type) {
	case *tl.TCPConnect:
		if s.opt.Dialer {
			return fmt.Errorf("%w: tcp.connect from the side that was dialled", ErrProtocol)
		}
		s.becomeReady()
		return s.out.control(&tl.TCPConnected{ID: p.ID})
	case *tl.TCPConnected:
		if !s.opt.Dialer {
			return fmt.Errorf("%w: tcp.connected from the side that dialled", ErrProtocol)
		}
		s.becomeReady()
		return nil
	case *tl.TCPPing:
		return s.out.control(&tl.TCPPong{ID: p.ID})
	case *tl.TCPPong:
		return nil
	}
	if err := s.spoken(p.TLName()); err != nil {
		return err
	}
	switch p := p.(type) {
	case *tl.TCPQuery:
		return s.query(ctx, p, slots, group)
	case *tl.TCPQueryAnswer:
		s.pending.answer(p.ID, reply{data: p.Data})
		return nil
	case *tl.TCPQueryError:
		s.pending.answer(p.ID, reply{err: &QueryError{Code: Code(p.Code), Message: p.Message}})
		return nil
	}
	return fmt.Errorf("%w: %s is no packet", ErrProtocol, p.TLName())
}

func (s *Session) becomeReady() { s.readyOnce.Do(func() { close(s.ready) }) }

// message hands a one-way message on. One of an unknown kind is skipped: newer peers may send more.
func (s *Session) message(ctx context.Context, data []byte, read reading) error {
	v, err := read(data)
	if unknown, ok := errors.AsType[*tl.UnknownError](err); ok {
		s.opt.Unknown()
		if _, logged := s.unknown[unknown.ID]; !logged && len(s.unknown) < maxUnknown {
			s.unknown[unknown.ID] = struct{}{}
			s.opt.Log.Warn("Unknown packet ignored", slog.String("id", fmt.Sprintf("%08x", unknown.ID)))
		}
		return nil
	}
	if err != nil {
		return err
	}
	return s.handler.Packet(ctx, v)
}

// query answers a query in its own time, or at once when that cannot be.
func (s *Session) query(ctx context.Context, q *tl.TCPQuery, slots chan struct{}, group *errgroup.Group) error {
	fn, err := parseFunction(q.Data)
	if err != nil {
		return s.answer(q.ID, nil, err)
	}
	select {
	case slots <- struct{}{}:
	default:
		return s.answer(q.ID, nil, &QueryError{Code: CodeNotReady, Message: "too many queries under way"})
	}
	group.Go(func() error {
		defer func() { <-slots }()
		result, err := s.handle(ctx, fn)
		return s.answer(q.ID, result, err)
	})
	return nil
}

func parseFunction(data []byte) (tl.Function, error) {
	v, err := tl.Parse(data)
	if unknown, ok := errors.AsType[*tl.UnknownError](err); ok {
		return nil, &QueryError{Code: CodeProtocol, Message: fmt.Sprintf("unknown function %08x", unknown.ID)}
	}
	if err != nil {
		return nil, &QueryError{Code: CodeParse, Message: err.Error()}
	}
	fn, ok := v.(tl.Function)
	if !ok {
		return nil, &QueryError{Code: CodeProtocol, Message: v.TLName() + " is no function"}
	}
	return fn, nil
}

// handle keeps a defect of the handler from ending more than this query.
func (s *Session) handle(ctx context.Context, fn tl.Function) (result tl.Object, err error) {
	defer func() {
		if p := recover(); p != nil {
			s.opt.Log.Error("Query handler panicked", slog.String("function", fn.TLName()), slog.Any("err", p))
			err = &QueryError{Code: CodeFailure, Message: "internal error"}
		}
	}()
	return s.handler.Query(ctx, fn)
}

func (s *Session) answer(id int64, result tl.Object, err error) error {
	if err == nil {
		return s.out.control(&tl.TCPQueryAnswer{ID: id, Data: tl.Encode(result)})
	}
	failure, ok := errors.AsType[*QueryError](err)
	if !ok {
		failure = &QueryError{Code: CodeFailure, Message: err.Error()}
	}
	return s.out.control(&tl.TCPQueryError{ID: id, Code: int32(failure.Code), Message: failure.Message})
}

// ping asks a silent peer for a sign of life.
func (s *Session) ping(ctx context.Context) error {
	tick := time.NewTicker(s.opt.Ping / 2)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-tick.C:
			if now.Sub(time.Unix(0, s.heard.Load())) < s.opt.Ping {
				continue
			}
			select {
			case <-s.ready:
				if err := s.out.control(&tl.TCPPing{ID: random()}); err != nil {
					return err
				}
			default:
			}
		}
	}
}

// Query asks the peer and waits for its answer, which has the type that the function names.
func (s *Session) Query(ctx context.Context, fn tl.Function) (tl.Object, error) {
	if err := s.mayTalk(); err != nil {
		return nil, fmt.Errorf("querying %s: %w", fn.TLName(), err)
	}
	id, answered, forget := s.pending.add()
	defer forget()
	if err := s.out.put(ctx, parcel{content: &tl.TCPQuery{ID: id, Data: tl.Encode(fn)}}, 0); err != nil {
		return nil, fmt.Errorf("querying %s: %w", fn.TLName(), err)
	}
	select {
	case <-ctx.Done():
		return nil, fmt.Errorf("querying %s: %w", fn.TLName(), ctx.Err())
	case r := <-answered:
		if r.err != nil {
			return nil, fmt.Errorf("querying %s: %w", fn.TLName(), r.err)
		}
		v, err := tl.Parse(r.data)
		if err == nil && v.TLType() != fn.TLType() {
			err = fmt.Errorf("%w: the answer is a %s", ErrProtocol, v.TLName())
		}
		if err != nil {
			return nil, fmt.Errorf("querying %s: %w", fn.TLName(), err)
		}
		return v, nil
	}
}

// Send sends a one-way message. When too much waits already it waits for room until ctx ends.
func (s *Session) Send(ctx context.Context, p tl.Object) error { return s.SendWithin(ctx, p, 0) }

// SendWithin is Send that waits for room no longer than patience says, when that is not 0, and then gives ErrFull.
func (s *Session) SendWithin(ctx context.Context, p tl.Object, patience time.Duration) error {
	return s.send(ctx, p, patience, false)
}

// SendSoon is Send of what is in no hurry: it goes out with the next message, or a little later. A peer is not woken for it
// alone.
func (s *Session) SendSoon(ctx context.Context, p tl.Object) error { return s.send(ctx, p, 0, true) }

func (s *Session) send(ctx context.Context, p tl.Object, patience time.Duration, patient bool) error {
	if err := s.mayTalk(); err != nil {
		return fmt.Errorf("sending %s: %w", p.TLName(), err)
	}
	if err := s.out.put(ctx, parcel{content: p, message: true, patient: patient}, patience); err != nil {
		return fmt.Errorf("sending %s: %w", p.TLName(), err)
	}
	return nil
}

func (s *Session) mayTalk() error {
	select { // one channel at a time: such a look takes no lock
	case <-s.done:
		return ErrClosed
	default:
	}
	select {
	case <-s.ready:
		return nil
	default:
		return ErrNotReady
	}
}

func random() int64 {
	var raw [8]byte
	_, _ = rand.Read(raw[:]) // never fails (crypto/rand)
	return wire.NewCursor(raw[:]).Long()
}
