package session

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync"
)

// outbox collects frames until the writer takes them all at once, so that what piled up leaves in one write.
type outbox struct {
	mu     sync.Mutex
	buf    []byte
	seqno  uint32
	limit  int
	closed bool
	some   chan struct{} // has an element when the writer has work
	room   chan struct{} // closed and replaced when the writer took everything
}

func (o *outbox) init(limit int) {
	o.limit, o.some, o.room = limit, make(chan struct{}, 1), make(chan struct{})
}

// control appends a frame whatever waits: pings and answers are small and must not starve.
func (o *outbox) control(frame []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.append(frame)
}

// put appends a frame when there is room.
func (o *outbox) put(ctx context.Context, frame []byte) error {
	for {
		o.mu.Lock()
		if o.closed {
			o.mu.Unlock()
			return ErrClosed
		}
		if len(o.buf) == 0 || len(o.buf)+len(frame) <= o.limit {
			o.append(frame)
			o.mu.Unlock()
			return nil
		}
		room := o.room
		o.mu.Unlock()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-room:
		}
	}
}

// append numbers a frame. The caller holds the lock.
func (o *outbox) append(frame []byte) {
	if o.closed {
		return
	}
	binary.LittleEndian.PutUint32(frame[4:], o.seqno)
	o.seqno++
	o.buf = append(o.buf, frame...)
	select {
	case o.some <- struct{}{}:
	default:
	}
}

// take swaps the collected bytes for an empty buffer.
func (o *outbox) take(empty []byte) []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	out := o.buf
	o.buf = empty[:0]
	close(o.room)
	o.room = make(chan struct{})
	return out
}

// close refuses further frames; what is there stays for the writer.
func (o *outbox) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	close(o.room)
	o.room = make(chan struct{})
}

// write sends what is collected until the session ends, and then what is left.
func (s *Session) write(ctx context.Context) error {
	// keep is the largest buffer that is used again.
	const keep = 256 << 10
	defer s.conn.Close() //nolint:errcheck // nobody is left to tell
	var spare []byte
	for {
		ended := false
		select {
		case <-s.out.some:
		case <-s.done:
			ended = true
		}
		batch := s.out.take(spare)
		if len(batch) > 0 {
			if !ended {
				_ = s.conn.SetWriteDeadline(s.opt.Now().Add(s.opt.Dead))
			}
			if _, err := s.conn.Write(batch); err != nil {
				if ctx.Err() != nil {
					return nil // the reason is already known
				}
				return fmt.Errorf("writing %d bytes: %w", len(batch), err)
			}
		}
		if ended {
			return nil
		}
		if spare = batch; cap(spare) > keep {
			spare = nil
		}
	}
}
