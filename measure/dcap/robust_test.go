package dcap_test

import (
	"bytes"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cocoon/measure/dcap"
	"cocoon/measure/tdx"
)

// group reports whether COCOON_TEST names a group of expensive tests.
func group(name string) bool {
	groups := strings.Split(os.Getenv("COCOON_TEST"), ",")
	return slices.Contains(groups, name) || slices.Contains(groups, "all")
}

// opened is a vector's collateral with a verifier that remembers chains, as in production.
func opened(tb testing.TB, bundle, clock string) (*dcap.Verifier, *dcap.Collateral) {
	tb.Helper()
	c, err := dcap.Open(vectorBundle(tb, bundle), dcap.IntelRoots(), at(tb, clock))
	if err != nil {
		tb.Fatal(err)
	}
	return dcap.NewVerifier(dcap.IntelRoots(), 16), c
}

// signedLength is where a quote's trailing bytes begin.
func signedLength(tb testing.TB, quote []byte) int {
	tb.Helper()
	p, err := tdx.Split(quote)
	if err != nil {
		tb.Fatal(err)
	}
	return len(p.Quote)
}

// A verifier that has seen the good quote must still refuse every altered one. By default a bit of every third byte is
// flipped, another one in each; with COCOON_TEST=vectors all are.
func TestEveryFlippedBitIsRefused(t *testing.T) {
	for name, tc := range map[string]struct{ quote, bundle, clock string }{
		"TD v4":  {"tdx_quote", "tdx_quote_collateral.json", june},
		"TD v5":  {"tdx_quote_outdated", "tdx_quote_outdated_collateral.json", "2026-02-19T00:00:00Z"},
		"SGX v3": {"sgx_quote", "sgx_quote_collateral.json", june},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			quote, now := vectorQuote(t, tc.quote), at(t, tc.clock)
			v, c := opened(t, tc.bundle, tc.clock)
			good, err := v.Verify(quote, c, now)
			if err != nil {
				t.Fatal(err)
			}
			signed := signedLength(t, quote)
			bits := []int{0, 1, 2, 3, 4, 5, 6, 7}
			for i := range signed {
				if !group("vectors") {
					if i%3 != 0 && i >= 64 {
						continue
					}
					bits = []int{i / 3 % 8}
				}
				for _, bit := range bits {
					quote[i] ^= 1 << bit
					if _, err := v.Verify(quote, c, now); dcap.ClassOf(err) == "" {
						t.Errorf("bit %d of byte %d is not protected: %v", bit, i, err)
					}
					quote[i] ^= 1 << bit
				}
			}
			for i := signed; i < len(quote); i++ {
				quote[i] ^= 0x55
				r, err := v.Verify(quote, c, now)
				if diff := cmp.Diff(good, r); err != nil || diff != "" {
					t.Fatalf("byte %d, which is unsigned, changes the result: %v %s", i, err, diff)
				}
				quote[i] ^= 0x55
			}
		})
	}
}

func TestTruncatedQuotesAreRefused(t *testing.T) {
	quote, now := vectorQuote(t, "tdx_quote"), at(t, june)
	v, c := opened(t, "tdx_quote_collateral.json", june)
	r, err := v.Verify(quote, c, now)
	if err != nil {
		t.Fatal(err)
	}
	signed := signedLength(t, quote)
	for n := range signed {
		_, err := v.Verify(quote[:n], c, now)
		_, platformErr := dcap.PlatformOf(quote[:n])
		_, signatureErr := v.VerifySignatures(quote[:n], now)
		for _, err := range []error{err, platformErr, signatureErr} {
			if dcap.ClassOf(err) != dcap.ClassQuoteParse {
				t.Fatalf("%d bytes: %q: %v", n, dcap.ClassOf(err), err)
			}
		}
	}
	for _, pad := range []int{0, 1, 1000, tdx.MaxQuote - signed} {
		padded := append(bytes.Clone(quote[:signed]), bytes.Repeat([]byte{0xa5}, pad)...)
		again, err := v.Verify(padded, c, now)
		if diff := cmp.Diff(r, again); err != nil || diff != "" {
			t.Errorf("%d bytes behind the quote: %v %s", pad, err, diff)
		}
	}
	if _, err := v.Verify(append(bytes.Clone(quote), make([]byte, tdx.MaxQuote)...), c, now); dcap.ClassOf(err) != dcap.ClassQuoteParse {
		t.Errorf("an endless quote: %v", err)
	}
}

func TestCraftedQuotesAreErrors(t *testing.T) {
	v, c := opened(t, "tdx_quote_collateral.json", june)
	for _, name := range []string{"crafted_signed_size_10.bin", "crafted_signed_size_0x82.bin", "crafted_qe_auth_0xffff.bin"} {
		if _, err := v.Verify(vectorQuote(t, name), c, at(t, june)); dcap.ClassOf(err) != dcap.ClassQuoteParse {
			t.Errorf("%s: %q: %v", name, dcap.ClassOf(err), err)
		}
	}
}

