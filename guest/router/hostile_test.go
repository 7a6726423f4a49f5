package router

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"cocoon/measure/policy"
	"cocoon/measure/ratls"
	"cocoon/measure/ratls/pow"
)

// quick gives every stage a deadline that a test can wait for.
const quick = `"limits": {"socks": "60ms", "dial": "60ms", "inner_dial": "60ms", "pow": "60ms", "handshake": "60ms", "client_handshake": "60ms", "preamble": "60ms", "drain": "50ms"}`

// unhurried gives every stage the time that it usually has, for what ends by itself.
const unhurried = `"limits": {"drain": "50ms"}`

// TestSlowPeersAreCut: whoever stops in the middle of a stage is cut at its deadline, whatever it has sent.
func TestSlowPeersAreCut(t *testing.T) {
	w := newWorld(t)
	id := w.identity(t, nil)
	for name, tc := range map[string]struct {
		args string
		port uint16
		// stall brings the connection to the stage and stops there.
		stall func(net.Conn) error
		code  string
	}{
		"silent SOCKS program":  {"-S 8116@any", 8116, func(net.Conn) error { return nil }, "socks"},
		"half a SOCKS greeting": {"-S 8116@any", 8116, func(c net.Conn) error { return send(c, "0502") }, "socks"},
		"half a SOCKS request":  {"-S 8116@any", 8116, func(c net.Conn) error { return send(c, "0501000501000310") }, "socks"},
		"no proof of work":      {"-R 11001:localhost:11101@any", 11001, func(net.Conn) error { return nil }, "timeout"},
		"half a proof of work":  {"-R 11001:localhost:11101@any", 11001, func(c net.Conn) error { return send(c, "197382010000") }, "timeout"},
		"proof, then nothing":   {"-d 0 -R 11001:localhost:11101@any", 11001, prove, "timeout"},
		"proof, then half a hello": {"-d 0 -R 11001:localhost:11101@any", 11001, func(c net.Conn) error {
			return errors.Join(prove(c), send(c, "16030100ff0100"))
		}, "timeout"},
		"a byte now and then": {"-d 0 -R 11001:localhost:11101@any", 11001, func(c net.Conn) error {
			err := prove(c)
			go drip(c)
			return err
		}, "timeout"},
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t, w, id, tc.args, "{"+quick+"}")
			c := dialTCP(t, r.addr[tc.port])
			began := time.Now()
			if err := tc.stall(c); err != nil {
				t.Logf("cut before the stall: %v", err) // by a machine that stalls itself
			}
			_, _ = io.Copy(io.Discard, c)
			if took := time.Since(began); took > within/2 {
				t.Errorf("cut after %s", took)
			}
			want := fmt.Sprintf(`router_handshakes_total{listener="%d",code=%q} 1`, tc.port, tc.code)
			eventually(t, "the cut is counted as "+want, func() bool { return strings.Contains(r.text(), want) })
		})
	}
}

// send sends bytes written in hex.
func send(c net.Conn, text string) error {
	b, err := hex.DecodeString(text)
	if err == nil {
		_, err = c.Write(b)
	}
	return err
}

// prove answers the challenge.
func prove(c net.Conn) error {
	var challenge [pow.ChallengeSize]byte
	if _, err := io.ReadFull(c, challenge[:]); err != nil {
		return err
	}
	return send(c, "197382010000000000000000")
}

// drip sends a record that announces much, a byte at a time, until it is cut.
func drip(c net.Conn) {
	_, _ = c.Write([]byte{0x16, 3, 1, 0x3f, 0xff, 1, 0, 0x3f, 0xfb})
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for range tick.C {
		if _, err := c.Write([]byte{0}); err != nil {
			return
		}
	}
}

// silent is a peer that takes connections, does what say says, and keeps them.
func silent(t *testing.T, say func(net.Conn)) string {
	t.Helper()
	return serveInner(t, func(c *net.TCPConn) {
		say(c)
		_, _ = io.Copy(io.Discard, c)
	}).dest()
}

