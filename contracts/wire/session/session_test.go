package session

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"cocoon/contracts/wire"
	"cocoon/contracts/wire/tl"
	"cocoon/tests/golden"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// echo answers test.query with its id, fails on negative ids, panics on 13, and keeps packets.
type echo struct {
	mu      sync.Mutex
	packets []string
	// hold makes queries wait for their context.
	hold bool
}

func (e *echo) Query(ctx context.Context, fn tl.Function) (tl.Object, error) {
	q, ok := fn.(*tl.TestQuery)
	switch {
	case !ok:
		return nil, &QueryError{Code: CodeNotReady, Message: "no workers for model"}
	case e.hold:
		<-ctx.Done()
		return nil, ctx.Err()
	case q.ID == 13:
		return &tl.TestAnswer{ID: []int64{}[q.ID]}, nil
	case q.ID == 14:
		return &tl.ClientRefundRejected{}, nil
	case q.ID < 0:
		return nil, errors.New("negative")
	}
	return &tl.TestAnswer{ID: q.ID}, nil
}

func (e *echo) Packet(_ context.Context, p tl.Object) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.packets = append(e.packets, p.TLName())
	if p.TLName() == "client.refundRejected" {
		return errors.New("handler has enough")
	}
	return nil
}

func (e *echo) seen() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return strings.Join(e.packets, " ")
}

// duo is two sessions on a pipe.
type duo struct {
	dialer, acceptor *Session
	left, right      *echo
	ends             chan error
	cancel           context.CancelFunc
}

func start(t *testing.T, opt Options) *duo {
	t.Helper()
	a, b := net.Pipe()
	d := &duo{left: &echo{}, right: &echo{}, ends: make(chan error, 2)}
	dial := opt
	dial.Dialer = true
	d.dialer, d.acceptor = New(a, dial, d.left), New(b, opt, d.right)
	ctx, cancel := context.WithCancel(t.Context())
	d.cancel = cancel
	for _, s := range []*Session{d.dialer, d.acceptor} {
		go func() { d.ends <- s.Run(ctx) }()
	}
	return d
}

func (d *duo) stop() {
	d.cancel()
	_, _ = <-d.ends, <-d.ends
}

func TestAConversation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		if _, err := New(near, Options{Dialer: true}, &echo{}).Query(t.Context(), &tl.TestQuery{ID: 1}); !errors.Is(err, ErrNotReady) {
			t.Errorf("a query before the handshake: %v", err)
		}
		_, _ = near.Close(), far.Close()
		d := start(t, Options{})
		<-d.dialer.Ready()
		<-d.acceptor.Ready()
		for _, s := range []*Session{d.dialer, d.acceptor} {
			got, err := s.Query(t.Context(), &tl.TestQuery{ID: 7})
			if a, ok := got.(*tl.TestAnswer); err != nil || !ok || a.ID != 7 {
				t.Errorf("%v, %v", got, err)
			}
		}
		for id, want := range map[int64]Code{-1: CodeFailure, 13: CodeFailure} {
			_, err := d.dialer.Query(t.Context(), &tl.TestQuery{ID: id})
			if e, ok := errors.AsType[*QueryError](err); !ok || e.Code != want || strings.Contains(e.Message, "index") {
				t.Errorf("query %d: %v", id, err)
			}
		}
		if _, err := d.dialer.Query(t.Context(), &tl.ClientRequestRefund{}); !strings.Contains(fmt.Sprint(err), "651: no workers for model") {
			t.Errorf("an error's text: %v", err)
		}
		if _, err := d.dialer.Query(t.Context(), &tl.TestQuery{ID: 14}); !errors.Is(err, ErrProtocol) {
			t.Errorf("an answer of another type: %v", err)
		}
		for range 3 {
			if err := d.dialer.Send(t.Context(), &tl.ClientCancelQuery{}); err != nil {
				t.Error(err)
			}
		}
		synctest.Wait()
		if got := d.right.seen(); got != "client.cancelQuery client.cancelQuery client.cancelQuery" {
			t.Errorf("packets %q", got)
		}
		d.stop()
		if _, err := d.dialer.Query(t.Context(), &tl.TestQuery{}); !errors.Is(err, ErrClosed) {
			t.Errorf("a query after the end: %v", err)
		}
	})
}

func TestTheHandlerCanEndTheSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := start(t, Options{})
		<-d.dialer.Ready()
		if err := d.dialer.Send(t.Context(), &tl.ClientRefundRejected{}); err != nil {
			t.Fatal(err)
		}
		first := <-d.ends // of either side
		d.cancel()
		second := <-d.ends
		if first == nil || second == nil || !strings.Contains(first.Error()+second.Error(), "enough") {
			t.Errorf("ended with %v and %v", first, second)
		}
	})
}

// TestWaitingQueriesEndWithTheSession: nobody waits for an answer that cannot come.
func TestWaitingQueriesEndWithTheSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := start(t, Options{MaxQueries: 1})
		d.right.hold = true
		<-d.dialer.Ready()
		failed := make(chan error, 1)
		go func() {
			_, err := d.dialer.Query(t.Context(), &tl.TestQuery{ID: 1})
			failed <- err
		}()
		synctest.Wait()
		if _, err := d.dialer.Query(t.Context(), &tl.TestQuery{ID: 2}); !strings.Contains(fmt.Sprint(err), "too many queries") {
			t.Errorf("one query too many: %v", err)
		}
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := d.dialer.Query(short, &tl.TestQuery{ID: 3}); err == nil {
			t.Error("a query was answered")
		}
		d.stop()
		if err := <-failed; !errors.Is(err, ErrClosed) && !strings.Contains(err.Error(), "context canceled") {
			t.Errorf("the waiting query: %v", err)
		}
	})
}

// TestLiveness: a live peer is asked and stays; a silent one is left after its time, on both sides.
func TestLiveness(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := start(t, Options{})
		<-d.dialer.Ready()
		time.Sleep(10 * time.Minute) //nolint:forbidigo // the bubble's clock
		select {
		case err := <-d.ends:
			t.Errorf("an idle session ended: %v", err)
		default:
		}
		d.stop()
	})
	for name, dialer := range map[string]bool{"dialer": true, "acceptor": false} {
		synctest.Test(t, func(t *testing.T) {
			a, b := net.Pipe()
			go io.Copy(io.Discard, b) //nolint:errcheck // a peer that only listens
			began := time.Now()
			err := New(a, Options{Dialer: dialer}, &echo{}).Run(t.Context())
			want := map[bool]time.Duration{true: defaultDialed, false: defaultAccept}[dialer]
			if took := time.Since(began); !errors.Is(err, ErrSilent) || took < want || took > want+2*time.Second {
				t.Errorf("%s: %v after %s", name, err, took)
			}
			_ = b.Close()
		})
	}
}

// frameOf is the first frame of a session.
func frameOf(p tl.Object) []byte {
	frame := wire.AppendUint(nil, uint32(p.Size()))
	return p.Append(wire.AppendUint(frame, 0))
}

// packetOf is a packet of a size, which is a multiple of four.
func packetOf(size int) parcel {
	p := parcel{content: &tl.TCPPacket{}}
	p.content = &tl.TCPPacket{Data: make([]byte, size-p.size())}
	return p
}

// TestAFullOutboxHoldsTheProducerAlone: who sends too much waits, and pings still pass.
func TestAFullOutboxHoldsTheProducerAlone(t *testing.T) {
	var o outbox
	o.init(100)
	ctx, cancel := context.WithCancel(t.Context())
	if err := o.put(ctx, packetOf(84), 0); err != nil {
		t.Fatal(err)
	}
	_ = o.control(packetOf(44).content)
	held := make(chan error, 1)
	go func() { held <- o.put(ctx, packetOf(12), 0) }()
	cancel()
	if err := <-held; !errors.Is(err, context.Canceled) {
		t.Errorf("held: %v", err)
	}
	go func() { held <- o.put(t.Context(), packetOf(12), 0) }()
	if n := len(o.take(nil)); n < 140 {
		t.Errorf("%d bytes", n)
	}
	if err := <-held; err != nil {
		t.Error(err)
	}
	o.close()
	if err := o.put(t.Context(), packetOf(12), 0); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
}

