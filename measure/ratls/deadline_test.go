package ratls

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"cocoon/measure/policy"
	"cocoon/measure/ratls/pow"
)

// trickle is a peer that follows the protocol up to a point and then sends a byte every second.
type trickle func(c net.Conn)

// drip sends the beginning of a challenge or of a long ClientHello, and goes on with zeroes.
func drip(c net.Conn, head ...byte) {
	for i := 0; ; i++ {
		next := []byte{0}
		if i < len(head) {
			next[0] = head[i]
		}
		if _, err := c.Write(next); err != nil {
			return
		}
		<-time.After(time.Second)
	}
}

// solved answers the server's challenge.
func solved(c net.Conn) bool {
	challenge := make([]byte, pow.ChallengeSize)
	if _, err := io.ReadFull(c, challenge); err != nil {
		return false
	}
	ch, err := pow.ParseChallenge(challenge)
	if err != nil {
		return false
	}
	nonce, err := pow.DefaultEffort().Solve(context.Background(), ch)
	if err != nil {
		return false
	}
	_, err = c.Write(pow.AppendResponse(nil, nonce))
	return err == nil
}

// TestSlowPeersAreCutAtEveryStage runs in the time of a bubble: what is waited for passes at once.
func TestSlowPeersAreCutAtEveryStage(t *testing.T) {
	for name, c := range map[string]struct {
		client bool // the end under test
		peer   trickle
		stage  Stage
		within time.Duration
	}{
		"server, nothing comes":         {peer: func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }, stage: StagePoW, within: DefaultPoWTimeout},
		"server, challenge is not read": {peer: func(net.Conn) {}, stage: StagePoW, within: DefaultPoWTimeout},
		"server, response trickles": {peer: func(c net.Conn) {
			go io.Copy(io.Discard, c) //nolint:errcheck // test
			_, _ = c.Write(pow.AppendResponse(nil, 0)[:4])
			<-time.After(9 * time.Second)
			_, _ = c.Write(pow.AppendResponse(nil, 0)[4:6])
		}, stage: StagePoW, within: DefaultPoWTimeout},
		"server, hello trickles": {peer: func(c net.Conn) {
			if solved(c) {
				drip(c, 0x16, 3, 1, 4, 0, 1, 0, 3, 0xfc) // RFC 8446 sections 5.1 and 4
			}
		}, stage: StageTLS, within: DefaultServerTLS},
		"server, hello and no more": {peer: func(c net.Conn) {
			if solved(c) {
				half := &halfDeaf{Conn: c}
				_ = tls.Client(half, &tls.Config{InsecureSkipVerify: true}).Handshake()
			}
		}, stage: StageTLS, within: DefaultServerTLS},
		"client, nothing comes":      {client: true, peer: func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }, stage: StagePoW, within: DefaultPoWTimeout},
		"client, challenge trickles": {client: true, peer: func(c net.Conn) { drip(c, 0x91, 0x12, 0x8e, 0x41) }, stage: StagePoW, within: DefaultPoWTimeout},
		"client, response is not read": {client: true, peer: func(c net.Conn) {
			_, _ = c.Write(pow.Challenge{}.Append(nil))
		}, stage: StagePoW, within: DefaultPoWTimeout},
		"client, no server hello": {client: true, peer: func(c net.Conn) {
			_, _ = c.Write(pow.Challenge{}.Append(nil))
			_, _ = io.Copy(io.Discard, c)
		}, stage: StageTLS, within: DefaultClientTLS},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				d, s := w.pair()
				near, far := net.Pipe()
				done := make(chan struct{})
				go func() {
					defer close(done)
					c.peer(far)
				}()
				start := time.Now()
				var err error
				var conn *Conn
				if c.client {
					conn, err = d.Handshake(t.Context(), near)
				} else {
					conn, err = s.Handshake(t.Context(), near)
				}
				took := time.Since(start)
				if conn != nil || CodeOf(err) != CodeTimeout {
					t.Errorf("connection %v, error %v; want a timeout", conn, err)
				}
				if e, ok := errors.AsType[*Error](err); !ok || e.Stage != c.stage {
					t.Errorf("error %v, want one of stage %s", err, c.stage)
				}
				if took < c.within || took > c.within+time.Second {
					t.Errorf("cut after %s, want %s", took, c.within)
				}
				if _, err := near.Write([]byte{1}); err == nil {
					t.Error("the connection is still open")
				}
				_ = far.Close()
				<-done
			})
		})
	}
}

// halfDeaf sends and does not listen.
type halfDeaf struct{ net.Conn }

