package measuretest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/asn1"
	"fmt"
	"io"
	"math/big"
)

// SeedSize is the size of the seed that everything secret derives from.
const SeedSize = 32

const (
	// derivation separates this package's secrets from any other use of a seed.
	derivation = "cocoon software TDX v1 "
	// maxKeyTries bounds the search for a scalar in range; each try fails with probability 2^-32.
	maxKeyTries = 8
	// pointSize is the size of a P-256 coordinate, and of a signature half.
	pointSize = 32
)

// secrets derives everything of one platform from its seed.
type secrets struct{ seed [SeedSize]byte }

// bytes are n bytes (at most 255 hashes) that belong to the label.
func (s secrets) bytes(label string, n int) ([]byte, error) {
	out, err := hkdf.Key(sha256.New, s.seed[:], nil, derivation+label, n)
	if err != nil {
		return nil, fmt.Errorf("deriving %s: %w", label, err)
	}
	return out, nil
}

// key is the P-256 key that belongs to the label.
func (s secrets) key(label string) (*signer, error) {
	for try := range maxKeyTries {
		raw, err := s.bytes(fmt.Sprintf("%s/%d", label, try), pointSize)
		if err != nil {
			return nil, err
		}
		if k, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), raw); err == nil {
			return &signer{k}, nil
		}
	}
	return nil, fmt.Errorf("deriving %s: no valid scalar in %d tries", label, maxKeyTries)
}

// signer signs with nonces derived from key and message (RFC 6979), so that a seed gives the same quotes every time.
type signer struct{ *ecdsa.PrivateKey }

// Sign implements crypto.Signer; the random source is ignored.
func (s *signer) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return s.PrivateKey.Sign(nil, digest, opts)
}

// point is the public key as X ‖ Y.
func (s *signer) point() ([]byte, error) {
	b, err := s.PublicKey.Bytes()
	if err != nil {
		return nil, fmt.Errorf("encoding public key: %w", err)
	}
	return b[1:], nil // after the 0x04 of an uncompressed point
}

// raw signs the SHA-256 of a message; the signature is r ‖ s, big-endian, as in quotes and collateral.
func (s *signer) raw(message []byte) ([]byte, error) {
	digest := sha256.Sum256(message)
	der, err := s.Sign(nil, digest[:], crypto.SHA256)
	if err != nil {
		return nil, fmt.Errorf("signing: %w", err)
	}
	var sig struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(der, &sig); err != nil {
		return nil, fmt.Errorf("signing: %w", err)
	}
	out := make([]byte, 2*pointSize)
	sig.R.FillBytes(out[:pointSize])
	sig.S.FillBytes(out[pointSize:])
	return out, nil
}