// TestWhatIsInNoHurryWaitsForCompany: it leaves with the next message, in order, or after its time, and at the end.
func TestWhatIsInNoHurryWaitsForCompany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := start(t, Options{})
		<-d.dialer.Ready()
		cancel := func(n byte) tl.Object { return &tl.ClientCancelQuery{RequestID: [32]byte{n}} }
		arrived := func() int { return strings.Count(d.right.seen(), "cancelQuery") }
		began := time.Now()
		check := func(what string, want int, after time.Duration) {
			synctest.Wait()
			if got := arrived(); got != want || time.Since(began) != after {
				t.Errorf("%s: %d arrived after %s, want %d after %s", what, got, time.Since(began), want, after)
			}
		}
		for _, send := range []func() error{
			func() error { return d.dialer.SendSoon(t.Context(), cancel(1)) },
			func() error { return d.dialer.SendSoon(t.Context(), cancel(2)) },
		} {
			if err := send(); err != nil {
				t.Fatal(err)
			}
		}
		check("alone", 0, 0)
		if err := d.dialer.Send(t.Context(), cancel(3)); err != nil {
			t.Fatal(err)
		}
		check("with company", 3, 0)
		if err := d.dialer.SendSoon(t.Context(), cancel(4)); err != nil {
			t.Fatal(err)
		}
		check("alone again", 3, 0)
		<-time.After(soon)
		check("in its time", 4, soon)
		d.stop()
	})
}

func TestWhatCannotBeSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := start(t, Options{})
		<-d.dialer.Ready()
		if err := d.dialer.Send(t.Context(), &tl.ClientQueryReceipt{Receipt: make([]byte, MaxFrame)}); err == nil || !strings.Contains(err.Error(), "at most") {
			t.Errorf("a frame too large: %v", err)
		}
		if _, err := d.dialer.Query(t.Context(), &tl.TestQuery{ID: 1}); err != nil {
			t.Errorf("the session suffered: %v", err)
		}
		d.stop()
	})
}

// patient is the silence that ends a conversation which ends by itself before.
const patient = time.Minute

// converse feeds bytes to an acceptor and returns what it wrote and how it ended. Bytes that are no whole frames end it after
// the silence of dead.
func converse(tb testing.TB, in []byte, dead time.Duration) (out []byte, h *echo, err error) {
	tb.Helper()
	a, b := net.Pipe()
	h = &echo{}
	done := make(chan error, 1)
	go func() { done <- New(a, Options{Dead: dead}, h).Run(tb.Context()) }()
	var wrote bytes.Buffer
	read := make(chan struct{})
	go func() {
		_, _ = io.Copy(&wrote, b)
		close(read)
	}()
	if _, err := b.Write(in); err == nil {
		// The acceptor answers what it was sent before it sees the end.
		frame := func(seq uint32) []byte {
			f := frameOf(&tl.TCPPing{ID: 99})
			f[4], f[5] = byte(seq), byte(seq>>8)
			return f
		}
		_ = b.SetDeadline(time.Now().Add(dead))
		_, _ = b.Write(frame(1 << 15)) // a wrong number ends it
	}
	err = <-done
	_ = b.Close()
	<-read
	return wrote.Bytes(), h, err
}

