package dcap

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
)

// Sizes on P-256.
const (
	scalarSize       = 32
	rawSignatureSize = 2 * scalarSize
)

// verifyRaw checks an ECDSA signature r ‖ s over SHA-256 of a message.
func verifyRaw(key *ecdsa.PublicKey, message, signature []byte) bool {
	if len(signature) != rawSignatureSize {
		return false
	}
	// SEQUENCE { INTEGER r, INTEGER s }: at most 33 bytes each, so one length byte is enough.
	var buf [2 + 2*(2+scalarSize+1)]byte
	out := append(buf[:0], tagSequence, 0)
	for _, scalar := range [][]byte{signature[:scalarSize], signature[scalarSize:]} {
		scalar = bytes.TrimLeft(scalar, "\x00")
		pad := 0
		if len(scalar) == 0 || scalar[0]&0x80 != 0 {
			pad = 1
		}
		out = append(out, tagInteger, byte(pad+len(scalar))) //nolint:gosec // at most 33
		if pad == 1 {
			out = append(out, 0)
		}
		out = append(out, scalar...)
	}
	out[1] = byte(len(out) - 2) //nolint:gosec // at most 70
	digest := sha256.Sum256(message)
	return ecdsa.VerifyASN1(key, digest[:], out)
}

// verifyDER checks an ECDSA signature in the form of certificates over SHA-256 of a message.
func verifyDER(key *ecdsa.PublicKey, message, signature []byte) bool {
	digest := sha256.Sum256(message)
	return ecdsa.VerifyASN1(key, digest[:], signature)
}

// rawKey reads a public key X ‖ Y, which must be a point of the curve.
func rawKey(raw []byte) (*ecdsa.PublicKey, error) {
	var point [1 + rawSignatureSize]byte
	point[0] = 4 // uncompressed
	copy(point[1:], raw)
	return ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point[:1+len(raw)])
}