// The bodies of the vectors have the shape of answers; a member outside the signed text must not be looked at.
func TestMalleableAnswersAreRefused(t *testing.T) {
	quote, bundle := vectorQuote(t, "tdx_quote"), vectorBundle(t, "tdx_quote_collateral.json")
	assemble := func(kind dcap.Kind, body []byte) (*dcap.Bundle, error) {
		chain := func(text string) string { return strings.ReplaceAll(text, "\n", "%0A") }
		tcb := []byte(`{"tcbInfo":` + bundle.TCBInfo + `,"signature":"` + bundle.TCBInfoSignature + `"}`)
		qe := []byte(`{"enclaveIdentity":` + bundle.QEIdentity + `,"signature":"` + bundle.QEIdentitySignature + `"}`)
		if kind == dcap.TCBInfo {
			tcb = body
		} else {
			qe = body
		}
		return dcap.Assemble([]dcap.Response{
			{Kind: dcap.RootCRL, Body: []byte(strings.ToUpper(bundle.RootCACRL) + "\n")},
			{Kind: dcap.PCKCRL, Body: hexBytes(t, bundle.PCKCRL), IssuerChain: chain(bundle.PCKCRLIssuerChain)},
			{Kind: dcap.TCBInfo, Body: tcb, IssuerChain: chain(bundle.TCBInfoIssuerChain)},
			{Kind: dcap.QEIdentity, Body: qe, IssuerChain: chain(bundle.QEIdentityIssuerChain)},
		})
	}
	plain, err := assemble(dcap.TCBInfo, vectorQuote(t, "malleable_tcb_plain.json"))
	if err != nil || *plain != *bundle {
		t.Fatalf("the plain answer gives another bundle than the original (%v)", err)
	}
	if r, err := verify(t, quote, plain, at(t, june)); err != nil || r.Combined != dcap.UpToDate {
		t.Errorf("the plain answer: %+v (%v)", r, err)
	}
	bodies := map[string]struct {
		kind dcap.Kind
		body []byte
	}{
		"QE, other case":      {dcap.QEIdentity, enclaveIdentity(bundle, `,"EnclaveIdentity":{"isvprodid":2}`)},
		"QE, next update":     {dcap.QEIdentity, enclaveIdentity(bundle, `,"enclaveidentity":{"nextUpdate":"2099-01-01T00:00:00Z"}`)},
		"QE, duplicate":       {dcap.QEIdentity, enclaveIdentity(bundle, `,"enclaveIdentity":{"id":"TD_QE"}`)},
		"QE, duplicate first": {dcap.QEIdentity, bytes.Replace(enclaveIdentity(bundle, ""), []byte(`{`), []byte(`{"enclaveIdentity":{},`), 1)},
		"QE, other member":    {dcap.QEIdentity, enclaveIdentity(bundle, `,"x":1`)},
		"QE, two signatures":  {dcap.QEIdentity, enclaveIdentity(bundle, `,"Signature":""`)},
		"QE, data after it":   {dcap.QEIdentity, append(enclaveIdentity(bundle, ""), '0')},
		"QE in TCB's place":   {dcap.TCBInfo, enclaveIdentity(bundle, "")},
		"an array":            {dcap.TCBInfo, []byte(`[]`)},
		"no signature":        {dcap.TCBInfo, []byte(`{"tcbInfo":{}}`)},
		"short signature":     {dcap.TCBInfo, []byte(`{"tcbInfo":{},"signature":"00"}`)},
		"not an object":       {dcap.TCBInfo, []byte(`{"tcbInfo":"{}","signature":"` + bundle.TCBInfoSignature + `"}`)},
		"nothing":             {dcap.TCBInfo, nil},
	}
	for _, name := range []string{"malleable_tcb_case_fmspc.json", "malleable_tcb_case_nextupdate.json", "malleable_tcb_dup_exact.json"} {
		bodies[name] = struct {
			kind dcap.Kind
			body []byte
		}{dcap.TCBInfo, vectorQuote(t, name)}
	}
	for name, tc := range bodies {
		if _, err := assemble(tc.kind, tc.body); dcap.ClassOf(err) != dcap.ClassCollateralMalformed {
			t.Errorf("%s: %q: %v", name, dcap.ClassOf(err), err)
		}
	}
}

// enclaveIdentity is an answer with something behind the signature.
func enclaveIdentity(b *dcap.Bundle, rest string) []byte {
	return []byte(`{"enclaveIdentity":` + b.QEIdentity + `,"signature":"` + b.QEIdentitySignature + `"` + rest + `}`)
}

