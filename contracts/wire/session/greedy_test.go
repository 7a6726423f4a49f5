package session

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"cocoon/contracts/wire/tl"
)

// framed is a frame with its number.
func framed(seqno uint32, p tl.Object) []byte {
	raw := frameOf(p)
	binary.LittleEndian.PutUint32(raw[4:], seqno)
	return raw
}

// raw is a session whose peer is the test itself, past the handshake of tcp.connect.
func raw(t *testing.T, opt Options, h Handler) (peer net.Conn, s *Session, ends <-chan error) {
	t.Helper()
	near, far := net.Pipe()
	s = New(near, opt, h)
	ended := make(chan error, 1)
	go func() { ended <- s.Run(t.Context()) }()
	if _, err := far.Write(framed(0, &tl.TCPConnect{ID: 1})); err != nil {
		t.Fatal(err)
	}
	<-s.Ready()
	return far, s, ended
}

// TestWhoAsksAndDoesNotReadIsGivenUp: answers to pings and queries have their own room, and no more.
func TestWhoAsksAndDoesNotReadIsGivenUp(t *testing.T) {
	for name, word := range map[string]tl.Object{
		"pings":             &tl.TCPPing{ID: 7},
		"connects":          &tl.TCPConnect{ID: 7},
		"unknown functions": &tl.TCPQuery{ID: 7, Data: []byte("what")},
		"queries":           &tl.TCPQuery{ID: 7, Data: tl.Encode(&tl.TestQuery{ID: 1})},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const limit = 64 << 10
				peer, s, ends := raw(t, Options{MaxSend: limit}, &echo{})
				most := 2 * (limit + controlRoom) / len(framed(0, &tl.TCPPong{}))
				said := 0
				for ; said < most; said++ {
					if _, err := peer.Write(framed(uint32(said+1), word)); err != nil {
						break
					}
				}
				s.out.mu.Lock()
				held := len(s.out.buf)
				s.out.mu.Unlock()
				if said == most || held > limit+controlRoom {
					t.Errorf("%d frames were taken and %d bytes wait", said, held)
				}
				if err := <-ends; !errors.Is(err, ErrProtocol) {
					t.Errorf("ended with %v", err)
				}
				_ = peer.Close()
			})
		})
	}
}

// TestALongFrameMayTakeItsTime: a peer is silent when no byte comes, or is taken, and not when a frame is long.
func TestALongFrameMayTakeItsTime(t *testing.T) {
	const pieces, pause = 8, 15 * time.Second
	synctest.Test(t, func(t *testing.T) {
		h := &echo{}
		peer, s, ends := raw(t, Options{Dead: 20 * time.Second}, h)
		if _, err := io.ReadFull(peer, make([]byte, len(framed(0, &tl.TCPConnected{})))); err != nil {
			t.Fatal(err)
		}
		long := &tl.TCPPacket{Data: tl.Encode(&tl.ClientRefund{Data: make([]byte, pieces*pieceSize)})}
		rest := framed(1, long)
		for len(rest) > 0 {
			<-time.After(pause)
			n := min(len(rest), pieceSize)
			if _, err := peer.Write(rest[:n]); err != nil {
				t.Fatalf("the session ended with %v", <-ends)
			}
			rest = rest[n:]
		}
		synctest.Wait()
		if got := h.seen(); got != "client.refund" {
			t.Errorf("heard %q", got)
		}
		if err := s.Send(t.Context(), &tl.ClientRefund{Data: make([]byte, pieces*pieceSize)}); err != nil {
			t.Fatal(err)
		}
		go func() { // a sign of life now and then
			for i := range uint32(pieces) {
				<-time.After(pause)
				_, _ = peer.Write(framed(2+i, &tl.TCPPong{}))
			}
		}()
		for range pieces {
			<-time.After(pause)
			if _, err := io.ReadFull(peer, make([]byte, pieceSize)); err != nil {
				t.Fatalf("reading slowly: %v", err)
			}
		}
		_ = peer.Close()
		if err := <-ends; err == nil {
			t.Error("an end without a reason")
		}
	})
}

