package worker

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"io/fs"
	"maps"
	"math"
	"math/bits"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"cocoon/contracts/api"
	"cocoon/contracts/pricing"
	"cocoon/contracts/receipt"
	"cocoon/contracts/wire/session"
	"cocoon/contracts/wire/tl"
	"cocoon/guest/worker/engine"
	"cocoon/guest/worker/meter"
)

const (
	// maxWhole bounds an answer that is no stream (inference.md section 6.3).
	maxWhole = 64 << 20
	// maxRefusal bounds what is read of an engine's error.
	maxRefusal = 64 << 10

	eventStream = "text/event-stream"
	jsonType    = "application/json"
)

// serve puts a request to the engine and relays its answer.
func (q *query) serve() outcome {
	w := q.c.w
	r, name, err := envelope(q.ask.Query, q.ask.RequestID)
	if err != nil {
		return refused(err)
	}
	q.name, q.request = name, receipt.SHA256(r.Payload)
	key := q.ask.PrivateKey
	if q.version < versionKeys {
		key = nil
	}
	p, err := w.prepare(r, key, name, &q.desk)
	if err != nil {
		return q.answerRefusal(err)
	}
	if w.cfg.CostFields {
		p.meter.Cost = func(u meter.Usage) meter.Cost { return cost(u, q.coefficient, q.prices) }
	}
	res, err := w.deps.Engine.Do(q.ctx, engine.Request{Path: p.path, ContentType: p.contentType, Body: p.body, ID: name, Stream: p.stream})
	if err != nil {
		if q.ctx.Err() == nil {
			w.lookNow()
		}
		return q.broken(meter.New(p.meter).Result(), errors.Is(err, engine.ErrPath), reasonOf(err, "no answer came"))
	}
	defer res.Body.Close() //nolint:errcheck // closing stops the engine's work; there is nothing to lose
	switch {
	case res.Status != http.StatusOK:
		return q.engineRefusal(res, p)
	case p.stream && res.ContentType == eventStream:
		q.extra = carried(res.Header)
		return q.stream(res, p)
	case p.stream || res.ContentType != jsonType:
		return q.broken(meter.New(p.meter).Result(), false, "the answer is of another type than was asked for")
	}
	q.extra = carried(res.Header)
	return q.whole(res, p)
}

// carried are the engine's headers that go on, by name. Names of ours are not an engine's to use.
func carried(h http.Header) []tl.HTTPHeader {
	if len(h) == 0 {
		return nil
	}
	out := make([]tl.HTTPHeader, 0, len(h))
	for _, name := range slices.Sorted(maps.Keys(h)) {
		if strings.HasPrefix(name, "X-Cocoon-") {
			continue
		}
		for _, value := range h[name] {
			out = append(out, tl.HTTPHeader{Name: name, Value: value})
		}
	}
	return out
}

// cost is what the reference's cost fields say, in nanoTON.
func cost(u meter.Usage, coefficient int64, p Prices) meter.Cost {
	b := pricing.Bill(pricing.Tokens(u), coefficient, p.Multipliers)
	return meter.Cost{Prompt: nano(b.Prompt, b.Cached, p.PerToken), Completion: nano(b.Completion, b.Reasoning, p.PerToken)}
}

// nano is what two counts of tokens cost, at most what can be added to as much again: nothing wraps around.
func nano(a, b int64, price uint64) int64 {
	const most = math.MaxInt64 / 2
	high, low := bits.Mul64(uint64(min(a, most))+uint64(min(b, most)), price) //nolint:gosec // counts are not negative
	if high > 0 || low > most {
		return most
	}
	return int64(low)
}

// broken is the outcome of an answer that ended before its head was sent, for the reason that the context knows or the
// engine's own, which why puts in words. unseen says that the engine has not seen the request.
func (q *query) broken(used meter.Result, unseen bool, why string) outcome {
	out := outcome{status: receipt.EngineError, code: session.CodeError, text: "engine error", used: used, why: why}
	if unseen {
		out.used = meter.Result{Source: meter.FromNothing}
	}
	switch cause := context.Cause(q.ctx); {
	case q.ctx.Err() == nil || errors.Is(cause, errEngineDown):
		out.why = reasonOf(cause, why)
		if used.Source == meter.FromCounting && used.Content == 0 { // the engine failed before it gave anything
			out.used = meter.Result{Source: meter.FromNothing}
		}
	case errors.Is(cause, errDeadline):
		out.status, out.code, out.text = receipt.Deadline, session.CodeTimeout, "timeout"
	case errors.Is(cause, errSlowReader):
		out.status, out.code, out.text = receipt.Cancelled, session.CodeCancelled, "cancelled: slow reader"
	default:
		out.status, out.code, out.text = receipt.Cancelled, session.CodeCancelled, "cancelled"
	}
	return out
}

// Reasons that stand in more than one place.
const (
	whySent   = "the answer could not be sent"
	whySealed = "the answer cannot be encrypted"
)

