package ratls

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"

	"cocoon/measure/dcap"
	"cocoon/measure/tdx"
)

// Limits bound what a judge holds and does. Zero fields mean the defaults (attestation.md sections 12 and 14.3).
type Limits struct {
	// Entries and Bytes bound the caches of certificates and of quotes, each.
	Entries, Bytes int
	// TTL is how long a verification counts; the collateral's end may come first. NegativeTTL is the same for refusals,
	// of which a tenth of Entries are kept.
	TTL, NegativeTTL time.Duration
	// Slots verifications run at a time, Queue more may wait, for at most Wait.
	Slots, Queue int
	Wait         time.Duration
}

// Defaults of Limits.
const (
	DefaultEntries     = 10_000
	DefaultBytes       = 64 << 20
	DefaultTTL         = time.Hour
	DefaultNegativeTTL = 60 * time.Second
	DefaultQueue       = 256
	slotsPerProcessor  = 2
	negativeShare      = 10 // one in
)

func (l Limits) orDefaults() Limits {
	for _, f := range []struct {
		field    *int
		fallback int
	}{
		{&l.Entries, DefaultEntries},
		{&l.Bytes, DefaultBytes},
		{&l.Queue, DefaultQueue},
		{&l.Slots, slotsPerProcessor * runtime.GOMAXPROCS(0)},
	} {
		if *f.field <= 0 {
			*f.field = f.fallback
		}
	}
	l.TTL = orDefault(l.TTL, DefaultTTL)
	l.NegativeTTL = orDefault(l.NegativeTTL, DefaultNegativeTTL)
	l.Wait = orDefault(l.Wait, defaultVerifyTimeout)
	return l
}

// verifications is the cache of verified quotes. Results are shared by all policies: what depends on a policy is not
// in them.
type verifications struct {
	cfg     JudgeConfig
	gate    *gate
	flights singleflight.Group
	good    *lru[verified, *dcap.Result]
	bad     *lru[verified, error]

	hits, misses atomic.Uint64
}

// verified identifies a verification: the quote as signed, the collateral and the root it was verified with.
type verified struct {
	quote      [sha256.Size]byte
	generation [sha256.Size]byte
	root       dcap.RootID
}

// What entries take, generously.
const (
	resultSize  = 4 << 10
	refusalSize = 1 << 10
)

func newVerifications(cfg JudgeConfig) *verifications {
	l := cfg.Limits
	return &verifications{
		cfg: cfg, gate: newGate(l.Slots, l.Queue),
		good: newLRU[verified, *dcap.Result](l.Entries, l.Bytes/2),
		bad:  newLRU[verified, error](l.Entries/negativeShare, l.Bytes/negativeShare),
	}
}

// locate cuts a quote to its signed length: what follows is the sender's to choose, and would make one quote many.
func locate(data []byte) ([]byte, error) {
	parts, err := tdx.Split(data)
	switch {
	case err == nil:
		return parts.Quote, nil
	case errors.Is(err, tdx.ErrType):
		return nil, &dcap.Error{Class: dcap.ClassQuoteType, Err: err}
	}
	return nil, &dcap.Error{Class: dcap.ClassQuoteParse, Err: err}
}

// verify gives the result for an exhibit whose quote is located. An error with a class is a refusal, any other one means
// that it could not be found out.
func (v *verifications) verify(ctx context.Context, x *exhibit, now time.Time) (*dcap.Result, error) {
	if !x.known {
		if err := v.vouch(ctx, x.quote, x.platform); err != nil {
			return nil, err
		}
	}
	collateral, err := v.collateral(ctx, x.platform)
	if err != nil {
		return nil, err
	}
	key := verified{x.digest, collateral.Generation(), collateral.Root()}
	if res, known, err := v.known(key, now); known {
		return res, err
	}
	return v.fly(ctx, key, x.quote, collateral)
}

// known is what was found out about a quote before.
func (v *verifications) known(key verified, now time.Time) (res *dcap.Result, known bool, err error) {
	if res, known = v.good.get(key, now); !known {
		err, known = v.bad.get(key, now)
	}
	if known {
		v.hits.Add(1)
	}
	return res, known, err
}

