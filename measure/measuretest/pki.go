package measuretest

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"time"
)

// Role names a certificate of the platform's PKI.
type Role uint8

// The certificates: the trust root, the authority that certifies platforms, one platform, and the signer of TCB info
// and enclave identities.
const (
	RootCA Role = iota
	PlatformCA
	PCK
	TCBSigning
)

// Subject of the simulated root besides Intel's names, so that nobody takes it for the real one.
const simulatedUnit = "SIMULATED"

// Distribution points. The names cannot resolve (RFC 6761): whoever fetches must have been told where the simulated
// service is.
const (
	rootCRLURL = "https://certificates.simulated.invalid/IntelSGXRootCA.der"
	pckCRLURL  = "https://api.simulated.invalid/sgx/certification/v4/pckcrl?ca=%s&encoding=der"
)

const serialSize = 20

// identity is a certificate and its key.
type identity struct {
	cert *x509.Certificate
	key  *signer
}

// pki is the platform's certificates.
type pki struct {
	root, ca, pck, tcb identity
}

// certificateSpan is when a certificate is valid. The dates are constants, so that platforms of one seed have one root
// whatever their clocks say; they resemble Intel's (attestation.md section 11.1).
func certificateSpan(role Role) (from, to time.Time) {
	from = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	years := map[Role]int{RootCA: 2050, PlatformCA: 2045, PCK: 2040, TCBSigning: 2045}
	return from, time.Date(years[role], 1, 1, 0, 0, 0, 0, time.UTC)
}

// commonName is what Intel calls the certificate.
func commonName(role Role, processor bool) string {
	switch role {
	case RootCA:
		return "Intel SGX Root CA"
	case PlatformCA:
		if processor {
			return "Intel SGX PCK Processor CA"
		}
		return "Intel SGX PCK Platform CA"
	case PCK:
		return "Intel SGX PCK Certificate"
	case TCBSigning:
		return "Intel SGX TCB Signing"
	}
	return ""
}

// newPKI issues the four certificates. The root, the authorities and the TCB signer belong to the seed; the PCK
// certificate belongs to the machine as well.
func newPKI(s secrets, o *Options) (*pki, error) {
	var p pki
	extension, err := sgxExtension(s, o)
	if err != nil {
		return nil, err
	}
	caLabel := "platform ca"
	if o.ProcessorCA {
		caLabel = "processor ca"
	}
	for _, step := range []struct {
		out *identity
		issuance
	}{
		{&p.root, issuance{role: RootCA, label: "root"}},
		{&p.ca, issuance{role: PlatformCA, label: caLabel, parent: &p.root}},
		{&p.pck, issuance{role: PCK, label: o.machineLabel("pck"), parent: &p.ca, special: []pkix.Extension{extension}}},
		{&p.tcb, issuance{role: TCBSigning, label: "tcb signing", parent: &p.root}},
	} {
		if err := step.out.issue(s, o, step.issuance); err != nil {
			return nil, fmt.Errorf("issuing certificate %q: %w", commonName(step.role, o.ProcessorCA), err)
		}
	}
	return &p, nil
}

// issuance says which certificate to make: the label is its key's, the parent signs it; a root has none.
type issuance struct {
	role    Role
	label   string
	parent  *identity
	special []pkix.Extension
}

// issue makes the key and the certificate.
func (id *identity) issue(s secrets, o *Options, i issuance) error {
	var err error
	if id.key, err = s.key(i.label); err != nil {
		return err
	}
	template, err := certificate(s, o, i.role, i.label)
	if err != nil {
		return err
	}
	point, err := id.key.point()
	if err != nil {
		return err
	}
	keyID := sha256.Sum256(point)
	template.SubjectKeyId = keyID[:serialSize]
	template.ExtraExtensions = i.special
	if o.EditCertificate != nil {
		o.EditCertificate(i.role, template)
	}
	issuer := identity{template, id.key}
	if i.parent != nil {
		issuer = *i.parent
	}
	template.AuthorityKeyId = issuer.cert.SubjectKeyId
	der, err := x509.CreateCertificate(nil, template, issuer.cert, id.key.Public(), issuer.key)
	if err != nil {
		return err
	}
	id.cert, err = x509.ParseCertificate(der)
	return err
}

func certificate(s secrets, o *Options, role Role, label string) (*x509.Certificate, error) {
	serial, err := s.bytes(label+" serial", serialSize)
	if err != nil {
		return nil, err
	}
	serial[0] = serial[0]&0x7f | 0x40 // positive, and always as long
	t := &x509.Certificate{
		SerialNumber: new(big.Int).SetBytes(serial),
		Subject: pkix.Name{
			CommonName: commonName(role, o.ProcessorCA), Organization: []string{"Intel Corporation"},
			Locality: []string{"Santa Clara"}, Province: []string{"CA"}, Country: []string{"US"},
		},
		SignatureAlgorithm: x509.ECDSAWithSHA256, BasicConstraintsValid: true,
		CRLDistributionPoints: []string{rootCRLURL},
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageContentCommitment,
	}
	t.NotBefore, t.NotAfter = certificateSpan(role)
	switch role {
	case RootCA:
		t.Subject.OrganizationalUnit = []string{simulatedUnit}
		t.IsCA, t.MaxPathLen, t.KeyUsage = true, 1, x509.KeyUsageCertSign|x509.KeyUsageCRLSign
	case PlatformCA:
		t.IsCA, t.MaxPathLenZero, t.KeyUsage = true, true, x509.KeyUsageCertSign|x509.KeyUsageCRLSign
	case PCK:
		t.CRLDistributionPoints = []string{fmt.Sprintf(pckCRLURL, o.caName())}
	case TCBSigning:
	}
	return t, nil
}

// chain is certificates in PEM, in order.
func chain(ids ...identity) []byte {
	var out bytes.Buffer
	for _, id := range ids {
		out.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: id.cert.Raw}))
	}
	return out.Bytes()
}
