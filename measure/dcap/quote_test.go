package dcap_test

import (
	"crypto/elliptic"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"math/big"
	"strings"
	"sync"
	"testing"
	"time"

	oracletest "github.com/google/go-tdx-guest/testing"
	"github.com/google/go-tdx-guest/testing/testdata"
	"pgregory.net/rapid"

	"cocoon/measure/dcap"
	"cocoon/measure/tdx"
)

// Without collateral there is nothing that vouches for the CA but the root: the rules of CAs apply to the quote's own.
func TestCAsOfQuotesAreChecked(t *testing.T) {
	for name, tc := range map[string]struct {
		class  dcap.Class
		reason string
		edit   func(s *scene)
	}{
		"good":               {"", "", func(*scene) {}},
		"name":               {dcap.ClassChain, "want the name", func(s *scene) { s.ca.Subject.CommonName = "Intel SGX PCK CA" }},
		"no CA":              {dcap.ClassChain, "CA flag", func(s *scene) { s.ca.IsCA, s.ca.MaxPathLen, s.ca.MaxPathLenZero = false, -1, false }},
		"key usage":          {dcap.ClassChain, "key usage", func(s *scene) { s.ca.KeyUsage = x509.KeyUsageDigitalSignature }},
		"hash":               {dcap.ClassChain, "want ECDSA with SHA-256", func(s *scene) { s.ca.SignatureAlgorithm = x509.ECDSAWithSHA512 }},
		"key":                {dcap.ClassChain, "P-256", func(s *scene) { s.keys.issuer = newKey(t, elliptic.P384()); s.certified.ca = s.keys.issuer }},
		"not yet valid":      {dcap.ClassChain, "is not valid before", func(s *scene) { s.ca.NotBefore = s.now.Add(time.Second) }},
		"expired":            {dcap.ClassChain, "expired at", func(s *scene) { s.ca.NotAfter = s.now.Add(-time.Second) }},
		"root not yet valid": {dcap.ClassChain, "is not valid before", func(s *scene) { s.root.NotBefore = s.now.Add(time.Second) }},
		"root expired":       {dcap.ClassChain, "expired at", func(s *scene) { s.root.NotAfter = s.now.Add(-time.Second) }},
		"root allows no CA": {dcap.ClassChain, "allows no CA", func(s *scene) {
			s.root.MaxPathLen, s.root.MaxPathLenZero = 0, true
		}},
		"CA signed by itself": {dcap.ClassChain, "not signed by", func(s *scene) {
			s.chain = func(p string) string {
				forged := issue(t, &s.ca, s.rootCert, s.certified.ca, s.keys.ca)
				blocks := strings.SplitAfter(p, "-----END CERTIFICATE-----\n")
				return blocks[0] + toPEM(forged) + blocks[2]
			}
		}},
		"CA issued by another name": {dcap.ClassChain, "issued by", func(s *scene) {
			s.chain = func(p string) string {
				other := *s.rootCert
				other.RawSubject, other.Subject.CommonName = nil, "Another Root"
				forged := issue(t, &s.ca, &other, s.certified.ca, s.keys.root)
				blocks := strings.SplitAfter(p, "-----END CERTIFICATE-----\n")
				return blocks[0] + toPEM(forged) + blocks[2]
			}
		}},
		"root in the CA's place": {dcap.ClassChain, "want the name", func(s *scene) {
			s.chain = func(p string) string {
				blocks := strings.SplitAfter(p, "-----END CERTIFICATE-----\n")
				return blocks[0] + blocks[2] + blocks[2]
			}
		}},
		"order": {dcap.ClassRoot, "not trusted", func(s *scene) {
			s.chain = func(p string) string {
				blocks := strings.SplitAfter(p, "-----END CERTIFICATE-----\n")
				return blocks[2] + blocks[1] + blocks[0]
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, tdx.TDX)
			tc.edit(s)
			quote, roots := s.quoteAlone(t)
			p, err := dcap.NewVerifier(roots, 2).VerifySignatures(quote, s.now)
			if dcap.ClassOf(err) != tc.class || (err != nil && !strings.Contains(err.Error(), tc.reason)) {
				t.Errorf("got %q: %v, want %q with %q", dcap.ClassOf(err), err, tc.class, tc.reason)
			}
			if err == nil && p.FMSPC != dcap.FMSPC(s.ext.fmspc) {
				t.Errorf("platform %s", p)
			}
		})
	}
}

