// Package promptkeys holds the private keys that clients encrypt prompts to, as the network's key manager hands them out
// (protocol.md section 9).
//
// It owns one standing session with the key manager, the times between its queries, and the keys until each one's end. It
// trusts the key manager, whose image its caller's Dial has judged, for the keys and for nothing else: their number is
// bounded, one that is zero, over or the reference's published test key is not taken. A Ring is safe for concurrent use;
// Run owns all goroutines, and every wait has a deadline. It writes no key anywhere, and it refuses to hold one longer than
// the key manager allows.
package promptkeys

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"cocoon/contracts/promptcrypt"
	"cocoon/contracts/wire/session"
	"cocoon/contracts/wire/tl"
)

const (
	// maxKeys bounds an answer: one key an hour, each for a day, are 24.
	maxKeys = 1024
	// askEvery is between two queries, give or take a quarter (protocol.md section 9: every 5 to 10 s).
	askEvery = 8 * time.Second
	// askWait bounds a query, and dialWait everything before the first.
	askWait, dialWait = 20 * time.Second, 60 * time.Second
	// missWait is how long a request waits for a key that is not held, missEvery what lies between two such queries.
	missWait, missEvery = 2 * time.Second, time.Second
	// firstPause and longestPause lie between connections that failed.
	firstPause, longestPause = time.Second, time.Minute

	// protoVersion is what the second generation's proxies say in their query.
	protoVersion = 4
	// testSeed is the private half of the key pair that the reference publishes for its test networks.
	testSeed = "070ad82e6132dab32067fb720afd0060555a64f905bbec0dc2849088951b3a63"
)

// errAnswer is what a key manager must not answer.
var errAnswer = errors.New("the key manager's answer")

// Key is a private key, an Ed25519 seed, or the public key of one.
type Key = [promptcrypt.KeySize]byte

// Config says how the key manager is met. Everything without a remark is needed.
type Config struct {
	// Dial connects to the key manager and judges it.
	Dial func(ctx context.Context) (net.Conn, error)
	// Test says that this is a test network, in which the published test key may be used.
	Test bool
	// ConfigVersion is the root contract's version, which the first generation's query names; nil means 0.
	ConfigVersion func() int32
	// Every replaces the time between two queries, for tests.
	Every time.Duration
	Now   func() time.Time
	// Log gets no keys; nil means nowhere.
	Log *slog.Logger
}

// Ring is the keys that are held.
type Ring struct {
	cfg   Config
	asked chan struct{} // has an element when a key is missed

	mu      sync.Mutex
	keys    map[Key]held
	fetched time.Time
	reason  string
	news    chan struct{} // closed and replaced with each answer and each failure
	running bool
	away    bool // the key manager cannot be reached
}

type held struct {
	private Key
	until   time.Time
}

// New makes a ring without keys. Nothing is dialled before Run.
func New(cfg Config) (*Ring, error) {
	switch {
	case cfg.Dial == nil:
		return nil, errors.New("making key ring: no dialer given")
	case cfg.Now == nil:
		return nil, errors.New("making key ring: no clock given")
	}
	if cfg.Every <= 0 {
		cfg.Every = askEvery
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.ConfigVersion == nil {
		cfg.ConfigVersion = func() int32 { return 0 }
	}
	return &Ring{
		cfg: cfg, asked: make(chan struct{}, 1), keys: make(map[Key]held), news: make(chan struct{}), reason: "nothing was asked yet",
	}, nil
}

// Private finds the private half of a public key. One that is not held is asked for first, and waited for a moment.
func (r *Ring) Private(ctx context.Context, public Key) (Key, bool) {
	private, ok, news := r.look(public)
	if ok || news == nil {
		return private, ok
	}
	select {
	case r.asked <- struct{}{}:
	default: // somebody has asked already
	}
	ctx, cancel := context.WithTimeout(ctx, missWait)
	defer cancel()
	select {
	case <-news:
		private, ok, _ = r.look(public)
		return private, ok
	case <-ctx.Done():
		return Key{}, false
	}
}

// look finds a key; news tells of the next answer where waiting for one may help.
func (r *Ring) look(public Key) (private Key, ok bool, news <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.cfg.Now()
	k, ok := r.keys[public]
	if ok && now.Before(k.until) {
		return k.private, true, nil
	}
	if !r.running || r.away || now.Sub(r.fetched) < missEvery {
		return Key{}, false, nil
	}
	return Key{}, false, r.news
}

// Status is what a status page says of the ring.
type Status struct {
	// Keys are how many are held, Fetched is when the last answer came, Reason why there is none since.
	Keys    int
	Fetched time.Time
	Reason  string
}

// Status tells how many keys are held and since when.
func (r *Ring) Status() Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	n, now := 0, r.cfg.Now()
	for _, k := range r.keys {
		if now.Before(k.until) {
			n++
		}
	}
	return Status{Keys: n, Fetched: r.fetched, Reason: r.reason}
}

