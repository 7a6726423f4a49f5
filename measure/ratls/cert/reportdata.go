package cert

import "crypto/sha512"

// Domains of report data in wire profile v2 (attestation.md section 15). A zero byte ends each.
const (
	domainClaims      = "cocoon-ratls-v2\x00"
	domainFreshClient = "cocoon-ratls-v2 fresh client\x00"
	domainFreshServer = "cocoon-ratls-v2 fresh server\x00"
)

// ExporterSize is the size of the keying material that a fresh quote is bound to.
const ExporterSize = 32

// spkiPrefix precedes the key in the SubjectPublicKeyInfo of every Ed25519 key (RFC 8410 section 4).
const spkiPrefix = "\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00"

// SPKI is the DER SubjectPublicKeyInfo of the key, 44 bytes.
func (k Key) SPKI() []byte { return append([]byte(spkiPrefix), k[:]...) }

// ReportData binds a quote to a key in wire profile v1: SHA-512 of the 32 key bytes.
func ReportData(k Key) [reportSize]byte { return sha512.Sum512(k[:]) }

// ReportDataV2 binds a quote to a key and claims in wire profile v2.
func ReportDataV2(k Key, c Claims) [reportSize]byte {
	return domainHash(domainClaims, k, c.Append(make([]byte, 0, ClaimsSize)))
}

// FreshReportData binds a quote to one connection: the keying material is what the exporter gives under the label of
// the side that sends the quote. Sides have different domains as well, so that a quote cannot be sent back.
func FreshReportData(sender Purpose, k Key, exporter [ExporterSize]byte) [reportSize]byte {
	if sender == Server {
		return domainHash(domainFreshServer, k, exporter[:])
	}
	return domainHash(domainFreshClient, k, exporter[:])
}

func domainHash(domain string, k Key, rest []byte) [reportSize]byte {
	input := append([]byte(domain), k.SPKI()...)
	return sha512.Sum512(append(input, rest...))
}
