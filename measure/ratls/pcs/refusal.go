package pcs

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"cocoon/measure/dcap"
)

// ClassUnavailable is the class of a refusal for want of any collateral, expired or not.
const ClassUnavailable dcap.Class = "collateral_unavailable"

// ErrBusy marks a request for a platform that was never seen, refused because too many such requests came.
var ErrBusy = errors.New("too many requests for unknown platforms")

// RefusalError says why there is no collateral to verify a platform with. It is what a peer's verdict is made from.
type RefusalError struct {
	Platform dcap.Platform
	// Object is what ran out first and Expired when, if collateral is held but no longer valid.
	Object  string
	Expired time.Time
	// NextTry is when the sources are asked again; before that the same refusal is given.
	NextTry time.Time
	// Causes says what each source answered, in the order they were asked.
	Causes []error
}

// Error names the platform, what expired and when, what the sources said, and what to do.
func (r *RefusalError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "collateral %s: ", r.Platform)
	if r.Expired.IsZero() {
		b.WriteString("none is held")
	} else {
		fmt.Fprintf(&b, "%s expired at %s", r.Object, r.Expired.UTC().Format(time.RFC3339))
	}
	if len(r.Causes) == 0 {
		b.WriteString(" and no source is configured: name a PCCS, or give a bundle that was fetched elsewhere")
		return b.String()
	}
	b.WriteString(" and no source gave a valid one (")
	for i, err := range r.Causes {
		if i > 0 {
			b.WriteString("; ")
		}
		b.WriteString(err.Error())
	}
	fmt.Fprintf(&b, "): make a source reachable or give a newer bundle; next try after %s", r.NextTry.UTC().Format(time.RFC3339))
	return b.String()
}

// Unwrap gives the sources' errors and, for collateral that ran out, the class that dcap gives it.
func (r *RefusalError) Unwrap() []error {
	class := dcap.ClassCollateralExpired
	if r.Expired.IsZero() {
		class = ClassUnavailable
	}
	return append([]error{&dcap.Error{Class: class, Err: errors.New("no valid collateral")}}, r.Causes...)
}