// TestSlowServersAreLeft: the other direction.
func TestSlowServersAreLeft(t *testing.T) {
	w := newWorld(t)
	id := w.identity(t, nil)
	for name, tc := range map[string]struct {
		say  func(net.Conn)
		code string
	}{
		"no challenge":        {func(net.Conn) {}, "timeout"},
		"half a challenge":    {func(c net.Conn) { _, _ = c.Write(make([]byte, 12)) }, "timeout"},
		"no challenge at all": {func(c net.Conn) { _, _ = c.Write(make([]byte, 24)) }, "pow"},
		"too hard": {func(c net.Conn) {
			_, _ = c.Write(pow.Challenge{Difficulty: 30}.Append(nil))
		}, "pow"},
		"challenge, then nothing": {func(c net.Conn) {
			_, _ = c.Write(pow.Challenge{Difficulty: 0}.Append(nil))
		}, "timeout"},
		"challenge, then no TLS": {func(c net.Conn) {
			_, _ = c.Write(append(pow.Challenge{Difficulty: 0}.Append(nil), "HTTP/1.1 400 Bad Request\r\n\r\n"...))
		}, "tls"},
	} {
		t.Run(name, func(t *testing.T) {
			limits := unhurried
			if tc.code == "timeout" {
				limits = quick
			}
			r := start(t, w, id, "-F 9000:"+silent(t, tc.say)+"@any", "{"+limits+"}")
			c := dialTCP(t, r.addr[9000])
			if got, _ := io.ReadAll(c); len(got) != 0 {
				t.Errorf("the program was told %x", got)
			}
			want := fmt.Sprintf(`router_handshakes_total{listener="9000",code=%q} 1`, tc.code)
			eventually(t, "it is counted as "+want+"\n", func() bool { return strings.Contains(r.text(), want) })
		})
	}
}

// TestDialsOfTheProcessGoByTheFilesLimits: also where the file has no ports.
func TestDialsOfTheProcessGoByTheFilesLimits(t *testing.T) {
	w := newWorld(t)
	r := start(t, w, w.identity(t, nil), "", "{"+quick+"}")
	began := time.Now()
	_, err := r.Dial(t.Context(), "any", silent(t, func(net.Conn) {}))
	if code := ratls.CodeOf(err); code != ratls.CodeTimeout || time.Since(began) > within/2 {
		t.Errorf("a peer that says nothing is left after %s with %v", time.Since(began), err)
	}
}

// TestDialsAreBounded: a destination that never answers is given up at the stage's deadline, in both directions.
func TestDialsAreBounded(t *testing.T) {
	w := newWorld(t)
	id := w.identity(t, nil)
	r := start(t, w, id, "-d 0 -S 8116@any -R 11001:localhost:11101@any", `{"limits": {"dial": "60ms", "inner_dial": "60ms"}}`, func(d *Deps) {
		d.Dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}
	})
	app := dialTCP(t, r.addr[8116])
	if err := send(app, "050100"+"050100010a0000022ad8"); err != nil {
		t.Fatal(err)
	}
	if got, _ := io.ReadAll(app); hex.EncodeToString(got) != "0500"+"05060001000000000000" {
		t.Errorf("the program was told %x", got)
	}
	if got, err := io.ReadAll(dialPeer(t, w.client(t, id, policy.Builtin(policy.Any)), r.addr[11001])); err == nil {
		t.Errorf("the peer was told %q and a clean end", got)
	}
	for _, want := range []string{`router_handshakes_total{listener="8116",code="dial"} 1`, `router_inner_dial_errors_total{listener="11001"} 1`} {
		eventually(t, want, func() bool { return strings.Contains(r.text(), want) })
	}
}

