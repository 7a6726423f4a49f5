package dcap_test

import (
	"crypto/elliptic"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"strings"
	"testing"
	"time"

	"cocoon/measure/dcap"
	"cocoon/measure/tdx"
)

// change is one or more edits of a scene, each of which must be refused by the named rule alone.
type change struct {
	class  dcap.Class
	reason string // part of the error's text
	edits  []func(s *scene)
}

// refused runs every edit of every change on a scene of its own, signed anew.
func refused(t *testing.T, tee tdx.TEEType, changes map[string]change) {
	t.Helper()
	for name, tc := range changes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for i, edit := range tc.edits {
				s := newScene(t, tee)
				edit(s)
				_, err := s.build(t).verify()
				if dcap.ClassOf(err) != tc.class || !strings.Contains(err.Error(), tc.reason) {
					t.Errorf("edit %d: got %q: %v, want %s with %q", i, dcap.ClassOf(err), err, tc.class, tc.reason)
				}
			}
		})
	}
}

type edits = []func(s *scene)

// replaceTCB and replaceQE edit a signed text before it is signed.
func replaceTCB(old, text string) func(s *scene) {
	return func(s *scene) { s.tcbInfo = mustReplace(s.tcbInfo, old, text) }
}

func replaceQE(old, text string) func(s *scene) {
	return func(s *scene) { s.qeIdentity = mustReplace(s.qeIdentity, old, text) }
}

// mustReplace replaces the first occurrence; a text without it would make a test that tests nothing.
func mustReplace(text, old, with string) string {
	if !strings.Contains(text, old) {
		return "the test looks for " + old
	}
	return strings.Replace(text, old, with, 1)
}

func TestQuotesOfOtherKindsAreRefused(t *testing.T) {
	head := func(at int, v byte) func(s *scene) {
		return func(s *scene) { s.header[at] = v }
	}
	refused(t, tdx.TDX, map[string]change{
		"version":  {dcap.ClassQuoteType, "version is", edits{head(0, 2), head(0, 6)}},
		"key type": {dcap.ClassQuoteType, "attestation key type", edits{head(2, 3), head(2, 0)}},
		"TEE type": {dcap.ClassQuoteType, "TEE type 0x", edits{head(4, 0x80), head(7, 1)}},
		"vendor":   {dcap.ClassQuoteType, "vendor", edits{head(12, 0), head(27, 0)}},
		"PCK certification": {dcap.ClassQuoteType, "certification type", edits{
			func(s *scene) { s.chain = func(string) string { return "" }; s.chainType(1) },
			func(s *scene) { s.chainType(3) },
		}},
	})
}

// chainType makes the built quote announce another certification type of the QE report.
func (s *scene) chainType(kind byte) {
	s.tamper = func(q []byte) { q[636+128+6+384+64+2+len(s.auth)] = kind }
}

