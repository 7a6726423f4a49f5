package router

import (
	"errors"
	"io"
	"net"
	"runtime"
	"sync/atomic"
	"testing"

	"cocoon/measure/policy"
)

// runLot starts a lot that ends with the test.
func runLot(tb testing.TB) *lot {
	tb.Helper()
	l, err := newLot()
	if err != nil {
		tb.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		l.run()
	}()
	tb.Cleanup(func() {
		l.close()
		<-ended
	})
	return l
}

// TestLotWakesOnce: data, an end, a reset and closing wake who waits, once; the socket can wait again.
func TestLotWakesOnce(t *testing.T) {
	l := runLot(t)
	for name, tc := range map[string]struct {
		happens func(ours *socket, theirs *net.TCPConn) error
		early   bool // whether it happens before somebody waits
	}{
		"data":            {func(_ *socket, theirs *net.TCPConn) error { _, err := theirs.Write([]byte("data")); return err }, false},
		"data, before":    {func(_ *socket, theirs *net.TCPConn) error { _, err := theirs.Write([]byte("data")); return err }, true},
		"the end":         {func(_ *socket, theirs *net.TCPConn) error { return theirs.CloseWrite() }, false},
		"the end, before": {func(_ *socket, theirs *net.TCPConn) error { return theirs.CloseWrite() }, true},
		"a reset":         {func(_ *socket, theirs *net.TCPConn) error { return errors.Join(theirs.SetLinger(0), theirs.Close()) }, false},
		"closing":         {func(ours *socket, _ *net.TCPConn) error { return ours.Close() }, false},
		"aborting, and data": {func(ours *socket, theirs *net.TCPConn) error {
			_, err := theirs.Write([]byte{1})
			ours.abort()
			return err
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			ours, theirs := sockets(t)
			var woken atomic.Int32
			awake := make(chan struct{}, 8)
			resume := func() { woken.Add(1); awake <- struct{}{} }
			if tc.early {
				if err := tc.happens(ours, theirs); err != nil {
					t.Fatal(err)
				}
			}
			if !l.park(ours, resume) {
				t.Fatal("an open socket cannot wait")
			}
			if !tc.early {
				if woken.Load() > 0 {
					t.Fatal("woken though nothing has happened")
				}
				if err := tc.happens(ours, theirs); err != nil {
					t.Fatal(err)
				}
			}
			<-awake
			if err := ours.ready(); err != nil && !errors.Is(err, net.ErrClosed) && name != "a reset" {
				t.Error(err)
			}
			again := l.park(ours, resume) // what has happened is still there
			if closed := name == "closing" || name == "aborting, and data"; again == closed {
				t.Errorf("waiting again: %t", again)
			}
			if again {
				<-awake
			}
			want := int32(1)
			if again {
				want = 2
			}
			if err := ours.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
				t.Fatal(err)
			}
			if n := woken.Load(); n != want {
				t.Errorf("woken %d times, want %d", n, want)
			}
		})
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.waiting) > 0 {
		t.Errorf("%d still wait", len(l.waiting))
	}
}

// TestLotAndCloseRace: whoever waits while a socket is being closed and written to is woken once, or told that it cannot
// wait.
func TestLotAndCloseRace(t *testing.T) {
	l := runLot(t)
	for range 200 {
		ours, theirs := sockets(t)
		var woken atomic.Int32
		awake := make(chan struct{}, 8)
		closed := make(chan struct{})
		go func() {
			defer close(closed)
			_ = ours.Close()
		}()
		go func() { _, _ = theirs.Write([]byte{1}) }()
		if l.park(ours, func() { woken.Add(1); awake <- struct{}{} }) {
			<-awake
		} else {
			woken.Add(1)
		}
		<-closed
		if n := woken.Load(); n != 1 {
			t.Fatalf("woken %d times", n)
		}
		_ = theirs.Close()
	}
}

// TestLingering: who waits long is told so, and the socket reads as before.
func TestLingering(t *testing.T) {
	l := runLot(t)
	ours, theirs := sockets(t)
	ours.eager = true
	waited := make(chan error, 1)
	go func() { waited <- l.linger(ours) }()
	eventually(t, "the waiting is known", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return len(l.young) == 1
	})
	l.sweep()
	select {
	case err := <-waited:
		t.Fatalf("the first sweep ends the waiting: %v", err)
	default:
	}
	l.sweep()
	if err := <-waited; !errors.Is(err, errPark) {
		t.Fatalf("waiting long ends with %v", err)
	}
	if _, err := theirs.Write([]byte("data")); err != nil {
		t.Fatal(err)
	}
	if err := l.linger(ours); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 8)
	if n, err := ours.Read(buf); string(buf[:n]) != "data" || err != nil {
		t.Errorf("%q, %v", buf[:n], err)
	}
	if len(l.young)+len(l.old) > 0 {
		t.Error("somebody is thought to wait")
	}
	if !(*lot)(nil).park(ours, nil) && runLot(t).park(newSocket(struct{ net.Conn }{theirs}), nil) {
		t.Error("a connection that is no socket can wait")
	}
}

// TestIdleSessionsHoldNoGoroutine: those that wait long; they go on when something comes, and end with the router. What is
// left is a few that wait for work.
func TestIdleSessionsHoldNoGoroutine(t *testing.T) {
	const sessions = 150
	w := newWorld(t)
	service := serveInner(t, echo)
	r := start(t, w, w.identity(t, nil), "-d 0 -R 11001:"+service.dest()+"@any", w.file(w.images(w.image), ""))
	d := w.client(t, w.identity(t, nil), policy.Builtin(policy.Any))
	type peer interface{ io.ReadWriter }
	var open []peer
	talk := func() {
		t.Helper()
		for _, c := range open {
			if _, err := c.Write([]byte("ping")); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(c, make([]byte, 4)); err != nil {
				t.Fatal(err)
			}
		}
	}
	before := runtime.NumGoroutine()
	for range sessions {
		open = append(open, dialPeer(t, d, r.addr[11001]))
	}
	talk()
	few := before + sessions + sessions/2 // the service has one for each session, and the router at least one if it holds any
	eventually(t, "the sessions wait without goroutines", func() bool { return runtime.NumGoroutine() < few })
	talk()
	eventually(t, "they do again", func() bool { return runtime.NumGoroutine() < few })
	r.stop() // which the kit checks
}
