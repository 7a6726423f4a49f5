package dcap_test

import (
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	oracletest "github.com/google/go-tdx-guest/testing"
	"github.com/google/go-tdx-guest/testing/testdata"
	oracle "github.com/google/go-tdx-guest/verify"

	"cocoon/measure/dcap"
	"cocoon/measure/tdx"
)

// bundleGetter answers the oracle's questions from a bundle, as Intel's service would.
type bundleGetter struct{ bundle *dcap.Bundle }

func (g bundleGetter) Get(address string) (map[string][]string, []byte, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, nil, err
	}
	b := g.bundle
	chain := func(header, text string) map[string][]string {
		// The oracle decodes as a query, where '+' is a blank, and wants the header's canonical form.
		return map[string][]string{header: {url.QueryEscape(text)}}
	}
	crl := func(text string) []byte {
		raw, _ := hex.DecodeString(text) // bundles of these tests are in hex
		return raw
	}
	switch {
	case strings.HasSuffix(u.Path, "/tcb"):
		body := fmt.Sprintf(`{"tcbInfo":%s,"signature":"%s"}`, b.TCBInfo, b.TCBInfoSignature)
		return chain("Tcb-Info-Issuer-Chain", b.TCBInfoIssuerChain), []byte(body), nil
	case strings.HasSuffix(u.Path, "/qe/identity"):
		body := fmt.Sprintf(`{"enclaveIdentity":%s,"signature":"%s"}`, b.QEIdentity, b.QEIdentitySignature)
		return chain("Sgx-Enclave-Identity-Issuer-Chain", b.QEIdentityIssuerChain), []byte(body), nil
	case strings.HasSuffix(u.Path, "/pckcrl"):
		return chain("Sgx-Pck-Crl-Issuer-Chain", b.PCKCRLIssuerChain), crl(b.PCKCRL), nil
	default:
		return nil, crl(b.RootCACRL), nil
	}
}

// ask lets the oracle judge. It panics on some input; that is a refusal too.
func ask(quote []byte, b *dcap.Bundle, now time.Time) (err error, panicked bool) {
	defer func() {
		if r := recover(); r != nil {
			err, panicked = fmt.Errorf("panic: %v", r), true
		}
	}()
	options := &oracle.Options{
		TrustedRoots: x509.NewCertPool(),
		Now:          &oracle.TimeSet{PckCertChain: now, TcbInfo: now, QeIdentity: now, PckCrl: now, RootCaCrl: now},
	}
	if b != nil {
		options.Getter, options.GetCollateral, options.CheckRevocations = bundleGetter{b}, true, true
	}
	options.TrustedRoots.AppendCertsFromPEM([]byte(intelRoot))
	return oracle.RawTdxQuote(quote, options), false
}

// The other implementation and this one agree on every vector, or the table says why not (attestation.md section 10.6).
// "Accept" means here what the other one means by it: the status is UpToDate.
func TestTheOracleAgrees(t *testing.T) {
	for name, tc := range map[string]struct {
		quote, bundle, clock string
		disagree             string // why the oracle is not followed
	}{
		"cos-113":              {"cos-113-tdx-quote.dat", "cos113_collateral.json", june, ""},
		"cos-113, expired":     {"cos-113-tdx-quote.dat", "cos113_collateral.json", "2025-07-04T09:51:39Z", ""},
		"cos-113, CRL ahead":   {"cos-113-tdx-quote.dat", "cos113_collateral_future_crl.json", june, "the oracle accepts lists from the future"},
		"cos-113, 301 s early": {"cos-113-tdx-quote.dat", "cos113_collateral.json", "2025-06-19T09:55:34Z", "the oracle accepts lists from the future"},
		"quotev4":              {"quotev4.hex", "cos113_collateral.json", june, "the oracle drops the platform's status when TEE_TCB_SVN[1] > 0"},
		"tdx_quote":            {"tdx_quote", "tdx_quote_collateral.json", june, ""},
		"tdx_quote, other":     {"tdx_quote", "cos113_collateral.json", june, ""},
		"cocoon_quote":         {"cocoon_quote.dat", "tdx_quote_outdated_collateral.json", "2026-02-19T00:00:00Z", ""},
		"tdx_quote_outdated":   {"tdx_quote_outdated", "tdx_quote_outdated_collateral.json", "2026-02-19T00:00:00Z", ""},
		"sgx_quote":            {"sgx_quote", "sgx_quote_collateral.json", june, ""}, // refused by both here: not UpToDate, and not supported there
		"signed size 10":       {"crafted_signed_size_10.bin", "tdx_quote_collateral.json", june, ""},
		"signed size 0x82":     {"crafted_signed_size_0x82.bin", "tdx_quote_collateral.json", june, ""},
		"QE auth 0xffff":       {"crafted_qe_auth_0xffff.bin", "tdx_quote_collateral.json", june, ""},
	} {
		t.Run(name, func(t *testing.T) {
			quote, bundle, now := vectorQuote(t, tc.quote), vectorBundle(t, tc.bundle), at(t, tc.clock)
			r, err := verify(t, quote, bundle, now)
			ours := err == nil && r.Combined == dcap.UpToDate
			theirErr, panicked := ask(quote, bundle, now)
			if theirs := theirErr == nil; ours != theirs && tc.disagree == "" {
				t.Errorf("we accept: %t (%v); the oracle: %t (%v)", ours, err, theirs, theirErr)
			} else if ours == theirs && tc.disagree != "" {
				t.Errorf("both accept: %t, but: %s. Has the oracle been corrected? Then take the row's reason away", ours, tc.disagree)
			}
			if crafted := strings.HasPrefix(tc.quote, "crafted"); panicked != crafted {
				t.Errorf("the oracle panics: %t (%v); known to panic: %t", panicked, theirErr, crafted)
			}
		})
	}
}

