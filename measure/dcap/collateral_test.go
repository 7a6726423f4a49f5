package dcap_test

import (
	"crypto/elliptic"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"cocoon/measure/dcap"
	"cocoon/measure/tdx"
)

func TestMalformedTCBInfoIsRefused(t *testing.T) {
	const malformed = dcap.ClassCollateralMalformed
	refused(t, tdx.TDX, map[string]change{
		"id":                {malformed, "tcbInfo.id", edits{replaceTCB(`"TDX"`, `"tdx"`), replaceTCB(`"id":"TDX",`, ``), replaceTCB(`"TDX"`, `1`)}},
		"version":           {malformed, "tcbInfo.version", edits{replaceTCB(`"version":3`, `"version":2`), replaceTCB(`"version":3`, `"version":"3"`), replaceTCB(`"version":3`, `"version":3.0`)}},
		"issue date":        {malformed, "tcbInfo.issueDate", edits{replaceTCB(`10T00:00:00Z`, `10T00:00:00+00:00`), replaceTCB(`2025-06-10T`, `2025-06-31T`), replaceTCB(`"issueDate"`, `"issued"`)}},
		"next update":       {malformed, "tcbInfo.nextUpdate", edits{replaceTCB(`07-10T00:00:00Z`, `07-10`), replaceTCB(`"nextUpdate":"2025-07-10T00:00:00Z",`, ``)}},
		"FMSPC":             {malformed, "tcbInfo.fmspc", edits{replaceTCB(`00806F05AB00`, `00806F05AB`), replaceTCB(`00806F05AB00`, `00806F05AB0G`), replaceTCB(`00806F05AB00`, `\u0030806F05AB0`)}},
		"PCEID":             {malformed, "tcbInfo.pceId", edits{replaceTCB(`"0001"`, `"1"`), replaceTCB(`"0001"`, `1`)}},
		"type":              {malformed, "tcbInfo.tcbType", edits{replaceTCB(`"tcbType":0`, `"tcbType":1`), replaceTCB(`"tcbType":0,`, ``)}},
		"evaluation number": {malformed, "tcbEvaluationDataNumber", edits{replaceTCB(`Number":17`, `Number":-1`), replaceTCB(`Number":17`, `Number":1e3`), replaceTCB(`Number":17`, `Number":4294967296`)}},
		"module":            {malformed, "tcbInfo.tdxModule", edits{replaceTCB(`"tdxModule":`, `"module":`), replaceTCB(`"tdxModule":{"mrsigner"`, `"tdxModule":{"signer"`)}},
		"module's mask":     {malformed, "attributesMask", edits{replaceTCB(`"FFFFFFFFFFFFFFFF"`, `"FFFF"`), replaceTCB(`"attributesMask"`, `"attributemask"`)}},
		"modules":           {malformed, "tdxModuleIdentities", edits{replaceTCB(`"tdxModuleIdentities":[`, `"tdxModuleIdentities":[1,`), replaceTCB(`"isvsvn":4`, `"isvsvn":65536`), replaceTCB(`"id":"TDX_01",`, ``)}},
		"levels":            {malformed, "tcbLevels", edits{replaceTCB(`"tcbLevels":[{"tcb":{"sgx`, `"tcblevels":[{"tcb":{"sgx`), replaceTCB(`{"tcb":{"sgx`, `1,{"tcb":{"sgx`)}},
		"components":        {malformed, "sgxtcbcomponents", edits{replaceTCB(`"sgxtcbcomponents":[`, `"sgxtcbcomponents":[{"svn":1},`), replaceTCB(`"sgxtcbcomponents":[{"svn":3,"category":"BIOS","type":"a type"},`, `"sgxtcbcomponents":[`), replaceTCB(`{"svn":3`, `{"svn":256`), replaceTCB(`{"svn":3`, `{"SVN":3`)}},
		"TDX components":    {malformed, "tdxtcbcomponents", edits{replaceTCB(`"tdxtcbcomponents"`, `"components"`), replaceTCB(`"tdxtcbcomponents":[`, `"tdxtcbcomponents":[{},`)}},
		"PCESVN":            {malformed, "pcesvn", edits{replaceTCB(`"pcesvn":11`, `"pcesvn":"11"`), replaceTCB(`"pcesvn":11,`, ``)}},
		"status":            {malformed, "tcbStatus", edits{replaceTCB(`"tcbStatus":"UpToDate"`, `"tcbStatus":"Uptodate"`), replaceTCB(`"tcbStatus":"OutOfDate"`, `"tcbStatus":"Unrecognized"`), replaceTCB(`"tcbStatus":"OutOfDate"`, `"tcbStatus":""`)}},
		"date":              {malformed, "tcbDate", edits{replaceTCB(`"tcbDate":"2024-03-13T00:00:00Z"`, `"tcbDate":""`), replaceTCB(`"tcbDate":"2023-08-09T00:00:00Z",`, ``)}},
		"advisories":        {malformed, "advisoryIDs", edits{replaceTCB(`["INTEL-SA-00003"]`, `"INTEL-SA-00003"`), replaceTCB(`["INTEL-SA-00003"]`, `[3]`), replaceTCB(`"advisoryIDs"`, `"advisoryIds"`)}},
		"duplicate":         {malformed, "in one object", edits{replaceTCB(`"tcbType":0`, `"tcbType":0,"tcbType":0`), replaceTCB(`"tcbType":0`, `"tcbType":0,"FMSPC":"00806F05AB00"`), replaceTCB(`{"svn":3`, `{"svn":3,"sVn":4`), replaceTCB(`{"svn":3`, `{"svn":3,"x":{"a":1,"A":2}`)}},
		"grammar":           {malformed, "reading TCB info", edits{replaceTCB(`{"id"`, `{,"id"`), replaceTCB(`"version":3,`, `"version":03,`), replaceTCB(`"tcbType":0`, `"tcbType":0 1`), func(s *scene) { s.tcbInfo += "x" }, func(s *scene) { s.tcbInfo = "[" + s.tcbInfo + "]" }, func(s *scene) { s.tcbInfo = s.tcbInfo[:len(s.tcbInfo)-1] }}},
		"encoding":          {malformed, "UTF-8", edits{replaceTCB(`a type`, "a \xff"), replaceTCB(`BIOS`, "\xc3\x28")}},
	})
}

