package router

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"golang.org/x/sync/errgroup"
)

// bufferSize is how much one direction of a session moves at a time: four TLS records.
const bufferSize = 64 << 10

// end is one side of a session: the connection to read and write, and the socket it runs on.
type end struct {
	conn interface {
		io.ReadWriter
		CloseWrite() error
	}
	socket *socket
}

// plain is an end without TLS.
func plain(s *socket) end { return end{s, s} }

// secured is an end with TLS on its socket.
func secured(c *tls.Conn, s *socket) end { return end{c, s} }

// errAborted marks a session that did not end with both streams' ends.
var errAborted = errors.New("session aborted")

// pipe moves bytes both ways until both streams have ended, or one broke; then both ends are closed. first is written
// to local before anything from the peer, together with what has arrived already, under the write deadline that local
// has.
func pipe(local, peer end, first []byte, in, out *metrics.Counter) error {
	var directions errgroup.Group
	run := func(from, to end, head []byte, f *metrics.Counter) func() error {
		return func() (err error) {
			defer func() {
				if p := recover(); p != nil {
					err = fmt.Errorf("panic: %v", p)
				}
				if err != nil { // the other direction cannot go on alone
					local.socket.abort()
					peer.socket.abort()
				}
			}()
			return copyStream(from, to, head, f)
		}
	}
	directions.Go(run(local, peer, nil, out))
	directions.Go(run(peer, local, first, in))
	err := directions.Wait()
	_ = local.socket.Close() // both streams have ended: there is nothing left to lose
	_ = peer.socket.Close()
	if err != nil {
		return fmt.Errorf("%w: %w", errAborted, err)
	}
	return nil
}

// copyStream moves one direction and ends the stream at its end.
func copyStream(from, to end, head []byte, f *metrics.Counter) error {
	from.socket.eager = from.socket.pollable()
	for {
		ended, err := copyBurst(from, to, head, f)
		if err != nil {
			return err
		}
		if ended {
			break
		}
		head = nil
		if err := from.socket.ready(); err != nil {
			return err
		}
	}
	if err := to.conn.CloseWrite(); err != nil && !errors.Is(err, errors.ErrUnsupported) && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("ending a stream: %w", err)
	}
	return nil
}

// copyBurst moves what has arrived, with a buffer that it gives back before waiting for more.
func copyBurst(from, to end, head []byte, f *metrics.Counter) (ended bool, err error) {
	buf := takeBuffer(&copyBuffers)
	defer giveBuffer(&copyBuffers, buf)
	for {
		n := copy(*buf, head)
		fill, err := readAll(from, (*buf)[n:])
		if n+fill > 0 {
			if werr := writeOnce(to, (*buf)[:n+fill]); werr != nil {
				return false, werr
			}
			f.Add(fill)
			if head != nil { // the deadline of the preamble ends with it
				head = nil
				if err := to.socket.SetWriteDeadline(time.Time{}); err != nil {
					return false, err
				}
			}
		}
		switch {
		case errors.Is(err, errNotReady):
			return false, nil
		case errors.Is(err, io.EOF):
			return true, nil
		case err != nil:
			return false, err
		}
	}
}

// readAll fills p with what has arrived already; without a pollable socket with one Read.
func readAll(from end, p []byte) (n int, err error) {
	for n < len(p) {
		m, err := from.conn.Read(p[n:])
		n += m
		if err != nil || !from.socket.eager {
			return n, err
		}
	}
	return n, nil
}

// writeOnce writes p, and under TLS its records in one call.
func writeOnce(to end, p []byte) error {
	if to.conn == to.socket {
		_, err := to.conn.Write(p)
		return err
	}
	to.socket.cork()
	_, err := to.conn.Write(p)
	return errors.Join(err, to.socket.flush())
}
