package upstream

import (
	"context"
	"crypto/sha256"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"cocoon/contracts/wire/session"
	"cocoon/contracts/wire/tl"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// proxy answers a handshake the way a test says.
type proxy struct {
	connected func(c *tl.ClientConnectedToProxy)
	short     func() (tl.Object, error)
	long      func() (tl.Object, error)
	types     *tl.ClientWorkerTypesV2
	offered   chan *tl.ClientConnectToProxy
	packets   chan tl.Object
	s         *session.Session
}

func (p *proxy) Query(_ context.Context, fn tl.Function) (tl.Object, error) {
	switch fn := fn.(type) {
	case *tl.ClientConnectToProxy:
		select {
		case p.offered <- fn:
		default:
		}
		c := &tl.ClientConnectedToProxy{
			Params:          tl.ProxyParams{ProxySCAddress: "psc", IsTest: new(false), ProtoVersion: new(int32(5))},
			ClientSCAddress: "csc", SignedPayment: &tl.ProxySignedPaymentEmpty{},
			Auth: &tl.ClientProxyConnectionAuthShort{SecretHash: sha256.Sum256([]byte("s")), Nonce: 9},
		}
		if p.connected != nil {
			p.connected(c)
		}
		return c, nil
	case *tl.ClientAuthorizeWithProxyShort:
		return p.short()
	case *tl.ClientAuthorizeWithProxyLong:
		return p.long()
	case *tl.ClientGetWorkerTypesV2:
		return p.types, nil
	}
	return nil, &session.QueryError{Code: session.CodeProtocol, Message: "unknown"}
}

func (p *proxy) Packet(_ context.Context, v tl.Object) error {
	p.packets <- v
	return nil
}

func success() (tl.Object, error) {
	return &tl.ClientAuthorizationWithProxySuccess{SignedPayment: &tl.ProxySignedPaymentEmpty{}, TokensCommittedToDB: 3, MaxTokens: 4}, nil
}

func newProxy() *proxy {
	return &proxy{
		short: success, long: success, types: &tl.ClientWorkerTypesV2{}, offered: make(chan *tl.ClientConnectToProxy, 1), packets: make(chan tl.Object, 1000),
	}
}

// owner is a payment channel of a test.
type owner struct {
	secret   string
	check    error
	register func(nonce int64) error
}

func (o owner) Owner() string                                          { return "wallet" }
func (o owner) Check(context.Context, Offer) error                     { return o.check }
func (o owner) Secret([32]byte) ([]byte, bool)                         { return []byte(o.secret), o.secret != "" }
func (o owner) Register(_ context.Context, _ Offer, nonce int64) error { return o.register(nonce) }

// connect runs a pool with one link against the proxy until the test ends.
func connect(t *testing.T, p *proxy, o owner, peer Peer) *Link {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	pool, err := New(Config{
		Proxies: []string{"p"}, Account: o, Now: time.Now, Log: slog.New(slog.DiscardHandler), Backoff: time.Millisecond, Poll: 10 * time.Millisecond,
		Dial: func(context.Context, string) (net.Conn, Peer, error) {
			near, far := net.Pipe()
			running.Go(func() {
				s := session.New(far, session.Options{}, p)
				p.s = s
				_ = s.Run(ctx)
			})
			return near, peer, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	running.Go(func() { pool.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	return pool.Links()[0]
}

// reach waits for a state.
func reach(t *testing.T, l *Link, want State) Status {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	limit := time.NewTimer(time.Minute)
	defer limit.Stop()
	for {
		if s := l.Status(); s.State == want {
			return s
		}
		select {
		case <-tick.C:
		case <-limit.C:
			t.Fatalf("state %s (%s), want %s", l.Status().State, l.Status().Reason, want)
		}
	}
}

func TestHandshakes(t *testing.T) {
	noSecret := func(register error) owner { return owner{register: func(int64) error { return register }} }
	good := Peer{Verified: true, Image: "i"}
	for name, tc := range map[string]struct {
		change func(p *proxy)
		owner  owner
		peer   Peer
		want   State
		reason string
	}{
		"short":        {func(*proxy) {}, owner{secret: "s"}, good, Ready, ""},
		"wrong secret": {func(*proxy) {}, owner{secret: "x", register: func(int64) error { return errors.New("no chain") }}, good, Down, "no chain"},
		"long": {func(p *proxy) {
			p.connected = func(c *tl.ClientConnectedToProxy) { c.Auth = &tl.ClientProxyConnectionAuthLong{Nonce: 9} }
		}, noSecret(nil), good, Ready, ""},
		"not registered": {func(p *proxy) {
			p.connected = func(c *tl.ClientConnectedToProxy) { c.Auth = &tl.ClientProxyConnectionAuthLong{} }
		}, noSecret(errors.New("no coins")), good, Down, "no coins"},
		"failed": {func(p *proxy) {
			p.short = func() (tl.Object, error) {
				return &tl.ClientAuthorizationWithProxyFailed{ErrorCode: 602, Error: "closing"}, nil
			}
		}, owner{secret: "s"}, good, Down, "closing"},
		"refused": {func(p *proxy) {
			p.short = func() (tl.Object, error) { return nil, &session.QueryError{Code: 602, Message: "sha256 mismatch"} }
		}, owner{secret: "s"}, good, Down, "sha256 mismatch"},
		"not verified": {func(*proxy) {}, owner{secret: "s"}, Peer{Reason: "old TCB"}, Refused, "old TCB"},
		"version 0":    {func(p *proxy) { p.connected = func(c *tl.ClientConnectedToProxy) { c.Params.ProtoVersion = nil } }, owner{secret: "s"}, good, Refused, "version 0"},
		"version 6": {func(p *proxy) {
			p.connected = func(c *tl.ClientConnectedToProxy) { c.Params.ProtoVersion = new(int32(6)) }
		}, owner{secret: "s"}, good, Refused, "version 6"},
		"other network": {func(p *proxy) { p.connected = func(c *tl.ClientConnectedToProxy) { c.Params.IsTest = new(true) } }, owner{secret: "s"}, good, Refused, "is_test true"},
		"contracts":     {func(*proxy) {}, owner{secret: "s", check: errors.New("another contract")}, good, Refused, "another contract"},
		"too many":      {func(p *proxy) { p.types.Types = make([]tl.ClientWorkerTypeV2, maxModels+1) }, owner{secret: "s"}, good, Refused, "models"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newProxy()
			tc.change(p)
			l := connect(t, p, tc.owner, tc.peer)
			s := reach(t, l, tc.want)
			if !strings.Contains(s.Reason, tc.reason) {
				t.Errorf("reason %q", s.Reason)
			}
			if tc.want == Ready && (s.DBTokens != 3 || s.MaxTokens != 4 || s.Offer.Version != 5 || s.Offer.ClientSC != "csc") {
				t.Errorf("status %+v", s)
			}
			if tc.want != Ready {
				if _, err := l.Start(t.Context(), Ask{}); !errors.Is(err, ErrLost) {
					t.Errorf("a request was taken: %v", err)
				}
			}
			if !tc.peer.Verified {
				return
			}
			asked := <-p.offered
			if *asked.Params.MinProtoVersion != 1 || *asked.Params.MaxProtoVersion != 5 || asked.Params.ClientOwnerAddress != "wallet" {
				t.Errorf("offered %+v", asked.Params)
			}
		})
	}
}

func TestTheLongFormRegistersTheNonceOfTheProxy(t *testing.T) {
	nonce := make(chan int64, 1)
	l := connect(t, newProxy(), owner{register: func(n int64) error { nonce <- n; return nil }}, Peer{Verified: true})
	reach(t, l, Ready)
	if got := <-nonce; got != 9 {
		t.Errorf("nonce %d", got)
	}
}

func TestAStreamThatNobodyReadsIsGivenUpAndCancelled(t *testing.T) {
	p := newProxy()
	l := connect(t, p, owner{secret: "s"}, Peer{Verified: true})
	reach(t, l, Ready)
	c, err := l.Start(t.Context(), Ask{ID: [32]byte{1}, Stream: true, Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Forget()
	<-p.packets
	head := &tl.ClientQueryAnswerEx{RequestID: c.ID, Answer: tl.Encode(&tl.HTTPResponse{StatusCode: 200})}
	if err := p.s.Send(t.Context(), head); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		if err := p.s.Send(t.Context(), &tl.ClientQueryAnswerPartEx{RequestID: c.ID, Answer: make([]byte, 256<<10)}); err != nil {
			t.Fatal(err)
		}
	}
	if v, ok := (<-p.packets).(*tl.ClientCancelQuery); !ok || v.RequestID != c.ID {
		t.Errorf("got %T", v)
	}
	if _, err := c.Recv(time.Minute); !errors.Is(err, ErrSlow) {
		t.Errorf("error %v", err)
	}
}

func TestCreditGoesBackForWhatWasRead(t *testing.T) {
	p := newProxy()
	l := connect(t, p, owner{secret: "s"}, Peer{Verified: true})
	reach(t, l, Ready)
	c, err := l.Start(t.Context(), Ask{ID: [32]byte{1}, Stream: true, Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Forget()
	<-p.packets
	send := func(v tl.Object) {
		t.Helper()
		if err := p.s.Send(t.Context(), v); err != nil {
			t.Fatal(err)
		}
	}
	send(&tl.ClientQueryAnswerEx{RequestID: c.ID, Answer: tl.Encode(&tl.HTTPResponse{StatusCode: 200})})
	const parts, size = 8, 100 << 10
	got, granted := 0, 0
	for range parts {
		send(&tl.ClientQueryAnswerPartEx{RequestID: c.ID, Answer: make([]byte, size)})
		for want := got + size; got < want; {
			piece, err := c.Recv(time.Minute)
			if err != nil {
				t.Fatal(err)
			}
			got += len(piece.Data)
		}
	}
	for granted < parts*size-grant {
		select {
		case v := <-p.packets:
			if credit, ok := v.(*tl.ClientQueryCredit); ok {
				granted += int(credit.Bytes)
			}
		case <-time.After(time.Minute):
			t.Fatalf("%d of %d bytes granted", granted, parts*size)
		}
	}
	if granted > got {
		t.Errorf("%d bytes granted, %d read", granted, got)
	}
}

func TestPausesDoubleUpToAMinute(t *testing.T) {
	for failures, middle := range []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 16 * time.Second, 32 * time.Second, time.Minute, time.Minute} {
		for range 50 {
			if got := pause(time.Second, failures); got < middle*3/4 || got > middle*5/4 {
				t.Fatalf("after %d failures: %s", failures, got)
			}
		}
	}
	if got := pause(time.Second, 1<<20); got > 75*time.Second {
		t.Errorf("after a million: %s", got)
	}
}

func TestConfigurationsThatCannotBe(t *testing.T) {
	if _, err := New(Config{}); err == nil || !strings.Contains(err.Error(), "Dial") || !strings.Contains(err.Error(), "Account") {
		t.Errorf("error %v", err)
	}
	c := Config{Proxies: []string{"a", "a"}, Dial: func(context.Context, string) (net.Conn, Peer, error) { return nil, Peer{}, nil }, Account: owner{}, Now: time.Now, Log: slog.New(slog.DiscardHandler)}
	if _, err := New(c); err == nil || !strings.Contains(err.Error(), "twice") {
		t.Errorf("error %v", err)
	}
}

func TestTheBetterProxyIsPicked(t *testing.T) {
	now := time.Unix(1000, 0)
	cfg := &Config{Now: func() time.Time { return now }}
	ready := func(name string, models ...string) *Link {
		l := newLink(name, cfg, score{})
		l.status.State = Ready
		for _, m := range models {
			l.status.Models = append(l.status.Models, Model{Name: m})
		}
		return l
	}
	a, b, c := ready("a", "m@c:r"), ready("b", "m@c:r"), ready("c")
	down := newLink("d", cfg, score{})
	p := &Pool{links: []*Link{down, c, a, b}}
	if got := p.Pick("m", nil); got != a {
		t.Errorf("picked %s", got.Address())
	}
	if got := p.Pick("other", nil); got != c {
		t.Errorf("nobody offers it: picked %s", got.Address())
	}
	a.Report(false, 2*time.Second)
	b.Report(false, 100*time.Millisecond)
	if got := p.Pick("m", nil); got != b {
		t.Errorf("slower one picked: %s", got.Address())
	}
	for range openAfter {
		b.Report(true, 0)
	}
	if got := p.Pick("m", nil); got != a {
		t.Errorf("broken one picked: %s", got.Address())
	}
	if got := p.Pick("m", []*Link{a, b, c}); got != nil {
		t.Errorf("excluded one picked: %s", got.Address())
	}
	now = now.Add(openFor)
	b.Report(false, time.Millisecond)
	a.Rest()
	if got := p.Pick("m", nil); got != b {
		t.Errorf("resting one picked: %s", got.Address())
	}
}
