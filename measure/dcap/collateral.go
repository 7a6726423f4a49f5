package dcap

import (
	"time"

	"cocoon/measure/tdx"
)

// Collateral is a bundle that was verified. It never changes and may be used concurrently.
type Collateral struct {
	generation [32]byte
	tee        tdx.TEEType
	fmspc      FMSPC
	pceID      [2]byte
	ca         CA
	root       RootID
	issuedAt   time.Time
	expires    time.Time
	evaluation int
}

// Generation is SHA-256 over the signed bodies and revocation lists: two collaterals with the same generation judge
// alike.
func (c *Collateral) Generation() [32]byte { return c.generation }

// Platform says whose quotes the collateral is for.
func (c *Collateral) Platform() Platform {
	return Platform{FMSPC: c.fmspc, PCEID: c.pceID, CA: c.ca, TEE: c.tee}
}

// TEE is the kind of quotes the collateral is for.
func (c *Collateral) TEE() tdx.TEEType { return c.tee }

// FMSPC is the kind of platform the collateral is for.
func (c *Collateral) FMSPC() FMSPC { return c.fmspc }

// CA is the issuer of PCK certificates whose revocation list is included.
func (c *Collateral) CA() CA { return c.ca }

// Root is the root that every part goes back to.
func (c *Collateral) Root() RootID { return c.root }

// IssuedAt is when the youngest part was issued: collateral that is older than what is stored never replaces it.
func (c *Collateral) IssuedAt() time.Time { return c.issuedAt }

// Expires is the last instant at which every part is valid.
func (c *Collateral) Expires() time.Time { return c.expires }

// EvaluationNumber is the tcbEvaluationDataNumber, the lower one of TCB info and QE identity. It grows with every
// recovery that Intel makes.
func (c *Collateral) EvaluationNumber() int { return c.evaluation }
