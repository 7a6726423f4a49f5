package dcap

import (
	"bytes"
	"cmp"
	"crypto/ecdsa"
	"fmt"
	"time"
)

// The exact bytes of a PCK certificate's parts that never vary (Intel SGX PCK Certificate and CRL Profile, section 2.3.5;
// RFC 5480).
const (
	derVersion3 = "\xa0\x03\x02\x01\x02"
	// ecdsa-with-SHA256, without parameters.
	derSignatureAlgorithm = "\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02"
	// A public key on P-256, up to where its uncompressed point's coordinates begin.
	derPublicKey = "\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00\x04"
	// Basic constraints of what is no CA.
	derNoCA = "\x30\x00"
	// digitalSignature, the first bit of key usage.
	bitDigitalSignature = 0x80
)

// Bounds of a PCK certificate.
const (
	maxSerial     = 21 // 20 bytes that may need a zero before them
	maxExtensions = 16 // Intel's have 6
	maxOID        = 32
)

// leaf is what a PCK certificate says that matters here. It does not alias the bytes it was read from, but for views.
type leaf struct {
	window
	key       *ecdsa.PublicKey
	serial    string // in the form of revocation sets
	extension *pckExtension
}

// views are the parts of a PCK certificate that only checking it needs.
type views struct {
	issuer, message, signature []byte
}

// issuerName is the issuer's common name.
func (v views) issuerName() (string, error) {
	name, err := commonName(v.issuer)
	if err != nil {
		return "", fmt.Errorf("issuer: %w", err)
	}
	return string(name), nil
}

// readLeaf reads a PCK certificate in DER. It takes only the shape that Intel's have: crypto/x509 would read all of
// those alike, and reads much else besides. Names and what is not critical may vary. It verifies nothing.
func readLeaf(raw []byte) (*leaf, views, error) {
	if len(raw) > maxCertificate {
		return nil, views{}, fmt.Errorf("%d bytes, at most %d", len(raw), maxCertificate)
	}
	outer := fieldsOfDER("certificate", raw)
	in := outer.inside("certificate", tagSequence)
	outer.end()
	rest := in.rest
	body := in.inside("body", tagSequence)
	v := views{message: rest[:len(rest)-len(in.rest)]}
	in.exactly(derSignatureAlgorithm, "signature algorithm: want ECDSA with SHA-256")
	v.signature = in.bits("signature")
	in.end()

	l := &leaf{window: window{name: namePCK}}
	body.exactly(derVersion3, "version: want 3")
	l.serial = string(body.serial())
	body.exactly(derSignatureAlgorithm, "signature algorithm: want ECDSA with SHA-256")
	v.issuer = body.whole("issuer", tagSequence)
	validity := body.inside("validity", tagSequence)
	l.from, l.to = validity.time(), validity.time()
	validity.end()
	subject := body.whole("subject", tagSequence)
	body.exactly(derPublicKey, "public key: want an uncompressed point on P-256")
	point := body.bytes(rawSignatureSize)
	wrapped := body.inside("extensions", tagExplicit3)
	list := wrapped.inside("extensions", tagSequence)
	wrapped.end()
	body.end()
	if err := cmp.Or(outer.err, in.err, body.err, validity.err, wrapped.err); err != nil {
		return nil, views{}, err
	}
	return l, v, l.finish(subject, point, list)
}

// finish checks name and key and reads the extensions.
func (l *leaf) finish(subject, point []byte, list *fieldsDER) error {
	name, err := commonName(subject)
	if err != nil {
		return fmt.Errorf("subject: %w", err)
	}
	if string(name) != namePCK {
		return fmt.Errorf("certificate of %q: want the name %q", name, namePCK)
	}
	if l.key, err = rawKey(point); err != nil {
		return fmt.Errorf("public key: %w", err)
	}
	if err := l.extensions(list); err != nil {
		return fmt.Errorf("certificate of %q: %w", name, err)
	}
	return nil
}

// checkSigned checks that the CA above issued the certificate and signed it.
func (v views) checkSigned(above certificate) error {
	if !bytes.Equal(v.issuer, above.RawSubject) {
		name, err := v.issuerName()
		if err != nil {
			return err
		}
		return fmt.Errorf("certificate of %q: issued by %q, want the %q above it", namePCK, name, above.Subject.CommonName)
	}
	if !verifyDER(above.key, v.message, v.signature) {
		return fmt.Errorf("certificate of %q: not signed by the %q above it", namePCK, above.Subject.CommonName)
	}
	return nil
}

// checkAt checks that the certificate holds at a time.
func (w *window) checkAt(now time.Time) error {
	switch {
	case now.Before(w.from):
		return fail(ClassChain, "PCK chain: certificate of %q is not valid before %s, it is %s", w.name, stamp(w.from), stamp(now))
	case now.After(w.to):
		return fail(ClassChain, "PCK chain: certificate of %q expired at %s, it is %s", w.name, stamp(w.to), stamp(now))
	}
	return nil
}
