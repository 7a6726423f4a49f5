package gateway

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"cocoon/contracts/api"
	"cocoon/contracts/wire/session"
	"cocoon/host/gateway/upstream"
)

// again says whether another attempt can help.
type again uint8

const (
	never again = iota
	// elsewhere needs another proxy, anywhere may be the same.
	elsewhere
	anywhere
)

// translation is a row of inference.md section 5.2. An empty text fits every message of its code.
type translation struct {
	tl      session.Code
	text    string
	code    api.Code
	message string
	again   again
	after   time.Duration
	// rest makes the proxy the last choice for a while.
	rest bool
}

const topUp = "top the channel up with: cocoon client topup"

func translations() []translation {
	return []translation{
		{session.CodeError, "client balance is too low", api.InsufficientQuota, "the payment channel's balance does not cover this request; " + topUp, elsewhere, 0, false},
		{session.CodeError, "active config version is too low", api.ConfigVersion, "the proxy has not seen the root contract's newest version yet; try again shortly", elsewhere, 0, false},
		{session.CodeError, "too many active queries", api.RateLimitExceeded, "too many requests are under way on this channel; wait for some to end", elsewhere, time.Second, false},
		{session.CodeError, "connection is dead", api.WorkerLost, "the worker was lost before it answered; try again", anywhere, 0, false},
		{session.CodeError, "unknown public key", api.EncryptionKeyUnknown, "the key that the request is encrypted to is not held any more; encrypt to a current one", anywhere, 0, false},
		{session.CodeNotReady, "client is closing", api.ChannelClosing, "the payment channel with this proxy is closing; open another, or wait until it is reopened", elsewhere, 0, true},
		{session.CodeNotReady, "proxy is disabled", api.ProxyDisabled, "the proxy does not take requests now; try again later or name more proxies", elsewhere, 0, true},
		{session.CodeNotReady, "no ready workers for model", api.RateLimitExceeded, "all workers of this model are busy; try again shortly", elsewhere, time.Second, false},
		{session.CodeNotReady, "no worker with an accepted session", api.SessionNotAccepted, "no session that provider.aci_session_ids names can serve this now; /v1/aci/sessions lists those that can", elsewhere, 0, false},
		{session.CodeNotReady, "no workers for model", api.NoWorkers, "no worker offers this model now; /v1/models lists what is served", elsewhere, 0, false},
		{session.CodeNotReady, "balance is too low", api.InsufficientQuota, "the payment channel's balance does not cover this request; " + topUp, elsewhere, 0, false},
		{session.CodeProtocol, "unknown model", api.ModelNotFound, "no worker has ever offered this model; /v1/models lists what is served", elsewhere, 0, false},
		{session.CodeProtocol, "out of order answer parts", api.WorkerProtocol, "the worker broke the order of its answer; try again", never, 0, false},
		{session.CodeProtocol, "received malformed answer", api.WorkerProtocol, "the worker's answer was malformed; try again", never, 0, false},
		{session.CodeTimeout, "", api.Timeout, "the deadline passed before the answer was complete; raise timeout or ask for less", elsewhere, 0, false},
		{session.CodeCancelled, "", api.Cancelled, "the request was cancelled", never, 0, false},
		{session.CodeNotReady, "", api.NoWorkers, "the proxy cannot serve this request now; /v1/models lists what is served", elsewhere, 0, false},
	}
}

const priceText = "can run this query with coefficient="

// translate turns what ended a call into the error that the app sees.
func translate(err error) (*api.Error, translation) {
	fixed := func(code api.Code, message string, a again) (*api.Error, translation) {
		return &api.Error{Code: code, Message: message}, translation{again: a}
	}
	failure, ok := errors.AsType[*session.QueryError](err)
	switch {
	case ok:
		return translateTL(failure)
	case errors.Is(err, context.DeadlineExceeded):
		return fixed(api.Timeout, "the deadline passed before the answer was complete; raise timeout or ask for less", never)
	case errors.Is(err, upstream.ErrLost):
		return fixed(api.WorkerLost, "the connection to the proxy was lost before the answer was complete; try again", anywhere)
	case errors.Is(err, upstream.ErrSlow):
		return slow()
	default:
		return fixed(api.WorkerProtocol, "the proxy's answer broke the protocol; try again", never)
	}
}

