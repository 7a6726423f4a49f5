package ratls

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"cocoon/measure/dcap"
	"cocoon/measure/measuretest"
	"cocoon/measure/policy"
	"cocoon/measure/ratls/cert"
)

// judge asks for a verdict about a server's certificate and returns its code.
func (w *world) ask(c *x509.Certificate, t Terms) policy.Code {
	w.tb.Helper()
	v, err := w.judge.Judge(w.tb.Context(), c, cert.Server, t)
	if (err == nil) != v.OK {
		w.tb.Errorf("verdict %+v and error %v disagree", v, err)
	}
	return CodeOf(err)
}

func (w *world) leaf(edit ...func(*IdentityConfig)) *x509.Certificate {
	w.tb.Helper()
	c, err := w.identity(append([]func(*IdentityConfig){noV2, func(c *IdentityConfig) {
		c.Judge = w.newJudge(Limits{}) // so that the judge under test has seen nothing
	}}, edit...)...).Certificate(V1)
	if err != nil {
		w.tb.Fatal(err)
	}
	return c.Leaf
}

func TestAQuoteIsVerifiedOnce(t *testing.T) {
	w := newWorld(t)
	leaf, terms := w.leaf(), w.terms()
	for range 5 {
		if got := w.ask(leaf, terms); got != policy.OK {
			t.Fatal(got)
		}
	}
	// Another policy profits too, and has its own opinion.
	if got := w.ask(leaf, w.terms(func(r *policy.Rules) { r.AllowedImages[0][0]++ })); got != policy.Image {
		t.Error(got)
	}
	if s := w.judge.Stats(); s.Misses != 1 || s.Hits != 5 {
		t.Errorf("%+v, want one verification and five hits", s)
	}
}

