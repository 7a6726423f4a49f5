package ratls

import (
	"context"
	"crypto/tls"
	"time"

	"cocoon/measure/dcap"
	"cocoon/measure/policy"
)

// Quoter makes quotes of the TD it runs in. A quote takes a second or more on stock kernels.
type Quoter interface {
	Quote(ctx context.Context, reportData [64]byte) ([]byte, error)
}

// CollateralSource gives opened collateral. It is asked on every judgement of a quote and should answer from memory.
type CollateralSource interface {
	Collateral(ctx context.Context, p dcap.Platform) (*dcap.Collateral, error)
}

// CollateralHolder is a CollateralSource that fetches what it does not hold. Which platform a quote is of is its sender's
// word until its signatures verify; before such a source is sent out for a platform, they have to.
type CollateralHolder interface {
	CollateralSource
	// Holds says whether Collateral answers for the platform from memory.
	Holds(p dcap.Platform) bool
}

// Profile is a version of the wire profile.
type Profile uint8

// The profiles. V1 is the reference implementation's.
const (
	V1 Profile = 1
	V2 Profile = 2
)

// Mode says which profiles an endpoint speaks.
type Mode uint8

// The modes. Auto speaks V2 with peers who can and V1 with the others.
const (
	Auto Mode = iota
	OnlyV1
	OnlyV2
)

// Credentials gives the certificate to show under a profile. Without one for the profile the error is ErrProfile;
// without one that may still be shown it is another.
type Credentials interface {
	Certificate(p Profile) (*tls.Certificate, error)
}

// Terms are what a peer is judged by. They are a snapshot: endpoints ask for them at every judgement.
type Terms struct {
	Policy *policy.Policy
	// Images is the chain's list, for policies whose image source is the chain.
	Images policy.Images
	// Blocks dates the blocks in claims of V2; nil where the chain is out of reach.
	Blocks policy.Blocks
}

// Fixed gives terms that never change.
func Fixed(t Terms) func() Terms { return func() Terms { return t } }

// Timeouts bound the stages of a connection. Zero means the default (attestation.md section 14.3).
type Timeouts struct {
	// Dial bounds the TCP connection.
	Dial time.Duration
	// PoW bounds a server's wait for the response, and a client's for the challenge.
	PoW time.Duration
	// TLS bounds the handshake with the verdict.
	TLS time.Duration
	// Fresh bounds the exchange of fresh quotes.
	Fresh time.Duration
}

// Defaults of Timeouts.
const (
	DefaultDialTimeout   = 10 * time.Second
	DefaultPoWTimeout    = 10 * time.Second
	DefaultServerTLS     = 10 * time.Second
	DefaultClientTLS     = 30 * time.Second
	DefaultFreshTimeout  = 30 * time.Second
	defaultVerifyTimeout = 10 * time.Second
)

func orDefault(d, fallback time.Duration) time.Duration {
	if d <= 0 {
		return fallback
	}
	return d
}
