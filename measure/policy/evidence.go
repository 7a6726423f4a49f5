package policy

import (
	"time"

	"cocoon/measure/dcap"
	"cocoon/measure/tdx"
)

// Evidence is what a peer showed, after everything in it that can be verified without a policy was.
type Evidence struct {
	// Quote is the verified quote; nil when there is none, or when it was refused.
	Quote *dcap.Result
	// Err is why a quote that was shown has no Result: an error of dcap, whose class becomes the code.
	Err error
	// Fake says that the quote is the reference implementation's fake evidence, of 64 or 496 bytes.
	Fake bool
	// ReportDataOK says that the report data commits to the key of the peer's certificate.
	ReportDataOK bool
	// Detached is for a quote that came without a certificate, in a file: there is no key that its report data could
	// commit to, and the rule passes. Whoever has a peer leaves it false.
	Detached bool
	// CertLifetime is notAfter - notBefore of the peer's certificate; zero when the evidence came without one.
	CertLifetime time.Duration
	// Claims are those of a wire profile v2 certificate, bound by the report data; nil under v1.
	Claims *Claims
	// Seen is when the peer proved possession of its key: the age of Claims counts up to then. Zero means Env.Now.
	Seen time.Time
}

// Claims are the contents of a v2 certificate's third extension (attestation.md section 15).
type Claims struct {
	Role      Role
	NetworkID int32
	// MCSeqno and MCRootHash name the masterchain block at the certificate's creation.
	MCSeqno    int32
	MCRootHash [32]byte
	NotBefore  time.Time
	NotAfter   time.Time
	// Workchain and Address are the root contract's; zero in local mode.
	Workchain int32
	Address   [32]byte
	Nonce     [16]byte
}

// Env is what a check takes from outside of the evidence.
type Env struct {
	// Now is the time that ages and expiries are judged at.
	Now time.Time
	// Images is the chain's list; needed when the policy's image source is chain.
	Images Images
	// Blocks knows the masterchain; nil where there is no access to it, and then only the claims' dates are judged.
	Blocks Blocks
}

// Images provides the list of allowed images. It is asked on every check and must answer from memory.
type Images interface {
	// Allowed is the list and the time it was true at. The caller does not change it.
	Allowed() (hashes []tdx.Hash, at time.Time, err error)
}

// Blocks dates masterchain blocks. It is asked on every check of a v2 peer and must answer from memory.
type Blocks interface {
	// BlockTime is the block's time; an error when no block of that number and root hash is known.
	BlockTime(seqno int32, rootHash [32]byte) (time.Time, error)
}
