package dcap

import (
	"time"

	"cocoon/measure/tdx"
)

// Result is what is known about a quote that verified. Nothing in it aliases the input or is shared with another result.
type Result struct {
	// Quote is what the quote says, by value: its views of bytes (Signed, Message, Signature) are empty, so that what is
	// kept of many quotes is small. Who needs the bytes has them.
	Quote *tdx.Quote
	// Combined is the status of platform, TDX module and quoting enclave together. ModuleStatus is NoStatus in an
	// enclave's quote, and in that of a module that Intel's collateral does not list by version.
	Combined, PlatformStatus, ModuleStatus, QEStatus Status
	// TCBDate is the date of the oldest level that was matched; zero if none was. NewestTCBDate is when the newest level
	// appeared, of whatever is out of date, or of the platform: grace periods begin then.
	TCBDate, NewestTCBDate time.Time
	// Advisories are Intel's advisory ids of all matched levels, without repetition, sorted.
	Advisories []string
	FMSPC      FMSPC
	PCEID      [2]byte
	CA         CA
	// PPID and PIID identify the processor package and the platform instance: do not log them at info level. Not every
	// certificate has a PIID.
	PPID, PIID [16]byte
	HasPIID    bool
	// Root is the id of the root that the quote and its collateral go back to.
	Root RootID
	// Generation identifies the collateral that was used, EvaluationNumber is its tcbEvaluationDataNumber (the lower
	// one, if its parts differ), CollateralExpires when it ends.
	Generation        [32]byte
	EvaluationNumber  int
	CollateralExpires time.Time
	// ChainExpires is when the first of the quote's own certificates ends. Who keeps a result keeps it no longer.
	ChainExpires time.Time
}

// Platform is the key of the collateral that the quote needed.
func (r *Result) Platform() Platform {
	return Platform{FMSPC: r.FMSPC, PCEID: r.PCEID, CA: r.CA, TEE: r.Quote.TEE}
}