// TestServiceThatDoesNotRead: the preamble has a deadline of its own; it ends with the preamble.
func TestServiceThatDoesNotRead(t *testing.T) {
	w := newWorld(t)
	id := w.identity(t, nil)
	r := start(t, w, id, "-s -d 0 -R 11001:localhost:11101@any", `{"limits": {"preamble": "60ms"}}`, func(d *Deps) {
		d.Dial = func(context.Context, string, string) (net.Conn, error) {
			ours, theirs := net.Pipe() // nobody reads it
			t.Cleanup(func() { _ = theirs.Close() })
			return ours, nil
		}
	})
	conn := dialPeer(t, w.client(t, id, policy.Builtin(policy.Any)), r.addr[11001])
	if _, err := io.ReadAll(conn); err == nil {
		t.Error("the stream ended as if the service had ended it")
	}
	eventually(t, "the connection is given up at the deadline", func() bool {
		return len(r.Sessions()) == 0 && strings.Contains(r.log.String(), "i/o timeout")
	})

	// A service that is slow after the preamble is nobody's business.
	slow := serveInner(t, func(c *net.TCPConn) {
		timer := time.NewTimer(1500 * time.Millisecond)
		defer timer.Stop()
		<-timer.C
		_, _ = io.CopyN(io.Discard, c, 4+572)
		echo(c)
	})
	r = start(t, w, id, "-s -d 0 -R 11001:"+slow.dest()+"@any", `{"limits": {"preamble": "1s"}}`)
	exchange(t, dialPeer(t, w.client(t, id, policy.Builtin(policy.Any)), r.addr[11001]), 8<<20)
}

// TestHalfClose: each side may end its stream and go on reading, in either order.
func TestHalfClose(t *testing.T) {
	w := newWorld(t)
	id := w.identity(t, nil)
	// The service waits for the end of the request and then answers.
	asked := serveInner(t, func(c *net.TCPConn) {
		request, _ := io.ReadAll(c)
		_, _ = c.Write(bytes.ToUpper(request))
		_ = c.CloseWrite()
	})
	r := start(t, w, id, "-d 0 -R 11001:"+asked.dest()+"@any", "")
	d := w.client(t, id, policy.Builtin(policy.Any))
	c := dialPeer(t, d, r.addr[11001])
	if _, err := c.Write([]byte("question")); err != nil {
		t.Fatal(err)
	}
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(c); string(got) != "QUESTION" || err != nil {
		t.Errorf("answered %q, %v", got, err)
	}
	// The service ends first and hears the rest.
	heard := make(chan string, 1)
	told := serveInner(t, func(c *net.TCPConn) {
		_, _ = c.Write([]byte("all I have"))
		_ = c.CloseWrite()
		rest, _ := io.ReadAll(c)
		heard <- string(rest)
	})
	r = start(t, w, id, "-d 0 -R 11001:"+told.dest()+"@any", "")
	c = dialPeer(t, d, r.addr[11001])
	if got, err := io.ReadAll(c); string(got) != "all I have" || err != nil {
		t.Errorf("told %q, %v", got, err)
	}
	if _, err := c.Write([]byte("thanks")); err != nil {
		t.Fatal(err)
	}
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got := <-heard; got != "thanks" {
		t.Errorf("the service heard %q", got)
	}
	eventually(t, "sessions end", func() bool { return len(r.Sessions()) == 0 && r.listeners[0].gate.sessions() == 0 })
}

// TestAbortIsNoEnd: a service that breaks off is not mistaken for one that has said everything.
func TestAbortIsNoEnd(t *testing.T) {
	w := newWorld(t)
	id := w.identity(t, nil)
	broken := serveInner(t, func(c *net.TCPConn) {
		_, _ = c.Write([]byte("half of a sen"))
		var one [1]byte
		_, _ = c.Read(one[:]) // the peer has it
		_ = c.SetLinger(0)
	})
	r := start(t, w, id, "-d 0 -R 11001:"+broken.dest()+"@any", "")
	c := dialPeer(t, w.client(t, id, policy.Builtin(policy.Any)), r.addr[11001])
	got := make([]byte, 13)
	if _, err := io.ReadFull(c, got); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(c); err == nil {
		t.Errorf("after %q the stream ended cleanly with %q", got, rest)
	}
}

