// Package cli is what the commands share at their edge: exit codes, tagged errors with hints, result printers and
// progress reporters (tools-and-tests.md sections 2, 3 and 5).
//
// It owns the mapping from an error's kind to an exit code and the two JSON shapes that every command has in common,
// the error document and the event line. It trusts its callers to put hashes and sizes, never secrets, into results.
// It knows no command library, so that the auditor's binary can use it with package flag. Printers and reporters are
// safe for concurrent use where they say so. It refuses to guess: an untagged error is exit code 1.
package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Kind says why a command did not succeed; it decides the exit code.
type Kind string

// The kinds of tools-and-tests.md section 2.
const (
	KindError           Kind = "error"
	KindUsage           Kind = "usage"
	KindDifference      Kind = "difference"
	KindNotReproducible Kind = "not_reproducible"
	KindPrerequisite    Kind = "prerequisite"
	KindTimeout         Kind = "timeout"
	KindInterrupted     Kind = "interrupted"
)

// The exit codes of tools-and-tests.md section 2.
const (
	ExitOK              = 0
	ExitError           = 1
	ExitUsage           = 2
	ExitDifference      = 3
	ExitNotReproducible = 4
	ExitPrerequisite    = 5
	ExitTimeout         = 6
	ExitInterrupted     = 130
)

// maxHints bounds the hint lines below an error; more than two are not read.
const maxHints = 2

// ErrorSchema is the schema of the error document.
const ErrorSchema = "cocoon.error/1"

// Code is the exit code of a kind.
func (k Kind) Code() int {
	switch k {
	case KindUsage:
		return ExitUsage
	case KindDifference:
		return ExitDifference
	case KindNotReproducible:
		return ExitNotReproducible
	case KindPrerequisite:
		return ExitPrerequisite
	case KindTimeout:
		return ExitTimeout
	case KindInterrupted:
		return ExitInterrupted
	default:
		return ExitError
	}
}

// Error is an error with the reason it counts as and the commands that would help.
type Error struct {
	Kind  Kind
	Err   error
	Hints []string
	// Shown means that the result on stdout has said it already: JSON mode prints no second document.
	Shown bool
}

// Error is the text of the wrapped error; the kind shows as the exit code.
func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns the wrapped error.
func (e *Error) Unwrap() error { return e.Err }

// Tag gives err a kind and hints. A nil error stays nil.
func Tag(kind Kind, err error, hints ...string) error {
	if err == nil {
		return nil
	}
	return &Error{Kind: kind, Err: err, Hints: hints}
}

// Shown tags an error whose findings the command's result has shown, such as a check that failed.
func Shown(kind Kind, err error, hints ...string) error {
	return &Error{Kind: kind, Err: err, Hints: hints, Shown: true}
}

// Usagef is a usage error.
func Usagef(format string, args ...any) error {
	return &Error{Kind: KindUsage, Err: fmt.Errorf(format, args...)}
}

// Failure is the error document of JSON mode, and what the text form is printed from.
type Failure struct {
	Schema string   `json:"schema"`
	Code   int      `json:"code"`
	Kind   Kind     `json:"kind"`
	Error  string   `json:"error"`
	Hints  []string `json:"hints"`
}

// Describe turns an error into its document. The outermost tag wins; without one, a cancelled context means an
// interrupt and an expired one a timeout.
func Describe(err error) Failure {
	f := Failure{Schema: ErrorSchema, Kind: KindError, Error: err.Error(), Hints: []string{}}
	var tagged *Error
	switch {
	case errors.As(err, &tagged):
		f.Kind = tagged.Kind
		f.Hints = append(f.Hints, tagged.Hints...)
	case errors.Is(err, context.Canceled):
		f.Kind = KindInterrupted
	case errors.Is(err, context.DeadlineExceeded):
		f.Kind = KindTimeout
	}
	if len(f.Hints) > maxHints {
		f.Hints = f.Hints[:maxHints]
	}
	f.Code = f.Kind.Code()
	return f
}

// Finish prints a command's final error, if any, and returns the process's exit code: the text on stderr always, the
// document on stdout in the JSON formats.
func Finish(program string, format Format, stdout, stderr io.Writer, err error) int {
	if err == nil {
		return ExitOK
	}
	f := Describe(err)
	fmt.Fprintf(stderr, "%s: error: %s\n", program, f.Error) //nolint:errcheck // nothing is left to report it to
	for _, h := range f.Hints {
		fmt.Fprintf(stderr, "%s: hint: %s\n", program, h) //nolint:errcheck // nothing is left to report it to
	}
	var tagged *Error
	shown := errors.As(err, &tagged) && tagged.Shown
	if !shown && (format == JSON || format == JSONL) {
		if doc, err := json.Marshal(f); err == nil {
			fmt.Fprintf(stdout, "%s\n", doc) //nolint:errcheck // nothing is left to report it to
		}
	}
	return f.Code
}
