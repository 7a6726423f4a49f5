package ratls

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"cocoon/measure/measuretest"
	"cocoon/measure/policy"
	"cocoon/measure/ratls/cert"
	"cocoon/measure/tdx"
)

// town is a server with a registry and terms that can change.
type town struct {
	*world
	sessions *Sessions
	server   *Server
	dialer   *Dialer
	terms    atomic.Pointer[Terms]

	mu      sync.Mutex
	evicted []Eviction
}

func newTown(tb testing.TB) *town {
	tb.Helper()
	w := newWorld(tb)
	v := &town{world: w}
	s, err := NewSessions(w.clock.time, func(e Eviction) {
		v.mu.Lock()
		defer v.mu.Unlock()
		v.evicted = append(v.evicted, e)
	})
	if err != nil {
		tb.Fatal(err)
	}
	v.sessions = s
	v.dialer, v.server = w.pair()
	v.server.Sessions, v.server.Label = s, "workers"
	v.set(w.terms())
	v.server.Terms = func() Terms { return *v.terms.Load() }
	return v
}

func (v *town) set(t Terms) { v.terms.Store(&t) }

func (v *town) evictions() []Eviction {
	v.mu.Lock()
	defer v.mu.Unlock()
	return append([]Eviction(nil), v.evicted...)
}

// visit connects through a pipe.
func (v *town) visit() (client, server *Conn) {
	v.tb.Helper()
	near, far := net.Pipe()
	var both sync.WaitGroup
	var clientErr, serverErr error
	both.Go(func() { server, serverErr = v.server.Handshake(v.tb.Context(), far) })
	client, clientErr = v.dialer.Handshake(v.tb.Context(), near)
	both.Wait()
	if clientErr != nil || serverErr != nil {
		v.tb.Fatalf("client: %v; server: %v", clientErr, serverErr)
	}
	v.tb.Cleanup(func() {
		client.abort()
		server.session.forget()
		server.abort()
	})
	return client, server
}

// images is a policy.Images.
type images []tdx.Hash

func (i images) Allowed() ([]tdx.Hash, time.Time, error) { return i, noon, nil }

func isOpen(c *Conn) bool {
	_ = c.raw.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	_, err := c.raw.Read(make([]byte, 1))
	n, ok := errors.AsType[net.Error](err)
	return ok && n.Timeout()
}

func TestSessionsEndWhenWhatAdmittedThemChanges(t *testing.T) {
	for name, c := range map[string]struct {
		change func(v *town)
		want   policy.Code
	}{
		"nothing":         {func(*town) {}, policy.OK},
		"an equal policy": {func(v *town) { v.set(v.world.terms()) }, policy.OK},
		"the policy":      {func(v *town) { v.set(v.world.terms(func(r *policy.Rules) { r.AllowedImages[0][0]++ })) }, policy.Image},
		"the chain's list": {func(v *town) {
			v.set(Terms{Policy: v.policy(func(r *policy.Rules) { r.AllowedImages, r.ImageSource = nil, policy.FromChain }), Images: images{{1}}})
		}, policy.Image},
		"a deny list": {func(v *town) {
			v.set(v.world.terms(func(r *policy.Rules) {
				res := v.sessions.snapshot()[0].conn.Peer.Verdict.Quote
				r.FMSPC.Deny = append(r.FMSPC.Deny, res.FMSPC)
			}))
		}, policy.Platform},
		"collateral":                       {func(v *town) { v.publish(measuretest.CollateralSpec{Platform: "OutOfDate"}) }, policy.TCBStatus},
		"a revoked platform":               {func(v *town) { v.publish(measuretest.CollateralSpec{RevokePCK: true}) }, "revoked"},
		"collateral is out of reach":       {func(v *town) { v.lose() }, policy.OK},
		"the peer's certificate has ended": {func(v *town) { v.clock.advance(cert.DefaultLifetime + CertificateGrace + time.Second) }, policy.Code(cert.CodeExpired)},
		"it has ended just now":            {func(v *town) { v.clock.advance(cert.DefaultLifetime + CertificateGrace) }, policy.OK},
	} {
		v := newTown(t)
		client, server := v.visit()
		if v.sessions.Len() != 1 || v.sessions.List()[0].Image != v.image() || v.sessions.List()[0].Label != "workers" {
			t.Fatalf("%s: sessions are %+v", name, v.sessions.List())
		}
		c.change(v)
		closed, err := v.sessions.Reevaluate(t.Context(), "test")
		if err != nil || (closed == 1) != (c.want != policy.OK) {
			t.Errorf("%s: %d closed (%v), want %s", name, closed, err, c.want)
			continue
		}
		if c.want == policy.OK {
			if !isOpen(client) || !isOpen(server) || v.sessions.Len() != 1 {
				t.Errorf("%s: the session is closed", name)
			}
			continue
		}
		got := v.evictions()
		if len(got) != 1 || got[0].Reason != "test" || CodeOf(got[0].Err) != c.want || got[0].Label != "workers" || got[0].Peer.Key != server.Peer.Key {
			t.Errorf("%s: evicted %+v, want %s", name, got, c.want)
		}
		if isOpen(client) || v.sessions.Len() != 0 {
			t.Errorf("%s: the session is open", name)
		}
	}
}

