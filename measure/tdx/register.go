package tdx

import (
	"crypto/sha512"
	"encoding/hex"
	"fmt"
)

// DigestSize is the size of a measurement register and of every digest extended into one: SHA-384.
const DigestSize = sha512.Size384

// Digest is a SHA-384 value: an event digest or the content of MRTD or an RTMR.
type Digest [DigestSize]byte

// Sum is the SHA-384 digest of data.
func Sum(data []byte) Digest { return sha512.Sum384(data) }

// ParseDigest reads 96 hexadecimal digits.
func ParseDigest(s string) (Digest, error) {
	var d Digest
	if len(s) != 2*DigestSize {
		return d, fmt.Errorf("digest %q has %d characters, want %d", s, len(s), 2*DigestSize)
	}
	if _, err := hex.Decode(d[:], []byte(s)); err != nil {
		return d, fmt.Errorf("decoding digest: %w", err)
	}
	return d, nil
}

// Extend is the TDX rule for RTMRs: SHA384(d ‖ event).
func (d Digest) Extend(event Digest) Digest {
	var buf [2 * DigestSize]byte
	copy(buf[:], d[:])
	copy(buf[DigestSize:], event[:])
	return sha512.Sum384(buf[:])
}

// IsZero reports whether the register was never extended.
func (d Digest) IsZero() bool { return d == Digest{} }

// String is lower-case hex.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// MarshalText makes digests lower-case hex in JSON.
func (d Digest) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (d *Digest) UnmarshalText(text []byte) error {
	v, err := ParseDigest(string(text))
	if err != nil {
		return err
	}
	*d = v
	return nil
}

// Register names a measurement register of a TD. Its value is the MR index of a CCEL record
// (TDX virtual firmware design guide: 0 = MRTD, 1..4 = RTMR0..RTMR3).
type Register uint8

// The registers, by their CCEL MR index.
const (
	MRTD Register = iota
	RTMR0
	RTMR1
	RTMR2
	RTMR3
)

// String is the field's usual name.
func (r Register) String() string {
	if r == MRTD {
		return "MRTD"
	}
	return fmt.Sprintf("RTMR%d", r-RTMR0)
}

// MarshalText makes registers their names in JSON.
func (r Register) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (r *Register) UnmarshalText(text []byte) error {
	for c := MRTD; c <= RTMR3; c++ {
		if c.String() == string(text) {
			*r = c
			return nil
		}
	}
	return fmt.Errorf("register %q is none of MRTD, RTMR0..RTMR3", text)
}
