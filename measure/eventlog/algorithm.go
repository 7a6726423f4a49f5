package eventlog

import (
	"crypto/sha1" //nolint:gosec // TPM logs have a SHA-1 bank; it is replayed for display, never trusted
	"crypto/sha256"
	"crypto/sha512"
	"fmt"
	"hash"
)

// Algorithm is a TPM_ALG_ID of a hash (TCG Algorithm Registry).
type Algorithm uint16

// The algorithms that occur in event logs.
const (
	SHA1   Algorithm = 0x04
	SHA256 Algorithm = 0x0b
	SHA384 Algorithm = 0x0c
	SHA512 Algorithm = 0x0d
	SM3    Algorithm = 0x12
)

// String is the usual name.
func (a Algorithm) String() string {
	switch a {
	case SHA1:
		return "SHA-1"
	case SHA256:
		return "SHA-256"
	case SHA384:
		return "SHA-384"
	case SHA512:
		return "SHA-512"
	case SM3:
		return "SM3"
	}
	return fmt.Sprintf("algorithm 0x%04x", uint16(a))
}

// size is the digest size of a registered algorithm, 0 for others.
func (a Algorithm) size() int {
	switch a {
	case SHA1:
		return sha1.Size
	case SHA256, SM3:
		return sha256.Size
	case SHA384:
		return sha512.Size384
	case SHA512:
		return sha512.Size
	}
	return 0
}

// hash starts a digest; ok is false for algorithms that are parsed but not computed.
func (a Algorithm) hash() (h hash.Hash, ok bool) {
	switch a {
	case SHA1:
		return sha1.New(), true //nolint:gosec // see the import
	case SHA256:
		return sha256.New(), true
	case SHA384:
		return sha512.New384(), true
	case SHA512:
		return sha512.New(), true
	default: // SM3 is parsed but not computed
		return nil, false
	}
}

// sum hashes data.
func (a Algorithm) sum(data []byte) (digest []byte, ok bool) {
	h, ok := a.hash()
	if !ok {
		return nil, false
	}
	h.Write(data)
	return h.Sum(nil), true
}