// slowText is how our proxies say that an answer was not read.
const slowText = "cancelled: slow reader"

func slow() (*api.Error, translation) {
	return &api.Error{Code: api.SlowReader, Message: "the answer was read too slowly; read events as they come"}, translation{}
}

func translateTL(failure *session.QueryError) (*api.Error, translation) {
	if failure.Code == session.CodeCancelled && failure.Message == slowText {
		e, t := slow()
		e.TL = int(failure.Code)
		return e, t
	}
	if code, message, ok := ownCode(failure.Message); ok {
		return &api.Error{Code: code, Message: message, TL: int(failure.Code), RetryAfter: pauseOf(code)}, translation{}
	}
	if n, ok := strings.CutPrefix(failure.Message, priceText); ok {
		digits := n[:len(n)-len(strings.TrimLeft(n, "0123456789"))]
		e := &api.Error{Code: api.PriceLimit, Param: "max_coefficient", TL: int(failure.Code), Message: "every free worker is dearer than max_coefficient; raise it"}
		if v, err := strconv.ParseInt(digits, 10, 32); err == nil {
			e.Message = "the cheapest free worker has coefficient " + strconv.FormatInt(v, 10) + "; raise max_coefficient to it"
		}
		return e, translation{again: elsewhere}
	}
	for _, t := range translations() {
		if t.tl == failure.Code && strings.HasPrefix(failure.Message, t.text) {
			return &api.Error{Code: t.code, Message: t.message, TL: int(failure.Code), RetryAfter: pauseIn(failure.Message, t.after)}, t
		}
	}
	if failure.Code == session.CodeProtocol {
		return &api.Error{
			Code: api.UnsupportedParameter, Param: quoted(failure.Message), TL: int(failure.Code),
			Message: "the proxy does not accept this request; leave the parameter out",
		}, translation{}
	}
	return &api.Error{Code: api.EngineError, Message: "the proxy reported error " + strconv.Itoa(int(failure.Code)) + "; try again", TL: int(failure.Code)}, translation{again: elsewhere}
}

// ownCode reads the form in which our proxies name a reason that the reference network has no text for: its code, a
// colon, and a message.
func ownCode(text string) (api.Code, string, bool) {
	const longest = 500
	name, message, ok := strings.Cut(text, ": ")
	code := api.Code(name)
	if !ok || len(message) > longest || !printable(message) || (&api.Error{Code: code}).Status() == 500 {
		return "", "", false
	}
	return code, message, true
}

func pauseOf(code api.Code) time.Duration {
	if code == api.RateLimitExceeded {
		return time.Second
	}
	return 0
}

// pauseIn is the wait that our proxies put into the text, where the reference network's have a fixed one.
func pauseIn(text string, fixed time.Duration) time.Duration {
	const longest = 600 // more than a breaker of ours is ever open for
	_, rest, _ := strings.Cut(text, "try again in ")
	digits, _, ok := strings.Cut(rest, " s")
	n, err := strconv.ParseUint(digits, 10, 16)
	if fixed == 0 || !ok || err != nil || n == 0 || n > longest {
		return fixed
	}
	return time.Duration(n) * time.Second
}

func printable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f || r == 0xfffd })
}

// quoted is the parameter that a text names in quotes, or nothing.
func quoted(text string) string {
	const longest = 64
	for _, q := range []string{`"`, "'", "`"} {
		if _, rest, ok := strings.Cut(text, q); ok {
			name, _, closed := strings.Cut(rest, q)
			plain := func(r rune) bool { return r <= ' ' || r > '~' }
			if closed && len(name) <= longest && !strings.ContainsFunc(name, plain) {
				return name
			}
		}
	}
	return ""
}