func TestAnswersAreComplete(t *testing.T) {
	p := dcap.Platform{FMSPC: dcap.FMSPC{0, 0x80, 0x6f, 5, 0xab}, CA: dcap.ProcessorCA, TEE: tdx.SGX}
	want := []dcap.Request{
		{Kind: dcap.TCBInfo, Path: "/sgx/certification/v4/tcb", Query: "fmspc=00806F05AB00", IssuerChain: "TCB-Info-Issuer-Chain"},
		{Kind: dcap.QEIdentity, Path: "/sgx/certification/v4/qe/identity", IssuerChain: "SGX-Enclave-Identity-Issuer-Chain"},
		{Kind: dcap.PCKCRL, Path: "/sgx/certification/v4/pckcrl", Query: "ca=processor&encoding=der", IssuerChain: "SGX-PCK-CRL-Issuer-Chain"},
		{Kind: dcap.RootCRL, Path: "/sgx/certification/v4/rootcacrl"},
	}
	if diff := cmp.Diff(want, dcap.Requests(p)); diff != "" {
		t.Error(diff)
	}
	p.TEE = tdx.TDX
	if got := dcap.Requests(p); got[0].Path != "/tdx/certification/v4/tcb" || got[1].Path != "/tdx/certification/v4/qe/identity" || got[0].TEE() != tdx.TDX || want[0].TEE() != tdx.SGX {
		t.Errorf("requests for a TD: %+v", got)
	}
	crl := dcap.Response{Kind: dcap.RootCRL, Body: []byte{0x30, 0}}
	for name, responses := range map[string][]dcap.Response{
		"none":              nil,
		"one":               {crl},
		"twice":             {crl, crl},
		"unknown":           {{Kind: 0, Body: []byte{0x30, 0}}},
		"beyond":            {{Kind: 9}},
		"neither DER nor":   {{Kind: dcap.RootCRL, Body: []byte("<html>")}},
		"empty":             {{Kind: dcap.RootCRL}},
		"too large":         {{Kind: dcap.RootCRL, Body: append([]byte{0x30}, make([]byte, dcap.MaxResponse)...)}},
		"chain's encoding":  {{Kind: dcap.PCKCRL, Body: []byte{0x30, 0}, IssuerChain: "%zz"}},
		"chain's length":    {{Kind: dcap.PCKCRL, Body: []byte{0x30, 0}, IssuerChain: strings.Repeat("x", 40_000)}},
		"chain in no place": {{Kind: dcap.PCKCRL, Body: []byte{0x30, 0}}},
	} {
		if _, err := dcap.Assemble(responses); dcap.ClassOf(err) != dcap.ClassCollateralMalformed {
			t.Errorf("%s: %v", name, err)
		}
	}
	for kind, want := range map[dcap.Kind]string{dcap.TCBInfo: "tcb_info", dcap.QEIdentity: "qe_identity", dcap.PCKCRL: "pck_crl", dcap.RootCRL: "root_crl", 0: "unknown"} {
		if kind.String() != want {
			t.Errorf("kind %d is %q", kind, kind)
		}
	}
}

func TestVerifiersAreConcurrent(t *testing.T) {
	v, c := opened(t, "tdx_quote_collateral.json", june)
	quote, now := vectorQuote(t, "tdx_quote"), at(t, june)
	want, err := v.Verify(quote, c, now)
	if err != nil {
		t.Fatal(err)
	}
	bad := bytes.Clone(quote)
	bad[200] ^= 1
	before := bytes.Clone(quote)
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 10 {
				r, err := v.Verify(quote, c, now)
				if err != nil || cmp.Diff(want, r) != "" {
					t.Errorf("another result: %v", err)
				}
				if _, err := v.Verify(bad, c, now); dcap.ClassOf(err) != dcap.ClassQuoteSignature {
					t.Errorf("a bad quote: %v", err)
				}
			}
		})
	}
	group.Wait()
	if !bytes.Equal(before, quote) {
		t.Error("verifying changed the quote")
	}
}

// A result must not change when the caller reuses its buffer, nor through another result.
func TestResultsAreOwned(t *testing.T) {
	v, c := opened(t, "cos113_collateral.json", june)
	quote, now := vectorQuote(t, "quotev4.hex"), at(t, june)
	first, err := v.Verify(quote, c, now)
	if err != nil || len(first.Advisories) == 0 {
		t.Fatal(err)
	}
	second, err := v.Verify(bytes.Clone(quote), c, now)
	if err != nil {
		t.Fatal(err)
	}
	clear(quote)
	clear(first.Advisories)
	first.Quote.TD.MRTD = tdx.Digest{}
	third, err := v.Verify(vectorQuote(t, "quotev4.hex"), c, now)
	if diff := cmp.Diff(second, third); err != nil || diff != "" {
		t.Errorf("results share memory: %v %s", err, diff)
	}
}