func TestChainsAreRefused(t *testing.T) {
	certs := func(pick func(s *scene) *x509.Certificate, edit func(c *x509.Certificate)) func(s *scene) {
		return func(s *scene) { edit(pick(s)) }
	}
	pck := func(s *scene) *x509.Certificate { return &s.pck }
	ca := func(s *scene) *x509.Certificate { return &s.ca }
	critical := func(c *x509.Certificate) {
		c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier{1, 2, 3}, Critical: true, Value: []byte{5, 0}})
	}
	// What is wrong with the CA is wrong with the collateral too, and Open sees it first.
	refused(t, tdx.TDX, map[string]change{
		"leaf's name": {dcap.ClassChain, "want the name", edits{
			certs(pck, func(c *x509.Certificate) { c.Subject.CommonName = "Intel SGX PCK Certificate 2" }),
			certs(pck, func(c *x509.Certificate) { c.Subject.CommonName = "Intel SGX TCB Signing" }),
		}},
		"CA's name": {dcap.ClassCollateralSignature, "want the name", edits{
			certs(ca, func(c *x509.Certificate) { c.Subject.CommonName = "Intel SGX PCK CA" }),
			certs(ca, func(c *x509.Certificate) { c.Subject.CommonName = "Intel SGX Root CA" }),
		}},
		"leaf is a CA": {dcap.ClassChain, "CA flag", edits{
			certs(pck, func(c *x509.Certificate) { c.IsCA = true }),
			certs(pck, func(c *x509.Certificate) { c.IsCA, c.KeyUsage = true, c.KeyUsage|x509.KeyUsageCertSign }),
		}},
		"CA is none": {dcap.ClassCollateralSignature, "CA flag", edits{
			certs(ca, func(c *x509.Certificate) { c.IsCA, c.MaxPathLen, c.MaxPathLenZero = false, -1, false }),
			certs(ca, func(c *x509.Certificate) { c.BasicConstraintsValid = false }),
		}},
		"key usage": {dcap.ClassChain, "key usage", edits{
			certs(pck, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyEncipherment }),
			certs(pck, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCertSign }),
		}},
		"CA's key usage": {dcap.ClassCollateralSignature, "key usage", edits{
			certs(ca, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageDigitalSignature }),
			certs(ca, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCRLSign }),
		}},
		"critical extension": {dcap.ClassChain, "unknown critical extension", edits{
			certs(pck, critical),
			certs(pck, func(c *x509.Certificate) { c.ExtKeyUsage = nil; critical(c) }),
		}},
		"critical extension of the CA": {dcap.ClassCollateralSignature, "unknown critical extension", edits{certs(ca, critical)}},
		"not signed by its CA": {dcap.ClassChain, "not signed by", edits{
			func(s *scene) { s.keys.issuer = newKey(t, elliptic.P256()) },
			func(s *scene) { s.keys.issuer = s.keys.root },
		}},
		"PCK key": {dcap.ClassChain, "P-256", edits{
			func(s *scene) { s.certified.pck = newKey(t, elliptic.P384()) },
			func(s *scene) { s.certified.pck = newKey(t, elliptic.P224()) },
		}},
		"hash": {dcap.ClassChain, "want ECDSA with SHA-256", edits{
			certs(pck, func(c *x509.Certificate) { c.SignatureAlgorithm = x509.ECDSAWithSHA384 }),
			certs(pck, func(c *x509.Certificate) { c.SignatureAlgorithm = x509.ECDSAWithSHA512 }),
		}},
		"leaf not yet valid": {dcap.ClassChain, "is not valid before", edits{
			certs(pck, func(c *x509.Certificate) { c.NotBefore = c.NotBefore.AddDate(1, 0, 0).Add(time.Second) }),
			certs(pck, func(c *x509.Certificate) { c.NotBefore = c.NotBefore.AddDate(1, 6, 0) }),
		}},
		"leaf expired": {dcap.ClassChain, "expired at", edits{
			certs(pck, func(c *x509.Certificate) { c.NotAfter = c.NotAfter.AddDate(-1, 0, 0).Add(-time.Second) }),
			certs(pck, func(c *x509.Certificate) { c.NotAfter = c.NotAfter.AddDate(-1, -6, 0) }),
		}},
		"CA expired": {dcap.ClassCollateralExpired, "Platform CA", edits{
			certs(ca, func(c *x509.Certificate) { c.NotAfter = c.NotAfter.AddDate(-1, 0, 0).Add(-time.Second) }),
		}},
		"CA not yet valid": {dcap.ClassCollateralNotYetValid, "Platform CA", edits{
			certs(ca, func(c *x509.Certificate) { c.NotBefore = c.NotBefore.AddDate(1, 0, 0).Add(time.Second) }),
		}},
		"unknown root": {dcap.ClassRoot, "not trusted", edits{func(s *scene) { s.trusted = false }}},
		"PEM": {dcap.ClassChain, "reading PCK chain", edits{
			func(s *scene) { s.chain = func(p string) string { return p + p } },
			func(s *scene) { s.chain = func(p string) string { return p + "\x00\x00" } },
			func(s *scene) { s.chain = func(p string) string { return p + "\n" } },
			func(s *scene) { s.chain = func(p string) string { return " " + p } },
			func(s *scene) { s.chain = func(p string) string { return strings.ReplaceAll(p, "\n", "\r\n") } },
			func(s *scene) { s.chain = func(p string) string { return p[:len(p)/2] } },
			func(s *scene) { s.chain = func(string) string { return "" } },
		}},
	})
}

