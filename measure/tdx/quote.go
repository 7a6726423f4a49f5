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
	teeSGX       = 0
	teeTDX       = 0x81

	bodySGX  = 1
	bodyTD10 = 2
	bodyTD15 = 3
)

// ErrNotTDX says that a well-formed header announces a quote of something else than a TD.
var ErrNotTDX = errors.New("not a TD quote")

// Quote is the readable part of a TD quote. Its signature is not looked at: who wants to trust the body verifies it.
type Quote struct {
	// Version is 4 or 5.
	Version int
	// QEVendor is the vendor of the quoting enclave, UserData what the quoting enclave put into the header.
	QEVendor [16]byte
	UserData [20]byte
	Body     *Body
	// Signed is the header and body, the bytes under the quote signature; it aliases the input.
	Signed []byte
	// Signature is the signature part without its length; it aliases the input.
	Signature []byte
	// Size is the length of the quote. Hosts pad quotes; what follows is unsigned and must be cut before hashing.
	Size int
}

// ParseQuote reads a TD quote of version 4 or 5. Bytes after the signature part are allowed up to MaxQuote in all.
func ParseQuote(data []byte) (*Quote, error) {
	q, err := parseQuote(data)
	if err != nil {
		return nil, fmt.Errorf("reading quote: %w", err)
	}
	return q, nil
}

func parseQuote(data []byte) (*Quote, error) {
	switch {
	case len(data) > MaxQuote:
		return nil, fmt.Errorf("%d bytes, at most %d", len(data), MaxQuote)
	case len(data) < headerSize:
		return nil, fmt.Errorf("%d bytes, the header alone has %d", len(data), headerSize)
	}
	if err := checkHeader(data[:headerSize]); err != nil {
		return nil, err
	}
	q := &Quote{
		Version:  int(binary.LittleEndian.Uint16(data[offVersion:])),
		QEVendor: [16]byte(data[offVendor:]),
		UserData: [20]byte(data[offUserData:]),
	}
	start, size, err := bodyExtent(q.Version, data)
	if err != nil {
		return nil, err
	}
	end := start + size
	if len(data) < end+lengthSize {
		return nil, fmt.Errorf("%d bytes end inside the body or the signature length, which end at %d", len(data), end+lengthSize)
	}
	if q.Body, err = ParseBody(data[start:end]); err != nil {
		return nil, err
	}
	q.Signed = data[:end:end]
	signature := data[end+lengthSize:]
	length := binary.LittleEndian.Uint32(data[end:])
	if uint64(length) > uint64(len(signature)) {
		return nil, fmt.Errorf("signature part of %d bytes, only %d follow", length, len(signature))
	}
	q.Signature = signature[:length:length]
	q.Size = end + lengthSize + int(length)
	return q, nil
}

func checkHeader(h []byte) error {
	le := binary.LittleEndian
	version, keyType, tee := le.Uint16(h[offVersion:]), le.Uint16(h[offKeyType:]), le.Uint32(h[offTEEType:])
	switch {
	case version == 3:
		return fmt.Errorf("%w: version 3 is an SGX quote", ErrNotTDX)
	case version != 4 && version != 5:
		return fmt.Errorf("version is %d, want 4 or 5", version)
	case tee == teeSGX:
		return fmt.Errorf("%w: TEE type 0 is SGX", ErrNotTDX)
	case tee != teeTDX:
		return fmt.Errorf("TEE type is %#x, want %#x", tee, teeTDX)
	case keyType != keyECDSAP256:
		return fmt.Errorf("attestation key type is %d, want %d (ECDSA P-256)", keyType, keyECDSAP256)
	}
	return nil
}

// bodyExtent finds the body; version 5 names its type and size, which must agree.
func bodyExtent(version int, data []byte) (start, size int, err error) {
	if version == 4 {
		return headerSize, Body10Size, nil
	}
	start = headerSize + descriptorSize
	if len(data) < start {
		return 0, 0, fmt.Errorf("%d bytes end inside the body descriptor", len(data))
	}
	kind, length := binary.LittleEndian.Uint16(data[headerSize:]), binary.LittleEndian.Uint32(data[headerSize+2:])
	switch kind {
	case bodySGX:
		return 0, 0, fmt.Errorf("%w: body type %d is SGX", ErrNotTDX, kind)
	case bodyTD10:
		size = Body10Size
	case bodyTD15:
		size = Body15Size
	default:
		return 0, 0, fmt.Errorf("body type is %d, want %d or %d", kind, bodyTD10, bodyTD15)
	}
	if uint64(length) != uint64(size) {
		return 0, 0, fmt.Errorf("body of type %d has %d bytes, want %d", kind, length, size)
	}
	return start, size, nil
}
