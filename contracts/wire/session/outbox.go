package session

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"

	"cocoon/contracts/wire"
	"cocoon/contracts/wire/tl"
)

// ErrFull means that a message found no room in the time that it was given.
var ErrFull = errors.New("too much waits to be sent")

// outbox collects frames until the writer takes them all at once, so that what piled up leaves in one write.
type outbox struct {
	mu      sync.Mutex
	buf     []byte
	seqno   uint32
	limit   int
	closed  bool
	waiting int           // who waits for room
	soon    *time.Timer   // wakes the writer for what is in no hurry
	timed   bool          // soon runs
	some    chan struct{} // has an element when the writer has work
	room    chan struct{} // closed and replaced when the writer took everything and somebody waits
}

func (o *outbox) init(limit int) {
	o.limit, o.some, o.room = limit, make(chan struct{}, 1), make(chan struct{})
}

// control appends a frame that has room of its own behind the limit: pings and answers are small and must not starve. A
// peer that asks on and on and reads nothing fills that too, and is given up.
func (o *outbox) control(packet tl.Object) error {
	p := parcel{content: packet}
	size := p.size()
	if size > MaxFrame {
		return fmt.Errorf("sending %s: %d bytes, a frame has at most %d", packet.TLName(), size, MaxFrame)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.buf) > 0 && len(o.buf)+headerSize+size > o.limit+controlRoom {
		return fmt.Errorf("%w: it asks and does not read: %d bytes wait", ErrProtocol, len(o.buf))
	}
	o.append(p, size)
	return nil
}

// parcel is the payload of a frame.
type parcel struct {
	content tl.Object
	// message says that the content is no packet, but the message of one.
	message bool
	// patient is a frame that goes out with the next one, or a little later.
	patient bool
}

func (p *parcel) size() int {
	if p.message {
		return word + wire.BytesSize(p.content.Size())
	}
	return p.content.Size()
}

// appendTo writes the payload. A message is written where it stands in its packet, a tl.TCPPacket, without being one first.
func (p *parcel) appendTo(dst []byte) []byte {
	if !p.message {
		return p.content.Append(dst)
	}
	n := p.content.Size()
	dst = wire.AppendLength(wire.AppendUint(dst, (*tl.TCPPacket)(nil).TLID()), n)
	return wire.AppendPadding(p.content.Append(dst), n)
}

// put appends a frame when there is room, which it waits for as long as patience says when that is not 0.
func (o *outbox) put(ctx context.Context, p parcel, patience time.Duration) error {
	size := p.size()
	if size > MaxFrame {
		return fmt.Errorf("%d bytes, a frame has at most %d", size, MaxFrame)
	}
	if ok, err := o.tryPut(p, size); ok || err != nil {
		return err
	}
	var late <-chan time.Time
	if patience > 0 {
		t := time.NewTimer(patience)
		defer t.Stop()
		late = t.C
	}
	for {
		o.mu.Lock()
		room := o.room
		o.waiting++
		o.mu.Unlock()
		ok, err := o.tryPut(p, size) // the writer may have made room just before it could be seen that somebody waits
		if !ok && err == nil {
			select {
			case <-ctx.Done():
				err = ctx.Err()
			case <-late:
				err = ErrFull
			case <-room:
			}
		}
		o.mu.Lock()
		o.waiting--
		o.mu.Unlock()
		if ok || err != nil {
			return err
		}
	}
}

// tryPut appends a frame with a payload of that size if there is room.
func (o *outbox) tryPut(p parcel, size int) (ok bool, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.closed:
		return false, ErrClosed
	case len(o.buf) > 0 && len(o.buf)+headerSize+size > o.limit:
		return false, nil
	}
	o.append(p, size)
	return true, nil
}

// append numbers a frame with a payload of that size. The caller holds the lock.
func (o *outbox) append(p parcel, size int) {
	if o.closed {
		return
	}
	frame := slices.Grow(o.buf, headerSize+size)
	frame = binary.LittleEndian.AppendUint32(frame, uint32(size)) //nolint:gosec // bounded by the caller
	frame = binary.LittleEndian.AppendUint32(frame, o.seqno)
	o.buf = p.appendTo(frame)
	o.seqno++
	if !p.patient {
		o.rouse()
		return
	}
	if !o.timed {
		o.timed = true
		if o.soon == nil {
			o.soon = time.AfterFunc(soon, o.onTime)
		} else {
			o.soon.Reset(soon)
		}
	}
}

// rouse wakes the writer.
func (o *outbox) rouse() {
	select {
	case o.some <- struct{}{}:
	default:
	}
}

// onTime sends what was in no hurry, if nothing took it along.
func (o *outbox) onTime() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.timed = false; len(o.buf) > 0 && !o.closed {
		o.rouse()
	}
}

// gather lets the goroutines that can run say what they have to say before what is collected leaves: what one read of many
// frames has set off, and what many engines have written, goes out as one record with one system call. Nobody waits for it
// who has nothing to do meanwhile, and a full record does not wait.
func (o *outbox) gather() {
	o.mu.Lock()
	full := len(o.buf) >= record
	o.mu.Unlock()
	if !full {
		runtime.Gosched()
	}
}

// GoFirst lets what was sent before leave first: a goroutine calls it that has much to do, now that its message is on the
// way. The writer's first turn is gather's, in its second it writes.
func GoFirst() {
	runtime.Gosched()
	runtime.Gosched()
}

// take swaps the collected bytes for an empty buffer. Who woke the writer meanwhile has nothing left for it.
func (o *outbox) take(empty []byte) []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	select {
	case <-o.some:
	default:
	}
	out := o.buf
	o.buf = empty[:0]
	o.wake()
	return out
}

// wake lets everybody who waits for room look again. The caller holds the lock.
func (o *outbox) wake() {
	if o.waiting > 0 {
		close(o.room)
		o.room = make(chan struct{})
	}
}

// close refuses further frames; what is there stays for the writer.
func (o *outbox) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	if o.soon != nil {
		o.soon.Stop()
	}
	o.wake()
}

// write sends what is collected until the session ends, and then what is left.
func (s *Session) write(ctx context.Context) error {
	defer s.conn.Close() //nolint:errcheck // nobody is left to tell
	var spare []byte
	for {
		ended := false
		select {
		case <-s.out.some:
			s.out.gather()
		case <-s.done:
			ended = true
		}
		batch := s.out.take(spare)
		if err := s.post(batch, ended); err != nil {
			if ctx.Err() != nil {
				return nil // the reason is already known
			}
			return fmt.Errorf("writing %d bytes: %w", len(batch), err)
		}
		if ended {
			return nil
		}
		if spare = batch; cap(spare) > keep {
			spare = nil
		}
	}
}

// post writes bytes piece by piece: a peer that takes them slowly has its time for each piece, and not for all that may
// have piled up. Last words have the deadline that the end has given them.
func (s *Session) post(batch []byte, ended bool) error {
	for len(batch) > 0 {
		piece := batch[:min(len(batch), pieceSize)]
		if !ended {
			_ = s.conn.SetWriteDeadline(s.opt.Now().Add(s.opt.Dead))
			select {
			case <-s.done: // it ended meanwhile, and its deadline must stand
				ended = true
				_ = s.conn.SetWriteDeadline(s.opt.Now().Add(lastWords))
			default:
			}
		}
		if _, err := s.conn.Write(piece); err != nil {
			return err
		}
		batch = batch[len(piece):]
	}
	return nil
}
