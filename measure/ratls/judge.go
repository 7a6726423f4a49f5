package ratls

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"cocoon/measure/dcap"
	"cocoon/measure/policy"
	"cocoon/measure/ratls/cert"
	"cocoon/measure/tdx"
)

// JudgeConfig is what a judge needs. Verifier and Collateral may be nil where no policy asks for quotes; peers who are
// to be attested are then refused.
type JudgeConfig struct {
	Verifier   *dcap.Verifier
	Collateral CollateralSource
	Now        func() time.Time
	// Limits may be zero, which means the defaults.
	Limits Limits
}

// Judge decides about certificates: the certificate's own checks, the quote, the policy. It remembers quotes that
// verified and, more briefly, those that did not; the policy is asked every time.
type Judge struct {
	cfg    JudgeConfig
	quotes *verifications
	// known remembers certificates whose quote verified, so that the same one need not be checked from the start. Only
	// who has a good quote gets in, and has one place.
	known *lru[holder, *exhibit]

	unchecked atomic.Uint64
}

// holder is whose certificate is known, and as what it was checked.
type holder struct {
	key     cert.Key
	purpose cert.Purpose
}

// NewJudge makes a judge.
func NewJudge(cfg JudgeConfig) (*Judge, error) {
	if cfg.Now == nil {
		return nil, errors.New("making judge: no clock given")
	}
	if (cfg.Verifier == nil) != (cfg.Collateral == nil) {
		return nil, errors.New("making judge: verifier and collateral go together, one is missing")
	}
	cfg.Limits = cfg.Limits.orDefaults()
	return &Judge{
		cfg: cfg, quotes: newVerifications(cfg), known: newLRU[holder, *exhibit](cfg.Limits.Entries, cfg.Limits.Bytes/2),
	}, nil
}

func (j *Judge) now() time.Time { return j.cfg.Now() }

// JudgeStats count what a judge has done since it was made, and what it holds.
type JudgeStats struct {
	// Hits are quotes that were known, good or bad; Misses are those that were verified.
	Hits, Misses uint64
	// Busy are judgements refused because too many were waiting.
	Busy uint64
	// FreshnessUnchecked are V2 peers judged without access to the chain.
	FreshnessUnchecked uint64
	// Entries and Bytes are the caches' size.
	Entries, Bytes int
}

// Stats are the counts up to now.
func (j *Judge) Stats() JudgeStats {
	s := JudgeStats{
		Hits: j.quotes.hits.Load(), Misses: j.quotes.misses.Load(), Busy: j.quotes.gate.refused.Load(),
		FreshnessUnchecked: j.unchecked.Load(),
	}
	for _, usage := range []func() (int, int){j.known.usage, j.quotes.good.usage, j.quotes.bad.usage} {
		entries, size := usage()
		s.Entries, s.Bytes = s.Entries+entries, s.Bytes+size
	}
	return s
}

// Judge decides about the certificate of a peer that has the part of purpose in the connection. The error is nil exactly
// if the peer is admitted; CodeOf gives its code. The verdict has no findings when the policy was not reached. Nothing
// says that the peer has the certificate's key: that is the handshake's part.
func (j *Judge) Judge(ctx context.Context, c *x509.Certificate, purpose cert.Purpose, t Terms) (policy.Verdict, error) {
	o := occasion{certificate: c, purpose: purpose}
	return j.judge(ctx, o, t)
}

// occasion is what is judged, and why.
type occasion struct {
	certificate *x509.Certificate
	purpose     cert.Purpose
	// profile is what was negotiated; zero takes what the certificate is of.
	profile Profile
	// seen is when the peer has proved that it has the key; zero means now.
	seen time.Time
	// late is how long after its end the certificate passes.
	late time.Duration
}

func (j *Judge) judge(ctx context.Context, o occasion, t Terms) (policy.Verdict, error) {
	if t.Policy == nil {
		return policy.Verdict{}, coded(CodeInternal, errors.New("judging peer: no policy given"))
	}
	now := j.now()
	x, err := j.inspect(o.certificate, o.purpose, now)
	if err != nil {
		return policy.Verdict{}, err
	}
	if err := cert.CheckTime(o.certificate, now, o.late); err != nil {
		return policy.Verdict{}, err
	}
	if err := checkProfile(o.profile, x.evidence.Claims); err != nil {
		return policy.Verdict{}, err
	}
	ev, err := j.weigh(ctx, x, t.Policy.Type(), now)
	if err != nil {
		return policy.Verdict{}, err
	}
	ev.Seen = o.seen
	return j.ask(ev, t, now)
}

// ask lets the policy decide.
func (j *Judge) ask(ev policy.Evidence, t Terms, now time.Time) (policy.Verdict, error) {
	if ev.Claims != nil && t.Blocks == nil {
		j.unchecked.Add(1)
	}
	v := t.Policy.Check(ev, policy.Env{Now: now, Images: t.Images, Blocks: t.Blocks})
	return v, v.Err()
}

