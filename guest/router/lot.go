package router

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// lotEvents is how many sockets that have become ready are taken from the kernel at a time.
	lotEvents = 64
	// lingering is how long a direction waits with a goroutine at least, and at most twice as long: for an answer that is on
	// its way the lot would cost more than the stack.
	lingering = 250 * time.Millisecond
)

// lot is where directions of sessions wait for bytes: one epoll instance for all of them, so that a session that waits has
// no goroutine and no stack. Go's own poller can only wake a goroutine that exists.
type lot struct {
	file *os.File // the epoll instance, which Go's poller watches
	raw  syscall.RawConn

	mu   sync.Mutex
	last uint64
	// waiting are those who wait, by number: a file descriptor may be another socket's by the time an event is looked at.
	waiting map[uint64]func()
	// Who still waits with a goroutine, since before the last sweep and since then.
	old, young map[*socket]struct{}
}

func newLot() (*lot, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("making epoll instance: %w", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil { // so that Go's poller takes it
		return nil, errors.Join(fmt.Errorf("making epoll instance: %w", err), unix.Close(fd))
	}
	l := &lot{file: os.NewFile(uintptr(fd), "epoll"), waiting: map[uint64]func(){}, young: map[*socket]struct{}{}}
	if l.raw, err = l.file.SyscallConn(); err != nil {
		return nil, errors.Join(fmt.Errorf("making epoll instance: %w", err), l.file.Close())
	}
	return l, nil
}

// run resumes those whose sockets have become ready, until close.
func (l *lot) run() {
	events := make([]unix.EpollEvent, lotEvents)
	for {
		var n int
		var failed error
		err := l.raw.Read(func(fd uintptr) bool {
			n, failed = retry(func() (int, error) { return unix.EpollWait(int(fd), events, 0) })
			return n > 0 || failed != nil
		})
		if err != nil || failed != nil {
			return // closed
		}
		for i := range events[:n] {
			l.wake(uint64(uint32(events[i].Fd)) | uint64(uint32(events[i].Pad))<<32) //nolint:gosec // as park has cut it
		}
	}
}

// close ends run. Nobody may be waiting any more.
func (l *lot) close() { _ = l.file.Close() }

// wake resumes who waits under a number, if it has not been done.
func (l *lot) wake(number uint64) {
	if resume := l.take(number); resume != nil {
		resume()
	}
}

func (l *lot) take(number uint64) func() {
	l.mu.Lock()
	defer l.mu.Unlock()
	resume := l.waiting[number]
	delete(l.waiting, number)
	return resume
}

// park has resume called once, when the socket has bytes, its end or an error to read, or is closed; that may be before
// park returns. False says that it cannot be, and will not be called. A socket is waited for once at a time.
func (l *lot) park(s *socket, resume func()) bool {
	if l == nil || !s.pollable() {
		return false
	}
	op := unix.EPOLL_CTL_MOD
	if !s.watched {
		op = unix.EPOLL_CTL_ADD
	}
	s.watched = true // from here on the socket may be another goroutine's
	l.mu.Lock()
	l.last++
	number := l.last
	l.waiting[number] = resume
	l.mu.Unlock()
	if !s.onClose(func() { l.wake(number) }) {
		return l.take(number) == nil
	}
	event := unix.EpollEvent{
		Events: unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLONESHOT,
		Fd:     int32(uint32(number)), Pad: int32(uint32(number >> 32)), //nolint:gosec // the two halves
	}
	watching := false
	_ = l.raw.Control(func(epoll uintptr) { // what fails leaves watching false
		_ = s.raw.Control(func(fd uintptr) { watching = unix.EpollCtl(int(epoll), op, int(fd), &event) == nil })
	})
	return watching || l.take(number) == nil
}

// linger waits with the caller's goroutine until the socket is ready. errPark says that it has taken long.
func (l *lot) linger(s *socket) error {
	if l == nil {
		return s.ready()
	}
	l.mu.Lock()
	l.young[s] = struct{}{}
	l.mu.Unlock()
	err := s.ready()
	l.mu.Lock()
	delete(l.young, s)
	delete(l.old, s)
	kicked := s.kicked
	s.kicked = false
	l.mu.Unlock()
	if !kicked {
		return err
	}
	if reset := s.SetReadDeadline(time.Time{}); err == nil {
		err = reset
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return errPark
	}
	return err
}

var errPark = errors.New("waiting has taken long")

// sweep ends the waiting of those who wait since before the last one.
func (l *lot) sweep() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for s := range l.old {
		s.kicked = true
		_ = s.SetReadDeadline(time.Unix(1, 0)) // long past; a closed socket has woken already
	}
	l.old, l.young = l.young, map[*socket]struct{}{}
}

// sweeps sweeps until ctx ends.
func (l *lot) sweeps(ctx context.Context) {
	tick := time.NewTicker(lingering)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			l.sweep()
		}
	}
}