func TestMalformedQEIdentityIsRefused(t *testing.T) {
	const malformed = dcap.ClassCollateralMalformed
	refused(t, tdx.TDX, map[string]change{
		"id":              {malformed, "enclaveIdentity.id", edits{replaceQE(`"TD_QE"`, `"TD_QVE"`), replaceQE(`"TD_QE"`, `"QVE"`)}},
		"version":         {malformed, "enclaveIdentity.version", edits{replaceQE(`"version":2`, `"version":1`), replaceQE(`"version":2`, `"version":3`)}},
		"dates":           {malformed, "extUpdate", edits{replaceQE(`07-11T00:00:00Z`, `07-11T00:00:00`), replaceQE(`"nextUpdate"`, `"NextUpdate"`)}},
		"MISCSELECT":      {malformed, "enclaveIdentity.miscselect", edits{replaceQE(`"01000000"`, `"0100000"`), replaceQE(`"miscselectMask"`, `"mask"`)}},
		"ATTRIBUTES":      {malformed, "enclaveIdentity.attributes", edits{replaceQE(`"1100`, `"11`), replaceQE(`"attributesMask"`, `"attributesmask"`)}},
		"MRSIGNER":        {malformed, "mrsigner", edits{replaceQE(`"DC9E`, `"xC9E`), replaceQE(`"mrsigner"`, `"mrSigner"`)}},
		"ISVPRODID":       {malformed, "enclaveIdentity.isvprodid", edits{replaceQE(`"isvprodid":2`, `"isvprodid":65536`), replaceQE(`"isvprodid":2`, `"isvprodid":true`)}},
		"levels":          {malformed, "tcbLevels", edits{replaceQE(`"tcbLevels":[`, `"tcbLevels":[{},`), replaceQE(`{"isvsvn":4}`, `[4]`), replaceQE(`"tcbStatus":"OutOfDate"`, `"tcbStatus":null`)}},
		"case variant":    {malformed, "in one object", edits{replaceQE(`"isvprodid":2`, `"isvprodid":2,"IsvProdId":3`), replaceQE(`"isvprodid":2`, `"isvprodid":2,"isvprodid":2`)}},
		"Kelvin sign":     {malformed, "want", edits{replaceQE(`"attributesMask"`, "\"attribute\u017fMa\u017f\u212a\""), replaceQE(`"miscselectMask"`, "\"miscselectMas\u212a\"")}},
		"escape in a key": {malformed, "escape in the key", edits{replaceQE(`"isvprodid"`, `"\u0069svprodid"`)}},
	})
}

