package tdx

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// MaxQuote bounds a quote with whatever follows it (attestation.md section 3, rule 6).
const MaxQuote = 32 << 10

// Quote header layout (attestation.md section 9); integers are little-endian.
const (
	headerSize     = 48
	offVersion     = 0
	offKeyType     = 2
	offTEEType     = 4
	offVendor      = 12
	offUserData    = 28
	descriptorSize = 6 // v5: u16 body type, u32 body size
	lengthSize     = 4 // u32 size of the signature part

	keyECDSAP256 = 2

	bodySGX  = 1
	bodyTD10 = 2
	bodyTD15 = 3
)

// TEEType says what kind of TEE a quote is about; the values are those of the quote header.
type TEEType uint32

// The kinds of TEE.
const (
	SGX TEEType = 0
	TDX TEEType = 0x81
)

// String is the name that collateral uses.
func (t TEEType) String() string {
	switch t {
	case SGX:
		return "SGX"
	case TDX:
		return "TDX"
	}
	return fmt.Sprintf("TEE type %#x", uint32(t))
}

// intelVendor is the QE vendor of every quote that Intel's quoting enclaves make (attestation.md section 9).
const intelVendor = "\x93\x9a\x72\x33\xf7\x9c\x4c\xa9\x94\x0a\x0d\xb3\x95\x7f\x06\x07"

// ErrType says that a quote is of a kind that nothing here can verify: another version, key type, quoting enclave,
// TEE or certification. Its bytes may be in order.
var ErrType = errors.New("unsupported kind of quote")

// Parts are the pieces of a quote, as views into the bytes it was read from.
type Parts struct {
	// Version is 3, 4 or 5; 3 is always SGX.
	Version uint16
	TEE     TEEType
	// Quote is the quote without trailing bytes. Hosts pad quotes; what follows is unsigned and chosen by whoever sent
	// it, so hash and store these bytes, never the input.
	Quote []byte
	// Message is the header and body: the bytes under the quote signature.
	Message []byte
	// Body is the report body: SGXBodySize, Body10Size or Body15Size bytes, whose field names follow from TEE.
	Body      []byte
	Signature Signature
}

// Quote is a quote read into values. Nothing in it was verified: measure/dcap does that.
type Quote struct {
	// Version is 3, 4 or 5; 3 is always SGX.
	Version uint16
	TEE     TEEType
	// QEVendor is the vendor of the quoting enclave, UserData what the quoting enclave put into the header.
	QEVendor [16]byte
	UserData [20]byte
	// TD is the body of a TD quote, SGX that of an enclave's; the other one is nil.
	TD  *Body
	SGX *SGXBody
	// Signed is the quote cut to its signed length, for hashing and storing; it aliases the input. Hosts pad quotes;
	// what follows is unsigned.
	Signed []byte
	// Message is the header and body, the bytes under the quote signature; it aliases the input.
	Message []byte
	// Signature is the signature part; it aliases the input.
	Signature Signature
}

// ParseQuote reads a quote: SGX of version 3, 4 or 5, TDX of version 4 or 5. Bytes after the signature part are allowed
// up to MaxQuote in all.
func ParseQuote(data []byte) (*Quote, error) {
	p, err := Split(data)
	if err != nil {
		return nil, err
	}
	return p.Decode()
}

// Split finds the pieces of a quote without copying or allocating. Every nested size must fit exactly; bytes after the
// signature part are allowed up to MaxQuote in all.
func Split(data []byte) (Parts, error) {
	p, err := split(data)
	if err != nil {
		return Parts{}, fmt.Errorf("reading quote: %w", err)
	}
	return p, nil
}

// Decode reads the pieces into values.
func (p *Parts) Decode() (*Quote, error) {
	q := &Quote{
		Version: p.Version, TEE: p.TEE,
		QEVendor: [16]byte(p.Message[offVendor:]), UserData: [20]byte(p.Message[offUserData:]),
		Signed: p.Quote, Message: p.Message, Signature: p.Signature,
	}
	var err error
	if p.TEE == SGX {
		q.SGX, err = ParseSGXBody(p.Body)
	} else {
		q.TD, err = ParseBody(p.Body)
	}
	if err != nil {
		return nil, err
	}
	return q, nil
}