// Without collateral, too.
func TestTheOracleAgreesOnChains(t *testing.T) {
	v := dcap.NewVerifier(dcap.IntelRoots(), 0)
	for _, name := range []string{"cos-113-tdx-quote.dat", "quotev4.hex", "tdx_quote", "cocoon_quote.dat", "tdx_quote_outdated"} {
		quote := vectorQuote(t, name)
		for _, change := range []struct {
			name string
			edit func(q []byte) []byte
			now  string
			ok   bool
		}{
			{"as it is", func(q []byte) []byte { return q }, "2026-02-19T00:00:00Z", true},
			{"body", func(q []byte) []byte { q[300] ^= 1; return q }, "2026-02-19T00:00:00Z", false},
			{"before its certificate", func(q []byte) []byte { return q }, "2024-01-01T00:00:00Z", false},
			{"after its certificate", func(q []byte) []byte { return q }, "2040-01-01T00:00:00Z", false},
			{"cut", func(q []byte) []byte { return q[:4000] }, "2026-02-19T00:00:00Z", false},
		} {
			raw := change.edit(append([]byte(nil), quote...))
			_, err := v.VerifySignatures(raw, at(t, change.now))
			theirs, _ := ask(raw, nil, at(t, change.now))
			if (err == nil) != change.ok || (theirs == nil) != change.ok {
				t.Errorf("%s, %s: we say %v, the oracle %v", name, change.name, err, theirs)
			}
		}
	}
	p, err := v.VerifySignatures(vectorQuote(t, "sgx_quote"), at(t, june))
	if err != nil || p.CA != dcap.ProcessorCA || p.TEE != tdx.SGX || p.FMSPC.String() != "00A067110000" {
		t.Errorf("sgx_quote: %+v (%v)", p, err)
	}
}

// answers asks the oracle's recorded service for a platform, as a client would.
func answers(tb testing.TB, p dcap.Platform) []dcap.Response {
	tb.Helper()
	var out []dcap.Response
	for _, r := range dcap.Requests(p) {
		address := "https://api.trustedservices.intel.com" + r.Path
		if r.Query != "" {
			address += "?" + r.Query
		}
		if r.Kind == dcap.RootCRL {
			address = dcap.RootCRLURL
		}
		address = strings.Replace(address, "fmspc="+p.FMSPC.String(), "fmspc="+strings.ToLower(p.FMSPC.String()), 1) // as recorded
		answer, ok := oracletest.TestGetter.Responses[address]
		if !ok {
			tb.Fatalf("nothing recorded for %s", address)
		}
		response := dcap.Response{Kind: r.Kind, Body: answer.Body}
		for name, values := range answer.Header {
			if strings.EqualFold(name, r.IssuerChain) {
				response.IssuerChain = values[0]
			}
		}
		out = append(out, response)
	}
	return out
}

// The recorded answers of Intel's service of 2023 assemble, open and judge the quote recorded with them.
func TestRecordedAnswersAssemble(t *testing.T) {
	p, err := dcap.PlatformOf(testdata.RawQuote)
	if err != nil {
		t.Fatal(err)
	}
	b, err := dcap.Assemble(answers(t, p))
	if err != nil {
		t.Fatal(err)
	}
	r, err := verify(t, testdata.RawQuote, b, at(t, "2023-07-01T01:00:00Z"))
	if err != nil {
		t.Fatalf("%s: %v", dcap.ClassOf(err), err)
	}
	if r.Combined != dcap.Unrecognized || r.PlatformStatus != dcap.Unrecognized || r.QEStatus != dcap.UpToDate {
		t.Errorf("combined %s, platform %s, QE %s; want an unrecognized platform", r.Combined, r.PlatformStatus, r.QEStatus)
	}
	theirs, _ := ask(testdata.RawQuote, b, at(t, "2023-07-01T01:00:00Z"))
	if theirs == nil || !strings.Contains(theirs.Error(), "no matching TCB level") {
		t.Errorf("the oracle says %v", theirs)
	}
}
