package dcap

import (
	"errors"
	"fmt"
	"strings"
)

// Class says which kind of check failed, in the words of attestation.md section 8.2. It is stable: metrics are labelled
// with it.
type Class string

// The classes of failures.
const (
	// ClassQuoteParse: the quote is malformed.
	ClassQuoteParse Class = "quote_parse"
	// ClassQuoteType: the quote is of a kind that is not supported.
	ClassQuoteType Class = "quote_type"
	// ClassChain: the quote's certificates are malformed, not valid now, or not signed by each other.
	ClassChain Class = "chain"
	// ClassRoot: a chain ends in a certificate that is not trusted.
	ClassRoot Class = "root"
	// ClassRevoked: the PCK certificate or the CA above it is on a revocation list.
	ClassRevoked Class = "revoked"
	// ClassQEIdentity: the quoting enclave is not the one that the collateral describes.
	ClassQEIdentity Class = "qe_identity"
	// ClassQuoteSignature: the quote, the quoting enclave's report or the attestation key's binding to it does not verify.
	ClassQuoteSignature Class = "quote_sig"
	// ClassCollateralMalformed: collateral is not in its exact form.
	ClassCollateralMalformed Class = "collateral_malformed"
	// ClassCollateralExpired: a piece of collateral is past its next update, or its signer's certificate has ended.
	ClassCollateralExpired Class = "collateral_expired"
	// ClassCollateralNotYetValid: a piece of collateral, or its signer's certificate, begins in the future.
	ClassCollateralNotYetValid Class = "collateral_not_yet_valid"
	// ClassCollateralSignature: collateral does not verify under its signer, or its signer may not sign it.
	ClassCollateralSignature Class = "collateral_signature"
	// ClassCollateralMismatch: the collateral is sound, but of another platform, TEE, CA or root than the quote.
	ClassCollateralMismatch Class = "collateral_mismatch"
	// ClassSEAM: the TDX module is not signed by, or has not the attributes of, the module that the collateral describes.
	ClassSEAM Class = "seam"
	// ClassTCBStatus: the collateral does not know the TDX module at all.
	ClassTCBStatus Class = "tcb_status"
)

// Error is a refusal. Its text names the object and the rule.
type Error struct {
	Class Class
	Err   error
}

// Error is the text of the reason: class and text are shown apart.
func (e *Error) Error() string { return e.Err.Error() }

// Unwrap gives the reason.
func (e *Error) Unwrap() error { return e.Err }

// ClassOf is the class of an error from this package, or "" if it has none.
func ClassOf(err error) Class {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Class
	}
	return ""
}

// fail makes an Error of a format with operands.
func fail(class Class, format string, operands ...any) error {
	return newError(class, fmt.Errorf(format, operands...))
}

// failAs gives an error a class, unless it has one.
func failAs(class Class, err error) error {
	if err == nil || ClassOf(err) != "" {
		return err
	}
	return newError(class, err)
}

// maxText bounds an Error's text. Reasons repeat names and keys from certificates and answers that strangers wrote, up to
// their whole size; refusals are kept in caches, shown in status documents and logged.
const maxText = 512

// newError makes an Error whose text is bounded. Of a reason that is cut only the text is kept.
func newError(class Class, err error) *Error {
	if text := err.Error(); len(text) > maxText {
		err = errors.New(strings.ToValidUTF8(text[:maxText], "") + "...")
	}
	return &Error{Class: class, Err: err}
}
