package dcap_test

import (
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
