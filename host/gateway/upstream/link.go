package upstream

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"cocoon/contracts/wire/session"
	"cocoon/contracts/wire/tl"
)

// State is where a link stands.
type State string

// The states of a link.
const (
	// Connecting is a proxy that was not met yet.
	Connecting State = "connecting"
	Ready      State = "ready"
	// Refused is a proxy that answers and must not be used.
	Refused State = "refused"
	Down    State = "down"
	// Draining is a proxy that gets no new request: its session ends when what it carries has.
	Draining State = "draining"
)

// ErrRefused marks a proxy that must not be used as it is. A Dial that has judged it says so with this.
var ErrRefused = errors.New("proxy refused")

// Model is what a proxy offers under one name.
type Model struct {
	Name      string
	Instances []Instance
}

// Instance is one worker of a model; Coefficient is its price, 1000 is 1.0.
type Instance struct{ Coefficient, Running, Max int }

// Status is what is known of a proxy right now.
type Status struct {
	Address string
	State   State
	// Since is when the state began, Reason why it is not Ready. A proxy that failed keeps both while it is tried again.
	Since  time.Time
	Reason string
	Offer  Offer
	// RTT is the last poll's time; 0 before the first.
	RTT     time.Duration
	Models  []Model
	Polled  bool
	Running int
	// Requests and Failures count since the start; Score is what the choice goes by: lower wins.
	Requests, Failures int64
	Score              float64
	// DBTokens and MaxTokens are the channel's counters as the proxy last stated them.
	DBTokens, MaxTokens int64
	Unverified          bool
}

// Link is the standing connection to one proxy.
type Link struct {
	address string
	cfg     *Config

	// told wakes whoever runs the link after left was set.
	told chan struct{}
	// scratch is memory that requests are written down in, of *[]byte; debt is that of Call.Owe.
	scratch sync.Pool
	debt    atomic.Int64

	mu     sync.Mutex
	status Status
	live   *live
	score  score
	left   leaving
}

func newLink(address string, cfg *Config, past score) *Link {
	return &Link{
		address: address, cfg: cfg, score: past, told: make(chan struct{}, 1),
		status: Status{Address: address, State: Connecting, Since: cfg.Now()},
	}
}

// Address names the link.
func (l *Link) Address() string { return l.address }

// Status is a copy.
func (l *Link) Status() Status {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.status
	s.Models = slices.Clone(s.Models)
	s.Score, s.Requests, s.Failures = l.score.value(l.cfg.Now()), l.score.Requests, l.score.Failures
	if l.live != nil {
		s.Running = l.live.running()
	}
	return s
}

// Version is what the proxy speaks, 0 before the first session.
func (l *Link) Version() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.status.Offer.Version
}

// Indebted says that the proxy owes so many receipts that it gets no request.
func (l *Link) Indebted() bool { return l.debt.Load() >= maxDebt }

func (l *Link) update(f func(s *Status)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	before := l.status.State
	f(&l.status)
	if l.status.State != before {
		l.status.Since = l.cfg.Now()
	}
}

// run keeps the link up until ctx ends or the proxy is used no more.
func (l *Link) run(ctx context.Context) {
	for failures := 0; ctx.Err() == nil && l.leaves() != retire; failures++ {
		began := l.cfg.Now()
		err := l.converse(ctx)
		if ctx.Err() != nil || errors.Is(err, errRetired) {
			return
		}
		if errors.Is(err, errRenewed) {
			l.update(func(s *Status) { s.State, s.Reason = Connecting, "" })
			failures = -1
			continue
		}
		state := Down
		if errors.Is(err, ErrRefused) {
			state = Refused
		}
		l.update(func(s *Status) { s.State, s.Reason, s.Models, s.Polled = state, reason(err), nil, false })
		l.cfg.Log.Warn("Proxy is not usable", slog.String("peer", l.address), slog.Any("err", err))
		if l.cfg.Now().Sub(began) >= l.cfg.Steady {
			failures = 0
		}
		l.rest(ctx, pause(l.cfg.Backoff, failures))
	}
}

// rest waits before the next attempt; a change that concerns the link ends the wait.
func (l *Link) rest(ctx context.Context, d time.Duration) {
	wait := time.NewTimer(d)
	defer wait.Stop()
	select {
	case <-ctx.Done():
	case <-l.told:
		_ = l.departure() // a next session is new anyway
	case <-wait.C:
	}
}

// reason is an error as people read it on a page: bounded, because a proxy may have written a part of it.
func reason(err error) string {
	const longest = 300
	if err == nil {
		return "the proxy closed the session"
	}
	text := err.Error()
	return text[:min(len(text), longest)]
}

