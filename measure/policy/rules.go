package policy

import (
	"slices"
	"time"

	"cocoon/measure/dcap"
	"cocoon/measure/tdx"
)

// Rules are a policy's settings: what its JSON says, with defaults in place of what it leaves out. Zero values are not
// the defaults; start from Defaults.
type Rules struct {
	Type        Type
	ImageSource ImageSource
	// AllowedImages, AllowedMRTD and AllowedRTMR (RTMR0..3) each admit one of their entries; an empty one admits any,
	// but when all are empty nobody is admitted.
	AllowedImages []tdx.Hash
	AllowedMRTD   []tdx.Digest
	AllowedRTMR   [][4]tdx.Digest
	// AllowedEnclaves lists MRENCLAVE values, for type sgx.
	AllowedEnclaves [][32]byte
	// CollateralRoots are the root CA key ids that may stand above a quote and its collateral.
	CollateralRoots []dcap.RootID
	// AllowSimulated admits roots other than Intel's.
	AllowSimulated bool
	TDAttributes   Mask
	XFAM           Mask
	// MRSEAM lists TDX modules; empty admits any.
	MRSEAM         []tdx.Digest
	MRSignerSEAM   tdx.Digest
	SEAMAttributes uint64
	// MRServiceTD lists the service TDs that may be bound to a TD; zero means none is bound.
	MRServiceTD []tdx.Digest
	TCB         TCB
	FMSPC       Filter[[6]byte]
	PPID        Filter[[16]byte]
	PIID        Filter[[16]byte]
	Claims      ClaimRules
	// MaxCertLifetime bounds notAfter - notBefore of an attested peer's certificate.
	MaxCertLifetime time.Duration
}

// Mask bounds a 64-bit field: all bits of MustOne are set, none outside of MayOne is.
type Mask struct{ MustOne, MayOne uint64 }

func (m Mask) admits(v uint64) bool { return v&m.MustOne == m.MustOne && v&^m.MayOne == 0 }

// TCB bounds the state of a platform and of its collateral.
type TCB struct {
	// Accepted lists statuses for the combined status. Unrecognized and Revoked cannot be listed.
	Accepted []dcap.Status
	// Advisories lists ids that may stand on a level that is not UpToDate.
	Advisories []string
	// GraceDays tolerates OutOfDate this many days after the date of the newest level.
	GraceDays int
	// MinEvaluationNumber is the least tcbEvaluationDataNumber of collateral.
	MinEvaluationNumber int
}

// Filter admits identifiers. Deny wins; an empty Allow admits any.
type Filter[ID [6]byte | [16]byte] struct{ Allow, Deny []ID }

func (f Filter[ID]) admits(id ID) bool {
	return !slices.Contains(f.Deny, id) && (len(f.Allow) == 0 || slices.Contains(f.Allow, id))
}

func (f Filter[ID]) clone() Filter[ID] {
	return Filter[ID]{copied(f.Allow), copied(f.Deny)}
}

// ClaimRules bound the claims of a wire profile v2 certificate.
type ClaimRules struct {
	// Require refuses peers of profile v1.
	Require bool
	// Role and NetworkID are what a v2 peer must claim; nil admits any.
	Role      *Role
	NetworkID *int32
	// MaxQuoteAge bounds the age of the masterchain block in the claims.
	MaxQuoteAge time.Duration
}

// Defaults (attestation.md sections 8.2 and 15).
const (
	defaultCertLifetime = 25 * time.Hour
	defaultQuoteAge     = 3 * time.Hour
)

// TD attribute bits (TDX module ABI specification, TDATTRIBUTES). Bits 0 to 7 put a TD under debug; bit 0 is DEBUG.
const (
	tudBits        = 0xff
	septVEDisable  = 1 << 28
	protectionKeys = 1 << 30
)

// XFAM bits: x87 and SSE are always on; the others are what current TDX modules may enable.
const (
	xfamMust = 0x3
	xfamMay  = 0x6dbe7
)

// Defaults are the rules of a policy whose JSON names only its type. Under tdx and sgx they admit nobody: an image has
// to be listed.
func Defaults(t Type) Rules {
	r := Rules{
		Type: t, ImageSource: FromList,
		CollateralRoots: []dcap.RootID{dcap.IntelRootID()},
		TDAttributes:    Mask{MustOne: septVEDisable, MayOne: septVEDisable | protectionKeys},
		XFAM:            Mask{MustOne: xfamMust, MayOne: xfamMay},
		MRServiceTD:     []tdx.Digest{{}},
		TCB:             TCB{Accepted: []dcap.Status{dcap.UpToDate}},
		Claims:          ClaimRules{MaxQuoteAge: defaultQuoteAge},
		MaxCertLifetime: defaultCertLifetime,
	}
	if t == SGX {
		// A healthy SGX host has one of these (attestation.md section 10.5).
		r.TCB.Accepted = []dcap.Status{
			dcap.UpToDate, dcap.SWHardeningNeeded, dcap.ConfigurationNeeded, dcap.ConfigurationAndSWHardeningNeeded,
		}
	}
	return r
}

// copied is a copy of a list; nil if it is empty, so that equal rules are equal values.
func copied[T any](list []T) []T { return append([]T(nil), list...) }

// clone copies every list, so that nobody else holds one of a Policy's.
func (r Rules) clone() Rules {
	r.AllowedImages = copied(r.AllowedImages)
	r.AllowedMRTD = copied(r.AllowedMRTD)
	r.AllowedRTMR = copied(r.AllowedRTMR)
	r.AllowedEnclaves = copied(r.AllowedEnclaves)
	r.CollateralRoots = copied(r.CollateralRoots)
	r.MRSEAM = copied(r.MRSEAM)
	r.MRServiceTD = copied(r.MRServiceTD)
	r.TCB.Accepted = copied(r.TCB.Accepted)
	r.TCB.Advisories = copied(r.TCB.Advisories)
	r.FMSPC, r.PPID, r.PIID = r.FMSPC.clone(), r.PPID.clone(), r.PIID.clone()
	if r.Claims.Role != nil {
		role := *r.Claims.Role
		r.Claims.Role = &role
	}
	if r.Claims.NetworkID != nil {
		id := *r.Claims.NetworkID
		r.Claims.NetworkID = &id
	}
	return r
}
