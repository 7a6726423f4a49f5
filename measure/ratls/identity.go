package ratls

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"

	"cocoon/measure/ratls/cert"
)

// Rotation of certificates (attestation.md section 13).
const (
	// DefaultRefresh is the time between certificates, to which up to DefaultJitter is added.
	DefaultRefresh = time.Hour
	DefaultJitter  = 5 * time.Minute
	// MinLeft is what a certificate must have left to be shown; below AlarmLeft every failure is logged as an error.
	MinLeft   = time.Hour
	AlarmLeft = 6 * time.Hour

	quoteTimeout = 60 * time.Second
	minRetry     = 5 * time.Second
	maxRetry     = 5 * time.Minute
)

// IdentityConfig says what a node's certificates are made of.
type IdentityConfig struct {
	// Quoter makes the quotes; nil makes certificates without attestation.
	Quoter Quoter
	// Fake makes the reference implementation's stand-in for a quote instead; local networks only.
	Fake bool
	// Claims gives the role, network and block for certificates of V2; nil makes none of those. Times and nonce are
	// filled in.
	Claims func(ctx context.Context) (cert.Claims, error)
	// Judge and Terms check each new certificate before it is shown to anybody. Required with a quoter: a node that
	// nobody would admit should hear it from itself.
	Judge *Judge
	Terms func() Terms
	// Now is the time that certificates begin: the chain's in networks with one, so that nobody sees them too early.
	Now func() time.Time
	// Lifetime of a certificate; zero means cert.DefaultLifetime.
	Lifetime time.Duration
	// Refresh and Jitter say when Run makes the next one; zero means the defaults.
	Refresh, Jitter time.Duration
	// Files is the base name of files in which programs of the reference implementation find the V1 certificate; empty
	// writes none.
	Files string
	// Random makes keys; nil means crypto/rand.
	Random io.Reader
	// Log gets a line per certificate and failure; nil is silent. Refreshed is told the same; nil is fine.
	Log       *slog.Logger
	Refreshed func(took time.Duration, err error)
}

// Validate returns the first thing that is wrong.
func (c *IdentityConfig) Validate() error {
	switch {
	case c.Now == nil:
		return errors.New("checking identity: no clock given")
	case c.Quoter != nil && c.Fake:
		return errors.New("checking identity: a quoter and fake attestation exclude each other")
	case c.Quoter != nil && (c.Judge == nil || c.Terms == nil):
		return errors.New("checking identity: certificates with quotes need a judge and terms to be checked with")
	case c.Lifetime <= MinLeft || c.Lifetime > cert.MaxLifetime:
		return fmt.Errorf("checking identity: certificates live for %s, want more than %s and at most %s",
			c.Lifetime, MinLeft, cert.MaxLifetime)
	case c.Refresh+c.Jitter > c.Lifetime-MinLeft:
		return fmt.Errorf("checking identity: a new certificate every %s is too late for certificates that live for %s",
			c.Refresh+c.Jitter, c.Lifetime)
	}
	return nil
}

// Identity is a node's certificates: it makes them, checks them and replaces them before they end. It is Credentials.
type Identity struct {
	cfg     IdentityConfig
	current atomic.Pointer[certificates]
	// making lets one refresh happen at a time.
	making turn
}

// certificates are those in use; v2 is nil without claims.
type certificates struct{ v1, v2 *tls.Certificate }