// quoteAlone builds the quote. Its collateral is of no use here, but must be made: with whatever hash fits the CA's key.
func (s *scene) quoteAlone(tb testing.TB) ([]byte, *dcap.Roots) {
	tb.Helper()
	s.pckCRL.SignatureAlgorithm = 0
	b := s.build(tb)
	return b.quote, b.roots
}

// Every quote of the vectors with every bundle: only its own platform's verifies.
func TestQuotesNeedTheirOwnCollateral(t *testing.T) {
	const feb = "2026-02-19T00:00:00Z"
	clocks := map[string]string{
		"cos113_collateral.json": june, "tdx_quote_collateral.json": june, "sgx_quote_collateral.json": june, "tdx_quote_outdated_collateral.json": feb,
	}
	own := map[string]string{
		"cos-113-tdx-quote.dat": "cos113_collateral.json", "quotev4.hex": "cos113_collateral.json", "tdx_quote": "tdx_quote_collateral.json",
		"cocoon_quote.dat": "tdx_quote_outdated_collateral.json", "tdx_quote_outdated": "tdx_quote_outdated_collateral.json",
		"sgx_quote": "sgx_quote_collateral.json",
	}
	// The PCK certificates of these two begin after June 2025.
	young := map[string]bool{"cocoon_quote.dat": true, "tdx_quote_outdated": true}
	for quote, right := range own {
		for bundle, clock := range clocks {
			_, err := verify(t, vectorQuote(t, quote), vectorBundle(t, bundle), at(t, clock))
			class := dcap.ClassOf(err)
			switch {
			case bundle == right && err != nil:
				t.Errorf("%s with its own collateral: %v", quote, err)
			case bundle != right && young[quote] && class == dcap.ClassChain:
			case bundle != right && class != dcap.ClassCollateralMismatch:
				t.Errorf("%s with %s: %q: %v", quote, bundle, class, err)
			}
		}
	}
}

