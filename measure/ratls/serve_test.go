package ratls

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"cocoon/measure/policy"
)

func TestServeEndsWithItsContext(t *testing.T) {
	w := newWorld(t)
	d, s := w.pair()
	l := listenTCP(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	entered, served := make(chan struct{}), make(chan error, 1)
	go func() {
		served <- s.Serve(ctx, l, func(ctx context.Context, _ *Conn) {
			close(entered)
			<-ctx.Done()
		})
	}()
	c, err := d.Dial(t.Context(), l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	<-entered
	cancel()
	if err := <-served; err != nil {
		t.Error(err)
	}
	if got, err := io.ReadAll(c); err != nil || len(got) > 0 {
		t.Errorf("the client reads %q (%v), want the end", got, err)
	}
	_ = c.Close()
	if _, err := d.Dial(t.Context(), l.Addr().String()); err == nil {
		t.Error("the listener is open")
	}
}

func TestAHandlersPanicEndsItsConnectionOnly(t *testing.T) {
	w := newWorld(t)
	d, s := w.pair()
	var log notebook
	s.Log = slog.New(slog.NewTextHandler(&log, nil))
	l := listenTCP(t)
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() {
		served <- s.Serve(ctx, l, func(_ context.Context, c *Conn) {
			b := make([]byte, 1)
			_, _ = c.Read(b)
			if b[0] == 'p' {
				b[0] = b[int(b[0])]
			}
			_, _ = c.Write(b)
		})
	}()
	for _, b := range []byte{'a', 'p', 'b'} {
		c, err := d.Dial(t.Context(), l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = c.Write([]byte{b})
		got, err := io.ReadAll(c)
		if b != 'p' && (err != nil || string(got) != string(b)) {
			t.Errorf("%c comes back as %q (%v)", b, got, err)
		}
		_ = c.Close()
	}
	cancel()
	if err := <-served; err != nil {
		t.Error(err)
	}
	if _, text := log.read(); !strings.Contains(text, "out of range") || s.Pending() != 0 {
		t.Errorf("log %.200q, %d pending", text, s.Pending())
	}
}

// flaky is a listener of given answers.
type flaky struct {
	net.Listener
	answers chan any
	done    chan struct{}
	once    sync.Once
}

func (f *flaky) Accept() (net.Conn, error) {
	select {
	case a := <-f.answers:
		if err, ok := a.(error); ok {
			return nil, err
		}
		c, _ := a.(net.Conn)
		return c, nil
	case <-f.done:
		return nil, net.ErrClosed
	}
}

func (f *flaky) Close() error {
	f.once.Do(func() { close(f.done) })
	return nil
}

func TestServeSurvivesAcceptErrorsAndBoundsHandshakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		_, s := w.pair()
		s.MaxPending = 2
		var busy, slow atomic.Int64
		s.Observe = func(_ Stage, _ time.Duration, err error) {
			if code := CodeOf(err); code == CodeBusy {
				busy.Add(1)
			} else if code == CodeTimeout {
				slow.Add(1)
			}
		}
		l := &flaky{answers: make(chan any, 20), done: make(chan struct{})}
		ctx, cancel := context.WithCancel(t.Context())
		served := make(chan error, 1)
		go func() { served <- s.Serve(ctx, l, func(context.Context, *Conn) {}) }()
		start := time.Now()
		for range 5 {
			l.answers <- errors.New("too many open files")
		}
		var far []net.Conn
		for range 5 {
			a, b := net.Pipe()
			l.answers <- a
			far = append(far, b)
		}
		<-time.After(2 * time.Second)
		if s.Pending() != 2 || busy.Load() != 3 {
			t.Errorf("%d are pending and %d were refused, want 2 and 3", s.Pending(), busy.Load())
		}
		<-time.After(DefaultPoWTimeout)
		synctest.Wait()
		if s.Pending() != 0 || slow.Load() != 2 {
			t.Errorf("%d are pending, %d were cut", s.Pending(), slow.Load())
		}
		for _, c := range far {
			_ = c.Close()
		}
		_ = l.Close()
		if err := <-served; !errors.Is(err, net.ErrClosed) {
			t.Errorf("a listener that was closed: %v", err)
		}
		cancel()
		if time.Since(start) > time.Minute {
			t.Errorf("it took %s", time.Since(start))
		}
	})
}