// Run keeps the keys fresh until ctx ends. Keys that are held stay until their end while the key manager is away.
func (r *Ring) Run(ctx context.Context) error {
	r.set(func() { r.running = true })
	defer r.set(func() { r.running = false; clear(r.keys) })
	pause := firstPause
	for {
		began := r.cfg.Now()
		err := r.converse(ctx)
		if ctx.Err() != nil {
			return nil
		}
		r.cfg.Log.Warn("Key manager lost", slog.Any("err", err))
		r.set(func() { r.reason, r.away = err.Error(), true })
		if r.cfg.Now().Sub(began) > longestPause {
			pause = firstPause
		}
		if !sleep(ctx, spread(pause)) {
			return nil
		}
		pause = min(2*pause, longestPause)
	}
}

// set changes the ring and tells who waits.
func (r *Ring) set(change func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change()
	close(r.news)
	r.news = make(chan struct{})
}

// spread keeps many proxies from asking in step: a quarter more or less.
func spread(d time.Duration) time.Duration {
	return d - d/4 + time.Duration(rand.Int64N(int64(d/2)+1)) //nolint:gosec // jitter, not a secret
}

func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// silent is a Handler for a peer that has nothing to say by itself.
type silent struct{}

// Query refuses every function.
func (silent) Query(_ context.Context, fn tl.Function) (tl.Object, error) {
	return nil, &session.QueryError{Code: session.CodeProtocol, Message: "unexpected function " + fn.TLName()}
}

// Packet ignores every message.
func (silent) Packet(context.Context, tl.Object) error { return nil }

// converse asks one session's key manager until the session ends.
func (r *Ring) converse(ctx context.Context) error {
	dialing, cancel := context.WithTimeout(ctx, dialWait)
	conn, err := r.cfg.Dial(dialing)
	cancel()
	if err != nil {
		return fmt.Errorf("connecting to key manager: %w", err)
	}
	s := session.New(conn, session.Options{Dialer: true, Log: r.cfg.Log}, silent{})
	group, inner := errgroup.WithContext(ctx)
	group.Go(func() error {
		if err := s.Run(inner); err != nil {
			return err
		}
		return io.EOF
	})
	group.Go(func() error { return r.drive(inner, s) })
	return group.Wait()
}

// drive asks every few seconds, and sooner when a key is missed.
func (r *Ring) drive(ctx context.Context, s *session.Session) error {
	ready, cancel := context.WithTimeout(ctx, askWait)
	defer cancel()
	select {
	case <-s.Ready():
	case <-ready.Done():
		return fmt.Errorf("waiting for tcp.connected of key manager: %w", ready.Err())
	}
	var dec bool
	for {
		if err := r.fetch(ctx, s, &dec); err != nil {
			return err
		}
		if !sleep(ctx, missEvery) {
			return nil
		}
		timer := time.NewTimer(max(spread(r.cfg.Every)-missEvery, 0))
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-r.asked:
		}
		timer.Stop()
	}
}

// fetch asks once. A key manager that does not know the second generation's query is asked in the first one's words.
func (r *Ring) fetch(ctx context.Context, s *session.Session, dec *bool) error {
	var answer tl.Object
	err := errors.ErrUnsupported
	if !*dec {
		answer, err = ask(ctx, s, &tl.KeyManagerGetProxyPrivateKeys{ProtoVersion: protoVersion})
	}
	refused, _ := errors.AsType[*session.QueryError](err)
	if *dec || refused != nil && refused.Code != session.CodeNotReady || errors.Is(err, context.DeadlineExceeded) {
		if answer, err = ask(ctx, s, &tl.KeyManagerGetProxyPrivateKeysDec{MinConfigVersion: r.cfg.ConfigVersion()}); err == nil {
			*dec = true
		}
	}
	if err != nil {
		return err
	}
	list, ok := answer.(*tl.KeyManagerPrivateKeys)
	if !ok || len(list.Keys) > maxKeys {
		return fmt.Errorf("%w is no list of at most %d keys", errAnswer, maxKeys)
	}
	r.take(list.Keys)
	return nil
}

func ask(ctx context.Context, s *session.Session, fn tl.Function) (tl.Object, error) {
	ctx, cancel := context.WithTimeout(ctx, askWait)
	defer cancel()
	return s.Query(ctx, fn)
}

// take replaces what is held by what the key manager says now.
func (r *Ring) take(list []tl.KeyManagerPrivateKey) {
	now := r.cfg.Now()
	fresh := make(map[Key]held, len(list))
	for _, k := range list {
		until := time.Unix(int64(k.ValidUntilUtime), 0)
		switch {
		case k.PrivateKey == Key{} || !now.Before(until):
			continue
		case !r.cfg.Test && hex.EncodeToString(k.PrivateKey[:]) == testSeed:
			r.cfg.Log.Error("Key manager offers the published test key, which is refused")
			continue
		}
		public := promptcrypt.Public(k.PrivateKey)
		if have := fresh[public]; until.After(have.until) {
			fresh[public] = held{k.PrivateKey, until}
		}
	}
	r.set(func() { r.keys, r.fetched, r.reason, r.away = fresh, now, "", false })
}
