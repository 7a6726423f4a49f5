// Package cert writes and reads the certificates that carry a TD's evidence (attestation.md sections 2 and 15).
//
// It owns the layout of the reference implementation's certificates, byte for byte where its peers look; the claims of
// wire profile v2; what report data a quote must have to speak for a key; and the checks that need nothing but the
// certificate and a clock. A certificate is an untrusted claim until its quote has been verified, which is not done
// here. Values are plain data and all functions may be used concurrently. It refuses every key but Ed25519, chains,
// and whatever its codes name.
package cert

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/asn1"
	"fmt"
	"time"
)

// Bounds of what a peer may send (attestation.md section 3).
const (
	// MaxDER bounds a certificate.
	MaxDER = 64 << 10
	// MaxQuote bounds the value of the quote extension.
	MaxQuote = 32 << 10
	// MaxLifetime is the reference implementation's bound on validity.
	MaxLifetime = 1 << 30 * time.Second
	// Skew is how early a certificate may be seen.
	Skew = 300 * time.Second

	maxSerial  = 20 // bytes; the reference implementation's 128-bit serials take up to 17
	versionV3  = 3
	fakeDec    = 64  // Dec 2025: the report data alone
	fakeApr    = 496 // Apr 2026: a report of zeroes around the report data
	fakeAprAt  = 8 * 48
	reportSize = 64
)

// arc is the private arc of the reference implementation's extensions (attestation.md section 2).
func arc(n int) asn1.ObjectIdentifier { return asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 12345, n} }

// Last components of the extensions below that arc.
const (
	extQuote      = 1
	extUserClaims = 2
	extClaims     = 3 // wire profile v2
	extSEVData    = 100
	extSEVReport  = 101
	extSEVKey     = 102
)

// Code names the check that a certificate failed, as metrics and logs have it (attestation.md section 8.2, cert_*).
type Code string

// The codes of this package.
const (
	CodeCount     Code = "cert_count"
	CodeFormat    Code = "cert_format"
	CodeKey       Code = "cert_key"
	CodeSignature Code = "cert_signature"
	CodeEarly     Code = "cert_not_yet_valid"
	CodeExpired   Code = "cert_expired"
	CodeLifetime  Code = "cert_lifetime"
	CodeUsage     Code = "cert_usage"
	CodeExtension Code = "cert_extension"
	CodeQuoteSize Code = "cert_quote_size"
	CodeClaims    Code = "cert_claims"
)

// Error says which check a certificate failed.
type Error struct {
	Code Code
	Err  error
}

// Error names the object and the rule.
func (e *Error) Error() string { return fmt.Sprintf("checking certificate: %s: %v", e.Code, e.Err) }

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

func refuse(code Code, format string, args ...any) error {
	return &Error{Code: code, Err: fmt.Errorf(format, args...)}
}

// Key is an Ed25519 public key.
type Key [ed25519.PublicKeySize]byte

// KeyOf is the public half of a private key; zero if that has not the size of one.
func KeyOf(private ed25519.PrivateKey) (k Key) {
	if len(private) == ed25519.PrivateKeySize {
		copy(k[:], private[ed25519.SeedSize:]) // RFC 8032: seed, then public key
	}
	return k
}

// Kind says what evidence a certificate carries.
type Kind uint8

// The kinds of evidence.
const (
	// None is a certificate without attestation.
	None Kind = iota
	// TDX is a quote, unverified.
	TDX
	// Fake is one of the reference implementation's two stand-ins for a quote; it proves nothing.
	Fake
	// SEV is an AMD report: recognised, never verified.
	SEV
)

// String is the kind's word in logs.
func (k Kind) String() string {
	return [...]string{"none", "tdx", "fake", "sev"}[min(k, SEV)]
}

// Purpose is the side of the connection that a certificate stands for.
type Purpose uint8

// The purposes.
const (
	Server Purpose = iota
	Client
)

func (p Purpose) usage() x509.ExtKeyUsage {
	if p == Server {
		return x509.ExtKeyUsageServerAuth
	}
	return x509.ExtKeyUsageClientAuth
}

// Evidence is what a certificate claims. Slices alias the certificate.
type Evidence struct {
	Kind Kind
	// Key is the certificate's key.
	Key Key
	// Quote is the raw value of the quote extension for TDX and Fake, up to MaxQuote bytes.
	Quote []byte
	// Claims are those of wire profile v2; nil in v1.
	Claims *Claims
}