// TestLimitsOfAListener: places of handshakes and sessions, per listener and per source.
func TestLimitsOfAListener(t *testing.T) {
	w := newWorld(t)
	id := w.identity(t, nil)
	service := serveInner(t, echo)
	port := func(limits string) string {
		return fmt.Sprintf(`{"ports": [{"port": 11001, "type": "reverse", "policy_name": "any", "destination_host": "127.0.0.1",
			"destination_port": %d, "pow_difficulty": 0, "limits": {%s, "drain": "10ms"}}]}`, service.addr.Port(), limits)
	}
	for name, tc := range map[string]struct {
		limits string
		open   int
		live   bool // the handshakes are done
		want   string
	}{
		"pending":                {`"pending": 3`, 3, false, fullPending},
		"pending per source":     {`"pending_per_source": 3`, 3, false, fullSource},
		"sessions":               {`"connections": 3`, 3, true, fullSessions},
		"sessions per source":    {`"connections_per_source": 3`, 3, true, fullSource},
		"an exempt source":       {`"connections_per_source": 3, "pending_per_source": 3, "exempt": ["127.0.0.0/8"]`, 5, true, ""},
		"pending are given back": {`"pending": 3`, 5, true, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t, w, id, "", port(tc.limits))
			d := w.client(t, id, policy.Builtin(policy.Any))
			for i := range tc.open {
				if !tc.live {
					c := dialTCP(t, r.addr[11001])
					if _, err := io.ReadFull(c, make([]byte, pow.ChallengeSize)); err != nil {
						t.Fatalf("connection %d: %v", i, err)
					}
					continue
				}
				c := dialPeer(t, d, r.addr[11001])
				if _, err := c.Write([]byte{1}); err != nil {
					t.Fatal(err)
				}
				if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
					t.Fatalf("connection %d: %v", i, err)
				}
			}
			got := 0
			if c, err := new(net.Dialer).DialContext(t.Context(), "tcp", r.addr[11001]); err == nil {
				_ = c.SetDeadline(time.Now().Add(within))
				if got, err = io.ReadFull(c, make([]byte, pow.ChallengeSize)); errors.Is(err, os.ErrDeadlineExceeded) {
					t.Error("a connection without a place is not closed")
				}
				_ = c.Close()
			}
			if refused := got == 0; refused != (tc.want != "") {
				t.Errorf("one more: challenged with %d bytes", got)
			}
			if tc.want != "" {
				eventually(t, tc.want+" is counted", func() bool { return strings.Contains(r.text(), `code="`+tc.want+`"} 1`) })
			}
		})
	}
}

// TestDifficultyRises: from half of the places on, challenges get harder.
func TestDifficultyRises(t *testing.T) {
	w := newWorld(t)
	r := start(t, w, w.identity(t, nil), "-d 2", `{"limits": {"pending": 8, "drain": "10ms"},
		"ports": [{"port": 11001, "type": "reverse", "policy_name": "any", "destination_host": "localhost", "destination_port": 11101}]}`)
	var got []int
	for range 8 {
		c := dialTCP(t, r.addr[11001])
		var b [pow.ChallengeSize]byte
		if _, err := io.ReadFull(c, b[:]); err != nil {
			t.Fatal(err)
		}
		challenge, err := pow.ParseChallenge(b[:])
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, challenge.Difficulty)
	}
	if want := []int{2, 2, 2, 2, 3, 4, 5, 6}; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("difficulties %v, want %v", got, want)
	}
	if !strings.Contains(r.text(), `router_pow_difficulty{listener="11001"} 6`) {
		t.Errorf("metrics: %s", grep(r.text(), "difficulty"))
	}
}

