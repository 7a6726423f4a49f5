// Package pow is the proof of work that a router asks of whoever connects, between TCP accept and TLS (attestation.md
// section 5).
//
// It owns the two messages, the rule that a nonce satisfies, the search for one and the choice of difficulty. It trusts
// nothing that it reads: a challenge beyond the caller's limits is refused before any work is done. Values are plain
// data; every function may be used concurrently, and the only goroutine that works is the caller's. It refuses to read
// past its messages, because the very next byte belongs to TLS, and to work without a bound on processor time.
package pow

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"
)

// Message layout (attestation.md section 5); integers are little-endian.
const (
	// ChallengeSize is u32 tag, i32 difficulty, 16 bytes of salt.
	ChallengeSize = 4 + 4 + SaltSize
	// ResponseSize is u32 tag, i64 nonce.
	ResponseSize = 4 + 8
	// SaltSize is the random part of a challenge.
	SaltSize = 16

	challengeTag uint32 = 0x418e1291
	responseTag  uint32 = 0x01827319
)

// Limits and defaults of the reference implementation (attestation.md section 5).
const (
	// MaxDifficulty is the most that can be written: all bits of the compared u64.
	MaxDifficulty = 64
	// DefaultDifficulty is what a server asks for when nothing presses, about 2^20 hashes.
	DefaultDifficulty = 20
	// DefaultAccepted is the most that a client works for unless told otherwise.
	DefaultAccepted = 28
)

// Reasons to end the connection that callers tell apart.
var (
	// ErrFormat says that the peer's bytes are no message of this protocol.
	ErrFormat = errors.New("not a proof-of-work message")
	// ErrWrong says that a nonce does not satisfy its challenge.
	ErrWrong = errors.New("nonce does not satisfy the challenge")
	// ErrTooHard says that a challenge asks for more than the caller is willing to do.
	ErrTooHard = errors.New("challenge is too hard")
)

// Challenge is what a server asks: a nonce whose hash with Salt has Difficulty leading zero bits.
type Challenge struct {
	// Difficulty counts zero bits, 0..MaxDifficulty.
	Difficulty int
	// Salt is never used twice by an honest server.
	Salt [SaltSize]byte
}

// New makes a challenge with a fresh salt.
func New(difficulty int, random io.Reader) (Challenge, error) {
	c := Challenge{Difficulty: difficulty}
	if err := c.check(); err != nil {
		return Challenge{}, fmt.Errorf("making challenge: %w", err)
	}
	if _, err := io.ReadFull(random, c.Salt[:]); err != nil {
		return Challenge{}, fmt.Errorf("making challenge: %w", err)
	}
	return c, nil
}

func (c Challenge) check() error {
	if c.Difficulty < 0 || c.Difficulty > MaxDifficulty {
		return fmt.Errorf("difficulty is %d, want 0..%d", c.Difficulty, MaxDifficulty)
	}
	return nil
}

// ParseChallenge reads a challenge of exactly ChallengeSize bytes.
func ParseChallenge(data []byte) (Challenge, error) {
	rest, err := untag(data, ChallengeSize, challengeTag)
	if err != nil {
		return Challenge{}, fmt.Errorf("reading challenge: %w", err)
	}
	c := Challenge{Difficulty: int(int32(binary.LittleEndian.Uint32(rest))), Salt: [SaltSize]byte(rest[4:])} //nolint:gosec // the field is signed
	if err := c.check(); err != nil {
		return Challenge{}, fmt.Errorf("reading challenge: %w: %w", ErrFormat, err)
	}
	return c, nil
}

// Append writes the challenge as ParseChallenge reads it.
func (c Challenge) Append(dst []byte) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, challengeTag)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(c.Difficulty)) //nolint:gosec // 0..64
	return append(dst, c.Salt[:]...)
}

// ParseResponse reads the nonce from a response of exactly ResponseSize bytes.
func ParseResponse(data []byte) (int64, error) {
	rest, err := untag(data, ResponseSize, responseTag)
	if err != nil {
		return 0, fmt.Errorf("reading response: %w", err)
	}
	return int64(binary.LittleEndian.Uint64(rest)), nil //nolint:gosec // the field is signed
}

// AppendResponse writes a response as ParseResponse reads it.
func AppendResponse(dst []byte, nonce int64) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, responseTag)
	return binary.LittleEndian.AppendUint64(dst, uint64(nonce)) //nolint:gosec // the field is signed
}

func untag(data []byte, size int, tag uint32) ([]byte, error) {
	if len(data) != size {
		return nil, fmt.Errorf("%w: %d bytes, want %d", ErrFormat, len(data), size)
	}
	if got := binary.LittleEndian.Uint32(data); got != tag {
		return nil, fmt.Errorf("%w: it starts %#08x, want %#08x", ErrFormat, got, tag)
	}
	return data[4:], nil
}

// Check returns ErrWrong unless the nonce satisfies the challenge.
func (c Challenge) Check(nonce int64) error {
	if zeros := zeroBits(c.Salt, nonce); zeros < c.Difficulty {
		return fmt.Errorf("%w: %d zero bits, want %d", ErrWrong, zeros, c.Difficulty)
	}
	return nil
}

// zeroBits counts the leading zero bits of the first 8 digest bytes read as a little-endian number: the top bits are
// those of byte 7, not of byte 0.
func zeroBits(salt [SaltSize]byte, nonce int64) int {
	var input [SaltSize + 8]byte
	copy(input[:], salt[:])
	binary.LittleEndian.PutUint64(input[SaltSize:], uint64(nonce)) //nolint:gosec // the field is signed
	digest := sha256.Sum256(input[:])
	return bits.LeadingZeros64(binary.LittleEndian.Uint64(digest[:]))
}