func TestUnknownSignedMembersAreTolerated(t *testing.T) {
	s := newScene(t, tdx.TDX)
	for _, edit := range (edits{
		replaceTCB(`"tcbType":0`, `"tcbType":0,"later":{"a":[1,-2.5e+3,"\u00e9\n",true,null,{}],"b":[]}`),
		replaceTCB(`{"svn":3`, "{ \"svn\" :\t3 , \"more\": false"),
		replaceQE(`"isvprodid":2`, `"isvprodid":2,"x":"y"`),
	}) {
		edit(s)
	}
	if r, err := s.build(t).verify(); err != nil || r.Combined != dcap.UpToDate {
		t.Errorf("got %+v (%v)", r, err)
	}
}

func TestSignaturesOfCollateralAreChecked(t *testing.T) {
	const signature = dcap.ClassCollateralSignature
	other := newKey(t, elliptic.P256())
	bundle := func(edit func(b *dcap.Bundle)) func(s *scene) {
		return func(s *scene) { s.bundle = edit }
	}
	refused(t, tdx.TDX, map[string]change{
		"TCB info": {signature, "TCB info is not signed", edits{
			bundle(func(b *dcap.Bundle) { b.TCBInfo = strings.Replace(b.TCBInfo, "17", "18", 1) }),
			bundle(func(b *dcap.Bundle) { b.TCBInfo += " " }),
			// Duplicates inside the signed text fail at the signature.
			bundle(func(b *dcap.Bundle) {
				b.TCBInfo = strings.Replace(b.TCBInfo, `"tcbType":0`, `"tcbType":0,"fmspc":"000000000000"`, 1)
			}),
			bundle(func(b *dcap.Bundle) { b.TCBInfoSignature = b.QEIdentitySignature }),
			bundle(func(b *dcap.Bundle) { b.TCBInfoSignature = strings.Repeat("0", 128) }),
		}},
		"QE identity": {signature, "QE identity is not signed", edits{
			bundle(func(b *dcap.Bundle) { b.QEIdentity = strings.Replace(b.QEIdentity, "18", "19", 1) }),
			bundle(func(b *dcap.Bundle) { b.QEIdentitySignature = strings.Repeat("f", 128) }),
		}},
		"both": {signature, "TCB info is not signed", edits{func(s *scene) { s.keys.tcb = other }}},
		"signature's form": {dcap.ClassCollateralMalformed, "128 hex digits", edits{
			bundle(func(b *dcap.Bundle) { b.TCBInfoSignature = b.TCBInfoSignature[:126] }),
			bundle(func(b *dcap.Bundle) { b.TCBInfoSignature += "00" }),
			bundle(func(b *dcap.Bundle) { b.QEIdentitySignature = strings.Repeat("g", 128) }),
		}},
		"signer's name": {signature, "want the name", edits{
			func(s *scene) { s.tcb.Subject.CommonName = "Intel SGX PCK Certificate" },
			bundle(func(b *dcap.Bundle) { b.TCBInfoIssuerChain = b.PCKCRLIssuerChain }),
			bundle(func(b *dcap.Bundle) { b.QEIdentityIssuerChain = b.PCKCRLIssuerChain }),
		}},
		"signer's key usage": {signature, "key usage", edits{
			func(s *scene) { s.tcb.KeyUsage = x509.KeyUsageCertSign },
		}},
		"signer is a CA": {signature, "CA flag", edits{func(s *scene) { s.tcb.IsCA = true }}},
		"PCK CRL": {signature, "PCK CRL is not signed", edits{
			func(s *scene) { s.keys.ca = other; s.keys.issuer = s.certified.ca },
			bundle(func(b *dcap.Bundle) { b.PCKCRL = flipHex(b.PCKCRL, -3) }),
		}},
		"root CRL": {signature, "root CA CRL is not signed", edits{
			bundle(func(b *dcap.Bundle) { b.RootCACRL = flipHex(b.RootCACRL, -3) }),
		}},
		"CA's key usage": {signature, "does not allow to sign it", edits{
			func(s *scene) { s.ca.KeyUsage = x509.KeyUsageCertSign },
			func(s *scene) { s.root.KeyUsage = x509.KeyUsageCertSign },
		}},
		"CRL of another CA": {dcap.ClassCollateralMismatch, "is issued by", edits{
			bundle(func(b *dcap.Bundle) { b.PCKCRL = b.RootCACRL }),
			bundle(func(b *dcap.Bundle) { b.RootCACRL = b.PCKCRL }),
		}},
	})
}