func checkProfile(negotiated Profile, claims *cert.Claims) error {
	if negotiated == V1 && claims != nil || negotiated == V2 && claims == nil {
		shown := V1
		if claims != nil {
			shown = V2
		}
		return coded(CodeProfile, fmt.Errorf("profile v%d was negotiated, peer shows a certificate of v%d", negotiated, shown))
	}
	return nil
}

// exhibit is a certificate that passed the checks that do not depend on time.
type exhibit struct {
	raw      []byte
	evidence *cert.Evidence
	claims   *policy.Claims
	lifetime time.Duration
	holder   holder
	// known says that others may use it already: nothing in it changes any more.
	known bool
	// quote is cut to what is signed; digest and platform are its own. Set once located.
	quote    []byte
	digest   [sha256.Size]byte
	platform dcap.Platform
}

// exhibitOverhead is about what an exhibit takes besides the certificate.
const exhibitOverhead = 1 << 10

func publicKey(c *x509.Certificate) (k cert.Key, ok bool) {
	raw, ok := c.PublicKey.(ed25519.PublicKey)
	if !ok || len(raw) != len(k) {
		return k, false
	}
	return cert.Key(raw), true
}

// inspect checks a certificate, or recognises it byte by byte.
func (j *Judge) inspect(c *x509.Certificate, purpose cert.Purpose, now time.Time) (*exhibit, error) {
	key, ok := publicKey(c)
	h := holder{key, purpose}
	if ok {
		if x, ok := j.known.get(h, now); ok && bytes.Equal(x.raw, c.Raw) {
			return x, nil
		}
	}
	evidence, err := cert.Inspect(c, purpose)
	if err != nil {
		return nil, err
	}
	return &exhibit{
		raw: c.Raw, evidence: evidence, claims: claimsOf(evidence.Claims), lifetime: c.NotAfter.Sub(c.NotBefore), holder: h,
	}, nil
}

// shared is a certificate's DER in the memory that others with the same certificate use, where they do.
func (j *Judge) shared(c *x509.Certificate, purpose cert.Purpose) []byte {
	if key, ok := publicKey(c); ok {
		if x, ok := j.known.get(holder{key, purpose}, j.now()); ok && bytes.Equal(x.raw, c.Raw) {
			return x.raw
		}
	}
	return c.Raw
}

func claimsOf(c *cert.Claims) *policy.Claims {
	if c == nil {
		return nil
	}
	return &policy.Claims{
		Role: policy.Role(c.Role), NetworkID: c.NetworkID, MCSeqno: c.Seqno, MCRootHash: c.RootHash,
		NotBefore: time.Unix(c.NotBefore, 0).UTC(), NotAfter: time.Unix(c.NotAfter, 0).UTC(),
		Workchain: c.Workchain, Address: c.Address, Nonce: c.Nonce,
	}
}

// weigh turns an exhibit into what policies judge. The error means that it could not be found out.
func (j *Judge) weigh(ctx context.Context, x *exhibit, wanted policy.Type, now time.Time) (policy.Evidence, error) {
	ev := policy.Evidence{CertLifetime: x.lifetime, Claims: x.claims}
	switch {
	case wanted == policy.Any: // quotes are not looked at
	case x.evidence.Kind == cert.SEV:
		ev.Err = &dcap.Error{Class: dcap.ClassQuoteType, Err: errors.New("AMD SEV-SNP reports are not supported")}
	case x.evidence.Kind == cert.Fake:
		stated, _ := x.evidence.FakeReportData()
		ev.Fake, ev.ReportDataOK = true, stated == x.evidence.ReportData()
	case x.evidence.Kind == cert.TDX && wanted != policy.FakeTDX:
		return j.weighQuote(ctx, x, ev, now)
	}
	return ev, nil
}

func (j *Judge) weighQuote(ctx context.Context, x *exhibit, ev policy.Evidence, now time.Time) (policy.Evidence, error) {
	res, err := j.verify(ctx, x, now)
	switch {
	case err == nil:
		ev.Quote, ev.ReportDataOK = res, commits(res, x.evidence.ReportData())
		if ev.ReportDataOK && !x.known {
			x.known = true
			j.known.put(x.holder, x, len(x.raw)+exhibitOverhead, res.CollateralExpires)
		}
	case dcap.ClassOf(err) != "":
		ev.Err = err
	default:
		return ev, err
	}
	return ev, nil
}

func commits(r *dcap.Result, reportData [tdx.ReportDataSize]byte) bool {
	return r.Quote.TD != nil && r.Quote.TD.ReportData == reportData
}

// verify verifies the exhibit's quote, which an exhibit that is shared has located already.
func (j *Judge) verify(ctx context.Context, x *exhibit, now time.Time) (*dcap.Result, error) {
	if x.quote == nil {
		quote, err := locate(x.evidence.Quote)
		if err != nil {
			return nil, err
		}
		if x.platform, err = dcap.PlatformOf(quote); err != nil {
			return nil, err
		}
		x.quote, x.digest = quote, sha256.Sum256(quote)
	}
	return j.quotes.verify(ctx, x, now)
}