// A signature is two numbers of 32 bytes; some begin with zeros, some with a high bit.
func TestSignaturesOfEveryShapeVerify(t *testing.T) {
	s := newScene(t, tdx.TDX)
	b := s.build(t)
	v := dcap.NewVerifier(b.roots, 4)
	c, err := dcap.Open(b.bundle, b.roots, b.now)
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]bool)
	for i := 0; i < 2000 && len(seen) < 6; i++ {
		s.td.ReportData = [64]byte{byte(i), byte(i >> 8)}
		var shape string
		s.signed = func(p *tdx.Signature) {
			for name, scalar := range map[string][]byte{"r": p.Quote[:32], "s": p.Quote[32:]} {
				switch {
				case scalar[0] == 0:
					shape += name + " short,"
				case scalar[0]&0x80 != 0:
					shape += name + " high,"
				default:
					shape += name + " plain,"
				}
			}
		}
		quote := s.quote(t, b.chain(t))
		for part := range strings.SplitSeq(strings.TrimSuffix(shape, ","), ",") {
			seen[part] = true
		}
		if i < 20 || strings.Contains(shape, "short") {
			if _, err := v.Verify(quote, c, b.now); err != nil {
				t.Errorf("%s: %v", shape, err)
			}
		}
	}
	if len(seen) != 6 {
		t.Errorf("only %v were seen", seen)
	}
	order := elliptic.P256().Params().N
	for name, scalars := range map[string][2]*big.Int{
		"zero":          {new(big.Int), new(big.Int)},
		"r is zero":     {new(big.Int), big.NewInt(1)},
		"the order":     {order, order},
		"s above order": {big.NewInt(1), new(big.Int).Add(order, big.NewInt(1))},
	} {
		s.signed = func(p *tdx.Signature) {
			scalars[0].FillBytes(p.Quote[:32])
			scalars[1].FillBytes(p.Quote[32:])
		}
		if _, err := v.Verify(s.quote(t, b.chain(t)), c, b.now); dcap.ClassOf(err) != dcap.ClassQuoteSignature {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// chain is the PEM area of what was built.
func (b *built) chain(tb testing.TB) string {
	tb.Helper()
	p, err := tdx.Split(b.quote)
	if err != nil {
		tb.Fatal(err)
	}
	return string(p.Signature.PCKChain)
}

// Enclaves are judged by the SGX components alone.
func TestLevelsOfEnclaves(t *testing.T) {
	for name, tc := range map[string]struct {
		edit func(s *scene)
		want statuses
	}{
		"up to date":            {func(*scene) {}, statuses{dcap.UpToDate, dcap.UpToDate, dcap.NoStatus, dcap.UpToDate}},
		"TDX components absent": {replaceTCB(`,"tdxtcbcomponents"`, `,"others"`), statuses{dcap.UpToDate, dcap.UpToDate, dcap.NoStatus, dcap.UpToDate}},
		"old component":         {func(s *scene) { s.ext.components[15] = 2 }, statuses{dcap.OutOfDate, dcap.OutOfDate, dcap.NoStatus, dcap.UpToDate}},
		"old PCESVN":            {func(s *scene) { s.ext.pceSVN = 10 }, statuses{dcap.OutOfDate, dcap.OutOfDate, dcap.NoStatus, dcap.UpToDate}},
		"old QE":                {func(s *scene) { s.qe.ISVSVN = 2 }, statuses{dcap.OutOfDate, dcap.UpToDate, dcap.NoStatus, dcap.OutOfDate}},
		"below all":             {func(s *scene) { s.ext.components[0] = 0 }, statuses{dcap.Unrecognized, dcap.Unrecognized, dcap.NoStatus, dcap.UpToDate}},
	} {
		s := newScene(t, tdx.SGX)
		tc.edit(s)
		r, err := s.build(t).verify()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := (statuses{r.Combined, r.PlatformStatus, r.ModuleStatus, r.QEStatus}); got != tc.want {
			t.Errorf("%s: %v, want %v", name, got, tc.want)
		}
		if r.Quote.SGX == nil || r.Quote.SGX.MREnclave != [32]byte{1} {
			t.Errorf("%s: body %+v", name, r.Quote.SGX)
		}
	}
	refused(t, tdx.SGX, map[string]change{
		"quote signature": {dcap.ClassQuoteSignature, "not signed by its attestation key", edits{
			func(s *scene) { s.keys.quote = newKey(t, elliptic.P256()) },
			func(s *scene) { s.tamper = func(q []byte) { q[48+64]++ } },
		}},
		"FMSPC": {dcap.ClassCollateralMismatch, "the collateral is for", edits{
			func(s *scene) { s.ext.fmspc[0]++ }, replaceTCB("00806F05AB00", "00806F05AB01"),
		}},
		"identity of the TD's QE": {dcap.ClassCollateralMismatch, "is for", edits{replaceQE(`"QE"`, `"TD_QE"`)}},
	})
}

// Metrics and verdicts are labelled with these words (attestation.md section 8.2): they must not change.
func TestClassesAreTheWordsOfTheSpecification(t *testing.T) {
	words := []string{
		"quote_parse", "quote_type", "chain", "root", "revoked", "qe_identity", "quote_sig", "collateral_malformed", "collateral_expired",
		"collateral_not_yet_valid", "collateral_signature", "collateral_mismatch", "seam", "tcb_status",
	}
	classes := []dcap.Class{
		dcap.ClassQuoteParse, dcap.ClassQuoteType, dcap.ClassChain, dcap.ClassRoot, dcap.ClassRevoked, dcap.ClassQEIdentity, dcap.ClassQuoteSignature,
		dcap.ClassCollateralMalformed, dcap.ClassCollateralExpired, dcap.ClassCollateralNotYetValid, dcap.ClassCollateralSignature,
		dcap.ClassCollateralMismatch, dcap.ClassSEAM, dcap.ClassTCBStatus,
	}
	for i, c := range classes {
		if string(c) != words[i] {
			t.Errorf("class %q, want %q", c, words[i])
		}
		err := fmt.Errorf("judging peer: %w", &dcap.Error{Class: c, Err: fmt.Errorf("the reason: %w", x509.ErrUnsupportedAlgorithm)})
		if dcap.ClassOf(err) != c || !strings.HasSuffix(err.Error(), "the reason: "+x509.ErrUnsupportedAlgorithm.Error()) {
			t.Errorf("class %q is lost on the way: %v", c, err)
		}
	}
}

// Whatever encoding/json writes is read, with the same text.
func TestWrittenJSONIsRead(t *testing.T) {
	leaf := rapid.OneOf(
		rapid.Map(rapid.StringN(0, 8, -1), func(s string) any { return s }), rapid.Map(rapid.Int(), func(i int) any { return i }),
		rapid.Map(rapid.Float64Range(-1e9, 1e9), func(f float64) any { return f }), rapid.Map(rapid.Bool(), func(b bool) any { return b }),
	)
	name := rapid.StringMatching(`[a-z]{1,6}[0-9]{0,2}`)
	tree := rapid.MapOfN(name, rapid.OneOf(leaf,
		rapid.Map(rapid.SliceOfN(leaf, 0, 5), func(l []any) any { return l }),
		rapid.Map(rapid.MapOfN(name, leaf, 0, 5), func(m map[string]any) any { return m }),
	), 0, 8)
	rapid.Check(t, func(r *rapid.T) {
		raw, err := json.MarshalIndent(tree.Draw(r, "tree"), "", rapid.SampledFrom([]string{"", " ", "\t"}).Draw(r, "indent"))
		if err != nil {
			r.Fatal(err)
		}
		if text, err := dcap.Walk(string(raw)); err != nil || text != string(raw) {
			r.Fatalf("%s reads as %s (%v)", raw, text, err)
		}
	})
}

// Many platforms at once, more than are remembered.
func TestTheCacheIsShared(t *testing.T) {
	s := newScene(t, tdx.TDX)
	quotes := make([][]byte, 6)
	var b *built
	for i := range quotes {
		s.pck.SerialNumber = big.NewInt(int64(500 + i))
		b = s.build(t)
		quotes[i] = b.quote
	}
	c, err := dcap.Open(b.bundle, b.roots, b.now)
	if err != nil {
		t.Fatal(err)
	}
	v := dcap.NewVerifier(b.roots, 4)
	var group sync.WaitGroup
	for worker := range 4 {
		group.Go(func() {
			for i := range 20 {
				if _, err := v.Verify(quotes[(worker+i)%len(quotes)], c, b.now); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	if chains, keys := v.CacheSize(); chains > 4 || keys > 4 {
		t.Errorf("%d chains and %d keys are kept, at most 4 each", chains, keys)
	}
}

// From a peer's quote to its verdict. A client fetches what Requests lists; here the answers were recorded.
func ExampleVerifier_Verify() {
	quote, now := testdata.RawQuote, time.Date(2023, 7, 1, 1, 0, 0, 0, time.UTC)
	platform, err := dcap.PlatformOf(quote)
	if err != nil {
		fmt.Println(err)
		return
	}
	var answers []dcap.Response
	for _, r := range dcap.Requests(platform) {
		address := "https://api.trustedservices.intel.com" + r.Path
		if r.Query != "" {
			address += "?" + strings.ToLower(r.Query)
		}
		if r.Kind == dcap.RootCRL {
			address = dcap.RootCRLURL
		}
		recorded := oracletest.TestGetter.Responses[address]
		answer := dcap.Response{Kind: r.Kind, Body: recorded.Body}
		for name, values := range recorded.Header {
			if strings.EqualFold(name, r.IssuerChain) {
				answer.IssuerChain = values[0]
			}
		}
		answers = append(answers, answer)
	}
	bundle, err := dcap.Assemble(answers)
	if err != nil {
		fmt.Println(err)
		return
	}
	collateral, err := dcap.Open(bundle, dcap.IntelRoots(), now)
	if err != nil {
		fmt.Println(dcap.ClassOf(err), err)
		return
	}
	result, err := dcap.NewVerifier(dcap.IntelRoots(), 1000).Verify(quote, collateral, now)
	if err != nil {
		fmt.Println(dcap.ClassOf(err), err)
		return
	}
	fmt.Println(result.Platform(), result.Combined, result.Root == dcap.IntelRootID())
	// Output: tdx-50806F000000-platform Unrecognized true
}
