package ratls

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"cocoon/measure/policy"
	"cocoon/measure/ratls/cert"
	"cocoon/measure/tdx"
)

// Bounds of the registry (attestation.md section 12).
const (
	// closesPerSecond bounds how fast sessions are closed, so that one wrong list cannot empty the network at once.
	closesPerSecond = 100
	// CertificateGrace is how long a session outlives its peer's certificate.
	CertificateGrace = 5 * time.Minute
	// sweepEvery is how often the certificates' ends are looked at.
	sweepEvery = 15 * time.Second
	// rejudgeTimeout bounds one session's judgement; collateral may have to be fetched.
	rejudgeTimeout = 10 * time.Second
)

// ReasonExpired is the reason of evictions for a certificate that has ended.
const ReasonExpired = "expired"

// Eviction says which session was closed and why.
type Eviction struct {
	Label string
	// Peer has no certificate if the connection was detached.
	Peer *Peer
	// Reason is what was said to have changed, Err what is wrong with the peer now.
	Reason string
	Err    error
}

// Sessions is the registry of live connections. When what peers are admitted by changes, it judges them anew, from the
// certificates they have shown, and closes those who are not admitted any more. A nil *Sessions keeps no track.
type Sessions struct {
	now     func() time.Time
	evicted func(Eviction)
	pace    *rate.Limiter
	// changes counts announcements. A session judged before the latest one is judged anew when it is added.
	changes atomic.Uint64
	wake    chan struct{}
	// round lets one judgement of all sessions happen at a time.
	round turn

	mu     sync.Mutex
	reason string
	live   map[*session]struct{}
}

// NewSessions makes a registry. The clock is the judge's; evicted is told about every session that is closed, and may be
// nil.
func NewSessions(now func() time.Time, evicted func(Eviction)) (*Sessions, error) {
	if now == nil {
		return nil, errors.New("making session registry: no clock given")
	}
	return &Sessions{
		now: now, evicted: evicted, pace: rate.NewLimiter(closesPerSecond, 1), wake: make(chan struct{}, 1),
		round: newTurn(), live: make(map[*session]struct{}),
	}, nil
}

// session is one entry.
type session struct {
	registry *Sessions
	conn     *Conn
	judge    *Judge
	terms    func() Terms
	purpose  cert.Purpose
	label    string
	since    time.Time
	// The peer's certificate in DER and when it is valid: a parsed one is twice as large, and is not needed before the
	// session is judged again. Sessions with one certificate share it.
	shown  []byte
	window cert.Window
	// expires is when the collateral of the last good verdict ends, in Unix seconds; zero without a quote.
	expires atomic.Int64
}

func (s *Sessions) current() uint64 {
	if s == nil {
		return 0
	}
	return s.changes.Load()
}

// track adds a connection. One that was judged by terms that have changed since is judged again before it gets out.
func (s *Sessions) track(ctx context.Context, c *Conn, a *attempt) error {
	if s == nil {
		return nil
	}
	e := &session{
		registry: s, conn: c, judge: a.end.Judge, terms: a.end.Terms, purpose: a.side.Other(), label: a.end.Label, since: s.now(),
		shown: a.end.Judge.shared(c.Peer.Certificate, a.side.Other()), window: cert.Window{From: c.Peer.Certificate.NotBefore, To: c.Peer.Certificate.NotAfter},
	}
	e.note(c.Peer.Verdict)
	s.mu.Lock()
	s.live[e] = struct{}{}
	s.mu.Unlock()
	c.session = e
	if s.changes.Load() == a.epoch {
		return nil
	}
	if err := e.rejudge(ctx); err != nil {
		e.forget()
		return failed(ctx, StageVerify, err)
	}
	return nil
}

func (e *session) note(v policy.Verdict) {
	if v.Quote != nil {
		e.expires.Store(v.Quote.CollateralExpires.Unix())
	}
}

func (e *session) forget() {
	if e == nil {
		return
	}
	e.registry.mu.Lock()
	defer e.registry.mu.Unlock()
	delete(e.registry.live, e)
}