// flipHex changes one hex digit, counted from the end.
func flipHex(text string, at int) string {
	b := []byte(text)
	if b[len(b)+at] == '0' {
		b[len(b)+at] = '1'
	} else {
		b[len(b)+at] = '0'
	}
	return string(b)
}

func TestMalformedRevocationListsAreRefused(t *testing.T) {
	const malformed = dcap.ClassCollateralMalformed
	critical := pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 27}, Critical: true, Value: []byte{2, 1, 1}} // delta CRL
	scope := pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 28}, Critical: true, Value: []byte{0x30, 0}}
	refused(t, tdx.TDX, map[string]change{
		"critical extension": {malformed, "unknown critical extension", edits{
			func(s *scene) { s.pckCRL.ExtraExtensions = append(s.pckCRL.ExtraExtensions, critical) },
			func(s *scene) { s.rootCRL.ExtraExtensions = append(s.rootCRL.ExtraExtensions, scope) },
		}},
		"critical entry extension": {malformed, "unknown critical extension", edits{
			func(s *scene) { s.pckCRL.RevokedCertificateEntries[0].ExtraExtensions = []pkix.Extension{scope} },
			func(s *scene) { s.rootCRL.RevokedCertificateEntries[0].ExtraExtensions = []pkix.Extension{critical} },
		}},
		"hash": {malformed, "want ECDSA with SHA-256", edits{
			func(s *scene) { s.pckCRL.SignatureAlgorithm = x509.ECDSAWithSHA384 },
			func(s *scene) { s.rootCRL.SignatureAlgorithm = x509.ECDSAWithSHA512 },
		}},
		"trailing bytes": {malformed, "bytes after it", edits{
			func(s *scene) { s.bundle = func(b *dcap.Bundle) { b.PCKCRL += "00" } },
			func(s *scene) { s.bundle = func(b *dcap.Bundle) { b.RootCACRL += b.RootCACRL } },
		}},
		"not hex": {malformed, "decoding", edits{
			func(s *scene) { s.bundle = func(b *dcap.Bundle) { b.PCKCRL = "x" + b.PCKCRL } },
			func(s *scene) { s.bundle = func(b *dcap.Bundle) { b.RootCACRL += "0" } },
		}},
		"not DER": {malformed, "reading", edits{
			func(s *scene) { s.bundle = func(b *dcap.Bundle) { b.PCKCRL = "30" } },
			func(s *scene) { s.bundle = func(b *dcap.Bundle) { b.RootCACRL = b.RootCACRL[:len(b.RootCACRL)-2] } },
		}},
		"missing": {malformed, "is missing or empty", edits{
			func(s *scene) { s.bundle = func(b *dcap.Bundle) { b.PCKCRL = "" } },
			func(s *scene) { s.bundle = func(b *dcap.Bundle) { b.QEIdentityIssuerChain = "" } },
		}},
		"chain": {malformed, "issuer chain", edits{
			func(s *scene) { s.bundle = func(b *dcap.Bundle) { b.PCKCRLIssuerChain += b.PCKCRLIssuerChain } },
			func(s *scene) { s.bundle = func(b *dcap.Bundle) { b.TCBInfoIssuerChain = "no PEM" } },
		}},
	})
}

