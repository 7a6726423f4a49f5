package measuretest_test

import (
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net/textproto"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-tdx-guest/verify"

	"cocoon/measure/dcap"
	"cocoon/measure/measuretest"
)

// bundleGetter answers the oracle's questions from a bundle, as a cache that has it would.
type bundleGetter struct{ b *dcap.Bundle }

func (g bundleGetter) Get(address string) (map[string][]string, []byte, error) {
	header := func(name, chain string) map[string][]string {
		return map[string][]string{textproto.CanonicalMIMEHeaderKey(name): {url.QueryEscape(chain)}}
	}
	crl := func(text string) ([]byte, error) { return hex.DecodeString(text) }
	switch b := g.b; {
	case strings.Contains(address, "/tcb?"):
		return header("TCB-Info-Issuer-Chain", b.TCBInfoIssuerChain), fmt.Appendf(nil, `{"tcbInfo":%s,"signature":"%s"}`, b.TCBInfo, b.TCBInfoSignature), nil
	case strings.Contains(address, "/qe/identity"):
		return header("SGX-Enclave-Identity-Issuer-Chain", b.QEIdentityIssuerChain), fmt.Appendf(nil, `{"enclaveIdentity":%s,"signature":"%s"}`, b.QEIdentity, b.QEIdentitySignature), nil
	case strings.Contains(address, "/pckcrl"):
		raw, err := crl(b.PCKCRL)
		return header("SGX-PCK-CRL-Issuer-Chain", b.PCKCRLIssuerChain), raw, err
	case strings.HasSuffix(address, "/IntelSGXRootCA.der"):
		raw, err := crl(b.RootCACRL)
		return nil, raw, err
	}
	return nil, nil, fmt.Errorf("no answer to %s", address)
}

var errOraclePanic = errors.New("the oracle panicked")

func askOracle(c *measuretest.Case) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v", errOraclePanic, r)
		}
	}()
	pool := x509.NewCertPool()
	for _, cert := range c.Trusted {
		pool.AddCert(cert)
	}
	return verify.RawTdxQuote(c.Quote, &verify.Options{
		Getter: bundleGetter{c.Bundle}, GetCollateral: true, CheckRevocations: true, TrustedRoots: pool,
		Now: &verify.TimeSet{PckCertChain: c.Now, TcbInfo: c.Now, QeIdentity: c.Now, PckCrl: c.Now, RootCaCrl: c.Now},
	})
}

// disagreements are the mutations on which the other implementation is known to say something else about a TD's quote,
// and why (attestation.md section 10.6). Everything else must give the same answer.
func disagreements() map[string]string {
	const (
		lenient  = "it reads collateral with a lenient JSON decoder, which lets unsigned or repeated members win"
		future   = "it does not look at the beginning of collateral"
		platform = "it drops the platform's status when the TDX module has levels of its own"
		counted  = "to it a level that lacks a component does not fit, and it drops the status of the next one"
	)
	return map[string]string{
		"certified by the Processor CA":              "it knows the Platform CA only",
		"over 32 KiB":                                "it has no bound",
		"leaf is an authority":                       "it does not look at the leaf's constraints",
		"CRL issued by the TCB signer":               "it takes the CRL's signer from the quote's chain, not from the collateral's",
		"issuer chain ends in NUL":                   "it takes no NUL at the end of a chain; services send some",
		"TCB info re-spaced":                         "inside an answer the space is not part of the signed value",
		"root CRL with a trailing byte":              "it takes bytes after a CRL",
		"PCK CRL with a critical extension":          "it takes CRLs with critical extensions that it does not know",
		"module of another signer":                   "it compares with the identity of version 0 alone",
		"TCB info of the future":                     future,
		"QE identity of the future":                  future,
		"PCK CRL of the future":                      future,
		"root CRL of the future":                     future,
		"clock before the skew":                      future,
		"duplicate member":                           lenient,
		"member in another case":                     lenient,
		"duplicate member in a level":                lenient,
		"duplicate member in the identity":           lenient,
		"15 components":                              counted,
		"15 TDX components":                          counted,
		"SGX component too old":                      platform,
		"TDX component too old":                      platform,
		"first fitting level counts":                 platform,
		"platform SWHardeningNeeded":                 platform,
		"platform ConfigurationNeeded":               platform,
		"platform ConfigurationAndSWHardeningNeeded": platform,
		"platform OutOfDate":                         platform,
		"platform OutOfDateConfigurationNeeded":      platform,
		"platform Revoked":                           platform,
	}
}

// Two implementations that share no code judge the same quotes. Ours accepts what the other one accepts when the quote
// verifies and everything is up to date.
func TestTwoImplementationsAgree(t *testing.T) {
	cases, _, err := measuretest.Cases([32]byte{0xca}, testTime)
	if err != nil {
		t.Fatal(err)
	}
	known, seen, compared, panics := disagreements(), map[string]bool{}, 0, 0
	for i := range cases {
		c := &cases[i]
		if c.SGX {
			continue // the other implementation knows no enclaves' quotes
		}
		compared++
		accepted := c.Combined == dcap.UpToDate
		oracleErr := askOracle(c)
		if errors.Is(oracleErr, errOraclePanic) {
			panics++
		}
		_, mutation, _ := strings.Cut(c.Name, "/")
		if accepted == (oracleErr == nil) {
			continue
		}
		seen[mutation] = true
		if known[mutation] == "" {
			t.Errorf("%s: accepted by us: %t, the other one says: %v", c.Name, accepted, oracleErr)
		}
	}
	for mutation := range known {
		if !seen[mutation] {
			t.Errorf("%s: the two agree now; remove the entry", mutation)
		}
	}
	t.Logf("%d quotes compared, %d mutations with a known disagreement, %d panics of the other one", compared, len(known), panics)
}