// vouch checks a quote's signatures if asking for its platform's collateral would send the source out. Otherwise anybody
// could name platforms that do not exist, and use up what the source allows itself for those that it has not met.
func (v *verifications) vouch(ctx context.Context, quote []byte, p dcap.Platform) error {
	source, fetches := v.cfg.Collateral.(CollateralHolder)
	if !fetches || source.Holds(p) {
		return nil
	}
	if err := v.gate.enter(ctx); err != nil {
		return fmt.Errorf("verifying quote: %w", err)
	}
	defer v.gate.leave()
	_, err := v.cfg.Verifier.VerifySignatures(quote, v.cfg.Now())
	return err
}

func (v *verifications) collateral(ctx context.Context, p dcap.Platform) (*dcap.Collateral, error) {
	if v.cfg.Collateral == nil {
		return nil, coded(CodeCollateral, errors.New("verifying quote: this node verifies no quotes: no collateral is configured"))
	}
	c, err := v.cfg.Collateral.Collateral(ctx, p)
	switch {
	case err == nil:
		return c, nil
	case dcap.ClassOf(err) != "" || ctx.Err() != nil:
		return nil, fmt.Errorf("getting collateral of %s: %w", p, err)
	}
	return nil, coded(CodeCollateral, fmt.Errorf("getting collateral of %s: %w", p, err))
}

// fly verifies once for all who wait for the same quote. It goes on for the others when one of them gives up.
func (v *verifications) fly(ctx context.Context, key verified, quote []byte, c *dcap.Collateral) (*dcap.Result, error) {
	name := string(key.quote[:]) + string(key.generation[:]) + string(key.root[:])
	answer := v.flights.DoChan(name, func() (result any, err error) {
		defer func() {
			if p := recover(); p != nil { // bytes of strangers are at work here
				err = coded(CodeInternal, fmt.Errorf("verifying quote: panic: %v", p))
			}
		}()
		if res, known, err := v.known(key, v.cfg.Now()); known { // a flight has ended since it was looked for
			return res, err
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), v.cfg.Limits.Wait)
		defer cancel()
		return v.run(ctx, key, quote, c)
	})
	select {
	case a := <-answer:
		res, _ := a.Val.(*dcap.Result) // nil with an error
		return res, a.Err
	case <-ctx.Done():
		return nil, fmt.Errorf("waiting for verification of quote: %w", context.Cause(ctx))
	}
}

func (v *verifications) run(ctx context.Context, key verified, quote []byte, c *dcap.Collateral) (*dcap.Result, error) {
	if err := v.gate.enter(ctx); err != nil {
		return nil, fmt.Errorf("verifying quote: %w", err)
	}
	defer v.gate.leave()
	v.misses.Add(1)
	now := v.cfg.Now()
	res, err := v.cfg.Verifier.Verify(quote, c, now)
	switch {
	case err == nil:
		until := now.Add(v.cfg.Limits.TTL)
		for _, end := range []time.Time{res.CollateralExpires, res.ChainExpires} {
			if end.Before(until) {
				until = end
			}
		}
		v.good.put(key, res, resultSize, until)
	case dcap.ClassOf(err) != "":
		v.bad.put(key, err, refusalSize, now.Add(v.cfg.Limits.NegativeTTL))
	}
	return res, err
}

// once verifies a quote that will not be seen again.
func (v *verifications) once(ctx context.Context, quote []byte) (*dcap.Result, error) {
	cut, err := locate(quote)
	if err != nil {
		return nil, err
	}
	p, err := dcap.PlatformOf(cut)
	if err != nil {
		return nil, err
	}
	if err := v.vouch(ctx, cut, p); err != nil {
		return nil, err
	}
	c, err := v.collateral(ctx, p)
	if err != nil {
		return nil, err
	}
	if err := v.gate.enter(ctx); err != nil {
		return nil, fmt.Errorf("verifying quote: %w", err)
	}
	defer v.gate.leave()
	v.misses.Add(1)
	return v.cfg.Verifier.Verify(cut, c, v.cfg.Now())
}

// gate lets a bounded number in and a bounded number wait.
type gate struct {
	slots   chan struct{}
	queue   int64
	waiting atomic.Int64
	refused atomic.Uint64
}

func newGate(slots, queue int) *gate {
	return &gate{slots: make(chan struct{}, slots), queue: int64(queue)}
}

func (g *gate) enter(ctx context.Context) error {
	select {
	case g.slots <- struct{}{}:
		return nil
	default:
	}
	if g.waiting.Add(1) > g.queue {
		g.waiting.Add(-1)
		g.refused.Add(1)
		return ErrBusy
	}
	defer g.waiting.Add(-1)
	select {
	case g.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (g *gate) leave() { <-g.slots }
