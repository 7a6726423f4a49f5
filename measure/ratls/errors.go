package ratls

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"

	"cocoon/measure/dcap"
	"cocoon/measure/policy"
	"cocoon/measure/ratls/cert"
	"cocoon/measure/ratls/pow"
)

// Codes that this package adds to those of measure/policy and of certificates, as metrics label and log field.
const (
	// CodeDial: the TCP connection did not come about.
	CodeDial policy.Code = "dial"
	// CodePoW: the peer broke the rules of the proof of work, or asks for too much of it.
	CodePoW policy.Code = "pow"
	// CodeTLS: the TLS handshake failed for another reason than those below.
	CodeTLS policy.Code = "tls"
	// CodePeerRefused: the peer sent an alert; it probably did not like our certificate.
	CodePeerRefused policy.Code = "peer_refused"
	// CodePeerAborted: the peer went away in the middle of the handshake.
	CodePeerAborted policy.Code = "peer_aborted"
	// CodeTimeout: a stage took longer than it may.
	CodeTimeout policy.Code = "timeout"
	// CodeCanceled: our side gave up.
	CodeCanceled policy.Code = "canceled"
	// CodeProfile: the two sides do not speak the same wire profile.
	CodeProfile policy.Code = "profile_mismatch"
	// CodeFresh: the exchange of fresh quotes failed.
	CodeFresh policy.Code = "fresh"
	// CodeBusy: too many verifications are under way.
	CodeBusy policy.Code = "busy"
	// CodeCollateral: there is no collateral to verify the quote with.
	CodeCollateral policy.Code = "collateral_unavailable"
	// CodeCredentials: this side has no certificate that it may show.
	CodeCredentials policy.Code = "no_certificate"
	// CodeInternal: a defect of ours.
	CodeInternal policy.Code = "internal"
)

// Stage is a part of setting up a connection, as metrics label.
type Stage string

// The stages, in their order. Verify is the judgement, which happens within TLS.
const (
	StageDial   Stage = "dial"
	StagePoW    Stage = "pow"
	StageTLS    Stage = "tls"
	StageVerify Stage = "verify"
	StageFresh  Stage = "fresh"
)

// Error says at which stage a connection failed and why.
type Error struct {
	Stage Stage
	Code  policy.Code
	Err   error
}

// Error names stage and reason.
func (e *Error) Error() string {
	return fmt.Sprintf("connecting to peer: %s: %s: %v", e.Stage, e.Code, e.Err)
}

// Unwrap gives the reason.
func (e *Error) Unwrap() error { return e.Err }

// ErrProfile says that there is no certificate for the profile asked for.
var ErrProfile = errors.New("no certificate for this wire profile")

// ErrBusy says that a judgement was refused because too many are waiting.
var ErrBusy = errors.New("too many quotes are being verified")

// codedError gives an error its code where the type of the error does not tell.
type codedError struct {
	code policy.Code
	err  error
}

func (e *codedError) Error() string { return e.err.Error() }
func (e *codedError) Unwrap() error { return e.err }

func coded(code policy.Code, err error) error { return &codedError{code, err} }

// CodeOf is the code of an error of this package: "ok" for none, CodeInternal for one that has no code.
func CodeOf(err error) policy.Code {
	if err == nil {
		return policy.OK
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	if code, ok := reasonOf(err); ok {
		return code
	}
	return CodeInternal
}

// reasonOf finds the code that an error brings along.
func reasonOf(err error) (policy.Code, bool) {
	if e, ok := errors.AsType[*codedError](err); ok {
		return e.code, true
	}
	if e, ok := errors.AsType[*policy.Denied](err); ok {
		return e.Code, true
	}
	if e, ok := errors.AsType[*cert.Error](err); ok {
		return policy.Code(e.Code), true
	}
	if class := dcap.ClassOf(err); class != "" {
		return policy.Code(class), true
	}
	return lookup(err, []errorCode{
		{ErrBusy, CodeBusy},
		{ErrProfile, CodeProfile},
		{pow.ErrFormat, CodePoW},
		{pow.ErrWrong, CodePoW},
		{pow.ErrTooHard, CodePoW},
	})
}

type errorCode struct {
	target error
	code   policy.Code
}

func lookup(err error, table []errorCode) (policy.Code, bool) {
	for _, row := range table {
		if errors.Is(err, row.target) {
			return row.code, true
		}
	}
	return "", false
}

// failed makes the error of a stage: what is wrong with the peer goes before the end of ctx, which explains errors of
// the connection that it closed, and that before what the network says.
func failed(ctx context.Context, stage Stage, err error) error {
	if code, ok := reasonOf(err); ok {
		return &Error{stage, code, err}
	}
	if cause := context.Cause(ctx); cause != nil {
		if !errors.Is(err, cause) {
			err = fmt.Errorf("%w (%w)", cause, err)
		}
		if errors.Is(cause, context.DeadlineExceeded) {
			return &Error{stage, CodeTimeout, err}
		}
		return &Error{stage, CodeCanceled, err}
	}
	return &Error{stage, circumstance(stage, err), err}
}

// circumstance is the code of an error of the network or of crypto/tls.
func circumstance(stage Stage, err error) policy.Code {
	if code, ok := lookup(err, []errorCode{
		{os.ErrDeadlineExceeded, CodeTimeout},
		{context.DeadlineExceeded, CodeTimeout},
		{context.Canceled, CodeCanceled},
	}); ok {
		return code
	}
	switch e, ok := errors.AsType[*net.OpError](err); {
	case stage == StageDial:
		return CodeDial
	// crypto/tls does not export its alerts; it marks them by the operation. A client that ends the handshake with an
	// unencrypted alert, as OpenSSL does, looks like a record that cannot be decrypted.
	case ok && e.Op == "remote error":
		return CodePeerRefused
	case ok && (e.Op == "read" || e.Op == "write" || e.Op == "local error" && e.Err.Error() == "tls: bad record MAC"), isEOF(err):
		return CodePeerAborted
	case stage == StagePoW:
		return CodePoW
	case stage == StageFresh:
		return CodeFresh
	}
	return CodeTLS
}
