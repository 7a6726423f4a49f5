package dcap

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"cocoon/measure/tdx"
)

// skew is how far ahead of our clock the clocks of Intel's signers may be (attestation.md section 11.2).
const skew = 300 * time.Second

// Collateral is a bundle that was verified. It never changes and may be used concurrently.
type Collateral struct {
	root       *root
	ca         CA
	authority  certificate // the PCK CA that issued pckCRL
	above      []byte      // how a quote's certificates end when authority issued the first
	aboveHash  [sha256.Size]byte
	rootCRL    *crl
	pckCRL     *crl
	tcb        *tcbInfo
	qe         *qeIdentity
	signer     certificate // of TCB info and QE identity
	certs      []window    // of all these certificates
	generation [32]byte
	expires    time.Time
}

// Generation is SHA-256 over the signed bodies and revocation lists: two collaterals with the same generation judge
// alike.
func (c *Collateral) Generation() [32]byte { return c.generation }

// Platform says whose quotes the collateral is for.
func (c *Collateral) Platform() Platform {
	return Platform{FMSPC: c.tcb.fmspc, PCEID: c.tcb.pceID, CA: c.ca, TEE: c.tcb.tee}
}

// TEE is the kind of quotes the collateral is for.
func (c *Collateral) TEE() tdx.TEEType { return c.tcb.tee }

// FMSPC is the kind of platform the collateral is for.
func (c *Collateral) FMSPC() FMSPC { return c.tcb.fmspc }

// CA is the issuer of PCK certificates whose revocation list is included.
func (c *Collateral) CA() CA { return c.ca }

// Root is the root that every part goes back to.
func (c *Collateral) Root() RootID { return c.root.id }

// IssuedAt is when the TCB info was issued; the other parts have times of their own, see Replaces.
func (c *Collateral) IssuedAt() time.Time { return c.tcb.from }

// Expires is the last instant at which every part is valid.
func (c *Collateral) Expires() time.Time { return c.expires }

// EvaluationNumber is the tcbEvaluationDataNumber, the lower one of TCB info and QE identity. It grows with every
// recovery that Intel makes.
func (c *Collateral) EvaluationNumber() int { return min(c.tcb.evaluation, c.qe.evaluation) }

// Parts are the pieces of collateral with the times between which they hold, for showing.
func (c *Collateral) Parts() []Part {
	out := make([]Part, 0, 4)
	for i, w := range c.dated() {
		out = append(out, Part{Kind: Kind(i + 1), From: w.from, To: w.to})
	}
	return out
}

// Part says when one piece of collateral holds.
type Part struct {
	Kind     Kind
	From, To time.Time
}

// dated are the dated pieces in the order of Kind.
func (c *Collateral) dated() [4]*window {
	return [4]*window{&c.tcb.window, &c.qe.window, &c.pckCRL.window, &c.rootCRL.window}
}

// Replaces reports whether c may take the place of old in a store: same platform and root, no part older, no lower
// evaluation number. Sources are not trusted, and going back to old collateral would hide what was found out since.
func (c *Collateral) Replaces(old *Collateral) error {
	if c.Platform() != old.Platform() || c.Root() != old.Root() {
		return errors.New("replacing collateral: it is of another platform or root")
	}
	if c.tcb.evaluation < old.tcb.evaluation || c.qe.evaluation < old.qe.evaluation {
		return fmt.Errorf("replacing collateral: evaluation number %d is below %d", c.EvaluationNumber(), old.EvaluationNumber())
	}
	before := old.dated()
	for i, w := range c.dated() {
		if w.from.Before(before[i].from) {
			return fmt.Errorf("replacing collateral: %s of %s is older than that of %s",
				w.name, w.from.Format(time.RFC3339), before[i].from.Format(time.RFC3339))
		}
	}
	return nil
}

// CheckTime checks that every part holds at a time. Verify does so too.
func (c *Collateral) CheckTime(now time.Time) error {
	for _, w := range c.dated() {
		if err := w.check(now, skew); err != nil {
			return err
		}
	}
	for i := range c.certs {
		if err := c.certs[i].check(now, 0); err != nil {
			return err
		}
	}
	return nil
}

// check is for pieces of collateral.
func (w *window) check(now time.Time, skew time.Duration) error {
	switch {
	case w.from.After(now.Add(skew)):
		return fail(ClassCollateralNotYetValid, "%s is not valid before %s, it is %s", w.name, stamp(w.from), stamp(now))
	case now.After(w.to):
		return fail(ClassCollateralExpired, "%s expired at %s, it is %s: fetch collateral anew", w.name, stamp(w.to), stamp(now))
	}
	return nil
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