// converse is one session from dialling to its end.
func (l *Link) converse(ctx context.Context) error {
	dialing, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	conn, peer, err := l.cfg.Dial(dialing, l.address)
	if err != nil {
		return fmt.Errorf("dialling proxy: %w", err)
	}
	defer conn.Close() //nolint:errcheck // the session has ended
	if !peer.Verified && !l.cfg.AllowUnverified {
		return fmt.Errorf("%w: its attestation was not accepted: %s", ErrRefused, peer.Reason)
	}
	v := &live{link: l, peer: peer, calls: make(map[[32]byte]*Call), cancels: make(chan [32]byte, maxCancels)}
	v.session = session.New(conn, session.Options{Dialer: true, Ping: l.cfg.Quiet, Dead: l.cfg.Dead, Now: l.cfg.Now, Log: l.cfg.Log}, v)
	defer v.fail()
	group, inner := errgroup.WithContext(ctx)
	group.Go(func() error {
		err := v.session.Run(inner)
		return fmt.Errorf("talking to proxy: %w", err)
	})
	group.Go(func() error { return v.cancel(inner) })
	group.Go(func() error { return v.depart(inner) })
	group.Go(func() error {
		if err := v.handshake(inner); err != nil {
			return err
		}
		return v.poll(inner)
	})
	return group.Wait()
}

// live is one session that is up, with the requests under way on it.
type live struct {
	link    *Link
	peer    Peer
	session *session.Session
	offer   Offer
	cancels chan [32]byte // requests that nobody wants any more

	mu     sync.Mutex
	calls  map[[32]byte]*Call
	closed bool
}

// ask makes one query with a deadline of its own.
func ask[T tl.Object](ctx context.Context, s *session.Session, limit time.Duration, fn tl.Function) (T, error) {
	var zero T
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	v, err := s.Query(ctx, fn)
	if err != nil {
		return zero, err
	}
	out, ok := v.(T)
	if !ok {
		return zero, fmt.Errorf("%w: %s was answered with %s", ErrRefused, fn.TLName(), v.TLName())
	}
	return out, nil
}

// handshake follows protocol.md section 4.1.
func (v *live) handshake(ctx context.Context) error {
	patience := time.NewTimer(readyTimeout)
	defer patience.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-patience.C:
		return fmt.Errorf("waiting for tcp.connected: none within %s", readyTimeout)
	case <-v.session.Ready():
	}
	cfg := v.link.cfg
	got, err := ask[*tl.ClientConnectedToProxy](ctx, v.session, connectTimeout, &tl.ClientConnectToProxy{
		Params: tl.ClientParams{
			ClientOwnerAddress: cfg.Account.Owner(), IsTest: new(cfg.Test),
			MinProtoVersion: new(int32(minVersion)), MaxProtoVersion: new(cfg.MaxVersion),
		},
		MinConfigVersion: cfg.ConfigVersion(),
	})
	if err != nil {
		return err
	}
	if v.offer, err = v.read(got); err != nil {
		return err
	}
	if err := cfg.Account.Check(ctx, v.offer); err != nil {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	if err := v.authorize(ctx, got.Auth); err != nil {
		return err
	}
	if err := v.types(ctx); err != nil {
		return err
	}
	v.link.up(v)
	return nil
}

// read checks what a proxy says of itself.
func (v *live) read(got *tl.ClientConnectedToProxy) (Offer, error) {
	o := Offer{
		Address: v.link.address, ProxyKey: got.Params.ProxyPublicKey, ProxyOwner: got.Params.ProxyOwnerAddress,
		ProxySC: RawAddress(got.Params.ProxySCAddress), ClientSC: RawAddress(got.ClientSCAddress), Peer: v.peer,
	}
	if got.Params.IsTest != nil {
		o.Test = *got.Params.IsTest
	}
	if got.Params.ProtoVersion != nil {
		o.Version = int(*got.Params.ProtoVersion)
	}
	if newest := int(v.link.cfg.MaxVersion); o.Version < minVersion || o.Version > newest {
		return o, fmt.Errorf("%w: it chose protocol version %d, offered were %d to %d", ErrRefused, o.Version, minVersion, newest)
	}
	if o.Test != v.link.cfg.Test {
		return o, fmt.Errorf("%w: it says is_test %t, this client is_test %t", ErrRefused, o.Test, v.link.cfg.Test)
	}
	return o, nil
}

