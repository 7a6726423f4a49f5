package record

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
)

// Sizes of TLS 1.3's suites.
const (
	nonceSize = 12
	tagSize   = 16
	maxSecret = sha512.Size384
)

// suite is one of the two cipher suites of attestation.md section 4 (RFC 8446 appendix B.4).
type suite struct {
	hash    func() hash.Hash
	keySize int
}

func suiteOf(id uint16) (suite, error) {
	switch id {
	case tls.TLS_AES_128_GCM_SHA256:
		return suite{sha256.New, 16}, nil
	case tls.TLS_AES_256_GCM_SHA384:
		return suite{sha512.New384, 32}, nil
	}
	return suite{}, fmt.Errorf("cipher suite is %s, want one of TLS 1.3 with AES-GCM", tls.CipherSuiteName(id))
}

// Supports tells whether a connection of this cipher suite can be taken over. The one that crypto/tls has besides is for
// machines without AES, and not ours to offer.
func Supports(id uint16) bool {
	_, err := suiteOf(id)
	return err == nil
}

func newGCM(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// expand is HKDF-Expand-Label with an empty context (RFC 8446 section 7.1).
func (s *suite) expand(secret []byte, label string, size int) ([]byte, error) {
	full := "tls13 " + label
	info := binary.BigEndian.AppendUint16(nil, uint16(size))                 //nolint:gosec // at most maxSecret
	info = append(append(info, byte(len(full))), append([]byte(full), 0)...) //nolint:gosec // labels are short
	return hkdf.Expand(s.hash, secret, string(info), size)
}

// half is one direction: its key under the current traffic secret and how many records it has protected.
type half struct {
	id     uint16
	aead   cipher.AEAD
	iv     [nonceSize]byte
	seq    uint64
	secret []byte
}

func newHalf(id uint16, secret []byte) (half, error) {
	s, err := suiteOf(id)
	if err != nil {
		return half{}, err
	}
	if len(secret) != s.hash().Size() {
		return half{}, fmt.Errorf("traffic secret of %d bytes, want %d", len(secret), s.hash().Size())
	}
	h := half{id: id, secret: bytes.Clone(secret)}
	key, err := s.expand(secret, "key", s.keySize)
	if err != nil {
		return half{}, err
	}
	iv, err := s.expand(secret, "iv", nonceSize)
	if err != nil {
		return half{}, err
	}
	copy(h.iv[:], iv)
	h.aead, err = newGCM(key)
	return h, err
}

// next goes over to the next traffic secret (RFC 8446 section 7.2).
func (h *half) next() error {
	s, err := suiteOf(h.id)
	if err != nil {
		return err
	}
	secret, err := s.expand(h.secret, "traffic upd", len(h.secret))
	if err != nil {
		return err
	}
	clear(h.secret)
	*h, err = newHalf(h.id, secret)
	return err
}

// nonce is that of the next record, which is counted (RFC 8446 section 5.3).
func (h *half) nonce(out *[nonceSize]byte) []byte {
	*out = h.iv
	var seq [8]byte
	binary.BigEndian.PutUint64(seq[:], h.seq)
	subtle.XORBytes(out[nonceSize-len(seq):], out[nonceSize-len(seq):], seq[:])
	h.seq++ // a connection ends long before 2^64
	return out[:]
}

// KeyLog receives the traffic secrets of one handshake as tls.Config.KeyLogWriter. They stay in memory and are wiped by
// New.
type KeyLog struct{ client, server []byte }

// The labels of the secrets that protect data (the NSS key log format); those of the handshake are passed over.
const (
	labelClient = "CLIENT_TRAFFIC_SECRET_0"
	labelServer = "SERVER_TRAFFIC_SECRET_0"
)

// Write takes a line: label, client random, secret.
func (k *KeyLog) Write(line []byte) (int, error) {
	label, rest, _ := bytes.Cut(bytes.TrimSuffix(line, []byte{'\n'}), []byte{' '})
	_, secret, ok := bytes.Cut(rest, []byte{' '})
	if !ok {
		return 0, errors.New("taking traffic secret: the line has fewer than three fields")
	}
	var to *[]byte
	switch string(label) {
	case labelClient:
		to = &k.client
	case labelServer:
		to = &k.server
	default:
		return len(line), nil
	}
	if *to != nil || len(secret) > 2*maxSecret {
		return 0, errors.New("taking traffic secret: it comes a second time, or is too long")
	}
	*to = make([]byte, hex.DecodedLen(len(secret)))
	if _, err := hex.Decode(*to, secret); err != nil {
		return 0, fmt.Errorf("taking traffic secret: %w", err)
	}
	return len(line), nil
}

// wipe forgets the secrets.
func (k *KeyLog) wipe() {
	clear(k.client)
	clear(k.server)
	k.client, k.server = nil, nil
}
