// Package often verifies Ed25519 signatures of keys that sign often: a proxy's receipt key and the keys of its workers.
//
// It owns the verification equation of RFC 8032 section 5.1.7 as crypto/ed25519 checks it (without cofactor, with the
// signature's S below the order of the group), and, for keys that have come several times, tables of multiples that make
// it cheaper: of the group's generator and of the key. Arithmetic modulo 2^255-19 and the order is that of
// filippo.io/edwards25519, which has no type for a point in a table. It refuses exactly what crypto/ed25519 refuses.
// Everything here is public, so nothing needs to take constant time. A Cache is safe for concurrent use and bounded.
package often

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha512"
	"errors"
	"fmt"

	"filippo.io/edwards25519"
)

// The generator has a table of 120 KiB, a key one of 60. Twice as much for a tenth of the additions would lose in the
// processor's caches what it saves.
const generatorWidth, keyWidth = 8, 7

// key is a public key with the tables of the generator and of its own negative.
type key struct {
	public           [ed25519.PublicKeySize]byte
	generator, minus *table
}

func newKey(public ed25519.PublicKey, generator *table) (*key, error) {
	p, err := new(edwards25519.Point).SetBytes(public)
	if err != nil {
		return nil, fmt.Errorf("reading public key: %w", err)
	}
	return &key{[ed25519.PublicKeySize]byte(public), generator, newTable(p.Negate(p), keyWidth)}, nil
}

var errSignature = errors.New("the signature does not fit")

// verify checks that R = S*B - h*A, compared as R is encoded.
func (k *key) verify(message, signature []byte) error {
	if len(signature) != ed25519.SignatureSize {
		return errSignature
	}
	r := signature[:32]
	s, err := new(edwards25519.Scalar).SetCanonicalBytes(signature[32:])
	if err != nil {
		return errSignature
	}
	hash := sha512.New()
	hash.Write(r)
	hash.Write(k.public[:])
	hash.Write(message)
	var digest [sha512.Size]byte
	h, err := new(edwards25519.Scalar).SetUniformBytes(hash.Sum(digest[:0]))
	if err != nil {
		return errSignature
	}
	var both sum
	both.add(k.generator, s)
	both.add(k.minus, h)
	if p := both.point(); !bytes.Equal(p.bytes(), r) {
		return errSignature
	}
	return nil
}