// Revocation, dates and roots are judged anew for what a verifier remembers.
func TestRememberedChainsAreJudgedAnew(t *testing.T) {
	s := newScene(t, tdx.TDX)
	good := s.build(t)
	v := dcap.NewVerifier(good.roots, 8)
	c, err := dcap.Open(good.bundle, good.roots, good.now)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.Verify(good.quote, c, good.now); err != nil {
		t.Fatal(err)
	}
	later := good.now.AddDate(0, 0, 5)
	s.pckCRL.RevokedCertificateEntries[0].SerialNumber = s.pck.SerialNumber
	revoked, err := dcap.Open(s.build(t).bundle, good.roots, later)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.Verify(good.quote, revoked, later); dcap.ClassOf(err) != dcap.ClassRevoked {
		t.Errorf("revoked since: %v", err)
	}
	if _, err := v.Verify(good.quote, c, later); err != nil {
		t.Errorf("the old list says nothing, and yet: %v", err)
	}
	if _, err := v.VerifySignatures(good.quote, s.pck.NotAfter.AddDate(0, 0, 1)); dcap.ClassOf(err) != dcap.ClassChain {
		t.Errorf("expired since: %v", err)
	}
	elsewhere := newScene(t, tdx.TDX)
	elsewhere.rekey(t, "other keys")
	other := elsewhere.build(t)
	foreign, err := dcap.Open(other.bundle, other.roots, other.now)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.Verify(good.quote, foreign, good.now); dcap.ClassOf(err) != dcap.ClassCollateralMismatch || !strings.Contains(err.Error(), "goes back to root") {
		t.Errorf("collateral below another root: %v", err)
	}
	if _, err := dcap.NewVerifier(other.roots, 8).Verify(good.quote, c, good.now); dcap.ClassOf(err) != dcap.ClassRoot {
		t.Errorf("a verifier of other roots: %v", err)
	}
}

// The figures of attestation.md section 18, with room.
func TestVerifyingAllocatesLittle(t *testing.T) {
	quote, now := vectorQuote(t, "tdx_quote"), at(t, june)
	remembering, c := opened(t, "tdx_quote_collateral.json", june)
	for name, tc := range map[string]struct {
		verifier *dcap.Verifier
		limit    float64
	}{
		"first":      {dcap.NewVerifier(dcap.IntelRoots(), 0), 300},
		"remembered": {remembering, 60},
	} {
		got := testing.AllocsPerRun(10, func() {
			if _, err := tc.verifier.Verify(quote, c, now); err != nil {
				t.Fatal(err)
			}
		})
		if got > tc.limit {
			t.Errorf("%s: %v allocations, at most %v", name, got, tc.limit)
		}
	}
}

func TestNothingIsRefusedNotMissed(t *testing.T) {
	b := newScene(t, tdx.TDX).build(t)
	c, err := dcap.Open(b.bundle, b.roots, b.now)
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		got  func() error
		want dcap.Class
	}{
		"no collateral":  {func() error { _, err := dcap.NewVerifier(b.roots, 0).Verify(b.quote, nil, b.now); return err }, dcap.ClassCollateralMismatch},
		"no roots":       {func() error { _, err := dcap.NewVerifier(nil, 0).Verify(b.quote, c, b.now); return err }, dcap.ClassRoot},
		"no bundle":      {func() error { _, err := dcap.Open(nil, b.roots, b.now); return err }, dcap.ClassCollateralMalformed},
		"nothing in it":  {func() error { _, err := dcap.Open(&dcap.Bundle{}, b.roots, b.now); return err }, dcap.ClassCollateralMalformed},
		"opened by none": {func() error { _, err := dcap.Open(b.bundle, nil, b.now); return err }, dcap.ClassRoot},
		"no quote":       {func() error { _, err := dcap.NewVerifier(b.roots, 0).Verify(nil, c, b.now); return err }, dcap.ClassQuoteParse},
	} {
		err := tc.got()
		if dcap.ClassOf(err) != tc.want || err.Error() == "" {
			t.Errorf("%s: %q: %v", name, dcap.ClassOf(err), err)
		}
	}
	if dcap.ClassOf(nil) != "" || dcap.ClassOf(os.ErrExist) != "" {
		t.Error("errors of others have a class")
	}
	var none *dcap.Roots
	if none.Has(dcap.IntelRootID()) {
		t.Error("an empty set has a root")
	}
}

// Fuzzing needs it: a worker's scene is the same as the one its input was made from.
func TestScenesAreReproducible(t *testing.T) {
	for _, tee := range []tdx.TEEType{tdx.TDX, tdx.SGX} {
		a, b := newScene(t, tee).build(t), newScene(t, tee).build(t)
		if !bytes.Equal(a.quote, b.quote) || *a.bundle != *b.bundle {
			t.Errorf("two %s scenes differ", tee)
		}
	}
}