// ReportData is what the quote must have as report data to speak for the key, and the claims if there are any.
func (e *Evidence) ReportData() [64]byte {
	if e.Claims != nil {
		return ReportDataV2(e.Key, *e.Claims)
	}
	return ReportData(e.Key)
}

// FakeReportData is the report data that fake evidence states.
func (e *Evidence) FakeReportData() ([64]byte, bool) {
	switch {
	case e.Kind == Fake && len(e.Quote) == fakeDec:
		return [64]byte(e.Quote), true
	case e.Kind == Fake && len(e.Quote) == fakeApr:
		return [64]byte(e.Quote[fakeAprAt:]), true
	}
	return [64]byte{}, false
}

// Inspect applies the checks that no clock is needed for (attestation.md section 3, rules 1, 2, 4, 5 and 6) and
// returns what the certificate claims. The error is an *Error.
func Inspect(c *x509.Certificate, p Purpose) (*Evidence, error) {
	if err := checkForm(c); err != nil {
		return nil, err
	}
	if err := checkUsage(c, p); err != nil {
		return nil, err
	}
	return readExtensions(c)
}

func checkForm(c *x509.Certificate) error {
	switch {
	case len(c.Raw) > MaxDER:
		return refuse(CodeFormat, "%d bytes, at most %d", len(c.Raw), MaxDER)
	case c.Version != versionV3:
		return refuse(CodeFormat, "version is %d, want %d", c.Version, versionV3)
	case len(c.SerialNumber.Bytes()) > maxSerial:
		return refuse(CodeFormat, "serial number has %d bytes, at most %d", len(c.SerialNumber.Bytes()), maxSerial)
	}
	key, ok := c.PublicKey.(ed25519.PublicKey)
	switch {
	case !ok || len(key) != ed25519.PublicKeySize:
		return refuse(CodeKey, "key is %s, want Ed25519", c.PublicKeyAlgorithm)
	case c.SignatureAlgorithm != x509.PureEd25519:
		return refuse(CodeSignature, "signature is %s, want Ed25519", c.SignatureAlgorithm)
	case !bytes.Equal(c.RawSubject, c.RawIssuer):
		return refuse(CodeSignature, "issuer differs from subject, want a self-signed certificate")
	case !ed25519.Verify(key, c.RawTBSCertificate, c.Signature):
		return refuse(CodeSignature, "it was not signed by its own key")
	case c.NotAfter.Sub(c.NotBefore) > MaxLifetime || c.NotAfter.Before(c.NotBefore):
		return refuse(CodeLifetime, "valid from %s to %s, want at most %s",
			c.NotBefore.Format(time.RFC3339), c.NotAfter.Format(time.RFC3339), MaxLifetime)
	}
	return nil
}

func checkUsage(c *x509.Certificate, p Purpose) error {
	if c.IsCA {
		return refuse(CodeUsage, "it is a CA certificate")
	}
	if c.KeyUsage&x509.KeyUsageDigitalSignature == 0 {
		return refuse(CodeUsage, "key usage lacks digitalSignature")
	}
	for _, u := range c.ExtKeyUsage {
		if u == p.usage() {
			return nil
		}
	}
	return refuse(CodeUsage, "extended key usage lacks %s", [...]string{"serverAuth", "clientAuth"}[p])
}

// CheckTime applies rule 3 of attestation.md section 3; late is how long after its end a certificate still passes.
func CheckTime(c *x509.Certificate, now time.Time, late time.Duration) error {
	return Window{c.NotBefore, c.NotAfter}.Check(now, late)
}

// Window is when a certificate is valid, both ends included.
type Window struct{ From, To time.Time }

// Check is CheckTime for a certificate of which only this is kept.
func (w Window) Check(now time.Time, late time.Duration) error {
	if now.Before(w.From.Add(-Skew)) {
		return refuse(CodeEarly, "valid from %s, it is %s", w.From.Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	}
	if now.After(w.To.Add(late)) {
		return refuse(CodeExpired, "valid to %s, it is %s", w.To.Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	}
	return nil
}

// Other is the opposite side.
func (p Purpose) Other() Purpose {
	if p == Server {
		return Client
	}
	return Server
}
