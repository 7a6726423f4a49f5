package gateway

import (
	"bytes"
	"errors"
	"net/http"
	"strconv"

	"cocoon/contracts/api"
	"cocoon/contracts/api/emulate"
	"cocoon/contracts/api/jsonscan"
	"cocoon/contracts/api/sse"
	"cocoon/contracts/wire/tl"
	"cocoon/host/gateway/upstream"
)

// whole answers with one body, or with a stream made from it.
func (x *exchange) whole() error { return x.collect(upstream.Piece{}) }

// collect reads the answer to its end and passes it on.
func (x *exchange) collect(piece upstream.Piece) error {
	head, body := piece.Head, bytes.Clone(piece.Data)
	for !piece.End {
		var err error
		piece, err = x.call.Recv(x.s.cfg.Ping)
		if errors.Is(err, upstream.ErrIdle) {
			if err := x.keepAlive(); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		if head == nil && piece.Head != nil {
			head, x.first = piece.Head, x.s.cfg.Now().Sub(x.began)
		}
		if len(body) == 0 && piece.End {
			body = piece.Data // nothing is received after it
			break
		}
		if body = append(body, piece.Data...); len(body) > upstream.MaxAnswer {
			return upstream.ErrTooLarge
		}
	}
	if head == nil {
		return upstream.ErrOrder
	}
	media, err := x.upstreamHead(head)
	if err != nil {
		return err
	}
	if x.emulate && head.StatusCode == http.StatusOK {
		return x.imitate(body)
	}
	return x.deliver(head, media, body)
}

// keepAlive pings the app of an emulated stream: behind a reference proxy nobody else does.
func (x *exchange) keepAlive() error {
	if !x.emulate {
		return nil
	}
	if !x.committed {
		x.streaming = true
		x.head(http.StatusOK, eventStream)
	}
	return x.write([]byte(sse.Ping))
}

// headerCost says what a whole answer cost. Our proxies say it in their head, so that no app waits for a receipt that is only
// recorded.
const headerCost = "X-Cocoon-Cost-Nano"

// deliver sends a whole answer, with its length and what it cost.
func (x *exchange) deliver(head *tl.HTTPResponse, media string, body []byte) error {
	if x.committed { // pings have begun, and the answer is an error
		return x.inBand(head, body)
	}
	if media == eventStream {
		return &api.Error{Code: api.WorkerProtocol, Message: "a stream came that was not asked for; try again"}
	}
	if x.s.cfg.Receipts == Require {
		if err := x.required(); err != nil {
			return err
		}
	} else if !x.has(headerCost) {
		x.inquire(x.call)
	}
	if v := x.outcome.verdict; v != nil && v.receipt != nil {
		x.set(headerCost, strconv.FormatUint(v.receipt.Usage.Cost, 10))
		x.set("X-Aci-Keyset-Digest", v.receipt.KeysetDigest)
	}
	if _, _, used := x.call.Paper(); used != nil {
		for _, t := range [...]struct {
			name string
			at   float64
		}{
			{"X-Cocoon-Proxy-Start", used.ProxyStart},
			{"X-Cocoon-Proxy-End", used.ProxyEnd},
			{"X-Cocoon-Worker-Start", used.WorkerStart},
			{"X-Cocoon-Worker-End", used.WorkerEnd},
		} {
			if t.at > 0 && !x.has(t.name) { // the head says the same
				x.set(t.name, strconv.FormatFloat(t.at, 'f', 6, 64))
			}
		}
	}
	x.set("X-Cocoon-Client-End", unix(x.s.cfg.Now()))
	x.set("Content-Length", strconv.Itoa(len(body)))
	x.outcome.status = statusComplete
	if head.StatusCode >= http.StatusBadRequest {
		x.outcome.status, x.outcome.code = blameOf(int(head.StatusCode), body)
	}
	x.head(int(head.StatusCode), media)
	return x.write(body)
}

// blameOf is how a request ended that was answered with an error: by its caller's mistake, or by a failure. The code is
// the answer's own if it is one of ours.
func blameOf(status int, body []byte) (string, api.Code) {
	doc, err := jsonscan.Check(body)
	code := api.EngineError
	if inner, _ := doc.Get("error"); err == nil && inner.Kind() == jsonscan.Object {
		said, _ := inner.Get("code")
		text, ok := said.Text()
		known := (&api.Error{Code: api.Code(text)}).Status()
		if ok && known == status && known != http.StatusInternalServerError { // which is what an unknown code comes to
			code = api.Code(text)
		}
	}
	if !mistaken(status) {
		return statusFailed, code
	}
	if code == api.EngineError {
		code = api.InvalidValue
	}
	return statusRefused, code
}

// inBand turns an answer with an error status into an event.
func (x *exchange) inBand(head *tl.HTTPResponse, _ []byte) error {
	code := api.EngineError
	if head.StatusCode < http.StatusInternalServerError {
		code = api.InvalidValue
	}
	return &api.Error{Code: code, Message: "the worker answered with status " + strconv.Itoa(int(head.StatusCode)) + " after the stream had begun"}
}

// imitate sends a whole answer as a stream.
func (x *exchange) imitate(body []byte) error {
	events, err := emulate.Events(emulate.Answer{Endpoint: x.req.Endpoint, Choices: x.req.N, Usage: x.req.IncludeUsage}, body)
	if err != nil {
		return imitationError(err)
	}
	if !x.committed {
		x.head(http.StatusOK, eventStream)
	}
	x.streaming = true
	if err := x.write(events); err != nil {
		return err
	}
	x.outcome.status = statusComplete
	return nil
}

// imitationError is the error of an answer that cannot be shown as a stream.
func imitationError(err error) error {
	if errors.Is(err, emulate.ErrTruncated) {
		return &api.Error{Code: api.EngineTruncated, Message: "the answer is not complete; try again"}
	}
	return &api.Error{Code: api.WorkerProtocol, Message: err.Error() + "; try again"}
}
