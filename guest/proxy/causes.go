package proxy

import (
	"context"
	"errors"

	"cocoon/contracts/api"
	"cocoon/contracts/receipt"
	"cocoon/contracts/wire/session"
	"cocoon/guest/proxy/sched"
)

// Causes that end a request.
var (
	errCancelled  = errors.New("cancelled")
	errClientGone = errors.New("cancelled: the client has left")
	errDeadline   = errors.New("timeout")
	errSlowReader = errors.New("cancelled: slow reader")
	errWorkerLost = errors.New("connection is dead")
	errGap        = errors.New("connection is dead: the worker is silent")
	errOrder      = errors.New("out of order answer parts")
	errMalformed  = errors.New("received malformed answer")
	errTruncated  = errors.New("engine error: the answer is not complete")
	errInternal   = errors.New("internal error")
	// errDown is an engine's failure before its first byte, of which another worker may know nothing.
	errDown = errors.New("engine error")
)

// workerError is an error that a worker answered with.
type workerError struct {
	code int32
	text string
}

func (e *workerError) Error() string { return e.text }

// ending is what an error means: on the wire, in a stream that has begun, in a receipt, and for the worker's record.
type ending struct {
	code   session.Code
	inside api.Code
	status receipt.Status
	record sched.Outcome
}

// endings is the table of protocol.md section 4.2 for what happens after a worker was chosen.
func endings() map[error]ending {
	return map[error]ending{
		errCancelled:     {session.CodeCancelled, api.Cancelled, receipt.Cancelled, sched.Neutral},
		errClientGone:    {session.CodeCancelled, api.Cancelled, receipt.Cancelled, sched.Neutral},
		context.Canceled: {session.CodeCancelled, api.Cancelled, receipt.Cancelled, sched.Neutral},
		errSlowReader:    {session.CodeCancelled, api.SlowReader, receipt.Cancelled, sched.Neutral},
		errDeadline:      {session.CodeTimeout, api.Timeout, receipt.Deadline, sched.Neutral},
		errWorkerLost:    {session.CodeError, api.WorkerLost, receipt.WorkerLost, sched.Failed},
		errGap:           {session.CodeError, api.WorkerLost, receipt.WorkerLost, sched.Failed},
		errOrder:         {session.CodeProtocol, api.WorkerProtocol, receipt.EngineError, sched.Failed},
		errDown:          {session.CodeError, api.EngineError, receipt.EngineError, sched.Failed},
		errMalformed:     {session.CodeProtocol, api.WorkerProtocol, receipt.EngineError, sched.Failed},
		errTruncated:     {session.CodeError, api.EngineTruncated, receipt.EngineError, sched.Failed},
		errUnfit:         {session.CodeError, api.EventTooLarge, receipt.EngineError, sched.Neutral},
		errInternal:      {session.CodeFailure, api.EngineError, receipt.EngineError, sched.Neutral},
	}
}

// endingOf says what an error means.
func endingOf(err error) ending {
	if e, ok := errors.AsType[*workerError](err); ok {
		return endingOfWorker(e)
	}
	if e, ok := errors.AsType[*session.QueryError](err); ok {
		return ending{e.Code, api.InvalidValue, receipt.Refused, sched.Neutral}
	}
	if e, ok := errors.AsType[refusedError](err); ok {
		return ending{session.CodeProtocol, e.why.Code, receipt.Refused, sched.Neutral}
	}
	if e, ok := errors.AsType[*sched.RefusedError](err); ok {
		return endingOfRefusal(e)
	}
	for known, e := range endings() {
		if errors.Is(err, known) {
			return e
		}
	}
	return endings()[errInternal]
}

func endingOfWorker(e *workerError) ending {
	switch session.Code(e.code) {
	case session.CodeCancelled:
		inside := api.Cancelled
		if e.text == errSlowReader.Error() { // its patience was the shorter one
			inside = api.SlowReader
		}
		return ending{session.CodeCancelled, inside, receipt.Cancelled, sched.Neutral}
	case session.CodeTimeout:
		return ending{session.CodeTimeout, api.Timeout, receipt.Deadline, sched.Neutral}
	case session.CodeProtocol:
		return ending{session.CodeProtocol, api.InvalidValue, receipt.Refused, sched.Neutral}
	case session.CodeNotReady:
		return ending{session.CodeNotReady, api.RateLimitExceeded, receipt.Refused, sched.Neutral}
	default:
		return ending{session.Code(e.code), api.EngineError, receipt.EngineError, sched.Failed}
	}
}

func endingOfRefusal(e *sched.RefusedError) ending {
	code, inside := session.CodeNotReady, api.RateLimitExceeded
	switch e.Kind {
	case sched.UnknownModel:
		code, inside = session.CodeProtocol, api.ModelNotFound
	case sched.NoFeature:
		code, inside = session.CodeProtocol, api.UnsupportedParameter
	case sched.NoWorkers:
		inside = api.NoWorkers
	case sched.PriceLimit:
		inside = api.PriceLimit
	case sched.NoSession:
		inside = api.SessionNotAccepted
	case sched.NotReady, sched.Failing:
	}
	return ending{code, inside, receipt.Refused, sched.Neutral}
}

// maxErrorText bounds what is passed on of a worker's text.
const maxErrorText = 512

// wireError is an error's code and text for a client. The texts' beginnings are fixed: clients match on them.
func wireError(err error) (int32, string) {
	e := endingOf(err)
	text := err.Error()
	if q, ok := errors.AsType[*session.QueryError](err); ok {
		text = q.Message
	} else if e.code == session.CodeFailure {
		text = errInternal.Error()
	}
	if errors.Is(err, context.Canceled) {
		text = errCancelled.Error()
	}
	return int32(e.code), text[:min(len(text), maxErrorText)]
}
