package dcap

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Common names of Intel's certificates (attestation.md section 10.2).
const (
	nameRoot        = "Intel SGX Root CA"
	namePlatformCA  = "Intel SGX PCK Platform CA"
	nameProcessorCA = "Intel SGX PCK Processor CA"
	namePCK         = "Intel SGX PCK Certificate"
	nameTCBSigning  = "Intel SGX TCB Signing"
)

// Last arcs of the extensions 2.5.29.x that may be critical in Intel's certificates.
const (
	arcKeyUsage         = 15
	arcBasicConstraints = 19
)

// window is the time in which a certificate or a piece of collateral holds, both ends included.
type window struct {
	name     string
	from, to time.Time
}

// certificate is a parsed certificate that its issuer has signed.
type certificate struct {
	*x509.Certificate
	key *ecdsa.PublicKey
	// text is the certificate as a PEM body.
	text []byte
}

// rule is what one place of a chain asks of the certificate there.
type rule struct {
	names []string
	ca    bool
}

// parseCertificate reads a certificate and checks its place in a chain: name, key, CA flags, key usage, extensions and
// its issuer's name and signature. It checks no dates.
func parseCertificate(raw []byte, want rule, issuer certificate) (certificate, error) {
	if len(raw) > maxCertificate {
		return certificate{}, fmt.Errorf("%d bytes, at most %d", len(raw), maxCertificate)
	}
	cert, err := x509.ParseCertificate(raw)
	if err != nil {
		return certificate{}, err
	}
	if err := want.check(cert, issuer); err != nil {
		return certificate{}, fmt.Errorf("certificate of %q: %w", cert.Subject.CommonName, err)
	}
	key, ok := cert.PublicKey.(*ecdsa.PublicKey)
	switch {
	case !ok || key.Curve != elliptic.P256():
		return certificate{}, fmt.Errorf("certificate of %q: its key is not on P-256", cert.Subject.CommonName)
	case !bytes.Equal(cert.RawIssuer, issuer.RawSubject):
		return certificate{}, fmt.Errorf("certificate of %q: issued by %q, want the %q above it",
			cert.Subject.CommonName, cert.Issuer.CommonName, issuer.Subject.CommonName)
	case !verifyDER(issuer.key, cert.RawTBSCertificate, cert.Signature):
		return certificate{}, fmt.Errorf("certificate of %q: not signed by the %q above it", cert.Subject.CommonName, issuer.Subject.CommonName)
	}
	return certificate{cert, key, pemEncode(cert.Raw)}, nil
}

func (r rule) check(cert *x509.Certificate, issuer certificate) error {
	usage := x509.KeyUsageDigitalSignature
	if r.ca {
		usage = x509.KeyUsageCertSign
	}
	switch {
	case !slices.Contains(r.names, cert.Subject.CommonName):
		return fmt.Errorf("want the name %q", r.names)
	case cert.SignatureAlgorithm != x509.ECDSAWithSHA256:
		return fmt.Errorf("signed with %s, want ECDSA with SHA-256", cert.SignatureAlgorithm)
	case !cert.BasicConstraintsValid || cert.IsCA != r.ca: // which also says that it is of version 3
		return fmt.Errorf("CA flag is %t, want %t", cert.IsCA, r.ca)
	case cert.KeyUsage&usage == 0:
		return errors.New("key usage does not allow what the key is used for")
	case r.ca && issuer.MaxPathLen == 0 && issuer.MaxPathLenZero:
		return errors.New("the CA above it allows no CA below")
	}
	return noForeignCritical(cert)
}

// noForeignCritical refuses critical extensions that are not checked here.
func noForeignCritical(cert *x509.Certificate) error {
	for _, e := range cert.Extensions {
		if e.Critical && !isStandard(e.Id, arcKeyUsage) && !isStandard(e.Id, arcBasicConstraints) {
			return fmt.Errorf("unknown critical extension %s", e.Id)
		}
	}
	return nil
}

// isStandard compares an OID with 2.5.29.arc.
func isStandard(id asn1.ObjectIdentifier, arc int) bool {
	return len(id) == 4 && id[0] == 2 && id[1] == 5 && id[2] == 29 && id[3] == arc
}

// window is the certificate's validity.
func (c certificate) window() window {
	return window{fmt.Sprintf("certificate of %q", c.Subject.CommonName), c.NotBefore, c.NotAfter}
}

// dates is the certificate's validity under its bare name.
func (c certificate) dates() window { return window{c.Subject.CommonName, c.NotBefore, c.NotAfter} }

// is reports whether c was read from exactly these bytes.
func (c certificate) is(raw []byte) bool { return c.Certificate != nil && bytes.Equal(c.Raw, raw) }

// serial is the serial number in the form of revocation sets.
func (c certificate) serial() string { return string(c.SerialNumber.Bytes()) }

// authority reads a PCK CA's certificate below a root.
func authority(raw []byte, above *root) (certificate, CA, error) {
	c, err := parseCertificate(raw, rule{[]string{namePlatformCA, nameProcessorCA}, true}, above.certificate)
	if err != nil {
		return certificate{}, NoCA, err
	}
	if c.Subject.CommonName == namePlatformCA {
		return c, PlatformCA, nil
	}
	return c, ProcessorCA, nil
}
