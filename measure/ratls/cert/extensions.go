package cert

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/asn1"
)

// X.509 extensions of the layout (RFC 5280 section 4.2.1).
func oidBasicConstraints() asn1.ObjectIdentifier { return asn1.ObjectIdentifier{2, 5, 29, 19} }
func oidKeyUsage() asn1.ObjectIdentifier         { return asn1.ObjectIdentifier{2, 5, 29, 15} }
func oidExtKeyUsage() asn1.ObjectIdentifier      { return asn1.ObjectIdentifier{2, 5, 29, 37} }
func oidSubjectKeyID() asn1.ObjectIdentifier     { return asn1.ObjectIdentifier{2, 5, 29, 14} }
func oidSubjectAltName() asn1.ObjectIdentifier   { return asn1.ObjectIdentifier{2, 5, 29, 17} }

// own returns the last component of an extension of ours.
func own(id asn1.ObjectIdentifier) (int, bool) {
	n := len(id) - 1
	if n < 0 || !id.Equal(arc(id[n])) {
		return 0, false
	}
	return id[n], true
}

// mayBeCritical lists the standard extensions that the layout marks critical, and the two that it does not mark but
// which change nothing when they are.
func mayBeCritical(id asn1.ObjectIdentifier) bool {
	return id.Equal(oidBasicConstraints()) || id.Equal(oidKeyUsage()) || id.Equal(oidExtKeyUsage()) ||
		id.Equal(oidSubjectKeyID()) || id.Equal(oidSubjectAltName())
}

// readExtensions collects the evidence. No extension stands twice: the X.509 parser refuses that.
func readExtensions(c *x509.Certificate) (*Evidence, error) {
	key, _ := c.PublicKey.(ed25519.PublicKey) // checkForm has seen it
	e := &Evidence{Key: Key(key)}
	for i := range c.Extensions {
		x := &c.Extensions[i]
		n, ours := own(x.Id)
		if ours {
			known, err := e.read(c, n, x.Value)
			if err != nil {
				return nil, err
			}
			ours = known
		}
		if x.Critical && !ours && !mayBeCritical(x.Id) {
			return nil, refuse(CodeExtension, "critical extension %s is not known", x.Id)
		}
	}
	return e, nil
}

// read takes the value of an extension below our arc; known is false for those without a meaning.
func (e *Evidence) read(c *x509.Certificate, n int, value []byte) (known bool, err error) {
	switch n {
	case extQuote:
		if len(value) > MaxQuote {
			return true, refuse(CodeQuoteSize, "quote extension has %d bytes, at most %d", len(value), MaxQuote)
		}
		e.Quote = value
		return true, e.become(kindOf(value))
	case extSEVData, extSEVReport, extSEVKey:
		return true, e.become(SEV)
	case extClaims:
		e.Claims, err = readClaims(c, value)
		return true, err
	case extUserClaims: // ignored: what the quote must say is computed from the key
		return true, nil
	}
	return false, nil
}

func (e *Evidence) become(k Kind) error {
	if e.Kind != None && e.Kind != k {
		return refuse(CodeExtension, "it has a TDX quote and an SEV report, want at most one")
	}
	e.Kind = k
	return nil
}

// kindOf tells quotes from their stand-ins by size: no quote is that short.
func kindOf(value []byte) Kind {
	if len(value) == fakeDec || len(value) == fakeApr {
		return Fake
	}
	return TDX
}

func readClaims(c *x509.Certificate, value []byte) (*Claims, error) {
	claims, err := ParseClaims(value)
	if err != nil {
		return nil, &Error{Code: CodeClaims, Err: err}
	}
	if claims.NotBefore != c.NotBefore.Unix() || claims.NotAfter != c.NotAfter.Unix() {
		return nil, refuse(CodeClaims, "claims are valid from %d to %d, the certificate from %d to %d",
			claims.NotBefore, claims.NotAfter, c.NotBefore.Unix(), c.NotAfter.Unix())
	}
	return &claims, nil
}