// authorize proves that this client owns its channel, by the short or the long form.
func (v *live) authorize(ctx context.Context, auth tl.Object) error {
	var fn tl.Function
	var nonce int64
	switch a := auth.(type) {
	case *tl.ClientProxyConnectionAuthShort:
		nonce = a.Nonce
		if secret, ok := v.link.cfg.Account.Secret(a.SecretHash); ok && sha256.Sum256(secret) == a.SecretHash {
			fn = &tl.ClientAuthorizeWithProxyShort{Data: secret}
		}
	case *tl.ClientProxyConnectionAuthLong:
		nonce = a.Nonce
	}
	if fn == nil {
		registering, cancel := context.WithTimeout(ctx, authorizeTimeout)
		defer cancel()
		if err := v.link.cfg.Account.Register(registering, v.offer, nonce); err != nil {
			return fmt.Errorf("registering with proxy: %w", err)
		}
		fn = &tl.ClientAuthorizeWithProxyLong{}
	}
	answer, err := ask[tl.Object](ctx, v.session, authorizeTimeout, fn)
	if err != nil {
		return err
	}
	switch a := answer.(type) {
	case *tl.ClientAuthorizationWithProxySuccess:
		v.link.update(func(s *Status) { s.DBTokens, s.MaxTokens = a.TokensCommittedToDB, a.MaxTokens })
		return nil
	case *tl.ClientAuthorizationWithProxyFailed:
		return fmt.Errorf("authorizing with proxy: %w", &session.QueryError{Code: session.Code(a.ErrorCode), Message: a.Error})
	}
	return fmt.Errorf("%w: authorization was answered with %s", ErrRefused, answer.TLName())
}

// cancel tells the proxy of requests that nobody wants any more. It is a loop of its own because the request's context
// has ended by then.
func (v *live) cancel(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case id := <-v.cancels:
			if err := v.session.Send(ctx, &tl.ClientCancelQuery{RequestID: id}); err != nil {
				return err
			}
		}
	}
}

// poll keeps models and counters fresh until the session ends.
func (v *live) poll(ctx context.Context) error {
	types, payment := time.NewTicker(v.link.cfg.Poll), time.NewTicker(paymentEvery)
	defer types.Stop()
	defer payment.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-types.C:
			err = v.types(ctx)
		case <-payment.C:
			err = v.payment(ctx)
		}
		if err != nil && ctx.Err() == nil {
			v.link.cfg.Log.Warn("Poll was not answered", slog.String("peer", v.link.address), slog.Any("err", err))
		}
		if errors.Is(err, ErrRefused) {
			return err
		}
	}
}

func (v *live) types(ctx context.Context) error {
	began := v.link.cfg.Now()
	got, err := ask[*tl.ClientWorkerTypesV2](ctx, v.session, typesTimeout, &tl.ClientGetWorkerTypesV2{})
	if err != nil {
		return err
	}
	if len(got.Types) > maxModels {
		return fmt.Errorf("%w: it lists %d models, at most %d", ErrRefused, len(got.Types), maxModels)
	}
	models, total := make([]Model, 0, len(got.Types)), 0
	for _, t := range got.Types {
		if total += len(t.Workers); total > maxInstances {
			return fmt.Errorf("%w: it lists more than %d workers", ErrRefused, maxInstances)
		}
		m := Model{Name: t.Name, Instances: make([]Instance, 0, len(t.Workers))}
		for _, w := range t.Workers {
			m.Instances = append(m.Instances, Instance{int(max(w.Coefficient, 0)), int(max(w.ActiveRequests, 0)), int(max(w.MaxActiveRequests, 0))})
		}
		models = append(models, m)
	}
	rtt := v.link.cfg.Now().Sub(began)
	v.link.update(func(s *Status) { s.Models, s.Polled, s.RTT = models, true, rtt })
	return nil
}

func (v *live) payment(ctx context.Context) error {
	got, err := ask[*tl.ClientPaymentStatus](ctx, v.session, paymentTimeout, &tl.ClientUpdatePaymentStatus{})
	if err != nil {
		return err
	}
	v.link.update(func(s *Status) { s.DBTokens, s.MaxTokens = got.DBTokens, got.MaxTokens })
	return nil
}

// up makes the link usable.
func (l *Link) up(v *live) {
	l.update(func(s *Status) { s.State, s.Reason, s.Offer, s.Unverified = Ready, "", v.offer, !v.peer.Verified })
	l.mu.Lock()
	defer l.mu.Unlock()
	l.live = v
	l.cfg.Log.Info("Proxy is ready", slog.String("peer", l.address), slog.Int("version", v.offer.Version))
}

// fail ends everything that waits on the session.
func (v *live) fail() {
	v.link.mu.Lock()
	if v.link.live == v {
		v.link.live = nil
	}
	v.link.mu.Unlock()
	v.mu.Lock()
	calls := v.calls
	v.calls, v.closed = nil, true
	v.mu.Unlock()
	for _, c := range calls {
		c.lost()
	}
}

func (v *live) running() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return len(v.calls)
}