// TestSOCKSReplies: early answers for TCP only, late for the verdict; user names choose policies.
func TestSOCKSReplies(t *testing.T) {
	w := newWorld(t)
	id := w.identity(t, nil)
	service := serveInner(t, echo)
	far := start(t, w, id, "-d 0 -R 11001:"+service.dest()+"@any", "")
	gone := serveInner(t, echo)
	file := w.file(w.images(w.image), `{"port": 8116, "type": "socks5", "policy_name": "sim", "allow_policy_from_username": true, "socks_reply": "late"},
		{"port": 8117, "type": "socks5", "policy_name": "sim"}`)
	r := start(t, w, id, "-m 8", file, func(d *Deps) {
		d.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			if address == gone.dest() {
				address = "127.0.0.1:1"
			}
			return new(net.Dialer).DialContext(ctx, network, address)
		}
	})
	connect := func(addr string) string {
		at := addressOf(mustAddr(t, addr))
		return fmt.Sprintf("050100017f000001%04x", at.Port())
	}
	for name, tc := range map[string]struct {
		port   uint16
		sent   string
		answer string // begins
		works  bool
	}{
		"early, peer not admitted":        {8117, "050100" + connect(far.addr[11001]), "0500" + "05000001", false},
		"late, peer not admitted":         {8116, "050100" + connect(far.addr[11001]), "0500" + "05020001000000000000", false},
		"late, admitted by user's name":   {8116, "050102" + "0103" + hex.EncodeToString([]byte("any")) + "00" + connect(far.addr[11001]), "0502" + "0100" + "05000001", true},
		"late, refused connection":        {8116, "050100" + connect(gone.dest()), "0500" + "05050001000000000000", false},
		"early, refused connection":       {8117, "050100" + connect(gone.dest()), "0500" + "05050001000000000000", false},
		"early, name that does not exist": {8117, "050100" + "0501000307" + hex.EncodeToString([]byte("invalid")) + "2af9", "0500" + "05040001000000000000", false},
	} {
		t.Run(name, func(t *testing.T) {
			c := dialTCP(t, r.addr[tc.port])
			if err := send(c, tc.sent); err != nil {
				t.Fatal(err)
			}
			got := make([]byte, len(tc.answer)/2)
			if _, err := io.ReadFull(c, got); err != nil || hex.EncodeToString(got) != tc.answer {
				if strings.Contains(name, "does not exist") && strings.HasPrefix(hex.EncodeToString(got), "050005") {
					t.Skipf("this machine's resolver answers %x", got)
				}
				t.Fatalf("answered %x, %v, want %s", got, err, tc.answer)
			}
			if tc.works {
				if _, err := io.ReadFull(c, make([]byte, 6)); err != nil { // the rest of the reply
					t.Fatal(err)
				}
				exchange(t, c, 100)
			} else if rest, _ := io.ReadAll(c); len(rest) > 6 {
				t.Errorf("then %x", rest)
			}
		})
	}
}

// TestReloadUnderLoad: while peers come and go a reload takes one of two images away and gives it back; nobody of the
// wrong image is served after it, live sessions of it end, others stay.
func TestReloadUnderLoad(t *testing.T) {
	w := newWorld(t)
	attested, bare := w.identity(t, w.td), w.identity(t, nil)
	service := serveInner(t, echo)
	args := strings.Fields("-c router.json -d 0 -R 11001:" + service.dest() + "@sim -R 11002:" + service.dest() + "@any")
	load := func(image string) *Config {
		t.Helper()
		cfg, err := Parse(args, files(w.file(w.images(image), "")))
		if err != nil {
			t.Fatal(err)
		}
		return cfg
	}
	r := start(t, w, bare, strings.Join(args[2:], " "), w.file(w.images(w.image), ""))
	d := w.client(t, attested, policy.Builtin(policy.Any))
	admitted, other := dialPeer(t, d, r.addr[11001]), dialPeer(t, d, r.addr[11002])
	echoed := func(c *ratls.Conn) error {
		if _, err := c.Write([]byte{1}); err != nil {
			return err
		}
		_, err := io.ReadFull(c, make([]byte, 1))
		return err
	}
	if err := echoed(admitted); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var load1 sync.WaitGroup
	for range 4 {
		load1.Go(func() {
			for ctx.Err() == nil {
				if c, err := d.Dial(ctx, r.addr[11001]); err == nil {
					_ = c.SetDeadline(time.Now().Add(within))
					_ = echoed(c)
					_ = c.Close()
				}
			}
		})
	}
	for range 3 {
		if err := r.Reload(load(hashA)); err != nil {
			t.Fatal(err)
		}
		if c, err := d.Dial(t.Context(), r.addr[11001]); err == nil {
			_ = c.SetDeadline(time.Now().Add(within))
			if echoed(c) == nil {
				t.Error("a peer of an image that is not allowed any more was served")
			}
			_ = c.Close()
		}
		if err := r.Reload(load(w.image)); err != nil {
			t.Fatal(err)
		}
		c := dialPeer(t, d, r.addr[11001])
		if err := echoed(c); err != nil {
			t.Errorf("a peer of an allowed image: %v", err)
		}
	}
	cancel()
	load1.Wait()
	if err := r.Reload(load(hashA)); err != nil {
		t.Fatal(err)
	}
	if err := echoed(admitted); err == nil {
		if _, err := admitted.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
			t.Errorf("a session of an image that is not allowed any more goes on, or ends as if all was said: %v", err)
		}
	}
	eventually(t, "sessions of the image end", func() bool { return len(r.Sessions()) == 1 })
	if err := echoed(other); err != nil {
		t.Errorf("a session of another policy was ended: %v", err)
	}
	if !strings.Contains(r.text(), `router_sessions_evicted_total{reason="policy"}`) {
		t.Error("evictions are not counted")
	}
}