// TestAPartOfAFrameIsNoLife: who stops in the middle of one is gone, too.
func TestAPartOfAFrameIsNoLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		peer, _, ends := raw(t, Options{Dead: 20 * time.Second}, &echo{})
		go io.Copy(io.Discard, peer) //nolint:errcheck // it hears what comes
		_, _ = peer.Write(framed(1, &tl.TCPPing{})[:5])
		began := time.Now()
		if err := <-ends; !errors.Is(err, ErrSilent) || time.Since(began) > 40*time.Second {
			t.Errorf("%v after %s", err, time.Since(began))
		}
		_ = peer.Close()
	})
}

// TestASizeThatIsAnnouncedTakesNoMemory: only bytes that are there do.
func TestASizeThatIsAnnouncedTakesNoMemory(t *testing.T) {
	for name, tc := range map[string]struct{ announced, there int }{
		"nothing follows": {MaxFrame, 0},
		"a little does":   {MaxFrame, 3 * pieceSize / 2},
		"all of it does":  {4 * pieceSize, 4 * pieceSize},
	} {
		t.Run(name, func(t *testing.T) {
			in := bufio.NewReader(bytes.NewReader(bytes.Repeat([]byte("x"), tc.there)))
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			got := 0
			err := payload(in, tc.announced, func(p []byte, _ reading) error {
				got = len(p)
				return nil
			})
			runtime.ReadMemStats(&after)
			if took := int(after.TotalAlloc - before.TotalAlloc); took > 6*max(tc.there, pieceSize) {
				t.Errorf("%d bytes of memory for %d that are there", took, tc.there)
			}
			if whole := tc.there == tc.announced; whole != (err == nil) || whole && got != tc.announced || !whole && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%d bytes, %v", got, err)
			}
		})
	}
}

// TestUnknownKindsAreLoggedUpToABound: ids are many, and a peer makes them up.
func TestUnknownKindsAreLoggedUpToABound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		counted := 0
		peer, s, ends := raw(t, Options{Log: slog.New(slog.NewTextHandler(&log, nil)), Unknown: func() { counted++ }}, &echo{})
		for i := range uint32(3 * maxUnknown) {
			for twice := range uint32(2) {
				p := &tl.TCPPacket{Data: binary.LittleEndian.AppendUint32(nil, 0xffff0000+i)}
				if _, err := peer.Write(framed(1+2*i+twice, p)); err != nil {
					t.Fatal(err)
				}
			}
		}
		go io.Copy(io.Discard, peer) //nolint:errcheck // it hears what comes
		_ = peer.Close()
		if err := <-ends; err == nil {
			t.Error("an end without a reason")
		}
		if n := strings.Count(log.String(), "Unknown packet ignored"); n != maxUnknown || len(s.unknown) != maxUnknown {
			t.Errorf("%d lines, %d remembered", n, len(s.unknown))
		}
		if counted != 2*3*maxUnknown {
			t.Errorf("%d counted", counted)
		}
	})
}

// breaks is a handler with a defect.
type breaks struct{ echo }

func (*breaks) Packet(_ context.Context, p tl.Object) error {
	var none *tl.TCPPong
	return fmt.Errorf("%d of %s", none.ID, p.TLName())
}

// TestADefectOfTheHandlerEndsItsSessionOnly: this process has others.
func TestADefectOfTheHandlerEndsItsSessionOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		peer, _, ends := raw(t, Options{Log: slog.New(slog.NewTextHandler(&log, nil))}, &breaks{})
		go io.Copy(io.Discard, peer) //nolint:errcheck // it hears what comes
		_, _ = peer.Write(framed(1, &tl.TCPPacket{Data: tl.Encode(&tl.ClientRefund{})}))
		if err := <-ends; err == nil || !strings.Contains(log.String(), "Packet handler panicked") {
			t.Errorf("%v, log %q", err, log.String())
		}
		_ = peer.Close()
	})
}

// TestOnlyTheDialerConnects: who was dialled answers.
func TestOnlyTheDialerConnects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		go io.Copy(io.Discard, far) //nolint:errcheck // it hears what comes
		ended := make(chan error, 1)
		go func() { ended <- New(near, Options{Dialer: true}, &echo{}).Run(t.Context()) }()
		_, _ = far.Write(framed(0, &tl.TCPConnect{ID: 1}))
		if err := <-ended; !errors.Is(err, ErrProtocol) {
			t.Errorf("%v", err)
		}
		_ = far.Close()
	})
}
