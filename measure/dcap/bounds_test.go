package dcap_test

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"strings"
	"testing"

	"cocoon/measure/dcap"
	"cocoon/measure/tdx"
)

// Everything has a bound, also what is signed.
func TestBoundsAreKept(t *testing.T) {
	const malformed = dcap.ClassCollateralMalformed
	large := func(c *x509.Certificate) {
		c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier{1, 2, 3}, Value: make([]byte, 8<<10)})
	}
	refused(t, tdx.TDX, map[string]change{
		"PCK certificate": {dcap.ClassChain, "at most 8192", edits{func(s *scene) { large(&s.pck) }}},
		"PCK CA":          {dcap.ClassCollateralSignature, "at most 8192", edits{func(s *scene) { large(&s.ca) }}},
		"TCB signer":      {dcap.ClassCollateralSignature, "at most 8192", edits{func(s *scene) { large(&s.tcb) }}},
		"TCB info":        {malformed, "TCB info has", edits{func(s *scene) { s.tcbInfo += strings.Repeat(" ", dcap.MaxResponse) }}},
		"QE identity":     {malformed, "QE identity has", edits{func(s *scene) { s.qeIdentity += strings.Repeat(" ", dcap.MaxResponse) }}},
		"PCK CRL": {malformed, "hex digits, at most", edits{func(s *scene) {
			s.bundle = func(b *dcap.Bundle) { b.PCKCRL = strings.Repeat("30", dcap.MaxResponse+1) }
		}}},
		"entries": {malformed, "entries, at most", edits{func(s *scene) {
			for i := range 1<<14 + 1 {
				s.pckCRL.RevokedCertificateEntries = append(s.pckCRL.RevokedCertificateEntries, x509.RevocationListEntry{
					SerialNumber: big.NewInt(int64(1000 + i)), RevocationTime: s.now,
				})
			}
		}}},
		"levels": {malformed, "items, at most 256", edits{
			replaceTCB(`"tcbLevels":[{"tcb":{"isvsvn":4}`, `"tcbLevels":[`+strings.Repeat(`{},`, 256)+`{"tcb":{"isvsvn":4}`),
			replaceQE(`"tcbLevels":[`, `"tcbLevels":[`+strings.Repeat(`{},`, 256)),
		}},
		"modules":      {malformed, "items, at most 256", edits{replaceTCB(`"tdxModuleIdentities":[`, `"tdxModuleIdentities":[`+strings.Repeat(`{},`, 256))}},
		"advisories":   {malformed, "items, at most 512", edits{replaceTCB(`["INTEL-SA-00003"]`, `[`+strings.Repeat(`"a",`, 512)+`"a"]`)}},
		"advisory ids": {malformed, "is not an advisory id", edits{replaceTCB(`["INTEL-SA-00003"]`, `["`+strings.Repeat("a", 65)+`"]`), replaceTCB(`INTEL-SA-00003`, `INTEL\n`)}},
	})
	s := newScene(t, tdx.TDX)
	replaceTCB(`["INTEL-SA-00003"]`, `["`+strings.Repeat("a", 64)+`"`+strings.Repeat(`,"b"`, 511)+`]`)(s)
	s.td.TEETCBSVN[0] = 3
	if r, err := s.build(t).verify(); err != nil || len(r.Advisories) != 2 {
		t.Errorf("512 advisories, two of them different: %+v (%v)", r, err)
	}
}

// A certificate may be larger than Intel's, within bounds; its other extensions mean nothing here.
func TestForeignExtensionsAreIgnored(t *testing.T) {
	s := newScene(t, tdx.TDX)
	for _, c := range []*x509.Certificate{&s.pck, &s.ca, &s.tcb} {
		c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier{1, 2, 3}, Value: make([]byte, 2048)})
	}
	if r, err := s.build(t).verify(); err != nil || r.Combined != dcap.UpToDate {
		t.Errorf("got %+v (%v)", r, err)
	}
}

