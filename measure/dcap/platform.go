package dcap

import (
	"encoding/hex"
	"fmt"
	"strings"

	"cocoon/measure/tdx"
)

// CA is the certification authority that issued a PCK certificate.
type CA uint8

// The CAs. The zero value is none.
const (
	NoCA CA = iota
	// PlatformCA issues for multi-package servers, which register with Intel: all TDX platforms.
	PlatformCA
	// ProcessorCA issues for single-package SGX machines.
	ProcessorCA
)

// String is the word that Intel's service uses in queries.
func (c CA) String() string {
	switch c {
	case PlatformCA:
		return "platform"
	case ProcessorCA:
		return "processor"
	default:
		return "none"
	}
}

// FMSPC identifies a kind of platform (family, model, stepping, platform type, custom SKU). It is compared as bytes: its
// text appears in either case.
type FMSPC [6]byte

// String is upper-case hex, the form in which Intel's service is asked.
func (f FMSPC) String() string { return strings.ToUpper(hex.EncodeToString(f[:])) }

// MarshalText makes FMSPCs upper-case hex in JSON.
func (f FMSPC) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// ParseFMSPC reads 12 hex digits of either case.
func ParseFMSPC(text string) (FMSPC, error) {
	var f FMSPC
	if len(text) != 2*len(f) {
		return f, fmt.Errorf("FMSPC %q has %d characters, want %d", text, len(text), 2*len(f))
	}
	if _, err := hex.Decode(f[:], []byte(text)); err != nil {
		return f, fmt.Errorf("decoding FMSPC %q: %w", text, err)
	}
	return f, nil
}

// Platform says which collateral a quote needs. It is comparable, for use as a key.
type Platform struct {
	FMSPC FMSPC
	PCEID [2]byte
	CA    CA
	TEE   tdx.TEEType
}

// String names the platform for logs and file names.
func (p Platform) String() string {
	return fmt.Sprintf("%s-%s-%s", strings.ToLower(p.TEE.String()), p.FMSPC, p.CA)
}