// TestFrames: the vectors' stream is understood, and each of their violations ends the session.
func TestFrames(t *testing.T) {
	var doc struct {
		Stream struct {
			Hex string `json:"hex"`
		} `json:"stream"`
		MustClose []struct{ Hex, Why string } `json:"must_close_connection"`
	}
	golden.JSON(t, "protocol/frames.json", &doc)
	decode := func(s string) []byte {
		raw, err := hex.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	out, _, _ := converse(t, decode(doc.Stream.Hex), patient)
	connected, pong := frameOf(&tl.TCPConnected{ID: 1}), frameOf(&tl.TCPPong{ID: 2})
	pong[4] = 1
	if want := append(connected, pong...); !bytes.Equal(out, want) {
		t.Errorf("answered %x, want %x", out, want)
	}
	for _, c := range doc.MustClose {
		if _, _, err := converse(t, decode(c.Hex), patient); !errors.Is(err, ErrProtocol) && !errors.Is(err, wire.ErrTL) {
			t.Errorf("%s: %v", c.Why, err)
		}
	}
}

func stream(packets ...tl.Object) []byte {
	var out []byte
	for i, p := range packets {
		f := frameOf(p)
		f[4] = byte(i)
		out = append(out, f...)
	}
	return out
}

func TestWhatAPeerMayNotDo(t *testing.T) {
	connect := &tl.TCPConnect{ID: 1}
	for name, tc := range map[string]struct {
		in   []byte
		want string // in the error, or else in the answer
		out  tl.Object
	}{
		"query before connect":   {in: stream(&tl.TCPQuery{ID: 1}), want: "before the handshake"},
		"packet before connect":  {in: stream(&tl.TCPPacket{}), want: "before the handshake"},
		"connected in its place": {in: stream(&tl.TCPConnected{ID: 1}), want: "from the side that dialled"},
		"no packet":              {in: stream(connect, &tl.TestAnswer{}), want: "no packet"},
		"malformed message":      {in: stream(connect, &tl.TCPPacket{Data: []byte{1}}), want: "TL"},
		"unknown message":        {in: stream(connect, &tl.TCPPacket{Data: []byte{1, 2, 3, 4}}, &tl.TCPPing{ID: 5}), out: &tl.TCPPong{ID: 5}},
		"answer nobody awaits":   {in: stream(connect, &tl.TCPQueryAnswer{ID: 3}, &tl.TCPPing{ID: 5}), out: &tl.TCPPong{ID: 5}},
		"unknown function":       {in: stream(connect, &tl.TCPQuery{ID: 2, Data: []byte{1, 2, 3, 4}}), out: &tl.TCPQueryError{ID: 2, Code: 621, Message: "unknown function 04030201"}},
		"no function": {
			in: stream(connect, &tl.TCPQuery{ID: 2, Data: tl.Encode(connect)}), out: &tl.TCPQueryError{ID: 2, Code: 621, Message: "tcp.connect is no function"},
		},
		"malformed function": {in: stream(connect, &tl.TCPQuery{ID: 2, Data: append(tl.Encode(&tl.TestQuery{}), 0)}), out: &tl.TCPQueryError{ID: 2, Code: 500}},
	} {
		t.Run(name, func(t *testing.T) {
			out, _, err := converse(t, tc.in, patient)
			if tc.out == nil {
				if err == nil || !strings.Contains(err.Error(), tc.want) {
					t.Errorf("err = %v, want one about %q", err, tc.want)
				}
				return
			}
			want := tl.Encode(tc.out)
			if e, ok := tc.out.(*tl.TCPQueryError); ok && e.Message == "" {
				want = want[:16]
			}
			if !bytes.Contains(out, want) {
				t.Errorf("answered %x, want %x in it", out, want)
			}
		})
	}
}

// FuzzSession: no bytes from a peer panic, hang or make the session answer before the handshake.
func FuzzSession(f *testing.F) {
	f.Add(stream(&tl.TCPConnect{ID: 1}, &tl.TCPPing{ID: 2}))
	f.Add(stream(&tl.TCPConnect{ID: 1}, &tl.TCPQuery{ID: 2, Data: tl.Encode(&tl.TestQuery{ID: 3})}))
	f.Add(stream(&tl.TCPConnect{ID: 1}, &tl.TCPPacket{Data: tl.Encode(&tl.ClientCancelQuery{})}))
	f.Add(stream(&tl.TCPQuery{ID: 2}))
	f.Add([]byte{3, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, in []byte) {
		if len(in) > 1<<16 {
			return
		}
		out, h, err := converse(t, in, 50*time.Millisecond)
		if err == nil {
			t.Fatal("a session ended without a reason")
		}
		if h.seen() != "" && !bytes.Contains(out, tl.Encode(&tl.TCPConnected{})[:4]) {
			t.Fatalf("packets %q before the handshake", h.seen())
		}
	})
}

func BenchmarkSend(b *testing.B) {
	left, right := net.Pipe()
	d, a := New(left, Options{Dialer: true}, &echo{}), New(right, Options{}, discard{})
	ctx, cancel := context.WithCancel(b.Context())
	ends := make(chan error, 2)
	go func() { ends <- d.Run(ctx) }()
	go func() { ends <- a.Run(ctx) }()
	<-d.Ready()
	part := &tl.ClientQueryAnswerPartEx{Answer: bytes.Repeat([]byte("x"), 250)}
	b.ReportAllocs()
	for b.Loop() {
		if err := d.Send(ctx, part); err != nil {
			b.Fatal(err)
		}
	}
	cancel()
	_, _ = <-ends, <-ends
}

type discard struct{}

func (discard) Query(context.Context, tl.Function) (tl.Object, error) { return nil, errors.New("no") }
func (discard) Packet(context.Context, tl.Object) error               { return nil }
