// Package promptcrypt is prompt encryption v1 of the reference network: the strings of a request and of its answer are
// encrypted between the client and the worker's key (protocol.md section 9).
//
// It owns the key agreement, the cipher of one string and the rewriting of JSON documents. It trusts no ciphertext:
// lengths, padding and authentication are checked before anything is returned, and a string that is neither encrypted
// nor marked as plain is refused. All values are plain data, safe for concurrent use. Know what it is worth: the proxy
// hands the private key to the worker, so it hides nothing from the proxy.
package promptcrypt

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/big"
	"slices"
)

// Direction says who speaks.
type Direction byte

// The two directions.
const (
	ToWorker Direction = 'c'
	ToClient Direction = 'w'
)

const (
	// KeySize is the size of keys and seeds.
	KeySize = 32
	// msgID is the size of the message id that authenticates a string; it stands before the ciphertext.
	msgID = 16
	// minPrefix is the shortest random prefix of a plaintext. Ours have at most 31 bytes; others' may have more.
	minPrefix = 16
	blockSize = aes.BlockSize
	// kdfLabel is TDLib's label for its end-to-end encryption of data.
	kdfLabel = "tde2e_encrypt_data"
)

// Errors of this package.
var (
	// ErrKey means that the keys do not fit the message.
	ErrKey = errors.New("prompt encryption: the key does not fit")
	// ErrCiphertext means that a string is not what was encrypted.
	ErrCiphertext = errors.New("prompt encryption: malformed or forged string")
)

// Secret encrypts the strings of one document in one direction.
type Secret [32]byte

// Agree derives the secret between the own Ed25519 seed and the peer's Ed25519 public key.
func Agree(seed, peer [KeySize]byte, nonce string, d Direction) (Secret, error) {
	shared, err := exchange(seed, peer)
	if err != nil {
		return Secret{}, err
	}
	return sha256.Sum256(slices.Concat(shared, []byte(nonce), []byte{byte(d)})), nil
}

// exchange is X25519 over the converted Ed25519 keys.
func exchange(seed, peer [KeySize]byte) ([]byte, error) {
	wide := sha512.Sum512(seed[:])
	own, err := ecdh.X25519().NewPrivateKey(wide[:KeySize]) // clamped by the exchange itself
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKey, err)
	}
	u, err := montgomery(peer)
	if err != nil {
		return nil, err
	}
	other, err := ecdh.X25519().NewPublicKey(u)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKey, err)
	}
	shared, err := own.ECDH(other)
	if err != nil { // a point of low order
		return nil, fmt.Errorf("%w: %w", ErrKey, err)
	}
	return shared, nil
}

// montgomery is u = (1+y)/(1-y) modulo 2^255-19. The key is public, so the time it takes tells nothing.
func montgomery(key [KeySize]byte) ([]byte, error) {
	p := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 255), big.NewInt(19))
	raw := key
	raw[KeySize-1] &= 0x7f
	slices.Reverse(raw[:])
	y := new(big.Int).SetBytes(raw[:])
	one := big.NewInt(1)
	down := new(big.Int).Sub(one, y)
	if down.Mod(down, p).Sign() == 0 || y.Cmp(p) >= 0 {
		return nil, fmt.Errorf("%w: no point of the curve", ErrKey)
	}
	u := new(big.Int).Add(one, y)
	u.Mul(u, down.ModInverse(down, p)).Mod(u, p)
	out := u.FillBytes(make([]byte, KeySize))
	slices.Reverse(out)
	return out, nil
}

// Public is the public key of a seed.
func Public(seed [KeySize]byte) (out [KeySize]byte) {
	copy(out[:], ed25519.NewKeyFromSeed(seed[:])[ed25519.SeedSize:])
	return out
}

func mac512(key, data []byte) []byte {
	h := hmac.New(sha512.New, key)
	h.Write(data)
	return h.Sum(nil)
}

// keys are what encrypts and what authenticates.
func (s Secret) keys() (enc, mac []byte) {
	wide := mac512(s[:], []byte(kdfLabel))
	return wide[:32], wide[32:]
}

// id is the message id of a padded plaintext; there is no extra data.
func id(mac, x []byte) []byte {
	h := hmac.New(sha256.New, mac)
	h.Write(x)
	h.Write(binary.LittleEndian.AppendUint32(nil, 0))
	return h.Sum(nil)[:msgID]
}

func block(enc, msg []byte) (cipher.Block, []byte, error) {
	wide := mac512(enc, msg)
	b, err := aes.NewCipher(wide[:32])
	return b, wide[32 : 32+blockSize], err
}

// Seal encrypts data. The prefix is read from random.
func (s Secret) Seal(data []byte, random io.Reader) ([]byte, error) {
	size := minPrefix + (blockSize-(minPrefix+len(data))%blockSize)%blockSize
	x := make([]byte, size, size+len(data))
	if _, err := io.ReadFull(random, x); err != nil {
		return nil, fmt.Errorf("encrypting string: %w", err)
	}
	x[0] = byte(size)
	x = append(x, data...)
	enc, mac := s.keys()
	msg := id(mac, x)
	b, iv, err := block(enc, msg)
	if err != nil {
		return nil, fmt.Errorf("encrypting string: %w", err)
	}
	cipher.NewCBCEncrypter(b, iv).CryptBlocks(x, x)
	return append(bytes.Clone(msg), x...), nil
}

// Open decrypts what Seal made.
func (s Secret) Open(sealed []byte) ([]byte, error) {
	if len(sealed) < msgID+blockSize || len(sealed)%blockSize != 0 {
		return nil, fmt.Errorf("%w: %d bytes", ErrCiphertext, len(sealed))
	}
	enc, mac := s.keys()
	b, iv, err := block(enc, sealed[:msgID])
	if err != nil {
		return nil, fmt.Errorf("decrypting string: %w", err)
	}
	x := make([]byte, len(sealed)-msgID)
	cipher.NewCBCDecrypter(b, iv).CryptBlocks(x, sealed[msgID:])
	if !hmac.Equal(id(mac, x), sealed[:msgID]) {
		return nil, fmt.Errorf("%w: not authentic", ErrCiphertext)
	}
	if prefix := int(x[0]); prefix >= minPrefix && prefix <= len(x) {
		return x[prefix:], nil
	}
	return nil, fmt.Errorf("%w: a prefix of %d bytes", ErrCiphertext, x[0])
}
