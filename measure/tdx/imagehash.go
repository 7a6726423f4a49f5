package tdx

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
)

// Hash is the COCOON image hash: what the root contract lists (measure.md section 9.1).
type Hash [sha256.Size]byte

// String is lower-case hex, as in JSON statistics.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// IsZero reports the hash of a peer without attestation.
func (h Hash) IsZero() bool { return h == Hash{} }

// MarshalText makes hashes lower-case hex in JSON.
func (h Hash) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (h *Hash) UnmarshalText(text []byte) error {
	if len(text) != 2*len(h) {
		return fmt.Errorf("image hash %q has %d characters, want %d", text, len(text), 2*len(h))
	}
	if _, err := hex.Decode(h[:], text); err != nil {
		return fmt.Errorf("decoding image hash: %w", err)
	}
	return nil
}

// ImageHash is SHA-256 over 448 bytes: the eight measurements and 64 zero bytes in place of the report data. It covers
// neither TD attributes nor XFAM nor the TDX module, so a debug TD has the hash of its production twin: check those
// apart.
func ImageHash(m *Measurements) Hash {
	sum := sha256.New()
	for _, field := range m.fields() {
		sum.Write(field)
	}
	var noReportData [ReportDataSize]byte
	sum.Write(noReportData[:])
	var h Hash
	sum.Sum(h[:0])
	return h
}

// SGXImageHash is the image hash of an enclave: SHA-256 of MRENCLAVE and 64 zero bytes.
func SGXImageHash(mrEnclave [32]byte) Hash {
	var buf [len(mrEnclave) + ReportDataSize]byte
	copy(buf[:], mrEnclave[:])
	return sha256.Sum256(buf[:])
}

// NoImageHash is the image hash of a peer without attestation: 32 zero bytes.
func NoImageHash() Hash { return Hash{} }

// IsFake applies the reference implementation's rule for fake TDX: RTMR0 is zero. Genuine quotes of firmware that
// measures nothing exist too; their hash pins no configuration, so treating them alike is right.
func (m *Measurements) IsFake() bool { return m.RTMR[0].IsZero() }

// IsZero reports measurements of which none was ever set.
func (m *Measurements) IsZero() bool { return *m == Measurements{} }

// ErrFakeImage says that measurements are fake by the rule of IsFake.
var ErrFakeImage = errors.New("RTMR0 is zero: fake TDX, or firmware that measures nothing")

// PublishableHash is ImageHash for a hash that is going to be published: it refuses fake measurements, because
// anybody can present those.
func PublishableHash(m *Measurements) (Hash, error) {
	if m.IsFake() {
		return Hash{}, ErrFakeImage
	}
	return ImageHash(m), nil
}
