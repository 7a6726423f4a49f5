package router

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// errNotReady is what an eager socket's Read gives instead of waiting. It calls itself temporary, so that the record layer
// goes on where it was at the next Read.
var errNotReady error = notReadyError{}

type notReadyError struct{}

func (notReadyError) Error() string   { return "no data yet" }
func (notReadyError) Timeout() bool   { return true }
func (notReadyError) Temporary() bool { return true }

// socket is the network connection below TLS, or a plain one. It can be told to read only what has arrived already and
// to wait without a buffer, so that an idle session holds none.
//
// Read and ready belong to one goroutine; Write and Close are for everybody.
type socket struct {
	net.Conn
	raw syscall.RawConn // nil: reading always waits

	eager bool
	// What tryRead passes to and from readFD; the closures are made once.
	buf            []byte
	n              int
	err            error
	readFD, peekFD func(fd uintptr) bool
	waited         bool // by ready
	// watched says that a lot's epoll instance knows the socket; kicked, which the lot's lock guards, that it has ended
	// waiting with a read deadline.
	watched, kicked bool

	mu     sync.Mutex
	closed bool
	wake   func() // called by Close
}

// newSocket wraps a connection from a listener or a dialler, which has tuned it.
func newSocket(conn net.Conn) *socket {
	s := &socket{Conn: conn}
	if sc, ok := conn.(syscall.Conn); ok {
		if raw, err := sc.SyscallConn(); err == nil {
			s.raw = raw
		}
	}
	s.readFD = func(fd uintptr) bool {
		s.n, s.err = retry(func() (int, error) { return unix.Read(int(fd), s.buf) })
		return true
	}
	s.peekFD = func(fd uintptr) bool {
		if s.waited { // what has come is for Read
			s.err = nil
			return true
		}
		s.waited = true
		var one [1]byte
		_, s.err = retry(func() (int, error) {
			n, _, err := unix.Recvfrom(int(fd), one[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
			return n, err
		})
		return !errors.Is(s.err, unix.EAGAIN)
	}
	return s
}

func retry(call func() (int, error)) (int, error) {
	for {
		if n, err := call(); !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}

// pollable tells whether the socket can be read eagerly.
func (s *socket) pollable() bool { return s.raw != nil }

// Read reads what has arrived, and waits for it unless the socket is eager.
func (s *socket) Read(p []byte) (int, error) {
	if !s.eager || s.raw == nil || len(p) == 0 {
		return s.Conn.Read(p)
	}
	s.buf = p
	err := s.raw.Read(s.readFD)
	s.buf = nil
	switch {
	case err != nil:
		return 0, err
	case errors.Is(s.err, unix.EAGAIN):
		return 0, errNotReady
	case s.err != nil:
		return 0, s.readError()
	case s.n == 0:
		return 0, io.EOF
	}
	return s.n, nil
}

func (s *socket) readError() error {
	return &net.OpError{Op: "read", Net: s.RemoteAddr().Network(), Source: s.LocalAddr(), Addr: s.RemoteAddr(), Err: s.err}
}

// ready waits until a Read will not: data, an end or an error has arrived. It holds no buffer. An error must be taken
// from here, because the kernel tells it once. That nothing has come after all is possible, and for Read to say.
func (s *socket) ready() error {
	s.waited = false
	if err := s.raw.Read(s.peekFD); err != nil {
		return err
	}
	if s.err != nil {
		return s.readError()
	}
	return nil
}

// onClose has wake called by Close, in place of what was to be called before; false says that it is too late.
func (s *socket) onClose(wake func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wake = wake
	return !s.closed
}

// Close closes the socket and wakes who waits for it without a goroutine.
func (s *socket) Close() error {
	s.mu.Lock()
	s.closed = true
	wake := s.wake
	s.wake = nil
	s.mu.Unlock()
	err := s.Conn.Close()
	if wake != nil {
		wake()
	}
	return err
}

// CloseWrite ends the stream towards the other side.
func (s *socket) CloseWrite() error {
	if c, ok := s.Conn.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return fmt.Errorf("closing one direction of %T: %w", s.Conn, errors.ErrUnsupported)
}

// SetLinger says what Close does with bytes that were not sent (net.TCPConn.SetLinger): the registry of sessions, which closes
// those that are not admitted any more, asks for a reset by it.
func (s *socket) SetLinger(seconds int) error {
	if c, ok := s.Conn.(*net.TCPConn); ok {
		return c.SetLinger(seconds)
	}
	return fmt.Errorf("setting linger of %T: %w", s.Conn, errors.ErrUnsupported)
}

// abort ends the connection so that the other side sees a reset, not an end of stream.
func (s *socket) abort() {
	_ = s.SetLinger(0) // on a closed socket there is nothing left to reset
	_ = s.Close()
}

// The pool holds buffers only between uses; idle sessions have none.
//
//nolint:gochecknoglobals // pools are shared by design: memory of one listener's burst serves another's
var copyBuffers = sync.Pool{New: func() any { b := make([]byte, bufferSize+slack); return &b }}

func takeBuffer() *[]byte {
	b, ok := copyBuffers.Get().(*[]byte)
	if !ok { // a pool of ours holds nothing else
		return new([]byte)
	}
	return b
}