// reasonOf puts an engine's failure in words of ours: its own may hold a part of a prompt.
func reasonOf(err error, usual string) string {
	for _, known := range []struct {
		is    error
		words string
	}{
		{errEngineDown, "it did not answer its health check"},
		{errSilent, "it fell silent"},
		{errExceeded, "it went on beyond the bound of tokens"},
		{engine.ErrPath, "it is not asked for this path"},
		{engine.ErrTooLarge, "its answer is too large"},
		{syscall.ECONNREFUSED, "nothing listens at its address"},
		{fs.ErrNotExist, "its socket is not there"},
		{io.EOF, "it closed the connection"},
		{io.ErrUnexpectedEOF, "it closed the connection in the middle of its answer"},
		{syscall.ECONNRESET, "it closed the connection in the middle of its answer"},
	} {
		if errors.Is(err, known.is) {
			return known.words
		}
	}
	return usual
}

// answerRefusal answers with an error object of the API, or with an error message when it is one of the wire.
func (q *query) answerRefusal(err error) outcome {
	e, ok := errors.AsType[*api.Error](err)
	if !ok {
		return refused(err)
	}
	e.RequestID = "req_" + q.name[:32]
	out := outcome{status: receipt.Refused, used: meter.Result{Source: meter.FromNothing}}
	out.whole = q.response(e.Status(), jsonType, e.Body())
	return out
}

// engineRefusal says in our words what the engine did not like.
func (q *query) engineRefusal(res *engine.Response, p *prepared) outcome {
	body, err := res.ReadAll(maxRefusal)
	if err != nil && q.ctx.Err() != nil {
		return q.broken(meter.New(p.meter).Result(), false, reasonOf(err, "its error was cut short"))
	}
	e := q.c.w.deps.Engine.Config().Failure(res.Status, body)
	switch e.Code {
	case api.EngineError:
		q.c.w.lookNow()
		return q.broken(meter.Result{Source: meter.FromNothing}, true, "status "+strconv.Itoa(res.Status))
	case api.RateLimitExceeded:
		return refused(&wireError{session.CodeNotReady, "no ready workers for model: the engine is busy"})
	default:
		return q.answerRefusal(e)
	}
}

// whole relays an answer that is no stream.
func (q *query) whole(res *engine.Response, p *prepared) outcome {
	d := &q.desk
	body, err := res.ReadAll(maxWhole)
	if err != nil {
		return q.broken(meter.New(p.meter).Result(), false, reasonOf(err, "the answer was cut short"))
	}
	d.meter.Begin(p.meter)
	body = d.meter.Whole(body)
	used := d.meter.Result()
	q.clamp(&used, p)
	if used.Code != "" {
		return q.broken(used, false, "what it answered is no answer of this API")
	}
	if p.talk != nil {
		if body, err = p.talk.SealAnswer(body, rand.Reader); err != nil {
			return q.broken(used, false, whySealed)
		}
	}
	out := outcome{status: receipt.Complete, used: used}
	if len(body) <= session.MaxPart {
		out.whole = q.response(http.StatusOK, jsonType, body)
		q.firstByte = q.ended
		return out
	}
	if err := q.head(q.ctx, q.response(http.StatusOK, jsonType, nil)); err != nil {
		return q.broken(used, false, whySent)
	}
	last := len(body) - len(body)%session.MaxPart
	if err := q.emit(q.ctx, body[:last]); err != nil {
		q.blame(err)
		return q.broken(used, false, whySent)
	}
	out.tail = body[last:]
	return out
}

// clamp keeps an engine that lies from billing more than was allowed.
func (q *query) clamp(used *meter.Result, p *prepared) {
	u := &used.Usage
	limit := q.c.w.deps.Engine.Config().Limits.Context
	u.Prompt = min(u.Prompt, max(limit, p.meter.PromptTokens))
	u.Cached = min(u.Cached, u.Prompt)
	u.Completion = min(u.Completion, p.maxTokens)
	u.Reasoning = min(u.Reasoning, u.Completion)
}

// blame ends the request for a reason of the relay's own.
func (q *query) blame(err error) {
	if errors.Is(err, errSlowReader) {
		q.cancel(errSlowReader)
	} else {
		q.cancel(errSession)
	}
}

// response makes an http.response, valid until the next one is made. One without a body is the head of parts to come.
func (q *query) response(status int, contentType string, body []byte) *tl.HTTPResponse {
	r := &q.desk.response
	*r = tl.HTTPResponse{
		HTTPVersion: "HTTP/1.1", StatusCode: int32(status), Reason: http.StatusText(status), Payload: body, //nolint:gosec // three digits
		Headers: append(q.desk.headers[:0], tl.HTTPHeader{Name: "Content-Type", Value: contentType}, tl.HTTPHeader{Name: "X-Cocoon-Worker-Start", Value: stamp(q.began)}),
	}
	if body != nil {
		q.ended = q.c.w.deps.Now()
		r.Headers = append(r.Headers, tl.HTTPHeader{Name: "X-Cocoon-Worker-End", Value: stamp(q.ended)})
	}
	r.Headers = append(r.Headers, q.extra...)
	return r
}

// seconds is a time as the wire has it; stamp as the timing headers have it.
func seconds(t time.Time) float64 { return float64(t.UnixMicro()) / 1e6 }

func stamp(t time.Time) string {
	const micros = 1_000_000
	us := max(t.UnixMicro(), 0)
	text := strconv.AppendInt(make([]byte, 0, 24), us/micros, 10)
	at := len(text)
	text = strconv.AppendInt(text, micros+us%micros, 10) // a digit more keeps the zeros in front
	text[at] = '.'
	return string(text)
}
