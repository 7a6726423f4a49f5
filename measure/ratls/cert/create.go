package cert

import (
	"crypto/ed25519"
	"crypto/sha1" //nolint:gosec // RFC 5280 section 4.2.1.2 names keys by SHA-1; nothing relies on it
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"io"
	"math/big"
	"net"
	"time"
)

// DefaultLifetime is the reference implementation's.
const DefaultLifetime = 86400 * time.Second

const serialSize = 16 // bytes; we clear the top bit, so that the encoding does not grow

// Spec says what goes into a certificate.
type Spec struct {
	// Key signs the certificate and is the one certified.
	Key ed25519.PrivateKey
	// NotBefore is cut to seconds.
	NotBefore time.Time
	// Lifetime is positive and at most MaxLifetime.
	Lifetime time.Duration
	// Quote is the quote or its stand-in; nil makes a certificate without attestation.
	Quote []byte
	// Claims make it a certificate of wire profile v2; their times must be those of the certificate.
	Claims *Claims
	// Random gives the serial number.
	Random io.Reader
}

// Validate returns the first thing that is wrong with the specification.
func (s *Spec) Validate() error {
	switch {
	case len(s.Key) != ed25519.PrivateKeySize:
		return fmt.Errorf("key has %d bytes, want an Ed25519 key of %d", len(s.Key), ed25519.PrivateKeySize)
	case s.Lifetime <= 0 || s.Lifetime > MaxLifetime || s.Lifetime%time.Second != 0:
		return fmt.Errorf("lifetime is %s, want whole seconds up to %s", s.Lifetime, MaxLifetime)
	case s.Quote != nil && len(s.Quote) == 0 || len(s.Quote) > MaxQuote:
		return fmt.Errorf("quote has %d bytes, want 1..%d", len(s.Quote), MaxQuote)
	case s.Random == nil:
		return fmt.Errorf("no source of randomness for the serial number")
	}
	from, to := s.validity()
	if s.Claims != nil && (s.Claims.NotBefore != from.Unix() || s.Claims.NotAfter != to.Unix()) {
		return fmt.Errorf("claims are valid from %d to %d, the certificate from %d to %d",
			s.Claims.NotBefore, s.Claims.NotAfter, from.Unix(), to.Unix())
	}
	return nil
}

func (s *Spec) validity() (from, to time.Time) {
	from = time.Unix(s.NotBefore.Unix(), 0).UTC()
	return from, from.Add(s.Lifetime)
}

// Create makes a self-signed certificate in the layout of attestation.md section 2 and returns its DER.
func Create(s Spec) ([]byte, error) {
	if err := s.Validate(); err != nil {
		return nil, fmt.Errorf("making certificate: %w", err)
	}
	extensions, err := extensionsOf(&s, KeyOf(s.Key))
	if err != nil {
		return nil, fmt.Errorf("making certificate: %w", err)
	}
	subject, err := asn1.Marshal(subject())
	if err != nil {
		return nil, fmt.Errorf("making certificate: %w", err)
	}
	serial := make([]byte, serialSize)
	if _, err := io.ReadFull(s.Random, serial); err != nil {
		return nil, fmt.Errorf("making certificate: %w", err)
	}
	serial[0] &= 0x7f
	serial[serialSize-1] |= 1 // never zero
	from, to := s.validity()
	template := &x509.Certificate{
		SerialNumber: new(big.Int).SetBytes(serial), RawSubject: subject,
		NotBefore: from, NotAfter: to, ExtraExtensions: extensions,
	}
	der, err := x509.CreateCertificate(s.Random, template, template, s.Key.Public(), s.Key)
	if err != nil {
		return nil, fmt.Errorf("making certificate: %w", err)
	}
	return der, nil
}

// extensionsOf lists all extensions in the order of the reference implementation's layout. Ours hold raw bytes, not
// another DER value.
func extensionsOf(s *Spec, key Key) ([]pkix.Extension, error) {
	var out []pkix.Extension
	if s.Quote != nil {
		out = append(
			out,
			pkix.Extension{Id: arc(extQuote), Critical: true, Value: s.Quote},
			pkix.Extension{Id: arc(extUserClaims), Critical: true, Value: key[:]},
		)
	}
	keyID := sha1.Sum(key[:]) //nolint:gosec // see the import
	standard := []struct {
		id       asn1.ObjectIdentifier
		critical bool
		value    any
	}{
		{oidBasicConstraints(), true, []asn1.RawValue{}},                         // CA:FALSE is an empty sequence
		{oidKeyUsage(), true, asn1.BitString{Bytes: []byte{0x80}, BitLength: 1}}, // digitalSignature
		// id-kp-serverAuth and id-kp-clientAuth, RFC 5280 section 4.2.1.12.
		{oidExtKeyUsage(), true, []asn1.ObjectIdentifier{{1, 3, 6, 1, 5, 5, 7, 3, 1}, {1, 3, 6, 1, 5, 5, 7, 3, 2}}},
		{oidSubjectKeyID(), false, keyID[:]},
		{oidSubjectAltName(), false, altNames()},
	}
	for _, x := range standard {
		value, err := asn1.Marshal(x.value)
		if err != nil {
			return nil, fmt.Errorf("encoding extension %s: %w", x.id, err)
		}
		out = append(out, pkix.Extension{Id: x.id, Critical: x.critical, Value: value})
	}
	if s.Claims != nil {
		out = append(out, pkix.Extension{Id: arc(extClaims), Value: s.Claims.Append(nil)})
	}
	return out, nil
}

// altNames has 127.0.0.1 as a DNS name: the reference client asks for that host name whoever the peer is, and OpenSSL
// compares host names with DNS names only.
func altNames() []asn1.RawValue {
	const dnsName, ipAddress = 2, 7 // GeneralName, RFC 5280 section 4.2.1.6
	name := func(tag int, value []byte) asn1.RawValue {
		return asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: tag, Bytes: value}
	}
	return []asn1.RawValue{name(dnsName, []byte("localhost")), name(dnsName, []byte("127.0.0.1")), name(ipAddress, net.IPv6loopback)}
}

// subject is the reference implementation's name, with the string types that OpenSSL gives it.
func subject() pkix.RDNSequence {
	rdn := func(attribute, tag int, value string) pkix.RelativeDistinguishedNameSET {
		return pkix.RelativeDistinguishedNameSET{{
			Type:  asn1.ObjectIdentifier{2, 5, 4, attribute},
			Value: asn1.RawValue{Tag: tag, Bytes: []byte(value)},
		}}
	}
	const country, state, organization, unit, common = 6, 8, 10, 11, 3 // X.520 attribute types
	return pkix.RDNSequence{
		rdn(country, asn1.TagPrintableString, "AE"),
		rdn(state, asn1.TagUTF8String, "DUBAI"),
		rdn(organization, asn1.TagUTF8String, "TDLib Development"),
		rdn(unit, asn1.TagUTF8String, "Security"),
		rdn(common, asn1.TagUTF8String, "localhost"),
	}
}