func split(data []byte) (Parts, error) {
	switch {
	case len(data) > MaxQuote:
		return Parts{}, fmt.Errorf("%d bytes, at most %d", len(data), MaxQuote)
	case len(data) < headerSize:
		return Parts{}, fmt.Errorf("%d bytes, the header alone has %d", len(data), headerSize)
	}
	p := Parts{Version: binary.LittleEndian.Uint16(data[offVersion:])}
	if err := p.readHeader(data[:headerSize]); err != nil {
		return Parts{}, err
	}
	start, size, err := p.bodyExtent(data)
	if err != nil {
		return Parts{}, err
	}
	end := start + size
	if len(data) < end+lengthSize {
		return Parts{}, fmt.Errorf("%d bytes end inside the body or the signature length, which end at %d", len(data), end+lengthSize)
	}
	p.Body, p.Message = data[start:end:end], data[:end:end]
	rest := data[end+lengthSize:]
	length := binary.LittleEndian.Uint32(data[end:])
	if uint64(length) > uint64(len(rest)) {
		return Parts{}, fmt.Errorf("signature part of %d bytes, only %d follow", length, len(rest))
	}
	if p.Signature, err = ParseSignature(p.Version, rest[:length]); err != nil {
		return Parts{}, err
	}
	total := end + lengthSize + int(length)
	p.Quote = data[:total:total]
	return p, nil
}

func (p *Parts) readHeader(h []byte) error {
	le := binary.LittleEndian
	p.TEE = TEEType(le.Uint32(h[offTEEType:]))
	switch keyType := le.Uint16(h[offKeyType:]); {
	case p.Version < 3 || p.Version > 5:
		return fmt.Errorf("%w: version is %d, want 3, 4 or 5", ErrType, p.Version)
	case p.TEE != SGX && (p.TEE != TDX || p.Version == 3):
		return fmt.Errorf("%w: version %d with %s, want SGX (0) or, from version 4 on, TDX (0x81)", ErrType, p.Version, p.TEE)
	case keyType != keyECDSAP256:
		return fmt.Errorf("%w: attestation key type is %d, want %d (ECDSA P-256)", ErrType, keyType, keyECDSAP256)
	case string(h[offVendor:offUserData]) != intelVendor:
		return fmt.Errorf("%w: vendor of the quoting enclave is %x, want Intel's %x", ErrType, h[offVendor:offUserData], intelVendor)
	}
	return nil
}

// bodyExtent finds the body; version 5 names its type and size, which must agree with each other and with the header.
func (p *Parts) bodyExtent(data []byte) (start, size int, err error) {
	switch {
	case p.Version == 5:
	case p.TEE == TDX:
		return headerSize, Body10Size, nil
	default:
		return headerSize, SGXBodySize, nil
	}
	start = headerSize + descriptorSize
	if len(data) < start {
		return 0, 0, fmt.Errorf("%d bytes end inside the body descriptor", len(data))
	}
	kind, length := binary.LittleEndian.Uint16(data[headerSize:]), binary.LittleEndian.Uint32(data[headerSize+2:])
	tee := TDX
	switch kind {
	case bodySGX:
		size, tee = SGXBodySize, SGX
	case bodyTD10:
		size = Body10Size
	case bodyTD15:
		size = Body15Size
	default:
		return 0, 0, fmt.Errorf("%w: body type is %d, want %d, %d or %d", ErrType, kind, bodySGX, bodyTD10, bodyTD15)
	}
	switch {
	case uint64(length) != uint64(size):
		return 0, 0, fmt.Errorf("body of type %d has %d bytes, want %d", kind, length, size)
	case tee != p.TEE:
		return 0, 0, fmt.Errorf("body of type %d is %s's, but the header says %s", kind, tee, p.TEE)
	}
	return start, size, nil
}
