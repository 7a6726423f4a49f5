package chain

import (
	"errors"
	"fmt"
)

// Errors that callers branch on. Implementations wrap them with the object and the observed values.
var (
	// ErrStaleHead: the newest block is too old to decide anything by.
	ErrStaleHead = errors.New("stale head")
	// ErrClock: block time and this machine's clock do not agree.
	ErrClock = errors.New("clock disagrees with block time")
	// ErrOldHead: the server's chain ends before a block that was already trusted (a rolled-back or lagging server).
	ErrOldHead = errors.New("head older than a trusted block")
	// ErrForked: a block or transaction contradicts one that was proven before.
	ErrForked = errors.New("chain contradicts what was proven before")
	// ErrDeleted: the account was deleted, and perhaps made again: its history does not lead back to where it was known.
	ErrDeleted = errors.New("account was deleted, and its history ends there")
	// ErrProof: an answer does not come with a valid proof.
	ErrProof = errors.New("answer without valid proof")
	// ErrUnavailable: no server answers.
	ErrUnavailable = errors.New("no server answers")
	// ErrUnknownBlock: the servers do not have the block any more, or not yet.
	ErrUnknownBlock = errors.New("unknown block")
	// ErrNotAccepted: the contract does not accept the external message.
	ErrNotAccepted = errors.New("message not accepted by the contract")
	// ErrBusy: the network takes no more messages for this account now.
	ErrBusy = errors.New("too many messages for the account")
	// ErrExpired: the message became invalid before a transaction executed it. It never will.
	ErrExpired = errors.New("message expired without a transaction")
	// ErrUnconfirmed: the wait ended before the message was executed or expired; it may still be executed.
	ErrUnconfirmed = errors.New("message not confirmed yet")
	// ErrNotActive: a get method was asked of an account without code.
	ErrNotActive = errors.New("account has no code")
	// ErrNoMachine: a get method was asked of a client that has no virtual machine.
	ErrNoMachine = errors.New("no virtual machine in this process")
	// ErrMissing: the history that was asked for is not held by any server (an archive server is needed).
	ErrMissing = errors.New("history not held by the server")
	// ErrGlobalVersion: the network is older than our contracts need.
	ErrGlobalVersion = errors.New("network's global version too low")
	// ErrMalformed: bytes that were to be read are not what they should be.
	ErrMalformed = errors.New("malformed data")
)

// ExitError is a get method that ended with an exit code other than 0 and 1.
type ExitError struct {
	Method string
	Code   int64
}

// Error implements error.
func (e *ExitError) Error() string {
	return fmt.Sprintf("get method %s ended with exit code %d", e.Method, e.Code)
}