// TestTenThousandHandshakes: policies change all the while; every peer is judged by one of the policies that were in
// force during its handshake, and nothing is left behind.
func TestTenThousandHandshakes(t *testing.T) {
	if env := os.Getenv("COCOON_TEST"); env != "all" && !strings.Contains(env, "chain") {
		t.Skip("takes a minute: set COCOON_TEST=chain")
	}
	const handshakes, peers = 10_000, 4
	w := newWorld(t)
	good, bad := w.identity(t, w.td), w.identity(t, nil)
	service := serveInner(t, echo)
	args := strings.Fields("-c router.json -d 0 -R 11001:" + service.dest() + "@sim")
	file := func(images ...string) string {
		return strings.Replace(w.file(w.images(images...), ""), `"limits": {`, `"limits": {"exempt": ["127.0.0.0/8"], `, 1)
	}
	r := start(t, w, bad, strings.Join(args[2:], " "), file(w.image))
	ctx, cancel := context.WithCancel(t.Context())
	var reloading, load sync.WaitGroup
	reloads := 0
	reloading.Go(func() { // the image stays allowed: a session of it must never end
		for ctx.Err() == nil {
			for _, images := range [][]string{{w.image, hashA}, {hashB, w.image}} {
				cfg, err := Parse(args, files(file(images...)))
				if err == nil {
					err = r.Reload(cfg)
				}
				if err != nil {
					t.Error(err)
					return
				}
				reloads++
			}
		}
	})
	served := func(id ratls.Credentials) bool {
		c, err := w.client(t, id, policy.Builtin(policy.Any)).Dial(t.Context(), r.addr[11001])
		if err != nil {
			return false
		}
		defer func() { _ = c.Close() }()
		_ = c.SetDeadline(time.Now().Add(within))
		if _, err := c.Write([]byte{1}); err != nil {
			return false
		}
		_, err = io.ReadFull(c, make([]byte, 1))
		return err == nil
	}
	for range peers {
		load.Go(func() {
			for i := range handshakes / peers {
				if i%4 == 3 {
					if served(bad) {
						t.Error("a peer without a quote was served")
					}
				} else if !served(good) {
					t.Error("a peer of an allowed image was not served")
				}
			}
		})
	}
	load.Wait()
	cancel()
	reloading.Wait()
	eventually(t, "sessions end", func() bool { return len(r.Sessions()) == 0 })
	eventually(t, "places are given back", func() bool { return r.listeners[0].gate.sessions() == 0 })
	if got := service.accepted(); got != handshakes*3/4 {
		t.Errorf("the service saw %d connections, want %d", got, handshakes*3/4)
	}
	if strings.Contains(r.text(), "router_sessions_evicted_total") {
		t.Errorf("sessions were ended: %s", grep(r.text(), "evicted"))
	}
	t.Logf("%d reloads during %d handshakes", reloads, handshakes)
}

// TestGracefulStop: live sessions get the drain time, new ones are not accepted.
func TestGracefulStop(t *testing.T) {
	w := newWorld(t)
	id := w.identity(t, nil)
	service := serveInner(t, echo)
	r := start(t, w, id, "-d 0 -R 11001:"+service.dest()+"@any", `{"limits": {"drain": "5m"}}`)
	c := dialPeer(t, w.client(t, id, policy.Builtin(policy.Any)), r.addr[11001])
	if _, err := c.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	stopped := make(chan struct{})
	go func() {
		r.stop()
		close(stopped)
	}()
	eventually(t, "the port is closed", func() bool {
		probe, err := new(net.Dialer).DialContext(t.Context(), "tcp", r.addr[11001])
		if err == nil {
			_ = probe.Close()
		}
		return err != nil
	})
	exchange(t, c, 1<<20) // goes on
	select {
	case <-stopped:
	case <-time.After(within):
		t.Error("the router waits although its last session has ended")
	}
}