// TestNoWrongVerdictWhilePoliciesChange connects and connects while the policy goes back and forth between one that
// admits the clients and one that does not. COCOON_TEST=big makes it 10 000 connections.
func TestNoWrongVerdictWhilePoliciesChange(t *testing.T) {
	total := int64(400)
	if named("big") {
		total = 10_000
	}
	v := newTown(t)
	good, bad := v.world.terms(), v.world.terms(func(r *policy.Rules) { r.AllowedImages[0][0]++ })
	v.server.Observe = func(stage Stage, _ time.Duration, err error) {
		// A client may see its refusal before the server has read its last message.
		if code := CodeOf(err); code != policy.OK && code != policy.Image && code != CodePeerAborted {
			t.Errorf("server, %s: %v", stage, err)
		}
	}
	l := listenTCP(t)
	ctx, cancel := context.WithCancel(t.Context())
	var background sync.WaitGroup
	background.Go(func() {
		if err := v.sessions.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	background.Go(func() {
		if err := v.server.Serve(ctx, l, greet); err != nil {
			t.Error(err)
		}
	})

	// phase is odd while the policy is being changed; phase/2 even means the good one.
	var phase, count, sure, refused atomic.Int64
	var clients sync.WaitGroup
	for range 4 {
		clients.Go(func() {
			for count.Add(1) <= total {
				before := phase.Load()
				admitted := v.greeted(t, l.Addr().String())
				if after := phase.Load(); before != after || before%2 == 1 {
					continue // either is right
				}
				sure.Add(1)
				if !admitted {
					refused.Add(1)
				}
				if want := before/2%2 == 0; admitted != want {
					t.Errorf("in phase %d a client is admitted: %t, want %t", before/2, admitted, want)
				}
			}
		})
	}
	for i := int64(1); count.Load() < total; i++ {
		for until := count.Load() + 20; count.Load() < min(until, total); {
			wait(ctx, time.Millisecond)
		}
		phase.Add(1)
		v.set([]Terms{good, bad}[i%2])
		v.sessions.Notify("policy")
		phase.Add(1)
	}
	clients.Wait()
	v.set(good)
	if !v.greeted(t, l.Addr().String()) {
		t.Error("at the end nobody is admitted")
	}
	cancel()
	background.Wait()
	t.Logf("%d connections, %d policies, %d within one policy of which %d refused, %d evicted, %+v",
		total, phase.Load()/2, sure.Load(), refused.Load(), len(v.evictions()), v.judge.Stats())
	if sure.Load() < total/10 || refused.Load() == 0 || refused.Load() == sure.Load() {
		t.Error("the test has lost its point")
	}
	if v.sessions.Len() != 0 || v.server.Pending() != 0 {
		t.Errorf("%d sessions and %d handshakes are left", v.sessions.Len(), v.server.Pending())
	}
}

func greet(_ context.Context, c *Conn) {
	_, _ = c.Write([]byte("welcome"))
	_, _ = c.Read(make([]byte, 1))
}

// greeted connects and says whether the server admitted us.
func (v *town) greeted(t *testing.T, addr string) bool {
	t.Helper()
	c, err := v.dialer.Dial(t.Context(), addr)
	if err != nil {
		if code := CodeOf(err); code != CodePeerRefused && code != CodePeerAborted {
			t.Errorf("client: %v", err)
		}
		return false
	}
	defer c.Close() //nolint:errcheck // test
	_ = c.SetReadDeadline(time.Now().Add(time.Minute))
	_, err = io.ReadFull(c, make([]byte, len("welcome")))
	return err == nil
}