// rejudge judges the session's peer by the terms of now. An error means that the session must end: a judgement that
// cannot be made does not end it before the collateral of the last one does.
func (e *session) rejudge(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, rejudgeTimeout)
	defer cancel()
	c, err := x509.ParseCertificate(e.shown)
	if err != nil {
		return coded(CodeInternal, fmt.Errorf("reading the peer's certificate again: %w", err))
	}
	v, err := e.judge.judge(ctx, occasion{
		certificate: c, purpose: e.purpose, profile: e.conn.Peer.Profile, seen: e.since, late: CertificateGrace,
	}, e.terms())
	if err == nil {
		e.note(v)
		return nil
	}
	if undecided(err) && e.registry.now().Unix() <= e.expires.Load() {
		return nil
	}
	return err
}

// undecided reports an error that says nothing about the peer.
func undecided(err error) bool {
	code, ok := reasonOf(err)
	return !ok || code == CodeBusy || code == CodeCollateral || code == CodeInternal
}

// Len is how many sessions are live.
func (s *Sessions) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.live)
}

// Session describes a live session.
type Session struct {
	Label string
	// Image is zero for a peer without attestation.
	Image   tdx.Hash
	Profile Profile
	Since   time.Time
	// NotAfter is the end of the peer's certificate.
	NotAfter time.Time
}

// List describes all live sessions, oldest first.
func (s *Sessions) List() []Session {
	live := s.snapshot()
	out := make([]Session, 0, len(live))
	for _, e := range live {
		p := &e.conn.Peer
		out = append(out, Session{e.label, p.Verdict.ImageHash, p.Profile, e.since, e.window.To})
	}
	return out
}

// snapshot is sorted by age.
func (s *Sessions) snapshot() []*session {
	s.mu.Lock()
	out := make([]*session, 0, len(s.live))
	for e := range s.live {
		out = append(out, e)
	}
	s.mu.Unlock()
	slices.SortFunc(out, func(a, b *session) int { return cmp.Or(a.since.Compare(b.since), cmp.Compare(a.label, b.label)) })
	return out
}

// Notify announces that something changed which peers are judged by: first change it, then announce it. Run does the
// work. The reason, like "policy" or "collateral", is the metrics label of what is closed.
func (s *Sessions) Notify(reason string) {
	s.changes.Add(1)
	s.mu.Lock()
	s.reason = reason
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default: // a round is due anyway
	}
}

// Reevaluate judges all sessions now and closes those who are not admitted any more; it returns how many that were.
func (s *Sessions) Reevaluate(ctx context.Context, reason string) (closed int, err error) {
	s.changes.Add(1)
	return s.sweep(ctx, reason, func(e *session) error { return e.rejudge(ctx) })
}

// sweep closes the sessions that check has an error for.
func (s *Sessions) sweep(ctx context.Context, reason string, check func(*session) error) (closed int, err error) {
	if err := s.round.take(ctx); err != nil {
		return 0, err
	}
	defer s.round.give()
	for _, e := range s.snapshot() {
		wrong := check(e)
		if ctx.Err() != nil {
			return closed, context.Cause(ctx)
		}
		if wrong == nil {
			continue
		}
		if err := s.pace.Wait(ctx); err != nil {
			return closed, err
		}
		e.forget()
		e.conn.abort()
		closed++
		if s.evicted != nil {
			s.evicted(Eviction{Label: e.label, Peer: &e.conn.Peer, Reason: reason, Err: wrong})
		}
	}
	return closed, nil
}

// Run judges sessions after announcements, and closes those whose peer's certificate has ended, until ctx ends.
func (s *Sessions) Run(ctx context.Context) error {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return nil
		case <-s.wake:
			s.mu.Lock()
			reason := s.reason
			s.mu.Unlock()
			_, err = s.sweep(ctx, reason, func(e *session) error { return e.rejudge(ctx) })
		case <-tick.C:
			now := s.now()
			_, err = s.sweep(ctx, ReasonExpired, func(e *session) error { return e.window.Check(now, CertificateGrace) })
		}
		if err != nil {
			return nil // only ctx ends a round early
		}
	}
}
