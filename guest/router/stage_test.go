package router

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"cocoon/measure/policy"
	"cocoon/measure/ratls"
	"cocoon/measure/ratls/pow"
)

// TestStagesDeadlinesEndWithThem: a session lives on after the deadlines of the stages that it came through.
func TestStagesDeadlinesEndWithThem(t *testing.T) {
	w := newWorld(t)
	id := w.identity(t, nil)
	service := serveInner(t, echo)
	const short = time.Second
	limits := fmt.Sprintf(`{"limits": {"socks": %q, "dial": %q, "inner_dial": %q, "preamble": %q, "pow": %q, "handshake": %q, "client_handshake": %q, "drain": "10ms"}}`,
		short, short, short, short, 10*short, 10*short, 10*short)
	for _, reply := range []string{"early", "late"} {
		t.Run(reply, func(t *testing.T) {
			t.Parallel()
			far := start(t, w, id, "-s -d 0 -R 11001:"+service.dest()+"@any", strings.Replace(limits, `"drain"`, `"pending": 9, "drain"`, 1))
			near := start(t, w, id, "-S 8116@any --socks-reply "+reply, limits)
			app := dialTCP(t, near.addr[8116])
			port := addressOf(mustAddr(t, far.addr[11001])).Port()
			if err := send(app, fmt.Sprintf("050100"+"050100017f000001%04x", port)); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(app, make([]byte, 2+10+4+572)); err != nil { // answers, and our preamble comes back
				t.Fatal(err)
			}
			timer := time.NewTimer(2 * short)
			defer timer.Stop()
			<-timer.C
			if _, err := app.Write([]byte("late")); err != nil {
				t.Fatal(err)
			}
			answer := make([]byte, 4)
			if _, err := io.ReadFull(app, answer); err != nil || string(answer) != "late" {
				t.Errorf("after the stages' deadlines: %q, %v\n%s", answer, err, near.log)
			}
		})
	}
}

// TestPlacesAreGivenBack: by connections that fail at any stage, and by sessions. Places that were lost would add up to a
// listener that admits nobody.
func TestPlacesAreGivenBack(t *testing.T) {
	w := newWorld(t)
	id := w.identity(t, nil)
	service := serveInner(t, echo)
	r := start(t, w, id, "-d 0 -R 11001:"+service.dest()+"@any -R 11002:"+service.dest()+"@sim -S 8116@any",
		strings.Replace(w.file(w.images(w.image), ""), `"drain": "100ms"`, `"handshake": "100ms", "pow": "100ms", "drain": "100ms"`, 1))
	d := w.client(t, id, policy.Builtin(policy.Any))
	for name, connect := range map[string]func() error{
		"gone at once": func() error { return dialTCP(t, r.addr[11001]).Close() },
		"silent": func() error {
			_, err := io.Copy(io.Discard, dialTCP(t, r.addr[11001]))
			return err
		},
		"no TLS": func() error {
			c := dialTCP(t, r.addr[11001])
			err := errors.Join(prove(c), send(c, "00"))
			_, _ = io.Copy(io.Discard, c)
			return err
		},
		"not admitted": func() error {
			if c, err := d.Dial(t.Context(), r.addr[11002]); err == nil {
				_, _ = c.Read(make([]byte, 1)) // the refusal
				_ = c.Close()
			}
			return nil
		},
		"no SOCKS": func() error { return send(dialTCP(t, r.addr[8116]), "0401") },
		"a session": func() error {
			exchange(t, dialPeer(t, d, r.addr[11001]), 10)
			return nil
		},
	} {
		if err := connect(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for _, l := range r.listeners {
			eventually(t, name+": port "+l.metrics.name+" has its places", func() bool {
				l.gate.mu.Lock()
				defer l.gate.mu.Unlock()
				return l.gate.total == places{} && len(l.gate.sources) == 0
			})
		}
	}
}

// TestDifficultyIsRaisedToABound: nobody is asked for more than pow.DefaultRaised because others are many; what the
// configuration asks for stays.
func TestDifficultyIsRaisedToABound(t *testing.T) {
	w := newWorld(t)
	for base, raised := range map[int]int{0: 4, 20: 24, 22: 24, 24: 24, 30: 30} {
		cfg, err := Parse([]string{"-d", fmt.Sprint(base), "-R", "11001:localhost:11101@any"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		r, err := New(cfg, Deps{Now: time.Now, Credentials: w.identity(t, nil), Judge: w.judge})
		if err != nil {
			t.Fatal(err)
		}
		s := r.listeners[0].server
		if calm, full := s.PoW.For(addressOf(nil).Addr(), 0, 10), s.PoW.For(addressOf(nil).Addr(), 10, 10); calm != base || full != raised {
			t.Errorf("difficulty %d is raised from %d to %d, want to %d", base, calm, full, raised)
		}
	}
	if pow.DefaultRaised != 24 {
		t.Error("attestation.md section 5 says 24")
	}
}

// TestSessionsAreTakenOutOfCryptoTLS: those that are piped, for the memory of idle ones; a handler gets crypto/tls's.
func TestSessionsAreTakenOutOfCryptoTLS(t *testing.T) {
	w := newWorld(t)
	cfg, err := Parse([]string{"-R", "11001:localhost:11101@any", "-R", "11002:localhost:11102@any"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	r, err := New(cfg, Deps{
		Now: time.Now, Credentials: w.identity(t, nil), Judge: w.judge,
		Handlers: map[uint16]Handler{11002: func(_ context.Context, _ *ratls.Conn) {}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if piped, handled := r.listeners[0].server.Detachable, r.listeners[1].server.Detachable; !piped || handled {
		t.Errorf("detachable: piped %t, handled %t", piped, handled)
	}
}
