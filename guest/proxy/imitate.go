package proxy

import (
	"errors"
	"strings"
	"time"

	"cocoon/contracts/api/emulate"
	"cocoon/contracts/wire/tl"
)

// headerStream tells an app that its stream was made from a whole answer (inference.md section 6.5).
const headerStream = "X-Cocoon-Stream"

// errUnfit is an answer of a reference worker that is too large to be made a stream.
var errUnfit = errors.New("the answer is too large for a stream from a worker of the reference network")

// imitation is an answer of a reference worker on its way to becoming a stream. Its head waits for the first event, so that
// until then a failure can still be one of HTTP, or be tried elsewhere.
type imitation struct {
	r      *request
	head   *tl.HTTPResponse
	stream *emulate.Stream
	out    bool // the head was sent
}

// imitate begins an imitation where the attempt needs one: a stream was asked for, and the worker has none to give.
func (r *request) imitate(a *attempt, h *tl.HTTPResponse) *imitation {
	if !r.job.stream || r.job.in == nil || a.w.version >= versionOurs || h.StatusCode != okStatus {
		return nil
	}
	head := streamHead()
	head.Headers = append(head.Headers, tl.HTTPHeader{Name: headerStream, Value: "emulated"})
	for _, x := range h.Headers {
		if strings.HasPrefix(strings.ToLower(x.Name), "x-cocoon-worker-") {
			head.Headers = append(head.Headers, x)
		}
	}
	stamp(head, r.began, time.Time{})
	return &imitation{r: r, head: head, stream: emulate.New(emulate.Answer{
		Endpoint: r.job.in.Endpoint, Choices: r.job.in.N, Usage: r.job.in.IncludeUsage, Limit: emulate.MaxHeld,
	})}
}

// take passes on what became whole of the answer. The last bytes come with their info, and end the attempt. What was whole
// before the answer broke goes out all the same: the end must not depend on how the bytes were cut.
func (i *imitation) take(a *attempt, data []byte, info *tl.ProxyQueryFinalInfo) (done bool, res result) {
	r := i.r
	events, broke := i.stream.Write(data)
	var tail []byte
	if broke == nil && info != nil {
		tail, broke = i.stream.End()
	}
	if len(events)+len(tail) > 0 && !i.out {
		i.out = true
		if err := r.out.head(r.ctx, i.head); err != nil {
			return true, r.abandon(a, err)
		}
	}
	if info != nil && broke == nil {
		return true, result{body: append(events, tail...), info: info}
	}
	if err := r.out.body(r.ctx, events, nil); err != nil {
		return true, r.abandon(a, err)
	}
	switch {
	case broke == nil:
		return false, result{}
	case info != nil:
		return true, result{err: broken(broke), info: info}
	}
	return true, r.abandon(a, broken(broke))
}

// broken is what a failed imitation ends a request with.
func broken(err error) error {
	switch {
	case errors.Is(err, emulate.ErrTruncated):
		return errTruncated
	case errors.Is(err, emulate.ErrTooLarge):
		return errUnfit
	}
	return errMalformed
}
