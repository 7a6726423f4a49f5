package measuretest_test

import (
	"context"
	"crypto/x509"
	"fmt"
	"net/textproto"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-tdx-guest/verify"

	"cocoon/measure/measuretest"
)

var testTime = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func platform(tb testing.TB, edit ...func(*measuretest.Options)) *measuretest.Platform {
	tb.Helper()
	o := measuretest.Options{Seed: [32]byte{1, 2, 3}, Now: testTime}
	for _, e := range edit {
		e(&o)
	}
	p, err := measuretest.NewPlatform(o)
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

// getter lets the oracle ask the simulated service.
type getter struct{ service *measuretest.Service }

func (g getter) Get(address string) (map[string][]string, []byte, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, nil, err
	}
	a := g.service.Get(context.Background(), u.Path, u.Query())
	if a.Status != 200 {
		return nil, nil, fmt.Errorf("status %d: %s", a.Status, a.Body)
	}
	header := map[string][]string{}
	if a.Header != "" {
		header[textproto.CanonicalMIMEHeaderKey(a.Header)] = []string{a.Chain}
	}
	return header, a.Body, nil
}

// oracle verifies with the other implementation, with collateral and revocation lists.
func oracle(quote []byte, s *measuretest.Service, roots *x509.CertPool) error {
	at := testTime
	return verify.RawTdxQuote(quote, &verify.Options{
		Getter: getter{s}, GetCollateral: true, CheckRevocations: true, TrustedRoots: roots,
		Now: &verify.TimeSet{PckCertChain: at, TcbInfo: at, QeIdentity: at, PckCrl: at, RootCaCrl: at},
	})
}

func roots(p *measuretest.Platform) *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(p.RootCertificate())
	return pool
}

func quote(tb testing.TB, p *measuretest.Platform, s measuretest.Spec) []byte {
	tb.Helper()
	q, err := p.QuoteWith(tb.Context(), s)
	if err != nil {
		tb.Fatal(err)
	}
	return q
}

// version0 gives the platform a TDX module of major version 0, whose security versions are in the platform's levels.
func version0(o *measuretest.Options) { o.TEETCBSVN = [16]byte{7, 0, 3} }

func TestTheOracleJudgesSimulatedQuotesAsItWouldHardwareOnes(t *testing.T) {
	flip := func(q []byte) []byte { q[200] ^= 1; return q }
	tests := map[string]struct {
		platform func(*measuretest.Options)
		spec     measuretest.Spec
		answers  measuretest.CollateralSpec
		intel    bool
		want     string // part of the oracle's error
	}{
		"honest":                      {},
		"honest, version 5":           {spec: measuretest.Spec{Version: 5}},
		"honest, module version 0":    {platform: version0},
		"Intel's root":                {intel: true, want: "unknown authority"},
		"platform out of date":        {platform: version0, answers: measuretest.CollateralSpec{Platform: "OutOfDate"}, want: "OutOfDate"},
		"module out of date":          {answers: measuretest.CollateralSpec{Module: "OutOfDate"}, want: "OutOfDate"},
		"quoting enclave out of date": {answers: measuretest.CollateralSpec{QE: "OutOfDate"}, want: "OutOfDate"},
		"revoked PCK certificate":     {answers: measuretest.CollateralSpec{RevokePCK: true}, want: "revoked"},
		"revoked authority":           {answers: measuretest.CollateralSpec{RevokeCA: true}, want: "revoked"},
		"flipped body bit":            {spec: measuretest.Spec{Raw: flip}, want: "unable to verify message digest"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			p := platform(t)
			if tc.platform != nil {
				p = platform(t, tc.platform)
			}
			service := measuretest.NewService(p)
			service.Collateral = tc.answers
			pool := roots(p)
			if tc.intel {
				pool = nil
			}
			err := oracle(quote(t, p, tc.spec), service, pool)
			switch {
			case tc.want == "" && err != nil:
				t.Errorf("refused: %v", err)
			case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)):
				t.Errorf("got %v, want an error with %q", err, tc.want)
			}
		})
	}
}

// The library drops the platform's status when the TDX module has levels of its own (attestation.md section 10.6). The
// day this fails, the disagreement is gone and the case belongs into the table above.
func TestTheOracleStillForgetsThePlatformsStatus(t *testing.T) {
	p := platform(t)
	service := measuretest.NewService(p)
	service.Collateral.Platform = "OutOfDate"
	if err := oracle(quote(t, p, measuretest.Spec{}), service, roots(p)); err != nil {
		t.Errorf("the oracle refused: %v", err)
	}
}
