package policy

import (
	"fmt"

	"cocoon/measure/dcap"
)

// Code is the outcome of a check, as metrics label and log field (attestation.md section 8.2). Codes of refused
// quotes and collateral are the words of dcap.Class.
type Code string

// The codes that rules of this package give. Those of a certificate begin with "cert_", those of collateral with
// "collateral_".
const (
	OK           Code = "ok"
	CertLifetime Code = "cert_lifetime"
	CertProfile  Code = "cert_profile"
	CertRole     Code = "cert_role"
	CertNetwork  Code = "cert_network"
	CertAge      Code = "cert_age"
	NoQuote      Code = "no_quote"
	QuoteParse   Code = "quote_parse"
	QuoteType    Code = "quote_type"
	ReportData   Code = "report_data"
	Chain        Code = "chain"
	Root         Code = "root"
	// CollateralExpired is also dcap's word: here it meets results that were cached until after their collateral's end.
	CollateralExpired Code = "collateral_expired"
	// CollateralRollback is collateral that verifies, and is older than the policy's evaluation number.
	CollateralRollback Code = "collateral_rollback"
	TCBStatus          Code = "tcb_status"
	TDDebug            Code = "td_debug"
	TDAttributes       Code = "td_attributes"
	XFAM               Code = "xfam"
	SEAM               Code = "seam"
	ServiceTD          Code = "service_td"
	// Enclave is the code of what only enclaves have: DEBUG and INIT attributes.
	Enclave     Code = "enclave"
	Platform    Code = "platform"
	Image       Code = "image"
	PolicyEmpty Code = "policy_empty"
)

// codeOf is the code of a quote that dcap refused.
func codeOf(err error) Code {
	if class := dcap.ClassOf(err); class != "" {
		return Code(class)
	}
	return Chain
}

// Type says what a policy wants of a peer.
type Type string

// The types. The reference implementation's newer names, tee and fake_tee, are read as tdx and fake_tdx.
const (
	// Any wants no quote and looks at none.
	Any Type = "any"
	// TDX wants a verified quote of an allowed TD.
	TDX Type = "tdx"
	// FakeTDX wants the reference implementation's fake evidence, which anybody can make: local networks only.
	FakeTDX Type = "fake_tdx"
	// SGX wants a verified quote of an allowed enclave: the seal server (attestation.md section 10.5).
	SGX Type = "sgx"
)

// ParseType reads a type's name, of either generation.
func ParseType(s string) (Type, error) {
	switch s {
	case string(Any), string(TDX), string(FakeTDX), string(SGX):
		return Type(s), nil
	case "tee":
		return TDX, nil
	case "fake_tee":
		return FakeTDX, nil
	}
	return "", fmt.Errorf("policy type %q is none of any, tdx (tee), fake_tdx (fake_tee), sgx", s)
}

// types is a set of Type.
type types uint8

const (
	anyType types = 1 << iota
	tdxType
	fakeType
	sgxType
	everyType  = anyType | tdxType | fakeType | sgxType
	verified   = tdxType | sgxType
	attested   = verified | fakeType
	peersTypes = anyType | tdxType | fakeType
)

// bit is t as a set. A type that does not exist is judged as tdx, the strictest.
func (t Type) bit() types {
	switch t {
	case Any:
		return anyType
	case FakeTDX:
		return fakeType
	case SGX:
		return sgxType
	default:
		return tdxType
	}
}

// ImageSource says where the list of allowed images comes from.
type ImageSource string

// The image sources.
const (
	// FromList is the policy's own list.
	FromList ImageSource = "list"
	// FromChain is the root contract's list, through Env.Images.
	FromChain ImageSource = "chain"
	// Deferred leaves the decision to the service behind the connection, which reads the preamble.
	Deferred ImageSource = "defer"
)

// ParseImageSource reads an image source's name.
func ParseImageSource(s string) (ImageSource, error) {
	switch v := ImageSource(s); v {
	case FromList, FromChain, Deferred:
		return v, nil
	}
	return "", fmt.Errorf("image source %q is none of list, chain, defer", s)
}

// Role is what a peer says it is, in the claims of wire profile v2 (attestation.md section 15).
type Role int32

// The roles, with their numbers on the wire.
const (
	RoleClient Role = iota
	RoleProxy
	RoleWorker
	RoleKeyManager
	RoleTool
)

// roleNames is indexed by Role.
func roleNames() []string { return []string{"client", "proxy", "worker", "key_manager", "tool"} }

// String is the role's name, or its number if it has none.
func (r Role) String() string {
	if names := roleNames(); r >= 0 && int(r) < len(names) {
		return names[r]
	}
	return fmt.Sprintf("role %d", int32(r))
}

// ParseRole reads a role's name.
func ParseRole(s string) (Role, error) {
	for i, name := range roleNames() {
		if s == name {
			return Role(i), nil
		}
	}
	return 0, fmt.Errorf("role %q is none of client, proxy, worker, key_manager, tool", s)
}