// TestAnotherCertificateOfTheSameQuoteIsCheckedAnew: remembering goes by the whole certificate.
func TestAnotherCertificateOfTheSameQuoteIsCheckedAnew(t *testing.T) {
	w := newWorld(t)
	c, err := w.identity(noV2).Certificate(V1)
	if err != nil {
		t.Fatal(err)
	}
	w.ask(c.Leaf, w.terms())
	before := w.judge.Stats()
	bad := bytes.Clone(c.Leaf.Raw)
	bad[len(bad)-1] ^= 1 // in the self-signature
	forged, err := x509.ParseCertificate(bad)
	if err != nil {
		t.Fatal(err)
	}
	if got := w.ask(forged, w.terms()); got != policy.Code(cert.CodeSignature) {
		t.Errorf("a certificate with another signature: %s", got)
	}
	if s := w.judge.Stats(); s.Misses != before.Misses {
		t.Errorf("%+v after %+v: the quote was looked at", s, before)
	}
	// The purpose counts too: what is a good client need not be a server.
	client := &x509.Certificate{
		SerialNumber: c.Leaf.SerialNumber, RawSubject: c.Leaf.RawSubject, NotBefore: c.Leaf.NotBefore, NotAfter: c.Leaf.NotAfter,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		ExtraExtensions: c.Leaf.Extensions[:2],
	}
	der, err := x509.CreateCertificate(bytes.NewReader(randomBytes(t, 64)), client, client, c.Leaf.PublicKey, c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	if client, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	if _, err := w.judge.Judge(t.Context(), client, cert.Client, w.terms()); err != nil {
		t.Error(err)
	}
	if got := w.ask(client, w.terms()); got != policy.Code(cert.CodeUsage) {
		t.Errorf("a client's certificate as a server's: %s", got)
	}
}

func TestTrailingBytesDoNotMakeAnotherQuote(t *testing.T) {
	w := newWorld(t)
	quote, err := w.platform.Quote(t.Context(), [64]byte{1})
	if err != nil {
		t.Fatal(err)
	}
	for n := range 4 {
		padded := append(bytes.Clone(quote), bytes.Repeat([]byte{byte(n)}, 1000*n)...)
		fixed := quoterFunc(func(context.Context, [64]byte) ([]byte, error) { return padded, nil })
		leaf := w.leaf(func(c *IdentityConfig) { c.Quoter, c.Terms = fixed, Fixed(anybody()) })
		if got := w.ask(leaf, w.terms()); got != policy.ReportData {
			t.Errorf("%d bytes of padding: %s", 1000*n, got)
		}
	}
	if s := w.judge.Stats(); s.Misses != 1 {
		t.Errorf("%+v, want one verification", s)
	}
	// Whoever has seen a good quote can put it into certificates of ever new keys.
	if n, _ := w.judge.known.usage(); n != 0 {
		t.Errorf("%d certificates with somebody else's quote have a place in the cache", n)
	}
}

func TestRefusalsAreRememberedForAMinute(t *testing.T) {
	w := newWorld(t)
	leaf := w.leaf()
	w.publish(measuretest.CollateralSpec{RevokePCK: true})
	for range 3 {
		if got := w.ask(leaf, w.terms()); got != "revoked" {
			t.Fatal(got)
		}
	}
	if s := w.judge.Stats(); s.Misses != 1 || s.Hits != 2 {
		t.Errorf("%+v, want one verification", s)
	}
	w.clock.advance(DefaultNegativeTTL + time.Second)
	w.ask(leaf, w.terms())
	if s := w.judge.Stats(); s.Misses != 2 {
		t.Errorf("%+v after a minute, want two verifications", s)
	}
	// Other collateral is another question.
	w.publish(measuretest.CollateralSpec{})
	if got := w.ask(leaf, w.terms()); got != policy.OK {
		t.Errorf("with better collateral: %s", got)
	}
}

func TestNewCollateralAndTimeEndAVerification(t *testing.T) {
	w := newWorld(t)
	leaf, terms := w.leaf(), w.terms()
	w.ask(leaf, terms)
	w.publish(measuretest.CollateralSpec{Platform: "OutOfDate", Advisories: []string{"INTEL-SA-00001"}})
	if got := w.ask(leaf, terms); got != policy.TCBStatus {
		t.Errorf("after a TCB recovery: %s", got)
	}
	w.publish(measuretest.CollateralSpec{})
	if got := w.ask(leaf, terms); got != policy.OK {
		t.Error(got)
	}
	misses := w.judge.Stats().Misses
	w.clock.advance(DefaultTTL - time.Minute)
	w.ask(leaf, terms)
	if s := w.judge.Stats(); s.Misses != misses {
		t.Errorf("%d verifications within the hour, want %d", s.Misses, misses)
	}
	w.clock.advance(2 * time.Minute)
	w.ask(leaf, terms)
	if s := w.judge.Stats(); s.Misses != misses+1 {
		t.Errorf("%d verifications after the hour, want %d", s.Misses, misses+1)
	}
}

// What verified does not outlive the platform's certificate, however young it is.
func TestAVerificationEndsWithThePlatformsCertificate(t *testing.T) {
	const left = 10 * time.Minute
	w := newWorld(t, func(o *measuretest.Options) {
		o.EditCertificate = func(r measuretest.Role, c *x509.Certificate) {
			if r == measuretest.PCK {
				c.NotAfter = noon.Add(left)
			}
		}
	})
	leaf, terms := w.leaf(), w.terms()
	for _, step := range []struct {
		after time.Duration
		want  policy.Code
	}{{0, policy.OK}, {left, policy.OK}, {time.Second, policy.Chain}} {
		w.clock.advance(step.after)
		if got := w.ask(leaf, terms); got != step.want {
			t.Errorf("%s later: %s, want %s", step.after, got, step.want)
		}
	}
}

// waiting is a CollateralSource that holds everybody up until it is opened.
type waiting struct {
	library *library
	open    chan struct{}
}

func (s *waiting) Collateral(ctx context.Context, p dcap.Platform) (*dcap.Collateral, error) {
	<-s.open
	return s.library.Collateral(ctx, p)
}

func TestManyWhoAskAtOnceShareOneVerification(t *testing.T) {
	w := newWorld(t)
	source := &waiting{w.library, make(chan struct{})}
	j, err := NewJudge(JudgeConfig{Verifier: dcap.NewVerifier(w.platform.Roots(), 16), Collateral: source, Now: w.clock.time, Limits: Limits{Slots: 1}})
	if err != nil {
		t.Fatal(err)
	}
	leaf, terms := w.leaf(), w.terms()
	j.quotes.gate.slots <- struct{}{} // nobody gets through yet
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if _, err := j.Judge(t.Context(), leaf, cert.Server, terms); err != nil {
				t.Error(err)
			}
		})
	}
	close(source.open)
	j.quotes.gate.leave()
	all.Wait()
	if s := j.Stats(); s.Misses != 1 || s.Busy != 0 {
		t.Errorf("%+v, want one verification", s)
	}
}