func (v *town) lose() {
	err := errors.New("the service is down")
	v.library.broken.Store(&err)
}

// TestAnUndecidedSessionEndsWithItsCollateral: certificates that outlive collateral do not carry a session over.
func TestAnUndecidedSessionEndsWithItsCollateral(t *testing.T) {
	v := newTown(t)
	v.dialer.Credentials = v.identity(func(c *IdentityConfig) { c.Lifetime, c.Terms = 60*24*time.Hour, Fixed(anybody()) })
	v.set(v.world.terms(func(r *policy.Rules) { r.MaxCertLifetime = 90 * 24 * time.Hour }))
	v.server.Credentials = keeps(v.identity())
	v.dialer.Terms = Fixed(anybody())
	v.visit()
	v.lose()
	end := v.library.collateral.Load().Expires()
	v.clock.set(end.Add(-time.Second))
	if closed, _ := v.sessions.Reevaluate(t.Context(), "test"); closed != 0 {
		t.Error("the session was closed while its collateral counted")
	}
	v.clock.set(end.Add(2 * time.Second))
	if closed, _ := v.sessions.Reevaluate(t.Context(), "test"); closed != 1 || CodeOf(v.evictions()[0].Err) != CodeCollateral {
		t.Errorf("%d closed: %+v", closed, v.evictions())
	}
}

// TestAChangeDuringAHandshakeIsNotMissed: the terms change after the judgement and before the session is registered.
func TestAChangeDuringAHandshakeIsNotMissed(t *testing.T) {
	v := newTown(t)
	changed := false
	v.server.Observe = func(s Stage, _ time.Duration, err error) {
		if s == StageVerify && err == nil && !changed {
			changed = true
			v.set(v.world.terms(func(r *policy.Rules) { r.AllowedImages[0][0]++ }))
			if closed, err := v.sessions.Reevaluate(t.Context(), "test"); closed != 0 || err != nil {
				t.Errorf("%d closed (%v)", closed, err)
			}
		}
	}
	m := meet(t, v.dialer, v.server)
	if m.server != nil || CodeOf(m.serverErr) != policy.Image || !changed {
		t.Errorf("connection %v, error %v", m.server, m.serverErr)
	}
	if v.sessions.Len() != 0 {
		t.Error("the refused session is registered")
	}
}

func TestClosedConnectionsLeaveTheRegistry(t *testing.T) {
	v := newTown(t)
	client, server := v.visit()
	go io.Copy(io.Discard, client) //nolint:errcheck // for close_notify
	if err := server.Close(); err != nil {
		t.Error(err)
	}
	if v.sessions.Len() != 0 {
		t.Error("a closed connection is registered")
	}
	if _, err := NewSessions(nil, nil); err == nil {
		t.Error("a registry without a clock is made")
	}
}

func TestRunEvictsAfterAnnouncementsAndAtTheEndOfCertificates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newTown(t)
		start := time.Now()
		v.sessions.now = func() time.Time { return noon.Add(time.Since(start)) }
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- v.sessions.Run(ctx) }()
		v.visit()
		v.sessions.Notify("images")
		synctest.Wait()
		if v.sessions.Len() != 1 {
			t.Error("a session was closed although nothing has changed")
		}
		v.set(v.world.terms(func(r *policy.Rules) { r.AllowedImages[0][0]++ }))
		v.sessions.Notify("policy")
		synctest.Wait()
		if got := v.evictions(); len(got) != 1 || got[0].Reason != "policy" {
			t.Errorf("evicted %+v", got)
		}
		v.set(v.world.terms())
		v.visit()
		<-time.After(cert.DefaultLifetime + CertificateGrace - time.Minute)
		synctest.Wait()
		if v.sessions.Len() != 1 {
			t.Error("a session was closed before its time")
		}
		<-time.After(2 * time.Minute)
		synctest.Wait()
		if got := v.evictions(); len(got) != 2 || got[1].Reason != ReasonExpired || CodeOf(got[1].Err) != policy.Code(cert.CodeExpired) {
			t.Errorf("evicted %+v", got)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestEvictionsArePaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newTown(t)
		const many = 30
		for range many {
			v.visit()
		}
		v.set(v.world.terms(func(r *policy.Rules) { r.AllowedImages[0][0]++ }))
		start := time.Now()
		closed, err := v.sessions.Reevaluate(t.Context(), "policy")
		if took, least := time.Since(start), (many-1)*time.Second/closesPerSecond; closed != many || err != nil || took < least || took > least+time.Second {
			t.Errorf("%d closed in %s (%v), want %d in %s", closed, took, err, many, least)
		}
	})
}

func TestReevaluateStopsWithItsContext(t *testing.T) {
	v := newTown(t)
	v.visit()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := v.sessions.Reevaluate(ctx, "test"); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if v.sessions.Len() != 1 {
		t.Error("a session was closed by a round that could not judge")
	}
}
