package dcap

import (
	"errors"
	"time"
)

// Verifier checks quotes. It may be used concurrently.
type Verifier struct {
	roots *Roots
}

// NewVerifier makes a verifier that trusts the given roots and remembers up to cacheSize certificate chains.
func NewVerifier(roots *Roots, _ int) *Verifier { return &Verifier{roots: roots} }

// Verify checks a quote against opened collateral at a time. Bytes after the quote's signature part are ignored.
func (v *Verifier) Verify(_ []byte, _ *Collateral, _ time.Time) (*Result, error) {
	return nil, errors.New("verifying quote: not yet")
}

// VerifySignatures checks what can be checked without collateral: certificate chain, quoting enclave's report, binding
// of the attestation key, quote signature. It says nothing about revocation, the quoting enclave's identity or TCB.
func (v *Verifier) VerifySignatures(_ []byte, _ time.Time) (Platform, error) {
	return Platform{}, errors.New("verifying quote: not yet")
}

// PlatformOf reads from a quote which collateral it needs. Nothing is verified: use it to fetch collateral, and for
// nothing else.
func PlatformOf(_ []byte) (Platform, error) { return Platform{}, errors.New("reading platform: not yet") }

// Open verifies a bundle at a time and against roots.
func Open(_ *Bundle, _ *Roots, _ time.Time) (*Collateral, error) {
	return nil, errors.New("opening collateral: not yet")
}
