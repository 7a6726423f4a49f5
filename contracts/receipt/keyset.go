package receipt

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"
)

// apiVersion is the version of the published draft that the documents follow.
const apiVersion = "aci/1"

// claimsSize is the size of the claims of wire profile v2 (attestation.md section 15).
const claimsSize = 116

// hashName stands before a digest, subjectName before the contract of a keyset's proxy (inference.md section 10.2).
const (
	hashName    = "sha256:"
	subjectName = "cocoon:proxy:"
)

// SHA256 is a digest in the documents' form: "sha256:" and lower-case hex.
func SHA256(data []byte) string {
	name := hash(data)
	return string(name[:])
}

// isHash says that text is the digest of data.
func isHash(text string, data []byte) bool {
	name := hash(data)
	return string(name[:]) == text
}

func hash(data []byte) (name [len(hashName) + 2*sha256.Size]byte) {
	sum := sha256.Sum256(data)
	hex.Encode(name[copy(name[:], hashName):], sum[:])
	return name
}

// Keyset says which keys a proxy signs with. TLS holds the SHA-256 of the SPKI DER of its RA-TLS certificates.
type Keyset struct {
	Subject  string
	NotAfter time.Time
	Receipt  map[string]ed25519.PublicKey // by key id
	TLS      []string                     // hex

	digest string
}

// ParseKeyset reads a keyset; its digest is over its canonical form.
func ParseKeyset(raw []byte) (*Keyset, error) {
	doc, err := parse(raw)
	if err != nil {
		return nil, fmt.Errorf("reading keyset: %w", err)
	}
	r := reader{doc: doc}
	k := &Keyset{
		Subject: r.text("subject"), NotAfter: time.Unix(r.integer("not_after"), 0),
		Receipt: make(map[string]ed25519.PublicKey), digest: SHA256(canonical(doc)),
	}
	for _, item := range r.objects("receipt_signing_keys") {
		if item.text("algo") == "ed25519" {
			k.Receipt[item.text("key_id")] = item.bytes("public_key", ed25519.PublicKeySize)
		}
		r.join(&item)
	}
	for _, item := range r.objects("tls_public_keys") {
		k.TLS = append(k.TLS, item.text("spki_sha256"))
		r.join(&item)
	}
	if r.err != nil {
		return nil, fmt.Errorf("reading keyset: %w", r.err)
	}
	return k, nil
}

// Digest names the keyset in receipts.
func (k *Keyset) Digest() string { return k.digest }

// Subject is that of the keyset of a proxy, by its contract in raw form.
func Subject(proxySC string) string { return subjectName + proxySC }

// NewKeyset writes a proxy's keyset in canonical form, for one receipt key and its RA-TLS keys.
func NewKeyset(subject string, notAfter time.Time, keyID string, key ed25519.PublicKey, spki []string) []byte {
	tls := make(object, 0, len(spki))
	for _, s := range spki {
		tls = append(tls, object{text("spki_sha256", s)}.element())
	}
	signing := object{text("algo", "ed25519"), text("key_id", keyID), text("public_key", hex.EncodeToString(key))}
	return canonical(object{
		list("e2ee_public_keys", nil), number("not_after", notAfter.Unix()), list("receipt_signing_keys", object{signing.element()}),
		text("subject", subject), list("tls_public_keys", tls),
	})
}

// NonceSize is the size of the nonce of an attestation report.
const NonceSize = 32

// ReportData is the first half of the report data of the quote that proves a keyset; the second half is zero. A nil nonce
// gives the form that may be cached.
func ReportData(keysetDigest string, nonce *[NonceSize]byte) [32]byte {
	challenge := null("nonce")
	if nonce != nil {
		challenge = text("nonce", hex.EncodeToString(nonce[:]))
	}
	return sha256.Sum256(canonical(object{text("keyset_digest", keysetDigest), challenge, text("purpose", "aci.report_data.v1")}))
}

// Session is what a proxy found out about a worker before it used it. It is named by its content.
type Session struct {
	ID                 string
	Established, Until time.Time
	WorkerSC, Image    string
	Model, Engine      string
	SPKI               string // of the worker's RA-TLS key, hex
	// Key is that key itself, and Claims are those of its certificate of wire profile v2: the quote's report data commits to
	// them. Both are nil where the proxy did not write them down, and Claims under v1.
	Key, Claims    []byte
	ReceiptKeyID   string
	ReceiptKey     ed25519.PublicKey // nil for workers that sign nothing
	EvidenceDigest string
	EvidenceData   string
}

// ParseSession reads a session and names it.
func ParseSession(raw []byte) (*Session, error) {
	doc, err := parse(raw)
	if err != nil {
		return nil, fmt.Errorf("reading session: %w", err)
	}
	r := reader{doc: doc}
	id, evidence := r.object("identity"), r.object("evidence")
	s := &Session{
		ID:          strings.TrimPrefix(SHA256(canonical(doc)), hashName),
		Established: time.Unix(r.integer("established_at"), 0), Until: time.Unix(r.integer("expires_at"), 0),
		WorkerSC: id.text("worker_sc"), Image: id.text("image_hash"), Model: id.text("model_id"), Engine: id.text("engine"),
		EvidenceDigest: evidence.text("digest"), EvidenceData: evidence.text("data"),
	}
	if _, signs := id.doc.get("receipt_key"); signs {
		s.ReceiptKeyID, s.ReceiptKey = id.text("receipt_key_id"), id.bytes("receipt_key", ed25519.PublicKeySize)
	}
	for _, b := range r.objects("channel_binding") {
		if b.text("type") == "tls_spki_sha256" {
			s.SPKI = b.text("spki_sha256")
			if _, there := b.doc.get("public_key"); there {
				s.Key = b.bytes("public_key", ed25519.PublicKeySize)
			}
			if _, there := b.doc.get("claims"); there {
				s.Claims = b.bytes("claims", claimsSize)
			}
		}
		r.join(&b)
	}
	r.join(id)
	r.join(evidence)
	if r.err != nil {
		return nil, fmt.Errorf("reading session: %w", r.err)
	}
	return s, nil
}