// Every part holds from its start, less the skew, to its end, both included; certificates have no skew.
func TestValidityWindowsEndOnTheSecond(t *testing.T) {
	for name, tc := range map[string]struct {
		part string
		edit func(s *scene, from, to time.Time)
		skew time.Duration
	}{
		"TCB info": {"TCB info", func(s *scene, from, to time.Time) {
			replaceTCB("2025-06-10T00:00:00Z", from.Format(time.RFC3339))(s)
			replaceTCB("2025-07-10T00:00:00Z", to.Format(time.RFC3339))(s)
		}, 300 * time.Second},
		"QE identity": {"QE identity", func(s *scene, from, to time.Time) {
			replaceQE("2025-06-11T00:00:00Z", from.Format(time.RFC3339))(s)
			replaceQE("2025-07-11T00:00:00Z", to.Format(time.RFC3339))(s)
		}, 300 * time.Second},
		"PCK CRL": {"PCK CRL", func(s *scene, from, to time.Time) { s.pckCRL.ThisUpdate, s.pckCRL.NextUpdate = from, to }, 300 * time.Second},
		"root CRL": {"root CA CRL", func(s *scene, from, to time.Time) {
			s.rootCRL.ThisUpdate, s.rootCRL.NextUpdate = from, to
		}, 300 * time.Second},
		"PCK CA":     {"Platform CA", func(s *scene, from, to time.Time) { s.ca.NotBefore, s.ca.NotAfter = from, to }, 0},
		"TCB signer": {"TCB Signing", func(s *scene, from, to time.Time) { s.tcb.NotBefore, s.tcb.NotAfter = from, to }, 0},
		"root":       {"Root CA", func(s *scene, from, to time.Time) { s.root.NotBefore, s.root.NotAfter = from, to }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, tdx.TDX)
			from, to := s.now.Add(-time.Hour), s.now.Add(time.Hour)
			tc.edit(s, from, to)
			b := s.build(t)
			for _, step := range []struct {
				now   time.Time
				class dcap.Class
			}{
				{from.Add(-tc.skew - time.Second), dcap.ClassCollateralNotYetValid},
				{from.Add(-tc.skew), ""},
				{to, ""},
				{to.Add(time.Second), dcap.ClassCollateralExpired},
			} {
				b.now = step.now
				_, err := b.verify()
				if dcap.ClassOf(err) != step.class || (err != nil && !strings.Contains(err.Error(), tc.part)) {
					t.Errorf("at %s: got %q: %v, want %q", step.now, dcap.ClassOf(err), err, step.class)
				}
			}
			// Collateral that was opened in time ages like any other.
			c, err := dcap.Open(b.bundle, b.roots, to)
			if err != nil || !c.Expires().Equal(to) {
				t.Fatalf("expires at %s, want %s (%v)", c.Expires(), to, err)
			}
			_, err = dcap.NewVerifier(b.roots, 4).Verify(b.quote, c, to.Add(time.Second))
			if dcap.ClassOf(err) != dcap.ClassCollateralExpired {
				t.Errorf("verifying later: %v", err)
			}
		})
	}
}

