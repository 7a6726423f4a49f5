package pcs

import (
	"errors"
	"fmt"
	"time"

	"cocoon/measure/dcap"
)

// ErrRollback marks collateral that is older than what is held already: a source is behind, or somebody replays.
var ErrRollback = errors.New("older than the collateral held")

// ErrUnchanged marks collateral that is the same as what is held: the source has nothing newer.
var ErrUnchanged = errors.New("same as the collateral held")

// Newer says whether the offered collateral may take the place of the held: nil if so, ErrUnchanged if they are the
// same, ErrRollback with the part that would go back if it is older in any.
func Newer(held, offered *dcap.Collateral) error {
	if offered.Generation() == held.Generation() {
		return ErrUnchanged
	}
	if err := offered.Replaces(held); err != nil {
		return fmt.Errorf("%w: %w", ErrRollback, err)
	}
	return nil
}

// held is one immutable piece of collateral with the bytes it came from.
type held struct {
	bundle     *dcap.Bundle
	collateral *dcap.Collateral
	// half is when the first part has lived half of its life (attestation.md section 11.1).
	half time.Time
}

func newHeld(p dcap.Platform, b *dcap.Bundle, col *dcap.Collateral) (*held, error) {
	if got := col.Platform(); keyOf(got) != keyOf(p) {
		return nil, &dcap.Error{
			Class: dcap.ClassCollateralMismatch, Err: fmt.Errorf("the collateral is of %s, %s was asked for", got, p),
		}
	}
	h := &held{bundle: b, collateral: col}
	for i, part := range col.Parts() {
		if half := part.From.Add(part.To.Sub(part.From) / 2); i == 0 || half.Before(h.half) {
			h.half = half
		}
	}
	return h, nil
}

func (h *held) validAt(now time.Time) bool { return h != nil && !now.After(h.collateral.Expires()) }

// firstToExpire names what ends the life of collateral.
func firstToExpire(c *dcap.Collateral) (object string, at time.Time) {
	at = c.Expires()
	for _, part := range c.Parts() {
		if part.To.Equal(at) {
			return part.Kind.String(), at
		}
	}
	return "the signer's certificate", at
}

// open verifies a bundle at a time, and that it is the platform's.
func open(roots *dcap.Roots, p dcap.Platform, b *dcap.Bundle, now time.Time) (*held, error) {
	col, err := dcap.Open(b, roots, now)
	if err != nil {
		return nil, err
	}
	return newHeld(p, b, col)
}

// openAtIssue is open for collateral whose time may be over.
func openAtIssue(roots *dcap.Roots, p dcap.Platform, b *dcap.Bundle) (*held, error) {
	col, err := OpenAtIssue(b, roots)
	if err != nil {
		return nil, err
	}
	return newHeld(p, b, col)
}

// keyOf drops what does not choose collateral: the PCEID is compared when a quote is verified.
func keyOf(p dcap.Platform) dcap.Platform {
	p.PCEID = [2]byte{}
	return p
}