// TestWhoGivesUpDoesNotStopTheOthers: a verification belongs to all who wait for it, not to the one who came first.
func TestWhoGivesUpDoesNotStopTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.judge = w.newJudge(Limits{Slots: 1})
		w.judge.quotes.gate.slots <- struct{}{}
		leaf := w.leaf()
		ctx, giveUp := context.WithCancel(t.Context())
		first, second := make(chan error, 1), make(chan policy.Code, 1)
		go func() {
			_, err := w.judge.Judge(ctx, leaf, cert.Server, w.terms())
			first <- err
		}()
		synctest.Wait()
		go func() { second <- w.ask(leaf, w.terms()) }()
		synctest.Wait()
		giveUp()
		if err := <-first; !errors.Is(err, context.Canceled) {
			t.Errorf("who gives up hears %v", err)
		}
		w.judge.quotes.gate.leave()
		if got := <-second; got != policy.OK {
			t.Errorf("who still waits hears %s", got)
		}
		if s := w.judge.Stats(); s.Misses != 1 {
			t.Errorf("%+v, want one verification", s)
		}
	})
}

func TestTooManyVerificationsAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.judge = w.newJudge(Limits{Slots: 1, Queue: 2})
		w.judge.quotes.gate.slots <- struct{}{}
		var leaves []*x509.Certificate
		for range 3 {
			leaves = append(leaves, w.leaf())
		}
		results := make(chan policy.Code, 2)
		for i := range 2 {
			go func() { results <- w.ask(leaves[i], w.terms()) }()
		}
		synctest.Wait()
		if got := w.ask(leaves[2], w.terms()); got != CodeBusy {
			t.Errorf("the third in the queue: %s, want %s", got, CodeBusy)
		}
		// Those who wait give up in time.
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := w.judge.Judge(ctx, leaves[0], cert.Server, w.terms()); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a caller with a second: %v", err)
		}
		w.judge.quotes.gate.leave()
		for range 2 {
			if got := <-results; got != policy.OK {
				t.Errorf("one who waited: %s", got)
			}
		}
		if s := w.judge.Stats(); s.Busy != 1 {
			t.Errorf("%+v, want one refused", s)
		}
	})
}

func TestTheWaitForASlotEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.judge = w.newJudge(Limits{Slots: 1})
		w.judge.quotes.gate.slots <- struct{}{}
		start := time.Now()
		_, err := w.judge.Judge(t.Context(), w.leaf(), cert.Server, w.terms())
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != defaultVerifyTimeout {
			t.Errorf("%v after %s", err, time.Since(start))
		}
	})
}

func TestWhoAsksForNothingIsNotVerified(t *testing.T) {
	w := newWorld(t)
	quoted, fake := w.leaf(), w.leaf(plain, func(c *IdentityConfig) { c.Fake = true })
	asked := w.library.asked.Load()
	w.ask(quoted, anybody())
	w.ask(fake, Terms{Policy: policy.Builtin(policy.FakeTDX)})
	if s := w.judge.Stats(); s.Misses != 0 || s.Entries != 0 || w.library.asked.Load() != asked {
		t.Errorf("%+v, want no verification and no collateral", s)
	}
}

