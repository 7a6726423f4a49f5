package tdx

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Layout of the signature part (attestation.md section 9); integers are little-endian, keys and signatures big-endian.
const (
	signatureSize = 64 // r ‖ s
	keySize       = 64 // X ‖ Y

	certificationQEReport = 6 // QE report and its certification, from version 4 on around the rest
	certificationPCKChain = 5 // PEM: PCK certificate, intermediate, root
)

// Signature is the signature part of a quote, as views into it.
type Signature struct {
	// Quote is the signature by Key over the message, r ‖ s, 64 bytes big-endian.
	Quote []byte
	// Key is the attestation key, X ‖ Y, 64 bytes big-endian, on P-256.
	Key []byte
	// QEReport is the report body of the quoting enclave, SGXBodySize bytes; its report data binds Key and QEAuth.
	QEReport []byte
	// QESignature is the signature of QEReport by the PCK key, r ‖ s.
	QESignature []byte
	// QEAuth is what the quoting enclave put beside its key.
	QEAuth []byte
	// PCKChain is the PEM area: PCK certificate, intermediate and root, with or without a NUL at the end.
	PCKChain []byte
}

// ParseSignature reads the signature part of a quote of the given version, without its length. Every nested size must
// end exactly where the size around it ends.
func ParseSignature(version uint16, data []byte) (Signature, error) {
	c := cursor{rest: data}
	s := Signature{Quote: c.take(signatureSize), Key: c.take(keySize)}
	if version >= 4 {
		kind := c.uint16()
		size := c.uint32()
		switch {
		case c.short:
			return Signature{}, errSignatureShort(data)
		case kind != certificationQEReport:
			return Signature{}, fmt.Errorf("%w: certification type is %d, want %d (QE report)", ErrType, kind, certificationQEReport)
		case uint64(size) != uint64(len(c.rest)):
			return Signature{}, fmt.Errorf("certification data of %d bytes in %d bytes of signature part", size, len(c.rest))
		}
	}
	s.QEReport, s.QESignature = c.take(SGXBodySize), c.take(signatureSize)
	s.QEAuth = c.take(int(c.uint16()))
	kind := c.uint16()
	size := c.uint32()
	switch {
	case c.short:
		return Signature{}, errSignatureShort(data)
	case kind != certificationPCKChain:
		return Signature{}, fmt.Errorf("%w: certification type of the QE report is %d, want %d (PCK chain)", ErrType, kind, certificationPCKChain)
	case uint64(size) != uint64(len(c.rest)):
		return Signature{}, fmt.Errorf("PCK chain of %d bytes, but %d follow in the signature part", size, len(c.rest))
	}
	s.PCKChain = c.rest
	return s, nil
}

func errSignatureShort(data []byte) error {
	return fmt.Errorf("signature part of %d bytes ends inside one of its fields", len(data))
}

// Encode writes the signature part as it stands in a quote of the given version, without its length. Fields of the
// wrong size are an error.
func (s *Signature) Encode(version uint16) ([]byte, error) {
	for _, f := range []struct {
		name      string
		got, want int
	}{
		{"quote signature", len(s.Quote), signatureSize},
		{"attestation key", len(s.Key), keySize},
		{"QE report", len(s.QEReport), SGXBodySize},
		{"QE report signature", len(s.QESignature), signatureSize},
	} {
		if f.got != f.want {
			return nil, fmt.Errorf("writing signature part: %s has %d bytes, want %d", f.name, f.got, f.want)
		}
	}
	if len(s.QEAuth) > 1<<16-1 || len(s.PCKChain) > MaxQuote {
		return nil, errors.New("writing signature part: QE authentication data or PCK chain is too long for a quote")
	}
	le := binary.LittleEndian
	inner := append(append([]byte(nil), s.QEReport...), s.QESignature...)
	inner = append(le.AppendUint16(inner, uint16(len(s.QEAuth))), s.QEAuth...)                      //nolint:gosec // checked above
	inner = le.AppendUint32(le.AppendUint16(inner, certificationPCKChain), uint32(len(s.PCKChain))) //nolint:gosec // checked above
	inner = append(inner, s.PCKChain...)
	out := append(append([]byte(nil), s.Quote...), s.Key...)
	if version >= 4 {
		out = le.AppendUint32(le.AppendUint16(out, certificationQEReport), uint32(len(inner))) //nolint:gosec // its parts are bounded
	}
	return append(out, inner...), nil
}

// cursor takes fields off the front of rest; after the first that does not fit, short is set and every field is empty.
type cursor struct {
	rest  []byte
	short bool
}

func (c *cursor) take(n int) []byte {
	if c.short || n > len(c.rest) {
		c.short = true
		return nil
	}
	out := c.rest[:n:n]
	c.rest = c.rest[n:]
	return out
}

func (c *cursor) uint16() uint16 {
	if b := c.take(2); b != nil {
		return binary.LittleEndian.Uint16(b)
	}
	return 0
}

func (c *cursor) uint32() uint32 {
	if b := c.take(4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}