// NewIdentity makes an identity that has no certificates yet: call Refresh, or Run.
func NewIdentity(cfg IdentityConfig) (*Identity, error) {
	cfg.Lifetime = orDefault(cfg.Lifetime, cert.DefaultLifetime)
	cfg.Refresh = orDefault(cfg.Refresh, DefaultRefresh)
	cfg.Jitter = orDefault(cfg.Jitter, DefaultJitter)
	if cfg.Random == nil {
		cfg.Random = rand.Reader
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return &Identity{cfg: cfg, making: newTurn()}, nil
}

// Certificate is the one to show. A certificate with less than MinLeft to its end is not shown.
func (i *Identity) Certificate(p Profile) (*tls.Certificate, error) {
	if p == V2 && i.cfg.Claims == nil {
		return nil, ErrProfile
	}
	all := i.current.Load()
	if all == nil {
		return nil, errors.New("no certificate has been made yet")
	}
	c := all.v1
	if p == V2 {
		c = all.v2
	}
	if left := c.Leaf.NotAfter.Sub(i.cfg.Now()); left < MinLeft {
		return nil, fmt.Errorf("own certificate ends in %s, at least %s must be left", left, MinLeft)
	}
	return c, nil
}

// Expires is the end of the current certificates; zero without any.
func (i *Identity) Expires() time.Time {
	if all := i.current.Load(); all != nil {
		return all.v1.Leaf.NotAfter
	}
	return time.Time{}
}

// Refresh makes new certificates with new keys and quotes, checks them and puts them in the place of the old ones. If that
// fails the old ones stay. Files that cannot be written are an error too, and then keep the old ones.
func (i *Identity) Refresh(ctx context.Context) error {
	if err := i.making.take(ctx); err != nil {
		return fmt.Errorf("waiting for another renewal of own certificate: %w", err)
	}
	defer i.making.give()
	start := i.cfg.Now()
	err := i.refresh(ctx)
	if i.cfg.Refreshed != nil {
		i.cfg.Refreshed(i.cfg.Now().Sub(start), err)
	}
	return err
}

func (i *Identity) refresh(ctx context.Context) error {
	v1, err := i.make(ctx, nil)
	if err != nil {
		return fmt.Errorf("making own certificate: %w", err)
	}
	next := &certificates{v1: v1}
	if i.cfg.Claims != nil {
		claims, err := i.cfg.Claims(ctx)
		if err != nil {
			return fmt.Errorf("making own certificate: getting claims: %w", err)
		}
		if next.v2, err = i.make(ctx, &claims); err != nil {
			return fmt.Errorf("making own certificate of profile v2: %w", err)
		}
	}
	i.current.Store(next)
	if i.cfg.Files == "" {
		return nil
	}
	return WriteFiles(i.cfg.Files, v1)
}

// make goes from a new key to a checked certificate; claims are completed in place.
func (i *Identity) make(ctx context.Context, claims *cert.Claims) (*tls.Certificate, error) {
	seed := make([]byte, ed25519.SeedSize)
	if _, err := io.ReadFull(i.cfg.Random, seed); err != nil {
		return nil, fmt.Errorf("making key: %w", err)
	}
	spec := cert.Spec{
		Key: ed25519.NewKeyFromSeed(seed), NotBefore: i.cfg.Now(), Lifetime: i.cfg.Lifetime,
		Claims: claims, Random: i.cfg.Random,
	}
	if claims != nil {
		claims.NotBefore = spec.NotBefore.Unix()
		claims.NotAfter = claims.NotBefore + int64(spec.Lifetime/time.Second)
		if _, err := io.ReadFull(i.cfg.Random, claims.Nonce[:]); err != nil {
			return nil, fmt.Errorf("making nonce: %w", err)
		}
	}
	var err error
	if spec.Quote, err = i.evidence(ctx, cert.KeyOf(spec.Key), claims); err != nil {
		return nil, err
	}
	der, err := cert.Create(spec)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("reading own certificate: %w", err)
	}
	if err := i.check(ctx, leaf); err != nil {
		return nil, fmt.Errorf("checking own certificate: %w", err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: spec.Key, Leaf: leaf}, nil
}

// evidence is what goes into the quote extension; nil for none.
func (i *Identity) evidence(ctx context.Context, key cert.Key, claims *cert.Claims) ([]byte, error) {
	reportData := (&cert.Evidence{Key: key, Claims: claims}).ReportData()
	if i.cfg.Fake {
		return reportData[:], nil
	}
	if i.cfg.Quoter == nil {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, quoteTimeout)
	defer cancel()
	quote, err := i.cfg.Quoter.Quote(ctx, reportData)
	switch {
	case err != nil:
		return nil, fmt.Errorf("getting quote: %w", err)
	case len(quote) == 0 || len(quote) > cert.MaxQuote:
		return nil, fmt.Errorf("getting quote: %d bytes, want 1..%d", len(quote), cert.MaxQuote)
	}
	return quote, nil
}

// check does what both kinds of peers will do.
func (i *Identity) check(ctx context.Context, leaf *x509.Certificate) error {
	for _, p := range []cert.Purpose{cert.Server, cert.Client} {
		if i.cfg.Judge == nil || i.cfg.Terms == nil {
			if _, err := cert.Inspect(leaf, p); err != nil {
				return err
			}
			continue
		}
		if _, err := i.cfg.Judge.Judge(ctx, leaf, p, i.cfg.Terms()); err != nil {
			return err
		}
	}
	return nil
}

// Run makes certificates until ctx ends: at once if there are none, then every hour or so, and after a failure sooner.
func (i *Identity) Run(ctx context.Context) error {
	retry := backoff.NewExponentialBackOff()
	retry.InitialInterval, retry.MaxInterval = minRetry, maxRetry
	pause := time.Duration(0)
	if i.current.Load() != nil {
		pause = i.next()
	}
	for wait(ctx, pause) {
		if err := i.Refresh(ctx); err != nil {
			pause = retry.NextBackOff()
			i.complain(ctx, err, pause)
			continue
		}
		retry.Reset()
		pause = i.next()
		i.cfg.Log.Info("Made own certificate", slog.Time("expires", i.Expires()), slog.Duration("next", pause))
	}
	return nil
}

// next is the time to the next refresh.
func (i *Identity) next() time.Duration {
	var b [8]byte
	if _, err := io.ReadFull(i.cfg.Random, b[:]); err != nil {
		return i.cfg.Refresh // without randomness the next key fails, and says why
	}
	return i.cfg.Refresh + time.Duration(binary.LittleEndian.Uint64(b[:])%uint64(i.cfg.Jitter)) //nolint:gosec // jitter is positive
}

func (i *Identity) complain(ctx context.Context, err error, pause time.Duration) {
	level := slog.LevelWarn
	left := i.Expires().Sub(i.cfg.Now())
	if left < AlarmLeft {
		level = slog.LevelError
	}
	i.cfg.Log.LogAttrs(ctx, level, "Own certificate cannot be renewed",
		slog.Duration("left", left), slog.Duration("retry", pause), slog.Any("err", err))
}