func TestAJudgeWithoutCollateralRefusesTheAttested(t *testing.T) {
	w := newWorld(t)
	j, err := NewJudge(JudgeConfig{Now: w.clock.time})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := j.Judge(t.Context(), w.leaf(), cert.Server, w.terms()); CodeOf(err) != CodeCollateral {
		t.Errorf("with a quote: %v", err)
	}
	if _, err := j.Judge(t.Context(), w.leaf(plain), cert.Server, anybody()); err != nil {
		t.Errorf("where none is asked for: %v", err)
	}
	if _, err := j.Judge(t.Context(), w.leaf(plain), cert.Server, Terms{}); CodeOf(err) != CodeInternal {
		t.Errorf("without a policy: %v", err)
	}
	for name, c := range map[string]JudgeConfig{"no clock": {}, "half": {Now: w.clock.time, Collateral: w.library}} {
		if _, err := NewJudge(c); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

func TestMissingFreshnessChecksAreCounted(t *testing.T) {
	w := newWorld(t)
	c, err := w.identity().Certificate(V2)
	if err != nil {
		t.Fatal(err)
	}
	before := w.judge.Stats().FreshnessUnchecked
	w.ask(c.Leaf, w.terms())
	known := w.terms()
	known.Blocks = blocks{77: noon.Add(-time.Hour)}
	if got := w.ask(c.Leaf, known); got != policy.OK {
		t.Errorf("known block: %s", got)
	}
	known.Blocks = blocks{77: noon.Add(-4 * time.Hour)}
	if got := w.ask(c.Leaf, known); got != policy.CertAge {
		t.Errorf("old block: %s", got)
	}
	known.Blocks = blocks{}
	if got := w.ask(c.Leaf, known); got != policy.CertAge {
		t.Errorf("unknown block: %s", got)
	}
	if got := w.judge.Stats().FreshnessUnchecked; got != before+1 {
		t.Errorf("%d checks were left out, want %d", got, before+1)
	}
}

// blocks is a policy.Blocks.
type blocks map[int32]time.Time

func (b blocks) BlockTime(seqno int32, _ [32]byte) (time.Time, error) {
	if at, ok := b[seqno]; ok {
		return at, nil
	}
	return time.Time{}, fmt.Errorf("block %d is not known", seqno)
}

func TestCachesAreBounded(t *testing.T) {
	c := newLRU[int, string](3, 100)
	for i := range 10 {
		c.put(i, "value", 10, noon)
	}
	if n, size := c.usage(); n != 3 || size != 30 {
		t.Errorf("%d entries of %d bytes, want 3 of 30", n, size)
	}
	if _, ok := c.get(6, noon); ok {
		t.Error("the oldest entry is still there")
	}
	c.get(7, noon) // used: 8 is now the oldest
	c.put(10, "large", 80, noon)
	if n, size := c.usage(); n != 3 || size != 100 {
		t.Errorf("%d entries of %d bytes, want 3 of 100", n, size)
	}
	if _, ok := c.get(7, noon); !ok {
		t.Error("the entry used last is gone")
	}
	c.put(11, "too large", 101, noon)
	if _, ok := c.get(11, noon); ok {
		t.Error("an entry larger than the cache is stored")
	}
	c.put(7, "again", 1, noon)
	if v, ok := c.get(7, noon); !ok || v != "again" {
		t.Errorf("replaced entry is %q (%t)", v, ok)
	}
	if _, ok := c.get(7, noon.Add(1)); ok {
		t.Error("an entry outlives its end")
	}
	if n, size := c.usage(); n != 2 || size != 90 {
		t.Errorf("%d entries of %d bytes, want 2 of 90", n, size)
	}
	none := newLRU[int, string](0, 100)
	none.put(1, "value", 1, noon)
	if n, _ := none.usage(); n != 0 {
		t.Error("a cache of no entries stores one")
	}
}

func TestNegativeEntriesAreATenth(t *testing.T) {
	w := newWorld(t)
	w.judge = w.newJudge(Limits{Entries: 20})
	w.publish(measuretest.CollateralSpec{RevokePCK: true})
	for range 5 {
		w.ask(w.leaf(func(c *IdentityConfig) { c.Terms = Fixed(anybody()) }), w.terms())
	}
	if s := w.judge.Stats(); s.Entries != 2 || s.Misses != 5 {
		t.Errorf("%+v, want 2 entries of 5 refusals", s)
	}
}

// TestAPanicIsARefusal: a defect must cost the connection that met it, not the process.
func TestAPanicIsARefusal(t *testing.T) {
	w := newWorld(t)
	j := w.newJudge(Limits{})
	j.quotes.cfg.Verifier = nil
	if _, err := j.Judge(t.Context(), w.leaf(), cert.Server, w.terms()); CodeOf(err) != CodeInternal {
		t.Errorf("error %v, want %s", err, CodeInternal)
	}
}