func (h *halfDeaf) Read([]byte) (int, error) {
	buf := make([]byte, 1<<10)
	for {
		if _, err := h.Conn.Read(buf); err != nil {
			return 0, err
		}
	}
}

func TestCallersContextEndsEveryStage(t *testing.T) {
	for _, stage := range []Stage{StagePoW, StageTLS} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			_, s := w.pair()
			near, far := net.Pipe()
			ctx, cancel := context.WithCancel(t.Context())
			go func() {
				if stage == StageTLS && !solved(far) {
					t.Error("no proof of work")
				}
				<-time.After(3 * time.Second)
				cancel()
				_, _ = io.Copy(io.Discard, far)
			}()
			start := time.Now()
			_, err := s.Handshake(ctx, near)
			if took := time.Since(start); took != 3*time.Second {
				t.Errorf("%s: it took %s to notice", stage, took)
			}
			if CodeOf(err) != CodeCanceled || !errors.Is(err, context.Canceled) {
				t.Errorf("%s: error %v, want the context's end", stage, err)
			}
			_ = far.Close()
		})
	}
}

func TestDialFailuresHaveTheirStage(t *testing.T) {
	w := newWorld(t)
	d, _ := w.pair()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close()
	_, err = d.Dial(t.Context(), addr)
	if e, ok := errors.AsType[*Error](err); !ok || e.Stage != StageDial || e.Code != CodeDial {
		t.Errorf("nobody listens: %v", err)
	}
	synctest.Test(t, func(t *testing.T) {
		d.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		start := time.Now()
		_, err := d.Dial(t.Context(), addr)
		if CodeOf(err) != CodeTimeout || time.Since(start) != DefaultDialTimeout {
			t.Errorf("black hole: %v after %s", err, time.Since(start))
		}
	})
}

func TestCodesOfErrors(t *testing.T) {
	reset := &net.OpError{Op: "read", Err: errors.New("connection reset by peer")}
	for name, c := range map[string]struct {
		err  error
		want policy.Code
	}{
		"none":            {nil, policy.OK},
		"unknown":         {errors.New("?"), CodeInternal},
		"busy":            {fmt.Errorf("verifying: %w", ErrBusy), CodeBusy},
		"denied":          {&policy.Denied{Code: policy.TDDebug}, policy.TDDebug},
		"reset":           {failed(t.Context(), StageTLS, reset), CodePeerAborted},
		"EOF":             {failed(t.Context(), StagePoW, io.ErrUnexpectedEOF), CodePeerAborted},
		"odd TLS":         {failed(t.Context(), StageTLS, errors.New("tls: odd")), CodeTLS},
		"odd fresh":       {failed(t.Context(), StageFresh, errors.New("odd")), CodeFresh},
		"odd work":        {failed(t.Context(), StagePoW, errors.New("odd")), CodePoW},
		"deadline":        {failed(t.Context(), StageTLS, fmt.Errorf("io: %w", context.DeadlineExceeded)), CodeTimeout},
		"canceled":        {failed(t.Context(), StageTLS, context.Canceled), CodeCanceled},
		"alert of theirs": {failed(t.Context(), StageTLS, &net.OpError{Op: "remote error", Err: errors.New("tls: bad certificate")}), CodePeerRefused},
		"alert of ours":   {failed(t.Context(), StageTLS, &net.OpError{Op: "local error", Err: errors.New("tls: bad record MAC")}), CodePeerAborted},
		"other of ours":   {failed(t.Context(), StageTLS, &net.OpError{Op: "local error", Err: errors.New("tls: unexpected message")}), CodeTLS},
	} {
		if got := CodeOf(c.err); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

// slowDeadlines is a connection whose deadlines in the past take their time to be set.
type slowDeadlines struct {
	net.Conn
	release chan struct{}
	mu      sync.Mutex
	set     []time.Time
}

func (c *slowDeadlines) SetDeadline(at time.Time) error {
	if at.Equal(time.Unix(1, 0)) {
		<-c.release
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.set = append(c.set, at)
	return nil
}

// TestAnEndedStageLeavesNoDeadline: the end of a context that comes when the work is done does not hit what follows it.
func TestAnEndedStageLeavesNoDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		c := &slowDeadlines{release: make(chan struct{})}
		go func() {
			<-time.After(time.Second)
			close(c.release)
		}()
		err := bounded(ctx, c, func() error {
			cancel()
			synctest.Wait() // the deadline is being set
			return nil
		})
		synctest.Wait()
		c.mu.Lock()
		defer c.mu.Unlock()
		if n := len(c.set); err != nil || n != 2 || !c.set[n-1].IsZero() {
			t.Errorf("deadlines %v are left (%v)", c.set, err)
		}
	})
}
