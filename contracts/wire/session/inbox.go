package session

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"

	"golang.org/x/sync/errgroup"

	"cocoon/contracts/wire"
	"cocoon/contracts/wire/tl"
)

// ear reads from the connection as long as the peer has time left.
type ear struct{ s *Session }

func (e ear) Read(p []byte) (int, error) {
	for {
		n, err := e.s.conn.Read(p)
		e.s.news = e.s.news || n > 0
		if err == nil || !timedOut(err) || !e.s.listen() {
			return n, err
		}
		if n > 0 {
			return n, nil
		}
	}
}

func timedOut(err error) bool {
	timeout, ok := errors.AsType[net.Error](err)
	return ok && timeout.Timeout()
}

// read takes frames from the connection.
func (s *Session) read(ctx context.Context, group *errgroup.Group) error {
	in := bufio.NewReaderSize(ear{s}, 64<<10)
	slots := make(chan struct{}, s.opt.MaxQueries)
	for seqno := int32(0); ; seqno++ {
		size, err := readHead(in, seqno)
		if err != nil {
			return s.readError(err)
		}
		var refused error
		err = payload(in, size, func(p []byte, read reading) error {
			if s.news { // not heard with an earlier frame
				s.touch()
			}
			refused = s.frame(ctx, p, read, slots, group)
			return refused
		})
		switch {
		case errors.Is(refused, wire.ErrTL):
			return fmt.Errorf("%w: packet %d: %w", ErrProtocol, seqno, refused)
		case refused != nil:
			return refused
		case err != nil:
			return s.readError(err)
		}
	}
}

// reading is how a frame is parsed: in place where its memory is its own, with a copy of what goes on where it is not.
type reading func([]byte) (tl.Object, error)

// frame acts on a frame.
func (s *Session) frame(ctx context.Context, payload []byte, read reading, slots chan struct{}, group *errgroup.Group) error {
	if binary.LittleEndian.Uint32(payload) == (*tl.TCPPacket)(nil).TLID() { // nearly all are: the message is read where it is
		c := wire.NewCursor(payload[word:])
		message := c.Bytes(tl.MaxBytes)
		if err := c.End(); err != nil {
			return err
		}
		if err := s.spoken((*tl.TCPPacket)(nil).TLName()); err != nil {
			return err
		}
		return s.message(ctx, message, read)
	}
	packet, err := read(payload)
	if err != nil {
		return err
	}
	return s.packet(ctx, packet, slots, group)
}

// spoken refuses what comes before the handshake.
func (s *Session) spoken(name string) error {
	select {
	case <-s.ready:
		return nil
	default:
		return fmt.Errorf("%w: %s before the handshake", ErrProtocol, name)
	}
}

func (s *Session) readError(err error) error {
	if timedOut(err) {
		select {
		case <-s.done:
			return s.cause
		default:
			return fmt.Errorf("%w for %s", ErrSilent, s.opt.Dead)
		}
	}
	return err
}

// readHead reads the head of a frame, whose number must be seqno, and returns the size of its payload.
func readHead(in *bufio.Reader, seqno int32) (size int, err error) {
	head, err := in.Peek(headerSize)
	if err != nil {
		if errors.Is(err, io.EOF) && len(head) > 0 {
			err = io.ErrUnexpectedEOF
		}
		return 0, err // io.EOF between two frames is an orderly end
	}
	n := binary.LittleEndian.Uint32(head)
	got := int32(binary.LittleEndian.Uint32(head[4:])) //nolint:gosec // the same four bytes, signed or not
	switch {
	case n < minPayload || n > MaxFrame:
		return 0, fmt.Errorf("%w: frame of %d bytes, allowed are %d to %d", ErrProtocol, n, minPayload, MaxFrame)
	case got != seqno:
		return 0, fmt.Errorf("%w: frame number %d, expected %d", ErrProtocol, got, seqno)
	}
	_, err = in.Discard(headerSize)
	return int(n), err
}

// payload reads what a head announced and has it taken. One that fits into the reader's buffer stays there and is valid until
// take returns; another has memory of its own.
func payload(in *bufio.Reader, size int, take func([]byte, reading) error) error {
	if size > in.Size() {
		own, err := readLong(in, size)
		if err != nil {
			return cutOff(size, err)
		}
		return take(own, tl.View)
	}
	shared, err := in.Peek(size)
	if err != nil {
		return cutOff(size, err)
	}
	if err := take(shared, tl.Parse); err != nil {
		return err
	}
	_, err = in.Discard(size)
	return err
}

// readLong reads a payload into memory that grows with what is there.
func readLong(in *bufio.Reader, size int) ([]byte, error) {
	own := make([]byte, 0, min(size, pieceSize))
	for len(own) < size {
		if len(own) == cap(own) {
			grown := make([]byte, len(own), min(size, 4*len(own)))
			copy(grown, own)
			own = grown
		}
		n, err := io.ReadFull(in, own[len(own):cap(own)])
		if own = own[:len(own)+n]; err != nil {
			return nil, err
		}
	}
	return own, nil
}

func cutOff(size int, err error) error {
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("reading frame of %d bytes: %w", size, err)
}