func TestCollateralSaysWhatItIsFor(t *testing.T) {
	s := newScene(t, tdx.TDX)
	b := s.build(t)
	c, err := dcap.Open(b.bundle, b.roots, b.now)
	if err != nil {
		t.Fatal(err)
	}
	p, err := dcap.PlatformOf(b.quote)
	if err != nil || p != c.Platform() {
		t.Errorf("the quote is of %+v, the collateral of %+v (%v)", p, c.Platform(), err)
	}
	if p.String() != "tdx-00806F05AB00-platform" || c.TEE() != tdx.TDX || c.CA() != dcap.PlatformCA || c.FMSPC().String() != "00806F05AB00" {
		t.Errorf("platform %s", p)
	}
	if !b.roots.Has(c.Root()) || dcap.IntelRoots().Has(c.Root()) {
		t.Errorf("root %s", c.Root())
	}
	if c.EvaluationNumber() != 17 || !c.IssuedAt().Equal(at(t, "2025-06-10T00:00:00Z")) || !c.Expires().Equal(at(t, "2025-07-10T00:00:00Z")) {
		t.Errorf("number %d, issued at %s, expires at %s", c.EvaluationNumber(), c.IssuedAt(), c.Expires())
	}
	var got []string
	for _, part := range c.Parts() {
		got = append(got, fmt.Sprint(part.Kind, " ", part.From.Format(time.DateOnly), " ", part.To.Format(time.DateOnly)))
	}
	want := "tcb_info 2025-06-10 2025-07-10, qe_identity 2025-06-11 2025-07-11, pck_crl 2025-06-19 2025-07-19, root_crl 2025-06-19 2025-07-19"
	if strings.Join(got, ", ") != want {
		t.Errorf("parts %s, want %s", strings.Join(got, ", "), want)
	}
}

func TestGenerationsFollowTheContent(t *testing.T) {
	s := newScene(t, tdx.TDX)
	open := func() (*dcap.Collateral, *built) {
		b := s.build(t)
		c, err := dcap.Open(b.bundle, b.roots, b.now)
		if err != nil {
			t.Fatal(err)
		}
		return c, b
	}
	first, b := open()
	upper := *b.bundle
	upper.PCKCRL, upper.RootCACRL = strings.ToUpper(upper.PCKCRL), strings.ToUpper(upper.RootCACRL)
	again, err := dcap.Open(&upper, b.roots, b.now.Add(time.Hour))
	if err != nil || again.Generation() != first.Generation() {
		t.Errorf("the same bytes have another generation (%v)", err)
	}
	replaceTCB(`Number":17`, `Number":18`)(s)
	if second, _ := open(); second.Generation() == first.Generation() {
		t.Error("other bytes have the same generation")
	}
}