func TestSpaceAfterChainsIsTolerated(t *testing.T) {
	for name, edit := range map[string]func(p string) string{
		"line feed and NUL": func(p string) string { return p + "\x00" },
		"NUL":               func(p string) string { return strings.TrimSuffix(p, "\n") + "\x00" },
		"nothing":           func(p string) string { return strings.TrimSuffix(p, "\n") },
	} {
		s := newScene(t, tdx.TDX)
		s.chain = edit
		s.bundle = func(b *dcap.Bundle) {
			b.PCKCRLIssuerChain, b.TCBInfoIssuerChain = edit(b.PCKCRLIssuerChain), edit(b.TCBInfoIssuerChain)
		}
		if _, err := s.build(t).verify(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRevokedPlatformsAreRefused(t *testing.T) {
	add := func(list *x509.RevocationList, serial int64) {
		list.RevokedCertificateEntries = append(list.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: big.NewInt(serial), RevocationTime: list.ThisUpdate, ReasonCode: 1})
	}
	refused(t, tdx.TDX, map[string]change{
		"PCK certificate": {dcap.ClassRevoked, "PCK certificate is on the revocation list", edits{
			func(s *scene) { add(&s.pckCRL, 3) },
			func(s *scene) { s.pck.SerialNumber = big.NewInt(77) },
		}},
		"PCK CA": {dcap.ClassRevoked, "root's revocation list", edits{
			func(s *scene) { add(&s.rootCRL, 2) },
			func(s *scene) { s.ca.SerialNumber = big.NewInt(77) },
		}},
		"TCB signer": {dcap.ClassCollateralSignature, "root's revocation list", edits{
			func(s *scene) { add(&s.rootCRL, 4) },
			func(s *scene) { s.tcb.SerialNumber = big.NewInt(77) },
		}},
	})
}

// A CA may have two certificates for one key. Each is revoked by itself: the collateral's, and the quote's.
func TestEveryCertificateOfACAIsRevokedByItself(t *testing.T) {
	s := newScene(t, tdx.TDX)
	s.ca.SerialNumber = big.NewInt(200)
	quote := s.build(t).quote
	s.ca.SerialNumber = big.NewInt(201)
	s.rootCRL.RevokedCertificateEntries[0].SerialNumber = big.NewInt(200)
	b := s.build(t)
	c, err := dcap.Open(b.bundle, b.roots, b.now)
	if err != nil {
		t.Fatal(err)
	}
	v := dcap.NewVerifier(b.roots, 4)
	if _, err := v.Verify(b.quote, c, b.now); err != nil {
		t.Errorf("the certificate that is not revoked: %v", err)
	}
	if _, err := v.Verify(quote, c, b.now); dcap.ClassOf(err) != dcap.ClassRevoked {
		t.Errorf("the quote's is revoked: %v", err)
	}
	s.rootCRL.RevokedCertificateEntries[0].SerialNumber = big.NewInt(201)
	revoked := s.build(t)
	if _, err := dcap.Open(revoked.bundle, revoked.roots, revoked.now); dcap.ClassOf(err) != dcap.ClassRevoked {
		t.Errorf("the collateral's is revoked: %v", err)
	}
}

func TestSignaturesOfQuotesAreChecked(t *testing.T) {
	refused(t, tdx.TDX, map[string]change{
		"quote signature": {dcap.ClassQuoteSignature, "not signed by its attestation key", edits{
			func(s *scene) { s.keys.quote = newKey(t, elliptic.P256()) },
			func(s *scene) { s.signed = func(p *tdx.Signature) { p.Quote = make([]byte, 64) } },
			func(s *scene) { s.tamper = func(q []byte) { q[48+136]++ } },
		}},
		"QE report signature": {dcap.ClassQuoteSignature, "not signed by the PCK key", edits{
			func(s *scene) { s.keys.pck = newKey(t, elliptic.P256()) },
			func(s *scene) { s.signed = func(p *tdx.Signature) { p.QEReport[20]++ } },
		}},
		"binding": {dcap.ClassQuoteSignature, "does not name the attestation key", edits{
			func(s *scene) { s.binding = func(sum *[64]byte) { sum[0]++ } },
			func(s *scene) { s.binding = func(sum *[64]byte) { sum[63]++ } },
			func(s *scene) { s.signed = func(p *tdx.Signature) { p.QEAuth = append(p.QEAuth, 0) } },
			func(s *scene) { s.signed = func(p *tdx.Signature) { p.Key[0]++ } },
		}},
		"attestation key off the curve": {dcap.ClassQuoteSignature, "reading attestation key", edits{
			func(s *scene) { s.binding, s.signed = s.otherKey(make([]byte, 64)) },
			func(s *scene) { s.binding, s.signed = s.otherKey([]byte(strings.Repeat("\xff", 64))) },
		}},
	})
}

func TestQuotingEnclavesAreChecked(t *testing.T) {
	refused(t, tdx.TDX, map[string]change{
		"MRSIGNER":   {dcap.ClassQEIdentity, "MRSIGNER", edits{func(s *scene) { s.qe.MRSigner[0]++ }, replaceQE(`"DC9E`, `"DC9F`)}},
		"ISVPRODID":  {dcap.ClassQEIdentity, "ISVPRODID", edits{func(s *scene) { s.qe.ISVProdID = 1 }, replaceQE(`"isvprodid":2`, `"isvprodid":3`)}},
		"MISCSELECT": {dcap.ClassQEIdentity, "MISCSELECT", edits{func(s *scene) { s.qe.MiscSelect[0] = 0 }, func(s *scene) { s.qe.MiscSelect[3] = 1 }, replaceQE(`"01000000"`, `"00000001"`)}},
		"ATTRIBUTES": {dcap.ClassQEIdentity, "ATTRIBUTES", edits{
			func(s *scene) { s.qe.Attributes[0] |= 2 }, // DEBUG
			func(s *scene) { s.qe.Attributes[7] = 1 },
			func(s *scene) { s.qe.Attributes[0] &^= 0x10 },
		}},
	})
	for name, edit := range map[string]func(s *scene){
		"masked attribute": func(s *scene) { s.qe.Attributes[0] ^= 4 },
		"masked XFRM":      func(s *scene) { s.qe.Attributes[8] = 0xff },
		"newer":            func(s *scene) { s.qe.ISVSVN = 5 },
		"CPUSVN":           func(s *scene) { s.qe.CPUSVN[0] = 9 },
	} {
		s := newScene(t, tdx.TDX)
		edit(s)
		if _, err := s.build(t).verify(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCollateralOfOthersIsRefused(t *testing.T) {
	refused(t, tdx.TDX, map[string]change{
		"FMSPC": {dcap.ClassCollateralMismatch, "the collateral is for", edits{
			func(s *scene) { s.ext.fmspc[5]++ }, replaceTCB("00806F05AB00", "00906F05AB00"),
		}},
		"PCEID": {dcap.ClassCollateralMismatch, "PCEID 0001, the quote", edits{
			func(s *scene) { s.ext.pceID[0]++ }, func(s *scene) { s.ext.pceID[1]++ },
		}},
		"TEE": {dcap.ClassCollateralMismatch, "is for", edits{
			func(s *scene) { s.asSGX(t) },
			replaceQE("TD_QE", "QE"),
		}},
	})
	for _, text := range []string{"00806f05ab00", "00806F05ab00", "00806F05AB00"} {
		s := newScene(t, tdx.TDX)
		replaceTCB("00806F05AB00", text)(s)
		if _, err := s.build(t).verify(); err != nil {
			t.Errorf("FMSPC %s: %v", text, err)
		}
	}
}

// asSGX gives the scene collateral for enclaves.
func (s *scene) asSGX(tb testing.TB) {
	tb.Helper()
	other := newScene(tb, tdx.SGX)
	s.tcbInfo, s.qeIdentity = other.tcbInfo, other.qeIdentity
}

func TestProcessorCAsAreAccepted(t *testing.T) {
	s := newScene(t, tdx.SGX)
	s.ca.Subject.CommonName = "Intel SGX PCK Processor CA"
	s.ext.piid = nil
	b := s.build(t)
	r, err := b.verify()
	if err != nil || r.CA != dcap.ProcessorCA || r.HasPIID || r.PIID != [16]byte{} {
		t.Fatalf("got %+v (%v)", r, err)
	}
	// The list of the other CA, below the same root, says nothing about this quote.
	s.ca.Subject.CommonName = "Intel SGX PCK Platform CA"
	other := s.build(t)
	b.bundle.PCKCRL, b.bundle.PCKCRLIssuerChain = other.bundle.PCKCRL, other.bundle.PCKCRLIssuerChain
	if _, err := b.verify(); dcap.ClassOf(err) != dcap.ClassCollateralMismatch || !strings.Contains(err.Error(), "platform") {
		t.Errorf("the platform CA's list: %v", err)
	}
	// Nor does the list of a CA of the same name with another key.
	s.ca.Subject.CommonName = "Intel SGX PCK Processor CA"
	s.keys.ca = newKey(t, elliptic.P256())
	s.keys.issuer, s.certified.ca = s.keys.ca, s.keys.ca
	other = s.build(t)
	b.bundle.PCKCRL, b.bundle.PCKCRLIssuerChain = other.bundle.PCKCRL, other.bundle.PCKCRLIssuerChain
	if _, err := b.verify(); dcap.ClassOf(err) != dcap.ClassCollateralMismatch || !strings.Contains(err.Error(), "another") {
		t.Errorf("another processor CA's list: %v", err)
	}
}