// A verifier may trust several roots, but one bundle goes back to one.
func TestRootsAreNotMixed(t *testing.T) {
	one, other := newScene(t, tdx.TDX), newScene(t, tdx.TDX)
	other.rekey(t, "other keys")
	a, b := one.build(t), other.build(t)
	roots, err := dcap.NewRoots(one.rootCert, other.rootCert)
	if err != nil {
		t.Fatal(err)
	}
	for _, good := range []*built{a, b} {
		good.roots = roots
		if _, err := good.verify(); err != nil {
			t.Fatal(err)
		}
	}
	mixes := map[string]func(to, from *dcap.Bundle){
		"TCB info": func(to, from *dcap.Bundle) {
			to.TCBInfo, to.TCBInfoSignature, to.TCBInfoIssuerChain = from.TCBInfo, from.TCBInfoSignature, from.TCBInfoIssuerChain
		},
		"QE identity": func(to, from *dcap.Bundle) {
			to.QEIdentity, to.QEIdentitySignature, to.QEIdentityIssuerChain = from.QEIdentity, from.QEIdentitySignature, from.QEIdentityIssuerChain
		},
		"PCK CRL": func(to, from *dcap.Bundle) { to.PCKCRL, to.PCKCRLIssuerChain = from.PCKCRL, from.PCKCRLIssuerChain },
	}
	for name, mix := range mixes {
		bundle := *a.bundle
		mix(&bundle, b.bundle)
		if _, err := dcap.Open(&bundle, roots, a.now); dcap.ClassOf(err) != dcap.ClassCollateralMismatch && dcap.ClassOf(err) != dcap.ClassCollateralSignature {
			t.Errorf("%s of another root: %q: %v", name, dcap.ClassOf(err), err)
		}
	}
	// A CA that the collateral has verified below one root is not verified below the other by that.
	certs := strings.SplitAfter(a.chain(t), "-----END CERTIFICATE-----\n")
	quote := requote(t, a.quote, certs[0]+certs[1]+toPEM(other.rootCert))
	c, err := dcap.Open(a.bundle, roots, a.now)
	if err != nil {
		t.Fatal(err)
	}
	v := dcap.NewVerifier(roots, 8)
	for range 2 {
		if _, err := v.Verify(quote, c, a.now); dcap.ClassOf(err) != dcap.ClassChain {
			t.Errorf("the CA of one root below the other: %q: %v", dcap.ClassOf(err), err)
		}
	}
}

// A list that says not when the next one comes would hold for ever.
func TestListsSayWhenTheNextOneComes(t *testing.T) {
	s := newScene(t, tdx.TDX)
	s.rootCRL.RevokedCertificateEntries = nil
	raw := hexBytes(t, s.build(t).bundle.RootCACRL)
	if _, err := dcap.ParseCRL(raw); err != nil {
		t.Fatal(err)
	}
	outer := split(t, raw[1+lengthBytes(raw):]) // to be signed, algorithm, signature
	list := split(t, outer[0][1+lengthBytes(outer[0]):])
	const nextUpdate = 4 // after version, algorithm, issuer and thisUpdate
	if list[nextUpdate][0] != 0x17 {
		t.Fatalf("element %d is no time: %x", nextUpdate, list[nextUpdate])
	}
	without := append(append([][]byte(nil), list[:nextUpdate]...), list[nextUpdate+1:]...)
	outer[0] = tlv(0x30, bytes.Join(without, nil))
	if _, err := dcap.ParseCRL(tlv(0x30, bytes.Join(outer, nil))); err == nil || !strings.Contains(err.Error(), "no next update") {
		t.Errorf("a list without next update: %v", err)
	}
}

// lengthBytes is how many bytes the length of a DER element has.
func lengthBytes(element []byte) int {
	if element[1] < 0x80 {
		return 1
	}
	return 1 + int(element[1]&0x7f)
}
