package dcap

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"errors"
	"slices"
	"time"

	"cocoon/measure/tdx"
)

// What the tests in package dcap_test see of the parsers.

// ParsePCKExtension reads Intel's extension and gives what matters of it.
func ParsePCKExtension(data []byte) (fmspc FMSPC, components [16]byte, pceSVN uint16, hasPIID bool, err error) {
	e, err := parsePCKExtension(data)
	if err != nil {
		return FMSPC{}, components, 0, false, err
	}
	return e.fmspc, e.components, e.pceSVN, e.hasPIID, nil
}

// EvaluateTCB judges a platform with given SVNs, without any quote.
func EvaluateTCB(text string, components [16]byte, pceSVN uint16, teeTCBSVN [16]byte) (Status, []string, error) {
	t, err := parseTCBInfo(text)
	if err != nil {
		return NoStatus, nil, err
	}
	var td *tdx.Body
	if t.tee == tdx.TDX {
		td = &tdx.Body{TEETCBSVN: teeTCBSVN}
	}
	j := t.platform(&pckExtension{components: components, pceSVN: pceSVN}, td)
	return j.level.status, j.level.advisories, nil
}

// SVNsOf reads the SVNs that a quote's PCK certificate states, without verifying anything.
func SVNsOf(quote []byte) (components [16]byte, pceSVN uint16, err error) {
	p, err := tdx.Split(quote)
	if err != nil {
		return components, 0, err
	}
	raw, err := pemChain(p.Signature.PCKChain, 3)
	if err != nil {
		return components, 0, err
	}
	l, _, err := readLeaf(raw[0])
	if err != nil {
		return components, 0, err
	}
	return l.extension.components, l.extension.pceSVN, nil
}

// Revoked counts the entries of a collateral's revocation lists.
func (c *Collateral) Revoked() (pck, root int) { return len(c.pckCRL.revoked), len(c.rootCRL.revoked) }

// ParseTCBInfo reads TCB info and gives its platform.
func ParseTCBInfo(text string) (Platform, error) {
	t, err := parseTCBInfo(text)
	if err != nil {
		return Platform{}, err
	}
	return Platform{FMSPC: t.fmspc, PCEID: t.pceID, TEE: t.tee}, nil
}

// ParseQEIdentity reads a QE identity and gives whose it is.
func ParseQEIdentity(text string) (tdx.TEEType, [32]byte, error) {
	q, err := parseQEIdentity(text)
	if err != nil {
		return 0, [32]byte{}, err
	}
	return q.tee, q.signer, nil
}

// ParseCRL reads a revocation list and gives the number of its entries.
func ParseCRL(raw []byte) (int, error) {
	list, err := parseCRL(raw)
	if err != nil {
		return 0, err
	}
	return len(list.RevokedCertificateEntries), nil
}

// PEMChain reads certificates in their exact form.
func PEMChain(text []byte, want int) ([][]byte, error) { return pemChain(text, want) }

// Walk reads a JSON value and gives its text.
func Walk(text string) (string, error) {
	v, err := walk(text)
	if v.kind == isString {
		return `"` + v.raw + `"`, err
	}
	return v.raw, err
}

// Combine is the status of a whole.
func Combine(parts ...Status) Status { return combine(parts...) }

// CacheSize is how many chains and attestation keys a verifier remembers.
func (v *Verifier) CacheSize() (chains, keys int) {
	return len(v.chains.young) + len(v.chains.old), len(v.signers.young) + len(v.signers.old)
}

// Leaf is what is read of a PCK certificate, for comparing with crypto/x509's reading.
type Leaf struct {
	From, To                           time.Time
	Key                                *ecdsa.PublicKey
	Serial, Issuer, Message, Signature []byte
	FMSPC                              FMSPC
}

// ReadLeaf reads a PCK certificate.
func ReadLeaf(raw []byte) (Leaf, error) {
	l, v, err := readLeaf(raw)
	if err != nil {
		return Leaf{}, err
	}
	if _, err := v.issuerName(); err != nil { // else checkSigned finds it equal to the issuer's own
		return Leaf{}, err
	}
	return Leaf{l.from, l.to, l.key, []byte(l.serial), v.issuer, v.message, v.signature, l.extension.fmspc}, nil
}

// CommonName is the common name within a name.
func CommonName(name []byte) (string, error) {
	found, err := commonName(name)
	return string(found), err
}

// CheckAsX509 is the reading of PCK certificates through crypto/x509, which readLeaf must never be laxer than.
func CheckAsX509(raw []byte) (*x509.Certificate, error) {
	cert, err := x509.ParseCertificate(raw)
	if err != nil {
		return nil, err
	}
	key, ok := cert.PublicKey.(*ecdsa.PublicKey)
	if !ok || key.Curve != elliptic.P256() {
		return nil, errors.New("its key is not on P-256")
	}
	for _, e := range cert.Extensions {
		if slices.Equal(e.Id, []int{1, 2, 840, 113741, 1, 13, 1}) {
			if _, err := parsePCKExtension(e.Value); err != nil {
				return nil, err
			}
		}
	}
	return cert, rule{[]string{namePCK}, false}.check(cert, certificate{})
}
