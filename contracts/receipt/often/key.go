// Package often verifies Ed25519 signatures of keys that sign often: a proxy's receipt key and the keys of its workers.
//
// It owns the verification equation of RFC 8032 section 5.1.7 as crypto/ed25519 checks it (without cofactor, with the
// signature's S below the order of the group), and, for keys that have come several times, a table of multiples that makes
// it cheaper. Arithmetic is filippo.io/edwards25519's. It refuses exactly what crypto/ed25519 refuses. Everything here is
// public, so nothing needs to take constant time. A Cache is safe for concurrent use and bounded.
package often

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha512"
	"errors"
	"fmt"

	"filippo.io/edwards25519"
)

const (
	// windows are the pairs of digits in base 16 that a scalar of 256 bits has.
	windows = 32
	// digits are what a signed digit in base 16 can be, but for its sign and zero.
	digits = 8
)

// key is a public key with multiples of it: table[i][j] is -(j+1) * 256^i times the key, 40 KiB in all.
type key struct {
	public [ed25519.PublicKeySize]byte
	table  [windows][digits]edwards25519.Point
}

func newKey(public ed25519.PublicKey) (*key, error) {
	step, err := new(edwards25519.Point).SetBytes(public)
	if err != nil {
		return nil, fmt.Errorf("reading public key: %w", err)
	}
	k := &key{public: [ed25519.PublicKeySize]byte(public)}
	step.Negate(step)
	for i := range k.table {
		multiples := &k.table[i]
		multiples[0].Set(step)
		for j := range multiples[1:] {
			multiples[j+1].Add(&multiples[j], step)
		}
		for range 8 { // to the next pair of digits
			step.Add(step, step)
		}
	}
	return k, nil
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
	var sum [sha512.Size]byte
	h, err := new(edwards25519.Scalar).SetUniformBytes(hash.Sum(sum[:0]))
	if err != nil {
		return errSignature
	}
	p := k.times(h)
	if p.Add(p, new(edwards25519.Point).ScalarBaseMult(s)); !bytes.Equal(p.Bytes(), r) {
		return errSignature
	}
	return nil
}

// times is -h times the key: the odd digits' sum, sixteenfold, and the even digits'.
func (k *key) times(h *edwards25519.Scalar) *edwards25519.Point {
	d, p := base16(h), edwards25519.NewIdentityPoint()
	for i := 1; i < len(d); i += 2 {
		k.add(p, i/2, d[i])
	}
	for range 4 {
		p.Add(p, p)
	}
	for i := 0; i < len(d); i += 2 {
		k.add(p, i/2, d[i])
	}
	return p
}

func (k *key) add(p *edwards25519.Point, window int, digit int8) {
	switch {
	case digit > 0:
		p.Add(p, &k.table[window][digit-1])
	case digit < 0:
		p.Subtract(p, &k.table[window][-digit-1])
	}
}

// base16 are the digits of a scalar from -8 to 8, the lowest first. A reduced scalar is below 2^253, so the last does not
// overflow.
func base16(s *edwards25519.Scalar) (d [2 * windows]int8) {
	for i, b := range s.Bytes() {
		d[2*i], d[2*i+1] = int8(b&15), int8(b>>4)
	}
	for i := range len(d) - 1 {
		carry := (d[i] + 8) >> 4
		d[i] -= carry << 4
		d[i+1] += carry
	}
	return d
}