// Nothing that a store holds is replaced by something older, part by part.
func TestOldCollateralReplacesNothing(t *testing.T) {
	s := newScene(t, tdx.TDX)
	s.rootCert = issue(t, &s.root, &s.root, s.certified.root, s.keys.root)
	base := *s
	open := func(edit func(s *scene)) *dcap.Collateral {
		changed := base
		edit(&changed)
		b := changed.build(t)
		c, err := dcap.Open(b.bundle, b.roots, b.now)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	old := open(func(*scene) {})
	if err := old.Replaces(old); err != nil {
		t.Error(err)
	}
	for name, tc := range map[string]struct {
		edit func(s *scene)
		want string // part of the error; none when it is empty
	}{
		"newer TCB info":     {replaceTCB("2025-06-10", "2025-06-12"), ""},
		"newer CRL":          {func(s *scene) { s.pckCRL.ThisUpdate = s.now }, ""},
		"higher number":      {replaceTCB(`Number":17`, `Number":18`), ""},
		"lower number":       {replaceTCB(`Number":17`, `Number":16`), "evaluation number"},
		"lower QE number":    {replaceQE(`Number":18`, `Number":17`), "evaluation number"},
		"older TCB info":     {replaceTCB("2025-06-10", "2025-06-09"), "TCB info"},
		"older QE identity":  {replaceQE("2025-06-11", "2025-06-09"), "QE identity"},
		"older PCK CRL":      {func(s *scene) { s.pckCRL.ThisUpdate = s.now.AddDate(0, 0, -2) }, "PCK CRL"},
		"older root CRL":     {func(s *scene) { s.rootCRL.ThisUpdate = s.now.AddDate(0, 0, -2) }, "root CA CRL"},
		"newer, older mixed": {func(s *scene) { s.pckCRL.ThisUpdate = s.now; replaceQE("2025-06-11", "2025-06-09")(s) }, "QE identity"},
		"another platform":   {replaceTCB("00806F05AB00", "00806F05AB01"), "another platform"},
	} {
		err := open(tc.edit).Replaces(old)
		if (err == nil) != (tc.want == "") || (err != nil && !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("%s: got %v, want %q", name, err, tc.want)
		}
	}
}

func TestBundlesSurviveTheirText(t *testing.T) {
	b := newScene(t, tdx.TDX).build(t)
	back, err := dcap.ParseBundle(b.bundle.Encode())
	if err != nil || *back != *b.bundle {
		t.Errorf("the bundle changed (%v)", err)
	}
	text := string(b.bundle.Encode())
	for name, bad := range map[string]string{
		"empty":      "",
		"no object":  "[]",
		"missing":    mustReplace(text, `"pck_crl":`, `"x":`),
		"unknown":    mustReplace(text, `{`, `{"x":"y",`),
		"duplicate":  mustReplace(text, `{`, `{"qe_identity":"y",`),
		"other case": mustReplace(text, `"pck_crl"`, `"PCK_CRL"`),
		"null":       `{"pck_crl":null}`,
		"two":        text + text,
		"too large":  strings.Repeat(" ", dcap.MaxBundle) + text,
	} {
		if _, err := dcap.ParseBundle([]byte(bad)); dcap.ClassOf(err) != dcap.ClassCollateralMalformed {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestIntelRootIsPinned(t *testing.T) {
	roots := dcap.IntelRoots()
	const id = "46e403bd34f05a3f2817ab9badcaacc7ffc98e0f261008cd30dae936cace18d5dcf58eef31463613de1570d516200993"
	if got := dcap.IntelRootID().String(); got != id || !roots.Has(dcap.IntelRootID()) || roots.Has(dcap.RootID{}) {
		t.Errorf("Intel's root id is %s", got)
	}
	text, err := dcap.IntelRootID().MarshalText()
	if err != nil || string(text) != id {
		t.Errorf("text %s (%v)", text, err)
	}
}

func TestOnlyRootsAreTakenAsRoots(t *testing.T) {
	s := newScene(t, tdx.TDX)
	s.build(t)
	ca := issue(t, &s.ca, s.rootCert, s.certified.ca, s.keys.root)
	p384 := s.root
	p384.SignatureAlgorithm = x509.ECDSAWithSHA384
	k := newKey(t, elliptic.P384())
	leaf := s.tcb
	leaf.SerialNumber = big.NewInt(9)
	for name, certs := range map[string][]*x509.Certificate{
		"none":         {},
		"intermediate": {ca},
		"P-384":        {issue(t, &p384, &p384, k, k)},
		"not a CA":     {issue(t, &leaf, &leaf, s.keys.tcb, s.keys.tcb)},
		"one is wrong": {s.rootCert, ca},
	} {
		if _, err := dcap.NewRoots(certs...); err == nil {
			t.Errorf("%s: was taken as root", name)
		}
	}
	roots, err := dcap.NewRoots(s.rootCert)
	if err != nil {
		t.Fatal(err)
	}
	id, err := dcap.RootIDOf(s.rootCert)
	if err != nil || !roots.Has(id) {
		t.Errorf("id %s (%v)", hex.EncodeToString(id[:]), err)
	}
}
