package dcap

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
)

// maxRevoked bounds the entries of a revocation list; Intel's longest has some dozens.
const maxRevoked = 1 << 14

// Last arcs of the extensions 2.5.29.x that a revocation list may have as critical: they do not limit its scope.
const (
	arcCRLNumber    = 20
	arcReason       = 21
	arcAuthorityKey = 35
)

// crl is a revocation list that its issuer has signed.
type crl struct {
	window
	revoked map[string]struct{}
}

// has reports whether a certificate is on the list.
func (c *crl) has(serial string) bool {
	_, ok := c.revoked[serial]
	return ok
}

// parseCRL reads a revocation list in DER. Who signed it is checked by openCRL.
func parseCRL(raw []byte) (*x509.RevocationList, error) {
	list, err := x509.ParseRevocationList(raw)
	switch {
	case err != nil:
		return nil, err
	case len(list.Raw) != len(raw):
		return nil, fmt.Errorf("%d bytes after it", len(raw)-len(list.Raw))
	case list.SignatureAlgorithm != x509.ECDSAWithSHA256:
		return nil, fmt.Errorf("signed with %s, want ECDSA with SHA-256", list.SignatureAlgorithm)
	case list.NextUpdate.IsZero():
		return nil, errors.New("no next update")
	case len(list.RevokedCertificateEntries) > maxRevoked:
		return nil, fmt.Errorf("%d entries, at most %d", len(list.RevokedCertificateEntries), maxRevoked)
	}
	if err := onlyCritical(list.Extensions, arcCRLNumber, arcAuthorityKey); err != nil {
		return nil, err
	}
	for _, entry := range list.RevokedCertificateEntries {
		if err := onlyCritical(entry.Extensions, arcReason, arcReason); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// onlyCritical refuses critical extensions but 2.5.29.a and 2.5.29.b: an unknown one may change what the list means.
func onlyCritical(extensions []pkix.Extension, a, b int) error {
	for _, e := range extensions {
		if e.Critical && !isStandard(e.Id, a) && !isStandard(e.Id, b) {
			return fmt.Errorf("unknown critical extension %s", e.Id)
		}
	}
	return nil
}

// openCRL reads a revocation list and checks that the issuer signed it. It checks no dates.
func openCRL(name string, raw []byte, issuer certificate) (*crl, error) {
	list, err := parseCRL(raw)
	if err != nil {
		return nil, fail(ClassCollateralMalformed, "reading %s: %w", name, err)
	}
	if !bytes.Equal(list.RawIssuer, issuer.RawSubject) {
		return nil, fail(ClassCollateralMismatch, "%s is issued by %q, want %q", name, list.Issuer.CommonName, issuer.Subject.CommonName)
	}
	if !verifyDER(issuer.key, list.RawTBSRevocationList, list.Signature) {
		return nil, fail(ClassCollateralSignature, "%s is not signed by the %q of its issuer chain", name, issuer.Subject.CommonName)
	}
	if issuer.KeyUsage&x509.KeyUsageCRLSign == 0 {
		return nil, fail(ClassCollateralSignature, "%s: key usage of %q does not allow to sign it", name, issuer.Subject.CommonName)
	}
	c := &crl{window: window{name, list.ThisUpdate, list.NextUpdate}}
	c.revoked = make(map[string]struct{}, len(list.RevokedCertificateEntries))
	for _, entry := range list.RevokedCertificateEntries {
		c.revoked[string(entry.SerialNumber.Bytes())] = struct{}{}
	}
	return c, nil
}
