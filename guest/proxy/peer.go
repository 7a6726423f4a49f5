package proxy

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"

	"cocoon/contracts/wire"
	"cocoon/guest/router"
	"cocoon/measure/dcap"
	"cocoon/measure/ratls"
	"cocoon/measure/ratls/cert"
	"cocoon/measure/tdx"
)

// spkiPrefix is the DER of an Ed25519 SubjectPublicKeyInfo before the key (inference.md section 10.2).
const spkiPrefix = "302a300506032b6570032100"

// Peer is what attestation says about the other end of a connection.
type Peer struct {
	// Key is the peer's TLS key.
	Key [32]byte
	// Attested says that Image is the hash of a verified report.
	Attested bool
	Image    [32]byte
	// Doubt is why a router's word for the peer does not count; empty without a router's word.
	Doubt string
	// Quote is the evidence itself, and TCB its status; empty behind an external router, which keeps them.
	Quote []byte
	TCB   string
	// Claims are those of the peer's certificate of wire profile v2, to which the quote commits besides the key.
	Claims []byte
}

// PeerOf is the peer of a connection that this process has accepted.
func PeerOf(c *ratls.Conn) Peer {
	p := Peer{Key: c.Peer.Key}
	if q := c.Peer.Report; q != nil && q.TD != nil {
		p.image(&q.TD.Measurements)
		p.Quote, p.Claims = quoteOf(c.Peer.Certificate)
		if r := c.Peer.Verdict.Quote; r != nil {
			p.TCB = r.Combined.String()
		}
	}
	return p
}

// quoteOf is the quote in a certificate that was judged, without what pads it, and its claims: a verdict keeps no bytes.
func quoteOf(c *x509.Certificate) (quote, claims []byte) {
	e, err := cert.Inspect(c, cert.Client)
	if err != nil {
		return nil, nil
	}
	q, err := tdx.ParseQuote(e.Quote)
	if err != nil {
		return nil, nil
	}
	if e.Claims != nil {
		claims = e.Claims.Append(nil)
	}
	return bytes.Clone(q.Signed), claims
}

// PeerOfPreamble is the peer behind an external router, whose word counts for quotes below roots.
func PeerOfPreamble(pre *wire.Preamble, roots []dcap.RootID) Peer {
	p := Peer{Key: pre.PeerKey}
	image, err := router.IntroducedImage(pre, roots)
	if err != nil {
		p.Doubt = err.Error()
		return p
	}
	p.Attested, p.Image = true, image
	return p
}

// image notes the image hash. A report of zeros is none.
func (p *Peer) image(m *tdx.Measurements) {
	hash, err := tdx.PublishableHash(m)
	if err != nil {
		return
	}
	p.Attested, p.Image = true, hash
}

// spki is the SHA-256 of the key's SubjectPublicKeyInfo, in hex.
func spki(key [32]byte) string {
	prefix, err := hex.DecodeString(spkiPrefix)
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(append(prefix, key[:]...))
	return hex.EncodeToString(sum[:])
}
