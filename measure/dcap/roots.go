package dcap

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha512"
	"crypto/x509"
	_ "embed"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
)

// RootID identifies a root certificate's key: SHA-384 of the uncompressed point 04 ‖ X ‖ Y (attestation.md section 8.1).
// Contracts list roots by it, and routers pass it on.
type RootID [sha512.Size384]byte

// String is lower-case hex.
func (id RootID) String() string { return hex.EncodeToString(id[:]) }

// MarshalText makes root ids lower-case hex in JSON.
func (id RootID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// RootIDOf is the id of a root certificate, whose key must be on P-256.
func RootIDOf(cert *x509.Certificate) (RootID, error) {
	key, ok := cert.PublicKey.(*ecdsa.PublicKey)
	if !ok || key.Curve != elliptic.P256() {
		return RootID{}, fmt.Errorf("computing root id: the key of %q is not on P-256", cert.Subject.CommonName)
	}
	point, err := key.Bytes()
	if err != nil {
		return RootID{}, fmt.Errorf("computing root id: %w", err)
	}
	return sha512.Sum384(point), nil
}

// IntelRootID is the id of the Intel SGX Root CA, which has signed every production PCK certificate.
func IntelRootID() RootID {
	return RootID{
		0x46, 0xe4, 0x03, 0xbd, 0x34, 0xf0, 0x5a, 0x3f, 0x28, 0x17, 0xab, 0x9b, 0xad, 0xca, 0xac, 0xc7,
		0xff, 0xc9, 0x8e, 0x0f, 0x26, 0x10, 0x08, 0xcd, 0x30, 0xda, 0xe9, 0x36, 0xca, 0xce, 0x18, 0xd5,
		0xdc, 0xf5, 0x8e, 0xef, 0x31, 0x46, 0x36, 0x13, 0xde, 0x15, 0x70, 0xd5, 0x16, 0x20, 0x09, 0x93,
	}
}

//go:embed intel_sgx_root_ca.pem
var intelRootPEM []byte

// Roots is a set of trusted root certificates. It never changes after it was made; nil is the empty set.
type Roots struct {
	certs []root
}

// root is a trusted certificate and its id.
type root struct {
	certificate
	id RootID
}

// IntelRoots is the set that production uses: the Intel SGX Root CA alone. The certificate is part of the binary; if it
// were damaged, the set would be empty and nothing would verify.
func IntelRoots() *Roots {
	block, _ := pem.Decode(intelRootPEM)
	if block == nil {
		return new(Roots)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return new(Roots)
	}
	roots, err := NewRoots(cert)
	if err != nil || !roots.Has(IntelRootID()) {
		return new(Roots)
	}
	return roots
}

// NewRoots makes a set of certificates, which are compared byte by byte with the top of a chain. Each must be a
// self-signed CA with a P-256 key.
func NewRoots(certs ...*x509.Certificate) (*Roots, error) {
	if len(certs) == 0 {
		return nil, errors.New("making root set: no certificate given, so nothing could be verified")
	}
	r := new(Roots)
	for _, cert := range certs {
		id, err := RootIDOf(cert)
		if err != nil {
			return nil, err
		}
		if err := checkRoot(cert); err != nil {
			return nil, fmt.Errorf("making root set: %q: %w", cert.Subject.CommonName, err)
		}
		key, _ := cert.PublicKey.(*ecdsa.PublicKey) // RootIDOf checked it
		r.certs = append(r.certs, root{certificate{cert, key, pemEncode(cert.Raw)}, id})
	}
	return r, nil
}

// Has reports whether a root of this id is in the set.
func (r *Roots) Has(id RootID) bool {
	if r == nil {
		return false
	}
	for _, c := range r.certs {
		if c.id == id {
			return true
		}
	}
	return false
}

// find is the root whose certificate is exactly der, or nil.
func (r *Roots) find(der []byte) *root {
	if r == nil {
		return nil
	}
	for i := range r.certs {
		if bytes.Equal(r.certs[i].Raw, der) {
			return &r.certs[i]
		}
	}
	return nil
}

// findText is the root whose certificate has exactly this PEM body, or nil.
func (r *Roots) findText(body []byte) *root {
	if r == nil {
		return nil
	}
	for i := range r.certs {
		if bytes.Equal(r.certs[i].text, body) {
			return &r.certs[i]
		}
	}
	return nil
}

func checkRoot(cert *x509.Certificate) error {
	if !cert.IsCA || !cert.BasicConstraintsValid {
		return errors.New("not a CA certificate")
	}
	if err := cert.CheckSignature(cert.SignatureAlgorithm, cert.RawTBSCertificate, cert.Signature); err != nil {
		return fmt.Errorf("not self-signed: %w", err)
	}
	return nil
}
